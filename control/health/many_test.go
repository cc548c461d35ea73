//go:build !race

package health

const manyTargets = 10_000
