package neighbour_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control/neighbour"
)

func TestResolvesOnLinkAndThroughGateway(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.replaceRoute(route("10.9.0.0/16", "10.0.1.2"))
	l.replaceRoute(route("fd09::/16", "fd00:0:0:1::2"))
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
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{}, "10.9.0.1", "10.0.0.2")
	o.awaitErr("10.9.0.1", "no route to 10.9.0.1")
	l.replaceRoute(route("10.9.0.0/16", "10.0.0.2"))
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.DestMAC == mac(peerMAC0) })
	o.errs = nil
	l.replaceRoute(route("10.9.0.0/16", "10.0.1.2"))
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool {
		return h.DestMAC == mac(peerMAC1) && h.Interface == "eth1" && h.SourceMAC == mac(lbMAC1)
	})
	if len(o.errs) != 0 {
		t.Errorf("errors while the gateway changed: %v", o.errs)
	}
	for reason, kind := range map[string]int{
		"blackhole": unix.RTN_BLACKHOLE, "unreachable": unix.RTN_UNREACHABLE, "prohibit": unix.RTN_PROHIBIT,
	} {
		r := route("10.9.0.0/16", "")
		r.Type = kind
		l.replaceRoute(r)
		o.awaitErr("10.9.0.1", "route to 10.9.0.1 is of type "+reason)
	}
	l.must(l.lb.Netlink().RouteDel(route("10.9.0.0/16", "")))
	o.awaitErr("10.9.0.1", "no route to 10.9.0.1")
	l.replaceRoute(route("0.0.0.0/0", "10.0.0.2"))
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.DestMAC == mac(peerMAC0) })
}

func TestKeepsTheFormerHopWhileANewGatewayIsResolved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.replaceRoute(route("10.9.0.0/16", "10.0.0.2"))
	o := l.watch(neighbour.Options{}, "10.9.0.1", "10.8.0.1")
	former := o.awaitAnyHop("10.9.0.1")
	l.must(l.lb.Sysctl("net.ipv4.neigh.eth0.retrans_time_ms", "60000"))
	l.replaceRoute(route("10.9.0.0/16", "10.0.0.9")) // where nobody is
	l.replaceRoute(route("10.8.0.0/16", "10.0.1.2"))
	o.awaitAnyHop("10.8.0.1")
	if u, _ := o.Get(netip.MustParseAddr("10.9.0.1")); u.Hop != former {
		t.Errorf("got %+v, want %+v", u, former)
	}
}

func TestFollowsPolicyRules(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.replaceRoute(route("10.9.0.0/16", "10.0.0.2"))
	aside := route("10.9.0.0/16", "10.0.1.2")
	aside.Table = 100
	l.replaceRoute(aside)
	o := l.watch(neighbour.Options{}, "10.9.0.1")
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.Interface == "eth0" })
	rule := netlink.NewRule()
	rule.Table, rule.Dst, rule.Priority = 100, route("10.9.0.0/16", "").Dst, 99
	l.must(l.lb.Netlink().RuleAdd(rule))
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.Interface == "eth1" })
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
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{}, "10.0.0.2", "10.9.0.1")
	o.awaitHop("10.0.0.2", func(h neighbour.NextHop) bool { return h.MTU == 1500 })
	l.must(l.lb.Netlink().LinkSetMTU(l.link(l.lb, "eth0"), 1400))
	o.awaitHop("10.0.0.2", func(h neighbour.NextHop) bool { return h.MTU == 1400 })
	r := route("10.9.0.0/16", "10.0.0.2")
	r.MTU = 1300
	l.replaceRoute(r)
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.MTU == 1300 })
	r.MTU = 9000
	l.replaceRoute(r)
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.MTU == 1400 })
}

