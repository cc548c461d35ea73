package config

import (
	"fmt"
	"strings"
	"testing"
)

// more is the file of service with further services behind, each a flow mapping
// of the fields that differ from one at 192.0.2.10 over TCP.
func more(services ...string) string {
	text := service()
	for i, s := range services {
		for _, field := range []string{"vip: 192.0.2.10", "forward: l2", "port: 80"} {
			if name, _, _ := strings.Cut(field, ":"); !strings.Contains(s, name+":") {
				s += ", " + field
			}
		}
		text += fmt.Sprintf("  - {name: s%d, backends: [{address: 10.1.0.1}], %s}\n", i+1, s)
	}
	return text
}

func TestBadServiceSettingsAreRefused(t *testing.T) {
	with := func(text string) string { return service("forward: ipip", text+"\n    forward: ipip") }
	udp := func(text string) string { return with("protocol: udp\n    " + text) }
	refused(t, map[string]example{
		// VIPs.
		"VIP with host bits":     {service("192.0.2.10", "192.0.2.10/24"), "xlb.yaml:4:10: services[0].vip: 192.0.2.10/24 has bits set behind its length: write 192.0.2.0/24, or 192.0.2.10 for the one address"},
		"VIP of everything":      {service("192.0.2.10", "0.0.0.0/0"), "xlb.yaml:4:10: services[0].vip: 0.0.0.0/0 overlaps the unspecified addresses, 0.0.0.0/8: write a prefix of unicast addresses"},
		"VIP of all IPv6":        {service("192.0.2.10", "::/0"), "xlb.yaml:4:10: services[0].vip: ::/0 overlaps the unspecified address, ::: write a prefix of unicast addresses"},
		"VIP around loopback":    {service("192.0.2.10", "126.0.0.0/7"), "xlb.yaml:4:10: services[0].vip: 126.0.0.0/7 overlaps the loopback addresses, 127.0.0.0/8: write a prefix of unicast addresses"},
		"IPv6 multicast VIP":     {service("192.0.2.10", "ff02::1"), "xlb.yaml:4:10: services[0].vip: ff02::1 is one of the multicast addresses, ff00::/8: write the unicast address of a machine, such as 10.1.0.1"},
		"mapped VIP":             {service("192.0.2.10", "'::ffff:192.0.2.10'"), "xlb.yaml:4:10: services[0].vip: ::ffff:192.0.2.10 is IPv4 written as IPv6: write 192.0.2.10"},
		"backend in VIP":         {service("192.0.2.10", "10.1.0.0/24"), "xlb.yaml:7:26: services[0].backends[0].address: 10.1.0.1 is in the VIP of the service itself, 10.1.0.0/24: write the backend's own address"},
		"IPv6 backend of l2":     {service("ipip", "l2", "10.1.0.1", "2001:db8::1"), "xlb.yaml:7:26: services[0].backends[0].address: 2001:db8::1 is IPv6 and the VIP is not, and l2 changes no packet's family: write an IPv4 address, or forward through a tunnel such as ipip"},
		"IPv4 backend of l2":     {service("ipip", "l2", "192.0.2.10", "2001:db8::1"), "xlb.yaml:7:26: services[0].backends[0].address: 10.1.0.1 is IPv4 and the VIP is not, and l2 changes no packet's family: write an IPv6 address, or forward through a tunnel such as ipip"},
		"link-local backend":     {service("10.1.0.1", "fe80::1"), "xlb.yaml:7:26: services[0].backends[0].address: fe80::1 is one of the link-local addresses, fe80::/10: write the unicast address of a machine, such as 10.1.0.1"},
		"MAC of many as backend": {service("10.1.0.1", "10.1.0.1, mac: ff:ff:ff:ff:ff:ff"), `xlb.yaml:7:41: services[0].backends[0].mac: ff:ff:ff:ff:ff:ff is an address of a group: write one such as "02:00:00:00:00:01"`},

		// Ports and protocols.
		"port 0 in a list":     {service("port: 80", "port: [80, 0]"), "xlb.yaml:5:16: services[0].port[1]: port 0 is reserved and no client can connect to it: write 1 to 65535"},
		"port 0 alone":         {service("port: 80", "port: [0]"), "xlb.yaml:5:11: services[0].port: port 0 is reserved and no client can connect to it: write 1 to 65535"},
		"range from 0":         {service("port: 80", "port: 0-80"), `xlb.yaml:5:11: services[0].port: "0-80" is not a port: ` + wantPorts.remedy},
		"range too far":        {service("port: 80", "port: 1-65536"), `xlb.yaml:5:11: services[0].port: "1-65536" is not a port: ` + wantPorts.remedy},
		"range backwards":      {service("port: 80", "port: 90-80"), "xlb.yaml:5:11: services[0].port: 90-80 runs backwards: write 80-90"},
		"no ports":             {service("port: 80", "port: []"), "xlb.yaml:5:11: services[0].port: a list is not a port: " + wantPorts.remedy},
		"port twice":           {service("port: 80", "port: [80, 443, 80]"), "xlb.yaml:5:21: services[0].port[2]: 80 overlaps 80 of the same service: write each port once"},
		"port in a range":      {service("port: 80", "port: [85, 8000, 80-90, 443, 87]"), "xlb.yaml:5:22: services[0].port[2]: 80-90 overlaps 85 of the same service: write each port once\nxlb.yaml:5:34: services[0].port[4]: 87 overlaps 80-90 of the same service: write each port once"},
		"any and more":         {service("port: 80", "port: [any, 80]"), "xlb.yaml:5:17: services[0].port[1]: 80 overlaps any of the same service: write each port once"},
		"protocol of both":     {with("protocol: any"), `xlb.yaml:6:15: services[0].protocol: "any" is not a protocol: write tcp, udp or [tcp, udp]`},
		"protocol twice":       {with("protocol: [tcp, tcp]"), `xlb.yaml:6:21: services[0].protocol[1]: "tcp" is given twice: keep one of them`},
		"protocol in a list":   {with("protocol: [sctp]"), `xlb.yaml:6:15: services[0].protocol: "sctp" is not a protocol: write tcp, udp or [tcp, udp]`},
		"no protocol":          {with("protocol: []"), "xlb.yaml:6:15: services[0].protocol: a list is not a protocol: write tcp, udp or [tcp, udp]"},
		"GUE port without GUE": {with("gue: {port: 6081}"), "xlb.yaml:6:10: services[0].gue: the service does not forward by gue: write forward: gue, or remove it"},
		"GUE without port":     {service("ipip", "gue\n    gue: {}"), "xlb.yaml:7:10: services[0].gue.port: the field is missing: write one such as port: 6080"},
		"GUE on port 0":        {service("ipip", "gue\n    gue: {port: 0}"), "xlb.yaml:7:17: services[0].gue.port: port 0 is reserved and no tunnel can end there: write 1 to 65535"},

		// Affinity, filter, limits, MSS.
		"affinity by address":  {with("affinity: address"), `xlb.yaml:6:15: services[0].affinity: "address" is not an affinity: write flow, source or {source_prefix: 24}`},
		"affinity list":        {with("affinity: [source]"), "xlb.yaml:6:15: services[0].affinity: a list is not an affinity: write flow, source or {source_prefix: 24}"},
		"affinity of nothing":  {with("affinity: {}"), "xlb.yaml:6:15: services[0].affinity.source_prefix: the field is missing: write affinity: flow, source or {source_prefix: 24}"},
		"long source prefix":   {with("affinity: {source_prefix: 33}"), "xlb.yaml:6:31: services[0].affinity.source_prefix: 33 is not the length of a prefix of IPv4: write 0 to 32"},
		"slash in prefix":      {with("affinity: {source_prefix: /24}"), `xlb.yaml:6:31: services[0].affinity.source_prefix: "/24" is not the length of a prefix: write a whole number such as 24, without quotes`},
		"empty filter":         {with("filter: {default: deny}"), "xlb.yaml:6:13: services[0].filter: the filter has neither allow nor deny: " + wantFilter.remedy},
		"misspelt allow":       {with("filter: {alow: [10.0.0.0/8]}"), "xlb.yaml:6:14: services[0].filter.alow: unknown field: write allow; the fields here are allow, allow_file, deny, deny_file, default"},
		"bad default":          {with("filter: {deny: [10.0.0.0/8], default: drop}"), `xlb.yaml:6:43: services[0].filter.default: "drop" is not a treatment of other sources: write allow or deny`},
		"prefix in both":       {with("filter: {deny: [10.1.0.0/16, 10.0.0.1], allow: [10.0.0.1/32]}"), "xlb.yaml:6:34: services[0].filter.deny[1]: 10.0.0.1 is allowed as well in line 6: keep one of them"},
		"rules of all filters": {"limits: {rules: 2}\n" + with("filter: {deny: [10.0.0.1, 10.0.0.2], allow: [10.0.0.0/8]}"), "xlb.yaml:7:13: services[0].filter: up to here there are 3 source prefixes, and limits.rules is 2: raise limits.rules"},
		"rate alone":           {with("limits: {packets: 100}"), "xlb.yaml:6:23: services[0].limits.packets: 100 is not a mapping: write one such as {rate: 100, burst: 10}"},
		"rate missing":         {with("limits: {packets: {burst: 1}}"), "xlb.yaml:6:23: services[0].limits.packets.rate: the field is missing: write a number per second, such as rate: 100"},
		"rate of 0":            {with("limits: {packets: {rate: 0}}"), "xlb.yaml:6:30: services[0].limits.packets.rate: 0 is not a number per second: write 1 to 1000000000"},
		"burst of 0":           {with("limits: {packets: {rate: 1, burst: 0}}"), "xlb.yaml:6:40: services[0].limits.packets.burst: 0 is not a number at once: write 1 to 1000000000"},
		"connections of UDP":   {udp("limits: {new_connections_per_source: {rate: 1}}"), "xlb.yaml:7:42: services[0].limits.new_connections_per_source: the service has no TCP, and UDP has no connections: remove it"},
		"small MSS":            {with("mss: 87"), "xlb.yaml:6:10: services[0].mss: 87 is not a segment size: write 88 to 65535, without quotes"},
		"MSS of 0":             {with("mss: 0"), "xlb.yaml:6:10: services[0].mss: 0 is not a segment size: write 88 to 65535, without quotes"},
		"MSS of UDP":           {udp("mss: 1400"), "xlb.yaml:7:10: services[0].mss: the service has no TCP, and UDP has no segments: remove it"},

		// QUIC.
		"QUIC of TCP":          {service("forward: ipip", "quic: {server_id_length: 1}\n    forward: ipip", "10.1.0.1", "10.1.0.1, server_id: '01'"), "xlb.yaml:6:11: services[0].quic: the service has no UDP, and QUIC needs it: write protocol: udp, or remove it"},
		"no length":            {udp("quic: {config_rotation: 1}"), "xlb.yaml:7:11: services[0].quic.server_id_length: the field is missing: write one such as server_id_length: 4"},
		"length of 9":          {udp("quic: {server_id_length: 9}"), "xlb.yaml:7:30: services[0].quic.server_id_length: 9 is not a length of server IDs: write 1 to 8, without quotes"},
		"rotation of 7":        {udp("quic: {server_id_length: 1, config_rotation: 7}"), "xlb.yaml:7:50: services[0].quic.config_rotation: 7 is not a config rotation: write 0 to 6 without quotes, or a list of them"},
		"rotation twice":       {udp("quic: {server_id_length: 1, config_rotation: [1, 2, 1]}"), "xlb.yaml:7:57: services[0].quic.config_rotation[2]: config rotation 1 is given twice: keep one of them\nxlb.yaml:9:16: services[0].backends[0].server_id: the server ID is missing, and the service routes by it: write one of 2 hexadecimal digits"},
		"server ID missing":    {udp("quic: {server_id_length: 4}"), "xlb.yaml:9:16: services[0].backends[0].server_id: the server ID is missing, and the service routes by it: write one of 8 hexadecimal digits"},
		"odd server ID":        {service("10.1.0.1", "10.1.0.1, server_id: '012'"), `xlb.yaml:7:47: services[0].backends[0].server_id: "012" is not a server ID: ` + wantServerID.remedy},
		"long server ID":       {service("10.1.0.1", "10.1.0.1, server_id: 010203040506070809"), `xlb.yaml:7:47: services[0].backends[0].server_id: "010203040506070809" is not a server ID: ` + wantServerID.remedy},
		"IDs of two lengths":   {service("forward: ipip", "protocol: udp\n    quic: {server_id_length: 2}\n    forward: ipip", "{address: 10.1.0.1}", "{address: 10.1.0.1, server_id: '0102'}, {address: 10.1.0.2, server_id: '01'}"), "xlb.yaml:9:87: services[0].backends[1].server_id: 01 does not have the 2 bytes of quic.server_id_length: write 4 hexadecimal digits"},
		"ID of two backends":   {service("forward: ipip", "protocol: udp\n    quic: {server_id_length: 1}\n    forward: ipip", "{address: 10.1.0.1}", "{address: 10.1.0.1, server_id: '0a'}, {address: 10.1.0.2, server_id: '0A'}"), "xlb.yaml:9:85: services[0].backends[1].server_id: 0a is already the server ID of backends[0] of this service: give each its own"},
		"more IDs than places": {"limits: {server_ids: 1}\n" + service("forward: ipip", "protocol: udp\n    quic: {server_id_length: 1, config_rotation: [1, 2]}\n    forward: ipip", "10.1.0.1", "10.1.0.1, server_id: '01'"), "xlb.yaml:8:11: services[0].quic: up to here there are 2 server IDs, and limits.server_ids is 1: raise limits.server_ids"},

		// Connections.
		"tracking":   {with("tracking: sometimes"), `xlb.yaml:6:15: services[0].tracking: "sometimes" is not a way of tracking: write change, always or never`},
		"slow start": {with("slow_start: 61m"), "xlb.yaml:6:17: services[0].slow_start: 1h1m is too long: write at most 1h"},
		"backwards":  {with("slow_start: -1s"), "xlb.yaml:6:17: services[0].slow_start: -1s is too short: write at least 0s"},
		"panic":      {with("panic: 101"), "xlb.yaml:6:12: services[0].panic: 101 is not a percentage: write 0 to 100"},
		"panic in %": {with("panic: 30%"), `xlb.yaml:6:12: services[0].panic: "30%" is not a percentage: write 0 to 100, without quotes and %`},

		// Health.
		"check of a list":  {service("port: 80", "port: [80, 443]\n    health: {tcp: {}}"), "xlb.yaml:6:19: services[0].health.tcp.port: the service has more than one port, so a check needs a port of its own: write port: 8080 or alike in the check"},
		"check of a range": {service("port: 80", "port: 80-81\n    health: {http: {}}"), "xlb.yaml:6:20: services[0].health.http.port: the service has more than one port, so a check needs a port of its own: write port: 8080 or alike in the check"},
		"check of any":     {service("port: 80", "port: any\n    health: {http: {}}"), "xlb.yaml:6:20: services[0].health.http.port: the service has more than one port, so a check needs a port of its own: write port: 8080 or alike in the check"},
	})
}

