package ratelimit

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// Fields selects the response fields that describe the limits to clients.
type Fields uint8

const (
	// FieldsDraft sends RateLimit and RateLimit-Policy of
	// draft-ietf-httpapi-ratelimit-headers-10. For a Smooth limit, q and w are the
	// rate, r is the amount at once.
	FieldsDraft Fields = iota
	// FieldsLegacy sends X-RateLimit-Limit, -Remaining and -Reset (in seconds) of
	// the limit with the least remaining.
	FieldsLegacy
	// FieldsBoth sends all five.
	FieldsBoth
	// FieldsNone sends only Retry-After, on refusals.
	FieldsNone
)

// Config configures a [Limiter].
type Config struct {
	// Store counts the charges. It requires Name and, unless it is a *Memory,
	// Secret. Default: a new [Memory].
	Store Store

	// Name identifies the limiter in its Store; limiters with the same Name,
	// Secret and limits count together.
	Name string

	// Secret is the hash key of addresses and callers: 16 bytes or more, the same
	// in all processes. Default: random.
	Secret guard.Secret

	// Cost returns the cost of a request, at least 1, for all but Concurrent
	// limits. A cost above [Limit.Max] is refused with 413. Default: 1.
	Cost func(*http.Request) int64

	// Refund reports whether a response with that status gives the charge back; a
	// panic does not. A client that can cause the status is not limited.
	Refund func(status int) bool

	// LimitsFor returns the limits of a request, for example by plan. An error
	// refuses the request like an error of a [KeyFunc]. If LimitsFor or the Plan
	// is nil, the limits of New apply.
	LimitsFor func(*http.Request) (*Plan, error)

	// Skip exempts a request. Clients must not control it.
	Skip func(*http.Request) bool

	// NetworkFactor multiplies the quota for an IPv6 /48. Default: 16.
	NetworkFactor int64

	// Fields selects the response fields. Default: [FieldsDraft].
	Fields Fields

	// InsecureShadow refuses no request, and emits an event instead of a refusal.
	InsecureShadow bool

	// Timeout bounds a call of the Store, 1 ms to 10 s. Default: 50 ms.
	Timeout time.Duration

	// Local counts limits with Down [Local] and Concurrent limits in this process.
	// A request that it refuses does not reach the Store. Default: a new [Memory].
	Local *Memory

	// Nodes divides each quota, to no less than one, while the Store does not
	// answer. Default: 1.
	Nodes int64

	Hooks guard.Hooks
}

// Events, beside [guard.EventRateLimit] for refusals.
const (
	// EventSharedQuota reports, once a minute for each reason, that unrelated
	// requests share a quota: without an address or, with [ByRoute], without a
	// known route or behind one wildcard.
	EventSharedQuota guard.EventName = "ratelimit_shared_quota"
	// EventStoreDown and EventStoreUp report that calls of the Store have stopped,
	// and that it answers again.
	EventStoreDown guard.EventName = "ratelimit_store_down"
	EventStoreUp   guard.EventName = "ratelimit_store_up"
)

// CodeQuotaExceeded is the code of a 429 by a [Limiter].
const CodeQuotaExceeded = "quota_exceeded"

// Codes of other refusals.
const (
	codeCostTooLarge = "cost_too_large" // 413
	codeOverloaded   = "overloaded"     // 503, by a Valve
)

// ErrFull is wrapped by the Err of a refusal if a [Memory] has no place for a new key.
var ErrFull = errors.New("ratelimit: there are more live keys than places in the table, and a new key inherits the charges of evicted keys; increase Memory.Bytes")

// validate returns every mistake in c.
func (c *Config) validate() (mistakes []error) {
	mistake := func(format string, args ...any) {
		mistakes = append(mistakes, fmt.Errorf("ratelimit: Config."+format, args...))
	}
	memory, isMemory := c.Store.(*Memory)
	switch {
	case isMemory && memory == nil:
		mistake("Store is a nil *Memory; use new(ratelimit.Memory), or leave Store out")
	case c.Store != nil && c.Name == "":
		mistake("Name is empty; use a name for the limiter, which must differ from other limiters of the Store")
	}
	if c.Store != nil && !isMemory && c.Secret.IsZero() {
		mistake("Secret is empty; set 16 bytes or more, the same in all processes with this Store")
	} else if n := len(c.Secret.Bytes()); n > 0 && n < 16 {
		mistake("Secret has %d bytes; set 16 or more", n)
	}
	if c.NetworkFactor < 0 || c.NetworkFactor > 1<<16 {
		mistake("NetworkFactor is %d; set 1 to %d", c.NetworkFactor, 1<<16)
	}
	if c.Fields > FieldsNone {
		mistake("Fields is %d; set FieldsDraft, FieldsLegacy, FieldsBoth or FieldsNone", c.Fields)
	}
	if c.Timeout != 0 && (c.Timeout < time.Millisecond || c.Timeout > 10*time.Second) {
		mistake("Timeout is %v; set 1ms to 10s", c.Timeout)
	}
	if c.Nodes < 0 || c.Nodes > 1<<16 {
		mistake("Nodes is %d; set 1 to %d", c.Nodes, 1<<16)
	}
	return mistakes
}
