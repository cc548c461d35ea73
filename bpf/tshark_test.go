package bpf_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/xlb-project/xlb/maps"
)

// decoded is what tshark says about a frame: fields and their values, those of
// outer headers first. Fields without value are left out.
type decoded map[string]string

func (d decoded) add(field string, value any) {
	if d[field] != "" {
		d[field] += ","
	}
	d[field] += fmt.Sprint(value)
}

// Fields that are asked for.
var fields = []string{
	"frame.protocols", "eth.src", "eth.dst", "ieee8021ad.id", "vlan.id",
	"ip.src", "ip.dst", "ip.len", "ip.proto", "ip.ttl", "ip.flags.df", "ip.dsfield", "ip.checksum.status",
	"ipv6.src", "ipv6.dst", "ipv6.plen", "ipv6.nxt", "ipv6.hlim", "ipv6.tclass",
	"gre.flags_and_version", "gre.proto", "gue.first", "gue.proto", "gue.flags",
	"udp.srcport", "udp.dstport", "udp.length", "udp.checksum.status",
	"tcp.srcport", "tcp.dstport", "tcp.checksum.status", "tcp.options.mss_val",
	"icmp.type", "icmp.code", "icmp.mtu", "icmp.checksum.status",
	"icmpv6.type", "icmpv6.code", "icmpv6.mtu", "icmpv6.checksum.status",
	"_ws.expert.message", "_ws.malformed",
}

// Values of tshark's checksum status fields.
const (
	statusGood   = 1
	statusAbsent = 3
)

// tshark decodes frames, verifying every checksum.
func tshark(t *testing.T, frames [][]byte) []decoded {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Fatal("this test reads frames with tshark: install it with `tools/deps test`, or `apt-get install tshark`")
	}
	capture := filepath.Join(t.TempDir(), "frames.pcap")
	writeCapture(t, capture, frames)
	args := []string{
		"-r", capture, "-X", "lua_script:testdata/gue.lua", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=,",
		"-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "ip.defragment:FALSE",
		"-o", "ipv6.defragment:FALSE", "-o", "udp.ignore_ipv6_zero_checksum:TRUE", "-o", "tcp.analyze_sequence_numbers:FALSE",
		"--disable-protocol", "tls", "--disable-protocol", "quic", // payloads are filler
	}
	for _, field := range fields {
		args = append(args, "-e", field)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, stderr.String())
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(frames) {
		t.Fatalf("tshark tells of %d frames, want %d: %s", len(lines), len(frames), stderr.String())
	}
	all := make([]decoded, len(lines))
	for i, line := range lines {
		all[i] = decoded{}
		for n, value := range strings.Split(line, "\t") {
			if value != "" {
				all[i][fields[n]] = strings.TrimSuffix(strings.ReplaceAll(value, ":ethertype", ""), ":data")
			}
		}
	}
	return all
}

func writeCapture(t *testing.T, path string, frames [][]byte) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := pcapgo.NewWriter(file)
	if err := w.WriteFileHeader(1<<16, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, frame := range frames {
		info := gopacket.CaptureInfo{Timestamp: time.Unix(0, 0), CaptureLength: len(frame), Length: len(frame)}
		if err := w.WritePacket(info, frame); err != nil {
			t.Fatal(err)
		}
	}
}

// sample is a frame that xlb has sent, and what tshark must see in it.
type sample struct {
	name  string
	frame []byte
	want  decoded
}

// link begins with an Ethernet header and its tags.
func link(dst, src maps.MAC, tags ...maps.Tag) decoded {
	d := decoded{"eth.dst": net.HardwareAddr(dst[:]).String(), "eth.src": net.HardwareAddr(src[:]).String(), "frame.protocols": "eth"}
	for _, tag := range tags {
		switch tag.Type {
		case 0x88a8:
			d["frame.protocols"] += ":ieee8021ad"
			d.add("ieee8021ad.id", tag.ID&0xfff)
		case 0x8100:
			d["frame.protocols"] += ":vlan"
			d.add("vlan.id", tag.ID&0xfff)
		}
	}
	return d
}

