// Package model is the data path in plain Go: one function from a state and a
// packet to a verdict, a reason, and the bytes that leave. It is written from
// docs/DATAPATH.md and the RFCs, not from the C, so that a mistake in one of the
// three shows as a difference. It also makes the random states and packets that
// the comparison runs on; both are a function of the seed alone.
package model
