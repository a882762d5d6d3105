package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// A KeyThrottle limits failed attempts with API keys by address. It implements
// apikey.Throttle and is safe for concurrent use. Concurrent guesses are all
// counted.
type KeyThrottle struct{ limiter *Limiter }

// NewKeyThrottle returns a KeyThrottle that lets an address fail as often as
// limits allow. Cost, Refund, LimitsFor, Skip, Fields and InsecureShadow have no
// effect.
func NewKeyThrottle(config Config, limits ...Limit) (*KeyThrottle, error) {
	limiter, err := New(ByIP, config, limits...)
	if err != nil {
		return nil, err
	}
	return &KeyThrottle{limiter}, nil
}

// ReserveAddr implements apikey.Throttle. Addresses are grouped as by
// [KeyBuilder.AddAddr].
func (t *KeyThrottle) ReserveAddr(ctx context.Context, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error) {
	ip, _ := netip.ParseAddr(addr)
	reservation, err := t.limiter.ReserveAddr(ctx, 1, ip)
	if d, ok := errors.AsType[*guard.Denial](err); ok && d.Status == http.StatusTooManyRequests {
		return nil, max(d.RetryAfter, time.Second), nil
	}
	if err != nil {
		return nil, 0, err
	}
	return func(outcome guard.Outcome) {
		// The client may be gone: it is given back all the same.
		reservation.End(context.WithoutCancel(ctx), outcome != guard.Failed)
	}, 0, nil
}
