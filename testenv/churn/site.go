package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
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
	lab      *testenv.Lab
	dir      string
	socket   string
	instance string
	members  []*testenv.Backend // configured at first; the lab's others are spares
	spares   []*testenv.Backend
	closers  []io.Closer

	node   *testenv.Cmd
	output bytes.Buffer // of the node's process
	client *api.Client
}

func newSite(ctx context.Context, o options) (_ *site, err error) {
	s := &site{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(o))
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
	if s.dir, err = os.MkdirTemp("", "xlb-churn-"); err != nil {
		return nil, err
	}
	s.instance, s.socket = fmt.Sprintf("churn-%d", os.Getpid()), filepath.Join(s.dir, "xlb.sock")
	s.client = api.NewClient(s.socket)
	if err := os.WriteFile(s.file(), []byte(s.config()), 0o600); err != nil {
		return nil, err
	}
	return s, s.run(ctx, o.xlb)
}

// close ends everything and takes the node's program off.
func (s *site) close(o options) error {
	var err error
	if s.node != nil {
		err = s.terminate()
	}
	if s.instance != "" {
		err = errors.Join(err, s.down(o.xlb))
	}
	for _, c := range slices.Backward(s.closers) {
		err = errors.Join(err, c.Close())
	}
	if s.client != nil {
		s.client.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *site) down(xlb string) error {
	out, err := s.lab.LB.Command(context.Background(), xlb, "down", "--yes", "--config", s.file()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("xlb down: %w: %s", err, out)
	}
	return nil
}

func (s *site) file() string { return filepath.Join(s.dir, "xlb.yaml") }

// serverID is the QUIC-LB server ID of the lab's backend number i.
func serverID(i int) []byte { return []byte{0xab, byte(i)} }

func (s *site) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\ninstance: %s\nstate_dir: %s\nmetrics: {listen: \"off\"}\napi: {socket: %s}\n",
		strings.Join(s.lab.LBInterfaces, ", "), s.instance, s.dir, s.socket)
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

// run starts the node and waits until it serves.
func (s *site) run(ctx context.Context, xlb string) error {
	s.node = s.lab.LB.Command(context.WithoutCancel(ctx), xlb, "run", "-c", s.file())
	s.node.Stdout, s.node.Stderr = &s.output, &s.output
	if err := s.node.Start(); err != nil {
		s.node = nil
		return fmt.Errorf("start xlb: %w", err)
	}
	return s.await(ctx, "xlb to serve", func(n control.Status) error {
		if !n.Serving {
			return errors.New("not serving yet")
		}
		return nil
	})
}

func (s *site) await(ctx context.Context, what string, cond func(control.Status) error) error {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error // what ends the wait is mostly a question that was cut short
	err := testenv.Eventually(within, what, func() error {
		n, err := s.client.Status(within)
		if err == nil {
			err = cond(n)
			last = err
		}
		return err
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// awaitState waits until a backend of all services is in a state.
func (s *site) awaitState(ctx context.Context, backend, state string) error {
	return s.await(ctx, backend+" to be "+state, func(n control.Status) error {
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

// signal sends a signal to the node's process and waits for its end.
func (s *site) signal(sig syscall.Signal) error {
	err := s.node.Process.Signal(sig)
	if waited := s.node.Wait(); sig != syscall.SIGKILL {
		err = errors.Join(err, waited)
	}
	s.node = nil
	if err != nil {
		return fmt.Errorf("xlb ended with %w; it printed:\n%s", err, s.output.Bytes())
	}
	return nil
}

func (s *site) terminate() error { return s.signal(syscall.SIGTERM) }

// cli runs a command of xlb against the node.
func (s *site) cli(ctx context.Context, o options, args ...string) error {
	out, err := s.lab.LB.Command(ctx, o.xlb, append([]string{"--socket", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("xlb %s: %w: %s", strings.Join(args, " "), err, out)
	}
	verbose("xlb %s: %s", strings.Join(args, " "), bytes.TrimSpace(out))
	return nil
}

// dropped is how many packets the node has dropped.
func (s *site) dropped(ctx context.Context) (sum uint64, err error) {
	n, err := s.client.Status(ctx)
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
