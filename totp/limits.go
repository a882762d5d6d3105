package totp

import (
	"fmt"
	"time"
)

// A ThrottledError says that an attempt was not taken, after too many wrong
// codes. The code was not looked at.
type ThrottledError struct {
	// RetryAfter is how long no attempt is taken.
	RetryAfter time.Duration

	// Locked is whether waiting does not help: there were as many wrong
	// codes as Config.MaxFailures, and the host must call [Service.Unlock].
	Locked bool
}

// IsVerdict keeps the ThrottledError of another service, inside the error of a
// store, from being taken for one of this Service; see [guard.CannotDecide].
func (e *ThrottledError) IsVerdict() {}

func (e *ThrottledError) Error() string {
	if e.Locked {
		return "totp: too many wrong codes: locked until somebody unlocks it"
	}
	return fmt.Sprintf("totp: too many wrong codes: wait %v", e.RetryAfter)
}

// limits is how often codes may be guessed.
type limits struct {
	first, forgive time.Duration
	most           int
}

// refuse returns why no attempt is taken now, nil if one is.
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
