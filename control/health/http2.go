package health

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// exchange2 is exchange over HTTP/2.
func (p HTTP) exchange2(conn net.Conn, u *url.URL) (answer, error) {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: p.method()},
		{Name: ":scheme", Value: u.Scheme},
		{Name: ":authority", Value: cmp.Or(p.Host, u.Host)},
		{Name: ":path", Value: u.RequestURI()},
		{Name: "user-agent", Value: userAgent},
		{Name: "accept", Value: "*/*"},
	}
	for _, f := range p.Header {
		fields = append(fields, hpack.HeaderField{Name: strings.ToLower(f.Name), Value: f.Value})
	}
	c := newConversation2(conn)
	if err := c.ask(fields, nil); err != nil {
		return answer{}, err
	}
	err := c.listen(func() bool { return !p.wants(c.answer.status) })
	return c.answer, err
}

// conversation2 is a connection for one request, on stream 1. A whole http2.Transport
// would come with goroutines, buffers and flow control that one short answer does not need.
type conversation2 struct {
	conn   net.Conn
	limit  *io.LimitedReader
	out    bytes.Buffer
	framer *http2.Framer

	answer  answer
	trailer http.Header
}

// stream2 is the number of the request.
const stream2 = 1

// maxFrame2 is the longest frame that a server may send to a client that has not asked for more.
const maxFrame2 = 16 << 10

var errNotHTTP2 = errors.New("answer is not HTTP/2")

func newConversation2(conn net.Conn) *conversation2 {
	c := &conversation2{conn: conn, limit: &io.LimitedReader{R: conn, N: 2 * maxAnswer}}
	c.framer = http2.NewFramer(&c.out, bufio.NewReader(c.limit))
	c.framer.SetMaxReadFrameSize(maxFrame2)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = maxAnswer
	return c
}

// ask sends the request. Nothing is written of a body that no window was given for: it
// must be short.
func (c *conversation2) ask(fields []hpack.HeaderField, body []byte) error {
	c.out.WriteString(http2.ClientPreface)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	err := c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxAnswer})
	for _, f := range fields {
		err = errors.Join(err, encoder.WriteField(f))
	}
	err = errors.Join(err, c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream2, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == nil,
	}))
	if body != nil {
		err = errors.Join(err, c.framer.WriteData(stream2, true, body))
	}
	return errors.Join(err, c.flush())
}

func (c *conversation2) flush() error {
	_, err := c.out.WriteTo(c.conn)
	return err
}

// listen takes in the answer until it is complete, longer than maxAnswer, or enough: that is
// asked when its head has come.
func (c *conversation2) listen(enough func() bool) error {
	for first := true; ; first = false {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return c.plain(err, first)
		}
		if _, ok := frame.(*http2.SettingsFrame); first && !ok {
			return errNotHTTP2
		}
		done, err := c.take(frame)
		if err != nil || done {
			return err
		}
		if c.answer.status != 0 && (len(c.answer.body) >= maxAnswer || enough()) {
			return nil
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
}

// take takes in one frame, and says whether it was the last of the answer.
func (c *conversation2) take(frame http2.Frame) (done bool, err error) {
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return false, c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return false, c.framer.WritePing(true, f.Data)
		}
	case *http2.MetaHeadersFrame:
		return f.StreamEnded(), c.takeHeaders(f)
	case *http2.DataFrame:
		if f.StreamID != stream2 || c.answer.status == 0 {
			return false, errNotHTTP2
		}
		c.answer.body = append(c.answer.body, f.Data()...)
		return f.StreamEnded(), nil
	case *http2.RSTStreamFrame:
		return false, fmt.Errorf("server reset the stream: %s", f.ErrCode)
	case *http2.GoAwayFrame:
		if f.LastStreamID < stream2 || f.ErrCode != http2.ErrCodeNo {
			return false, fmt.Errorf("server closed the connection: %s", f.ErrCode)
		}
	case *http2.PushPromiseFrame:
		return false, errNotHTTP2
	}
	return false, nil
}

// takeHeaders takes in an informational head, the head or the trailer.
func (c *conversation2) takeHeaders(f *http2.MetaHeadersFrame) error {
	if f.StreamID != stream2 {
		return errNotHTTP2
	}
	if f.Truncated {
		return errLongHead
	}
	header := http.Header{}
	for _, field := range f.RegularFields() {
		header.Add(field.Name, field.Value)
	}
	if c.answer.status != 0 {
		c.trailer = header
		return nil
	}
	status, err := strconv.Atoi(f.PseudoValue("status"))
	if err != nil || status < 100 || status > 999 {
		return errNotHTTP2
	}
	if status >= 200 {
		c.answer.status, c.answer.header = status, header
	} else if f.StreamEnded() {
		return errNotHTTP2
	}
	return nil
}

// plain passes on errors of the connection, and puts those of the parser in a few words.
func (c *conversation2) plain(err error, first bool) error {
	var op *net.OpError
	switch {
	case isEnd(err) && c.limit.N <= 0:
		return fmt.Errorf("answer longer than %d KiB", 2*maxAnswer>>10)
	case first && errors.Is(err, io.EOF):
		return errors.New("connection closed without an answer")
	case errors.As(err, &op), isEnd(err):
		return err
	case c.answer.status == 0 && c.limit.N < maxAnswer*3/2: // the framer refuses what goes far beyond its limit
		return errLongHead
	}
	return errNotHTTP2
}
