package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Secure says how probes speak TLS. NewSecure makes one.
type Secure struct {
	Name     string // asked for as SNI, and what the certificate must be for; empty: nothing is asked for, any will do
	Verify   bool   // whether the certificate must be valid
	Roots    *Roots // who may have signed it; nil: whom the system trusts
	Protocol string // asked for by ALPN; empty: none is

	config *tls.Config
}

// NewSecure returns how probes speak TLS.
func NewSecure(name string, verify bool, roots *Roots, protocol string) *Secure {
	s := &Secure{Name: name, Verify: verify, Roots: roots, Protocol: protocol}
	s.config = &tls.Config{
		ServerName:         name,
		InsecureSkipVerify: !verify || name == "",
		// The key exchange that is safe from quantum computers costs both sides more than
		// all the rest of a probe, and tells nothing.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
	}
	if protocol != "" {
		s.config.NextProtos = []string{protocol}
	}
	if roots != nil {
		s.config.RootCAs = roots.pool
	}
	if verify && name == "" {
		s.config.VerifyConnection = func(state tls.ConnectionState) error {
			return verifyChain(state.PeerCertificates, s.config.RootCAs)
		}
	}
	return s
}

func verifyChain(chain []*x509.Certificate, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// converseSecure is converse by TLS, or without if s is nil. Sessions are never resumed: the
// certificate is what many failures are about.
func converseSecure(ctx context.Context, via Via, addr netip.AddrPort, s *Secure, talk func(net.Conn) error) error {
	return converse(ctx, via, addr, func(conn net.Conn) error {
		if s == nil {
			return talk(conn)
		}
		c := tls.Client(conn, s.config)
		if err := c.Handshake(); err != nil { // ends with ctx, as conn does
			return plainTLS(err)
		}
		if s.Protocol == HTTP2 && c.ConnectionState().NegotiatedProtocol != HTTP2 {
			return errors.New("server does not speak HTTP/2")
		}
		return talk(c)
	})
}

// plainTLS passes on errors of the connection, and puts those of TLS, which quote the
// certificate, in a few words.
func plainTLS(err error) error {
	var (
		op      *net.OpError
		record  tls.RecordHeaderError
		name    x509.HostnameError
		signer  x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		roots   x509.SystemRootsError
	)
	switch {
	case errors.As(err, &record):
		return errors.New("answer is not TLS")
	case errors.As(err, &op) && op.Op == "remote error":
		return fmt.Errorf("server refused the handshake: %s", strings.TrimPrefix(op.Err.Error(), "tls: "))
	case op != nil && op.Op == "local error":
		return errors.New("TLS handshake failed")
	case errors.As(err, &roots):
		return fmt.Errorf("%w: no system certificates", ErrNotSent)
	case errors.As(err, &name):
		return fmt.Errorf("certificate is not for %s", name.Host)
	case errors.As(err, &signer):
		return errors.New("certificate signed by an unknown authority")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("certificate expired or not yet valid")
	case errors.As(err, &invalid):
		return errors.New("certificate not valid for a server")
	case op != nil || isEnd(err):
		return err
	}
	return errors.New("TLS handshake failed")
}

// TLS passes when a handshake completes.
type TLS struct {
	Addr   netip.AddrPort
	Via    Via
	Secure *Secure
}

// Probe shakes hands over a connection of its own.
func (p TLS) Probe(ctx context.Context) (string, error) {
	var version uint16
	err := converseSecure(ctx, p.Via, p.Addr, p.Secure, func(conn net.Conn) error {
		version = conn.(*tls.Conn).ConnectionState().Version
		return nil
	})
	if err != nil {
		return "", reason(ctx, err)
	}
	return tls.VersionName(version), nil
}
