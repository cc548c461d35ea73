package control

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// keptEvents is how many events a reader can look back.
const keptEvents = 1024

// eventLog keeps the latest events and wakes those who wait for more.
type eventLog struct {
	mu   sync.Mutex
	ring [keptEvents]Event
	sums map[EventKind]uint64 // how many there were of each kind
	last uint64               // number of the latest event, 0 before the first
	news chan struct{}        // closed when there is a further one; nil while nobody waits
}

func (l *eventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.Seq = l.last
	l.ring[e.Seq%keptEvents] = e
	if l.sums == nil {
		l.sums = map[EventKind]uint64{}
	}
	l.sums[e.Kind]++
	if l.news != nil {
		close(l.news)
		l.news = nil
	}
}

// after returns the first event kept with a greater number than since, or what is
// closed when there is one.
func (l *eventLog) after(since uint64) (Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since >= l.last {
		if l.news == nil {
			l.news = make(chan struct{})
		}
		return Event{}, l.news
	}
	next := since + 1
	if l.last >= keptEvents {
		next = max(next, l.last-keptEvents+1)
	}
	return l.ring[next%keptEvents], nil
}

// counts returns how many events there were of each kind.
func (l *eventLog) counts() map[EventKind]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.sums)
}

func (l *eventLog) newest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Events returns the events after the one numbered since, as far as they are
// kept, and then those to come, until ctx or the engine ends; the channel is
// closed then. A number that no event has yet, such as one of a former daemon,
// counts as 0. A reader that falls far behind loses the oldest, which the numbers
// show.
func (e *Engine) Events(ctx context.Context, since uint64) (<-chan Event, error) {
	if since > e.events.newest() {
		since = 0
	}
	out := make(chan Event)
	if !e.readers.enter() {
		return nil, ErrEnded
	}
	go func() {
		defer e.readers.leave()
		defer close(out)
		for {
			event, more := e.events.after(since)
			if more != nil {
				select {
				case <-more:
					continue
				case <-ctx.Done():
				case <-e.ended:
				}
				return
			}
			select {
			case out <- event:
				since = event.Seq
			case <-ctx.Done():
				return
			case <-e.ended:
				return
			}
		}
	}()
	return out, nil
}

// readers counts the goroutines of readers, so that Run waits for them.
type readers struct {
	mu     sync.Mutex
	wg     sync.WaitGroup
	closed bool
}

func (r *readers) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Add(1)
	return true
}

func (r *readers) leave() { r.wg.Done() }

// wait waits for those that are there; no others come.
func (r *readers) wait() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.wg.Wait()
}

// tell says that something happened; s and b may be nil.
func (e *Engine) tell(kind EventKind, s *service, b *backend, format string, args ...any) {
	e.event(Event{Kind: kind, Level: slog.LevelInfo, Text: fmt.Sprintf(format, args...)}, s, b)
}

// warn is tell for what an operator should look at.
func (e *Engine) warn(kind EventKind, s *service, b *backend, format string, args ...any) {
	e.event(Event{Kind: kind, Level: slog.LevelWarn, Text: fmt.Sprintf(format, args...)}, s, b)
}

// fail is tell for what did not work.
func (e *Engine) fail(kind EventKind, s *service, err error) {
	e.event(Event{Kind: kind, Level: slog.LevelError, Text: err.Error()}, s, nil)
}

// event logs an event and keeps it for readers.
func (e *Engine) event(ev Event, s *service, b *backend) {
	if b != nil {
		s, ev.Backend = b.service, b.cfg.Name
	}
	if s != nil {
		ev.Service = s.cfg.Name
	}
	ev.Time = e.wall()
	attrs := []slog.Attr{slog.String("kind", string(ev.Kind))}
	for _, a := range []slog.Attr{slog.String("service", ev.Service), slog.String("backend", ev.Backend), slog.String("actor", ev.Actor)} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if ev.Revision != 0 {
		attrs = append(attrs, slog.Uint64("revision", ev.Revision))
	}
	e.Log.LogAttrs(context.Background(), ev.Level, ev.Text, attrs...)
	if ev.Level > slog.LevelDebug {
		e.events.add(ev)
	}
}

// wall is the time of day, now the time since the engine began, which no
// adjustment of the clock touches.
func (e *Engine) wall() time.Time    { return time.Now() }
func (e *Engine) now() time.Duration { return time.Since(e.epoch) }

// LastEvent returns the number of the latest event, 0 before the first.
func (e *Engine) LastEvent(context.Context) (uint64, error) { return e.events.newest(), nil }
