package control

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/discovery"
)

// What a service's source finds are its backends beside those that its configuration
// lists. They are in no configuration, overlay or state file: after a restart, and
// whenever a source has not said anything yet, those that the service has stay.

// source is where further backends of a service come from.
type source struct {
	service string
	by      sought
	stop    func() // nil: it does not run

	told    bool             // it has said something
	set     discovery.Set    // what it said last
	since   time.Time        // Backends of set are what is found
	failing time.Time        // since when it fails, zero: it does not
	used    []config.Backend // what the service has of it: the latest that fitted, of a source that was silent so far what was there before
	refused string           // why not those of set
	again   time.Duration    // when it is tried anew whether they fit

	from, extended *config.Service  // as configured, and with what is used; nil: to be made
	orders         map[string]admin // of backends that went, by name: a name may come back
}

// sought is what a source is made from.
type sought struct {
	vip      netip.Prefix
	forward  config.Forward
	quic     [config.Rotations]uint8
	discover config.Discover
	limit    int
}

func soughtBy(s *config.Service, limit int) sought {
	return sought{s.VIP, s.Forward, s.QUIC, *s.Discover, limit}
}

func (s sought) equal(other sought) bool { return reflect.DeepEqual(s, other) }

// extended returns a service's settings with the backends that were discovered after
// those that are listed. was is what the service is now.
func (e *Engine) extended(s *config.Service, limit int, was *service) *config.Service {
	if s.Discover == nil {
		return s
	}
	src := e.sources[s.Name]
	if src != nil && src.by.equal(soughtBy(s, limit)) {
		if src.from != s || src.extended == nil {
			src.from, src.extended = s, extend(s, src.used)
		}
		return src.extended
	}
	if set, fixed := discovery.Fixed(s, limit); fixed && set.Known {
		return extend(s, set.Backends)
	}
	var found []config.Backend
	switch {
	case src != nil:
		found = src.used
	case was != nil:
		for _, b := range was.backends {
			found = append(found, *b.cfg)
		}
	}
	found = slices.DeleteFunc(slices.Clone(found), func(b config.Backend) bool { return s.Accepts(b) != nil })
	slices.SortFunc(found, func(a, b config.Backend) int { return a.Address.Compare(b.Address) }) // as sources list them
	return extend(s, found)
}

// extend adds to a service's backends what was found and is not listed.
func extend(s *config.Service, found []config.Backend) *config.Service {
	addresses, names := map[netip.Addr]bool{}, map[string]bool{}
	for _, b := range s.Backends {
		addresses[b.Address], names[b.Name] = true, true
	}
	out := *s
	out.Backends = slices.Clone(s.Backends)
	for _, b := range found {
		if addresses[b.Address] {
			continue
		}
		if names[b.Name] {
			b.Name = b.Address.String()
		}
		out.Backends = append(out.Backends, b)
	}
	return &out
}

// found are the backends of a service that its configuration does not list.
func (s *service) found() []*backend { return s.backends[min(s.listed, len(s.backends)):] }

// hear takes in what sources have said.
func (e *Engine) hear() {
	var news []*source
	for src, set := range e.finds.take() {
		s, err := e.findService(src.service)
		if err != nil || e.sources[src.service] != src {
			continue // of a source that is no longer wanted
		}
		e.heard(s, src, set)
		if src.differs() {
			news = append(news, src)
		}
	}
	slices.SortFunc(news, func(a, b *source) int { return strings.Compare(a.service, b.service) })
	e.takeIn(news)
}

// heard notes what a source says, and tells what is wrong with it.
func (e *Engine) heard(s *service, src *source, set discovery.Set) {
	was := src.set
	s.seeks = false
	src.set, src.told = set, true
	if set.Known && (!was.Known || !discovery.Same(was.Backends, set.Backends)) {
		src.since = set.At
	}
	switch {
	case set.Err == nil:
		if !src.failing.IsZero() {
			e.tell(EventDiscovery, s, nil, "backends are found again")
		}
		src.failing = time.Time{}
	case was.Err == nil || was.Err.Error() != set.Err.Error():
		e.warn(EventDiscovery, s, nil, "%v: the %d backends that were found before stay", set.Err, len(s.found()))
		if src.failing.IsZero() {
			src.failing = set.At
		}
	}
	if len(set.LeftOut) > 0 && !slices.Equal(was.LeftOut, set.LeftOut) {
		e.warn(EventDiscovery, s, nil, "%d of what was found cannot be backends: %s", len(set.LeftOut), some(set.LeftOut))
	}
}

// differs says whether a source has found other backends than those in use.
func (src *source) differs() bool {
	return src.set.Known && !discovery.Same(src.set.Backends, src.used)
}

// refusedPause is how long a set that does not fit waits to be tried again: numbers
// of backends that went become free with time.
const refusedPause = 10 * time.Second

