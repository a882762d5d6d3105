package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/examples/observability"
)

// Metrics have a listener of their own, which only this machine reaches: they tell
// how many sign-ins fail and how full the tables of limits are.

// A meter is what -metrics-addr starts.
type meter struct {
	*observability.Prometheus
	hashing *password.Budget
	server  *http.Server
}

// checkMetricsAddr refuses addresses that other machines reach.
func checkMetricsAddr(addr string) error {
	if addr == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	if err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("-metrics-addr %q is not on the loopback interface; use 127.0.0.1:9090 or [::1]:9090, and let the collector run on this machine", withoutRest(addr))
	}
	return nil
}

// newMeter listens on addr. The hasher's budget is one of its gauges.
func newMeter(addr string, hashing *password.Budget, log *slog.Logger) (*meter, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("-metrics-addr %s: %w", addr, err)
	}
	registry := prometheus.NewRegistry()
	metrics, err := observability.NewPrometheus(registry)
	err = errors.Join(err, registry.Register(collectors.NewGoCollector()), registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})))
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	m := &meter{Prometheus: metrics, hashing: hashing, server: newServer(mux, log)}
	m.server.Addr = listener.Addr().String()
	go func() {
		if err := m.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the listener of -metrics-addr ended", "error", err)
		}
	}()
	return m, nil
}

// close ends the listener of metrics.
func (m *meter) close() error { return m.server.Close() }
