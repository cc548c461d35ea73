package maps

import (
	"fmt"
	"slices"
)

// slab hands out regions of a table. A released region may still be
// read by a packet under way, so it is reused only after a grace period, and
// that is waited for only when nothing else fits.
type slab struct {
	free    []region // sorted by offset, never adjacent
	retired []region
	total   int
	limit   string // the setting that says how large it is
	grace   func() error
}

type region struct{ offset, size int }

func newSlab(size int, limit string, grace func() error) *slab {
	return &slab{free: []region{{0, size}}, total: size, limit: limit, grace: grace}
}

// allocate returns the offset of size free rows.
func (s *slab) allocate(size int) (int, error) {
	if offset, ok := s.take(size); ok {
		return offset, nil
	}
	if len(s.retired) > 0 {
		if err := s.grace(); err != nil {
			return 0, err
		}
		for _, r := range s.retired {
			s.insert(r)
		}
		s.retired = s.retired[:0]
		if offset, ok := s.take(size); ok {
			return offset, nil
		}
	}
	largest := 0
	for _, r := range s.free {
		largest = max(largest, r.size)
	}
	return 0, fmt.Errorf("no room for a table of %d rows: of %d the largest free piece has %d; raise %s", size, s.total, largest, s.limit)
}

// take cuts the first free region that is large enough.
func (s *slab) take(size int) (int, bool) {
	for i := range s.free {
		r := &s.free[i]
		if r.size < size {
			continue
		}
		offset := r.offset
		r.offset, r.size = r.offset+size, r.size-size
		if r.size == 0 {
			s.free = slices.Delete(s.free, i, i+1)
		}
		return offset, true
	}
	return 0, false
}

// reserve takes a certain region, or reports that it is not free.
func (s *slab) reserve(r region) bool {
	for i, f := range s.free {
		if r.offset < f.offset || r.offset+r.size > f.offset+f.size {
			continue
		}
		before := region{f.offset, r.offset - f.offset}
		after := region{r.offset + r.size, f.offset + f.size - r.offset - r.size}
		s.free = slices.Delete(s.free, i, i+1)
		for _, rest := range []region{after, before} {
			if rest.size > 0 {
				s.free = slices.Insert(s.free, i, rest)
			}
		}
		return true
	}
	return false
}

// retire gives a region back that packets may still be reading.
func (s *slab) retire(offset, size int) {
	if size > 0 {
		s.retired = append(s.retired, region{offset, size})
	}
}

// insert adds a region to the free list and joins it with its neighbours.
func (s *slab) insert(r region) {
	i, _ := slices.BinarySearchFunc(s.free, r, func(a, b region) int { return a.offset - b.offset })
	s.free = slices.Insert(s.free, i, r)
	if i+1 < len(s.free) && s.free[i].offset+s.free[i].size == s.free[i+1].offset {
		s.free[i].size += s.free[i+1].size
		s.free = slices.Delete(s.free, i+1, i+2)
	}
	if i > 0 && s.free[i-1].offset+s.free[i-1].size == s.free[i].offset {
		s.free[i-1].size += s.free[i].size
		s.free = slices.Delete(s.free, i, i+1)
	}
}
