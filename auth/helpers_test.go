package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

const (
	issuer   = "https://auth.example"
	audience = "https://api.example"
	right    = "correct horse battery" // the password of everybody who has one
	lifetime = 15 * time.Minute        // of access tokens
	alice    = "user-1"                // the ID of alice
)

// refreshSecret is the only one of Config.RefreshKeys.
var refreshSecret = guard.NewSecret([]byte("0123456789abcdef0123456789abcdef"))

// errDown is what stores that do not answer return. Nothing of it may reach a
// client.
var errDown = errors.New("SECRET-REASON: the store is down")

// cheap returns a Hasher whose work is next to nothing.
func cheap(t testing.TB, c password.Config) *password.Hasher {
	t.Helper()
	if c.Argon2id == (password.Argon2id{}) {
		c.Argon2id = password.Argon2id{Memory: 8, Passes: 1, Lanes: 1}
	}
	c.InsecureArgon2id = true
	h, err := password.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A host is an application that signs people in with this package, with
// everything that its tests want to look at.
type host struct {
	t       testing.TB
	server  *auth.Server
	mux     *guard.Mux
	store   *auth.Memory
	revoked *blacklist.Memory
	hash    string // of right
	events  *events
	cookies *auth.Cookies // nil without cookie mode
	wrote   int           // requests that would have changed something

	mu      sync.Mutex
	log     bytes.Buffer
	secrets map[string]bool // what was sent or answered and must not be logged
}

// A setup is what a test may change about its host.
type setup struct {
	auth.Config
	users    auth.UserStore // default: the Memory
	lifetime time.Duration  // of access tokens
	store    *auth.Memory

	others   []guard.Authenticator  // beside the verifier
	cookies  *auth.CookieConfig     // nil: no cookie mode
	verifier func() *token.Verifier // of Config; default: that of the mux
}

// newHost returns a host with the users alice, who has the scopes read and
// write and the role editor, and bob, who is alike.
func newHost(t testing.TB, changes ...func(*setup)) *host {
	t.Helper()
	h := &host{t: t, store: new(auth.Memory), revoked: new(blacklist.Memory), events: new(events), secrets: map[string]bool{right: true}}
	logged := guard.Log(slog.New(slog.NewJSONHandler((*locked)(h), nil)))
	s := setup{
		Config: auth.Config{
			Sessions:    h.store,
			Challenges:  h.store,
			RefreshKeys: []guard.Secret{refreshSecret},
			Revoker:     h.revoked,
			Passwords:   cheap(t, password.Config{}),
			Hooks: guard.Hooks{Observe: func(ctx context.Context, e guard.Event) {
				logged(ctx, e)
				h.events.observe(e)
			}},
		},
		users:    h.store,
		lifetime: lifetime,
		store:    h.store,
	}
	for _, change := range changes {
		change(&s)
	}
	var err error
	if h.hash, err = cheap(t, password.Config{}).Hash(context.Background(), right); err != nil {
		t.Fatal(err)
	}
	h.setUser("alice", h.alice())
	h.setUser("bob", auth.User{ID: "user-2", PasswordHash: h.hash, Scopes: identity.NewSet("read", "write")})

	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("an access token secret of 32 b.."))})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: audience, Lifetime: s.lifetime})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := token.NewVerifier(ring, token.VerifierConfig{Issuer: issuer, Audience: audience, Revoker: s.Config.Revoker})
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Verifier = verifier
	if s.verifier != nil {
		s.Config.Verifier = s.verifier()
	}
	if h.server, err = auth.New(s.users, tokens, s.Config); err != nil {
		t.Fatal(err)
	}
	authenticators := append([]guard.Authenticator{verifier}, s.others...)
	if s.cookies != nil {
		if h.cookies, err = auth.NewCookies(h.server, *s.cookies); err != nil {
			t.Fatal(err)
		}
		authenticators = append(authenticators, h.cookies)
	}
	h.mux = guard.NewMux(s.Hooks, authenticators...)
	if s.cookies != nil {
		h.mux.Handle("/session", h.cookies.Token())
		h.mux.Handle("/session/refresh", h.cookies.Refresh())
		if s.SecondFactor != nil {
			h.mux.Handle("/session/mfa", h.cookies.MFA())
			h.mux.Handle("/session/step-up", h.cookies.StepUp())
		}
		h.mux.Handle("/session/logout", h.cookies.Logout())
		h.mux.Handle("/write", s.Hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h.wrote++
			w.Write([]byte("{}"))
		})))
	}
	h.mux.Handle("/token", h.server.Token())
	h.mux.Handle("/token/refresh", h.server.Refresh())
	if s.SecondFactor != nil {
		h.mux.Handle("/token/mfa", h.server.MFA())
		h.mux.Handle("/step-up", h.server.StepUp())
	}
	h.mux.Handle("/logout/", h.server.Logout())
	h.mux.Handle("/revoke", h.server.Revoke())
	h.mux.Handle("/introspect", h.server.Introspect())
	h.mux.Handle("GET /me", s.Hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		json.NewEncoder(w).Encode(map[string]any{
			"sub": p.Subject, "tenant": p.Tenant, "sid": p.Session, "client": p.Client,
			"scope": p.Scopes.String(), "roles": p.Roles.String(), "amr": p.Factors.String(),
			"auth_time": p.AuthTime.Unix(), "iat": p.IssuedAt.Unix(), "exp": p.Expires.Unix(),
		})
	})))
	t.Cleanup(h.noSecrets)
	return h
}

