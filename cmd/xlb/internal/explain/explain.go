// Package explain runs packets through the very program of the data path, under
// a configuration but on no interface, and tells of each what became of it and
// why. The kernel's BPF_PROG_TEST_RUN does the running, so root is needed; a
// daemon that runs on the same machine is not touched.
package explain

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/maps"
)

// Options stand for what offline runs cannot find out.
type Options struct {
	MTU  int      // of the way to every backend, in bytes
	Down []string // backends that are dead: web/b1, or b1 for those of all services
}

// Node is a loaded data path with its clock. It is for one goroutine.
type Node struct {
	plane *loader.Dataplane
	names *control.OfflineNode

	packets int
	clock   int64 // ns
	out     []byte
	// Reasons that a packet can leave by, those of answers apart, the latest first,
	// and how often each has been counted.
	answers, others []maps.Reason
	counts          map[maps.Reason]uint64
}

// testRunIfindex is where the kernel lets packets of a test run arrive: lo.
const testRunIfindex = 1

// growth is more than the longest headers that a packet gets.
const growth = 256

// New loads the data path of a configuration. It returns what loader.Load and
// control.Offline do.
func New(cfg *config.Config, opts Options) (*Node, error) {
	settings := control.PlaneSettings(cfg)
	settings.FixedTime = true
	settings.Silence = maps.Silence{} // there is no daemon, nor meant to be one
	plane, err := loader.Load(maps.PlaneOptions{Settings: settings, Features: control.PlaneFeatures(cfg)})
	if err != nil {
		return nil, err
	}
	names, err := control.Offline(cfg, plane.Tables, control.OfflineOptions{Ifindex: testRunIfindex, MTU: opts.MTU, Down: opts.Down})
	if err != nil {
		return nil, errors.Join(err, plane.Close())
	}
	n := &Node{plane: plane, names: names, out: make([]byte, maxFrame+growth), counts: map[maps.Reason]uint64{}}
	for _, r := range maps.Reasons() {
		switch {
		case r == maps.Forwarded: // counted with the backends
		case r.Verdict() == "tx":
			n.answers = append(n.answers, r)
		default:
			n.others = append(n.others, r)
		}
	}
	return n, nil
}

// Close unloads the data path.
func (n *Node) Close() error { return n.plane.Close() }

// Packet is a frame as it was captured.
type Packet struct {
	Frame  []byte
	Length int       // on the wire, in bytes; more than the frame has if it was truncated
	Time   time.Time // zero if it is not known
}

// Explanation is what became of one packet, as JSON prints it. Fields are added,
// never renamed.
type Explanation struct {
	Packet      int       `json:"packet"`        // from 1 on
	Time        time.Time `json:"time,omitzero"` // as captured, in UTC
	Source      string    `json:"source"`        // address with port; MAC address if it is no IP packet
	Destination string    `json:"destination"`
	Protocol    string    `json:"protocol"`
	Verdict     string    `json:"verdict"` // pass, drop, tx, redirect, or none if it was not run
	Reason      string    `json:"reason"`  // see docs/counters.md
	Why         string    `json:"why"`     // the reason in a sentence
	Service     string    `json:"service"` // empty if it is not known
	Backend     string    `json:"backend"` // name; empty if it went to none
	Address     string    `json:"address"` // of the backend
	BytesIn     int       `json:"bytesIn"`
	Truncated   bool      `json:"truncated,omitempty"` // in the capture
	Out         Hex       `json:"out"`                 // the frame that leaves, empty if none does; valid until the next packet

	forward config.Forward
}

// maxFrame is what fits one page with XDP's room in front and what the kernel
// keeps behind, which is 768 bytes at most. Kernels may run longer frames, but
// show the program their beginning alone.
const maxFrame = 4096 - 256 - 768

// notRun is the reason of frames that the data path could not meet.
const (
	notRun    = "not_run"
	whyNotRun = "shorter than 14 bytes, or longer than the 3072 that always fit XDP's page; if the receiver joined packets, capture with `ethtool -K eth0 gro off lro off`"
)

// verdicts are XDP's actions by their numbers.
var verdicts = [...]string{"aborted", "drop", "pass", "tx", "redirect"}

const (
	xdpTX       = 3
	xdpRedirect = 4
)

// Explain runs a packet. Its time, if known, moves the clock, which never goes
// back: rate limits and fragments behave as they did when it was captured.
func (n *Node) Explain(p Packet) (Explanation, error) {
	n.packets++
	e := Explanation{Packet: n.packets, Time: p.Time, BytesIn: len(p.Frame), Truncated: len(p.Frame) < p.Length}
	flow := readFlow(p.Frame)
	e.Source, e.Destination, e.Protocol = flow.strings()
	if len(p.Frame) < ethernetHeader || len(p.Frame) > maxFrame {
		e.Verdict, e.Reason, e.Why = "none", notRun, whyNotRun
		return e, nil
	}
	n.advance(p.Time)
	run := ebpf.RunOptions{Data: p.Frame, DataOut: n.out}
	verdict, err := n.plane.Program().Run(&run)
	if err != nil {
		return e, fmt.Errorf("run packet %d: %w", n.packets, err)
	}
	if int(verdict) >= len(verdicts) {
		return e, fmt.Errorf("run packet %d: the program ended with %d, which is no action of XDP", n.packets, verdict)
	}
	e.Verdict = verdicts[verdict]
	if verdict == xdpTX || verdict == xdpRedirect {
		e.Out = run.DataOut
	}
	return e, n.explain(&e, flow)
}

// explain finds out what the program has counted.
func (n *Node) explain(e *Explanation, f flow) error {
	candidates := n.others
	if e.Out != nil {
		candidates = n.answers
	}
	reason, found := n.moved(candidates)
	switch {
	case found:
		e.Service = n.names.ServiceAt(f.destination())
	case e.Out != nil:
		chosen, ok := n.names.Chosen(e.Out)
		if !ok {
			return fmt.Errorf("run packet %d: it left for no backend of the configuration", n.packets)
		}
		reason = maps.Forwarded
		e.Service, e.Backend, e.Address = chosen.Service.Name, chosen.Backend.Name, chosen.Backend.Address.String()
		e.forward = chosen.Service.Forward
	default:
		return fmt.Errorf("run packet %d: it was not counted", n.packets)
	}
	e.Reason, e.Why = reason.String(), reason.When()
	return nil
}

// moved returns the reason whose counter has grown, and puts it first.
func (n *Node) moved(candidates []maps.Reason) (maps.Reason, bool) {
	for i, r := range candidates {
		if count := n.plane.Tables.ReasonCounter(r).Packets; count != n.counts[r] {
			n.counts[r] = count
			copy(candidates[1:i+1], candidates[:i])
			candidates[0] = r
			return r, true
		}
	}
	return 0, false
}

// latest and earliest are the times that fit the clock.
var earliest, latest = time.Unix(0, 0), time.Unix(0, math.MaxInt64)

func (n *Node) advance(to time.Time) {
	if to.Before(earliest) || to.After(latest) {
		return
	}
	n.clock = max(n.clock, to.UnixNano())
	n.plane.Tables.SetTime(uint64(n.clock))
}
