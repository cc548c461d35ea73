package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/metrics"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/loader"
)

func runCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:     "run -c FILE",
		Short:   "Load the data path and run the balancer until it is told to end",
		Example: "  xlb run -c /etc/xlb/xlb.yaml",
		Args:    takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			return run(cmd.Context(), cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "/etc/xlb/xlb.yaml", "configuration file")
	return cmd
}

// run is the daemon: everything is opened in the order of dependence, and
// released in reverse whatever happens.
func run(ctx context.Context, cfg *config.Config, log *slog.Logger) (err error) {
	links, err := preflight(cfg)
	if err != nil {
		return err
	}
	plane, found, err := loader.Open(loader.Instance{Name: cfg.Instance, Version: versionString()}, control.PlaneOptions(cfg))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.Close()) }()

	access, err := api.NewAccess(cfg.API)
	if err != nil {
		return err
	}
	socket, err := api.Listen(cfg.API.Socket, access)
	if err != nil {
		return err
	}
	defer socket.Close()
	metricsListener, err := listenMetrics(cfg)
	if err != nil {
		return err
	}
	if metricsListener != nil {
		defer metricsListener.Close()
	}

	checker := health.NewChecker(rand.Float64)
	defer checker.Close()
	watcher, err := neighbour.New(neighbour.Options{})
	if err != nil {
		return err
	}
	defer watcher.Close()
	engine, err := control.New(control.FromFile(cfg), control.Parts{
		Dataplane: plane.Tables, Checker: checker, Neighbours: watcher, Interfaces: links, Log: log,
		Publish: plane.Publish, Preflight: preflight,
		ReadFile: func() (*config.Config, error) { return config.Load(cfg.File) },
	})
	if err != nil {
		return err
	}

	if cfg.HashKey == [16]byte([]byte(config.DefaultHashKey)) {
		log.Info("hash_key is not set: the default one is public, and whoever knows it can aim at one backend")
	}
	if cfg.XDPMode == config.Generic {
		log.Warn("generic XDP: several times slower than native, for interfaces whose driver has none", "interfaces", len(links))
	}
	if found.Kind != loader.Fresh {
		log.Info("took over what runs", "instance", cfg.Instance, "how", found.Kind.String(), "of", found.Version, "since", found.Since, "anew", found.Maps)
	}
	for _, l := range links {
		log.Info("attached", "interface", l.Name, "mode", cfg.XDPMode.String(), "mtu", l.MTU)
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return watcher.Run(ctx) })
	group.Go(func() error { return engine.Run(ctx) })
	handler := api.Handler(engine, api.Options{Access: access, Version: versionString(), Instance: cfg.Instance, Log: log})
	group.Go(func() error { return api.Serve(ctx, socket, handler, log) })
	if metricsListener != nil {
		group.Go(func() error { return serve(ctx, metricsListener, metrics.Handler(engine, versionString())) })
	}
	err = group.Wait()
	log.Info("ended; packets are forwarded as before, until `xlb down`")
	return err
}

// preflight checks the configuration against the machine, and names the place in
// the file that does not fit.
func preflight(cfg *config.Config) ([]neighbour.Link, error) {
	var faults config.Errors
	var links []neighbour.Link
	for _, i := range cfg.Interfaces {
		l, err := neighbour.Interfaces([]string{i.Name})
		if err != nil {
			faults = append(faults, cfg.ErrorAt(i.At, err.Error(), ""))
			continue
		}
		links = append(links, l...)
	}
	local, err := neighbour.LocalAddresses()
	if err != nil {
		return nil, err
	}
	for _, s := range cfg.Services {
		for addr, dev := range local {
			if s.VIP.Contains(addr) {
				faults = append(faults, cfg.ErrorAt(s.At, fmt.Sprintf("service %s: its VIP takes %s, an address of this node on %s", s.Name, addr, dev),
					"a VIP lives on the backends only: remove it from "+dev+", or choose another VIP"))
			}
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return links, nil
}

func listenMetrics(cfg *config.Config) (net.Listener, error) {
	if !cfg.Metrics.Listen.IsValid() {
		return nil, nil
	}
	l, err := net.Listen("tcp", cfg.Metrics.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w: set metrics.listen to a free address, or to \"off\"", err)
	}
	return l, nil
}

// serve answers HTTP until ctx ends, and lets requests under way finish.
func serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := server.Shutdown(stop)
	<-done
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}
