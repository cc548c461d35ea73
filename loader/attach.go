package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/maps"
)

// Mode says where in the receive path a program runs.
type Mode uint8

// Modes of attachment.
const (
	Native  Mode = iota // in the driver
	Generic             // behind it, on any device, several times slower
)

func modeOf(opts maps.PlaneOptions) Mode {
	if opts.Generic {
		return Generic
	}
	return Native
}

// Errors that callers tell apart.
var (
	ErrPrivilege   = errors.New("not permitted: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")
	ErrNoBPF       = errors.New("this kernel cannot run the program: xlb needs Linux 5.15 or newer with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF")
	ErrNoInterface = errors.New("no such interface")
	ErrOccupied    = errors.New("another XDP program is attached")
)

// explainLoad turns a kernel refusal into a sentence with a remedy.
func explainLoad(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier):
		return fmt.Errorf("load program: the kernel's verifier refuses it: %w", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("load program: %w (%w)", ErrPrivilege, err)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("load program: %w (%w)", ErrNoBPF, err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("load program: no memory for its tables: lower limits in the configuration (%w)", err)
	}
	return fmt.Errorf("load program: %w", err)
}

// attach puts an XDP program on an interface and returns the interface's index.
// A program that is there already stays: the attempt fails and names it.
func attach(prog *ebpf.Program, name string, mode Mode) (link.Link, int, error) {
	dev, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, 0, fmt.Errorf("attach to %s: %w: `ip link` lists what there is", name, ErrNoInterface)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("attach to %s: %w", name, err)
	}
	attrs := dev.Attrs()
	if attrs.Xdp != nil && attrs.Xdp.Attached {
		return nil, 0, occupied(name, attrs.Xdp.ProgId)
	}
	flags := link.XDPDriverMode
	if mode == Generic {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: attrs.Index, Flags: flags})
	if err != nil {
		return nil, 0, explainAttach(err, attrs, mode)
	}
	return l, attrs.Index, nil
}

func occupied(name string, id uint32) error {
	what := fmt.Sprintf("id %d", id)
	if prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(id)); err == nil {
		defer prog.Close()
		if info, err := prog.Info(); err == nil {
			what = fmt.Sprintf("%q, id %d", info.Name, id)
		}
	}
	return fmt.Errorf("attach to %s: %w (%s): xlb does not replace it; take it off with `ip link set dev %s xdp off`, or end the program that put it there",
		name, ErrOccupied, what, name)
}

func explainAttach(err error, attrs *netlink.LinkAttrs, mode Mode) error {
	const generic = "set xdp_mode: generic (slower)"
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("attach to %s: %w (%w)", attrs.Name, ErrPrivilege, err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("attach to %s: %w: xlb does not replace it (%w)", attrs.Name, ErrOccupied, err)
	case mode == Generic:
		return fmt.Errorf("attach to %s in generic mode: %w", attrs.Name, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("attach to %s: its driver has no native XDP: %s (%w)", attrs.Name, generic, err)
	case errors.Is(err, unix.ERANGE), errors.Is(err, unix.EINVAL) && attrs.MTU > largestSafeMTU:
		return fmt.Errorf("attach to %s: its MTU of %d, or its peer's, is too large for native XDP: lower it with `ip link set dev %s mtu %d`, or %s (%w)",
			attrs.Name, attrs.MTU, attrs.Name, largestSafeMTU, generic, err)
	}
	return fmt.Errorf("attach to %s in native mode: %w: see `dmesg` for the driver's reason, or %s", attrs.Name, err, generic)
}

// largestSafeMTU fits one 4 KiB page with XDP's head and tail room in every
// driver with native XDP.
const largestSafeMTU = 3498
