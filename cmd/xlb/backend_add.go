package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control/api"
)

func backendAddCommand() *cobra.Command {
	var e edit
	cmd := &cobra.Command{
		Use:   "add SERVICE ADDRESS [FIELD=VALUE...]",
		Short: "Add a backend to a service",
		Long: "Adds a backend at run time. It gets its share of new connections once its health check says so; connections that\n" +
			"there are stay where they are.\n" + fieldsHelp,
		Example: "  xlb backend add web 10.1.0.3\n" +
			"  xlb backend add web 10.1.0.3 weight=50 name=web-3",
		Args:              takes(2, many),
		ValidArgsFunction: thenFields(2, "services.backends", e.completeService),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := newObject()
			if err := o.setAll(cmd, append([]string{"address=" + args[1]}, args[2:]...)); err != nil {
				return err
			}
			name := args[1]
			if n := field(o.Node, "name"); n != nil {
				name = n.Value
			}
			text, err := o.text()
			if err != nil {
				return err
			}
			return e.do(cmd, args[0]+"/"+name+" is added", func(ctx context.Context, client *api.Client) (uint64, error) {
				return client.AddBackend(ctx, e.revision, args[0], name, text)
			})
		},
	}
	e.flags(cmd)
	return cmd
}
