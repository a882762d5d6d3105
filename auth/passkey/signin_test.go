package passkey_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

func TestSignInWithEachAlgorithm(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"ES256": ec, "EdDSA": ed, "RS256": rs} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			a := passkeytest.New(origin)
			a.Key = key
			s.register(caller("ada"), a)
			proof, err := s.prove(s.assertion(a))
			if err != nil || proof.Subject != "ada" || !proof.Factors.Equal(identity.NewSet("pop", "user", "mfa")) || !proof.Time.IsZero() {
				t.Errorf("%+v, %v", proof, err)
			}
		})
	}
}

// Each is one change of an assertion that is otherwise right.
func TestWrongAssertionsAreNotProven(t *testing.T) {
	tests := map[string]func(s *site, a *passkeytest.Authenticator) string{
		"another origin's scheme":  get(func(a *passkeytest.Authenticator) { a.Origin = "http://example.com" }),
		"another port":             get(func(a *passkeytest.Authenticator) { a.Origin = "https://example.com:8443" }),
		"a subdomain":              get(func(a *passkeytest.Authenticator) { a.Origin = "https://evil.example.com" }),
		"a slash after the origin": get(func(a *passkeytest.Authenticator) { a.Origin = "https://example.com/" }),
		"upper case":               get(func(a *passkeytest.Authenticator) { a.Origin = "https://EXAMPLE.com" }),
		"an opaque origin":         get(func(a *passkeytest.Authenticator) { a.Origin = "null" }),
		"no origin":                get(func(a *passkeytest.Authenticator) { a.Origin = "" }),
		"a frame":                  get(func(a *passkeytest.Authenticator) { a.TopOrigin = "https://evil.example" }),
		"a frame of the site":      get(func(a *passkeytest.Authenticator) { a.TopOrigin = origin }),
		"no user present":          get(func(a *passkeytest.Authenticator) { a.Flags &^= passkeytest.UserPresent }),
		"no user verified":         get(func(a *passkeytest.Authenticator) { a.Flags &^= passkeytest.UserVerified }),
		"backed up, not eligible":  get(func(a *passkeytest.Authenticator) { a.Flags |= passkeytest.BackedUp }),
		"a new credential":         get(func(a *passkeytest.Authenticator) { a.Flags |= 1 << 6 }),
		"extensions without bytes": get(func(a *passkeytest.Authenticator) { a.Flags |= 1 << 7 }),
		"no user handle":           get(func(a *passkeytest.Authenticator) { a.Handle = nil }),
		"another user handle":      get(func(a *passkeytest.Authenticator) { a.Handle[0] ^= 1 }),
		"an empty user handle":     get(func(a *passkeytest.Authenticator) { a.Handle = []byte{} }),
		"another account's handle": func(s *site, a *passkeytest.Authenticator) string {
			b := s.registered("bob")
			return get(func(a *passkeytest.Authenticator) { a.Handle = b.Handle })(s, a)
		},
		"an unknown ID": get(func(a *passkeytest.Authenticator) { a.ID[0] ^= 1 }),
		"a short ID":    get(func(a *passkeytest.Authenticator) { a.ID = []byte{1} }),
		"another key":   get(func(a *passkeytest.Authenticator) { a.Key = passkeytest.New(origin).Key }),
		"another RP ID": func(s *site, a *passkeytest.Authenticator) string {
			return s.answer(a, replaced(s.call(s.rp.SignInOptions(), "POST", nil, ""), `"rpId":"example.com"`, `"rpId":"evil.example"`))
		},
		"a challenge of another purpose": func(s *site, a *passkeytest.Authenticator) string {
			return s.answer(a, s.call(s.rp.SecondFactorOptions(), "POST", nil, ""))
		},
		"a challenge of step-up": func(s *site, a *passkeytest.Authenticator) string {
			return s.answer(a, s.call(s.rp.StepUpOptions(), "POST", caller("ada"), ""))
		},
		"a challenge of registration": func(s *site, a *passkeytest.Authenticator) string {
			var o struct{ Challenge string }
			if err := json.Unmarshal(s.creation(caller("ada", "pop")), &o); err != nil {
				s.Fatal(err)
			}
			return get2(s, a, o.Challenge)
		},
		"a made-up challenge":   func(s *site, a *passkeytest.Authenticator) string { return get2(s, a, strings.Repeat("A", 55)) },
		"a short challenge":     func(s *site, a *passkeytest.Authenticator) string { return get2(s, a, "AAAA") },
		"a later expiry":        func(s *site, a *passkeytest.Authenticator) string { return get2(s, a, flipped(s, a, 16)) },
		"another purpose byte":  func(s *site, a *passkeytest.Authenticator) string { return get2(s, a, flipped(s, a, 24)) },
		"other random bytes":    func(s *site, a *passkeytest.Authenticator) string { return get2(s, a, flipped(s, a, 0)) },
		"another MAC":           func(s *site, a *passkeytest.Authenticator) string { return get2(s, a, flipped(s, a, 40)) },
		"a registration's type": get(func(a *passkeytest.Authenticator) { a.Type = "webauthn.create" }),
		"an empty signature":    response("signature", ""),
		"a signature with a tail": func(s *site, a *passkeytest.Authenticator) string {
			return edit(s.TB, s.assertion(a), func(_, r map[string]any) { r["signature"] = r["signature"].(string) + "AAAA" })
		},
		"authenticator data with a tail": func(s *site, a *passkeytest.Authenticator) string {
			return edit(s.TB, s.assertion(a), func(_, r map[string]any) {
				b, _ := base64.RawURLEncoding.DecodeString(r["authenticatorData"].(string))
				r["authenticatorData"] = base64.RawURLEncoding.EncodeToString(append(b, 0xa0))
			})
		},
		"no authenticator data": response("authenticatorData", ""),
	}
	for name, wrong := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			a := s.registered("ada")
			assertion := wrong(s, a)
			spent := s.onceSeen
			s.rejected(assertion)
			if s.onceSeen != spent {
				t.Error("Config.Once was called for an assertion that is wrong")
			}
		})
	}
}

