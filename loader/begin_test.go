package loader

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	xlb "github.com/xlb-project/xlb/maps"
)

// segment is a frame of a client's connection from port 4242 to vip:80/tcp.
func segment(flags byte) []byte {
	frame := make([]byte, 14+20+20)
	copy(frame, datagram(4242)[:14+20])
	ip, tcp := frame[14:34], frame[34:]
	ip[9] = 6
	binary.BigEndian.PutUint16(ip[2:], 40)
	binary.BigEndian.PutUint16(tcp[0:], 4242)
	binary.BigEndian.PutUint16(tcp[2:], 80)
	tcp[12], tcp[13] = 5<<4, flags
	return frame
}

// A connection begins after records were copied and before the switch to a program with another flow table. A former one
// with the same addresses and ports has left a record, of a backend that takes no new flows: all segments of the new one
// have to meet one backend all the same.
func TestConnectionThatBeginsInASwitchMeetsOneBackend(t *testing.T) {
	const syn, ack = 0x02, 0x10
	inSite(t, func(s *site) {
		opts := options("eth0")
		d := s.run(opts)
		defer func() { s.must(d.Close()) }()
		d.Tables.SetTick(100)
		for id := xlb.BackendID(1); id <= 3; id++ { // 3 is drained
			s.must(d.Tables.SetBackend(id, xlb.Backend{
				Forward: xlb.L2, Up: true, Accepts: id != 3, Ifindex: s.index("eth0"), MTU: 1500, SourceMAC: selfMAC, DestMAC: xlb.MAC{2, 0, 0, 0, 1, byte(id)},
			}))
		}
		s.must(d.Tables.SetSlotTable(0, []xlb.Slot{{Current: 1, Previous: 2, Transition: true}}))
		hash := xlb.FlowHash(opts.Settings.Key, netip.AddrPortFrom(client, 4242), netip.AddrPortFrom(vip, 80), xlb.TCP)
		d.Tables.AddFlows([]xlb.Flow{{Backend: 3, State: xlb.FlowClosing, Hash: hash}}, d.Tables.FlowBits())

		var before xlb.MAC
		send := func(p *ebpf.Program, flags byte) (to xlb.MAC) {
			out := make([]byte, 256)
			_, err := p.Run(&ebpf.RunOptions{Data: segment(flags), DataOut: out})
			s.must(err)
			copy(to[:], out)
			return to
		}
		d.inst.Failpoint = func(step string) error {
			if strings.HasPrefix(step, "attach") {
				before = send(d.Program(), syn)
			}
			return nil
		}
		opts.Settings.Limits.Flows *= 4
		staged, err := d.Prepare(opts)
		s.must(err)
		s.must(staged.Publish())
		if before == (xlb.MAC{}) {
			t.Fatal("no step was met at which the records are copied")
		}
		if after := send(d.Program(), ack); after != before {
			t.Errorf("the SYN went to %x, what followed to %x", before, after)
		}
		if state := d.Tables.Backend(3); state.Accepts {
			t.Error("backend 3 accepts flows afterwards")
		}
	})
}
