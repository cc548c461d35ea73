package maps

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"reflect"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/bpf"
)

// Features are the parts of the program that a configuration uses; the verifier
// removes the rest when it is loaded.
type Features struct {
	IPv6      bool `variable:"use_ipv6"`       // VIPs of IPv6
	L2        bool `variable:"use_l2"`         // forwarding by MAC rewrite
	Tunnel4   bool `variable:"use_tunnel4"`    // tunnels over IPv4
	Tunnel6   bool `variable:"use_tunnel6"`    // tunnels over IPv6
	Redirect  bool `variable:"use_redirect"`   // egress by another interface than arrival
	Prefixes  bool `variable:"use_prefixes"`   // VIPs that are prefixes
	Ranges    bool `variable:"use_ranges"`     // listeners on port ranges, or very many ports
	NodeRules bool `variable:"use_node_rules"` // the node's deny list
	Filters   bool `variable:"use_filters"`    // services with a filter
	Rates     bool `variable:"use_rates"`      // services with a rate limit
	QUIC      bool `variable:"use_quic"`       // services with QUIC routing
	MSS       bool `variable:"use_mss"`        // services that clamp the MSS
	Tracking  bool `variable:"use_tracking"`   // services with tracking other than never
	Signals   bool `variable:"use_signals"`    // services whose handshakes are watched
}

// AllFeatures leaves nothing out.
func AllFeatures() Features {
	var f Features
	v := reflect.ValueOf(&f).Elem()
	for i := range v.NumField() {
		v.Field(i).SetBool(true)
	}
	return f
}

