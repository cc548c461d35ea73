package main

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/testenv"
)

// addresses is where VLAN tags are in a frame: behind the MAC addresses.
const addresses = 12

func TestTagsAreTakenOffForAnEgressWithout(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: bothVIPs, Backends: 1, Decap: decap})
	node := start(t, lab, configOf(lab, "",
		service("four", "vip: 192.0.2.10, port: 81, protocol: udp, forward: ipip", over4(lab.Backends...)),
		service("six", `vip: "2001:db8:2::10", port: 81, protocol: udp, forward: ipip`, over4(lab.Backends...))))
	tap := openTap(t, lab.LBPeers[0].NS, lab.LBPeers[0].Interface)
	tags := map[string][]byte{
		"802.1Q":             {0x81, 0x00, 0xb1, 0x23},
		"VLAN 0":             {0x81, 0x00, 0x00, 0x00},
		"802.1Q twice":       {0x81, 0x00, 0x50, 0x65, 0x81, 0x00, 0xb1, 0x23},
		"802.1ad and 802.1Q": {0x88, 0xa8, 0x50, 0x65, 0x81, 0x00, 0xb1, 0x23},
	}
	for name, tag := range tags {
		t.Run(name, func(t *testing.T) {
			for _, vip := range lab.VIPs {
				from := testenv.SourcesFor(vip, 1)[0]
				plain := datagram(t, lab, from, silent(vip))
				inject(t, lab, plain)
				want := fromLB(t, tap)
				inject(t, lab, slices.Insert(slices.Clone(plain), addresses, tag...))
				if got := fromLB(t, tap); !bytes.Equal(got.Data(), want.Data()) {
					t.Errorf("with tags %x left %x, without %x", tag, got.Data(), want.Data())
				}
			}
		})
	}
	wantReason(t, node, "forwarded", uint64(2*len(lab.VIPs)*len(tags)))
	t.Run("an answer to a ping keeps them", func(t *testing.T) {
		for _, tag := range tags {
			request := echoRequest(t, lab, testenv.Sources(1)[0].Addr(), lab.VIPs[0])
			inject(t, lab, slices.Insert(request, addresses, tag...))
			got := fromLB(t, tap)
			if !bytes.Equal(got.Data()[addresses:][:len(tag)], tag) || got.Layer(layers.LayerTypeICMPv4) == nil {
				t.Errorf("answered %s, want an echo reply with tags %x", got, tag)
			}
			wantChecksums(t, got)
		}
	})
	t.Run("a third tag is not looked behind", func(t *testing.T) {
		kernel := openTap(t, lab.LB, lab.LBInterfaces[0])
		three := slices.Insert(datagram(t, lab, testenv.Sources(1)[0], silent(lab.VIPs[0])), addresses, bytes.Repeat(tags["802.1Q"], 3)...)
		inject(t, lab, three)
		wantInKernel(t, kernel, three)
	})
	wantReason(t, node, "forwarded", uint64(2*len(lab.VIPs)*len(tags)))
	wantNoOtherReasons(t, node, "echo_replied")
}

// echoRequest is a frame to the balancer with a ping that carries the payload.
func echoRequest(t *testing.T, lab *testenv.Lab, from, to netip.Addr) []byte {
	t.Helper()
	ip := ipv4(from, to, layers.IPProtocolICMPv4)
	echo := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: 1, Seq: 1}
	return frame(t, toLB(t, lab, layers.EthernetTypeIPv4), ip, echo, gopacket.Payload(payload))
}
