package testenv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	web  = netip.AddrPortFrom(DefaultVIP, DefaultPort)
	web6 = netip.AddrPortFrom(DefaultVIP6, DefaultPort)
	both = []netip.Addr{DefaultVIP, DefaultVIP6}
)

// labs are all ways to build one.
var labs = map[string]func(Options) (*Lab, error){"routed": NewRouted, "switched": NewSwitched, "two-armed": NewTwoArmed}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// newLab builds a lab whose VIP goes straight to one backend: there is no balancer in these tests.
func newLab(t *testing.T, build func(Options) (*Lab, error), o Options) *Lab {
	t.Helper()
	start := time.Now()
	lab := New(t, build, o)
	t.Logf("built in %s", time.Since(start).Round(time.Millisecond))
	for _, vip := range lab.VIPs {
		sendTo(t, lab, vip, lab.Backends[0])
	}
	return lab
}

func sendTo(t *testing.T, lab *Lab, vip netip.Addr, b *Backend) {
	t.Helper()
	via := b.Addr
	if vip.Is6() {
		via = b.Addr6
	}
	if err := lab.RouteVIP(vip, via); err != nil {
		t.Fatal(err)
	}
}

func wantAnswer(t *testing.T, what string, got string, err error, want string) {
	t.Helper()
	if err != nil || got != want {
		t.Fatalf("%s: answered by %q, %v; want %q", what, got, err, want)
	}
}

func TestEveryLabCarriesHTTPAndUDPToTheBackendItIsRoutedTo(t *testing.T) {
	for name, build := range labs {
		t.Run(name, func(t *testing.T) {
			second, second6 := netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("2001:db8:2::11")
			lab := newLab(t, build, Options{VIPs: []netip.Addr{DefaultVIP, second, DefaultVIP6, second6}})
			ctx := within(t, 10*time.Second)
			sendTo(t, lab, second, lab.Backends[2])
			sendTo(t, lab, second6, lab.Backends[1])
			for vip, want := range map[netip.Addr]string{
				DefaultVIP: "backend1", second: "backend3", DefaultVIP6: "backend1", second6: "backend2",
			} {
				to, from := netip.AddrPortFrom(vip, lab.Port), SourcesFor(vip, 1)[0]
				got, err := lab.Get(ctx, to, from)
				wantAnswer(t, "HTTP", got, err, want)
				got, err = lab.Ask(ctx, to, from)
				wantAnswer(t, "UDP", got, err, want)
				got, err = lab.Get(ctx, to, netip.AddrPort{})
				wantAnswer(t, "HTTP from a source of the client's choice", got, err, want)
			}
			for _, b := range lab.Backends {
				for _, addr := range []netip.Addr{b.Addr, b.Addr6} {
					status, err := healthz(ctx, lab.LB, netip.AddrPortFrom(addr, lab.Port))
					if err != nil || status != http.StatusOK {
						t.Errorf("health of %s at %s from the balancer: %d, %v", b.Name(), addr, status, err)
					}
				}
			}
			for _, addr := range []netip.Addr{lab.LBAddr, lab.LBAddr6} {
				if err := lab.Backends[0].Ping(ctx, addr); err != nil {
					t.Error(err)
				}
			}
			if len(lab.LBInterfaces) != len(lab.LBPeers) {
				t.Errorf("%d interfaces, %d peers", len(lab.LBInterfaces), len(lab.LBPeers))
			}
		})
	}
}

// healthz asks a backend as a health check would, from any namespace.
func healthz(ctx context.Context, from *Namespace, to netip.AddrPort) (int, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return from.Dial(ctx, network, netip.AddrPort{}, to)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.String()+"/healthz", nil)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func TestVIPTrafficReachesTheBalancerAndNobodyAnswersThere(t *testing.T) {
	for name, build := range labs {
		t.Run(name, func(t *testing.T) {
			lab := New(t, build, Options{VIPs: both})
			for _, to := range []netip.AddrPort{web, web6} {
				tap := openTap(t, lab.LB, lab.LBInterfaces[0])
				ctx, cancel := context.WithCancel(within(t, 10*time.Second))
				asked := make(chan error, 1)
				go func() {
					_, err := lab.Ask(ctx, to, SourcesFor(to.Addr(), 1)[0])
					asked <- err
				}()
				_, err := tap.Find(ctx, "the question", func(f Frame) bool {
					return !f.Outgoing && bytes.Contains(f.Data, []byte("who answers"))
				})
				cancel()
				if err != nil {
					t.Error(err)
				}
				if err := <-asked; !errors.Is(err, context.Canceled) {
					t.Errorf("asking %s ended with %v, want %v", to, err, context.Canceled)
				}
			}
		})
	}
}

func TestTheSameSourceTupleWorksAgainAtOnce(t *testing.T) {
	lab := newLab(t, NewRouted, Options{Backends: 2})
	ctx, from := within(t, 10*time.Second), netip.MustParseAddrPort("198.18.7.7:4321")
	for range 5 {
		got, err := lab.Get(ctx, web, from)
		wantAnswer(t, "HTTP", got, err, "backend1")
		got, err = lab.Ask(ctx, web, from)
		wantAnswer(t, "UDP", got, err, "backend1")
	}
	sendTo(t, lab, DefaultVIP, lab.Backends[1])
	got, err := lab.Get(ctx, web, from)
	wantAnswer(t, "HTTP after the change", got, err, "backend2")
}

