package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/audit"
)

const (
	// endTimeout is how long a Revoker may take, and deleteTimeout how long
	// Config.Sessions may take to end what is there.
	endTimeout    = 5 * time.Second
	deleteTimeout = 15 * time.Second
)

// EndSessions ends the sessions that match all set fields of which, including their
// refresh tokens, access tokens, grants and challenges, for example after a changed
// password. It requires Session, Subject, Tenant or Before. Spare excludes one
// session. EndSessions fills in Issuer and Expires.
//
// When EndSessions returns nil, no machine accepts anything that began before the
// call, including sign-ins, exchanges, step-ups and refreshes under way, while the
// machines' clocks differ by at most [identity.MaxClockSkew]. After an error, call
// it again.
//
// A Before that is zero or within the last minute means now. An earlier Before
// requires a Subject and a [SessionLister] as Config.Sessions; otherwise
// EndSessions does nothing and returns an error. It also returns an error, after
// ending what it can, if the subject has [MaxListed] sessions or more.
func (s *Server) EndSessions(ctx context.Context, which identity.Revocation) error {
	if err := s.endSessions(ctx, which); err != nil {
		return err
	}
	which.Issuer = s.tokens.Name()
	s.config.Hooks.EmitContext(ctx, audit.Revoked(which))
	return nil
}

// endSessions is EndSessions without an event.
func (s *Server) endSessions(ctx context.Context, which identity.Revocation) error {
	if err := checkEnd(which); err != nil {
		return err
	}
	which.Issuer = s.tokens.Name()
	if which.Session != "" {
		return s.endSession(ctx, which)
	}
	now := moment()
	switch {
	case which.Before.IsZero():
	case which.Before.After(now):
		// Sessions that begin until then are ended too.
		which.Expires = which.Before.Add(s.longestLife())
		if err := s.mark(ctx, which); err != nil {
			return err
		}
		return s.deleteSessions(ctx, which)
	case now.Sub(which.Before) > time.Minute:
		return s.endEarlier(ctx, which)
	}
	// First the mark, then the sessions: a sign-in that stores its session
	// after they are deleted finds the mark, see settle.
	which.Before = time.Time{}
	which.Expires = now.Add(s.longestLife())
	marking, cancel := outlasting(ctx, endTimeout)
	defer cancel()
	before, err := s.config.Revoker.RevokeNow(guard.NestedChange(marking), which)
	if err != nil {
		return unavailable("revoking sessions", err)
	}
	which.Before = before
	return s.deleteSessions(ctx, which)
}

// checkEnd returns why EndSessions cannot end which.
func checkEnd(which identity.Revocation) error {
	switch {
	case which.Session == "" && which.Subject == "" && which.Tenant == "" && which.Before.IsZero():
		return errors.New("auth: EndSessions needs a Session, Subject, Tenant or Before")
	case which.Credential != "":
		return errors.New("auth: EndSessions ends sessions, and a Credential is set; use the Revoker to end one token")
	case which.Session != "" && !which.Before.IsZero():
		return errors.New("auth: EndSessions ends a Session whenever it began; leave Before zero")
	case which.Session != "" && which.Spare != "":
		return errors.New("auth: EndSessions of a Session can spare none; leave Spare empty")
	}
	for _, f := range [...]struct{ name, value string }{
		{"Session", which.Session}, {"Subject", which.Subject}, {"Tenant", which.Tenant}, {"Spare", which.Spare},
	} {
		if f.value != "" && !wellFormed(f.value) {
			return fmt.Errorf("auth: EndSessions: the %s %.40q is not an identifier; use UTF-8 without NUL of at most %d bytes", f.name, f.value, maxIdentifier)
		}
	}
	return nil
}

// endSession ends one session.
func (s *Server) endSession(ctx context.Context, which identity.Revocation) error {
	// Without its refresh token, the last access token of the session expires
	// one lifetime from now. A minute is for clocks and requests under way.
	which.Expires = time.Now().Add(max(s.tokens.Lifetime(), mfaLifetime) + time.Minute)
	if err := s.mark(ctx, which); err != nil {
		return err
	}
	if err := s.deleteSessions(ctx, which); err != nil {
		// Otherwise the session would return when the mark is forgotten.
		which.Expires = time.Now().Add(s.longestLife())
		return errors.Join(err, s.mark(ctx, which))
	}
	return nil
}

// endEarlier ends the sessions of a subject that began before a moment in the past.
// Sessions that began since continue.
func (s *Server) endEarlier(ctx context.Context, which identity.Revocation) error {
	lists, ok := s.config.Sessions.(SessionLister)
	if !ok || which.Subject == "" {
		return fmt.Errorf("auth: EndSessions with the Before %v, in the past, needs a Subject and Config.Sessions that is a SessionLister; leave Before zero to end everything up to now", which.Before)
	}
	// What was issued before that moment. A sign-in that dates from then and is
	// under way finds the mark, so the list is complete.
	which.Expires = time.Now().Add(s.longestLife())
	if err := s.mark(ctx, which); err != nil {
		return err
	}
	begun := s.config.Hooks.Begin()
	all, err := lists.Sessions(ctx, which.Subject)
	s.config.Hooks.Measured(ctx, begun, "store", "auth.Sessions", err)
	if err != nil {
		return unavailable("listing sessions", err)
	}
	if len(all) >= MaxListed {
		return fmt.Errorf("auth: EndSessions with the Before %v, in the past, cannot see all sessions of a subject with %d or more; leave Before zero to end everything up to now", which.Before, MaxListed)
	}
	// An old session has received tokens since then. Only the session's ID
	// distinguishes these from tokens of a new session.
	for _, one := range all {
		if !one.Created.Before(which.Before) || which.Tenant != "" && one.Tenant != which.Tenant || one.ID == which.Spare {
			continue
		}
		err := s.mark(ctx, identity.Revocation{
			Issuer:  which.Issuer,
			Session: one.ID,
			Expires: time.Now().Add(max(s.tokens.Lifetime(), mfaLifetime) + time.Minute),
		})
		if err != nil {
			return err
		}
	}
	return s.deleteSessions(ctx, which)
}

// longestLife is how long a mark of a subject, a tenant or a moment must be
// remembered: as long as what it has to stop could last.
func (s *Server) longestLife() time.Duration {
	longest := max(s.config.RefreshAbsolute, s.tokens.Lifetime(), mfaLifetime)
	if s.config.Verifier != nil {
		longest = max(longest, s.config.Verifier.MaxLifetime())
	}
	return longest + time.Minute
}

// mark records a revocation.
func (s *Server) mark(ctx context.Context, which identity.Revocation) error {
	ctx, cancel := outlasting(ctx, endTimeout)
	defer cancel()
	if err := s.config.Revoker.Revoke(guard.NestedChange(ctx), which); err != nil {
		return unavailable("revoking sessions", err)
	}
	return nil
}

// deleteSessions deletes what which ends in the store.
func (s *Server) deleteSessions(ctx context.Context, which identity.Revocation) error {
	ctx, cancel := outlasting(ctx, deleteTimeout)
	defer cancel()
	if err := s.sessions.RevokeRefresh(ctx, which); err != nil {
		return unavailable("ending sessions", err)
	}
	return nil
}

// outlasting returns a context that ends after the timeout or at the deadline of ctx,
// but not when the client disconnects: an attacker with a stolen token must not be able
// to stop the revocation.
func outlasting(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	until := time.Now().Add(timeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	return context.WithDeadline(context.WithoutCancel(ctx), until)
}
