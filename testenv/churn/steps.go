package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// spares are backends that join later: one is added, the others replace members.
const spares = 1 + replacements

const replacements = 10

// change is one line of the script. It returns when the change is made; connections are watched for a while after it.
type change struct {
	name  string
	death bool // kills a backend, or cuts the wire
	do    func(context.Context, *churn) error
}

// script changes all that an operator changes in a year.
var script = []change{
	{"nothing", false, func(context.Context, *churn) error { return nil }},
	{"drain", false, func(ctx context.Context, c *churn) error {
		return c.eachService(ctx, "backend", "drain", c.members[0].Name())
	}},
	{"remove", false, func(ctx context.Context, c *churn) error { return c.remove(ctx, c.members[0]) }},
	{"add", false, func(ctx context.Context, c *churn) error { return c.add(ctx, c.spares[0]) }},
	{"weight 100 -> 50", false, func(ctx context.Context, c *churn) error { return c.weigh(ctx, 50) }},
	{"weight 50 -> 100", false, func(ctx context.Context, c *churn) error { return c.weigh(ctx, 100) }},
	{"drain, then undrain", false, drainAndUndrain},
	{"health down", true, func(ctx context.Context, c *churn) error {
		c.tally.die(c.members[2].Name())
		c.members[2].SetHealthy(false)
		return c.awaitState(ctx, c.members[2].Name(), control.StateDown)
	}},
	{"health up", false, func(ctx context.Context, c *churn) error {
		c.members[2].SetHealthy(true)
		return c.awaitState(ctx, c.members[2].Name(), control.StateUp)
	}},
	{"server killed", true, func(ctx context.Context, c *churn) error {
		c.tally.die(c.members[3].Name())
		c.members[3].Kill()
		return c.awaitState(ctx, c.members[3].Name(), control.StateDown)
	}},
	{"server restarted", false, func(ctx context.Context, c *churn) error {
		if err := c.members[3].Restore(); err != nil {
			return err
		}
		return c.awaitState(ctx, c.members[3].Name(), control.StateUp)
	}},
	{"ten rolling replacements", false, replaceAll},
	{"all services reloaded", false, reload},
	{"program replaced", false, replaceProgram},
	{"daemon killed", false, func(ctx context.Context, c *churn) error {
		if err := c.node.Kill(ctx); err != nil {
			return err
		}
		c.watch(ctx, 3*time.Second) // nobody is there
		return c.node.Start(ctx)
	}},
	{"daemon upgraded", false, func(ctx context.Context, c *churn) error {
		if err := c.node.Stop(); err != nil {
			return err
		}
		c.node.SetProgram(testenv.Program{Path: c.options.next})
		return c.node.Start(ctx)
	}},
	{"interface flaps", true, flap},
}

// eachService runs a command for every service: what stands before the service's name, and behind it.
func (c *churn) eachService(ctx context.Context, noun, verb string, args ...string) error {
	for _, name := range services {
		if _, err := c.cli(ctx, c.options, "", slices.Concat([]string{noun, verb, name}, args)...); err != nil {
			return err
		}
	}
	return nil
}

func (c *churn) add(ctx context.Context, b *testenv.Backend) error {
	for _, name := range services {
		args := []string{"backend", "add", name, b.Addr.String(), "name=" + b.Name()}
		if name == "quic" {
			args = append(args, fmt.Sprintf("server_id=%q", fmt.Sprintf("%x", serverID(slices.Index(c.lab.Backends, b)))))
		}
		if _, err := c.cli(ctx, c.options, "", args...); err != nil {
			return err
		}
	}
	return c.awaitState(ctx, b.Name(), control.StateUp)
}

// remove takes a backend out of the configuration. Its connections stay.
func (c *churn) remove(ctx context.Context, b *testenv.Backend) error {
	return c.eachService(ctx, "backend", "rm", b.Name(), "--yes")
}

func (c *churn) weigh(ctx context.Context, weight int) error {
	return c.eachService(ctx, "backend", "weight", c.members[1].Name(), fmt.Sprint(weight))
}

func drainAndUndrain(ctx context.Context, c *churn) error {
	if err := c.eachService(ctx, "backend", "drain", c.members[4].Name()); err != nil {
		return err
	}
	c.watch(ctx, c.options.step/2)
	return c.eachService(ctx, "backend", "undrain", c.members[4].Name())
}

// replaceAll replaces the members one after the other, as a deployment does.
func replaceAll(ctx context.Context, c *churn) error {
	old := slices.Concat(c.members[1:], c.spares[:1])
	for i, b := range c.spares[1:] {
		leaving := old[i%len(old)]
		if i >= len(old) {
			break
		}
		if err := c.add(ctx, b); err != nil {
			return err
		}
		if err := c.eachService(ctx, "backend", "drain", leaving.Name()); err != nil {
			return err
		}
		c.watch(ctx, c.options.step/4)
		if err := c.remove(ctx, leaving); err != nil {
			return err
		}
	}
	return nil
}

// reload changes every service of what runs.
func reload(ctx context.Context, c *churn) error {
	return c.edit(ctx, "tracking: change", "affinity: flow")
}

// replaceProgram makes the configuration need a part of the program that was left out before.
func replaceProgram(ctx context.Context, c *churn) error {
	return c.edit(ctx, "filter: {deny: [203.0.113.0/24]}", "limits: {packets: {rate: 1000000, burst: 100000}}")
}

// edit adds lines to every service of what runs, and applies it.
func (c *churn) edit(ctx context.Context, lines ...string) error {
	out, err := c.cli(ctx, c.options, "", "export")
	if err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(out) {
		b.WriteString(line)
		if strings.HasPrefix(line, "    vip:") {
			for _, l := range lines {
				if !strings.Contains(out, l) {
					b.WriteString("    " + l + "\n")
				}
			}
		}
	}
	_, err = c.cli(ctx, c.options, b.String(), "apply", "--yes", "-")
	return err
}

// flap takes the wire off the node's interface for a moment, and puts the routes back that went with it.
func flap(ctx context.Context, c *churn) error {
	peer := c.lab.LBPeers[0]
	nl := peer.NS.Netlink()
	link, err := nl.LinkByName(peer.Interface)
	if err != nil {
		return err
	}
	if err := nl.LinkSetDown(link); err != nil {
		return err
	}
	c.watch(ctx, 200*time.Millisecond)
	if err := nl.LinkSetUp(link); err != nil {
		return err
	}
	var errs []error
	for _, vip := range c.lab.VIPs {
		errs = append(errs, c.lab.RouteVIP(vip, c.lab.LBAddr))
	}
	return errors.Join(errs...)
}
