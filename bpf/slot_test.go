package bpf_test

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// The slot a flow falls into is the same in C and Go, so that every node, the
// simulator and `explain` agree, and so is its owner, in whichever form the table is.
func TestFlowsGoToTheOwnersOfTheSlotsThatGoComputes(t *testing.T) {
	p := newPath(t)
	for id := maps.BackendID(1); int(id) <= testLimits.Backends; id++ {
		b := viaL2()
		b.Up, b.Accepts = true, true
		p.must(p.tables.SetBackend(id, b))
		p.name(id, netip.AddrFrom4([4]byte{10, 1, 0, byte(id)}))
	}
	p.must(p.tables.SetListeners([]maps.Listener{{VIP: netip.PrefixFrom(vip, 32), First: 80, Last: 80, Protocol: maps.TCP}}))
	wide := make([]maps.BackendID, 251)
	for i := range wide {
		wide[i] = maps.BackendID(i + 1)
	}
	const computed = true
	for name, c := range map[string]struct {
		owners   []maps.BackendID
		computed bool
	}{
		"wide":                          {wide, false},
		"two bits":                      {alternating(101, 40, 42), false},
		"four bits":                     {alternating(4099, 70, 71, 80), false},
		"a backend":                     {byScores([]maps.BackendID{256}, 0), computed},
		"two":                           {byScores([]maps.BackendID{1, 2}, 0, 0), computed},
		"two, the first does with less": {byScores([]maps.BackendID{11, 12}, 30, 0), computed},
		"two, the last does with less":  {byScores([]maps.BackendID{11, 12}, 0, 63), computed},
		"two, one between":              {byScores([]maps.BackendID{100, 102}, 9, 0), computed},
		"three":                         {byScores([]maps.BackendID{200, 201, 202}, 0, 0, 0), computed},
		"three, two do with less":       {byScores([]maps.BackendID{200, 201, 202}, 25, 0, 50), computed},
		"three, the last has the rest":  {byScores([]maps.BackendID{200, 201, 202}, 40, 50, 0), computed},
	} {
		t.Run(name, func(t *testing.T) {
			p := *p
			p.T = t
			p.tables.Forget()
			p.must(p.tables.SetSlotTable(0, maps.Steady(c.owners)))
			if got := p.isComputed(0); got != c.computed {
				t.Errorf("the table is computed: %v, want %v", got, c.computed)
			}
			for _, service := range []maps.Service{{}, {TrackAlways: true}} {
				p.must(p.tables.SetService(0, service))
				p.checkOwners(c.owners)
			}
		})
	}
}

// isComputed tells whether a service's table has no rows.
func (p *path) isComputed(id maps.ServiceID) bool {
	p.Helper()
	var row bpf.XlbService
	p.must(p.maps[bpf.XlbMapServices].Lookup(uint32(id), &row))
	return row.Table>>63 != 0
}

// checkOwners sends packets of many flows.
func (p *path) checkOwners(owners []maps.BackendID) {
	p.Helper()
	for i := range 1000 {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i), byte(i * 7)}), uint16(i*131+1))
		ip := ipv4(vip, layers.IPProtocolTCP)
		ip.SrcIP = src.Addr().AsSlice()
		tcp := &layers.TCP{SrcPort: layers.TCPPort(src.Port()), DstPort: 80}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		slot := maps.SlotOf(maps.FlowHash(maps.Key{1}, src, web, maps.TCP), len(owners))
		before := p.tables.BackendCounter(owners[slot]).Packets
		p.run(frameOf(p.T, layers.EthernetTypeIPv4, ip, tcp))
		if p.tables.BackendCounter(owners[slot]).Packets != before+1 {
			p.Fatalf("%s did not go to the owner of slot %d, backend %d", src, slot, owners[slot])
		}
	}
}

func alternating(size int, backends ...maps.BackendID) []maps.BackendID {
	owners := make([]maps.BackendID, size)
	for i := range owners {
		owners[i] = backends[i%len(backends)]
	}
	return owners
}

// byScores gives each of 4,099 slots to the backend with the highest score of those
// that reach their cutoffs, in 64ths. Backends are those of the address 10.1.0.number.
func byScores(backends []maps.BackendID, cutoffs ...uint32) []maps.BackendID {
	owners := make([]maps.BackendID, 4099)
	for slot := range owners {
		best := uint32(0)
		for i, b := range backends {
			seed := maps.Seed(netip.AddrFrom4([4]byte{10, 1, 0, byte(b)}).String())
			if score := maps.SlotScore(slot, seed); score >= cutoffs[i]<<26 && score >= best {
				best, owners[slot] = score, b
			}
		}
	}
	return owners
}
