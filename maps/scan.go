package maps

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/xlb-project/xlb/bpf"
)

// ErrDamaged is returned where tables that are in use contradict themselves.
var ErrDamaged = errors.New("the pinned tables are damaged: take them away with `xlb down` and start again")

// Rescan finds out from the tables what is in use: regions of slots and server
// IDs, headers of backends, and rules. It is needed where others wrote to them.
func (t *Tables) Rescan() error {
	t.slab = newSlab(len(t.slots.rows), "limits.slots", Grace)
	t.packed.slab = newSlab(len(t.packed.rows), "limits.slots", Grace)
	t.idSlab = newSlab(len(t.serverIDs.rows), "limits.server_ids", Grace)
	if !t.idSlab.reserve(region{0, 1}) { // so that a place is never 0
		return fmt.Errorf("server IDs have no rows: %w", ErrDamaged)
	}
	if err := t.hops.scan(t.backends.rows, Grace); err != nil {
		return err
	}
	used := len(t.hops.known) > 0
	for id := range t.services.rows {
		row := &t.services.rows[id]
		if table := slotTableOf(row.Table); table.size > 0 {
			used = true
			if err := t.reserveSlots(id, table); err != nil {
				return err
			}
		}
		if row.Ids != noServerIDs {
			used = true
			if !t.idSlab.reserve(region{int(row.Ids), idBlock(int(row.IdMask))}) {
				return fmt.Errorf("server IDs from row %d of service %d are not its alone: %w", row.Ids, id, ErrDamaged)
			}
		}
	}
	t.findHeads()
	used = used || len(t.heads) > 0
	for id := range t.heads { // a switch may have stopped half-way
		if int(id) >= len(t.services.rows) {
			return fmt.Errorf("a VIP names service %d, past limits.services (%d): %w", id, len(t.services.rows), ErrDamaged)
		}
		t.copyHead(id)
	}
	if used {
		if err := Grace(); err != nil { // what was given up last might still be read
			return err
		}
	}
	return t.scanRules()
}

func (t *Tables) scanRules() error {
	t.rulesKnown = map[uint32]map[netip.Prefix]bool{}
	var key bpf.XlbRuleKey
	var value uint32
	it := t.rules.Iterate()
	for it.Next(&key, &value) {
		service, source := ruleOf(key)
		if t.rulesKnown[service] == nil {
			t.rulesKnown[service] = map[netip.Prefix]bool{}
		}
		t.rulesKnown[service][source] = value == ruleAllow
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("list the rules of filters: %w", err)
	}
	return nil
}

// ruleOf is the service and the source prefix of a key of `rules`.
func ruleOf(k bpf.XlbRuleKey) (uint32, netip.Prefix) {
	var wire [4]byte
	binary.NativeEndian.PutUint32(wire[:], k.Service)
	service := binary.BigEndian.Uint32(wire[:])
	addr, bits := addrOf(k.Addr), int(k.Bits)-32
	if service&ruleIPv6 == 0 {
		return service, netip.PrefixFrom(addr.Unmap(), bits-96)
	}
	return service &^ ruleIPv6, netip.PrefixFrom(addr, bits)
}
