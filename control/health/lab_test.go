package health_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/testenv"
)

// Addresses of the prober, and those of the target that only marked packets find a way to.
var (
	own4, own6       = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	second4, second6 = netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::7")
	peer4, peer6     = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	vip4, vip6       = netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")
)

const (
	mark      = 0x58000007
	markTable = 100
	port      = 8080
)

// newLab returns a prober and its target.
func newLab(t *testing.T) (lb, target *testenv.Namespace) {
	t.Helper()
	lb, target = namespace(t, "lb"), namespace(t, "target")
	must(t, testenv.Connect(
		testenv.End{NS: lb, Interface: "eth0", Addrs: onLink(own4, second4, own6, second6)},
		testenv.End{NS: target, Interface: "eth0", Addrs: onLink(peer4, peer6)},
		testenv.LinkOptions{}))
	must(t, target.HoldVIPs(vip4, vip6))
	for vip, gateway := range map[netip.Addr]netip.Addr{vip4: peer4, vip6: peer6} {
		rule := netlink.NewRule()
		rule.Mark, rule.Table, rule.Family, rule.Priority = mark, markTable, netlink.FAMILY_V4, 1
		if vip.Is6() {
			rule.Family = netlink.FAMILY_V6
		}
		must(t, lb.Netlink().RuleAdd(rule))
		must(t, lb.Netlink().RouteAdd(&netlink.Route{Dst: host(vip), Gw: gateway.AsSlice(), Table: markTable}))
	}
	return lb, target
}

func namespace(t *testing.T, name string) *testenv.Namespace {
	t.Helper()
	ns, err := testenv.NewNamespace(name)
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func onLink(addrs ...netip.Addr) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, a := range addrs {
		prefixes = append(prefixes, netip.PrefixFrom(a, map[bool]int{false: 24, true: 64}[a.Is6()]))
	}
	return prefixes
}

func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// probe sends one from inside the namespace.
func probe(t *testing.T, ns *testenv.Namespace, p health.Prober) (answer string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, ns.Do(func() error {
		answer, err = p.Probe(ctx)
		return nil
	}))
	return answer, err
}

// serve answers TCP and UDP at the VIPs. It returns where clients came from.
func serve(t *testing.T, ns *testenv.Namespace) <-chan netip.Addr {
	t.Helper()
	seen := make(chan netip.Addr, 1)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	for _, vip := range []netip.Addr{vip4, vip6} {
		at := netip.AddrPortFrom(vip, port)
		must(t, ns.Do(func() error {
			l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
			if err != nil {
				return err
			}
			t.Cleanup(func() { l.Close() })
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			if err != nil {
				return err
			}
			t.Cleanup(func() { c.Close() })
			wg.Go(func() { accept(l, seen) })
			wg.Go(func() { echo(c, seen) })
			return nil
		}))
	}
	return seen
}

func accept(l *net.TCPListener, seen chan<- netip.Addr) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return
		}
		seen <- conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		conn.Close()
	}
}

func echo(c *net.UDPConn, seen chan<- netip.Addr) {
	for buf := make([]byte, 1500); ; {
		n, client, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		seen <- client.Addr().Unmap()
		c.WriteToUDPAddrPort(buf[:n], client)
	}
}

func TestProbesLeaveByTheirMarkAndFromTheirSource(t *testing.T) {
	lb, target := newLab(t)
	clients := serve(t, target)
	for _, tc := range []struct {
		name                 string
		vip, source, foreign netip.Addr
	}{
		{"IPv4", vip4, second4, netip.MustParseAddr("10.0.0.99")},
		{"IPv6", vip6, second6, netip.MustParseAddr("fd00::99")},
	} {
		at := netip.AddrPortFrom(tc.vip, port)
		for name, prober := range map[string]func(health.Via) health.Prober{
			"tcp": func(v health.Via) health.Prober { return health.TCP{Addr: at, Via: v} },
			"udp": func(v health.Via) health.Prober {
				return health.UDP{Addr: at, Via: v, Send: []byte("x"), Expect: []byte("x")}
			},
			"icmp": func(v health.Via) health.Prober { return health.ICMP{Addr: tc.vip, Via: v} },
		} {
			t.Run(tc.name+" "+name, func(t *testing.T) {
				if _, err := probe(t, lb, prober(health.Via{Mark: mark, Source: tc.source})); err != nil {
					t.Fatalf("with the mark: %v", err)
				}
				if name != "icmp" {
					if got := <-clients; got != tc.source {
						t.Errorf("probe came from %s, want %s", got, tc.source)
					}
				}
				if _, err := probe(t, lb, prober(health.Via{Source: tc.source})); !errors.Is(err, unix.ENETUNREACH) {
					t.Errorf("without the mark: %v, want %v", err, unix.ENETUNREACH)
				}
				if _, err := probe(t, lb, prober(health.Via{Mark: mark, Source: tc.foreign})); !errors.Is(err, health.ErrNotSent) {
					t.Errorf("from an address that is not there: %v, want %v", err, health.ErrNotSent)
				}
			})
		}
	}
}

func TestICMPIsAnsweredToWhateverSocketTheKernelAllows(t *testing.T) {
	lb, target := newLab(t)
	for _, groups := range []string{"0 2147483647", "1 0"} { // all, none
		must(t, lb.Sysctl("net.ipv4.ping_group_range", groups))
		for _, a := range []netip.Addr{peer4, peer6} {
			if answer, err := probe(t, lb, health.ICMP{Addr: a}); err != nil || answer != "echo reply" {
				t.Errorf("%s with groups %s: got %q and error %v", a, groups, answer, err)
			}
		}
	}
	must(t, target.Sysctl("net.ipv4.icmp_echo_ignore_all", "1"))
	for _, groups := range []string{"0 2147483647", "1 0"} {
		must(t, lb.Sysctl("net.ipv4.ping_group_range", groups))
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("no answer"))
		must(t, lb.Do(func() error {
			if _, err := (health.ICMP{Addr: peer4}).Probe(ctx); err == nil || err.Error() != "no answer" {
				t.Errorf("silent target with groups %s: %v", groups, err)
			}
			return nil
		}))
		cancel()
	}
}