// get is an assertion of a changed authenticator.
func get(change func(a *passkeytest.Authenticator)) func(*site, *passkeytest.Authenticator) string {
	return func(s *site, a *passkeytest.Authenticator) string {
		b := *a
		b.ID, b.Handle = []byte(string(a.ID)), []byte(string(a.Handle))
		change(&b)
		return s.assertion(&b)
	}
}

// get2 is an assertion for a given challenge.
func get2(s *site, a *passkeytest.Authenticator, challenge string) string {
	s.Helper()
	b, err := a.Get(fmt.Appendf(nil, `{"rpId":%q,"challenge":%q}`, rpID, challenge))
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

// flipped is a challenge with one bit of a byte changed.
func flipped(s *site, _ *passkeytest.Authenticator, i int) string {
	var o struct{ Challenge string }
	if err := json.Unmarshal(s.ok(s.call(s.rp.SignInOptions(), "POST", nil, ""), 200), &o); err != nil {
		s.Fatal(err)
	}
	b, err := base64.RawURLEncoding.DecodeString(o.Challenge)
	if err != nil {
		s.Fatal(err)
	}
	b[i] ^= 1
	return base64.RawURLEncoding.EncodeToString(b)
}

// response is an assertion with another member of its response.
func response(member string, value any) func(*site, *passkeytest.Authenticator) string {
	return func(s *site, a *passkeytest.Authenticator) string {
		return edit(s.TB, s.assertion(a), func(_, r map[string]any) { r[member] = value })
	}
}

func replaced(w *httptest.ResponseRecorder, old, new string) *httptest.ResponseRecorder {
	b := strings.ReplaceAll(w.Body.String(), old, new)
	w.Body.Reset()
	w.Body.WriteString(b)
	return w
}

func TestMalformedAssertionsAreBadRequests(t *testing.T) {
	s := newSite(t)
	a := s.registered("ada")
	set := func(member string, value any) string {
		return edit(t, s.assertion(a), func(c, _ map[string]any) { c[member] = value })
	}
	padded := func(member, suffix string) string {
		return edit(t, s.assertion(a), func(_, r map[string]any) { r[member] = r[member].(string) + suffix })
	}
	good := s.assertion(a)
	for name, assertion := range map[string]string{
		"nothing": "", "an array": "[]", "a text": `"a"`, "two objects": good + good, "depth 40": strings.Replace(good, "{", `{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,`, 1),
		"a duplicate":        strings.Replace(good, "{", `{"type":"public-key",`, 1),
		"a folded duplicate": strings.Replace(good, "{", `{"Type":"public-key",`, 1),
		"an escaped name":    strings.Replace(good, `"type"`, `"typ\u0065"`, 1),
		"another type":       set("type", "password"), "no type": set("type", nil),
		"ids that differ": set("id", "AAAAAAAAAAAAAAAAAAAAAA"), "no response": set("response", nil), "an empty response": set("response", map[string]any{}),
		"an id that is no text": set("id", 7), "padding": padded("signature", "="), "a line break": padded("signature", "\n"), "a plus": padded("userHandle", "+A"),
		"client data of another type": edit(t, good, func(_, r map[string]any) { r["clientDataJSON"] = 7 }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.prove(assertion)
			refused(t, err, 400)
		})
	}
	_, err := s.prove(good + strings.Repeat(" ", 17<<10))
	refused(t, err, http.StatusRequestEntityTooLarge)
	r := httptest.NewRequest("POST", "/", strings.NewReader(good))
	r.Header.Set("Content-Type", "text/plain")
	_, err = s.rp.Prove(r)
	refused(t, err, http.StatusUnsupportedMediaType)
	s.accepted(good, "ada")
}

