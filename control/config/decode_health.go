package config

import (
	"cmp"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// checkKinds are the fields of the kinds of checks.
var checkKinds = []string{"http", "https", "tcp", "tls", "grpc", "dns", "udp", "icmp", "exec"}

const missingKind = "write http: {path: /healthz} or tcp: {}"

func (d *decoder) health(n *yaml.Node, path string, s *Service) *Health {
	h := &Health{Interval: DefaultInterval, Timeout: DefaultTimeout, Rise: DefaultRise, Fall: DefaultFall}
	d.mapping(n, path, wantHealth,
		field{name: "http", read: func(n *yaml.Node, path string) { h.HTTP = d.http(n, path, s, nil) }},
		field{name: "https", read: func(n *yaml.Node, path string) { h.HTTP = d.http(n, path, s, &TLS{Verify: true}) }},
		field{name: "tcp", read: func(n *yaml.Node, path string) {
			h.TCP = &TCPCheck{Port: checkPort(s, TCP)}
			d.mapping(n, path, wantTCP, field{name: "port", read: d.port(&h.TCP.Port)})
		}},
		field{name: "tls", read: func(n *yaml.Node, path string) {
			h.TLS = &TLSCheck{Port: checkPort(s, TCP), TLS: TLS{Verify: true}}
			d.mapping(n, path, wantTLS, append([]field{{name: "port", read: d.port(&h.TLS.Port)}}, d.tls(&h.TLS.TLS)...)...)
		}},
		field{name: "grpc", read: func(n *yaml.Node, path string) { h.GRPC = d.grpc(n, path, s) }},
		field{name: "dns", read: func(n *yaml.Node, path string) { h.DNS = d.dns(n, path, s) }},
		field{name: "udp", read: func(n *yaml.Node, path string) { h.UDP = d.udp(n, path, s) }},
		field{name: "icmp", read: func(n *yaml.Node, path string) {
			h.ICMP = &ICMPCheck{}
			d.mapping(n, path, wantICMPCheck)
		}},
		field{name: "exec", read: func(n *yaml.Node, path string) { h.Exec = d.exec(n, path) }},
		field{name: "target", read: known(d, &h.Target, wantTarget)},
		field{name: "interval", read: d.duration(&h.Interval)},
		field{name: "fast_interval", read: d.duration(&h.FastInterval)},
		field{name: "timeout", read: d.duration(&h.Timeout)},
		field{name: "rise", read: d.number(&h.Rise, wantCount)},
		field{name: "fall", read: d.number(&h.Fall, wantCount)},
		field{name: "passive", read: func(n *yaml.Node, path string) { h.Passive = d.passive(n, path) }},
	)
	d.exactlyOne(n, path, "the kind of check", missingKind, checkKinds)
	if h.Target == "" {
		h.Target = defaultTarget(h)
	}
	if lookup(n, "fast_interval") == nil {
		h.FastInterval = fast(h.Interval)
	}
	return h
}

// defaultTarget is the VIP, but for programs, whose packets are led there only if
// they see to it.
func defaultTarget(h *Health) Target {
	if h.Exec != nil {
		return TargetAddress
	}
	return DefaultTarget
}

// vipHost is the host that checks of s ask for unless told otherwise.
func vipHost(s *Service) string {
	switch a := s.VIP.Addr(); {
	case a.Is6():
		return "[" + a.String() + "]"
	case a.IsValid():
		return a.String()
	}
	return ""
}

// hostName is a host without its port, if it is a name and no address.
func hostName(host string) string {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ""
	}
	name, _, _ := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") {
		return ""
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return ""
	}
	return name
}

func (d *decoder) http(n *yaml.Node, path string, s *Service, secure *TLS) *HTTPCheck {
	h := &HTTPCheck{Method: DefaultMethod, Path: DefaultPath, Port: checkPort(s, TCP), TLS: secure}
	fields := []field{
		{name: "method", read: known(d, &h.Method, wantMethod)},
		{name: "path", read: text(d, &h.Path, wantPath)},
		{name: "port", read: d.port(&h.Port)},
		{name: "host", read: text(d, &h.Host, wantHost)},
		{name: "status", read: func(n *yaml.Node, path string) {
			d.oneOrMore(n, path, wantStatus.want, func(n *yaml.Node, path string) {
				var v int
				d.number(&v, wantStatus)(n, path)
				h.Status = append(h.Status, v)
			})
		}},
		{name: "body", read: text(d, &h.Body, wantText)},
		{name: "body_matches", read: text(d, &h.BodyMatches, wantPattern)},
		{name: "request_headers", read: d.headers(&h.RequestHeaders)},
		{name: "response_headers", read: d.headers(&h.ResponseHeaders)},
		{name: "http2", read: d.boolean(&h.HTTP2)},
	}
	if secure == nil {
		d.mapping(n, path, wantHTTP, fields...)
		h.Host = cmp.Or(h.Host, vipHost(s))
		return h
	}
	d.mapping(n, path, wantHTTPS, append(fields, d.tls(secure)...)...)
	h.Host = d.names(h.Host, &secure.SNI, s)
	return h
}

// names fills in what is not given of the host that a check asks for, which it
// returns, and of the name that it asks TLS for: each comes from the other.
func (d *decoder) names(host string, sni *string, s *Service) string {
	host = cmp.Or(host, *sni, vipHost(s))
	*sni = cmp.Or(*sni, hostName(host))
	return host
}

