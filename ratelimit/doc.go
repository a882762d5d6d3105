// Package ratelimit limits how often something may be done: per address, caller,
// tenant, route or plan.
//
// A Limiter counts for a key and refuses with 429 what exceeds one of its
// limits. This is the guide's route, five requests a minute for each address:
//
//	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{}, ratelimit.MustParse("5/minute")...)
//	if err != nil {
//		return err
//	}
//	mux.Handle("GET /limited/", limiter.Handler(limited))
//
// All limits of a request are charged in one step or none is: a request that the
// second limit refuses has used up nothing of the first. Limits are [Strict]
// unless they say otherwise: never more than N in any window, wherever it
// begins, where a counter that starts anew with each minute admits 2N around its
// end. [Smooth] admits an even rate with a burst, [InFlight] so many at a time.
//
// A [Valve] protects the process as a whole; a [SignIn] is the Throttle that the
// auth package asks before it looks at a password, and tells how it ended:
//
//	throttle, err := ratelimit.NewSignIn(ratelimit.SignInConfig{})
//	…
//	auth.Config{Throttle: throttle}
//
// [Guesses] is the same for apikey.Config.Throttle.
//
// # Order
//
// A Valve and limits by address come behind what settles r.RemoteAddr (the
// headers package's trusted proxies) and before anything expensive. Limits by
// caller come behind Identify, limits by route behind the mux.
//
// # What the table in memory promises
//
// [Memory] has a fixed number of places, in sets of seven, and no flood of keys
// makes it larger. A key that finds no place takes over another's, and what the
// other had spent is not forgotten: each set keeps a ghost, which has spent at
// any time at least as much as each key that lost its place there, and every
// newcomer begins with what the ghost has spent. So the invariant is:
//
//	At any moment, what a key is held to have spent since any earlier
//	moment is at least what it did spend.
//
// A ring of sub-windows is covered by the element-wise maximum of what the
// ghost and the one who leaves have in each; inheriting from the latter alone
// would be too little. For quotas up to ten it is the later of the two i-th
// newest times; for Smooth limits, the later arrival time.
//
// The price is paid by newcomers, and by those who come back after they lost
// their place: once the live keys exceed the places they may be refused for
// what others have spent. Which part of them was, is this, where a key is live
// while something it spent is in the window (TestPlotRefusedNewcomers draws it;
// Strict, a quota of 10):
//
//	live keys per place:    0.25    0.5   0.75      1    1.5      2      3      5      8     12     20
//	each spent  1 of 10     0.0%   0.0%   0.0%   0.0%   0.0%   0.0%   0.0%   0.0%   5.3%  94.8% 100.0%
//	each spent  3 of 10     0.0%   0.0%   0.0%   0.0%   0.0%   0.4%   9.8%  90.5% 100.0% 100.0% 100.0%
//	each spent  5 of 10     0.0%   0.0%   0.0%   0.9%  16.4%  49.6%  95.2% 100.0% 100.0% 100.0% 100.0%
//	each spent 10 of 10     0.1%   5.7%  23.5%  49.8%  87.0%  97.5%  99.9% 100.0% 100.0% 100.0% 100.0%
//
//	                 1 of 10                 3 of 10                 10 of 10
//	 0.25 live keys |                     |  |                     |  |                     |
//	  0.5 live keys |                     |  |                     |  |#                    |
//	 0.75 live keys |                     |  |                     |  |#####                |
//	    1 live keys |                     |  |                     |  |##########           |
//	  1.5 live keys |                     |  |                     |  |#################    |
//	    2 live keys |                     |  |                     |  |#################### |
//	    3 live keys |                     |  |##                   |  |#################### |
//	    5 live keys |                     |  |##################   |  |#################### |
//	    8 live keys |#                    |  |#################### |  |#################### |
//	   12 live keys |###################  |  |#################### |  |#################### |
//	   20 live keys |#################### |  |#################### |  |#################### |
//
// The middle of each edge is where live keys per place, times what each spent, is
// the quota; it is as steep as keys are spread evenly over the sets. A table with
// four places for each live key refuses one newcomer in a thousand even if all the
// others have used up what they have.
//
// Such a refusal has [ErrFull] as its reason and [State.Full] set;
// [Memory.Stats] tells the load, the places lost and the refusals. Who came back
// in a later tenth of the window keeps the place against keys that come once, as
// long as a set has another place: established callers do not notice a flood.
//
// Limits of different windows share nothing: each limit has a table of its own
// ([Memory.Bytes] each), so that a flood against one refuses nobody at another.
//
// # A store that several processes share
//
// [Config.Store] takes one; ratelimittest.Run proves that it keeps the rules of
// [Store]. It is asked once per request, has 50 ms to answer, and is given a
// rest after three failures in a row, with a probe every 250 ms. Meanwhile
// [Limit.Down] decides. No lock is held and at most 256 calls wait while it is
// asked.
//
// The place of a Concurrent limit whose request ends while the store is down is
// given back when it answers again: up to 4096 such refunds are kept, and four
// are made after each answer. One that may have reached the store before the
// call failed is not repeated, for it would free another request's place; nor
// are those of a process that has ended. Such a place stays taken for the Window
// of the limit: want it as short as the longest request, not the hour that is
// the default.
//
// # Answers
//
// A refusal is 429 with problem details, and Retry-After, which is exact, rounded
// up, and spread by up to a tenth so that not all come back at once. RateLimit and
// RateLimit-Policy follow draft-ietf-httpapi-ratelimit-headers-10; an Internet-Draft
// may change, and so may these fields. In RateLimit, t is when more is available.
// A request that costs more than a limit ever allows is 413 without Retry-After.
//
// # Security considerations
//
// A limit by address limits addresses and not people: many share one behind a
// NAT, and a botnet has many. It is as good as r.RemoteAddr is: without trusted
// proxies, all clients of a reverse proxy are one.
//
// A [Memory] counts for one process and forgets when it ends. Several processes
// behind a load balancer admit the quota each, as they do with a shared store
// that is down, unless [Config.Nodes] divides it.
//
// Limits do not make a slow handler fast: a thousand addresses within their
// limits are still a thousand requests. The bytes of a request that is refused
// have been received.
//
// A refund is a gift to whoever can bring the refunded status about. A request
// that is refused is not charged, so that a client which keeps trying is
// admitted as soon as it would be otherwise.
package ratelimit
