package testenv

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// Options describe a lab. The zero value is a lab with three backends and one VIP.
type Options struct {
	Backends int          // how many, at most MaxBackends; 0: three
	VIPs     []netip.Addr // IPv4; nil: DefaultVIP alone
	Port     uint16       // of the backends' HTTP (TCP) and echo (UDP) servers; 0: DefaultPort
	// Decap makes a backend's interface accept tunnelled packets, KernelDecap for one. nil: AttachPass, for labs without
	// tunnels. The closer may be nil, and so the hook be left free.
	Decap func(n *Namespace, ifname string) (io.Closer, error)
}

func (o Options) withDefaults() (Options, error) {
	if o.Backends == 0 {
		o.Backends = 3
	}
	if o.Backends < 0 || o.Backends > MaxBackends {
		return o, fmt.Errorf("build lab: %d backends, ask for 1 to %d", o.Backends, MaxBackends)
	}
	if o.VIPs == nil {
		o.VIPs = []netip.Addr{DefaultVIP}
	}
	for _, vip := range o.VIPs {
		if !vip.Is4() {
			return o, fmt.Errorf("build lab: VIP %s, give an IPv4 address", vip)
		}
	}
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	if o.Decap == nil {
		o.Decap = AttachPass
	}
	return o, nil
}

// Lab is a small network: a client, a router, a load balancer's node and backends with servers. Every backend holds the
// VIPs and answers the client directly. Close it when done.
type Lab struct {
	Client   *Namespace
	Router   *Namespace
	LB       *Namespace // the node for the balancer; nothing is attached there
	Switch   *Switch    // nil in a routed lab
	Backends []*Backend
	VIPs     []netip.Addr
	Port     uint16

	LBAddr       netip.Addr // of the interface towards the backends
	LBInterfaces []string   // the one that VIP traffic comes in by is first
	LBPeers      []End      // the other ends of LBInterfaces, in their order

	options Options
	closers []io.Closer // closed last to first
}

// NewRouted builds client -- router -- {balancer, backends}: every node is on its own link and subnet of the router, which
// sends VIP traffic to the balancer. The balancer has one interface, packets leave by the one they came in by; tunnels
// bring them to the backends.
func NewRouted(o Options) (*Lab, error) {
	return build(o, func(l *Lab) error {
		if err := l.connectLB(lbAddr, lbGateway); err != nil {
			return err
		}
		for i, b := range l.Backends {
			subnet := [4]byte{10, 1, byte(i + 1), 1}
			addr := netip.PrefixFrom(netip.AddrFrom4(subnet), 24)
			subnet[3] = 254
			gateway := netip.PrefixFrom(netip.AddrFrom4(subnet), 24)
			router := End{l.Router, fmt.Sprintf("backend%d", i+1), mac(routerMAC, 3+i), []netip.Prefix{gateway}}
			if err := Connect(b.end(addr), router, LinkOptions{MTU: EncapMTU}); err != nil {
				return err
			}
			if err := l.routeBackend(b, gateway.Addr()); err != nil {
				return err
			}
		}
		return l.routeVIPs(lbAddr.Addr())
	})
}

// NewSwitched builds client -- router -- switch{balancer, backends}: balancer and backends are in one L2 segment, and the
// balancer has one interface.
func NewSwitched(o Options) (*Lab, error) {
	return build(o, func(l *Lab) error {
		if err := l.connectLAN(); err != nil {
			return err
		}
		if err := l.plugLB("eth0", 1); err != nil {
			return err
		}
		if err := l.LB.AddRoute(everywhere, lanGateway.Addr()); err != nil {
			return err
		}
		return l.routeVIPs(lanLB.Addr())
	})
}

// NewTwoArmed builds a balancer between two networks: its first interface is on a link with the router, its second in one
// L2 segment with the backends. The router is in that segment too, and takes the backends' answers.
func NewTwoArmed(o Options) (*Lab, error) {
	return build(o, func(l *Lab) error {
		if err := l.connectLB(lbAddr, lbGateway); err != nil {
			return err
		}
		if err := l.connectLAN(); err != nil {
			return err
		}
		if err := l.plugLB("eth1", 2); err != nil {
			return err
		}
		return l.routeVIPs(lbAddr.Addr())
	})
}

