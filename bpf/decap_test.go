package bpf_test

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
)

// tunnelled is a client's packet inside an outer header with the given TOS.
func tunnelled(t *testing.T, outerTOS uint8, inner []byte) []byte {
	t.Helper()
	return frameOf(t, layers.EthernetTypeIPv4, &layers.IPv4{
		Version: 4, TOS: outerTOS, TTL: 64, Protocol: layers.IPProtocolIPv4,
		SrcIP: self.AsSlice(), DstIP: backend.AsSlice(),
	}, gopacket.Payload(inner))
}

func innerPacket(t *testing.T, tos uint8) []byte {
	return tcpFrame(t, web, 30, func(ip *layers.IPv4) { ip.TOS = tos })[14:]
}

func TestDecapTakesTheOuterHeaderOffAndNothingElse(t *testing.T) {
	const (
		pass = xdpPass
		drop = xdpDrop
	)
	plain := innerPacket(t, 0)
	bare := func(inner []byte) []byte { return append(tunnelled(t, 0, plain)[:14:14], inner...) }
	for _, c := range []struct {
		name    string
		frame   []byte
		verdict uint32
		want    []byte // nil: as it came
	}{
		{"an ipip packet", tunnelled(t, 0, plain), pass, bare(plain)},
		{"padding behind the packet", append(tunnelled(t, 0, plain), 0, 0, 0), pass, append(bare(plain), 0, 0, 0)},
		{"congestion met on the way", tunnelled(t, 0x03, innerPacket(t, 0x02)), pass, bare(innerPacket(t, 0x03))},
		{"congestion on the way of a DSCP-marked flow", tunnelled(t, 0xbb, innerPacket(t, 0xb9)), pass, bare(innerPacket(t, 0xbb))},
		{"congestion, and a flow that cannot hear of it", tunnelled(t, 0x03, plain), drop, nil},
		{"congestion already marked inside", tunnelled(t, 0x03, innerPacket(t, 0x03)), pass, bare(innerPacket(t, 0x03))},
		{"a packet in no tunnel", tcpFrame(t, web, 30), pass, nil},
		{"an outer fragment", with(tunnelled(t, 0, plain), setIP(6, 0x20)), pass, nil},
		{"outer options", with(tunnelled(t, 0, plain), setIP(0, 0x46)), pass, nil},
		{"an inner packet longer than the outer", with(tunnelled(t, 0, plain), setIP(20+3, 255)), pass, nil},
		{"an inner header of another version", with(tunnelled(t, 0, plain), setIP(20, 0x65)), pass, nil},
		{"an outer length past the frame", with(tunnelled(t, 0, plain), setIP(3, 255)), pass, nil},
		{"a frame too short for two headers", tunnelled(t, 0, plain)[:53], pass, nil},
		{"ARP", frameOf(t, layers.EthernetTypeARP, gopacket.Payload(make([]byte, 46))), pass, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var objects bpf.DecapObjects
			if err := bpf.LoadDecapObjects(&objects, nil); err != nil {
				t.Fatalf("load (tests of the data path need root): %+v", err)
			}
			defer objects.Close()
			out := make([]byte, len(c.frame))
			opts := ebpf.RunOptions{Data: bytes.Clone(c.frame), DataOut: out}
			verdict, err := objects.Decap.Run(&opts)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == nil {
				want = c.frame
			}
			if verdict != c.verdict {
				t.Errorf("verdict %d, want %d", verdict, c.verdict)
			}
			if diff := cmp.Diff(want, opts.DataOut); diff != "" && c.verdict == pass {
				t.Errorf("bytes out (-want +got):\n%s", diff)
			}
		})
	}
}
