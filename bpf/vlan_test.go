package bpf_test

import (
	"fmt"
	"testing"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// Tags of arrival say nothing about the way out: push, pop and rewrite are one
// mechanism, whatever the two are.
func TestTagsOfTheWayOutReplaceThoseOfArrival(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	customer, service := maps.Tag{Type: 0x8100, ID: 0xe064}, maps.Tag{Type: 0x88a8, ID: 0x0065}
	stacks := [][]maps.Tag{nil, {customer}, {service}, {service, customer}, {customer, customer}, {customer, service}}
	for _, w := range ways() {
		for _, in := range stacks {
			for _, out := range stacks {
				b := w.b
				copy(b.Tags[:], out)
				for i := range families {
					p.must(p.tables.SetBackend(firstBackend(maps.ServiceID(i)), b))
				}
				for _, padding := range []int{0, 13} {
					ip := w.inner.tcp(t, 443, 50)
					t.Run(fmt.Sprintf("%s %v to %v", w.name, in, out), func(t *testing.T) {
						p.expect(t, append(arriving(ip, in...), filler(padding)...), xdpTX,
							append(leaving(t, b, w.inner.hash(443, maps.TCP), ip), filler(padding)...), bpf.ReasonForwarded)
					})
				}
			}
		}
	}
}

// Tags do not count against the MTU: it is that of the IP packet.
func TestTagsLeaveTheMTUAlone(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	b := viaL2()
	copy(b.Tags[:], twoTags)
	p.must(p.tables.SetBackend(1, b))
	ip := family4.tcp(t, 443, 1460)
	p.expect(t, arriving(ip, twoTags...), xdpTX, leaving(t, b, 0, ip), bpf.ReasonForwarded)
}

func TestOtherLinkHeadersAreTheKernels(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	tag := maps.Tag{Type: 0x8100, ID: 7}
	for _, f := range families {
		ip := f.tcp(t, 443, 50)
		twice := arriving(ip, tag, tag)
		for _, c := range []struct {
			name   string
			frame  []byte
			reason bpf.Reason
		}{
			{"three tags", arriving(ip, tag, tag, tag), bpf.ReasonNotIp},
			{"a tag cut short", twice[:14+3], bpf.ReasonNotIp},
			{"a second tag cut short", twice[:14+4+3], bpf.ReasonNotIp},
			{"two tags and nothing behind", twice[:14+8], bpf.ReasonMalformed},
			{"two tags and half an IP header", twice[:14+8+19], bpf.ReasonMalformed},
			{"the other family's ethertype", with(twice, func(b []byte) {
				b[20], b[21] = map[bool]byte{true: 0x08, false: 0x86}[f.v6()], map[bool]byte{true: 0x00, false: 0xdd}[f.v6()]
			}), bpf.ReasonMalformed},
			{"an old ethertype of Q-in-Q", arriving(ip, maps.Tag{Type: 0x9100, ID: 7}), bpf.ReasonNotIp},
			{"a length field", arriving(ip, maps.Tag{Type: 0x0040, ID: 7}), bpf.ReasonNotIp},
		} {
			t.Run(f.name+" "+c.name, func(t *testing.T) { p.expect(t, c.frame, xdpPass, c.frame, c.reason) })
		}
	}
}

func TestEveryWayLeavesByAnotherInterface(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for _, w := range ways() {
		b := w.b
		b.Ifindex, b.Egress = testRunIfindex+1, 63
		b.Tags[0] = twoTags[0]
		for i := range families {
			p.must(p.tables.SetBackend(firstBackend(maps.ServiceID(i)), b))
		}
		ip := w.inner.udp(t, 443, 50)
		t.Run(w.name, func(t *testing.T) {
			p.must(p.maps[bpf.XlbMapEgress].Put(uint32(63), uint32(testRunIfindex)))
			p.expect(t, arriving(ip), xdpRedirect, leaving(t, b, w.inner.hash(443, maps.UDP), ip), bpf.ReasonForwarded)
			p.must(p.maps[bpf.XlbMapEgress].Delete(uint32(63)))
			p.expect(t, arriving(ip), xdpDrop, nil, bpf.ReasonNoEgress)
			back := b // the arrival interface needs no entry
			back.Ifindex = testRunIfindex
			p.must(p.tables.SetBackend(firstBackend(0), back))
			p.must(p.tables.SetBackend(firstBackend(1), back))
			p.expect(t, arriving(ip), xdpTX, leaving(t, back, w.inner.hash(443, maps.UDP), ip), bpf.ReasonForwarded)
		})
	}
}

// Answers go back where the packet came from, whatever way the service's packets take.
func TestAnswersAreNotRedirected(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for i, f := range families {
		b := via(maps.IPIP, f, f)
		b.Ifindex, b.Egress = testRunIfindex+1, 63
		p.must(p.tables.SetBackend(firstBackend(maps.ServiceID(i)), b))
		outcomes{
			{"echo", f.ping(t, 8), "tx echo_replied"},
			{"too big", f.tcp(t, 443, 1450), "tx too_big_answered"},
			{"another packet", f.tcp(t, 443, 8), "drop no_egress"},
		}.check(t, p)
	}
}
