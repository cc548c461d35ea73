package neighbour_test

import (
	"errors"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/testenv"
)

// linkMessage is what the kernel says of an interface.
type linkMessage struct {
	index, parent, mtu int
	name               string
	mac                net.HardwareAddr
	down               bool
	tag                neighbour.Tag // of a VLAN on parent
}

// receive makes the watcher believe that the kernel sent a message.
func (o *observer) receive(m linkMessage) {
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index, header.Type, header.Flags = int32(m.index), unix.ARPHRD_ETHER, unix.IFF_UP|unix.IFF_RUNNING
	if m.down {
		header.Flags = 0
	}
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	r.AddData(header)
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(m.name)))
	r.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(m.mtu))))
	r.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, m.mac))
	if m.parent != 0 {
		r.AddData(nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(m.parent))))
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.ZeroTerminated("vlan"))
		data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
		data.AddRtAttr(nl.IFLA_VLAN_ID, nl.Uint16Attr(m.tag.ID))
		data.AddRtAttr(nl.IFLA_VLAN_PROTOCOL, []byte{byte(m.tag.Type >> 8), byte(m.tag.Type)})
		r.AddData(info)
	}
	o.Receive(r.Serialize())
}

// The kernel of the test needs no VLANs for this: that eth0 were one is what the watcher is told.
func TestFollowsEveryDeviceUnderAVLAN(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{}, "10.0.0.2", "10.0.1.2", "10.9.0.1")
	plain := o.awaitAnyHop("10.0.0.2")
	o.awaitAnyHop("10.0.1.2")

	physical := linkMessage{index: 900, name: "phys0", mtu: 1500, mac: movedMAC}
	vlan := linkMessage{
		index: l.index("eth0"), name: "eth0", mtu: 1500, mac: lbMAC0,
		parent: physical.index, tag: neighbour.Tag{Type: 0x8100, ID: 5},
	}
	want := plain
	want.Interface, want.Index, want.Tags = physical.name, physical.index, [2]neighbour.Tag{vlan.tag}
	await := func(ms ...linkMessage) {
		t.Helper()
		for _, m := range ms {
			o.receive(m)
		}
		o.awaitHop("10.0.0.2", func(h neighbour.NextHop) bool { return h == want })
	}
	o.receive(vlan)
	l.replaceRoute(route("10.9.0.0/16", "10.0.1.2"))
	o.awaitAnyHop("10.9.0.1") // comes after what the VLAN changed
	if u, _ := o.Get(parse("10.0.0.2")[0]); u.Hop != plain {
		t.Errorf("before the parent is known: got %+v, want %+v as before", u, plain)
	}
	await(physical)

	physical.name, want.Interface = "phys1", "phys1"
	await(physical)
	physical.mtu, want.MTU = 1400, 1400
	await(physical)
	vlan.mtu, want.MTU = 1300, 1300
	await(vlan)
	vlan.tag.ID, want.Tags[0].ID = 6, 6
	await(vlan)

	physical.down = true
	o.receive(physical)
	o.awaitErr("10.0.0.2", "phys1 is down")
	physical.down = false
	await(physical)

	// Once more a VLAN below: phys2 <- phys1 <- eth0.
	bottom := linkMessage{index: 901, name: "phys2", mtu: 1200, mac: movedMAC}
	physical.parent, physical.tag = bottom.index, neighbour.Tag{Type: 0x88a8, ID: 100}
	want.Interface, want.Index, want.MTU = bottom.name, bottom.index, bottom.mtu
	want.Tags = [2]neighbour.Tag{physical.tag, vlan.tag}
	await(bottom, physical)

	ground := linkMessage{index: 902, name: "phys3", mtu: 1500, mac: movedMAC}
	third := bottom
	third.parent, third.tag = ground.index, neighbour.Tag{Type: 0x88a8, ID: 7}
	o.receive(ground)
	o.receive(third)
	o.awaitErr("10.0.0.2", "xlb cannot send through eth0: it has more than 2 VLAN tags")
	await(bottom)

	if u, _ := o.Get(parse("10.0.1.2")[0]); u.Err != nil {
		t.Errorf("an address behind eth1 suffered: %v", u.Err)
	}
}

