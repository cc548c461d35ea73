package main

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stage is a pair of devices, down and in a network namespace of the thread's own,
// that hold the two programs of a case. No packet comes there: a test run puts its
// program into the kernel's XDP dispatcher and takes it out again, which costs tens of
// milliseconds, unless the program is attached and so in it already.
type stage struct{ ends [2]int }

// newStage moves the locked thread, for good, to a new network namespace.
func newStage() (*stage, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace (this needs root): %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "bench0"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "bench1"}); err != nil {
		return nil, fmt.Errorf("make a pair of devices: %w", err)
	}
	s := &stage{}
	for i, name := range []string{"bench0", "bench1"} {
		end, err := netlink.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("find device %s: %w", name, err)
		}
		s.ends[i] = end.Attrs().Index
	}
	return s, nil
}

// during calls f while the programs are attached.
func (s *stage) during(programs [2]*ebpf.Program, f func() error) (err error) {
	for i, p := range programs {
		l, attachErr := link.AttachXDP(link.XDPOptions{Program: p, Interface: s.ends[i], Flags: link.XDPGenericMode})
		if attachErr != nil {
			return errors.Join(err, fmt.Errorf("attach the wrapper: %w", attachErr))
		}
		defer func() { err = errors.Join(err, l.Close()) }()
	}
	return f()
}
