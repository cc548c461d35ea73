package main

import "github.com/spf13/cobra"

func demoCommand() *cobra.Command {
	return &cobra.Command{Use: "demo", Short: "Show xlb at work in a lab on this machine", Args: cobra.NoArgs}
}
