package integration

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
)

// newLimitKey returns a key that nobody else has.
func newLimitKey() (k ratelimit.Key) {
	rand.Read(k[:])
	return k
}

// A history is when requests were admitted: at some moment between before and
// after.
type history struct {
	mu     sync.Mutex
	events []admission
}

type admission struct{ before, after time.Time }

func newHistory() *history { return new(history) }

func (h *history) add(before, after time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, admission{before, after})
}

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.events)
}

// split returns the requests that began before from, and those that began at or
// after to. Requests that began between the two are in neither.
func (h *history) split(from, to time.Time) (before, after *history) {
	before, after = newHistory(), newHistory()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		switch {
		case e.before.Before(from):
			before.add(e.before, e.after)
		case !e.before.Before(to):
			after.add(e.before, e.after)
		}
	}
	return before, after
}

// most returns how many were certainly admitted in one window, wherever it
// begins, and whether that is at most the quota. A request that began and ended
// within a window was admitted in it, whenever the store decided.
func (h *history) most(window time.Duration, quota int) (int, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.SortFunc(h.events, func(a, b admission) int { return a.before.Compare(b.before) })
	most := 0
	for i, first := range h.events {
		n := 0
		for _, e := range h.events[i:] {
			if e.before.Sub(first.before) >= window {
				break
			}
			if e.after.Sub(first.before) < window {
				n++
			}
		}
		most = max(most, n)
	}
	return most, most <= quota
}
