package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
)

// A server whose route admits two requests a minute from each address.
func Example() {
	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{}, ratelimit.MustParse("2/minute;100/hour")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /limited/", limiter.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "This endpoint is rate limited")
	})))

	for _, addr := range []string{"192.0.2.1:5001", "192.0.2.1:5002", "192.0.2.1:5003", "192.0.2.2:5001"} {
		r := httptest.NewRequest("GET", "/limited/", nil)
		r.RemoteAddr = addr
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(addr, w.Code, w.Header().Get("RateLimit-Policy"))
	}
	// Output:
	// 192.0.2.1:5001 200 "minute";q=2;w=60, "hour";q=100;w=3600
	// 192.0.2.1:5002 200 "minute";q=2;w=60, "hour";q=100;w=3600
	// 192.0.2.1:5003 429 "minute";q=2;w=60, "hour";q=100;w=3600
	// 192.0.2.2:5001 200 "minute";q=2;w=60, "hour";q=100;w=3600
}

func ExampleParse() {
	limits, err := ratelimit.Parse("5/minute; 10 per 5 minutes; 1000/hour")
	fmt.Println(err)
	for _, l := range limits {
		fmt.Println(l.Name, l.Quota, l.Window, l.Kind)
	}
	_, err = ratelimit.Parse("5 per fortnight")
	fmt.Println(err)
	// Output:
	// <nil>
	// minute 5 1m0s strict
	// 5-minutes 10 5m0s strict
	// hour 1000 1h0m0s strict
	// ratelimit: limit is "5 per fortnight"; use the form "5/minute" or "10 per 5 minutes"
}

// Each route has a quota of its own for each address. Behind the mux, that is,
// for in front of it no route is known.
func ExampleJoin() {
	limiter, err := ratelimit.New(ratelimit.Join(ratelimit.ByRoute, ratelimit.ByIP), ratelimit.Config{}, ratelimit.MustParse("1/hour")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux := http.NewServeMux()
	mux.Handle("GET /items/{id}", limiter.Handler(ok))
	mux.Handle("GET /users/{id}", limiter.Handler(ok))
	for _, path := range []string{"/items/1", "/items/2", "/users/1"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		fmt.Println(path, w.Code)
	}
	// Output:
	// /items/1 200
	// /items/2 429
	// /users/1 200
}

// Limits by plan: plans are made, and found good, when the server starts.
func ExampleNewPlan() {
	pro, err := ratelimit.NewPlan(ratelimit.Limit{Quota: 1000, Window: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	limiter, err := ratelimit.New(ratelimit.ByCaller, ratelimit.Config{
		LimitsFor: func(r *http.Request) (*ratelimit.Plan, error) {
			if r.Header.Get("Demo-Plan") == "pro" { // in earnest: of guard.Caller(r)
				return pro, nil
			}
			return nil, nil // those of New
		},
	}, ratelimit.MustParse("10/hour")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	h := limiter.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, plan := range []string{"", "pro"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Demo-Plan", plan)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Header().Get("RateLimit-Policy"))
	}
	// Output:
	// "hour";q=10;w=3600
	// "hour";q=1000;w=3600
}

// Messages of a WebSocket are no requests: their fields make the key.
func ExampleLimiter_Reserve() {
	limiter, err := ratelimit.New(ratelimit.ByPrincipal, ratelimit.Config{}, ratelimit.MustParse("2/second")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		_, err := limiter.Reserve(context.Background(), 1, "room 7", "alice")
		if d, ok := errors.AsType[*guard.Denial](err); ok {
			fmt.Println("refused:", d.Code)
			continue
		}
		fmt.Println("sent")
	}
	// Output:
	// sent
	// sent
	// refused: quota_exceeded
}

func ExampleSignIn_Reserve() {
	throttle, err := ratelimit.NewSignIn(ratelimit.SignInConfig{Pair: ratelimit.Limit{Quota: 2, Window: time.Hour}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, given := range []string{"guess", "guess", "secret"} {
		settle, retryAfter, err := throttle.Reserve(context.Background(), "alice", "192.0.2.1")
		if err != nil || retryAfter > 0 {
			fmt.Println("not even tried:", retryAfter >= time.Hour)
			continue
		}
		outcome := guard.Failed
		if given == "secret" { // the work, of which there are two at most
			outcome = guard.Succeeded
		}
		settle(outcome)
		fmt.Println(outcome)
	}
	// Output:
	// failed
	// failed
	// not even tried: true
}

func ExampleValve() {
	valve, err := ratelimit.NewValve(100, ratelimit.ValveConfig{Burst: 1, Queue: -1})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := valve.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 503
}

// Incorrect: the client chooses the path, and a key of it is a new quota for
// every spelling.
func ExampleNew_incorrect() {
	byPath := func(r *http.Request, k *ratelimit.KeyBuilder) error { k.Add(r.URL.Path); return nil }
	limiter, err := ratelimit.New(byPath, ratelimit.Config{}, ratelimit.MustParse("1/hour")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	admitted := 0
	for i := range 1000 {
		if limiter.Check(httptest.NewRequest("GET", fmt.Sprintf("/login/%d", i), nil)) == nil {
			admitted++
		}
	}
	fmt.Println(admitted)
	// Output:
	// 1000
}