// ip adds an IP header in front of that many bytes, without fragmentation.
func (d decoded) ip(src, dst netip.Addr, proto layers.IPProtocol, tos, ttl uint8, payload int) decoded {
	if src.Is6() {
		d["frame.protocols"] += ":ipv6"
		d.add("ipv6.src", src)
		d.add("ipv6.dst", dst)
		d.add("ipv6.nxt", int(proto))
		d.add("ipv6.hlim", ttl)
		d.add("ipv6.plen", payload)
		d.add("ipv6.tclass", fmt.Sprintf("%#08x", tos))
		return d
	}
	d["frame.protocols"] += ":ip"
	d.add("ip.src", src)
	d.add("ip.dst", dst)
	d.add("ip.proto", int(proto))
	d.add("ip.ttl", ttl)
	d.add("ip.len", payload+20)
	d.add("ip.dsfield", fmt.Sprintf("%#02x", tos))
	d.add("ip.flags.df", 1)
	d.add("ip.checksum.status", statusGood)
	return d
}

func (d decoded) tcp(src, dst uint16) decoded {
	d["frame.protocols"] += ":tcp"
	d.add("tcp.srcport", src)
	d.add("tcp.dstport", dst)
	d.add("tcp.checksum.status", statusGood)
	return d
}

func (d decoded) udp(src, dst uint16, payload, status int) decoded {
	d["frame.protocols"] += ":udp"
	d.add("udp.srcport", src)
	d.add("udp.dstport", dst)
	d.add("udp.length", payload+8)
	d.add("udp.checksum.status", status)
	return d
}

func (d decoded) icmp(v6 bool, kind, code uint8) decoded {
	name := "icmp"
	if v6 {
		name = "icmpv6"
	}
	d["frame.protocols"] += ":" + name
	d.add(name+".type", kind)
	d.add(name+".code", code)
	d.add(name+".checksum.status", statusGood)
	return d
}

// leaving begins with what a packet of that many bytes and a hash leaves for a backend in.
func (w way) leaving(hash uint64, length int) decoded {
	d := link(w.b.DestMAC, w.b.SourceMAC, w.b.Tags[:]...)
	kind, etherType := layers.IPProtocolIPv4, "0x0800"
	if w.inner.v6() {
		kind, etherType = layers.IPProtocolIPv6, "0x86dd"
	}
	src := w.b.Source
	if src.IsValid() {
		src = varied(w.b, hash)
	}
	switch w.b.Forward {
	case maps.IPIP:
		return d.ip(src, w.b.Dest, kind, 0xb9, 64, length)
	case maps.GRE:
		d.ip(src, w.b.Dest, layers.IPProtocolGRE, 0xb9, 64, length+4)
		d["frame.protocols"] += ":gre"
		d["gre.flags_and_version"], d["gre.proto"] = "0x0000", etherType
	case maps.GUE:
		status := statusAbsent
		if w.b.Checksum {
			status = statusGood
		}
		d.ip(src, w.b.Dest, layers.IPProtocolUDP, 0xb9, 64, length+12)
		d.udp(0xc000|uint16(hash&0x3fff), 6080, length+4, status)
		d["frame.protocols"] += ":gue"
		d["gue.first"], d["gue.proto"], d["gue.flags"] = "0", fmt.Sprint(int(kind)), "0"
	}
	return d
}

// sampleWay sends what the client and routers send to a backend.
func sampleWay(t *testing.T, p *path, w way) []sample {
	t.Helper()
	f := w.inner
	for i := range families {
		p.offer(maps.ServiceID(i), maps.Service{MSS: 1220}, w.b)
	}
	run := func(ip []byte) []byte {
		verdict, out := p.run(arriving(ip))
		if verdict != xdpTX {
			t.Fatalf("%s: verdict %d, want TX", w.name, verdict)
		}
		return out
	}
	tcp, udp, about := f.tcp(t, 443, 20), f.udp(t, 443, 33), f.quoted(t, maps.TCP, 443)
	syn := packet(t, f.ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: 4242, DstPort: 443, SYN: true, Options: []layers.TCPOption{
		{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{0x05, 0xb4}},
	}})
	kind := f.errorTypes()[1]
	failed := f.icmp(t, f.router(), kind[0], kind[1], 0, about)
	tcpHash, udpHash := f.hash(443, maps.TCP), f.hash(443, maps.UDP)
	header := len(tcp) - 40
	clamped := w.leaving(tcpHash, len(syn)).ip(f.client, f.vip, layers.IPProtocolTCP, 0xb9, 63, 28).tcp(4242, 443)
	clamped["tcp.options.mss_val"] = "1220"
	clamped["_ws.expert.message"] = "Connection establish request (SYN): server port 443"
	icmp := layers.IPProtocolICMPv4
	if f.v6() {
		icmp = layers.IPProtocolICMPv6
	}
	return []sample{
		{w.name + ", a segment", run(tcp), w.leaving(tcpHash, len(tcp)).ip(f.client, f.vip, layers.IPProtocolTCP, 0xb9, 63, 40).tcp(4242, 443)},
		{w.name + ", a SYN", run(syn), clamped},
		{w.name + ", a datagram", run(udp), w.leaving(udpHash, len(udp)).ip(f.client, f.vip, layers.IPProtocolUDP, 0xb9, 63, 41).udp(4242, 443, 33, statusGood)},
		{w.name + ", an error", run(failed), w.leaving(tcpHash, len(failed)).ip(f.router(), f.vip, icmp, 0xb9, 63, len(failed)-header).icmp(f.v6(), kind[0], kind[1]).
			ip(f.vip, f.client, layers.IPProtocolTCP, 0xb9, 64, len(about)-header).tcp(443, 4242)},
	}
}

