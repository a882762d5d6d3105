package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticator "github.com/pquerna/otp/totp"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A phone is somebody's authenticator app.
type phone struct {
	secret string
	shown  time.Time // the time of the last code
}

// code returns the next code that was not used yet. There are three that a
// server takes at any time.
func (p *phone) code(t *testing.T) string {
	t.Helper()
	if p.shown.IsZero() {
		p.shown = time.Now().Add(-30 * time.Second)
	} else {
		p.shown = p.shown.Add(30 * time.Second)
	}
	code, err := authenticator.GenerateCode(p.secret, p.shown)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// enrol sets a second factor up and returns the phone and the recovery codes.
func (s *site) enrol(t *testing.T, access string) (*phone, []string) {
	t.Helper()
	setup := into[struct{ URI, Secret string }](t, s.do(t, "POST", "/2fa/setup/", "", bearer(access), "Accept: application/json"), 200)
	uri, err := url.Parse(setup.URI)
	if err != nil || uri.Scheme != "otpauth" || uri.Query().Get("secret") != setup.Secret || uri.Query().Get("issuer") != service {
		t.Fatalf("the URI is %s (%v)", setup.URI, err)
	}
	p := &phone{secret: setup.Secret}
	confirmed := into[struct {
		Codes []string `json:"recovery_codes"`
	}](t, s.do(t, "POST", "/2fa/confirm/", form("code", p.code(t), "password", s.keys.DemoPassword), bearer(access), formType), 200)
	if len(confirmed.Codes) != 10 {
		t.Fatalf("there are %d recovery codes", len(confirmed.Codes))
	}
	return p, confirmed.Codes
}

// challenged signs in with the password and returns the challenge.
func (s *site) challenged(t *testing.T, username string) string {
	t.Helper()
	got := s.do(t, "POST", "/token", form("username", username, "password", s.keys.DemoPassword), formType)
	got.refused(t, 400, "mfa_required")
	var body struct {
		Token string `json:"mfa_token"`
	}
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || body.Token == "" {
		t.Fatalf("got %s", got.body)
	}
	return body.Token
}

func (s *site) respond(t *testing.T, challenge, code string) answer {
	t.Helper()
	return s.do(t, "POST", "/token/mfa", form("mfa_token", challenge, "code", code), formType)
}

// waited makes the time pass for which a wrong code holds up the next one.
func (s *site) waited(t *testing.T) {
	t.Helper()
	s.exec(t, "UPDATE gatewright_totp SET retry = 0 WHERE retry <> 0")
}

func TestSecondFactorFromItsSetupToItsEnd(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	// The guide's picture.
	got := s.do(t, "POST", "/2fa/setup/", "", bearer(alice.Access))
	if got.status != 200 || got.header.Get("Content-Type") != "image/png" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("setup: got %d %v", got.status, got.header)
	}
	if picture, err := png.Decode(bytes.NewReader([]byte(got.body))); err != nil || picture.Bounds().Dx() < 128 {
		t.Errorf("the picture: %v", err)
	}
	s.do(t, "GET", "/2fa/setup/", "", bearer(alice.Access)).has(t, "setup by a link", 405, "method_not_allowed")
	// Not in use until it is confirmed.
	s.signInAlice(t)

	p, recovery := s.enrol(t, alice.Access)
	used := p.shown
	challenge := s.challenged(t, "alice")
	again, err := authenticator.GenerateCode(p.secret, used)
	if err != nil {
		t.Fatal(err)
	}
	s.respond(t, challenge, again).refused(t, 400, "invalid_grant") // of the setup, and used up
	s.waited(t)
	pair := s.respond(t, challenge, p.code(t)).tokens(t)
	if c := claims(t, pair.Access); !slices.Equal(c.Factors, []string{"otp", "pwd"}) {
		t.Errorf("the factors are %q", c.Factors)
	}
	s.respond(t, challenge, recovery[9]).refused(t, 400, "invalid_grant") // the challenge was answered

	signedIn := s.respond(t, s.challenged(t, "alice"), recovery[0]).tokens(t)
	s.me(t, signedIn.Access).has(t, "with a recovery code", 200, "")
	s.respond(t, s.challenged(t, "alice"), recovery[0]).refused(t, 400, "invalid_grant")
	s.waited(t)

	// A session alone, which may be stolen, changes nothing of it.
	s.do(t, "DELETE", "/2fa/", "", bearer(signedIn.Access)).has(t, "disabling without a proof", 403, "proof_required")
	s.do(t, "POST", "/2fa/recovery/", "", bearer(signedIn.Access)).has(t, "new recovery codes without a proof", 403, "proof_required")
	s.do(t, "POST", "/2fa/setup/", "", bearer(signedIn.Access)).is(t, 200)
	s.challenged(t, "alice") // another setup replaces nothing
	s.do(t, "DELETE", "/2fa/", form("code", recovery[1]), bearer(signedIn.Access), formType).has(t, "disabling", 204, "")
	s.signInAlice(t)
}

