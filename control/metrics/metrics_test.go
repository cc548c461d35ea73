package metrics

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/control"
)

// fixed is a node whose state does not change.
type fixed control.Status

func (f fixed) Status(context.Context) (control.Status, error) { return control.Status(f), nil }

func scrape(t *testing.T, s control.Status) string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(fixed(s), "1.2.3").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestMetricsShowPanicAndTransitions(t *testing.T) {
	text := scrape(t, control.Status{
		Revision: 4, Drift: 2, Broken: "no space left on device", Events: map[control.EventKind]uint64{control.EventHealth: 3},
		Flows: control.FlowsStatus{Recorded: 7, Capacity: 1024},
		Services: []control.ServiceStatus{
			{Name: "web", Panic: true, TransitionSlots: 12, Backends: []control.BackendStatus{
				{Name: "b1", State: control.StateDown, Live: 1, Flows: 5},
				{Name: "b2", State: control.StateUp, Live: 0.25},
				{Name: "b3", State: control.StateUp, Admin: control.AdminDraining, Flows: 2},
			}},
			{Name: "dns"},
		},
	})
	wantLines(t, text,
		`xlb_config_revision 4`, `xlb_config_drift_objects 2`, `xlb_broken 1`, `xlb_events_total{kind="health"} 3`, `xlb_events_total{kind="apply"} 0`,
		`xlb_service_draining_backends{service="web"} 1`, `xlb_service_draining_backends{service="dns"} 0`,
		`xlb_flows_recorded 7`, `xlb_flows_capacity 1024`,
		`xlb_service_panic{service="web"} 1`, `xlb_service_panic{service="dns"} 0`, `xlb_service_transition_slots{service="web"} 12`,
		`xlb_backend_up{backend="b1",service="web"} 1`, `xlb_backend_up{backend="b2",service="web"} 1`, `xlb_backend_up{backend="b3",service="web"} 0`,
		`xlb_backend_live{backend="b2",service="web"} 0.25`, `xlb_backend_flows_recorded{backend="b1",service="web"} 5`,
	)
}

func TestABackendInTheNameOfOneThatLingersIsShownInItsPlace(t *testing.T) {
	text := scrape(t, control.Status{Services: []control.ServiceStatus{{Name: "web", Backends: []control.BackendStatus{
		{Name: "b1", Address: "10.0.0.2", Slots: 3},
		{Name: "b1", Address: "10.0.0.1", Admin: control.AdminRemoved},
	}}}})
	wantLines(t, text, `xlb_backend_slots{backend="b1",service="web"} 3`)
}
