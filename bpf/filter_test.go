package bpf_test

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

func rules(allow bool, prefixes ...string) (all []maps.Rule) {
	for _, prefix := range prefixes {
		all = append(all, maps.Rule{Source: netip.MustParsePrefix(prefix), Allow: allow})
	}
	return all
}

const (
	allowed = "tx backend"
	denied  = "drop denied"
)

// sources checks what becomes of TCP, UDP and an ICMP error that concern a source.
func (p *path) sources(t *testing.T, want map[string]string) {
	t.Helper()
	for addr, want := range want {
		src := netip.MustParseAddr(addr)
		f := family4
		if src.Is6() {
			f = family6
		}
		if want == allowed {
			want += map[bool]string{false: " 1", true: " 9"}[f.v6()]
		}
		aboutIt := f.quoted(t, maps.TCP, 443)
		copy(aboutIt[map[bool]int{false: 16, true: 24}[f.v6()]:], src.AsSlice())
		outcomes{
			{addr + "/tcp", from(t, netip.AddrPortFrom(src, 4242), maps.TCP), want},
			{addr + "/udp", from(t, netip.AddrPortFrom(src, 4242), maps.UDP), want},
			{"an error to " + addr, f.icmp(t, f.router(), f.errorTypes()[0][0], 0, 0, aboutIt), want},
		}.check(t, p)
	}
}

func TestLongestPrefixOfAFilterDecidesElseItsDefault(t *testing.T) {
	p := newPath(t)
	list := append(rules(false, "198.51.0.0/16", "198.51.100.9/32", "2001:db8::/32", "2001:db8:51::9/128"),
		rules(true, "198.51.100.0/24", "2001:db8:51::/64")...)
	for i := range families {
		p.must(p.tables.SetRules(maps.ServiceID(i), list))
	}
	for _, c := range []struct {
		name   string
		filter maps.Filter
		other  string
		ruled  string
	}{
		{"allow others", maps.AllowOthers, allowed, denied},
		{"deny others", maps.DenyOthers, denied, denied},
		{"no filter", maps.NoFilter, allowed, allowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.offerWeb(maps.Service{Filter: c.filter})
			p.sources(t, map[string]string{
				"198.51.100.7":            allowed,
				"198.51.100.0":            allowed,
				"198.51.100.255":          allowed,
				"198.51.100.8":            allowed,
				"198.51.100.9":            c.ruled,
				"198.51.99.255":           c.ruled,
				"198.51.255.255":          c.ruled,
				"198.52.0.0":              c.other,
				"198.50.255.255":          c.other,
				"2001:db8:51::7":          allowed,
				"2001:db8:51::9":          c.ruled,
				"2001:db8:51:1::":         c.ruled,
				"2001:db8:ffff::1":        c.ruled,
				"2001:db9::1":             c.other,
				"2001:db7:ffff:ffff::255": c.other,
			})
		})
	}
}

// An IPv6 prefix of few bits covers no IPv4 address, nor the other way round.
func TestRulesOfOneFamilyLeaveTheOtherAlone(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{Filter: maps.AllowOthers})
	for list, want := range map[string]map[string]string{
		"::/0":             {"198.51.100.7": allowed, "2001:db8:51::7": denied},
		"0.0.0.0/0":        {"198.51.100.7": denied, "2001:db8:51::7": allowed},
		"::ffff:0:0/96":    {"198.51.100.7": allowed, "2001:db8:51::7": allowed},
		"198.51.100.7/32":  {"198.51.100.7": denied, "2001:db8:51::7": allowed},
		"2001:db8:51::/48": {"198.51.100.7": allowed, "2001:db8:51::7": denied},
	} {
		for i := range families {
			p.must(p.tables.SetRules(maps.ServiceID(i), rules(false, list)))
		}
		t.Run(list, func(t *testing.T) { p.sources(t, want) })
	}
}

func TestRulesOfOneServiceLeaveTheOtherAlone(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{Filter: maps.AllowOthers})
	p.offer(2, maps.Service{Filter: maps.AllowOthers}, viaL2())
	p.must(p.tables.SetListeners(append(web443(), listen(vip.String(), 80, 80, maps.TCP, 2))))
	p.must(p.tables.SetRules(2, rules(false, "198.51.100.0/24")))
	outcomes{
		{"the service with the rule", family4.tcp(t, 80, 5), denied},
		{"the one without", family4.tcp(t, 443, 5), "tx backend 1"},
	}.check(t, p)
	p.must(p.tables.SetRules(2, rules(false, "198.51.99.0/24")))
	outcomes{{"after another rule took its place", family4.tcp(t, 80, 5), "tx backend 17"}}.check(t, p)
}

