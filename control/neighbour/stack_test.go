package neighbour

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestStackOfInterfaces(t *testing.T) {
	inner := Tag{Type: 0x8100, ID: 5}
	outer := Tag{Type: 0x88a8, ID: 100}
	links := map[int]device{}
	add := func(index int, name string, mtu, parent int, tag Tag) *device {
		d := device{up: true, running: true, ethernet: true, parent: parent, tag: tag}
		d.Link = Link{Name: name, Index: index, MTU: mtu, MAC: [6]byte{2, 0, 0, 0, 0, byte(index)}}
		links[index] = d
		return &d
	}
	change := func(d *device, f func(*device)) { f(d); links[d.Index] = *d }

	add(1, "eth0", 1500, 0, Tag{})
	add(2, "eth0.5", 1500, 1, inner)
	add(3, "eth0.100", 1504, 1, outer)
	add(4, "eth0.100.5", 1400, 3, inner)
	add(5, "eth0.100.5.6", 1400, 4, Tag{Type: 0x8100, ID: 6})
	add(6, "eth0.100.5.6.7", 1400, 5, Tag{Type: 0x8100, ID: 7})
	add(7, "eth0.0", 1500, 1, Tag{Type: 0x8100})
	change(add(10, "eth1", 1500, 0, Tag{}), func(d *device) { d.up, d.running = false, false })
	change(add(11, "eth1.5", 1500, 10, inner), func(d *device) { d.running = false })
	add(12, "eth1.6", 1500, 10, inner) // up in spite of its parent, by loose binding
	change(add(20, "eth2", 1500, 0, Tag{}), func(d *device) { d.running = false })
	add(21, "eth2.5", 1500, 20, inner)
	change(add(22, "eth0.8", 1500, 1, inner), func(d *device) { d.up = false })
	change(add(30, "tun0", 1500, 0, Tag{}), func(d *device) { d.ethernet = false })
	add(40, "orphan", 1500, 41, inner)
	add(50, "loop", 1500, 51, inner)
	add(51, "pool", 1500, 50, inner)

	for name, c := range map[string]struct {
		index  int
		bottom string
		mtu    int
		tags   [2]Tag
		err    string
	}{
		"no VLAN":                     {index: 1, bottom: "eth0", mtu: 1500},
		"one tag":                     {index: 2, bottom: "eth0", mtu: 1500, tags: [2]Tag{inner}},
		"parent with the smaller MTU": {index: 3, bottom: "eth0", mtu: 1500, tags: [2]Tag{outer}},
		"two tags":                    {index: 4, bottom: "eth0", mtu: 1400, tags: [2]Tag{outer, inner}},
		"tag with ID 0":               {index: 7, bottom: "eth0", mtu: 1500, tags: [2]Tag{{Type: 0x8100}}},
		"three tags":                  {index: 5, err: "xlb cannot send through eth0.100.5.6: it has more than 2 VLAN tags"},
		"four tags":                   {index: 6, err: "xlb cannot send through eth0.100.5.6.7: it has more than 2 VLAN tags"},
		"parent down":                 {index: 11, err: "eth1 is down"},
		"parent down, loose binding":  {index: 12, err: "eth1 is down"},
		"parent without carrier":      {index: 21, err: "eth2 has no carrier"},
		"VLAN down":                   {index: 22, err: "eth0.8 is down"},
		"not Ethernet":                {index: 30, err: "xlb cannot send through tun0: it is no Ethernet interface"},
		"parent not known yet":        {index: 40, err: errUnknown.Error()},
		"not known":                   {index: 41, err: errUnknown.Error()},
		"circle":                      {index: 50, err: "xlb cannot send through loop: it has more than 2 VLAN tags"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := stackOf(links, c.index)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("got error %v, want %q", err, c.err)
				}
				return
			}
			want := stack{top: links[c.index], bottom: s.bottom, mtu: c.mtu, tags: c.tags}
			if err != nil || s != want || s.bottom.Name != c.bottom {
				t.Errorf("got %+v, %v; want %+v on %s", s, err, want, c.bottom)
			}
		})
	}
}

func TestDeviceOfAVLANInAnotherNamespaceThanItsParentStandsAlone(t *testing.T) {
	vlan := &netlink.Vlan{LinkAttrs: netlink.NewLinkAttrs(), VlanId: 5, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	vlan.Index, vlan.ParentIndex = 3, 2
	if d := newDevice(vlan); d.parent != 2 || d.tag != (Tag{Type: 0x8100, ID: 5}) {
		t.Errorf("beside its parent: got %+v", d)
	}
	vlan.NetNsID = 0
	if d := newDevice(vlan); d.parent != 0 || d.tag != (Tag{}) {
		t.Errorf("without its parent: got %+v", d)
	}
}

func TestInterfacesAreRefusedAsPartsOfBonds(t *testing.T) {
	attrs := func(index int, name string, master int) netlink.LinkAttrs {
		return netlink.LinkAttrs{
			Index: index, Name: name, MasterIndex: master, EncapType: "ether",
			HardwareAddr: []byte{2, 0, 0, 0, 0, byte(index)}, RawFlags: unix.IFF_UP | unix.IFF_RUNNING,
		}
	}
	all := []netlink.Link{
		&netlink.Device{LinkAttrs: attrs(1, "eth0", 10)},
		&netlink.Device{LinkAttrs: attrs(2, "eth1", 11)},
		&netlink.Device{LinkAttrs: attrs(3, "eth2", 12)},
		&netlink.Device{LinkAttrs: attrs(4, "eth3", 13)},
		&netlink.Bond{LinkAttrs: attrs(10, "bond0", 0)},
		&netlink.GenericLink{LinkAttrs: attrs(11, "team0", 0), LinkType: "team"},
		&netlink.Bridge{LinkAttrs: attrs(12, "br0", 0)},
		&netlink.Vrf{LinkAttrs: attrs(13, "vrf0", 0)},
	}
	for name, refusal := range map[string]string{
		"eth0":  "interface eth0 is part of bond0: name bond0 instead",
		"eth1":  "interface eth1 is part of team0: name team0 instead",
		"eth2":  "",
		"eth3":  "",
		"bond0": "",
		"team0": "",
		"br0":   "",
	} {
		link, err := find(all, name)
		switch {
		case refusal == "" && (err != nil || link.Name != name):
			t.Errorf("%s: got %+v, %v", name, link, err)
		case refusal != "" && (err == nil || !strings.Contains(err.Error(), refusal)):
			t.Errorf("%s: got error %v, want %q", name, err, refusal)
		}
	}
}
