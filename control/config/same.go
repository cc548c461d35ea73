package config

import (
	"bytes"
	"reflect"
)

// Same reports whether two services have the same values in the same order, but
// for the places in a file that they come from. It is quick; where it says no,
// Diff may still find nothing.
func (s *Service) Same(o *Service) bool {
	if s == o {
		return true
	}
	if len(s.Backends) != len(o.Backends) {
		return false
	}
	a, b := *s, *o
	a.Backends, b.Backends = nil, nil
	a.At, b.At = Position{}, Position{}
	if !reflect.DeepEqual(&a, &b) {
		return false
	}
	if len(s.Backends) > 0 && &s.Backends[0] == &o.Backends[0] {
		return true // a copy that nobody changed
	}
	for i := range s.Backends {
		if !s.Backends[i].Same(&o.Backends[i]) {
			return false
		}
	}
	return true
}

// Same reports whether two backends have the same values, but for the places in a
// file that they come from.
func (b *Backend) Same(o *Backend) bool {
	return b.Name == o.Name && b.Address == o.Address && b.Weight == o.Weight && b.MAC == o.MAC && bytes.Equal(b.ServerID, o.ServerID)
}
