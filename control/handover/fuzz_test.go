package handover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/xlb-project/xlb/maps"
)

// opened returns what is in the frames of a stream, each behind two bytes that say how long it is.
func opened(f *testing.F, data []byte) (out []byte) {
	r := bytes.NewReader(data[headerSize:])
	box, err := newBox(secret, data[:headerSize])
	if err != nil {
		f.Fatal(err)
	}
	for {
		plain, err := box.read(r)
		if err != nil {
			return out
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(plain))), plain...)
	}
}

// FuzzDecoder is a peer that has the secret and no scruples.
func FuzzDecoder(f *testing.F) {
	f.Add(opened(f, stream(f, sample...)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		d := decoder{node: node}
		for first := true; len(data) >= 2; first = false {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			plain := data[2 : 2+n]
			data = data[2+n:]
			if first {
				if d.hello(plain) != nil {
					return
				}
				continue
			}
			b, err := d.frame(plain)
			if err != nil {
				if !errors.Is(err, errFrame) && err != io.EOF {
					t.Fatal(err)
				}
				return
			}
			if len(b.Records) > 0 && (b.Service == "" || len(b.Service) > maxName) {
				t.Fatalf("records of service %q", b.Service)
			}
			for _, r := range b.Records {
				if !r.Backend.IsValid() || r.Hash&unknownBits(d.bits) != 0 || r.State < maps.FlowNew || r.State > maps.FlowClosing {
					t.Fatalf("record %+v", r)
				}
			}
		}
		if d.backends > maxBackends || len(d.services) > maxServices {
			t.Fatalf("%d backends, %d services", d.backends, len(d.services))
		}
	})
}

// FuzzReader is anybody who finds the port. Without the secret there is little to find.
func FuzzReader(f *testing.F) {
	f.Add(stream(f, sample...))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		read(data, secret, node, guardAt(noon))
	})
}
