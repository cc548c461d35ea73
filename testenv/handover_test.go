package testenv

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/control/handover"
	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

var (
	handoverVIP    = netip.MustParseAddrPort("192.0.2.10:443")
	handoverSecret = handover.Secret{1}
)

// peer is a node's data path, attached to nothing, with one service whose backends have the node's own numbers.
type peer struct {
	*testing.T
	prog     *ebpf.Program
	tables   *maps.Tables
	table    *transition.Table
	backends map[netip.Addr]maps.BackendID
	owners   []netip.Addr
	now      time.Duration
}

// newPeer loads a node with room for so many flows, whose backends are numbered from first on.
func newPeer(t *testing.T, flows int, first maps.BackendID, backends ...netip.Addr) *peer {
	t.Helper()
	spec, err := bpf.LoadXlb()
	check(t, err)
	limits := maps.Limits{Services: 2, Listeners: 4, Backends: 64, Slots: 1024, Flows: flows}
	check(t, maps.Specialise(spec, maps.Settings{Key: maps.Key{3}, Limits: limits}, maps.AllFeatures()))
	coll, err := ebpf.NewCollection(spec)
	check(t, err)
	t.Cleanup(coll.Close)
	tables, err := maps.Open(coll.Maps)
	check(t, err)
	t.Cleanup(func() { tables.Close() })
	p := &peer{T: t, prog: coll.Programs[bpf.XlbProgXlb], tables: tables, backends: map[netip.Addr]maps.BackendID{}}
	for i, addr := range backends {
		id := first + maps.BackendID(i)
		p.backends[addr] = id
		check(t, tables.SetBackend(id, maps.Backend{Forward: maps.L2, Up: true, Accepts: true, Ifindex: 1, MTU: 1500, DestMAC: maps.MAC{2, 0, 0, 0, 0, byte(id)}}))
	}
	check(t, tables.SetService(0, maps.Service{}))
	p.owners = []netip.Addr{backends[0], backends[0], backends[0]}
	p.table = transition.New(transition.Settings{Idle: time.Minute}, p.ids())
	check(t, tables.SetSlotTable(0, p.table.Slots()))
	check(t, tables.SetListeners([]maps.Listener{{
		VIP: netip.PrefixFrom(handoverVIP.Addr(), 32), First: handoverVIP.Port(), Last: handoverVIP.Port(), Protocol: maps.TCP,
	}}))
	p.after(0)
	return p
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%+v", err)
	}
}

func (p *peer) ids() (ids []maps.BackendID) {
	for _, addr := range p.owners {
		ids = append(ids, p.backends[addr])
	}
	return ids
}

// turn gives all slots to a backend.
func (p *peer) turn(owner netip.Addr) {
	for i := range p.owners {
		p.owners[i] = owner
	}
	check(p.T, p.tables.MoveSlots(0, p.table.Change(p.now, p.ids(), func(maps.BackendID) bool { return true })))
}

func (p *peer) after(d time.Duration) {
	p.now += d
	p.tables.SetTick(uint64(p.now / time.Second))
}

// goesTo sends a packet of a client's port and checks which backend gets it.
func (p *peer) goesTo(what string, port int, syn bool, want netip.Addr) {
	p.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: []byte{198, 51, 100, 7}, DstIP: handoverVIP.Addr().AsSlice()}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(port), DstPort: layers.TCPPort(handoverVIP.Port()), SYN: syn, ACK: !syn}
	check(p.T, tcp.SetNetworkLayerForChecksum(ip))
	frame := gopacket.NewSerializeBuffer()
	check(p.T, gopacket.SerializeLayers(frame, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}, ip, tcp))
	before := map[netip.Addr]uint64{}
	for addr, id := range p.backends {
		before[addr] = p.tables.BackendCounter(id).Packets
	}
	_, err := p.prog.Run(&ebpf.RunOptions{Data: frame.Bytes(), DataOut: make([]byte, 512)})
	check(p.T, err)
	for addr, id := range p.backends {
		if got := p.tables.BackendCounter(id).Packets - before[addr]; (got == 1) != (addr == want) {
			p.Errorf("%s of port %d: backend %s got %d packets, %s was to have it", what, port, addr, got, want)
		}
	}
}

