package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv"
	"github.com/xlb-project/xlb/testenv/quiclab"
)

// services of the node, all over the same backends.
var services = []string{"web", "datagrams", "quic"}

const quicPort = 443

// site is a lab with a node that changes.
type site struct {
	lab     *testenv.Lab
	node    *testenv.Node
	members []*testenv.Backend // configured at first; the lab's others are spares
	spares  []*testenv.Backend
	closers []io.Closer
}

func newSite(ctx context.Context, o options) (_ *site, err error) {
	s := &site{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.lab, err = testenv.NewRouted(testenv.Options{Backends: o.backends + spares, Decap: decap})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.lab)
	s.members, s.spares = s.lab.Backends[:o.backends], s.lab.Backends[o.backends:]
	for i, b := range s.lab.Backends {
		q, err := quiclab.Serve(b, netip.AddrPortFrom(s.lab.VIPs[0], quicPort), quiclab.ConnectionIDs{Server: serverID(i)})
		if err != nil {
			return nil, err
		}
		s.closers = append(s.closers, q)
	}
	if s.node, err = testenv.StartNode(ctx, s.lab.LB, testenv.Program{Path: o.xlb}, s.config()); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.node)
	return s, nil
}

// close ends everything and takes the node's program off.
func (s *site) close() error {
	var err error
	for _, c := range slices.Backward(s.closers) {
		err = errors.Join(err, c.Close())
	}
	return err
}

// serverID is the QUIC-LB server ID of the lab's backend number i.
func serverID(i int) []byte { return []byte{0xab, byte(i)} }

func (s *site) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\nmetrics: {listen: \"off\"}\n", strings.Join(s.lab.LBInterfaces, ", "))
	b.WriteString("flows: {learn: 3s}\nservices:\n")
	for _, name := range services {
		port, protocol, more := s.lab.Port, "tcp", ""
		switch name {
		case "datagrams":
			protocol = "udp"
		case "quic":
			port, protocol, more = quicPort, "udp", "    quic: {server_id_length: 2}\n"
		}
		fmt.Fprintf(&b, "  - name: %s\n    vip: %s\n    port: %d\n    protocol: %s\n    forward: ipip\n%s", name, s.lab.VIPs[0], port, protocol, more)
		fmt.Fprintf(&b, "    health: {http: {path: /healthz, port: %d}, interval: 200ms, timeout: 2s, rise: 2, fall: 3}\n    backends:\n", s.lab.Port)
		for i, member := range s.members {
			fmt.Fprintf(&b, "      - {name: %s, address: %s%s}\n", member.Name(), member.Addr, serverIDField(name, i))
		}
	}
	return b.String()
}

func serverIDField(service string, i int) string {
	if service != "quic" {
		return ""
	}
	return fmt.Sprintf(", server_id: %q", fmt.Sprintf("%x", serverID(i)))
}

// awaitState waits until a backend of all services is in a state.
func (s *site) awaitState(ctx context.Context, backend, state string) error {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.node.WaitFor(within, backend+" to be "+state, func(n control.Status) error {
		for _, svc := range n.Services {
			i := slices.IndexFunc(svc.Backends, func(b control.BackendStatus) bool { return b.Name == backend })
			if i < 0 {
				return fmt.Errorf("service %s has no backend %s", svc.Name, backend)
			}
			if is := svc.Backends[i].State; is != state {
				return fmt.Errorf("of service %s it is %s", svc.Name, is)
			}
		}
		return nil
	})
}

// cli runs a command of xlb against the node, and returns what it prints.
func (s *site) cli(ctx context.Context, o options, stdin string, args ...string) (string, error) {
	cmd := s.lab.LB.Command(ctx, o.xlb, append([]string{"--socket", s.node.Socket()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("xlb %s: %w: %s", strings.Join(args, " "), err, failed.Bytes())
	}
	return string(out), nil
}

// dropped is how many packets the node has dropped.
func (s *site) dropped(ctx context.Context) (sum uint64, err error) {
	n, err := s.node.Status(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range maps.Reasons() {
		if r.Verdict() == "drop" {
			sum += n.Reasons[r.String()].Packets
		}
	}
	return sum, nil
}

func decap(n *testenv.Namespace, device string) (io.Closer, error) {
	var d *loader.Decap
	err := n.Do(func() (err error) {
		d, err = loader.AttachDecap(device, loader.Native, loader.DecapOptions{})
		return err
	})
	return d, err
}
