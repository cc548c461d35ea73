package maps

import (
	"sync/atomic"

	"github.com/xlb-project/xlb/bpf"
)

// vipMarks has a bit for each VIP that is a whole address, where is_marked of
// bpf/lib/service.h looks for it. A bit too many costs its packets a lookup.
type vipMarks [len(bpf.XlbSharedState{}.Marks)]uint64

func (m *vipMarks) add(k vipKey) {
	if k.length == 128 {
		mark := k.mark()
		m[mark/64] |= 1 << (mark % 64)
	}
}

const (
	vipMarkBits    = 17 // VIP_MARK_BITS of bpf/lib/types.h
	markMultiplier = 0x9e3779b1
)

// mark computes mark_vip4 and mark_vip6 of bpf/lib/hash.h.
func (k vipKey) mark() uint32 {
	w := k.words
	if k.family == 6 {
		return (w[1] ^ w[3]) * markMultiplier >> (32 - vipMarkBits)
	}
	return w[3] * markMultiplier >> (32 - vipMarkBits)
}

// store makes rows hold these marks, and until the grace period after a switch
// of tables those that they had as well.
func (m *vipMarks) store(rows []uint64, keep bool) {
	for i := range rows {
		word := m[i]
		if keep {
			word |= rows[i]
		}
		atomic.StoreUint64(&rows[i], word)
	}
}
