package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// service returns a file with one service that lacks nothing, changed by
// replacements of "old", "new" pairs.
func service(oldnew ...string) string {
	const text = `interfaces: [eth0]
services:
  - name: web
    vip: 192.0.2.10
    port: 80
    forward: ipip
    backends: [{address: 10.1.0.1}]
`
	return strings.NewReplacer(oldnew...).Replace(text)
}

// example is a file and the problems that are found in it.
type example struct{ text, want string }

func refused(t *testing.T, examples map[string]example) {
	t.Helper()
	for title, e := range examples {
		t.Run(title, func(t *testing.T) {
			c, err := Parse("xlb.yaml", []byte(e.text))
			if c != nil || err == nil || err.Error() != e.want {
				t.Errorf("got\n%v\nwant\n%s", err, e.want)
			}
		})
	}
}

func TestBadFilesAreRefusedWithPlaceAndRemedy(t *testing.T) {
	const (
		root = "; the fields here are interfaces, include, instance, state_dir, xdp_mode, hash_key, metrics, api, dead_daemon, health, flows, " +
			"source, gue, icmp, fragments, verify_checksum, deny, deny_file, gateway_mac, limits, services"
		other = "; the fields here are name, vip, port, protocol, forward, gue, slots, affinity, tracking, slow_start, panic, filter, limits, " +
			"mss, quic, health, discover, backends"
		empty = "xlb.yaml: the file is empty: write at least interfaces and services, see docs/configuration.md"
		local = ": write the unicast address of a machine, such as 10.1.0.1"
		name  = " is not a name: write up to 63 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit"
	)
	health := func(text string) string { return service("    backends", "    health: "+text+"\n    backends") }
	backends := func(text string) string { return service("[{address: 10.1.0.1}]", text) }
	refused(t, map[string]example{
		// Text and YAML.
		"empty":             {"", empty},
		"comments only":     {"# nothing\n", empty},
		"empty document":    {"---\n", empty},
		"two documents":     {service() + "---\n" + service(), "xlb.yaml:8:1: a second document begins here: keep one in a file and remove the line ---"},
		"tabs":              {"interfaces:\n\t- eth0\n\t- eth1\t\n", "xlb.yaml:2:1: a tab: write spaces\nxlb.yaml:3:1: a tab: write spaces"},
		"not UTF-8":         {"interfaces: [eth\xff]\n", "xlb.yaml:1:17: the text is not UTF-8: save the file as UTF-8"},
		"control character": {"a: 1\nb: é\x00\n", "xlb.yaml:2:5: invisible character U+0000: remove it"},
		"lone return":       {"a: 1\rb: 2\n", "xlb.yaml:1:5: invisible character U+000D: remove it"},
		"too large":         {strings.Repeat("#", maxFile+1), "xlb.yaml: the file is larger than 16 MiB: write a shorter one"},
		"too many lines":    {strings.Repeat("\n", maxParts+1), "xlb.yaml: the file has more than 2097152 commas and lines: write a shorter one"},
		"too deep":          {strings.Repeat("[", 100), "xlb.yaml:1:65: values are nested more than 64 deep: write no more than the fields need"},
		"open bracket":      {"interfaces: [eth0\n", "xlb.yaml:1:13: a list or mapping in brackets is not closed or lacks a comma: write it as [a, b] or {a: b, c: d}"},
		"open quote":        {"interfaces: ['eth0]\n", "xlb.yaml:1:14: a quoted text is not closed: write the closing quote"},
		"backslash":         {`a: "\q"`, "xlb.yaml:1:5: a backslash in double quotes means something else here: write single quotes"},
		"bad first letter":  {"a: @b", "xlb.yaml:1:4: a value cannot begin with this character: write the value in quotes"},
		"indented too far":  {"a: 1\n  b: 2\n", "xlb.yaml:2:4: a field cannot begin here: indent it like the fields beside it, or write a value that holds a colon in quotes"},
		"indented too little": {"  a: 1\n b: 2\n",
			"xlb.yaml:2:2: the line does not continue what stands above it: indent it like the fields beside it, each as name: value"},
		"directive":     {"%YAML 1.2\n---\na: 1\n", "xlb.yaml:1:1: directives are not supported: remove the line that begins with %"},
		"unknown alias": {"a: *b\n", "xlb.yaml:1:4: an alias without an anchor before it: write the value itself"},
		"alias of itself": {"interfaces: &a [*a]\nservices: []\n",
			"xlb.yaml:1:13: interfaces[0]: a list is not the name of an interface: write one such as eth0"},
		"merge key":     {service("name: web", "<<: {name: web}\n    name: web"), "xlb.yaml:3:5: services[0].<<: merging mappings is not supported: write the fields out"},
		"tag":           {service("port: 80", "port: !!int 80"), "xlb.yaml:5:11: services[0].port: the tag !!int is not supported: remove it"},
		"list for file": {"- a\n", "xlb.yaml:1:1: a list is not a mapping of fields: write fields such as interfaces: [eth0]"},

		// Fields.
		"unknown field":        {service("port: 80", "port: 80\n    colour: red"), "xlb.yaml:6:5: services[0].colour: unknown field: remove it" + other},
		"misspelt field":       {service("port: 80", "prot: 80"), "xlb.yaml:5:5: services[0].prot: unknown field: write port" + other},
		"misspelt root field":  {"xdpmode: native\n" + service(), "xlb.yaml:1:1: xdpmode: unknown field: write xdp_mode" + root},
		"field in capitals":    {service("vip", "VIP"), "xlb.yaml:4:5: services[0].VIP: unknown field: write vip" + other},
		"only field":           {"metrics: {port: 1}\n" + service(), "xlb.yaml:1:11: metrics.port: unknown field: remove it; the only field here is listen"},
		"escapes in a field":   {"\"a\\e[0m\": 1\n" + service(), `xlb.yaml:1:1: a\x1b[0m: unknown field: remove it` + root},
		"field that is a list": {"? [a]\n: 1\n" + service(), "xlb.yaml:1:3: a list is not the name of a field: write name: value"},
		"field given twice":    {service("port: 80", "port: 80\n    port: 81"), "xlb.yaml:6:5: services[0].port: the field is given twice, first in line 5: keep one of them"},
		"field without value":  {service("port: 80", "port:"), "xlb.yaml:5:10: services[0].port: the value is missing: write 1 to 65535 without quotes, a range such as 8000-8999, a list such as [80, 443], or any"},
		"missing root fields": {"xdp_mode: native\n",
			"xlb.yaml:1:1: interfaces: the field is missing: write interfaces: [eth0]\nxlb.yaml:1:1: services: the field is missing: write a list of them, or services: []"},
		"missing fields": {"interfaces: [e]\nservices:\n  - {}\n", `xlb.yaml:3:5: services[0].name: the field is missing: write one such as name: web
xlb.yaml:3:5: services[0].vip: the field is missing: write the address that clients use, such as vip: 192.0.2.10
xlb.yaml:3:5: services[0].port: the field is missing: write the port that clients use, such as port: 80
xlb.yaml:3:5: services[0].forward: the field is missing: write forward: ipip or forward: l2
xlb.yaml:3:5: services[0].backends: the field is missing: write backends: [{address: 10.1.0.1}]`},

		// Node.
		"text for list":      {service("[eth0]", "eth0"), `xlb.yaml:1:13: interfaces: "eth0" is not a list of interfaces: write interfaces: [eth0]`},
		"no interface":       {service("[eth0]", "[]"), "xlb.yaml:1:13: interfaces: no interface is named: write interfaces: [eth0]"},
		"interface twice":    {service("[eth0]", "[eth0, eth1, eth0]"), "xlb.yaml:1:26: interfaces[2]: eth0 is already interfaces[0]: remove one of them"},
		"long interface":     {service("[eth0]", "[eth0123456789012]"), `xlb.yaml:1:14: interfaces[0]: "eth0123456789012" is not the name of an interface: write up to 15 characters without space, slash or colon, such as eth0`},
		"interface as path":  {service("[eth0]", "[a/b]"), `xlb.yaml:1:14: interfaces[0]: "a/b" is not the name of an interface: write up to 15 characters without space, slash or colon, such as eth0`},
		"bad mode":           {service() + "xdp_mode: skb\n", `xlb.yaml:8:11: xdp_mode: "skb" is not an XDP mode: write native or generic`},
		"short key":          {service() + "hash_key: 0011\n", `xlb.yaml:8:11: hash_key: "0011" is not a hash key: write 32 hexadecimal digits in quotes`},
		"key of letters":     {service() + "hash_key: " + strings.Repeat("x", 32) + "\n", `xlb.yaml:8:11: hash_key: "` + strings.Repeat("x", 32) + `" is not a hash key: write 32 hexadecimal digits in quotes`},
		"listen on a port":   {service() + "metrics: {listen: 9480}\n", `xlb.yaml:8:19: metrics.listen: 9480 is not an address with a port: write one such as "127.0.0.1:9480", or off`},
		"metrics as text":    {service() + "metrics: off\n", `xlb.yaml:8:10: metrics: "off" is not a mapping: write metrics: {listen: "127.0.0.1:9480"}`},
		"relative socket":    {service() + "api: {socket: xlb.sock}\n", `xlb.yaml:8:15: api.socket: "xlb.sock" is not the path of a socket: write a plain absolute path of up to 107 bytes such as /run/xlb/xlb.sock`},
		"IPv6 source":        {service() + "source: {ipv4: '2001:db8::1'}\n", "xlb.yaml:8:16: source.ipv4: 2001:db8::1 is not an IPv4 address: write an IPv4 address"},
		"limit of zero":      {service() + "limits: {slots: 0}\n", "xlb.yaml:8:17: limits.slots: 0 is not a number of slots: write 1 to 268435456"},
		"limit too high":     {service() + "limits: {services: 65537}\n", "xlb.yaml:8:20: limits.services: 65537 is not a number of services: write 1 to 65536"},
		"limit with quotes":  {service() + "limits: {backends: '5'}\n", `xlb.yaml:8:20: limits.backends: "5" is not a number of entries: write a whole number such as 1024, without quotes`},
		"mapping of service": {"interfaces: [e]\nservices: {name: web}\n", `xlb.yaml:2:11: services: a mapping is not a list of services: begin each service with "- name: ..."`},

		// Services.
		"capital name":     {service("web", "Web"), `xlb.yaml:3:11: services[0].name: "Web"` + name},
		"long name":        {service("web", strings.Repeat("a", 64)), `xlb.yaml:3:11: services[0].name: "` + strings.Repeat("a", 60) + `..."` + name},
		"list for name":    {service("web", "[web]"), "xlb.yaml:3:11: services[0].name: a list is not a name: write one such as web-1"},
		"VIP with port":    {service("192.0.2.10", "192.0.2.10:80"), `xlb.yaml:4:10: services[0].vip: "192.0.2.10:80" is not an address or a prefix: write one such as 192.0.2.10 or 192.0.2.0/24, without port`},
		"unspecified VIP":  {service("192.0.2.10", "0.0.0.0"), "xlb.yaml:4:10: services[0].vip: 0.0.0.0 is one of the unspecified addresses, 0.0.0.0/8" + local},
		"loopback VIP":     {service("192.0.2.10", "127.0.0.2"), "xlb.yaml:4:10: services[0].vip: 127.0.0.2 is one of the loopback addresses, 127.0.0.0/8" + local},
		"multicast VIP":    {service("192.0.2.10", "224.0.0.1"), "xlb.yaml:4:10: services[0].vip: 224.0.0.1 is one of the multicast addresses, 224.0.0.0/4" + local},
		"broadcast VIP":    {service("192.0.2.10", "255.255.255.255"), "xlb.yaml:4:10: services[0].vip: 255.255.255.255 is the broadcast address" + local},
		"port 0":           {service("port: 80", "port: 0"), "xlb.yaml:5:11: services[0].port: port 0 is reserved and no client can connect to it: write 1 to 65535"},
		"high port":        {service("port: 80", "port: 65536"), "xlb.yaml:5:11: services[0].port: 65536 is not a port: write 1 to 65535 without quotes, a range such as 8000-8999, a list such as [80, 443], or any"},
		"negative port":    {service("port: 80", "port: -1"), "xlb.yaml:5:11: services[0].port: -1 is not a port: write 1 to 65535 without quotes, a range such as 8000-8999, a list such as [80, 443], or any"},
		"port in words":    {service("port: 80", "port: eighty"), `xlb.yaml:5:11: services[0].port: "eighty" is not a port: write 1 to 65535 without quotes, a range such as 8000-8999, a list such as [80, 443], or any`},
		"port in quotes":   {service("port: 80", `port: "80"`), `xlb.yaml:5:11: services[0].port: "80" is not a port: write 1 to 65535 without quotes, a range such as 8000-8999, a list such as [80, 443], or any`},
		"octal port":       {service("port: 80", "port: 080"), `xlb.yaml:5:11: services[0].port: "080" is not a port: write 1 to 65535 without quotes, a range such as 8000-8999, a list such as [80, 443], or any`},
		"huge port":        {service("port: 80", "port: 99999999999999999999"), `xlb.yaml:5:11: services[0].port: "99999999999999999999" is not a port: write 1 to 65535 without quotes, a range such as 8000-8999, a list such as [80, 443], or any`},
		"capital protocol": {service("port: 80", "port: 80\n    protocol: TCP"), `xlb.yaml:6:15: services[0].protocol: "TCP" is not a protocol: write tcp, udp or [tcp, udp]`},
		"bad forward":      {service("ipip", "nat"), `xlb.yaml:6:14: services[0].forward: "nat" is not a forwarding mode: write l2, ipip, gre or gue`},
		"composite slots":  {service("ipip", "ipip\n    slots: 65536"), "xlb.yaml:7:12: services[0].slots: 65536 is not a prime number: write 65537"},
		"composite slots below the limit": {"limits: {slots: 65536}\n" + service("ipip", "ipip\n    slots: 65536"),
			"xlb.yaml:8:12: services[0].slots: 65536 is not a prime number: write 65521"},
		"too few slots":  {service("ipip", "ipip\n    slots: -3"), "xlb.yaml:7:12: services[0].slots: -3 slots are too few for 1 backends: write a prime number of at least 100 for each backend, or remove slots"},
		"too many slots": {service("ipip", "ipip\n    slots: 8388617"), "xlb.yaml:7:12: services[0].slots: 8388617 is more than limits.slots, 8388608: write less or raise limits.slots"},
		"slots beyond a table": {"limits: {slots: 268435456}\n" + service("ipip", "ipip\n    slots: 16777289"),
			"xlb.yaml:8:12: services[0].slots: 16777289 is more than one table holds: write up to 16777259"},

		// Health.
		"no kind of check":   {health("{rise: 1}"), "xlb.yaml:7:13: services[0].health: the kind of check is missing: write http: {path: /healthz} or tcp: {}"},
		"both kinds":         {health("{http: {}, tcp: {}}"), "xlb.yaml:7:13: services[0].health: both http and tcp are given: keep one of them"},
		"tcp without value":  {health("{tcp: }"), "xlb.yaml:7:19: services[0].health.tcp: the value is missing: write tcp: {} or tcp: {port: 80}"},
		"number for seconds": {health("{tcp: {}, interval: 2}"), "xlb.yaml:7:33: services[0].health.interval: 2 is not a duration: write a number with its unit such as 2s or 500ms"},
		"short interval":     {health("{tcp: {}, interval: 49ms}"), "xlb.yaml:7:33: services[0].health.interval: 49ms is too short an interval: write at least 50ms"},
		"no timeout":         {health("{tcp: {}, timeout: 0s}"), "xlb.yaml:7:32: services[0].health.timeout: 0s leaves no time to answer: write one such as 1s"},
		"long timeout":       {health("{tcp: {}, timeout: 61s}"), "xlb.yaml:7:32: services[0].health.timeout: 1m1s is too long: write at most 1m0s"},
		"rise and fall":      {health("{tcp: {}, rise: 0, fall: 101}"), "xlb.yaml:7:29: services[0].health.rise: 0 is not a number of checks: write 1 to 100\nxlb.yaml:7:38: services[0].health.fall: 101 is not a number of checks: write 1 to 100"},
		"check on port 0":    {health("{tcp: {port: 0}}"), "xlb.yaml:7:26: services[0].health.tcp.port: port 0 is reserved and no check can connect to it: write 1 to 65535, or remove port"},
		"relative path":      {health("{http: {path: healthz}}"), `xlb.yaml:7:27: services[0].health.http.path: "healthz" is not a path: begin it with / and write no space, # or letter beyond ASCII`},
		"URL for host":       {health("{http: {host: 'http://a'}}"), `xlb.yaml:7:27: services[0].health.http.host: "http://a" is not a host name: write one such as example.org`},
		"bad status":         {health("{http: {status: 600}}"), "xlb.yaml:7:29: services[0].health.http.status[0]: 600 is not an HTTP status: write 100 to 599"},
		"bad status in list": {health("{http: {status: [200, OK]}}"), `xlb.yaml:7:35: services[0].health.http.status[1]: "OK" is not an HTTP status: write one such as 200, or a list of them`},
		"empty status":       {health("{http: {status: []}}"), "xlb.yaml:7:29: services[0].health.http.status: a list is not an HTTP status: write one such as 200, or a list of them"},
		"check of UDP without port": {service("port: 80", "port: 53\n    protocol: udp\n    health: {tcp: {}}"),
			"xlb.yaml:7:19: services[0].health.tcp.port: the service is UDP, so a check over TCP needs a port of its own: write port: 8080 or alike in the check"},

		// Backends.
		"no backend":         {backends("[]"), "xlb.yaml:7:15: services[0].backends: the service has no backend: write backends: [{address: 10.1.0.1}]"},
		"address alone":      {backends("[10.1.0.1]"), `xlb.yaml:7:16: services[0].backends[0]: "10.1.0.1" is not a mapping of the fields of a backend: write {address: 10.1.0.1}`},
		"misspelt address":   {backends("[{adress: 10.1.0.1}]"), "xlb.yaml:7:17: services[0].backends[0].adress: unknown field: write address; the fields here are address, weight, name, server_id, mac"},
		"address with port":  {backends("[{address: '10.1.0.1:80'}]"), `xlb.yaml:7:26: services[0].backends[0].address: "10.1.0.1:80" is not an IP address: write one such as 10.1.0.1, without port or prefix length`},
		"backend is VIP":     {backends("[{address: 192.0.2.10}]"), "xlb.yaml:7:26: services[0].backends[0].address: 192.0.2.10 is the VIP of the service itself: write the backend's own address"},
		"backend twice":      {backends("[{address: 10.1.0.1}, {address: 10.1.0.1}]"), "xlb.yaml:7:47: services[0].backends[1].address: 10.1.0.1 is already backends[0] of this service: keep one of them"},
		"backend name twice": {backends("[{address: 10.1.0.1}, {address: 10.1.0.2, name: 10.1.0.1}]"), "xlb.yaml:7:63: services[0].backends[1].name: 10.1.0.1 is already the name of backends[0] of this service: give each its own name"},
		"weight 0":           {backends("[{address: 10.1.0.1, weight: 0}]"), "xlb.yaml:7:44: services[0].backends[0].weight: 0 is not a weight: write 1 to 1000"},
		"high weight":        {backends("[{address: 10.1.0.1, weight: 1001}]"), "xlb.yaml:7:44: services[0].backends[0].weight: 1001 is not a weight: write 1 to 1000"},
		"fractional weight":  {backends("[{address: 10.1.0.1, weight: 1.5}]"), `xlb.yaml:7:44: services[0].backends[0].weight: "1.5" is not a weight: write 1 to 1000, without quotes`},

		// Services together.
		"service name twice": {service() + "  - {name: web, vip: 192.0.2.11, port: 80, forward: l2, backends: [{address: 10.1.0.1}]}\n",
			"xlb.yaml:8:12: services[1].name: there is already a service web in line 3: give each its own name"},
		"one VIP and port for two": {service() + "  - {name: b, vip: 192.0.2.10, port: 80, forward: l2, backends: [{address: 10.1.0.1}]}\n",
			"xlb.yaml:8:38: services[1].port: 192.0.2.10:80/tcp already belongs to service web in line 3: change vip, port or protocol, or give the backends to that service"},
		"too many services": {"limits: {services: 1}\n" + service() + "  - {name: b, vip: 192.0.2.11, port: 80, forward: l2, backends: [{address: 10.1.0.1}]}\n",
			"xlb.yaml:4:3: services: there are 2 services, and limits.services is 1: raise limits.services"},
		"too many backends": {"limits: {backends: 1}\n" + service() + "  - {name: b, vip: 192.0.2.11, port: 80, forward: l2, backends: [{address: 10.1.0.1}]}\n",
			"xlb.yaml:9:65: services[1].backends: up to here there are 2 backends, and limits.backends is 1: raise limits.backends"},
	})
}

