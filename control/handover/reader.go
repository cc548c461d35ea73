package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Batch is records of one service.
type Batch struct {
	Service string
	Slots   int       // of its table at the node that has them
	Sent    time.Time // when they were as old as that node said, in whole seconds
	Records []Record
}

// Reader reads a stream. It is for one goroutine.
type Reader struct {
	r     io.Reader
	box   *box
	guard *Guard
	decoder
}

// Errors of peers that are set up in another way.
var (
	ErrVersion = errors.New("the peer speaks another version of the hand-over")
	ErrHashKey = errors.New("the peer has another key of the flow hash: give all nodes the same hash_key")
)

// maxSpread bounds the buckets that a record of a smaller table may belong to, and goes to: 2^maxSpread.
const maxSpread = 4

// NewReader begins to read a stream. It returns ErrVersion, ErrForged or ErrHashKey if the peer and this node cannot
// understand each other, and an error if the guard turns the stream away.
func NewReader(r io.Reader, secret Secret, node Node, guard *Guard) (*Reader, error) {
	reader, err := newReader(r, secret, node, guard)
	if err != nil {
		return nil, fmt.Errorf("begin to take over flows: %w", err)
	}
	return reader, nil
}

func newReader(r io.Reader, secret Secret, node Node, guard *Guard) (*Reader, error) {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, cut(err)
	}
	if string(header[:8]) != magic {
		return nil, errors.New("this is no stream of flows")
	}
	if v := binary.BigEndian.Uint64(header[8:]) >> 48; v != version {
		return nil, fmt.Errorf("%w: %d, this node's is %d", ErrVersion, v, version)
	}
	box, err := newBox(secret, header)
	if err != nil {
		return nil, err
	}
	s := &Reader{r: r, box: box, guard: guard, decoder: decoder{node: node}}
	plain, err := box.read(r)
	if err != nil {
		return nil, err
	}
	if err := s.hello(plain); err != nil {
		return nil, err
	}
	if node.Bits > s.bits+maxSpread {
		return nil, fmt.Errorf("the peer records flows in 2^%d buckets and this node in 2^%d, too many to look for a flow's: give all nodes about the same limits.flows", s.bits, node.Bits)
	}
	began := time.Unix(int64(binary.BigEndian.Uint64(header[16:])), 0)
	return s, guard.admit([nameSize]byte(header[nameAt:]), began)
}

// Bits returns how many low bits of the peer's hashes number a bucket.
func (r *Reader) Bits() int { return r.bits }

// hidden is how much older a record may be than the whole seconds of its age and of its receiver's clock show. Without it,
// nodes that tell each other of a flow again and again would keep it young for ever.
const hidden = 2 * time.Second

// Next returns the next records, as old as they are here and now. At the end of the stream it returns io.EOF, where it was cut short
// io.ErrUnexpectedEOF.
func (r *Reader) Next() (Batch, error) {
	for {
		plain, err := r.box.read(r.r)
		if err != nil {
			return Batch{}, fmt.Errorf("take over flows: %w", err)
		}
		b, err := r.frame(plain)
		switch {
		case errors.Is(err, io.EOF):
			return Batch{}, io.EOF
		case err != nil:
			return Batch{}, fmt.Errorf("take over flows: %w", err)
		case len(b.Records) == 0:
			continue
		}
		onTheWay, err := r.guard.timely(b.Sent)
		if err != nil {
			return Batch{}, fmt.Errorf("take over flows of service %s: %w", b.Service, err)
		}
		for i := range b.Records {
			b.Records[i].Age += onTheWay + hidden
		}
		return b, nil
	}
}
