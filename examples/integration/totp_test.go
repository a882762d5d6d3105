package integration

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	passwords "github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/totp"
)

var _ auth.SecondFactor = (*totp.Service)(nil)

// authenticatorCode is what a phone shows for a secret: RFC 6238 by its letter.
func authenticatorCode(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

// A factorHost is an application with passwords and second factors.
type factorHost struct {
	t       *testing.T
	mux     *guard.Mux
	factors *totp.Service
	log     *bytes.Buffer
	secrets []string // which must not be logged
}

const factorPassword = "correct horse battery"

func newFactorHost(t *testing.T, store totp.Store) *factorHost {
	t.Helper()
	h := &factorHost{t: t, log: new(bytes.Buffer), secrets: []string{factorPassword}}
	hooks := guard.Hooks{Observe: guard.Log(slog.New(slog.NewTextHandler(h.log, nil)))}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keys, err := totp.NewKeyring([]byte("0123456789abcdef0123456789abcdef"))
	check(err)
	var signIn *auth.Server
	h.factors, err = totp.New(store, keys, totp.Config{
		Issuer: "Example",
		VerifyPassword: func(ctx context.Context, p *identity.Principal, password string) error {
			return signIn.VerifyPassword(ctx, p, password)
		},
		Hooks: hooks,
	})
	check(err)

	hasher, err := passwords.New(passwords.Config{Argon2id: passwords.Argon2id{Memory: 8, Passes: 1, Lanes: 1}, InsecureArgon2id: true})
	check(err)
	hash, err := hasher.Hash(t.Context(), factorPassword)
	check(err)
	memory, revoked := new(auth.Memory), new(blacklist.Memory)
	for _, name := range []string{"alice", "bob"} {
		check(memory.SetUser(name, auth.User{ID: name, PasswordHash: hash, Scopes: identity.NewSet("read")}))
	}
	key, err := token.GenerateKey(token.ES256)
	check(err)
	ring, err := token.NewKeyring(key)
	check(err)
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: issuer})
	check(err)
	verifier, err := token.NewVerifier(ring, token.VerifierConfig{Issuer: issuer, Audience: issuer, Revoker: revoked})
	check(err)
	signIn, err = auth.New(memory, tokens, auth.Config{
		Sessions: memory, Challenges: memory, Revoker: revoked, Verifier: verifier, Passwords: hasher, Hooks: hooks,
		RefreshKeys:  []guard.Secret{guard.NewSecret([]byte("fedcba9876543210fedcba9876543210"))},
		SecondFactor: h.factors,
	})
	check(err)

	h.mux = guard.NewMux(hooks, verifier)
	h.mux.Handle("/token", signIn.Token())
	h.mux.Handle("/token/mfa", signIn.MFA())
	h.mux.Handle("/2fa/setup/", h.factors.SetupHandler())
	h.mux.Handle("/2fa/confirm/", h.factors.ConfirmHandler())
	h.mux.Handle("/2fa/verify/", signIn.StepUp())
	h.mux.Handle("/2fa/recovery/", h.factors.RegenerateHandler())
	h.mux.Handle("DELETE /2fa/{$}", h.factors.DisableHandler())
	h.mux.Handle("GET /users/me", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprint(w, p.Subject, " ", p.Factors)
	})))
	h.mux.Handle("GET /vault", h.factors.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "gold") })))
	t.Cleanup(func() {
		for _, secret := range h.secrets {
			if secret != "" && strings.Contains(h.log.String(), secret) {
				t.Errorf("the log has %q", secret)
			}
		}
	})
	return h
}

// request sends a form, or nothing if there are no pairs.
func (h *factorHost) request(method, path, bearer string, pairs ...string) *httptest.ResponseRecorder {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
		if pairs[i] == "code" {
			h.secrets = append(h.secrets, pairs[i+1])
		}
	}
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if len(pairs) > 0 {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	r.Header.Set("Accept", "application/json")
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	return w
}

// want fails unless the answer has the status and holds the text, and returns a
// string member of it.
func (h *factorHost) want(w *httptest.ResponseRecorder, status int, text, member string) string {
	h.t.Helper()
	if w.Code != status || !strings.Contains(w.Body.String(), text) {
		h.t.Fatalf("%d %v %s, want %d and %q", w.Code, w.Header(), w.Body, status, text)
	}
	if member == "" {
		return ""
	}
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		h.t.Fatalf("%s: %v", w.Body, err)
	}
	s, ok := body[member].(string)
	if !ok {
		h.t.Fatalf("%s has no string %s", w.Body, member)
	}
	h.secrets = append(h.secrets, s)
	return s
}

func (h *factorHost) signIn(user string) *httptest.ResponseRecorder {
	return h.request("POST", "/token", "", "username", user, "password", factorPassword)
}

