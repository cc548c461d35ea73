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

	"golang.org/x/sys/unix"
)

var web = netip.AddrPortFrom(DefaultVIP, DefaultPort)

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
	if err := lab.RouteVIP(vip, b.Addr); err != nil {
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
	labs := map[string]func(Options) (*Lab, error){"routed": NewRouted, "switched": NewSwitched, "two-armed": NewTwoArmed}
	for name, build := range labs {
		t.Run(name, func(t *testing.T) {
			second := netip.MustParseAddr("192.0.2.11")
			lab := newLab(t, build, Options{VIPs: []netip.Addr{DefaultVIP, second}})
			ctx, from := within(t, 10*time.Second), Sources(1)[0]
			sendTo(t, lab, second, lab.Backends[2])
			for vip, want := range map[netip.Addr]string{DefaultVIP: "backend1", second: "backend3"} {
				to := netip.AddrPortFrom(vip, lab.Port)
				got, err := lab.Get(ctx, to, from)
				wantAnswer(t, "HTTP", got, err, want)
				got, err = lab.Ask(ctx, to, from)
				wantAnswer(t, "UDP", got, err, want)
			}
			for _, b := range lab.Backends {
				status, err := healthz(ctx, lab.LB, netip.AddrPortFrom(b.Addr, lab.Port))
				if err != nil || status != http.StatusOK {
					t.Errorf("health of %s from the balancer: %d, %v", b.Name(), status, err)
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
	for name, build := range map[string]func(Options) (*Lab, error){"routed": NewRouted, "switched": NewSwitched, "two-armed": NewTwoArmed} {
		t.Run(name, func(t *testing.T) {
			lab := New(t, build, Options{})
			tap := openTap(t, lab.LB, lab.LBInterfaces[0])
			ctx, cancel := context.WithCancel(within(t, 10*time.Second))
			asked := make(chan error, 1)
			go func() {
				_, err := lab.Ask(ctx, web, Sources(1)[0])
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
				t.Errorf("asking ended with %v, want %v", err, context.Canceled)
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
	lab := newLab(t, NewSwitched, Options{})
	sources := Sources(200)
	owners, err := lab.Owners(within(t, 20*time.Second), web, sources)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		if owners[s] != "backend1" {
			t.Errorf("source %s: %q", s, owners[s])
		}
	}
	lab.Backends[0].Kill()
	if _, err := lab.Owners(within(t, 20*time.Second), web, sources); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the kill: %v, want %v", err, syscall.ECONNREFUSED)
	}
}

func TestSourcesAreDifferentAndTheClients(t *testing.T) {
	all := Sources(200_000)
	seen := make(map[netip.AddrPort]bool, len(all))
	for _, s := range all {
		if seen[s] || !ClientNet.Contains(s.Addr()) || s.Port() < 1024 {
			t.Fatalf("source %s", s)
		}
		seen[s] = true
	}
	if !slices.Equal(Sources(10), all[:10]) {
		t.Error("the first sources depend on how many are asked for")
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
	for name, build := range map[string]func(Options) (*Lab, error){"routed": NewRouted, "switched": NewSwitched, "two-armed": NewTwoArmed} {
		t.Run(name, func(t *testing.T) {
			lab := New(t, build, Options{})
			check := func(n *Namespace, ifname string, want int) {
				l, err := n.Netlink().LinkByName(ifname)
				if err != nil {
					t.Fatal(err)
				}
				if got := l.Attrs().MTU; got != want {
					t.Errorf("%s/%s: MTU %d, want %d", n.Name(), ifname, got, want)
				}
			}
			check(lab.Client, "eth0", DefaultMTU)
			for i, e := range lab.LBPeers {
				check(lab.LB, lab.LBInterfaces[i], EncapMTU)
				check(e.NS, e.Interface, EncapMTU)
			}
			for _, b := range lab.Backends {
				check(b.Namespace, b.Interface, EncapMTU)
			}
			if lab.Switch != nil {
				check(lab.Switch.Namespace, "switch", EncapMTU)
			}
		})
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
		"251 backends": {Backends: 251},
		"IPv4":         {VIPs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}},
		"-1 backends":  {Backends: -1},
	} {
		if lab, err := NewRouted(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, %v", name, lab, err)
		}
	}
}

// arp makes a broadcast ARP request.
func arp(mac net.HardwareAddr, sender, target netip.Addr) []byte {
	return slices.Concat(bytes.Repeat([]byte{0xff}, 6), mac, []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1},
		mac, sender.AsSlice(), make([]byte, 6), target.AsSlice())
}

// arpSender returns who an ARP frame says it is from.
func arpSender(f Frame) (netip.Addr, bool) {
	if len(f.Data) < 42 || f.Data[12] != 8 || f.Data[13] != 6 {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(f.Data[28:32])
}

func TestBackendsDoNotAnswerARPForTheVIP(t *testing.T) {
	lab := New(t, NewSwitched, Options{})
	b := lab.Backends[0]
	tap := openTap(t, b.Namespace, b.Interface)
	for _, target := range []netip.Addr{DefaultVIP, b.Addr} {
		if err := Inject(lab.LB, lab.LBInterfaces[0], arp(mac(lbMAC, 1), lab.LBAddr, target)); err != nil {
			t.Fatal(err)
		}
	}
	// Requests are answered in their order: an answer for the VIP would be the first.
	f, err := tap.Find(within(t, 10*time.Second), "an ARP answer", func(f Frame) bool {
		_, ok := arpSender(f)
		return ok && f.Outgoing
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := arpSender(f); got != b.Addr {
		t.Errorf("the first answer is for %s, want %s alone", got, b.Addr)
	}
}

func TestBackendsDoNotNameTheVIPInTheirARPRequests(t *testing.T) {
	lab := newLab(t, NewSwitched, Options{})
	b, ctx := lab.Backends[0], within(t, 10*time.Second)
	got, err := lab.Ask(ctx, web, Sources(1)[0])
	wantAnswer(t, "UDP", got, err, b.Name())
	neighbours, err := b.Netlink().NeighList(index(t, b.Namespace, b.Interface), unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range neighbours {
		if err := b.Netlink().NeighDel(&n); err != nil {
			t.Fatal(err)
		}
	}
	tap := openTap(t, b.Namespace, b.Interface)
	got, err = lab.Ask(ctx, web, Sources(1)[0])
	wantAnswer(t, "UDP", got, err, b.Name())
	f, err := tap.Find(ctx, "an ARP request of the backend", func(f Frame) bool {
		_, ok := arpSender(f)
		return ok && f.Outgoing
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := arpSender(f); got != b.Addr {
		t.Errorf("the request is from %s, want %s", got, b.Addr)
	}
}
