package maps

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/bpf"
)

func ipip(router MAC, dest string) Backend {
	b := Backend{Forward: IPIP, Up: true, Accepts: true, Ifindex: 3, MTU: 1500, DestMAC: router, Source: netip.MustParseAddr("10.0.0.1"), Dest: netip.MustParseAddr(dest)}
	if b.Dest.Is6() {
		b.Source = netip.MustParseAddr("2001:db8::1")
	}
	return b
}

func (t *Tables) hopOf(id BackendID) int { return hopOf(&t.backends.rows[id]) }

func TestBackendsBehindOneRouterShareTheirHeaders(t *testing.T) {
	tables := newTables(t, Limits{Services: 1, Backends: 8, Slots: 1})
	router, other := MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	for id := range 4 {
		check(t, tables.SetBackend(BackendID(1+id), ipip(router, fmt.Sprintf("10.1.0.%d", id))),
			tables.SetBackend(BackendID(5+id), ipip(router, fmt.Sprintf("2001:db8::1:%d", id))))
	}
	hop4, hop6 := tables.hopOf(1), tables.hopOf(5)
	if hop4 == hop6 || hop4 == 0 || hop6 == 0 {
		t.Errorf("headers of IPv4 are row %d, of IPv6 row %d", hop4, hop6)
	}
	for id := range 4 {
		if a, b := tables.hopOf(BackendID(1+id)), tables.hopOf(BackendID(5+id)); a != hop4 || b != hop6 {
			t.Errorf("backends %d and %d have headers %d and %d, want %d and %d", 1+id, 5+id, a, b, hop4, hop6)
		}
		if got, want := addrOf(tables.outer6.rows[5+id].Addr), netip.MustParseAddr(fmt.Sprintf("2001:db8::1:%d", id)); got != want {
			t.Errorf("backend %d is at %s, want %s", 5+id, got, want)
		}
	}
	was := tables.hops.rows[hop4]
	for id := BackendID(1); id <= 4; id++ { // the router's MAC changes
		if tables.hops.rows[hop4] != was || tables.hops.users[hop4] != 5-int(id) {
			t.Errorf("before backend %d moves, the old headers have %d users and are %+v", id, tables.hops.users[hop4], tables.hops.rows[hop4])
		}
		check(t, tables.SetBackend(id, ipip(other, fmt.Sprintf("10.1.0.%d", id))))
	}
	if tables.hops.rows[hop4] != was || tables.hopOf(1) == hop4 || tables.hopOf(1) != tables.hopOf(4) {
		t.Errorf("backends have headers %d and %d; the old ones, %d, are %+v", tables.hopOf(1), tables.hopOf(4), hop4, tables.hops.rows[hop4])
	}
	check(t, tables.SetBackendState(1, BackendState{Up: true}), tables.SetBackend(2, Backend{Up: true}))
	if got := tables.Backend(1); got != (BackendState{Up: true, Resolved: true}) {
		t.Errorf("state %+v, want up and resolved", got)
	}
	if got := tables.Backend(2); got != (BackendState{Up: true}) || tables.hopOf(2) != 0 {
		t.Errorf("state %+v with headers %d, want up and unresolved", got, tables.hopOf(2))
	}
}

// However many backends a node has room for, each may have headers of its own, and all of them may change.
func TestEachBackendMayHaveHeadersOfItsOwn(t *testing.T) {
	for _, n := range []int{1, 63, 64, 65, 255, 256, 257} {
		tables := newTables(t, Limits{Services: 1, Backends: n, Slots: 1})
		for round := range 4 {
			for id := 1; id <= n; id++ {
				check(t, tables.SetBackend(BackendID(id), Backend{Forward: L2, DestMAC: MAC{2, 0, 0, byte(round), byte(id >> 8), byte(id)}}))
			}
			seen := map[int]bool{}
			for id := 1; id <= n; id++ {
				hop := tables.hopOf(BackendID(id))
				if mac := tables.hops.rows[hop].L2[:6]; seen[hop] || mac[3] != byte(round) || int(mac[4])<<8|int(mac[5]) != id {
					t.Fatalf("of %d backends number %d has headers %d, to %x", n, id, hop, mac)
				}
				seen[hop] = true
			}
		}
	}
}

