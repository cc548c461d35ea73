package loader

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// How marked packets get to lo, where the program of probes takes them.
const (
	probeMark     = 0x58000000 // of the first instance
	probeNumber   = 21         // bits of a mark that number the backend
	probeMask     = ^uint32(1<<probeNumber - 1)
	probeTable    = 0x786c // 30828: its only route leads to lo
	probePriority = 58     // of the rule: before those that operators route by source with
	probeMTU      = 1280   // leaves room for every tunnel on an Ethernet
	maxInstances  = 8      // in one network namespace: what a mark has bits for
	loopback      = 1      // the index of lo, the first device of every namespace
)

var families = []int{netlink.FAMILY_V4, netlink.FAMILY_V6}

// Probes are at work from AttachProbes to Close: a packet of this host that is marked for a backend gets to that
// backend the way of its traffic.
type Probes struct {
	mark   uint32
	number int
	coll   *ebpf.Collection
	link   link.Link // nil: a filter instead
	undo   []func() error
}

// AttachProbes puts the program of probes on what leaves lo, and has marked packets routed there, in the network
// namespace of the calling thread, after Publish. What an instance that ended without Close left behind is replaced.
func AttachProbes(d *Dataplane) (*Probes, error) {
	if d.gen == nil {
		return nil, errors.New("attach probes: the data path is not published yet")
	}
	p := &Probes{}
	if err := p.attach(d); err != nil {
		return nil, errors.Join(fmt.Errorf("attach probes: %w", err), p.Close())
	}
	d.probes = p
	p.undo = append(p.undo, func() error { d.probes = nil; return nil })
	return p, nil
}

// Mark returns what a socket that probes a backend sets as SO_MARK.
func (p *Probes) Mark(id maps.BackendID) uint32 { return p.mark | uint32(id) }

// ProbeCounters count marked packets by what became of them.
type ProbeCounters struct {
	Sent       maps.Counter
	Unresolved maps.Counter // the backend has no next hop, or is not known
	TooBig     maps.Counter // for the backend's egress MTU
	Refused    maps.Counter // not packets that a backend's headers can carry
}

// Counters returns what became of the probes so far.
func (p *Probes) Counters() (ProbeCounters, error) {
	var c bpf.ProbeProbeCounters
	if err := p.coll.Maps[bpf.ProbeMapProbes].Lookup(uint32(0), &c); err != nil {
		return ProbeCounters{}, fmt.Errorf("read counters of probes: %w", err)
	}
	return ProbeCounters{
		Sent:       maps.Counter{Packets: c.Sent.Packets, Bytes: c.Sent.Bytes},
		Unresolved: maps.Counter{Packets: c.Unresolved.Packets, Bytes: c.Unresolved.Bytes},
		TooBig:     maps.Counter{Packets: c.TooBig.Packets, Bytes: c.TooBig.Bytes},
		Refused:    maps.Counter{Packets: c.Refused.Packets, Bytes: c.Refused.Bytes},
	}, nil
}

// Close takes rules and program away. Marked packets are routed as others then.
func (p *Probes) Close() error {
	var err error
	for i := len(p.undo) - 1; i >= 0; i-- {
		err = errors.Join(err, p.undo[i]())
	}
	p.undo = nil
	return err
}

func (p *Probes) attach(d *Dataplane) error {
	number, err := p.takeNumber()
	if err != nil {
		return err
	}
	p.mark, p.number = markOf(number), number
	if err := p.load(d); err != nil {
		return err
	}
	if err := p.attachEgress(); err != nil {
		return err
	}
	for _, family := range families {
		if err := p.route(family); err != nil {
			return err
		}
	}
	return nil
}

// takeNumber picks the first number that no other instance here has. Names of abstract sockets are the namespace's, and go
// with the process that holds them.
func (p *Probes) takeNumber() (int, error) {
	for n := range maxInstances {
		l, err := net.Listen("unix", probeName(n))
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("take the name %s: %w", probeName(n), err)
		}
		p.undo = append(p.undo, l.Close)
		return n, nil
	}
	return 0, fmt.Errorf("%d instances send probes from this network namespace already, which is as many as marks have room for", maxInstances)
}

func probeName(number int) string { return fmt.Sprintf("@xlb-probes-%d", number) }

func markOf(number int) uint32 { return probeMark | uint32(number)<<probeNumber }

func (p *Probes) load(d *Dataplane) (err error) {
	if p.coll, err = p.loadOver(probeTables(d.gen.maps)); err != nil {
		return err
	}
	p.undo = append(p.undo, func() error { p.coll.Close(); return nil })
	return nil
}

// probeTables are the tables of the data path that probes go by.
func probeTables(of map[string]*ebpf.Map) map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		bpf.ProbeMapBackends: of[bpf.XlbMapBackends],
		bpf.ProbeMapHops:     of[bpf.XlbMapHops],
		bpf.ProbeMapOuter6:   of[bpf.XlbMapOuter6],
	}
}

// loadOver loads the program over maps that there are.
func (p *Probes) loadOver(maps map[string]*ebpf.Map) (*ebpf.Collection, error) {
	spec, err := bpf.LoadProbe()
	if err != nil {
		return nil, fmt.Errorf("read embedded program: %w", err)
	}
	if err := spec.Variables[bpf.ProbeVarProbeMark].Set(p.mark); err != nil {
		return nil, fmt.Errorf("set the mark: %w", err)
	}
	for name, m := range maps {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps})
	if err != nil {
		return nil, explainLoad(err)
	}
	return coll, nil
}

