package sim

import (
	"fmt"
	"math"
	"slices"

	"github.com/xlb-project/xlb/control/balance"
)

// maker computes who owns each slot, as a function of the fleet. The caller may keep what it returns.
type maker interface {
	make(f *fleet) ([]Backend, error)
}

// canonical is xlb's table: home slots over the configured backends, resolved for the live fractions.
type canonical struct {
	size    int
	members []balance.Backend
	home    *balance.Home
}

func (c *canonical) make(f *fleet) ([]Backend, error) {
	members, ids := f.pick(func(s state) float64 {
		if s.configured {
			return weight
		}
		return 0
	})
	if !slices.Equal(members, c.members) {
		home, err := balance.NewHome(c.size, members)
		if err != nil {
			return nil, err
		}
		c.members, c.home = members, home
	}
	live := make([]float64, len(ids))
	for i, b := range ids {
		live[i] = f.states[b].live()
	}
	owners := make([]Backend, c.size)
	if err := c.home.Resolve(live, owners); err != nil {
		return nil, err
	}
	return rename(owners, ids), nil
}

// maglev is the plain Maglev table over the live backends. (Up to 4,099 slots, package balance's other method fills it.)
type maglev struct{ size int }

func (m maglev) make(f *fleet) ([]Backend, error) {
	members, ids := f.pick(func(s state) float64 { return weight * s.live() })
	home, err := balance.NewHome(m.size, members)
	if err != nil {
		return nil, err
	}
	owners := make([]Backend, m.size)
	for s := range owners {
		owners[s] = home.Owner(s)
	}
	return rename(owners, ids), nil
}

// rename turns indexes into identifiers, in place.
func rename(owners, ids []Backend) []Backend {
	for s, i := range owners {
		if i >= 0 {
			owners[s] = ids[i]
		}
	}
	return owners
}

// rendezvous gives each slot to the live backend with the greatest score -weight/ln(u), u being a hash of both: weighted
// rendezvous (Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005). Only backends whose weight changed
// are looked at again, and all of them where the owner's weight fell.
type rendezvous struct {
	weights []float64
	owners  []Backend
	scores  []float64
}

func (r *rendezvous) make(f *fleet) ([]Backend, error) {
	before := r.weights
	r.weights = make([]float64, len(f.states))
	var rose []Backend
	for b, s := range f.states {
		r.weights[b] = weight * s.live()
		if before == nil || r.weights[b] > before[b] {
			rose = append(rose, Backend(b))
		}
	}
	for s, owner := range r.owners {
		if owner >= 0 && r.weights[owner] < before[owner] {
			r.owners[s], r.scores[s] = -1, 0
			for b := range r.weights {
				r.bid(s, Backend(b))
			}
			continue
		}
		for _, b := range rose {
			r.bid(s, b)
		}
	}
	return slices.Clone(r.owners), nil
}

func (r *rendezvous) bid(slot int, b Backend) {
	if r.weights[b] == 0 {
		return
	}
	u := (float64(scramble(uint64(slot)<<32|uint64(b))>>11) + 0.5) / (1 << 53)
	if score := -r.weights[b] / math.Log(u); score > r.scores[slot] {
		r.owners[slot], r.scores[slot] = b, score
	}
}

func newRendezvous(size int) *rendezvous {
	return &rendezvous{owners: slices.Repeat([]Backend{-1}, size), scores: make([]float64, size)}
}

// scramble is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) after one step of its sequence.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// table is what a maker made last, and how it came about.
type table struct {
	maker    maker
	live     []float64 // by backend
	owners   []Backend
	causes   []Kind         // by slot: what moved it last, if anything did
	steps    [kinds]int     // changes
	moved    [kinds]float64 // share of slots that moved, summed over the changes of that kind
	needless [kinds]float64 // of these: the old owner's live fraction had not fallen, the new one's not risen
}

func newTable(m maker, f *fleet) (*table, error) {
	t := &table{maker: m}
	var err error
	if t.owners, err = m.make(f); err != nil {
		return nil, fmt.Errorf("make the first table: %w", err)
	}
	t.causes = make([]Kind, len(t.owners))
	t.live = liveOf(f)
	return t, nil
}

func liveOf(f *fleet) []float64 {
	live := make([]float64, len(f.states))
	for b, s := range f.states {
		live[b] = s.live()
	}
	return live
}

func (t *table) change(f *fleet, kind Kind) error {
	before, was := t.owners, t.live
	var err error
	if t.owners, err = t.maker.make(f); err != nil {
		return fmt.Errorf("make the table after %s: %w", kind, err)
	}
	t.live = liveOf(f)
	t.steps[kind]++
	share := 1 / float64(len(t.owners))
	for s, to := range t.owners {
		from := before[s]
		if from == to {
			continue
		}
		t.causes[s] = kind
		t.moved[kind] += share
		if from >= 0 && to >= 0 && t.live[from] >= was[from] && t.live[to] <= was[to] {
			t.needless[kind] += share
		}
	}
	return nil
}
