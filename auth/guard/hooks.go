package guard

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// Hooks sets how refusals look, receives events and checks that accounts are
// active. A host makes one and passes it to every package, which copies it: set all
// fields first. The zero Hooks is ready for use.
type Hooks struct {
	// Deny writes the body of a refusal and its Content-Type, after Status,
	// WWW-Authenticate, Retry-After and Cache-Control were set. It must not send
	// d.Err; d is a copy. Default: problem details (RFC 9457) with title, status,
	// code and detail.
	Deny func(w http.ResponseWriter, r *http.Request, d *Denial)

	// Observe receives refusals, sign-ins and changes of state, in the goroutine of
	// the request before the response is written, and events of stores in other
	// goroutines. It must not block. See [Log] and [Limited]. If nil, events are
	// discarded.
	Observe func(ctx context.Context, e Event)

	// SignIn returns the URL of the sign-in page, to which browser navigations are
	// redirected (303) instead of 401. See [SignInPage]. If nil, or for an empty
	// URL, browsers receive the 401 too.
	SignIn func(r *http.Request, d *Denial) string

	// Active checks once per request that the account of the caller is active, so
	// that a disabled account loses access at the next request. It returns nil,
	// [ErrInactive] (401), or the error of a store (503). If nil, all callers are
	// considered active.
	Active func(ctx context.Context, p *identity.Principal) error

	// Measure receives durations and outcomes; see [Measurement]. It is called in
	// the goroutine of the operation and must not block. If nil, nothing is
	// measured.
	Measure func(ctx context.Context, m Measurement)
}

// Require returns a guard of the host's own: an error of check refuses the request.
// demands describe the guard in the route ledger; without any it is listed as a
// check. Require panics if check is nil.
func (h Hooks) Require(check func(*http.Request) error, demands ...Requirement) func(http.Handler) http.Handler {
	if check == nil {
		panic("guard: Require needs a check")
	}
	if len(demands) == 0 {
		demands = []Requirement{{Kind: KindCheck}}
	}
	return func(next http.Handler) http.Handler { return h.guarded(next, check, demands...) }
}

func (h Hooks) guarded(next http.Handler, check func(*http.Request) error, demands ...Requirement) *described {
	kinds := kindsOf(demands)
	return describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := h.Begin()
		err := check(r)
		h.Measured(r.Context(), begun, "guard", kinds, err)
		if err != nil {
			h.Refuse(w, r, err)
			return
		}
		passes(w, r, next)
	}), next, demands...)
}

// Authenticated is the guard that requires a caller.
func (h Hooks) Authenticated(next http.Handler) http.Handler {
	return h.Require(func(r *http.Request) error {
		_, err := Caller(r)
		return err
	}, Requirement{Kind: KindCaller})(next)
}

// Caller returns the caller of r; see [CallerFrom].
func Caller(r *http.Request) (*identity.Principal, error) { return CallerFrom(r.Context()) }

// CallerFrom returns the caller that ctx carries. The error is a [*Denial]: 401 for
// an anonymous request, 400 for an ambiguous one (see [identity.NewContext]).
func CallerFrom(ctx context.Context) (*identity.Principal, error) {
	if p, ok := identity.FromContext(ctx); ok {
		return p, nil
	}
	if identity.Ambiguous(ctx) {
		return nil, ambiguous()
	}
	d := Unauthenticated()
	d.Err = nothingFound(ctx)
	return nil, d
}

// Emit passes e to Observe. It sets e.Request, e.Time and, if nil, e.Principal to
// the caller of r, and cleans strings and e.Changes. An event with a Denial and
// without a Name has the Name that Refuse gives it.
func (h Hooks) Emit(r *http.Request, e Event) {
	if h = h.within(r.Context()); h.Observe == nil {
		return
	}
	e.Request = sourceOf(r).facts()
	h.EmitContext(r.Context(), e)
}

