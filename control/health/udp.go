package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// maxDatagram is what is read of a datagram at most, in bytes.
const maxDatagram = 4096

// UDP passes when a datagram is answered by one that holds Expect. Without Expect it is
// enough that none comes back as undeliverable within half of the probe's time: that is
// the target's kernel speaking, of which a firewall may think otherwise.
type UDP struct {
	Addr   netip.AddrPort
	Via    Via
	Send   []byte
	Expect []byte // empty: silence will do
}

// Probe sends one datagram from a port of its own.
func (p UDP) Probe(ctx context.Context) (string, error) {
	answer := "answered"
	err := converseUDP(ctx, p.Via, p.Addr, func(conn net.Conn) error {
		if end, ok := ctx.Deadline(); ok && len(p.Expect) == 0 {
			if err := conn.SetDeadline(time.Now().Add(time.Until(end) / 2)); err != nil {
				return err
			}
			if ctx.Err() != nil { // that took the deadline away which ends everything
				return ctx.Err()
			}
		}
		if _, err := conn.Write(p.Send); err != nil {
			return err
		}
		b, err := readDatagram(conn)
		switch {
		case len(p.Expect) == 0 && ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded):
			answer = "not refused"
			return nil
		case err != nil:
			return err
		case !bytes.Contains(b, p.Expect):
			return fmt.Errorf("answer does not contain %q", p.Expect)
		}
		return nil
	})
	if err != nil {
		return "", reason(ctx, err)
	}
	return answer, nil
}

func readDatagram(conn net.Conn) ([]byte, error) {
	b := make([]byte, maxDatagram)
	n, err := conn.Read(b)
	return b[:n], err
}
