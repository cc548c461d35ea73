package neighbour_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control/neighbour"
)

// family is what one version of IP has in the lab: an address far away, the prefixes it is
// in, and what it may be reached through.
type family struct {
	name, sysctl string
	far          string
	wide, narrow string // prefixes of far
	all          string // the default route's
	gateway0     string // the peer on eth0
	gateway1     string // the peer on eth1
	absent       string // nobody, on eth0
}

var families = []family{
	{
		name: "IPv4", sysctl: "net.ipv4.", far: "10.9.0.1", wide: "10.9.0.0/16", narrow: "10.9.0.0/24", all: "0.0.0.0/0",
		gateway0: "10.0.0.2", gateway1: "10.0.1.2", absent: "10.0.0.9",
	},
	{
		name: "IPv6", sysctl: "net.ipv6.", far: "fd09::1", wide: "fd09::/16", narrow: "fd09::/64", all: "::/0",
		gateway0: "fd00::2", gateway1: "fd00:0:0:1::2", absent: "fd00::9",
	},
}

// eachFamily runs a test for both versions of IP, each in a lab of its own.
func eachFamily(t *testing.T, test func(*lab, family)) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			test(newLab(t), f)
		})
	}
}

// through fits next hops by way of eth0 or eth1.
func through(name string) func(neighbour.NextHop) bool {
	peer := map[string]net.HardwareAddr{"eth0": peerMAC0, "eth1": peerMAC1}[name]
	own := map[string]net.HardwareAddr{"eth0": lbMAC0, "eth1": lbMAC1}[name]
	return func(h neighbour.NextHop) bool {
		return h.Interface == name && h.DestMAC == mac(peer) && h.SourceMAC == mac(own)
	}
}

func TestResolvesOnLinkAndThroughGateway(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.replaceRoute(route("10.9.0.0/16", "10.0.1.2"))
	l.replaceRoute(route("fd09::/16", "fd00:0:0:1::2"))
	// A link-local gateway is another neighbour on each link.
	for name, dst := range map[string]string{"eth0": "fd10::/16", "eth1": "fd11::/16"} {
		local := route(dst, "fe80::2")
		local.LinkIndex = l.index(name)
		l.replaceRoute(local)
	}
	over6 := route("10.10.0.0/16", "")
	over6.Via, over6.LinkIndex = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: net.ParseIP("fd00::2")}, l.index("eth0")
	l.replaceRoute(over6)
	addr := netip.MustParseAddr
	eth0 := neighbour.NextHop{Interface: "eth0", Index: l.index("eth0"), MTU: 1500, SourceMAC: mac(lbMAC0), DestMAC: mac(peerMAC0)}
	eth1 := neighbour.NextHop{Interface: "eth1", Index: l.index("eth1"), MTU: 1500, SourceMAC: mac(lbMAC1), DestMAC: mac(peerMAC1)}
	with := func(h neighbour.NextHop, source, gateway string) neighbour.NextHop {
		h.Source = addr(source)
		if gateway != "" {
			h.Gateway = addr(gateway)
		}
		return h
	}
	want := map[string]neighbour.NextHop{
		"10.0.0.2":  with(eth0, "10.0.0.1", ""),
		"10.9.8.7":  with(eth1, "10.0.1.1", "10.0.1.2"),
		"10.9.8.8":  with(eth1, "10.0.1.1", "10.0.1.2"),
		"10.10.0.1": with(eth0, "10.0.0.1", "fd00::2"),
		"fd00::2":   with(eth0, "fd00::1", ""),
		"fd09::7":   with(eth1, "fd00:0:0:1::1", "fd00:0:0:1::2"),
		"fd10::7":   with(eth0, "fd00::1", "fe80::2"),
		"fd11::7":   with(eth1, "fd00:0:0:1::1", "fe80::2"),
	}
	var addrs []string
	for a := range want {
		addrs = append(addrs, a)
	}
	o := l.watch(neighbour.Options{}, addrs...)
	for a, hop := range want {
		if got := o.awaitAnyHop(a); got != hop {
			t.Errorf("%s: got %+v, want %+v", a, got, hop)
		}
	}
	if n := len(o.Snapshot()); n != len(want) {
		t.Errorf("snapshot has %d addresses, want %d", n, len(want))
	}
}

