package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/httprate"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	"github.com/ulule/limiter/v3"
	ulule "github.com/ulule/limiter/v3/drivers/middleware/stdlib"
	ululestore "github.com/ulule/limiter/v3/drivers/store/memory"

	"github.com/gatewright/gatewright/ratelimit"
)

// ratelimitJobs compares a request that is limited by its address, with the
// response fields that each library sets by default: ours two, the others
// three. Each counts in its own memory; ours never admits more than the limit in
// any window, which the line about the edge of a window is about.
func ratelimitJobs() []job {
	const plenty = 1_000_000_000
	peers := []string{"httprate", "ulule", "go-limiter", "throttled"}
	var all []job
	for _, peer := range peers {
		all = append(all, job{"limit, one address", peer, map[string]func(*testing.B){
			peer:         func(b *testing.B) { limited(b, limiterOf(peer, plenty, time.Minute), 1) },
			"gatewright": func(b *testing.B) { limited(b, limiterOf("gatewright", plenty, time.Minute), 1) },
		}, "<= 250 ns, <= 2 allocs"})
	}
	for _, peer := range peers {
		all = append(all, job{"limit, 2 procs", peer, map[string]func(*testing.B){
			peer:         func(b *testing.B) { limitedParallel(b, limiterOf(peer, plenty, time.Minute)) },
			"gatewright": func(b *testing.B) { limitedParallel(b, limiterOf("gatewright", plenty, time.Minute)) },
		}, "< 1"})
	}
	for _, peer := range peers {
		all = append(all, job{"limit, a million addresses", peer, map[string]func(*testing.B){
			peer:         func(b *testing.B) { limited(b, limiterOf(peer, 1_000_000, time.Hour), 1_000_000) },
			"gatewright": func(b *testing.B) { limited(b, limiterOf("gatewright", 1_000_000, time.Hour), 1_000_000) },
		}, "<= 500 ns"})
	}
	for _, peer := range peers {
		all = append(all, job{"limit, refused", peer, map[string]func(*testing.B){
			peer:         func(b *testing.B) { limited(b, limiterOf(peer, 1, 24*time.Hour), 1) },
			"gatewright": func(b *testing.B) { limited(b, limiterOf("gatewright", 1, 24*time.Hour), 1) },
		}, "< 1"})
	}
	var theirs, ours sync.Once
	return append(all, job{"limit, edge of a window (printed)", "httprate", map[string]func(*testing.B){
		"httprate":   func(b *testing.B) { theirs.Do(func() { edges(peers) }) },
		"gatewright": func(b *testing.B) { ours.Do(func() { edges([]string{"gatewright"}) }) },
	}, "over-admission 0"})
}

// limiterOf returns a handler that admits quota per window from each address.
func limiterOf(who string, quota int64, window time.Duration) http.Handler {
	next := http.HandlerFunc(handled)
	switch who {
	case "httprate":
		byAddr := func(r *http.Request) (string, error) {
			addr, _, err := net.SplitHostPort(r.RemoteAddr)
			return httprate.CanonicalizeIP(addr), err
		}
		return httprate.LimitBy(int(quota), window, byAddr)(next)
	case "ulule":
		return ulule.NewMiddleware(limiter.New(ululestore.NewStore(), limiter.Rate{Limit: quota, Period: window})).Handler(next)
	case "go-limiter":
		store := must(memorystore.New(&memorystore.Config{Tokens: uint64(quota), Interval: window}))
		return must(httplimit.NewMiddleware(store, httplimit.IPKeyFunc())).Handle(next)
	case "throttled":
		// Its clock is in nanoseconds and its rate an interval, so a billion a
		// minute is more than it can say.
		rate := throttled.PerDuration(int(min(quota, 1_000_000)), window)
		g := must(throttled.NewGCRARateLimiterCtx(must(memstore.NewCtx(0)), throttled.RateQuota{MaxRate: rate, MaxBurst: int(quota) - 1}))
		t := throttled.HTTPRateLimiterCtx{RateLimiter: g, VaryBy: &throttled.VaryBy{RemoteAddr: true}}
		return t.RateLimit(next)
	}
	l := must(ratelimit.New(ratelimit.ByIP, ratelimit.Config{Store: &ratelimit.Memory{Bytes: 128 << 20}, Name: "bench"},
		ratelimit.Limit{Quota: quota, Window: window}))
	return l.Handler(next)
}

// addresses is one string, so that the collector sees none of the benchmark's.
func addresses(n int) func(i int) string {
	const width = len("1xx.1xx.1xx.100:1")
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "1%02d.1%02d.1%02d.100:1", i/10000%100, i/100%100, i%100)
	}
	s := all.String()
	return func(i int) string { return s[i*width : (i+1)*width] }
}

// limited measures requests from n addresses, after all have been seen once.
func limited(b *testing.B, h http.Handler, n int) {
	addr := addresses(n)
	r := httptest.NewRequest("GET", "/", nil)
	w := &sink{header: make(http.Header)}
	for i := range n {
		clear(w.header)
		r.RemoteAddr = addr(i)
		h.ServeHTTP(w, r)
	}
	b.ReportAllocs()
	i := uint32(1)
	for b.Loop() {
		clear(w.header)
		i = i*1664525 + 1013904223
		r.RemoteAddr = addr(int(uint64(i) * uint64(n) >> 32))
		h.ServeHTTP(w, r)
	}
}

func limitedParallel(b *testing.B, h http.Handler) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	h.ServeHTTP(&sink{header: make(http.Header)}, httptest.NewRequest("GET", "/", nil)) // makes tables
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "192.0.2.1:1"
		w := &sink{header: make(http.Header)}
		for pb.Next() {
			clear(w.header)
			h.ServeHTTP(w, r)
		}
	})
}

// edges prints how many of a limit of 100 per 300 ms are admitted within one
// window at most, by a client that sends one request, waits until the end of the
// window is near, and then sends as many as it can.
func edges(who []string) {
	const quota, window = 100, 300 * time.Millisecond
	for _, name := range who {
		h := limiterOf(name, quota, window)
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "192.0.2.1:1"
		ctx, cancel := context.WithTimeout(context.Background(), 4*window)
		// The decision was made between the two.
		type moment struct{ before, after time.Time }
		var admitted []moment
		send := func() {
			w := httptest.NewRecorder()
			before := time.Now()
			if h.ServeHTTP(w, r); w.Code == http.StatusOK {
				admitted = append(admitted, moment{before, time.Now()})
			}
		}
		send()
		time.Sleep(window * 9 / 10)
		for ctx.Err() == nil {
			send()
		}
		cancel()
		most, first := 0, 0
		for i, at := range admitted {
			for at.after.Sub(admitted[first].before) >= window {
				first++
			}
			most = max(most, i-first+1)
		}
		fmt.Fprintf(os.Stderr, "%s: at most %d of %d within one window\n", name, most, quota)
	}
}
