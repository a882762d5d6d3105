package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/audit"
)

// Every request that turns a proof into a session, a challenge or a token calls enter
// before it loads anything, and settle after it has written everything and before the
// response. EndSessions records its mark first and deletes second. Either settle finds
// the mark or EndSessions finds the written session:
//
//   - if the mark was recorded before settle read the log, settle finds the mark,
//     and the session is deleted;
//   - if the mark was recorded later, the session existed when EndSessions deleted.
//
// settle reads the Revoker's marks since the checkpoint of enter, so that no clock
// decides about requests under way. Tokens of sessions that begin after the mark are
// dated by the Revoker's IssueTime, so that a machine with another clock does not
// consider them older than the mark.

// An entry is a request that was let in by enter.
type entry struct {
	began      time.Time
	checkpoint uint64 // of the log of revocations, before anything was looked up
}

// enter begins a request that may turn a proof into something that lasts.
func (s *Server) enter(ctx context.Context) (entry, error) {
	began := moment()
	checkpoint, err := s.config.Revoker.Checkpoint(ctx)
	if err != nil {
		return entry{}, unavailable("reading the log of revocations", err)
	}
	return entry{began, checkpoint}, nil
}

// errEnded is why settle refuses.
var errEnded = errors.New("the user's sessions were ended at the same time")

// settle returns errEnded if one of the credentials was revoked since the entry.
// The caller calls settle after writing, and deletes the session on any error.
func (s *Server) settle(ctx context.Context, e entry, credentials ...*identity.Principal) error {
	for _, p := range credentials {
		revoked, err := s.config.Revoker.RevokedSince(ctx, p, e.checkpoint)
		switch {
		case err != nil:
			return unavailable("asking whether sessions were ended", err)
		case revoked:
			return errEnded
		}
	}
	return nil
}

// A signIn is a user whose identity was proven by a password or a WayIn.
type signIn struct {
	user     *User
	login    string // for the log; empty if it is not known
	client   string
	room     int // see origin
	scopes   identity.Set
	factors  identity.Set
	second   string    // of factors, what this request has proven; empty: all
	authTime time.Time // when the first factor was proven
	until    time.Time // when the session ends at the latest; zero: by Config
	way      string    // the WayIn; empty for a password

	// skipSecond is true if the proof has several factors already.
	skipSecond bool

	// from is the credential that the session is made from, a challenge or
	// the access token of another session. It is nil for a password.
	from *identity.Principal

	// refused is the response if the sign-in was ended meanwhile.
	refused string
}

// admit opens a session, unless a second factor is due, and answers with its
// first tokens, or with a challenge.
func (s *Server) admit(r *http.Request, e entry, in signIn) (result, error) {
	if s.config.SecondFactor != nil && in.from == nil && !in.skipSecond {
		due, err := s.config.SecondFactor.Required(r.Context(), in.user.ID)
		if err != nil {
			return result{}, unavailable("asking whether a second factor is due", err)
		}
		if due {
			c, err := s.challenge(r, e, in)
			return result{challenge: c}, err
		}
	}
	out, issued, evicted, err := s.open(r.Context(), e, in)
	if err != nil {
		return result{}, err
	}
	s.hooks.Emit(r, guard.Event{Name: guard.EventLoginSuccess, Principal: issued, Login: in.login, Way: in.way, Changes: append(
		in.proven(), evictions(evicted)...),
	})
	return result{tokens: out}, nil
}

// proven are the changes of an event about the factors of a sign-in: all, and those that
// this request has proven, unless it has proven all.
func (in signIn) proven() []slog.Attr {
	changes := []slog.Attr{audit.Names("factors", in.factors)}
	if in.second != "" {
		changes = append(changes, slog.Any("proven", []string{in.second}))
	}
	return changes
}

