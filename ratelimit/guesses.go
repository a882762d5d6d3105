package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// Guesses throttles guesses at secrets that name nobody, such as API keys: it is
// what apikey.Config.Throttle asks for. Each guess is charged to its address
// before it is looked at and given back unless it fails, so that of any number
// of guesses at once no more are tried than of one after the other. It is safe
// for concurrent use.
type Guesses struct{ limiter *Limiter }

// NewGuesses returns a Guesses that lets an address fail as often as limits
// say, which are those of [New]: all of a /64 of IPv6 are one address, and
// config.NetworkFactor is for a /48. Its error lists every mistake. Skip,
// LimitsFor, Cost, Refund, Fields and InsecureShadow are not looked at.
func NewGuesses(config Config, limits ...Limit) (*Guesses, error) {
	limiter, err := New(ByIP, config, limits...)
	if err != nil {
		return nil, err
	}
	return &Guesses{limiter}, nil
}

// ReserveAddr charges one guess from an address, which comes without a port. A
// positive retryAfter says that it must not be made, and settle is nil then.
// Otherwise settle is called when it is over: what did not fail is given back,
// also if nobody could tell. All that is no address is one address.
func (g *Guesses) ReserveAddr(ctx context.Context, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error) {
	ip, _ := netip.ParseAddr(addr)
	reservation, err := g.limiter.ReserveAddr(ctx, 1, ip)
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
