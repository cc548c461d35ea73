// Package loader brings the data path into the kernel and onto interfaces, where it
// stays when the process ends. It takes over what another process left there, loads
// aside what has to be different, tests it, and lets it take the other's place
// without a gap; on an error it takes back what it did, in reverse order.
// docs/LIFECYCLE.md says what is pinned and in which order things happen.
package loader