// principal returns the caller that in becomes, dated by the Revoker.
func (s *Server) principal(ctx context.Context, in signIn, session string) (*identity.Principal, error) {
	p := &identity.Principal{
		Issuer:   s.tokens.Name(),
		Subject:  in.user.ID,
		Tenant:   in.user.Tenant,
		Session:  session,
		Client:   in.client,
		Scopes:   in.scopes,
		Factors:  in.factors,
		AuthTime: in.authTime,
	}
	// A principal that cannot be revoked gets no session.
	if !wellFormed(p.Subject) || p.Tenant != "" && !wellFormed(p.Tenant) {
		return nil, fmt.Errorf("auth: the user's ID %.40q or tenant %.40q is not an identifier; use UTF-8 without NUL of at most %d bytes", p.Subject, p.Tenant, maxIdentifier)
	}
	at, err := s.config.Revoker.IssueTime(ctx, p)
	if err != nil {
		return nil, unavailable("dating a token", err)
	}
	p.IssuedAt = at
	return p, nil
}

// newSession returns a random session ID. It contains until, in microseconds since
// 1970, because tokens are signed with the ID: a step-up finds there when the session
// that it replaces must end.
func newSession(until time.Time) string {
	if until.IsZero() {
		return rand.Text()
	}
	return rand.Text() + "." + strconv.FormatInt(until.UnixMicro(), 36)
}

// endOf returns the until of newSession.
func endOf(session string) time.Time {
	_, end, _ := strings.Cut(session, ".")
	micros, err := strconv.ParseInt(end, 36, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(micros)
}

// evictions are the changes of an event about the sessions that ended because the user
// had more than Config.MaxSessions.
func evictions(sessions []string) []slog.Attr {
	if len(sessions) == 0 {
		return nil
	}
	return []slog.Attr{slog.Any("evicted_sessions", sessions), slog.String("reason", "max_sessions")}
}

// evicted is the event of sessions that made room for a session which was refused in the
// end.
func (s *Server) evicted(p *identity.Principal, sessions []string) guard.Event {
	return guard.Event{Name: guard.EventTokenRevoked, Principal: p, Target: p.Subject, Changes: evictions(sessions)}
}

// open opens a session, and deletes it if in was ended meanwhile. evicted are the
// sessions that ended to make room for it. If open fails after that, it emits their
// event.
func (s *Server) open(ctx context.Context, e entry, in signIn) (_ *response, _ *identity.Principal, evicted []string, _ error) {
	p, err := s.principal(ctx, in, newSession(in.until))
	if err != nil {
		return nil, nil, nil, err
	}
	absolute, idle := p.IssuedAt.Add(s.config.RefreshAbsolute), p.IssuedAt.Add(s.config.RefreshIdle)
	if !in.until.IsZero() {
		absolute, idle = earliest(absolute, in.until), earliest(idle, in.until)
	}
	// Sign first, so that a failing key management system leaves no unused
	// session behind.
	first := rand.Text()
	out, issued, err := s.issue(ctx, in.user, p, p.Scopes, p.IssuedAt, refreshToken{first, p.IssuedAt, idle}, in.room)
	if err != nil {
		return nil, nil, nil, err
	}
	evicted, err = s.sessions.CreateRefresh(ctx, Session{
		ID:      p.Session,
		Subject: p.Subject,
		Tenant:  p.Tenant,
		Client:  p.Client,
		Created: p.IssuedAt,
		Expires: absolute,
	}, hashOf(first), idle, s.config.MaxSessions)
	if err != nil {
		return nil, nil, nil, unavailable("opening a session", err)
	}
	credentials := []*identity.Principal{issued}
	if in.from != nil {
		credentials = append(credentials, in.from)
	}
	if err := s.settle(ctx, e, credentials...); err != nil {
		if len(evicted) > 0 {
			s.hooks.EmitContext(ctx, s.evicted(issued, evicted))
		}
		return nil, nil, nil, s.discard(ctx, p.Session, s.refusedAtTheDoor(err, in.refused, in.login, issued))
	}
	return out, issued, evicted, nil
}

// refusedAtTheDoor returns the answer to an error of settle.
func (s *Server) refusedAtTheDoor(err error, detail, login string, p *identity.Principal) error {
	if err != errEnded {
		return err
	}
	d := invalidGrant(detail, err)
	d.Login = login
	return aboutPrincipal{d, p}
}

// discard deletes a session without a response to the client, and returns why.
func (s *Server) discard(ctx context.Context, session string, why error) error {
	if err := s.deleteSessions(ctx, identity.Revocation{Session: session}); err != nil {
		return err
	}
	return why
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
