package main

import (
	"io"
	"net/netip"
	"sync"
	"testing"

	"github.com/xlb-project/xlb/testenv"
)

// serveName has a backend answer connections to an address and datagrams with its name, until the test ends.
func serveName(t *testing.T, b *testenv.Backend, at netip.AddrPort) {
	t.Helper()
	listener, err := b.Listen("tcp", at.String())
	must(t, err)
	socket, err := b.ListenPacket("udp", at.String())
	must(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, b.Name())
			c.Close()
		}
	})
	serving.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			_, from, err := socket.ReadFrom(buf)
			if err != nil {
				return
			}
			socket.WriteTo([]byte(b.Name()), from)
		}
	})
	t.Cleanup(func() {
		listener.Close()
		socket.Close()
		serving.Wait()
	})
}

// nameOver asks who serves an address over "tcp" or "udp".
func nameOver(t *testing.T, lab *testenv.Lab, network string, from, to netip.AddrPort) string {
	t.Helper()
	ctx := deadline(t)
	c, err := lab.Client.Dial(ctx, network, from, to)
	must(t, err)
	defer c.Close()
	end, _ := ctx.Deadline()
	must(t, c.SetDeadline(end))
	if network == "udp" {
		_, err = c.Write(payload)
		must(t, err)
	}
	name := make([]byte, 100)
	n, err := c.Read(name)
	if err != nil {
		t.Fatalf("ask %s/%s from %s: %v", to, network, from, err)
	}
	return string(name[:n])
}
