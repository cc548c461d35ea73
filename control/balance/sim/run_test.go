package sim

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// small draws a configuration in which no flow is silent for as long as nodes remember it.
func small(t *rapid.T) Config {
	settings := Settings{Idle: 2 * time.Minute, LearnUDP: 20 * time.Second}
	seconds := func(name string, least, most int) time.Duration {
		return time.Duration(rapid.IntRange(least, most).Draw(t, name)) * time.Second
	}
	return Config{
		Seed:  rapid.Uint64().Draw(t, "seed"),
		Flows: rapid.IntRange(100, 1_000).Draw(t, "flows"),
		Nodes: rapid.IntRange(2, 5).Draw(t, "nodes"), Backends: rapid.IntRange(4, 20).Draw(t, "backends"),
		Slots: rapid.SampledFrom([]int{101, 251}).Draw(t, "slots"), Duration: 15 * time.Minute,
		Every: seconds("every", 5, 100), LoseNode: seconds("lose node", 100, 800), Sweep: seconds("sweep", 1, 60),
		Classes: []Class{
			{Name: "short", Share: 0.4, Life: 5 * time.Second, Gap: time.Second, Longest: time.Minute},
			{Name: "UDP", Share: 0.2, Life: time.Minute, Gap: 5 * time.Second, Longest: settings.LearnUDP, UDP: true},
			{Name: "long", Share: 0.4, Life: 10 * time.Minute, Gap: 30 * time.Second, Longest: settings.Idle},
		},
		Variants: []Variant{{Name: "xlb", Settings: settings}, {Name: "alone", Settings: settings, Alone: true}},
	}
}

func TestNothingBreaksWhileTheNodeLives(t *testing.T) {
	broken := 0
	rapid.Check(t, func(t *rapid.T) {
		res, err := Run(small(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range res.Outcomes[:2] {
			if o.Broken != 0 {
				t.Fatalf("%s broke %d connections: %v", o.Name, o.Broken, o.By)
			}
		}
		broken += res.Outcomes[2].Broken
	})
	if broken == 0 {
		t.Fatal("the changes were harmless: Maglev alone broke nothing")
	}
}

func TestLossOfANodeBreaksOnlyTCPFlowsYoungerThanAnOpenTransition(t *testing.T) {
	displaced, broken := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		cfg := small(t)
		r, steps, err := prepare(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.onBreak = func(c *contestant, f *flow, now time.Duration, cause Kind) {
			if c.Name != "xlb" || cfg.Classes[f.class].UDP {
				return
			}
			n := c.strategy.(*tracked).nodes[r.detour(r.lose, f)]
			slot := n.slots[slotOf(f.hash, len(n.slots))]
			start := time.Duration(f.start) * tick
			if cause != NodeLost || !slot.Transition || start < slot.Opened || start > cfg.LoseNode {
				t.Fatalf("at %s broke a flow of %s (%s), node lost at %s, in slot %+v", now, start, cause, cfg.LoseNode, slot)
			}
		}
		if err := r.play(steps); err != nil {
			t.Fatal(err)
		}
		displaced += r.result.NodeLost[0].Displaced
		broken += r.result.NodeLost[0].By[NodeLost]
	})
	if broken == 0 {
		t.Fatal("no loss broke anything: the property was not put to the test")
	}
	t.Logf("%d of %d connections of lost nodes broke", broken, displaced)
}

// Nodes that saw all changes, every other one, and none but the last.
func TestAtRestAllNodesHaveTheSameOwnersWhateverTheySaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		begun := rapid.IntRange(4, 20).Draw(t, "backends")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		steps, total := draw(rng, begun, 0, 20*time.Minute, time.Minute)
		f := newFleet(begun, total)
		all, some := &canonical{size: 251}, &canonical{size: 251}
		owners := func(c *canonical) []Backend {
			made, err := c.make(f)
			if err != nil {
				t.Fatal(err)
			}
			return made
		}
		settings := Settings{Idle: time.Minute}
		nodes := []*Node{NewNode(settings, owners(all), f.phases()), NewNode(settings, owners(some), f.phases())}
		var now time.Duration
		for i := range steps {
			now = steps[i].at
			f.apply(now, &steps[i])
			nodes[0].Change(now, owners(all), f.phases())
			if i%2 == 0 || i == len(steps)-1 {
				nodes[1].Change(now, owners(some), f.phases())
			}
			for _, n := range nodes {
				n.Route(now, Packet{Hash: rng.Uint64(), SYN: rng.IntN(2) == 0})
			}
		}
		nodes = append(nodes, NewNode(settings, owners(&canonical{size: 251}), f.phases()))
		for _, n := range nodes {
			n.end(now + 2*settings.Idle)
			for s := range n.slots {
				slot, want := n.slots[s], nodes[2].slots[s]
				if slot.Transition || slot.Current != want.Current || slot.Previous != want.Current {
					t.Fatalf("slot %d is %+v, on a new node %+v", s, slot, want)
				}
			}
		}
	})
}