// set sets the program's feature variables.
func (f Features) set(spec *ebpf.CollectionSpec) error {
	v := reflect.ValueOf(f)
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("variable")
		if err := spec.Variables[name].Set(v.Field(i).Bool()); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// Limits are the sizes of the data path's tables, fixed when it is loaded.
type Limits struct {
	Services  int // services, and VIPs
	Listeners int // ports and port ranges over all VIPs, those of shorter prefixes counted again
	Backends  int // backends over all services
	Slots     int // slots over all services' tables; an update needs room for a second copy
	Rules     int // source prefixes over all filters
	Fragments int // first fragments remembered
	Sources   int // sources of new connections remembered
	ServerIDs int // server IDs over all services and rotations
	Flows     int // flows remembered in transitions and by services that track always

	// Handshakes are those remembered until their client completes them; 0: 8192, which a CPU's cache holds. More than that
	// at once are sampled.
	Handshakes int
}

// VIPs and ports are kept twice, to switch between; a perfect hash wants half
// its rows free, and a VIP's ports spread over more rows than they fill.
func (l Limits) vipRows() int     { return 1 << bits.Len(uint(2*l.Services-1)) }
func (l Limits) portRows() int    { return max(4*l.Listeners, maxPortRows) }
func (l Limits) counterRows() int { return counterReasons + l.Backends + 1 }
func (l Limits) handshakes() int  { return cmp.Or(l.Handshakes, 8192) }

// idRows holds the blocks of all server IDs, and room for a second copy of some.
func (l Limits) idRows() int { return 8*l.ServerIDs + 16*l.Services }

// buckets returns how many buckets hold n records; a power of two.
func buckets(n int) int { return 1 << bits.Len(uint((max(n, 1)+bucketRecords-1)/bucketRecords-1)) }

// flowBuckets returns how many buckets hold n flow records; a power of two.
func flowBuckets(n int) int { return 1 << bits.Len(uint((max(n, 1)+bucketFlows-1)/bucketFlows-1)) }

const bucketFlows = 8 // BUCKET_FLOWS of bpf/lib/types.h

const bucketRecords = 4 // BUCKET_RECORDS of bpf/lib/types.h

// counterReasons is COUNTER_REASONS of bpf/lib/types.h: the rows before the backends'.
const counterReasons = 64

// Specialise sets a program's table sizes and constants before it is loaded.
// Tables of features that are not used shrink to one row.
func Specialise(spec *ebpf.CollectionSpec, settings Settings, features Features) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count CPUs: %w", err)
	}
	silence, err := settings.Silence.limit(settings.FixedTime)
	if err != nil {
		return err
	}
	l := settings.Limits
	used := func(used bool, rows int) int {
		if used {
			return rows
		}
		return 1
	}
	for name, rows := range map[string]int{
		bpf.XlbMapVips:         2 * l.vipRows(),
		bpf.XlbMapPorts:        2 * l.portRows(),
		bpf.XlbMapRanges:       2 * used(features.Ranges, l.portRows()),
		bpf.XlbMapServices:     l.Services,
		bpf.XlbMapRates:        used(features.Rates, l.Services),
		bpf.XlbMapServerIds:    used(features.QUIC, l.idRows()),
		bpf.XlbMapSlots:        l.Slots,
		bpf.XlbMapPacked:       l.packedRows(),
		bpf.XlbMapBackends:     l.Backends + 1,
		bpf.XlbMapHops:         l.hopRows(),
		bpf.XlbMapOuter6:       l.Backends + 1,
		bpf.XlbMapCounters:     cpus * l.counterRows(),
		bpf.XlbMapCounterBase:  l.counterRows(),
		bpf.XlbMapServiceNames: l.Services,
		bpf.XlbMapBackendNames: l.Backends + 1,
		bpf.XlbMapFragments:    bucketRecords * buckets(l.Fragments),
		bpf.XlbMapFlows:        used(features.Tracking, flowBuckets(l.Flows)),
		bpf.XlbMapHandshakes:   used(features.Signals, flowBuckets(l.handshakes())),
		bpf.XlbMapSignals:      used(features.Signals, cpus*(l.Backends+1)),
		bpf.XlbMapSources:      used(features.Rates, bucketRecords*buckets(l.Sources)),
		bpf.XlbMapRules:        used(features.Filters || features.NodeRules, max(l.Rules, 1)),
	} {
		spec.Maps[name].MaxEntries = uint32(rows)
	}
	spec.Maps[stateMap].Flags |= unix.BPF_F_MMAPABLE // as it is loaded; ebpf says so no earlier
	err = errors.Join(
		features.set(spec),
		spec.Variables[bpf.XlbVarHashKeys].Set(settings.Key.constants()),
		spec.Variables[bpf.XlbVarCounterRows].Set(uint32(l.counterRows())),
		spec.Variables[bpf.XlbVarFragmentMask].Set(uint32(buckets(l.Fragments)-1)),
		spec.Variables[bpf.XlbVarFlowMask].Set(uint32(flowBuckets(l.Flows)-1)),
		spec.Variables[bpf.XlbVarHandshakeMask].Set(uint32(flowBuckets(l.handshakes())-1)),
		spec.Variables[bpf.XlbVarSignalRows].Set(uint32(l.Backends+1)),
		spec.Variables[bpf.XlbVarSourceMask].Set(uint32(buckets(l.Sources)-1)),
		spec.Variables[bpf.XlbVarEchoPolicy].Set(uint8(settings.Echo)),
		spec.Variables[bpf.XlbVarVerifyChecksum].Set(settings.VerifyChecksum),
		spec.Variables[bpf.XlbVarPassOrphans].Set(settings.PassOrphans),
		spec.Variables[bpf.XlbVarTooBigRate].Set(settings.TooBig.row()),
		spec.Variables[bpf.XlbVarSilencePolicy].Set(uint8(settings.Silence.Policy)),
		spec.Variables[bpf.XlbVarSilenceLimit].Set(silence),
		spec.Variables[bpf.XlbVarFixedTime].Set(settings.FixedTime),
		spec.Variables[bpf.XlbVarFlowIdle].Set(settings.flowIdle()),
	)
	if err == nil {
		inlineConstants(spec)
	}
	return err
}
