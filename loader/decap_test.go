package loader

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
)

// gueFrame is an IPv6 packet without payload in gue over IPv6, to a UDP port.
func gueFrame(port uint16) []byte {
	frame := make([]byte, 14+40+12+40)
	binary.BigEndian.PutUint16(frame[12:], 0x86dd)
	outer, udp, inner := frame[14:54], frame[54:66], frame[66:]
	outer[0], outer[5], outer[6] = 0x60, 52, 17
	binary.BigEndian.PutUint16(udp[2:], port)
	udp[5], udp[9] = 52, 41
	inner[0], inner[6] = 0x60, 59
	return frame
}

func TestDecapUnpacksGUEOnItsPortAlone(t *testing.T) {
	for name, c := range map[string]struct {
		opts        DecapOptions
		port, other uint16
	}{
		"default": {DecapOptions{}, 6080, 7000},
		"set":     {DecapOptions{GUEPort: 7000}, 7000, 6080},
	} {
		t.Run(name, func(t *testing.T) {
			inSite(t, func(*site) {
				d, err := AttachDecap("eth0", Native, c.opts)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				if attachedTo(t, "eth0") == 0 {
					t.Error("eth0 has no program")
				}
				for _, port := range []uint16{c.other, c.port} {
					if _, err := d.coll.Programs[bpf.DecapProgDecap].Run(&ebpf.RunOptions{Data: gueFrame(port)}); err != nil {
						t.Fatal(err)
					}
				}
				counter, err := d.Counter()
				if err != nil {
					t.Fatal(err)
				}
				if counter.Packets != 1 || counter.Bytes != 92 {
					t.Errorf("%d packets of %d bytes unpacked, want the one of 92 to port %d", counter.Packets, counter.Bytes, c.port)
				}
			})
		})
	}
}
