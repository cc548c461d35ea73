package neighbour

import (
	"errors"
	"fmt"
)

// stack is an interface with the VLANs below it.
type stack struct {
	top    device // where routes, neighbours and addresses are
	bottom device // which sends the frames; the same as top without VLANs
	mtu    int    // largest IP packet that all devices on the way take; tags do not count
	tags   [2]Tag
}

var (
	errUnknown    = errors.New("interface is not known")
	errCannotSend = errors.New("xlb cannot send through")
)

// stackOf returns the stack of the interface with an index, out of all links by index. Its
// error says why no packet can leave by it; it wraps errCannotSend where the kernel itself
// could send one, and is errUnknown if links lacks a device of the stack.
//
// Only VLANs are looked through. All else that sits on another device (macvlan, bond,
// bridge) takes whole Ethernet frames, so frames are handed to it as to hardware.
func stackOf(links map[int]device, index int) (stack, error) {
	d, known := links[index]
	s := stack{top: d, mtu: d.MTU}
	var fault error
	for ; known; d, known = links[d.parent] {
		if err := d.fault(); err != nil {
			fault = err // of several the lowest: those above follow from it
		}
		s.bottom, s.mtu = d, min(s.mtu, d.MTU)
		if d.parent == 0 {
			return s, fault
		}
		if s.tags[1] != (Tag{}) {
			return stack{}, fmt.Errorf("%w %s: it has more than %d VLAN tags", errCannotSend, s.top.Name, len(s.tags))
		}
		s.tags = [2]Tag{d.tag, s.tags[0]}
	}
	return stack{}, errUnknown
}
