package model

import (
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/maps"
)

// recordKey names a fragmented packet (RFC 791, RFC 8200 section 4.5).
type recordKey struct {
	src, dst netip.Addr
	protocol uint8
	ident    uint32
}

type record struct {
	backend maps.BackendID
	second  int64 // of the clock
}

const (
	recordAge   = 10 // seconds
	manyRecords = 1 << 16
)

func (p *packet) recordKey() recordKey {
	return recordKey{p.flow.src, p.flow.dst, p.flow.protocol, p.ident}
}

func seconds(now int64) int64 { return now / int64(time.Second) }

// followFragment is stage 7: it finds a later fragment's service, or its backend.
func (m *Model) followFragment(p *packet) bool {
	if !p.later {
		return false
	}
	protocol := maps.Protocol(p.flow.protocol)
	if protocol != maps.TCP && protocol != maps.UDP {
		return p.end(Drop, "fragment")
	}
	if p.service = p.vip.fragments[protocol]; p.service != nil {
		return false
	}
	found, ok := m.records[p.recordKey()]
	if !ok || seconds(p.now)-found.second > recordAge {
		if m.settings.PassOrphans {
			return p.end(Pass, "fragment_unknown")
		}
		return p.end(Drop, "fragment_unknown")
	}
	p.recorded, p.backendID, p.hash = true, found.backend, m.fragmentHash(p)
	return false
}

// recordFragment keeps a first fragment's backend for those that follow.
func (m *Model) recordFragment(p *packet) {
	if !p.first || p.vip.fragments[maps.Protocol(p.flow.protocol)] != nil {
		return
	}
	now := seconds(p.now)
	if len(m.records) >= manyRecords {
		for key, r := range m.records {
			if now-r.second > recordAge {
				delete(m.records, key)
			}
		}
	}
	m.records[p.recordKey()] = record{p.backendID, now}
}
