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
	backendLabels = []string{"service", "backend"}

	buildInfo      = desc("build_info", "1; the version is a label.", "version")
	interfaceInfo  = desc("interface_info", "1 for every interface that xlb is attached to; mode generic is several times slower than native.", "interface", "mode")
	serving        = desc("serving", "1 when VIPs are forwarded, 0 before the first verdict on every backend.")
	packets        = desc("packets_total", "Packets by why they left the data path and what became of them; docs/counters.md explains the reasons.", "reason", "verdict")
	bytes          = desc("bytes_total", "Bytes of the frames in xlb_packets_total, as they arrived.", "reason", "verdict")
	backendUp      = desc("backend_up", "1 when the backend takes new connections.", backendLabels...)
	backendSlots   = desc("backend_slots", "Slots of the service's table that the backend owns.", backendLabels...)
	backendPackets = desc("backend_packets_total", "Packets forwarded to the backend.", backendLabels...)
	backendBytes   = desc("backend_bytes_total", "Bytes of the frames in xlb_backend_packets_total.", backendLabels...)
	probes         = desc("backend_probes_total", "Health probes of the backend by result.", append(backendLabels, "result")...)
	probeSeconds   = desc("backend_probe_seconds", "How long the last health probe took.", backendLabels...)
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
		buildInfo, interfaceInfo, serving, packets, bytes, backendUp, backendSlots, backendPackets, backendBytes, probes, probeSeconds,
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
	for _, i := range s.Interfaces {
		gauge(interfaceInfo, 1, i.Name, i.Mode)
	}
	for _, r := range maps.Reasons() { // also those that have not occurred: a counter starts at 0
		t := s.Reasons[r.String()]
		counter(packets, t.Packets, r.String(), r.Verdict())
		counter(bytes, t.Bytes, r.String(), r.Verdict())
	}
	for _, svc := range s.Services {
		for _, b := range svc.Backends {
			labels := []string{svc.Name, b.Name}
			gauge(backendUp, number(b.State == control.StateUp), labels...)
			gauge(backendSlots, float64(b.Slots), labels...)
			counter(backendPackets, b.Traffic.Packets, labels...)
			counter(backendBytes, b.Traffic.Bytes, labels...)
			if b.Check == nil {
				continue
			}
			counter(probes, b.Check.Passed, append(labels, "passed")...)
			counter(probes, b.Check.Failed, append(labels, "failed")...)
			gauge(probeSeconds, b.Check.TookMs/1000, labels...)
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