func TestClientDataMayBeginWithAByteOrderMark(t *testing.T) {
	s := newSite(t)
	a := s.registered("ada")
	// The hash is that of the bytes as they came, so the signature is wrong; the
	// mark alone must not make the client data malformed.
	marked := edit(t, s.assertion(a), func(_, r map[string]any) {
		b, _ := base64.RawURLEncoding.DecodeString(r["clientDataJSON"].(string))
		r["clientDataJSON"] = base64.RawURLEncoding.EncodeToString(append([]byte("\xef\xbb\xbf"), b...))
	})
	if _, err := s.prove(marked); !errors.Is(err, identity.ErrNotProven) || !strings.Contains(err.Error(), "signature") {
		t.Error(err)
	}
}

func TestAnAssertionSignsInOnce(t *testing.T) {
	s := newSite(t)
	a := s.registered("ada")
	assertion := s.assertion(a)
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := s.prove(assertion); err == nil {
				accepted.Add(1)
			} else if !errors.Is(err, identity.ErrNotProven) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := accepted.Load(); n != 1 {
		t.Errorf("accepted %d times", n)
	}
	s.rejected(assertion)
}

func TestTheUseOfAChallengeIsRecordedLongerThanItPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorded []time.Time
		s := newSite(t)
		s.config.Once = func(ctx context.Context, id [32]byte, expires time.Time) (bool, error) {
			recorded = append(recorded, expires)
			return s.once(ctx, id, expires)
		}
		s.open()
		s.accepted(s.assertion(s.registered("ada")), "ada")
		// Of the registration and of the sign-in, whose challenges live 5 and 10 minutes.
		for i, lifetime := range []time.Duration{5 * time.Minute, 10 * time.Minute} {
			if margin := time.Until(recorded[i]) - lifetime; margin < identity.MaxClockSkew {
				t.Errorf("the use is recorded for %v longer than the challenge passes, less than clocks may differ", margin)
			}
		}
	})
}

func TestAChallengeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a := s.registered("ada")
		assertion := s.assertion(a)
		time.Sleep(10*time.Minute - time.Microsecond)
		s.accepted(assertion, "ada")
		assertion = s.assertion(a)
		time.Sleep(10 * time.Minute)
		s.rejected(assertion)
	})
}

func TestChallengesOfOlderKeysPass(t *testing.T) {
	s := newSite(t)
	a := s.registered("ada")
	assertion := s.assertion(a)
	old := s.config.Keys[0]
	s.config.Keys = []guard.Secret{guard.NewSecret([]byte(strings.Repeat("n", 32))), old}
	s.open()
	s.accepted(assertion, "ada")
	assertion = s.assertion(a)
	s.config.Keys = []guard.Secret{old}
	s.open()
	s.rejected(assertion)
}

func TestFramesOfTopOriginsAreAccepted(t *testing.T) {
	s := newSite(t, func(c *passkey.Config) { c.TopOrigins = []string{"https://partner.example"} })
	a := s.registered("ada")
	a.TopOrigin = "https://partner.example"
	s.accepted(s.assertion(a), "ada")
	a.TopOrigin = "https://evil.example"
	s.rejected(s.assertion(a))
}

