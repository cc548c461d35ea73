package testenv

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// everywhere are the destinations of default routes.
var everywhere = pairOf("0.0.0.0/0", "::/0")

// AddRoute sends what is for a prefix by a gateway of its family on a connected subnet.
func (n *Namespace) AddRoute(to netip.Prefix, via netip.Addr) error { return n.addRoute(to, via, 0) }

// addRoute is AddRoute with an MTU that packets on the way to elsewhere must keep to as well; 0: that of the interface.
func (n *Namespace) addRoute(to netip.Prefix, via netip.Addr, mtu int) error {
	// Older kernels heed a route's MTU for packets that they forward only if it is locked.
	err := n.nl.RouteAdd(&netlink.Route{Dst: ipNet(to.Masked()), Gw: via.AsSlice(), MTU: mtu, MTULock: mtu > 0})
	if err != nil {
		return fmt.Errorf("add route to %s via %s in namespace %s: %w", to, via, n.name, err)
	}
	return nil
}

// addDefaultRoutes sends what is for elsewhere by a gateway, in both families.
func (n *Namespace) addDefaultRoutes(gateway pair) error {
	if err := n.AddRoute(everywhere.v4, gateway.v4.Addr()); err != nil {
		return err
	}
	return n.AddRoute(everywhere.v6, gateway.v6.Addr())
}

// limitHost is addRoute's MTU for one address on the subnet of an interface.
func (n *Namespace) limitHost(ifname string, host netip.Addr, mtu int) error {
	iface, err := n.nl.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("find interface %s/%s: %w", n.name, ifname, err)
	}
	err = n.nl.RouteAdd(&netlink.Route{
		Dst: ipNet(netip.PrefixFrom(host, host.BitLen())), LinkIndex: iface.Attrs().Index, Scope: netlink.SCOPE_LINK,
		MTU: mtu, MTULock: true,
	})
	if err != nil {
		return fmt.Errorf("limit packets to %s in namespace %s: %w", host, n.name, err)
	}
	return nil
}

// ReplaceRoute is AddRoute, but that it takes the place of a route to the same prefix.
func (n *Namespace) ReplaceRoute(to netip.Prefix, via netip.Addr) error {
	err := n.nl.RouteReplace(&netlink.Route{Dst: ipNet(to.Masked()), Gw: via.AsSlice()})
	if err != nil {
		return fmt.Errorf("replace route to %s via %s in namespace %s: %w", to, via, n.name, err)
	}
	return nil
}

// PathMTU returns how large packets from the namespace to an address may be, in bytes with the IP header: what an ICMP
// error told (for some minutes), or else what route and interface allow.
func (n *Namespace) PathMTU(to netip.Addr) (int, error) {
	fail := func(err error) (int, error) {
		return 0, fmt.Errorf("find path MTU to %s in namespace %s: %w", to, n.name, err)
	}
	routes, err := n.nl.RouteGet(to.AsSlice())
	if err != nil {
		return fail(err)
	}
	if routes[0].MTU > 0 {
		return routes[0].MTU, nil
	}
	iface, err := n.nl.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return fail(err)
	}
	return iface.Attrs().MTU, nil
}

// AddLocalPrefix makes every address of a prefix a local one: packets for it are accepted, and sockets can be bound to it.
func (n *Namespace) AddLocalPrefix(p netip.Prefix) error {
	if p.Addr().Is6() {
		// For IPv6 a route makes no address that sockets can be bound to.
		if err := n.Sysctl("net.ipv6.ip_nonlocal_bind", "1"); err != nil {
			return err
		}
	}
	lo, err := n.nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback interface of namespace %s: %w", n.name, err)
	}
	err = n.nl.RouteAdd(&netlink.Route{
		Dst: ipNet(p.Masked()), LinkIndex: lo.Attrs().Index,
		Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
	})
	if err != nil {
		return fmt.Errorf("make prefix %s local in namespace %s: %w", p, n.name, err)
	}
	return nil
}

// HoldVIPs makes the namespace a server for direct return: the addresses are on its loopback interface, it does not answer
// ARP requests for them, and it does not name them in its own. IPv6 needs nothing for that: neighbour discovery knows only
// the addresses of the interface that a packet comes in or goes out by.
func (n *Namespace) HoldVIPs(vips ...netip.Addr) error {
	for _, s := range [][2]string{
		{"net.ipv4.conf.all.arp_ignore", "1"},
		{"net.ipv4.conf.all.arp_announce", "2"},
	} {
		if err := n.Sysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	lo, err := n.nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback interface of namespace %s: %w", n.name, err)
	}
	for _, vip := range vips {
		if err := n.nl.AddrAdd(lo, address(netip.PrefixFrom(vip, vip.BitLen()))); err != nil {
			return fmt.Errorf("add VIP %s to namespace %s: %w", vip, n.name, err)
		}
	}
	return nil
}

// Forward makes the namespace a router.
func (n *Namespace) Forward() error {
	return errors.Join(n.Sysctl("net.ipv4.ip_forward", "1"), n.Sysctl("net.ipv6.conf.all.forwarding", "1"))
}
