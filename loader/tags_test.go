package loader

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv"
)

// No device of the lab has VLANs: the row of a backend says that there are some, and a tap reads what the driver sends.
func TestTagsOfABackendsWayAreOnTheWire(t *testing.T) {
	p := newProber(t, testenv.NewRouted)
	tap, err := testenv.OpenTap(p.LBPeers[0].NS, p.LBPeers[0].Interface)
	p.must(err)
	defer tap.Close()
	self := p.interfaceOf("eth0").Attrs().HardwareAddr
	out := []maps.Tag{{Type: 0x88a8, ID: 0x2064}, {Type: 0x8100, ID: 7}}
	in := []maps.Tag{{Type: 0x8100, ID: 0xb123}, {Type: 0x8100, ID: 9}}
	for _, vip := range p.VIPs {
		for _, forward := range []maps.Forward{maps.L2, maps.IPIP, maps.GUE} {
			for pushed := range 3 {
				for arriving := range 3 {
					t.Run(fmt.Sprintf("%s by %s, %d tags become %d", vip, forward, arriving, pushed), func(t *testing.T) {
						id := p.backend(0, vip, way{forward: forward, tags: out[:pushed]})
						p.must(p.dataplane.Tables.SetService(0, maps.Service{IPv6: vip.Is6()}))
						p.must(p.dataplane.Tables.SetSlotTable(0, maps.Steady([]maps.BackendID{id})))
						syn := synTo(vip)
						kind, leaving := []byte{0x08, 0x00}, []byte{0x08, 0x00}
						if vip.Is6() {
							kind = []byte{0x86, 0xdd}
							if forward == maps.L2 {
								leaving = kind
							}
						}
						frame := slices.Concat(self, p.LBPeers[0].MAC, tagBytes(in[:arriving]), kind, syn)
						want := slices.Concat(p.LBPeers[0].MAC, self, tagBytes(out[:pushed]), leaving)
						p.must(testenv.Inject(p.LBPeers[0].NS, p.LBPeers[0].Interface, frame))
						_, err := tap.Find(soon(t), fmt.Sprintf("a frame that begins with %x", []byte(want)), func(f testenv.Frame) bool {
							return !f.Outgoing && bytes.HasPrefix(f.Data, want) && bytes.HasSuffix(f.Data, syn[len(syn)-20:])
						})
						p.must(err)
					})
				}
			}
		}
	}
}

func tagBytes(tags []maps.Tag) (b []byte) {
	for _, tag := range tags {
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, tag.Type), tag.ID)
	}
	return b
}

// synTo is a packet with a SYN to port 80 of a VIP. Nobody looks at its TCP checksum.
func synTo(vip netip.Addr) []byte {
	tcp := make([]byte, 20)
	binary.BigEndian.PutUint16(tcp, 4242)
	binary.BigEndian.PutUint16(tcp[2:], 80)
	tcp[12], tcp[13] = 0x50, 0x02
	if vip.Is6() {
		ip := append([]byte{0x60, 0, 0, 0, 0, byte(len(tcp)), 6, 64}, net.ParseIP("2001:db8:c::1")...)
		return append(append(ip, vip.AsSlice()...), tcp...)
	}
	ip := []byte{0x45, 0, 0, byte(20 + len(tcp)), 0, 0, 0x40, 0, 64, 6, 0, 0, 198, 18, 0, 1}
	return append(append(ip, vip.AsSlice()...), tcp...)
}
