package main

import (
	"net/netip"
	"testing"

	"github.com/xlb-project/xlb/testenv"
	"github.com/xlb-project/xlb/testenv/quiclab"
)

// serveQUIC has a backend answer QUIC connections to an address until the test ends.
func serveQUIC(t *testing.T, b *testenv.Backend, at netip.AddrPort, ids quiclab.ConnectionIDs) {
	t.Helper()
	s, err := quiclab.Serve(b, at, ids)
	must(t, err)
	t.Cleanup(func() { s.Close() })
}

// quicClient is a client's connection that fails its test.
type quicClient struct {
	*quiclab.Client
	t *testing.T
}

// dialQUIC connects from a source, until the test ends or close is called.
func dialQUIC(t *testing.T, lab *testenv.Lab, from, to netip.AddrPort) quicClient {
	t.Helper()
	c, err := quiclab.Dial(deadline(t), lab, from, to)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return quicClient{c, t}
}

func (c quicClient) backend() string {
	c.t.Helper()
	name, err := c.Backend(deadline(c.t))
	must(c.t, err)
	return name
}

func (c quicClient) move(to netip.AddrPort) {
	c.t.Helper()
	must(c.t, c.Move(deadline(c.t), to))
}

func (c quicClient) close() {
	c.t.Helper()
	must(c.t, c.Close())
}
