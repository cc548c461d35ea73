// Package metrics shows a node's state to Prometheus. Nothing is counted here:
// every scrape reads the state anew.
package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/maps"
)

// Node is what is shown; *control.Engine is one.
type Node interface {
	Status(context.Context) (control.Status, error)
}

// Handler serves /metrics of a node. The version is shown as a label.
func Handler(node Node, version string) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		&collector{node, version},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	return mux
}

var (
	serviceLabels = []string{"service"}
	backendLabels = []string{"service", "backend"}

	buildInfo      = desc("build_info", "1; the version is a label.", "version")
	interfaceInfo  = desc("interface_info", "1 for every interface that xlb is attached to; mode generic is several times slower than native.", "interface", "mode")
	serving        = desc("serving", "1 when VIPs are forwarded, 0 before the first verdict on every backend.")
	packets        = desc("packets_total", "Packets by why they left the data path and what became of them; docs/counters.md explains the reasons.", "reason", "verdict")
	bytes          = desc("bytes_total", "Bytes of the frames in xlb_packets_total, as they arrived.", "reason", "verdict")
	revision       = desc("config_revision", "Revision of the configuration that runs, with the changes at run time.")
	drift          = desc("config_drift_objects", "Objects that were changed at run time and differ from the configuration file.")
	broken         = desc("broken", "1 while something that should be in the data path or on the disk cannot be written; xlb status says what.")
	events         = desc("events_total", "Events by kind; xlb events prints them.", "kind")
	draining       = desc("service_draining_backends", "Backends of the service that are drained and still have flows.", serviceLabels...)
	flows          = desc("flows_recorded", "Flows in the flow table, as last swept.")
	flowsMost      = desc("flows_capacity", "Flows that there is room for in the flow table.")
	transitions    = desc("service_transition_slots", "Slots of the service whose former owner still has flows.", serviceLabels...)
	panics         = desc("service_panic", "1 while so few of the service's backends are healthy that all are used.", serviceLabels...)
	backendUp      = desc("backend_up", "1 when the backend takes new connections.", backendLabels...)
	backendLive    = desc("backend_live", "Share of its slots that the backend takes, 0 to 1: less than 1 while it starts slowly, 0 when it takes no new connections.", backendLabels...)
	backendFlows   = desc("backend_flows_recorded", "Recorded flows that the backend has, as last swept.", backendLabels...)
	backendSlots   = desc("backend_slots", "Slots of the service's table that the backend owns.", backendLabels...)
	backendPackets = desc("backend_packets_total", "Packets forwarded to the backend.", backendLabels...)
	backendBytes   = desc("backend_bytes_total", "Bytes of the frames in xlb_backend_packets_total.", backendLabels...)
	probes         = desc("backend_probes_total", "Health probes of the backend by result.", append(backendLabels, "result")...)
	probeSeconds   = desc("backend_probe_seconds", "How long the last health probe took.", backendLabels...)
	found          = desc("discovery_backends", "Backends that the service has from its source of backends.", "service")
	failing        = desc("discovery_failing_seconds", "For how long the source of backends has not been able to say; 0 while it is.", "service")
	syns           = desc("backend_syns_total", "Handshakes that clients began with the backend; as all about handshakes, of services with health.passive.", backendLabels...)
	completed      = desc("backend_handshakes_total", "Handshakes that clients completed with the backend.", backendLabels...)
	repeated       = desc("backend_syn_retransmissions_total", "SYNs to the backend sent again, as nobody had answered.", backendLabels...)
	suspected      = desc("backend_suspected", "1 while the backend answers clients far worse than its siblings.", backendLabels...)
	ejected        = desc("backend_ejected", "1 while the backend takes no new connections for that.", backendLabels...)
	scrapeTimeout  = 5 * time.Second
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("xlb_"+name, help, labels, nil)
}

type collector struct {
	node    Node
	version string
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		buildInfo, interfaceInfo, serving, revision, drift, broken, events, draining, packets, bytes, flows, flowsMost, transitions, panics,
		backendUp, backendLive, backendFlows, backendSlots, backendPackets, backendBytes, probes, probeSeconds,
		found, failing, syns, completed, repeated, suspected, ejected,
	} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	s, err := c.node.Status(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(serving, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(buildInfo, 1, c.version)
	gauge(serving, number(s.Serving))
	gauge(revision, float64(s.Revision))
	gauge(drift, float64(s.Drift))
	gauge(broken, number(s.Broken != ""))
	for _, kind := range control.EventKinds() {
		counter(events, s.Events[kind], string(kind))
	}
	for _, i := range s.Interfaces {
		gauge(interfaceInfo, 1, i.Name, i.Mode)
	}
	for _, r := range maps.Reasons() { // also those that have not occurred: a counter starts at 0
		t := s.Reasons[r.String()]
		counter(packets, t.Packets, r.String(), r.Verdict())
		counter(bytes, t.Bytes, r.String(), r.Verdict())
	}
	gauge(flows, float64(s.Flows.Recorded))
	gauge(flowsMost, float64(s.Flows.Capacity))
	for _, svc := range s.Services {
		if d := svc.Discovery; d != nil {
			gauge(found, float64(d.Found), svc.Name)
			seconds := 0.0
			if d.Failing != nil {
				seconds = time.Since(*d.Failing).Seconds()
			}
			gauge(failing, seconds, svc.Name)
		}
		gauge(transitions, float64(svc.TransitionSlots), svc.Name)
		gauge(panics, number(svc.Panic), svc.Name)
		gauge(draining, float64(drained(svc)), svc.Name)
		named := map[string]bool{}
		for _, b := range svc.Backends {
			if named[b.Name] {
				continue // it was removed, and another one has its name: of a series there is one
			}
			named[b.Name] = true
			labels := []string{svc.Name, b.Name}
			gauge(backendUp, number(b.Live > 0), labels...)
			gauge(backendLive, b.Live, labels...)
			gauge(backendFlows, float64(b.Flows), labels...)
			gauge(backendSlots, float64(b.Slots), labels...)
			counter(backendPackets, b.Traffic.Packets, labels...)
			counter(backendBytes, b.Traffic.Bytes, labels...)
			if h := b.Handshakes; h != nil {
				counter(syns, h.SYNs, labels...)
				counter(completed, h.Completed, labels...)
				counter(repeated, h.Retransmitted, labels...)
				gauge(suspected, number(b.Clients == control.ClientsSuspect), labels...)
				gauge(ejected, number(b.Clients == control.ClientsEjected), labels...)
			}
			if b.Check == nil {
				continue
			}
			counter(probes, b.Check.Passed, append(labels, "passed")...)
			counter(probes, b.Check.Failed, append(labels, "failed")...)
			gauge(probeSeconds, b.Check.TookMs/1000, labels...)
		}
	}
}

// drained counts a service's backends whose drain goes on.
func drained(s control.ServiceStatus) int {
	n := 0
	for _, b := range s.Backends {
		if b.Admin == control.AdminDraining {
			n++
		}
	}
	return n
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
