package maps

import (
	"unsafe"

	"github.com/xlb-project/xlb/bpf"
)

// The row of a VIP has a copy of the first words of a service's row, the head, so
// that a packet reads one row instead of two. The service's own row counts: it is
// written first, and who opens the tables copies it again.

// validVIPs are the rows of the half of `vips` that packets look into.
func (t *Tables) validVIPs() []bpf.XlbVip {
	word := t.state.rows[0].VipTable
	if word == 0 {
		return nil
	}
	first, mask := split(word &^ (1 << 63))
	if first+mask >= len(t.vips.rows) {
		return nil
	}
	return t.vips.rows[first : first+mask+1]
}

// findHeads notes which rows of VIPs have the head of which service.
func (t *Tables) findHeads() {
	t.heads = map[ServiceID][]*bpf.XlbServiceHead{}
	for i, vips := 0, t.validVIPs(); i < len(vips); i++ {
		if v := &vips[i]; v.FirstKey != 0 {
			id := ServiceID(v.First.Number)
			t.heads[id] = append(t.heads[id], &v.First)
		}
	}
}

// copyHead makes a service's heads what its row says, word by word.
func (t *Tables) copyHead(id ServiceID) {
	row := (*bpf.XlbServiceHead)(unsafe.Pointer(&t.services.rows[id]))
	for _, head := range t.heads[id] {
		storeWords(head, row)
	}
}
