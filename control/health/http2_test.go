package health

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames writes what a server of HTTP/2 says.
type frames struct {
	bytes.Buffer
	*http2.Framer
}

// newFrames begins with the settings that any server begins with.
func newFrames() *frames {
	f := &frames{}
	f.Framer = http2.NewFramer(&f.Buffer, nil)
	f.AllowIllegalWrites = true
	f.WriteSettings()
	return f
}

// head appends a head: name, value, name, value.
func (f *frames) head(stream uint32, end bool, fields ...string) *frames {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
	return f
}

func (f *frames) data(stream uint32, end bool, data string) *frames {
	f.WriteData(stream, end, []byte(data))
	return f
}

func (f *frames) with(write func(*http2.Framer)) *frames {
	write(f.Framer)
	return f
}

// times repeats what is there.
func (f *frames) times(n int) *frames {
	f.Write(bytes.Repeat(f.Bytes(), n-1))
	return f
}

// answering2 reads the beginning of the request, says what is given and waits for the
// prober to close.
func answering2(t *testing.T, answer []byte) netip.AddrPort {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c, preface); err != nil || string(preface) != http2.ClientPreface {
			t.Errorf("preface %q and error %v", preface, err)
		}
		c.Write(answer) // fails if the prober has read enough
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
}

func TestHTTP2IsJudgedByItsFrames(t *testing.T) {
	ok := func() *frames { return newFrames().head(1, true, ":status", "200") }
	for _, tc := range []struct {
		name   string
		answer *frames
		pass   string
		fail   string
	}{
		{"head", ok(), "200 OK", ""},
		{"head and body", newFrames().head(1, false, ":status", "200").data(1, true, "ok"), "200 OK", ""},
		{"trailer", newFrames().head(1, false, ":status", "200").data(1, false, "ok").head(1, true, "x", "y"), "200 OK", ""},
		{"hints", newFrames().head(1, false, ":status", "103").head(1, false, ":status", "103").head(1, true, ":status", "200"), "200 OK", ""},
		{"other frames", newFrames().with(func(f *http2.Framer) {
			f.WritePing(false, [8]byte{1})
			f.WritePing(true, [8]byte{1})
			f.WriteWindowUpdate(0, 100)
			f.WriteSettingsAck()
			f.WriteRawFrame(0xfa, 0, 0, []byte("unknown"))
			f.WriteGoAway(1, http2.ErrCodeNo, nil)
		}).head(1, true, ":status", "200"), "200 OK", ""},
		{"endless body", newFrames().head(1, false, ":status", "200").with(func(f *http2.Framer) {
			for range 1000 {
				f.WriteData(1, false, make([]byte, 16<<10))
			}
		}), "200 OK", ""},
		{"unwanted status", newFrames().head(1, false, ":status", "503"), "", "status 503"},
		{"hint and no more", newFrames().head(1, true, ":status", "103"), "", "answer is not HTTP/2"},
		{"no status", newFrames().head(1, true, "x", "y"), "", "answer is not HTTP/2"},
		{"status of letters", newFrames().head(1, true, ":status", "ok"), "", "answer is not HTTP/2"},
		{"status of four digits", newFrames().head(1, true, ":status", "2000"), "", "answer is not HTTP/2"},
		{"another stream", newFrames().head(3, true, ":status", "200"), "", "answer is not HTTP/2"},
		{"body of another stream", newFrames().head(1, false, ":status", "200").data(3, true, "ok"), "", "answer is not HTTP/2"},
		{"body before the head", newFrames().data(1, true, "ok"), "", "answer is not HTTP/2"},
		{"promise", newFrames().with(func(f *http2.Framer) {
			f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}), "", "answer is not HTTP/2"},
		{"reset", newFrames().with(func(f *http2.Framer) { f.WriteRSTStream(1, http2.ErrCodeRefusedStream) }), "", "server reset the stream: REFUSED_STREAM"},
		{"reset in the middle", newFrames().head(1, false, ":status", "200").with(func(f *http2.Framer) { f.WriteRSTStream(1, http2.ErrCodeInternal) }),
			"", "server reset the stream: INTERNAL_ERROR"},
		{"going away", newFrames().with(func(f *http2.Framer) { f.WriteGoAway(0, http2.ErrCodeNo, nil) }), "", "server closed the connection: NO_ERROR"},
		{"going away in anger", newFrames().with(func(f *http2.Framer) { f.WriteGoAway(1, http2.ErrCodeEnhanceYourCalm, nil) }),
			"", "server closed the connection: ENHANCE_YOUR_CALM"},
		{"settings and no more", newFrames(), "", "answer cut short"},
		{"half a body", newFrames().head(1, false, ":status", "200").data(1, false, "o"), "", "answer cut short"},
		{"endless settings", newFrames().times(1 << 20), "", "answer longer than 64 KiB"},
		{"endless hints", newFrames().head(1, false, ":status", "103", "x", strings.Repeat("y", 1000)).times(1000), "", "answer longer than 64 KiB"},
		{"head that grows when it is unpacked", newFrames().head(1, true, bomb()...), "", "headers longer than 32 KiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := answering2(t, tc.answer.Bytes())
			p := HTTP{Addr: addr, HTTP2: true}
			if tc.fail == "" {
				wantPass(t, p, tc.pass)
			} else {
				wantFailure(t, time.Minute, p, fmt.Sprintf("GET http://%s/: %s", addr, tc.fail))
			}
		})
	}
}