func TestFollowsRoutes(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		o := l.watch(neighbour.Options{}, f.far, f.gateway0)
		o.awaitErr(f.far, "no route to "+f.far)
		l.replaceRoute(route(f.wide, f.gateway0))
		o.awaitHop(f.far, through("eth0"))
		o.errs = nil
		l.replaceRoute(route(f.wide, f.gateway1))
		o.awaitHop(f.far, through("eth1"))
		if len(o.errs) != 0 {
			l.t.Errorf("errors while the gateway changed: %v", o.errs)
		}
		for reason, kind := range map[string]int{
			"blackhole": unix.RTN_BLACKHOLE, "unreachable": unix.RTN_UNREACHABLE, "prohibit": unix.RTN_PROHIBIT,
		} {
			r := route(f.wide, "")
			r.Type = kind
			l.replaceRoute(r)
			o.awaitErr(f.far, "route to "+f.far+" is of type "+reason)
		}
		l.must(l.lb.Netlink().RouteDel(route(f.wide, "")))
		o.awaitErr(f.far, "no route to "+f.far)
		l.replaceRoute(route(f.all, f.gateway0))
		o.awaitHop(f.far, through("eth0"))
	})
}

func TestKeepsTheFormerHopWhileANewGatewayIsResolved(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		l.replaceRoute(route(f.wide, f.gateway0))
		o := l.watch(neighbour.Options{}, f.far, "10.8.0.1")
		former := o.awaitAnyHop(f.far)
		l.must(l.lb.Sysctl(f.sysctl+"neigh.eth0.retrans_time_ms", "60000"))
		l.replaceRoute(route(f.wide, f.absent))
		l.replaceRoute(route("10.8.0.0/16", "10.0.1.2"))
		o.awaitAnyHop("10.8.0.1")
		if u, _ := o.Get(netip.MustParseAddr(f.far)); u.Hop != former {
			l.t.Errorf("got %+v, want %+v", u, former)
		}
	})
}

func TestFollowsPolicyRules(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		l.replaceRoute(route(f.wide, f.gateway0))
		aside := route(f.wide, f.gateway1)
		aside.Table = 100
		l.replaceRoute(aside)
		o := l.watch(neighbour.Options{}, f.far)
		o.awaitHop(f.far, through("eth0"))
		rule := netlink.NewRule()
		rule.Table, rule.Dst, rule.Priority = 100, route(f.wide, "").Dst, 99
		l.must(l.lb.Netlink().RuleAdd(rule))
		o.awaitHop(f.far, through("eth1"))
	})
}

func TestFollowsNextHopObjects(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	// As configured here, a changed object sends no events for the routes that use it.
	l.must(l.lb.Sysctl("net.ipv4.nexthop_compat_mode", "0"))
	const id, attrNextHop = 7, 30 // RTA_NH_ID
	u32 := func(kind int, v int) *nl.RtAttr { return nl.NewRtAttr(kind, nl.Uint32Attr(uint32(v))) }
	point := func(device, gateway string) {
		t.Helper()
		l.request(unix.RTM_NEWNEXTHOP, rawHeader{unix.AF_INET, 0, 0, 0, 0, 0, 0, 0},
			u32(unix.NHA_ID, id), u32(unix.NHA_OIF, l.index(device)),
			nl.NewRtAttr(unix.NHA_GATEWAY, net.ParseIP(gateway).To4()))
	}
	point("eth0", "10.0.0.2")
	header := nl.NewRtMsg()
	header.Family, header.Dst_len = unix.AF_INET, 16
	l.request(unix.RTM_NEWROUTE, header, nl.NewRtAttr(unix.RTA_DST, []byte{10, 9, 0, 0}), u32(attrNextHop, id))
	o := l.watch(neighbour.Options{}, "10.9.0.1")
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.DestMAC == mac(peerMAC0) })
	point("eth1", "10.0.1.2")
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.DestMAC == mac(peerMAC1) })
}

// rawHeader is the header of a netlink message as it goes over the socket.
type rawHeader []byte

func (h rawHeader) Len() int          { return len(h) }
func (h rawHeader) Serialize() []byte { return h }

