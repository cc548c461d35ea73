package testenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
)

// backendHeader names the backend in a response whose body does not.
const backendHeader = "Backend"

// payload returns n bytes without a pattern, always the same ones.
func payload(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{}), n) }

// Upload is Get with a body of n bytes: most segments to the VIP are as large as the path allows. It is an error if the
// backend read other bytes.
func (l *Lab) Upload(ctx context.Context, to, from netip.AddrPort, n int64) (string, error) {
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("upload %d bytes to http://%s from %s: %w", n, to, from, err)
	}
	sum := sha256.New()
	request, err := http.NewRequest(http.MethodPost, "http://"+to.String()+"/", io.TeeReader(payload(n), sum))
	if err != nil {
		return fail(err)
	}
	request.ContentLength = n
	a, err := l.ask(ctx, request, to, from)
	if err != nil {
		return fail(err)
	}
	if a.Bytes != n || !bytes.Equal(a.SHA256, sum.Sum(nil)) {
		return fail(fmt.Errorf("%s read %d bytes with SHA-256 %x, not %x", a.Backend, a.Bytes, a.SHA256, sum.Sum(nil)))
	}
	return a.Backend, nil
}

// Download is Get with an answer of n bytes: most segments to the client are as large as the path allows. It is an error if
// other bytes arrive.
func (l *Lab) Download(ctx context.Context, to, from netip.AddrPort, n int64) (string, error) {
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("download %d bytes from http://%s to %s: %w", n, to, from, err)
	}
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s/bytes/%d", to, n), nil)
	if err != nil {
		return fail(err)
	}
	var backend string
	err = l.exchange(ctx, request, to, from, func(response *http.Response, _ netip.AddrPort) error {
		backend = response.Header.Get(backendHeader)
		got, want := sha256.New(), sha256.New()
		size, err := io.Copy(got, response.Body)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", size, err)
		}
		if _, err := io.Copy(want, payload(n)); err != nil {
			return err
		}
		if size != n || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			return fmt.Errorf("%s sent %d bytes with SHA-256 %x, not %x", backend, size, got.Sum(nil), want.Sum(nil))
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	return backend, nil
}