// sampleAnswers lets xlb answer the client itself.
func sampleAnswers(t *testing.T, p *path, f family, tags ...maps.Tag) (all []sample) {
	t.Helper()
	b, mtu, icmp, kind := via(maps.IPIP, family4, f), "icmp.mtu", layers.IPProtocolICMPv4, []uint8{3, 4}
	if f.v6() {
		mtu, icmp, kind = "icmpv6.mtu", layers.IPProtocolICMPv6, []uint8{2, 0}
	}
	b.MTU = 1300
	for i := range families {
		p.offer(maps.ServiceID(i), maps.Service{}, b)
	}
	// an empty checksum, because a reader cannot verify that of a packet that is quoted in part
	long := packet(t, f.ip(layers.IPProtocolUDP), gopacket.Payload(serialise(t, gopacket.SerializeOptions{FixLengths: true}, &layers.UDP{SrcPort: 4242, DstPort: 443}, filler(1300))))
	_, told := p.run(arriving(long, tags...))
	_, pong := p.run(arriving(f.ping(t, 20), tags...))

	header := len(f.tcp(t, 443, 0)) - 20
	quote := min(len(long), map[bool]int{false: 520, true: 1232}[f.v6()])
	tooBig := link(routerMAC, selfMAC, tags...).ip(f.vip, f.client, icmp, 0, 64, 8+quote).icmp(f.v6(), kind[0], kind[1]).
		ip(f.client, f.vip, layers.IPProtocolUDP, 0xb9, 64, len(long)-header).udp(4242, 443, 1300, statusAbsent)
	tooBig[mtu] = "1280"
	return []sample{
		{f.name + ", too big", told, tooBig},
		{f.name + ", a pong", pong, link(routerMAC, selfMAC, tags...).ip(f.vip, f.client, icmp, 0xb9, 64, 28).icmp(f.v6(), f.echo()[1], 0)},
	}
}

// What xlb sends is what another implementation reads: addresses, protocols and
// lengths are right, checksums too, nothing is malformed. UDP's checksum is absent
// where none is asked for.
func TestTsharkReadsWhatXLBSends(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	var samples []sample
	for _, w := range ways() {
		samples = append(samples, sampleWay(t, p, w)...)
		w.name += ", tagged"
		copy(w.b.Tags[:], twoTags)
		samples = append(samples, sampleWay(t, p, w)...)
	}
	b := via(maps.IPIP, family6, family4)
	b.Source, b.SourceBits = netip.MustParseAddr("fd00:9::"), 24
	samples = append(samples, sampleWay(t, p, way{"outer sources that vary", family4, b})...)
	for _, f := range families {
		samples = append(samples, sampleAnswers(t, p, f)...)
		samples = append(samples, sampleAnswers(t, p, f, twoTags...)...)
	}

	frames := make([][]byte, len(samples))
	for i, s := range samples {
		frames[i] = s.frame
	}
	for i, got := range tshark(t, frames) {
		if diff := cmp.Diff(samples[i].want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", samples[i].name, diff)
		}
	}
}

// The reader does verify: a byte that differs anywhere in what a checksum covers shows.
func TestTsharkSeesDamage(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	b := via(maps.GUE, family6, family4)
	b.Checksum = true
	p.must(p.tables.SetBackend(1, b))
	_, sent := p.run(arriving(family4.tcp(t, 443, 20)))
	const outer, inner, l4 = 14, 14 + 40 + 12, 14 + 40 + 12 + 20
	var frames [][]byte
	for _, at := range []int{outer + 8, inner + 8, l4 + 4, len(sent) - 1} {
		frames = append(frames, with(sent, func(b []byte) { b[at] ^= 1 }))
	}
	for i, got := range tshark(t, frames) {
		if got["_ws.expert.message"] == "" {
			t.Errorf("frame %d is damaged, and tshark says nothing: %v", i, got)
		}
	}
}
