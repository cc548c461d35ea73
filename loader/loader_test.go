package loader

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

func TestPublishPutsTheProgramOnAllInterfacesAndDownTakesItOff(t *testing.T) {
	for _, generic := range []bool{false, true} {
		inSite(t, func(s *site) {
			opts := options("eth0", "eth1")
			opts.Generic = generic
			d, a := s.open(opts)
			if a.Kind != Fresh {
				t.Errorf("found %s, want nothing", a.Kind)
			}
			if attachedTo(t, "eth0") != 0 || len(s.pins()) != 0 {
				t.Errorf("before Publish eth0 has program %d and pinned is %v", attachedTo(t, "eth0"), s.pins())
			}
			s.must(d.Publish())
			s.must(d.Close())
			if attachedTo(t, "eth0") == 0 || attachedTo(t, "eth1") == 0 {
				t.Error("after Close an interface has no program")
			}
			s.must(Down(s.inst))
			if attachedTo(t, "eth0") != 0 || attachedTo(t, "eth1") != 0 {
				t.Error("after Down an interface still has a program")
			}
		})
	}
}

func TestPublishFailsWithTheObjectAndTheRemedy(t *testing.T) {
	for _, c := range []struct {
		name       string
		mtu        int
		interfaces []string
		want       error
		says       []string
	}{
		{"no such interface", 1500, []string{"eth0", "eth7"}, ErrNoInterface, []string{"eth7", "ip link"}},
		{"an MTU that native XDP cannot take", 9000, []string{"eth0"}, nil, []string{"eth0", "9000", "mtu 3498", "xdp_mode: generic"}},
		{"no driver with native XDP", 1500, []string{"eth0", "lo"}, nil, []string{"lo", "xdp_mode: generic"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inSiteOf(t, c.mtu, func(s *site) {
				d, _, err := Open(s.inst, options(c.interfaces...))
				if err == nil {
					defer d.Close()
					err = d.Publish()
				}
				if err == nil {
					t.Fatal("no error")
				}
				if c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("error %v is not %v", err, c.want)
				}
				for _, word := range c.says {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("error %q does not say %q", err, word)
					}
				}
				if attachedTo(t, "eth0") != 0 || len(s.pins()) != 0 {
					t.Errorf("a failed start left program %d on eth0, and pins %v", attachedTo(t, "eth0"), s.pins())
				}
			})
		})
	}
}

func TestAnotherProgramIsNeverReplaced(t *testing.T) {
	for _, how := range []string{"by link", "by netlink"} {
		t.Run(how, func(t *testing.T) {
			inSite(t, func(s *site) {
				other, err := Load(options())
				s.must(err)
				defer other.Close()
				occupy(t, how, other)
				before := attachedTo(t, "eth1")

				_, _, err = Open(s.inst, options("eth0", "eth1"))
				if !errors.Is(err, ErrOccupied) || !strings.Contains(err.Error(), `eth1`) || !strings.Contains(err.Error(), `"xlb"`) {
					t.Errorf("error %v, want one that names eth1 and the program on it", err)
				}
				if after := attachedTo(t, "eth1"); after != before {
					t.Errorf("eth1 has program %d now, had %d", after, before)
				}
				if attachedTo(t, "eth0") != 0 {
					t.Error("the failed start left its program on eth0")
				}
			})
		})
	}
}

func occupy(t *testing.T, how string, other *Dataplane) {
	t.Helper()
	dev, err := netlink.LinkByName("eth1")
	if err != nil {
		t.Fatal(err)
	}
	if how == "by netlink" {
		if err := netlink.LinkSetXdpFd(dev, other.Program().FD()); err != nil {
			t.Fatal(err)
		}
		return
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: other.Program(), Interface: dev.Attrs().Index})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}
