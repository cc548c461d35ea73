package explain

import (
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-project/xlb/bpf/model"
	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/maps"
)

// everything uses all of the data path. Clients are those of the model's packets.
const everything = `
interfaces: [eth0]
source: {ipv4: 10.0.0.1, ipip_ipv4: 172.16.0.0/16, ipv6: "fd00::1"}
gateway_mac: "02:00:00:00:00:01"
verify_checksum: true
deny: [198.51.100.9, "2001:db8:ffff::9"]
icmp: {too_big_rate: 100}
services:
  - name: web
    vip: 192.0.2.10
    port: [80, 443, 8000-8099]
    protocol: [tcp, udp]
    forward: ipip
    mss: 1400
    limits: {new_connections_per_source: {rate: 20, burst: 3}}
    backends: [{address: 10.1.0.1, name: b1}, {address: 10.1.0.2, name: b2}, {address: "fd00:1::3", name: b3}]
  - name: h3
    vip: "2001:db8:1::10"
    port: [80, 443]
    protocol: udp
    forward: gue
    quic: {server_id_length: 4, config_rotation: [0, 3]}
    backends: [{address: "fd00:1::1", name: g1, server_id: "00000001", mac: "02:00:00:00:00:33"}, {address: 10.1.0.9, name: g2, server_id: "00000002"}]
  - name: dns
    vip: 192.0.2.53
    port: 53
    protocol: [tcp, udp]
    forward: l2
    affinity: source
    filter: {deny: [198.51.100.4/30]}
    limits: {packets: {rate: 300, burst: 10}}
    backends: [{address: 10.0.0.21, mac: "02:00:00:00:00:21"}, {address: 10.0.0.22}]
  - name: rest
    vip: 192.0.2.0/24
    port: any
    forward: gre
    backends: [{address: 10.1.0.7, name: r1}, {address: "fd00:1::8", name: r2}]
  - {name: narrow, vip: 192.0.2.0/24, port: 7, forward: gre, filter: {allow: [203.0.113.0/24]}, backends: [{address: 10.1.0.7}]}
  - name: rest6
    vip: "2001:db8:1::/64"
    port: any
    protocol: [tcp, udp]
    forward: ipip
    affinity: {source_prefix: 64}
    backends: [{address: "fd00:1::a"}, {address: 10.1.0.10}]
`

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("xlb.yaml", []byte(text))
	must(t, err)
	return cfg
}

func newNode(t *testing.T, cfg *config.Config, opts Options) *Node {
	t.Helper()
	if opts.MTU == 0 {
		opts.MTU = 1500
	}
	n, err := New(cfg, opts)
	if err != nil {
		t.Fatalf("load (offline runs need root): %v", err)
	}
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// explained runs a frame.
func explained(t *testing.T, n *Node, frame []byte, at time.Time) Explanation {
	t.Helper()
	e, err := n.Explain(Packet{Frame: frame, Length: len(frame), Time: at})
	must(t, err)
	return e
}

// build makes a frame of TTL 64.
func build(t *testing.T, protocol, src, dst string, size int) []byte {
	t.Helper()
	frame, err := Single{Protocol: protocol, Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst), Size: size, TTL: 64}.Build()
	must(t, err)
	return frame
}

// all reads a capture to its end.
func all(t *testing.T, name string) (packets []Packet) {
	t.Helper()
	c, err := OpenCapture(name)
	must(t, err)
	defer c.Close()
	for {
		p, err := c.Next()
		if err == io.EOF {
			return packets
		}
		must(t, err)
		p.Frame = append([]byte{}, p.Frame...)
		packets = append(packets, p)
	}
}

// recorder takes down what a data path is told at first, in the model's terms.
type recorder struct {
	control.Dataplane
	state model.State
}

func newRecorder(settings maps.Settings) *recorder {
	return &recorder{state: model.State{
		Settings: settings,
		Services: map[maps.ServiceID]maps.Service{}, Slots: map[maps.ServiceID][]maps.BackendID{},
		Backends: map[maps.BackendID]maps.Backend{}, Rules: map[maps.ServiceID][]maps.Rule{},
		ServerIDs: map[maps.ServiceID][]maps.ServerID{},
	}}
}

func (r *recorder) SetRules(id maps.ServiceID, rules []maps.Rule) error {
	if id != maps.NodeRules {
		r.state.Rules[id] = rules
		return nil
	}
	for _, rule := range rules {
		r.state.NodeDeny = append(r.state.NodeDeny, rule.Source)
	}
	return nil
}

func (r *recorder) SetServerIDs(id maps.ServiceID, _ maps.ServerIDLengths, ids []maps.ServerID) error {
	r.state.ServerIDs[id] = ids
	return nil
}

func (r *recorder) SetService(id maps.ServiceID, s maps.Service) error {
	r.state.Services[id] = s
	return nil
}

func (r *recorder) SetListeners(listeners []maps.Listener) error {
	r.state.Listeners = listeners
	return nil
}

// SetBackend leaves out the mark by which offline nodes know their backends.
func (r *recorder) SetBackend(id maps.BackendID, b maps.Backend) error {
	b.SourceMAC = maps.MAC{}
	r.state.Backends[id] = b
	return nil
}

func (r *recorder) SetSlotTable(id maps.ServiceID, slots []maps.Slot) error {
	r.state.Slots[id] = nil
	for _, slot := range slots {
		r.state.Slots[id] = append(r.state.Slots[id], slot.Current)
	}
	return nil
}

// What runs before is nothing.

func (r *recorder) ServiceEntries() []maps.ServiceEntry        { return nil }
func (r *recorder) BackendEntries() []maps.BackendEntry        { return nil }
func (r *recorder) NameService(maps.ServiceEntry) error        { return nil }
func (r *recorder) NameBackend(maps.BackendEntry) error        { return nil }
func (r *recorder) Backend(maps.BackendID) maps.BackendState   { return maps.BackendState{} }
func (r *recorder) ServerIDs(maps.ServiceID) []maps.ServerID   { return nil }
func (r *recorder) SlotTable(maps.ServiceID) []maps.Slot       { return nil }
func (r *recorder) Tick() uint64                               { return 0 }
func (r *recorder) BackendCounter(maps.BackendID) maps.Counter { return maps.Counter{} }
func (r *recorder) ResetBackendCounter(maps.BackendID)         {}
