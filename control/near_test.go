package control

import (
	"errors"
	"fmt"
	"testing"
)

func TestUnknownNameIsAnsweredWithThoseThatMayHaveBeenMeant(t *testing.T) {
	many := make([]string, 20)
	for i := range many {
		many[i] = fmt.Sprintf("10.0.1.%d", i)
	}
	for _, c := range []struct {
		name  string
		names []string
		want  string
	}{
		{"wbe", []string{"api", "web", "dns"}, "no service wbe: did you mean web?"},
		{"10.0.0.17", []string{"10.0.0.7", "10.0.0.71", "10.9.9.9"}, "no service 10.0.0.17: did you mean 10.0.0.7 or 10.0.0.71?"},
		{"frontend", []string{"api", "web"}, "no service frontend: there are api, web"},
		{"x", []string{"web"}, "no service x: there is web"},
		{"web", nil, "no service web: there is none"},
		{"web", many, "no service web: there are 10.0.1.0, 10.0.1.1, 10.0.1.2, 10.0.1.3, 10.0.1.4, 10.0.1.5, 10.0.1.6, 10.0.1.7 and 12 more"},
	} {
		err := Unknown("no service", c.name, c.names)
		if err.Error() != c.want {
			t.Errorf("%q, want %q", err, c.want)
		}
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%q is no ErrUnknown", err)
		}
	}
}
