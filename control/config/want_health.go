package config

import "strings"

// The kinds of values of health checks and discovery.
var (
	wantHealth      = want{"a mapping", "write health: {http: {path: /healthz}} or {tcp: {}}"}
	wantTarget      = word("a target", "write vip or address", TargetVIP, TargetAddress)
	wantCount       = whole("a number of checks", "write 1 to 100, without quotes", 1, MaxThreshold)
	wantHTTP        = want{"a mapping", "write http: {path: /healthz}"}
	wantHTTPS       = want{"a mapping", "write https: {path: /healthz, host: www.example.org}"}
	wantMethod      = word("a method", "write GET or HEAD", "GET", "HEAD")
	wantPath        = want{"a path", "write one such as /healthz"}
	wantHost        = want{"a host name", "write one such as example.org"}
	wantStatus      = whole("an HTTP status", "write one such as 200, or a list of them", 100, 599)
	wantText        = want{"a text", "write it in quotes"}
	wantPattern     = want{"a regular expression", "write one that re2 knows, in single quotes"}
	wantHeaders     = want{"a mapping of header fields", "write one such as {X-Health: ready}"}
	wantHeader      = want{"the value of a header field", "write a text of printable ASCII in quotes"}
	wantTLS         = want{"a mapping", "write tls: {sni: www.example.org} or tls: {verify: false}"}
	wantCAFile      = want{"the path of a file", "write one such as ca.pem, which holds certificates"}
	wantTCP         = want{"a mapping", "write tcp: {} or tcp: {port: 80}"}
	wantGRPC        = want{"a mapping", "write grpc: {} or grpc: {service: name}"}
	wantGRPCService = want{"the name of a service", "write one such as helloworld.Greeter, or remove it for the whole server"}
	wantGRPCTLS     = want{"a mapping", "write tls: {sni: www.example.org}, or remove it for plain HTTP/2"}
	wantDNS         = want{"a mapping", "write dns: {name: www.example.org}"}
	wantDNSName     = want{"a DNS name", "write one such as www.example.org"}
	wantDNSType     = word("a type of DNS records", "write "+strings.Join(dnsTypes, ", "), dnsTypes...)
	wantTransport   = word("a transport", "write udp or tcp", UDP, TCP) // the second one is true for either
	wantRCode       = word("a DNS response code", "write "+strings.Join(dnsRCodes, ", "), dnsRCodes...)
	wantUDP         = want{"a mapping", "write udp: {send: ping, expect: pong}"}
	wantHex         = want{"bytes in hexadecimal", `write them in quotes, such as "0a0b0c0d"`}
	wantICMPCheck   = want{"a mapping", "write icmp: {}"}
	wantExec        = want{"a mapping", "write exec: {command: [/usr/lib/xlb/check]}"}
	wantCommand     = want{"a command", "write a list of an absolute path and arguments, such as [/usr/lib/xlb/check, --fast]"}
	wantPassive     = want{"a mapping", "write passive: {} or passive: {eject: true}"}
	wantPercent     = whole("a percentage", "write 1 to 100, without quotes and %", 1, 100)
	wantMinimum     = whole("a number of connections", "write a whole number such as 20, without quotes", 1, MaxConnections)

	wantDiscover     = want{"a mapping", "write discover: {dns: {name: web.example.org}}, {file: backends.yaml} or {replicas: {address: \"10.1.0.{n}\", count: 3}}"}
	wantDiscoverDNS  = want{"a mapping", "write dns: {name: web.example.org}"}
	wantRecord       = word("a type of DNS records", "write A, AAAA or SRV", "A", "AAAA", "SRV")
	wantServer       = want{"the address of a DNS server", "write one such as 10.0.0.53 or \"10.0.0.53:53\""}
	wantBackendFile  = want{"the path of a file", "write one such as backends.yaml, which holds a list as backends is written"}
	wantReplicas     = want{"a mapping", "write replicas: {address: \"10.1.0.{n}\", count: 3}"}
	wantTemplate     = want{"a text with {n} for the number", "write one such as \"10.1.0.{n}\", in quotes"}
	wantFirst        = whole("a number", "write a whole number such as 1, without quotes", 0, MaxBackends)
	wantReplicaCount = whole("a number of backends", "write a whole number such as 3, without quotes", 1, MaxBackends)
)
