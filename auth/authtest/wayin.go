package authtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// A Ceremony is a way to sign in that [RunWayIn] checks, with requests for it.
type Ceremony struct {
	// Way is the way in. Required.
	Way auth.WayIn

	// Good returns a new request that proves the subject. Required.
	Good func(t *testing.T, subject string) *http.Request

	// Bad returns well-formed requests that must be rejected: forged, expired,
	// replayed, for another host. Required.
	Bad func(t *testing.T) []*http.Request

	// SingleUse is true if a request of Good signs in once only.
	SingleUse bool
}

// RunWayIn checks an [auth.WayIn] behind [auth.Server.SignIn]. open returns a
// Ceremony for a host with the users "1", and "2", who is disabled; the subject "3"
// is unknown.
func RunWayIn(t *testing.T, open func(t *testing.T) Ceremony) {
	run := func(name, why string, check func(t *testing.T, c Ceremony) error) {
		t.Run(name, func(t *testing.T) {
			if err := check(t, open(t)); err != nil {
				t.Errorf("%v\n\t%s", err, why)
			}
		})
	}

	run("a proof opens a session", "the session is of the subject that the proof names", func(t *testing.T, c Ceremony) error {
		h := newDoor(t, nil, nil)
		status, body := h.send(c.Way, c.Good(t, "1"))
		var tokens struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(body), &tokens); err != nil || status != http.StatusOK {
			return fmt.Errorf("%d %s, want 200 with tokens", status, body)
		}
		p, err := h.verifier.Verify(t.Context(), tokens.AccessToken)
		if err != nil {
			return err
		}
		if p.Subject != "1" || p.Session == "" || p.Factors.Len() == 0 || p.AuthTime.After(time.Now().Add(identity.MaxClockSkew)) {
			return fmt.Errorf("the session is of subject %q, with factors %q proven at %v", p.Subject, p.Factors, p.AuthTime)
		}
		return nil
	})
	run("bad requests and users who may not sign in are answered alike", "a difference tells who has an account", func(t *testing.T, c Ceremony) error {
		h := newDoor(t, nil, nil)
		bad := c.Bad(t)
		if len(bad) == 0 {
			return errors.New("no request is bad")
		}
		want := ""
		for i, r := range append(bad, c.Good(t, "2"), c.Good(t, "3")) {
			status, body := h.send(c.Way, r)
			switch {
			case status != http.StatusBadRequest:
				return fmt.Errorf("request %d: %d %s, want 400", i, status, body)
			case want == "":
				want = body
			case body != want:
				return fmt.Errorf("request %d: %s, want %s as the others", i, body, want)
			}
		}
		return h.wantSessions(0)
	})
	run("a second factor that is due is asked for", "the way in proves one factor, unless it proves several itself", func(t *testing.T, c Ceremony) error {
		h := newDoor(t, nil, neverRight{})
		status, body := h.send(c.Way, c.Good(t, "1"))
		if c.Way.Second == auth.SkipIfMFA && status == http.StatusOK {
			return nil
		}
		if status != http.StatusBadRequest || !bytes.Contains([]byte(body), []byte(`"mfa_required"`)) {
			return fmt.Errorf("%d %s, want 400 mfa_required", status, body)
		}
		return h.wantSessions(0)
	})
	run("EndSessions ends what is being proven", "a sign-in that began before the password was changed must not outlive the change", func(t *testing.T, c Ceremony) error {
		h := newDoor(t, nil, nil)
		prove := c.Way.Prove
		c.Way.Prove = func(r *http.Request) (*identity.Proof, error) {
			p, err := prove(r)
			if err == nil {
				err = h.server.EndSessions(r.Context(), identity.Revocation{Subject: p.Subject})
			}
			return p, err
		}
		if status, body := h.send(c.Way, c.Good(t, "1")); status != http.StatusBadRequest {
			return fmt.Errorf("%d %s, want 400", status, body)
		}
		return h.wantSessions(0)
	})
	run("an attempt that the Throttle refuses proves nothing", "a limit that comes after the proof limits no guesses", func(t *testing.T, c Ceremony) error {
		h := newDoor(t, full{}, nil)
		c.Way.Prove = func(*http.Request) (*identity.Proof, error) {
			t.Error("Prove was called")
			return nil, identity.ErrNotProven
		}
		if status, body := h.send(c.Way, c.Good(t, "1")); status != http.StatusTooManyRequests {
			return fmt.Errorf("%d %s, want 429", status, body)
		}
		return nil
	})
	run("of 16 uses of one proof at once, one signs in", "a proof that was copied on the way must not be worth a second session", func(t *testing.T, c Ceremony) error {
		if !c.SingleUse {
			return nil
		}
		h := newDoor(t, nil, nil)
		r := c.Good(t, "1")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		handler := h.server.SignIn(c.Way)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				again := r.Clone(context.Background())
				again.Body = io.NopCloser(bytes.NewReader(body))
				handler.ServeHTTP(httptest.NewRecorder(), again)
			})
		}
		all.Wait()
		return h.wantSessions(1)
	})
}

