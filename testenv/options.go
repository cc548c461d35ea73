package testenv

import (
	"fmt"
	"io"
	"net/netip"
)

// Options describe a lab. The zero value is a lab with three backends and one VIP.
type Options struct {
	Backends int          // how many, at most MaxBackends; 0: three
	VIPs     []netip.Addr // IPv4 and IPv6 in any mix; nil: DefaultVIP alone
	Port     uint16       // of the backends' HTTP (TCP) and UDP servers; 0: DefaultPort
	// MTUs in bytes, at least MinMTU. LBMTU is that of the balancer's links, BackendMTU that of the backends' links; 0:
	// EncapMTU. What is too large for a port of a switch vanishes, as nobody there tells the sender. ClientMTU is the
	// largest packet that the router lets through towards the client; larger ones it refuses with an ICMP error to their
	// source, which is the VIP for what a backend sends. Packets from the client may have DefaultMTU nevertheless, and so
	// may the segments that it asks for. 0: DefaultMTU.
	LBMTU, BackendMTU, ClientMTU int
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
		if !vip.IsValid() || vip.Is4In6() || vip.Zone() != "" {
			return o, fmt.Errorf("build lab: VIP %s, give an IPv4 or IPv6 address without a zone", vip)
		}
	}
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	for _, m := range []struct {
		what    string
		mtu     *int
		usually int
	}{{"balancer", &o.LBMTU, EncapMTU}, {"backend", &o.BackendMTU, EncapMTU}, {"client", &o.ClientMTU, DefaultMTU}} {
		if *m.mtu == 0 {
			*m.mtu = m.usually
		}
		if *m.mtu < MinMTU {
			return o, fmt.Errorf("build lab: %s MTU %d, give at least %d, without which there is no IPv6", m.what, *m.mtu, MinMTU)
		}
	}
	if o.ClientMTU > DefaultMTU {
		return o, fmt.Errorf("build lab: client MTU %d, give at most %d, the MTU of the client's link", o.ClientMTU, DefaultMTU)
	}
	if o.Decap == nil {
		o.Decap = AttachPass
	}
	return o, nil
}
