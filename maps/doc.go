// Package maps turns the control plane's terms into rows of the data path's
// tables and back. Every table is an mmapped BPF array: a write is a store, not
// a system call, and packets see it at once. What must change as a whole is
// written beside the old version and switched with one 8-byte store.
package maps
