package neighbour

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Options are the settings of a Watcher; the zero value suits production.
type Options struct {
	Namespace     *netns.NsHandle // network namespace to watch; nil means the calling thread's
	ReceiveBuffer int             // bytes of unread events the kernel may hold; 0 means 4 MiB
}

// Watcher resolves a set of addresses and follows their changes.
type Watcher struct {
	kernel  *kernel // used by Run alone
	events  *events
	updates chan []Update
	wake    chan struct{} // events or the watched set changed; holds at most one
	stop    chan struct{}
	done    chan struct{} // closed when Run has returned

	mu       sync.Mutex
	started  bool
	closed   bool
	wanted   map[netip.Addr]bool
	fresh    map[netip.Addr]bool // added to wanted since Run looked; nil if Watch was not called
	statuses map[netip.Addr]Update
	resyncs  uint64
}

// New opens the netlink sockets of a Watcher; Run does the work. The caller closes it.
func New(opts Options) (*Watcher, error) {
	ns := netns.None()
	if opts.Namespace != nil {
		ns = *opts.Namespace
	}
	if opts.ReceiveBuffer == 0 {
		opts.ReceiveBuffer = 4 << 20
	}
	w := &Watcher{
		updates:  make(chan []Update),
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		wanted:   map[netip.Addr]bool{},
		statuses: map[netip.Addr]Update{},
	}
	// Before the first dump, so that no change falls between the two.
	events, err := subscribe(ns, opts.ReceiveBuffer, w.signal)
	if err != nil {
		return nil, err
	}
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink socket: %w", err), events.socket.Close())
	}
	w.events, w.kernel = events, newKernel(handle)
	events.lost() // nothing is known yet
	return w, nil
}

// Watch replaces the set of watched addresses. IPv4-mapped IPv6 addresses count as IPv4,
// and Updates name them so; zones are ignored.
func (w *Watcher) Watch(addrs []netip.Addr) {
	wanted := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		wanted[plain(a)] = true
	}
	w.mu.Lock()
	w.wanted = wanted
	if w.fresh == nil {
		w.fresh = map[netip.Addr]bool{}
	}
	for a := range w.statuses {
		if !wanted[a] {
			delete(w.statuses, a)
		}
	}
	for a := range wanted {
		if _, known := w.statuses[a]; !known {
			w.statuses[a] = Update{Addr: a, Err: pending(a)}
			w.fresh[a] = true
		}
	}
	w.mu.Unlock()
	w.signal()
}

// Updates delivers the changes of watched addresses in batches, ordered by address: one
// Update per address at most, its latest. A slow reader skips states, never the last one.
//
// A new address appears once it is resolved or given up, and then whenever its Hop or Err
// changes. While a neighbour is looked for anew (its entry was flushed, the route changed
// its gateway), the former Hop holds. An address just removed by Watch may come once more.
// The channel is closed when Run returns.
func (w *Watcher) Updates() <-chan []Update { return w.updates }

// Get returns the present state of a watched address, false if it is not watched. Its Err
// wraps ErrPending where nothing is known yet.
func (w *Watcher) Get(addr netip.Addr) (Update, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u, ok := w.statuses[plain(addr)]
	return u, ok
}

// Snapshot returns what Get does for all watched addresses, ordered by address.
func (w *Watcher) Snapshot() []Update {
	w.mu.Lock()
	defer w.mu.Unlock()
	return sorted(w.statuses)
}

// Stats returns what the Watcher has met since New.
func (w *Watcher) Stats() Stats {
	w.events.mu.Lock()
	overruns := w.events.overruns
	w.events.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	return Stats{Overruns: overruns, Resyncs: w.resyncs}
}

// Close ends Run, waits for it and releases the sockets. Closing twice is harmless.
func (w *Watcher) Close() {
	w.mu.Lock()
	first, started := !w.closed, w.started
	w.closed = true
	w.mu.Unlock()
	if first {
		close(w.stop)
	}
	if started {
		<-w.done
	} else if first {
		w.release()
	}
}

