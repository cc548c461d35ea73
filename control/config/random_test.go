package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// randomness draws the values of a valid configuration: defaults and others.
type randomness struct{ *rapid.T }

func (r randomness) chance() bool { return rapid.Bool().Draw(r.T, "chance") }

func (r randomness) number(least, most int) int {
	return rapid.IntRange(least, most).Draw(r.T, "number")
}

func pick[T any](r randomness, from ...T) T { return rapid.SampledFrom(from).Draw(r.T, "pick") }

func (r randomness) text(pattern string) string {
	return rapid.StringMatching(pattern).Draw(r.T, "text")
}

// or returns a number within bounds, or the default.
func (r randomness) or(usual, least, most int) int {
	if r.chance() {
		return usual
	}
	return r.number(least, most)
}

func (r randomness) lasting(usual, least, most time.Duration) time.Duration {
	if r.chance() {
		return usual
	}
	unit := pick(r, time.Nanosecond, time.Millisecond, time.Second, time.Minute)
	return min(max(time.Duration(r.number(int(least), int(most))).Truncate(unit), least), most)
}

// seen are texts of all that can be seen, and some white space.
func (r randomness) seen(most int) string {
	return strings.ToValidUTF8(r.text(fmt.Sprintf("[ -~\n\té☃]{1,%d}", most)), "")
}

func (r randomness) address(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 4: byte(r.number(0, 1)), 14: byte(r.number(0, 255)), 15: byte(r.number(0, 255))})
	}
	return netip.AddrFrom4([4]byte{10, byte(r.number(0, 3)), byte(r.number(0, 255)), byte(r.number(0, 255))})
}

func (r randomness) prefix() netip.Prefix {
	a := r.address(r.chance())
	p, _ := a.Prefix(r.number(0, a.BitLen()))
	return p
}