func (h *host) alice() auth.User {
	return auth.User{ID: alice, PasswordHash: h.hash, Roles: identity.NewSet("editor"), Scopes: identity.NewSet("read", "write")}
}

func (h *host) setUser(login string, u auth.User) {
	h.t.Helper()
	if err := h.store.SetUser(login, u); err != nil {
		h.t.Fatal(err)
	}
}

// locked is the log of a host, as an io.Writer.
type locked host

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

// secret remembers what must not be logged.
func (h *host) secret(values ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range values {
		if len(v) >= 6 {
			h.secrets[v] = true
		}
	}
}

// noSecrets fails if a password, a token or a code is in the audit trail.
func (h *host) noSecrets() {
	h.mu.Lock()
	defer h.mu.Unlock()
	var seen strings.Builder
	seen.Write(h.log.Bytes())
	for _, e := range h.events.list() {
		fmt.Fprintf(&seen, "%+v %v\n", e, e.Err)
		if e.Denial != nil {
			fmt.Fprintf(&seen, "%+v\n", *e.Denial)
		}
	}
	for s := range h.secrets {
		if strings.Contains(seen.String(), s) {
			h.t.Errorf("the audit trail has the secret %q", s)
		}
	}
}

// events collects what Observe hears.
type events struct {
	mu  sync.Mutex
	all []guard.Event
}

func (e *events) observe(event guard.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *events) list() []guard.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]guard.Event(nil), e.all...)
}

// take returns the events so far and forgets them.
func (e *events) take() []guard.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = nil
	return all
}

// named returns how many of the events have the name.
func named(all []guard.Event, name guard.EventName) int {
	n := 0
	for _, e := range all {
		if e.Name == name {
			n++
		}
	}
	return n
}

// An answer is a response and its JSON body.
type answer struct {
	status int
	header http.Header
	raw    string
	json   map[string]any
}

func (a answer) text(name string) string {
	s, _ := a.json[name].(string)
	return s
}

func (a answer) access() string  { return a.text("access_token") }
func (a answer) refresh() string { return a.text("refresh_token") }

// serve sends r and fails unless the answer keeps the rules of every answer of
// the token endpoints.
func (h *host) serve(r *http.Request) answer {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), raw: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &a.json); err != nil && r.URL.Path != "/logout/" && (r.URL.Path != "/revoke" || a.raw != "") {
		h.t.Errorf("%s %s: the body is not JSON: %q", r.Method, r.URL.Path, a.raw)
	}
	h.secret(a.access(), a.refresh(), a.text("mfa_token"))
	if strings.Contains(a.raw, "SECRET-REASON") {
		h.t.Errorf("%s %s: the body tells the reason: %s", r.Method, r.URL.Path, a.raw)
	}
	if strings.HasPrefix(r.URL.Path, "/token") {
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			h.t.Errorf("%s %s: %d with Cache-Control %q, want no-store", r.Method, r.URL.Path, a.status, got)
		}
		if got := a.header.Get("Pragma"); got != "no-cache" {
			h.t.Errorf("%s %s: %d with Pragma %q, want no-cache", r.Method, r.URL.Path, a.status, got)
		}
		if got := a.header.Get("Content-Type"); got != "application/json" {
			h.t.Errorf("%s %s: %d with Content-Type %q, want application/json", r.Method, r.URL.Path, a.status, got)
		}
	}
	if a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
		h.t.Errorf("%s %s: 503 without Retry-After", r.Method, r.URL.Path)
	}
	return a
}

