package testenv

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
)

// Lab is a small network: a client, a router, a load balancer's node and backends with servers, all with IPv4 and IPv6.
// Every backend holds the VIPs and answers the client directly. Close it when done.
type Lab struct {
	Client   *Namespace
	Router   *Namespace
	LB       *Namespace // the node for the balancer; nothing is attached there
	Switch   *Switch    // nil in a routed lab
	Backends []*Backend
	VIPs     []netip.Addr
	Port     uint16

	LBAddr, LBAddr6 netip.Addr // of the interface towards the backends
	LBInterfaces    []string   // the one that VIP traffic comes in by is first
	LBPeers         []End      // the other ends of LBInterfaces, in their order

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
			addr, gateway := routedBackend(i + 1)
			router := endOf(l.Router, fmt.Sprintf("backend%d", i+1), mac(routerMAC, 3+i), gateway)
			if err := Connect(b.end(addr), router, LinkOptions{MTU: l.options.BackendMTU}); err != nil {
				return err
			}
			if err := l.routeBackend(b, gateway); err != nil {
				return err
			}
		}
		return l.routeVIPs(lbAddr)
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
		if err := l.LB.addDefaultRoutes(lanGateway); err != nil {
			return err
		}
		return l.routeVIPs(lanLB)
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
		return l.routeVIPs(lbAddr)
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

// endOf returns an end with addresses of both families, and the link-local one.
func endOf(n *Namespace, ifname string, mac net.HardwareAddr, p pair) End {
	return End{n, ifname, mac, []netip.Prefix{p.v4, p.v6, linkLocal(mac)}}
}

func (l *Lab) connectClient() error {
	client := endOf(l.Client, "eth0", mac(clientMAC, 1), clientAddr)
	router := endOf(l.Router, "client", mac(routerMAC, 1), clientGateway)
	if err := Connect(client, router, LinkOptions{}); err != nil {
		return err
	}
	for _, p := range []netip.Prefix{ClientNet, ClientNet6} {
		if err := l.Client.AddLocalPrefix(p); err != nil {
			return err
		}
	}
	if err := l.Client.addDefaultRoutes(clientGateway); err != nil {
		return err
	}
	mtu := 0
	if l.options.ClientMTU < DefaultMTU {
		mtu = l.options.ClientMTU
	}
	for _, p := range []struct{ addr, net netip.Prefix }{{clientAddr.v4, ClientNet}, {clientAddr.v6, ClientNet6}} {
		via := p.addr.Addr()
		if err := l.Router.addRoute(p.net, via, mtu); err != nil {
			return err
		}
		if mtu == 0 {
			continue
		}
		if err := l.Router.limitHost(router.Interface, via, mtu); err != nil {
			return err
		}
	}
	return nil
}

// connectLB gives the balancer a link of its own with the router, and its default routes.
func (l *Lab) connectLB(addr, gateway pair) error {
	lb := endOf(l.LB, "eth0", mac(lbMAC, 1), addr)
	router := endOf(l.Router, "lb", mac(routerMAC, 2), gateway)
	if err := Connect(lb, router, LinkOptions{MTU: l.options.LBMTU}); err != nil {
		return err
	}
	l.addLBLink(lb, router, addr)
	return l.LB.addDefaultRoutes(gateway)
}

// connectLAN makes the switch with the router and the backends on it.
func (l *Lab) connectLAN() error {
	s, err := NewSwitch("switch")
	if err := l.hold(s, err); err != nil {
		return err
	}
	l.Switch = s
	router := endOf(l.Router, "lan", mac(routerMAC, 3), lanGateway)
	if _, err := s.Plug(router, "router", LinkOptions{MTU: EncapMTU}); err != nil {
		return err
	}
	for i, b := range l.Backends {
		if _, err := s.Plug(b.end(lanBackend(i+1)), b.Name(), LinkOptions{MTU: l.options.BackendMTU}); err != nil {
			return err
		}
		if err := l.routeBackend(b, lanGateway); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) plugLB(ifname string, number int) error {
	lb := endOf(l.LB, ifname, mac(lbMAC, number), lanLB)
	port, err := l.Switch.Plug(lb, "lb", LinkOptions{MTU: l.options.LBMTU})
	if err != nil {
		return err
	}
	l.addLBLink(lb, port, lanLB)
	return nil
}

func (l *Lab) addLBLink(lb, peer End, addr pair) {
	l.LBAddr, l.LBAddr6 = addr.v4.Addr(), addr.v6.Addr()
	l.LBInterfaces, l.LBPeers = append(l.LBInterfaces, lb.Interface), append(l.LBPeers, peer)
}

func (l *Lab) routeBackend(b *Backend, gateway pair) error {
	if err := b.addDefaultRoutes(gateway); err != nil {
		return err
	}
	return b.HoldVIPs(l.VIPs...)
}

func (l *Lab) routeVIPs(lb pair) error {
	for _, vip := range l.VIPs {
		via := lb.v4.Addr()
		if vip.Is6() {
			via = lb.v6.Addr()
		}
		if err := l.Router.AddRoute(netip.PrefixFrom(vip, vip.BitLen()), via); err != nil {
			return err
		}
	}
	return nil
}

// RouteVIP has the router send a VIP's traffic to another gateway of its family than before: past the balancer, or back
// to it.
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
