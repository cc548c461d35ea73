package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Config says what is simulated. Equal configurations give equal results.
type Config struct {
	Seed     uint64
	Flows    int           // connections that begin within the duration
	Nodes    int           // xlb nodes behind one router
	Backends int           // in the beginning
	Slots    int           // of every table, a prime; see package balance
	Duration time.Duration // in ticks of 10 ms
	Every    time.Duration // mean time between two stories of one to a few changes, see draw
	LoseNode time.Duration // when one node, drawn at random, is lost; 0: never
	Sweep    time.Duration // between two looks at the flow tables
	Classes  []Class
	Variants []Variant // of xlb
	Caches   []int     // entries per node: one strategy of Maglev with an LRU cache for each
}

// Variant is a way to run xlb.
type Variant struct {
	Name         string
	Settings     Settings
	Alone        bool          // nodes tell each other neither which transitions they need nor that one is lost
	SecondChance bool          // a backend hands packets of connections that it does not have on to the slot's other owner
	HandOver     time.Duration // peers have the records that they would need of a lost node, but those younger than this; 0: none
}

// Result is what came out.
type Result struct {
	Connections int // that were established
	Long        int // of these: meant to last for a minute or longer
	Packets     int
	Steps       [kinds]int // changes
	Outcomes    []Outcome  // in the order: variants of xlb, caches, Maglev alone, rendezvous alone
	NodeLost    []Outcome  // the same with a node lost, if one was
}

// Outcome is what came out for one strategy.
type Outcome struct {
	Name        string
	Broken      int            // connections that broke while their server lived
	BrokenLong  int            // of these: meant to last for a minute or longer
	By          [kinds]int     // of these: by the change that did it
	Unavoidable int            // connections whose server died first
	Displaced   int            // connections that the lost node had, if their server lives when they come to another node
	Moved       [kinds]float64 // share of new connections that a change sent elsewhere, summed over changes
	Needless    [kinds]float64 // of these: neither for the old owner's fall nor for the new one's rise
	PeakRecords int            // flow records on all nodes
	Lookups     int            // packets that needed a look at flow state
}

// contestant is a strategy with its table, and what it did to each flow.
type contestant struct {
	Outcome
	strategy
	table     *table
	remembers bool // it holds flow state
	lost      int  // the node that it has lost, -1 for none
}

const (
	unborn Backend = -1 // no packet yet
	over   Backend = -2 // broken, or its server died
)

// longLived is how long a connection is meant to last to count as long.
const longLived = time.Minute

type run struct {
	cfg         Config
	fleet       *fleet
	traffic     *traffic
	tables      []*table
	contestants []*contestant
	holders     []Backend // by flow, then by contestant: who has the connection, or one of the values above
	lose        int       // the node to lose
	result      Result
	onBreak     func(c *contestant, f *flow, now time.Duration, cause Kind) // for tests
}

// Run simulates. It returns an error if the configuration cannot be simulated.
func Run(cfg Config) (*Result, error) {
	r, steps, err := prepare(cfg)
	if err != nil {
		return nil, fmt.Errorf("prepare simulation: %w", err)
	}
	if err := r.play(steps); err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	return &r.result, nil
}

func prepare(cfg Config) (*run, []step, error) {
	if cfg.Nodes < 2 || cfg.Backends < 2 || cfg.Every <= 0 || cfg.Duration < tick || cfg.Sweep < tick || len(cfg.Classes) == 0 {
		return nil, nil, fmt.Errorf("need two nodes, two backends, a class and times of at least %s: complete the configuration", tick)
	}
	stream := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(cfg.Seed, n)) }
	steps, total := draw(stream(1), cfg.Backends, cfg.Duration/10, cfg.Duration, cfg.Every)
	r := &run{cfg: cfg, lose: stream(2).IntN(cfg.Nodes)}
	r.fleet = newFleet(cfg.Backends, total)
	r.traffic = newTraffic(stream(3), cfg.Classes, cfg.Flows, cfg.Duration)
	for _, m := range []maker{&canonical{size: cfg.Slots}, maglev{cfg.Slots}, newRendezvous(cfg.Slots)} {
		t, err := newTable(m, r.fleet)
		if err != nil {
			return nil, nil, err
		}
		r.tables = append(r.tables, t)
	}
	r.enter()
	return r, steps, nil
}