func (r randomness) prefixes(most int) []netip.Prefix {
	var list []netip.Prefix
	for range r.number(0, most) {
		if p := r.prefix(); !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

func (r randomness) mac() (m MAC) {
	if r.chance() {
		m = MAC{2, 0, byte(r.number(0, 255)), 3, 4, byte(r.number(0, 255))}
	}
	return m
}

func (r randomness) config() *Config {
	c := defaults()
	c.File = "random.yaml"
	for i := range r.number(1, 3) {
		c.Interfaces = append(c.Interfaces, Interface{Name: fmt.Sprintf("%s%d", r.text(`[a-z.@]{1,9}`), i)})
	}
	c.Instance = pick(r, DefaultInstance, "edge-1", "1", "null")
	c.StateDir = pick(r, DefaultStateDir, "/srv/a b: #", "/srv/\"'")
	c.XDPMode = pick(r, Native, Generic)
	if r.chance() {
		c.HashKey[0] = byte(r.number(0, 255))
	}
	c.Metrics.Listen = pick(r, c.Metrics.Listen, netip.AddrPort{}, netip.MustParseAddrPort("[::1]:0"))
	c.API = API{pick(r, DefaultSocket(c.Instance), "/tmp/a.sock"), pick(r, "xlb", "123", "a-b"), pick(r, ReadGroup, ReadAll)}
	if r.chance() {
		c.DeadDaemon = DeadDaemon{pick(r, PassAfter, DropAfter), r.lasting(MinSilence, MinSilence, MaxSilence)}
	}
	c.Health.AllowExec = r.chance()
	c.Flows.Idle = r.lasting(DefaultFlowIdle, MinFlowIdle, MaxFlowIdle)
	c.Flows.Learn = r.lasting(DefaultFlowLearn, MinFlowLearn, MaxFlowLearn)
	c.Flows.MaxTransition = r.lasting(DefaultMaxTransition, MaxFlowLearn, MaxTransition)
	if r.chance() {
		c.Source = Source{IPv4: r.address(false), IPv6: r.address(true), IPIPv4: prefix("172.16.0.0/12"), IPIPv6: prefix("100::/96")}
	}
	c.GUE = GUESettings{uint16(r.or(DefaultGUEPort, 1, 65535)), r.chance()}
	c.ICMP = ICMP{pick(r, EchoReply, EchoPass, EchoDrop), r.or(DefaultTooBigRate, 1, MaxTooBigRate)}
	c.PassOrphans, c.VerifyChecksum = r.chance(), r.chance()
	c.Deny = r.prefixes(20)
	c.GatewayMAC = r.mac()
	for _, l := range limitsOf(&c.Limits) {
		*l.value = r.or(l.usual, l.usual, l.most)
	}
	for i := range r.number(0, 4) {
		c.Services = append(c.Services, r.service(c, i))
	}
	return c
}

// service draws a service that no other one gets in the way of, by its number.
func (r randomness) service(c *Config, i int) Service {
	s := defaultService()
	s.Name = fmt.Sprintf("%s%d", r.text(`[a-z0-9][-a-z0-9_.]{0,9}`), i)
	ipv6 := r.chance()
	vip := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
	if ipv6 {
		vip = netip.AddrFrom16([16]byte{0: 0x2a, 15: byte(i + 1)})
	}
	s.VIP = netip.PrefixFrom(vip, vip.BitLen())
	s.Ports = pick(r, []PortRange{{80, 80}}, []PortRange{AnyPort}, []PortRange{{443, 443}, {8000, 8999}, {1, 2}})
	s.Protocols = pick(r, []Protocol{TCP}, []Protocol{UDP}, []Protocol{UDP, TCP})
	s.Forward = pick(r, L2, IPIP, GRE, GUE)
	if s.Forward == GUE {
		s.GUEPort = uint16(r.or(int(c.GUE.Port), 1, 65535))
	}
	s.Slots = pick(r, 0, 65537)
	if r.chance() {
		s.Affinity = Affinity{true, r.or(vip.BitLen(), 0, vip.BitLen())}
	}
	s.Tracking = pick(r, TrackChange, TrackAlways, TrackNever)
	s.SlowStart = r.lasting(0, 0, MaxSlowStart)
	s.Panic = r.or(0, 0, 100)
	if r.chance() {
		s.Filter = &Filter{Allow: r.prefixes(3), DefaultDeny: r.chance()}
		for _, p := range r.prefixes(3) {
			if !slices.Contains(s.Filter.Allow, p) {
				s.Filter.Deny = append(s.Filter.Deny, p)
			}
		}
	}
	tcp, udp := slices.Contains(s.Protocols, TCP), slices.Contains(s.Protocols, UDP)
	if r.chance() {
		s.Packets = r.rate()
		if tcp {
			s.NewConnections = r.rate()
		}
	}
	if tcp {
		s.MSS = pick(r, 0, MinMSS, 1400)
	}
	if udp && r.chance() {
		s.QUIC[pick(r, 0, 3)], s.QUIC[6] = 4, uint8(pick(r, 0, 4))
	}
	if r.chance() {
		s.Health = r.health(c, &s)
	}
	quic := s.QUIC != [Rotations]uint8{}
	for k := range r.number(1, 4) {
		s.Backends = append(s.Backends, r.backend(k, ipv6 && s.Forward == L2 || s.Forward != L2 && r.chance(), quic))
	}
	if r.chance() {
		s.Discover = r.discover(&s, quic, ipv6)
		if r.chance() {
			s.Backends = nil
		}
	}
	return s
}

func (r randomness) rate() *Rate {
	rate := &Rate{PerSecond: r.number(1, MaxRate)}
	rate.Burst = r.or(defaultBurst(rate.PerSecond), 1, MaxRate)
	return rate
}

func (r randomness) backend(k int, ipv6, quic bool) Backend {
	b := Backend{Weight: r.or(DefaultWeight, 1, MaxWeight), MAC: r.mac()}
	b.Address = netip.AddrFrom4([4]byte{10, 9, byte(r.number(0, 255)), byte(k)})
	if ipv6 {
		b.Address = netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 13: byte(r.number(0, 255)), 14: byte(pick(r, 0, 1)), 15: byte(k)})
	}
	b.Name = pick(r, b.Address.String(), fmt.Sprintf("web-%d", k), fmt.Sprint(k))
	if quic || r.chance() {
		b.ServerID = []byte{byte(k), 0, byte(r.number(0, 255)), 1}
	}
	return b
}

func (r randomness) discover(s *Service, quic, ipv6 bool) *Discover {
	d := &Discover{AllowEmpty: r.chance(), Weight: r.or(DefaultWeight, 1, MaxWeight)}
	switch kind := r.number(0, 2); {
	case kind == 0 && !quic:
		d.DNS = &DNSSource{Name: pick(r, "web.example.org", "_web._tcp.a"), Type: pick(r, defaultRecord(s), "SRV"), MinTTL: r.lasting(DefaultMinTTL, minTTL, 10*time.Second)}
		d.DNS.MaxTTL = r.lasting(DefaultMaxTTL, time.Minute, MaxTTL)
		if d.DNS.Type == "SRV" {
			d.DNS.Port = uint16(r.number(0, 65535))
		}
		if r.chance() {
			d.DNS.Server = netip.MustParseAddrPort(pick(r, "127.0.0.53:53", "[2001:db8::1]:5353"))
		}
	case kind == 1 && !quic:
		d.Replicas = &Replicas{Address: "10.8.{n}.1", First: r.number(0, 5), Count: r.number(1, 9)}
		if ipv6 {
			d.Replicas.Address = "2001:db8::{n}:1"
		}
		d.Replicas.Name = pick(r, d.Replicas.Address, "r{n}-{n}")
	default:
		d.File = &FileSource{pick(r, "/etc/xlb/b.yaml", "/x #y")}
	}
	return d
}

