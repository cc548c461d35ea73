package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/config"
)

// exitStatus says how a command ended. Numbers are added, never changed.
type exitStatus int

// Exit statuses.
const (
	exitError     exitStatus = 1
	exitUsage     exitStatus = 2
	exitNoDaemon  exitStatus = 3
	exitConflict  exitStatus = 4
	exitRefused   exitStatus = 5
	exitChanges   exitStatus = 6
	exitInvalid   exitStatus = 7
	exitUnknown   exitStatus = 8
	exitForbidden exitStatus = 9
)

// exitStatuses documents them.
var exitStatuses = []struct {
	status  exitStatus
	meaning string
}{
	{0, "done"},
	{exitError, "it did not work"},
	{exitUsage, "the command line is wrong: nothing was tried"},
	{exitNoDaemon, "no daemon answers"},
	{exitConflict, "somebody else made a change in between, or what is to be added is there already"},
	{exitRefused, "refused without `--force`, or without `--yes` where nobody can be asked; or the answer was no"},
	{exitChanges, "`plan --detailed-exitcode`: there are changes"},
	{exitInvalid, "a configuration or a value is not acceptable"},
	{exitUnknown, "there is no such service or backend"},
	{exitForbidden, "not permitted"},
}

// usageError is a command line that is wrong.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef returns an error about the command line.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd, fmt.Errorf(format, args...)}
}

// errChanges is no failure: it tells programs that a plan is not empty.
var errChanges = errors.New("there are changes")

// errDeclined means that somebody who was asked said no.
var errDeclined = errors.New("nothing was changed")

func exitStatusOf(err error) exitStatus {
	var usage *usageError
	var faults config.Errors
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errChanges):
		return exitChanges
	case errors.Is(err, api.ErrNotRunning):
		return exitNoDaemon
	case errors.Is(err, control.ErrConflict):
		return exitConflict
	case errors.Is(err, control.ErrRefused), errors.Is(err, errDeclined):
		return exitRefused
	case errors.Is(err, control.ErrInvalid), errors.As(err, &faults):
		return exitInvalid
	case errors.Is(err, control.ErrUnknown):
		return exitUnknown
	case errors.Is(err, api.ErrForbidden):
		return exitForbidden
	}
	return exitError
}

// printError writes an error for people; a verifier's refusal comes with its log.
func printError(err error) {
	if errors.Is(err, errChanges) {
		return
	}
	fmt.Fprintln(os.Stderr, "xlb:", err)
	var problem *api.Problem
	if errors.As(err, &problem) {
		for _, e := range problem.Since {
			fmt.Fprintf(os.Stderr, "revision %d: %s, by %s at %s\n", e.Revision,
				strings.TrimSpace(objectOf(e)+" "+e.Text), e.Actor, e.Time.Local().Format(time.DateTime))
		}
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "see %s --help\n", usage.cmd.CommandPath())
	}
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		fmt.Fprintf(os.Stderr, "%+v\n", verifier)
	}
}

func isConflict(err error) bool { return errors.Is(err, control.ErrConflict) }
