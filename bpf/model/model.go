package model

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/maps"
)

// Model is a data path with a state, its records of flows, handshakes and
// fragments, and its rate limits.
// It is for one goroutine.
type Model struct {
	settings maps.Settings
	keys     [hashKeys]uint64
	vips     prefixTable[*vip]
	denied   prefixTable[bool]
	services map[maps.ServiceID]*service
	backends map[maps.BackendID]*maps.Backend
	egress   map[uint32]bool

	flows     flowTable
	watcher   watcher
	heartbeat heartbeat
	records   map[recordKey]record
	sourceTAT map[sourceKey]int64
	tooBigTAT int64
	out       []byte // what the last packet left as
}

// New makes a model of a state, which must not change afterwards but in what
// SetTransition and SetBackend are told. The flows' clock is at 0. New returns an
// error if the state contradicts itself or leaves open who wins.
func New(s State) (*Model, error) {
	services, err := newServices(&s)
	if err != nil {
		return nil, err
	}
	vips, err := newVIPs(&s, services)
	if err != nil {
		return nil, err
	}
	backends, err := newBackends(&s)
	if err != nil {
		return nil, err
	}
	m := &Model{
		settings: s.Settings, keys: expandKey(s.Settings.Key),
		vips: vips, services: services, backends: backends, egress: s.Egress, flows: newFlowTable(s.Settings.Limits.Flows), watcher: newWatcher(s.Settings.Limits.Handshakes),
		records: make(map[recordKey]record), sourceTAT: make(map[sourceKey]int64),
	}
	if idle := s.Settings.FlowIdle; idle > 0 {
		m.flows.idle = uint64(idle / time.Second)
	}
	for _, prefix := range s.NodeDeny {
		if err := checkPrefix(prefix); err != nil {
			return nil, err
		}
		m.denied.add(prefix, true)
	}
	return m, nil
}

// Process says what becomes of a frame that arrives on an interface at a time of
// a monotonic clock in nanoseconds. It does not modify the frame.
func (m *Model) Process(frame []byte, ifindex int, now int64) Result {
	p := &packet{frame: frame, ifindex: ifindex, now: now}
	_ = p.readLink() || p.readIP() || m.findVIP(p) || m.checkDaemon(p) ||
		p.readLength() || m.checkSanity(p) || p.readExtensions() || m.checkNode(p) ||
		m.followFragment(p) || m.answerICMP(p) || m.findService(p) ||
		m.filter(p) || m.limit(p) || m.choose(p) || m.rewrite(p)
	return p.result
}

// findVIP is stage 3.
func (m *Model) findVIP(p *packet) bool {
	p.vip, _ = m.vips.longest(p.flow.dst)
	if p.vip == nil {
		return p.end(Pass, "not_ours")
	}
	return false
}

// checkSanity is the rest of stage 4.
func (m *Model) checkSanity(p *packet) bool {
	if m.settings.VerifyChecksum && !p.v6 && checksum(p.ip[:p.l4], 0) != 0 {
		return p.end(Drop, "bad_checksum")
	}
	if p.flow.src == p.flow.dst {
		return p.end(Drop, "land")
	}
	if martian(p.flow.src) {
		return p.end(Drop, "martian")
	}
	if _, ok := m.vips.longest(p.flow.src); ok {
		return p.end(Drop, "source_is_vip")
	}
	return false
}

func martian(addr netip.Addr) bool {
	if addr.Is4() {
		first := addr.As4()[0]
		return first == 0 || first == 127 || first >= 224
	}
	b := addr.As16()
	return [8]byte(b[:8]) == [8]byte{} || b[0] == 0xff
}

// checkNode is stage 6.
func (m *Model) checkNode(p *packet) bool {
	if _, ok := m.denied.longest(p.flow.src); ok {
		return p.end(Drop, "denied_by_node")
	}
	return false
}

// findService is stage 9.
func (m *Model) findService(p *packet) bool {
	if p.later {
		return false
	}
	l4 := p.ip[p.l4:]
	if !p.isError {
		switch maps.Protocol(p.flow.protocol) {
		case maps.TCP:
			if len(l4) < tcpHeader || !p.first && (dataOffset(l4) < tcpHeader || dataOffset(l4) > len(l4)) {
				return p.end(Drop, "bad_length")
			}
		case maps.UDP:
			if len(l4) < udpHeader || !p.first && (udpLength(l4) < udpHeader || udpLength(l4) > len(l4)) {
				return p.end(Drop, "bad_length")
			}
		default:
			return p.end(Pass, "no_service")
		}
		p.flow.srcPort = binary.BigEndian.Uint16(l4)
		p.flow.dstPort = binary.BigEndian.Uint16(l4[2:])
	}
	p.service = p.vip.find(maps.Protocol(p.flow.protocol), p.flow.dstPort)
	if p.service == nil {
		return p.end(Pass, "no_service")
	}
	return false
}

// dataOffset is a TCP header's length in bytes.
func dataOffset(tcp []byte) int { return int(tcp[12]>>4) * 4 }

func udpLength(udp []byte) int { return int(binary.BigEndian.Uint16(udp[4:])) }

// filter is stage 10.
func (m *Model) filter(p *packet) bool {
	if p.service == nil || p.service.settings.Filter == maps.NoFilter {
		return false
	}
	allow, ok := p.service.rules.longest(p.flow.src)
	if !ok {
		allow = p.service.settings.Filter == maps.AllowOthers
	}
	if !allow {
		return p.end(Drop, "denied")
	}
	return false
}
