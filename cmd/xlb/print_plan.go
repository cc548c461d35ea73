package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/xlb-project/xlb/control"
)

var marks = map[control.Action]string{control.ActionAdd: "+", control.ActionChange: "~", control.ActionRemove: "-"}

// printPlan writes what a change does, or did, for people.
func printPlan(w io.Writer, p control.Plan) {
	if p.Empty {
		fmt.Fprintf(w, "nothing to do: that is what runs (revision %d)\n", p.Revision)
		printWarnings(w, p)
		return
	}
	printChanges(w, p.Changes)
	if len(p.Services) > 0 {
		fmt.Fprintf(w, "\n%s\n", moveTable(p.Services))
	}
	printProgram(w, p.Program)
	printWarnings(w, p)
}

// printDrift writes how what runs differs from the daemon's file.
func printDrift(w io.Writer, p control.Plan) {
	if p.Empty {
		fmt.Fprintf(w, "nothing was changed at run time: the file is what runs (revision %d)\n", p.Revision)
		return
	}
	fmt.Fprintf(w, "changed at run time, and not in the file (revision %d):\n", p.Revision)
	printChanges(w, p.Changes)
	fmt.Fprintln(w, "\n`xlb export FILE` writes these into the file, `xlb apply FILE` takes them back.")
}

// printChanges writes one line for each object that comes or goes, and one for
// each field of the others.
func printChanges(w io.Writer, changes []control.Change) {
	last := ""
	for _, c := range changes {
		if c.Field == "" {
			last = ""
			line := marks[c.Action] + " " + c.Object
			if about := c.From + c.To; about != "" {
				line += ": " + about
			}
			fmt.Fprintln(w, line)
			continue
		}
		if c.Object != last {
			last = c.Object
			fmt.Fprintf(w, "~ %s\n", c.Object)
		}
		switch {
		case c.From == "":
			fmt.Fprintf(w, "  + %s: %s\n", c.Field, c.To)
		case c.To == "":
			fmt.Fprintf(w, "  - %s: %s\n", c.Field, c.From)
		default:
			fmt.Fprintf(w, "    %s: %s -> %s\n", c.Field, c.From, c.To)
		}
		if c.Restart {
			fmt.Fprintf(w, "      only a new daemon can do that: %s\n", c.Reason)
		}
	}
}

func moveTable(services []control.ServicePlan) string {
	t := newTable()
	t.AppendHeader(table.Row{"service", "action", "slots", "move", "of new flows", "recorded flows", "lost", "needless"})
	for _, s := range services {
		t.AppendRow(table.Row{
			s.Name, s.Action, s.Slots, s.SlotsMoved, percent(s.ShareMoved), s.FlowsMoved, s.FlowsLost, s.Needless,
		})
	}
	rightAlign(t, "slots", "move", "of new flows", "recorded flows", "lost", "needless")
	return t.Render()
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

func printProgram(w io.Writer, p *control.ProgramPlan) {
	if p == nil {
		return
	}
	fmt.Fprintln(w)
	if p.Reload {
		fmt.Fprintln(w, "another program takes over, without a packet lost")
	}
	for _, line := range []struct {
		text  string
		names []string
	}{
		{"it can also do", p.Added},
		{"it no longer does", p.Removed},
		{"tables get another size", p.Resized},
		{"it is attached to", p.InterfacesAdded},
		{"it is taken off", p.InterfacesRemoved},
	} {
		if len(line.names) > 0 {
			fmt.Fprintf(w, "  %s: %s\n", line.text, strings.Join(line.names, ", "))
		}
	}
}

func printWarnings(w io.Writer, p control.Plan) {
	for _, text := range p.Warnings {
		fmt.Fprintln(w, "warning:", text)
	}
}
