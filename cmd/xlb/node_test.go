package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/xlb-project/xlb/testenv"
)

// TestCommandsOnANode runs the scripts in testdata/node against a daemon that
// forwards to three backends of a lab.
func TestCommandsOnANode(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	node := start(t, lab, configFor(lab, "ipip", "tcp"))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/node",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("XLB_SOCKET", node.Socket())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}
