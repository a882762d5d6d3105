package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
)

// A host starts while its Redis is down, and limits by itself until it is up.
func Example() {
	eval := func(context.Context, string, []string, ...any) (any, error) {
		return nil, errors.New("connection refused") // or what a client answers: see above
	}
	store, err := redisstore.New(eval, redisstore.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
		Store:  store,
		Name:   "api",
		Secret: guard.NewSecret([]byte("32 bytes of crypto/rand, the same in all processes")),
		Nodes:  2, // each takes its part of the quota while Redis is down
	}, ratelimit.MustParse("4/minute")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := limiter.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	for range 3 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(w.Code, w.Header().Get("RateLimit"))
	}
	// Output:
	// 200 "minute";r=1;t=60
	// 200 "minute";r=0;t=60
	// 429 "minute";r=0;t=60
}

// A server that evicts is refused at the start of the host, not when it is
// attacked.
func ExampleStore_Ready() {
	eval := func(context.Context, string, []string, ...any) (any, error) {
		return []any{"master", "allkeys-lru", "0"}, nil
	}
	store, err := redisstore.New(eval, redisstore.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store.Ready(context.Background()))
	// Output:
	// ratelimit/redisstore: proving a write: maxmemory-policy is "allkeys-lru" and must be noeviction, or the server forgets what was spent
}
