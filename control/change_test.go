package control

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/maps"
)

const withCheck = "    health: {tcp: {}}\n"

// upNode is a node whose backends 10.0.0.x are all up.
func upNode(t tb, settings string, numbers ...int) *node {
	t.Helper()
	n := newNode(t, withBackends(settings, numbers...))
	n.start()
	n.up(numbers...)
	return n
}

// up has backends of service web be reached and pass their checks.
func (n *node) up(numbers ...int) {
	n.t.Helper()
	n.tell(nil, hosts(numbers...)...)
	var targets []string
	for _, h := range hosts(numbers...) {
		targets = append(targets, "web/"+h)
	}
	n.health(true, targets...)
}

func edit() Edit { return Edit{Actor: "root"} }

func TestApplyingWhatRunsWritesNothing(t *testing.T) {
	n := upNode(t, withCheck, 1, 2, 3)
	before, saves := n.plane.writes, n.disk.saves
	p := n.mustApply(withBackends(withCheck, 3, 1, 2)) // the order is no difference
	if !p.Empty || n.plane.writes != before || n.disk.saves != saves {
		t.Errorf("plan %+v, %d writes to the data path, %d to the disk", p, n.plane.writes-before, n.disk.saves-saves)
	}
	if s := n.status(); s.Revision != 1 {
		t.Errorf("revision %d", s.Revision)
	}
}

func TestABackendThatIsAddedTakesItsShareWhenItIsUp(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	p := n.mustApply(withBackends(withCheck, 1, 2, 3))
	if p.Revision != 2 || len(p.Changes) != 1 || p.Changes[0].Object != "backend web/10.0.0.3" || p.Changes[0].Action != ActionAdd {
		t.Errorf("plan %+v", p)
	}
	if s := p.Services[0]; s.ShareMoved < 0.3 || s.ShareMoved > 0.37 || s.Needless > s.SlotsMoved/20 {
		t.Errorf("the plan moves %+v, a third is its share", s)
	}
	third := n.plane.idOf("web/10.0.0.3")
	if slices.Contains(n.plane.owners(0), third) {
		t.Error("it has slots before it is up")
	}
	n.up(3)
	owned := n.backend("web/10.0.0.3").Slots
	if size := len(n.plane.slots[0]); owned < size*30/100 || owned > size*37/100 {
		t.Errorf("it has %d of %d slots", owned, size)
	}
	if n.plane.whole[0] != 1 {
		t.Errorf("%d tables were written as a whole", n.plane.whole[0])
	}
	if open := n.plane.transitions(0); open < owned {
		t.Errorf("%d slots are in transition, fewer than the %d that it took from living backends", open, owned)
	}
	n.plane.sound()
}

func TestADeadBackendThatIsRemovedLeavesNoTraceButItsNumber(t *testing.T) {
	n := upNode(t, withCheck, 1, 2, 3)
	n.plane.record(0, 50)
	n.health(false, "web/10.0.0.2")
	second := n.plane.idOf("web/10.0.0.2")
	if _, err := n.RemoveBackend(t.Context(), edit(), "web", "10.0.0.2"); err != nil {
		t.Fatal(err)
	}
	named := slices.ContainsFunc(n.plane.slots[0], func(s maps.Slot) bool { return s.Current == second || s.Previous == second })
	if n.plane.rows[second] != (maps.Backend{}) || named {
		t.Error("its row or slots are there; nobody keeps flows of a server that is gone")
	}
	if e := n.plane.names[second]; e.Admin != adminGone {
		t.Errorf("its number is %+v, want it out of use", e)
	}
	if _, set := n.news.targets["web/10.0.0.2"]; set {
		t.Error("it is still withCheck")
	}
	if _, err := n.SetBackend(t.Context(), edit(), "web", config.Backend{Name: "new", Address: parseAddr("10.0.0.9"), Weight: 100}); err != nil {
		t.Fatal(err)
	}
	if id := n.plane.idOf("web/new"); id == second {
		t.Error("its number was given to another one at once")
	}
	n.plane.sound()
}

func TestANumberIsGivenAgainWhenNothingNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, withCheck, 1, 2, 3)
		defer n.stop()
		second := n.plane.idOf("web/10.0.0.2")
		n.plane.record(0, 50)
		n.health(false, "web/10.0.0.2")
		n.mustApply(withBackends(withCheck, 1, 3))
		sleep(16*time.Minute, n)
		n.status()
		if _, named := n.plane.names[second]; named {
			t.Fatal("its number is out of use for ever")
		}
		n.plane.counters[second] = maps.Counter{Packets: 7}
		n.mustApply(withBackends(withCheck, 1, 3, 4))
		if id := n.plane.idOf("web/10.0.0.4"); id != second {
			t.Errorf("the next backend has number %d, not %d", id, second)
		}
		if n.plane.counters[second] != (maps.Counter{}) {
			t.Error("its counters go on for another backend")
		}
	})
}

func TestServicesComeAndGo(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	two := withBackends(withCheck, 1, 2) + "  - {name: dns, vip: 192.0.2.53, port: 53, protocol: udp, forward: l2, backends: [{address: 10.0.0.7}]}\n"
	p := n.mustApply(two)
	if len(p.Services) != 1 || p.Services[0].Name != "dns" || p.Services[0].Action != ActionAdd {
		t.Errorf("plan %+v", p)
	}
	if len(n.plane.listeners) != 1 || n.status().Serving {
		t.Error("it is served before it is known whether its backend is up")
	}
	n.tell(nil, "10.0.0.7")
	if len(n.plane.listeners) != 2 || len(n.plane.slots[1]) == 0 || !n.status().Serving {
		t.Errorf("%d listeners and %d slots when it is", len(n.plane.listeners), len(n.plane.slots[1]))
	}
	if _, err := n.RemoveService(t.Context(), edit(), "web"); err != nil {
		t.Fatal(err)
	}
	if len(n.plane.listeners) != 1 || len(n.plane.services) != 1 || len(n.plane.slots) != 1 {
		t.Errorf("after its removal %d listeners, services %v", len(n.plane.listeners), n.plane.services)
	}
	if !slices.Equal(n.news.watched, []netipAddr{parseAddr("10.0.0.7")}) || len(n.news.targets) != 0 {
		t.Errorf("watched are %v, withCheck %v", n.news.watched, n.news.targets)
	}
	n.plane.sound()
}

func TestAServiceWithVIPsOfTheOtherFamilyIsAnotherOne(t *testing.T) {
	text := withBackends("", 1)
	n := newNode(t, strings.Replace(text, "forward: l2", "forward: ipip", 1))
	n.start()
	n.tell(nil, "10.0.0.1")
	if _, err := n.apply(strings.NewReplacer("forward: l2", "forward: ipip", "192.0.2.1", "2001:db8::1").Replace(text)); !errors.Is(err, ErrInvalid) {
		t.Fatalf("error %v: another program is needed, which this node cannot load", err)
	}
	if len(n.plane.services) != 1 || n.status().Revision != 1 {
		t.Error("something has changed")
	}
}

func TestOfTwoWritersTheLaterOneIsTold(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	ctx := t.Context()
	seen := n.status().Revision
	if _, err := n.SetWeight(ctx, Edit{Revision: seen}, "web", "10.0.0.1", 50); err != nil {
		t.Fatal(err)
	}
	_, err := n.SetWeight(ctx, Edit{Revision: seen}, "web", "10.0.0.1", 200)
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "now it is 2") {
		t.Errorf("the second writer gets %v", err)
	}
	if _, err := n.Drain(ctx, Edit{Revision: seen}, "web", "10.0.0.1", DrainOptions{}); !errors.Is(err, ErrConflict) {
		t.Errorf("a drain gets %v", err)
	}
	if w := n.backend("web/10.0.0.1").Weight; w != 50 {
		t.Errorf("its weight is %d", w)
	}
}

