package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/xlb-project/xlb/control/config"
)

// answer is what a name server said: records of the name that was asked for, none if there are none.
type answer struct {
	addrs []netip.Addr
	srvs  []*dns.SRV
	ttl   uint32 // of the record that expires first, in seconds
}

// check returns why a message is no answer to a question.
func check(q, m *dns.Msg) error {
	switch {
	case !m.Response || m.Opcode != dns.OpcodeQuery:
		return fmt.Errorf("a message that is no answer")
	case len(m.Question) != 1 || m.Question[0].Qtype != q.Question[0].Qtype || m.Question[0].Qclass != dns.ClassINET ||
		dns.CanonicalName(m.Question[0].Name) != dns.CanonicalName(q.Question[0].Name):
		return fmt.Errorf("the answer to another question")
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return fmt.Errorf("the answer is %s", rcode(m.Rcode))
	}
	return nil
}

func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("error %d", code)
}

// maxAliases is how many CNAME records are followed.
const maxAliases = 16

// read takes from a checked answer what was asked for, following aliases.
func read(m *dns.Msg) (answer, error) {
	a := answer{ttl: ^uint32(0)}
	name, qtype := dns.CanonicalName(m.Question[0].Name), m.Question[0].Qtype
	for range maxAliases {
		alias := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != name {
				continue
			}
			if a.take(rr, qtype) {
				a.ttl = min(a.ttl, h.Ttl)
			} else if c, ok := rr.(*dns.CNAME); ok {
				alias, a.ttl = dns.CanonicalName(c.Target), min(a.ttl, h.Ttl)
			}
		}
		if len(a.addrs) > 0 || len(a.srvs) > 0 {
			return a, nil
		}
		if alias == "" {
			a.ttl = min(a.ttl, negativeTTL(m))
			return a, nil
		}
		name = alias
	}
	return answer{}, fmt.Errorf("more than %d aliases", maxAliases)
}

// take adds a record of the type that was asked for.
func (a *answer) take(rr dns.RR, qtype uint16) bool {
	var ip net.IP
	switch rr := rr.(type) {
	case *dns.A:
		ip = rr.A
	case *dns.AAAA:
		ip = rr.AAAA
	case *dns.SRV:
		if qtype == dns.TypeSRV {
			a.srvs = append(a.srvs, rr)
			return true
		}
	}
	if addr, ok := netip.AddrFromSlice(ip); ok && rr.Header().Rrtype == qtype {
		a.addrs = append(a.addrs, addr.Unmap())
		return true
	}
	return false
}

// negativeTTL is how long there will be nothing (RFC 2308), 0 if the answer does not say.
func negativeTTL(m *dns.Msg) uint32 {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(soa.Hdr.Ttl, soa.Minttl)
		}
	}
	return 0
}

// choose returns the records of a port, 0 for any, that have the least priority.
func choose(srvs []*dns.SRV, port uint16) []*dns.SRV {
	var best []*dns.SRV
	for _, s := range srvs {
		if port != 0 && s.Port != port || s.Target == "." { // which says that there is no such service
			continue
		}
		if len(best) > 0 && s.Priority < best[0].Priority {
			best = best[:0]
		}
		if len(best) == 0 || s.Priority == best[0].Priority {
			best = append(best, s)
		}
	}
	return best
}

// backendsOf are the backends of SRV records, of whose targets it has the addresses.
func backendsOf(srvs []*dns.SRV, addrs map[string][]netip.Addr) []config.Backend {
	most := 0
	for _, s := range srvs {
		most = max(most, int(s.Weight))
	}
	var backends []config.Backend
	for _, s := range srvs {
		target := dns.CanonicalName(s.Target)
		own := slices.Compact(slices.SortedFunc(slices.Values(addrs[target]), netip.Addr.Compare))
		if len(own) == 0 {
			own = []netip.Addr{{}} // to be left out by name
		}
		for _, a := range own {
			b := config.Backend{Address: a}
			if len(own) == 1 {
				b.Name = strings.TrimSuffix(target, ".")
			}
			if most > 0 {
				b.Weight = max(1, int(s.Weight)*config.MaxWeight/max(most, config.MaxWeight)/len(own))
			}
			backends = append(backends, b)
		}
	}
	return backends
}
