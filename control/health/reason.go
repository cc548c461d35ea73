package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// timeoutError is the cause with which a probe's context ends when its time is up.
type timeoutError time.Duration

func (e timeoutError) Error() string { return "timeout after " + time.Duration(e).String() }

// lateError is by how much this node missed the end of a probe.
type lateError time.Duration

func (e lateError) Error() string {
	return "this node was " + time.Duration(e).Round(time.Millisecond).String() + " late"
}

// told is an error that says more than that a probe ran out of time.
type told struct{ error }

// reason turns an error of the network into what people want to read. It returns an
// error that wraps ErrNotSent if this node was at fault.
func reason(ctx context.Context, err error) error {
	if t, ok := err.(told); ok {
		return t.error
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		<-ctx.Done() // a dial's deadline may fire just before the context that set it
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var op *net.OpError
	if errors.Is(err, ErrNotSent) {
		if errors.As(err, &op) {
			return op.Err
		}
		return err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
			syscall.EADDRNOTAVAIL: // no source port left, or no source address
			return fmt.Errorf("%w: %w", ErrNotSent, errno)
		}
		return errno
	}
	if isEnd(err) {
		return errors.New("answer cut short")
	}
	if errors.As(err, &op) {
		return op.Err // without "dial tcp" and the address, which the reader has already
	}
	return err
}

// isEnd says whether the answer ended before it should.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
