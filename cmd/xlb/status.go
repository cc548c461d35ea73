package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/maps"
)

func statusCommand() *cobra.Command {
	var s session
	var f format
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show services, backends, health and traffic",
		Long: "Shows what the node does: its services with their backends and health, and for every packet that was not forwarded\n" +
			"the reason (docs/counters.md).",
		Example: "  xlb status\n" +
			"  xlb status -o json | jq -r '.services[].backends[] | select(.state != \"up\") | .name'",
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := s.client()
			defer client.Close()
			status, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), f, status, func(w io.Writer) { printStatus(w, status, time.Now()) })
		},
	}
	s.flags(cmd)
	outputFlag(cmd, &f, asTable, asJSON, asYAML)
	return cmd
}

func printStatus(w io.Writer, s control.Status, now time.Time) {
	printNode(w, s, now)
	for _, svc := range s.Services {
		printService(w, svc, now)
	}
	printReasons(w, s)
}

func printNode(w io.Writer, s control.Status, now time.Time) {
	fmt.Fprintf(w, "instance %s: revision %d, daemon up for %s", s.Instance, s.Revision, age(s.Started, now))
	if s.Adopted {
		fmt.Fprint(w, ", took over what ran")
	}
	if s.Drift > 0 {
		fmt.Fprintf(w, ", %s changed at run time (xlb plan)", count(s.Drift, "object"))
	}
	fmt.Fprintln(w)
	for _, i := range s.Interfaces {
		fmt.Fprintf(w, "%s: %s XDP, MTU %d\n", i.Name, i.Mode, i.MTU)
	}
	if !s.Serving {
		fmt.Fprintln(w, "not serving yet: waiting for the first verdict on every backend")
	}
	if s.Flows.Transitions > 0 {
		fmt.Fprintf(w, "moving: %s; %s recorded, room for %s\n", count(s.Flows.Transitions, "slot"),
			count(s.Flows.Recorded, "flow"), quantity(uint64(s.Flows.Capacity)))
	}
}

func printService(w io.Writer, svc control.ServiceStatus, now time.Time) {
	fmt.Fprintf(w, "\n%s  %s  %s  %d of %d backends up  %s packets  %s\n", svc.Name, svc.Address, svc.Forward,
		svc.Up, len(svc.Backends), quantity(svc.Traffic.Packets), size(svc.Traffic.Bytes))
	if svc.Panic {
		fmt.Fprintln(w, "panic: too few backends are healthy, so all are used")
	}
	if svc.Discovery != nil {
		fmt.Fprintln(w, describeDiscovery(svc.Discovery, now))
	}
	fmt.Fprintln(w, backendTable(svc, now))
}

// describeDiscovery says where further backends come from, and how that goes.
func describeDiscovery(d *control.DiscoveryStatus, now time.Time) string {
	text := fmt.Sprintf("%s found by %s", count(d.Found, "backend"), d.Source)
	if d.Since != nil {
		text += ", the same for " + age(*d.Since, now)
	}
	switch {
	case d.Failing != nil:
		text += fmt.Sprintf("; failing for %s: %s", age(*d.Failing, now), d.Error)
	case d.Error != "":
		text += "; not used: " + d.Error
	case !d.Known:
		text += "; no answer yet"
	}
	if len(d.LeftOut) > 0 {
		text += fmt.Sprintf("; %d left out", len(d.LeftOut))
	}
	return text
}

func backendTable(svc control.ServiceStatus, now time.Time) string {
	t := newTable()
	t.AppendHeader(table.Row{"backend", "address", "state", "for", "weight", "share", "packets", "bytes", "next hop", "reason"})
	for _, b := range svc.Backends {
		t.AppendRow(table.Row{
			b.Name, b.Address, describeState(b), age(b.Since, now), b.Weight, shareOf(b, svc),
			quantity(b.Traffic.Packets), size(b.Traffic.Bytes), b.NextHop, describeReason(b, now),
		})
	}
	rightAlign(t, "weight", "share", "packets", "bytes")
	return t.Render()
}

// describeReason says why a backend is in its state, and of a drain how far it is.
func describeReason(b control.BackendStatus, now time.Time) string {
	if b.Drain == nil {
		return b.Reason
	}
	text := count(b.Drain.Flows, "connection") + " left"
	if b.Drain.Deadline != nil {
		text += ", out in " + age(now, *b.Drain.Deadline)
	}
	return text
}

func printReasons(w io.Writer, s control.Status) {
	t := newTable()
	t.AppendHeader(table.Row{"packets", "verdict", "reason", "when"})
	for _, r := range maps.Reasons() {
		if traffic := s.Reasons[r.String()]; traffic.Packets > 0 {
			t.AppendRow(table.Row{quantity(traffic.Packets), r.Verdict(), r.String(), r.When()})
		}
	}
	if t.Length() == 0 {
		return
	}
	rightAlign(t, "packets")
	fmt.Fprintf(w, "\n%s\n", t.Render())
}
