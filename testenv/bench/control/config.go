package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/xlb-project/xlb/control/balance"
)

// shape is a configuration to write.
type shape struct {
	services, backends int                   // backends of each service
	addr               func(s, b int) string // of backend b of service s
}

// shared gives all services the same backends.
func shared(_, b int) string { return backendAddr(b).String() }

// own gives each service backends of its own, but for the first, which all have.
func own(s, b int) string {
	if b == 0 {
		return shared(s, b)
	}
	return netip.AddrFrom4([4]byte{10, byte(64 + s>>8), byte(s), byte(b)}).String()
}

// backendAddr is an address in the segment of a switched lab; the lab has hosts at
// the first ones.
func backendAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 1, byte(i / 250), byte(i%250 + 1)})
}

// vip is the address of a service.
func vip(service int) netip.Addr {
	return netip.AddrFrom4([4]byte{203, 0, byte(service / 250), byte(service%250 + 1)})
}

const vipPort = 80

// yaml writes the configuration. Its backends are not checked: how soon a check
// fails or passes is its own setting, and not what is measured.
func (c shape) yaml(socket string) ([]byte, error) {
	size, err := balance.Size(c.backends)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "interfaces: [eth0]\ninstance: bench\nstate_dir: %s\nmetrics: {listen: \"off\"}\napi: {socket: %q}\n", filepath.Dir(socket), socket)
	fmt.Fprintf(&b, "limits: {services: %d, listeners: %d, backends: %d, slots: %d}\nservices:\n",
		c.services, c.services, c.services*c.backends, c.services*size)
	for s := range c.services {
		fmt.Fprintf(&b, "  - name: s%d\n    vip: %s\n    port: %d\n    protocol: tcp\n    forward: ipip\n    backends:\n", s, vip(s), vipPort)
		for i := range c.backends {
			fmt.Fprintf(&b, "      - {name: b%d, address: %s}\n", i, c.addr(s, i))
		}
	}
	return b.Bytes(), nil
}
