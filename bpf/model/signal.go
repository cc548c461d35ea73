package model

import "github.com/xlb-project/xlb/maps"

// handshake is one that a client has begun and not completed.
type handshake struct {
	tag     uint64 // as in flowRecord
	backend maps.BackendID
	second  uint64
	begun   bool // false: there is none in this place
}

const (
	handshakeAge  = 4    // seconds that one may take
	secondsKept   = 4096 // after which a second looks the same
	sampleFrom    = 20   // the first bit of a tuple hash that says whether a flow is watched
	flagsOfOthers = flagSYN | flagACK
)

// watcher holds handshakes in buckets, and what they said about backends.
type watcher struct {
	mask    uint64
	buckets map[uint64]*[bucketFlows]handshake
	counts  map[maps.BackendID]maps.SignalCounter
}

func newWatcher(limit int) watcher {
	if limit == 0 {
		limit = 8192
	}
	return watcher{newFlowTable(limit).mask, make(map[uint64]*[bucketFlows]handshake), make(map[maps.BackendID]maps.SignalCounter)}
}

// Signals returns what clients' handshakes have told about a backend so far.
func (m *Model) Signals(id maps.BackendID) maps.SignalCounter { return m.watcher.counts[id] }

// watch is the part of stage 13 that looks at handshakes.
func (m *Model) watch(p *packet) {
	if p.later || p.isError || maps.Protocol(p.flow.protocol) != maps.TCP || !p.service.settings.Signals {
		return
	}
	flags, tuple := p.ip[p.l4+tcpFlags], m.flowHash(&p.flow, &byFlow)
	if tuple>>sampleFrom&(1<<p.service.settings.SampleBits-1) != 0 || flags&flagsOfOthers == flagsOfOthers {
		return
	}
	record := m.watcher.find(tuple, m.flows.tick)
	switch {
	case flags&flagSYN != 0:
		m.begin(record, p.backendID, tuple)
	case record == nil || flags&(flagRST|flagACK) == 0:
	case flags&flagRST != 0:
		*record = handshake{}
	default:
		counts := m.watcher.counts[record.backend]
		counts.Completed++
		m.watcher.counts[record.backend] = counts
		*record = handshake{}
	}
}

// begin is what a SYN does, whose flow may have a record.
func (m *Model) begin(record *handshake, backend maps.BackendID, tuple uint64) {
	counts := m.watcher.counts[backend]
	defer func() { m.watcher.counts[backend] = counts }()
	if record != nil && record.backend == backend {
		counts.Retransmitted++
		return
	}
	if record == nil {
		record = m.watcher.place(tuple, m.flows.tick)
	}
	if record == nil {
		counts.Missed++
		return
	}
	counts.SYNs++
	*record = handshake{tag: tagOf(tuple), backend: backend, second: m.flows.tick, begun: true}
}

func (w *watcher) bucket(tuple uint64) *[bucketFlows]handshake {
	b := w.buckets[tuple&w.mask]
	if b == nil {
		b = new([bucketFlows]handshake)
		w.buckets[tuple&w.mask] = b
	}
	return b
}

func (h *handshake) exists(tick uint64) bool {
	return h.begun && (tick-h.second)%secondsKept <= handshakeAge
}

func (w *watcher) find(tuple, tick uint64) *handshake {
	bucket := w.bucket(tuple)
	for i := range bucket {
		if h := &bucket[i]; h.exists(tick) && h.tag == tagOf(tuple) {
			return h
		}
	}
	return nil
}

// place returns the first place without a handshake, nil if there is none.
func (w *watcher) place(tuple, tick uint64) *handshake {
	bucket := w.bucket(tuple)
	for i := range bucket {
		if !bucket[i].exists(tick) {
			return &bucket[i]
		}
	}
	return nil
}
