package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const (
	maxText    = 1024 // bytes of a text that a check sends or expects
	maxCommand = 64   // words
	maxHeaders = 32
)

func (v *validator) health(path string, s *Service) {
	h := s.Health
	v.kind(path, s)
	v.oneOf(path+".target", string(h.Target), wantTarget)
	if h.Interval < MinInterval {
		v.fail(path+".interval", fmt.Sprintf("%s is too short an interval", h.Interval), fmt.Sprintf("write at least %s", MinInterval))
	} else if h.FastInterval > h.Interval {
		v.fail(path+".fast_interval", fmt.Sprintf("%s is longer than the interval, %s", spanText(h.FastInterval), spanText(h.Interval)), "write less, or remove it")
	} else {
		v.lasting(path+".fast_interval", h.FastInterval, MinInterval, h.Interval)
	}
	switch {
	case h.Timeout <= 0:
		v.fail(path+".timeout", fmt.Sprintf("%s leaves no time to answer", h.Timeout), "write one such as 1s")
	case h.Timeout > MaxTimeout:
		v.fail(path+".timeout", fmt.Sprintf("%s is too long", h.Timeout), fmt.Sprintf("write at most %s", MaxTimeout))
	}
	v.between(path+".rise", h.Rise, wantCount)
	v.between(path+".fall", h.Fall, wantCount)
	if h.Passive != nil {
		v.passive(path+".passive", h.Passive, s)
	}
}

// kind checks that there is one check, and that one.
func (v *validator) kind(path string, s *Service) {
	h, kinds := s.Health, 0
	if h.HTTP != nil {
		kinds++
		at := path + ".http"
		if h.HTTP.TLS != nil {
			at += "s"
			v.tls(at, *h.HTTP.TLS, h.HTTP.Host)
		}
		v.http(at, h.HTTP, s)
		v.probePort(at+".port", h.HTTP.Port, s, TCP)
	}
	if h.TCP != nil {
		kinds++
		v.probePort(path+".tcp.port", h.TCP.Port, s, TCP)
	}
	if h.TLS != nil {
		kinds++
		v.tls(path+".tls", h.TLS.TLS, "")
		v.probePort(path+".tls.port", h.TLS.Port, s, TCP)
	}
	if h.GRPC != nil {
		kinds++
		v.grpc(path+".grpc", h.GRPC, s)
	}
	if h.DNS != nil {
		kinds++
		v.dns(path+".dns", h.DNS)
		v.probePort(path+".dns.port", h.DNS.Port, s, h.DNS.transport())
	}
	if h.UDP != nil {
		kinds++
		v.probePort(path+".udp.port", h.UDP.Port, s, UDP)
		v.message(path+".udp.send", h.UDP.Send, 1)
		v.message(path+".udp.expect", h.UDP.Expect, 0)
	}
	if h.ICMP != nil {
		kinds++
	}
	if h.Exec != nil {
		kinds++
		v.exec(path+".exec", h.Exec)
	}
	v.one(kinds, path, "kind of check", missingKind, checkKinds)
}

// one checks that of the kinds of something one is given.
func (v *validator) one(given int, path, what, remedy string, kinds []string) {
	misspelt := func(kind string) bool { return v.unread[join(path, kind)] }
	switch {
	case given > 1:
		v.fail(path, "more than one "+what+" is given", "keep one of them")
	case given == 0 && !slices.ContainsFunc(kinds, misspelt):
		v.fail(path, "the "+what+" is missing", remedy)
	}
}

// probePort checks the port of a health check over a protocol.
func (v *validator) probePort(path string, port uint16, s *Service, over Protocol) {
	const remedy = "write port: 8080 or alike in the check"
	switch {
	case port != 0:
	case len(s.Protocols) > 0 && !slices.Contains(s.Protocols, over):
		v.fail(path, fmt.Sprintf("the service is %s, so a check over %s needs a port of its own",
			strings.ToUpper(string(s.Protocols[0])), strings.ToUpper(string(over))), remedy)
	case len(s.Ports) > 1, len(s.Ports) == 1 && s.Ports[0].First != s.Ports[0].Last:
		v.fail(path, "the service has more than one port, so a check needs a port of its own", remedy)
	case len(s.Ports) == 1 && s.Ports[0].First != 0: // else it is the service's port that is wrong
		v.fail(path, "port 0 is reserved and no check can connect to it", "write 1 to 65535, or remove port")
	}
}

