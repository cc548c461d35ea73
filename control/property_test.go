package control

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/maps"
)

// history is a node with what is known to be true of it.
type history struct {
	*rapid.T
	*node
	program   *program
	with      func(*Parts)
	ill, lost map[string]bool // "web/10.0.0.1", "10.0.0.1"
}

const mostHosts = 6

func (h *history) host() string {
	return fmt.Sprintf("10.0.0.%d", rapid.IntRange(1, mostHosts).Draw(h.T, "host"))
}

// config draws a configuration of up to three services.
func (h *history) config() string {
	text := "interfaces: [eth0]\nservices:\n"
	for i, name := range []string{"web", "api", "dns"} {
		numbers := rapid.SliceOfNDistinct(rapid.IntRange(1, mostHosts), 0, mostHosts, rapid.ID[int]).Draw(h.T, name)
		if len(numbers) == 0 {
			continue
		}
		tracking := rapid.SampledFrom([]string{"change", "always", "never"}).Draw(h.T, "tracking")
		text += fmt.Sprintf("  - {name: %s, vip: 192.0.2.%d, port: 80, forward: l2, slots: 101, tracking: %s, panic: %d, health: {tcp: {}}, backends: [",
			name, i+1, tracking, rapid.SampledFrom([]int{0, 40}).Draw(h.T, "panic"))
		for _, n := range numbers {
			text += fmt.Sprintf("{address: 10.0.0.%d, weight: %d}, ", n, rapid.SampledFrom([]int{100, 100, 50}).Draw(h.T, "weight"))
		}
		text += "]}\n"
	}
	if len(text) < 50 {
		text = "interfaces: [eth0]\nservices: []\n"
	}
	return text
}

// step does something at random. Requests may be refused; what they leave behind is looked at after.
func (h *history) step() {
	ctx := context.Background()
	service := rapid.SampledFrom([]string{"web", "api", "dns"}).Draw(h.T, "service")
	host := h.host()
	switch rapid.IntRange(0, 12).Draw(h.T, "event") {
	case 0, 1:
		text := h.config()
		h.program.anew = rapid.Bool().Draw(h.T, "other tables")
		if _, err := h.Apply(ctx, Request{Config: parse(h.T, text)}); err != nil {
			h.Fatalf("apply: %v", err)
		}
		if p, err := h.Apply(ctx, Request{Config: parse(h.T, text)}); err != nil || !p.Empty {
			h.Fatalf("apply once more: %+v, %v", p, err)
		}
	case 2:
		h.SetWeight(ctx, Edit{}, service, host, rapid.IntRange(0, 300).Draw(h.T, "weight"))
	case 3:
		h.Drain(ctx, Edit{}, service, host, DrainOptions{Force: rapid.Bool().Draw(h.T, "force"), Timeout: time.Duration(rapid.IntRange(0, 1).Draw(h.T, "timeout"))})
	case 4:
		h.Enable(ctx, Edit{}, service, host)
	case 5:
		h.Disable(ctx, Edit{}, service, host, rapid.Bool().Draw(h.T, "force"))
	case 6:
		h.SetBackend(ctx, Edit{}, service, config.Backend{Name: host, Address: parseAddr(host), Weight: 100})
	case 7:
		h.RemoveBackend(ctx, Edit{}, service, host)
	case 8:
		h.ill[service+"/"+host] = !h.ill[service+"/"+host]
		h.health(!h.ill[service+"/"+host], service+"/"+host)
	case 9:
		h.lost[host] = !h.lost[host]
		h.hop(host)
	case 10:
		for id := range h.plane.slots {
			h.plane.record(id, rapid.IntRange(0, 20).Draw(h.T, "flows"))
		}
	case 11:
		sleep(time.Duration(rapid.SampledFrom([]int{1, 40, 1000}).Draw(h.T, "seconds"))*time.Second, h.node)
	default:
		h.die()
	}
}

func (h *history) hop(host string) {
	if h.lost[host] {
		h.tell(errNoAnswer, host)
	} else {
		h.tell(nil, host)
	}
}

