// Package observability passes the measurements of Gatewright to Prometheus and to
// OpenTelemetry. Copy the file of your choice into your program:
//
//	metrics, err := observability.NewPrometheus(registry)
//	hooks := guard.Hooks{Observe: metrics.Count(guard.Log(logger)), Measure: metrics.Measure}
//	err = metrics.Watch(observability.Sources{Revocations: replica})
//
// dashboard.json is a Grafana dashboard for the Prometheus metrics. The values of all
// labels come from the program and its configuration, never from a client.
package observability

import (
	"context"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/ratelimit"
)

// Sources are what gauges read. Those that are nil or empty are left out.
type Sources struct {
	Revocations *blacklist.Replica
	Hashing     *password.Budget
	Limits      []*ratelimit.Memory

	// Sessions counts the live sessions, at most once in [CountInterval]. It may be an
	// auth.SessionCounter.
	Sessions interface {
		CountSessions(ctx context.Context) (int, error)
	}

	// Caches are a *token.Verifier and an *apikey.Authenticator, each with a name.
	Caches map[string]interface{ CacheUse() (hits, misses uint64) }
}

// CountInterval is how long a count of sessions is used again, so that scrapes of any
// rate cost the store little.
const CountInterval = 15 * time.Second

// countTimeout is how long the store may count.
const countTimeout = 2 * time.Second

// A sessionCount is the last count of the sessions.
type sessionCount struct {
	from Sources

	mu  sync.Mutex
	at  time.Time // when the store was asked
	n   int
	err error
}

// read returns the number of sessions, and false if the store does not count.
func (c *sessionCount) read() (n int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= CountInterval {
		ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
		defer cancel()
		c.n, c.err = c.from.Sessions.CountSessions(ctx)
		c.at = time.Now()
	}
	return c.n, c.err == nil
}
