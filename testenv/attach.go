package testenv

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// xdpPass is the code with which an XDP program hands a packet to the kernel.
const xdpPass = 2

// AttachPass attaches an XDP program that lets everything pass, natively. A veth that receives frames from an XDP program
// at the other end (XDP_TX, redirect) loses them silently unless it has a program of its own. The program goes with the
// returned closer, or with the process.
func AttachPass(n *Namespace, ifname string) (io.Closer, error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "testenv_pass",
		Type:         ebpf.XDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
		License:      "Apache-2.0",
	})
	if err != nil {
		return nil, fmt.Errorf("load pass program for %s/%s: %w", n.name, ifname, err)
	}
	defer prog.Close() // the link keeps its own reference
	iface, err := n.nl.LinkByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("attach pass program to %s/%s: %w", n.name, ifname, err)
	}
	var held link.Link
	// The kernel looks the index up in the namespace of the calling thread.
	err = n.Do(func() (err error) {
		held, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: iface.Attrs().Index, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("attach pass program to %s/%s: %w", n.name, ifname, err)
	}
	return held, nil
}

// KernelDecap lets the kernel's own tunnel device unpack IP-in-IP packets sent to the first IPv4 address of an interface.
// The returned closer removes the device. The error wraps unix.EOPNOTSUPP if the kernel has no such devices.
func KernelDecap(n *Namespace, ifname string) (io.Closer, error) {
	fail := func(err error) (io.Closer, error) {
		return nil, fmt.Errorf("make IP-in-IP device for %s/%s: %w", n.name, ifname, err)
	}
	iface, err := n.nl.LinkByName(ifname)
	if err != nil {
		return fail(err)
	}
	addrs, err := n.nl.AddrList(iface, netlink.FAMILY_V4)
	if err != nil {
		return fail(fmt.Errorf("list addresses: %w", err))
	}
	if len(addrs) == 0 {
		return fail(errors.New("the interface has no IPv4 address, add one first"))
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "decap-" + ifname
	tunnel := &netlink.Iptun{LinkAttrs: attrs, Local: addrs[0].IP.To4()}
	if err := n.nl.LinkAdd(tunnel); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = fmt.Errorf("%w: this kernel has none, use a decapsulation program", err)
		}
		return fail(err)
	}
	if err := n.nl.LinkSetUp(tunnel); err != nil {
		return fail(errors.Join(err, n.nl.LinkDel(tunnel)))
	}
	return closerFunc(func() error { return n.nl.LinkDel(tunnel) }), nil
}

// closerFunc is an io.Closer made of a function.
type closerFunc func() error

func (f closerFunc) Close() error { return f() }