// die ends the daemon, in a change or at rest, and has the next one hear what is known.
func (h *history) die() {
	sleep(0, h.node)
	if rapid.Bool().Draw(h.T, "in a change") {
		left := rapid.IntRange(0, 30).Draw(h.T, "writes before")
		died := errors.New("killed")
		h.plane.fails = func(string) error {
			if left--; left < 0 {
				h.disk.err = died
				return died
			}
			return nil
		}
		_, _ = h.Apply(context.Background(), Request{Config: parse(h.T, h.config())})
	}
	h.stop()
	h.plane.fails, h.disk.err = nil, nil
	h.plane.bearable()
	h.start(h.with)
	h.all()
}

// all tells an engine all that is known.
func (h *history) all() {
	verdicts := map[bool][]string{}
	for i := 1; i <= mostHosts; i++ {
		host := fmt.Sprintf("10.0.0.%d", i)
		h.hop(host)
		for _, service := range []string{"web", "api", "dns"} {
			ill := h.ill[service+"/"+host]
			verdicts[!ill] = append(verdicts[!ill], service+"/"+host)
		}
	}
	for good, targets := range verdicts {
		h.health(good, targets...)
	}
}

// canonical holds the data path against what the engine wants, and that against
// what follows from the configuration alone.
func (h *history) canonical() {
	h.Helper()
	var fault error
	if err := h.do(context.Background(), func() { fault = h.fault() }); err != nil || fault != nil {
		h.Fatal(err, fault)
	}
}

func (h *history) fault() error {
	if h.broken != "" {
		return errors.New(h.broken)
	}
	for _, s := range h.services {
		for _, b := range s.backends {
			if row := h.plane.rows[b.id]; row.Up != b.lives || row.Accepts != (b.live > 0) {
				return fmt.Errorf("the row of %s is %+v, it lives: %v, accepts: %v", b, row, b.lives, b.live)
			}
		}
		if s.home == nil || !s.serving {
			continue
		}
		owners := make([]int32, s.home.Size())
		if err := s.home.Resolve(s.fractions(), owners); err != nil {
			return err
		}
		for slot, is := range h.plane.slots[s.id] {
			if is.Current != s.owner(owners[slot]) {
				return fmt.Errorf("slot %d of service %s has owner %d, want %d", slot, s.cfg.Name, is.Current, s.owner(owners[slot]))
			}
			if want := s.slots.Slot(slot); is.Transition != want.Transition || is.Transition && is != want {
				return fmt.Errorf("slot %d of service %s is %+v, and the engine thinks %+v", slot, s.cfg.Name, is, want)
			}
		}
	}
	return nil
}

func TestAnyHistoryLeavesTheDataPathAsItIsWanted(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		inBubble(t, func() {
			h := &history{T: r, ill: map[string]bool{}, lost: map[string]bool{}}
			h.node = newNode(r, h.config())
			h.program, h.with = withProgram(h.node)
			h.start(h.with)
			defer func() { h.stop() }()
			h.all()
			for range rapid.IntRange(1, 25).Draw(r, "events") {
				h.step()
				h.all() // also about those who are new
				sleep(0, h.node)
				h.plane.sound()
				h.canonical()
			}
			h.restartChangesNothing()
		})
	})
}

// inBubble runs f with fake time. A property that does not hold says so by a
// panic, which has to get out of the bubble.
func inBubble(t *testing.T, f func()) {
	var failed any
	synctest.Test(t, func(*testing.T) {
		defer func() { failed = recover() }()
		f()
	})
	switch fmt.Sprintf("%T", failed) { // rapid tells failures apart by the line that panics
	case "<nil>":
	case "rapid.invalidData":
		panic(failed)
	default:
		panic(failed)
	}
}

func (h *history) restartChangesNothing() {
	before := h.plane.seen()
	h.stop()
	h.start(h.with)
	h.all()
	h.plane.sound()
	h.canonical()
	for id, slots := range h.plane.slots {
		for i, is := range slots {
			if was := before.Slots[id]; i >= len(was) || !sameOwners(was[i], is) {
				h.Fatalf("slot %d of service %d is %+v after a restart, of %d before", i, id, is, len(was))
			}
		}
	}
}

func sameOwners(a, b maps.Slot) bool { return a.Current == b.Current && a.Transition == b.Transition }
