package control

import (
	"fmt"
	"slices"
	"strings"

	"github.com/xlb-project/xlb/control/balance"
)

// home is a home table with the owners that were last resolved from it. Services
// with the same backends share one: what befalls a machine that serves a thousand
// of them is computed once.
type home struct {
	*balance.Home

	live   []float64
	owners []int32
}

// homes are the home tables by size and backends.
type homes map[string]*home

// get returns the home table of size slots over backends.
func (h homes) get(size int, backends []balance.Backend) (*home, error) {
	var key strings.Builder
	fmt.Fprint(&key, size)
	for _, b := range backends {
		fmt.Fprintf(&key, " %s %d", b.Key, b.Weight)
	}
	if known, ok := h[key.String()]; ok {
		return known, nil
	}
	table, err := balance.NewHome(size, backends)
	if err != nil {
		return nil, err
	}
	h[key.String()] = &home{Home: table}
	return h[key.String()], nil
}

// resolve returns the owner of each slot under the live fractions. Nobody writes
// to it any more; the caller does not write to live.
func (h *home) resolve(live []float64) ([]int32, error) {
	if slices.Equal(live, h.live) {
		return h.owners, nil
	}
	owners := make([]int32, h.Size())
	if err := h.Resolve(live, owners); err != nil {
		return nil, err
	}
	h.live, h.owners = live, owners
	return owners, nil
}