// A thief sets a PIN on a stolen security key that had none.
func TestUserVerificationCountsOnlyIfTheRegistrationHadIt(t *testing.T) {
	tests := []struct {
		name                   string
		registration, signIn   byte
		signsIn, secondFactors bool
	}{
		{"neither", passkeytest.UserPresent, passkeytest.UserPresent, false, true},
		{"at sign-in only", passkeytest.UserPresent, passkeytest.UserPresent | passkeytest.UserVerified, false, true},
		{"at registration only", passkeytest.UserPresent | passkeytest.UserVerified, passkeytest.UserPresent, false, true},
		{"both", passkeytest.UserPresent | passkeytest.UserVerified, passkeytest.UserPresent | passkeytest.UserVerified, true, true},
		{"synchronized", passkeytest.UserPresent | passkeytest.BackupEligible,
			passkeytest.UserPresent | passkeytest.UserVerified | passkeytest.BackupEligible, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			a := passkeytest.New(origin)
			a.Flags = test.registration
			s.register(caller("ada"), a)
			a.Flags = test.signIn
			if test.signsIn {
				s.accepted(s.assertion(a), "ada")
			} else {
				s.rejected(s.assertion(a))
			}
			method, err := s.rp.VerifyFactor(t.Context(), &identity.Principal{Subject: "ada"}, s.answer(a, s.call(s.rp.SecondFactorOptions(), "POST", nil, "")))
			if err != nil || (method == "pop") != test.secondFactors {
				t.Errorf("%q, %v", method, err)
			}
		})
	}
}

func TestASecondFactorBelongsToItsSubjectAndSession(t *testing.T) {
	s := newSite(t)
	ada, bob := s.registered("ada"), s.registered("bob")
	signedIn := func(p *identity.Principal) context.Context { return identity.NewContext(t.Context(), p) }
	mfa := func() *httptest.ResponseRecorder { return s.call(s.rp.SecondFactorOptions(), "POST", nil, "") }
	stepUp := func(p *identity.Principal) *httptest.ResponseRecorder {
		return s.call(s.rp.StepUpOptions(), "POST", p, "")
	}
	afterPassword := func(subject string) *identity.Principal { return &identity.Principal{Subject: subject} }
	other := caller("ada")
	other.Session = "another session"
	foreign := caller("ada")
	foreign.Issuer = "https://partner.example"
	tests := []struct {
		name string
		ctx  context.Context
		p    *identity.Principal
		code string
		want string
	}{
		{"after the password", t.Context(), afterPassword("ada"), s.answer(ada, mfa()), "pop"},
		{"at step-up", signedIn(caller("ada")), caller("ada"), s.answer(ada, stepUp(caller("ada"))), "pop"},
		{"after the password, with the cookie of another account", signedIn(caller("bob")), afterPassword("ada"), s.answer(ada, mfa()), "pop"},
		{"after the password, with a token of another issuer", signedIn(foreign), afterPassword("ada"), s.answer(ada, mfa()), "pop"},
		{"at step-up, without a user handle", signedIn(caller("ada")), caller("ada"), s.answer(with(ada, nil), stepUp(caller("ada"))), "pop"},
		{"at step-up, with another user handle", signedIn(caller("ada")), caller("ada"), s.answer(with(ada, bob.Handle), stepUp(caller("ada"))), ""},
		{"another subject's passkey without a user handle", t.Context(), afterPassword("ada"), s.answer(with(bob, nil), mfa()), ""},
		{"another subject's passkey after the password", t.Context(), afterPassword("ada"), s.answer(bob, mfa()), ""},
		{"another subject's passkey at step-up", signedIn(caller("ada")), caller("ada"), s.answer(bob, stepUp(caller("ada"))), ""},
		{"another subject's challenge", signedIn(caller("ada")), caller("ada"), s.answer(ada, stepUp(caller("bob"))), ""},
		{"another session's challenge", signedIn(caller("ada")), caller("ada"), s.answer(ada, stepUp(other)), ""},
		{"a challenge of MFA at step-up", signedIn(caller("ada")), caller("ada"), s.answer(ada, mfa()), ""},
		{"a challenge of step-up at MFA", t.Context(), afterPassword("ada"), s.answer(ada, stepUp(caller("ada"))), ""},
		{"a challenge of sign-in", t.Context(), afterPassword("ada"), s.assertion(ada), ""},
		{"no subject", t.Context(), afterPassword(""), s.answer(ada, mfa()), ""},
		{"a one-time code", t.Context(), afterPassword("ada"), "123456", ""},
		{"nothing", t.Context(), afterPassword("ada"), "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if method, err := s.rp.VerifyFactor(test.ctx, test.p, test.code); method != test.want || err != nil {
				t.Errorf("%q, %v, want %q", method, err, test.want)
			}
			if test.want != "" {
				if method, err := s.rp.VerifyFactor(test.ctx, test.p, test.code); method != "" || err != nil {
					t.Errorf("the second time: %q, %v", method, err)
				}
			}
		})
	}
	for subject, want := range map[string]bool{"ada": true, "eve": false} {
		if got, err := s.rp.Required(t.Context(), subject); got != want || err != nil {
			t.Errorf("Required(%s) = %t, %v", subject, got, err)
		}
	}
}

