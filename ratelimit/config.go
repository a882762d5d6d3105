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
	// draft-ietf-httpapi-ratelimit-headers-10. For a Smooth limit, q and w are
	// the rate, and r is what may be sent at once.
	FieldsDraft Fields = iota
	// FieldsLegacy sends X-RateLimit-Limit, -Remaining and -Reset (in seconds) of
	// the limit with the least remaining.
	FieldsLegacy
	// FieldsBoth sends all five.
	FieldsBoth
	// FieldsNone sends only Retry-After, on refusals.
	FieldsNone
)

// Config configures a [Limiter]. The zero Config is ready for use in one process.
type Config struct {
	// Store counts what is spent. It requires Name and, unless it is a *Memory,
	// Secret. Default: a new [Memory] for this Limiter.
	Store Store

	// Name tells limiters of one Store apart: limiters with the same Name, Secret
	// and limits count together. Required with a Store.
	Name string

	// Secret is the key of the hash that turns addresses and callers into keys of
	// the Store: 16 bytes or more, the same in all processes that share the
	// Store. Default: random.
	Secret guard.Secret

	// Cost returns what a request costs; less than 1 counts as 1. A cost above
	// [Limit.Max] is refused with 413. Concurrent limits ignore Cost. Default: 1.
	Cost func(*http.Request) int64

	// Refund reports whether the charge of a request that was answered with
	// status is given back. A client that can cause that status is not limited.
	// If the handler panics, nothing is given back.
	Refund func(status int) bool

	// LimitsFor returns the limits of a request, for example by plan. An error
	// refuses the request: a [guard.Denial] as it is, any other error with 503.
	// If LimitsFor or the Plan is nil, the limits of New apply.
	LimitsFor func(*http.Request) (*Plan, error)

	// Skip reports whether a request is not limited. It must not depend on what a
	// client can choose.
	Skip func(*http.Request) bool

	// NetworkFactor is how many quotas all addresses of an IPv6 /48 share.
	// Default: 16.
	NetworkFactor int64

	// Fields selects the response fields. Default: [FieldsDraft].
	Fields Fields

	// InsecureShadow refuses no request, and emits an event for each request that
	// would be refused.
	InsecureShadow bool

	// Timeout bounds a call of the Store, 1 ms to 10 s. Default: 50 ms.
	Timeout time.Duration

	// Local counts in this process for limits whose Down is [Local], and for
	// Concurrent limits. A request that it refuses does not reach the Store.
	// Default: a new [Memory].
	Local *Memory

	// Nodes divides each quota, to no less than one request, while the Store does
	// not answer. Default: 1.
	Nodes int64

	// Hooks formats refusals and receives events.
	Hooks guard.Hooks
}

// Events of this package. A refusal is [guard.EventRateLimit].
const (
	// EventSharedQuota reports, at most once a minute for each reason, that
	// unrelated requests share a quota: requests without an address or, with
	// [ByRoute], without a known route or behind one wildcard.
	EventSharedQuota guard.EventName = "ratelimit_shared_quota"
	// EventStoreDown and EventStoreUp report that calls of the Store have
	// stopped, because three in a row failed, and that the Store answers again.
	EventStoreDown guard.EventName = "ratelimit_store_down"
	EventStoreUp   guard.EventName = "ratelimit_store_up"
)

// CodeQuotaExceeded is the code of a 429 by a [Limiter].
const CodeQuotaExceeded = "quota_exceeded"

// Codes of refusals that are not retried, or not by the quota of a client.
const (
	codeCostTooLarge = "cost_too_large" // 413
	codeOverloaded   = "overloaded"     // 503, by a Valve
)

// ErrFull is wrapped by the Err of a refusal by a [Memory] without a place for a
// new key.
var ErrFull = errors.New("ratelimit: more keys are live than the table has places, and a new key inherits what the evicted keys spent")

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
		mistake("Name is empty; name the limiter, because limiters that share a Store are told apart by Name")
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
