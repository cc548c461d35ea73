// Package loader brings the data path into the kernel and onto interfaces. It
// validates, loads aside, attaches, and on an error takes back what it did, in
// reverse order.
package loader
