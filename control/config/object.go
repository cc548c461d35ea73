package config

import (
	"bytes"
	"encoding/json"

	"go.yaml.in/yaml/v4"
)

// ParseService returns the service that data holds in YAML or JSON, in the shape
// that a file of this node gives it, or Errors. Errors call the text name. What
// concerns other services, Validate finds out.
func (c *Config) ParseService(name string, data []byte) (Service, error) {
	var s Service
	err := parseObject(name, data, "write a service, beginning with its name, vip and port", func(d *decoder, doc *yaml.Node) {
		s = d.service(doc, "", c.GUE.Port)
		if !d.unread[""] {
			newValidator(c, d.problems).service("", &s, c.Limits)
		}
	})
	return s, err
}

// ParseBackend returns the backend that data holds in YAML or JSON, in the shape
// that a file gives it, or Errors. What concerns its service, Validate finds out.
func ParseBackend(name string, data []byte) (Backend, error) {
	var b Backend
	err := parseObject(name, data, "write a backend, such as {address: 10.1.0.1}", func(d *decoder, doc *yaml.Node) {
		b = d.backend(doc, "")
		if !d.unread[""] {
			newValidator(&Config{}, d.problems).backend("", &b, &Service{})
		}
	})
	return b, err
}

// ParseBackends returns the backends that data holds as a list, in the shape of a
// service's backends, or Errors. Those without a weight get the given one. What
// concerns their service, Service.Accepts finds out.
func ParseBackends(name string, data []byte, weight int) ([]Backend, error) {
	var list []Backend
	err := parseObject(name, data, "write a list of backends, or []", func(d *decoder, doc *yaml.Node) {
		d.weight = weight
		d.backends(&list)(doc, "")
		if !d.unread[""] {
			newValidator(&Config{}, d.problems).distinct("", list, &Service{})
		}
	})
	return list, err
}

// Accepts returns nil if a backend that is found by discovery may serve the
// service, otherwise Errors. That no other backend has its address or name, the
// caller sees to.
func (s *Service) Accepts(b Backend) error {
	p := newProblems("")
	v := newValidator(&Config{}, p)
	v.backend("", &b, s)
	for _, length := range s.QUIC {
		if length != 0 {
			v.serverID("server_id", b.ServerID, int(length))
			break
		}
	}
	return p.err()
}

// parseObject hands the document in data to read, and returns the problems.
func parseObject(name string, data []byte, empty string, read func(*decoder, *yaml.Node)) error {
	p := newProblems(name)
	if json.Valid(data) { // which may be indented by tabs, but has none within texts
		data = bytes.ReplaceAll(data, []byte("\t"), []byte(" "))
	}
	doc := readText(p, data, empty)
	if doc != nil && len(p.list) == 0 {
		p.parts[0].doc = doc
		read(&decoder{problems: p, weight: DefaultWeight}, doc)
	}
	return p.err()
}

// UnmarshalJSON reads the service in the shape of a file's, of a node whose GUE
// port is the default. Only what is written is judged: see ParseService.
func (s *Service) UnmarshalJSON(data []byte) error {
	return parseObject("", data, wantService.remedy, func(d *decoder, doc *yaml.Node) {
		*s = d.service(doc, "", DefaultGUEPort)
		s.At = Position{}
		for i := range s.Backends {
			s.Backends[i].At = Position{}
		}
	})
}

// UnmarshalJSON reads the backend in the shape of a file's. Only what is written
// is judged: see ParseBackend.
func (b *Backend) UnmarshalJSON(data []byte) error {
	return parseObject("", data, wantBackend.remedy, func(d *decoder, doc *yaml.Node) {
		*b = d.backend(doc, "")
		b.At = Position{}
	})
}
