package testenv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openTap(t *testing.T, n *Namespace, ifname string) *Tap {
	t.Helper()
	tap, err := OpenTap(n, ifname)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tap.Close() })
	return tap
}

func TestInjectedFrameIsSeenUnchangedAtTheOtherEnd(t *testing.T) {
	lab := New(t, NewRouted, Options{Backends: 1})
	lb, peer := lab.LBInterfaces[0], lab.LBPeers[0]
	here, there := openTap(t, lab.LB, lb), openTap(t, peer.NS, peer.Interface)
	frame := slices.Concat(peer.MAC, mac(lbMAC, 1), []byte{0x88, 0xb5}, bytes.Repeat([]byte("frame"), 200))
	if err := Inject(lab.LB, lb, frame); err != nil {
		t.Fatal(err)
	}
	for tap, outgoing := range map[*Tap]bool{here: true, there: false} {
		f, err := tap.Find(within(t, 10*time.Second), "the frame", func(f Frame) bool { return bytes.Equal(f.Data, frame) })
		if err != nil || f.Outgoing != outgoing {
			t.Errorf("outgoing %v, %v; want %v", f.Outgoing, err, outgoing)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := here.Find(short, "a unicorn", func(Frame) bool { return false }); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "a unicorn") {
		t.Errorf("got %v, want a deadline and what was sought", err)
	}
	if err := Inject(lab.LB, lb, frame); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Next(within(t, 10*time.Second)); err != nil {
		t.Errorf("after a deadline the tap is no longer usable: %v", err)
	}
}

func TestTCPChecksumsAreCompleteOnTheWire(t *testing.T) {
	lab := newLab(t, NewRouted, Options{Backends: 1})
	tap := openTap(t, lab.Router, "client")
	ctx := within(t, 10*time.Second)
	got, err := lab.Get(ctx, web, Sources(1)[0])
	wantAnswer(t, "HTTP", got, err, "backend1")
	for _, outgoing := range []bool{false, true} {
		f, err := tap.Find(ctx, "a TCP segment", func(f Frame) bool {
			return f.Outgoing == outgoing && len(f.Data) > 54 && f.Data[12] == 8 && f.Data[23] == unix.IPPROTO_TCP
		})
		if err != nil {
			t.Fatal(err)
		}
		if sum := tcpSum(f.Data[14:]); sum != 0xffff {
			t.Errorf("outgoing %v: the checksum adds up to %#x, want 0xffff", outgoing, sum)
		}
	}
}

// tcpSum adds up an IPv4 packet's TCP segment with its pseudo header, as RFC 9293 section 3.1 says: 0xffff when right.
func tcpSum(ip []byte) uint16 {
	segment := ip[int(ip[0]&15)*4 : binary.BigEndian.Uint16(ip[2:])]
	data := slices.Concat(ip[12:20], []byte{0, unix.IPPROTO_TCP}, binary.BigEndian.AppendUint16(nil, uint16(len(segment))), segment, make([]byte, len(segment)%2))
	var sum uint32
	for i := 0; i < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum>>16 > 0 {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
