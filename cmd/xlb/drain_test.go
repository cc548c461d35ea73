package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// conversation is an HTTP connection that stays open.
type conversation struct {
	net.Conn
	in *bufio.Reader
}

// ask sends one more request, and returns the name of the backend that answers.
func (c *conversation) ask(t *testing.T) string {
	t.Helper()
	name, err := c.speak()
	must(t, err)
	return name
}

// speak is ask for connections that may break.
func (c *conversation) speak() (string, error) {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	request, err := http.NewRequest(http.MethodGet, "http://web/", nil)
	if err != nil {
		return "", err
	}
	if err := request.Write(c); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(c.in, request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return "", err
	}
	for name := range strings.FieldsFuncSeq(body.String(), func(r rune) bool { return r == '"' }) {
		if strings.HasPrefix(name, "backend") && name != "backend" {
			return name, nil
		}
	}
	return "", fmt.Errorf("nobody is named in %s", body.String())
}

func TestDrainKeepsAConnectionUntilItEndsAndWaitsForIt(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	node := start(t, lab, configFor(lab, "ipip", "tcp")+"flows: {idle: 10s}\n")
	to := netip.AddrPortFrom(lab.VIPs[0], lab.Port)
	conn, err := lab.Client.Dial(deadline(t), "tcp", netip.AddrPort{}, to)
	must(t, err)
	defer conn.Close()
	c := &conversation{conn, bufio.NewReader(conn)}
	backend := c.ask(t)

	drain := lab.LB.Command(deadline(t), self.Path, "backend", "drain", "web", backend, "--wait", "--socket", node.Socket())
	drain.Env = append(os.Environ(), self.Env...)
	var said bytes.Buffer
	drain.Stdout, drain.Stderr = &said, &said
	must(t, drain.Start())
	ended := make(chan error, 1)
	go func() { ended <- drain.Wait() }()
	must(t, node.WaitFor(deadline(t), "the drain to begin", func(s control.Status) error {
		for _, b := range s.Services[0].Backends {
			if b.Admin == control.AdminDraining {
				return nil
			}
		}
		return errors.New("nobody drains")
	}))
	for range 5 {
		if got := c.ask(t); got != backend {
			t.Fatalf("%s answers in the middle of %s's connection", got, backend)
		}
	}
	owners, err := lab.Owners(deadline(t), to, testenv.Sources(20))
	must(t, err)
	for source, owner := range owners {
		if owner == backend {
			t.Errorf("%s, which is drained, got the new connection of %s", owner, source)
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("the drain has ended (%v) with a connection left: %s", err, said.String())
	default:
	}
	must(t, conn.Close())
	must(t, <-ended)
	if !strings.Contains(said.String(), backend+" is drained") {
		t.Errorf("it says %s", said.String())
	}
}
