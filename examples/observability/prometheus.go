package observability

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/auth/guard"
)

// Prometheus holds the metrics of a program.
type Prometheus struct {
	registerer prometheus.Registerer
	durations  *prometheus.HistogramVec
	events     *prometheus.CounterVec
	refusals   *prometheus.CounterVec
}

// NewPrometheus registers a histogram of measurements and a counter of events. The
// histogram counts too: its sample count by outcome is how often a guard refused.
func NewPrometheus(r prometheus.Registerer) (*Prometheus, error) {
	p := &Prometheus{
		registerer: r,
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatewright_operation_duration_seconds",
			Help:    "Duration of identifications, guards, limiters, store calls, hashes and key fetches.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 12), // 1 us to 4 s
		}, []string{"operation", "name", "outcome"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_events_total",
			Help: "Audit events by name.",
		}, []string{"event"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_refusals_total",
			Help: "Refusals by code.",
		}, []string{"operation", "code"}),
	}
	return p, errors.Join(r.Register(p.durations), r.Register(p.events), r.Register(p.refusals))
}

// Watch registers gauges of the sources.
func (p *Prometheus) Watch(from Sources) error {
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	var all []prometheus.Collector
	if revocations := from.Revocations; revocations != nil {
		all = append(all,
			gauge("gatewright_revocations_staleness_seconds", "Time since the revocation log was last read.", func() float64 { return revocations.Staleness().Seconds() }),
			gauge("gatewright_revocations", "Revocations in memory.", func() float64 { return float64(revocations.Len()) }))
	}
	if hashing := from.Hashing; hashing != nil {
		all = append(all,
			gauge("gatewright_hashes_running", "Passwords that are hashed now.", func() float64 { n, _ := hashing.Usage(); return float64(n) }),
			gauge("gatewright_hashes_waiting", "Calls that wait to hash a password.", func() float64 { _, n := hashing.Usage(); return float64(n) }))
	}
	if from.Sessions != nil {
		all = append(all, sessions{&sessionCount{from: from}})
	}
	if len(from.Limits) > 0 {
		all = append(all, tables(from))
	}
	for name, cache := range from.Caches {
		count := func(result string, read func() uint64) prometheus.Collector {
			return prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name:        "gatewright_cache_lookups_total",
				Help:        "Valid credentials by whether they were found in the cache.",
				ConstLabels: prometheus.Labels{"cache": name, "result": result},
			}, func() float64 { return float64(read()) })
		}
		all = append(all,
			count("hit", func() uint64 { hits, _ := cache.CacheUse(); return hits }),
			count("miss", func() uint64 { _, misses := cache.CacheUse(); return misses }))
	}
	var errs []error
	for _, c := range all {
		errs = append(errs, p.registerer.Register(c))
	}
	return errors.Join(errs...)
}

// Measure is for guard.Hooks.
func (p *Prometheus) Measure(_ context.Context, m guard.Measurement) {
	p.durations.WithLabelValues(m.Operation, m.Name, m.Outcome.String()).Observe(m.Duration.Seconds())
	if m.Outcome == guard.Failed && m.Code != "" {
		p.refusals.WithLabelValues(m.Operation, m.Code).Inc()
	}
}

// Count returns a function for guard.Hooks.Observe that counts events and passes them
// to next.
func (p *Prometheus) Count(next func(context.Context, guard.Event)) func(context.Context, guard.Event) {
	return func(ctx context.Context, e guard.Event) {
		p.events.WithLabelValues(string(e.Name)).Inc()
		next(ctx, e)
	}
}

// tables collects how full the tables of limits are.
type tables Sources

var (
	tableLoad    = prometheus.NewDesc("gatewright_limit_table_load_ratio", "Used part of the table of a limit.", []string{"limit"}, nil)
	tableEvicted = prometheus.NewDesc("gatewright_limit_table_evictions_total", "Keys that lost their place with something spent.", []string{"limit"}, nil)
)

func (tables) Describe(to chan<- *prometheus.Desc) { to <- tableLoad; to <- tableEvicted }

func (t tables) Collect(to chan<- prometheus.Metric) {
	for _, memory := range t.Limits {
		for _, s := range memory.Stats() {
			to <- prometheus.MustNewConstMetric(tableLoad, prometheus.GaugeValue, s.Load, s.Limit)
			to <- prometheus.MustNewConstMetric(tableEvicted, prometheus.CounterValue, float64(s.Evicted), s.Limit)
		}
	}
}

// sessions collects the number of live sessions. There is no sample while the store does
// not count.
type sessions struct{ count *sessionCount }

var liveSessions = prometheus.NewDesc("gatewright_sessions", "Live sessions in the store, the same on all nodes that share it.", nil, nil)

func (sessions) Describe(to chan<- *prometheus.Desc) { to <- liveSessions }

func (s sessions) Collect(to chan<- prometheus.Metric) {
	if n, ok := s.count.read(); ok {
		to <- prometheus.MustNewConstMetric(liveSessions, prometheus.GaugeValue, float64(n))
	}
}
