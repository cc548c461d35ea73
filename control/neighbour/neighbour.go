// Package neighbour tells how packets for backend addresses leave this node, and
// follows every change of that: egress interface, VLAN tags, MTU, MAC addresses,
// gateway and preferred source address.
//
// A Watcher keeps a copy of the kernel's links and neighbours, fed by one netlink
// socket that subscribes before the first dump. Routes are never copied: the
// kernel is asked for the route of each watched address, so policy rules, next-hop
// objects and metrics count as they do for the node's own packets. Of a multipath
// route the kernel picks one path per address.
//
// Packets that XDP sends do not pass the kernel's neighbour code, so nothing but
// the Watcher keeps the entries alive: it asks the kernel to resolve what is
// missing, again and again with growing pauses, and to confirm what grew stale.
package neighbour

import (
	"errors"
	"net/netip"
)

// ErrPending is wrapped by the Err of an Update that Get or Snapshot return for an
// address whose neighbour has not answered yet, nor been silent long enough to be
// given up (about three seconds). It never appears in an Update from Updates.
var ErrPending = errors.New("is being resolved")

// Tag is a VLAN tag; the zero value stands for none.
type Tag struct {
	Type uint16 // ethertype: 0x8100 (IEEE 802.1Q) or 0x88a8 (802.1ad)
	ID   uint16 // 0 to 4094
}

// NextHop is how a packet for an address leaves this node. Values compare with ==.
type NextHop struct {
	Interface string     // name of the egress interface; where the route names a VLAN, that of the device below it
	Index     int        // its index
	Tags      [2]Tag     // VLAN tags of the frame, the outer first; zero ones last
	MTU       int        // largest IP packet in bytes, without tags: the smallest of the route's MTU, if it sets one, and those of all devices on the way
	SourceMAC [6]byte    // of the interface that the route names, VLAN or not
	DestMAC   [6]byte    // of the gateway, or of the address itself when it is on-link
	Gateway   netip.Addr // zero when the address is on-link; may be IPv6 for an IPv4 address
	Source    netip.Addr // source address the route prefers; zero when this node has none that is not link-local IPv6
}

// Update is the state of one watched address. Exactly one of Hop and Err is set.
type Update struct {
	Addr netip.Addr
	Hop  NextHop
	Err  error // why there is no next hop, for people; names the address or the interface
}

// equal compares errors by their text.
func (u Update) equal(v Update) bool {
	if u.Err == nil || v.Err == nil {
		return u == v
	}
	return u.Addr == v.Addr && u.Err.Error() == v.Err.Error()
}

// Stats counts what a Watcher has met.
type Stats struct {
	Overruns uint64 // times that the kernel dropped events because they were not read fast enough
	Resyncs  uint64 // times that all links, neighbours and routes were read anew, the first time included
}
