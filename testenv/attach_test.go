package testenv

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// attach runs instructions as an XDP program on an interface for the length of the test.
func attach(t *testing.T, n *Namespace, ifname string, code asm.Instructions) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: code, License: "Apache-2.0"})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	err = n.Do(func() error {
		held, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: index(t, n, ifname), Flags: link.XDPDriverMode})
		if err == nil {
			t.Cleanup(func() { held.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func index(t *testing.T, n *Namespace, ifname string) int {
	t.Helper()
	l, err := n.Netlink().LinkByName(ifname)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Index
}

// wantArrival injects a frame into the link of the balancer's first interface, from the other end, and waits for it to come
// out of the balancer's last interface.
func wantArrival(t *testing.T, lab *Lab) {
	t.Helper()
	in, out := lab.LBPeers[0], lab.LBPeers[len(lab.LBPeers)-1]
	tap := openTap(t, out.NS, out.Interface)
	frame := slices.Concat(mac(lbMAC, 1), mac(routerMAC, 1), []byte{0x88, 0xb5}, bytes.Repeat([]byte("frame"), 300))
	if err := Inject(in.NS, in.Interface, frame); err != nil {
		t.Fatal(err)
	}
	_, err := tap.Find(within(t, 5*time.Second), "the frame from the XDP program", func(f Frame) bool {
		return !f.Outgoing && bytes.Equal(f.Data, frame)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestFramesThatXDPSendsBackArrive(t *testing.T) {
	const xdpTX = 3
	for name, build := range map[string]func(Options) (*Lab, error){"routed": NewRouted, "switched": NewSwitched} {
		t.Run(name, func(t *testing.T) {
			lab := New(t, build, Options{})
			attach(t, lab.LB, lab.LBInterfaces[0], asm.Instructions{asm.Mov.Imm(asm.R0, xdpTX), asm.Return()})
			wantArrival(t, lab)
		})
	}
}

func TestFramesThatXDPRedirectsArrive(t *testing.T) {
	lab := New(t, NewTwoArmed, Options{})
	back := index(t, lab.LB, lab.LBInterfaces[1])
	attach(t, lab.LB, lab.LBInterfaces[0], asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(back)), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return(),
	})
	wantArrival(t, lab)
}

func TestKernelDecapWorksOrSaysThatTheKernelCannot(t *testing.T) {
	n := newNamespace(t, "n")
	if err := Connect(End{NS: n, Interface: "eth0", Addrs: []netip.Prefix{lbAddr.v4}}, End{NS: newNamespace(t, "m"), Interface: "eth0"}, LinkOptions{}); err != nil {
		t.Fatal(err)
	}
	c, err := KernelDecap(n, "eth0")
	if err == nil {
		err = c.Close()
	} else if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestPassProgramIsAttachedNativelyAndOnlyOnce(t *testing.T) {
	n := newNamespace(t, "n")
	if err := Connect(End{NS: n, Interface: "eth0"}, End{NS: newNamespace(t, "m"), Interface: "eth0"}, LinkOptions{}); err != nil {
		t.Fatal(err)
	}
	held, err := AttachPass(n, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := n.Netlink().LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	const native = 1 // XDP_ATTACHED_DRV
	if xdp := l.Attrs().Xdp; xdp == nil || !xdp.Attached || xdp.AttachMode != native {
		t.Errorf("XDP state %+v, want native", xdp)
	}
	if second, err := AttachPass(n, "eth0"); !errors.Is(err, unix.EBUSY) {
		t.Errorf("second program: %v, %v; want %v", second, err, unix.EBUSY)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = n.Netlink().LinkByName("eth0"); err != nil || l.Attrs().Xdp.Attached {
		t.Errorf("still attached after Close, %v", err)
	}
}
