package neighbour

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// refresh is how often all routes are looked up without an event, as not all that sways
// them sends one: IPv4 routes that vanish with their interface, sysctls.
const refresh = 30 * time.Second

// kernel is the copy of the kernel's links and neighbours, with the watched addresses and
// the neighbours that these need. One goroutine owns it.
type kernel struct {
	handle     *netlink.Handle
	links      map[int]device
	neighbours map[hopKey]neighbour
	watched    map[netip.Addr]*watched
	targets    map[hopKey]*target
	touched    map[*watched]bool // whose verdict is to be drawn anew
	refreshAt  time.Time
}

// watched is one address and what is known of it.
type watched struct {
	addr   netip.Addr
	looked bool  // the fields up to target are set
	err    error // why there is no route now
	route  route // the last that was found
	device string
	target *target // nil when there is no route

	told   bool
	latest Update // what was told last
}

// verdict is the state of an address; news says that it differs from what was told last.
type verdict struct {
	Update
	news bool
}

func newKernel(handle *netlink.Handle) *kernel {
	return &kernel{
		handle:  handle,
		watched: map[netip.Addr]*watched{},
		targets: map[hopKey]*target{},
		touched: map[*watched]bool{},
	}
}

// load reads all links and neighbours. It is not complete if the kernel's tables changed
// all the while.
func (k *kernel) load() (complete bool, err error) {
	complete = true
	links, err := dump(k.handle.LinkList)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		complete = false
	} else if err != nil {
		return false, fmt.Errorf("list interfaces: %w", err)
	}
	k.links = make(map[int]device, len(links))
	for _, link := range links {
		k.links[link.Attrs().Index] = newDevice(link)
	}
	k.neighbours = map[hopKey]neighbour{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		entries, err := dump(func() ([]netlink.Neigh, error) { return k.handle.NeighList(0, family) })
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			complete = false
		} else if err != nil {
			return false, fmt.Errorf("list neighbours: %w", err)
		}
		for i := range entries {
			if key, n, ok := newNeighbour(&entries[i]); ok {
				k.neighbours[key] = n
			}
		}
	}
	return complete, nil
}

// watch replaces the set of watched addresses. Fresh ones begin anew even if they are watched
// already: they were removed and added again meanwhile.
func (k *kernel) watch(wanted, fresh map[netip.Addr]bool) {
	for a, x := range k.watched {
		if !wanted[a] || fresh[a] {
			k.leave(x)
			delete(k.touched, x)
			delete(k.watched, a)
		}
	}
	for a := range wanted {
		if k.watched[a] == nil {
			k.watched[a] = &watched{addr: a}
		}
	}
}

// follow takes in a batch of events, looks up the routes that it may have changed and those
// of new addresses, and tends the neighbours concerned.
func (k *kernel) follow(b batch, now time.Time) {
	all := b.resync || b.routes
	if b.resync {
		k.refreshAt = now.Add(refresh)
	}
	for index, d := range b.links {
		if d == k.links[index] {
			continue
		}
		k.links[index] = d
		if d == (device{}) {
			delete(k.links, index)
		}
		all = true
		// The event may precede the removal of the interface's IPv4 routes, which sends none.
		k.refreshAt = now.Add(tick)
	}
	for key, n := range b.neighbours {
		k.neighbours[key] = n
		if n == (neighbour{}) {
			delete(k.neighbours, key)
		}
	}
	for _, x := range k.watched {
		if all || !x.looked || contains(b.prefixes, x.addr) {
			k.look(x, now)
		}
	}
	if all {
		k.tendAll(now)
		return
	}
	for key := range b.neighbours {
		if t := k.targets[key]; t != nil {
			k.tend(t, now)
		}
	}
}

// tick does what is due without an event.
func (k *kernel) tick(now time.Time) {
	if !now.Before(k.refreshAt) {
		k.refreshAt = now.Add(refresh)
		for _, x := range k.watched {
			k.look(x, now)
		}
	}
	k.tendAll(now)
}

