package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
)

// newLimiter returns a Limiter by address.
func newLimiter(t testing.TB, c ratelimit.Config, limits ...ratelimit.Limit) *ratelimit.Limiter {
	t.Helper()
	return newLimiterBy(t, ratelimit.ByIP, c, limits...)
}

func newLimiterBy(t testing.TB, key ratelimit.KeyFunc, c ratelimit.Config, limits ...ratelimit.Limit) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(key, c, limits...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// hourly returns a limit that does not recover during a test.
func hourly(quota int64) ratelimit.Limit {
	return ratelimit.Limit{Quota: quota, Window: time.Hour}
}

// counting is a handler that knows how often it ran.
type counting struct {
	mu   sync.Mutex
	runs int
}

func (c *counting) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs++
	fmt.Fprint(w, "ok")
}

func (c *counting) ran() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs
}

func request(addr string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = addr
	return r
}

func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// statuses sends n requests and returns their statuses, "200 200 429".
func statuses(h http.Handler, n int, make func(i int) *http.Request) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(send(h, make(i)).Code))
	}
	return strings.Join(all, " ")
}

func from(addr string) func(int) *http.Request {
	return func(int) *http.Request { return request(addr) }
}

// audit collects events.
type audit struct {
	mu     sync.Mutex
	events []guard.Event
}

func (a *audit) hooks() guard.Hooks {
	return guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.events = append(a.events, e)
	}}
}

func (a *audit) count(name guard.EventName) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Name == name {
			n++
		}
	}
	return n
}

// has reports whether the reason of an event has all words.
func (a *audit) has(name guard.EventName, words ...string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.events, func(e guard.Event) bool {
		return e.Name == name && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(fmt.Sprint(e.Err), word) })
	})
}

func (a *audit) last() guard.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.events) == 0 {
		return guard.Event{}
	}
	return a.events[len(a.events)-1]
}
