package loader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	xlb "github.com/xlb-project/xlb/maps"
)

// childEnv makes the test binary a daemon that is about to die.
const childEnv = "LOADER_TEST_CHILD"

// child is a daemon that publishes, and kills itself at a step of it.
type child struct {
	Root, Name string
	Opts       xlb.PlaneOptions
	DieAt      int // number of the step; -1: it lives on
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintf(os.Stderr, "%+v\n", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runChild prints the steps that it gets to.
func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	step := 0
	d, _, err := Open(Instance{Root: c.Root, Name: c.Name, Version: "1.2.4", Failpoint: func(name string) error {
		fmt.Println(name)
		if step == c.DieAt {
			return unix.Kill(os.Getpid(), unix.SIGKILL)
		}
		step++
		return nil
	}}, c.Opts)
	if err != nil {
		return err
	}
	return errors.Join(d.Publish(), d.Close())
}

// spawn runs a child in the site's namespace and returns what it printed, and whether it was killed.
func (s *site) spawn(opts xlb.PlaneOptions, dieAt int) (out string, killed bool) {
	s.Helper()
	text, err := json.Marshal(child{s.inst.Root, s.inst.Name, opts, dieAt})
	s.must(err)
	cmd := s.here.Command(context.Background(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	printed, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return string(printed), true
	}
	if err != nil {
		s.Fatalf("child: %v: %s", err, printed)
	}
	return string(printed), false
}

// A daemon may be killed at any moment of a replacement: traffic goes on, and the next daemon comes to an end with it,
// whether it wants the same or something else.
func TestDaemonMayDieAtEveryStepOfAReplacement(t *testing.T) {
	inSite(t, func(s *site) {
		before, after := options("eth0", "eth1"), options("eth0", "eth1")
		after.Settings.Limits.Flows *= 4
		after.Settings.Limits.Backends *= 2
		d := s.run(before)
		d.Tables.SetTick(100)
		flow := xlb.Flow{Backend: 1, State: xlb.FlowKnown, Hash: 1<<40 | 5}
		d.Tables.AddFlows([]xlb.Flow{flow}, d.Tables.FlowBits())
		s.must(d.Close())
		stream := s.startStream()
		from, to := before, after
		for step := 0; ; step++ {
			stream.awaitMore(50)
			out, killed := s.spawn(to, step)
			if !killed {
				t.Logf("steps of a replacement:\n%s", out)
				if step < 7 {
					t.Errorf("only %d steps", step)
				}
				break
			}
			stream.awaitMore(50)
			d, a := s.open(from)
			if a.Kind == Fresh {
				t.Fatalf("killed at %q: everything is gone", out)
			}
			s.must(d.Publish())
			stream.awaitMore(50)
			if n := len(slices.Collect(d.Tables.Flows())); n != 1 {
				t.Errorf("killed at %q: %d flows, want 1", out, n)
			}
			if numbers, err := s.inst.generations(); err != nil || len(numbers) != 1 {
				t.Errorf("killed at %q: generations %v are pinned, %v", out, numbers, err)
			}
			if a, b := attachedTo(t, "eth0"), attachedTo(t, "eth1"); a != b || a != uint32(d.gen.id()) {
				t.Errorf("killed at %q: programs %d and %d are attached, want %d", out, a, b, d.gen.id())
			}
			s.must(d.Close())
		}
		sent, lost := stream.end()
		if lost != 0 {
			t.Errorf("%d of %d datagrams are lost", lost, sent)
		}
		d, _ = s.open(after)
		defer func() { s.must(d.Close()) }()
		if got := d.Tables.BackendCounter(1).Packets; got != uint64(sent) {
			t.Errorf("%d packets counted, want %d", got, sent)
		}
	})
}

func TestDaemonMayDieAtEveryStepOfItsFirstStart(t *testing.T) {
	inSite(t, func(s *site) {
		for step := 0; ; step++ {
			out, killed := s.spawn(options("eth0", "eth1"), step)
			if !killed {
				break
			}
			if step%2 == 0 {
				s.must(Down(s.inst)) // which must cope with all of it as well
				if len(s.pins()) != 0 || attachedTo(t, "eth0") != 0 {
					t.Errorf("killed at %q: Down left %v, and program %d", out, s.pins(), attachedTo(t, "eth0"))
				}
				continue
			}
			d := s.run(options("eth0", "eth1"))
			s.exchange(step)
			s.must(d.Close())
			s.must(Down(s.inst))
		}
	})
}
