package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xlb-project/xlb/control/config"
)

// Source finds the backends of a service.
type Source interface {
	// Run looks for backends until ctx ends. It calls emit, from its own goroutine, when what it has found or what keeps
	// it from finding changed.
	Run(ctx context.Context, emit func(Set))
}

// Set is what a source has found.
type Set struct {
	Known    bool             // there was a good answer; until then Backends says nothing
	Backends []config.Backend // of the last good answer, by address; not to be changed
	LeftOut  []string         // what was in that answer and cannot be a backend, and why
	Err      error            // why the last attempt failed, nil if it did not
	At       time.Time        // of the last attempt
}

// New returns the source of a service that has one. It finds at most limit backends: more are an error.
func New(s *config.Service, limit int) Source {
	switch d, rules := s.Discover, (rules{s, limit}); {
	case d.DNS != nil:
		return newDNS(d.DNS, rules)
	case d.File != nil:
		return newFile(d.File, rules)
	default:
		return &replicas{rules, d.Replicas}
	}
}

// Fixed returns what a source finds that has not to look anywhere: replicas. For others it returns false.
func Fixed(s *config.Service, limit int) (set Set, fixed bool) {
	r, fixed := New(s, limit).(*replicas)
	if fixed {
		r.find(func(found Set) { set = found })
	}
	return set, fixed
}

// rules say what can be a backend.
type rules struct {
	service *config.Service
	limit   int
}

// fit turns what was found into what can be used: in a fixed order, every address and every name once.
func (r *rules) fit(found []config.Backend) (fit []config.Backend, leftOut []string) {
	for _, b := range found {
		if !b.Address.IsValid() {
			leftOut = append(leftOut, b.Name+": no address")
			continue
		}
		b.Address = b.Address.Unmap()
		b.Weight = min(cmp.Or(b.Weight, r.service.Discover.Weight), config.MaxWeight)
		err := r.service.Accepts(b)
		if err != nil { // perhaps for its name
			b.Name = b.Address.String()
			err = r.service.Accepts(b)
		}
		if err != nil {
			leftOut = append(leftOut, strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		fit = append(fit, b)
	}
	slices.SortFunc(fit, func(a, b config.Backend) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Name, b.Name))
	})
	fit = slices.CompactFunc(fit, func(a, b config.Backend) bool { return a.Address == b.Address })
	uses := map[string]int{}
	for _, b := range fit {
		uses[b.Name]++
	}
	for i := range fit {
		if b := &fit[i]; uses[b.Name] > 1 || isAddress(b.Name) {
			b.Name = b.Address.String()
		}
	}
	slices.Sort(leftOut)
	return fit, slices.Compact(leftOut)
}

// isAddress says whether a name could be the name that another backend has from its address.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// keeper holds the last good set of a source and emits what is news.
type keeper struct {
	rules
	what string // the source, for errors
	emit func(Set)
	set  Set
	told bool
}

// found takes in what a source has.
func (k *keeper) found(backends []config.Backend) {
	fit, leftOut := k.fit(backends)
	switch {
	case len(fit) > k.limit:
		k.failed(fmt.Errorf("it has %d backends, more than the %d that are allowed: raise limits.backends", len(fit), k.limit))
	case len(fit) == 0 && len(leftOut) > 0:
		k.failed(fmt.Errorf("nothing in it can be a backend, such as %s", leftOut[0]))
	case len(fit) == 0 && !k.service.Discover.AllowEmpty:
		k.failed(errors.New("it has no backend: set allow_empty if the service is to have none then"))
	default:
		k.tell(Set{Known: true, Backends: fit, LeftOut: leftOut})
	}
}

// failed keeps the last good answer.
func (k *keeper) failed(err error) {
	set := k.set
	set.Err = fmt.Errorf("%s: %w", k.what, err)
	k.tell(set)
}

func (k *keeper) tell(set Set) {
	set.At = time.Now()
	news := !k.told || set.Known != k.set.Known || text(set.Err) != text(k.set.Err) ||
		!Same(set.Backends, k.set.Backends) || !slices.Equal(set.LeftOut, k.set.LeftOut)
	k.set, k.told = set, true
	if news {
		k.emit(set)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Same compares what was found, but for the place in a file that it comes from.
func Same(a, b []config.Backend) bool { return slices.EqualFunc(a, b, same) }

func same(a, b config.Backend) bool {
	return a.Name == b.Name && a.Address == b.Address && a.Weight == b.Weight && a.MAC == b.MAC && slices.Equal(a.ServerID, b.ServerID)
}
