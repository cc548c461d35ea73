package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/loader"
)

func decapCommand() *cobra.Command {
	var device, mode string
	var guePort uint16
	cmd := &cobra.Command{
		Use:   "decap --dev INTERFACE",
		Short: "On a backend: unpack tunnelled packets that arrive on an interface",
		Long: "Unpacks the ipip, gre and gue packets that arrive on an interface, IPv4 and IPv6 inside and outside,\n" +
			"until it is told to end. UDP checksums of gue are not verified. Everything else goes to the kernel as it came.\n" +
			"For backends whose kernel has no tunnel device; the VIPs belong on lo, as with any direct return.",
		Example: "  xlb decap --dev eth0",
		Args:    takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			modes := map[string]loader.Mode{"native": loader.Native, "generic": loader.Generic}
			m, ok := modes[mode]
			if !ok {
				return fmt.Errorf("--mode %s: write native or generic", mode)
			}
			if guePort == 0 {
				return errors.New("--gue-port 0: write a port from 1 to 65535")
			}
			decap, err := loader.AttachDecap(device, m, loader.DecapOptions{GUEPort: guePort})
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
	cmd.Flags().Uint16Var(&guePort, "gue-port", config.DefaultGUEPort, "UDP port that gue packets are sent to, as in the load balancer's gue.port")
	_ = cmd.MarkFlagRequired("dev")
	return cmd
}
