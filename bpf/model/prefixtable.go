package model

import (
	"net/netip"
	"slices"
)

// prefixTable finds the longest prefix that contains an address. The zero table
// is empty.
type prefixTable[V any] struct {
	rows    map[netip.Prefix]V
	lengths [2][]int // lengths in use, longest first: IPv4's, IPv6's
}

// add says whether the prefix was new.
func (t *prefixTable[V]) add(prefix netip.Prefix, value V) bool {
	if t.rows == nil {
		t.rows = make(map[netip.Prefix]V)
	}
	if _, ok := t.rows[prefix]; ok {
		return false
	}
	t.rows[prefix] = value
	lengths := &t.lengths[family(prefix.Addr())]
	if !slices.Contains(*lengths, prefix.Bits()) {
		*lengths = append(*lengths, prefix.Bits())
		slices.SortFunc(*lengths, func(a, b int) int { return b - a })
	}
	return true
}

// find looks among the prefixes of at most atMost bits.
func (t *prefixTable[V]) find(addr netip.Addr, atMost int) (value V, ok bool) {
	for _, bits := range t.lengths[family(addr)] {
		if bits > atMost {
			continue
		}
		if value, ok = t.rows[netip.PrefixFrom(addr, bits).Masked()]; ok {
			return value, true
		}
	}
	return value, false
}

// longest is find over all lengths.
func (t *prefixTable[V]) longest(addr netip.Addr) (V, bool) {
	return t.find(addr, addr.BitLen())
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}