// EmitContext is [Hooks.Emit] without a request. It fills in the caller that ctx
// carries, and the request if ctx is within Identify or Provide.
func (h Hooks) EmitContext(ctx context.Context, e Event) {
	if h = h.within(ctx); h.Observe == nil || e.Name == EventNone || e.Denial == nil && e.Err == nil && nested(ctx) {
		return
	}
	if e.Principal == nil {
		e.Principal, _ = identity.FromContext(ctx)
	}
	if e.Name == "" && e.Denial != nil {
		e.Name = e.Denial.event()
	}
	if e.Request == (RequestFacts{}) {
		e.Request = factsIn(ctx)
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	e.Login, e.Target, e.Session = clean(e.Login), clean(e.Target), clean(e.Session)
	e.Changes = cleanChanges(e.Changes)
	h.Observe(ctx, e)
}

// Refuse answers r with [DenialOf] err and reports an event. All refusals of this
// module pass through it; handlers may call it too.
//
// Every 401 carries the challenges of the Denial and of all authenticators; without
// any, Bearer.
func (h Hooks) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	h = h.within(r.Context())
	d := DenialOf(r.Context(), err)
	if d.Err == ErrNoCredentials && h.Observe != nil {
		d = unclaimed(r, d)
	}
	if h.Observe != nil {
		h.Emit(r, Event{Name: d.event(), Login: d.Login, Denial: d})
	}

	if t, ok := w.(*trial); ok {
		t.denial = d
		return
	}
	header := w.Header()
	for _, name := range ofTheBody {
		delete(header, name)
	}
	if d.Status == http.StatusUnauthorized && h.SignIn != nil && navigates(r) && !isWrongKind(r, d) {
		if page := h.SignIn(r, d.clone()); page != "" {
			header["Cache-Control"] = []string{"no-store"}
			header["Location"] = []string{page}
			w.WriteHeader(http.StatusSeeOther)
			return
		}
	}
	var room [4]string
	v := verdict{
		status:     d.Status,
		challenges: appendChallenges(r.Context(), room[:0], d),
		retryAfter: d.retryAfter(),
	}
	if h.Deny == nil {
		v.apply(header, "application/problem+json")
	} else {
		v.apply(header, "")
	}
	if d.Status == http.StatusRequestEntityTooLarge && r.ProtoMajor < 2 {
		// Otherwise net/http waits for the rest of the body before it sends the response.
		header["Connection"] = []string{"close"}
	}
	if h.Deny == nil {
		w.WriteHeader(d.Status)
		body := problems.Get().(*[]byte)
		*body = appendProblem((*body)[:0], d)
		w.Write(*body)
		problems.Put(body)
		return
	}
	// A copy of the challenges, because the hook may keep its ResponseWriter.
	body := &bodyWriter{ResponseWriter: w, verdict: verdict{v.status, slices.Clone(v.challenges), v.retryAfter}}
	// A copy: a hook that translates Detail must not do so for everybody who
	// is refused with the same Denial.
	h.Deny(body, r, d.clone())
	if !body.wrote {
		body.WriteHeader(d.Status)
	}
}

// isWrongKind reports whether Accept refuses a caller that is signed in: to sign in
// again would not help.
func isWrongKind(r *http.Request, d *Denial) bool {
	if !d.only {
		return false
	}
	_, err := Caller(r)
	return err == nil
}

// ofTheBody are the headers that a handler may have set for the body that will
// not be sent.
var ofTheBody = [...]string{
	"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location",
	"Content-Range", "Content-Type", "Etag", "Expires", "Last-Modified",
}

// retryAfter returns the seconds for the Retry-After header, zero for none.
func (d *Denial) retryAfter() int64 {
	wait := d.RetryAfter
	if wait <= 0 {
		if d.Status == http.StatusServiceUnavailable {
			return 1
		}
		return 0
	}
	seconds := int64(wait / time.Second)
	if wait%time.Second != 0 {
		seconds++
	}
	return seconds
}

// verdict is what a refusal says outside its body.
type verdict struct {
	status     int
	challenges []string
	retryAfter int64
}

// apply sets the headers of v and, unless it is empty, the Content-Type. Each call
// makes one array for all values. Its parts are clipped, so that appending to one
// header does not change another, and nothing that edits a header edits v, which is
// applied a second time after Deny.
func (v verdict) apply(header http.Header, contentType string) {
	n := len(v.challenges)
	own := make([]string, n+3)
	copy(own, v.challenges)
	if n > 0 {
		header["Www-Authenticate"] = own[:n:n]
	} else {
		delete(header, "Www-Authenticate")
	}
	own[n] = "no-store"
	header["Cache-Control"] = own[n : n+1 : n+1]
	if v.retryAfter > 0 {
		own[n+1] = strconv.FormatInt(v.retryAfter, 10)
		header["Retry-After"] = own[n+1 : n+2 : n+2]
	} else {
		delete(header, "Retry-After")
	}
	if contentType != "" {
		own[n+2] = contentType
		header["Content-Type"] = own[n+2 : n+3 : n+3]
	}
}

// bodyWriter is what Hooks.Deny writes to: whatever status it asks for and
// whatever it does to the headers of the verdict, the verdict stands. There is
// no Unwrap on purpose, for flushing what is underneath would send 200.
type bodyWriter struct {
	http.ResponseWriter
	verdict
	wrote bool
}

func (b *bodyWriter) WriteHeader(int) {
	if b.wrote {
		return
	}
	b.wrote = true
	b.apply(b.Header(), "")
	b.ResponseWriter.WriteHeader(b.status)
}

func (b *bodyWriter) Write(p []byte) (int, error) {
	b.WriteHeader(b.status)
	return b.ResponseWriter.Write(p)
}

// problems has buffers for bodies. [io.Writer] must not retain the bytes it is given.
var problems = sync.Pool{New: func() any { return new([]byte) }}

// appendProblem appends the default body. "type" is left out, which makes it
// about:blank, and so title is the status in words (RFC 9457 section 4.2.1).
//
// It is written out by hand, since a refusal must not cost more than letting
// the request through; strings that need an escape, which are rare, are
// encoding/json's.
func appendProblem(body []byte, d *Denial) []byte {
	body = append(body, '{')
	if title := http.StatusText(d.Status); title != "" {
		body = append(appendString(append(body, `"title":`...), title), ',')
	}
	body = strconv.AppendInt(append(body, `"status":`...), int64(d.Status), 10)
	if d.Code != "" {
		body = appendString(append(body, `,"code":`...), d.Code)
	}
	if d.Detail != "" {
		body = appendString(append(body, `,"detail":`...), d.Detail)
	}
	return append(body, '}', '\n')
}

// appendString appends s as a JSON string, spelled as encoding/json does.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil { // a string: it cannot fail
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
