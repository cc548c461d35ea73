package loader

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/xlb-project/xlb/bpf"
	xlb "github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv"
)

// replug takes an interface away, with all that is on it, and makes one of the same name.
func (s *site) replug(name string) {
	s.Helper()
	s.must(netlink.LinkDel(s.link(name)))
	s.must(s.connect(name, testenv.DefaultMTU))
}

// pointAway tells a backend's row about an interface that was made anew.
func (s *site) pointAway(t *xlb.Tables, i Interface) {
	s.Helper()
	s.must(t.SetBackend(1, xlb.Backend{
		Forward: xlb.L2, Up: true, Accepts: true, Ifindex: i.Index, Egress: i.Egress, MTU: 1500, SourceMAC: selfMAC, DestMAC: backendMAC,
	}))
}

func TestLinkOfAnInterfaceThatIsGoneIsMadeAnew(t *testing.T) {
	for _, when := range []string{"while no daemon runs", "at a change", "at run time"} {
		t.Run(when, func(t *testing.T) {
			inSite(t, func(s *site) {
				d := s.run(options("eth0", "eth1"))
				program := attachedTo(t, "eth1")
				switch when {
				case "at a change":
					s.replug("eth0")
					staged, err := d.Prepare(options("eth0", "eth1"))
					s.must(err)
					s.must(staged.Publish())
				case "at run time":
					s.mend(d)
				default:
					s.must(d.Close())
					s.replug("eth0")
					var a Adoption
					if d, a = s.open(options("eth0", "eth1")); a.Kind != Adopted {
						t.Errorf("found %+v, want the program that runs", a)
					}
					s.must(d.Publish())
				}
				defer func() { s.must(d.Close()) }()
				s.pointAway(d.Tables, d.Interfaces()[0])
				s.exchange(1)
				if a, b := attachedTo(t, "eth0"), attachedTo(t, "eth1"); a != program || b != program {
					t.Errorf("programs %d and %d are attached, want %d", a, b, program)
				}
			})
		})
	}
}

// mend loses interfaces, and has the program put on them again as they come back.
func (s *site) mend(d *Dataplane) {
	s.Helper()
	expect := func(n int) {
		s.Helper()
		got, err := d.Mend()
		s.must(err)
		if len(got) != n {
			s.Errorf("mended: %v, want %d interfaces", got, n)
		}
	}
	expect(0)
	for _, name := range []string{"eth0", "eth1"} {
		s.must(netlink.LinkDel(s.link(name)))
	}
	expect(0)
	s.must(s.connect("eth0", testenv.DefaultMTU))
	expect(1)
	s.must(s.connect("eth1", testenv.DefaultMTU))
	expect(2)
	expect(0)
}

// The links of a namespace that died are pinned as before, and hold nothing.
func TestInstanceOutlivesItsNamespace(t *testing.T) {
	inSite(t, func(first *site) {
		first.must(first.run(options("eth0", "eth1")).Close())
		inSite(t, func(s *site) {
			s.inst = first.inst
			s.must(first.here.Close())
			s.must(first.there.Close())
			d, a := s.open(options("eth0", "eth1"))
			defer func() { s.must(d.Close()) }()
			if a.Kind != Adopted {
				t.Errorf("found %+v, want the program and the maps", a)
			}
			s.must(d.Publish())
			s.pointAway(d.Tables, d.Interfaces()[0])
			s.exchange(1)
		})
	})
}

func TestInterfacesComeAndGoAtRunTime(t *testing.T) {
	inSite(t, func(s *site) {
		d := s.run(options("eth0"))
		defer func() { s.must(d.Close()) }()
		program, ids := attachedTo(t, "eth0"), mapIDs(d)
		change := func(interfaces ...string) []Interface {
			t.Helper()
			staged, err := d.Prepare(options(interfaces...))
			s.must(err)
			if staged.Tables != d.Tables {
				t.Errorf("%v: other tables", interfaces)
			}
			s.must(staged.Publish())
			return d.Interfaces()
		}
		stream := s.startStream()
		both := change("eth1", "eth0")
		if both[0].Name != "eth1" || both[0].Egress == both[1].Egress || both[1].Egress != 0 {
			t.Errorf("interfaces %+v: eth0 must keep its number 0", both)
		}
		stream.awaitMore(50)
		if attachedTo(t, "eth1") != program {
			t.Errorf("program %d is on eth1, want %d", attachedTo(t, "eth1"), program)
		}
		change("eth0")
		stream.awaitMore(50)
		if attachedTo(t, "eth1") != 0 {
			t.Error("eth1 still has a program")
		}
		if sent, lost := stream.end(); lost != 0 {
			t.Errorf("%d of %d datagrams are lost", lost, sent)
		}
		numbers := egressNumbers(d.gen.maps[bpf.XlbMapEgress])
		if len(numbers) != 1 || numbers[s.index("eth0")] != 0 {
			t.Errorf("redirect table %v, want eth0 alone", numbers)
		}
		if attachedTo(t, "eth0") != program || len(ids) != len(mapIDs(d)) {
			t.Error("the program or its maps changed")
		}

		staged, err := d.Prepare(options("eth0", "eth1"))
		s.must(err)
		s.must(staged.Discard())
		if n := len(egressNumbers(d.gen.maps[bpf.XlbMapEgress])); n != 1 || attachedTo(t, "eth1") != 0 {
			t.Errorf("after Discard %d interfaces in the redirect table, program %d on eth1", n, attachedTo(t, "eth1"))
		}
	})
}

func TestModeChangesAndComesBackIfItCannot(t *testing.T) {
	inSite(t, func(s *site) {
		d := s.run(options("eth0"))
		defer func() { s.must(d.Close()) }()
		generic := options("eth0")
		generic.Generic = true
		staged, err := d.Prepare(generic)
		s.must(err)
		s.must(staged.Publish())
		mode := func() Mode {
			return attachedMode(s.link("eth0").Attrs().Xdp)
		}
		if mode() != Generic {
			t.Error("eth0 is not in generic mode")
		}
		peer, err := s.there.Netlink().LinkByName("eth0")
		s.must(err)
		s.must(s.there.Netlink().LinkSetMTU(peer, 9000)) // too large for native XDP
		staged, err = d.Prepare(options("eth0"))
		s.must(err)
		if err := staged.Publish(); err == nil {
			t.Fatal("native mode with an MTU of 9000")
		}
		if attachedTo(t, "eth0") == 0 || mode() != Generic {
			t.Error("generic mode did not come back")
		}
		s.exchange(1)
	})
}
