package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/xlb-project/xlb/cmd/xlb/internal/explain"
)

const explainConfig = `
interfaces: [eth0]
source: {ipv4: 10.0.0.1}
gateway_mac: "02:00:00:00:00:01"
services:
  - {name: web, vip: 192.0.2.10, port: [80, 443], forward: ipip, mss: 1400, backends: [{address: 10.1.0.1, name: b1}]}
  - {name: dns, vip: "2001:db8::53", port: 53, protocol: udp, forward: l2, backends: [{address: "fd00::21", mac: "02:00:00:00:00:21"}]}
  - {name: h3, vip: 192.0.2.11, port: 443, protocol: udp, forward: gue, backends: [{address: "fd00:1::1", name: g1, mac: "02:00:00:00:00:33"}]}
`

// explained runs `xlb explain` and returns what it prints.
func explained(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "xlb.yaml")
	must(t, os.WriteFile(file, []byte(explainConfig), 0o600))
	var out, errs bytes.Buffer
	root := rootCommand()
	root.SetArgs(append([]string{"explain", "-c", file}, args...))
	root.SetOut(&out)
	root.SetErr(&errs)
	err = root.ExecuteContext(deadline(t))
	return out.String(), errs.String(), err
}

var capturedAt = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

// capture writes a few packets a millisecond apart, as pcapng.
func capture(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "in.pcapng")
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	w, err := pcapgo.NewNgWriter(f, layers.LinkTypeEthernet)
	must(t, err)
	for i, s := range []struct{ protocol, src, dst string }{
		{"tcp", "198.51.100.7:4242", "192.0.2.10:443"},
		{"udp", "[2001:db8:f::7]:5353", "[2001:db8::53]:53"},
		{"udp", "198.51.100.7:4242", "192.0.2.11:443"},
		{"tcp", "198.51.100.7:4242", "192.0.2.10:22"},
		{"tcp", "192.0.2.10:80", "192.0.2.10:80"},
		{"tcp", "198.51.100.7:4242", "203.0.113.5:80"},
	} {
		frame, err := explain.Single{Protocol: s.protocol, Src: netip.MustParseAddrPort(s.src), Dst: netip.MustParseAddrPort(s.dst), Size: 30, TTL: 64}.Build()
		must(t, err)
		at := capturedAt.Add(time.Duration(i) * time.Millisecond)
		must(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(frame), Length: len(frame)}, frame))
	}
	must(t, w.Flush())
	return name
}

