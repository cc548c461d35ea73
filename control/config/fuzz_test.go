package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// goTypes are words that only a Go programmer understands.
var goTypes = regexp.MustCompile(`\b(uint16|int64|map\[|\[\]string|netip|yaml\.|libyaml|strconv|nil pointer)\b`)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		minimal,
		service(),
		service("port: 80", "port: 0", "web", "Web"),
		service("[{address: 10.1.0.1}]", "&p [{address: 10.1.0.1, weight: 50, name: a}]") +
			"  - {name: b, vip: 192.0.2.10, port: 53, protocol: udp, forward: l2, slots: 101, health: {tcp: {port: 80}}, backends: *p}\n",
		"interfaces: &a [*a]\nservices: *a\n",
		"xdp_mode: generic\nhash_key: '00112233445566778899aabbccddeeff'\nmetrics: {listen: off}\napi: {socket: /a}\n" +
			"source: {ipv4: 10.0.0.1}\nlimits: {services: 1, backends: 1, slots: 101}\ninterfaces: [e]\nservices: []\n",
		"source: {ipv6: 2001:db8::1, ipip_ipv4: 172.31.0.0/16, ipip_ipv6: 100::/96}\ngue: {port: 1, ipv6_checksum: false}\n" +
			"icmp: {echo: drop, too_big_rate: 1}\nfragments: {orphans: pass}\nverify_checksum: true\ndeny: [10.0.0.1, '::/0']\n" +
			"gateway_mac: 02:00:00:00:00:01\ninterfaces: [e]\nservices: []\n",
		more("port: [443, 8000-8999], protocol: [tcp, udp], affinity: {source_prefix: 24}", "port: 8100-8200, affinity: source, mss: 1400",
			"port: any, forward: gue, gue: {port: 1}, limits: {packets: {rate: 1}, new_connections_per_source: {rate: 2, burst: 3}}",
			"vip: 2001:db8::/64, forward: gre, filter: {allow: [10.0.0.0/8, 10.1.0.0/16], deny: ['2001:db8::1'], default: deny}"),
		"interfaces: [e]\nservices: [{name: q, vip: 192.0.2.1, port: 1, protocol: udp, forward: l2, quic: {server_id_length: 1, config_rotation: [0, 6]}, " +
			"backends: [{address: 10.0.0.1, server_id: '01', mac: 02:00:00:00:00:02}]}]\ndeny_file: /etc/hosts\n",
		"health: {http: {path: /, port: 1, host: a, status: [200, 204]}, interval: 50ms, timeout: 1ms, rise: 1, fall: 100}\n",
		"instance: a\nstate_dir: /s\napi: {group: g, read: all}\ndead_daemon: pass-after 60s\nhealth: {allow_exec: true}\n" +
			"flows: {idle: 1m, learn: 2s, max_transition: 1h}\ninclude: [a]\ninterfaces: [e]\nlimits: {flows: 1024}\nservices: []\n",
		more("tracking: always, slow_start: 1m30s, panic: 30, health: {https: {host: a.b, status: 200, body: ok, body_matches: '^o', "+
			"request_headers: {A: b}, response_headers: {C: ''}, http2: true, ca_file: /a}, target: address, fast_interval: 100ms, passive: {eject: true}}",
			"port: 81, health: {tls: {verify: false}, passive: {suspect_below: 1, min_connections: 2, max_ejected: 3, eject_for: 4s}}",
			"port: 82, health: {grpc: {service: a, host: b, tls: {sni: c}}}, discover: {file: /f, allow_empty: true, weight: 3}",
			"port: 83, protocol: udp, health: {dns: {name: ., type: NS, transport: tcp, port: 53, rcode: REFUSED, answer: a}}",
			"port: 84, protocol: udp, health: {udp: {send_hex: '00', expect: a}}, discover: {dns: {name: a, type: SRV, port: 1, server: '::1', min_ttl: 1s, max_ttl: 2s}}",
			"port: 85, health: {icmp: {}}, discover: {replicas: {address: '10.2.0.{n}', name: 'a{n}', first: 0, count: 2}}",
			"port: 86, health: {exec: {command: [/a, b]}}"),
		"\ufeffa: \"\\x00\"\r\n...\n---\n",
		"? {a: [b]}\n: !t |\n  text\n<<: ~\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Errorf("an accepted configuration does not validate: %v", err)
			}
			again, err := Parse("f", written(t, c))
			if err != nil {
				t.Fatalf("%v in\n%s", err, written(t, c))
			}
			if diff := cmp.Diff(c, again, sameContent); diff != "" {
				t.Errorf("%s in\n%s", diff, written(t, c))
			}
			return
		}
		var all Errors
		if c != nil || !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("got %v and %v", c, err)
		}
		last, lines := Error{}, bytes.Count(data, []byte("\n"))+1
		for _, e := range all {
			if e.Message == "" || goTypes.MatchString(e.Message) {
				t.Errorf("not a sentence for people: %q", e.Message)
			}
			if e.Line < last.Line || e.Line == last.Line && e.Column < last.Column || e.Line > lines+1 {
				t.Errorf("%v is out of order or beyond the file's %d lines", e, lines)
			}
			last = e
		}
	})
}

