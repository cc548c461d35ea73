package neighbour_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/testenv"
)

func (l *lab) eventually(what string, cond func() bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), deadline)
	defer cancel()
	l.must(testenv.Eventually(ctx, what, func() error {
		if !cond() {
			return errors.New("not yet")
		}
		return nil
	}))
}

// entry returns the load balancer's neighbour entry for addr on eth0, nil if there is none.
func (l *lab) entry(addr string) *netlink.Neigh {
	l.t.Helper()
	list, err := l.lb.Netlink().NeighList(l.index("eth0"), netlink.FAMILY_ALL)
	l.must(err)
	for i := range list {
		if list[i].IP.String() == addr {
			return &list[i]
		}
	}
	return nil
}

func TestSaysWhoDoesNotAnswerUntilItDoes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.replaceRoute(route("10.9.0.0/16", "10.0.0.8"))
	o := l.watch(neighbour.Options{}, "10.0.0.7", "10.9.0.1", "fd00::7")
	o.awaitErr("10.0.0.7", "10.0.0.7 does not answer ARP on eth0")
	o.awaitErr("10.9.0.1", "10.9.0.1: gateway 10.0.0.8 does not answer ARP on eth0")
	o.awaitErr("fd00::7", "fd00::7 does not answer neighbour discovery on eth0")
	for _, a := range []string{"10.0.0.7/24", "10.0.0.8/24", "fd00::7/64"} {
		l.must(l.peer.Netlink().AddrAdd(l.link(l.peer, "eth0"), addr(a)))
	}
	for _, a := range []string{"10.0.0.7", "10.9.0.1", "fd00::7"} {
		if hop := o.awaitAnyHop(a); hop.DestMAC != mac(peerMAC0) {
			t.Errorf("%s: got %+v", a, hop)
		}
	}
}

func TestFollowsAnAnnouncedMACChange(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		l.must(l.peer.Sysctl("net.ipv4.conf.eth0.arp_notify", "1"))
		l.must(l.peer.Sysctl("net.ipv6.conf.eth0.ndisc_notify", "1"))
		o := l.watch(neighbour.Options{}, f.gateway0)
		o.awaitHop(f.gateway0, through("eth0"))
		o.errs = nil // IPv6 of the peer may have been late
		l.must(l.peer.Netlink().LinkSetHardwareAddr(l.link(l.peer, "eth0"), movedMAC))
		o.awaitHop(f.gateway0, func(h neighbour.NextHop) bool { return h.DestMAC == mac(movedMAC) })
		if len(o.errs) != 0 {
			l.t.Errorf("errors on the way: %v", o.errs)
		}
	})
}

// confirmSoon makes neighbours on the load balancer's eth0 stale at once.
func (l *lab) confirmSoon(f family) {
	l.t.Helper()
	for key, value := range map[string]string{"base_reachable_time_ms": "100", "delay_first_probe_time": "0"} {
		l.must(l.lb.Sysctl(f.sysctl+"neigh.eth0."+key, value))
	}
}

func TestFindsASilentMACChangeWithoutTraffic(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		l.confirmSoon(f)
		o := l.watch(neighbour.Options{}, f.gateway0)
		o.awaitHop(f.gateway0, through("eth0"))
		o.errs = nil // IPv6 of the peer may have been late
		l.must(l.peer.Netlink().LinkSetHardwareAddr(l.link(l.peer, "eth0"), movedMAC))
		o.awaitHop(f.gateway0, func(h neighbour.NextHop) bool { return h.DestMAC == mac(movedMAC) })
		if len(o.errs) != 0 {
			l.t.Errorf("the old MAC was given up before the new one was known: %v", o.errs)
		}
	})
}

func TestNoticesASilentDeathWithoutTraffic(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		l.confirmSoon(f)
		l.replaceRoute(route(f.wide, f.gateway0))
		o := l.watch(neighbour.Options{}, f.gateway0, f.far)
		o.awaitAnyHop(f.gateway0)
		o.awaitAnyHop(f.far)
		for _, a := range []string{"10.0.0.2/24", "fd00::2/64"} {
			l.must(l.peer.Netlink().AddrDel(l.link(l.peer, "eth0"), addr(a)))
		}
		how := map[string]string{"IPv4": "ARP", "IPv6": "neighbour discovery"}[f.name]
		o.awaitErr(f.gateway0, f.gateway0+" does not answer "+how+" on eth0")
		o.awaitErr(f.far, f.far+": gateway "+f.gateway0+" does not answer "+how+" on eth0")
	})
}

func TestFlushedNeighbourIsResolvedAgainWithoutAGap(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		o := l.watch(neighbour.Options{}, f.gateway0, f.far)
		o.awaitAnyHop(f.gateway0)
		for range 20 {
			l.must(l.lb.Netlink().NeighDel(&netlink.Neigh{LinkIndex: l.index("eth0"), IP: net.ParseIP(f.gateway0)}))
			l.eventually("neighbour to be resolved again", func() bool {
				n := l.entry(f.gateway0)
				return n != nil && n.State == netlink.NUD_REACHABLE
			})
		}
		l.replaceRoute(route(f.wide, f.gateway0)) // whose update comes after all else
		o.errs = nil
		o.awaitAnyHop(f.far)
		if len(o.errs) != 0 {
			l.t.Errorf("errors on the way: %v", o.errs)
		}
	})
}

func TestKeepsPermanentNeighboursAsTheyAre(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	fixed := func(m net.HardwareAddr) *netlink.Neigh {
		return &netlink.Neigh{LinkIndex: l.index("eth0"), IP: net.IPv4(10, 0, 0, 9), State: netlink.NUD_PERMANENT, HardwareAddr: m}
	}
	l.must(l.lb.Netlink().LinkSetARPOff(l.link(l.lb, "eth0")))
	o := l.watch(neighbour.Options{}, "10.0.0.9")
	o.awaitErr("10.0.0.9", "10.0.0.9 has no MAC address and eth0 does no ARP")
	l.must(l.lb.Netlink().NeighSet(fixed(peerMAC0)))
	o.awaitHop("10.0.0.9", func(h neighbour.NextHop) bool { return h.DestMAC == mac(peerMAC0) })
	l.must(l.lb.Netlink().LinkSetARPOn(l.link(l.lb, "eth0")))
	l.must(l.lb.Netlink().NeighSet(fixed(movedMAC)))
	o.awaitHop("10.0.0.9", func(h neighbour.NextHop) bool { return h.DestMAC == mac(movedMAC) })
	if n := l.entry("10.0.0.9"); n.State != netlink.NUD_PERMANENT {
		t.Errorf("entry is in state %#x, want permanent", n.State)
	}
}

func TestAskingForAMissingNeighbourSparesOneMadePermanentMeanwhile(t *testing.T) {
	eachFamily(t, func(l *lab, f family) {
		l.must(l.lb.Netlink().NeighSet(&netlink.Neigh{
			LinkIndex: l.index("eth0"), IP: net.ParseIP(f.absent), State: netlink.NUD_PERMANENT, HardwareAddr: peerMAC0,
		}))
		l.must(neighbour.AskForMissing(l.lb.Netlink(), l.index("eth0"), netip.MustParseAddr(f.absent)))
		if n := l.entry(f.absent); n == nil || n.State != netlink.NUD_PERMANENT {
			l.t.Errorf("entry is %+v, want it permanent", n)
		}
	})
}
