package loader

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// ErrSelfTest is returned for a program that does not do with packets what its
// tables say.
var ErrSelfTest = errors.New("self-test of the new program failed")

// XDP's return codes, by the verdict that a reason stands for.
var verdicts = map[string][]uint32{
	"abort": {0},
	"drop":  {1},
	"pass":  {2},
	"tx":    {3},
	"emit":  {3, 4}, // by the same interface, or by another
}

// selfTest sends packets through the program before any interface does. They meet
// the very tables that live ones will, and its counters, which are cleared after.
func (s *Staged) selfTest() error {
	defer s.Tables.ForgetCounted()
	if s.opts.Settings.Silence.Policy != maps.SilenceKeep {
		s.Tables.SetTick(s.Tables.Tick() + 1) // a daemon is here again, which packets would notice by and by
	}
	for _, trial := range s.Tables.Trials(s.opts.Settings, s.opts.Features) {
		if err := s.try(trial); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSelfTest, trial.Name, err)
		}
	}
	return nil
}

func (s *Staged) try(trial maps.Trial) error {
	const tail = 256 // room for outer headers
	run := ebpf.RunOptions{Data: trial.Frame, DataOut: make([]byte, len(trial.Frame)+tail)}
	counter := func() uint64 {
		if trial.Backend != 0 {
			return s.Tables.BackendCounter(trial.Backend).Packets
		}
		return s.Tables.ReasonCounter(trial.Reason).Packets
	}
	before, lost := counter(), s.Tables.ReasonCounter(bpf.ReasonNoEgress).Packets
	got, err := s.next.prog.Run(&run)
	if err != nil {
		return fmt.Errorf("run the program: %w", err)
	}
	if trial.Backend != 0 && s.Tables.ReasonCounter(bpf.ReasonNoEgress).Packets == lost+1 {
		return nil // the backend's row is right, and its interface away
	}
	want := verdicts[trial.Reason.Verdict()]
	match := false
	for _, v := range want {
		match = match || v == got
	}
	switch {
	case !match:
		return fmt.Errorf("XDP returns %d, want one of %d for %s", got, want, trial.Reason)
	case counter() != before+1:
		return fmt.Errorf("it is not counted as %s", trial.Reason)
	case !bytes.HasPrefix(run.DataOut, trial.Link):
		return fmt.Errorf("it leaves with the link header %x, want %x", run.DataOut[:min(len(trial.Link), len(run.DataOut))], trial.Link)
	}
	return nil
}