// supported reports whether this kernel made the device that add tried to; every other
// failure ends the test.
func supported(t *testing.T, what string, err error) bool {
	t.Helper()
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Logf("this kernel has no %s devices: they were not tried", what)
		return false
	}
	if err != nil {
		t.Fatalf("add %s: %v", what, err)
	}
	return true
}

// vlan adds a VLAN device with an address to both the load balancer's and the peer's parent.
// The error is the kernel's refusal to add one.
func (l *lab) vlan(name, parent string, tag neighbour.Tag, lbAddr, peerAddr string) error {
	l.t.Helper()
	for ns, a := range map[*testenv.Namespace]string{l.lb: lbAddr, l.peer: peerAddr} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = name, l.link(ns, parent).Attrs().Index
		err := ns.Netlink().LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: int(tag.ID), VlanProtocol: netlink.VlanProtocol(tag.Type)})
		if err != nil {
			return err
		}
		l.must(ns.Netlink().AddrAdd(l.link(ns, name), addr(a)))
		l.must(ns.Netlink().LinkSetUp(l.link(ns, name)))
	}
	return nil
}

func TestSendsThroughVLANsOfTheKernel(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	q, ad := neighbour.Tag{Type: 0x8100, ID: 5}, neighbour.Tag{Type: 0x88a8, ID: 100}
	if !supported(t, "VLAN", l.vlan("v5", "eth0", q, "10.5.0.1/24", "10.5.0.2/24")) {
		return
	}
	l.must(l.vlan("v100", "eth0", ad, "10.100.0.1/24", "10.100.0.2/24"))
	l.must(l.vlan("v100.5", "v100", q, "10.105.0.1/24", "10.105.0.2/24"))
	l.must(l.vlan("v100.5.5", "v100.5", q, "10.106.0.1/24", "10.106.0.2/24"))
	l.must(l.lb.Netlink().LinkSetHardwareAddr(l.link(l.lb, "v5"), movedMAC))
	o := l.watch(neighbour.Options{}, "10.5.0.2", "10.100.0.2", "10.105.0.2", "10.106.0.2")
	hop := neighbour.NextHop{Interface: "eth0", Index: l.index("eth0"), MTU: 1500, SourceMAC: mac(lbMAC0), DestMAC: mac(peerMAC0)}
	for _, c := range []struct {
		to, from string
		own      net.HardwareAddr
		tags     [2]neighbour.Tag
	}{
		{"10.5.0.2", "10.5.0.1", movedMAC, [2]neighbour.Tag{q}},
		{"10.100.0.2", "10.100.0.1", lbMAC0, [2]neighbour.Tag{ad}},
		{"10.105.0.2", "10.105.0.1", lbMAC0, [2]neighbour.Tag{ad, q}},
	} {
		want := hop
		want.Source, want.SourceMAC, want.Tags = parse(c.from)[0], mac(c.own), c.tags
		if got := o.awaitAnyHop(c.to); got != want {
			t.Errorf("%s: got %+v, want %+v", c.to, got, want)
		}
	}
	o.awaitErr("10.106.0.2", "xlb cannot send through v100.5.5: it has more than 2 VLAN tags")

	// The same name and addresses, under another ID.
	for _, ns := range []*testenv.Namespace{l.lb, l.peer} {
		l.must(ns.Netlink().LinkDel(l.link(ns, "v5")))
	}
	q.ID = 6
	l.must(l.vlan("v5", "eth0", q, "10.5.0.1/24", "10.5.0.2/24"))
	o.awaitHop("10.5.0.2", func(h neighbour.NextHop) bool { return h.Tags == [2]neighbour.Tag{q} })

	// In another namespace than eth0, the VLAN is all there is.
	inner := &lab{t: t, lb: namespace(t, "inner"), peer: l.peer}
	l.must(l.lb.Netlink().LinkSetNsFd(l.link(l.lb, "v5"), inner.lb.FD()))
	l.must(inner.lb.Netlink().AddrAdd(l.link(inner.lb, "v5"), addr("10.5.0.1/24")))
	l.must(inner.lb.Netlink().LinkSetUp(l.link(inner.lb, "v5")))
	if hop := inner.watch(neighbour.Options{}, "10.5.0.2").awaitAnyHop("10.5.0.2"); hop.Interface != "v5" || hop.Tags != [2]neighbour.Tag{} {
		t.Errorf("VLAN without its parent: got %+v", hop)
	}

	l.must(l.lb.Netlink().LinkSetDown(l.link(l.lb, "eth0")))
	o.awaitErr("10.105.0.2", "eth0 is down")
}