func TestNodesDenyListComesBeforeAllServices(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{Filter: maps.AllowOthers})
	for i := range families {
		p.must(p.tables.SetRules(maps.ServiceID(i), rules(true, "198.51.100.0/24", "2001:db8:51::/64")))
	}
	p.must(p.tables.SetRules(maps.NodeRules, rules(false, "198.51.100.0/24", "2001:db8:51::/64")))
	const deniedByNode = "drop denied_by_node"
	for i, f := range families {
		foreign := packet(t, ipHeader(f.client, f.backend, layers.IPProtocolUDP), &layers.UDP{})
		sctp := packet(t, f.ip(layers.IPProtocolSCTP), filler(20))
		neighbour := netip.AddrPortFrom([]netip.Addr{netip.MustParseAddr("198.51.101.7"), netip.MustParseAddr("2001:db8:52::7")}[i], 4242)
		outcomes{
			{"a service", f.tcp(t, 443, 5), deniedByNode},
			{"a port that nobody serves", f.tcp(t, 444, 5), deniedByNode},
			{"a protocol that nobody serves", sctp, deniedByNode},
			{"a ping", f.ping(t, 8), deniedByNode},
			{"an error from there", f.icmp(t, f.router(), f.errorTypes()[0][0], 0, 0, f.quoted(t, maps.TCP, 443)), deniedByNode},
			{"a later fragment", part{family: f, proto: maps.TCP, offset: 64}.packet(t), deniedByNode},
			{"a bad length", with(f.tcp(t, 443, 5), func(b []byte) { b[map[bool]int{false: 2, true: 4}[f.v6()]] = 9 }), "drop bad_length"},
			{"a packet to another host", foreign, "pass not_ours"},
			{"a neighbour", from(t, neighbour, maps.TCP), []string{"tx backend 1", "tx backend 9"}[i]},
		}.check(t, p)
	}
	p.must(p.tables.SetRules(maps.NodeRules, nil))
	p.sources(t, map[string]string{"198.51.100.7": allowed, "2001:db8:51::7": allowed})
}

// Tens of thousands of rules are replaced by others while packets come: a source that both lists deny never passes, and
// one that neither knows always does.
func TestRulesAreReplacedWithoutAGap(t *testing.T) {
	limits := testLimits
	limits.Rules = 1 << 17
	p := newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: limits}, maps.AllFeatures())
	p.offerWeb(maps.Service{Filter: maps.AllowOthers})
	var lists [2][]maps.Rule
	for i := range lists {
		for host := range 30_000 {
			addr := netip.AddrFrom4([4]byte{100, byte(64 + i), byte(host / 250), byte(1 + host%250)})
			lists[i] = append(lists[i], maps.Rule{Source: netip.PrefixFrom(addr, 32)})
		}
	}
	lists[0] = append(lists[0], rules(false, "198.51.100.0/24")...)
	lists[0] = append(lists[0], rules(true, "198.51.100.128/25")...)
	lists[1] = append(lists[1], rules(false, "198.51.0.0/16", "198.51.100.7/32")...)
	p.must(p.tables.SetRules(0, lists[0]))
	done := make(chan error)
	go func() {
		defer close(done)
		for i := range 4 {
			if err := p.tables.SetRules(0, lists[(i+1)%2]); err != nil {
				done <- err
				return
			}
		}
	}()
	denied, other := arriving(family4.tcp(t, 443, 5)), arriving(from(t, netip.MustParseAddrPort("203.0.113.9:4242"), maps.TCP))
	for tried := 0; ; tried++ {
		if verdict, _ := p.run(denied); verdict != xdpDrop {
			t.Fatalf("packet %d of a source that is always denied: verdict %d, want drop", tried, verdict)
		}
		if verdict, _ := p.run(other); verdict != xdpTX {
			t.Fatalf("packet %d of a source that is never denied: verdict %d, want TX", tried, verdict)
		}
		select {
		case err := <-done:
			p.must(err)
			t.Logf("%d packets of each while the rules changed four times", tried+1)
			return
		default:
		}
	}
}
