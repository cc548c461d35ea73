package bpf

import "fmt"

// Reason says why a packet left the pipeline. Its number is a row of the
// counters table and never changes its meaning.
type Reason uint32

type reasonInfo struct {
	name, verdict, healthy, when string
}

// Reasons returns all reasons in the order of their numbers.
func Reasons() []Reason {
	all := make([]Reason, len(reasons))
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// String returns the reason's name as metrics and documents spell it.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r].name
	}
	return fmt.Sprintf("reason_%d", uint32(r))
}

// Verdict returns what happens to the packet: pass, drop, emit or abort.
func (r Reason) Verdict() string { return r.info().verdict }

// Healthy says how often healthy traffic hits the reason: always, often, rarely or never.
func (r Reason) Healthy() string { return r.info().healthy }

// When says in one sentence when the reason is given.
func (r Reason) When() string { return r.info().when }

func (r Reason) info() reasonInfo {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return reasonInfo{verdict: "unknown", when: "not known to this version"}
}
