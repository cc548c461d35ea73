package explain

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/xlb-project/xlb/bpf/model"
	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/maps"
)

// The Go model is filled by the same code, but runs no BPF and knows nothing of
// counters and marks: verdict, reason, backend and bytes must be the same for
// every packet of a capture.
func TestRandomCaptureIsExplainedAsTheModelSays(t *testing.T) {
	cfg := parse(t, everything)
	settings := control.PlaneSettings(cfg)
	r := newRecorder(settings)
	_, err := control.Offline(cfg, r, control.OfflineOptions{Ifindex: testRunIfindex, MTU: 1500})
	must(t, err)
	m, err := model.New(r.state)
	must(t, err)
	var names []string // by number, from 1 on
	for _, s := range cfg.Services {
		for _, b := range s.Backends {
			names = append(names, s.Name+"/"+b.Name)
		}
	}

	file := filepath.Join(t.TempDir(), "in.pcap")
	writeRandom(t, file, &r.state, 20000)
	n := newNode(t, cfg, Options{})
	reasons := map[string]int{}
	for i, p := range all(t, file) {
		want := m.Process(p.Frame, testRunIfindex, p.Time.UnixNano())
		got := explained(t, n, p.Frame, p.Time)
		reasons[got.Reason]++
		backend := ""
		if want.Backend != 0 {
			backend = names[want.Backend-1]
		}
		if got.Backend != "" {
			got.Backend = got.Service + "/" + got.Backend
		}
		leaves := want.Verdict == model.TX || want.Verdict == model.Redirect
		if got.Verdict != want.Verdict.String() || got.Reason != want.Reason || got.Backend != backend || leaves != (len(got.Out) > 0) ||
			leaves && !bytes.Equal(got.Out, want.Frame) {
			t.Fatalf("packet %d %x: %s %s %q %x, the model says %s %s %q %x", i+1, p.Frame,
				got.Verdict, got.Reason, got.Backend, got.Out, want.Verdict, want.Reason, backend, want.Frame)
		}
	}
	for _, r := range maps.Reasons() {
		if !slices.Contains(absent, r.String()) && reasons[r.String()] == 0 {
			t.Errorf("no packet ended with %s; they are not varied enough", r)
		}
	}
}

// absent are the reasons that the configuration and being offline rule out.
var absent = []string{"none", "echo_dropped", "no_backend", "no_next_hop", "no_headroom", "no_egress", "no_daemon"}

// writeRandom makes a capture of packets that the state's services might get.
func writeRandom(t *testing.T, file string, s *model.State, packets int) {
	t.Helper()
	out, err := CreateOutput(file, nil)
	must(t, err)
	r := rand.New(rand.NewPCG(7, 7))
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for range packets {
		at = at.Add(time.Duration(r.Int64N(int64(200 * time.Microsecond))))
		if r.IntN(2000) == 0 {
			at = at.Add(20 * time.Second)
		}
		frame := model.RandomPacket(r, s)
		must(t, out.Write(Packet{Frame: frame, Length: len(frame), Time: at}, frame))
	}
	must(t, out.Close())
}

// Tunnels go to the gateway, l2 to the backend; what xlb's own address is, nobody
// knows offline, and how backends are told apart leaves no trace in it.
func TestMACAddressesAreTheConfigurationsOrZero(t *testing.T) {
	n := newNode(t, parse(t, everything), Options{Down: []string{"g2", "10.0.0.21"}})
	for _, c := range []struct {
		protocol, src, dst, mac string
	}{
		{"tcp", "198.51.100.1:4242", "192.0.2.10:80", "020000000001"},
		{"udp", "[2001:db8:ffff::1]:1", "[2001:db8:1::10]:443", "020000000033"},
		{"tcp", "198.51.100.1:4242", "192.0.2.53:53", "000000000000"},
	} {
		e := explained(t, n, build(t, c.protocol, c.src, c.dst, 0), time.Time{})
		if got := fmt.Sprintf("%x", e.Out[:min(len(e.Out), 12)]); got != c.mac+"000000000000" {
			t.Errorf("%s: %s, MAC addresses %s, want %s", c.dst, e.Reason, got, c.mac)
		}
	}
}