func TestServicesInEachOthersWayAreRefusedWithBothPlaces(t *testing.T) {
	const (
		yours = ": change vip, port or protocol, or give the backends to that service"
		cross = ": keep them apart, or put one within the other: the narrower one wins"
	)
	refused(t, map[string]example{
		"one of many ports":      {more("port: [443, 80]"), "xlb.yaml:8:61: services[1].port[1]: 192.0.2.10:80/tcp already belongs to service web in line 3" + yours},
		"one of both protocols":  {more("protocol: [udp, tcp]"), "xlb.yaml:8:107: services[1].port: 192.0.2.10:80/tcp already belongs to service web in line 3" + yours},
		"the same range":         {more("port: 8000-8999", "port: [1, 8000-8999]"), "xlb.yaml:9:59: services[2].port[1]: 192.0.2.10:8000-8999/tcp already belongs to service s1 in line 8" + yours},
		"any twice":              {more("port: any", "port: any"), "xlb.yaml:9:55: services[2].port: 192.0.2.10:any/tcp already belongs to service s1 in line 8" + yours},
		"the same three times":   {more("port: 80", "port: 80"), "xlb.yaml:8:55: services[1].port: 192.0.2.10:80/tcp already belongs to service web in line 3" + yours + "\nxlb.yaml:9:55: services[2].port: 192.0.2.10:80/tcp already belongs to service web in line 3" + yours},
		"crossing":               {more("port: 8500-9500", "port: 8000-9000"), "xlb.yaml:9:55: services[2].port: 192.0.2.10:8000-9000/tcp partly overlaps 8500-9500 of service s1 in line 8" + cross},
		"touching":               {more("port: 8000-9000", "port: 9000-9001"), "xlb.yaml:9:55: services[2].port: 192.0.2.10:9000-9001/tcp partly overlaps 8000-9000 of service s1 in line 8" + cross},
		"crossing behind a port": {more("port: 8000-9000", "port: 8100-8200", "port: 8500-9500"), "xlb.yaml:10:55: services[3].port: 192.0.2.10:8500-9500/tcp partly overlaps 8000-9000 of service s1 in line 8" + cross},
		"the same prefix":        {more("vip: 2001:db8::/64, forward: gre", "vip: '2001:db8:0::/64', forward: gre"), "xlb.yaml:9:93: services[2].port: [2001:db8::/64]:80/tcp already belongs to service s1 in line 8" + yours},
		"more listeners":         {"limits: {listeners: 4}\n" + more("port: [81, 82], protocol: [tcp, udp]"), "xlb.yaml:9:55: services[1].port: up to here there are 5 listeners, and limits.listeners is 4: raise limits.listeners"},
	})
}
