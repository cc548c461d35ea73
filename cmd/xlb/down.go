package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/loader"
)

func downCommand() *cobra.Command {
	var file, instance string
	var yes bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take an instance out of the kernel, after its daemon has ended",
		Long: "Takes the data path off all interfaces and removes everything that an instance has in the kernel.\n" +
			"From then on its packets go to the kernel. A daemon that ends leaves all of it at work; this does not.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !yes {
				return errors.New("down ends the service of all VIPs on this machine: repeat with --yes to do it")
			}
			if instance == "" {
				cfg, err := config.Load(file)
				if err != nil {
					return err
				}
				instance = cfg.Instance
			}
			return loader.Down(loader.Instance{Name: instance})
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&file, "config", "c", "/etc/xlb/xlb.yaml", "configuration `file` that names the instance")
	flags.StringVar(&instance, "instance", "", "`name` of the instance, instead of a file that has it")
	flags.BoolVar(&yes, "yes", false, "do it unasked")
	cmd.MarkFlagsMutuallyExclusive("config", "instance")
	return cmd
}
