package model

import (
	"net/netip"

	"github.com/xlb-project/xlb/maps"
)

// sourceKey is whom a limit of new connections counts for.
type sourceKey struct {
	service maps.ServiceID
	source  netip.Addr // IPv6: the first of its /64
}

// manySources is when sources that have been silent long enough to be as good
// as new are forgotten.
const manySources = 1 << 16

const (
	tcpFlags = 13 // the offset of TCP's flags
	flagSYN  = 0x02
	flagACK  = 0x10
)

// limit is stage 11.
func (m *Model) limit(p *packet) bool {
	if p.service == nil || p.isError {
		return false
	}
	settings := &p.service.settings
	if p.isNewConnection() && limited(settings.NewConnections) {
		key := sourceKey{p.service.id, p.flow.src}
		if p.v6 {
			key.source = netip.PrefixFrom(p.flow.src, 64).Masked().Addr()
		}
		tat := m.sourceTAT[key]
		if !conforms(&tat, settings.NewConnections, p.now) {
			return p.end(Drop, "source_rate")
		}
		m.sourceTAT[key] = tat
		m.forgetSources(p.now)
	}
	if !conforms(&p.service.packetsTAT, settings.Packets, p.now) {
		return p.end(Drop, "service_rate")
	}
	return false
}

func (m *Model) forgetSources(now int64) {
	if len(m.sourceTAT) < manySources {
		return
	}
	for key, tat := range m.sourceTAT {
		if tat <= now {
			delete(m.sourceTAT, key)
		}
	}
}

func (p *packet) isNewConnection() bool {
	return maps.Protocol(p.flow.protocol) == maps.TCP && !p.later && p.ip[p.l4+tcpFlags]&(flagSYN|flagACK) == flagSYN
}

func limited(rate maps.Rate) bool { return rate.Interval != 0 }

// conforms is the generic cell rate algorithm (ITU-T I.371) as virtual
// scheduling; tat is the theoretical arrival time. Times are in ns.
func conforms(tat *int64, rate maps.Rate, now int64) bool {
	if !limited(rate) {
		return true
	}
	if *tat > now+rate.Tolerance.Nanoseconds() {
		return false
	}
	*tat = max(*tat, now) + rate.Interval.Nanoseconds()
	return true
}
