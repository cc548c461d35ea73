package passive

// history is a backend's counts at the last judgements, the latest first.
type history struct {
	counts [maxPeriods + 1]Counts
	n      int // how many there are
}

// add takes in the counts of now. If they fell, they are another's, or begin anew.
func (h *history) add(c Counts) {
	if last := h.counts[0]; h.n > 0 && (c.SYNs < last.SYNs || c.Completed < last.Completed || c.Retransmitted < last.Retransmitted) {
		*h = history{}
	}
	copy(h.counts[1:], h.counts[:])
	h.counts[0] = c
	h.n = min(h.n+1, len(h.counts))
}

// periods returns over how many periods there is something to tell.
func (h *history) periods() int { return max(h.n-1, 0) }

// sums are the handshakes of a time, and what became of them.
type sums struct{ syns, completed, repeated float64 }

// over returns what happened in so many periods. Handshakes that are under way at its
// beginning and its end are on both sides alike, at a backend as at its siblings.
func (h *history) over(periods int) sums {
	begin, end := h.counts[periods], h.counts[0]
	s := sums{
		syns:      float64(end.SYNs - begin.SYNs),
		completed: float64(end.Completed - begin.Completed),
		repeated:  float64(end.Retransmitted - begin.Retransmitted),
	}
	s.repeated = min(s.repeated, s.syns) // some send more than one
	return s
}

// prompt returns how many needed no second SYN, as far as that can be told.
func (s sums) prompt() float64 { return s.syns - s.repeated }

func (s sums) plus(o sums) sums {
	return sums{s.syns + o.syns, s.completed + o.completed, s.repeated + o.repeated}
}

func (s sums) minus(o sums) sums {
	return sums{s.syns - o.syns, s.completed - o.completed, s.repeated - o.repeated}
}
