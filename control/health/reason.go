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

// reason turns an error of the network into what people want to read. It returns an
// error that wraps ErrNotSent if this node was at fault.
func reason(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		<-ctx.Done() // a dial's deadline may fire just before the context that set it
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var op *net.OpError
	if errors.Is(err, ErrNotSent) && errors.As(err, &op) {
		return op.Err
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
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("answer cut short")
	}
	if op != nil || errors.As(err, &op) {
		return op.Err // without "dial tcp" and the address, which the reader has already
	}
	return err
}
