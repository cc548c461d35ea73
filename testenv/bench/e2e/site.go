package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/testenv"
)

const servers = 2

var (
	webClient = netip.MustParsePrefix("10.9.0.254/24")
	webLB     = netip.MustParsePrefix("10.9.0.1/24")
)

// webSubject is a way from a client to one of some servers.
type webSubject struct {
	name  string
	start func(context.Context, options, *site) error
}

var webSubjects = []webSubject{{"direct", direct}, {"xlb", webXLB}, {"nftables", webNftables}, {"haproxy", haproxy}}

// site is a client, a balancer and servers in one segment.
type site struct {
	webSubject
	client, lb *testenv.Namespace
	lbPort     testenv.End
	servers    []*testenv.Namespace
	target     netip.Addr
	pids       []int // whose CPU time counts, beside this process and wrk
	closers    []io.Closer
}

func newSite(ctx context.Context, o options, b webSubject) (_ *site, err error) {
	s := &site{webSubject: b, target: vip}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.pids, err = kernelThreads("ksoftirqd/"); err != nil {
		return nil, err
	}
	lan, err := testenv.NewSwitch("switch")
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, lan)
	if s.client, _, err = s.join(lan, "client", webClient); err != nil {
		return nil, err
	}
	if s.lb, s.lbPort, err = s.join(lan, "lb", webLB); err != nil {
		return nil, err
	}
	if err := s.client.AddRoute(netip.PrefixFrom(vip, vip.BitLen()), webLB.Addr()); err != nil {
		return nil, err
	}
	for i := range servers {
		n, _, err := s.join(lan, fmt.Sprintf("server%d", i), netip.PrefixFrom(backendAddr(i), webLB.Bits()))
		if err != nil {
			return nil, err
		}
		s.servers = append(s.servers, n)
		if err := errors.Join(n.HoldVIPs(vip), s.serve(n)); err != nil {
			return nil, err
		}
	}
	return s, b.start(ctx, o, s)
}

func (s *site) close() error {
	var err error
	for _, c := range slices.Backward(s.closers) {
		err = errors.Join(err, c.Close())
	}
	return err
}

func (s *site) join(lan *testenv.Switch, name string, addr netip.Prefix) (*testenv.Namespace, testenv.End, error) {
	n, err := testenv.NewNamespace(name)
	if err != nil {
		return nil, testenv.End{}, err
	}
	s.closers = append(s.closers, n)
	end := testenv.End{NS: n, Interface: "eth0", Addrs: []netip.Prefix{addr}}
	port, err := lan.Plug(end, name, testenv.LinkOptions{MTU: testenv.EncapMTU})
	return n, port, err
}

// serve answers every request with nothing but its status.
func (s *site) serve(n *testenv.Namespace) error {
	l, err := n.Listen("tcp4", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	s.closers = append(s.closers, closer(func() error {
		err := server.Close()
		if end := <-ended; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
		return err
	}))
	return nil
}

type closer func() error

func (c closer) Close() error { return c() }

// direct is the way without a balancer.
func direct(_ context.Context, _ options, s *site) error {
	s.target = backendAddr(0)
	return nil
}

func webXLB(ctx context.Context, o options, s *site) error {
	pass, err := testenv.AttachPass(s.lbPort.NS, s.lbPort.Interface)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, pass)
	for _, n := range s.servers {
		var d *loader.Decap
		err := n.Do(func() (err error) {
			d, err = loader.AttachDecap("eth0", loader.Native, loader.DecapOptions{})
			return err
		})
		if err != nil {
			return err
		}
		s.closers = append(s.closers, d)
	}
	node, err := startXLB(ctx, o, s.lb, "tcp", "ipip", "native", servers, backendAddr)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, node)
	return nil
}

// webNftables has answers come back through the balancer, without which there is
// no NAT.
func webNftables(ctx context.Context, _ options, s *site) error {
	return errors.Join(s.lb.Forward(), natRules(ctx, s.lb, "tcp", servers, backendAddr,
		"chain out { type nat hook postrouting priority srcnat; masquerade; }"))
}

func haproxy(ctx context.Context, _ options, s *site) error {
	dir, err := os.MkdirTemp("", "xlb-bench-")
	if err != nil {
		return err
	}
	s.closers = append(s.closers, closer(func() error { return os.RemoveAll(dir) }))
	var b strings.Builder
	b.WriteString("global\n\tmaxconn 4000\ndefaults\n\tmode tcp\n\ttimeout connect 5s\n\ttimeout client 1m\n\ttimeout server 1m\n")
	fmt.Fprintf(&b, "listen bench\n\tbind %s:%d\n\tbalance roundrobin\n", vip, port)
	for i := range servers {
		fmt.Fprintf(&b, "\tserver s%d %s:%d\n", i, backendAddr(i), port)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return err
	}
	if err := s.lb.HoldVIPs(vip); err != nil {
		return err
	}
	cmd := s.lb.Command(ctx, "haproxy", "-db", "-f", file)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start haproxy: %w", err)
	}
	s.closers = append(s.closers, closer(func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait() // it says that the process was killed
		return err
	}))
	s.pids = append(s.pids, cmd.Process.Pid)
	return testenv.Eventually(ctx, "haproxy to answer", func() error {
		c, err := s.client.Dial(ctx, "tcp4", netip.AddrPort{}, netip.AddrPortFrom(vip, port))
		if err != nil {
			return err
		}
		return c.Close()
	})
}
