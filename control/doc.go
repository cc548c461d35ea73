// Package control decides what the data path does. One goroutine, the Engine's,
// owns the state: health results and next hops come to it as events, and it
// writes to the data path in an order that no packet can trip over. Its parts
// are packages by noun: config, balance, health, neighbour, api, metrics.
package control
