package ratelimit

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatewright/gatewright/auth/guard"
)

// A Valve limits the requests of all clients of the process: in any time t at most
// Burst + rate·t enter. Further requests wait in a bounded queue, first come, first
// served.
type Valve struct {
	config ValveConfig
	rate   float64

	mu      sync.Mutex
	limiter *rate.Limiter // only AllowN and TokensAt are called: it never owes a turn
	queue   list.List     // of chan struct{}, each closed when its turn has come
	timer   *time.Timer   // runs turns when the first of the queue is due
}

// ValveConfig configures a [Valve].
type ValveConfig struct {
	// Burst is the number of requests that may enter at once. Default: the
	// requests of a tenth of a second, at least 1.
	Burst int

	// Queue is the maximum number of waiting requests, or -1 for none; others are
	// refused with 503. Default: as many as enter in MaxWait, at most 10,000.
	Queue int

	// MaxWait bounds the wait, at most 1 minute. Requests that would wait longer
	// are refused at once. Default: 1 second.
	MaxWait time.Duration

	Hooks guard.Hooks
}

// NewValve returns a Valve for perSecond requests, above 0 and at most 10,000,000.
func NewValve(perSecond float64, config ValveConfig) (*Valve, error) {
	var mistakes []error
	if !(perSecond > 0 && perSecond <= 1e7) {
		mistakes = append(mistakes, fmt.Errorf("ratelimit: perSecond is %v; pass more than 0 and at most 10000000", perSecond))
	}
	if config.Burst < 0 {
		mistakes = append(mistakes, fmt.Errorf("ratelimit: ValveConfig.Burst is %d; set 1 or more", config.Burst))
	}
	if config.Queue < -1 {
		mistakes = append(mistakes, fmt.Errorf("ratelimit: ValveConfig.Queue is %d; set 1 or more, or -1 for none", config.Queue))
	}
	if config.MaxWait < 0 || config.MaxWait > time.Minute {
		mistakes = append(mistakes, fmt.Errorf("ratelimit: ValveConfig.MaxWait is %v; set up to 1m0s", config.MaxWait))
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	if config.Burst == 0 {
		// Timers are late by about a millisecond: less than the requests of
		// that time would cost some of the rate.
		config.Burst = max(1, int(perSecond/10))
	}
	if config.MaxWait == 0 {
		config.MaxWait = time.Second
	}
	if config.Queue == 0 {
		config.Queue = min(10_000, max(1, int(perSecond*config.MaxWait.Seconds())))
	}
	return &Valve{limiter: rate.NewLimiter(rate.Limit(perSecond), config.Burst), config: config, rate: perSecond}, nil
}

// Handler returns next behind the valve.
func (v *Valve) Handler(next http.Handler) http.Handler {
	if next == nil {
		panic("ratelimit: the next handler is nil")
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := v.Wait(r.Context()); err != nil {
			v.config.Hooks.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
	what := strconv.FormatFloat(v.rate, 'f', -1, 64) + " per second in all"
	return guard.Describe(h, next, guard.Requirement{Kind: guard.KindLimit, Values: []string{what}})
}

// Wait returns nil when the request may enter, or a [guard.Denial] if the queue is
// full, the wait too long, or ctx ends.
func (v *Valve) Wait(ctx context.Context) error {
	begun := v.config.Hooks.Begin()
	err := v.wait(ctx)
	v.config.Hooks.Measured(ctx, begun, "limit", "valve", err)
	return err
}

func (v *Valve) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return clientGone(ctx, err)
	}
	place, err := v.enter()
	if place == nil {
		return err
	}
	turn := place.Value.(chan struct{})
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		if v.leave(place) {
			return clientGone(ctx, ctx.Err())
		}
		return nil // the turn came at the same time and cannot be given back
	}
}

// Waiting returns the number of waiting requests.
func (v *Valve) Waiting() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queue.Len()
}

// enter admits a request, refuses it, or returns its place in the queue.
func (v *Valve) enter() (*list.Element, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	// Read under the lock, so that time does not go back for the limiter.
	now := time.Now()
	v.admit(now) // earlier requests first, as many as the rate allows
	if v.limiter.AllowN(now, 1) {
		return nil, nil
	}
	waiting := v.queue.Len()
	wait := v.until(now, waiting+1)
	if waiting >= max(0, v.config.Queue) || wait > v.config.MaxWait {
		return nil, overloaded(wait)
	}
	place := v.queue.PushBack(make(chan struct{}))
	if waiting == 0 {
		v.arm(now)
	}
	return place, nil
}

// leave gives up a place and reports whether its turn had not come.
func (v *Valve) leave(place *list.Element) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	turn := place.Value.(chan struct{})
	select {
	case <-turn:
		return false
	default:
	}
	v.queue.Remove(place)
	if v.queue.Len() == 0 {
		v.timer.Stop()
	}
	return true
}

// turns admits the requests that are due, and sets the timer for the next one.
func (v *Valve) turns() {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	v.admit(now)
	if v.queue.Len() > 0 {
		v.arm(now)
	}
}

// admit admits requests from the front of the queue, as many as the rate allows.
func (v *Valve) admit(now time.Time) {
	for v.queue.Len() > 0 && v.limiter.AllowN(now, 1) {
		close(v.queue.Remove(v.queue.Front()).(chan struct{}))
	}
}

// arm sets the timer for the first request of the queue. An extra run of turns is
// harmless.
func (v *Valve) arm(now time.Time) {
	wait := v.until(now, 1) + 1 // rounded up
	if v.timer == nil {
		v.timer = time.AfterFunc(wait, v.turns)
	} else {
		v.timer.Reset(wait)
	}
}

// until returns the time until n requests may enter, rounded down, at most a day.
func (v *Valve) until(now time.Time, n int) time.Duration {
	seconds := (float64(n) - v.limiter.TokensAt(now)) / v.rate
	return time.Duration(min(max(seconds, 0), 86_400) * float64(time.Second))
}

var errOverloaded = errors.New("ratelimit: the queue of the Valve is full")

func overloaded(wait time.Duration) *guard.Denial {
	return &guard.Denial{
		Status:     http.StatusServiceUnavailable,
		Code:       codeOverloaded,
		Detail:     "The service is busy. Please try again.",
		RetryAfter: jitter(max(wait, time.Second)),
		Event:      guard.EventRateLimit,
		Err:        errOverloaded,
	}
}
