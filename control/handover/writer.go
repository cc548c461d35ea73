package handover

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Writer writes a stream. It is for one goroutine.
type Writer struct {
	w        io.Writer
	box      *box
	node     Node
	numbers  int // of services
	services map[string]*service
	backends int // of all services
}

// service is one that the stream has told of.
type service struct {
	number   uint16
	slots    int
	backends map[netip.Addr]uint32
}

// NewWriter begins a stream.
func NewWriter(w io.Writer, secret Secret, node Node) (*Writer, error) {
	return newWriter(w, secret, node, time.Now)
}

func newWriter(w io.Writer, secret Secret, node Node, now func() time.Time) (*Writer, error) {
	header := make([]byte, headerSize)
	copy(header, magic)
	binary.BigEndian.PutUint16(header[8:], version)
	binary.BigEndian.PutUint64(header[16:], uint64(now().Unix()))
	rand.Read(header[nameAt:]) // never fails
	box, err := newBox(secret, header)
	if err != nil {
		return nil, fmt.Errorf("begin to hand flows over: %w", err)
	}
	s := &Writer{w: w, box: box, node: node, services: map[string]*service{}}
	if _, err := w.Write(header); err != nil {
		return nil, fmt.Errorf("begin to hand flows over: %w", err)
	}
	hello := append([]byte{kindHello}, fingerprintOf(node.HashKey)...)
	if err := box.write(w, append(hello, byte(node.Bits))); err != nil {
		return nil, fmt.Errorf("begin to hand flows over: %w", err)
	}
	return s, nil
}

// Write sends records.
func (w *Writer) Write(b Batch) error {
	if err := w.write(b); err != nil {
		return fmt.Errorf("hand over flows of service %s: %w", b.Service, err)
	}
	return nil
}

func (w *Writer) write(b Batch) error {
	s, err := w.service(b.Service, b.Slots)
	if err != nil {
		return err
	}
	if err := w.tellBackends(s, b.Records); err != nil {
		return err
	}
	records := b.Records
	const most = (maxPlain - 11) / recordSize
	for len(records) > 0 {
		n := min(len(records), most)
		frame := binary.BigEndian.AppendUint16([]byte{kindRecords}, s.number)
		frame = binary.BigEndian.AppendUint64(frame, uint64(b.Sent.Unix()))
		for _, r := range records[:n] {
			frame = binary.BigEndian.AppendUint64(frame, r.Hash&^unknownBits(w.node.Bits))
			frame = binary.BigEndian.AppendUint32(frame, s.backends[r.Backend.Unmap()])
			frame = binary.BigEndian.AppendUint16(frame, uint16(min(r.Age/time.Second, 1<<16-1)))
			frame = append(frame, byte(r.State))
		}
		if err := w.box.write(w.w, frame); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// service returns what the stream has told of a service, after telling it if need be: one whose table has another size
// than before is another one.
func (w *Writer) service(name string, slots int) (*service, error) {
	if s := w.services[name]; s != nil && s.slots == slots {
		return s, nil
	}
	switch {
	case w.numbers == maxServices:
		return nil, fmt.Errorf("the stream has told of %d services: begin another one", maxServices)
	case name == "" || len(name) > maxName:
		return nil, fmt.Errorf("its name has %d bytes, not 1 to %d", len(name), maxName)
	}
	s := &service{number: uint16(w.numbers), slots: slots, backends: map[netip.Addr]uint32{}}
	frame := binary.BigEndian.AppendUint32([]byte{kindService}, uint32(slots))
	if err := w.box.write(w.w, append(frame, name...)); err != nil {
		return nil, err
	}
	w.numbers++
	w.services[name] = s
	return s, nil
}

// tellBackends numbers the backends of records.
func (w *Writer) tellBackends(s *service, records []Record) error {
	var frame []byte
	flush := func() (err error) {
		if len(frame) > 0 {
			err = w.box.write(w.w, frame)
		}
		frame = binary.BigEndian.AppendUint16([]byte{kindBackends}, s.number)
		return err
	}
	for _, r := range records {
		a := r.Backend.Unmap()
		if _, known := s.backends[a]; known {
			continue
		}
		switch {
		case w.backends == maxBackends:
			return fmt.Errorf("the stream has told of %d backends: begin another one", maxBackends)
		case !a.IsValid():
			return errors.New("a record of a backend without an address")
		}
		if len(frame) == 0 || len(frame)+1+len(a.AsSlice()) > maxPlain {
			if err := flush(); err != nil {
				return err
			}
		}
		family := byte(4)
		if a.Is6() {
			family = 6
		}
		frame = append(append(frame, family), a.AsSlice()...)
		s.backends[a] = uint32(len(s.backends))
		w.backends++
	}
	if len(frame) == 0 {
		return nil
	}
	return w.box.write(w.w, frame)
}

// Close ends the stream, so that the peer knows that it has all of it. It does not close what the stream goes into.
func (w *Writer) Close() error {
	if err := w.box.write(w.w, []byte{kindEnd}); err != nil {
		return fmt.Errorf("end to hand flows over: %w", err)
	}
	return nil
}
