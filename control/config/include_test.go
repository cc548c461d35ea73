package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// loaded loads files from a folder, of which xlb.yaml includes conf.d; errors
// name them without the folder.
func loaded(t *testing.T, files map[string]string) (*Config, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "xlb.yaml"))
	if err != nil {
		return nil, strings.ReplaceAll(err.Error(), dir+"/", "")
	}
	return c, ""
}

const including = "interfaces: [eth0]\ninclude: conf.d\n"

// included is a file of one service.
func included(name, vip, more string) string {
	return "services:\n  - name: " + name + "\n    vip: " + vip + "\n    port: 80\n    forward: l2\n    backends: [{address: 10.1.0.1}]\n" + more
}

func TestIncludedFilesAddTheirServicesInOrder(t *testing.T) {
	c, problem := loaded(t, map[string]string{
		"xlb.yaml":            including + "deny: [10.0.0.0/8]\n" + strings.TrimPrefix(service(), "interfaces: [eth0]\n"),
		"conf.d/20-b.yaml":    included("b", "192.0.2.2", "deny: [10.1.0.0/16, 10.0.0.0/8]\n"),
		"conf.d/10-a.yaml":    included("a", "192.0.2.1", "deny_file: bad.txt\n"),
		"conf.d/bad.txt":      "10.2.0.0/16\n",
		"conf.d/.hidden.yaml": "no",
		"conf.d/30-c.yml":     "no",
		"conf.d/40.yaml.bak":  "no",
		"conf.d/50.yaml":      "services: []\n",
	})
	if problem != "" {
		t.Fatal(problem)
	}
	var names []string
	for _, s := range c.Services {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"web", "a", "b"}, names); diff != "" {
		t.Error(diff)
	}
	if got := texts(c.Deny, bare).line(); got != "[10.0.0.0/8, 10.1.0.0/16, 10.2.0.0/16]" {
		t.Errorf("denied are %s", got)
	}
	if at := c.Services[1].At; filepath.Base(at.File) != "10-a.yaml" || at.Line != 2 {
		t.Errorf("a is at %v", at)
	}
	if err := c.ErrorAt(c.Services[1].At, "wrong", ""); filepath.Base(err.File) != "10-a.yaml" {
		t.Errorf("got %v", err)
	}
}

func TestANodeMayHaveOnlyIncludedServices(t *testing.T) {
	c, problem := loaded(t, map[string]string{"xlb.yaml": including, "conf.d/a.yaml": included("a", "192.0.2.1", "")})
	if problem != "" || len(c.Services) != 1 {
		t.Errorf("%v, %s", c, problem)
	}
	if _, problem := loaded(t, map[string]string{"xlb.yaml": including}); problem != "" {
		t.Errorf("an empty directory: %s", problem)
	}
}

func TestIncludedFilesTakeTheNodesDefaults(t *testing.T) {
	c, problem := loaded(t, map[string]string{
		"xlb.yaml":      including + "gue: {port: 5555}\n",
		"conf.d/a.yaml": strings.Replace(included("a", "192.0.2.1", ""), "l2", "gue", 1),
	})
	if problem != "" || c.Services[0].GUEPort != 5555 {
		t.Errorf("%v, %s", c, problem)
	}
}

