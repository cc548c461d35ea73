package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/testenv"
)

func TestDownEndsTheDaemonAndTakesItsDataPathAway(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	node := start(t, lab, configFor(lab, "ipip", "tcp"))
	to := netip.AddrPortFrom(lab.VIPs[0], lab.Port)
	if _, err := lab.Owners(deadline(t), to, testenv.Sources(5)); err != nil {
		t.Fatal(err)
	}
	version, err := node.Version(t.Context())
	must(t, err)
	pins := filepath.Join("/sys/fs/bpf/xlb", version.Instance)
	if _, err := os.Stat(pins); err != nil {
		t.Fatal(err)
	}

	out, err := xlb(t, lab, "down", "--socket", node.Socket())
	if err == nil || !strings.Contains(out, "repeat with --yes") {
		t.Errorf("unasked: %v\n%s", err, out)
	}
	if _, err := lab.Owners(deadline(t), to, testenv.Sources(5)); err != nil {
		t.Errorf("what was not confirmed has taken something away: %v", err)
	}

	out, err = xlb(t, lab, "down", "--yes", "--socket", node.Socket())
	if err != nil || out != "instance "+version.Instance+" is down\n" {
		t.Fatalf("%v\n%s", err, out)
	}
	must(t, node.Stop()) // it has ended, and well
	if _, err := os.Stat(pins); !os.IsNotExist(err) {
		t.Errorf("its pins are still there: %v", err)
	}
	links, err := lab.LB.Command(deadline(t), "ip", "link", "show", "dev", lab.LBInterfaces[0]).CombinedOutput()
	if err != nil || strings.Contains(string(links), "xdp") {
		t.Errorf("the program is still attached (%v):\n%s", err, links)
	}

	// Twice is once.
	if out, err := xlb(t, lab, "down", "--yes", "--instance", version.Instance); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