func (w *Watcher) release() {
	w.events.socket.Close() // ends the reader, too
	w.kernel.handle.Close()
}

// Run resolves and follows the watched addresses until ctx ends or Close is called, and
// returns nil then. It may be called once. An error means that netlink failed.
func (w *Watcher) Run(ctx context.Context) error {
	w.mu.Lock()
	refused := w.started || w.closed
	if !refused {
		w.started = true
	}
	w.mu.Unlock()
	if refused {
		return errors.New("run next-hop watcher: it ran before or is closed, make a new one")
	}
	defer close(w.done)
	defer close(w.updates)

	failed := make(chan error, 1)
	go func() { failed <- w.events.read() }()
	err, readerEnded := w.loop(ctx, failed)
	w.release()
	if !readerEnded {
		<-failed // it says that the socket was closed
	}
	return err
}

const (
	// minWindow is how long events are gathered before they are acted upon.
	minWindow = 10 * time.Millisecond
	// tick is how often pauses and time-outs of neighbours are looked at.
	tick = time.Second
)

// loop is the one goroutine that owns w.kernel. readerEnded says that failed was received from.
func (w *Watcher) loop(ctx context.Context, failed <-chan error) (err error, readerEnded bool) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var window <-chan time.Time
	pause := minWindow
	news := map[netip.Addr]Update{}
	var offer []Update // what is in news, in order
	var out chan<- []Update
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case <-w.stop:
			return nil, false
		case err := <-failed:
			return err, true
		case out <- offer:
			clear(news)
			offer, out = nil, nil
			continue
		case <-w.wake:
			if window == nil {
				window = time.After(pause)
			}
			continue
		case <-window:
			window = nil
			start := time.Now()
			if err := w.follow(start); err != nil {
				return err, false
			}
			// At most half of the time goes into following, however busy the kernel's tables are.
			pause = max(minWindow, time.Since(start))
		case <-ticker.C:
			w.kernel.tick(time.Now())
		}
		if w.collect(news) {
			offer, out = sorted(news), w.updates
			if len(offer) == 0 {
				out = nil
			}
		}
	}
}

// follow takes in what changed since the last call.
func (w *Watcher) follow(now time.Time) error {
	b := w.events.take()
	if b.resync {
		complete, err := w.kernel.load()
		if err != nil {
			return err
		}
		if !complete {
			w.events.lost() // once more, later
		}
		// What was gathered before is older than what was read now.
		b = batch{resync: true}
		w.mu.Lock()
		w.resyncs++
		w.mu.Unlock()
	}
	w.mu.Lock()
	wanted, fresh := w.wanted, w.fresh
	w.fresh = nil
	w.mu.Unlock()
	if fresh != nil {
		w.kernel.watch(wanted, fresh)
	}
	w.kernel.follow(b, now)
	return nil
}

// collect publishes the verdicts that changed, adds to news those that the reader of
// Updates has not got, and reports whether news changed.
func (w *Watcher) collect(news map[netip.Addr]Update) bool {
	changed := false
	w.mu.Lock()
	defer w.mu.Unlock()
	for a := range news {
		if !w.wanted[a] {
			delete(news, a)
			changed = true
		}
	}
	for _, v := range w.kernel.verdicts() {
		if !w.wanted[v.Addr] {
			continue // removed while it was looked up
		}
		w.statuses[v.Addr] = v.Update
		if v.news {
			news[v.Addr] = v.Update
			changed = true
		}
	}
	return changed
}

// signal makes Run look at what changed.
func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func pending(a netip.Addr) error { return fmt.Errorf("%s %w", a, ErrPending) }

func sorted(updates map[netip.Addr]Update) []Update {
	list := make([]Update, 0, len(updates))
	for _, u := range updates {
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b Update) int { return a.Addr.Compare(b.Addr) })
	return list
}