// with returns a with another user handle.
func with(a *passkeytest.Authenticator, handle []byte) *passkeytest.Authenticator {
	b := *a
	b.Handle = handle
	return &b
}

// A thief with a token and the password registers a passkey: it must not raise the
// stolen session, nor authorize another passkey there.
func TestAPasskeyDoesNotRaiseTheSessionThatRegisteredIt(t *testing.T) {
	s := newSite(t)
	a := passkeytest.New(origin)
	p := caller("ada")
	s.register(p, a)
	_, err := s.rp.VerifyFactor(t.Context(), p, s.answer(a, s.call(s.rp.StepUpOptions(), "POST", p, "")))
	refused(t, err, 403)
	proof, err := json.Marshal(map[string]string{"proof": s.answer(a, s.call(s.rp.StepUpOptions(), "POST", p, ""))})
	if err != nil {
		t.Fatal(err)
	}
	s.ok(s.call(s.rp.RegisterOptions(), "POST", p, string(proof)), 403)
	s.accepted(s.assertion(a), "ada") // a session of its own
}

func TestCountersAndBackupFlagsNeverLockOut(t *testing.T) {
	s := newSite(t)
	a := passkeytest.New(origin)
	a.SignCount = 10
	s.register(caller("ada"), a)
	for _, count := range []uint32{11, 11, 5, 0, 1<<32 - 1, 12} {
		a.SignCount = count
		s.accepted(s.assertion(a), "ada")
	}
	kept, err := s.store.PasskeyByID(t.Context(), a.ID)
	if err != nil || kept.SignCount != 1<<32-1 {
		t.Errorf("the counter is %d, %v", kept.SignCount, err)
	}
	if !s.reported("signature counter is 5 after 11") || s.reported("signature counter is 11 after 10") {
		t.Errorf("%q", s.reasons())
	}
	a.Flags |= passkeytest.BackupEligible
	s.accepted(s.assertion(a), "ada")
	if !s.reported("backup eligibility") {
		t.Errorf("%q", s.reasons())
	}
	b := passkeytest.New(origin) // which loses it
	b.Flags |= passkeytest.BackupEligible | passkeytest.BackedUp
	s.register(caller("bob"), b)
	b.Flags &^= passkeytest.BackupEligible | passkeytest.BackedUp
	s.events = nil
	s.accepted(s.assertion(b), "bob")
	if kept, err := s.store.PasskeyByID(t.Context(), b.ID); err != nil || kept.BackedUp || !s.reported("backup eligibility") {
		t.Errorf("%v, %v, %q", kept.BackedUp, err, s.reasons())
	}
}

// Junk that is sent with good challenges fills no store.
func TestForgedAssertionsReachNoStoreOfChallenges(t *testing.T) {
	s := newSite(t)
	a := s.registered("ada")
	spent := s.onceSeen
	good := s.assertion(a)
	for range 1000 {
		s.rejected(edit(t, good, func(_, r map[string]any) { r["signature"] = rand.Text() + "AA" }))
	}
	if s.onceSeen != spent {
		t.Errorf("Config.Once was called %d times", s.onceSeen-spent)
	}
	s.accepted(good, "ada")
}

// Whom a request claims to be does not matter.
func TestASubjectInTheBodyIsIgnored(t *testing.T) {
	s := newSite(t)
	a := passkeytest.New(origin)
	ada := caller("ada")
	created, err := a.Create(s.creation(ada))
	if err != nil {
		t.Fatal(err)
	}
	claims := func(c, r map[string]any) {
		for _, name := range []string{"subject", "user", "username", "tenant"} {
			c[name], r[name] = "bob", "bob"
		}
	}
	s.ok(s.call(s.rp.Register(), "POST", ada, edit(t, string(created), claims)), 201)
	if all, err := s.store.Passkeys(t.Context(), "bob"); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	s.accepted(edit(t, s.assertion(a), claims), "ada")
}