func TestTakesOtherVirtualInterfacesForHardware(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	attrs := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	macvlan := &netlink.Macvlan{LinkAttrs: attrs("mac0"), Mode: netlink.MACVLAN_MODE_BRIDGE}
	macvlan.ParentIndex, macvlan.HardwareAddr = l.index("eth0"), movedMAC
	if supported(t, "macvlan", l.lb.Netlink().LinkAdd(macvlan)) {
		l.must(l.lb.Netlink().LinkSetUp(macvlan))
		l.must(l.lb.Netlink().AddrAdd(macvlan, addr("10.2.0.1/24")))
		l.must(l.peer.Netlink().AddrAdd(l.link(l.peer, "eth0"), addr("10.2.0.2/24")))
		o := l.watch(neighbour.Options{}, "10.2.0.2")
		want := neighbour.NextHop{
			Interface: "mac0", Index: l.index("mac0"), MTU: 1500,
			SourceMAC: mac(movedMAC), DestMAC: mac(peerMAC0), Source: parse("10.2.0.1")[0],
		}
		if got := o.awaitAnyHop("10.2.0.2"); got != want {
			t.Errorf("macvlan: got %+v, want %+v", got, want)
		}
	}

	l.must(l.lb.Netlink().LinkSetDown(l.link(l.lb, "eth1")))
	bond := netlink.NewLinkBond(attrs("master"))
	bond.Mode = netlink.BOND_MODE_ACTIVE_BACKUP
	bond.Miimon = 10
	var master netlink.Link = bond
	if !supported(t, "bond", l.lb.Netlink().LinkAdd(bond)) {
		master = &netlink.Bridge{LinkAttrs: attrs("master")}
		l.must(l.lb.Netlink().LinkAdd(master))
	}
	l.must(l.lb.Netlink().LinkSetMaster(l.link(l.lb, "eth1"), master))
	l.must(l.lb.Netlink().LinkSetUp(l.link(l.lb, "eth1")))
	l.must(l.lb.Netlink().LinkSetUp(master))
	l.must(l.lb.Netlink().AddrAdd(master, addr("10.3.0.1/24")))
	l.must(l.peer.Netlink().AddrAdd(l.link(l.peer, "eth1"), addr("10.3.0.2/24")))
	o := l.watch(neighbour.Options{}, "10.3.0.2")
	hop := o.awaitAnyHop("10.3.0.2")
	if hop.Index != l.index("master") || hop.Interface != "master" || hop.DestMAC != mac(peerMAC1) {
		t.Errorf("%s: got %+v", master.Type(), hop)
	}
	err := l.lb.Do(func() error {
		_, err := neighbour.Interfaces([]string{"eth1"})
		return err
	})
	if refused := err != nil; refused != (master.Type() == "bond") {
		t.Errorf("part of a %s: got error %v", master.Type(), err)
	}
}
