package passkey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

const (
	issuer = "https://example.com"
	origin = "https://example.com"
	rpID   = "example.com"
)

var errDown = errors.New("the store is down")

// A site is a server with passkeys. Password "right" is everybody's.
type site struct {
	testing.TB
	rp     *passkey.RelyingParty
	store  passkey.Store
	config passkey.Config

	mu       sync.Mutex
	used     map[[32]byte]bool
	onceErr  error
	onceSeen int
	events   []guard.Event
	changes  []passkey.Change
	proofs   int
}

func newSite(t *testing.T, change ...func(*passkey.Config)) *site {
	t.Helper()
	s := &site{TB: t, store: &passkey.Memory{}, used: map[[32]byte]bool{}}
	s.config = siteConfig(s)
	for _, c := range change {
		c(&s.config)
	}
	s.open()
	return s
}

func siteConfig(s *site) passkey.Config {
	return passkey.Config{
		RPID: rpID, Name: "Example", Origins: []string{origin}, Issuer: issuer,
		Keys: []guard.Secret{guard.NewSecret(bytes.Repeat([]byte("k"), 32))},
		Once: s.once,
		User: func(_ context.Context, subject string) (passkey.User, error) {
			return passkey.User{Name: subject + "@example.com"}, nil
		},
		Authorize: func(_ context.Context, _ *identity.Principal, proof string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.proofs++
			if proof != "right" {
				return identity.ErrNotProven
			}
			return nil
		},
		Notify: func(_ context.Context, c passkey.Change) { s.changes = append(s.changes, c) },
		Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		}},
	}
}

// open makes the relying party of the present configuration.
func (s *site) open() {
	s.Helper()
	rp, err := passkey.New(s.store, s.config)
	if err != nil {
		s.Fatal(err)
	}
	s.rp = rp
}

func (s *site) once(_ context.Context, id [32]byte, _ time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onceSeen++
	if s.onceErr != nil {
		return false, s.onceErr
	}
	if s.used[id] {
		return false, nil
	}
	s.used[id] = true
	return true, nil
}

// caller returns a principal who signed in just now with the factors.
func caller(subject string, factors ...string) *identity.Principal {
	if factors == nil {
		factors = []string{"pwd"}
	}
	return &identity.Principal{Issuer: issuer, Subject: subject, Session: "session of " + subject, Factors: identity.NewSet(factors...), AuthTime: time.Now()}
}

// call sends a request as p, who may be nil.
func (s *site) call(h http.Handler, method string, p *identity.Principal, body string, id ...string) *httptest.ResponseRecorder {
	s.Helper()
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if id != nil {
		r.SetPathValue("id", id[0])
	}
	if p != nil {
		r = r.WithContext(identity.NewContext(r.Context(), p))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// ok demands a status and returns the body.
func (s *site) ok(w *httptest.ResponseRecorder, status int) []byte {
	s.Helper()
	if w.Code != status {
		s.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	return w.Body.Bytes()
}

// creation returns the options of a registration.
func (s *site) creation(p *identity.Principal) []byte {
	s.Helper()
	return s.ok(s.call(s.rp.RegisterOptions(), "POST", p, `{"proof":"right"}`), 200)
}

// register registers an authenticator for p.
func (s *site) register(p *identity.Principal, a *passkeytest.Authenticator) {
	s.Helper()
	created, err := a.Create(s.creation(p))
	if err != nil {
		s.Fatal(err)
	}
	s.ok(s.call(s.rp.Register(), "POST", p, string(created)), 201)
}

// registered returns an authenticator that is registered for subject.
func (s *site) registered(subject string) *passkeytest.Authenticator {
	s.Helper()
	a := passkeytest.New(origin)
	p := caller(subject, "pwd", "otp")
	p.Session = "session of the enrolment of " + subject
	s.register(p, a)
	return a
}

// assertion answers sign-in options.
func (s *site) assertion(a *passkeytest.Authenticator) string {
	s.Helper()
	return s.answer(a, s.call(s.rp.SignInOptions(), "POST", nil, ""))
}

func (s *site) answer(a *passkeytest.Authenticator, options *httptest.ResponseRecorder) string {
	s.Helper()
	b, err := a.Get(s.ok(options, 200))
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

// prove sends an assertion to sign in.
func (s *site) prove(assertion string) (*identity.Proof, error) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(assertion))
	r.Header.Set("Content-Type", "application/json")
	return s.rp.Prove(r)
}

// accepted demands that an assertion signs subject in.
func (s *site) accepted(assertion, subject string) {
	s.Helper()
	proof, err := s.prove(assertion)
	if err != nil || proof.Subject != subject {
		s.Errorf("%v, %v, want a proof of %s", proof, err, subject)
	}
}

// rejected demands that an assertion is not proven.
func (s *site) rejected(assertion string) {
	s.Helper()
	if proof, err := s.prove(assertion); !errors.Is(err, identity.ErrNotProven) {
		s.Errorf("%v, %v, want ErrNotProven", proof, err)
	}
}

// refused demands a denial with the status.
func refused(t testing.TB, err error, status int) {
	t.Helper()
	if d := guard.DenialOf(t.Context(), err); err == nil || d.Status != status {
		t.Errorf("%v, want %d", err, status)
	}
}

// edit changes the JSON of a credential.
func edit(t testing.TB, credential string, change func(credential, response map[string]any)) string {
	t.Helper()
	var c map[string]any
	if err := json.Unmarshal([]byte(credential), &c); err != nil {
		t.Fatal(err)
	}
	change(c, c["response"].(map[string]any))
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// reasons returns the events that have an error.
func (s *site) reasons() (all []string) {
	for _, e := range s.events {
		if e.Err != nil {
			all = append(all, e.Err.Error())
		}
	}
	return all
}

func (s *site) reported(part string) bool {
	return slices.ContainsFunc(s.reasons(), func(r string) bool { return strings.Contains(r, part) })
}
