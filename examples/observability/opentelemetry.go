package observability

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/gatewright/gatewright/auth/guard"
)

// NewOpenTelemetry returns a function for guard.Hooks.Measure that records durations
// with the meter, and registers gauges. The functions of the meter are only of
// OpenTelemetry's API: the program chooses the exporter.
func NewOpenTelemetry(meter metric.Meter, from Sources) (func(context.Context, guard.Measurement), error) {
	durations, err := meter.Float64Histogram("gatewright.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of identifications, guards, limiters, store calls, hashes and key fetches."),
		metric.WithExplicitBucketBoundaries(1e-6, 4e-6, 1.6e-5, 6.4e-5, 2.56e-4, 1.024e-3, 4.096e-3, 1.6384e-2, 6.5536e-2, 0.262144, 1.048576))
	errs := []error{err}
	gauge := func(name, unit, description string, read func() float64) {
		_, err := meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error { o.Observe(read()); return nil }))
		errs = append(errs, err)
	}
	if revocations := from.Revocations; revocations != nil {
		gauge("gatewright.revocations.staleness", "s", "Time since the revocation log was last read.", func() float64 { return revocations.Staleness().Seconds() })
		gauge("gatewright.revocations", "{revocation}", "Revocations in memory.", func() float64 { return float64(revocations.Len()) })
	}
	if hashing := from.Hashing; hashing != nil {
		gauge("gatewright.hashes.waiting", "{hash}", "Calls that wait to hash a password.", func() float64 { _, n := hashing.Usage(); return float64(n) })
	}
	if from.Sessions != nil {
		count := &sessionCount{from: from}
		_, err := meter.Int64ObservableGauge("gatewright.sessions", metric.WithUnit("{session}"), metric.WithDescription("Live sessions in the store, the same on all nodes that share it."),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				if n, ok := count.read(); ok {
					o.Observe(int64(n))
				}
				return nil
			}))
		errs = append(errs, err)
	}
	if len(from.Limits) > 0 {
		_, err := meter.Float64ObservableGauge("gatewright.limit.table.load", metric.WithUnit("1"), metric.WithDescription("Used part of the table of a limit."),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				for _, memory := range from.Limits {
					for _, s := range memory.Stats() {
						o.Observe(s.Load, metric.WithAttributes(attribute.String("limit", s.Limit)))
					}
				}
				return nil
			}))
		errs = append(errs, err)
	}
	if len(from.Caches) > 0 {
		_, err := meter.Int64ObservableCounter("gatewright.cache.lookups", metric.WithUnit("{lookup}"), metric.WithDescription("Valid credentials by whether they were found in the cache."),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				for name, cache := range from.Caches {
					hits, misses := cache.CacheUse()
					o.Observe(int64(hits), metric.WithAttributes(attribute.String("cache", name), attribute.String("result", "hit")))
					o.Observe(int64(misses), metric.WithAttributes(attribute.String("cache", name), attribute.String("result", "miss")))
				}
				return nil
			}))
		errs = append(errs, err)
	}
	return func(ctx context.Context, m guard.Measurement) {
		durations.Record(ctx, m.Duration.Seconds(), metric.WithAttributes(
			attribute.String("operation", m.Operation), attribute.String("name", m.Name), attribute.String("outcome", m.Outcome.String()), attribute.String("code", m.Code)))
	}, errors.Join(errs...)
}
