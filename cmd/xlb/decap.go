package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/loader"
)

func decapCommand() *cobra.Command {
	var device, mode string
	cmd := &cobra.Command{
		Use:   "decap --dev INTERFACE",
		Short: "On a backend: unpack tunnelled packets that arrive on an interface",
		Long: "Unpacks the IPv4-in-IPv4 packets that arrive on an interface, until it is told to end.\n" +
			"For backends whose kernel has no tunnel device; the VIPs belong on lo, as with any direct return.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			modes := map[string]loader.Mode{"native": loader.Native, "generic": loader.Generic}
			m, ok := modes[mode]
			if !ok {
				return fmt.Errorf("--mode %s: write native or generic", mode)
			}
			decap, err := loader.AttachDecap(device, m)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "decapsulating on %s; end with Ctrl-C\n", device)
			<-cmd.Context().Done()
			count, err := decap.Counter()
			if err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "unpacked %d packets, %d bytes\n", count.Packets, count.Bytes)
			}
			return errors.Join(err, decap.Close())
		},
	}
	cmd.Flags().StringVar(&device, "dev", "", "interface that tunnelled packets arrive on")
	cmd.Flags().StringVar(&mode, "mode", "native", "where to run: native (in the driver) or generic")
	_ = cmd.MarkFlagRequired("dev")
	return cmd
}