// A thief has begun to set up a factor of their own. If they could end that
// after the owner has put them out, the owner could not sign in any more.
func TestFactorIsNotSetUpByWhoWasSignedOutMeanwhile(t *testing.T) {
	s := openSite(t)
	owner, thief := s.signInAlice(t), s.signInAlice(t)
	setup := into[struct{ Secret string }](t, s.do(t, "POST", "/2fa/setup/", "", bearer(thief.Access), "Accept: application/json"), 200)
	p := &phone{secret: setup.Secret}
	s.late(t, "/2fa/confirm/", form("code", p.code(t)), func() {
		s.changePassword(t, owner.Access, s.keys.DemoPassword, newTestPassword).is(t, 204)
	}, bearer(thief.Access), formType).has(t, "confirming", 401, "invalid_token")
	s.signIn(t, "alice", newTestPassword)
}

// Somebody has the phone of mod, and a session too.
func TestNoSessionSetsAFactorUpWhileItIsReset(t *testing.T) {
	s := openSite(t)
	log := &interrupted{event: "factor_reset"}
	s.app = must(newApp(s.db, s.keys, quick(), testSettings, slog.New(log)))
	check(s.start(t.Context(), s.keys))
	t.Cleanup(s.following.Wait)
	server := httptest.NewServer(s.handler())
	defer server.Close()
	s.url = server.URL
	admin, thief := s.signIn(t, "admin", s.keys.DemoPassword), s.signIn(t, "mod", s.keys.DemoPassword)
	p, _ := s.enrol(t, s.signIn(t, "admin", s.keys.DemoPassword).Access)
	s.enrol(t, thief.Access)
	admin = s.do(t, "POST", "/2fa/verify/", form("code", p.code(t)), bearer(admin.Access), formType).tokens(t)
	interruption := func() { // the factor is gone
		s.do(t, "POST", "/2fa/setup/", "", bearer(thief.Access)).has(t, "setting up another one", 401, "invalid_token")
	}
	log.by.Store(&interruption)
	s.do(t, "DELETE", "/users/mod/2fa", "", bearer(admin.Access)).has(t, "resetting", 204, "")
	if log.by.Load() != nil {
		t.Error("there was no event")
	}
}

// Somebody signs in as mod, with the password alone, when the factor is gone and
// before the administrator is told so.
func TestNoSignInSurvivesTheResetOfAFactor(t *testing.T) {
	s := openSite(t)
	log := &interrupted{event: "factor_reset"}
	s.app = must(newApp(s.db, s.keys, quick(), testSettings, slog.New(log)))
	check(s.start(t.Context(), s.keys))
	t.Cleanup(s.following.Wait)
	server := httptest.NewServer(s.handler())
	defer server.Close()
	s.url = server.URL
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	p, _ := s.enrol(t, s.signIn(t, "admin", s.keys.DemoPassword).Access)
	s.enrol(t, s.signIn(t, "mod", s.keys.DemoPassword).Access)
	admin = s.do(t, "POST", "/2fa/verify/", form("code", p.code(t)), bearer(admin.Access), formType).tokens(t)
	var thief tokens
	interruption := func() { thief = s.signIn(t, "mod", s.keys.DemoPassword) }
	log.by.Store(&interruption)
	s.do(t, "DELETE", "/users/mod/2fa", "", bearer(admin.Access)).has(t, "resetting", 204, "")
	s.me(t, thief.Access).has(t, "the session of the sign-in", 401, "invalid_token")
	s.do(t, "POST", "/token/refresh", form("refresh_token", thief.Refresh), formType).refused(t, 400, "invalid_grant")
}

