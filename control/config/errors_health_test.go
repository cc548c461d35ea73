package config

import (
	"strings"
	"testing"
)

func TestBadChecksAreRefused(t *testing.T) {
	const at = "xlb.yaml:7:"
	health := func(text string) string { return service("    backends", "    health: "+text+"\n    backends") }
	kind := func(text string) string { return health("{" + text + "}") }
	udp := func(text string) string {
		return service("port: 80", "port: 53\n    protocol: udp\n    health: {"+text+"}")
	}
	refused(t, map[string]example{
		"three kinds":       {kind("http: {}, tcp: {}, exec: {}"), at + "13: services[0].health: both http and tcp are given: keep one of them\n" + at + "39: services[0].health.exec.command: the field is missing: write a list of an absolute path and arguments, such as [/usr/lib/xlb/check, --fast]"},
		"misspelt kind":     {kind("htpps: {}"), at + "14: services[0].health.htpps: unknown field: write https; the fields here are http, https, tcp, tls, grpc, dns, udp, icmp, exec, target, interval, fast_interval, timeout, rise, fall, passive"},
		"bad target":        {kind("tcp: {}, target: backend"), at + `31: services[0].health.target: "backend" is not a target: write vip or address`},
		"slow fast checks":  {kind("tcp: {}, interval: 1s, fast_interval: 2s"), at + "52: services[0].health.fast_interval: 2s is longer than the interval, 1s: write less, or remove it"},
		"fast checks":       {kind("tcp: {}, fast_interval: 49ms"), at + "38: services[0].health.fast_interval: 49ms is too short: write at least 50ms"},
		"duration of 0":     {kind("tcp: {}, fast_interval: 0"), at + "38: services[0].health.fast_interval: 0 is not a duration: write a number with its unit such as 2s or 500ms"},
		"ICMP with fields":  {kind("icmp: {size: 56}"), at + "21: services[0].health.icmp.size: unknown field: remove it; there are no fields here"},
		"https on UDP":      {udp("https: {host: a.example}"), at + "21: services[0].health.https.port: the service is UDP, so a check over TCP needs a port of its own: write port: 8080 or alike in the check"},
		"UDP check of TCP":  {kind("udp: {send: a}"), at + "19: services[0].health.udp.port: the service is TCP, so a check over UDP needs a port of its own: write port: 8080 or alike in the check"},
		"DNS by the other":  {udp("dns: {name: a, transport: tcp}"), at + "19: services[0].health.dns.port: the service is UDP, so a check over TCP needs a port of its own: write port: 8080 or alike in the check"},
		"body unseen":       {kind(`http: {body: "a\x00"}`), at + `27: services[0].health.http.body: "a\x00" is not a text: write characters that can be seen`},
		"long body":         {kind("http: {body: " + strings.Repeat("a", 1025) + "}"), at + "27: services[0].health.http.body: 1025 bytes are not 0 to 1024: write another text"},
		"bad method":        {kind("http: {method: POST}"), at + `29: services[0].health.http.method: "POST" is not a method: write GET or HEAD`},
		"body of a HEAD":    {kind("http: {method: HEAD, body: ok}"), at + "29: services[0].health.http.method: the answer to a HEAD has no body to look into: write method: GET, or remove body and body_matches"},
		"bad pattern":       {kind(`http: {body_matches: '(a'}`), at + `35: services[0].health.http.body_matches: "(a" is not a regular expression: write one that re2 knows, in single quotes`},
		"host as header":    {kind("http: {request_headers: {HOST: a.example}}"), at + "45: services[0].health.http.request_headers.HOST: the host has a field of its own: write host: a.example"},
		"framing":           {kind("http: {request_headers: {Content-Length: '5'}}"), at + "55: services[0].health.http.request_headers.Content-Length: the check makes this header field itself: remove it"},
		"header with space": {kind("http: {response_headers: {a b: c}}"), at + `39: services[0].health.http.response_headers: "a b" is not the name of a header field: write up to 64 letters, digits, '-' and '_'`},
		"header twice":      {kind("http: {response_headers: {a: b, a: c}}"), at + "46: services[0].health.http.response_headers.a: the field is given twice, first in line 7: keep one of them"},
		"header in two cases": {kind("http: {response_headers: {a: b, A: c}}"),
			at + "49: services[0].health.http.response_headers.A: the header field is given twice, and its letters' case means nothing: keep one of them"},
		"header of lines": {kind(`http: {response_headers: {a: "b\nc"}}`), at + `43: services[0].health.http.response_headers.a: "b\nc" is not the value of a header field: write a text of printable ASCII in quotes`},
		"headers in list": {kind("http: {request_headers: [a]}"), at + "38: services[0].health.http.request_headers: a list is not a mapping of header fields: write one such as {X-Health: ready}"},

		// TLS.
		"SNI of http":           {kind("http: {sni: a.example}"), at + "21: services[0].health.http.sni: unknown field: remove it; the fields here are method, path, port, host, status, body, body_matches, request_headers, response_headers, http2"},
		"nameless certificate":  {kind("https: {}"), at + "21: services[0].health.https.sni: a certificate is verified, but the name that it should have is missing: write the name of clients, such as sni: www.example.org, or verify: false"},
		"address for name":      {kind("https: {host: '192.0.2.9:443'}"), at + "21: services[0].health.https.sni: a certificate is verified, but the name that it should have is missing: write the name of clients, such as sni: www.example.org, or verify: false"},
		"SNI with port":         {kind("tls: {sni: 'a.example:443'}"), at + `25: services[0].health.tls.sni: "a.example:443" is not a host name: write one such as example.org`},
		"SNI that is none":      {kind("tls: {sni: 192.0.2.9}"), at + `25: services[0].health.tls.sni: "192.0.2.9" is not a host name: write one such as example.org`},
		"relative CA":           {kind("tls: {sni: a, ca_file: ca.pem}"), at + `37: services[0].health.tls.ca_file: "ca.pem" is not an absolute path: write one such as /etc/xlb/ca.pem`},
		"CA for nothing":        {kind("tls: {verify: false, ca_file: /ca.pem}"), at + "44: services[0].health.tls.ca_file: nothing is verified: write verify: true, or remove ca_file"},
		"nameless TLS of gRPC":  {kind("grpc: {tls: {}}"), at + "26: services[0].health.grpc.tls.sni: a certificate is verified, but the name that it should have is missing: write the name of clients, such as sni: www.example.org, or verify: false"},
		"gRPC service in words": {kind("grpc: {service: my service}"), at + `30: services[0].health.grpc.service: "my service" is not the name of a service: write one such as helloworld.Greeter, or remove it for the whole server`},

		// DNS, UDP, programs.
		"DNS without name":  {udp("dns: {}"), at + "19: services[0].health.dns.name: the field is missing: write one such as name: www.example.org"},
		"dot at the end":    {udp("dns: {name: a.example.}"), at + `26: services[0].health.dns.name: "a.example." is not a DNS name: write one such as www.example.org, or . for the root`},
		"DNS type ANY":      {udp("dns: {name: a, type: ANY}"), at + `35: services[0].health.dns.type: "ANY" is not a type of DNS records: write A, AAAA, CAA, CNAME, HTTPS, MX, NS, PTR, SOA, SRV, SVCB, TXT`},
		"rcode by number":   {udp("dns: {name: a, rcode: 0}"), at + `36: services[0].health.dns.rcode: "0" is not a DNS response code: write NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED`},
		"nothing to send":   {udp("udp: {expect: a}"), at + `19: services[0].health.udp: what to send is missing: write send: ping, or bytes such as send_hex: "0a0b"`},
		"sent twice":        {udp("udp: {send: a, send_hex: '00'}"), at + "19: services[0].health.udp: both send and send_hex are given: keep one of them"},
		"expected twice":    {udp("udp: {send: a, expect: a, expect_hex: '00'}"), at + "19: services[0].health.udp: both expect and expect_hex are given: keep one of them"},
		"odd digits":        {udp("udp: {send_hex: '000'}"), at + `30: services[0].health.udp.send_hex: "000" is not bytes in hexadecimal: write them in quotes, such as "0a0b0c0d"`},
		"programs":          {kind("exec: {command: [/bin/true]}"), at + "20: services[0].health.exec: checks may not run programs on this node: write health: {allow_exec: true} into the node's settings, or choose another check"},
		"program by name":   {"health: {allow_exec: true}\n" + kind("exec: {command: ['true']}"), "xlb.yaml:8:30: services[0].health.exec.command: the command does not begin with an absolute path: " + wantCommand.remedy},
		"no program":        {"health: {allow_exec: true}\n" + kind("exec: {command: []}"), "xlb.yaml:8:30: services[0].health.exec.command: the command does not begin with an absolute path: " + wantCommand.remedy},
		"program as text":   {"health: {allow_exec: true}\n" + kind("exec: {command: /bin/true}"), `xlb.yaml:8:30: services[0].health.exec.command: "/bin/true" is not a command: ` + wantCommand.remedy},
		"passive UDP":       {udp("icmp: {}, passive: {}"), at + "33: services[0].health.passive: the service has no TCP, and UDP has no handshakes to watch: remove it"},
		"passive in words":  {kind("tcp: {}, passive: true"), at + `32: services[0].health.passive: "true" is not a mapping: write passive: {} or passive: {eject: true}`},
		"all ejected":       {kind("tcp: {}, passive: {max_ejected: 101}"), at + "46: services[0].health.passive.max_ejected: 101 is not a percentage: write 1 to 100"},
		"ejected for a day": {kind("tcp: {}, passive: {eject_for: 25h}"), at + "44: services[0].health.passive.eject_for: 25h is too long: write at most 24h"},
	})
}

