package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// fileSchema is the schema as a validator of files knows it.
var fileSchema = sync.OnceValue(func() *jsonschema.Schema {
	data, err := json.Marshal(FileSchema(func(string) string { return "" }))
	if err != nil {
		panic(err)
	}
	return compiled("file.json", map[string][]byte{"file.json": data})
})

// compiled returns one of some schemas that refer to each other by name.
func compiled(name string, files map[string][]byte) *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	for name, data := range files {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			panic(err)
		}
		if err := c.AddResource("https://xlb.example/"+name, doc); err != nil {
			panic(err)
		}
	}
	return c.MustCompile("https://xlb.example/" + name)
}

// values returns what a file holds, as a validator of schemas wants it.
func values(text []byte) (any, error) {
	var v any
	if err := yaml.Load(text, &v); err != nil {
		return nil, err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

func TestSchemaAcceptsWhatIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := written(t, randomness{t}.config())
		v, err := values(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := fileSchema().Validate(v); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	})
}

func TestSchemaAcceptsTheExamples(t *testing.T) {
	for _, file := range examples(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := values(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := fileSchema().Validate(v); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSchemaOfIncludedFilesIsThatOfTheirFields(t *testing.T) {
	files := make(map[string][]byte)
	for _, name := range []string{"xlb.schema.json", "xlb.include.schema.json"} {
		data, err := os.ReadFile(contrib + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	schema := compiled("xlb.include.schema.json", files)
	included, err := filepath.Glob(contrib + "examples/conf.d/*.yaml")
	if err != nil || len(included) == 0 {
		t.Fatalf("%v, %v", included, err)
	}
	for _, file := range included {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := values(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	// Every field of such a file is in the schema, and no other.
	d := &decoder{problems: newProblems(""), schema: &Schema{}}
	root := d.schema
	d.mapping(nil, "", wantIncluded, d.included(defaults(), &prefixes{})...)
	for _, p := range root.Properties {
		if _, ok := schema.Properties[p.Name]; !ok {
			t.Errorf("%s is missing", p.Name)
		}
	}
	if len(root.Properties) != len(schema.Properties) {
		t.Errorf("there are %d fields, not %d", len(schema.Properties), len(root.Properties))
	}
}

// What is wrong with these can be seen without knowing what fields mean to each
// other: the parser and the schema refuse them, and accept them when repaired.
func TestSchemaRefusesWhatTheParserDoes(t *testing.T) {
	for bad, good := range map[string]string{
		"colour: red":                                "xdp_mode: generic",
		"interfaces: eth1":                           "",
		"xdp_mode: skb":                              "xdp_mode: native",
		"hash_key: '0011'":                           "hash_key: '00112233445566778899aabbccddeeff'",
		"metrics: {listen: 9480}":                    "metrics: {listen: '[::1]:9480'}",
		"metrics: off":                               "metrics: {listen: off}",
		"api: {read: everybody}":                     "api: {read: all}",
		"dead_daemon: stop":                          "dead_daemon: drop-after 1m30s",
		"dead_daemon: pass-after":                    "dead_daemon: pass-after 60s",
		"health: {allow_exec: 1}":                    "health: {allow_exec: true}",
		"flows: {idle: 900}":                         "flows: {idle: 900s}",
		"flows: {idle: 0}":                           "flows: {}",
		"source: {ipv4: 10.0.0.1/24}":                "source: {ipv4: 10.0.0.1}",
		"gue: {port: 0}":                             "gue: {port: 65535}",
		"icmp: {too_big_rate: 1000001}":              "icmp: {too_big_rate: 1000000}",
		"fragments: {orphans: keep}":                 "fragments: {orphans: pass}",
		"verify_checksum: 'true'":                    "verify_checksum: true",
		"deny: 10.0.0.0/8":                           "deny: [10.0.0.0/8, '::/0']",
		"deny: [nobody]":                             "deny: []",
		"gateway_mac: 02-00-00-00-00-01":             "gateway_mac: 02:00:00:00:00:01",
		"limits: {slots: 0}":                         "limits: {slots: 101}",
		"limits: {flows: '1'}":                       "limits: {flows: 1}",
		"services: {}":                               "",
		"S port: 65536":                              "S port: 65535",
		"S port: eighty":                             "S port: any",
		"S port: []":                                 "S port: [80, 8000-8999]",
		"S port: 80-":                                "S port: 80-81",
		"S protocol: TCP":                            "S protocol: [tcp, udp]",
		"S protocol: []":                             "S protocol: [tcp]",
		"S forward: nat":                             "S forward: l2",
		"S slots: -1":                                "S slots: 101",
		"S affinity: client":                         "S affinity: source",
		"S affinity: {}":                             "S affinity: {source_prefix: 24}",
		"S tracking: sometimes":                      "S tracking: always",
		"S slow_start: 30":                           "S slow_start: 30s",
		"S panic: 101":                               "S panic: 100",
		"S filter: {}":                               "S filter: {deny: []}",
		"S limits: {packets: {}}":                    "S limits: {packets: {rate: 1}}",
		"S limits: {packets: 5}":                     "S limits: {}",
		"S mss: 87":                                  "S mss: 88",
		"S quic: {}":                                 "",
		"S health: {}":                               "S health: {tcp: {}}",
		"S health: {tcp: {}, icmp: {}}":              "S health: {icmp: {}}",
		"S health: {tcp: }":                          "S health: {tcp: {port: 1}}",
		"S health: {tcp: {}, rise: 0}":               "S health: {tcp: {}, rise: 1}",
		"S health: {tcp: {}, interval: 2}":           "S health: {tcp: {}, interval: .5m}",
		"S health: {tcp: {}, target: backend}":       "S health: {tcp: {}, target: address}",
		"S health: {http: {status: 600}}":            "S health: {http: {status: [200, 599]}}",
		"S health: {http: {sni: a.example}}":         "S health: {https: {sni: a.example}}",
		"S health: {http: {body: ''}}":               "S health: {http: {body: a}}",
		"S health: {http: {request_headers: [a]}}":   "S health: {http: {request_headers: {a: b}}}",
		"S health: {tls: {verify: no}}":              "S health: {tls: {verify: false}}",
		"S health: {grpc: {tls: true}}":              "S health: {grpc: {tls: {sni: a.example}}}",
		"S health: {dns: {}}":                        "S health: {dns: {name: ., port: 53}}",
		"S health: {dns: {name: ., type: ANY}}":      "S health: {dns: {name: ., type: NS, port: 53}}",
		"S health: {dns: {name: ., transport: dot}}": "S health: {dns: {name: ., transport: tcp}}",
		"S health: {udp: {port: 1}}":                 "S health: {udp: {port: 1, send: a}}",
		"S health: {udp: {port: 1, send: a, send_hex: '00'}}":              "S health: {udp: {port: 1, send_hex: '00'}}",
		"S health: {udp: {port: 1, send: a, expect: a, expect_hex: '00'}}": "S health: {udp: {port: 1, send: a, expect: b}}",
		"S health: {udp: {port: 1, send_hex: '0'}}":                        "S health: {udp: {port: 1, send_hex: 0A}}",
		"S health: {icmp: {size: 56}}":                                     "S health: {icmp: {}}",
		"S health: {tcp: {}, passive: true}":                               "S health: {tcp: {}, passive: {}}",
		"S health: {tcp: {}, passive: {max_ejected: 0}}":                   "S health: {tcp: {}, passive: {max_ejected: 1}}",
		"S discover: {}":                                            "S discover: {file: /f}",
		"S discover: {file: /f, dns: {name: a}}":                    "S discover: {dns: {name: a}}",
		"S discover: {dns: {name: a, type: MX}}":                    "S discover: {dns: {name: a, type: SRV}}",
		"S discover: {replicas: {address: '10.2.0.{n}'}}":           "S discover: {replicas: {address: '10.2.0.{n}', count: 3}}",
		"S discover: {replicas: {address: '10.2.0.{n}', count: 0}}": "S discover: {replicas: {address: '10.2.0.{n}', count: 1, first: 0}}",
		"S backends: [10.1.0.1]":                                    "S backends: [{address: 10.1.0.1}]",
		"S backends: [{weight: 1}]":                                 "S backends: [{address: 10.1.0.1, weight: 1}]",
		"S backends: [{address: 10.1.0.1, weight: 1001}]":           "S backends: [{address: 10.1.0.1, weight: 1000}]",
		"S backends: [{address: 10.1.0.1, server_id: '012'}]":       "S backends: [{address: 10.1.0.1, server_id: '01'}]",
		"S backends: [{address: 10.1.0.1, mac: 02:00:00:00:01}]":    "S backends: [{address: 10.1.0.1, mac: 02:00:00:00:00:01}]",
		"S backends: [{address: 10.1.0.1, colour: red}]":            "",
	} {
		for text, right := range map[string]bool{bad: false, good: true} {
			text := with(text)
			_, err := Parse("xlb.yaml", []byte(text))
			if (err == nil) != right {
				t.Errorf("the parser says %v of\n%s", err, text)
			}
			v, err := values([]byte(text))
			if err == nil {
				err = fileSchema().Validate(v)
			}
			if (err == nil) != right {
				t.Errorf("the schema says %v of\n%s", err, text)
			}
		}
	}
}

// with is the file of service with a field of the node, or of the service (S), in
// place of what it has.
func with(field string) string {
	at, indent := "", ""
	if of, found := strings.CutPrefix(field, "S "); found {
		field, indent = of, "    "
	}
	if field == "" {
		return service()
	}
	name, _, _ := strings.Cut(field, ":")
	var out []string
	for _, line := range strings.Split(service(), "\n") {
		if name == "services" && strings.HasPrefix(line, " ") {
			continue
		}
		if strings.HasPrefix(line, indent+name+":") {
			line, at = indent+field, "replaced"
		}
		out = append(out, line)
	}
	if at == "" {
		i := 1
		if indent != "" {
			i = 3
		}
		out = append(out[:i], append([]string{indent + field}, out[i:]...)...)
	}
	return strings.Join(out, "\n")
}
