package totp

import (
	"fmt"
	"time"
)

// A ThrottledError is returned for an attempt refused without a comparison, because of
// earlier wrong ones.
type ThrottledError struct {
	RetryAfter time.Duration
	Locked     bool // until Unlock; see Config.MaxFailures
}

// IsVerdict is for [guard.CannotDecide], which hides the error inside errors of stores.
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

// charge counts a wrong code. Wrong codes are forgiven one after the other, so the
// long-run rate is one per forgive; the waits only spread it.
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
