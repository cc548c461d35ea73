package main

import (
	"errors"
	"log/slog"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/maps"
)

// plane is the data path in the engine's terms, with the probes that go through it.
type plane struct {
	path   *loader.Dataplane
	probes *loader.Probes // nil where they cannot be sent: see attachProbes
	log    *slog.Logger
}

func (p *plane) Tables() control.Dataplane { return p.path.Tables }

func (p *plane) Egress() map[int]uint32 { return egress(p.path.Interfaces()) }

func (p *plane) Publish() error {
	if err := p.path.Publish(); err != nil {
		return err
	}
	p.attachProbes()
	return nil
}

func (p *plane) Mend() (bool, error) {
	on, err := p.path.Mend()
	return len(on) > 0, err
}

func (p *plane) Prepare(opts maps.PlaneOptions) (control.Staged, error) {
	s, err := p.path.Prepare(opts)
	if err != nil {
		return nil, err
	}
	return staged{s}, nil
}

// attachProbes has marked probes take the way of a backend's traffic. Where the
// kernel does not let it, backends are probed at their own addresses.
func (p *plane) attachProbes() {
	if p.probes != nil {
		if err := p.probes.Close(); err != nil {
			p.log.Warn("probes cannot be detached", "error", err)
		}
	}
	var err error
	if p.probes, err = loader.AttachProbes(p.path); err != nil {
		p.log.Warn("backends are probed at their own addresses, not at VIPs", "error", err)
	}
}

// mark is what sockets that probe a backend set, 0 where probes take no way of
// their own.
func (p *plane) mark(id maps.BackendID) uint32 {
	if p.probes == nil {
		return 0
	}
	return p.probes.Mark(id)
}

// Close leaves traffic as it is.
func (p *plane) Close() error {
	var err error
	if p.probes != nil {
		err = p.probes.Close()
	}
	return errors.Join(err, p.path.Close())
}

// staged is a program that stands aside.
type staged struct {
	*loader.Staged
}

func (s staged) Tables() control.Dataplane { return s.Staged.Tables }

func (s staged) Egress() map[int]uint32 { return egress(s.Interfaces()) }

func (s staged) Anew() bool { return len(s.Staged.Anew()) > 0 }

func egress(all []loader.Interface) map[int]uint32 {
	numbers := map[int]uint32{}
	for _, i := range all {
		numbers[i.Index] = i.Egress
	}
	return numbers
}
