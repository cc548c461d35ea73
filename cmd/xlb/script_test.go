package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/api/apitest"
	"github.com/xlb-project/xlb/control/config"
)

// TestCommands runs the scripts in testdata/cli against a node in memory, which
// has the configuration xlb.yaml of the script. Besides the usual commands they
// have
//
//	exits STATUS COMMAND...      the command ends with that status
//	tell KIND TEXT...            something happens on the node
//	await SERVICE BACKEND ADMIN  somebody gives a backend that administrative state
//	finish SERVICE BACKEND       a drain ends
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/cli",
		RequireExplicitExec: true,
		Setup:               setUpNode,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "tell": tell, "await": await, "finish": finish,
		},
	})
}

type nodeKey struct{}

func setUpNode(env *testscript.Env) error {
	socket := env.WorkDir + "/xlb.sock"
	env.Setenv("XLB_SOCKET", socket)
	cfg, err := config.Load(env.WorkDir + "/xlb.yaml")
	if err != nil {
		return err
	}
	node := apitest.New(cfg)
	node.Flows = 7
	env.Values[nodeKey{}] = node
	access, err := api.NewAccess(cfg.API)
	if err != nil {
		return err
	}
	l, err := api.Listen(socket, access)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	done := make(chan error, 1)
	go func() {
		done <- api.Serve(ctx, l, api.Handler(node, api.Options{Access: access, Version: "v9.9.9", Instance: cfg.Instance, Log: log}), log)
	}()
	env.Defer(func() {
		cancel()
		if err := <-done; err != nil {
			env.T().Log(err)
			env.T().FailNow()
		}
	})
	return nil
}

func nodeOf(ts *testscript.TestScript) *apitest.Node { return ts.Value(nodeKey{}).(*apitest.Node) }

func exits(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), status, args[0])
	}
}

func tell(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) < 2 {
		ts.Fatalf("usage: tell KIND TEXT...")
	}
	nodeOf(ts).Tell(control.Event{Kind: control.EventKind(args[0]), Service: "web", Backend: "b1", Level: slog.LevelWarn, Text: strings.Join(args[1:], " ")})
}

func await(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) != 3 {
		ts.Fatalf("usage: await SERVICE BACKEND ADMIN")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	events, err := nodeOf(ts).Events(ctx, 0)
	ts.Check(err)
	for range events { // each may have changed the state
		status, err := nodeOf(ts).Status(ctx)
		ts.Check(err)
		for _, b := range listed(status) {
			if b.Service == args[0] && b.Name == args[1] && b.Admin == args[2] {
				return
			}
		}
	}
	ts.Fatalf("%s/%s has not become %s", args[0], args[1], args[2])
}

func finish(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) != 2 {
		ts.Fatalf("usage: finish SERVICE BACKEND")
	}
	nodeOf(ts).Finish(args[0], args[1])
}

// TestExitStatusesAreDocumentedInOrder guards the table that documents are made of.
func TestExitStatusesAreDocumentedInOrder(t *testing.T) {
	for i, s := range exitStatuses {
		if int(s.status) != i || s.meaning == "" {
			t.Errorf("status %d is documented as %+v", i, s)
		}
	}
	if got := exitStatusOf(fmt.Errorf("apply: %w", control.ErrConflict)); got != exitConflict {
		t.Errorf("a conflict ends with %d", got)
	}
}
