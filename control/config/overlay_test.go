package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// changed returns the configuration after some changes.
func (r randomness) changed(c *Config) *Config {
	after, err := Parse("changed.yaml", written(r.T, c))
	if err != nil {
		r.Fatal(err)
	}
	for range r.number(0, 6) {
		r.change(after)
	}
	if err := after.Validate(); err != nil {
		r.Fatalf("the changed configuration is wrong: %v", err)
	}
	return after
}

func (r randomness) change(c *Config) {
	switch r.number(0, 4) {
	case 0:
		node := r.config()
		node.Services, node.Health, node.GUE, node.File = c.Services, c.Health, c.GUE, c.File
		*c = *node
	case 1:
		c.Deny, c.ICMP.Echo = r.prefixes(5), EchoDrop
	case 2:
		if len(c.Services) < 9 {
			s := r.service(c, r.number(100, 200))
			if !slices.ContainsFunc(c.Services, func(o Service) bool { return o.Name == s.Name || o.VIP == s.VIP }) {
				c.Services = append(c.Services, s)
			}
		}
	case 3:
		if len(c.Services) > 0 {
			i := r.number(0, len(c.Services)-1)
			c.Services = slices.Delete(c.Services, i, i+1)
		}
	default:
		if len(c.Services) > 0 {
			r.changeService(c, &c.Services[r.number(0, len(c.Services)-1)])
		}
	}
}

func (r randomness) changeService(c *Config, s *Service) {
	switch r.number(0, 4) {
	case 0:
		s.Panic = r.number(0, 100)
	case 1:
		s.Health = pick(r, nil, r.health(c, s))
	case 2:
		if len(s.Backends) > 1 {
			i := r.number(0, len(s.Backends)-1)
			s.Backends = slices.Delete(s.Backends, i, i+1)
		}
	case 3:
		if k := r.number(20, 60); len(s.Backends) < 9 {
			b := r.backend(k, s.Forward == L2 && s.VIP.Addr().Is6(), true)
			if !slices.ContainsFunc(s.Backends, func(o Backend) bool {
				return o.Name == b.Name || o.Address == b.Address || bytes.HasPrefix(o.ServerID, []byte{byte(k)})
			}) {
				s.Backends = append(s.Backends, b)
			}
		}
	default:
		if len(s.Backends) > 0 {
			s.Backends[r.number(0, len(s.Backends)-1)].Weight = r.number(1, MaxWeight)
		}
	}
}

// anyOrder also ignores the order of services, backends and prefixes.
var anyOrder = gocmp.Options{sameContent,
	cmpopts.SortSlices(func(a, b Service) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b Backend) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b Interface) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b netip.Prefix) bool { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) < 0 }),
}

func stored(t *rapid.T, o Overlay) (again Overlay) {
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return again
}

func TestWhatLiesBetweenMakesTheEffectiveConfiguration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := randomness{t}
		file := r.config()
		effective := r.changed(file)
		o := stored(t, Between(file, effective))
		merged, notes, err := Merge(file, o)
		if err != nil || len(notes) > 0 {
			t.Fatalf("%v, %v", err, notes)
		}
		if diff := gocmp.Diff(effective, merged, anyOrder); diff != "" {
			t.Fatal(diff)
		}
		if changes := Diff(merged, effective); len(changes) > 0 {
			t.Fatalf("they differ: %v", changes)
		}
		if same := gocmp.Equal(file, effective, anyOrder); same != o.Empty() || same != (len(Diff(file, effective)) == 0) {
			t.Fatalf("both are the same: %t, overlay %v, changes %v", same, o, Diff(file, effective))
		}
	})
}

// merged is the file of service with o, as text.
func merged(t *testing.T, text string, o Overlay) (string, []string) {
	t.Helper()
	c, notes, err := Merge(parse(t, text), o)
	if err != nil {
		t.Fatal(err)
	}
	return string(written(t, c)), notes
}