// An administrator loses the role after the guards have let the request in.
func TestAFactorIsResetByWhoStillMayDoSo(t *testing.T) {
	s := openSite(t)
	s.enrol(t, s.signIn(t, "mod", s.keys.DemoPassword).Access)
	admin := must(s.users.byUsername(t.Context(), "admin"))
	caller := known{&identity.Principal{Issuer: testIssuer, Subject: strconv.FormatInt(admin.ID, 10), Session: "s"}}
	handler := s.hooks.Identify(caller)(s.app.me.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.exec(t, "UPDATE users SET roles = 'user' WHERE username = 'admin'")
		s.resetFactor(w, r)
	})))
	r := httptest.NewRequest("DELETE", "/users/mod/2fa", nil)
	r.SetPathValue("username", "mod")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != 403 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	s.challenged(t, "mod") // the factor is still there
}

// known is an authenticator that always finds the same caller.
type known struct{ p *identity.Principal }

func (known) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Test"} }
func (k known) Authenticate(*http.Request) (*identity.Principal, error) {
	return k.p, nil
}

// interrupted is a log that calls a function, once, when it hears of an event.
type interrupted struct {
	event string
	by    atomic.Pointer[func()]
}

func (i *interrupted) Handle(_ context.Context, r slog.Record) error {
	heard := strings.Contains(r.Message, i.event)
	r.Attrs(func(a slog.Attr) bool { heard = heard || strings.Contains(a.String(), i.event); return true })
	if heard {
		if by := i.by.Swap(nil); by != nil {
			(*by)()
		}
	}
	return nil
}

func (*interrupted) Enabled(context.Context, slog.Level) bool { return true }
func (i *interrupted) WithAttrs([]slog.Attr) slog.Handler     { return i }
func (i *interrupted) WithGroup(string) slog.Handler          { return i }

func TestSteppingUpASession(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	enrolling := s.signIn(t, "admin", s.keys.DemoPassword)
	p, recovery := s.enrol(t, enrolling.Access)
	s.do(t, "POST", "/2fa/verify/", form("code", p.code(t)), bearer(enrolling.Access), formType).refused(t, 403, "factor_enrolled_in_session")
	// The session began before, with a password alone.
	path := "/users/mod/2fa"
	got := s.do(t, "DELETE", path, "", bearer(admin.Access))
	got.has(t, "without the factor", 401, "insufficient_user_authentication")
	if challenge := got.header.Get("WWW-Authenticate"); !strings.Contains(challenge, `acr_values="mfa phr"`) || !strings.Contains(challenge, `max_age="600"`) {
		t.Errorf("the challenge is %s", challenge)
	}
	got = s.do(t, "POST", "/2fa/verify/", form("code", "000000"), bearer(admin.Access), formType)
	got.refused(t, 400, "invalid_grant")
	s.waited(t)
	up := s.do(t, "POST", "/2fa/verify/", form("code", p.code(t)), bearer(admin.Access), formType).tokens(t)
	s.me(t, admin.Access).has(t, "the session from before", 401, "invalid_token")

	mod := s.signIn(t, "mod", s.keys.DemoPassword)
	s.enrol(t, mod.Access)
	s.challenged(t, "mod")
	s.do(t, "DELETE", path, "", bearer(up.Access)).has(t, "resetting", 204, "")
	s.me(t, mod.Access).has(t, "a session of somebody whose factor was reset", 401, "invalid_token")
	s.signIn(t, "mod", s.keys.DemoPassword)
	s.do(t, "DELETE", "/users/admin/2fa", "", bearer(up.Access)).has(t, "resetting one's own", 409, "own_account")
	s.do(t, "POST", "/2fa/recovery/", form("code", recovery[0]), bearer(up.Access), formType).has(t, "new recovery codes", 200, "")
	s.do(t, "POST", "/2fa/recovery/", form("code", recovery[1]), bearer(up.Access), formType).has(t, "an old recovery code", 400, "invalid_code")
}

func TestAPIKeysCannotTouchSecondFactors(t *testing.T) {
	s := openSite(t)
	key := s.key(t, s.signInAlice(t).Access, `{"name":"ci","scopes":["read:items"]}`)
	for _, one := range []struct{ method, path string }{
		{"POST", "/2fa/setup/"}, {"POST", "/2fa/confirm/"}, {"POST", "/2fa/verify/"}, {"POST", "/2fa/recovery/"}, {"DELETE", "/2fa/"},
	} {
		s.do(t, one.method, one.path, form("code", "000000"), withKey(key.Key), formType).has(t, one.path, 403, "forbidden")
		s.do(t, one.method, one.path, form("code", "000000"), formType).has(t, one.path, 401, "unauthenticated")
	}
}