func TestWrongRequestsChangeNothingAndSayWhatIsWrong(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	ctx, before := t.Context(), n.plane.writes
	for what, c := range map[string]struct {
		ask  func() error
		want error
		says string
	}{
		"unknown service": {func() error { _, err := n.RemoveService(ctx, edit(), "wbe"); return err }, ErrUnknown, "did you mean web?"},
		"unknown backend": {func() error { _, err := n.Drain(ctx, edit(), "web", "10.0.0.3", DrainOptions{}); return err }, ErrUnknown, "10.0.0.1"},
		"weight 0":        {func() error { _, err := n.SetWeight(ctx, edit(), "web", "10.0.0.1", 0); return err }, ErrInvalid, "1 to 1000"},
		"weight 1001":     {func() error { _, err := n.SetWeight(ctx, edit(), "web", "10.0.0.1", 1001); return err }, ErrInvalid, "1 to 1000"},
		"too many slots": {func() error {
			_, err := n.apply("limits: {slots: 5000}\n" + withBackends("", seq(1, 50)...))
			return err
		},
			ErrInvalid, "raise limits.slots"},
		"hash key": {func() error {
			_, err := n.apply("hash_key: 00112233445566778899aabbccddeeff\n" + withBackends(withCheck, 1, 2))
			return err
		}, ErrInvalid, "start the daemon again"},
		"two names": {func() error {
			_, err := n.SetBackend(ctx, edit(), "web", config.Backend{Name: "10.0.0.1", Address: parseAddr("10.0.0.3"), Weight: 1})
			return err
		}, ErrInvalid, "10.0.0.1"},
	} {
		t.Run(what, func(t *testing.T) {
			err := c.ask()
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
	if n.plane.writes != before || n.status().Revision != 1 {
		t.Errorf("%d writes, revision %d", n.plane.writes-before, n.status().Revision)
	}
}

// A change that fails at any step is taken back: what packets see is as before.
func TestAChangeThatFailsIsTakenBack(t *testing.T) {
	from := withBackends(withCheck, 1, 2, 3)
	to := withBackends("    filter: {deny: [198.51.100.0/24]}\n"+withCheck, 1, 2, 4)
	steps := map[string]bool{}
	n := newNode(t, from)
	n.start(func(p *Parts) { p.Failpoint = func(step string) error { steps[step] = true; return nil } })
	n.up(1, 2, 3)
	n.mustApply("limits: {rules: 65536}\n" + strings.Replace(to, "    filter: {deny: [198.51.100.0/24]}\n", "", 1))
	n.stop()
	if len(steps) < 8 {
		t.Fatalf("steps are %v", steps)
	}
	for step := range steps {
		t.Run(step, func(t *testing.T) {
			n, fail := newNode(t, from), ""
			n.start(func(p *Parts) {
				p.Failpoint = func(at string) error {
					if at == fail {
						fail = ""
						return errRefused
					}
					return nil
				}
			})
			n.up(1, 2, 3)
			owners := n.plane.owners(0)
			fail = step
			_, err := n.apply(withBackends(withCheck, 1, 2, 4))
			n.plane.sound()
			switch step {
			case "remove", "done":
				if err != nil || n.status().Broken == "" {
					t.Errorf("error %v, broken %q: what is left to do then is done later", err, n.status().Broken)
				}
				return
			}
			if !errors.Is(err, errRefused) {
				t.Fatalf("error %v", err)
			}
			if s := n.status(); s.Revision != 1 || len(s.Services[0].Backends) != 3 || s.Broken != "" {
				t.Errorf("status %+v", s)
			}
			if !slices.Equal(n.plane.owners(0), owners) {
				t.Error("slots are not those of before")
			}
			if n.disk.state.Journal != nil {
				t.Error("the journal still has the change")
			}
			n.mustApply(withBackends(withCheck, 1, 2, 4)) // and then it works
			n.plane.sound()
		})
	}
}

func TestAChangeThatCannotBeKeptIsRefused(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	before := n.plane.writes
	n.disk.err = errors.New("no space left on device")
	if _, err := n.SetWeight(t.Context(), edit(), "web", "10.0.0.1", 7); !errors.Is(err, n.disk.err) {
		t.Errorf("error %v", err)
	}
	if _, err := n.Drain(t.Context(), edit(), "web", "10.0.0.1", DrainOptions{}); !errors.Is(err, n.disk.err) {
		t.Errorf("error %v", err)
	}
	if s := n.status(); n.plane.writes != before || s.Revision != 1 || n.backend("web/10.0.0.1").Admin != "" {
		t.Errorf("%d writes, revision %d", n.plane.writes-before, s.Revision)
	}
}

func TestPlanTouchesNothingAndApplyDoesWhatItSays(t *testing.T) {
	n := upNode(t, withCheck, seq(1, 10)...)
	n.plane.record(0, 400)
	before := n.plane.writes
	cfg := parse(t, withBackends(withCheck, seq(2, 11)...))
	plan, err := n.Plan(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := plan.Services[0]
	if n.plane.writes != before || plan.Empty || len(plan.Changes) != 2 || s.FlowsLost != 0 || s.FlowsMoved == 0 {
		t.Errorf("%d writes; plan %+v", n.plane.writes-before, plan)
	}
	for what, text := range map[string]string{
		"without tracking": withBackends("    tracking: never\n"+withCheck, seq(2, 11)...), "without the service": "interfaces: [eth0]\nservices: []\n",
	} {
		if p, err := n.Plan(t.Context(), parse(t, text)); err != nil || p.Services[0].FlowsLost == 0 {
			t.Errorf("%s: plan %+v, %v", what, p, err)
		}
	}
	owners := n.plane.owners(0)
	if _, err := n.Apply(t.Context(), Request{Config: cfg}); err != nil {
		t.Fatal(err)
	}
	n.up(11)
	moved := 0
	for slot, owner := range n.plane.owners(0) {
		if owner != owners[slot] {
			moved++
		}
	}
	if moved != s.SlotsMoved {
		t.Errorf("%d slots moved, planned were %d", moved, s.SlotsMoved)
	}
	if drift, err := n.Drift(t.Context()); err != nil || len(drift.Changes) != 2 || n.status().Drift != 2 {
		t.Errorf("drift %+v, %v; the status counts %d", drift, err, n.status().Drift)
	}
}

func TestReloadKeepsWhatWasChangedAtRunTime(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	ctx := t.Context()
	if _, err := n.SetWeight(ctx, edit(), "web", "10.0.0.1", 7); err != nil {
		t.Fatal(err)
	}
	n.file = withBackends(withCheck, 1, 2, 3)
	p, err := n.Reload(ctx, "SIGHUP")
	if err != nil || len(p.Changes) != 1 || p.Changes[0].Object != "backend web/10.0.0.3" {
		t.Fatalf("plan %+v, %v", p, err)
	}
	if w := n.backend("web/10.0.0.1").Weight; w != 7 {
		t.Errorf("the weight is %d, the file's", w)
	}
	n.file = "services: nonsense"
	if _, err := n.Reload(ctx, "SIGHUP"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a broken file gives %v", err)
	}
	n.file = "hash_key: 00112233445566778899aabbccddeeff\n" + withBackends(withCheck, 1, 2)
	if _, err := n.Reload(ctx, "SIGHUP"); err != nil {
		t.Fatal(err)
	}
	if effective, err := n.Config(ctx); err != nil || effective.Config.HashKey != parse(t, withBackends("", 1)).HashKey || len(effective.Config.Services[0].Backends) != 2 {
		t.Errorf("the hash key must stay while all else follows: %v, %v", effective.Config, err)
	}
}

func TestTheLargerTableComesWhenAllFlowsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, withCheck, seq(1, 40)...)
		defer n.stop()
		if size := len(n.plane.slots[0]); size != 4099 {
			t.Fatalf("%d slots", size)
		}
		n.mustApply(withBackends(withCheck, seq(1, 41)...))
		n.up(41)
		sleep(2*time.Second, n)
		if size := n.status().Services[0].Slots; size != 4099 || n.plane.transitions(0) != size {
			t.Errorf("at first %d slots of which %d are in transition, want 4099 and all", size, n.plane.transitions(0))
		}
		n.plane.record(0, 100)
		sleep(14*time.Minute, n)
		n.plane.record(0, 100)
		sleep(2*time.Minute, n)
		if size := n.status().Services[0].Slots; size != 10007 || len(n.plane.slots[0]) != size || n.plane.transitions(0) == 0 {
			t.Errorf("then %d slots, %d in transition", size, n.plane.transitions(0))
		}
		n.plane.flows = nil
		sleep(20*time.Minute, n)
		n.status()
		if n.plane.transitions(0) != 0 {
			t.Errorf("%d slots are in transition without a flow", n.plane.transitions(0))
		}
		n.plane.sound()
	})
}

func seq(first, last int) (out []int) {
	for i := first; i <= last; i++ {
		out = append(out, i)
	}
	return out
}
