// Package testenv builds labs on one machine: network namespaces joined by veth pairs and bridges, with real servers and
// real clients in them, over IPv4 and IPv6. Tests and `xlb demo` use the same labs. It speaks netlink and makes sockets
// itself, starts no programs, and leaves nothing behind: a namespace lives as long as the process that made it, also when
// that is killed.
//
// A lab is built by NewRouted, NewSwitched or NewTwoArmed and closed by Lab.Close. No program of the product is attached by
// this package; labs hand out their namespaces and interface names for that.
package testenv
