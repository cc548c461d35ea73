package explain

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Capture is a pcap or pcapng file that is being read.
type Capture struct {
	file    *os.File
	packets packetReader
	read    int
}

type packetReader interface {
	ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

// ngMagic begins a pcapng file.
var ngMagic = []byte{0x0a, 0x0d, 0x0d, 0x0a}

// buffered is how much of a file is read or written at once.
const buffered = 1 << 18

// OpenCapture opens a file of Ethernet frames.
func OpenCapture(name string) (*Capture, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	c := &Capture{file: file}
	if err := c.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("read capture %s: %w", name, err), file.Close())
	}
	return c, nil
}

func (c *Capture) open() error {
	buf := bufio.NewReaderSize(c.file, buffered)
	magic, err := buf.Peek(len(ngMagic))
	if err == nil && bytes.Equal(magic, ngMagic) {
		c.packets, err = pcapgo.NewNgReader(buf, pcapgo.NgReaderOptions{ErrorOnMismatchingLinkType: true})
	} else if err == nil {
		c.packets, err = pcapgo.NewReader(buf)
	}
	if err != nil {
		return fmt.Errorf("it is no pcap or pcapng file: write one with tcpdump -w (%w)", unexpected(err))
	}
	if link := c.packets.LinkType(); link != layers.LinkTypeEthernet {
		return fmt.Errorf("its packets are of link type %s, not Ethernet: capture on the interface itself, as tcpdump -i eth0 does, not on \"any\" or a tunnel", link)
	}
	return nil
}

// Next returns the next packet, whose frame is valid until the following call, or
// io.EOF at the end.
func (c *Capture) Next() (Packet, error) {
	frame, info, err := c.packets.ZeroCopyReadPacketData()
	switch {
	case err == io.EOF && info.CaptureLength == 0:
		return Packet{}, io.EOF
	case errors.Is(err, pcapgo.ErrNgLinkTypeMismatch):
		return Packet{}, fmt.Errorf("read capture %s: it mixes link types: capture on Ethernet interfaces alone", c.file.Name())
	case err != nil:
		return Packet{}, fmt.Errorf("read capture %s: it is damaged or cut short behind packet %d: %w", c.file.Name(), c.read, unexpected(err))
	}
	c.read++
	return Packet{Frame: frame, Length: info.Length, Time: info.Timestamp}, nil
}

// unexpected keeps an end inside of something from looking like the file's.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Close closes the file.
func (c *Capture) Close() error { return c.file.Close() }

// Output is a pcap file of the frames that leave.
type Output struct {
	file *os.File
	buf  *bufio.Writer
	pcap *pcapgo.Writer
}

// snapLength is what the file says that no frame exceeds: libpcap's largest.
const snapLength = 262144

// CreateOutput makes a file, or empties the one that is there. It must not be the
// capture that is being read, nil for none.
func CreateOutput(name string, input *Capture) (*Output, error) {
	if input != nil {
		in, err := input.file.Stat()
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		if out, err := os.Stat(name); err == nil && os.SameFile(in, out) {
			return nil, fmt.Errorf("write %s: it is the capture that is read: write to another file", name)
		}
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("write packets: %w", err)
	}
	o := &Output{file: file, buf: bufio.NewWriterSize(file, buffered)}
	o.pcap = pcapgo.NewWriterNanos(o.buf)
	if err := o.pcap.WriteFileHeader(snapLength, layers.LinkTypeEthernet); err != nil {
		return nil, errors.Join(fmt.Errorf("write packets: %w", err), file.Close())
	}
	return o, nil
}

// Write adds a frame that leaves in place of a packet. What the capture lacks of
// the packet, the frame lacks too.
func (o *Output) Write(p Packet, frame []byte) error {
	info := gopacket.CaptureInfo{Timestamp: p.Time, CaptureLength: len(frame), Length: len(frame)}
	if missing := p.Length - len(p.Frame); missing > 0 {
		info.Length += missing
	}
	if err := o.pcap.WritePacket(info, frame); err != nil {
		return fmt.Errorf("write packets to %s: %w", o.file.Name(), err)
	}
	return nil
}

// Close writes what is left and closes the file.
func (o *Output) Close() error {
	if err := errors.Join(o.buf.Flush(), o.file.Close()); err != nil {
		return fmt.Errorf("write packets to %s: %w", o.file.Name(), err)
	}
	return nil
}