func TestOwnersNamesTheBackendOfEverySource(t *testing.T) {
	lab := newLab(t, NewSwitched, Options{VIPs: both})
	for _, to := range []netip.AddrPort{web, web6} {
		sources := SourcesFor(to.Addr(), 200)
		owners, err := lab.Owners(within(t, 20*time.Second), to, sources)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sources {
			if owners[s] != "backend1" {
				t.Errorf("source %s: %q", s, owners[s])
			}
		}
	}
	lab.Backends[0].Kill()
	if _, err := lab.Owners(within(t, 20*time.Second), web, Sources(20)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the kill: %v, want %v", err, syscall.ECONNREFUSED)
	}
}

func TestSourcesAreDifferentAndTheClients(t *testing.T) {
	for vip, clients := range map[netip.Addr]netip.Prefix{DefaultVIP: ClientNet, DefaultVIP6: ClientNet6} {
		all := SourcesFor(vip, 200_000)
		seen := make(map[netip.AddrPort]bool, len(all))
		for _, s := range all {
			if seen[s] || !clients.Contains(s.Addr()) || s.Port() < 1024 {
				t.Fatalf("source %s", s)
			}
			seen[s] = true
		}
		if !slices.Equal(SourcesFor(vip, 10), all[:10]) {
			t.Error("the first sources depend on how many are asked for")
		}
	}
	if !slices.Equal(Sources(10), SourcesFor(DefaultVIP, 10)) {
		t.Error("Sources are not those for an IPv4 address")
	}
}

func TestHTTPClientKeepsItsConnection(t *testing.T) {
	lab := newLab(t, NewRouted, Options{Backends: 1})
	source := netip.MustParseAddr("198.18.3.3")
	client := lab.HTTPClient(source)
	defer client.CloseIdleConnections()
	var first string
	for range 3 {
		response, err := client.Get("http://" + web.String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if first == "" {
			first = string(body)
		}
		if err != nil || string(body) != first || !strings.Contains(first, source.String()) {
			t.Fatalf("answer %q, %v; first was %q; want the same client %s", body, err, first, source)
		}
	}
	if _, err := client.Get("http://example.test/"); err == nil {
		t.Error("a name was looked up")
	}
}

func TestLinksThatCarryTunnelsHaveRoomForOuterHeaders(t *testing.T) {
	for name, build := range labs {
		t.Run(name, func(t *testing.T) {
			lab := New(t, build, Options{})
			wantMTU(t, lab.Client, "eth0", DefaultMTU)
			for i, e := range lab.LBPeers {
				wantMTU(t, lab.LB, lab.LBInterfaces[i], EncapMTU)
				wantMTU(t, e.NS, e.Interface, EncapMTU)
			}
			for _, b := range lab.Backends {
				wantMTU(t, b.Namespace, b.Interface, EncapMTU)
			}
			if lab.Switch != nil {
				wantMTU(t, lab.Switch.Namespace, "switch", EncapMTU)
			}
		})
	}
}

func wantMTU(t *testing.T, n *Namespace, ifname string, want int) {
	t.Helper()
	l, err := n.Netlink().LinkByName(ifname)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Attrs().MTU; got != want {
		t.Errorf("%s/%s: MTU %d, want %d", n.Name(), ifname, got, want)
	}
}

func TestDecapOptionIsAskedForEveryBackend(t *testing.T) {
	var attached []string
	closed := 0
	lab, err := NewRouted(Options{Backends: 2, Decap: func(n *Namespace, ifname string) (io.Closer, error) {
		attached = append(attached, n.Name()+"/"+ifname)
		return closerFunc(func() error { closed++; return nil }), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"backend1/eth0", "backend2/eth0"}; !slices.Equal(attached, want) {
		t.Errorf("attached to %v, want %v", attached, want)
	}
	if err := lab.Close(); err != nil || closed != 2 {
		t.Errorf("closed %d of 2, %v", closed, err)
	}
}

func TestLabThatCannotBeFinishedIsRemoved(t *testing.T) {
	before := openDescriptors(t)
	want := errors.New("no decapsulation today")
	_, err := NewTwoArmed(Options{Decap: func(*Namespace, string) (io.Closer, error) { return nil, want }})
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func TestUnusableOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"251 backends":            {Backends: 251},
		"-1 backends":             {Backends: -1},
		"VIP invalid IP":          {VIPs: []netip.Addr{{}}},
		"VIP fe80::1%eth0":        {VIPs: []netip.Addr{netip.MustParseAddr("fe80::1%eth0")}},
		"VIP ::ffff:192.0.2.10":   {VIPs: []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.10")}},
		"balancer MTU 1279":       {LBMTU: 1279},
		"backend MTU -1":          {BackendMTU: -1},
		"client MTU 1000":         {ClientMTU: 1000},
		"client MTU 1501, give a": {ClientMTU: 1501},
	} {
		if lab, err := NewRouted(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, %v", name, lab, err)
		}
	}
}
