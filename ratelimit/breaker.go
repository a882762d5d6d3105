package ratelimit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Breaker stops calls to a [Store] after three failures in a row, until a probe
// every 250 ms succeeds. Limiters share the Breaker of a Store with a method Breaker()
// *Breaker. The zero Breaker is ready for use.
type Breaker struct {
	mu       sync.Mutex
	failures int
	err      error         // of the last failure
	probes   *rate.Limiter // set while calls are stopped
}

const (
	tolerated  = 3                      // failures in a row
	probeEvery = 250 * time.Millisecond // while calls are stopped
)

// A permission is the decision of a Breaker about a call.
type permission uint8

const (
	mayCall permission = iota
	mayProbe
	mayNotCall
)

// allow reports whether the store may be called, or why not.
func (b *Breaker) allow() (permission, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.probes == nil:
		return mayCall, nil
	case b.probes.Allow():
		return mayProbe, b.err
	}
	return mayNotCall, b.err
}

// note records the result of a call and reports whether calls are stopped.
func (b *Breaker) note(err error) (stopped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.failures, b.err, b.probes = 0, nil, nil
		return false
	}
	b.failures++
	b.err = err
	if b.failures >= tolerated && b.probes == nil {
		b.probes = rate.NewLimiter(rate.Every(probeEvery), 1)
		b.probes.Allow() // the first probe is due after probeEvery
	}
	return b.probes != nil
}