func TestProblemsOfIncludedFilesNameThem(t *testing.T) {
	ok := included("a", "192.0.2.1", "")
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no directory": {map[string]string{"xlb.yaml": "interfaces: [eth0]\ninclude: [conf.d, nowhere]\n"},
			`xlb.yaml:2:19: include[1]: "nowhere" cannot be read: no such file or directory: name a directory; its path begins at the folder of this file`},
		"a file for a directory": {map[string]string{"xlb.yaml": "interfaces: [eth0]\ninclude: xlb.yaml\n"},
			`xlb.yaml:2:10: include: "xlb.yaml" cannot be read: not a directory: name a directory; its path begins at the folder of this file`},
		"not YAML": {map[string]string{"xlb.yaml": including, "conf.d/a.yaml": "services: [\n", "conf.d/b.yaml": "\tx"},
			"conf.d/a.yaml:2:1: a list or mapping in brackets is not closed or lacks a comma: write it as [a, b] or {a: b, c: d}\nconf.d/b.yaml:1:1: a tab: write spaces"},
		"empty": {map[string]string{"xlb.yaml": including, "conf.d/a.yaml": "# nothing\n"},
			"conf.d/a.yaml: the file is empty: write at least services: []"},
		"settings of the node": {map[string]string{"xlb.yaml": including, "conf.d/a.yaml": ok + "xdp_mode: generic\ninclude: more\n"},
			"conf.d/a.yaml:7:1: xdp_mode: unknown field: remove it; the fields here are deny, deny_file, services\n" +
				"conf.d/a.yaml:8:1: include: unknown field: remove it; the fields here are deny, deny_file, services"},
		"unknown field of the second file": {map[string]string{"xlb.yaml": including, "conf.d/a.yaml": ok, "conf.d/b.yaml": included("b", "192.0.2.2", "    colour: red\n")},
			"conf.d/b.yaml:7:5: services[0].colour: unknown field: remove it; the fields here are name, vip, port, protocol, forward, gue, slots, affinity, tracking, " +
				"slow_start, panic, filter, limits, mss, quic, health, discover, backends"},
		"bad value of the second file": {map[string]string{"xlb.yaml": including, "conf.d/a.yaml": ok, "conf.d/b.yaml": included("b", "127.0.0.1", "")},
			"conf.d/b.yaml:3:10: services[0].vip: 127.0.0.1 is one of the loopback addresses, 127.0.0.0/8: write the unicast address of a machine, such as 10.1.0.1"},
		"name twice": {map[string]string{"xlb.yaml": including, "conf.d/a.yaml": ok, "conf.d/b.yaml": included("a", "192.0.2.2", "")},
			"conf.d/b.yaml:2:11: services[0].name: there is already a service a in line 2 of a.yaml: give each its own name"},
		"name of the file itself": {map[string]string{"xlb.yaml": including + strings.TrimPrefix(service(), "interfaces: [eth0]\n"), "conf.d/a.yaml": included("web", "192.0.2.2", "")},
			"conf.d/a.yaml:2:11: services[0].name: there is already a service web in line 4 of xlb.yaml: give each its own name"},
		"VIP twice": {map[string]string{"xlb.yaml": including, "conf.d/a.yaml": ok, "conf.d/b.yaml": included("b", "192.0.2.1", "")},
			"conf.d/b.yaml:4:11: services[0].port: 192.0.2.1:80/tcp already belongs to service a in line 2 of a.yaml: change vip, port or protocol, or give the backends to that service"},
		"bad prefixes": {map[string]string{"xlb.yaml": including, "conf.d/a.yaml": ok + "deny: [10.0.0.1/8]\ndeny_file: none.txt\n"},
			"conf.d/a.yaml:7:8: deny[0]: 10.0.0.1/8 has bits set behind its length: write 10.0.0.0/8, or 10.0.0.1 for the one address\n" +
				`conf.d/a.yaml:8:12: deny_file: "none.txt" cannot be read: no such file or directory: name a file with one prefix in each line; its path begins at the folder of this one`},
		"alias of another file": {map[string]string{"xlb.yaml": including + "services:\n  - {name: w, vip: 192.0.2.9, port: 1, forward: l2, backends: &p [{address: 10.0.0.1}]}\n", "conf.d/a.yaml": "services: *p\n"},
			"conf.d/a.yaml:1:11: an alias without an anchor before it: write the value itself"},
	} {
		t.Run(name, func(t *testing.T) {
			if c, got := loaded(t, tc.files); got != tc.want {
				t.Errorf("got %v\n%s\nwant\n%s", c, got, tc.want)
			}
		})
	}
}

func TestAnIncludedFileThatCannotBeReadIsTold(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "xlb.yaml")
	if err := os.WriteFile(file, []byte("interfaces: [eth0]\ninclude: .\nservices: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "a.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Load(file)
	if err == nil || !strings.Contains(err.Error(), "a.yaml: the file cannot be read: is a directory: ") {
		t.Errorf("got %v", err)
	}
}