func TestBadDiscoveryIsRefused(t *testing.T) {
	const at = "xlb.yaml:7:"
	found := func(text string) string { return service("backends: [{address: 10.1.0.1}]", "discover: "+text) }
	both := func(text string) string {
		return service("    backends", "    discover: "+text+"\n    backends", "{address: 10.1.0.1}", "{address: 10.1.0.1, name: one}")
	}
	refused(t, map[string]example{
		"neither":           {service("    backends: [{address: 10.1.0.1}]\n", ""), "xlb.yaml:3:5: services[0].backends: the field is missing: write backends: [{address: 10.1.0.1}]"},
		"no source":         {found("{allow_empty: true}"), at + "15: services[0].discover: the source of backends is missing: " + wantDiscover.remedy},
		"two sources":       {found("{file: /f, dns: {name: a}}"), at + "15: services[0].discover: both dns and file are given: keep one of them"},
		"as text":           {found("dns"), at + `15: services[0].discover: "dns" is not a mapping: ` + wantDiscover.remedy},
		"relative file":     {found("{file: b.yaml}"), at + `22: services[0].discover.file: "b.yaml" is not an absolute path: write one such as /etc/xlb/backends.yaml`},
		"weight":            {found("{file: /f, weight: 0}"), at + "34: services[0].discover.weight: 0 is not a weight: write 1 to 1000"},
		"name with port":    {found("{dns: {name: 'a.example:80'}}"), at + `28: services[0].discover.dns.name: "a.example:80" is not a DNS name: write one such as www.example.org`},
		"type MX":           {found("{dns: {name: a, type: MX}}"), at + `37: services[0].discover.dns.type: "MX" is not a type of DNS records: write A, AAAA or SRV`},
		"port of addresses": {found("{dns: {name: a, port: 80}}"), at + "37: services[0].discover.dns.port: only SRV records name ports: write type: SRV, or remove port"},
		"server by name":    {found("{dns: {name: a, server: ns.example}}"), at + `39: services[0].discover.dns.server: "ns.example" is not the address of a DNS server: write one such as 10.0.0.53 or "10.0.0.53:53"`},
		"hasty":             {found("{dns: {name: a, min_ttl: 999ms}}"), at + "40: services[0].discover.dns.min_ttl: 999ms is too short: write at least 1s"},
		"most below least":  {found("{dns: {name: a, max_ttl: 4s}}"), at + "40: services[0].discover.dns.max_ttl: 4s is shorter than min_ttl, 5s: write more, or less for min_ttl"},
		"IPv6 for l2": {strings.Replace(found("{dns: {name: a, type: AAAA}}"), "ipip", "l2", 1),
			at + "37: services[0].discover.dns.type: AAAA records are not of the VIP's family, and l2 changes no packet's family: write A, or forward through a tunnel such as ipip"},
		"no number":          {found("{replicas: {address: 10.2.0.1, count: 2}}"), at + `36: services[0].discover.replicas.address: "10.2.0.1" is not a text with {n} for the number: write one such as "10.1.0.{n}", in quotes`},
		"no number in name":  {found("{replicas: {address: '10.2.0.{n}', name: a, count: 2}}"), at + `56: services[0].discover.replicas.name: "a" is not a text with {n} for the number: write one such as "10.1.0.{n}", in quotes`},
		"beyond an address":  {found("{replicas: {address: '10.2.0.{n}', count: 256}}"), at + `36: services[0].discover.replicas.address: replica 256 would have "10.2.0.256", which is not an IP address: write one such as "10.1.0.{n}", in quotes`},
		"host name":          {found("{replicas: {address: 'web-{n}', count: 2}}"), at + `36: services[0].discover.replicas.address: replica 1 would have "web-1", which is not an IP address: write one such as "10.1.0.{n}", in quotes`},
		"capital name":       {found("{replicas: {address: '10.2.0.{n}', name: 'W{n}', count: 2}}"), at + `56: services[0].discover.replicas.name: "W1" is not a name: write up to 63 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit`},
		"replica is VIP":     {found("{replicas: {address: '192.0.2.{n}', count: 20}}"), at + "36: services[0].discover.replicas.address: 192.0.2.10 is the VIP of the service itself: write the backend's own address"},
		"replica is listed":  {both("{replicas: {address: '10.1.0.{n}', count: 2}}"), at + "36: services[0].discover.replicas.address: 10.1.0.1 is already backends[0] of this service: keep one of them"},
		"replica has a name": {strings.Replace(both("{replicas: {address: '10.2.0.{n}', name: 'on{n}', first: 0, count: 2}}"), "name: one", "name: on1", 1), at + "56: services[0].discover.replicas.name: on1 is already the name of backends[0] of this service: give each its own name"},
		"too many replicas":  {found("{replicas: {address: '10.2.0.{n}', count: 16385}}"), at + "57: services[0].discover.replicas.count: 16385 is not a number of backends: write 1 to 16384"},
		"too many with others": {"limits: {backends: 2}\n" + both("{replicas: {address: '10.2.0.{n}', count: 2}}"),
			"xlb.yaml:9:15: services[0].backends: up to here there are 3 backends, and limits.backends is 2: raise limits.backends"},
		"found for QUIC": {strings.Replace(found("{dns: {name: a}}"), "port: 80", "port: 80\n    protocol: udp\n    quic: {server_id_length: 1}", 1),
			"xlb.yaml:9:15: services[0].discover: the service routes by server ID, and backends that are found this way have none: write discover: {file: backends.yaml}, or remove quic"},
	})
}
