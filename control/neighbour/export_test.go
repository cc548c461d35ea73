package neighbour

import (
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// Hold keeps the Watcher from reading events until release is called, as a busy CPU would.
func (w *Watcher) Hold() (release func()) {
	w.events.mu.Lock()
	return w.events.mu.Unlock
}

// Receive takes in a datagram as if the kernel had sent it.
func (w *Watcher) Receive(datagram []byte) { w.events.add(datagram) }

// AskForMissing makes the kernel resolve a neighbour that it has no entry for as far as is
// known. Its error is that of a neighbour which could not be asked for.
func AskForMissing(h *netlink.Handle, index int, addr netip.Addr) error {
	t := target{key: hopKey{index, addr}}
	t.ask(h, neighbour{}, time.Now())
	return t.fault
}
