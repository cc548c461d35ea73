package health

import (
	"bytes"
	"fmt"
	"regexp"
)

// Match says what the beginning of a body, up to maxAnswer, must be like. NewMatch makes one.
type Match struct {
	Text    string // it contains this
	Pattern string // it matches this regular expression (RE2), if not empty

	pattern *regexp.Regexp
}

// NewMatch returns an error if the pattern is none.
func NewMatch(text, pattern string) (*Match, error) {
	m := &Match{Text: text, Pattern: pattern}
	if pattern != "" {
		var err error
		if m.pattern, err = regexp.Compile(pattern); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Match) check(body []byte) error {
	switch {
	case m == nil:
	case !bytes.Contains(body, []byte(m.Text)):
		return fmt.Errorf("body does not contain %q", m.Text)
	case m.pattern != nil && !m.pattern.Match(body):
		return fmt.Errorf("body does not match %q", m.Pattern)
	}
	return nil
}
