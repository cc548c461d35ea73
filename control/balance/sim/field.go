package sim

import "time"

// Field is the configuration of docs/CONSISTENCY.md: a busy service whose fleet never rests.
func Field(seed uint64, flows int) Config {
	settings := Settings{Idle: 15 * time.Minute, LearnUDP: time.Minute}
	brief := settings
	brief.Idle = 5 * time.Minute
	return Config{
		Seed: seed, Flows: flows, Nodes: 4, Backends: 100, Slots: 65_537,
		Duration: time.Hour, LoseNode: 40 * time.Minute, Every: 25 * time.Second, Sweep: time.Minute,
		Classes: []Class{
			{Name: "request", Share: 0.64, Life: 2 * time.Second, Gap: 400 * time.Millisecond, Longest: 10 * time.Second},
			{Name: "keep-alive", Share: 0.20, Life: time.Minute, Gap: 5 * time.Second, Longest: time.Minute},
			{Name: "UDP", Share: 0.10, Life: 20 * time.Second, Gap: time.Second, Longest: 30 * time.Second, UDP: true},
			{Name: "long-lived", Share: 0.05, Life: 20 * time.Minute, Gap: 20 * time.Second, Longest: time.Minute},
			{Name: "idle", Share: 0.01, Life: 2 * time.Hour, Gap: 3 * time.Minute},
		},
		Variants: []Variant{
			{Name: "xlb", Settings: settings},
			{Name: "xlb, records handed to peers within 1 s", Settings: settings, HandOver: time.Second},
			{Name: "xlb, second chance on the backend", Settings: settings, SecondChance: true},
			{Name: "xlb, nodes tell each other nothing", Settings: settings, Alone: true},
			{Name: "xlb, idle timeout of 5 min", Settings: brief},
		},
		Caches: []int{flows, flows / 100},
	}
}
