package health

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/encoding/protowire"
)

// GRPC passes when the standard health service, grpc.health.v1.Health, answers SERVING.
type GRPC struct {
	Addr    netip.AddrPort
	Via     Via
	Secure  *Secure // nil: without TLS; otherwise it must ask for HTTP/2
	Host    string  // the authority; empty: Addr
	Service string  // whose health is asked for; empty: that of the whole server
}

// Probe calls Check over a connection of its own.
func (p GRPC) Probe(ctx context.Context) (string, error) {
	err := converseSecure(ctx, p.Via, p.Addr, p.Secure, p.call)
	if err != nil {
		return "", reason(ctx, err)
	}
	return serving, nil
}

func (p GRPC) call(conn net.Conn) error {
	scheme := "http"
	if p.Secure != nil {
		scheme = "https"
	}
	c := newConversation2(conn)
	err := c.ask([]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: scheme},
		{Name: ":authority", Value: cmp.Or(p.Host, p.Addr.String())},
		{Name: ":path", Value: "/grpc.health.v1.Health/Check"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
		{Name: "user-agent", Value: userAgent},
	}, p.request())
	if err != nil {
		return err
	}
	if err := c.listen(func() bool { return !c.isGRPC() }); err != nil {
		return err
	}
	return c.judgeHealth()
}

// request returns a HealthCheckRequest behind its length.
func (p GRPC) request() []byte {
	var m []byte
	if p.Service != "" {
		m = protowire.AppendTag(m, fieldService, protowire.BytesType)
		m = protowire.AppendString(m, p.Service)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

// Fields of grpc.health.v1.HealthCheckRequest and HealthCheckResponse, and the names of
// the latter's status.
const (
	fieldService = 1
	fieldStatus  = 1

	serving = "SERVING"
)

var servingStatus = [...]string{"UNKNOWN", serving, "NOT_SERVING", "SERVICE_UNKNOWN"}

// isGRPC says whether the answer's head is one of gRPC.
func (c *conversation2) isGRPC() bool {
	kind, _, _ := strings.Cut(c.answer.header.Get("Content-Type"), ";")
	return c.answer.status == 200 && (kind == "application/grpc" || strings.HasPrefix(kind, "application/grpc+"))
}

// judgeHealth returns nil if the answer is SERVING.
func (c *conversation2) judgeHealth() error {
	if !c.isGRPC() {
		if c.answer.status != 200 {
			return fmt.Errorf("answer is not gRPC: status %d", c.answer.status)
		}
		return errors.New("answer is not gRPC")
	}
	trailer := c.trailer
	if trailer == nil {
		trailer = c.answer.header // of an answer without a message
	}
	code, err := strconv.Atoi(trailer.Get("Grpc-Status"))
	switch {
	case err != nil:
		return errors.New("answer has no gRPC status")
	case code == codeNotFound:
		return errors.New("server does not know the service")
	case code == codeUnimplemented:
		return errors.New("server has no health service")
	case code != 0:
		return fmt.Errorf("gRPC status %d", code)
	}
	status, err := healthStatus(c.answer.body)
	switch {
	case err != nil:
		return err
	case status >= uint64(len(servingStatus)):
		return fmt.Errorf("health %d", status)
	case servingStatus[status] != serving:
		return errors.New(servingStatus[status])
	}
	return nil
}

// Codes of gRPC that have a meaning of their own here.
const (
	codeNotFound      = 5
	codeUnimplemented = 12
)

// healthStatus returns the status of a HealthCheckResponse behind its length.
func healthStatus(body []byte) (status uint64, err error) {
	errBroken := errors.New("answer is not a health check's")
	if len(body) < 5 {
		return 0, io.ErrUnexpectedEOF
	}
	length, m := binary.BigEndian.Uint32(body[1:]), body[5:]
	switch {
	case body[0] != 0: // compressed, though we did not offer to take that
		return 0, errBroken
	case uint64(length) > uint64(len(m)):
		return 0, io.ErrUnexpectedEOF
	}
	for m = m[:length]; len(m) > 0; {
		number, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return 0, errBroken
		}
		m = m[n:]
		if number == fieldStatus && kind == protowire.VarintType {
			status, n = protowire.ConsumeVarint(m)
		} else {
			n = protowire.ConsumeFieldValue(number, kind, m)
		}
		if n < 0 {
			return 0, errBroken
		}
		m = m[n:]
	}
	return status, nil
}
