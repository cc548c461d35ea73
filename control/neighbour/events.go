package neighbour

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// hopKey names a neighbour: an address behind an interface.
type hopKey struct {
	index int
	addr  netip.Addr
}

// neighbour is the kernel's entry for a hopKey; the zero value stands for no entry.
type neighbour struct {
	state int // NUD_*
	mac   [6]byte
}

// usable holds for the states in which the kernel itself would send to the MAC.
const usable = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE |
	netlink.NUD_PERMANENT | netlink.NUD_NOARP

// batch is what changed since the last batch was taken, the latest state per object only.
type batch struct {
	resync     bool // events were lost: everything may have changed
	routes     bool // any route may have changed
	prefixes   map[netip.Prefix]bool
	links      map[int]device // the zero device stands for a removed one
	neighbours map[hopKey]neighbour
}

// maxPrefixes bounds the routes remembered in one batch; beyond, all count as changed.
const maxPrefixes = 4096

// events reads kernel events without ever waiting for who consumes them, so that
// the socket's buffer only has to bear what one scheduling delay brings.
type events struct {
	socket *os.File
	wake   func() // called after something was added to the batch; must not block

	mu       sync.Mutex
	batch    batch
	overruns uint64
}

// groups are the multicast groups of netlink that can change a next hop.
var groups = []uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
	unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE,
	unix.RTNLGRP_NEXTHOP,
}

// subscribe opens the event socket. One socket for all groups keeps the events in order.
func subscribe(ns netns.NsHandle, receiveBuffer int, wake func()) (*events, error) {
	s, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return nil, fmt.Errorf("subscribe to netlink events: %w", err)
	}
	defer s.Close()
	// Beyond rmem_max takes CAP_NET_ADMIN; without it, the kernel's cap has to do.
	if s.SetReceiveBufferSize(receiveBuffer, true) != nil {
		if err := s.SetReceiveBufferSize(receiveBuffer, false); err != nil {
			return nil, fmt.Errorf("size the netlink event buffer: %w", err)
		}
	}
	// The library's Receive hides when the socket is empty, which read must know.
	fd, err := unix.FcntlInt(uintptr(s.GetFd()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate the netlink event socket: %w", err)
	}
	return &events{socket: os.NewFile(uintptr(fd), "netlink events"), wake: wake}, nil
}

// read gathers events until the socket fails or is closed, and returns why.
func (e *events) read() error {
	conn, err := e.socket.SyscallConn()
	if err != nil {
		return fmt.Errorf("read netlink events: %w", err)
	}
	buf := make([]byte, 64<<10)
	overrun := false
	var fatal error
	err = conn.Read(func(fd uintptr) bool {
		for {
			n, from, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			switch {
			case err == unix.EINTR:
			case err == unix.ENOBUFS:
				overrun = true
				e.mu.Lock()
				e.overruns++
				e.mu.Unlock()
			case err == unix.EAGAIN:
				// After an overrun the kernel drops events, without another error, until the
				// socket is empty; what is still queued is older than what was dropped. So
				// only now can a dump be trusted.
				if overrun {
					overrun = false
					e.lost()
				}
				return false
			case err != nil:
				fatal = err
				return true
			case overrun:
			default:
				if sender, ok := from.(*unix.SockaddrNetlink); ok && sender.Pid == nl.PidKernel {
					e.add(buf[:n])
				}
			}
		}
	})
	return fmt.Errorf("read netlink events: %w", cmp.Or(fatal, err))
}

// lost notes that everything must be read anew.
func (e *events) lost() {
	e.mu.Lock()
	e.batch = batch{resync: true}
	e.mu.Unlock()
	e.wake()
}

// take returns what changed and begins a new batch.
func (e *events) take() batch {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.batch
	e.batch = batch{}
	return b
}

// add adds the messages of one datagram to the batch.
func (e *events) add(datagram []byte) {
	messages, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		e.lost()
		return
	}
	e.mu.Lock()
	relevant := false
	for _, m := range messages {
		changed, err := e.batch.add(m)
		if err != nil {
			e.batch.resync, changed = true, true
		}
		relevant = relevant || changed
	}
	e.mu.Unlock()
	if relevant {
		e.wake()
	}
}

// add adds one message and reports whether it can matter. An error means that the
// message could not be understood.
func (b *batch) add(m syscall.NetlinkMessage) (bool, error) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return b.addLink(m)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return b.addNeighbour(m)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return b.addRoute(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWRULE, unix.RTM_DELRULE,
		unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		b.routes = true
		return true, nil
	}
	return false, nil
}

func (b *batch) addLink(m syscall.NetlinkMessage) (bool, error) {
	// The bridge code sends messages of its own family about ports, and wireless
	// drivers such with nothing but their private attributes.
	if len(m.Data) < unix.SizeofIfInfomsg || nl.DeserializeIfInfomsg(m.Data).Family != unix.AF_UNSPEC {
		return false, nil
	}
	header := unix.NlMsghdr(m.Header)
	link, err := netlink.LinkDeserialize(&header, m.Data)
	if err != nil {
		return false, err
	}
	d := newDevice(link)
	if d.Name == "" {
		return false, nil
	}
	index := d.Index
	if m.Header.Type == unix.RTM_DELLINK {
		d = device{}
	}
	put(&b.links, index, d)
	return true, nil
}

func (b *batch) addNeighbour(m syscall.NetlinkMessage) (bool, error) {
	entry, err := netlink.NeighDeserialize(m.Data)
	if err != nil {
		return false, err
	}
	key, n, ok := newNeighbour(entry)
	if !ok {
		return false, nil
	}
	if m.Header.Type == unix.RTM_DELNEIGH {
		n = neighbour{}
	}
	put(&b.neighbours, key, n)
	return true, nil
}

func (b *batch) addRoute(m syscall.NetlinkMessage) (bool, error) {
	if len(m.Data) < unix.SizeofRtMsg {
		return false, errors.New("route message is too short")
	}
	route := nl.DeserializeRtMsg(m.Data)
	if route.Flags&unix.RTM_F_CLONED != 0 || (route.Family != unix.AF_INET && route.Family != unix.AF_INET6) {
		return false, nil
	}
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofRtMsg:])
	if err != nil {
		return false, err
	}
	dst := netip.IPv4Unspecified()
	if route.Family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.RTA_DST {
			dst, _ = netip.AddrFromSlice(a.Value)
		}
	}
	prefix := netip.PrefixFrom(dst, int(route.Dst_len))
	if len(b.prefixes) >= maxPrefixes || !prefix.IsValid() {
		b.routes, b.prefixes = true, nil
	}
	if !b.routes {
		put(&b.prefixes, prefix, true)
	}
	return true, nil
}

// newNeighbour returns the key and the entry of a neighbour message, false when it
// is none of IP's, as those of bridges and proxies are not.
func newNeighbour(entry *netlink.Neigh) (hopKey, neighbour, bool) {
	key := hopKey{index: entry.LinkIndex, addr: toAddr(entry.IP)}
	if (entry.Family != unix.AF_INET && entry.Family != unix.AF_INET6) ||
		entry.Flags&netlink.NTF_PROXY != 0 || !key.addr.IsValid() {
		return hopKey{}, neighbour{}, false
	}
	n := neighbour{state: entry.State}
	copy(n.mac[:], entry.HardwareAddr)
	return key, n, true
}

func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[key] = value
}
