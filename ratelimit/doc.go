// Package ratelimit limits how often a client may do something: by address, caller,
// tenant, route or plan.
//
// A [Limiter] counts requests for a key and refuses with 429 what exceeds a limit.
// This route admits five requests a minute from each address:
//
//	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{}, ratelimit.MustParse("5/minute")...)
//	if err != nil {
//		return err
//	}
//	mux.Handle("GET /limited/", limiter.Handler(limited))
//
// All limits of a request are charged in one step, or no limit is. Limits are [Strict] by
// default: never more than N in any window, wherever it begins. [Smooth] admits an even
// rate with a burst, [InFlight] a number of requests at a time.
//
// A [Valve] protects the process as a whole. A [SignIn] is the Throttle of package auth,
// a [KeyThrottle] the Throttle of package apikey:
//
//	throttle, err := ratelimit.NewSignIn(ratelimit.SignInConfig{})
//	…
//	auth.Config{Throttle: throttle}
//
// # Order
//
// A Valve and limits by address stand behind the middleware that sets r.RemoteAddr, and in
// front of expensive work. Limits by caller stand behind Identify, limits by route behind
// the mux.
//
// # Several processes
//
// Without [Config.Store] each process counts in a [Memory] of its own. A Store that several
// processes share is called once per request and has 50 ms to answer. After three failures
// in a row it is called once every 250 ms only, until it answers again, and [Limit.Down]
// decides meanwhile. At most 256 calls of one limiter are under way. Concurrent limits count
// in the process, whatever the Store.
//
// # Responses
//
// A refusal is 429 with problem details and Retry-After, which is exact, rounded up, and
// spread by up to a tenth so that clients do not come back at once. RateLimit and
// RateLimit-Policy follow draft-ietf-httpapi-ratelimit-headers-10, and change with it. A
// request that costs more than a limit ever allows is 413 without Retry-After. A Valve
// refuses with 503.
//
// # Security considerations
//
// A limit by address limits addresses, not people: many people share an address behind a
// NAT, and a botnet has many addresses. It is as trustworthy as r.RemoteAddr: without
// trusted proxies, all clients of a reverse proxy are one.
//
// Several processes that count in memory, because they have no Store or the Store is down,
// admit the quota each, unless [Config.Nodes] divides it. A Memory forgets what was spent
// when the process ends.
//
// A thousand addresses within their limits are still a thousand requests. The bytes of a
// refused request have been received. A refused request is not charged, so a client that
// keeps trying is admitted as soon as one that waits. A client that can cause a refunded
// status is not limited; see [Config.Refund].
package ratelimit
