package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv/bench/report"
)

// benchFlips measures the time from the news about one backend until the last slot
// has its new owner, in real tables: nothing stands between a store and a packet.
func benchFlips(ctx context.Context, _ options) ([]report.Result, error) {
	var results []report.Result
	for _, c := range []struct {
		name  string
		shape shape
		bar   float64 // ms
	}{
		{"1-service-of-1000", shape{1, 1000, shared}, 1},
		{"1000-services-alike", shape{1000, 100, shared}, 50},
		{"1000-services-unlike", shape{1000, 100, own}, 50},
	} {
		r, err := benchFlip(ctx, c.name, c.shape, c.bar)
		if err != nil {
			return nil, fmt.Errorf("flip %s: %w", c.name, err)
		}
		results = append(results, r...)
	}
	return results, nil
}

func benchFlip(ctx context.Context, name string, c shape, bar float64) (_ []report.Result, err error) {
	f, err := newFlipper(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	var down, up, cpu []float64
	for range repeats {
		for _, d := range []struct {
			good    bool
			samples *[]float64
		}{{false, &down}, {true, &up}} {
			before := ownTime()
			took := f.flip(d.good)
			cpu = append(cpu, ms(ownTime()-before))
			if err := f.verify(d.good); err != nil {
				return nil, err
			}
			*d.samples = append(*d.samples, ms(took))
		}
	}
	return []report.Result{
		report.Of("flip/"+name+"/down", "ms", down).AtMost(bar),
		report.Of("flip/"+name+"/up", "ms", up).AtMost(bar),
		report.Of("flip/"+name+"/cpu", "ms", cpu),
	}, nil
}

// flipper is an engine over real tables, whose news is made up.
type flipper struct {
	shape  shape
	plane  *loader.Dataplane
	tables *watchedTables
	health *healthNews
	hops   hopNews
	stop   context.CancelFunc
	ended  chan error
}

// egressLink is an interface that need not exist: no packet leaves.
var egressLink = neighbour.Link{Name: "eth0", Index: 1, MTU: 1500}

func newFlipper(ctx context.Context, c shape) (*flipper, error) {
	text, err := c.yaml("/run/xlb/unused.sock")
	if err != nil {
		return nil, err
	}
	cfg, err := config.Parse("bench.yaml", text)
	if err != nil {
		return nil, err
	}
	plane, err := loader.Load(maps.PlaneOptions{Settings: control.PlaneSettings(cfg), Features: control.PlaneFeatures(cfg)})
	if err != nil {
		return nil, err
	}
	f := &flipper{
		shape: c, plane: plane, tables: &watchedTables{Tables: plane.Tables, done: make(chan time.Time)},
		health: &healthNews{ready: make(chan struct{}), changes: make(chan []health.Change, 1)},
		hops:   make(hopNews), ended: make(chan error, 1),
	}
	engine, err := control.New(control.FromFile(cfg), control.Parts{
		Dataplane: f.tables, Checker: f.health, Neighbours: f.hops, Interfaces: []neighbour.Link{egressLink},
		// as in the daemon, but for the writing
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return nil, errors.Join(err, plane.Close())
	}
	ctx, f.stop = context.WithCancel(ctx)
	go func() { f.ended <- engine.Run(ctx) }()
	f.hops <- resolvedAll(cfg)
	// The engine takes a request only when it has acted on the news before.
	if _, err := engine.Status(ctx); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *flipper) close() error {
	f.stop()
	return errors.Join(<-f.ended, f.plane.Close())
}

// flip tells that the backend which all services have got well or ill, and waits
// until each has moved slots. One service hears it from its health check, many
// from the next hop that they share.
func (f *flipper) flip(good bool) time.Duration {
	f.tables.await(f.shape.services)
	addr := netip.MustParseAddr(f.shape.addr(0, 0))
	start := time.Now()
	if f.shape.services == 1 {
		f.health.changes <- []health.Change{{ID: health.TargetID("s0/" + f.shape.addr(0, 0)), Healthy: good, Reason: "as told", At: start}}
		f.health.ready <- struct{}{}
	} else {
		u := resolvedHop(addr)
		if !good {
			u.Err = errors.New("no answer")
		}
		f.hops <- []neighbour.Update{u}
	}
	return (<-f.tables.done).Sub(start)
}

// ownTime is the CPU time that this process has spent, the garbage collector's
// included.
func ownTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails for a bad argument alone
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// verify reads the tables as packets do.
func (f *flipper) verify(good bool) error {
	for s := range f.shape.services {
		id, owned := maps.BackendID(1+s*f.shape.backends), 0
		for _, slot := range f.tables.SlotTable(maps.ServiceID(s)) {
			if slot.Current == id {
				owned++
			}
		}
		if (owned > 0) != good {
			return fmt.Errorf("service %d: the backend owns %d slots after it was told good=%v", s, owned, good)
		}
	}
	return nil
}

// resolvedAll resolves each address once, as a watcher does.
func resolvedAll(cfg *config.Config) (all []neighbour.Update) {
	seen := map[netip.Addr]bool{}
	for s := range cfg.Services {
		for _, b := range cfg.Services[s].Backends {
			if !seen[b.Address] {
				seen[b.Address] = true
				all = append(all, resolvedHop(b.Address))
			}
		}
	}
	return all
}

func resolvedHop(a netip.Addr) neighbour.Update {
	return neighbour.Update{Addr: a, Hop: neighbour.NextHop{
		Interface: egressLink.Name, Index: egressLink.Index, MTU: egressLink.MTU,
		SourceMAC: [6]byte{2, 1}, DestMAC: [6]byte{2, 2}, Source: netip.AddrFrom4([4]byte{10, 1, 255, 1}),
	}}
}

// watchedTables tell when as many services as awaited have moved slots.
type watchedTables struct {
	*maps.Tables
	left int // set while the engine waits for news
	done chan time.Time
}

func (t *watchedTables) await(services int) { t.left = services }

func (t *watchedTables) MoveSlots(id maps.ServiceID, moves []maps.Move) error {
	err := t.Tables.MoveSlots(id, moves)
	if t.left--; t.left == 0 {
		t.done <- time.Now()
	}
	return err
}

// healthNews is a checker that says what it is told to say.
type healthNews struct {
	ready   chan struct{}
	changes chan []health.Change
}

func (h *healthNews) Set(health.TargetID, health.Check) error             { return nil }
func (h *healthNews) Remove(health.TargetID)                              {}
func (h *healthNews) Hurry(health.TargetID)                               {}
func (h *healthNews) Ready() <-chan struct{}                              { return h.ready }
func (h *healthNews) Changes() []health.Change                            { return <-h.changes }
func (h *healthNews) Status(health.TargetID) (s health.Status, know bool) { return s, false }

// hopNews are next hops as told.
type hopNews chan []neighbour.Update

func (hopNews) Watch([]netip.Addr)                   {}
func (hopNews) Stats() (s neighbour.Stats)           { return s }
func (h hopNews) Updates() <-chan []neighbour.Update { return h }
