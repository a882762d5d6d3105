// Package ratelimit limits how often a client may do something: by address,
// caller, tenant, route or plan. This route admits five requests a minute from
// each address:
//
//	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{}, ratelimit.MustParse("5/minute")...)
//	…
//	mux.Handle("GET /limited/", limiter.Handler(limited))
//
// A [Valve] protects the process as a whole. A [SignIn] is the Throttle of
// package auth, a [KeyThrottle] the Throttle of package apikey.
//
// # Order
//
// A Valve and limits by address stand behind the middleware that sets
// r.RemoteAddr, and in front of expensive work. Limits by caller stand behind
// Identify, limits by route behind the mux.
//
// # Several processes
//
// Without [Config.Store] each process counts for itself, in a [Memory]. A shared
// Store is called once per request, at most 256 times at once by a limiter, and
// after three failures in a row only every 250 ms until it answers. Meanwhile
// [Limit.Down] decides.
//
// # Responses
//
// A refusal is 429 with problem details and an exact Retry-After, plus up to a
// tenth to spread retries. RateLimit and RateLimit-Policy follow
// draft-ietf-httpapi-ratelimit-headers-10, and change with it. A request that
// costs more than a limit ever allows is 413. A Valve refuses with 503.
//
// # Security considerations
//
// A limit by address limits addresses, not people: many share an address behind a
// NAT, and a botnet has many addresses, each with its own quota. Without trusted
// proxies, all clients of a reverse proxy are one address.
//
// Processes that count in memory admit the quota each, unless [Config.Nodes]
// divides it. A Memory forgets everything when the process ends.
//
// The bytes of a refused request have been received. A refused request is not
// charged, so a client that keeps trying is admitted as soon as one that waits. A
// client that can cause a refunded status is not limited; see [Config.Refund].
package ratelimit