// hand carries over what another node needs.
func (p *peer) hand(to *peer) handover.Taken {
	p.Helper()
	rows := make([]transition.Backend, 64)
	names := map[maps.BackendID]netip.Addr{}
	for addr, id := range p.backends {
		rows[id], names[id] = transition.Backend{Table: p.table, Lives: true}, addr
	}
	who := func(id maps.BackendID) (handover.Identity, bool) {
		addr, ok := names[id]
		return handover.Identity{Service: "web", Slots: p.table.Size(), Address: addr}, ok
	}
	var wire bytes.Buffer
	w, err := handover.NewWriter(&wire, handoverSecret, handover.Node{HashKey: maps.Key{3}, Bits: p.tables.FlowBits()})
	check(p.T, err)
	for _, b := range handover.Strays(time.Now(), p.tables.Flows(), transition.NewScan(p.now, rows), who) {
		check(p.T, w.Write(b))
	}
	check(p.T, w.Close())
	r, err := handover.NewReader(&wire, handoverSecret, handover.Node{HashKey: maps.Key{3}, Bits: to.tables.FlowBits()}, handover.NewGuard(time.Minute))
	check(p.T, err)
	taken, err := handover.Receive(r, func(f func()) error { f(); return nil }, func(name string) (handover.Service, bool) {
		return handover.Service{Slots: to.table.Size(), Backends: to.backends, Counts: to.table.Counts, Add: to.tables.AddFlows}, name == "web"
	})
	check(p.T, err)
	return taken
}

func TestFlowsFollowTheirRecordsToAnotherNode(t *testing.T) {
	first, second, third := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.1.0.3")
	for name, flows := range map[string]struct{ a, b int }{
		"tables of one size":        {4096, 4096},
		"to a node with less room":  {4096, 1024},
		"to a node with more of it": {1024, 4096},
		"from a single bucket":      {8, 128},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newPeer(t, flows.a, 1, first, second, third), newPeer(t, flows.b, 31, third, first, second)
			b.owners = []netip.Addr{first, first, first}
			b.table = transition.New(transition.Settings{Idle: time.Minute}, b.ids())
			check(t, b.tables.SetSlotTable(0, b.table.Slots()))

			const old, middle, young, own = 1000, 2000, 3000, 4000 // ports
			a.turn(second)
			b.turn(second)
			a.goesTo("an ACK", old, false, first)
			a.goesTo("a SYN", middle, true, second)
			a.turn(third)
			b.turn(third)
			a.goesTo("a SYN", young, true, third)
			b.goesTo("a SYN", own, true, third)
			a.goesTo("an ACK", own, false, first) // the router is mistaken
			a.after(5 * time.Second)
			b.after(5 * time.Second)

			taken := a.hand(b)
			if taken != (handover.Taken{Added: 3, Left: 1}) {
				t.Errorf("taken %+v", taken)
			}
			for range 2 {
				b.goesTo("an ACK", old, false, first)
				b.goesTo("an ACK", middle, false, second)
				b.goesTo("an ACK", young, false, third)
				b.goesTo("an ACK", own, false, third)
				b.goesTo("an ACK nobody knows", 5000, false, first)
			}
			if again := a.hand(b); again.Added != 0 {
				t.Errorf("once more: taken %+v", again)
			}
			if back := b.hand(a); back.Added != 1 { // what only b had seen
				t.Errorf("back again: taken %+v", back)
			}
		})
	}
}

func TestNodesAtRestHandNothingOver(t *testing.T) {
	addr := netip.MustParseAddr("10.1.0.1")
	a, b := newPeer(t, 64, 1, addr), newPeer(t, 64, 9, addr)
	a.goesTo("a SYN", 1000, true, addr)
	if taken := a.hand(b); taken != (handover.Taken{}) {
		t.Errorf("taken %+v", taken)
	}
	other := newPeer(t, 64, 9, addr, netip.MustParseAddr("10.1.0.2"))
	a.backends[netip.MustParseAddr("10.1.0.2")] = 2
	check(t, a.tables.SetBackend(2, maps.Backend{Forward: maps.L2, Up: true, Accepts: true, Ifindex: 1, MTU: 1500}))
	a.turn(netip.MustParseAddr("10.1.0.2"))
	a.goesTo("an ACK", 1000, false, addr)
	if taken := a.hand(other); taken != (handover.Taken{Idle: 1}) {
		t.Errorf("at a node that has not begun the transition: taken %+v", taken)
	}
}