func TestServicesOnOneAddressMayDifferInPortOrProtocol(t *testing.T) {
	if _, err := Parse("xlb.yaml", []byte(service()+
		"  - {name: b, vip: 192.0.2.10, port: 81, forward: l2, backends: [{address: 10.1.0.1}]}\n"+
		"  - {name: c, vip: 192.0.2.10, port: 80, protocol: udp, forward: l2, backends: [{address: 10.1.0.1}]}\n")); err != nil {
		t.Error(err)
	}
}

func TestAllProblemsAreToldInTheOrderOfTheFile(t *testing.T) {
	_, err := Parse("xlb.yaml", []byte(service("web", "Web", "port: 80", "port: x", "ipip", "nat", "10.1.0.1", "10.1.0")))
	var lines []int
	for _, e := range err.(Errors) {
		lines = append(lines, e.Line)
	}
	if got := fmt.Sprint(lines); got != "[3 5 6 7]" {
		t.Errorf("problems in lines %s", got)
	}
	var first Error
	if !errors.As(err, &first) || first.Line != 3 {
		t.Errorf("errors.As finds %v", first)
	}
}

func TestOnlyTwentyProblemsArePrinted(t *testing.T) {
	for n, last := range map[int]string{
		20:   "xlb.yaml:20:1: f19: unknown field: ",
		23:   "and 3 more",
		5000: "and at least 980 more",
	} {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "f%d: 1\n", i)
		}
		_, err := Parse("xlb.yaml", []byte(text.String()+"interfaces: [e]\nservices: []\n"))
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != min(n, 21) || !strings.HasPrefix(lines[len(lines)-1], last) {
			t.Errorf("%d problems end with %q in line %d", n, lines[len(lines)-1], len(lines))
		}
	}
}

func TestAliasesOfAliasesAreBounded(t *testing.T) {
	text := "interfaces: [e]\nservices:\n" +
		"  - &s {name: a, vip: 192.0.2.1, port: 80, forward: l2, backends: [&b {address: 10.0.0.1}" + strings.Repeat(", *b", 100_000) + "]}\n" +
		strings.Repeat("  - *s\n", 100_000)
	_, err := Parse("xlb.yaml", []byte(text))
	var found bool
	for _, e := range err.(Errors) {
		found = found || e.Message == "more than 4194304 values up to here"
	}
	if !found {
		t.Errorf("got %.300s", err)
	}
}
