package main

import (
	"encoding/binary"
	"net/netip"

	"github.com/xlb-project/xlb/bpf/model"
	"github.com/xlb-project/xlb/control/balance"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/maps"
)

// Who appears in every case.
var (
	routerMAC = maps.MAC{0x02, 0, 0, 0, 0, 0x01}
	selfMAC   = maps.MAC{0x02, 0, 0, 0, 0, 0x02}

	self4, self6 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8:1::1")
)

const (
	ifindex = 1 // where test runs let packets arrive
	port    = 443

	idBytes = 2 // of a QUIC server ID

	// Sources of a million flows lie in 4096 networks of 256 addresses.
	sourceNetworks = 4096
)

// vipAddr returns the VIP, or one of many, as the wrapper numbers them.
func vipAddr(i int) netip.Addr { return numbered([]byte{10, 200, 0, 0}, i) }

func vipAddr6() netip.Addr { return netip.MustParseAddr("2001:db8:200::") }

// numbered puts a number into the last two bytes of an address.
func numbered(addr []byte, i int) netip.Addr {
	binary.BigEndian.PutUint16(addr[len(addr)-2:], uint16(i))
	a, _ := netip.AddrFromSlice(addr)
	return a
}

func backendAddr(i int) netip.Addr { return numbered([]byte{10, 1, 0, 0}, i) }

func backend4(forward maps.Forward, i int) maps.Backend {
	b := maps.Backend{Forward: forward, Ifindex: ifindex, MTU: 1500, SourceMAC: selfMAC, DestMAC: routerMAC}
	if forward != maps.L2 {
		b.Source, b.Dest, b.Port = self4, backendAddr(i), 6080
	}
	return b
}

// newState is a state of as many services, each with a listener for one protocol
// and as many backends of its own, with slots as on a node.
func newState(services, backends int, proto maps.Protocol, backend func(i int) maps.Backend) model.State {
	size, err := balance.Size(backends)
	if err != nil {
		panic(err) // the number is one of this program's constants
	}
	return newSizedState(services, backends, size, proto, backend)
}

// newSizedState gives every service as many slots.
func newSizedState(services, backends, size int, proto maps.Protocol, backend func(i int) maps.Backend) model.State {
	s := model.State{
		Settings: maps.Settings{Key: maps.Key{1}, Limits: maps.Limits{
			Services: services, Backends: services * backends, Slots: services * size,
			Fragments: 1 << 16, Sources: 1 << 16, Flows: config.DefaultFlows,
		}},
		Services:  map[maps.ServiceID]maps.Service{},
		Slots:     map[maps.ServiceID][]maps.BackendID{},
		Backends:  map[maps.BackendID]maps.Backend{},
		Addresses: map[maps.BackendID]netip.Addr{},
	}
	for i := range services {
		id, first := maps.ServiceID(i), 1+i*backends
		s.Services[id] = maps.Service{}
		s.Listeners = append(s.Listeners, maps.Listener{
			VIP: netip.PrefixFrom(vipAddr(i), 32), First: port, Last: port, Protocol: proto, Service: id,
		})
		members := make([]balance.Backend, backends)
		for b := range members {
			id := maps.BackendID(first + b)
			s.Backends[id], s.Addresses[id] = backend(first+b), backendAddr(first+b)
			members[b] = balance.Backend{Key: s.Addresses[id].String(), Weight: 1}
		}
		home, err := balance.NewHome(size, members)
		if err != nil {
			panic(err)
		}
		slots := make([]maps.BackendID, size)
		for slot := range slots {
			slots[slot] = maps.BackendID(first + int(home.Owner(slot)))
		}
		s.Slots[id] = slots
	}
	return s
}

// serving is one service of IPv4.
func serving(proto maps.Protocol, forward maps.Forward) func() model.State {
	return func() model.State {
		return newState(1, backends, proto, func(i int) maps.Backend { return backend4(forward, i) })
	}
}

// changing is a service that is about to hand every slot to another backend, with
// the flow table of a default configuration.
func changing() model.State {
	s := newState(1, backends, maps.TCP, func(i int) maps.Backend {
		b := backend4(maps.IPIP, i)
		b.Up, b.Accepts = true, true
		return b
	})
	slots := make([]maps.Slot, len(s.Slots[0]))
	for i, owner := range s.Slots[0] {
		slots[i] = maps.Slot{Current: 1 + owner%backends, Previous: owner, Transition: true}
	}
	s.Slots, s.Transitions = nil, map[maps.ServiceID][]maps.Slot{0: slots}
	return s
}

// watching is a service that watches handshakes, those of one in 2^sample flows.
func watching(sample int) func() model.State {
	return func() model.State {
		s := serving(maps.TCP, maps.IPIP)()
		s.Services[0] = maps.Service{Signals: true, SampleBits: sample}
		return s
	}
}

// serving6 is one service of IPv6 whose backends are reached over IPv6.
func serving6() model.State {
	s := newState(1, backends, maps.TCP, func(i int) maps.Backend {
		b := backend4(maps.IPIP, i)
		b.IPv6, b.Source = true, self6
		prefix := netip.MustParseAddr("2001:db8:100::").As16()
		b.Dest = numbered(prefix[:], i)
		return b
	})
	s.Services[0] = maps.Service{IPv6: true}
	s.Listeners[0].VIP = netip.PrefixFrom(vipAddr6(), 128)
	return s
}

// servingQUIC routes by the server IDs in connection IDs.
func servingQUIC() model.State {
	s := newState(1, backends, maps.UDP, func(i int) maps.Backend {
		b := backend4(maps.GUE, i)
		b.Up = true
		return b
	})
	s.Settings.Limits.ServerIDs = backends
	s.Services[0] = maps.Service{QUIC: maps.ServerIDLengths{idBytes}}
	s.ServerIDs = map[maps.ServiceID][]maps.ServerID{}
	for i := range backends {
		id := binary.BigEndian.AppendUint16(nil, uint16(i))
		s.ServerIDs[0] = append(s.ServerIDs[0], maps.ServerID{ID: id, Backend: maps.BackendID(1 + i)})
	}
	return s
}

// denying denies every source, by one prefix for each of their networks.
func denying() model.State {
	s := serving(maps.TCP, maps.IPIP)()
	s.Settings.Limits.Rules = sourceNetworks
	for i := range sourceNetworks {
		network := netip.AddrFrom4([4]byte{sourceNet, byte(i), byte(i >> 8), 0})
		s.NodeDeny = append(s.NodeDeny, netip.PrefixFrom(network, 24))
	}
	return s
}

func servingMany() model.State {
	return newState(manyServices, fewBackends, maps.TCP, func(i int) maps.Backend { return backend4(maps.IPIP, i) })
}

// servingManySmall has tables of `slots: 509`, which are packed, not computed.
func servingManySmall() model.State {
	const slots = 509
	return newSizedState(manyServices, fewBackends, slots, maps.TCP, func(i int) maps.Backend { return backend4(maps.IPIP, i) })
}

func servingByMany() model.State {
	return newState(1, manyBackends, maps.TCP, func(i int) maps.Backend { return backend4(maps.IPIP, i) })
}