// request sends what the netlink library has no call for.
func (l *lab) request(kind int, parts ...nl.NetlinkRequestData) {
	l.t.Helper()
	l.must(l.lb.Do(func() error {
		r := nl.NewNetlinkRequest(kind, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
		for _, p := range parts {
			r.AddData(p)
		}
		_, err := r.Execute(unix.NETLINK_ROUTE, 0)
		return err
	}))
}

func TestFollowsMTUOfLinkAndRoute(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		mtu := func(want int) func(neighbour.NextHop) bool {
			return func(h neighbour.NextHop) bool { return h.MTU == want }
		}
		o := l.watch(neighbour.Options{}, f.gateway0, f.far)
		o.awaitHop(f.gateway0, mtu(1500))
		l.must(l.lb.Netlink().LinkSetMTU(l.link(l.lb, "eth0"), 1400))
		o.awaitHop(f.gateway0, mtu(1400))
		r := route(f.wide, f.gateway0)
		r.MTU = 1300
		l.replaceRoute(r)
		o.awaitHop(f.far, mtu(1300))
		r.MTU = 9000
		l.replaceRoute(r)
		o.awaitHop(f.far, mtu(1400))
	})
}

func TestTakesTheRouteThatIsLeftWhenAnInterfaceGoesDown(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		l.replaceRoute(route(f.narrow, f.gateway0))
		l.replaceRoute(route(f.wide, f.gateway1))
		o := l.watch(neighbour.Options{}, f.far)
		o.awaitHop(f.far, through("eth0"))
		l.must(l.lb.Netlink().LinkSetDown(l.link(l.lb, "eth0")))
		o.awaitHop(f.far, through("eth1"))
	})
}

func TestRefusesAddressesThatNeedNoNextHop(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	onLoopback := route("10.7.0.0/16", "")
	onLoopback.LinkIndex = l.index("lo")
	l.replaceRoute(onLoopback)
	o := l.watch(neighbour.Options{}, "10.0.0.1", "10.0.0.255", "10.7.0.1", "224.1.2.3", "fd00::1", "ff02::1")
	o.awaitErr("10.0.0.1", "10.0.0.1 is this node's own address")
	o.awaitErr("fd00::1", "fd00::1 is this node's own address")
	o.awaitErr("10.0.0.255", "10.0.0.255 is a broadcast address")
	o.awaitErr("10.7.0.1", "xlb cannot send through lo: it is no Ethernet interface")
	o.awaitErr("ff02::1", "ff02::1 is no unicast address")
	l.must(l.lb.Netlink().RouteDel(onLoopback))
	o.awaitErr("10.7.0.1", "no route to 10.7.0.1")
	if got := o.last[netip.MustParseAddr("10.7.0.1")].Err.Error(); got != "no route to 10.7.0.1" {
		t.Errorf("got %q, want no word about the loopback, which is not the cause", got)
	}
}

func TestFollowsAnAddressThatBecomesLocal(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		o := l.watch(neighbour.Options{}, f.gateway0)
		o.awaitAnyHop(f.gateway0)
		a := netip.MustParseAddr(f.gateway0)
		own := addr(netip.PrefixFrom(a, a.BitLen()).String())
		l.must(l.lb.Netlink().AddrAdd(l.link(l.lb, "lo"), own))
		o.awaitErr(f.gateway0, f.gateway0+" is this node's own address")
		l.must(l.lb.Netlink().AddrDel(l.link(l.lb, "lo"), own))
		o.awaitAnyHop(f.gateway0)
	})
}

func TestIPv6SourceIsNeverLinkLocal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.replaceRoute(route("fd09::/16", "fd00::2"))
	source := func(want string) func(neighbour.NextHop) bool {
		a, _ := netip.ParseAddr(want)
		return func(h neighbour.NextHop) bool { return h.Source == a }
	}
	o := l.watch(neighbour.Options{}, "fd09::1", "fe80::2")
	o.awaitHop("fd09::1", source("fd00::1"))
	o.awaitHop("fe80::2", source(""))

	// Without an address of that scope on the link, any other of this node's.
	local := route("fd09::/16", "fe80::2")
	local.LinkIndex = l.index("eth0")
	l.replaceRoute(local)
	l.must(l.lb.Netlink().AddrDel(l.link(l.lb, "eth0"), addr("fd00::1/64")))
	o.awaitHop("fd09::1", source("fd00:0:0:1::1"))

	l.must(l.lb.Netlink().AddrDel(l.link(l.lb, "eth1"), addr("fd00:0:0:1::1/64")))
	o.awaitHop("fd09::1", source(""))

	l.must(l.lb.Netlink().AddrAdd(l.link(l.lb, "lo"), addr("fd00:0:0:2::1/128")))
	o.awaitHop("fd09::1", source("fd00:0:0:2::1"))
}