// takeIn has services use what their sources have found: all at once or, if that
// does not fit, each that does.
func (e *Engine) takeIn(news []*source) {
	if len(news) == 0 {
		return
	}
	err := e.rediscover(news)
	if err == nil {
		return
	}
	if len(news) > 1 {
		for _, src := range news {
			e.takeIn([]*source{src})
		}
		return
	}
	src := news[0]
	src.again = e.now() + refusedPause
	if src.refused != err.Error() {
		src.refused = err.Error()
		s, _ := e.findService(src.service) // hear saw to it
		e.warn(EventDiscovery, s, nil, "the %d backends that were found are not used, and those before stay: %v", len(src.set.Backends), err)
	}
}

// retrySources tries again what did not fit.
func (e *Engine) retrySources() {
	var news []*source
	for _, s := range e.services {
		if src := e.sources[s.cfg.Name]; src != nil && src.refused != "" && src.differs() && e.now() >= src.again {
			news = append(news, src)
		}
	}
	e.takeIn(news)
}

// rediscover makes what sources have found the backends of their services, by the
// same steps as any change, or leaves everything as it was.
func (e *Engine) rediscover(news []*source) error {
	former := make([][]config.Backend, len(news))
	for i, src := range news {
		former[i] = src.used
		src.use(src.set.Backends)
	}
	back := func() (*draft, error) {
		for i, src := range news {
			src.use(former[i])
		}
		return e.draft(e.cfg)
	}
	d, err := e.draft(e.cfg)
	if err != nil {
		for i, src := range news {
			src.use(former[i])
		}
		e.homes.keep(e.services)
		return err
	}
	before := make([]map[string]*backend, len(news))
	for i, src := range news {
		before[i] = e.byName(src.service)
	}
	if err := e.install(d, back); err != nil {
		return err
	}
	ordered := false
	for i, src := range news {
		src.refused = ""
		ordered = e.compared(src, before[i]) || ordered
	}
	e.cleanUp()
	if err := e.watch(); err != nil {
		e.isBroken(err)
	}
	if ordered {
		if err := e.save(nil); err != nil {
			e.isBroken(err)
		}
	}
	return nil
}

func (src *source) use(backends []config.Backend) { src.used, src.extended = backends, nil }

// byName are the backends of a service that is there.
func (e *Engine) byName(service string) map[string]*backend {
	names := map[string]*backend{}
	if s, err := e.findService(service); err == nil {
		for _, b := range s.backends {
			names[b.cfg.Name] = b
		}
	}
	return names
}

// compared tells which backends came and which went. What an operator ordered for a
// name holds for whoever has it next; compared says whether that befell any.
func (e *Engine) compared(src *source, before map[string]*backend) (ordered bool) {
	s, err := e.findService(src.service)
	if err != nil {
		return false
	}
	var came, went []string
	after := e.byName(src.service)
	for name, b := range before {
		if after[name] == b {
			continue
		}
		went = append(went, name)
		if b.admin.state != AdminNone {
			src.orders[name] = b.admin
			ordered = true
		}
	}
	for name, b := range after {
		if before[name] == b {
			continue
		}
		came = append(came, name)
		if order, is := src.orders[name]; is {
			b.admin = order
			b.stale()
			ordered = true
		}
		delete(src.orders, name)
	}
	slices.Sort(came)
	slices.Sort(went)
	text := fmt.Sprintf("found %d backends", len(s.found()))
	if len(came) > 0 {
		text += "; came: " + some(came)
	}
	if len(went) > 0 {
		text += "; went: " + some(went)
	}
	if len(came)+len(went) == 0 {
		text += ", with other settings"
	}
	e.tell(EventDiscovery, s, nil, "%s", text)
	return ordered
}

// some writes a list, of a long one its beginning.
func some(list []string) string {
	const most = 8
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// DiscoveryStatus is what a service's source of backends says. Fields are added,
// never renamed.
type DiscoveryStatus struct {
	Source  string     `json:"source"`            // such as "dns A web.example.org"
	Known   bool       `json:"known"`             // it had a good answer since the daemon started
	Found   int        `json:"found"`             // backends that the service has from it
	Since   *time.Time `json:"since,omitempty"`   // when it found these
	Error   string     `json:"error,omitempty"`   // why it cannot say, or why what it says is not used
	Failing *time.Time `json:"failing,omitempty"` // since when it cannot say
	LeftOut []string   `json:"leftOut,omitempty"` // what it found that cannot be a backend
}

func (e *Engine) discoveryStatus(s *service) *DiscoveryStatus {
	src := e.sources[s.cfg.Name]
	if src == nil {
		return nil
	}
	out := &DiscoveryStatus{Source: src.by.String(), Known: src.set.Known, Found: len(s.found()), Error: src.refused, LeftOut: src.set.LeftOut}
	if src.set.Err != nil {
		out.Error = src.set.Err.Error()
	}
	if src.set.Known {
		out.Since = &src.since
	}
	if !src.failing.IsZero() {
		out.Failing = &src.failing
	}
	return out
}

func (s sought) String() string {
	switch d := s.discover; {
	case d.DNS != nil:
		return "dns " + d.DNS.Type + " " + d.DNS.Name
	case d.File != nil:
		return "file " + d.File.Path
	default:
		return "replicas " + d.Replicas.Address
	}
}
