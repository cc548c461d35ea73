package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/testenv"
)

// A change that does not fit the tables is refused before the first of them is touched, by the name of the limit. With a
// higher limit it is made, under traffic.
func TestAChangeThatDoesNotFitIsRefusedBeforeAnythingChanges(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	b := lab.Backends
	settings := func(limits string, services ...string) string {
		return probed(lab, "limits: {services: 2, listeners: 4, backends: 4, slots: 40000, rules: 8"+limits+"}\n", services...)
	}
	small := settings("", web("", b[0], b[1]))
	node := startFaulty(t, lab, self, small)
	clients, end := traffic(t, lab, 4, true)
	before, at := pinned(t, node), revision(t, node)
	var others []string
	for i, vip := range vips(testenv.DefaultVIP.Next(), 3) {
		others = append(others, side(fmt.Sprintf("side%d", i), vip, b[0]))
	}
	var prefixes []string
	for i := range 9 {
		prefixes = append(prefixes, fmt.Sprintf("203.0.113.%d", i))
	}
	apply := func(config string) error {
		_, err := node.Apply(deadline(t), 0, "test", []byte(node.Complete(config)))
		return err
	}
	for limit, services := range map[string][]string{
		"limits.services":  {web("", b[0], b[1]), others[0], others[1]},
		"limits.backends":  {web("", b...), side("more", testenv.DefaultVIP.Next(), b...)},
		"limits.slots":     {web(", slots: 65537", b[0], b[1])},
		"limits.listeners": {strings.Replace(web("", b[0], b[1]), "port: 80", "port: [80, 81, 82]", 1)},
		"limits.rules":     {web(", filter: {deny: ["+strings.Join(prefixes, ", ")+"]}", b[0], b[1])},
	} {
		if err := apply(settings("", services...)); err == nil {
			t.Errorf("%s: it is applied", limit)
		} else if !strings.Contains(err.Error(), limit) {
			t.Errorf("%s: it says %v", limit, err)
		}
	}
	if after := pinned(t, node); fmt.Sprint(after) != fmt.Sprint(before) || revision(t, node) != at || !runs(t, node, small) {
		t.Errorf("revision %d with %v, want %d with %v", revision(t, node), after, at, before)
	}
	must(t, clients.AwaitMore(deadline(t), 2))
	larger := strings.Replace(settings("", append(others, web("", b...))...), "services: 2, listeners: 4, backends: 4, slots: 40000", "services: 8, listeners: 16, backends: 16", 1)
	must(t, apply(larger))
	if !runs(t, node, larger) {
		t.Error("something else runs")
	}
	must(t, clients.AwaitMore(deadline(t), 2))
	end()
}
