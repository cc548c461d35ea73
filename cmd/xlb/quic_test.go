package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/xlb-project/xlb/testenv"
)

// connectionIDs makes connection IDs as the QUIC-LB draft says, in plain text: rotation and length, the server's ID, and
// what makes them unique.
type connectionIDs struct {
	rotation byte
	server   []byte
}

const nonceLength = 6

func (g connectionIDs) ConnectionIDLen() int { return 1 + len(g.server) + nonceLength }

func (g connectionIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	id := append([]byte{g.rotation<<5 | byte(g.ConnectionIDLen()-1)}, g.server...)
	nonce := make([]byte, nonceLength)
	rand.Read(nonce)
	return quic.ConnectionIDFromBytes(append(id, nonce...)), nil
}

const quicProtocol = "xlb-test"

// serveQUIC has a backend answer every stream of QUIC connections to an address with its name, until the test ends.
func serveQUIC(t *testing.T, b *testenv.Backend, at netip.AddrPort, ids connectionIDs) {
	t.Helper()
	socket, err := b.ListenPacket("udp", at.String())
	must(t, err)
	transport := &quic.Transport{Conn: socket, ConnectionIDGenerator: ids}
	listener, err := transport.Listen(&tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{quicProtocol}}, nil)
	must(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			serving.Go(func() { answerStreams(c, b.Name()) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		transport.Close()
		socket.Close()
		serving.Wait()
	})
}

func answerStreams(c *quic.Conn, name string) {
	for {
		s, err := c.AcceptStream(context.Background())
		if err != nil {
			return
		}
		io.WriteString(s, name)
		s.Close()
	}
}

// certificate makes one that nobody verifies.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// quicClient is a client's connection, and the sockets that it has used.
type quicClient struct {
	t       *testing.T
	lab     *testenv.Lab
	conn    *quic.Conn
	closers []io.Closer
}

// dialQUIC connects from a source, until the test ends or close is called.
func dialQUIC(t *testing.T, lab *testenv.Lab, from, to netip.AddrPort) *quicClient {
	t.Helper()
	c := &quicClient{t: t, lab: lab}
	t.Cleanup(c.close)
	conn, err := c.transport(from).Dial(deadline(t), net.UDPAddrFromAddrPort(to),
		&tls.Config{InsecureSkipVerify: true, NextProtos: []string{quicProtocol}}, nil)
	must(t, err)
	c.conn = conn
	return c
}

// close ends the connection and frees its sources.
func (c *quicClient) close() {
	if c.conn != nil {
		c.conn.CloseWithError(0, "")
	}
	for _, closer := range c.closers {
		closer.Close()
	}
	c.closers = nil
}

// transport opens a socket at a source.
func (c *quicClient) transport(from netip.AddrPort) *quic.Transport {
	c.t.Helper()
	socket, err := c.lab.Client.ListenPacket("udp", from.String())
	must(c.t, err)
	transport := &quic.Transport{Conn: socket}
	c.closers = append(c.closers, transport, socket)
	return transport
}

// backend asks who is at the other end, on a new stream.
func (c *quicClient) backend() string {
	c.t.Helper()
	ctx := deadline(c.t)
	s, err := c.conn.OpenStreamSync(ctx)
	must(c.t, err)
	end, _ := ctx.Deadline()
	must(c.t, s.SetDeadline(end))
	must(c.t, s.Close()) // which is what the server learns of the stream by
	name, err := io.ReadAll(s)
	must(c.t, err)
	return string(name)
}

// move goes on from another source.
func (c *quicClient) move(to netip.AddrPort) {
	c.t.Helper()
	path, err := c.conn.AddPath(c.transport(to))
	must(c.t, err)
	must(c.t, path.Probe(deadline(c.t)))
	must(c.t, path.Switch())
}