// bomb is one long field many times: a few bytes each but the first.
func bomb() []string {
	fields := []string{":status", "200"}
	for range 10_000 {
		fields = append(fields, "x", strings.Repeat("y", 3000))
	}
	return fields
}

func TestHTTP2ThatIsNone(t *testing.T) {
	for name, tc := range map[string]struct{ answer, want string }{
		"nothing":        {"", "connection closed without an answer"},
		"HTTP/1.1":       {"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "answer is not HTTP/2"},
		"noise":          {strings.Repeat("\x00\x00\x04\xff\x1b[31m", 1000), "answer is not HTTP/2"},
		"half a frame":   {"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00", "answer cut short"},
		"other frames":   {"\x00\x00\x08\x06\x00\x00\x00\x00\x00ABCDEFGH", "answer is not HTTP/2"},
		"too long a one": {"\xff\xff\xff\x04\x00\x00\x00\x00\x00", "answer is not HTTP/2"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := answering2(t, []byte(tc.answer))
			wantFailure(t, time.Minute, HTTP{Addr: addr, HTTP2: true}, fmt.Sprintf("GET http://%s/: %s", addr, tc.want))
		})
	}
}

func TestHTTP2BoundsTheWholeExchangeByTime(t *testing.T) {
	ping := newFrames()
	ping.Reset()
	ping.WritePing(false, [8]byte{1})
	for name, addr := range map[string]netip.AddrPort{
		"byte by byte":    dripping(t, newFrames().String()+"\x00\x40\x00\x01\x04\x00\x00\x00\x01", "\x00"),
		"ping after ping": dripping(t, newFrames().String(), ping.String()),
	} {
		t.Run(name, func(t *testing.T) {
			wantFailure(t, brief, HTTP{Addr: addr, HTTP2: true}, fmt.Sprintf("GET http://%s/: timeout after 100ms", addr))
		})
	}
}

func TestHTTP2ServerThatSpeaksOnlyTheFirstVersionFails(t *testing.T) {
	cert := newAuthority(t).issue(nil)
	l := newWebServerWith(t, &cert, func(s *http.Server) { s.Protocols.SetHTTP2(false) })
	wantFailure(t, time.Minute, HTTP{Addr: l.addr, HTTP2: true, Secure: NewSecure("", false, nil, HTTP2)},
		fmt.Sprintf("GET https://%s/: server refused the handshake: no application protocol", l.addr))
}
