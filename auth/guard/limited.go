package guard

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// maxLimitedNames is how many names of events Limited counts apart. Hosts have names
// of their own; further names share one count.
const maxLimitedNames = 256

// Limited returns a function for Hooks.Observe that passes at most perMinute
// refusals and failures of each name to observe in a minute, and all changes of
// state, so that a flood of requests fills no disk. At the end of the minute,
// [EventOmitted] has the name as Target and the number of events left out, which is
// lost if the process ends before. Limited panics if observe is nil or perMinute is
// less than one.
func Limited(observe func(context.Context, Event), perMinute int) func(context.Context, Event) {
	if observe == nil || perMinute < 1 {
		panic("guard: Limited needs a function and at least one event per minute")
	}
	l := &limited{observe: observe, most: perMinute, windows: make(map[EventName]*window)}
	return func(ctx context.Context, e Event) {
		if e.Denial == nil && e.Err == nil || l.passes(e.Name) {
			observe(ctx, e)
		}
	}
}

type limited struct {
	observe func(context.Context, Event)
	most    int

	mu      sync.Mutex
	windows map[EventName]*window
}

// A window counts the events of one name in one minute.
type window struct {
	began   time.Time
	passed  int
	omitted int64 // since the last report; a timer is set if it is not zero
}

// passes counts an event and reports whether it is passed on.
func (l *limited) passes(name EventName) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[name]
	if w == nil && len(l.windows) >= maxLimitedNames {
		name = "other"
		w = l.windows[name]
	}
	if w == nil {
		w = new(window)
		l.windows[name] = w
	}
	if now.Sub(w.began) >= time.Minute {
		w.began, w.passed = now, 0
	}
	if w.passed < l.most {
		w.passed++
		return true
	}
	w.omitted++
	if w.omitted == 1 {
		time.AfterFunc(w.began.Add(time.Minute).Sub(now), func() { l.report(name, w) })
	}
	return false
}

// report emits how many events of a name were left out.
func (l *limited) report(name EventName, w *window) {
	l.mu.Lock()
	omitted := w.omitted
	w.omitted = 0
	l.mu.Unlock()
	l.observe(context.Background(), Event{
		Name:    EventOmitted,
		Time:    time.Now().UTC().Truncate(time.Microsecond),
		Target:  clean(string(name)),
		Changes: []slog.Attr{slog.Int64("omitted", omitted)},
	})
}