// follow lets probes go by another data path's tables from now on. Their counters go on.
func (p *Probes) follow(of map[string]*ebpf.Map) error {
	tables := probeTables(of)
	tables[bpf.ProbeMapProbes] = p.coll.Maps[bpf.ProbeMapProbes]
	coll, err := p.loadOver(tables)
	if err != nil {
		return fmt.Errorf("replace the program of probes: %w", err)
	}
	prog := coll.Programs[bpf.ProbeProgProbe]
	if p.link != nil {
		err = p.link.Update(prog)
	} else {
		err = p.setFilter(prog)
	}
	if err != nil {
		coll.Close()
		return fmt.Errorf("replace the program of probes: %w", err)
	}
	p.coll.Close()
	p.coll = coll
	return nil
}

// attachEgress attaches by a link, which goes with the process; before Linux 6.6 by a filter.
func (p *Probes) attachEgress() error {
	prog := p.coll.Programs[bpf.ProbeProgProbe]
	l, err := link.AttachTCX(link.TCXOptions{Interface: loopback, Program: prog, Attach: ebpf.AttachTCXEgress})
	if err == nil {
		p.link = l
		p.undo = append(p.undo, l.Close)
		return nil
	}
	if !errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("attach to lo: %w", err)
	}
	return p.attachFilter(prog)
}

// attachFilter leaves the qdisc behind on Close: others may have filters there by then.
func (p *Probes) attachFilter(prog *ebpf.Program) error {
	qdisc := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: loopback, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add a clsact qdisc to lo: %w", err)
	}
	if err := p.setFilter(prog); err != nil {
		return err
	}
	p.undo = append(p.undo, func() error { return removeFilter(p.number) })
	return nil
}

func (p *Probes) setFilter(prog *ebpf.Program) error {
	filter := filterOf(p.number)
	filter.Fd, filter.Name, filter.DirectAction = prog.FD(), "xlb-probe", true
	if err := netlink.FilterReplace(filter); err != nil {
		return fmt.Errorf("add a filter to lo: %w", err)
	}
	return nil
}

func filterOf(number int) *netlink.BpfFilter {
	return &netlink.BpfFilter{FilterAttrs: netlink.FilterAttrs{
		LinkIndex: loopback, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1,
		Protocol: unix.ETH_P_ALL, Priority: uint16(probePriority + number),
	}}
}

// removeFilter removes an instance's filter if it is there.
func removeFilter(number int) error {
	err := netlink.FilterDel(filterOf(number))
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) { // EINVAL: no such qdisc
		return nil
	}
	return fmt.Errorf("remove the filter of lo: %w", err)
}

// RemoveProbes removes what instances that ended without Close left behind in the network namespace of the calling
// thread, and what nobody needs then. Those at work stay.
func RemoveProbes() error {
	for n := range maxInstances {
		l, err := net.Listen("unix", probeName(n))
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			return fmt.Errorf("remove probes: %w", err)
		}
		err = removeProbes(n)
		if err := errors.Join(err, l.Close()); err != nil {
			return fmt.Errorf("remove probes: %w", err)
		}
	}
	return nil
}

func removeProbes(number int) error {
	for _, family := range families {
		if err := errors.Join(removeRule(ruleFor(family, markOf(number))), removeUnusedRoute(family)); err != nil {
			return err
		}
	}
	return removeFilter(number)
}

// route leads the family's marked packets to lo. The rule comes first: whoever finds none takes the shared route away.
func (p *Probes) route(family int) error {
	rule := ruleFor(family, p.mark)
	if err := removeRule(rule); err != nil {
		return err
	}
	err := netlink.RuleAdd(rule)
	if family == netlink.FAMILY_V6 && errors.Is(err, unix.EAFNOSUPPORT) {
		return nil // no IPv6 on this host, and so no probes
	}
	if err != nil {
		return fmt.Errorf("add a rule for marked packets: %w", err)
	}
	p.undo = append(p.undo, func() error {
		return errors.Join(removeRule(rule), removeUnusedRoute(family))
	})
	if err := netlink.RouteReplace(routeFor(family)); err != nil {
		return fmt.Errorf("route marked packets to lo: %w", err)
	}
	return nil
}

// routeFor is of type local: one to lo of another type would make IPv6 packets unreachable.
func routeFor(family int) *netlink.Route {
	return &netlink.Route{
		LinkIndex: loopback, Family: family, Table: probeTable, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST,
		Dst: everything(family), MTU: probeMTU,
	}
}

// removeUnusedRoute removes the route to lo if no instance's rule leads to it any more.
func removeUnusedRoute(family int) error {
	rules, err := netlink.RuleListFiltered(family, &netlink.Rule{Table: probeTable}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list the rules for marked packets: %w", err)
	}
	if len(rules) > 0 {
		return nil
	}
	if err := netlink.RouteDel(routeFor(family)); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the route of marked packets: %w", err)
	}
	return nil
}

func ruleFor(family int, mark uint32) *netlink.Rule {
	rule, mask := netlink.NewRule(), probeMask
	rule.Family, rule.Mark, rule.Mask, rule.Table, rule.Priority = family, mark, &mask, probeTable, probePriority
	return rule
}

// removeRule removes a rule as often as it is there.
func removeRule(rule *netlink.Rule) error {
	for {
		switch err := netlink.RuleDel(rule); {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAFNOSUPPORT):
			return nil
		case err != nil:
			return fmt.Errorf("remove the rule for marked packets: %w", err)
		}
	}
}

func everything(family int) *net.IPNet {
	if family == netlink.FAMILY_V6 {
		return &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
}
