package maps

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/bpf"
)

func vipGen() *rapid.Generator[netip.Prefix] {
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		// few addresses, so that VIPs share buckets, nest, and have several listeners
		if rapid.Bool().Draw(t, "v6") {
			a := netip.MustParseAddr("2001:db8::").As16()
			a[7], a[15] = byte(rapid.IntRange(0, 1).Draw(t, "net")), byte(rapid.IntRange(0, 7).Draw(t, "host"))
			return netip.PrefixFrom(netip.AddrFrom16(a), rapid.SampledFrom([]int{32, 64, 125, 128}).Draw(t, "bits")).Masked()
		}
		a := netip.AddrFrom4([4]byte{192, 0, byte(rapid.IntRange(0, 1).Draw(t, "net")), byte(rapid.IntRange(0, 15).Draw(t, "host"))})
		return netip.PrefixFrom(a, rapid.SampledFrom([]int{16, 24, 30, 32}).Draw(t, "bits")).Masked()
	})
}

func listenerGen() *rapid.Generator[Listener] {
	return rapid.Custom(func(t *rapid.T) Listener {
		first := rapid.Uint16Range(0, 60).Draw(t, "first")
		return Listener{
			VIP: vipGen().Draw(t, "vip"), First: first, Last: first + rapid.Uint16Range(0, 5).Draw(t, "width")*uint16(rapid.IntRange(0, 1).Draw(t, "range")),
			Protocol: rapid.SampledFrom([]Protocol{TCP, UDP}).Draw(t, "protocol"),
		}
	})
}

// meant is the specification of a lookup, docs/DATAPATH.md sections 3 and 9: the
// longest prefix that has a listener, and of its listeners the narrowest.
func meant(listeners []Listener, addr netip.Addr, port uint16, proto Protocol) (ServiceID, bool) {
	best := -1
	for i, l := range listeners {
		if !l.VIP.Contains(addr) || l.Protocol != proto || port < l.First || port > l.Last {
			continue
		}
		if best < 0 || l.VIP.Bits() > listeners[best].VIP.Bits() ||
			(l.VIP.Bits() == listeners[best].VIP.Bits() && width(l) < width(listeners[best])) {
			best = i
		}
	}
	if best < 0 {
		return 0, false
	}
	return listeners[best].Service, true
}

// ambiguous reports listeners that a configuration would refuse.
func ambiguous(listeners []Listener) bool {
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			apart := a.Last < b.First || b.Last < a.First
			nested := width(a) != width(b) && (a.First <= b.First && b.Last <= a.Last || b.First <= a.First && a.Last <= b.Last)
			if a.VIP == b.VIP && a.Protocol == b.Protocol && !apart && !nested {
				return true
			}
		}
	}
	return false
}

// lookup finds a listener's service in the rows as the data path does.
func (t *vipTable) lookup(addr netip.Addr, port uint16, proto Protocol) (ServiceID, bool) {
	bits := []int{addr.BitLen()}
	offset, lengths := 0, t.lengths.V6
	if addr.Is4() {
		offset, lengths = 96, t.lengths.V4
	}
	for _, l := range lengths {
		if l != 0 {
			bits = append(bits, int(l)-offset)
		}
	}
	for _, b := range bits {
		k := keyOf(netip.PrefixFrom(addr, b).Masked())
		displacement := t.displacements[k.hash()&uint64(len(t.displacements)-1)]
		vip := &t.vips[displacedRow(k.hash(), displacement, t.mask())]
		if vip.Addr != k.words || vip.Kind != k.kind() {
			continue
		}
		key := portKey(port, proto)
		if vip.FirstKey == key {
			return ServiceID(vip.First.Number), true
		}
		if row := t.ports[vip.Ports+key*vip.PortSeed>>16&uint32(vip.PortMask)]; row.Key == key {
			return ServiceID(row.Service), true
		}
		ranges := t.ranges[vip.Ranges : vip.Ranges+uint32(vip.TcpRanges)]
		if proto == UDP {
			ranges = t.ranges[vip.Ranges+uint32(vip.TcpRanges):][:vip.UdpRanges]
		}
		for _, r := range ranges {
			if r.First <= port && port <= r.Last {
				return ServiceID(r.Service), true
			}
		}
		return 0, false
	}
	return 0, false
}

func never(ServiceID) bool { return false }

var plenty = bounds{1 << 16, 1 << 20, 1 << 16}

func TestLookupFindsWhatTheSpecificationSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		listeners := rapid.SliceOfN(listenerGen(), 0, 60).Filter(func(l []Listener) bool { return !ambiguous(l) }).Draw(t, "listeners")
		for i := range listeners {
			listeners[i].Service = ServiceID(i)
		}
		table, err := buildVIPTable(listeners, never, plenty)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			probe := listenerGen().Draw(t, "probe")
			addr, port := probe.VIP.Addr(), probe.First
			want, wantOK := meant(listeners, addr, port, probe.Protocol)
			got, ok := table.lookup(addr, port, probe.Protocol)
			if ok != wantOK || got != want {
				t.Fatalf("%s port %d/%s: found service %d (%v), want %d (%v)", addr, port, probe.Protocol, got, ok, want, wantOK)
			}
		}
	})
}

func TestThousandsOfVIPsFitTheRowsTheirLimitGives(t *testing.T) {
	limits := Limits{Services: 20000, Listeners: 20000}
	var listeners []Listener
	for i := range limits.Services {
		listeners = append(listeners, Listener{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 3, byte(i >> 8), byte(i)}), 32), 443, 443, TCP, ServiceID(i)})
	}
	table, err := buildVIPTable(listeners, never, bounds{limits.vipRows(), limits.portRows(), limits.portRows()})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners {
		if s, ok := table.lookup(l.VIP.Addr(), 443, TCP); !ok || s != l.Service {
			t.Fatalf("%s: found service %d (%v)", l, s, ok)
		}
	}
}

func TestPortsTooManyForOneSeedAreFoundAmongTheRanges(t *testing.T) {
	for _, count := range []int{500, 4000} {
		var listeners []Listener
		for i := range count {
			listeners = append(listeners, Listener{netip.MustParsePrefix("192.0.2.10/32"), uint16(2 * i), uint16(2 * i), TCP, ServiceID(i)})
		}
		table, err := buildVIPTable(listeners, never, plenty)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range listeners {
			if s, ok := table.lookup(l.VIP.Addr(), l.First, TCP); !ok || s != l.Service {
				t.Fatalf("%s of %d: found service %d (%v)", l, count, s, ok)
			}
			if _, ok := table.lookup(l.VIP.Addr(), l.First+1, TCP); ok {
				t.Fatalf("port %d of %d is nobody's", l.First+1, count)
			}
		}
	}
}

func TestOnlyASingleServiceBySourceOwnsFragments(t *testing.T) {
	vip, net := netip.MustParsePrefix("192.0.2.10/32"), netip.MustParsePrefix("192.0.2.0/24")
	bySource := func(s ServiceID) bool { return s == 7 }
	for name, c := range map[string]struct {
		listeners []Listener
		want      uint32
	}{
		"one service by source":              {[]Listener{{vip, 80, 80, TCP, 7}, {vip, 8000, 8999, TCP, 7}}, 8},
		"one service by flow":                {[]Listener{{vip, 80, 80, TCP, 6}}, 0},
		"two services":                       {[]Listener{{vip, 80, 80, TCP, 7}, {vip, 81, 81, TCP, 6}}, 0},
		"another one for the other protocol": {[]Listener{{vip, 80, 80, TCP, 7}, {vip, 80, 80, UDP, 6}}, 8},
		"another one of a shorter prefix":    {[]Listener{{vip, 80, 80, TCP, 7}, {net, 81, 81, TCP, 6}}, 0},
	} {
		table, err := buildVIPTable(c.listeners, bySource, plenty)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(table.vips, func(v bpf.XlbVip) bool { return v.Kind>>8 == 128 })
		if got := table.vips[i].TcpFragments; got != c.want {
			t.Errorf("%s: fragments are service %d's (plus 1), want %d", name, got, c.want)
		}
	}
}

func TestListenersPastTheLimitAreRefusedWithTheRemedy(t *testing.T) {
	var many, ranges, lengths []Listener
	for i := range 100 {
		many = append(many, Listener{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32), 80, 80, TCP, 0})
		ranges = append(ranges, Listener{netip.MustParsePrefix("192.0.2.1/32"), uint16(10 * i), uint16(10*i + 1), TCP, 0})
		if i < 9 {
			lengths = append(lengths, Listener{netip.PrefixFrom(netip.MustParseAddr("192.0.2.0"), 31-i).Masked(), 80, 80, TCP, 0})
		}
	}
	for _, c := range []struct {
		listeners []Listener
		room      bounds
		says      string
	}{
		{many, bounds{64, 1000, 1000}, "raise limits.services"},
		{many, bounds{256, 99, 1000}, "raise limits.listeners"},
		{ranges, bounds{256, 1000, 99}, "raise limits.listeners"},
		{lengths, plenty, "fewer lengths"},
	} {
		if _, err := buildVIPTable(c.listeners, never, c.room); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: error %v, want one that says %q", c.room, err, c.says)
		}
	}
}