// look looks up the route of an address.
func (k *kernel) look(x *watched, now time.Time) {
	k.touched[x] = true
	x.looked = true
	r, err := lookup(k.handle, x.addr)
	x.err = err
	if err != nil {
		k.leave(x)
		return
	}
	x.route, x.device = r, k.links[r.key.index].Name
	if x.target != nil && x.target.key == r.key {
		return
	}
	k.leave(x)
	t := k.targets[r.key]
	if t == nil {
		t = &target{key: r.key, users: map[*watched]bool{}}
		k.targets[r.key] = t
	}
	t.users[x] = true
	x.target = t
	k.tend(t, now)
}

// leave parts an address from its target, which ends with its last user.
func (k *kernel) leave(x *watched) {
	if x.target == nil {
		return
	}
	delete(x.target.users, x)
	if len(x.target.users) == 0 {
		delete(k.targets, x.target.key)
	}
	x.target = nil
}

func (k *kernel) tendAll(now time.Time) {
	for _, t := range k.targets {
		k.tend(t, now)
	}
}

// tend takes in what the kernel knows of a target and asks it for more when that is due.
func (k *kernel) tend(t *target, now time.Time) {
	before := t.outcome
	t.observe(k.neighbours[t.key], now)
	s, err := stackOf(k.links, t.key.index)
	if n := k.neighbours[t.key]; err == nil && !s.top.static && t.due(n, now) {
		k.neighbours[t.key] = t.ask(k.handle, n, now)
	}
	if t.outcome != before {
		for x := range t.users {
			k.touched[x] = true
		}
	}
}

// verdicts returns the state of all addresses for which it may have changed since the last call.
func (k *kernel) verdicts() []verdict {
	list := make([]verdict, 0, len(k.touched))
	for x := range k.touched {
		list = append(list, k.judge(x))
	}
	clear(k.touched)
	return list
}

func (k *kernel) judge(x *watched) verdict {
	hop, err := k.resolve(x)
	now := Update{Addr: x.addr, Hop: hop, Err: err}
	if errors.Is(err, ErrPending) {
		if x.told && x.latest.Err == nil {
			now = x.latest // make before break
		}
		return verdict{Update: now}
	}
	if x.told && now.equal(x.latest) {
		return verdict{Update: now}
	}
	x.told, x.latest = true, now
	return verdict{Update: now, news: true}
}

// resolve draws the next hop of an address from what is known.
func (k *kernel) resolve(x *watched) (NextHop, error) {
	s, err := stackOf(k.links, x.route.key.index)
	if x.err != nil {
		switch {
		case !errors.Is(x.err, errNoRoute) || x.device == "":
		case errors.Is(err, errUnknown):
			return NextHop{}, fmt.Errorf("%w: %s is gone", x.err, x.device)
		case err != nil && !errors.Is(err, errCannotSend):
			return NextHop{}, fmt.Errorf("%w: %w", x.err, err)
		}
		return NextHop{}, x.err
	}
	if errors.Is(err, errUnknown) {
		return NextHop{}, pending(x.addr) // the event about the link is still to come
	}
	if err != nil {
		return NextHop{}, err
	}
	if x.target.resolved {
		hop := NextHop{
			Interface: s.bottom.Name,
			Index:     s.bottom.Index,
			Tags:      s.tags,
			MTU:       s.mtu,
			SourceMAC: s.top.MAC,
			DestMAC:   x.target.mac,
			Gateway:   x.route.gateway,
			Source:    x.route.source,
		}
		if x.route.mtu != 0 {
			hop.MTU = min(hop.MTU, x.route.mtu)
		}
		return hop, nil
	}
	who := x.addr.String()
	if x.route.gateway.IsValid() {
		who += ": gateway " + x.route.gateway.String()
	}
	how := "ARP"
	if x.target.key.addr.Is6() {
		how = "neighbour discovery"
	}
	switch {
	case x.target.fault != nil:
		return NextHop{}, fmt.Errorf("%s on %s: %w", who, s.top.Name, x.target.fault)
	case x.target.failures > 0:
		return NextHop{}, fmt.Errorf("%s does not answer %s on %s", who, how, s.top.Name)
	case s.top.static:
		return NextHop{}, fmt.Errorf("%s has no MAC address and %s does no %s: add a permanent neighbour entry", who, s.top.Name, how)
	}
	return NextHop{}, pending(x.addr)
}

func contains(prefixes map[netip.Prefix]bool, addr netip.Addr) bool {
	for p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
