package config

import (
	"fmt"
	"strings"
	"testing"
)

// told writes changes as lines.
func told(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s %s %s: %q -> %q", c.Action, c.Object, c.Field, c.From, c.To)
		if c.Restart {
			b.WriteString(" restart")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestDifferencesAreToldFieldByField(t *testing.T) {
	health := func(text string) string { return service("    backends", "    health: "+text+"\n    backends") }
	for name, tc := range map[string]struct{ from, to, want string }{
		"nothing": {service(), "gue: {port: 6080}\n" + service("port: 80", "port: [80]\n    slow_start: 0s"), ""},
		"order": {more("port: 81") + "deny: [10.0.0.0/8, 10.1.0.0/16]\n", "deny: [10.1.0.0/16, 10.0.0.0/8]\n" + strings.Replace(service(), "services:\n",
			"services:\n  - {port: 81, forward: l2, vip: 192.0.2.10, name: s1, backends: [{address: 10.1.0.1}]}\n", 1), ""},
		"node": {service(), "icmp: {echo: drop}\nmetrics: {listen: off}\nsource: {ipv4: 10.0.0.1}\n" + service("[eth0]", "[eth0, eth1]"),
			`change node interfaces: "[eth0]" -> "[eth0, eth1]"
change node metrics.listen: "\"127.0.0.1:9480\"" -> "off" restart
change node source.ipv4: "" -> "10.0.0.1"
change node icmp.echo: "reply" -> "drop"
`},
		"hash key": {service(), "hash_key: '00112233445566778899aabbccddeeff'\n" + service(), `change node hash_key: "(secret)" -> "(secret)" restart
`},
		"prefixes": {"deny: [10.0.0.0/8, 10.1.0.0/16]\n" + service("port: 80", "port: 80\n    filter: {allow: [10.0.0.1]}"),
			"deny: [10.0.0.0/8, 10.2.0.0/16, '::/0', '::1']\n" + service("port: 80", "port: 80\n    filter: {deny: [10.0.0.1]}"),
			`change node deny: "2 prefixes" -> "4 prefixes: 3 added, 1 removed"
change service web filter.deny: "" -> "1 prefix"
change service web filter.default: "deny" -> "allow"
change service web filter.allow: "1 prefix" -> ""
`},
		"prefixes gone": {"deny: [10.0.0.0/8]\n" + service(), service(), `change node deny: "1 prefix" -> ""
`},
		"service": {service(), service("port: 80", "port: [80, 443]\n    mss: 1400\n    affinity: source"),
			`change service web port: "80" -> "[80, 443]"
change service web affinity: "flow" -> "source"
change service web mss: "" -> "1400"
`},
		"services": {more("port: 81, forward: gre"), service("name: web", "name: other") + "  - {name: s1, forward: l2, vip: 192.0.2.10, port: 82, backends: [{address: 10.1.0.1}]}\n",
			`add service other : "" -> "192.0.2.10:80/tcp by ipip, 1 backend"
change service s1 port: "81" -> "82"
change service s1 forward: "gre" -> "l2"
remove service web : "192.0.2.10:80/tcp by ipip, 1 backend" -> ""
`},
		"backends": {service("[{address: 10.1.0.1}]", "[{address: 10.1.0.1}, {address: 10.1.0.2}, {address: 10.1.0.3, name: c}]"),
			service("[{address: 10.1.0.1}]", "[{address: 10.1.0.9, name: c}, {address: 10.1.0.1, weight: 50}, {address: 10.1.0.4, server_id: '0a'}]"),
			`change backend web/c address: "10.1.0.3" -> "10.1.0.9"
change backend web/10.1.0.1 weight: "100" -> "50"
add backend web/10.1.0.4 : "" -> "{address: 10.1.0.4, server_id: \"0a\"}"
remove backend web/10.1.0.2 : "{address: 10.1.0.2}" -> ""
`},
		"check": {health("{http: {path: /a}}"), health("{http: {path: /b, status: [204, 200]}, interval: 4s}"),
			`change service web health.http.path: "/a" -> "/b"
change service web health.http.status: "" -> "[204, 200]"
change service web health.interval: "2s" -> "4s"
change service web health.fast_interval: "500ms" -> "1s"
`},
		"kind of check": {health("{http: {}}"), health("{tcp: {}}"), `change service web health.tcp: "" -> "{}"
change service web health.http: "{}" -> ""
`},
		"first check": {service(), health("{http: {path: /a}, fall: 5}"), `change service web health: "" -> "{http: {path: /a}, fall: 5}"
`},
		"GUE port of the node": {service("ipip", "gue"), "gue: {port: 1}\n" + service("ipip", "gue"), `change node gue.port: "6080" -> "1"
change service web gue.port: "6080" -> "1"
`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := told(Diff(parse(t, tc.from), parse(t, tc.to))); got != tc.want {
				t.Errorf("got\n%swant\n%s", got, tc.want)
			}
		})
	}
}

func TestWhatNeedsARestartSaysWhy(t *testing.T) {
	from := parse(t, service())
	to := parse(t, "instance: other\nstate_dir: /s\napi: {group: g}\nhash_key: '00112233445566778899aabbccddeeff'\nmetrics: {listen: off}\nhealth: {allow_exec: true}\n"+service())
	fields := 0
	for _, c := range Diff(from, to) {
		if c.Restart != (c.Field != "api.group") || c.Restart != (c.Reason != "") {
			t.Errorf("%+v", c)
		}
		if c.Restart {
			fields++
		}
	}
	if fields != len(restarts) {
		t.Errorf("%d fields", fields)
	}
}
