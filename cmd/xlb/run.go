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
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/metrics"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/control/state"
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

// failpoint is called before each step of a change. Tests fail there; nil in production.
var failpoint func(step string) error

// run is the daemon: everything is opened in the order of dependence, and
// released in reverse whatever happens. What the data path does goes on.
func run(ctx context.Context, file *config.Config, log *slog.Logger) (err error) {
	store, err := state.Open(filepath.Join(file.StateDir, file.Instance))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	kept, loadErr := store.Load()
	if loadErr != nil && !errors.Is(loadErr, state.ErrCorrupt) {
		return loadErr
	}
	want := control.Recover(file, kept, loadErr)
	cfg := want.Config

	links, err := preflight(cfg)
	if err != nil {
		return err
	}
	path, found, err := loader.Open(loader.Instance{Name: cfg.Instance, Version: versionString(), Failpoint: failpoint}, control.PlaneOptions(cfg))
	if err != nil {
		return err
	}
	plane := &plane{path: path, log: log}
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
	engine, err := control.New(want, control.Parts{
		Plane: plane, Checker: checker, Neighbours: watcher, Interfaces: links, Log: log, Store: store,
		ReadFile:  func() (*config.Config, error) { return config.Load(file.File) },
		Preflight: preflight, ProbeMark: plane.mark, Failpoint: failpoint,
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
		log.Info("found an instance at work", "instance", cfg.Instance, "program", found.Kind.String(), "of", found.Version, "since", found.Since, "anew", found.Maps)
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return watcher.Run(ctx) })
	group.Go(func() error { return engine.Run(ctx) })
	group.Go(func() error { return reloadOnHangup(ctx, engine, log) })
	handler := api.Handler(engine, api.Options{Access: access, Version: versionString(), Instance: cfg.Instance, Log: log})
	group.Go(func() error { return api.Serve(ctx, socket, handler, log) })
	if metricsListener != nil {
		group.Go(func() error { return serve(ctx, metricsListener, metrics.Handler(engine, versionString())) })
	}
	err = group.Wait()
	log.Info("ended; packets are forwarded as before, until `xlb down`")
	return err
}

// reloadOnHangup reads the configuration file again whenever a SIGHUP comes. A
// file that cannot be used changes nothing.
func reloadOnHangup(ctx context.Context, engine *control.Engine, log *slog.Logger) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
		}
		if plan, err := engine.Reload(ctx, "SIGHUP"); err == nil && plan.Empty { // an error is told by the engine
			log.Info("the configuration file says what runs already")
		}
	}
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