func TestFollowsLinks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{}, "10.0.0.2", "10.0.1.2", "fd00::2")
	o.awaitAnyHop("10.0.0.2")
	o.awaitAnyHop("10.0.1.2")
	o.awaitAnyHop("fd00::2")

	l.must(l.peer.Netlink().LinkSetDown(l.link(l.peer, "eth0")))
	o.awaitErr("10.0.0.2", "eth0 has no carrier")
	o.awaitErr("fd00::2", "eth0 has no carrier")
	l.must(l.peer.Netlink().LinkSetUp(l.link(l.peer, "eth0")))
	o.awaitAnyHop("10.0.0.2")

	l.must(l.lb.Netlink().LinkSetDown(l.link(l.lb, "eth0")))
	o.awaitErr("10.0.0.2", "eth0 is down")
	l.must(l.lb.Netlink().LinkSetUp(l.link(l.lb, "eth0")))
	o.awaitAnyHop("10.0.0.2")

	l.must(l.lb.Netlink().LinkSetHardwareAddr(l.link(l.lb, "eth0"), movedMAC))
	o.awaitHop("10.0.0.2", func(h neighbour.NextHop) bool { return h.SourceMAC == mac(movedMAC) })

	if u := o.last[netip.MustParseAddr("10.0.1.2")]; u.Err != nil {
		t.Errorf("an address behind eth1 suffered: %v", u.Err)
	}
	l.must(l.lb.Netlink().LinkDel(l.link(l.lb, "eth1")))
	o.awaitErr("10.0.1.2", "no route to 10.0.1.2: eth1 is gone")
}

func TestTakesTheRouteThatIsLeftWhenAnInterfaceGoesDown(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.replaceRoute(route("10.9.0.0/24", "10.0.0.2"))
	l.replaceRoute(route("10.9.0.0/16", "10.0.1.2"))
	o := l.watch(neighbour.Options{}, "10.9.0.1")
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.Interface == "eth0" })
	l.must(l.lb.Netlink().LinkSetDown(l.link(l.lb, "eth0")))
	o.awaitHop("10.9.0.1", func(h neighbour.NextHop) bool { return h.Interface == "eth1" })
}

func TestRefusesAddressesThatNeedNoNextHop(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	onLoopback := route("10.7.0.0/16", "")
	onLoopback.LinkIndex = l.index("lo")
	l.replaceRoute(onLoopback)
	o := l.watch(neighbour.Options{}, "10.0.0.1", "10.0.0.255", "10.7.0.1", "224.1.2.3", "fd00::1")
	o.awaitErr("10.0.0.1", "10.0.0.1 is this node's own address")
	o.awaitErr("fd00::1", "fd00::1 is this node's own address")
	o.awaitErr("10.0.0.255", "10.0.0.255 is a broadcast address")
	o.awaitErr("10.7.0.1", "lo is no Ethernet interface")
}

func TestFollowsAnAddressThatBecomesLocal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{}, "10.0.0.2")
	o.awaitAnyHop("10.0.0.2")
	addr := &netlink.Addr{IPNet: route("10.0.0.2/32", "").Dst}
	l.must(l.lb.Netlink().AddrAdd(l.link(l.lb, "lo"), addr))
	o.awaitErr("10.0.0.2", "10.0.0.2 is this node's own address")
	l.must(l.lb.Netlink().AddrDel(l.link(l.lb, "lo"), addr))
	o.awaitAnyHop("10.0.0.2")
}

func TestWatchReplacesTheSet(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{}, "10.0.0.2", "10.0.1.2")
	first := o.awaitAnyHop("10.0.0.2")
	o.Watch(parse("::ffff:10.0.0.2", "fd00::2"))
	o.awaitAnyHop("fd00::2")
	if u, ok := o.Get(netip.MustParseAddr("10.0.1.2")); ok {
		t.Errorf("removed address is still known: %+v", u)
	}
	if u, _ := o.Get(netip.MustParseAddr("10.0.0.2")); u.Hop != first {
		t.Errorf("kept address has %+v, want %+v", u, first)
	}
	clear(o.last)
	o.Watch(nil)
	o.Watch(parse("10.0.0.2"))
	if got := o.awaitAnyHop("10.0.0.2"); got != first {
		t.Errorf("address added again has %+v, want %+v", got, first)
	}
	if n := len(o.Snapshot()); n != 1 {
		t.Errorf("snapshot has %d addresses, want 1", n)
	}
}

