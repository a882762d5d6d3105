package guard

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"unicode"

	"github.com/gatewright/gatewright/auth/identity"
)

// An EventName is the name of an event in the OWASP Logging Vocabulary, without
// parameters, which are fields of [Event].
type EventName string

// The events of this module. The status of a refusal sets its name unless
// Denial.Event is set: 401 EventLoginFail, 403 EventAuthzFail, 429
// EventRateLimit, other 4xx EventInputFail, 5xx EventUnavailable.
const (
	EventLoginSuccess EventName = "authn_login_success"   // a user signed in
	EventLoginFail    EventName = "authn_login_fail"      // a sign-in or a credential was refused
	EventLoginFailMax EventName = "authn_login_fail_max"  // refused unseen, after too many failures
	EventTokenCreated EventName = "authn_token_created"   // a token was issued
	EventTokenRevoked EventName = "authn_token_revoked"   // a token or session was ended
	EventTokenReuse   EventName = "authn_token_reuse"     // a credential came back after it was replaced or revoked
	EventPassword     EventName = "authn_password_change" // a password was changed
	EventAuthzFail    EventName = "authz_fail"            // a known caller was refused
	EventAuthzChange  EventName = "authz_change"          // the rights of a user were changed
	EventRateLimit    EventName = "excess_rate_limit_exceeded"
	EventInputFail    EventName = "input_validation_fail" // the request could not be understood
	EventCrossOrigin  EventName = "malicious_cors"        // a page of another origin was refused
	EventUserCreated  EventName = "user_created"
	EventUserUpdated  EventName = "user_updated"
	EventUserDeleted  EventName = "user_deleted"
	EventUnavailable  EventName = "sys_unavailable" // a store did not answer; not an OWASP name
	EventNone         EventName = "none"            // no event: one event reports many Denials elsewhere

	// EventMisconfigured reports that a request suggests a mistake in the
	// configuration, at most once a minute per kind; not an OWASP name.
	EventMisconfigured EventName = "sys_misconfigured"
)

// An Event is one record of the audit trail. It contains no secret and no line
// break: control characters in values from clients are replaced by '?', and long
// values are truncated.
type Event struct {
	Name EventName

	// Principal is the caller, nil for an anonymous request. It belongs to the
	// request; copy it to keep it.
	Principal *identity.Principal

	// Login is the name used in a sign-in, cleaned.
	Login string

	// Way is the name of the way to sign in, empty for a password.
	Way string

	// Target is the subject or the object of a change, cleaned. It is empty if
	// the Principal is the target.
	Target string

	// Denial is the refusal with its reason, nil if the request was not refused.
	Denial *Denial

	// Err is a failure that did not refuse the request, like a password hash
	// that could not be upgraded.
	Err error

	// Request is the request, cleaned.
	Request RequestFacts
}

// RequestFacts are the parts of a request that the audit trail keeps, cleaned. The
// query is omitted: it may contain secrets.
type RequestFacts struct {
	Method, Pattern, Path, Host, RemoteAddr, UserAgent string
}

func factsOf(r *http.Request) RequestFacts {
	f := RequestFacts{
		Method:     clean(r.Method),
		Pattern:    clean(r.Pattern),
		Host:       clean(r.Host),
		RemoteAddr: clean(r.RemoteAddr),
		UserAgent:  clean(r.UserAgent()),
	}
	if r.URL != nil {
		f.Path = clean(r.URL.Path)
	}
	return f
}

// maxFact is how much of one value the audit trail keeps, in bytes.
const maxFact = 256

// clean makes s safe to store and print on one line.
func clean(s string) string {
	plain := len(s) <= maxFact
	for i := 0; plain && i < len(s); i++ {
		plain = ' ' <= s[i] && s[i] <= '~'
	}
	if plain {
		return s
	}
	cut := len(s) > maxFact
	if cut {
		s = s[:maxFact]
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
	if cut {
		s += "…"
	}
	return s
}

// event returns the name of the event of a refusal.
func (d *Denial) event() EventName {
	switch {
	case d.Event != "":
		return d.Event
	case d.Status == http.StatusUnauthorized:
		return EventLoginFail
	case d.Status == http.StatusForbidden:
		return EventAuthzFail
	case d.Status == http.StatusTooManyRequests:
		return EventRateLimit
	case d.Status >= 500:
		return EventUnavailable
	}
	return EventInputFail
}

// Log returns a function for Hooks.Observe that writes each event to l, with the
// event's name as the message. Refusals are warnings; failures of the server and
// [EventTokenReuse] are errors; other events are information, and so are refusals
// that clients cause at will: anonymous requests, 404 and 405 without a route, and
// requests that the client gave up. Log panics if l is nil.
func Log(l *slog.Logger) func(context.Context, Event) {
	if l == nil {
		panic("guard: Log needs a logger")
	}
	return func(ctx context.Context, e Event) {
		level := e.level()
		if !l.Enabled(ctx, level) {
			return
		}
		attrs := make([]slog.Attr, 0, 8)
		if e.Principal != nil {
			attrs = append(attrs, slog.GroupAttrs("principal", cleanGroup(e.Principal.LogValue())...))
		}
		if e.Login != "" {
			attrs = append(attrs, slog.String("login", e.Login))
		}
		if e.Way != "" {
			attrs = append(attrs, slog.String("way", clean(e.Way)))
		}
		if e.Target != "" {
			attrs = append(attrs, slog.String("target", e.Target))
		}
		if d := e.Denial; d != nil {
			attrs = append(attrs, slog.Int("status", d.Status), slog.String("code", clean(d.Code)))
			if d.Err != nil {
				attrs = append(attrs, slog.String("reason", clean(d.Err.Error())))
			}
		}
		if e.Err != nil {
			attrs = append(attrs, slog.String("error", clean(e.Err.Error())))
		}
		attrs = append(attrs, slog.GroupAttrs("request",
			slog.String("method", e.Request.Method),
			slog.String("pattern", e.Request.Pattern),
			slog.String("path", e.Request.Path),
			slog.String("host", e.Request.Host),
			slog.String("remote_addr", e.Request.RemoteAddr),
			slog.String("user_agent", e.Request.UserAgent),
		))
		l.LogAttrs(ctx, level, string(e.Name), attrs...)
	}
}

// cleanGroup returns the attributes of v, cleaned: a remote issuer may let its
// users choose what is a subject.
func cleanGroup(v slog.Value) []slog.Attr {
	attrs := v.Group()
	for i := range attrs {
		if attrs[i].Value.Kind() == slog.KindString {
			attrs[i].Value = slog.StringValue(clean(attrs[i].Value.String()))
		}
	}
	return attrs
}

func (e Event) level() slog.Level {
	switch {
	case e.Name == EventMisconfigured, e.Name == EventCrossOrigin && e.Denial == nil:
		return slog.LevelWarn // clients can cause it
	case e.Name == EventTokenReuse, e.Err != nil:
		return slog.LevelError
	case e.Denial == nil, errors.Is(e.Denial.Err, errClientGone):
		return slog.LevelInfo
	case e.Denial.Status >= 500:
		return slog.LevelError
	case errors.Is(e.Denial.Err, ErrNoCredentials):
		return slog.LevelInfo
	case e.Denial.event() == EventInputFail && (e.Denial.Status == http.StatusNotFound || e.Denial.Status == http.StatusMethodNotAllowed):
		return slog.LevelInfo // no route, of this router or another
	}
	return slog.LevelWarn
}