// checkPort is the port that health checks of s over a protocol use unless they
// name their own; 0 if they have to.
func checkPort(s *Service, over Protocol) uint16 {
	if len(s.Ports) != 1 || s.Ports[0].First != s.Ports[0].Last || !slices.Contains(s.Protocols, over) {
		return 0
	}
	return s.Ports[0].First
}

func (v *validator) http(path string, h *HTTPCheck, s *Service) {
	if v.oneOf(path+".method", h.Method, wantMethod) && h.Method == "HEAD" && (h.Body != "" || h.BodyMatches != "") {
		v.fail(path+".method", "the answer to a HEAD has no body to look into", "write method: GET, or remove body and body_matches")
	}
	if !strings.HasPrefix(h.Path, "/") || strings.ContainsFunc(h.Path, odd) || strings.Contains(h.Path, "#") {
		v.fail(path+".path", quote(h.Path)+" is not "+wantPath.what,
			"begin it with / and write no space, # or letter beyond ASCII")
	}
	v.host(path+".host", h.Host, s)
	for i, status := range h.Status {
		if v.full() {
			return
		}
		v.between(fmt.Sprintf("%s.status[%d]", path, i), status, wantStatus)
	}
	v.message(path+".body", []byte(h.Body), 0)
	if !isText([]byte(h.Body)) {
		v.fail(path+".body", quote(h.Body)+" is not "+wantText.what, "write characters that can be seen")
	}
	v.message(path+".body_matches", []byte(h.BodyMatches), 0)
	if _, err := regexp.Compile(h.BodyMatches); err != nil || !isText([]byte(h.BodyMatches)) {
		v.fail(path+".body_matches", quote(h.BodyMatches)+" is not "+wantPattern.what, wantPattern.remedy)
	}
	v.headers(path+".request_headers", h.RequestHeaders, true)
	v.headers(path+".response_headers", h.ResponseHeaders, false)
}

// odd tells the characters that are no visible ASCII.
func odd(r rune) bool { return r <= ' ' || r > unicode.MaxASCII || r == 0x7f }

func (v *validator) host(path, host string, s *Service) {
	notHost := func(r rune) bool { return odd(r) || strings.ContainsRune(`/\@?#"<>`, r) }
	if s.VIP.IsValid() && (host == "" || len(host) > maxHostHeader || strings.ContainsFunc(host, notHost)) {
		v.fail(path, quote(host)+" is not "+wantHost.what, wantHost.remedy)
	}
}

// message checks how long a text is that a check sends or expects.
func (v *validator) message(path string, text []byte, least int) {
	if len(text) < least || len(text) > maxText {
		v.fail(path, fmt.Sprintf("%d bytes are not %d to %d", len(text), least, maxText), "write another text")
	}
}

var headerName = regexp.MustCompile(`^[-A-Za-z0-9_]{1,64}$`)

