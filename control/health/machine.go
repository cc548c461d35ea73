package health

// machine is the rise and fall state machine of one target.
type machine struct {
	state   State
	passed  bool // the last result
	inRow   int  // how many results in a row were like it; 0 before the first
	trusted bool // while nothing is known, one failure does not mean Down
}

// observe takes in one result and reports whether the state changed.
func (m *machine) observe(passed bool, rise, fall int) bool {
	if m.inRow > 0 && m.passed == passed {
		m.inRow++
	} else {
		m.passed, m.inRow = passed, 1
	}
	before := m.state
	switch {
	case passed && (m.state == Unknown || m.state == Down && m.inRow >= rise):
		m.state = Up
	case !passed && (m.state == Unknown && !m.trusted || m.state != Down && m.inRow >= fall):
		m.state = Down
	}
	return m.state != before
}

// forget drops the results so far but keeps the state they led to.
func (m *machine) forget() { m.inRow = 0 }

// failing says whether it is worth while to look closely: the target is down, or may be
// about to be.
func (m *machine) failing() bool { return m.state == Down || m.inRow > 0 && !m.passed }