// tls are the fields of TLS.
func (d *decoder) tls(to *TLS) []field {
	return []field{
		{name: "sni", read: text(d, &to.SNI, wantHost)},
		{name: "verify", read: d.boolean(&to.Verify)},
		{name: "ca_file", read: d.filePath(&to.CAFile, wantCAFile)},
	}
}

// filePath reads the path of a file that is read later on.
func (d *decoder) filePath(to *string, w want) read {
	return d.scalar(w, Schema{Type: "string", MinLength: 1}, func(n *yaml.Node) bool {
		*to = n.Value
		if d.lists.dir != "" {
			var err error
			if *to, err = filepath.Abs(d.lists.path(n.Value)); err != nil {
				return false
			}
		}
		return n.Value != ""
	})
}

func (d *decoder) headers(to *[]Header) read {
	return func(n *yaml.Node, path string) {
		d.dictionary(n, path, wantHeaders, func(name string, n *yaml.Node, path string) {
			h := Header{Name: name}
			d.anyText(&h.Value, wantHeader)(n, path)
			*to = append(*to, h)
		})
	}
}

func (d *decoder) grpc(n *yaml.Node, path string, s *Service) *GRPCCheck {
	g := &GRPCCheck{Port: checkPort(s, TCP)}
	d.mapping(n, path, wantGRPC,
		field{name: "port", read: d.port(&g.Port)},
		field{name: "service", read: text(d, &g.Service, wantGRPCService)},
		field{name: "host", read: text(d, &g.Host, wantHost)},
		field{name: "tls", read: func(n *yaml.Node, path string) {
			g.TLS = &TLS{Verify: true}
			d.mapping(n, path, wantGRPCTLS, d.tls(g.TLS)...)
		}},
	)
	if g.TLS == nil {
		g.Host = cmp.Or(g.Host, vipHost(s))
	} else {
		g.Host = d.names(g.Host, &g.TLS.SNI, s)
	}
	return g
}

// dnsTypes and dnsRCodes are what DNS checks may ask for and expect.
var (
	dnsTypes  = []string{"A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "SVCB", "TXT"}
	dnsRCodes = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}
)

func (d *decoder) dns(n *yaml.Node, path string, s *Service) *DNSCheck {
	c := &DNSCheck{Type: DefaultDNSType, TCP: defaultTransport(s) == TCP, RCode: DefaultRCode}
	d.mapping(n, path, wantDNS,
		field{name: "name", missing: "write one such as name: www.example.org", read: text(d, &c.Name, wantDNSName)},
		field{name: "type", read: known(d, &c.Type, wantDNSType)},
		field{name: "transport", read: d.either(&c.TCP, wantTransport)},
		field{name: "port", read: d.port(&c.Port)},
		field{name: "rcode", read: known(d, &c.RCode, wantRCode)},
		field{name: "answer", read: text(d, &c.Answer, wantText)},
	)
	if lookup(n, "port") == nil {
		c.Port = checkPort(s, c.transport())
	}
	return c
}

// transport is the protocol of a DNS check.
func (c *DNSCheck) transport() Protocol {
	if c.TCP {
		return TCP
	}
	return UDP
}

// defaultTransport is the way that DNS checks of s go unless told otherwise.
func defaultTransport(s *Service) Protocol {
	if slices.Contains(s.Protocols, UDP) {
		return UDP
	}
	return TCP
}

func (d *decoder) udp(n *yaml.Node, path string, s *Service) *UDPCheck {
	c := &UDPCheck{Port: checkPort(s, UDP)}
	plain := func(to *[]byte) read {
		return func(n *yaml.Node, path string) {
			var t string
			text(d, &t, wantText)(n, path)
			*to = []byte(t)
		}
	}
	d.mapping(n, path, wantUDP,
		field{name: "port", read: d.port(&c.Port)},
		field{name: "send", read: plain(&c.Send)},
		field{name: "send_hex", read: d.bytes(&c.Send)},
		field{name: "expect", read: plain(&c.Expect)},
		field{name: "expect_hex", read: d.bytes(&c.Expect)},
	)
	d.exactlyOne(n, path, "what to send", "write send: ping, or bytes such as send_hex: \"0a0b\"", []string{"send", "send_hex"})
	d.atMostOne(n, path, "expect", "expect_hex")
	return c
}

func (d *decoder) exec(n *yaml.Node, path string) *ExecCheck {
	c := &ExecCheck{}
	d.mapping(n, path, wantExec, field{name: "command", missing: wantCommand.remedy, read: func(n *yaml.Node, path string) {
		d.list(n, path, wantCommand, func(n *yaml.Node, path string) {
			var word string
			d.anyText(&word, wantText)(n, path)
			c.Command = append(c.Command, word)
		})
	}})
	return c
}

func (d *decoder) passive(n *yaml.Node, path string) *Passive {
	p := defaultPassive()
	d.mapping(n, path, wantPassive,
		field{name: "suspect_below", read: d.number(&p.SuspectBelow, wantPercent)},
		field{name: "min_connections", read: d.number(&p.MinConnections, wantMinimum)},
		field{name: "eject", read: d.boolean(&p.Eject)},
		field{name: "max_ejected", read: d.number(&p.MaxEjected, wantPercent)},
		field{name: "eject_for", read: d.duration(&p.EjectFor)},
	)
	return &p
}

func defaultPassive() Passive {
	return Passive{
		SuspectBelow: DefaultSuspectBelow, MinConnections: DefaultMinConnections,
		MaxEjected: DefaultMaxEjected, EjectFor: DefaultEjectFor,
	}
}
