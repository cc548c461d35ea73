package testenv

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// isFragment tells whether a frame without tags holds a fragment of a UDP datagram, and whether it is the first.
func isFragment(f Frame) (first, ok bool) {
	if len(f.Data) < 62 {
		return false, false
	}
	ip := f.Data[14:]
	switch {
	case f.Data[12] == 8 && f.Data[13] == 0 && ip[9] == unix.IPPROTO_UDP:
		offset := int(ip[6]&0x1f)<<8 | int(ip[7])
		return offset == 0, offset != 0 || ip[6]&0x20 != 0
	case f.Data[12] == 0x86 && f.Data[13] == 0xdd && ip[6] == unix.IPPROTO_FRAGMENT && ip[40] == unix.IPPROTO_UDP:
		return ip[42] == 0 && ip[43]&^7 == 0, true
	}
	return false, false
}

func TestLargeDatagramsTravelInFragments(t *testing.T) {
	for name, build := range labs {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t, build, Options{VIPs: both, ClientMTU: 1400})
			for _, to := range []netip.AddrPort{web, web6} {
				ctx, from := within(t, 20*time.Second), SourcesFor(to.Addr(), 1)[0]
				tap := openTap(t, lab.Router, "client")
				for _, size := range []int{0, 1, 1400, 4000, 65507} {
					got, err := lab.AskSized(ctx, to, from, size)
					wantAnswer(t, "UDP", got, err, "backend1")
				}
				for _, wantFirst := range []bool{true, false} {
					if _, err := tap.Find(ctx, "a fragment", func(f Frame) bool {
						first, ok := isFragment(f)
						return ok && !f.Outgoing && first == wantFirst
					}); err != nil {
						t.Errorf("first %v: %v", wantFirst, err)
					}
				}
			}
		})
	}
}

func TestIPv4QuestionsMayBeFragmentedOnTheWay(t *testing.T) {
	lab := newLab(t, NewRouted, Options{Backends: 1})
	ctx := within(t, 10*time.Second)
	tap := openTap(t, lab.Router, "client")
	got, err := lab.AskSized(ctx, web, Sources(1)[0], 1000)
	wantAnswer(t, "UDP", got, err, "backend1")
	f, err := tap.Find(ctx, "the question", func(f Frame) bool { return !f.Outgoing && len(f.Data) == 14+20+8+1000 })
	if err != nil {
		t.Fatal(err)
	}
	if f.Data[20]&0x40 != 0 {
		t.Error("the packet says: don't fragment")
	}
}

func TestAskRefusesAnAnswerToAnotherQuestion(t *testing.T) {
	lab := New(t, NewRouted, Options{Backends: 1})
	server, err := lab.Client.ListenPacket("udp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx := within(t, 10*time.Second)
	asked := make(chan error, 1)
	go func() {
		_, err := lab.Ask(ctx, netip.MustParseAddrPort("127.0.0.1:80"), netip.AddrPort{})
		asked <- err
	}()
	buf := make([]byte, 1<<16)
	n, from, err := server.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	buf[n-1]++
	if _, err := server.WriteTo(datagramAnswer("liar", buf[:n]), from); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a refusal", err)
	}
}

// Libraries that speak QUIC look for the real type, to set socket options and send many packets at once.
func TestPacketSocketsAreUDPConns(t *testing.T) {
	lab := New(t, NewRouted, Options{Backends: 1, VIPs: both})
	for _, from := range slices.Concat(Sources(1), SourcesFor(DefaultVIP6, 1)) {
		c, err := lab.Client.ListenPacket("udp", from.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		udp, ok := c.(*net.UDPConn)
		if !ok {
			t.Fatalf("ListenPacket returned a %T", c)
		}
		raw, err := udp.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(raw.Control(func(fd uintptr) {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
		}), err)
		if err != nil {
			t.Error(err)
		}
	}
}
