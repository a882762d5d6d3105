package totp

import (
	"fmt"
	"time"
)

// A ThrottledError means that an attempt was refused without a comparison.
type ThrottledError struct {
	// RetryAfter is how long attempts are refused.
	RetryAfter time.Duration

	// Locked means that Config.MaxFailures was reached: all attempts are refused
	// until [Service.Unlock].
	Locked bool
}

// IsVerdict marks e as a verdict; see [guard.CannotDecide].
func (e *ThrottledError) IsVerdict() {}

func (e *ThrottledError) Error() string {
	if e.Locked {
		return "totp: too many wrong codes; the host must call Unlock"
	}
	return fmt.Sprintf("totp: too many wrong codes; wait %v", e.RetryAfter)
}

// limits bounds guesses.
type limits struct {
	first, forgive time.Duration
	most           int
}

// refuse returns a ThrottledError if no attempt is accepted now.
func (l limits) refuse(g Guesses, now time.Time) error {
	if g.Failures >= l.most {
		return &ThrottledError{RetryAfter: l.forgive, Locked: true}
	}
	if wait := g.Retry.Sub(now); wait > 0 {
		return &ThrottledError{RetryAfter: wait}
	}
	return nil
}

// charge counts a wrong code. Each wrong code is forgiven after the one before,
// so the rate in the long run is one for each time forgive, whatever happens in
// between; the waits only spread it.
func (l limits) charge(g *Guesses, now time.Time) {
	g.Failures++
	if g.Forgiven.Before(now) {
		g.Forgiven = now
	}
	g.Forgiven = g.Forgiven.Add(l.forgive)
	wait := l.first
	for owed := g.Forgiven.Sub(now) - l.forgive; owed > 0 && wait < l.forgive; owed -= l.forgive {
		wait *= 2
	}
	g.Retry = now.Add(min(wait, l.forgive))
}
