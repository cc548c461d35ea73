package testenv

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
)

// tagged are frames from the router to the balancer with VLAN tags: priority, drop flag and ID are not 0.
var tagged = map[string][]byte{
	"802.1Q":             {0x81, 0x00, 0xb1, 0x23},
	"802.1ad":            {0x88, 0xa8, 0x50, 0x65},
	"802.1ad and 802.1Q": {0x88, 0xa8, 0x50, 0x65, 0x81, 0x00, 0xb1, 0x23},
	"802.1Q twice":       {0x81, 0x00, 0x50, 0x65, 0x81, 0x00, 0xb1, 0x23},
	"VLAN 0":             {0x81, 0x00, 0x00, 0x00},
}

func taggedFrame(router, lb, tags []byte) []byte {
	return slices.Concat(lb, router, tags, []byte{0x88, 0xb5}, bytes.Repeat([]byte("frame"), 100))
}

func wantFrame(t *testing.T, tap *Tap, want []byte, outgoing bool) {
	t.Helper()
	_, err := tap.Find(within(t, 5*time.Second), "the frame with its tags", func(f Frame) bool {
		return f.Outgoing == outgoing && bytes.Equal(f.Data, want)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestInjectedTagsAreSeenAtBothEnds(t *testing.T) {
	lab := New(t, NewRouted, Options{Backends: 1})
	peer := lab.LBPeers[0]
	here, there := openTap(t, peer.NS, peer.Interface), openTap(t, lab.LB, lab.LBInterfaces[0])
	for name, tags := range tagged {
		t.Run(name, func(t *testing.T) {
			frame := taggedFrame(peer.MAC, mac(lbMAC, 1), tags)
			if err := Inject(peer.NS, peer.Interface, frame); err != nil {
				t.Fatal(err)
			}
			wantFrame(t, here, frame, true)
			wantFrame(t, there, frame, false)
		})
	}
}

// A bridge takes the outer tag off the data like everything that receives; it must be in the data again when XDP sees it.
func TestTagsReachXDPThroughASwitch(t *testing.T) {
	const xdpTX = 3
	lab := New(t, NewSwitched, Options{Backends: 1})
	attach(t, lab.LB, lab.LBInterfaces[0], asm.Instructions{asm.Mov.Imm(asm.R0, xdpTX), asm.Return()})
	back := openTap(t, lab.Switch.Namespace, lab.LBPeers[0].Interface)
	for name, tags := range tagged {
		t.Run(name, func(t *testing.T) {
			frame := taggedFrame(mac(routerMAC, 3), mac(lbMAC, 1), tags)
			if err := Inject(lab.Router, "lan", frame); err != nil {
				t.Fatal(err)
			}
			wantFrame(t, back, frame, true)
			wantFrame(t, back, frame, false)
		})
	}
}
