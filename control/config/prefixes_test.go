package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// load loads a file xlb.yaml that stands beside the lists in files. Of errors it
// returns the text without the folder.
func load(t *testing.T, text string, files map[string]string) (*Config, string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		write(name, text)
	}
	write("xlb.yaml", text)
	c, err := Load(filepath.Join(dir, "xlb.yaml"))
	if err != nil {
		return nil, strings.ReplaceAll(err.Error(), dir+"/", "")
	}
	return c, ""
}

func TestListsInFilesJoinTheWrittenOnes(t *testing.T) {
	c, fault := load(t, "deny_file: sub/../denied.txt\ndeny: [10.0.0.0/8, 198.51.100.7]\n"+
		service("ipip", "ipip\n    filter: {allow: [192.0.2.1], allow_file: allowed.txt, deny_file: denied.txt}"),
		map[string]string{
			"denied.txt":  "\ufeff# bad\n\n198.51.100.7/32\r\n\t2001:db8::/32 # worse\n203.0.113.9#\n203.0.113.9",
			"allowed.txt": "",
		})
	if fault != "" {
		t.Fatal(fault)
	}
	listed := []netip.Prefix{prefix("198.51.100.7"), prefix("2001:db8::/32"), prefix("203.0.113.9")}
	if diff := cmp.Diff(append([]netip.Prefix{prefix("10.0.0.0/8")}, listed...), c.Deny, addresses); diff != "" {
		t.Error(diff)
	}
	want := &Filter{Allow: []netip.Prefix{prefix("192.0.2.1")}, Deny: listed}
	if diff := cmp.Diff(want, c.Services[0].Filter, addresses); diff != "" {
		t.Error(diff)
	}
}

func TestProblemsOfListsNameTheirFiles(t *testing.T) {
	filter := func(text string) string { return service("ipip", "ipip\n    filter: {"+text+"}") }
	big := strings.Repeat("#", maxFile+1)
	for title, tc := range map[string]struct {
		text  string
		files map[string]string
		want  string
	}{
		"missing": {"deny_file: none.txt\n" + service(), nil,
			`xlb.yaml:1:12: deny_file: "none.txt" cannot be read: no such file or directory: name a file with one prefix in each line; its path begins at the folder of this one`},
		"folder": {"deny_file: .\n" + service(), nil, `xlb.yaml:1:12: deny_file: "." cannot be read: is a directory: name a file with one prefix in each line; its path begins at the folder of this one`},
		"too large": {"deny_file: a.txt\n" + service(), map[string]string{"a.txt": big},
			"a.txt: deny_file: the file is larger than 16 MiB: write a shorter one"},
		"no prefix": {"deny_file: a.txt\n" + service(), map[string]string{"a.txt": "\n  10.0.0.0/8, 10.1.0.0/16\nexample.org # x\n"},
			"a.txt:2:3: deny_file: \"10.0.0.0/8, 10.1.0.0/16\" is not a prefix or an address: " + wantPrefix.remedy + ", one in each line\n" +
				"a.txt:3:1: deny_file: \"example.org\" is not a prefix or an address: " + wantPrefix.remedy + ", one in each line"},
		"host bits, once for two lists": {"deny_file: a.txt\n" + filter("deny_file: a.txt"), map[string]string{"a.txt": "10.0.0.1/8\n"},
			"a.txt:1:1: deny_file: 10.0.0.1/8 has bits set behind its length: write 10.0.0.0/8, or 10.0.0.1 for the one address"},
		"in both files": {filter("allow_file: a.txt, deny_file: d.txt"), map[string]string{"a.txt": "10.0.0.0/8\n10.0.0.1\n", "d.txt": "10.0.0.1\n"},
			"d.txt:1:1: services[0].filter.deny_file: 10.0.0.1 is allowed as well in line 2 of a.txt: keep one of them"},
		"in a file and in the list": {filter("allow: [10.0.0.1], deny_file: d.txt"), map[string]string{"d.txt": "\n10.0.0.1\n"},
			"d.txt:2:1: services[0].filter.deny_file: 10.0.0.1 is allowed as well in line 7 of xlb.yaml: keep one of them"},
		"in the list and in a file": {filter("allow_file: a.txt, deny: [10.0.0.1]"), map[string]string{"a.txt": "10.0.0.1\n"},
			"xlb.yaml:7:40: services[0].filter.deny[0]: 10.0.0.1 is allowed as well in line 1 of a.txt: keep one of them"},
		"more than the table holds": {"deny_file: a.txt\nlimits: {rules: 1}\n" + service(), map[string]string{"a.txt": "10.0.0.1\n10.0.0.2\n"},
			"xlb.yaml:1:1: deny: up to here there are 2 source prefixes, and limits.rules is 1: raise limits.rules"},
		"behind those of the configuration": {"deny_file: a.txt\n" + service("port: 80", "port: 0"), map[string]string{"a.txt": "x\n"},
			"xlb.yaml:6:11: services[0].port: port 0 is reserved and no client can connect to it: write 1 to 65535\n" +
				"a.txt:1:1: deny_file: \"x\" is not a prefix or an address: " + wantPrefix.remedy + ", one in each line"},
	} {
		t.Run(title, func(t *testing.T) {
			_, fault := load(t, tc.text, tc.files)
			if fault != tc.want {
				t.Errorf("got\n%s\nwant\n%s", fault, tc.want)
			}
		})
	}
}

func TestAFileUsedByManyServicesIsBounded(t *testing.T) {
	text := "interfaces: [e]\nservices:\n  - &s {name: a, vip: 192.0.2.1, port: 80, forward: l2, filter: {deny_file: a.txt}, backends: [{address: 10.0.0.1}]}\n" +
		strings.Repeat("  - *s\n", 100)
	_, fault := load(t, text, map[string]string{"a.txt": strings.Repeat("10.0.0.1\n", 100_000)})
	if !strings.Contains(fault, "more than 4194304 values up to here") {
		t.Errorf("got %.300s", fault)
	}
}