func FuzzPrefixFile(f *testing.F) {
	for _, s := range []string{"", "# none\n", "10.0.0.0/8\r\n\t2001:db8::/32 # here\n", "\ufeff10.0.0.1\n\n10.0.0.1/8", "::ffff:1.2.3.4\nfe80::1%e\n/\n\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newProblems("f")
		entries := readPrefixes(p, "deny_file", "list", data)
		lines := bytes.Count(data, []byte("\n")) + 1
		if len(entries)+len(p.list) > lines {
			t.Errorf("%d prefixes and %d problems in %d lines", len(entries), len(p.list), lines)
		}
		for _, e := range entries {
			if !e.prefix.IsValid() || e.Line < 1 || e.Line > lines || e.Column < 1 {
				t.Errorf("got %v at %v", e.prefix, e.place)
			}
		}
		for _, e := range p.list {
			if e.File != "list" || e.Line < 1 || e.Line > lines {
				t.Errorf("%v is not in the file", e)
			}
		}
	})
}

func FuzzObjects(f *testing.F) {
	for _, s := range []string{
		"{}", "[{address: 10.1.0.1}]", "address: 10.1.0.1", `{"name":"a","vip":"192.0.2.1","port":[80,"any"],"forward":"gue","backends":[]}`,
		"name: a\nvip: ::1/128\nport: any\nforward: l2\nhealth: {https: {}}\ndiscover: {replicas: {address: '10.{n}.0.1', count: 5}}\n",
		`{"node":{"deny":["10.0.0.0/8"],"icmp":null,"interfaces":["e"]},"services":[{"name":"web","action":"change","service":` +
			`{"name":"web","vip":"192.0.2.1","port":1,"forward":"ipip","backends":[]},"backends":[{"name":"10.1.0.1","action":"remove"},` +
			`{"name":"b","action":"add","backend":{"address":"10.1.0.2","name":"b"}}]},{"name":"x","action":"remove"},` +
			`{"name":"y","action":"add","service":{"name":"y","vip":"192.0.2.2","port":1,"forward":"l2","discover":{"file":"/f"}}}]}`,
	} {
		f.Add([]byte(s))
	}
	file, err := Parse("f", []byte(minimal))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := file.ParseService("f", data); err == nil {
			text, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			again, err := file.ParseService("f", text)
			if err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			if diff := cmp.Diff(s, again, sameContent); diff != "" {
				t.Errorf("%s in %s", diff, text)
			}
		}
		if b, err := ParseBackend("f", data); err == nil {
			file.Services[0].Accepts(b)
		}
		ParseBackends("f", data, 1)
		var o Overlay
		if json.Unmarshal(data, &o) != nil {
			return
		}
		effective, _, err := Merge(file, o)
		if err != nil {
			return
		}
		again, notes, err := Merge(file, Between(file, effective))
		if err != nil || len(notes) > 0 {
			t.Fatalf("%v, %v", notes, err)
		}
		if changes := Diff(again, effective); len(changes) > 0 {
			t.Errorf("they differ: %v", changes)
		}
	})
}
