// Package state keeps what a daemon must not forget: the changes made at run
// time, the administrative states of backends, and the change that was under way.
//
// It is one small file, replaced as a whole: a reader finds the old one or the new
// one, whatever happens in between. It has a version and a checksum; a file that
// cannot be trusted is set aside for people to look at, never guessed at.
package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// State is all that is kept. Overlays are those of package config: how what runs
// differs from the configuration file.
type State struct {
	Revision uint64          `json:"revision"`
	Overlay  json.RawMessage `json:"overlay,omitempty"`
	Applied  time.Time       `json:"applied"`
	Backends []Backend       `json:"backends,omitempty"`
	Journal  *Journal        `json:"journal,omitempty"`
}

// Backend is the administrative state of a backend that has one.
type Backend struct {
	Service  string    `json:"service"`
	Address  string    `json:"address"`
	Admin    string    `json:"admin"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline,omitzero"` // of a drain
	Actor    string    `json:"actor,omitempty"`
}

// Journal is a change that has begun. Whoever finds it finishes it.
type Journal struct {
	Revision uint64          `json:"revision"`
	Overlay  json.RawMessage `json:"overlay,omitempty"`
	Backends []Backend       `json:"backends,omitempty"`
	Actor    string          `json:"actor,omitempty"`
	Attempts int             `json:"attempts"` // daemons that began it
}

// ErrCorrupt is wrapped by the error for a file that cannot be trusted.
var ErrCorrupt = errors.New("the state file cannot be trusted")

const (
	magic   = "xlb state "
	version = "1"
	// maxSize is far above what the largest configuration takes.
	maxSize = 256 << 20
)

// Encode returns the file that holds a state.
func Encode(s State) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	sum := sha256.Sum256(body)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s%s %s\n%s\n", magic, version, hex.EncodeToString(sum[:]), body)
	return out.Bytes(), nil
}

// Decode returns the state that a file holds. Its error wraps ErrCorrupt.
func Decode(data []byte) (State, error) {
	line, rest, found := bytes.Cut(data, []byte("\n"))
	rest, ended := bytes.CutSuffix(rest, []byte("\n"))
	head, ours := bytes.CutPrefix(line, []byte(magic))
	switch {
	case !ours:
		return State{}, fmt.Errorf("%w: it does not begin with %q", ErrCorrupt, magic)
	case !found || !ended:
		return State{}, fmt.Errorf("%w: its end is missing", ErrCorrupt)
	}
	written, sum, _ := bytes.Cut(head, []byte(" "))
	if string(written) != version {
		return State{}, fmt.Errorf("%w: it has version %.20q, and this xlb knows %s", ErrCorrupt, written, version)
	}
	if is := sha256.Sum256(rest); string(sum) != hex.EncodeToString(is[:]) {
		return State{}, fmt.Errorf("%w: its checksum is wrong", ErrCorrupt)
	}
	var s State
	decoder := json.NewDecoder(bytes.NewReader(rest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if decoder.More() {
		return State{}, fmt.Errorf("%w: it goes on behind its end", ErrCorrupt)
	}
	return s, nil
}
