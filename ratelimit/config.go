package ratelimit

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// Fields says which response fields tell clients about the limits.
type Fields uint8

const (
	// FieldsDraft are RateLimit and RateLimit-Policy of
	// draft-ietf-httpapi-ratelimit-headers-10. Of a Smooth limit, q and w
	// are the rate, and r is what may be sent at once.
	FieldsDraft Fields = iota
	// FieldsLegacy are X-RateLimit-Limit, -Remaining and -Reset, the last
	// in seconds from now, of the limit of which the least remains.
	FieldsLegacy
	// FieldsBoth are all five.
	FieldsBoth
	// FieldsNone says nothing but Retry-After on a refusal.
	FieldsNone
)

// Config says how a [Limiter] counts and refuses. The zero Config is ready for
// use, on one machine.
type Config struct {
	// Store keeps what is spent. One that is shared by several processes is
	// asked once per request and has Timeout to answer; the fallback of each
	// limit is [Limit.Down]. Needs Name, and, unless it is a *Memory, Secret.
	// Default: a new [Memory] that no other Limiter uses.
	Store Store

	// Name says which limiter this is among all that use the Store: two
	// with the same Name, Secret and limits count together.
	// Default: none, which only a Store of one's own allows.
	Name string

	// Secret is the key that keys are hashed with, 16 bytes or more of
	// crypto/rand, the same in all processes that share the Store. It ends
	// up in no store and no log. Default: random, and new with each New.
	Secret guard.Secret

	// Cost is what a request costs, known before it is served. Less than 1
	// is taken as 1. A request that costs more than a limit allows at all is
	// refused with 413. Concurrent limits count requests, whatever they
	// cost. Default: 1.
	Cost func(*http.Request) int64

	// Refund reports whether a request that was answered with this status
	// is given back, but for the place of a Concurrent limit, which is in
	// any case. What the client can bring about at will should not be
	// refunded. A handler that panics is never refunded.
	// Default: nothing is.
	Refund func(status int) bool

	// LimitsFor chooses the limits of a request: by tenant or plan. A nil
	// Plan means those of New; an error refuses the request, with 503 if it
	// is no [guard.Denial]. Default: those of New, always.
	LimitsFor func(*http.Request) (*Plan, error)

	// Skip reports whether a request is not limited at all. It must not
	// depend on what any client can send. Default: none is skipped.
	Skip func(*http.Request) bool

	// NetworkFactor is how many quotas all of a /48 of IPv6 have together;
	// see [KeyBuilder.AddAddr]. Default: 16.
	NetworkFactor int64

	// Fields says which response fields tell clients where they stand.
	// Default: [FieldsDraft].
	Fields Fields

	// InsecureShadow counts and refuses nobody: what would have been refused
	// is observed, as an event without a response. Nobody is limited.
	// Default: false.
	InsecureShadow bool

	// Timeout is how long the Store may take, 1 ms to 10 s; then the
	// fallbacks decide. Default: 50 ms.
	Timeout time.Duration

	// Local is where limits count that fall back to [Local]. It is charged
	// at every request, so that it knows what was spent here when the Store
	// fails; a request that it refuses does not reach the Store.
	// Default: a new [Memory].
	Local *Memory

	// Nodes is by how many processes a quota is divided while the Store does
	// not answer. What is left is at least the cost of one request.
	// Default: 1, each process admits the whole quota.
	Nodes int64

	// Hooks says how refusals look and who hears of events. Default: see
	// [guard.Hooks].
	Hooks guard.Hooks
}

// Events of this package. A refusal is [guard.EventRateLimit].
const (
	// EventNoAddress says that requests without an address share a quota.
	// It is sent once a minute at most.
	EventNoAddress guard.EventName = "ratelimit_no_address"
	// EventNoRoute says that [ByRoute] was asked in front of the mux. It is
	// sent once a minute at most.
	EventNoRoute guard.EventName = "ratelimit_no_route"
	// EventWideRoute reports that [ByRoute] counts for a pattern that ends in a
	// wildcard, so that several routes share a quota. It is sent once a minute
	// at most.
	EventWideRoute guard.EventName = "ratelimit_wide_route"
	// EventStoreDown and EventStoreUp say that the store is given a rest
	// after three failures in a row, and that it answers again.
	EventStoreDown guard.EventName = "ratelimit_store_down"
	EventStoreUp   guard.EventName = "ratelimit_store_up"
)

// Codes of the refusals of this package.
const (
	CodeQuotaExceeded = "quota_exceeded" // 429: the client should wait
	CodeCostTooLarge  = "cost_too_large" // 413: waiting does not help
	CodeOverloaded    = "overloaded"     // 503: of a Valve
	CodeClientGone    = "client_gone"    // 499: nobody reads it
)

// ErrFull is within the Err of a refusal of a newcomer for whom a [Memory] had
// no place of their own; see the package documentation.
var ErrFull = errors.New("ratelimit: more keys are live than the table has places, and a newcomer pays for those it forgot")

// validate returns what is wrong with c, all of it.
func (c *Config) validate() (wrong []error) {
	errorf := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("ratelimit: Config."+format, args...))
	}
	memory, isMemory := c.Store.(*Memory)
	switch {
	case isMemory && memory == nil:
		errorf("Store is a *Memory that is nil, want new(ratelimit.Memory), or no Store")
	case c.Store != nil && c.Name == "":
		errorf("Name is empty, want a name: limiters that share a Store are told apart by it")
	}
	if c.Store != nil && !isMemory && c.Secret.IsZero() {
		errorf("Secret is empty, want the 16 bytes or more that all processes with this Store share")
	} else if n := len(c.Secret.Bytes()); n > 0 && n < 16 {
		errorf("Secret has %d bytes, want 16 or more", n)
	}
	if c.NetworkFactor < 0 || c.NetworkFactor > 1<<16 {
		errorf("NetworkFactor is %d, want 1 to %d", c.NetworkFactor, 1<<16)
	}
	if c.Fields > FieldsNone {
		errorf("Fields is %d, want FieldsDraft, FieldsLegacy, FieldsBoth or FieldsNone", c.Fields)
	}
	if c.Timeout != 0 && (c.Timeout < time.Millisecond || c.Timeout > 10*time.Second) {
		errorf("Timeout is %v, want 1ms to 10s", c.Timeout)
	}
	if c.Nodes < 0 || c.Nodes > 1<<16 {
		errorf("Nodes is %d, want 1 to %d", c.Nodes, 1<<16)
	}
	return wrong
}
