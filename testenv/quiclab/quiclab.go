// Package quiclab has QUIC servers and clients for the labs of testenv. It is a package of its own so that a QUIC library
// gets into what needs one alone.
package quiclab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/xlb-project/xlb/testenv"
)

const protocol = "xlb-test"

// ConnectionIDs makes connection IDs as the QUIC-LB draft says, in plain text: rotation and length, the server's ID, and
// what makes them unique.
type ConnectionIDs struct {
	Rotation byte
	Server   []byte
}

const nonceLength = 6

// ConnectionIDLen is the length of all connection IDs in bytes.
func (g ConnectionIDs) ConnectionIDLen() int { return 1 + len(g.Server) + nonceLength }

// GenerateConnectionID makes a new one.
func (g ConnectionIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	id := append([]byte{g.Rotation<<5 | byte(g.ConnectionIDLen()-1)}, g.Server...)
	nonce := make([]byte, nonceLength)
	rand.Read(nonce)
	return quic.ConnectionIDFromBytes(append(id, nonce...)), nil
}

// Server answers every stream of its connections with the name of its backend.
type Server struct {
	socket    net.PacketConn
	transport *quic.Transport
	listener  *quic.Listener
	serving   sync.WaitGroup
}

// Serve starts a server on a backend. The caller closes it.
func Serve(b *testenv.Backend, at netip.AddrPort, ids ConnectionIDs) (*Server, error) {
	cert, err := certificate()
	if err != nil {
		return nil, err
	}
	socket, err := b.ListenPacket("udp", at.String())
	if err != nil {
		return nil, err
	}
	s := &Server{socket: socket, transport: &quic.Transport{Conn: socket, ConnectionIDGenerator: ids}}
	s.listener, err = s.transport.Listen(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{protocol}}, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for QUIC on %s: %w", at, err), s.transport.Close(), socket.Close())
	}
	s.serving.Go(func() {
		for {
			c, err := s.listener.Accept(context.Background())
			if err != nil {
				return
			}
			s.serving.Go(func() { answerStreams(c, b.Name()) })
		}
	})
	return s, nil
}

// Close ends the server and its connections.
func (s *Server) Close() error {
	err := errors.Join(s.listener.Close(), s.transport.Close(), s.socket.Close())
	s.serving.Wait()
	return err
}

func answerStreams(c *quic.Conn, name string) {
	for {
		s, err := c.AcceptStream(context.Background())
		if err != nil {
			return
		}
		io.Copy(io.Discard, s) // a stream counts against the client's limit until it is read
		io.WriteString(s, name)
		s.Close()
	}
}

// certificate makes one that nobody verifies.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Client is a client's connection, and the sockets that it has used.
type Client struct {
	Conn *quic.Conn

	lab     *testenv.Lab
	closers []io.Closer
}

// Dial connects from a source of the lab's client. The caller closes the connection.
func Dial(ctx context.Context, lab *testenv.Lab, from, to netip.AddrPort) (*Client, error) {
	c := &Client{lab: lab}
	t, err := c.transport(from)
	if err != nil {
		return nil, err
	}
	c.Conn, err = t.Dial(ctx, net.UDPAddrFromAddrPort(to), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect from %s to %s by QUIC: %w", from, to, err), c.Close())
	}
	return c, nil
}

// Close ends the connection and frees its sources. Closing again does nothing.
func (c *Client) Close() error {
	if c.Conn != nil {
		_ = c.Conn.CloseWithError(0, "") // it may have ended already
	}
	var err error
	for _, closer := range slices.Backward(c.closers) {
		err = errors.Join(err, closer.Close())
	}
	c.closers = nil
	return err
}

// transport opens a socket at a source.
func (c *Client) transport(from netip.AddrPort) (*quic.Transport, error) {
	socket, err := c.lab.Client.ListenPacket("udp", from.String())
	if err != nil {
		return nil, err
	}
	t := &quic.Transport{Conn: socket}
	c.closers = append(c.closers, socket, t)
	return t, nil
}

// Backend asks who is at the other end, on a new stream. ctx must have a deadline.
func (c *Client) Backend(ctx context.Context) (string, error) {
	s, err := c.Conn.OpenStreamSync(ctx)
	if err != nil {
		return "", err
	}
	end, _ := ctx.Deadline()
	// Closing is what the server learns of the stream by.
	if err := errors.Join(s.SetDeadline(end), s.Close()); err != nil {
		return "", err
	}
	name, err := io.ReadAll(s)
	return string(name), err
}

// Move goes on from another source.
func (c *Client) Move(ctx context.Context, to netip.AddrPort) error {
	t, err := c.transport(to)
	if err != nil {
		return err
	}
	path, err := c.Conn.AddPath(t)
	if err != nil {
		return err
	}
	if err := path.Probe(ctx); err != nil {
		return err
	}
	return path.Switch()
}
