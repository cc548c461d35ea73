package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func exportCommand() *cobra.Command {
	var s session
	var yes bool
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write the configuration that runs, with the changes made at run time",
		Long: "Writes what runs as a configuration file: the daemon's file with all changes made at run time, without comments and\n" +
			"defaults, and with the lists and directories that it names written out. It holds secrets. Without FILE it goes to\n" +
			"standard output. FILE is replaced at once or not at all; after writing the daemon's own file, `xlb reload` reads it.",
		Example: "  xlb export | diff /etc/xlb/xlb.yaml -\n" +
			"  xlb export --yes /etc/xlb/xlb.yaml && xlb reload",
		Args:              takes(0, 1),
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			client := s.client()
			defer client.Close()
			text, revision, err := client.Config(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				_, err := cmd.OutOrStdout().Write(text)
				return err
			}
			mode := fs.FileMode(0o600)
			if info, err := os.Stat(args[0]); err == nil {
				mode = info.Mode().Perm()
				if err := confirm(cmd, yes, args[0]+" is there; its comments would be lost. Replace it?"); err != nil {
					return err
				}
			}
			if err := replaceFile(args[0], text, mode); err != nil {
				return fmt.Errorf("write %s: %w", args[0], err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is revision %d\n", args[0], revision)
			return nil
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "replace FILE without asking")
	return cmd
}

// replaceFile gives a file new contents; whatever happens, it has the old ones or
// the new. A symbolic link stays one.
func replaceFile(name string, text []byte, mode fs.FileMode) (err error) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".xlb-export-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
