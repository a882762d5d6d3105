package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// A KeyThrottle limits failed attempts with API keys by address, concurrent ones too.
// It implements apikey.Throttle.
type KeyThrottle struct{ limiter *Limiter }

// NewKeyThrottle returns a KeyThrottle with limits for each address. Cost, Refund,
// LimitsFor, Skip, Fields and InsecureShadow have no effect.
func NewKeyThrottle(config Config, limits ...Limit) (*KeyThrottle, error) {
	limiter, err := New(ByIP, config, limits...)
	if err != nil {
		return nil, err
	}
	return &KeyThrottle{limiter}, nil
}

// ReserveAddr implements apikey.Throttle; see [KeyBuilder.AddAddr].
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
		// Also if the client has hung up.
		reservation.End(context.WithoutCancel(ctx), outcome != guard.Failed)
	}, 0, nil
}
