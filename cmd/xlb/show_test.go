package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// xlb runs a command of the binary beside a node and returns what it prints.
func xlb(t *testing.T, lab *testenv.Lab, args ...string) (string, error) {
	t.Helper()
	cmd := lab.LB.Command(deadline(t), self.Path, args...)
	cmd.Env = append(os.Environ(), self.Env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestStatusShowsTheNodeAsTableAndAsJSON(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	node := start(t, lab, configFor(lab, "ipip", "tcp"))
	if _, err := lab.Owners(deadline(t), netip.AddrPortFrom(lab.VIPs[0], lab.Port), testenv.Sources(30)); err != nil {
		t.Fatal(err)
	}
	lab.Backends[1].SetHealthy(false)
	waitForState(t, node, "backend2", control.StateDown)

	out, err := xlb(t, lab, "status", "--socket", node.Socket())
	must(t, err)
	for _, line := range []string{
		`(?m)^eth0: native XDP, MTU 1600$`,
		`(?m)^web  192\.0\.2\.10:80/tcp  ipip  2 of 3 backends up  \d+ packets  `,
		`(?m)^ *backend1 +10\.1\.1\.1 +up +\d+s +100 +[45]\d\.\d % +\d+ +\S+ k?B +eth0 via 10\.0\.0\.254 +200 OK$`,
		`(?m)^ *backend2 +10\.1\.2\.1 +down +\d+s +100 +0\.0 % .*status 503`,
		`(?m)^ *\d+ +emit +forwarded `,
	} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("no line like %s in:\n%s", line, out)
		}
	}

	out, err = xlb(t, lab, "status", "-o", "json", "--socket", node.Socket())
	must(t, err)
	var status control.Status
	must(t, json.Unmarshal([]byte(out), &status))
	if got := status.Services[0]; got.Up != 2 || got.Backends[1].Slots != 0 || got.Traffic.Packets == 0 {
		t.Errorf("JSON says %+v", got)
	}
}

func TestStatusWithoutADaemonSaysHowToStartOne(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{})
	out, err := xlb(t, lab, "status", "--socket", "/nonexistent/xlb.sock")
	if err == nil || !strings.Contains(out, "/nonexistent/xlb.sock") || !strings.Contains(out, "xlb run -c FILE") {
		t.Errorf("error %v, output:\n%s", err, out)
	}
}

func TestSecondDaemonOnTheSameSocketIsRefused(t *testing.T) {
	lab := testenv.New(t, testenv.NewTwoArmed, testenv.Options{})
	node := start(t, lab, configFor(lab, "l2", "tcp"))
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "spare"
	spare := netlink.NewVeth(attrs)
	spare.PeerName = "spare-peer"
	must(t, lab.LB.Netlink().LinkAdd(spare))
	must(t, lab.LB.Netlink().LinkSetUp(spare))
	out := refusal(t, lab, strings.Replace(configFor(lab, "l2", "tcp"), "[eth0, eth1]", "[spare]", 1)+"api: {socket: "+node.Socket()+"}\n")
	if !strings.Contains(out, "another xlb") || !strings.Contains(out, node.Socket()) {
		t.Errorf("it says:\n%s", out)
	}
}

func TestMetricsAgreeWithTheTraffic(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	node := start(t, lab, configFor(lab, "ipip", "tcp"))
	if _, err := lab.Owners(deadline(t), netip.AddrPortFrom(lab.VIPs[0], lab.Port), testenv.Sources(30)); err != nil {
		t.Fatal(err)
	}
	status, err := node.Status(t.Context())
	must(t, err)
	text := scrape(t, lab)
	for _, line := range []string{
		`xlb_serving 1`,
		`xlb_interface_info{interface="eth0",mode="native"} 1`,
		`xlb_backend_up{backend="backend1",service="web"} 1`,
		`xlb_packets_total{reason="no_backend",verdict="drop"} 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	want := jsonNumber(t, status.Services[0].Traffic.Packets)
	if line := `xlb_packets_total{reason="forwarded",verdict="emit"} ` + want; !strings.Contains(text, line+"\n") {
		t.Errorf("no line %s in:\n%s", line, text)
	}
}

func jsonNumber(t *testing.T, n uint64) string {
	t.Helper()
	b, err := json.Marshal(n)
	must(t, err)
	return string(b)
}

func scrape(t *testing.T, lab *testenv.Lab) string {
	t.Helper()
	var conn net.Conn
	ctx := deadline(t)
	conn, err := lab.LB.Dial(ctx, "tcp", netip.AddrPort{}, netip.MustParseAddrPort("127.0.0.1:9480"))
	must(t, err)
	defer conn.Close()
	req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:9480/metrics", nil)
	must(t, err)
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	client := http.Client{Transport: &http.Transport{DialContext: dial}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(body)
}
