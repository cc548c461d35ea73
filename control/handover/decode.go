package handover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/maps"
)

// decoder understands frames that were opened.
type decoder struct {
	node     Node
	bits     int // the peer's
	services []told
	backends int // of all services
}

// told is a service that the peer told of.
type told struct {
	name     string
	slots    int
	backends []netip.Addr
}

// errFrame is a frame that no version 1 node writes.
var errFrame = errors.New("a frame that makes no sense")

func (d *decoder) hello(plain []byte) error {
	if len(plain) != 2+fingerprint || plain[0] != kindHello || plain[1+fingerprint] > 64-knownTag {
		return fmt.Errorf("hello: %w", errFrame)
	}
	if !bytes.Equal(plain[1:1+fingerprint], fingerprintOf(d.node.HashKey)) {
		return ErrHashKey
	}
	d.bits = int(plain[1+fingerprint])
	return nil
}

// frame takes in a frame, and returns the records that are in it. At the end of the stream it returns io.EOF.
func (d *decoder) frame(plain []byte) (Batch, error) {
	if len(plain) == 0 {
		return Batch{}, errFrame
	}
	kind, body := plain[0], plain[1:]
	switch kind {
	case kindService:
		return Batch{}, d.service(body)
	case kindBackends, kindRecords:
		if len(body) < 2 || int(binary.BigEndian.Uint16(body)) >= len(d.services) {
			return Batch{}, fmt.Errorf("service: %w", errFrame)
		}
		s := &d.services[binary.BigEndian.Uint16(body)]
		if kind == kindBackends {
			return Batch{}, d.addresses(s, body[2:])
		}
		return d.records(s, body[2:])
	case kindEnd:
		if len(body) == 0 {
			return Batch{}, io.EOF
		}
	}
	return Batch{}, fmt.Errorf("kind %d: %w", kind, errFrame)
}

func (d *decoder) service(body []byte) error {
	if len(d.services) == maxServices || len(body) < 5 || len(body) > 4+maxName {
		return fmt.Errorf("service: %w", errFrame)
	}
	d.services = append(d.services, told{name: string(body[4:]), slots: int(binary.BigEndian.Uint32(body))})
	return nil
}

func (d *decoder) addresses(s *told, body []byte) error {
	for len(body) > 0 {
		size := map[byte]int{4: 4, 6: 16}[body[0]]
		if size == 0 || len(body) < 1+size || d.backends == maxBackends {
			return fmt.Errorf("backends: %w", errFrame)
		}
		a, _ := netip.AddrFromSlice(body[1 : 1+size])
		s.backends = append(s.backends, a)
		d.backends++
		body = body[1+size:]
	}
	return nil
}

func (d *decoder) records(s *told, body []byte) (Batch, error) {
	if len(body) < 8 || (len(body)-8)%recordSize != 0 {
		return Batch{}, fmt.Errorf("records: %w", errFrame)
	}
	sent, body := time.Unix(int64(binary.BigEndian.Uint64(body)), 0), body[8:]
	b := Batch{Service: s.name, Slots: s.slots, Sent: sent, Records: make([]Record, 0, len(body)/recordSize)}
	for ; len(body) > 0; body = body[recordSize:] {
		hash, backend, state := binary.BigEndian.Uint64(body), binary.BigEndian.Uint32(body[8:]), maps.FlowState(body[14])
		if hash&unknownBits(d.bits) != 0 || int64(backend) >= int64(len(s.backends)) || state < maps.FlowNew || state > maps.FlowClosing {
			return Batch{}, fmt.Errorf("record: %w", errFrame)
		}
		age := time.Duration(binary.BigEndian.Uint16(body[12:])) * time.Second
		b.Records = append(b.Records, Record{Backend: s.backends[backend], State: state, Age: age, Hash: hash})
	}
	return b, nil
}
