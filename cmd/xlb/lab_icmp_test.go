package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/testenv"
)

func TestPingsOfAVIPAreTreatedAsTheOptionSays(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: bothVIPs, Backends: 1, Decap: decap})
	for policy, reason := range map[string]string{"": "echo_replied", "reply": "echo_replied", "drop": "echo_dropped", "pass": "no_service"} {
		t.Run("icmp.echo "+policy, func(t *testing.T) {
			setting := ""
			if policy != "" {
				setting = fmt.Sprintf("icmp: {echo: %s}", policy)
			}
			node := start(t, lab, configOf(lab, setting,
				service("four", "vip: 192.0.2.10, port: 80, forward: ipip", over4(lab.Backends...)),
				service("six", `vip: "2001:db8:2::10", port: 80, forward: ipip`, over4(lab.Backends...))))
			kernel := openTap(t, lab.LB, lab.LBInterfaces[0])
			for i, vip := range lab.VIPs {
				ctx, cancel := context.WithCancel(deadline(t))
				answered := make(chan error, 1)
				go func() { answered <- lab.Client.Ping(ctx, vip) }()
				if reason == "echo_replied" {
					must(t, <-answered)
				}
				wantReason(t, node, reason, uint64(i+1))
				if policy == "pass" {
					wantEcho(t, kernel, vip)
				}
				cancel()
				if reason != "echo_replied" && <-answered == nil {
					t.Errorf("%s answers", vip)
				}
			}
			wantNoOtherReasons(t, node, reason)
		})
	}
}

// wantEcho waits until a kernel has got an echo request.
func wantEcho(t *testing.T, tap *testenv.Tap, to netip.Addr) {
	t.Helper()
	_, err := tap.Find(deadline(t), "an echo request to "+to.String(), func(f testenv.Frame) bool {
		p := decode(f)
		return !f.Outgoing && p.NetworkLayer() != nil && p.NetworkLayer().NetworkFlow().Dst().String() == to.String() &&
			(p.Layer(layers.LayerTypeICMPv4) != nil || p.Layer(layers.LayerTypeICMPv6Echo) != nil)
	})
	must(t, err)
}

// The router refuses large packets to the client, with an ICMP error to the VIP they come from.
func TestErrorsAboutABackendsPacketsReachThatBackendAlone(t *testing.T) {
	const mtu, sources = 1300, 5
	for name, c := range map[string]struct {
		lab      func(testenv.Options) (*testenv.Lab, error)
		forwards []string
	}{
		"on the link":  {testenv.NewSwitched, []string{"l2"}},
		"over tunnels": {testenv.NewRouted, []string{"ipip", "gre", "gue"}},
	} {
		t.Run(name, func(t *testing.T) {
			all := append(vips(testenv.DefaultVIP, len(c.forwards)), vips(testenv.DefaultVIP6, len(c.forwards))...)
			lab := testenv.New(t, c.lab, testenv.Options{VIPs: all, ClientMTU: mtu, Decap: decap})
			var services []string
			for i, vip := range all {
				backends := over4(lab.Backends...)
				if vip.Is6() {
					backends = over6(lab.Backends...)
				}
				forward := c.forwards[i%len(c.forwards)]
				settings := fmt.Sprintf("vip: %q, port: 80, forward: %s", vip, forward)
				services = append(services, service(fmt.Sprintf("web%d", i), settings, backends))
			}
			node := start(t, lab, configOf(lab, "", services...))
			for i, vip := range all {
				// No source is used twice: what a backend knows about it comes from this download.
				for _, from := range testenv.SourcesFor(vip, sources*len(all))[i*sources:][:sources] {
					owner, err := lab.Download(deadline(t), port80(vip), from, 50_000)
					must(t, err)
					wantPathMTU(t, lab, owner, from.Addr(), mtu)
				}
			}
			wantNoOtherReasons(t, node)
		})
	}
}

// wantPathMTU wants one backend alone to have been told about the path to a client.
func wantPathMTU(t *testing.T, lab *testenv.Lab, owner string, client netip.Addr, told int) {
	t.Helper()
	for _, b := range lab.Backends {
		want := testenv.EncapMTU
		if b.Name() == owner {
			want = told
		}
		got, err := b.PathMTU(client)
		must(t, err)
		if got != want {
			t.Errorf("%s knows a path MTU of %d to %s, which %s serves; want %d", b.Name(), got, client, owner, want)
		}
	}
}

func TestClientsAreToldWhatFitsIntoTheTunnel(t *testing.T) {
	const mtu = 1500
	tunnels, vips := allTunnels()
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: vips, LBMTU: mtu, Decap: decap})
	node := start(t, lab, configOf(lab, "", services(tunnels, lab.Backends, "")...))
	for name, c := range tunnels {
		t.Run(name, func(t *testing.T) {
			overhead := map[string]int{"ipip": 0, "gre": 4, "gue": 12}[c.forward] + 20
			if c.outer6 {
				overhead += 20
			}
			_, err := lab.Upload(deadline(t), port80(c.vip), testenv.SourcesFor(c.vip, 1)[0], 100_000)
			must(t, err)
			got, err := lab.Client.PathMTU(c.vip)
			must(t, err)
			if got != mtu-overhead {
				t.Errorf("the client was told %d, want %d", got, mtu-overhead)
			}
		})
	}
	wantNoOtherReasons(t, node, "too_big_answered", "too_big") // all that come within one moment are not told one by one
}

func TestMSSIsLoweredSoThatBackendsSendSmallerSegments(t *testing.T) {
	const mss = 1200
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: bothVIPs, Backends: 1, Decap: decap})
	node := start(t, lab, configOf(lab, "",
		service("four", fmt.Sprintf("vip: 192.0.2.10, port: [80, 81], forward: ipip, mss: %d", mss), over4(lab.Backends...)),
		service("six", fmt.Sprintf(`vip: "2001:db8:2::10", port: [80, 81], forward: gue, mss: %d`, mss), over6(lab.Backends...))))
	for _, vip := range bothVIPs {
		at := netip.AddrPortFrom(vip, 81)
		listener, err := lab.Backends[0].Listen("tcp", at.String())
		must(t, err)
		defer listener.Close()
		client, err := lab.Client.Dial(deadline(t), "tcp", testenv.SourcesFor(vip, 1)[0], at)
		must(t, err)
		defer client.Close()
		server, err := listener.Accept()
		must(t, err)
		defer server.Close()
		// Options in every segment take their part of it.
		const options = 40
		if got := sendMSS(t, server.(*net.TCPConn)); got > mss || got < mss-options {
			t.Errorf("the backend sends segments of up to %d bytes from %s, want %d less TCP options", got, vip, mss)
		}
	}
	wantNoOtherReasons(t, node)
}

// sendMSS is the size of the largest segments that a connection sends.
func sendMSS(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var info *unix.TCPInfo
	var infoErr error
	must(t, raw.Control(func(fd uintptr) { info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }))
	must(t, infoErr)
	return int(info.Snd_mss)
}
