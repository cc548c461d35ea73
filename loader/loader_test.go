package loader

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv"
)

var limits = maps.Limits{Services: 4, Backends: 16, Slots: 1024, Rules: 16, Fragments: 16, Sources: 16}

// inNamespace runs f where eth0 and eth1 are veths of the given MTU, with peers elsewhere.
func inNamespace(t *testing.T, mtu int, f func()) {
	t.Helper()
	here, err := testenv.NewNamespace("here")
	if err != nil {
		t.Fatalf("tests of the loader need root: %v", err)
	}
	defer here.Close()
	there, err := testenv.NewNamespace("there")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	for _, name := range []string{"eth0", "eth1"} {
		if err := testenv.Connect(testenv.End{NS: here, Interface: name}, testenv.End{NS: there, Interface: name}, testenv.LinkOptions{MTU: mtu}); err != nil {
			t.Fatal(err)
		}
	}
	if err := here.Do(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, opts maps.PlaneOptions) *Dataplane {
	t.Helper()
	opts.Settings.Limits = limits
	d, err := Load(opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// attachedTo returns the id of the XDP program on an interface, 0 for none.
func attachedTo(t *testing.T, name string) uint32 {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if l.Attrs().Xdp == nil || !l.Attrs().Xdp.Attached {
		return 0
	}
	return l.Attrs().Xdp.ProgId
}

func TestAttachPutsTheProgramOnAllInterfacesAndCloseTakesItOff(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		inNamespace(t, 1500, func() {
			d := load(t, maps.PlaneOptions{Interfaces: []string{"eth0", "eth1"}, Generic: mode == Generic, Features: maps.Features{L2: true, Redirect: true}})
			if err := d.Attach(); err != nil {
				t.Fatal(err)
			}
			if attachedTo(t, "eth0") == 0 || attachedTo(t, "eth1") == 0 {
				t.Error("an interface has no program")
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if attachedTo(t, "eth0") != 0 || attachedTo(t, "eth1") != 0 {
				t.Error("an interface still has a program")
			}
		})
	}
}

func TestAttachFailsWithTheObjectAndTheRemedy(t *testing.T) {
	for _, c := range []struct {
		name       string
		mtu        int
		interfaces []string
		want       error
		says       []string
	}{
		{"no such interface", 1500, []string{"eth0", "eth7"}, ErrNoInterface, []string{"eth7", "ip link"}},
		{"an MTU that native XDP cannot take", 9000, []string{"eth0"}, nil, []string{"eth0", "9000", "mtu 3498", "xdp_mode: generic"}},
		{"no driver with native XDP", 1500, []string{"lo"}, nil, []string{"lo", "xdp_mode: generic"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inNamespace(t, c.mtu, func() {
				d := load(t, maps.PlaneOptions{Interfaces: c.interfaces})
				defer d.Close()
				err := d.Attach()
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
				if attachedTo(t, "eth0") != 0 {
					t.Error("a failed attach left its program on eth0")
				}
			})
		})
	}
}

func TestAttachNeverReplacesAnotherProgram(t *testing.T) {
	for _, how := range []string{"by link", "by netlink"} {
		t.Run(how, func(t *testing.T) {
			inNamespace(t, 1500, func() {
				other, err := Load(maps.PlaneOptions{Settings: maps.Settings{Limits: limits}})
				if err != nil {
					t.Fatal(err)
				}
				defer other.Close()
				occupy(t, how, other)
				before := attachedTo(t, "eth1")

				d := load(t, maps.PlaneOptions{Interfaces: []string{"eth0", "eth1"}})
				defer d.Close()
				err = d.Attach()
				if !errors.Is(err, ErrOccupied) || !strings.Contains(err.Error(), `eth1`) || !strings.Contains(err.Error(), `"xlb"`) {
					t.Errorf("error %v, want one that names eth1 and the program on it", err)
				}
				if after := attachedTo(t, "eth1"); after != before {
					t.Errorf("eth1 has program %d now, had %d", after, before)
				}
				if attachedTo(t, "eth0") != 0 {
					t.Error("the failed attach left its program on eth0")
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
