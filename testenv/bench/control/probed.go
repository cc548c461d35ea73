package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// servedFlag makes this program serve, as a process of its own, whose CPU time does not count.
const servedFlag = "-serve-probed"

// probed are the servers to probe, at every address of 127.0.0.0/8.
type probed struct {
	http, https, grpc, dns, udp, silent uint16
	roots                               string // file of the certificate's authority, itself

	dir   string
	stdin io.Closer
	cmd   *exec.Cmd
}

// ports is what the serving process says.
type ports struct{ HTTP, HTTPS, GRPC, DNS, UDP, Silent uint16 }

func startProbed(ctx context.Context) (_ *probed, err error) {
	dir, err := os.MkdirTemp("", "xlb-bench-")
	if err != nil {
		return nil, err
	}
	s := &probed{dir: dir, roots: filepath.Join(dir, "ca.pem")}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, self, servedFlag, s.roots)
	s.cmd.Stderr = os.Stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	var p ports
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&p); err != nil {
		return nil, errors.Join(fmt.Errorf("read the ports: %w", err), s.cmd.Process.Kill(), s.cmd.Wait())
	}
	s.http, s.https, s.grpc, s.dns, s.udp, s.silent = p.HTTP, p.HTTPS, p.GRPC, p.DNS, p.UDP, p.Silent
	return s, nil
}

func (s *probed) close() error {
	return errors.Join(s.stdin.Close(), s.cmd.Wait(), os.RemoveAll(s.dir))
}

// serveProbed serves until its standard input ends.
func serveProbed(roots string) error {
	cert, err := selfSigned(roots)
	if err != nil {
		return err
	}
	var p ports
	var tcp [3]net.Listener
	for i, port := range []*uint16{&p.HTTP, &p.HTTPS, &p.GRPC} {
		if tcp[i], err = net.Listen("tcp4", ":0"); err != nil {
			return err
		}
		*port = tcp[i].Addr().(*net.TCPAddr).AddrPort().Port()
	}
	var udp [3]*net.UDPConn
	for i, port := range []*uint16{&p.DNS, &p.UDP, &p.Silent} {
		if udp[i], err = net.ListenUDP("udp4", &net.UDPAddr{}); err != nil {
			return err
		}
		*port = udp[i].LocalAddr().(*net.UDPAddr).AddrPort().Port()
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }),
		ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Protocols: &http.Protocols{}}
	web.Protocols.SetHTTP1(true)
	web.Protocols.SetUnencryptedHTTP2(true)
	rpc := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(rpc, grpchealth.NewServer())
	ended := make(chan error, 5)
	go func() { ended <- web.Serve(tcp[0]) }()
	go func() { ended <- web.ServeTLS(tcp[1], "", "") }()
	go func() { ended <- rpc.Serve(tcp[2]) }()
	go func() { ended <- answer(udp[0], answerDNS) }()
	go func() { ended <- answer(udp[1], func(b []byte) []byte { return b }) }()
	if err := json.NewEncoder(os.Stdout).Encode(p); err != nil {
		return err
	}
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	return <-ended
}

// answer answers datagrams from the address that they were sent to.
func answer(c *net.UDPConn, with func([]byte) []byte) error {
	if err := wantDestinations(c); err != nil {
		return err
	}
	buf, control := make([]byte, 1500), make([]byte, 64)
	for {
		n, m, _, from, err := c.ReadMsgUDPAddrPort(buf, control)
		if err != nil {
			return err
		}
		if _, _, err := c.WriteMsgUDPAddrPort(with(buf[:n]), control[:m], from); err != nil {
			return err
		}
	}
}

func answerDNS(query []byte) []byte {
	var q, m dns.Msg
	if err := q.Unpack(query); err != nil {
		return query
	}
	m.SetReply(&q)
	m.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
		A:   netip.MustParseAddr("192.0.2.1").AsSlice(),
	}}
	b, err := m.Pack()
	if err != nil {
		return query
	}
	return b
}

// selfSigned makes a certificate and writes it to a file.
func selfSigned(file string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"www.example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(crand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	err = os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// wantDestinations has the socket say which of the machine's addresses a datagram was sent to.
func wantDestinations(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_PKTINFO, 1) })
	return errors.Join(e, err)
}