func TestSecretOfAFactorIsSealedInTheDatabase(t *testing.T) {
	s := openSite(t)
	p, recovery := s.enrol(t, s.signInAlice(t).Access)
	var active, codes []byte
	if err := s.db.QueryRowContext(t.Context(), "SELECT active, recovery FROM gatewright_totp").Scan(&active, &codes); err != nil {
		t.Fatal(err)
	}
	for _, secret := range append(recovery, p.secret) {
		if bytes.Contains(active, []byte(secret)) || bytes.Contains(codes, []byte(secret)) || strings.Contains(s.log.String(), secret) {
			t.Error("a secret is in the database or in the log")
		}
	}
}

func TestGuessedCodesMakeTheirUserWait(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	s.enrol(t, alice.Access)
	challenge := s.challenged(t, "alice")
	s.respond(t, challenge, "000000").refused(t, 400, "invalid_grant")
	// Beginning anew does not begin the counting anew.
	got := s.respond(t, s.challenged(t, "alice"), "000001")
	got.refused(t, 429, "temporarily_unavailable")
	if got.status == http.StatusTooManyRequests && got.header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	s.me(t, alice.Access).has(t, "a session that was there", 200, "")
}

// A thief has an access token and nothing else.
func TestStolenAccessTokenDoesNotBecomeAnAccount(t *testing.T) {
	s := openSite(t)
	stolen := s.signInAlice(t)
	setup := into[struct{ Secret string }](t, s.do(t, "POST", "/2fa/setup/", "", bearer(stolen.Access), "Accept: application/json"), 200)
	p := &phone{secret: setup.Secret}
	for _, proof := range [][]string{{}, {"password", ""}, {"password", "guess"}, {"current_code", p.code(t)}, {"grant", stolen.Access}, {"grant", stolen.Refresh}} {
		got := s.do(t, "POST", "/2fa/confirm/", form(append([]string{"code", p.code(t)}, proof...)...), bearer(stolen.Access), formType)
		if got.status != 400 && got.status != 403 {
			t.Errorf("confirming with %q: %d %s", proof, got.status, got.body)
		}
		if _, err := s.db.ExecContext(t.Context(), "UPDATE gatewright_totp SET retry = 0"); err != nil {
			t.Fatal(err)
		}
	}
	s.do(t, "POST", "/2fa/verify/", form("code", p.code(t)), bearer(stolen.Access), formType).refused(t, 400, "invalid_grant")
	// The owner's session is there, and the password alone opens another.
	s.me(t, stolen.Access).is(t, 200)
	s.signInAlice(t)
	// If the owner confirms in that very session, the thief's copy of its token
	// gets no more by it.
	owner, _ := s.enrol(t, stolen.Access)
	s.do(t, "POST", "/2fa/verify/", form("code", owner.code(t)), bearer(stolen.Access), formType).refused(t, 403, "factor_enrolled_in_session")
	s.do(t, "POST", "/2fa/verify/", `{"code":"`+owner.code(t)+`"}`, bearer(stolen.Access), "Content-Type: application/json").refused(t, 403, "factor_enrolled_in_session")
}

func TestEndOfAFactorEndsAPIKeys(t *testing.T) {
	for what, end := range map[string]func(s *site, t *testing.T, access string){
		"removing": func(s *site, t *testing.T, access string) {
			s.do(t, "DELETE", "/2fa/", form("password", s.keys.DemoPassword), bearer(access), formType).is(t, 204)
		},
		"replacing": func(s *site, t *testing.T, access string) { s.enrol(t, access) },
		"resetting": func(s *site, t *testing.T, _ string) {
			admin := s.signIn(t, "admin", s.keys.DemoPassword)
			p, _ := s.enrol(t, s.signIn(t, "admin", s.keys.DemoPassword).Access)
			admin = s.do(t, "POST", "/2fa/verify/", form("code", p.code(t)), bearer(admin.Access), formType).tokens(t)
			s.do(t, "DELETE", "/users/alice/2fa", "", bearer(admin.Access)).is(t, 204)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := openSite(t)
			alice := s.signInAlice(t)
			s.enrol(t, alice.Access)
			key := s.key(t, alice.Access, `{"name":"ci","scopes":["read:items"]}`)
			s.do(t, "GET", "/protected/", "", withKey(key.Key)).is(t, 200)
			end(s, t, alice.Access)
			s.do(t, "GET", "/protected/", "", withKey(key.Key)).has(t, "the key", 401, "invalid_token")
		})
	}
}
