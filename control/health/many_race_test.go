//go:build race

package health

// The race detector itself crashes now and then on 7,000 goroutines with timers in one
// synctest bubble (Go 1.26).
const manyTargets = 1_000