func TestFieldFavoursXLBAsDocumented(t *testing.T) {
	cfg := Field(1, 10_000)
	cfg.Slots = 10_007 // the least of all sizes that Maglev fills
	r, steps, err := prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.onBreak = func(c *contestant, f *flow, now time.Duration, cause Kind) {
		x, ok := c.strategy.(*tracked)
		if silent := now - time.Duration(f.last)*tick; ok && c.lost < 0 && silent <= x.variant.Settings.Idle {
			t.Errorf("%s broke a %s flow after a silence of %s (%s)", c.Name, cfg.Classes[f.class].Name, silent, cause)
		}
	}
	if err := r.play(steps); err != nil {
		t.Fatal(err)
	}
	last := len(r.result.Outcomes) - 1
	xlb, ample, maglev, rendezvous := r.result.Outcomes[0], r.result.Outcomes[len(cfg.Variants)], r.result.Outcomes[last-1], r.result.Outcomes[last]
	if ample.Broken != 0 {
		t.Errorf("a cache with room for all broke %d", ample.Broken)
	}
	if xlb.Broken*100 > rendezvous.Broken || rendezvous.Broken > maglev.Broken {
		t.Errorf("broken: xlb %d, rendezvous %d, Maglev %d", xlb.Broken, rendezvous.Broken, maglev.Broken)
	}
	lost, handed := r.result.NodeLost[0], r.result.NodeLost[1]
	share := func(o Outcome) float64 { return 100 * float64(o.By[NodeLost]) / float64(o.Displaced) }
	t.Logf("a lost node breaks %.1f %% of its connections, %.1f %% with records handed over", share(lost), share(handed))
	if share(lost) > 30 || share(handed) > 2 {
		t.Errorf("a lost node breaks %.1f %% of its connections, %.1f %% with records handed over", share(lost), share(handed))
	}
	for kind := range NodeLost {
		if steps := r.result.Steps[kind]; steps < 10 {
			t.Errorf("%d times %s: the field is too quiet", steps, kind)
		}
		if kind < Added && xlb.Needless[kind] != 0 || rendezvous.Needless[kind] != 0 {
			t.Errorf("%s moved slots needlessly: xlb %v, rendezvous %v", kind, xlb.Needless[kind], rendezvous.Needless[kind])
		}
	}
}

// brief is a small part of the field.
func brief(seed uint64) Config {
	cfg := Field(seed, 1_000)
	cfg.Slots, cfg.Duration, cfg.LoseNode = 1_009, 10*time.Minute, 5*time.Minute
	return cfg
}

func TestReportHasARowPerStrategyAndPerKindOfChange(t *testing.T) {
	cfg := brief(1)
	res, err := Run(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := res.WriteMarkdown(&b, cfg); err != nil {
		t.Fatal(err)
	}
	var rows []int // cells of each
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, strings.Count(line, "|")-1)
		}
	}
	want := append(slices.Repeat([]int{9}, 2+len(res.Outcomes)), slices.Repeat([]int{2 + 5 + 3}, 2+int(NodeLost))...)
	if !slices.Equal(rows, want) {
		t.Errorf("cells per row: %v, want %v, in\n%s", rows, want, b.String())
	}
}

func TestEqualConfigurationsGiveEqualResults(t *testing.T) {
	results := make([]*Result, 3)
	for i, seed := range []uint64{1, 1, 2} {
		var err error
		if results[i], err = Run(brief(seed)); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(results[0], results[1]) {
		t.Errorf("one configuration gave two results: %+v, %+v", results[0], results[1])
	}
	if reflect.DeepEqual(results[0], results[2]) {
		t.Error("the seed has no influence")
	}
}

func TestRunRefusesWhatItCannotSimulate(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"one node":   func(c *Config) { c.Nodes = 1 },
		"no class":   func(c *Config) { c.Classes = nil },
		"no time":    func(c *Config) { c.Duration = 0 },
		"no changes": func(c *Config) { c.Every = 0 },
		"not prime":  func(c *Config) { c.Slots = 1_000 },
	} {
		cfg := Field(1, 10)
		spoil(&cfg)
		if _, err := Run(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCacheForgetsWhatWasUsedLongestAgo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 5).Draw(t, "size")
		l := newLRU(size, 10)
		var used []int32 // the latest last
		for range rapid.IntRange(1, 50).Draw(t, "uses") {
			i := int32(rapid.IntRange(0, 9).Draw(t, "flow"))
			at := slices.Index(used, i)
			if b, ok := l.get(i); ok != (at >= 0) || ok && b != 100+i {
				t.Fatalf("flow %d: %d, %t; used lately: %v", i, b, ok, used)
			}
			if at >= 0 {
				used = slices.Delete(used, at, at+1)
			}
			used = append(used, i)
			l.put(i, 100+i)
			used = used[max(0, len(used)-size):]
		}
		if l.len != len(used) {
			t.Fatalf("%d entries, want %d", l.len, len(used))
		}
	})
}

func TestRendezvousDoesNotDependOnHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps, total := draw(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), 10, 0, 10*time.Minute, time.Minute)
		f := newFleet(10, total)
		old := newRendezvous(101)
		for i := range steps {
			if _, err := old.make(f); err != nil {
				t.Fatal(err)
			}
			f.apply(steps[i].at, &steps[i])
		}
		got, _ := old.make(f)
		if want, _ := newRendezvous(101).make(f); !slices.Equal(got, want) {
			t.Fatalf("owners %v, from scratch %v", got, want)
		}
	})
}
