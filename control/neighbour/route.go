package neighbour

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// route is the kernel's answer for one address.
type route struct {
	key     hopKey     // the neighbour that packets are handed to
	gateway netip.Addr // zero when on-link
	source  netip.Addr // zero when there is none that others than neighbours can answer
	mtu     int        // 0 when the route sets none
}

// errNoRoute is wrapped by the error of lookup when no route matches.
var errNoRoute = errors.New("no route")

// lookup asks the kernel how it would send a packet of this node to addr.
func lookup(h *netlink.Handle, addr netip.Addr) (route, error) {
	found, err := h.RouteGetWithOptions(addr.AsSlice(), nil)
	switch {
	case errors.Is(err, unix.ENETUNREACH):
		return route{}, fmt.Errorf("%w to %s", errNoRoute, addr)
	case errors.Is(err, unix.EHOSTUNREACH):
		return route{}, fmt.Errorf("route to %s is of type unreachable", addr)
	case errors.Is(err, unix.EACCES):
		return route{}, fmt.Errorf("route to %s is of type prohibit", addr)
	case errors.Is(err, unix.EINVAL):
		return route{}, fmt.Errorf("route to %s is of type blackhole", addr)
	case err != nil:
		return route{}, fmt.Errorf("look up route to %s: %w", addr, err)
	case len(found) == 0:
		return route{}, fmt.Errorf("%w to %s", errNoRoute, addr)
	}
	r := found[0]
	switch r.Type {
	case unix.RTN_UNICAST:
	case unix.RTN_LOCAL:
		return route{}, fmt.Errorf("%s is this node's own address", addr)
	case unix.RTN_BROADCAST:
		return route{}, fmt.Errorf("%s is a broadcast address", addr)
	case unix.RTN_BLACKHOLE:
		return route{}, fmt.Errorf("route to %s is of type blackhole", addr)
	default:
		return route{}, fmt.Errorf("%s is no unicast address (route type %d)", addr, r.Type)
	}
	result := route{gateway: toAddr(r.Gw)}
	// IPv6 falls back to the interface's link-local address, which routers do not forward.
	if source := toAddr(r.Src); !source.Is6() || !source.IsLinkLocalUnicast() {
		result.source = source
	}
	if via, ok := r.Via.(*netlink.Via); ok {
		result.gateway = toAddr(via.Addr)
	}
	result.key = hopKey{index: r.LinkIndex, addr: addr}
	if result.gateway.IsValid() {
		result.key.addr = result.gateway
	}
	if r.MTU != 0 {
		result.mtu, err = routeMTU(h, addr)
	}
	return result, err
}

// routeMTU returns the MTU that the route to addr is configured with, 0 if none. The plain
// look-up mixes in path MTUs learnt from ICMP, which expire without an event and which
// anybody may send.
func routeMTU(h *netlink.Handle, addr netip.Addr) (int, error) {
	found, err := h.RouteGetWithOptions(addr.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if err != nil {
		return 0, fmt.Errorf("look up MTU of the route to %s: %w", addr, err)
	}
	if len(found) == 0 {
		return 0, nil
	}
	return found[0].MTU, nil
}
