package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/testenv"
)

func TestDatagramsInFragmentsReachTheirFlowsBackendWhole(t *testing.T) {
	for name, c := range map[string]struct {
		lab     func(testenv.Options) (*testenv.Lab, error)
		forward string
	}{
		"on the link":   {testenv.NewSwitched, "l2"},
		"over a tunnel": {testenv.NewTwoArmed, "gue"},
	} {
		t.Run(name, func(t *testing.T) {
			byFlow, bySource := bothVIPs, []netip.Addr{testenv.DefaultVIP.Next(), testenv.DefaultVIP6.Next()}
			lab := testenv.New(t, c.lab, testenv.Options{VIPs: slices.Concat(byFlow, bySource), Decap: decap})
			var services []string
			for i, vip := range lab.VIPs {
				backends, affinity := over4(lab.Backends...), "flow"
				if vip.Is6() {
					backends = over6(lab.Backends...)
				}
				if slices.Contains(bySource, vip) {
					affinity = "source"
				}
				settings := fmt.Sprintf("vip: %q, port: 80, protocol: udp, forward: %s, affinity: %s", vip, c.forward, affinity)
				services = append(services, service(fmt.Sprintf("udp%d", i), settings, backends))
			}
			node := start(t, lab, configOf(lab, "", services...))
			for _, vip := range lab.VIPs {
				met := map[string]bool{}
				for _, from := range testenv.SourcesFor(vip, 30) {
					want, err := lab.Ask(deadline(t), port80(vip), from)
					must(t, err)
					got, err := lab.AskSized(deadline(t), port80(vip), from, 4000)
					must(t, err)
					if got != want {
						t.Errorf("%s got the datagram in fragments from %s to %s, and %s a small one", got, from, vip, want)
					}
					met[got] = true
				}
				if len(met) != len(lab.Backends) {
					t.Errorf("datagrams to %s reached %d backends, want all", vip, len(met))
				}
			}
			wantNoOtherReasons(t, node)
		})
	}
}

func TestFragmentsBeforeTheirFirstOneAreTreatedAsTheOptionSays(t *testing.T) {
	bySource := netip.MustParseAddr("192.0.2.11")
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: []netip.Addr{testenv.DefaultVIP, bySource}, Backends: 1, Decap: decap})
	out := openTap(t, lab.LBPeers[0].NS, lab.LBPeers[0].Interface)
	kernel := openTap(t, lab.LB, lab.LBInterfaces[0])
	from := testenv.Sources(1)[0].Addr()
	for _, orphans := range []string{"drop", "pass"} {
		t.Run(orphans, func(t *testing.T) {
			node := start(t, lab, configOf(lab, "fragments: {orphans: "+orphans+"}",
				service("flow", "vip: 192.0.2.10, port: 80, protocol: udp, forward: ipip", over4(lab.Backends...)),
				service("source", "vip: 192.0.2.11, port: 80, protocol: udp, forward: ipip, affinity: source", over4(lab.Backends...))))

			first, later := fragments(t, lab, from, testenv.DefaultVIP)
			inject(t, lab, later)
			wantReason(t, node, "fragment_unknown", 1)
			// Another packet for the kernel tells when it would have got the fragment.
			other := datagram(t, lab, netip.AddrPortFrom(from, 4242), netip.AddrPortFrom(testenv.DefaultVIP, 9))
			inject(t, lab, other)
			if orphans == "pass" {
				wantInKernel(t, kernel, later)
			}
			wantInKernel(t, kernel, other)
			for _, f := range [][]byte{first, later, later} {
				inject(t, lab, f)
				wantFragment(t, out, f)
			}
			_, later = fragments(t, lab, from, bySource)
			inject(t, lab, later)
			wantFragment(t, out, later)
			wantReason(t, node, "fragment_unknown", 1)
			wantNoOtherReasons(t, node, "fragment_unknown", "no_service")
		})
	}
}

// wantInKernel wants the next frame with a test's payload that a node's kernel gets to be an injected one.
func wantInKernel(t *testing.T, tap *testenv.Tap, injected []byte) {
	t.Helper()
	f, err := tap.Find(deadline(t), "a frame with the test's payload", func(f testenv.Frame) bool {
		return !f.Outgoing && bytes.Contains(f.Data, payload)
	})
	must(t, err)
	if !bytes.Equal(f.Data, injected) {
		t.Errorf("the kernel got %x, want %x", f.Data, injected)
	}
}

// fragments are two frames with the halves of a datagram.
func fragments(t *testing.T, lab *testenv.Lab, from, to netip.Addr) (first, later []byte) {
	t.Helper()
	whole := ipv4(from, to, layers.IPProtocolUDP)
	content := bytes.Repeat(payload, 4)
	buf := gopacket.NewSerializeBuffer()
	must(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		udp(whole, 4242, 80), gopacket.Payload(content)))
	const half = 32
	headers := func(offset uint16, flags layers.IPv4Flag) *layers.IPv4 {
		ip := ipv4(from, to, layers.IPProtocolUDP)
		ip.Id, ip.FragOffset, ip.Flags = 4711, offset/8, flags
		return ip
	}
	link := toLB(t, lab, layers.EthernetTypeIPv4)
	first = frame(t, link, headers(0, layers.IPv4MoreFragments), gopacket.Payload(buf.Bytes()[:half]))
	later = frame(t, link, headers(half, 0), gopacket.Payload(buf.Bytes()[half:]))
	return first, later
}

// wantFragment wants the next frame with a test's payload to be what is behind the IP header of an injected one.
func wantFragment(t *testing.T, tap *testenv.Tap, injected []byte) {
	t.Helper()
	const headers = 14 + 20
	inner := header[*layers.IPv4](fromLB(t, tap))
	if got := inner[len(inner)-1]; !bytes.HasPrefix(got.LayerPayload(), injected[headers:]) {
		t.Errorf("the balancer sent %x, want the fragment %x", got.LayerPayload(), injected[headers:])
	}
}
