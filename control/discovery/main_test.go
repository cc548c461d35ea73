package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xlb-project/xlb/control/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// palette are the rules of a service with an IPv4 VIP and tunnels.
func palette() rules {
	return rules{&config.Service{
		Name: "web", VIP: netip.MustParsePrefix("192.0.2.10/32"), Forward: config.IPIP, Discover: &config.Discover{Weight: 100},
	}, 20}
}

// observer follows a source that runs until the test ends. The source waits for the test between its attempts.
type observer struct {
	*testing.T
	sets  chan Set
	waits chan time.Duration // how long the source wants to wait
	again chan time.Time
}

func newObserver(t *testing.T) *observer {
	return &observer{T: t, sets: make(chan Set), waits: make(chan time.Duration, 1), again: make(chan time.Time)}
}

// runs runs a source and stops it when the test ends, also one that waits for the test.
func (o *observer) runs(source Source) *observer {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		source.Run(ctx, func(s Set) {
			select {
			case o.sets <- s:
			case <-ctx.Done():
			}
		})
	}()
	o.Cleanup(func() { stop(); <-done })
	return o
}

func (o *observer) after(d time.Duration) <-chan time.Time {
	o.waits <- d
	return o.again
}

// brief writes a set in one line: backends with their names if they have one, "kept" if the attempt failed.
func brief(s Set) string {
	if !s.Known {
		return "unknown"
	}
	var words []string
	for _, b := range s.Backends {
		word := fmt.Sprintf("%s*%d", b.Address, b.Weight)
		if b.Name != b.Address.String() {
			word = b.Name + "=" + word
		}
		words = append(words, word)
	}
	if s.Err != nil {
		words = append(words, "kept")
	}
	return strings.Join(words, " ")
}

// emits checks the next set, and returns it.
func (o *observer) emits(want string) Set {
	o.Helper()
	s := <-o.sets
	if got := brief(s); got != want {
		o.Fatalf("found %q, want %q (error: %v)", got, want, s.Err)
	}
	return s
}

// rests checks that the source has nothing to tell and waits.
func (o *observer) rests() time.Duration {
	o.Helper()
	select {
	case s := <-o.sets:
		o.Fatalf("found %q (error: %v), want nothing new", brief(s), s.Err)
	case d := <-o.waits:
		return d
	}
	return 0
}

func addresses(backends []config.Backend) (out []string) {
	for _, b := range backends {
		out = append(out, b.Address.String())
	}
	return out
}

func TestWhatCannotBeABackendIsLeftOutAndTold(t *testing.T) {
	l2 := palette()
	l2.service.Forward = config.L2
	for _, c := range []struct {
		name    string
		rules   rules
		found   []string
		fit     []string
		leftOut int
	}{
		{"ordinary addresses, twice, in another order", palette(), []string{"fd00::2", "10.0.0.2", "10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1"}, []string{"10.0.0.1", "10.0.0.2", "fd00::2"}, 0},
		{"addresses of no single machine", palette(), []string{"127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::1", "fe80::1"}, nil, 7},
		{"the VIP", palette(), []string{"192.0.2.10", "192.0.2.11"}, []string{"192.0.2.11"}, 1},
		{"another family under l2", l2, []string{"10.0.0.1", "fd00::1"}, []string{"10.0.0.1"}, 1},
	} {
		var found []config.Backend
		for _, a := range c.found {
			found = append(found, config.Backend{Address: netip.MustParseAddr(a)})
		}
		fit, leftOut := c.rules.fit(found)
		if got := addresses(fit); !slices.Equal(got, c.fit) || len(leftOut) != c.leftOut {
			t.Errorf("%s: %v fit, %v are left out", c.name, got, leftOut)
		}
		for _, b := range fit {
			if b.Name != b.Address.String() || b.Weight != 100 {
				t.Errorf("%s: backend %+v", c.name, b)
			}
		}
	}
}

func TestNamesThatCannotBeUsedGiveWayToAddresses(t *testing.T) {
	found := []config.Backend{
		{Name: "web-1", Address: netip.MustParseAddr("10.0.0.1"), Weight: 5000},
		{Name: "web-2", Address: netip.MustParseAddr("10.0.0.2")},
		{Name: "web-2", Address: netip.MustParseAddr("10.0.0.3")},
		{Name: "Web", Address: netip.MustParseAddr("10.0.0.4")},
		{Name: strings.Repeat("x", 64), Address: netip.MustParseAddr("10.0.0.5")},
		{Name: "10.0.0.1", Address: netip.MustParseAddr("10.0.0.6")},
		{Name: "web-7", Address: netip.MustParseAddr("10.0.0.7")},
		{Name: "nothing"},
	}
	rules := palette()
	fit, leftOut := rules.fit(found)
	if got, want := brief(Set{Known: true, Backends: fit}), "web-1=10.0.0.1*1000 10.0.0.2*100 10.0.0.3*100 10.0.0.4*100 10.0.0.5*100 10.0.0.6*100 web-7=10.0.0.7*100"; got != want {
		t.Errorf("backends %s, want %s", got, want)
	}
	if want := []string{"nothing: no address"}; !slices.Equal(leftOut, want) {
		t.Errorf("left out are %q, want %q", leftOut, want)
	}
}
