package neighbour_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/testenv"
)

// deadline is for what must happen. It is shorter than the watcher's own refresh, which
// would hide an event that was missed.
const deadline = 20 * time.Second

var (
	lbMAC0   = net.HardwareAddr{2, 0, 0, 0, 3, 0}
	lbMAC1   = net.HardwareAddr{2, 0, 0, 0, 3, 1}
	peerMAC0 = net.HardwareAddr{2, 0, 0, 0, 2, 0}
	peerMAC1 = net.HardwareAddr{2, 0, 0, 0, 2, 1}
	movedMAC = net.HardwareAddr{2, 0, 0, 0, 2, 9}
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a load balancer with two links to one peer: eth0 and eth1 on both sides, lb 10.0.0.1
// and 10.0.1.1, peer 10.0.0.2 and 10.0.1.2, the same in fd00:0::/64 and fd00:1::/64.
type lab struct {
	t        *testing.T
	lb, peer *testenv.Namespace
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, lb: namespace(t, "lb"), peer: namespace(t, "peer")}
	l.connect("eth0", lbMAC0, peerMAC0, "10.0.0.1/24", "10.0.0.2/24", "fd00::1/64", "fd00::2/64")
	l.connect("eth1", lbMAC1, peerMAC1, "10.0.1.1/24", "10.0.1.2/24", "fd00:0:0:1::1/64", "fd00:0:0:1::2/64")
	// Each interface answers for its own addresses alone.
	l.must(l.peer.Sysctl("net.ipv4.conf.all.arp_ignore", "1"))
	return l
}

func namespace(t *testing.T, name string) *testenv.Namespace {
	t.Helper()
	n, err := testenv.NewNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func (l *lab) connect(name string, lbMAC, peerMAC net.HardwareAddr, lb4, peer4, lb6, peer6 string) {
	l.t.Helper()
	ends := [2]testenv.End{
		{NS: l.lb, Interface: name, MAC: lbMAC},
		{NS: l.peer, Interface: name, MAC: peerMAC},
	}
	// Neighbour discovery that no packet causes has a link-local source.
	for i, addrs := range [2][]string{{lb4, lb6, "fe80::1/64"}, {peer4, peer6, "fe80::2/64"}} {
		for _, a := range addrs {
			ends[i].Addrs = append(ends[i].Addrs, netip.MustParsePrefix(a))
		}
	}
	l.must(testenv.Connect(ends[0], ends[1], testenv.LinkOptions{}))
	// A neighbour that does not answer is known after 150 ms instead of 3 s.
	for _, family := range []string{"ipv4", "ipv6"} {
		l.must(l.lb.Sysctl("net."+family+".neigh."+name+".retrans_time_ms", "50"))
	}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) link(ns *testenv.Namespace, name string) netlink.Link {
	l.t.Helper()
	link, err := ns.Netlink().LinkByName(name)
	l.must(err)
	return link
}

func (l *lab) index(name string) int { return l.link(l.lb, name).Attrs().Index }

func addr(prefix string) *netlink.Addr {
	p := netip.MustParsePrefix(prefix)
	return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
}

// route returns a route of the load balancer.
func route(dst, gateway string) *netlink.Route {
	r := &netlink.Route{Dst: addr(dst).IPNet}
	if gateway != "" {
		r.Gw = netip.MustParseAddr(gateway).AsSlice()
	}
	return r
}

func (l *lab) replaceRoute(r *netlink.Route) {
	l.t.Helper()
	l.must(l.lb.Netlink().RouteReplace(r))
}

// watch runs a watcher in the load balancer until the test ends.
func (l *lab) watch(opts neighbour.Options, addrs ...string) *observer {
	l.t.Helper()
	ns := netns.NsHandle(l.lb.FD())
	opts.Namespace = &ns
	w, err := neighbour.New(opts)
	l.must(err)
	o := &observer{t: l.t, Watcher: w, last: map[netip.Addr]neighbour.Update{}, deadline: time.After(deadline)}
	o.Watch(parse(addrs...))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(l.t.Context()) }()
	l.t.Cleanup(func() {
		w.Close()
		if err := <-ended; err != nil {
			l.t.Errorf("run: %v", err)
		}
	})
	return o
}

func parse(addrs ...string) []netip.Addr {
	var list []netip.Addr
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	return list
}

// observer reads the updates of a watcher as the test goes along.
type observer struct {
	*neighbour.Watcher
	t        *testing.T
	last     map[netip.Addr]neighbour.Update
	errs     []error // of all updates so far
	deadline <-chan time.Time
}

// next takes in one batch.
func (o *observer) next(what string) {
	o.t.Helper()
	select {
	case batch, open := <-o.Updates():
		if !open {
			o.t.Fatalf("watcher ended before %s", what)
		}
		for i, u := range batch {
			if (u.Err == nil) == (u.Hop == neighbour.NextHop{}) {
				o.t.Fatalf("update has not exactly one of hop and error: %+v", u)
			}
			if i > 0 && !batch[i-1].Addr.Less(u.Addr) {
				o.t.Fatalf("batch is not ordered or repeats an address: %v", batch)
			}
			o.last[u.Addr] = u
			if u.Err != nil {
				o.errs = append(o.errs, u.Err)
			}
		}
	case <-o.deadline:
		o.t.Fatalf("no %s; last %+v; snapshot %+v", what, o.last, o.Snapshot())
	}
}

// awaitHop reads updates until the hop of addr fits, and returns it.
func (o *observer) awaitHop(addr string, fits func(neighbour.NextHop) bool) neighbour.NextHop {
	o.t.Helper()
	for a := netip.MustParseAddr(addr); ; o.next("hop of " + addr) {
		if u, ok := o.last[a]; ok && u.Err == nil && fits(u.Hop) {
			if got, ok := o.Get(a); !ok || got != u {
				o.t.Fatalf("get %s: %+v, want %+v", addr, got, u)
			}
			return u.Hop
		}
	}
}

func (o *observer) awaitAnyHop(addr string) neighbour.NextHop {
	o.t.Helper()
	return o.awaitHop(addr, func(neighbour.NextHop) bool { return true })
}

// awaitErr reads updates until addr has no hop for the reason wanted.
func (o *observer) awaitErr(addr, reason string) {
	o.t.Helper()
	for a := netip.MustParseAddr(addr); ; o.next("error of " + addr + ": " + reason) {
		if u := o.last[a]; u.Err != nil && strings.Contains(u.Err.Error(), reason) {
			return
		}
	}
}

func mac(m net.HardwareAddr) [6]byte { return [6]byte(m) }
