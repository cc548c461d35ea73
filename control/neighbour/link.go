package neighbour

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is a network interface that xlb can attach to.
type Link struct {
	Name   string
	Index  int
	MAC    [6]byte
	MTU    int // in bytes, without the Ethernet header
	Master int // index of the bridge or VRF that it belongs to, 0 when none
}

// device is what the Watcher keeps of an interface. It compares with ==.
type device struct {
	Link
	up       bool // switched on
	running  bool // has a carrier, and its driver lets packets through
	ethernet bool // has Ethernet headers
	loopback bool
	static   bool // does neither ARP nor neighbour discovery
	parent   int  // index of the device that a VLAN is on; 0 when it is none
	tag      Tag  // which a VLAN puts in front of what it hands to its parent
}

func newDevice(link netlink.Link) device {
	a := link.Attrs()
	d := device{
		Link:     Link{Name: a.Name, Index: a.Index, MTU: a.MTU, Master: a.MasterIndex},
		up:       a.RawFlags&unix.IFF_UP != 0,
		running:  a.RawFlags&unix.IFF_RUNNING != 0,
		ethernet: a.EncapType == "ether" && len(a.HardwareAddr) == len(Link{}.MAC),
		loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
		static:   a.RawFlags&unix.IFF_NOARP != 0,
	}
	copy(d.MAC[:], a.HardwareAddr)
	// A VLAN whose parent is in another network namespace is left to tag its frames
	// itself: the parent cannot be reached, and its index means another device here.
	if vlan, ok := link.(*netlink.Vlan); ok && a.NetNsID < 0 {
		d.parent = a.ParentIndex
		d.tag = Tag{Type: uint16(vlan.VlanProtocol), ID: uint16(vlan.VlanId)}
	}
	return d
}

// fault says why no packet can leave by the device, or returns nil. It wraps
// errCannotSend where the kernel itself could send one.
func (d device) fault() error {
	switch {
	case !d.up:
		return fmt.Errorf("%s is down", d.Name)
	case !d.running:
		return fmt.Errorf("%s has no carrier", d.Name)
	case !d.ethernet:
		return fmt.Errorf("%w %s: it is no Ethernet interface", errCannotSend, d.Name)
	}
	return nil
}

// Interfaces returns the named interfaces of the calling thread's network namespace,
// in the order of names. Alternative names count too. Its error joins the faults of
// all names: no such interface (with the names there are), down, loopback, not Ethernet, or
// part of a bond or team, which takes over what its parts receive and send. A missing
// carrier is no error: it may come later. Ports of bridges and VRFs are as good as others.
func Interfaces(names []string) ([]Link, error) {
	all, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var links []Link
	var faults []error
	for _, name := range names {
		link, err := find(all, name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		links = append(links, link)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return links, nil
}

func find(all []netlink.Link, name string) (Link, error) {
	var others []string
	for _, link := range all {
		a := link.Attrs()
		if a.Name != name && !slices.Contains(a.AltNames, name) {
			if a.RawFlags&unix.IFF_LOOPBACK == 0 {
				others = append(others, a.Name)
			}
			continue
		}
		d := newDevice(link)
		switch {
		case d.loopback:
			return Link{}, fmt.Errorf("interface %s is the loopback: name one that faces the network", name)
		case !d.ethernet:
			return Link{}, fmt.Errorf("interface %s is not Ethernet: name one that is", name)
		case !d.up:
			return Link{}, fmt.Errorf("interface %s is down: switch it on with `ip link set %s up`", name, name)
		}
		if bond := bondOf(all, d.Master); bond != "" {
			return Link{}, fmt.Errorf("interface %s is part of %s: name %s instead", name, bond, bond)
		}
		return d.Link, nil
	}
	if len(others) == 0 {
		return Link{}, fmt.Errorf("no interface %s: this node has none but the loopback", name)
	}
	slices.Sort(others)
	return Link{}, fmt.Errorf("no interface %s: this node has %s", name, strings.Join(others, ", "))
}

// bondOf returns the name of the master with an index if it is a bond or team, else "".
func bondOf(all []netlink.Link, master int) string {
	for _, link := range all {
		if link.Attrs().Index == master && (link.Type() == "bond" || link.Type() == "team") {
			return link.Attrs().Name
		}
	}
	return ""
}

// LocalAddresses returns the addresses of all interfaces in the calling thread's
// network namespace, each with the name of an interface that holds it.
func LocalAddresses() (map[netip.Addr]string, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, link := range links {
		names[link.Attrs().Index] = link.Attrs().Name
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	local := make(map[netip.Addr]string, len(addrs))
	for _, a := range addrs {
		if addr := toAddr(a.IP); addr.IsValid() {
			local[addr] = names[a.LinkIndex]
		}
	}
	return local, nil
}

// dumpTries bounds how often a dump is repeated that changes of the kernel's tables
// interrupted. A busy node interrupts a few in a row, not ten.
const dumpTries = 10

// dump lists with f until a list is consistent. It returns netlink.ErrDumpInterrupted
// along with the last list when none was.
func dump[T any](f func() ([]T, error)) (list []T, err error) {
	for range dumpTries {
		if list, err = f(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, err
		}
	}
	return list, err
}

// toAddr turns the 4 or 16 bytes of a netlink attribute into an address; the zero Addr if there are none.
func toAddr(b []byte) netip.Addr {
	addr, _ := netip.AddrFromSlice(b)
	return addr.Unmap()
}