// build makes the nodes and the client's link, has join connect the rest, and starts the backends. What is there of a lab
// that cannot be finished is removed.
func build(o Options, join func(*Lab) error) (_ *Lab, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	l := &Lab{VIPs: slices.Clone(o.VIPs), Port: o.Port, options: o}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("build lab: %w", err), l.Close())
		}
	}()
	if err := l.addNodes(); err != nil {
		return nil, err
	}
	if err := l.connectClient(); err != nil {
		return nil, err
	}
	if err := join(l); err != nil {
		return nil, err
	}
	for i := range l.LBPeers {
		if err := l.hold(AttachPass(l.LBPeers[i].NS, l.LBPeers[i].Interface)); err != nil {
			return nil, err
		}
	}
	for _, b := range l.Backends {
		if err := l.hold(l.options.Decap(b.Namespace, b.Interface)); err != nil {
			return nil, err
		}
		l.closers = append(l.closers, b)
		if err := b.Restore(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *Lab) addNodes() error {
	for name, at := range map[string]**Namespace{"client": &l.Client, "router": &l.Router, "lb": &l.LB} {
		n, err := NewNamespace(name)
		if err := l.hold(n, err); err != nil {
			return err
		}
		*at = n
	}
	for i := range l.options.Backends {
		n, err := NewNamespace(fmt.Sprintf("backend%d", i+1))
		if err := l.hold(n, err); err != nil {
			return err
		}
		l.Backends = append(l.Backends, newBackend(n, mac(backendMAC, i+1), l.VIPs, l.Port))
	}
	return l.Router.Forward()
}

// hold keeps a part of the lab for Close; it takes the results of what made the part.
func (l *Lab) hold(c io.Closer, err error) error {
	if err == nil && c != nil {
		l.closers = append(l.closers, c)
	}
	return err
}

func (l *Lab) connectClient() error {
	client := End{l.Client, "eth0", mac(clientMAC, 1), []netip.Prefix{clientAddr}}
	router := End{l.Router, "client", mac(routerMAC, 1), []netip.Prefix{clientGateway}}
	if err := Connect(client, router, LinkOptions{}); err != nil {
		return err
	}
	if err := l.Client.AddLocalPrefix(ClientNet); err != nil {
		return err
	}
	if err := l.Client.AddRoute(everywhere, clientGateway.Addr()); err != nil {
		return err
	}
	return l.Router.AddRoute(ClientNet, clientAddr.Addr())
}

// connectLB gives the balancer a link of its own with the router, and its default route.
func (l *Lab) connectLB(addr, gateway netip.Prefix) error {
	lb := End{l.LB, "eth0", mac(lbMAC, 1), []netip.Prefix{addr}}
	router := End{l.Router, "lb", mac(routerMAC, 2), []netip.Prefix{gateway}}
	if err := Connect(lb, router, LinkOptions{MTU: EncapMTU}); err != nil {
		return err
	}
	l.LBAddr = addr.Addr()
	l.LBInterfaces, l.LBPeers = append(l.LBInterfaces, lb.Interface), append(l.LBPeers, router)
	return l.LB.AddRoute(everywhere, gateway.Addr())
}

// connectLAN makes the switch with the router and the backends on it.
func (l *Lab) connectLAN() error {
	s, err := NewSwitch("switch")
	if err := l.hold(s, err); err != nil {
		return err
	}
	l.Switch = s
	router := End{l.Router, "lan", mac(routerMAC, 3), []netip.Prefix{lanGateway}}
	if _, err := s.Plug(router, "router", LinkOptions{MTU: EncapMTU}); err != nil {
		return err
	}
	for i, b := range l.Backends {
		addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i + 1)}), 16)
		if _, err := s.Plug(b.end(addr), b.Name(), LinkOptions{MTU: EncapMTU}); err != nil {
			return err
		}
		if err := l.routeBackend(b, lanGateway.Addr()); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) plugLB(ifname string, number int) error {
	lb := End{l.LB, ifname, mac(lbMAC, number), []netip.Prefix{lanLB}}
	port, err := l.Switch.Plug(lb, "lb", LinkOptions{MTU: EncapMTU})
	if err != nil {
		return err
	}
	l.LBAddr = lanLB.Addr()
	l.LBInterfaces, l.LBPeers = append(l.LBInterfaces, ifname), append(l.LBPeers, port)
	return nil
}

func (l *Lab) routeBackend(b *Backend, gateway netip.Addr) error {
	if err := b.AddRoute(everywhere, gateway); err != nil {
		return err
	}
	return b.HoldVIPs(l.VIPs...)
}

func (l *Lab) routeVIPs(lb netip.Addr) error {
	for _, vip := range l.VIPs {
		if err := l.Router.AddRoute(netip.PrefixFrom(vip, vip.BitLen()), lb); err != nil {
			return err
		}
	}
	return nil
}

// RouteVIP has the router send a VIP's traffic to another gateway than before: past the balancer, or back to it.
func (l *Lab) RouteVIP(vip, via netip.Addr) error {
	return l.Router.ReplaceRoute(netip.PrefixFrom(vip, vip.BitLen()), via)
}

// Close stops the servers, detaches what the lab attached, and lets go of all namespaces, with all processes in them.
func (l *Lab) Close() error {
	var errs []error
	for _, c := range slices.Backward(l.closers) {
		errs = append(errs, c.Close())
	}
	l.closers = nil
	return errors.Join(errs...)
}
