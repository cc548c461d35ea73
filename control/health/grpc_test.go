package health

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// newGRPCServer is grpc-go's. health may be nil.
func newGRPCServer(t *testing.T, health grpc_health_v1.HealthServer, options ...grpc.ServerOption) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	if health != nil {
		grpc_health_v1.RegisterHealthServer(server, health)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestGRPCIsJudgedByTheHealthService(t *testing.T) {
	health := grpchealth.NewServer()
	for service, status := range map[string]grpc_health_v1.HealthCheckResponse_ServingStatus{
		"up":      grpc_health_v1.HealthCheckResponse_SERVING,
		"down":    grpc_health_v1.HealthCheckResponse_NOT_SERVING,
		"unclear": grpc_health_v1.HealthCheckResponse_UNKNOWN,
		"lost":    grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN,
		"future":  17,
	} {
		health.SetServingStatus(service, status)
	}
	authority := newAuthority(t)
	cert := authority.issue(nil)
	addr := newGRPCServer(t, health)
	secured := newGRPCServer(t, health, grpc.Creds(credentials.NewServerTLSFromCert(&cert)))
	secure := NewSecure("www.example.com", true, authority.roots(), HTTP2)
	for service, want := range map[string]string{
		"": "", "up": "", "down": "NOT_SERVING", "unclear": "UNKNOWN", "lost": "SERVICE_UNKNOWN", "future": "health 17",
		"never-heard-of": "server does not know the service",
	} {
		t.Run(service, func(t *testing.T) {
			for _, p := range []GRPC{{Addr: addr, Service: service}, {Addr: secured, Service: service, Secure: secure}} {
				if want == "" {
					wantPass(t, p, "SERVING")
				} else {
					wantFailure(t, time.Minute, p, want)
				}
			}
		})
	}
	wantFailure(t, time.Minute, GRPC{Addr: secured, Secure: NewSecure("example.org", true, authority.roots(), HTTP2)}, "certificate is not for example.org")
	wantFailure(t, time.Minute, GRPC{Addr: newGRPCServer(t, nil)}, "server has no health service")
	wantFailure(t, time.Minute, GRPC{Addr: closedPort(t)}, "connection refused")
	wantFailure(t, brief, GRPC{Addr: newGRPCServer(t, hanging{})}, "timeout after 100ms")
}

// hanging never answers.
type hanging struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (hanging) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// recording answers, and keeps what it was asked.
type recording struct {
	grpc_health_v1.UnimplementedHealthServer
	seen chan metadata.MD
}

func (r recording) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	r.seen <- md
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func TestGRPCAsksOfItsHost(t *testing.T) {
	r := recording{seen: make(chan metadata.MD, 1)}
	wantPass(t, GRPC{Addr: newGRPCServer(t, r), Host: "www.example.com"}, "SERVING")
	md := <-r.seen
	if got := fmt.Sprint(md[":authority"], md["user-agent"]); got != "[www.example.com] [xlb-health]" {
		t.Errorf("got %s", got)
	}
}

// message puts m behind its length.
func message(compressed byte, m []byte) string {
	return string(append(binary.BigEndian.AppendUint32([]byte{compressed}, uint32(len(m))), m...))
}

func TestGRPCIsJudgedByItsFrames(t *testing.T) {
	up, err := proto.Marshal(&grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING})
	if err != nil {
		t.Fatal(err)
	}
	head := func() *frames {
		return newFrames().head(1, false, ":status", "200", "content-type", "application/grpc")
	}
	ended := func(f *frames) *frames { return f.head(1, true, "grpc-status", "0") }
	for _, tc := range []struct {
		name   string
		answer *frames
		fail   string // empty: passes
	}{
		{"serving", ended(head().data(1, false, message(0, up))), ""},
		{"in pieces", ended(head().data(1, false, message(0, up)[:3]).data(1, false, message(0, up)[3:])), ""},
		{"with a suffix", ended(newFrames().head(1, false, ":status", "200", "content-type", "application/grpc+proto").data(1, false, message(0, up))), ""},
		{"with a parameter", ended(newFrames().head(1, false, ":status", "200", "content-type", "application/grpc;x=y").data(1, false, message(0, up))), ""},
		{"with fields of the future", ended(head().data(1, false, message(0, append([]byte("\x12\x02hi"), up...)))), ""},
		{"empty message", ended(head().data(1, false, message(0, nil))), "UNKNOWN"},
		{"no message", ended(head()), "answer cut short"},
		{"half a length", ended(head().data(1, false, "\x00\x00")), "answer cut short"},
		{"half a message", ended(head().data(1, false, "\x00\x00\x00\x00\x02\x08")), "answer cut short"},
		{"length beyond all bounds", ended(head().data(1, false, "\x00\xff\xff\xff\xff\x08\x01")), "answer cut short"},
		{"compressed", ended(head().data(1, false, message(1, up))), "answer is not a health check's"},
		{"noise in the message", ended(head().data(1, false, message(0, []byte("\xff\xff\xff")))), "answer is not a health check's"},
		{"number without an end", ended(head().data(1, false, message(0, []byte("\x08\xff")))), "answer is not a health check's"},
		{"no status", head().data(1, true, message(0, up)), "answer has no gRPC status"},
		{"status of letters", head().data(1, false, message(0, up)).head(1, true, "grpc-status", "ok"), "answer has no gRPC status"},
		{"unavailable", newFrames().head(1, true, ":status", "200", "content-type", "application/grpc", "grpc-status", "14"), "gRPC status 14"},
		{"HTTP error", newFrames().head(1, false, ":status", "502", "content-type", "text/html").data(1, false, "<html>"), "answer is not gRPC: status 502"},
		{"a web page", newFrames().head(1, false, ":status", "200", "content-type", "text/html").data(1, false, "<html>"), "answer is not gRPC"},
		{"endless messages", head().with(func(f *http2.Framer) {
			for range 1000 {
				f.WriteData(1, false, []byte(message(0, []byte(strings.Repeat("x", 16000)))))
			}
		}), "answer has no gRPC status"},
		{"nothing more", head().data(1, false, message(0, up)), "answer cut short"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := GRPC{Addr: answering2(t, tc.answer.Bytes())}
			if tc.fail == "" {
				wantPass(t, p, "SERVING")
			} else {
				wantFailure(t, time.Minute, p, tc.fail)
			}
		})
	}
}
