package guard

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gatewright/gatewright/auth/identity"
)

// An EventName is the name of an event in the OWASP Logging Vocabulary.
type EventName string

// The events of this module. The status of a refusal sets its name unless
// Denial.Event is set: 401 EventLoginFail, 403 EventAuthzFail, 429 EventRateLimit,
// other 4xx EventInputFail, 5xx EventUnavailable.
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

	EventAvailable    EventName = "sys_available"     // a store answers again; not an OWASP name
	EventKeysReplaced EventName = "sys_keys_replaced" // the keys of a ring were replaced; not an OWASP name

	// EventOmitted has the number of events that [Limited] left out; not OWASP.
	EventOmitted EventName = "sys_events_omitted"

	// EventMisconfigured reports that a request suggests a mistake in the
	// configuration, at most once a minute per kind; not OWASP.
	EventMisconfigured EventName = "sys_misconfigured"
)

// An Event is one record of the audit trail. In its strings, control characters are
// replaced by '?', and long values are cut.
type Event struct {
	Name EventName

	// Time is when the event happened, in UTC. Emit sets it.
	Time time.Time

	// Principal is the caller, nil for an anonymous request and for the program
	// itself. It belongs to the request; copy it to keep it.
	Principal *identity.Principal

	// Login is the name used in a sign-in.
	Login string

	// Way is the name of the way to sign in, empty for a password.
	Way string

	// Target is the subject or object of a change, empty if it is the Principal.
	Target string

	// Session is the session that was opened or ended, empty if it is the
	// Principal's.
	Session string

	// Changes are what changed, at most 16: keys of lower-case letters, digits and
	// '_', with strings, numbers, booleans, times, durations and []string. Emit
	// replaces every other value by "[redacted]".
	Changes []slog.Attr

	// Denial is the refusal with its reason, if the request was refused.
	Denial *Denial

	// Err is a failure that did not refuse the request, like a password hash that
	// could not be upgraded.
	Err error

	// Request is zero if the program acted without a request.
	Request RequestFacts
}

// RequestFacts are the parts of a request that an [Event] keeps. The query is
// omitted: it may contain secrets.
type RequestFacts struct {
	Method, Pattern, Path, Host, RemoteAddr, UserAgent string

	// TraceID is the trace ID of the header Traceparent (W3C Trace Context), if it
	// is well-formed. The client chooses it.
	TraceID string
}

// A requestSource is where the facts of a request are found later. The headers are
// looked up at once: a handler may change them while another goroutine emits an event.
type requestSource struct {
	request      *http.Request
	agent, trace *string
}

func sourceOf(r *http.Request) requestSource {
	s := requestSource{request: r}
	if v := r.Header["User-Agent"]; len(v) > 0 {
		s.agent = &v[0]
	}
	if v := r.Header["Traceparent"]; len(v) == 1 {
		s.trace = &v[0]
	}
	return s
}

func (s requestSource) facts() RequestFacts {
	r := s.request
	f := RequestFacts{
		Method:     clean(r.Method),
		Pattern:    clean(r.Pattern),
		Host:       clean(r.Host),
		RemoteAddr: clean(r.RemoteAddr),
	}
	if s.agent != nil {
		f.UserAgent = clean(*s.agent)
	}
	if s.trace != nil {
		f.TraceID = traceID(*s.trace)
	}
	if r.URL != nil {
		f.Path = clean(r.URL.Path)
	}
	return f
}

// factsIn returns the facts of the request that Identify or Provide put into ctx.
func factsIn(ctx context.Context) RequestFacts {
	for rc := range identifies(ctx) {
		if rc.source.request != nil { // not of WithCaller
			return rc.source.facts()
		}
	}
	if p, ok := ctx.Value(providedKey{}).(*providedContext); ok {
		return p.source.facts()
	}
	return RequestFacts{}
}

// traceID returns the trace-id of a traceparent header (W3C Trace Context section
// 3.2.2), empty if the header is malformed. A later version may add fields.
func traceID(header string) string {
	const length = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-00")
	if len(header) < length || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return ""
	}
	version, trace, parent := header[:2], header[3:35], header[36:52]
	if !isHex(version) || !isHex(trace) || !isHex(parent) || !isHex(header[53:55]) || version == "ff" ||
		strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return ""
	}
	if len(header) > length && (version == "00" || header[length] != '-') {
		return ""
	}
	return trace
}

// isHex reports whether s has lower-case hexadecimal digits only.
func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// NestedChange returns a context that drops events of changes. A method that makes
// a change with the help of other methods passes it to them and emits one event for
// the whole. Refusals and failures are still observed.
func NestedChange(ctx context.Context) context.Context {
	if nested(ctx) {
		return ctx
	}
	return context.WithValue(ctx, nestedKey{}, true)
}

type nestedKey struct{}

func nested(ctx context.Context) bool { return ctx.Value(nestedKey{}) != nil }

const (
	maxChanges   = 16
	maxChangeKey = 32
)

// redacted stands for a value that the audit trail does not keep.
const redacted = "[redacted]"

// cleanChanges returns attrs as Event.Changes describes.
func cleanChanges(attrs []slog.Attr) []slog.Attr {
	if len(attrs) == 0 {
		return nil
	}
	cleaned := make([]slog.Attr, 0, min(len(attrs), maxChanges))
	for _, a := range attrs[:min(len(attrs), maxChanges)] {
		cleaned = append(cleaned, slog.Attr{Key: cleanKey(a.Key), Value: cleanValue(a.Value)})
	}
	return cleaned
}

func cleanKey(key string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, key[:min(len(key), maxChangeKey)])
}

func cleanValue(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(clean(v.String()))
	case slog.KindInt64, slog.KindUint64, slog.KindBool, slog.KindDuration:
		return v
	case slog.KindFloat64:
		if f := v.Float64(); math.IsNaN(f) || math.IsInf(f, 0) {
			return slog.StringValue(v.String()) // JSON has no such number
		}
		return v
	case slog.KindTime:
		t := v.Time()
		if y := t.Year(); y < 0 || y > 9999 {
			return slog.StringValue(redacted) // RFC 3339 has no such year
		}
		return slog.TimeValue(t.UTC().Truncate(time.Microsecond))
	case slog.KindAny:
		if names, ok := v.Any().([]string); ok {
			return slog.AnyValue(cleanList(names, maxFact))
		}
	}
	return slog.StringValue(redacted)
}

// cleanList returns names, cleaned, with a note of how many have no room in max
// bytes.
func cleanList(names []string, max int) []string {
	list, room := make([]string, 0, min(len(names), max/4)), max
	for i, name := range names {
		name = clean(name)
		if room -= cost(name) + 3; room < 0 {
			return append(list, "… "+strconv.Itoa(len(names)-i)+" more")
		}
		list = append(list, name)
	}
	return list
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
