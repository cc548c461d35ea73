package testenv

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// MTUs of lab links. Links that carry tunnelled packets need room for the outer headers, or a full-sized packet vanishes.
const (
	DefaultMTU = 1500
	EncapMTU   = 1600
	MinMTU     = 1280 // of a link with IPv6 (RFC 8200, section 5)
)

// End is one end of a link: an interface in a namespace.
type End struct {
	NS        *Namespace
	Interface string
	MAC       net.HardwareAddr // nil: the kernel picks one
	Addrs     []netip.Prefix   // addresses of the interface, with the length of their subnet
}

// LinkOptions are what both ends of a link share.
type LinkOptions struct {
	MTU int // bytes without the Ethernet header; 0: DefaultMTU
}

// Connect joins two namespaces with a veth pair and sets both ends up, with TX offload of checksums and VLAN tags off. A
// veth leaves both to hardware that does not exist: a packet that XDP sends on would arrive with a wrong checksum, and
// without the tag, which XDP does not see at all.
func Connect(a, b End, o LinkOptions) error {
	if o.MTU == 0 {
		o.MTU = DefaultMTU
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = a.Interface, o.MTU, a.MAC
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerNamespace = b.Interface, b.MAC, netlink.NsFd(b.NS.FD())
	if err := a.NS.Netlink().LinkAdd(veth); err != nil {
		return fmt.Errorf("connect %s to %s: add veth pair: %w", a, b, err)
	}
	for _, e := range []End{a, b} {
		if err := e.up(); err != nil {
			return fmt.Errorf("connect %s to %s: %w", a, b, err)
		}
	}
	return nil
}

// String names the end in messages, as "namespace/interface".
func (e End) String() string { return e.NS.Name() + "/" + e.Interface }

func (e End) up() error {
	link, err := e.NS.Netlink().LinkByName(e.Interface)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", e, err)
	}
	if err := e.NS.Do(func() error { return withoutOffload(e.Interface) }); err != nil {
		return fmt.Errorf("switch off offloads of %s: %w", e, err)
	}
	if err := e.NS.Netlink().LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", e, err)
	}
	for _, p := range e.Addrs {
		if err := e.NS.Netlink().AddrAdd(link, address(p)); err != nil {
			return fmt.Errorf("add address %s to %s: %w", p, e, err)
		}
	}
	return nil
}

// offloads are left to hardware by a veth unless they are switched off.
var offloads = map[string]bool{
	"tx-checksum-ip-generic": false,
	"tx-vlan-hw-insert":      false,
	"tx-vlan-stag-hw-insert": false,
}

func withoutOffload(ifname string) error {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer tool.Close()
	return tool.Change(ifname, offloads)
}

// address is an address for an interface, usable at once.
func address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		// Where duplicate address detection is off as a whole, addresses still wait for the kernel's worker.
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// ipNet converts a prefix and keeps its host bits.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Switch is a namespace with a learning bridge: no spanning tree, so that a port forwards at once, and no multicast snooping.
type Switch struct {
	*Namespace
	bridge *netlink.Bridge
}

// NewSwitch makes a switch without ports. Its ports' MTUs decide the MTU of the bridge.
func NewSwitch(name string) (*Switch, error) {
	n, err := NewNamespace(name)
	if err != nil {
		return nil, err
	}
	s := &Switch{Namespace: n}
	if err := s.addBridge(); err != nil {
		n.Close()
		return nil, fmt.Errorf("make switch %s: %w", name, err)
	}
	return s, nil
}

func (s *Switch) addBridge() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "switch"
	off := false
	s.bridge = &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}
	if err := s.Netlink().LinkAdd(s.bridge); err != nil {
		return fmt.Errorf("add bridge: %w", err)
	}
	if err := s.Netlink().LinkSetUp(s.bridge); err != nil {
		return fmt.Errorf("set bridge up: %w", err)
	}
	return nil
}

// Plug connects an end to a new port of the switch and returns the port.
func (s *Switch) Plug(e End, port string, o LinkOptions) (End, error) {
	p := End{NS: s.Namespace, Interface: port}
	if err := Connect(e, p, o); err != nil {
		return End{}, err
	}
	link, err := s.Netlink().LinkByName(port)
	if err != nil {
		return End{}, fmt.Errorf("find port %s: %w", p, err)
	}
	if err := s.Netlink().LinkSetMaster(link, s.bridge); err != nil {
		return End{}, fmt.Errorf("add port %s to its bridge: %w", p, err)
	}
	return p, nil
}