// request returns a POST of a form, whose names and values alternate.
func request(path string, form ...string) *http.Request {
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (h *host) post(path string, form ...string) answer {
	h.t.Helper()
	for i := 0; i < len(form); i += 2 {
		if form[i] != "username" && form[i] != "scope" && form[i] != "grant_type" && form[i] != "client_id" {
			h.secret(form[i+1])
		}
	}
	return h.serve(request(path, form...))
}

func (h *host) signIn(username, password string, more ...string) answer {
	h.t.Helper()
	return h.post("/token", append([]string{"grant_type", "password", "username", username, "password", password}, more...)...)
}

// signedIn signs alice in.
func (h *host) signedIn(more ...string) answer {
	h.t.Helper()
	a := h.signIn("alice", right, more...)
	h.want(a, http.StatusOK, "")
	return a
}

func (h *host) refresh(refreshToken string, more ...string) answer {
	h.t.Helper()
	return h.post("/token/refresh", append([]string{"refresh_token", refreshToken}, more...)...)
}

func bearer(method, path, accessToken string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer "+accessToken)
	return r
}

func (h *host) me(accessToken string) answer {
	h.t.Helper()
	return h.serve(bearer("GET", "/me", accessToken))
}

func (h *host) logout(accessToken string) answer {
	h.t.Helper()
	return h.serve(bearer("POST", "/logout/", accessToken))
}

// want fails unless the answer has the status and the error code, which is ""
// for success.
func (h *host) want(a answer, status int, code string) {
	h.t.Helper()
	got := a.text("error")
	if got == "" {
		got = a.text("code") // of problem details
	}
	if a.status != status || got != code {
		h.t.Fatalf("%d %q, want %d %q; body: %s", a.status, got, status, code, a.raw)
	}
}

// wantEvent fails unless there is exactly one event of the name, and returns it.
func (h *host) wantEvent(all []guard.Event, name guard.EventName) guard.Event {
	h.t.Helper()
	var found guard.Event
	for _, e := range all {
		if e.Name == name {
			found = e
		}
	}
	if n := named(all, name); n != 1 {
		var names []guard.EventName
		for _, e := range all {
			names = append(names, e.Name)
		}
		h.t.Fatalf("%d events %s, want 1; all: %q", n, name, names)
	}
	return found
}

// errorBody is the body of RFC 6749 section 5.2.
func errorBody(code, description string) string {
	return fmt.Sprintf(`{"error":%q,"error_description":%q}`+"\n", code, description)
}

// sameHeader reports whether two answers have the same headers.
func sameHeader(a, b http.Header) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool { return strings.Join(x, "\x00") == strings.Join(y, "\x00") })
}

// Doubles of what a host brings.

// users is a UserStore whose answers a test may replace.
type users struct {
	auth.UserStore
	byLogin func(login string) (*auth.User, error)
	byID    func(id string) (*auth.User, error)
}

func (u *users) UserByLogin(ctx context.Context, login string) (*auth.User, error) {
	if u.byLogin != nil {
		return u.byLogin(login)
	}
	return u.UserStore.UserByLogin(ctx, login)
}

func (u *users) UserByID(ctx context.Context, id string) (*auth.User, error) {
	if u.byID != nil {
		return u.byID(id)
	}
	return u.UserStore.UserByID(ctx, id)
}

// sessions is a RefreshStore and ChallengeStore whose answers a test may
// replace.
type sessions struct {
	*auth.Memory
	create  func(auth.Session) error
	rotate  func(auth.Rotation) (auth.Rotated, error)
	revoke  func(identity.Revocation) error
	attempt func() (bool, error)
	finish  func() (bool, error)
}

func (s *sessions) CreateRefresh(ctx context.Context, one auth.Session, first auth.TokenHash, idle time.Time, most int) ([]string, error) {
	if s.create != nil {
		if err := s.create(one); err != nil {
			return nil, err
		}
	}
	return s.Memory.CreateRefresh(ctx, one, first, idle, most)
}

func (s *sessions) RotateRefresh(ctx context.Context, r auth.Rotation) (auth.Rotated, error) {
	if s.rotate != nil {
		return s.rotate(r)
	}
	return s.Memory.RotateRefresh(ctx, r)
}

func (s *sessions) RevokeRefresh(ctx context.Context, which identity.Revocation) error {
	if s.revoke != nil {
		if err := s.revoke(which); err != nil {
			return err
		}
	}
	return s.Memory.RevokeRefresh(ctx, which)
}

func (s *sessions) AttemptChallenge(ctx context.Context, id auth.TokenHash, limit int, expires time.Time) (bool, error) {
	if s.attempt != nil {
		return s.attempt()
	}
	return s.Memory.AttemptChallenge(ctx, id, limit, expires)
}