func TestSlowReaderGetsTheLatestOnly(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{}, "10.9.0.1", "10.0.1.2")
	o.awaitErr("10.9.0.1", "no route")
	o.awaitAnyHop("10.0.1.2")
	for mtu := 1000; mtu < 1100; mtu++ {
		r := route("10.9.0.0/16", "10.0.0.2")
		r.MTU = mtu
		l.replaceRoute(r)
	}
	latest := func() bool {
		u, _ := o.Get(netip.MustParseAddr("10.9.0.1"))
		return u.Hop.MTU == 1099
	}
	l.eventually("status to be the latest", latest)
	clear(o.last)
	o.next("batch")
	if u := o.last[netip.MustParseAddr("10.9.0.1")]; u.Hop.MTU != 1099 || len(o.last) != 1 {
		t.Errorf("first batch has %+v, want 10.9.0.1 alone, with MTU 1099", o.last)
	}
}

func TestBurstOfRouteChangesEndsRight(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{}, burst...)
	l.changeRoutes(1000)
	o.awaitBurst()
}

func TestOverrunLeadsToResync(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{ReceiveBuffer: 1}, burst...)
	o.awaitErr(burst[0], "no route")
	before := o.Stats()
	release := o.Hold()
	l.changeRoutes(1000)
	l.must(l.lb.Netlink().LinkSetMTU(l.link(l.lb, "eth1"), 1234))
	release()
	o.awaitBurst()
	o.awaitHop(burst[0], func(h neighbour.NextHop) bool { return h.MTU == 1234 })
	after := o.Stats()
	if after.Overruns <= before.Overruns || after.Resyncs <= before.Resyncs {
		t.Errorf("stats went from %+v to %+v, want both to grow", before, after)
	}
}

// burst is one address out of each prefix that changeRoutes changes.
var burst = []string{"10.9.0.1", "10.9.1.1", "10.9.2.1", "10.9.3.1", "10.9.4.1"}

// changeRoutes makes n changes to the routes of burst. In the end all of them lead to eth1.
func (l *lab) changeRoutes(n int) {
	l.t.Helper()
	for i := range n {
		gateway := "10.0.0.2"
		if i%2 == 0 || n-i <= len(burst) {
			gateway = "10.0.1.2"
		}
		l.replaceRoute(route(fmt.Sprintf("10.9.%d.0/24", i%len(burst)), gateway))
	}
}

func (o *observer) awaitBurst() {
	o.t.Helper()
	for _, a := range burst {
		o.awaitHop(a, func(h neighbour.NextHop) bool { return h.Interface == "eth1" && h.DestMAC == mac(peerMAC1) })
	}
}

func TestCloseLeaksNothing(t *testing.T) {
	l := newLab(t)
	ns := netns.NsHandle(l.lb.FD())
	others := goleak.IgnoreCurrent()
	descriptors := openDescriptors(t)
	for _, end := range []func(w *neighbour.Watcher, cancel func()){
		func(w *neighbour.Watcher, _ func()) { w.Close() },
		func(_ *neighbour.Watcher, cancel func()) { cancel() },
	} {
		w, err := neighbour.New(neighbour.Options{Namespace: &ns})
		l.must(err)
		w.Watch(parse("10.0.0.2"))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		<-w.Updates()
		end(w, cancel)
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		if _, open := <-w.Updates(); open {
			t.Error("updates are still open")
		}
		if w.Run(t.Context()) == nil {
			t.Error("a watcher that ended runs again")
		}
		w.Close()
		w.Close()
		cancel()
	}
	unused, err := neighbour.New(neighbour.Options{Namespace: &ns})
	l.must(err)
	unused.Close()
	goleak.VerifyNone(t, others)
	if now := openDescriptors(t); now != descriptors {
		t.Errorf("%d descriptors are open, %d were before", now, descriptors)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestGetSaysThatNothingIsKnownYet(t *testing.T) {
	w, err := neighbour.New(neighbour.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Watch(parse("192.0.2.1"))
	u, ok := w.Get(netip.MustParseAddr("192.0.2.1"))
	if !ok || !errors.Is(u.Err, neighbour.ErrPending) {
		t.Errorf("got %+v, want an error that wraps ErrPending", u)
	}
}
