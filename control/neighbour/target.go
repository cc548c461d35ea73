package neighbour

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	firstPause   = time.Second      // between a failed resolution and the next one; doubles each time
	maxPause     = 30 * time.Second // the longest such pause
	patience     = 10 * time.Second // after which a resolution without any outcome counts as failed
	confirmPause = 5 * time.Second  // between two confirmations; the kernel takes as long to begin one
)

// target is a neighbour that watched addresses need. The kernel may have marked it
// failed long ago, or for want of an answer to a single probe of an old MAC: it is
// given up only after a resolution that was asked for has failed.
type target struct {
	key   hopKey
	users map[*watched]bool

	outcome
	asked  time.Time // when the resolution under way was asked for; zero when none is
	paused time.Time // until when not to ask again
}

// outcome is what is known of a target. It compares with ==.
type outcome struct {
	resolved bool // mac is right as far as is known
	mac      [6]byte
	failures int   // resolutions failed in a row
	fault    error // why the kernel could not even be asked
}

// observe takes in the kernel's entry for the target.
func (t *target) observe(n neighbour, now time.Time) {
	switch {
	case n.state&usable != 0:
		t.outcome = outcome{resolved: true, mac: n.mac}
		t.asked = time.Time{}
	case t.asked.IsZero():
	case n.state == netlink.NUD_FAILED || now.Sub(t.asked) > patience:
		t.fail(now, nil)
	case n == neighbour{}:
		t.asked = time.Time{} // flushed
	}
}

func (t *target) fail(now time.Time, fault error) {
	t.resolved, t.fault, t.asked = false, fault, time.Time{}
	t.paused = now.Add(min(firstPause<<min(t.failures, 10), maxPause))
	t.failures++
}

// due reports whether the kernel is to be asked to resolve or confirm the target now.
func (t *target) due(n neighbour, now time.Time) bool {
	switch {
	case n.state == netlink.NUD_STALE:
		return !now.Before(t.paused)
	case n.state&usable != 0 || !t.asked.IsZero():
		return false
	}
	return t.failures == 0 || !now.Before(t.paused)
}

// ask makes the kernel resolve a missing or failed neighbour, or confirm a stale one,
// as if there were a packet for it. It returns the state that the entry has from then
// on; the kernel sends no event for that.
//
// Since Linux 5.16, NTF_USE ends the permanence of an entry, also of one made permanent a
// moment ago whose event is still to come. So a missing entry is asked for only if it is
// still missing. For one that turned from failed or stale the kernel has no such condition.
func (t *target) ask(h *netlink.Handle, n neighbour, now time.Time) neighbour {
	use := h.NeighSet
	if n == (neighbour{}) {
		use = h.NeighAdd
	}
	err := use(&netlink.Neigh{
		LinkIndex: t.key.index,
		IP:        t.key.addr.AsSlice(),
		State:     netlink.NUD_NONE,
		Flags:     netlink.NTF_USE,
	})
	if errors.Is(err, unix.EEXIST) {
		err = nil // as good as asked: its event is on the way, or it is being resolved already
	}
	if n.state == netlink.NUD_STALE {
		t.paused = now.Add(confirmPause)
		return n // usable as before, even if err says that it cannot be confirmed now
	}
	if err != nil {
		t.fail(now, fmt.Errorf("ask the kernel to resolve %s: %w", t.key.addr, err))
		return n
	}
	t.asked = now
	return neighbour{state: netlink.NUD_INCOMPLETE}
}