func TestExplainPrintsALinePerPacketAndASummary(t *testing.T) {
	out, errs, err := explained(t, "--pcap", capture(t))
	must(t, err)
	want := `
PACKET  TIME (UTC)       FROM                   TO                     PROTOCOL  VERDICT   REASON      SERVICE   BACKEND
     1  03:04:05.678901  198.51.100.7:4242      192.0.2.10:443         tcp       tx        forwarded   web       b1 (10.1.0.1)
     2  03:04:05.679901  [2001:db8:f::7]:5353   [2001:db8::53]:53      udp       tx        forwarded   dns       fd00::21
     3  03:04:05.680901  198.51.100.7:4242      192.0.2.11:443         udp       tx        forwarded   h3        g1 (fd00:1::1)
     4  03:04:05.681901  198.51.100.7:4242      192.0.2.10:22          tcp       pass      no_service  -         -
     5  03:04:05.682901  192.0.2.10:80          192.0.2.10:80          tcp       drop      land        web       -
     6  03:04:05.683901  198.51.100.7:4242      203.0.113.5:80         tcp       pass      not_ours    -         -
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), out); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want = `6 packets, 3 leave: 3 forwarded, 1 not_ours, 1 no_service, 1 land
  forwarded: sent to a backend; counted with the backend
  not_ours: the destination is no VIP: handed to the kernel
  no_service: the VIP has no service on that port or protocol: handed to the kernel
  land: source and destination address are the same
`
	if diff := cmp.Diff(want, errs); diff != "" {
		t.Errorf("summary, -want +got:\n%s", diff)
	}
}

func TestExplainPrintsJSONLinesWithStableFields(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.pcap")
	out, errs, err := explained(t, "--pcap", capture(t), "-o", "json", "--out", file)
	must(t, err)
	if errs != "6 packets, 3 leave: 3 forwarded, 1 not_ours, 1 no_service, 1 land\n" {
		t.Errorf("summary %q", errs)
	}
	var objects []map[string]any
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		var o map[string]any
		must(t, json.Unmarshal(lines.Bytes(), &o))
		objects = append(objects, o)
	}
	if len(objects) != 6 {
		t.Fatalf("%d lines", len(objects))
	}
	if diff := cmp.Diff(map[string]any{
		"packet": 5.0, "time": "2026-01-02T03:04:05.682901234Z", "source": "192.0.2.10:80", "destination": "192.0.2.10:80", "protocol": "tcp",
		"verdict": "drop", "reason": "land", "why": "source and destination address are the same",
		"service": "web", "backend": "", "address": "", "bytesIn": 84.0, "out": "",
	}, objects[4]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	frames, times := readPcap(t, file)
	if len(frames) != 3 {
		t.Fatalf("%d packets were written", len(frames))
	}
	for i, frame := range frames {
		if objects[i]["out"] != hex.EncodeToString(frame) || !times[i].Equal(capturedAt.Add(time.Duration(i)*time.Millisecond)) {
			t.Errorf("packet %d was written as %x at %s, JSON says %v", i+1, frame, times[i], objects[i])
		}
	}
}

func readPcap(t *testing.T, name string) (frames [][]byte, times []time.Time) {
	t.Helper()
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	must(t, err)
	for {
		frame, info, err := r.ReadPacketData()
		if err != nil {
			return frames, times
		}
		frames, times = append(frames, frame), append(times, info.Timestamp)
	}
}

func TestExplainShowsASinglePacketsHeaders(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--proto", "tcp", "--src", "198.51.100.7:4242", "--dst", "192.0.2.10:443", "--syn"}, `198.51.100.7:4242 -> 192.0.2.10:443 tcp, 60 bytes

verdict  tx
reason   forwarded: sent to a backend; counted with the backend
service  web
backend  b1 (10.1.0.1)
leaves   80 bytes

  Ethernet  00:00:00:00:00:00 -> 02:00:00:00:00:01
  IPv4      10.0.0.1 -> 10.1.0.1  IPv4, TTL 64, TOS 0x00, 64 bytes, DF
  IPv4      198.51.100.7 -> 192.0.2.10  TCP, TTL 63, TOS 0x00, 44 bytes, DF
  TCP       4242 -> 443  SYN MSS 1400

  00000000  02 00 00 00 00 01 00 00  00 00 00 00 08 00 45 00  |..............E.|
  00000010  00 40 00 00 40 00 40 04  26 b8 0a 00 00 01 0a 01  |.@..@.@.&.......|
  00000020  00 01 45 00 00 2c 00 00  40 00 3f 06 4f 87 c6 33  |..E..,..@.?.O..3|
  00000030  64 07 c0 00 02 0a 10 92  01 bb 00 00 00 00 00 00  |d...............|
  00000040  00 00 60 02 ff ff 99 d0  00 00 02 04 05 78 00 00  |..` + "`" + `..........x..|
`},
		{[]string{"--proto", "udp", "--src", "198.51.100.7:4242", "--dst", "192.0.2.11:443", "--size", "40"}, `
  Ethernet  00:00:00:00:00:00 -> 02:00:00:00:00:33
  IPv6      :: -> fd00:1::1  UDP, hop limit 64, class 0x00, flow label `},
		{[]string{"--proto", "udp", "--src", "198.51.100.7:4242", "--dst", "192.0.2.11:443", "--size", "40"}, `
  GUE       version 0, protocol 4
  IPv4      198.51.100.7 -> 192.0.2.11  UDP, TTL 63, TOS 0x00, 68 bytes, DF
  UDP       4242 -> 443  48 bytes, checksum 0x00fb
  Payload   40 bytes
`},
		{[]string{"--src", "198.51.100.7:4242", "--dst", "192.0.2.10:443", "--size", "1300", "--mtu", "1300"}, "ICMP      DestinationUnreachable(FragmentationNeeded), MTU 1280\n"},
		{[]string{"--proto", "icmp", "--src", "2001:db8:f::7", "--dst", "2001:db8::53"}, "ICMPv6    EchoReply\n"},
		{[]string{"--src", "198.51.100.7:4242", "--dst", "192.0.2.10:443", "--down", "web/b1"}, "verdict  drop\nreason   no_backend: the service has no backend that is up\nservice  web\nbackend  -\n"},
		{[]string{"--src", "198.51.100.7:4242", "--dst", "192.0.2.10:443", "--ttl", "1"}, "reason   ttl_expired: "},
	} {
		out, errs, err := explained(t, c.args...)
		if err != nil || errs != "" || !strings.Contains(out, c.want) {
			t.Errorf("xlb explain %s: %v; it prints:\n%s%s", strings.Join(c.args, " "), err, out, errs)
		}
	}
}

func TestExplainRefusesWhatItCannotRun(t *testing.T) {
	const src, dst = "198.51.100.7:4242", "192.0.2.10:443"
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "--pcap FILE, or --src and --dst"},
		{[]string{"--src", src}, "--src and --dst"},
		{[]string{"--pcap", "in.pcap", "--src", src}, "--src with --pcap"},
		{[]string{"--pcap", "/nonexistent.pcap"}, "/nonexistent.pcap"},
		{[]string{"--src", src, "--dst", "192.0.2.10"}, "--dst 192.0.2.10: write an address and a port"},
		{[]string{"--src", src, "--dst", "[2001:db8::1]:443"}, "write two of one family"},
		{[]string{"--src", src, "--dst", dst, "--proto", "icmp"}, "without port"},
		{[]string{"--src", src, "--dst", dst, "--proto", "sctp"}, "write tcp, udp or icmp"},
		{[]string{"--src", src, "--dst", dst, "--proto", "udp", "--syn"}, "--proto tcp"},
		{[]string{"--src", src, "--dst", dst, "--size", "-1"}, "--size -1"},
		{[]string{"--src", src, "--dst", dst, "--mtu", "20"}, "--mtu 20"},
		{[]string{"--src", src, "--dst", dst, "--down", "b7"}, "no backend has the name b7"},
		{[]string{"--src", src, "--dst", dst, "-o", "xml"}, "write table or json"},
		{[]string{"--src", src, "--dst", dst, "--out", "/nonexistent/out.pcap"}, "/nonexistent/out.pcap"},
	} {
		_, _, err := explained(t, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("xlb explain %s: error %v does not say %q", strings.Join(c.args, " "), err, c.says)
		}
	}
}

func TestExplainWithoutPrivilegesSaysSo(t *testing.T) {
	file := filepath.Join(os.TempDir(), "xlb-explain-"+filepath.Base(t.TempDir())+".yaml")
	must(t, os.WriteFile(file, []byte(explainConfig), 0o644))
	defer os.Remove(file)
	cmd := exec.CommandContext(deadline(t), self.Path, "explain", "-c", file, "--src", "198.51.100.7:4242", "--dst", "192.0.2.10:443")
	cmd.Env = append(os.Environ(), self.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "run as root") {
		t.Errorf("error %v, output %s", err, out)
	}
}
