package neighbour_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"github.com/xlb-project/xlb/control/neighbour"
)

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
