package api

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-project/xlb/control/config"
)

func TestRightsComeFromUserGroupAndOption(t *testing.T) {
	stranger := uint32(os.Geteuid()) + 4711
	for _, c := range []struct {
		name   string
		access Access
		peer   peer
		want   right
	}{
		{"root", Access{group: noGroup}, peer{uid: 0}, full},
		{"the daemon's own user", Access{group: noGroup}, peer{uid: uint32(os.Geteuid())}, full},
		{"a member of the group", Access{group: 12}, peer{uid: stranger, groups: []uint32{100, 12}}, full},
		{"a stranger", Access{group: 12}, peer{uid: stranger, groups: []uint32{100}}, nothing},
		{"a stranger where all may read", Access{group: 12, all: true}, peer{uid: stranger, groups: []uint32{100}}, read},
		{"a member of group 0 without a group", Access{group: noGroup}, peer{uid: stranger, groups: []uint32{0}}, nothing},
	} {
		if got := c.access.of(c.peer); got != c.want {
			t.Errorf("%s has right %d, want %d", c.name, got, c.want)
		}
	}
}

func TestGroupOfTheConfigurationMustExistUnlessItIsTheDefault(t *testing.T) {
	if _, err := NewAccess(config.API{Group: "no-such-group"}); err == nil || !strings.Contains(err.Error(), "groupadd --system no-such-group") {
		t.Errorf("error %v", err)
	}
	if _, err := NewAccess(config.API{Group: config.DefaultAPIGroup}); err != nil {
		t.Error(err)
	}
	a, err := NewAccess(config.API{Group: "0", Read: config.ReadAll})
	if err != nil || a != (Access{group: 0, all: true}) {
		t.Errorf("access %+v, error %v", a, err)
	}
}

// with asks as a peer.
func with(p peer, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	handler.ServeHTTP(answer, r.WithContext(withPeer(r.Context(), p)))
	return answer
}

// TestStrangersGetWhatHoldsNoSecrets asks every route as somebody who may read.
func TestStrangersGetWhatHoldsNoSecrets(t *testing.T) {
	opts := Options{Access: Access{group: noGroup, all: true}, Log: slog.New(slog.DiscardHandler)}
	stranger := peer{pid: 1, uid: uint32(os.Geteuid()) + 4711, name: "alice (pid 1)"}
	mux := http.NewServeMux()
	r := register(mux, nil, opts) // whatever got through would crash
	var allowed []string
	for path, item := range r.OpenAPI().Paths {
		for method, op := range map[string]bool{"GET": item.Get != nil, "PUT": item.Put != nil, "POST": item.Post != nil, "DELETE": item.Delete != nil} {
			if !op {
				continue
			}
			if path == "/v1/status" || path == "/v1/events" {
				allowed = append(allowed, path)
				continue
			}
			answer := with(stranger, &handler{mux, opts}, method, strings.NewReplacer("{service}", "web", "{backend}", "b1").Replace(path))
			switch answer.Code {
			case http.StatusForbidden:
				if body := answer.Body.String(); !strings.Contains(body, `"code":"forbidden"`) || !strings.Contains(body, "alice (pid 1) may not") {
					t.Errorf("%s %s: %s", method, path, body)
				}
			case http.StatusOK:
				allowed = append(allowed, path)
			default:
				t.Errorf("%s %s: status %d", method, path, answer.Code)
			}
		}
	}
	slices.Sort(allowed)
	if diff := cmp.Diff([]string{"/v1/events", "/v1/status", "/v1/version"}, allowed); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	opts.Access.all = false
	if answer := with(stranger, Handler(nil, opts), "GET", "/v1/version"); answer.Code != http.StatusForbidden {
		t.Errorf("without the option the status is %d", answer.Code)
	}
	answer := httptest.NewRecorder()
	Handler(nil, opts).ServeHTTP(answer, httptest.NewRequest("GET", "/v1/status", nil))
	if answer.Code != http.StatusForbidden {
		t.Errorf("for a peer that nobody knows the status is %d", answer.Code)
	}
}

func TestSocketIsClosedToThoseWhoHaveNoRights(t *testing.T) {
	for _, c := range []struct {
		access Access
		mode   os.FileMode
	}{
		{Access{group: noGroup}, 0o600},
		{Access{group: os.Getegid()}, 0o660},
		{Access{group: noGroup, all: true}, 0o666},
	} {
		socket := filepath.Join(t.TempDir(), "run", "xlb.sock")
		l, err := Listen(socket, c.access)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(socket)
		if err != nil || info.Mode().Perm() != c.mode {
			t.Errorf("mode %v (%v), want %v", info.Mode().Perm(), err, c.mode)
		}
		if _, err := Listen(socket, c.access); err == nil || !strings.Contains(err.Error(), "another xlb answers there") {
			t.Errorf("a second daemon: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSocketOfADeadDaemonIsReplacedAndAFileIsNot(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "xlb.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	again, err := Listen(socket, Access{group: noGroup})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(socket, Access{group: noGroup}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("error %v", err)
	}
}

func TestConnectionsOfAUserAreBounded(t *testing.T) {
	l := newListener(nil)
	for range maxConnections {
		if !l.admit(4711) {
			t.Fatal("not as many as allowed")
		}
	}
	if l.admit(4711) {
		t.Error("more than allowed")
	}
	if !l.admit(4712) || !l.admit(0) {
		t.Error("one user's connections keep others out")
	}
	l.leave(4711)
	if !l.admit(4711) {
		t.Error("a connection that ended still counts")
	}
}

func TestPeerIsWhoTheKernelSays(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "xlb.sock")
	l, err := Listen(socket, Access{group: noGroup})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := new(net.Dialer).DialContext(context.Background(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	p := accepted.(*conn).peer
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range append(groups, os.Getegid()) {
		if !slices.Contains(p.groups, uint32(g)) {
			t.Errorf("group %d is not among %v", g, p.groups)
		}
	}
	if p.pid != os.Getpid() || int(p.uid) != os.Geteuid() || !strings.Contains(p.name, fmt.Sprintf("pid %d)", os.Getpid())) {
		t.Errorf("peer %+v", p)
	}
}

func TestDocumentationHasTheCodes(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\d+) \\|").FindAllStringSubmatch(string(page), -1) {
		got[m[1]] = m[2]
	}
	want := map[string]string{}
	for code, status := range maps.All(statusOf) {
		want[string(code)] = fmt.Sprint(status)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/api.md, -want +got:\n%s", diff)
	}
}

func TestABugInAnAnswerEndsThatAnswerAlone(t *testing.T) {
	var said strings.Builder
	opts := Options{Access: Access{group: noGroup}, Log: slog.New(slog.NewTextHandler(&said, nil))}
	h := Handler(nil, opts) // a node that is not there is a bug
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("it panics with %v", v)
			}
		}()
		with(peer{uid: 0}, h, "GET", "/v1/status")
	}()
	if !strings.Contains(said.String(), "nil pointer") || !strings.Contains(said.String(), "path=/v1/status") {
		t.Errorf("the log says %q", said.String())
	}
}
