package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatewright/gatewright/auth/guard"
)

// A Valve lets so many requests a second into the process, whoever sends them:
// the protection of a machine that can do no more, where a [Limiter] is the
// fair share of a caller. It is a golang.org/x/time/rate limiter with a bounded
// queue in front of it, and safe for concurrent use.
type Valve struct {
	limiter *rate.Limiter
	config  ValveConfig
	rate    float64
	waiting atomic.Int64
}

// ValveConfig is what may be said about a [Valve].
type ValveConfig struct {
	// Burst is how many requests may enter at once. Default: a tenth of a
	// second's worth, at least 1.
	Burst int

	// Queue is how many requests may wait at once; none with -1. One more is
	// refused with 503. Default: as many as enter in MaxWait, at most 10,000.
	Queue int

	// MaxWait is how long a request may wait; one that would have to wait
	// longer is refused at once. At most 1 minute. Default: 1 second.
	MaxWait time.Duration

	// Hooks say how refusals look and who hears about them.
	// Default: problem details; nobody.
	Hooks guard.Hooks
}

// NewValve returns a Valve that lets perSecond requests in, more than 0 and at
// most 10,000,000.
func NewValve(perSecond float64, config ValveConfig) (*Valve, error) {
	var wrong []error
	if !(perSecond > 0 && perSecond <= 1e7) {
		wrong = append(wrong, fmt.Errorf("ratelimit: perSecond is %v, want more than 0 and at most 10000000", perSecond))
	}
	if config.Burst < 0 {
		wrong = append(wrong, fmt.Errorf("ratelimit: ValveConfig.Burst is %d, want 1 or more", config.Burst))
	}
	if config.Queue < -1 {
		wrong = append(wrong, fmt.Errorf("ratelimit: ValveConfig.Queue is %d, want 1 or more, or -1 for none", config.Queue))
	}
	if config.MaxWait < 0 || config.MaxWait > time.Minute {
		wrong = append(wrong, fmt.Errorf("ratelimit: ValveConfig.MaxWait is %v, want up to 1m0s", config.MaxWait))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	if config.Burst == 0 {
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
		panic("ratelimit: no handler behind the valve")
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := v.Check(r.Context()); err != nil {
			v.config.Hooks.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
	what := strconv.FormatFloat(v.rate, 'f', -1, 64) + " per second in all"
	return guard.Describe(h, next, guard.Requirement{Kind: guard.KindLimit, Values: []string{what}})
}

// Check returns nil when a request may enter, after it has waited for its turn.
// It returns a [guard.Denial] at once if the queue is full or the wait would be
// longer than MaxWait, and when ctx is over before the turn comes; then the turn
// goes to somebody else.
func (v *Valve) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return clientGone(ctx, err)
	}
	turn := v.limiter.Reserve()
	wait := turn.Delay()
	if wait == 0 {
		return nil
	}
	if v.waiting.Add(1) > int64(max(0, v.config.Queue)) || wait > v.config.MaxWait {
		v.waiting.Add(-1)
		turn.Cancel()
		return overloaded(wait)
	}
	defer v.waiting.Add(-1)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		turn.Cancel()
		return clientGone(ctx, ctx.Err())
	}
}

// Waiting returns how many requests are waiting for their turn, for metrics.
func (v *Valve) Waiting() int { return int(v.waiting.Load()) }

var errOverloaded = errors.New("ratelimit: more requests wait at the valve than may")

func overloaded(wait time.Duration) *guard.Denial {
	return &guard.Denial{
		Status:     http.StatusServiceUnavailable,
		Code:       CodeOverloaded,
		Detail:     "The service is busy. Please try again.",
		RetryAfter: jitter(max(wait, time.Second)),
		Event:      guard.EventRateLimit,
		Err:        errOverloaded,
	}
}
