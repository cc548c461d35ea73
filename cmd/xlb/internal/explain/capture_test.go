package explain

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

var captured = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

// pcapOf is a pcap file of one frame, of which as many bytes are kept.
func pcapOf(t *testing.T, link layers.LinkType, frame []byte, kept int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	must(t, w.WriteFileHeader(65536, link))
	must(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: captured, CaptureLength: kept, Length: len(frame)}, frame[:kept]))
	return b.Bytes()
}

func pcapngOf(t *testing.T, link layers.LinkType, frame []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, link)
	must(t, err)
	must(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: captured, CaptureLength: len(frame), Length: len(frame)}, frame))
	must(t, w.Flush())
	return b.Bytes()
}

func fileOf(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "in.pcap")
	must(t, os.WriteFile(name, content, 0o600))
	return name
}

func TestCaptureIsReadWithItsTimesWhateverItsFormat(t *testing.T) {
	frame := build(t, "tcp", "198.51.100.1:4242", "192.0.2.10:80", 10)
	for name, content := range map[string][]byte{
		"pcap":   pcapOf(t, layers.LinkTypeEthernet, frame, len(frame)),
		"pcapng": pcapngOf(t, layers.LinkTypeEthernet, frame),
	} {
		packets := all(t, fileOf(t, content))
		if len(packets) != 1 || !bytes.Equal(packets[0].Frame, frame) || !packets[0].Time.Equal(captured) || packets[0].Length != len(frame) {
			t.Errorf("%s: %+v", name, packets)
		}
	}
}

func TestCaptureThatCannotBeRunIsRefusedWithTheRemedy(t *testing.T) {
	frame := build(t, "tcp", "198.51.100.1:4242", "192.0.2.10:80", 10)
	for _, c := range []struct {
		name    string
		content []byte
		says    []string
	}{
		{"text", []byte("interfaces: [eth0] # a configuration, say"), []string{"in.pcap", "no pcap or pcapng", "tcpdump -w"}},
		{"nothing", nil, []string{"in.pcap", "no pcap or pcapng"}},
		{"tcpdump -i any", pcapOf(t, layers.LinkTypeLinuxSLL, frame, len(frame)), []string{"in.pcap", "Linux SLL", "tcpdump -i eth0", "any"}},
		{"a tunnel", pcapngOf(t, layers.LinkTypeRaw, frame), []string{"Raw", "tcpdump -i eth0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := OpenCapture(fileOf(t, c.content))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, word := range c.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func TestCaptureCutShortIsReadUpToThere(t *testing.T) {
	frame := build(t, "tcp", "198.51.100.1:4242", "192.0.2.10:80", 10)
	content := pcapOf(t, layers.LinkTypeEthernet, frame, len(frame))
	content = append(content, content[24:]...) // the packet again
	for _, missing := range []int{1, len(frame) - 1, len(frame), len(frame) + 1} {
		c, err := OpenCapture(fileOf(t, content[:len(content)-missing]))
		must(t, err)
		defer c.Close()
		_, err = c.Next()
		must(t, err)
		if _, err = c.Next(); err == io.EOF || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "behind packet 1") {
			t.Errorf("without the last %d bytes: %v", missing, err)
		}
	}
}

// The snap length cut the packet; what is there is run, and what leaves is short
// by as much.
func TestPacketTruncatedInTheCaptureIsMarked(t *testing.T) {
	frame := build(t, "tcp", "198.51.100.1:4242", "192.0.2.99:80", 200)
	p := all(t, fileOf(t, pcapOf(t, layers.LinkTypeEthernet, frame, 96)))[0]
	n := newNode(t, parse(t, everything), Options{})
	e, err := n.Explain(p)
	must(t, err)
	if !e.Truncated || e.Reason != "bad_length" || e.BytesIn != 96 {
		t.Errorf("%+v", e)
	}
	var line bytes.Buffer
	must(t, Table(&line)(e))
	if !strings.HasSuffix(line.String(), "truncated in the capture\n") {
		t.Errorf("the table says %q", line.String())
	}

	name := filepath.Join(t.TempDir(), "out.pcap")
	out, err := CreateOutput(name, nil)
	must(t, err)
	must(t, out.Write(p, p.Frame[:50]))
	must(t, out.Close())
	if got := all(t, name)[0]; len(got.Frame) != 50 || got.Length != 50+len(frame)-96 {
		t.Errorf("%d bytes of %d were written", len(got.Frame), got.Length)
	}
}

func TestOutputNeverReplacesItsInput(t *testing.T) {
	name := fileOf(t, pcapOf(t, layers.LinkTypeEthernet, make([]byte, 60), 60))
	c, err := OpenCapture(name)
	must(t, err)
	defer c.Close()
	if _, err := CreateOutput(name, c); err == nil || !strings.Contains(err.Error(), "another file") {
		t.Errorf("error %v", err)
	}
	if len(all(t, name)) != 1 {
		t.Error("the capture is gone")
	}
}
