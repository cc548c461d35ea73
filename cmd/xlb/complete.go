package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control"
)

// completionTime is what a shell waits for names.
const completionTime = time.Second

// completeService completes the name of a service as the only argument.
func (s *session) completeService(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.names(cmd.Context(), "", func(service control.ServiceStatus) []string {
		return []string{cobra.CompletionWithDesc(service.Name, service.Address)}
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeBackend completes a service, then one of its backends.
func (s *session) completeBackend(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return s.completeService(cmd, args, text)
	case 1:
		return s.names(cmd.Context(), args[0], func(service control.ServiceStatus) []string {
			var names []string
			for _, b := range service.Backends {
				names = append(names, cobra.CompletionWithDesc(b.Name, b.Address+" "+describeState(b)))
			}
			return names
		}), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// names asks the daemon; a shell that gets no answer offers none.
func (s *session) names(ctx context.Context, service string, of func(control.ServiceStatus) []string) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	client := s.client()
	defer client.Close()
	status, err := client.StatusOf(ctx, service, "")
	if err != nil {
		return nil
	}
	var names []string
	for _, svc := range status.Services {
		names = append(names, of(svc)...)
	}
	return names
}

// completeFile completes the name of a file as the only argument.
func completeFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}