func (r randomness) health(c *Config, s *Service) *Health {
	h := &Health{Interval: r.lasting(DefaultInterval, MinInterval, 2*MaxTimeout), Timeout: r.lasting(DefaultTimeout, 1, MaxTimeout),
		Rise: r.or(DefaultRise, 1, MaxThreshold), Fall: r.or(DefaultFall, 1, MaxThreshold)}
	h.FastInterval = r.lasting(fast(h.Interval), MinInterval, h.Interval)
	port := func(over Protocol) uint16 {
		if own := checkPort(s, over); own != 0 && r.chance() {
			return own
		}
		return uint16(r.number(1, 65535))
	}
	switch r.number(0, 8) {
	case 0:
		h.HTTP = r.http(s, port(TCP), false)
	case 1:
		h.HTTP = r.http(s, port(TCP), true)
	case 2:
		h.TCP = &TCPCheck{port(TCP)}
	case 3:
		h.TLS = &TLSCheck{Port: port(TCP)}
		r.tls(&h.TLS.TLS, "")
	case 4:
		h.GRPC = &GRPCCheck{Port: port(TCP), Service: pick(r, "", "a.B"), Host: pick(r, vipHost(s), "a.example:50051")}
		if r.chance() {
			h.GRPC.TLS = &TLS{}
			r.tls(h.GRPC.TLS, h.GRPC.Host)
		}
	case 5:
		h.DNS = &DNSCheck{Name: pick(r, ".", "a.example"), Type: pick(r, dnsTypes...), TCP: r.chance(), RCode: pick(r, dnsRCodes...), Answer: pick(r, "", r.seen(9))}
		h.DNS.Port = port(h.DNS.transport())
	case 6:
		h.UDP = &UDPCheck{Port: port(UDP), Send: []byte(r.seen(9))}
		if r.chance() {
			h.UDP.Send = []byte{byte(r.number(0, 255)), byte(r.number(0, 255))}
			h.UDP.Expect = []byte{byte(r.number(0, 255))}
		}
	case 7:
		h.ICMP = &ICMPCheck{}
	case 8:
		h.ICMP = nil
		if !c.Health.AllowExec {
			h.TCP = &TCPCheck{port(TCP)}
			break
		}
		h.Exec = &ExecCheck{[]string{"/bin/check", r.seen(9), ""}}
	}
	h.Target = pick(r, TargetVIP, TargetAddress)
	if slices.Contains(s.Protocols, TCP) && r.chance() {
		h.Passive = &Passive{r.or(DefaultSuspectBelow, 1, 100), r.or(DefaultMinConnections, 1, MaxConnections), r.chance(),
			r.or(DefaultMaxEjected, 1, 100), r.lasting(DefaultEjectFor, time.Second, MaxEjectFor)}
	}
	return h
}

func (r randomness) http(s *Service, port uint16, secure bool) *HTTPCheck {
	h := &HTTPCheck{Method: "GET", Path: pick(r, "/", "/a?b=c&d"), Port: port, Host: pick(r, vipHost(s), "a.example", "b.example:8443", "192.0.2.77:1"),
		HTTP2: r.chance()}
	h.Status = pick(r, nil, []int{200}, []int{200, 404})
	if r.chance() {
		h.Body, h.BodyMatches = r.seen(9), pick(r, `^ok\b.*$`, `a: "#'`)
		h.RequestHeaders = []Header{{"X-A", r.text(`[!-~]{1,5}`)}, {"x_b", ""}}
		h.ResponseHeaders = []Header{{"null", "true"}}
	} else {
		h.Method = pick(r, "GET", "HEAD")
	}
	if secure {
		h.TLS = &TLS{}
		r.tls(h.TLS, h.Host)
	}
	return h
}

func (r randomness) tls(o *TLS, host string) {
	o.SNI = pick(r, hostName(host), "c.example")
	o.Verify = o.SNI != "" && r.chance()
	if o.Verify {
		o.CAFile = pick(r, "", "/etc/ca.pem")
	}
}

// sameContent ignores where things are written.
var sameContent = cmp.Options{addresses, cmpopts.IgnoreTypes(Position{}), cmpopts.IgnoreFields(Config{}, "File"), cmpopts.EquateEmpty()}

// written returns what Write makes of c.
func written(t interface{ Fatal(...any) }, c *Config) []byte {
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := randomness{t}.config()
		if err := c.Validate(); err != nil {
			t.Fatalf("the random configuration is wrong: %v", err)
		}
		text := written(t, c)
		again, err := Parse("written.yaml", text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := cmp.Diff(c, again, sameContent); diff != "" {
			t.Fatalf("%s in\n%s", diff, text)
		}
		if twice := written(t, again); !bytes.Equal(text, twice) {
			t.Fatalf("written twice:\n%s\n%s", text, twice)
		}
	})
}