// A door is a Server with two users and no session.
type door struct {
	store    *auth.Memory
	server   *auth.Server
	verifier *token.Verifier
}

func newDoor(t *testing.T, throttle auth.Throttle, second auth.SecondFactor) *door {
	t.Helper()
	h := &door{store: new(auth.Memory)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.store.SetUser("alice", auth.User{ID: "1", PasswordHash: "none"}))
	must(h.store.SetUser("bob", auth.User{ID: "2", PasswordHash: "none", Disabled: true}))
	key, err := token.GenerateKey(token.EdDSA)
	must(err)
	ring, err := token.NewKeyring(key)
	must(err)
	const here = "https://host.example"
	issuer, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: here, Audience: here})
	must(err)
	revoked := new(marks)
	h.verifier, err = token.NewVerifier(ring, token.VerifierConfig{Issuer: here, Audience: here, Revoker: revoked})
	must(err)
	secret := make([]byte, 32)
	rand.Read(secret)
	h.server, err = auth.New(h.store, issuer, auth.Config{
		Sessions: h.store, Challenges: h.store, Revoker: revoked, RefreshKeys: []guard.Secret{guard.NewSecret(secret)},
		Throttle: throttle, SecondFactor: second,
	})
	must(err)
	return h
}

func (h *door) send(w auth.WayIn, r *http.Request) (status int, body string) {
	rec := httptest.NewRecorder()
	h.server.SignIn(w).ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

func (h *door) wantSessions(want int) error {
	sessions, err := h.store.Sessions(context.Background(), "1")
	if err != nil {
		return err
	}
	if len(sessions) != want {
		return fmt.Errorf("%d sessions are left, want %d", len(sessions), want)
	}
	return nil
}

// full is a Throttle without room.
type full struct{}

func (full) Reserve(context.Context, string, string) (func(guard.Outcome), time.Duration, error) {
	return nil, time.Minute, nil
}

// neverRight is a required SecondFactor that rejects every code.
type neverRight struct{}

func (neverRight) Required(context.Context, string) (bool, error) { return true, nil }
func (neverRight) VerifyFactor(context.Context, *identity.Principal, string) (string, error) {
	return "", nil
}

// marks is an [auth.Revoker] in memory.
type marks struct {
	mu  sync.Mutex
	all []identity.Revocation
}

func (m *marks) Revoke(_ context.Context, r identity.Revocation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, r)
	return nil
}

func (m *marks) RevokeNow(ctx context.Context, r identity.Revocation) (time.Time, error) {
	r.Before = time.Now().Add(time.Microsecond)
	return r.Before, m.Revoke(ctx, r)
}

func (m *marks) Revoked(_ context.Context, p *identity.Principal) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.all {
		if targets(r, p) && (r.Before.IsZero() || p.IssuedAt.Before(r.Before)) {
			return true, nil
		}
	}
	return false, nil
}

func (m *marks) IssueTime(_ context.Context, p *identity.Principal) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := time.Now()
	for _, r := range m.all {
		if targets(r, p) && r.Before.After(at) {
			at = r.Before
		}
	}
	return at, nil
}

func (m *marks) Checkpoint(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.all)), nil
}

func (m *marks) RevokedSince(_ context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.all[checkpoint:] {
		if targets(r, p) {
			return true, nil
		}
	}
	return false, nil
}

// targets reports whether r is about p, whatever the dates.
func targets(r identity.Revocation, p *identity.Principal) bool {
	return (r.Credential == "" || r.Credential == p.Credential) && (r.Session == "" || r.Session == p.Session) &&
		(r.Subject == "" || r.Subject == p.Subject) && (r.Tenant == "" || r.Tenant == p.Tenant) && (r.Spare == "" || r.Spare != p.Session)
}
