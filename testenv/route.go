package testenv

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// everywhere is the destination of a default route.
var everywhere = netip.MustParsePrefix("0.0.0.0/0")

// AddRoute sends what is for a prefix by a gateway on a connected subnet.
func (n *Namespace) AddRoute(to netip.Prefix, via netip.Addr) error {
	err := n.nl.RouteAdd(&netlink.Route{Dst: ipNet(to.Masked()), Gw: via.AsSlice()})
	if err != nil {
		return fmt.Errorf("add route to %s via %s in namespace %s: %w", to, via, n.name, err)
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

// AddLocalPrefix makes every address of a prefix a local one: packets for it are accepted, and sockets can be bound to it.
func (n *Namespace) AddLocalPrefix(p netip.Prefix) error {
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
// ARP requests for them, and it does not name them in its own.
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
		addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(vip, vip.BitLen()))}
		if err := n.nl.AddrAdd(lo, addr); err != nil {
			return fmt.Errorf("add VIP %s to namespace %s: %w", vip, n.name, err)
		}
	}
	return nil
}

// Forward makes the namespace a router.
func (n *Namespace) Forward() error { return n.Sysctl("net.ipv4.ip_forward", "1") }
