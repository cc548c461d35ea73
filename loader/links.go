package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/xlb-project/xlb/maps"
)

// attachment is a pinned link: a program on an interface, which stays there when
// nobody holds it but the pin.
type attachment struct {
	link  link.Link
	path  string
	index int // of the interface; 0: it is gone, or its namespace
	prog  ebpf.ProgramID
}

func (i Instance) linkDir() string { return filepath.Join(i.dir(), "links") }

// linkPath is where the link of an interface is pinned. By index: names may have
// dots, and change.
func (i Instance) linkPath(index int) string {
	return filepath.Join(i.linkDir(), strconv.Itoa(index))
}

// attachments opens the pinned links.
func (i Instance) attachments() ([]*attachment, error) {
	entries, err := os.ReadDir(i.linkDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the pinned links: %w", err)
	}
	var all []*attachment
	for _, e := range entries {
		path := filepath.Join(i.linkDir(), e.Name())
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open pinned link %s: %w", path, err), closeAll(all))
		}
		a := &attachment{link: l, path: path}
		all = append(all, a)
		if err := a.refresh(); err != nil {
			return nil, errors.Join(err, closeAll(all))
		}
	}
	return all, nil
}

// refresh asks the kernel what the link holds together.
func (a *attachment) refresh() error {
	info, err := a.link.Info()
	if err != nil {
		return fmt.Errorf("look at link %s: %w", a.path, err)
	}
	a.prog = info.Program
	if x := info.XDP(); x != nil {
		a.index = int(x.Ifindex)
	}
	return nil
}

// update gives the interface another program, without a gap.
func (a *attachment) update(prog *ebpf.Program) error {
	if err := a.link.Update(prog); err != nil {
		return fmt.Errorf("replace the program on interface %d: %w", a.index, err)
	}
	return a.refresh()
}

// detach takes the program off, and the pin away.
func (a *attachment) detach() error {
	if err := os.Remove(a.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("remove pinned link: %w", err), a.link.Close())
	}
	return a.link.Close()
}

func closeAll(all []*attachment) error {
	var err error
	for _, a := range all {
		err = errors.Join(err, a.link.Close())
	}
	return err
}

// device is an interface that the program has to be on.
type device struct {
	Interface
	mode Mode
	held *attachment // what is there already, nil for nothing
}

// Interface is an interface that the data path is on.
type Interface struct {
	Name   string
	Index  int
	Egress uint32 // its key in the redirect table; it stays the same while others come and go
}

// findDevices looks at the interfaces by name, in the calling thread's namespace,
// and at which of the attachments are theirs. One that somebody else has a program
// on is refused.
func findDevices(opts maps.PlaneOptions, held []*attachment) ([]*device, error) {
	var all []*device
	for _, name := range opts.Interfaces {
		dev, err := netlink.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil, fmt.Errorf("attach to %s: %w: `ip link` lists what there is", name, ErrNoInterface)
		}
		if err != nil {
			return nil, fmt.Errorf("attach to %s: %w", name, err)
		}
		d := &device{Interface: Interface{Name: name, Index: dev.Attrs().Index}, mode: modeOf(opts)}
		if xdp := dev.Attrs().Xdp; xdp != nil && xdp.Attached {
			if d.held = owner(held, d.Index, xdp.ProgId); d.held == nil {
				return nil, occupied(name, xdp.ProgId)
			}
			if attachedMode(xdp) != d.mode {
				d.held = nil // it has to be taken off first
			}
		}
		all = append(all, d)
	}
	return all, nil
}

// owner finds the attachment that an interface's program is there by. An index
// alone may be another namespace's.
func owner(held []*attachment, index int, prog uint32) *attachment {
	for _, a := range held {
		if a.index == index && uint32(a.prog) == prog {
			return a
		}
	}
	return nil
}

func attachedMode(xdp *netlink.LinkXdp) Mode {
	if xdp.AttachMode == nl.XDP_ATTACHED_SKB {
		return Generic
	}
	return Native
}

// attachDevice puts a program on an interface and pins the link.
func (i Instance) attachDevice(prog *ebpf.Program, d *device) (*attachment, error) {
	l, _, err := attach(prog, d.Name, d.mode)
	if err != nil {
		return nil, err
	}
	a := &attachment{link: l, path: i.linkPath(d.Index)}
	if err := a.refresh(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := l.Pin(a.path); err != nil {
		return nil, errors.Join(fmt.Errorf("pin the link of %s: %w", d.Name, err), l.Close())
	}
	return a, nil
}
