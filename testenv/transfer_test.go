package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const megabyte = 1 << 20

// wantPathMTU checks what a node has learned about a path.
func wantPathMTU(t *testing.T, n *Namespace, to netip.Addr, want int) {
	t.Helper()
	if got, err := n.PathMTU(to); err != nil || got != want {
		t.Errorf("path MTU of %s to %s: %d, %v; want %d", n.Name(), to, got, err, want)
	}
}

func TestUploadFillsThePacketsToTheVIP(t *testing.T) {
	lab := newLab(t, NewTwoArmed, Options{VIPs: both})
	for _, to := range []netip.AddrPort{web, web6} {
		ctx := within(t, 20*time.Second)
		tap := openTap(t, lab.Router, "client")
		got, err := lab.Upload(ctx, to, SourcesFor(to.Addr(), 1)[0], megabyte)
		wantAnswer(t, "upload", got, err, "backend1")
		_, err = tap.Find(ctx, "a full frame from the client", func(f Frame) bool { return !f.Outgoing && len(f.Data) == 14+DefaultMTU })
		if err != nil {
			t.Error(err)
		}
	}
}

func TestClientLearnsThePathMTUOfTheVIP(t *testing.T) {
	const narrow = 1420
	lab := newLab(t, NewRouted, Options{VIPs: both})
	for _, to := range []netip.AddrPort{web, web6} {
		ctx, vip, from := within(t, 20*time.Second), to.Addr(), SourcesFor(to.Addr(), 1)[0]
		wantPathMTU(t, lab.Client, vip, DefaultMTU)
		via := lab.Backends[0].Addr
		if vip.Is6() {
			via = lab.Backends[0].Addr6
		}
		route := &netlink.Route{Dst: ipNet(netip.PrefixFrom(vip, vip.BitLen())), Gw: via.AsSlice(), MTU: narrow, MTULock: true}
		if err := lab.Router.Netlink().RouteReplace(route); err != nil {
			t.Fatal(err)
		}
		got, err := lab.Upload(ctx, to, from, megabyte)
		wantAnswer(t, "upload", got, err, "backend1")
		wantPathMTU(t, lab.Client, vip, narrow)
	}
}

func TestDownloadOverANarrowPathNeedsTheICMPErrorAboutTheVIP(t *testing.T) {
	const narrow = 1400
	for name, build := range labs {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t, build, Options{VIPs: both, ClientMTU: narrow})
			for _, to := range []netip.AddrPort{web, web6} {
				// Chosen sources and the client's own choice: both paths are narrow.
				for _, from := range []netip.AddrPort{SourcesFor(to.Addr(), 1)[0], {}} {
					ctx := within(t, 20*time.Second)
					got, err := lab.Download(ctx, to, from, megabyte)
					wantAnswer(t, "download", got, err, "backend1")
					got, err = lab.Upload(ctx, to, from, megabyte)
					wantAnswer(t, "upload", got, err, "backend1")
				}
				for _, client := range []netip.Addr{SourcesFor(to.Addr(), 1)[0].Addr(), clientOf(to)} {
					wantPathMTU(t, lab.Backends[0].Namespace, client, narrow)
					wantPathMTU(t, lab.Backends[1].Namespace, client, EncapMTU)
				}
				wantPathMTU(t, lab.Client, to.Addr(), DefaultMTU)
			}
		})
	}
}

// clientOf returns the source that the client chooses by itself.
func clientOf(to netip.AddrPort) netip.Addr {
	if to.Addr().Is4() {
		return clientAddr.v4.Addr()
	}
	return clientAddr.v6.Addr()
}

// withoutICMP loses ICMP for IPv4 and lets the rest pass.
var withoutICMP = asm.Instructions{
	asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // data
	asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // data_end
	asm.Mov.Imm(asm.R0, xdpPass),
	asm.Mov.Reg(asm.R4, asm.R2),
	asm.Add.Imm(asm.R4, 14+20),
	asm.JGT.Reg(asm.R4, asm.R3, "out"),
	asm.LoadMem(asm.R4, asm.R2, 12, asm.Half), // ethertype, then protocol
	asm.HostTo(asm.BE, asm.R4, asm.Half),
	asm.JNE.Imm(asm.R4, unix.ETH_P_IP, "out"),
	asm.LoadMem(asm.R4, asm.R2, 14+9, asm.Byte),
	asm.JNE.Imm(asm.R4, unix.IPPROTO_ICMP, "out"),
	asm.Mov.Imm(asm.R0, 1), // XDP_DROP
	asm.Return().WithSymbol("out"),
}

func TestDownloadOverANarrowPathStallsWithoutTheICMPError(t *testing.T) {
	free := func(*Namespace, string) (io.Closer, error) { return nil, nil }
	lab := newLab(t, NewRouted, Options{Backends: 1, ClientMTU: 1400, Decap: free})
	b, from := lab.Backends[0], Sources(1)[0]
	attach(t, b.Namespace, b.Interface, withoutICMP)
	got, err := lab.Download(within(t, 20*time.Second), web, from, 1000)
	wantAnswer(t, "small download", got, err, "backend1")
	// It never comes to an end: half a second only bounds the test.
	if got, err := lab.Download(within(t, 500*time.Millisecond), web, from, megabyte); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %q, %v; want %v", got, err, context.DeadlineExceeded)
	}
	wantPathMTU(t, b.Namespace, from.Addr(), EncapMTU)
}

func TestMTUsAreThoseOfTheOptions(t *testing.T) {
	for name, build := range labs {
		t.Run(name, func(t *testing.T) {
			lab := New(t, build, Options{Backends: 1, LBMTU: 1500, BackendMTU: 1550})
			wantMTU(t, lab.Client, "eth0", DefaultMTU)
			for i, e := range lab.LBPeers {
				wantMTU(t, lab.LB, lab.LBInterfaces[i], 1500)
				wantMTU(t, e.NS, e.Interface, 1500)
			}
			wantMTU(t, lab.Backends[0].Namespace, "eth0", 1550)
		})
	}
}

func TestTransfersOfOtherBytesAreRefused(t *testing.T) {
	lab := New(t, NewRouted, Options{Backends: 1})
	l, err := lab.Client.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			io.CopyN(w, zeros{}, 1000)
			return
		}
		client, _ := netip.ParseAddrPort(r.RemoteAddr)
		json.NewEncoder(w).Encode(Answer{Backend: "liar", Client: client, Bytes: r.ContentLength, SHA256: []byte("no")})
	})}
	var serving errgroup.Group
	serving.Go(func() error { return server.Serve(l) })
	defer serving.Wait()
	defer server.Close()
	to, ctx := netip.MustParseAddrPort("127.0.0.1:80"), within(t, 10*time.Second)
	for name, transfer := range map[string]func(context.Context, netip.AddrPort, netip.AddrPort, int64) (string, error){
		"upload": lab.Upload, "download": lab.Download,
	} {
		if _, err := transfer(ctx, to, netip.AddrPort{}, 1000); err == nil || !strings.Contains(err.Error(), "with SHA-256") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
