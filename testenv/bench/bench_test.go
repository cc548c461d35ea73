package main

import (
	"runtime"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/maps"
)

// onStage runs f on a thread that is lost afterwards: it is in another network namespace.
func onStage(t *testing.T, f func(st *stage)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		st, err := newStage()
		if err != nil {
			t.Error(err)
			return
		}
		f(st)
	}()
	<-done
}

func TestEveryCaseTreatsItsPacketsAsItsNameSays(t *testing.T) {
	onStage(t, func(st *stage) {
		for _, c := range cases() {
			b, err := prepare(st, c)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			b.close()
		}
	})
}

// With room for a table of rows and for a few that are packed, a hundred services can
// only be there if owners are computed, of all but those whose backends share a seed.
func TestTablesOfFewBackendsNeedNoRows(t *testing.T) {
	for backends := 1; backends <= 3; backends++ {
		s := newState(100, backends, maps.TCP, func(i int) maps.Backend { return backend4(maps.IPIP, i) })
		s.Settings.Limits.Slots = len(s.Slots[0])
		p, err := newProduct(&s, maps.Features{Tunnel4: true})
		if err != nil {
			t.Errorf("services of %d backends: %v", backends, err)
			continue
		}
		if err := p.plane.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCaseThatMeasuresSomethingElseIsRefused(t *testing.T) {
	for name, change := range map[string]func(c *testCase){
		"packets for an address that is no VIP": func(c *testCase) { c.traffic = elsewhere(c.traffic) },
		"a feature that is not loaded":          func(c *testCase) { c.features.Tunnel4 = false },
		"a frame that keeps its header":         func(c *testCase) { c.traffic.grows = false },
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(st *stage) {
				c := cases()[0]
				change(&c)
				if b, err := prepare(st, c); err == nil {
					b.close()
					t.Error("it is accepted")
				}
			})
		})
	}
}

func TestReferenceThatMissesFlowsIsRefused(t *testing.T) {
	onStage(t, func(st *stage) {
		for _, c := range cases() {
			if c.name != "ref/hash/1M" {
				continue
			}
			c.entries /= 2
			if b, err := prepare(st, c); err == nil {
				b.close()
				t.Error("half the flows are in the table, and nobody minds")
			}
		}
	})
}

func TestBarsNameCasesAndCountThoseThatAreMissed(t *testing.T) {
	known := map[string]bool{"": true}
	var results []result
	for _, c := range cases() {
		known[c.name] = true
		results = append(results, result{Name: c.name, Min: 1})
	}
	missed := 0
	for _, b := range bars {
		if !known[b.name] || !known[b.of] {
			t.Errorf("the bar of %q over %q names no case", b.name, b.of)
		}
		if b.most < 1 { // all cases cost the same here
			missed++
		}
	}
	var out strings.Builder
	if got := printTable(&out, results); got != missed || strings.Count(out.String(), "MISS") != missed {
		t.Errorf("%d bars are missed, want %d:\n%s", got, missed, out.String())
	}
}
