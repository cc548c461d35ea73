package control

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart; the messages around them name the object and
// what to do.
var (
	ErrConflict = errors.New("conflict")  // the configuration is no longer that of the revision named
	ErrUnknown  = errors.New("not found") // no such service or backend
	ErrRefused  = errors.New("refused")   // takes service away from clients: needs Force
	ErrInvalid  = errors.New("invalid")   // does not fit the rules or the limits
	ErrEnded    = errors.New("xlb is shutting down")
)

// fault is an error of one of those kinds; its text does not repeat the kind.
type fault struct {
	kind error
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

func faultf(kind error, format string, args ...any) error {
	return &fault{kind, fmt.Sprintf(format, args...)}
}
