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
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/ratelimit"
)

// Sources are what gauges read. Those that are nil or empty are left out.
type Sources struct {
	Revocations *blacklist.Replica
	Hashing     *password.Budget
	Limits      []*ratelimit.Memory

	// Caches are a *token.Verifier and an *apikey.Authenticator, each with a name.
	Caches map[string]interface{ CacheUse() (hits, misses uint64) }
}
