package maps

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A region that packets may still read must not be given out before the grace
// period, and two owners never share a slot.
func TestSlabNeverGivesOutWhatIsInUseOrWithinItsGracePeriod(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const total = 1000
		busy := [total]string{}
		s := newSlab(total, "limits.slots", func() error {
			for i := range busy {
				if busy[i] == "retired" {
					busy[i] = ""
				}
			}
			return nil
		})
		var held []region
		t.Repeat(map[string]func(*rapid.T){
			"allocate": func(t *rapid.T) {
				size := rapid.IntRange(1, 300).Draw(t, "size")
				offset, err := s.allocate(size)
				if err != nil {
					if run := longestFree(busy[:]); run >= size {
						t.Fatalf("%d slots refused while %d are free in a row", size, run)
					}
					return
				}
				for i := offset; i < offset+size; i++ {
					if busy[i] != "" {
						t.Fatalf("slot %d given out while %s", i, busy[i])
					}
					busy[i] = "held"
				}
				held = append(held, region{offset, size})
			},
			"retire": func(t *rapid.T) {
				if len(held) == 0 {
					t.Skip("nothing held")
				}
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				r := held[i]
				held = append(held[:i], held[i+1:]...)
				for j := r.offset; j < r.offset+r.size; j++ {
					busy[j] = "retired"
				}
				s.retire(r.offset, r.size)
			},
		})
	})
}

func longestFree(busy []string) int {
	longest, run := 0, 0
	for _, b := range busy {
		if b == "held" {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

func TestFullSlabSaysWhatToRaise(t *testing.T) {
	s := newSlab(100, "limits.slots", Grace)
	if _, err := s.allocate(101); err == nil || !strings.Contains(err.Error(), "raise limits.slots") {
		t.Errorf("error %v, want one that says what to raise", err)
	}
}
