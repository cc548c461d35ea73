package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	resolvConf = "/etc/resolv.conf"
	udpSize    = 1232 // what goes through unfragmented nearly everywhere (DNS flag day 2020)
	patience   = 2 * time.Second
	attempts   = 2 // with every server
)

// resolver asks name servers.
type resolver struct {
	server   netip.AddrPort // invalid: those of conf
	conf     string
	patience time.Duration
}

// servers returns whom to ask.
func (r *resolver) servers() ([]string, error) {
	if r.server.IsValid() {
		return []string{r.server.String()}, nil
	}
	conf, err := dns.ClientConfigFromFile(r.conf)
	if err != nil {
		return nil, fmt.Errorf("read name servers: %w", err)
	}
	var servers []string
	for _, s := range conf.Servers {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("%s names no server: add one, or set server", r.conf)
	}
	return servers, nil
}

// ask returns the first answer of a server that can say.
func (r *resolver) ask(ctx context.Context, name string, qtype uint16) (answer, error) {
	servers, err := r.servers()
	if err != nil {
		return answer{}, err
	}
	return r.askEach(ctx, servers, name, qtype)
}

func (r *resolver) askEach(ctx context.Context, servers []string, name string, qtype uint16) (a answer, err error) {
	for range attempts {
		for _, server := range servers {
			if a, err = r.exchange(ctx, server, name, qtype); err == nil {
				return a, nil
			}
			err = fmt.Errorf("ask %s for %s %s: %w", server, name, dns.TypeToString[qtype], err)
			if ctx.Err() != nil {
				return answer{}, err
			}
		}
	}
	return answer{}, err
}

func (r *resolver) exchange(ctx context.Context, server, name string, qtype uint16) (answer, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(udpSize, false)
	m, err := r.send(ctx, "udp", server, q)
	if err == nil && m.Truncated {
		m, err = r.send(ctx, "tcp", server, q)
		if err == nil && m.Truncated {
			err = errors.New("the answer is too long even for TCP")
		}
	}
	if err != nil {
		return answer{}, err
	}
	return read(m)
}

// send returns a server's answer to a question, if it is one.
func (r *resolver) send(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	limited, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	client := &dns.Client{Net: network, Timeout: r.patience}
	conn, err := client.DialContext(limited, server)
	if err != nil {
		return nil, plain(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // reading does not look at ctx
	m, _, err := client.ExchangeWithConnContext(limited, q, conn)
	if err != nil {
		return nil, plain(err)
	}
	return m, check(q, m)
}

// plain drops what differs from one attempt to the next, such as the local port.
func plain(err error) error {
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("no answer in time")
	case errors.As(err, &op):
		return op.Err
	}
	return err
}
