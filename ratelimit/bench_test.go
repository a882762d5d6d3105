package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

func served(b *testing.B, c ratelimit.Config, limits ...ratelimit.Limit) http.Handler {
	l, err := ratelimit.New(ratelimit.ByIP, c, limits...)
	if err != nil {
		b.Fatal(err)
	}
	return l.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

var plenty = ratelimit.Limit{Quota: 1_000_000_000, Window: time.Minute}

func BenchmarkHandler(b *testing.B) {
	for _, bench := range []struct {
		name   string
		config ratelimit.Config
		addr   string
		limits []ratelimit.Limit
	}{
		{"strict", ratelimit.Config{}, "192.0.2.1:1234", []ratelimit.Limit{plenty}},
		{"smooth", ratelimit.Config{}, "192.0.2.1:1234", []ratelimit.Limit{{Kind: ratelimit.Smooth, Quota: 60_000_000, Burst: 60_000_000, Window: time.Minute}}},
		{"without fields", ratelimit.Config{Fields: ratelimit.FieldsNone}, "192.0.2.1:1234", []ratelimit.Limit{plenty}},
		{"legacy fields", ratelimit.Config{Fields: ratelimit.FieldsLegacy}, "192.0.2.1:1234", []ratelimit.Limit{plenty}},
		{"two limits", ratelimit.Config{}, "192.0.2.1:1234", []ratelimit.Limit{plenty, {Quota: 1_000_000_000, Window: time.Hour}}},
		{"IPv6 with its network", ratelimit.Config{}, "[2001:db8::1]:1234", []ratelimit.Limit{plenty}},
		{"in flight", ratelimit.Config{}, "192.0.2.1:1234", []ratelimit.Limit{ratelimit.InFlight(10)}},
		{"refused", ratelimit.Config{}, "192.0.2.1:1234", []ratelimit.Limit{{Quota: 1, Window: 24 * time.Hour}}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			h := served(b, bench.config, bench.limits...)
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = bench.addr
			w := &sink{make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		h := served(b, ratelimit.Config{}, plenty)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = "192.0.2.1:1234"
			w := &sink{make(http.Header)}
			for pb.Next() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	})
}

// BenchmarkKeys is with so many addresses that the table is in no cache.
func BenchmarkKeys(b *testing.B) {
	// One string, so that the collector has nothing of the benchmark to see.
	const keys, width = 1_000_000, len("1xx.1xx.1xx.100:1")
	var all strings.Builder
	for i := range keys {
		fmt.Fprintf(&all, "1%02d.1%02d.1%02d.100:1", i/10000, i/100%100, i%100)
	}
	addr := func(i int) string { return all.String()[i*width : (i+1)*width] }
	for _, kind := range []ratelimit.Kind{ratelimit.Strict, ratelimit.Smooth} {
		b.Run(fmt.Sprintf("1M/%v", kind), func(b *testing.B) {
			h := served(b, ratelimit.Config{Store: &ratelimit.Memory{Bytes: 256 << 20}, Name: "bench"},
				ratelimit.Limit{Kind: kind, Quota: 1_000_000, Window: time.Minute})
			r := httptest.NewRequest("GET", "/", nil)
			w := &sink{make(http.Header)}
			for i := range keys {
				clear(w.header)
				r.RemoteAddr = addr(i)
				h.ServeHTTP(w, r)
			}
			i := uint32(1)
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				i = i*1664525 + 1013904223
				r.RemoteAddr = addr(int(uint64(i) * keys >> 32))
				h.ServeHTTP(w, r)
			}
			b.StopTimer()
			runtime.GC()
			start := time.Now()
			runtime.GC()
			b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/GC")
			runtime.KeepAlive(h)
		})
	}
	b.Run("flood of new keys", func(b *testing.B) {
		m := &ratelimit.Memory{}
		charges := []ratelimit.Charge{{Limit: ratelimit.Limit{Name: "l", Quota: 1000, Window: time.Minute}, Cost: 1}}
		ctx := context.Background()
		n := uint64(0)
		b.ReportAllocs()
		for b.Loop() {
			n++
			for i := range 8 {
				charges[0].Key[i] = byte(n * 0x9e3779b97f4a7c15 >> (8 * i))
				charges[0].Key[8+i] = byte(n * 0xc2b2ae3d27d4eb4f >> (8 * i))
			}
			m.Take(ctx, charges)
		}
	})
}
