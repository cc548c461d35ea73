package maps

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func listenerGen() *rapid.Generator[Listener] {
	return rapid.Custom(func(t *rapid.T) Listener {
		// few addresses, so that they share buckets and have several ports
		addr := netip.AddrFrom4([4]byte{192, 0, byte(rapid.IntRange(0, 3).Draw(t, "c")), byte(rapid.IntRange(0, 255).Draw(t, "d"))})
		port := rapid.Uint16Range(1, 65535).Draw(t, "port")
		return Listener{
			VIP: netip.PrefixFrom(addr, 32), First: port, Last: port,
			Protocol: rapid.SampledFrom([]Protocol{TCP, UDP}).Draw(t, "protocol"),
		}
	})
}

func key(l Listener) Listener { l.Service = 0; return l }

func TestLookupFindsEveryListenerAndOnlyThose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		listeners := rapid.SliceOfNDistinct(listenerGen(), 0, 300, key).Draw(t, "listeners")
		known := map[Listener]bool{}
		for i := range listeners {
			listeners[i].Service = ServiceID(i)
			known[key(listeners[i])] = true
		}
		table, err := buildVIPTable(listeners, 1<<12, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range listeners {
			if id, ok := table.lookup(l.VIP.Addr(), l.First, l.Protocol); !ok || id != l.Service {
				t.Fatalf("%s: found service %d (%v), want %d", l, id, ok, l.Service)
			}
		}
		for range 50 {
			l := listenerGen().Draw(t, "other")
			if _, ok := table.lookup(l.VIP.Addr(), l.First, l.Protocol); ok != known[l] {
				t.Fatalf("%s: found %v, want %v", l, ok, known[l])
			}
		}
	})
}

func TestThousandsOfVIPsFitTheRowsTheirLimitGives(t *testing.T) {
	limits := Limits{Services: 20000}
	var listeners []Listener
	for i := range limits.Services {
		listeners = append(listeners, Listener{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 3, byte(i >> 8), byte(i)}), 32), 443, 443, TCP, ServiceID(i)})
	}
	table, err := buildVIPTable(listeners, limits.vipRows(), limits.portRows())
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for i := range table.vips {
		if table.vips[i].Displacement == 0 && table.vips[i].PortSeed != 0 {
			direct++
		}
	}
	t.Logf("%d VIPs in %d rows, %d of them where their bucket is", len(listeners), len(table.vips), direct)
}

func TestManyPortsOfOneVIPAreKeptApart(t *testing.T) {
	var listeners []Listener
	for i := range 500 {
		listeners = append(listeners, Listener{netip.MustParsePrefix("192.0.2.10/32"), uint16(8000 + i), uint16(8000 + i), TCP, ServiceID(i)})
	}
	table, err := buildVIPTable(listeners, 64, 1<<17)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners {
		if id, ok := table.lookup(l.VIP.Addr(), l.First, l.Protocol); !ok || id != l.Service {
			t.Fatalf("%s: found service %d (%v)", l, id, ok)
		}
	}
}

func TestListenersPastTheLimitAreRefusedWithTheRemedy(t *testing.T) {
	var listeners []Listener
	for i := range 100 {
		listeners = append(listeners, Listener{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32), 80, 80, TCP, 0})
	}
	for _, c := range []struct{ rows, ports int }{{64, 1000}, {256, 99}} {
		if _, err := buildVIPTable(listeners, c.rows, c.ports); err == nil || !strings.Contains(err.Error(), "raise limits.services") {
			t.Errorf("%d rows, %d ports: error %v, want one that says what to raise", c.rows, c.ports, err)
		}
	}
}