func TestChangesOfWhatTheFileNoLongerHasDropOut(t *testing.T) {
	file := parse(t, more("port: 81", "port: 82"))
	effective := parse(t, strings.NewReplacer("port: 81", "port: 81, panic: 30", "[{address: 10.1.0.1}], port: 82", "[{address: 10.1.0.1, weight: 7}, {address: 10.1.0.9}], port: 82").
		Replace(more("port: 81", "port: 82")))
	o := Between(file, effective)
	for name, tc := range map[string]struct {
		file, want string
		notes      []string
	}{
		"both services": {service(), service(), []string{
			"service s1 is not in the file any more: what was changed of it at run time is dropped",
			"service s2 is not in the file any more: what was changed of it at run time is dropped"}},
		"a backend": {strings.Replace(more("port: 81", "port: 82"), "[{address: 10.1.0.1}], port: 82", "[{address: 10.1.0.2}], port: 82", 1),
			strings.Replace(more("port: 81, panic: 30", "port: 82"), "[{address: 10.1.0.1}], port: 82", "[{address: 10.1.0.2}, {address: 10.1.0.9}], port: 82", 1),
			[]string{"backend s2/10.1.0.1 is not in the file any more: what was changed of it at run time is dropped"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, notes := merged(t, tc.file, o)
			if want := string(written(t, parse(t, tc.want))); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if diff := gocmp.Diff(tc.notes, notes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatWasAddedHoldsAgainstTheFile(t *testing.T) {
	file := parse(t, service())
	o := Between(file, parse(t, strings.Replace(more("port: 81, panic: 30"), "[{address: 10.1.0.1}]\n", "[{address: 10.1.0.1}, {address: 10.1.0.2, weight: 7}]\n", 1)))
	if o.Objects() != 2 {
		t.Errorf("%d objects were changed", o.Objects())
	}
	got, notes := merged(t, strings.Replace(more("port: 82"), "[{address: 10.1.0.1}]\n", "[{address: 10.1.0.1}, {address: 10.1.0.2}]\n", 1), o)
	want := string(written(t, parse(t, strings.Replace(more("port: 81, panic: 30"), "[{address: 10.1.0.1}]\n", "[{address: 10.1.0.1}, {address: 10.1.0.2, weight: 7}]\n", 1))))
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if diff := gocmp.Diff([]string{
		"backend web/10.1.0.2 was added at run time and is in the file by now: what was added holds",
		"service s1 was added at run time and is in the file by now: what was added holds",
	}, notes); diff != "" {
		t.Error(diff)
	}
}

func TestAnOverlayThatDoesNotFitTheFileIsRefused(t *testing.T) {
	file := parse(t, service("[{address: 10.1.0.1}]", "[{address: 10.1.0.1}, {address: 10.1.0.2}]"))
	o := Between(file, parse(t, service("10.1.0.1", "10.1.0.2")))
	after := parse(t, service())
	_, _, err := Merge(after, o)
	want := "with what was changed at run time: xlb.yaml: services[0].backends: the service has no backend: write backends: [{address: 10.1.0.1}]"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if len(after.Services[0].Backends) != 1 {
		t.Error("the file's configuration was changed")
	}
	if _, _, err := Merge(file, Overlay{Node: map[string]json.RawMessage{"colour": []byte(`"red"`)}}); err == nil ||
		!strings.Contains(err.Error(), "colour: unknown field") {
		t.Errorf("got %v", err)
	}
}

func TestSettingsOfTheNodeOutliveTheFile(t *testing.T) {
	file := parse(t, "icmp: {echo: drop}\ndeny: [10.0.0.0/8]\n"+service())
	o := Between(file, parse(t, "deny: [10.0.0.0/8, 10.1.0.0/16]\nmetrics: {listen: off}\n"+service()))
	got, notes := merged(t, "icmp: {echo: drop, too_big_rate: 5}\nfragments: {orphans: pass}\n"+service("[eth0]", "[eth1]"), o)
	if want := string(written(t, parse(t, "deny: [10.0.0.0/8, 10.1.0.0/16]\nmetrics: {listen: off}\nfragments: {orphans: pass}\n"+service("[eth0]", "[eth1]")))); got != want || len(notes) > 0 {
		t.Errorf("got\n%swant\n%s%v", got, want, notes)
	}
}
