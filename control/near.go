package control

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	mostNamed = 8 // names that an error lists
	mostNear  = 3 // of those that may have been meant
)

// Unknown returns an ErrUnknown for a name that is none of names, and tells
// which may have been meant, or which there are. what is the beginning of the
// sentence that the name ends: "no service".
func Unknown(what, name string, names []string) error {
	return faultf(ErrUnknown, "%s %s: %s", what, name, guess(name, names))
}

func guess(name string, names []string) string {
	if near := nearest(name, names); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	switch {
	case len(names) == 0:
		return "there is none"
	case len(names) == 1:
		return "there is " + names[0]
	case len(names) > mostNamed:
		return fmt.Sprintf("there are %s and %d more", strings.Join(names[:mostNamed], ", "), len(names)-mostNamed)
	}
	return "there are " + strings.Join(names, ", ")
}

// nearest returns the names that a slip of the keyboard turns into name, the
// likeliest first.
func nearest(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	for _, n := range names {
		// A third of the letters is a slip, more is another word. Addresses differ by
		// a digit or two, and those of siblings by no less.
		most := min(max(len(name)/3, 1), 2)
		if d := distance(name, n, most); d <= most {
			found = append(found, candidate{n, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var out []string
	for _, c := range found[:min(len(found), mostNear)] {
		out = append(out, c.name)
	}
	return out
}

// distance counts the letters that are inserted, removed, replaced or swapped
// with their neighbour to turn a into b; beyond most it is some number above.
func distance(a, b string, most int) int {
	if abs(len(a)-len(b)) > most {
		return most + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func abs(n int) int { return max(n, -n) }
