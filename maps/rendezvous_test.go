package maps

import "testing"

// Who owns a slot must not depend on the backends' numbers, which another node may
// have in another order.
func TestNoTwoBackendsScoreASlotAlike(t *testing.T) {
	seeds := map[uint32]uint8{}
	for slot := range 4099 {
		clear(seeds)
		for seed := uint8(1); seed != 0; seed++ {
			score := SlotScore(slot, seed)
			if other, ok := seeds[score]; ok {
				t.Errorf("slot %d: seeds %d and %d score %d", slot, other, seed, score)
			}
			seeds[score] = seed
		}
	}
}
