package loader

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Mend puts the program on interfaces again that went away and have come back, by
// the same name. It returns all that the program is on then, which may have other
// indexes and egress numbers than before; nothing if nothing had to be done. What
// is away stays wanted.
func (d *Dataplane) Mend() ([]Interface, error) {
	opts, lost := d.opts, false
	opts.Interfaces = nil
	for _, name := range d.opts.Interfaces {
		dev, err := netlink.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at interface %s: %w", name, err)
		}
		opts.Interfaces = append(opts.Interfaces, name)
		xdp := dev.Attrs().Xdp
		lost = lost || xdp == nil || owner(d.held, dev.Attrs().Index, xdp.ProgId) == nil
	}
	if !lost {
		return nil, nil
	}
	wanted := d.opts.Interfaces
	s, err := d.Prepare(opts)
	if err == nil {
		err = s.Publish()
	}
	d.opts.Interfaces = wanted
	if err != nil {
		return nil, fmt.Errorf("attach again: %w", err)
	}
	return d.Interfaces(), nil
}