func (s *sessions) FinishChallenge(ctx context.Context, id auth.TokenHash) (bool, error) {
	if s.finish != nil {
		return s.finish()
	}
	return s.Memory.FinishChallenge(ctx, id)
}

// revoker is a Revoker whose answers a test may replace.
type revoker struct {
	*blacklist.Memory
	revoke func(context.Context) error
	ask    func() (bool, error)
	since  func(*identity.Principal) (bool, error)

	checkpoint, issue func() error
}

func (r *revoker) Revoke(ctx context.Context, which identity.Revocation) error {
	if r.revoke != nil {
		if err := r.revoke(ctx); err != nil {
			return err
		}
	}
	return r.Memory.Revoke(ctx, which)
}

func (r *revoker) RevokeNow(ctx context.Context, which identity.Revocation) (time.Time, error) {
	if r.revoke != nil {
		if err := r.revoke(ctx); err != nil {
			return time.Time{}, err
		}
	}
	return r.Memory.RevokeNow(ctx, which)
}

func (r *revoker) Checkpoint(ctx context.Context) (uint64, error) {
	if r.checkpoint != nil {
		if err := r.checkpoint(); err != nil {
			return 0, err
		}
	}
	return r.Memory.Checkpoint(ctx)
}

func (r *revoker) IssueTime(ctx context.Context, p *identity.Principal) (time.Time, error) {
	if r.issue != nil {
		if err := r.issue(); err != nil {
			return time.Time{}, err
		}
	}
	return r.Memory.IssueTime(ctx, p)
}

func (r *revoker) RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	if r.ask != nil {
		return r.ask()
	}
	if r.since != nil {
		return r.since(p)
	}
	return r.Memory.RevokedSince(ctx, p, checkpoint)
}

func (r *revoker) Revoked(ctx context.Context, p *identity.Principal) (bool, error) {
	if r.ask != nil {
		return r.ask()
	}
	return r.Memory.Revoked(ctx, p)
}

// factor is a SecondFactor for which everybody has set one up.
type factor struct {
	required func() (bool, error)
	verify   func(subject, code string) (string, error)
}

const code = "code 314159"

func (f *factor) Required(context.Context, string) (bool, error) {
	if f.required != nil {
		return f.required()
	}
	return true, nil
}

func (f *factor) VerifyFactor(_ context.Context, p *identity.Principal, given string) (string, error) {
	if f.verify != nil {
		return f.verify(p.Subject, given)
	}
	if given != code {
		return "", nil
	}
	return "otp", nil
}

// throttle is a Throttle that counts.
type throttle struct {
	mu       sync.Mutex
	limit    int // of attempts that failed or are under way; zero: none
	charged  int
	reserved []string // logins
	addrs    []string
	settled  []guard.Outcome
	err      error
	wait     time.Duration
}

func (th *throttle) Reserve(_ context.Context, login, addr string) (func(guard.Outcome), time.Duration, error) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.reserved = append(th.reserved, login)
	th.addrs = append(th.addrs, addr)
	switch {
	case th.err != nil:
		return nil, 0, th.err
	case th.wait > 0:
		return nil, th.wait, nil
	case th.limit > 0 && th.charged >= th.limit:
		return nil, time.Minute, nil
	}
	th.charged++
	return func(outcome guard.Outcome) {
		th.mu.Lock()
		defer th.mu.Unlock()
		th.settled = append(th.settled, outcome)
		if outcome != guard.Failed {
			th.charged--
		}
	}, 0, nil
}

// settlements returns what settle was called with so far, and forgets it.
func (th *throttle) settlements() []guard.Outcome {
	th.mu.Lock()
	defer th.mu.Unlock()
	all := th.settled
	th.settled = nil
	return all
}

// payloadOf returns the claims of a token, unverified.
func payloadOf(t testing.TB, signed string) map[string]any {
	t.Helper()
	parts := strings.Split(signed, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is not a token", signed)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// answerOf returns what a handler answers outside of a host.
func answerOf(t testing.TB, handler http.Handler, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), raw: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &a.json); err != nil {
		t.Fatalf("the body is not JSON: %q", a.raw)
	}
	return a
}

// answerOrNothing reads what was recorded, which may have no body.
func answerOrNothing(w *httptest.ResponseRecorder) answer {
	a := answer{status: w.Code, header: w.Header(), raw: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &a.json)
	return a
}

// recorded returns what a handler answers, whatever it is.
func recorded(handler http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}
