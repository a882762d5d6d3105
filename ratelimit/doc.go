// Package ratelimit limits how often a client may do something: by address, caller,
// tenant, route or plan. This route admits five requests a minute from each address:
//
//	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{}, ratelimit.MustParse("5/minute")...)
//	…
//	mux.Handle("GET /limited/", limiter.Handler(limited))
//
// A [Valve] limits the process as a whole, a [SignIn] attempts to sign in, a
// [KeyThrottle] guesses at API keys. Except for KeyBuilder, types with methods are safe
// for concurrent use. Constructors list all mistakes in one error.
//
// # Order
//
// A Valve and limits by address stand behind the middleware that sets r.RemoteAddr,
// limits by caller behind Identify, limits by route behind the mux.
//
// # Several processes
//
// Without [Config.Store] each process counts for itself, in a [Memory]. A shared Store
// is called once per request, at most 256 times at once by a limiter. While it does not
// answer, a [Breaker] stops the calls and [Limit.Down] applies.
//
// # Responses
//
// A refusal is 429 with problem details and an exact Retry-After, plus up to a tenth to
// spread retries. A request that costs more than a limit ever allows is 413. A Valve
// refuses with 503. RateLimit and RateLimit-Policy change with their draft.
//
// # Security considerations
//
// Many users can share an address behind a NAT, and a botnet has many addresses. Without
// trusted proxies, all clients of a reverse proxy have one address.
//
// Processes that count in memory admit the quota each, unless [Config.Nodes] divides it.
// A Memory is empty after a restart.
//
// A refused request is not charged, so a client that keeps trying is admitted as soon as
// a client that waits. Its bytes have been received. A client that can cause a refunded
// status is not limited; see [Config.Refund].
package ratelimit
