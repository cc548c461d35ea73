package config

import (
	"bytes"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

func (h *Health) tree(s *Service) *tree {
	t := newMapping()
	switch {
	case h.HTTP != nil && h.HTTP.TLS != nil:
		t.add("https", h.HTTP.tree(s), false)
	case h.HTTP != nil:
		t.add("http", h.HTTP.tree(s), false)
	case h.TCP != nil:
		t.add("tcp", newCheck(h.TCP.Port, checkPort(s, TCP)), false)
	case h.TLS != nil:
		m := newCheck(h.TLS.Port, checkPort(s, TCP))
		h.TLS.TLS.add(m, "")
		t.add("tls", m, false)
	case h.GRPC != nil:
		t.add("grpc", h.GRPC.tree(s), false)
	case h.DNS != nil:
		t.add("dns", h.DNS.tree(s), false)
	case h.UDP != nil:
		m := newCheck(h.UDP.Port, checkPort(s, UDP))
		addBytes(m, "send", h.UDP.Send)
		addBytes(m, "expect", h.UDP.Expect)
		t.add("udp", m, false)
	case h.ICMP != nil:
		t.add("icmp", newMapping(), false)
	case h.Exec != nil:
		m := newMapping()
		command := texts(h.Exec.Command, func(s string) string { return s })
		command.order = true
		m.add("command", command, false)
		t.add("exec", m, false)
	}
	t.put("target", newText(string(h.Target)), newText(string(defaultTarget(h))))
	t.put("interval", span(h.Interval), span(DefaultInterval))
	t.put("fast_interval", span(h.FastInterval), span(fast(h.Interval)))
	t.put("timeout", span(h.Timeout), span(DefaultTimeout))
	t.put("rise", newNumber(h.Rise), newNumber(DefaultRise))
	t.put("fall", newNumber(h.Fall), newNumber(DefaultFall))
	if h.Passive != nil {
		t.add("passive", h.Passive.tree(), false)
	}
	return t
}

// newCheck begins a check with its port, whose default comes from the service.
func newCheck(port, def uint16) *tree {
	t := newMapping()
	t.add("port", newNumber(int(port)), port == def)
	return t
}

func (h *HTTPCheck) tree(s *Service) *tree {
	t := newMapping()
	t.put("method", newText(h.Method), newText(DefaultMethod))
	t.put("path", newText(h.Path), newText(DefaultPath))
	t.add("port", newNumber(int(h.Port)), h.Port == checkPort(s, TCP))
	t.add("host", newText(h.Host), h.Host == vipHost(s) && (h.TLS == nil || h.TLS.SNI == ""))
	if len(h.Status) > 0 {
		statuses := newList()
		for _, status := range h.Status {
			statuses.items = append(statuses.items, newNumber(status))
		}
		t.add("status", oneOrMany(statuses), false)
	}
	if h.Body != "" {
		t.add("body", newText(h.Body), false)
	}
	if h.BodyMatches != "" {
		t.add("body_matches", newText(h.BodyMatches), false)
	}
	addHeaders(t, "request_headers", h.RequestHeaders)
	addHeaders(t, "response_headers", h.ResponseHeaders)
	t.put("http2", truth(h.HTTP2), truth(false))
	if h.TLS != nil {
		h.TLS.add(t, hostName(h.Host))
	}
	return t
}

func addHeaders(t *tree, name string, headers []Header) {
	if len(headers) == 0 {
		return
	}
	m := newMapping()
	for _, h := range headers {
		m.add(h.Name, newText(h.Value), false)
	}
	t.add(name, m, false)
}

// add appends the fields of TLS to those of a check, whose host proposes an SNI.
func (o *TLS) add(t *tree, sni string) {
	if o.SNI != "" {
		t.put("sni", newText(o.SNI), newText(sni))
	}
	t.put("verify", truth(o.Verify), truth(true))
	if o.CAFile != "" {
		t.add("ca_file", newText(o.CAFile), false)
	}
}

func (g *GRPCCheck) tree(s *Service) *tree {
	t := newCheck(g.Port, checkPort(s, TCP))
	if g.Service != "" {
		t.add("service", newText(g.Service), false)
	}
	t.add("host", newText(g.Host), g.Host == vipHost(s) && (g.TLS == nil || g.TLS.SNI == ""))
	if g.TLS != nil {
		m := newMapping()
		g.TLS.add(m, hostName(g.Host))
		t.add("tls", m, false)
	}
	return t
}

func (c *DNSCheck) tree(s *Service) *tree {
	t := newMapping()
	t.add("name", newText(c.Name), false)
	t.put("type", newText(c.Type), newText(DefaultDNSType))
	protocol := defaultTransport(s)
	t.put("transport", either(c.TCP, string(UDP), string(TCP)), newText(string(protocol)))
	t.add("port", newNumber(int(c.Port)), c.Port == checkPort(s, c.transport()))
	t.put("rcode", newText(c.RCode), newText(DefaultRCode))
	if c.Answer != "" {
		t.add("answer", newText(c.Answer), false)
	}
	return t
}

// addBytes appends bytes as a text, or in hexadecimal if they are none.
func addBytes(t *tree, name string, b []byte) {
	switch {
	case len(b) == 0:
	case isText(b):
		t.add(name, newText(string(b)), false)
	default:
		t.add(name+"_hex", newText(hex.EncodeToString(b)), false)
	}
}

// isText reports whether bytes can be shown.
func isText(b []byte) bool {
	odd := func(r rune) bool { return !unicode.IsGraphic(r) && !strings.ContainsRune("\n\r\t", r) }
	return utf8.Valid(b) && !bytes.ContainsFunc(b, odd)
}

func (p *Passive) tree() *tree {
	t := newMapping()
	t.put("suspect_below", newNumber(p.SuspectBelow), newNumber(DefaultSuspectBelow))
	t.put("min_connections", newNumber(p.MinConnections), newNumber(DefaultMinConnections))
	t.put("eject", truth(p.Eject), truth(false))
	t.put("max_ejected", newNumber(p.MaxEjected), newNumber(DefaultMaxEjected))
	t.put("eject_for", span(p.EjectFor), span(DefaultEjectFor))
	return t
}
