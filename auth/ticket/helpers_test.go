package ticket_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/ticket"
)

const (
	issuer = "https://example.com"
	base   = "https://example.com/account/"
)

var errDown = errors.New("the store is down")

// A site is a server with tickets and the users ada, bob (disabled) and eve.
type site struct {
	*testing.T
	service *ticket.Service
	store   ticket.Store
	config  ticket.Config

	mu      sync.Mutex
	users   map[string]ticket.User // by subject
	mails   []ticket.Message
	ended   []string
	claimed []string
	events  []guard.Event
	limited bool
	down    bool
}

func newSite(t *testing.T, change ...func(*site)) *site {
	t.Helper()
	s := &site{T: t, store: new(ticket.Memory), users: map[string]ticket.User{
		"1": {Subject: "1", Tenant: "acme", Email: "Ada@example.com", Verified: true, PasswordHash: "hash of ada"},
		"2": {Subject: "2", Email: "bob@example.com", Verified: true, PasswordHash: "hash of bob", Disabled: true},
		"3": {Subject: "3", Email: "eve@example.com", Verified: true, PasswordHash: "hash of eve"},
	}}
	s.config = ticket.Config{
		Base: base, Issuer: issuer, Keys: []guard.Secret{guard.NewSecret(bytes.Repeat([]byte("k"), 32))},
		Deliver: func(_ context.Context, m ticket.Message) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.mails = append(s.mails, m)
			return nil
		},
		Limit: func(context.Context, string) error {
			if s.limited {
				return guard.TooManyAttempts(time.Minute, nil)
			}
			return nil
		},
		CheckPassword: func(p string) error {
			if len(p) < 10 {
				return errors.New("The password is too short.")
			}
			return nil
		},
		EndSessions: func(_ context.Context, subject string) error { s.ended = append(s.ended, subject); return nil },
		Authorize: func(_ context.Context, _ *identity.Principal, proof string) error {
			if proof != "right" {
				return identity.ErrNotProven
			}
			return nil
		},
		Claim: func(_ context.Context, subject string, keepPassword bool) error {
			s.claimed = append(s.claimed, subject)
			if u := s.users[subject]; !keepPassword {
				u.PasswordHash = ""
				s.users[subject] = u
			}
			return nil
		},
		Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		}},
	}
	for _, c := range change {
		c(s)
	}
	s.open()
	return s
}

func (s *site) open() {
	s.Helper()
	service, err := ticket.New(s.store, s, s.config)
	if err != nil {
		s.Fatal(err)
	}
	s.service = service
	s.Cleanup(func() { service.Close(context.Background()) })
}

// flush waits until every message is sent.
func (s *site) flush() {
	s.Helper()
	if err := s.service.Close(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.open()
}

func (s *site) UserByEmail(_ context.Context, email string) (*ticket.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if strings.EqualFold(u.Email, email) {
			return &u, nil
		}
	}
	return nil, ticket.ErrNoUser
}

func (s *site) UserBySubject(_ context.Context, subject string) (*ticket.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errDown
	}
	u, ok := s.users[subject]
	if !ok {
		return nil, ticket.ErrNoUser
	}
	return &u, nil
}

func (s *site) SetPassword(_ context.Context, subject, oldHash, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[subject]
	if u.PasswordHash != oldHash {
		return ticket.ErrChanged
	}
	u.PasswordHash = "hash of " + password
	s.users[subject] = u
	return nil
}

func (s *site) SetEmail(_ context.Context, subject, old, email string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[subject]
	if u.Email != old {
		return ticket.ErrChanged
	}
	for other := range maps.Values(s.users) {
		if other.Subject != subject && strings.EqualFold(other.Email, email) {
			return ticket.ErrTaken
		}
	}
	u.Email, u.Verified = email, true
	s.users[subject] = u
	return nil
}

func (s *site) change(subject string, change func(*ticket.User)) {
	u := s.users[subject]
	change(&u)
	s.users[subject] = u
}

func caller(subject string) *identity.Principal {
	p := &identity.Principal{Issuer: issuer, Subject: subject, Session: "session of " + subject, AuthTime: time.Now()}
	if subject == "1" {
		p.Tenant = "acme"
	}
	return p
}

// post sends fields as JSON, as p or nobody, with a cookie or none.
func (s *site) post(h http.Handler, p *identity.Principal, cookie string, pairs ...string) *httptest.ResponseRecorder {
	s.Helper()
	fields := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		fields[pair[0]] = pair[1]
	}
	b, err := json.Marshal(fields)
	if err != nil {
		s.Fatal(err)
	}
	r := httptest.NewRequest("POST", "https://evil.example/x", bytes.NewReader(b))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forwarded-Host", "evil.example")
	return s.do(h, r, p, cookie)
}

func (s *site) do(h http.Handler, r *http.Request, p *identity.Principal, cookie string) *httptest.ResponseRecorder {
	if p != nil {
		r = r.WithContext(identity.NewContext(r.Context(), p))
	}
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: ticket.CookieName, Value: cookie})
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// ok demands a status.
func (s *site) ok(w *httptest.ResponseRecorder, status int) *httptest.ResponseRecorder {
	s.Helper()
	if w.Code != status {
		s.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	return w
}

// sent returns the secret of the last message that has one, and its message.
func (s *site) sent() (string, ticket.Message) {
	s.Helper()
	s.flush()
	for _, m := range slices.Backward(s.mails) {
		if !m.Code.IsZero() {
			return string(m.Code.Bytes()), m
		}
		if _, token, ok := strings.Cut(string(m.Link.Bytes()), "#"); ok {
			return token, m
		}
	}
	s.Fatalf("no secret was sent: %v", s.mails)
	return "", ticket.Message{}
}

// requested requests a ticket for an address and returns its secret and the cookie.
func (s *site) requested(p ticket.Purpose, email string) (secret, cookie string) {
	s.Helper()
	w := s.ok(s.post(s.service.Request(p), nil, "", "email", email), 202)
	if c := w.Result().Cookies(); len(c) > 0 {
		cookie = c[0].Value
	}
	secret, _ = s.sent()
	return secret, cookie
}

// prove uses a sign-in link or code.
func (s *site) prove(cookie, field, value string) (*identity.Proof, error) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(url.Values{field: {value}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: ticket.CookieName, Value: cookie})
	}
	return s.service.Prove(r)
}

func (s *site) rejected(cookie, field, value string) {
	s.Helper()
	if proof, err := s.prove(cookie, field, value); !errors.Is(err, identity.ErrNotProven) {
		s.Errorf("%v, %v, want ErrNotProven", proof, err)
	}
}

func (s *site) accepted(cookie, field, value, subject string) {
	s.Helper()
	proof, err := s.prove(cookie, field, value)
	if err != nil || proof.Subject != subject || !proof.Factors.Equal(identity.NewSet("email")) {
		s.Errorf("%+v, %v, want a proof of %s by email alone", proof, err, subject)
	}
}
