package neighbour_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/xlb-project/xlb/control/neighbour"
)

func TestInterfacesAreFoundByName(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	l.must(l.lb.Netlink().LinkAdd(bridge))
	l.must(l.lb.Netlink().LinkSetMaster(l.link(l.lb, "eth1"), bridge))
	var got []neighbour.Link
	l.must(l.lb.Do(func() (err error) {
		got, err = neighbour.Interfaces([]string{"eth1", "eth0"})
		return err
	}))
	want := []neighbour.Link{
		{Name: "eth1", Index: l.index("eth1"), MAC: mac(lbMAC1), MTU: 1500, Master: l.index("br0")},
		{Name: "eth0", Index: l.index("eth0"), MAC: mac(lbMAC0), MTU: 1500},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestInterfacesNamesEveryFault(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.must(l.lb.Netlink().LinkSetDown(l.link(l.lb, "eth1")))
	err := l.lb.Do(func() error {
		_, err := neighbour.Interfaces([]string{"eth0", "eth9", "eth1", "lo"})
		return err
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"no interface eth9: this node has eth0, eth1",
		"interface eth1 is down: switch it on with `ip link set eth1 up`",
		"interface lo is the loopback",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to contain %q", err, want)
		}
	}
}

func TestLocalAddressesAreThoseOfAllInterfaces(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.must(l.lb.Netlink().AddrAdd(l.link(l.lb, "lo"), addr("192.0.2.10/32")))
	var got map[netip.Addr]string
	l.must(l.lb.Do(func() (err error) {
		got, err = neighbour.LocalAddresses()
		return err
	}))
	for addr, name := range map[string]string{
		"127.0.0.1": "lo", "::1": "lo", "192.0.2.10": "lo", "10.0.0.1": "eth0", "fd00:0:0:1::1": "eth1",
	} {
		if got[netip.MustParseAddr(addr)] != name {
			t.Errorf("%s is on %q, want %s", addr, got[netip.MustParseAddr(addr)], name)
		}
	}
	if _, ok := got[netip.MustParseAddr("10.0.0.2")]; ok {
		t.Error("the peer's address counts as local")
	}
}

func TestFollowsLinks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	o := l.watch(neighbour.Options{}, "10.0.0.2", "10.0.1.2", "fd00::2")
	o.awaitAnyHop("10.0.0.2")
	o.awaitAnyHop("10.0.1.2")
	o.awaitAnyHop("fd00::2")

	l.must(l.peer.Netlink().LinkSetDown(l.link(l.peer, "eth0")))
	o.awaitErr("10.0.0.2", "eth0 has no carrier")
	o.awaitErr("fd00::2", "eth0 has no carrier")
	l.must(l.peer.Netlink().LinkSetUp(l.link(l.peer, "eth0")))
	o.awaitAnyHop("10.0.0.2")

	l.must(l.lb.Netlink().LinkSetDown(l.link(l.lb, "eth0")))
	o.awaitErr("10.0.0.2", "eth0 is down")
	l.must(l.lb.Netlink().LinkSetUp(l.link(l.lb, "eth0")))
	o.awaitAnyHop("10.0.0.2")

	l.must(l.lb.Netlink().LinkSetHardwareAddr(l.link(l.lb, "eth0"), movedMAC))
	o.awaitHop("10.0.0.2", func(h neighbour.NextHop) bool { return h.SourceMAC == mac(movedMAC) })

	if u := o.last[netip.MustParseAddr("10.0.1.2")]; u.Err != nil {
		t.Errorf("an address behind eth1 suffered: %v", u.Err)
	}
	l.must(l.lb.Netlink().LinkDel(l.link(l.lb, "eth1")))
	o.awaitErr("10.0.1.2", "no route to 10.0.1.2: eth1 is gone")
}