func TestRefuseClonesRejectsALowerCounter(t *testing.T) {
	s := newSite(t, func(c *passkey.Config) { c.RefuseClones = true })
	a := passkeytest.New(origin)
	s.register(caller("ada"), a)
	s.accepted(s.assertion(a), "ada") // it has no counter
	a.SignCount = 7
	s.accepted(s.assertion(a), "ada")
	s.rejected(s.assertion(a))
	a.SignCount = 8
	s.accepted(s.assertion(a), "ada")
}

// failing fails in the methods that a test names.
type failing struct {
	passkey.Store
	method string
	before func()
}

func (f *failing) try(method string) error {
	if f.method != method {
		return nil
	}
	if f.before != nil {
		f.before()
		return nil
	}
	// As a client of another service would fail.
	return fmt.Errorf("calling it: %w: %w", guard.InvalidToken("Bearer", identity.ErrNotProven), errDown)
}

func (f *failing) PasskeyByID(ctx context.Context, id []byte) (passkey.Passkey, error) {
	if err := f.try("PasskeyByID"); err != nil {
		return passkey.Passkey{}, err
	}
	return f.Store.PasskeyByID(ctx, id)
}

func (f *failing) UsePasskey(ctx context.Context, u passkey.Use) (passkey.Passkey, error) {
	if err := f.try("UsePasskey"); err != nil {
		return passkey.Passkey{}, err
	}
	return f.Store.UsePasskey(ctx, u)
}

func (f *failing) Passkeys(ctx context.Context, subject string) ([]passkey.Passkey, error) {
	if err := f.try("Passkeys"); err != nil {
		return nil, err
	}
	return f.Store.Passkeys(ctx, subject)
}

func (f *failing) AddPasskey(ctx context.Context, p passkey.Passkey, max int) error {
	if err := f.try("AddPasskey"); err != nil {
		return err
	}
	return f.Store.AddPasskey(ctx, p, max)
}

func TestAStoreThatFailsIs503(t *testing.T) {
	for _, method := range []string{"PasskeyByID", "UsePasskey"} {
		t.Run(method, func(t *testing.T) {
			s := newSite(t)
			a := s.registered("ada")
			s.store = &failing{Store: s.store, method: method}
			s.open()
			_, err := s.prove(s.assertion(a))
			refused(t, err, 503)
			if errors.Is(err, identity.ErrNotProven) || !errors.Is(err, errDown) {
				t.Error(err)
			}
		})
	}
	t.Run("Once", func(t *testing.T) {
		s := newSite(t)
		a := s.registered("ada")
		s.onceErr = errDown
		_, err := s.prove(s.assertion(a))
		refused(t, err, 503)
	})
	t.Run("Required", func(t *testing.T) {
		s := newSite(t)
		s.store = &failing{Store: s.store, method: "Passkeys"}
		s.open()
		if _, err := s.rp.Required(t.Context(), "ada"); !errors.Is(err, errDown) {
			t.Error(err)
		}
	})
}

func TestAPasskeyThatIsRemovedMeanwhileDoesNotSignIn(t *testing.T) {
	s := newSite(t)
	a := s.registered("ada")
	inner := s.store
	s.store = &failing{Store: inner, method: "UsePasskey", before: func() {
		if err := inner.RemovePasskey(context.Background(), "ada", a.ID, false); err != nil {
			t.Error(err)
		}
	}}
	s.open()
	s.rejected(s.assertion(a))
}

func TestSignInOptionsNameNoAccount(t *testing.T) {
	s := newSite(t)
	before := s.call(s.rp.SignInOptions(), "POST", nil, `{"username":"ada"}`)
	s.registered("ada")
	after := s.call(s.rp.SignInOptions(), "POST", nil, `{"username":"ada"}`)
	var a, b map[string]any
	if json.Unmarshal(before.Body.Bytes(), &a) != nil || json.Unmarshal(after.Body.Bytes(), &b) != nil {
		t.Fatal(before.Body, after.Body)
	}
	if a["challenge"] == b["challenge"] {
		t.Error("two challenges are equal")
	}
	delete(a, "challenge")
	delete(b, "challenge")
	if fmt.Sprint(a) != fmt.Sprint(b) || fmt.Sprint(a["allowCredentials"]) != "[]" || a["userVerification"] != "required" {
		t.Errorf("%v\n%v", a, b)
	}
	if after.Header().Get("Cache-Control") != "no-store" {
		t.Error(after.Header())
	}
	s.ok(s.call(s.rp.SignInOptions(), "GET", nil, ""), 405)
}
