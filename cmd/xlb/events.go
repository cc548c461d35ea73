package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
)

// eventFilter says which events are shown.
type eventFilter struct {
	service, backend string
	kinds            []string
	warnings         bool
	since            time.Duration
	start            time.Time // since ago; zero: any
}

// followed is how many past events `xlb events -f` begins with.
const followed = 10

func eventsCommand() *cobra.Command {
	var s session
	var f format
	var filter eventFilter
	var follow bool
	var last int
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened: health, drains, applies, adoption and the like",
		Long: "Shows the events that the daemon keeps, the last thousand or so; with -f the last ten, and then those to come until\n" +
			"Ctrl-C. As JSON each event is one line.",
		Example: "  xlb events -f\n" +
			"  xlb events --since 10m --warnings\n" +
			"  xlb events -f --service web --kind health -o json | jq .text",
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("last") {
				last = api.AllKept
				if follow && filter.since == 0 {
					last = followed
				}
			} else if last < 0 {
				return usagef(cmd, "--last %d: write 0 or more", last)
			}
			if filter.since < 0 {
				return usagef(cmd, "--since %s: write how long ago, such as 10m", filter.since)
			} else if filter.since > 0 {
				filter.start = time.Now().Add(-filter.since)
			}
			client := s.client()
			defer client.Close()
			var seen uint64
			for event, err := range client.Events(cmd.Context(), last, follow) {
				if err != nil {
					return err
				}
				if err := printEvent(cmd.OutOrStdout(), f, filter, event, seen); err != nil {
					return err
				}
				seen = event.Seq
			}
			return nil
		},
	}
	s.flags(cmd)
	outputFlag(cmd, &f, asTable, asJSON)
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with events as they happen")
	flags.IntVarP(&last, "last", "n", 0, "begin with so many past events (default all, with -f 10)")
	flags.DurationVar(&filter.since, "since", 0, "begin with events that happened so long ago, such as 10m")
	flags.StringVar(&filter.service, "service", "", "only events of this service")
	flags.StringVar(&filter.backend, "backend", "", "only events of this backend")
	flags.StringSliceVar(&filter.kinds, "kind", nil, "only events of these kinds: health, next_hop, apply, drain, ...")
	flags.BoolVar(&filter.warnings, "warnings", false, "only warnings and errors")
	_ = cmd.RegisterFlagCompletionFunc("service", s.completeService)
	return cmd
}

func (f *eventFilter) wants(e control.Event) bool {
	kind := len(f.kinds) == 0
	for _, k := range f.kinds {
		kind = kind || k == string(e.Kind)
	}
	return kind &&
		(f.service == "" || f.service == e.Service) &&
		(f.backend == "" || f.backend == e.Backend) &&
		(!f.warnings || e.Level >= slog.LevelWarn) &&
		!e.Time.Before(f.start)
}

// printEvent writes an event, and for people how many are missing before it.
func printEvent(w io.Writer, f format, filter eventFilter, e control.Event, seen uint64) error {
	if f == asTable && seen != 0 && e.Seq > seen+1 {
		fmt.Fprintf(w, "... %d events are lost: they came faster than they were read\n", e.Seq-seen-1)
	}
	if !filter.wants(e) {
		return nil
	}
	if f == asJSON {
		return json.NewEncoder(w).Encode(e)
	}
	by := ""
	if e.Actor != "" {
		by = ", by " + e.Actor
	}
	_, err := fmt.Fprintf(w, "%s  %-5s  %-10s  %-20s  %s%s\n",
		e.Time.Local().Format("2006-01-02 15:04:05.000"), e.Level, e.Kind, cmp.Or(objectOf(e), "-"), e.Text, by)
	return err
}

// objectOf names what an event is about: web/b1, web, or nothing.
func objectOf(e control.Event) string {
	if e.Backend == "" {
		return e.Service
	}
	return e.Service + "/" + e.Backend
}
