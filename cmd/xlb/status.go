package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/maps"
)

func statusCommand() *cobra.Command {
	var socket, output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show services, backends, health and traffic",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("-o %s: write table or json", output)
			}
			client := api.NewClient(socket)
			defer client.Close()
			status, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(status)
			}
			printStatus(cmd.OutOrStdout(), status, time.Now())
			return nil
		},
	}
	cmd.Flags().StringVar(&socket, "socket", config.DefaultAPISocket, "the daemon's socket (api.socket)")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printStatus(w io.Writer, s control.Status, now time.Time) {
	for _, i := range s.Interfaces {
		fmt.Fprintf(w, "%s: %s XDP, MTU %d\n", i.Name, i.Mode, i.MTU)
	}
	if !s.Serving {
		fmt.Fprintln(w, "not serving yet: waiting for the first verdict on every backend")
	}
	for _, svc := range s.Services {
		fmt.Fprintf(w, "\n%s  %s  %s  %d of %d backends up  %s packets  %s\n", svc.Name, svc.Address, svc.Forward,
			svc.Up, len(svc.Backends), quantity(svc.Traffic.Packets), size(svc.Traffic.Bytes))
		fmt.Fprintln(w, backendTable(svc, now))
	}
	printReasons(w, s)
}

func backendTable(svc control.ServiceStatus, now time.Time) string {
	t := newTable()
	t.AppendHeader(table.Row{"backend", "address", "state", "for", "weight", "share", "packets", "bytes", "next hop", "reason"})
	for _, b := range svc.Backends {
		t.AppendRow(table.Row{
			b.Name, b.Address, b.State, age(b.Since, now), b.Weight,
			fmt.Sprintf("%.1f %%", 100*float64(b.Slots)/float64(svc.Slots)),
			quantity(b.Traffic.Packets), size(b.Traffic.Bytes), b.NextHop, b.Reason,
		})
	}
	rightAlign(t, "weight", "share", "packets", "bytes")
	return t.Render()
}

func printReasons(w io.Writer, s control.Status) {
	t := newTable()
	t.AppendHeader(table.Row{"packets", "verdict", "reason", "when"})
	for _, r := range maps.Reasons() {
		if traffic := s.Reasons[r.String()]; traffic.Packets > 0 {
			t.AppendRow(table.Row{quantity(traffic.Packets), r.Verdict(), r.String(), r.When()})
		}
	}
	rightAlign(t, "packets")
	fmt.Fprintf(w, "\n%s\n", t.Render())
}
