package model

import "github.com/xlb-project/xlb/maps"

// heartbeat is when the flows' clock was last seen to have gone on.
type heartbeat struct {
	tick  uint64 // modulo 65536
	since int64
	known bool
}

// checkDaemon is the part of stage 3 that notices silence.
func (m *Model) checkDaemon(p *packet) bool {
	silence := m.settings.Silence
	if silence.Policy == maps.SilenceKeep {
		return false
	}
	if tick := m.flows.tick % 65536; !m.heartbeat.known || m.heartbeat.tick != tick {
		m.heartbeat = heartbeat{tick, p.now, tick != 0 || p.now != 0}
		return false
	}
	switch {
	case p.now-m.heartbeat.since <= int64(silence.After):
		return false
	case silence.Policy == maps.SilencePass:
		return p.end(Pass, "no_daemon")
	}
	return p.end(Drop, "no_daemon")
}
