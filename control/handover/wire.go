package handover

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/maps"
)

// Secret is what the nodes of a cluster share, beside the key of the flow hash.
type Secret [32]byte

// Node is what records depend on at the node that has them.
type Node struct {
	HashKey maps.Key
	Bits    int // how many low bits of a hash number a bucket: maps.Tables.FlowBits
}

// Record is a recorded flow, of a service that goes by its name.
type Record struct {
	Backend netip.Addr
	State   maps.FlowState
	Age     time.Duration // whole seconds
	Hash    uint64        // as in maps.Flow
}

const (
	magic       = "xlb flow"
	version     = 1
	headerSize  = 56
	nameAt      = 24 // in the header, of the stream's name
	nameSize    = headerSize - nameAt
	maxPlain    = 32 << 10
	fingerprint = 16 // bytes
	recordSize  = 8 + 4 + 2 + 1
	knownTag    = 28 // bits of a hash that every record knows, the highest

	maxServices = 1 << 16
	maxName     = 255
	maxBackends = 1 << 20 // of all services of a stream
)

// Kinds of frames.
const (
	kindHello = 1 + iota
	kindService
	kindBackends
	kindRecords
	kindEnd
)

// fingerprintOf tells keys apart and does not tell them.
func fingerprintOf(key maps.Key) []byte {
	sum := sha256.Sum256(append([]byte("xlb flow hash fingerprint v1"), key[:]...))
	return sum[:fingerprint]
}

// unknownBits are those bits of hashes that no record of a node knows.
func unknownBits(bits int) uint64 { return 1<<(64-knownTag) - 1<<bits }

// box seals and opens the frames of one stream.
type box struct {
	aead   cipher.AEAD
	header []byte
	frames uint64 // so far
}

func newBox(secret Secret, header []byte) (*box, error) {
	key, err := hkdf.Key(sha256.New, secret[:], header[nameAt:], "xlb flow hand-over", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &box{aead: aead, header: header}, err
}

func (b *box) nonce() []byte {
	nonce := binary.BigEndian.AppendUint64(make([]byte, 4, 12), b.frames)
	b.frames++
	return nonce
}

// write seals a frame.
func (b *box) write(w io.Writer, plain []byte) error {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(plain)+b.aead.Overhead()))
	_, err := w.Write(b.aead.Seal(frame, b.nonce(), plain, b.header))
	return err
}

// ErrForged is a frame that was not sealed with this secret, or not in this place of this stream.
var ErrForged = errors.New("not sealed by a node that has the same secret, or not in this place")

// read opens the next frame. It returns io.ErrUnexpectedEOF where the stream ends.
func (b *box) read(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, cut(err)
	}
	size := binary.BigEndian.Uint32(length[:])
	if size < uint32(b.aead.Overhead()) || size > uint32(maxPlain+b.aead.Overhead()) {
		return nil, fmt.Errorf("a frame of %d bytes: %w", size, ErrForged)
	}
	sealed := make([]byte, size)
	if _, err := io.ReadFull(r, sealed); err != nil {
		return nil, cut(err)
	}
	plain, err := b.aead.Open(sealed[:0], b.nonce(), sealed, b.header)
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// cut makes an end within a stream an error.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
