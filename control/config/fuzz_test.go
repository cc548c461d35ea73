package config

import (
	"bytes"
	"errors"
	"regexp"
	"testing"
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
		"health: {http: {path: /, port: 1, host: a, status: [200, 204]}, interval: 50ms, timeout: 1ms, rise: 1, fall: 100}\n",
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