// framing are the fields that a request's sender makes itself.
var framing = []string{"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "proxy-connection"}

func (v *validator) headers(path string, headers []Header, sent bool) {
	if len(headers) > maxHeaders {
		v.fail(path, fmt.Sprintf("there are %d header fields", len(headers)), fmt.Sprintf("write up to %d", maxHeaders))
		return
	}
	first := make(map[string]bool)
	for _, h := range headers {
		at, name := path+"."+h.Name, strings.ToLower(h.Name)
		switch {
		case !headerName.MatchString(h.Name):
			v.fail(path, quote(h.Name)+" is not the name of a header field", "write up to 64 letters, digits, '-' and '_'")
		case first[name]:
			v.fail(at, "the header field is given twice, and its letters' case means nothing", "keep one of them")
		case sent && name == "host":
			v.fail(at, "the host has a field of its own", "write host: "+h.Value)
		case sent && slices.Contains(framing, name):
			v.fail(at, "the check makes this header field itself", "remove it")
		case len(h.Value) > maxText, strings.TrimSpace(h.Value) != h.Value,
			strings.ContainsFunc(h.Value, func(r rune) bool { return odd(r) && r != ' ' }):
			v.fail(at, quote(h.Value)+" is not "+wantHeader.what, wantHeader.remedy)
		}
		first[name] = true
	}
}

// tls checks how a check speaks TLS to a host.
func (v *validator) tls(path string, o TLS, host string) {
	name := hostName(host)
	switch {
	case o.SNI == "" && name != "":
		v.fail(path+".sni", "the name to ask for is missing", "write sni: "+name)
	case o.SNI == "" && o.Verify:
		v.fail(path+".sni", "a certificate is verified, but the name that it should have is missing",
			"write the name of clients, such as sni: www.example.org, or verify: false")
	case o.SNI != "" && (!dnsName(o.SNI) || hostName(o.SNI) == ""):
		v.fail(path+".sni", quote(o.SNI)+" is not "+wantHost.what, wantHost.remedy)
	}
	switch {
	case o.CAFile == "":
	case !o.Verify:
		v.fail(path+".ca_file", "nothing is verified", "write verify: true, or remove ca_file")
	case !plainPath(o.CAFile):
		v.fail(path+".ca_file", quote(o.CAFile)+" is not an absolute path", "write one such as /etc/xlb/ca.pem")
	}
}

func (v *validator) grpc(path string, g *GRPCCheck, s *Service) {
	v.probePort(path+".port", g.Port, s, TCP)
	if len(g.Service) > maxHostHeader || strings.ContainsFunc(g.Service, odd) {
		v.fail(path+".service", quote(g.Service)+" is not "+wantGRPCService.what, wantGRPCService.remedy)
	}
	v.host(path+".host", g.Host, s)
	if g.TLS != nil {
		v.tls(path+".tls", *g.TLS, g.Host)
	}
}

func (v *validator) dns(path string, c *DNSCheck) {
	if c.Name != "." && !dnsName(c.Name) {
		v.fail(path+".name", quote(c.Name)+" is not "+wantDNSName.what, wantDNSName.remedy+", or . for the root")
	}
	v.oneOf(path+".type", c.Type, wantDNSType)
	v.oneOf(path+".rcode", c.RCode, wantRCode)
	v.message(path+".answer", []byte(c.Answer), 0)
	if !isText([]byte(c.Answer)) {
		v.fail(path+".answer", quote(c.Answer)+" is not "+wantText.what, "write characters that can be seen")
	}
}

var dnsLabel = regexp.MustCompile(`^[a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?$`)

// dnsName reports whether a text is a DNS name without a dot at its end.
func dnsName(s string) bool {
	const maxName = 253
	for label := range strings.SplitSeq(s, ".") {
		if !dnsLabel.MatchString(label) {
			return false
		}
	}
	return len(s) <= maxName
}

func (v *validator) exec(path string, c *ExecCheck) {
	switch {
	case !v.allowExec:
		v.fail(path, "checks may not run programs on this node", "write health: {allow_exec: true} into the node's settings, or choose another check")
	case len(c.Command) == 0 || !plainPath(c.Command[0]):
		v.fail(path+".command", "the command does not begin with an absolute path", wantCommand.remedy)
	case len(c.Command) > maxCommand:
		v.fail(path+".command", fmt.Sprintf("the command has %d words", len(c.Command)), fmt.Sprintf("write up to %d", maxCommand))
	}
	for i, word := range c.Command {
		if len(word) > maxText || !isText([]byte(word)) {
			v.fail(fmt.Sprintf("%s.command[%d]", path, i), quote(word)+" is not "+wantText.what, "write up to 1024 characters that can be seen")
			return
		}
	}
}

func (v *validator) passive(path string, p *Passive, s *Service) {
	if !slices.Contains(s.Protocols, TCP) {
		v.fail(path, "the service has no TCP, and UDP has no handshakes to watch", "remove it")
	}
	v.between(path+".suspect_below", p.SuspectBelow, wantPercent)
	v.between(path+".min_connections", p.MinConnections, wantMinimum)
	v.between(path+".max_ejected", p.MaxEjected, wantPercent)
	v.lasting(path+".eject_for", p.EjectFor, MinFlowLearn, MaxEjectFor)
}
