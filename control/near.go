package control

import (
	"fmt"
	"strings"

	"github.com/xlb-project/xlb/control/config"
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

// nearest returns the names that a slip of the keyboard turns into name: those
// with the least difference.
func nearest(name string, names []string) []string {
	var found []string
	// A third of the letters is a slip, more is another word.
	least := min(max(len(name)/3, 1), 2)
	for _, n := range names {
		if len(n) > len(name)+least || len(name) > len(n)+least {
			continue
		}
		switch d := config.Distance(name, n); {
		case d < least:
			least, found = d, []string{n}
		case d == least:
			found = append(found, n)
		}
	}
	return found[:min(len(found), mostNear)]
}