// enrol sets a second factor up for user, and returns its secret, the recovery
// codes, and an access token of a session with the password alone.
func (h *factorHost) enrol(user string) (secret string, recovery []string, access string) {
	h.t.Helper()
	access = h.want(h.signIn(user), 200, "", "access_token")
	secret = h.want(h.request("POST", "/2fa/setup/", access), 200, "otpauth://totp/Example:"+user, "secret")
	w := h.request("POST", "/2fa/confirm/", access, "code", authenticatorCode(h.t, secret, time.Now()), "password", factorPassword)
	h.want(w, 200, "recovery_codes", "")
	var body struct {
		Codes []string `json:"recovery_codes"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Codes) != 10 {
		h.t.Fatalf("%s: %v", w.Body, err)
	}
	h.secrets = append(h.secrets, body.Codes...)
	return secret, body.Codes, access
}

// challenged signs in with the password, and returns the challenge.
func (h *factorHost) challenged(user string) string {
	h.t.Helper()
	return h.want(h.signIn(user), 400, "mfa_required", "mfa_token")
}

func (h *factorHost) answer(challenge, code string) *httptest.ResponseRecorder {
	return h.request("POST", "/token/mfa", "", "mfa_token", challenge, "code", code)
}

func TestSignInWithASecondFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFactorHost(t, new(totp.Memory))
		access := h.want(h.signIn("alice"), 200, "", "access_token") // a session of before
		secret, recovery, enrolling := h.enrol("alice")

		// The code that confirmed the setup, at the next sign-in: refused.
		h.want(h.answer(h.challenged("alice"), authenticatorCode(t, secret, time.Now())), 400, "invalid_grant", "")
		time.Sleep(30 * time.Second)
		code := authenticatorCode(t, secret, time.Now())
		challenge := h.challenged("alice")
		pair := h.want(h.answer(challenge, code), 200, "refresh_token", "access_token")
		h.want(h.request("GET", "/users/me", pair), 200, "alice otp pwd", "")
		h.want(h.request("GET", "/vault", pair), 200, "gold", "")
		h.want(h.answer(challenge, code), 400, "invalid_grant", "")
		h.want(h.answer(h.challenged("alice"), code), 400, "invalid_grant", "")
		time.Sleep(time.Minute)

		// A recovery code, once.
		pair = h.want(h.answer(h.challenged("alice"), recovery[0]), 200, "refresh_token", "access_token")
		h.want(h.request("GET", "/users/me", pair), 200, "alice otp pwd", "")
		h.want(h.answer(h.challenged("alice"), recovery[0]), 400, "invalid_grant", "")
		time.Sleep(time.Minute)

		// The session of before has the password only, and is stepped up.
		w := h.request("GET", "/vault", access)
		h.want(w, 401, "insufficient_user_authentication", "")
		if got := w.Header().Get("WWW-Authenticate"); !strings.Contains(got, `error="insufficient_user_authentication"`) {
			t.Errorf("the challenge is %s", got)
		}
		h.want(h.request("POST", "/2fa/verify/", enrolling, "code", authenticatorCode(t, secret, time.Now())), 403, "factor_enrolled_in_session", "")
		h.want(h.request("POST", "/2fa/verify/", access, "code", "000000"), 400, "invalid_grant", "")
		time.Sleep(time.Minute)
		stepped := h.want(h.request("POST", "/2fa/verify/", access, "code", authenticatorCode(t, secret, time.Now())), 200, "", "access_token")
		h.want(h.request("GET", "/vault", stepped), 200, "gold", "")
		h.want(h.request("GET", "/vault", access), 401, "invalid_token", "")

		// Bob has no factor: neither a challenge nor the vault.
		bob := h.want(h.signIn("bob"), 200, "", "access_token")
		h.want(h.request("GET", "/vault", bob), 401, "insufficient_user_authentication", "")

		// To remove it takes the factor; then the password is enough again.
		h.want(h.request("DELETE", "/2fa/", stepped), 403, "proof_required", "")
		h.want(h.request("DELETE", "/2fa/", stepped, "code", recovery[1]), 204, "", "")
		h.want(h.signIn("alice"), 200, "", "access_token")
	})
}

// Beginning the sign-in anew gives new challenges and no new attempts; who is
// signed in stays so.
func TestGuessingOverManyChallenges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFactorHost(t, new(totp.Memory))
		secret, recovery, access := h.enrol("alice")
		time.Sleep(time.Minute)
		guess := func() *httptest.ResponseRecorder {
			return h.answer(h.challenged("alice"), "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA")
		}
		for wait := time.Second; wait <= 16*time.Second; wait *= 2 {
			h.want(guess(), 400, "invalid_grant", "")
			// A right code in a new challenge waits like a wrong one.
			w := h.answer(h.challenged("alice"), authenticatorCode(t, secret, time.Now()))
			h.want(w, 429, "temporarily_unavailable", "")
			if got := w.Header().Get("Retry-After"); got != fmt.Sprint(int(wait.Seconds())) {
				t.Errorf("Retry-After is %s, want %v", got, wait)
			}
			time.Sleep(wait)
		}
		h.want(h.request("GET", "/users/me", access), 200, "alice pwd", "")
		h.want(h.answer(h.challenged("alice"), recovery[0]), 200, "", "access_token")
		if !strings.Contains(h.log.String(), string(guard.EventLoginFailMax)) {
			t.Error("no event tells of too many failures")
		}
	})
}

// With a database, and without the clock of a test.
func TestSecondFactorInSQLite(t *testing.T) {
	h := newFactorHost(t, openFactors(t, filepath.Join(t.TempDir(), "factors.db")))
	secret, recovery, _ := h.enrol("alice")
	h.want(h.answer(h.challenged("alice"), authenticatorCode(t, secret, time.Now().Add(30*time.Second))), 200, "", "access_token")
	h.want(h.answer(h.challenged("alice"), recovery[9]), 200, "", "access_token")
	h.want(h.answer(h.challenged("alice"), recovery[9]), 400, "invalid_grant", "")
}
