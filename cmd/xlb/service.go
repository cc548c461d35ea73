package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
)

func serviceCommand() *cobra.Command {
	return group("service", "Look at services, and change them at run time",
		serviceListCommand(), serviceShowCommand(), serviceAddCommand(), serviceSetCommand(), serviceRemoveCommand())
}

func serviceListCommand() *cobra.Command {
	var s session
	var f format
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List services",
		Example: "  xlb service ls\n  xlb service ls -o json | jq -r '.[] | select(.up == 0) | .name'",
		Aliases: []string{"list"},
		Args:    takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := s.client()
			defer client.Close()
			status, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), f, append([]control.ServiceStatus{}, status.Services...), func(w io.Writer) {
				fmt.Fprintln(w, serviceTable(status.Services))
			})
		},
	}
	s.flags(cmd)
	outputFlag(cmd, &f, asTable, asJSON, asYAML)
	return cmd
}

func serviceTable(services []control.ServiceStatus) string {
	t := newTable()
	t.AppendHeader(table.Row{"service", "address", "forward", "backends up", "packets", "bytes", "remark"})
	for _, s := range services {
		remark := ""
		switch {
		case s.Panic:
			remark = "panic: all are used"
		case s.TransitionSlots > 0:
			remark = fmt.Sprintf("%d of %d slots move", s.TransitionSlots, s.Slots)
		}
		t.AppendRow(table.Row{
			s.Name, s.Address, s.Forward, fmt.Sprintf("%d of %d", s.Up, len(s.Backends)),
			quantity(s.Traffic.Packets), size(s.Traffic.Bytes), remark,
		})
	}
	rightAlign(t, "packets", "bytes")
	return t.Render()
}

// shownService is a service with its settings.
type shownService struct {
	Status   control.ServiceStatus `json:"status"`
	Settings api.Settings          `json:"settings"`
}

func serviceShowCommand() *cobra.Command {
	var s session
	var f format
	cmd := &cobra.Command{
		Use:               "show SERVICE",
		Short:             "Show a service: state, backends and settings",
		Example:           "  xlb service show web\n  xlb service show web -o json | jq .settings",
		Args:              takes(1, 1),
		ValidArgsFunction: s.completeService,
		RunE: func(cmd *cobra.Command, args []string) error {
			client := s.client()
			defer client.Close()
			status, err := client.StatusOf(cmd.Context(), args[0], "")
			if err != nil {
				return err
			}
			settings, _, err := client.Service(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			out := shownService{status.Services[0], settings}
			return show(cmd.OutOrStdout(), f, out, func(w io.Writer) {
				printService(w, out.Status, time.Now())
				fmt.Fprintln(w)
				if err := writeYAML(w, out.Settings); err != nil {
					fmt.Fprintln(w, err)
				}
			})
		},
	}
	s.flags(cmd)
	outputFlag(cmd, &f, asTable, asJSON, asYAML)
	return cmd
}

const fieldsHelp = "FIELD is a field of the configuration file (docs/configuration.md), with a dot before one inside another, and VALUE is\n" +
	"written as there; FIELD= alone goes back to the default."

func serviceAddCommand() *cobra.Command {
	var e edit
	var file string
	var backends []string
	cmd := &cobra.Command{
		Use:   "add SERVICE [FIELD=VALUE...]",
		Short: "Add a service",
		Long:  "Adds a service at run time.\n" + fieldsHelp,
		Example: "  xlb service add web vip=192.0.2.10 port=80 forward=ipip health.http.path=/healthz \\\n" +
			"    --backend 10.1.0.1 --backend 10.1.0.2,weight=50\n" +
			"  xlb service add web -f web.yaml",
		Args:              takes(1, many),
		ValidArgsFunction: thenFields(1, "services", nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := newObject()
			if file != "" {
				var err error
				if o, err = loadObject(file, cmd.InOrStdin()); err != nil {
					return err
				}
			}
			if err := o.setAll(cmd, append([]string{"name=" + args[0]}, args[1:]...)); err != nil {
				return err
			}
			for _, b := range backends {
				if err := o.addBackend(cmd, b); err != nil {
					return err
				}
			}
			text, err := o.text()
			if err != nil {
				return err
			}
			return e.do(cmd, "service "+args[0]+" is added", func(ctx context.Context, client *api.Client) (uint64, error) {
				return client.AddService(ctx, e.revision, args[0], text)
			})
		},
	}
	e.flags(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with the service as in services: of a configuration; - is standard input")
	cmd.Flags().StringArrayVar(&backends, "backend", nil, "backend, such as 10.1.0.2,weight=50; repeated for each")
	return cmd
}

func serviceSetCommand() *cobra.Command {
	var e edit
	cmd := &cobra.Command{
		Use:   "set SERVICE FIELD=VALUE...",
		Short: "Change settings of a service",
		Long:  "Changes settings of a service at run time; the others, and its backends, stay.\n" + fieldsHelp,
		Example: "  xlb service set web slow_start=30s panic=30\n" +
			"  xlb service set web health.interval=500ms health.fall=\n" +
			"  xlb service set web 'filter={deny: [203.0.113.0/24]}'",
		Args:              takes(2, many),
		ValidArgsFunction: thenFields(1, "services", e.completeService),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.do(cmd, "service "+args[0]+" is changed", func(ctx context.Context, client *api.Client) (uint64, error) {
				return e.setFields(cmd, client, args[0], args[1:])
			})
		},
	}
	e.flags(cmd)
	return cmd
}

// setFields changes fields of what there is. A change by somebody else in between
// is no conflict, unless a revision was asked for: the fields are set again.
func (e *edit) setFields(cmd *cobra.Command, client *api.Client, service string, assignments []string) (uint64, error) {
	const tries = 5
	for try := 1; ; try++ {
		text, seen, err := client.Service(cmd.Context(), service)
		if err != nil {
			return 0, err
		}
		o, err := readObject(text)
		if err != nil {
			return 0, err
		}
		if err := o.setAll(cmd, assignments); err != nil {
			return 0, err
		}
		if text, err = o.text(); err != nil {
			return 0, err
		}
		if e.revision != 0 {
			seen = e.revision
		}
		revision, err := client.SetService(cmd.Context(), seen, service, text)
		if e.revision != 0 || try == tries || !isConflict(err) {
			return revision, err
		}
	}
}

func serviceRemoveCommand() *cobra.Command {
	var e edit
	var yes bool
	cmd := &cobra.Command{
		Use:               "rm SERVICE",
		Short:             "Take a service away with its backends",
		Long:              "Removes a service: packets to it go to the kernel, and its connections break. Asks before that.",
		Example:           "  xlb service rm web",
		Aliases:           []string{"remove"},
		Args:              takes(1, 1),
		ValidArgsFunction: e.completeService,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.do(cmd, "service "+args[0]+" is removed", func(ctx context.Context, client *api.Client) (uint64, error) {
				status, err := client.StatusOf(ctx, args[0], "")
				if err != nil {
					return 0, err
				}
				svc := status.Services[0]
				question := fmt.Sprintf("Service %s listens on %s with %d of %d backends up. Remove it?", svc.Name, svc.Address, svc.Up, len(svc.Backends))
				if err := confirm(cmd, yes, question); err != nil {
					return 0, err
				}
				return client.RemoveService(ctx, e.revision, args[0])
			})
		},
	}
	e.flags(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "remove it without asking")
	return cmd
}
