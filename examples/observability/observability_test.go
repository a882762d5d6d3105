package observability_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/examples/observability"
	"github.com/gatewright/gatewright/ratelimit"
)

// cacheUse is the cache of a Verifier or of an Authenticator.
type cacheUse struct{ hits, misses uint64 }

func (c cacheUse) CacheUse() (hits, misses uint64) { return c.hits, c.misses }

// sessions counts how often it is asked.
type sessions struct {
	n, asked int
	err      error
}

func (s *sessions) CountSessions(context.Context) (int, error) {
	s.asked++
	return s.n, s.err
}

func sources(t *testing.T) observability.Sources {
	t.Helper()
	replica, err := blacklist.NewReplica(new(blacklist.MemoryLog), blacklist.ReplicaConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	budget, err := password.NewBudget(password.BudgetConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return observability.Sources{Revocations: replica, Sessions: &sessions{n: 7}, Hashing: budget, Limits: []*ratelimit.Memory{new(ratelimit.Memory)},
		Caches: map[string]interface{ CacheUse() (hits, misses uint64) }{"tokens": cacheUse{3, 1}}}
}

// drive sends requests to a limited route that needs a caller.
func drive(t *testing.T, hooks guard.Hooks, memory *ratelimit.Memory) {
	t.Helper()
	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{Name: "address", Store: memory, Hooks: hooks}, ratelimit.Limit{Quota: 2, Window: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	h := limiter.Handler(hooks.Authenticated(http.NotFoundHandler()))
	for range 3 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}
}

func TestPrometheusMetricsAreLintedAndOnTheDashboard(t *testing.T) {
	from := sources(t)
	registry := prometheus.NewRegistry()
	metrics, err := observability.NewPrometheus(registry)
	if err := errors.Join(err, metrics.Watch(from)); err != nil {
		t.Fatal(err)
	}
	drive(t, guard.Hooks{Observe: metrics.Count(guard.Log(slog.New(slog.DiscardHandler))), Measure: metrics.Measure}, from.Limits[0])

	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	for _, line := range []string{
		`gatewright_operation_duration_seconds_count{name="address",operation="limit",outcome="succeeded"} 2`,
		`gatewright_operation_duration_seconds_count{name="address",operation="limit",outcome="failed"} 1`,
		`gatewright_operation_duration_seconds_count{name="caller",operation="guard",outcome="failed"} 2`,
		`gatewright_sessions 7`,
		`gatewright_events_total{event="excess_rate_limit_exceeded"} 1`,
		`gatewright_revocations 0`, `gatewright_revocations_staleness_seconds `, `gatewright_hashes_waiting 0`, `gatewright_hashes_running 0`,
		`gatewright_refusals_total{code="quota_exceeded",operation="limit"} 1`, `gatewright_refusals_total{code="unauthenticated",operation="guard"} 2`,
		`gatewright_cache_lookups_total{cache="tokens",result="hit"} 3`, `gatewright_cache_lookups_total{cache="tokens",result="miss"} 1`,
		`gatewright_limit_table_load_ratio{limit="`, `gatewright_limit_table_evictions_total{limit="`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("there is no %s in\n%s", line, text)
		}
	}

	board, err := os.ReadFile("dashboard.json")
	if err != nil || !json.Valid(board) {
		t.Fatalf("dashboard.json: %v", err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, f := range families {
		known[f.GetName()] = true
	}
	names := regexp.MustCompile(`gatewright_[a-z_]+`).FindAllString(string(board), -1)
	for _, name := range names {
		if name = strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"); !known[name] {
			t.Errorf("dashboard.json has %s, which is no metric", name)
		}
	}
	for _, f := range families {
		if !strings.Contains(string(board), f.GetName()) {
			t.Errorf("dashboard.json does not show %s", f.GetName())
		}
	}
}

func TestOpenTelemetryRecordsDurationsAndGauges(t *testing.T) {
	from := sources(t)
	reader := sdk.NewManualReader()
	measure, err := observability.NewOpenTelemetry(sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test"), from)
	if err != nil {
		t.Fatal(err)
	}
	drive(t, guard.Hooks{Measure: measure}, from.Limits[0])
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	var names []string
	refused := uint64(0)
	for _, m := range all.ScopeMetrics[0].Metrics {
		names = append(names, m.Name)
		if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
			for _, p := range h.DataPoints {
				outcome, _ := p.Attributes.Value(attribute.Key("outcome"))
				name, _ := p.Attributes.Value(attribute.Key("name"))
				if outcome.AsString() == "failed" && name.AsString() == "address" {
					refused += p.Count
				}
			}
		}
	}
	slices.Sort(names)
	want := []string{"gatewright.cache.lookups", "gatewright.hashes.waiting", "gatewright.limit.table.load", "gatewright.operation.duration", "gatewright.revocations", "gatewright.revocations.staleness", "gatewright.sessions"}
	if !slices.Equal(names, want) || refused != 1 {
		t.Errorf("the metrics are %v, want %v; %d refusals, want 1", names, want, refused)
	}
}

func TestSessionsAreCountedOnceInFifteenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sessions{n: 7}
		registry := prometheus.NewRegistry()
		metrics, err := observability.NewPrometheus(registry)
		if err := errors.Join(err, metrics.Watch(observability.Sources{Sessions: store})); err != nil {
			t.Fatal(err)
		}
		scrape := func() (value float64, found bool) {
			t.Helper()
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				if f.GetName() == "gatewright_sessions" {
					return f.Metric[0].GetGauge().GetValue(), true
				}
			}
			return 0, false
		}
		for _, step := range []struct {
			wait  time.Duration
			n     int
			err   error
			want  float64
			found bool
			asked int
		}{
			{0, 7, nil, 7, true, 1},
			{observability.CountInterval - 1, 8, nil, 7, true, 1},
			{1, 8, nil, 8, true, 2},
			{observability.CountInterval, 0, errors.New("down"), 0, false, 3},
			{time.Second, 9, nil, 0, false, 3},
			{observability.CountInterval, 9, nil, 9, true, 4},
		} {
			time.Sleep(step.wait)
			store.n, store.err = step.n, step.err
			if got, found := scrape(); got != step.want || found != step.found || store.asked != step.asked {
				t.Errorf("%+v: got %v, %t after %d calls", step, got, found, store.asked)
			}
		}
	})
}
