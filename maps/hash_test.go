package maps

import (
	"net/netip"
	"testing"
)

// Nodes of different versions must pick the same slot: these never change.
// TestFlowHashPicksTheSlotThatGoComputes in package bpf ties the C to them.
func TestFlowHashVectors(t *testing.T) {
	zero, counting := Key{}, Key{}
	for i := range counting {
		counting[i] = byte(i)
	}
	for _, c := range []struct {
		key      Key
		src, dst string
		proto    Protocol
		want     uint64
		slot     int // of 65537
	}{
		{zero, "198.51.100.7:4242", "192.0.2.10:80", TCP, 0x59d2ab6cdc3c3ebc, 22995},
		{zero, "198.51.100.7:4242", "192.0.2.10:80", UDP, 0xbe788038b46fae4, 3047},
		{counting, "198.51.100.7:4242", "192.0.2.10:80", TCP, 0x375b8adeae8fd176, 14171},
		{counting, "198.51.100.7:4243", "192.0.2.10:80", TCP, 0x348a3f74bc42d122, 13450},
		{counting, "255.255.255.255:65535", "255.255.255.255:65535", UDP, 0xff6afaff022d62b8, 65387},
	} {
		hash := FlowHash(c.key, netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst), c.proto)
		if hash != c.want || SlotOf(hash, 65537) != c.slot {
			t.Errorf("%s to %s/%s with key %x: hash %#x, slot %d; want %#x, %d", c.src, c.dst, c.proto, c.key, hash, SlotOf(hash, 65537), c.want, c.slot)
		}
	}
}

// A client that opens connections from ports in a row, and a network of clients
// behind neighbouring addresses, are spread like random ones.
func TestFlowHashSpreadsNeighbouringFlows(t *testing.T) {
	const flows, bins = 100_000, 100
	vip := netip.MustParseAddrPort("192.0.2.10:80")
	for name, src := range map[string]func(i int) netip.AddrPort{
		"ports in a row": func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i >> 15)}), uint16(i&0x7fff+1024))
		},
		"addresses in a row": func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 4242)
		},
	} {
		var count [bins]float64
		for i := range flows {
			count[SlotOf(FlowHash(Key{9}, src(i), vip, TCP), bins)]++
		}
		chi2 := 0.0
		for _, c := range count {
			d := c - flows/bins
			chi2 += d * d / (flows / bins)
		}
		// 99 degrees of freedom: 60 to 149 covers all but one in a thousand
		if chi2 > 149 {
			t.Errorf("%s: chi-squared %.1f over %d bins", name, chi2, bins)
		}
	}
}