// A row that packets may still read must not say anything else before the grace period.
func TestHeadersInUseOrWithinTheirGracePeriodStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const backends = 6
		said := map[int]bpf.XlbHop{} // rows that packets may read
		rows := make([]bpf.XlbBackend, 1+backends)
		h := hopTable{view: view[bpf.XlbHop]{rows: make([]bpf.XlbHop, 1+backends+2)}}
		if err := h.scan(rows, func() error {
			clear(said)
			for i := range rows {
				said[hopOf(&rows[i])] = h.rows[hopOf(&rows[i])]
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		t.Repeat(map[string]func(*rapid.T){
			"move": func(t *rapid.T) {
				id, hop := rapid.IntRange(1, backends).Draw(t, "backend"), bpf.XlbHop{Forward: 1, Ifindex: rapid.Uint32Range(0, 9).Draw(t, "interface")}
				if rapid.Bool().Draw(t, "is lost") {
					hop = bpf.XlbHop{}
				}
				row, err := h.take(hop)
				if err != nil {
					t.Fatal(err)
				}
				was := hopOf(&rows[id])
				rows[id].Hop = uint32(row) << hopShift
				h.leave(was)
				said[row] = hop
			},
			"": func(t *rapid.T) {
				for i, hop := range said {
					if h.rows[i] != hop {
						t.Fatalf("row %d says %+v, said %+v", i, h.rows[i], hop)
					}
				}
				again := hopTable{view: h.view}
				if err := again.scan(rows, nil); err != nil {
					t.Fatal(err)
				}
				for i := range h.rows {
					if i > 0 && h.users[i] != again.users[i] {
						t.Fatalf("row %d has %d users, counted anew %d", i, h.users[i], again.users[i])
					}
				}
				if len(h.known) != len(again.known) {
					t.Fatalf("%d rows are in use, counted anew %d", len(h.known), len(again.known))
				}
			},
		})
	})
}

func TestHeadersThatAreInUseAreTakenStockOf(t *testing.T) {
	maps, _ := newMaps(t, smallLimits)
	former := openTables(t, maps)
	router := MAC{2, 0, 0, 0, 0, 1}
	check(t, former.SetBackend(1, ipip(router, "10.1.0.1")), former.SetBackend(2, ipip(router, "10.1.0.2")), former.SetBackend(3, ipip(MAC{2, 1}, "10.1.0.3")))

	tables := openTables(t, maps)
	check(t, tables.SetBackend(4, ipip(router, "10.1.0.4")), tables.SetBackend(3, ipip(MAC{2, 2}, "10.1.0.3")))
	if hop := tables.hopOf(4); hop != former.hopOf(1) || tables.hops.users[hop] != 3 {
		t.Errorf("backend 4 has headers %d, of %d users; want %d, of 3", hop, tables.hops.users[hop], former.hopOf(1))
	}
	if hop := tables.hopOf(3); hop == former.hopOf(1) || tables.hops.rows[hop].L2[1] != 2 {
		t.Errorf("backend 3 has headers %d, to %x", hop, tables.hops.rows[hop].L2)
	}
}

func TestHeadersThatContradictThemselvesAreRefused(t *testing.T) {
	for name, damage := range map[string]func(*Tables){
		"a row past the end":            func(t *Tables) { t.backends.rows[2].Hop = uint32(len(t.hops.rows)) << hopShift },
		"the last row, which is free":   func(t *Tables) { t.backends.rows[2].Hop = uint32(len(t.hops.rows)-1) << hopShift },
		"a mode that there is not":      func(t *Tables) { t.hops.rows[t.hopOf(1)].Forward = 5 },
		"headers of those without hops": func(t *Tables) { t.hops.rows[0].Forward = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			maps, _ := newMaps(t, smallLimits)
			tables := openTables(t, maps)
			check(t, tables.SetBackend(1, ipip(MAC{2}, "10.1.0.1")))
			damage(tables)
			if _, err := Open(maps); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "backend") {
				t.Errorf("error %v, want ErrDamaged and whose", err)
			}
		})
	}
}
