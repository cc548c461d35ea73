package testenv

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// arp makes a broadcast ARP request.
func arp(mac net.HardwareAddr, sender, target netip.Addr) []byte {
	return slices.Concat(bytes.Repeat([]byte{0xff}, 6), mac, []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1},
		mac, sender.AsSlice(), make([]byte, 6), target.AsSlice())
}

// arpSender returns who an ARP frame says it is from.
func arpSender(f Frame) (netip.Addr, bool) {
	if len(f.Data) < 42 || f.Data[12] != 8 || f.Data[13] != 6 {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(f.Data[28:32])
}

func TestBackendsDoNotAnswerARPForTheVIP(t *testing.T) {
	lab := New(t, NewSwitched, Options{})
	b := lab.Backends[0]
	tap := openTap(t, b.Namespace, b.Interface)
	for _, target := range []netip.Addr{DefaultVIP, b.Addr} {
		if err := Inject(lab.LB, lab.LBInterfaces[0], arp(mac(lbMAC, 1), lab.LBAddr, target)); err != nil {
			t.Fatal(err)
		}
	}
	// Requests are answered in their order: an answer for the VIP would be the first.
	f, err := tap.Find(within(t, 10*time.Second), "an ARP answer", func(f Frame) bool {
		_, ok := arpSender(f)
		return ok && f.Outgoing
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := arpSender(f); got != b.Addr {
		t.Errorf("the first answer is for %s, want %s alone", got, b.Addr)
	}
}

func TestBackendsDoNotNameTheVIPInTheirARPRequests(t *testing.T) {
	lab := newLab(t, NewSwitched, Options{})
	b, ctx := lab.Backends[0], within(t, 10*time.Second)
	got, err := lab.Ask(ctx, web, Sources(1)[0])
	wantAnswer(t, "UDP", got, err, b.Name())
	neighbours, err := b.Netlink().NeighList(index(t, b.Namespace, b.Interface), unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range neighbours {
		if err := b.Netlink().NeighDel(&n); err != nil {
			t.Fatal(err)
		}
	}
	tap := openTap(t, b.Namespace, b.Interface)
	got, err = lab.Ask(ctx, web, Sources(1)[0])
	wantAnswer(t, "UDP", got, err, b.Name())
	f, err := tap.Find(ctx, "an ARP request of the backend", func(f Frame) bool {
		_, ok := arpSender(f)
		return ok && f.Outgoing
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := arpSender(f); got != b.Addr {
		t.Errorf("the request is from %s, want %s", got, b.Addr)
	}
}

// solicitation asks a neighbour for an IPv6 address, as a frame to it alone.
func solicitation(t *testing.T, from, to net.HardwareAddr, target netip.Addr) []byte {
	t.Helper()
	ip := &layers.IPv6{
		Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6,
		SrcIP: linkLocal(from).Addr().AsSlice(), DstIP: target.AsSlice(),
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: layers.EthernetTypeIPv6}, ip, icmp,
		&layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// discovery returns who sent a frame of IPv6 neighbour discovery of that ICMPv6 type, and whom it is about.
func discovery(f Frame, kind byte) (source, target netip.Addr, ok bool) {
	const ip, icmp, end = 14, 54, 78
	if len(f.Data) < end || f.Data[12] != 0x86 || f.Data[13] != 0xdd || f.Data[ip+6] != unix.IPPROTO_ICMPV6 || f.Data[icmp] != kind {
		return source, target, false
	}
	return netip.AddrFrom16([16]byte(f.Data[ip+8:])), netip.AddrFrom16([16]byte(f.Data[icmp+8:])), true
}

func TestBackendsDoNotAnswerNeighbourDiscoveryForTheVIP(t *testing.T) {
	lab := New(t, NewSwitched, Options{VIPs: both})
	b, ctx := lab.Backends[0], within(t, 10*time.Second)
	tap := openTap(t, b.Namespace, b.Interface)
	for _, target := range []netip.Addr{DefaultVIP6, b.Addr6} {
		if err := Inject(lab.LB, lab.LBInterfaces[0], solicitation(t, mac(lbMAC, 1), b.MAC, target)); err != nil {
			t.Fatal(err)
		}
	}
	// Requests are answered in their order: an answer for the VIP would be the first.
	f, err := tap.Find(ctx, "a neighbour advertisement", func(f Frame) bool {
		_, _, ok := discovery(f, layers.ICMPv6TypeNeighborAdvertisement)
		return ok && f.Outgoing
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, target, _ := discovery(f, layers.ICMPv6TypeNeighborAdvertisement); target != b.Addr6 {
		t.Errorf("the first answer is for %s, want %s alone", target, b.Addr6)
	}
}

func TestBackendsFindTheirGatewayWithoutNamingTheVIP(t *testing.T) {
	lab := newLab(t, NewSwitched, Options{VIPs: both})
	b, ctx := lab.Backends[0], within(t, 10*time.Second)
	tap := openTap(t, b.Namespace, b.Interface)
	got, err := lab.Ask(ctx, web6, SourcesFor(DefaultVIP6, 1)[0])
	wantAnswer(t, "UDP", got, err, b.Name())
	f, err := tap.Find(ctx, "a neighbour solicitation of the backend", func(f Frame) bool {
		_, _, ok := discovery(f, layers.ICMPv6TypeNeighborSolicitation)
		return ok && f.Outgoing
	})
	if err != nil {
		t.Fatal(err)
	}
	source, target, _ := discovery(f, layers.ICMPv6TypeNeighborSolicitation)
	if source != linkLocal(b.MAC).Addr() || target != lanGateway.v6.Addr() {
		t.Errorf("%s asks for %s, want %s and %s", source, target, linkLocal(b.MAC).Addr(), lanGateway.v6.Addr())
	}
}
