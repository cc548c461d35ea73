package testenv

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
)

// Backend is a node with an HTTP server and a UDP server, on every VIP and on its own addresses.
//
// HTTP: "/" answers 200 with an Answer as JSON, once it has read the request's body; "/bytes/N" answers with the N bytes
// that Download expects; "/healthz" answers 200, or 503 after SetHealthy(false). UDP: a datagram is answered from the
// address it was sent to, with the backend's name, a newline and the datagram's SHA-256.
type Backend struct {
	*Namespace
	Addr, Addr6 netip.Addr // its own, on Interface
	Interface   string
	MAC         net.HardwareAddr

	vips []netip.Addr
	port uint16

	life    sync.Mutex // held while servers start or stop, guards servers
	servers *servers   // nil while killed

	mu   sync.Mutex // guards the rest, never held while waiting for a server
	sick bool
	hung chan struct{} // closed by release; nil while not hanging
}

// Answer is what a backend tells about a request.
type Answer struct {
	Backend string         `json:"backend"`
	Client  netip.AddrPort `json:"client"` // as the backend sees it
	Bytes   int64          `json:"bytes"`  // in the request's body
	SHA256  []byte         `json:"sha256"` // of the request's body
}

func newBackend(n *Namespace, mac net.HardwareAddr, vips []netip.Addr, port uint16) *Backend {
	return &Backend{Namespace: n, Interface: "eth0", MAC: mac, vips: vips, port: port}
}

// end returns the backend's end of its link, and keeps the addresses.
func (b *Backend) end(p pair) End {
	b.Addr, b.Addr6 = p.v4.Addr(), p.v6.Addr()
	return endOf(b.Namespace, b.Interface, b.MAC, p)
}

// SetHealthy decides what /healthz answers: 200, or 503.
func (b *Backend) SetHealthy(healthy bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sick = !healthy
}

// Kill ends the servers and their connections: new ones are refused until Restore.
func (b *Backend) Kill() {
	b.life.Lock()
	defer b.life.Unlock()
	if b.servers != nil {
		b.servers.stop()
		b.servers = nil
	}
	b.release()
}

// Hang stops all answers until Restore, as a frozen process would: connections are accepted, requests wait, datagrams get lost.
func (b *Backend) Hang() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hung == nil {
		b.hung = make(chan struct{})
	}
}

// Restore brings a backend that was killed, hangs or is unhealthy back to health. Requests that waited are answered.
func (b *Backend) Restore() error {
	b.life.Lock()
	defer b.life.Unlock()
	b.SetHealthy(true)
	b.release()
	if b.servers != nil {
		return nil
	}
	var err error
	b.servers, err = b.start()
	return err
}

// release lets waiting requests go on.
func (b *Backend) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hung != nil {
		close(b.hung)
		b.hung = nil
	}
}

// Close ends the servers. The namespace belongs to the lab.
func (b *Backend) Close() error {
	b.Kill()
	return nil
}

func (b *Backend) state() (sick bool, hung <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sick, b.hung
}

func (b *Backend) start() (*servers, error) {
	s := &servers{stopped: make(chan struct{})}
	s.web.Handler, s.web.ConnState = b.handler(s.stopped), s.count
	s.web.ErrorLog = log.New(io.Discard, "", 0)
	for _, addr := range append([]netip.Addr{b.Addr, b.Addr6}, b.vips...) {
		if err := s.listen(b, netip.AddrPortFrom(addr, b.port).String()); err != nil {
			s.stop()
			return nil, fmt.Errorf("start servers of %s: %w", b.Name(), err)
		}
	}
	return s, nil
}

// handler answers requests; one that hangs is dropped when stopped is closed.
func (b *Backend) handler(stopped <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		client, _ := netip.ParseAddrPort(r.RemoteAddr)
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		if err != nil {
			return // with the connection
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(Answer{b.Name(), client, n, sum.Sum(nil)})
	})
	mux.HandleFunc("/bytes/{count}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.PathValue("count"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set(backendHeader, b.Name())
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		io.Copy(w, payload(n)) // a client that has gone is no concern of the server's
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if sick, _ := b.state(); sick {
			http.Error(w, "unhealthy", http.StatusServiceUnavailable)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, hung := b.state(); hung != nil {
			select {
			case <-hung:
			case <-stopped:
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// serveUDP serves one UDP socket until it is closed. Answers are short, however long the question.
func (b *Backend) serveUDP(c net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if _, hung := b.state(); err != nil || hung != nil {
			continue
		}
		// A lost answer is the asker's to notice, as with any datagram.
		c.WriteTo(datagramAnswer(b.Name(), buf[:n]), from)
	}
}

// servers are the open sockets of a backend and their goroutines.
type servers struct {
	web       http.Server
	stopped   chan struct{} // closed once the connections are
	udp       []net.PacketConn
	accepting sync.WaitGroup // the accept loops and the UDP servers
	conns     sync.WaitGroup // HTTP connections
}

func (s *servers) listen(b *Backend, addr string) error {
	l, err := b.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.accepting.Go(func() { s.web.Serve(l) })
	c, err := b.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	s.udp = append(s.udp, c)
	s.accepting.Go(func() { b.serveUDP(c) })
	return nil
}

func (s *servers) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed:
		s.conns.Done()
	}
}

// stop closes all sockets and waits for their goroutines.
func (s *servers) stop() {
	s.web.Close()
	close(s.stopped)
	for _, c := range s.udp {
		c.Close()
	}
	s.accepting.Wait()
	// A connection accepted while the listeners were closing is known only now that the accept loops have ended.
	s.web.Close()
	s.conns.Wait()
}