// enter makes the contestants.
func (r *run) enter() {
	canonical, maglev, rendezvous := r.tables[0], r.tables[1], r.tables[2]
	add := func(name string, s strategy, t *table, remembers bool) {
		c := &contestant{Outcome: Outcome{Name: name}, strategy: s, table: t, remembers: remembers, lost: -1}
		c.change(0, t.owners, r.fleet.phases())
		r.contestants = append(r.contestants, c)
	}
	for _, v := range r.cfg.Variants {
		add(v.Name, newTracked(v, r.cfg.Nodes, canonical.owners, r.fleet.phases()), canonical, true)
	}
	for _, size := range r.cfg.Caches {
		add(fmt.Sprintf("Maglev + LRU of %s per node", grouped(size)), newCached(r.cfg.Nodes, size, r.cfg.Flows), maglev, true)
	}
	add("Maglev alone", &stateless{}, maglev, false)
	add("rendezvous alone", &stateless{}, rendezvous, false)
	r.holders = slices.Repeat([]Backend{unborn}, r.stride()*r.cfg.Flows)
}

// stride is how many contestants there will be: every one, and its copy that loses a node.
func (r *run) stride() int { return 2 * (len(r.cfg.Variants) + len(r.cfg.Caches) + 2) }

// fork adds a copy of every contestant, alike but for the loss of a node.
func (r *run) fork() {
	n := len(r.contestants)
	for _, c := range r.contestants[:n] {
		clone := *c
		clone.strategy, clone.lost = c.without(r.cfg.LoseNode, r.lose), r.lose
		r.contestants = append(r.contestants, &clone)
	}
	for at := 0; at < len(r.holders); at += r.stride() {
		copy(r.holders[at+n:at+2*n], r.holders[at:at+n])
	}
}

func (r *run) play(steps []step) error {
	for now := range int32(r.cfg.Duration / tick) {
		at := time.Duration(now) * tick
		for len(steps) > 0 && steps[0].at <= at {
			if err := r.step(at, &steps[0]); err != nil {
				return err
			}
			steps = steps[1:]
		}
		if r.cfg.LoseNode > 0 && at == r.cfg.LoseNode {
			r.fork()
		}
		if at%r.cfg.Sweep == 0 {
			for _, c := range r.contestants {
				c.PeakRecords = max(c.PeakRecords, c.sweep(at))
			}
		}
		r.traffic.play(now, func(i int32, f *flow) { r.packet(at, i, f) })
	}
	for _, c := range r.contestants {
		c.Moved, c.Needless = c.table.moved, c.table.needless
		if c.lost < 0 {
			r.result.Outcomes = append(r.result.Outcomes, c.Outcome)
		} else {
			r.result.NodeLost = append(r.result.NodeLost, c.Outcome)
		}
	}
	return nil
}

func (r *run) step(at time.Duration, s *step) error {
	r.fleet.apply(at, s)
	r.result.Steps[s.kind]++
	for _, t := range r.tables {
		if err := t.change(r.fleet, s.kind); err != nil {
			return err
		}
	}
	phases := r.fleet.phases()
	for _, c := range r.contestants {
		c.change(at, c.table.owners, phases)
	}
	return nil
}

func (r *run) packet(at time.Duration, i int32, f *flow) {
	class := &r.cfg.Classes[f.class]
	p := Packet{Hash: f.hash, UDP: class.UDP, SYN: f.last < 0 && !class.UDP}
	long := time.Duration(f.end-f.start)*tick >= longLived
	r.result.Packets++
	if f.last < 0 {
		r.result.Connections++
		if long {
			r.result.Long++
		}
	}
	home := int(scramble(f.hash) % uint64(r.cfg.Nodes))
	holders := r.holders[int(i)*r.stride():][:len(r.contestants)]
	for n, c := range r.contestants {
		holder := holders[n]
		if holder == over {
			continue
		}
		if holder >= 0 && r.fleet.died[holder] > time.Duration(f.start)*tick {
			c.Unavoidable++
			holders[n] = over
			continue
		}
		node := home
		if home == c.lost {
			node = r.detour(home, f)
		}
		b, state := c.route(at, node, i, p, holder)
		if state {
			c.Lookups++
		}
		if holder == unborn {
			holders[n] = b
			continue
		}
		displaced := home == c.lost && time.Duration(f.last)*tick < r.cfg.LoseNode
		if displaced {
			c.Displaced++
		}
		if b != holder {
			holders[n] = over
			r.broke(c, at, f, displaced, long)
		}
	}
}

func (r *run) broke(c *contestant, at time.Duration, f *flow, displaced, long bool) {
	c.Broken++
	if long {
		c.BrokenLong++
	}
	cause := c.table.causes[slotOf(f.hash, r.cfg.Slots)]
	if displaced && c.remembers {
		cause = NodeLost
	}
	c.By[cause]++
	if r.onBreak != nil {
		r.onBreak(c, f, at, cause)
	}
}

// detour is where the router sends the flows of a lost node. It leaves those of other nodes alone.
func (r *run) detour(home int, f *flow) int {
	return (home + 1 + int(scramble(f.hash)>>32%uint64(r.cfg.Nodes-1))) % r.cfg.Nodes
}
