package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestObjectsAreReadFromYAMLAndJSON(t *testing.T) {
	c := parse(t, "gue: {port: 5555}\n"+service())
	for name, text := range map[string]string{
		"YAML":           "name: a\nvip: 192.0.2.1\nport: 80\nforward: gue\nbackends: [{address: 10.1.0.1}]\n",
		"JSON":           `{"name": "a", "vip": "192.0.2.1", "port": 80, "forward": "gue", "backends": [{"address": "10.1.0.1"}]}`,
		"JSON with tabs": "{\n\t\"name\":\t\"a\", \"vip\": \"192.0.2.1\", \"port\": 80, \"forward\": \"gue\", \"backends\": [{\"address\": \"10.1.0.1\"}]\n}",
	} {
		s, err := c.ParseService("body", []byte(text))
		if err != nil || s.Name != "a" || s.GUEPort != 5555 || len(s.Backends) != 1 {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if b, err := ParseBackend("body", []byte(`{"address": "10.1.0.1"}`)); err != nil || b.Name != "10.1.0.1" || b.Weight != 100 {
		t.Errorf("%v, %v", b, err)
	}
	if list, err := ParseBackends("file", []byte("- address: 10.1.0.1\n- {address: 2001:db8::1, weight: 5}\n"), 7); err != nil || len(list) != 2 || list[0].Weight != 7 || list[1].Weight != 5 {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := ParseBackends("file", []byte("[]"), 1); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestBadObjectsAreRefusedWithTheirPlace(t *testing.T) {
	c := parse(t, service())
	of := func(text string) error { _, err := c.ParseService("body", []byte(text)); return err }
	one := func(text string) error { _, err := ParseBackend("body", []byte(text)); return err }
	list := func(text string) error { _, err := ParseBackends("b.yaml", []byte(text), 1); return err }
	const web = "name: a\nvip: 192.0.2.1\nport: 80\nforward: l2\n"
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"empty service":     {of(""), "body: the file is empty: write a service, beginning with its name, vip and port"},
		"list":              {of("[]"), `body:1:1: a list is not a mapping of the fields of a service: begin it with "- name: ..."`},
		"no JSON":           {of(`{"name": "a"`), "body:1:1: a list or mapping in brackets is not closed or lacks a comma: write it as [a, b] or {a: b, c: d}"},
		"unknown field":     {of(`{"colour": "red", "name": "a", "vip": "192.0.2.1", "port": 80, "forward": "l2", "discover": {"file": "/f"}}`), "body:1:2: colour: unknown field: remove it; the fields here are "},
		"bad address":       {of(web + "backends: [{address: 127.0.0.1}]"), "body:5:22: backends[0].address: 127.0.0.1 is one of the loopback addresses, 127.0.0.0/8: write the unicast address of a machine, such as 10.1.0.1"},
		"bad VIP":           {of(strings.Replace(web, "192.0.2.1", "0.0.0.0", 1) + "backends: [{address: 10.1.0.1}]"), "body:2:6: vip: 0.0.0.0 is one of the unspecified addresses"},
		"no backend":        {of(web + "backends: []"), "body:5:11: backends: the service has no backend"},
		"program":           {of(web + "health: {exec: {command: [/bin/true]}}\nbackends: [{address: 10.1.0.1}]"), "body:5:16: health.exec: checks may not run programs on this node"},
		"file":              {of(web + "filter: {deny_file: /etc/passwd}\nbackends: [{address: 10.1.0.1}]"), "body:5:21: filter.deny_file: only a configuration that is read from a file may name others"},
		"both in a filter":  {of(web + "filter: {allow: [10.0.0.1], deny: [10.0.0.1]}\nbackends: [{address: 10.1.0.1}]"), "body:5:36: filter.deny[0]: 10.0.0.1 is allowed as well in line 5: keep one of them"},
		"replicas":          {of(web + "discover: {replicas: {address: '10.1.0.{n}', count: 20000}}"), "body:5:53: discover.replicas.count: 20000 is not a number of backends: write 1 to 16384"},
		"server IDs":        {of(strings.Replace(web, "forward", "protocol: udp\nquic: {server_id_length: 1}\nforward", 1) + "backends: [{address: 10.1.0.1}]"), "body:7:12: backends[0].server_id: the server ID is missing, and the service routes by it"},
		"backend":           {one("{address: 10.1.0.1, weight: 0}"), "body:1:29: weight: 0 is not a weight: write 1 to 1000"},
		"backend's address": {one("{address: ::1}"), "body:1:11: address: ::1 is the loopback address"},
		"backend's name":    {one("{address: 10.1.0.1, name: A}"), `body:1:27: name: "A" is not a name`},
		"nameless backend":  {one("{weight: 1}"), "body:1:1: address: the field is missing"},
		"no list":           {list("backends: []"), "b.yaml:1:1: a mapping is not a list of backends"},
		"empty list":        {list(""), "b.yaml: the file is empty: write a list of backends, or []"},
		"twice":             {list("- address: 10.1.0.1\n- address: 10.1.0.1\n"), "b.yaml:2:12: [1].address: 10.1.0.1 is already backends[0] of this service"},
		"name twice":        {list("- {address: 10.1.0.1, name: a}\n- {address: 10.1.0.2, name: a}\n"), "b.yaml:2:29: [1].name: a is already the name of backends[0] of this service"},
	} {
		if tc.err == nil || !strings.HasPrefix(tc.err.Error(), tc.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", name, tc.err, tc.want)
		}
	}
}

func TestFoundBackendsMustFitTheirService(t *testing.T) {
	c := parse(t, strings.Replace(more("vip: 192.0.2.1", "vip: 2001:db8::1, forward: ipip, protocol: udp, quic: {server_id_length: 1}"),
		"name: s2, backends: [{address: 10.1.0.1}]", "name: s2, backends: [{address: 10.1.0.1, server_id: '01'}]", 1))
	l2, quic := &c.Services[1], &c.Services[2]
	good := Backend{Name: "a", Address: addr("10.1.0.9"), Weight: 1, ServerID: []byte{2}}
	with := func(change func(*Backend)) Backend { b := good; change(&b); return b }
	for name, tc := range map[string]struct {
		service *Service
		backend Backend
		want    string
	}{
		"good":             {l2, good, ""},
		"good for QUIC":    {quic, good, ""},
		"other family":     {l2, with(func(b *Backend) { b.Address = addr("2001:db8::9") }), "address: 2001:db8::9 is IPv6 and the VIP is not"},
		"the VIP":          {l2, with(func(b *Backend) { b.Address = addr("192.0.2.1") }), "address: 192.0.2.1 is the VIP of the service itself"},
		"loopback":         {quic, with(func(b *Backend) { b.Address = addr("127.0.0.1") }), "address: 127.0.0.1 is one of the loopback"},
		"no server ID":     {quic, with(func(b *Backend) { b.ServerID = nil }), "server_id: the server ID is missing"},
		"weight":           {l2, with(func(b *Backend) { b.Weight = 1001 }), "weight: 1001 is not a weight"},
		"name":             {l2, with(func(b *Backend) { b.Name = "a b" }), `name: "a b" is not a name`},
		"name is address":  {l2, with(func(b *Backend) { b.Name = "10.1.0.9" }), ""},
		"without address":  {l2, with(func(b *Backend) { b.Address = addr("0.0.0.0") }), "address: 0.0.0.0 is one of the unspecified"},
		"long server ID":   {quic, with(func(b *Backend) { b.ServerID = []byte{1, 2} }), "server_id: 0102 does not have the 1 bytes"},
		"address of group": {l2, with(func(b *Backend) { b.MAC = MAC{1} }), "mac: 01:00:00:00:00:00 is an address of a group"},
	} {
		err := tc.service.Accepts(tc.backend)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
}

func TestReplicasAreNumbered(t *testing.T) {
	got := Replicas{Address: "10.1.{n}.1", Name: "r{n}", First: 9, Count: 2}.Backends(7)
	want := []Backend{{Name: "r9", Address: addr("10.1.9.1"), Weight: 7}, {Name: "r10", Address: addr("10.1.10.1"), Weight: 7}}
	if diff := cmp.Diff(want, got, addresses); diff != "" {
		t.Error(diff)
	}
	if got := (Replicas{Address: "2001:db8:0::{n}", Name: "2001:db8:0::{n}", First: 1, Count: 1}).Backends(1); got[0].Name != "2001:db8::1" {
		t.Errorf("the name is %s", got[0].Name)
	}
}

func TestObjectsAreWrittenAsJSONAndReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := randomness{t}.config()
		for _, s := range c.Services {
			data, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			var again Service
			if err := json.Unmarshal(data, &again); err != nil {
				t.Fatalf("%v in %s", err, data)
			}
			if diff := cmp.Diff(s, again, sameContent); diff != "" {
				t.Fatalf("%s in %s", diff, data)
			}
			parsed, err := c.ParseService("body", data)
			if err != nil {
				t.Fatalf("%v in %s", err, data)
			}
			if diff := cmp.Diff(s, parsed, sameContent); diff != "" {
				t.Fatalf("%s in %s", diff, data)
			}
		}
	})
}
