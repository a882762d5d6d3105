package blacklist_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

// Two machines share users, sessions and a log of revocations. Each has a
// replica of its own, and clocks that differ.

// A machine signs people in.
type machine struct {
	replica  *blacklist.Replica
	server   *auth.Server
	verifier *token.Verifier
	sessions *pausing
	factor   *pausingFactor
}

// pausing is the session store of a machine, which a test can stop before and
// after a session is stored.
type pausing struct {
	*auth.Memory
	before, after func()
}

func (s *pausing) CreateRefresh(ctx context.Context, one auth.Session, first auth.TokenHash, idle time.Time, most int) ([]string, error) {
	defer pause(s.after)
	pause(s.before)
	return s.Memory.CreateRefresh(ctx, one, first, idle, most)
}

func (s *pausing) RotateRefresh(ctx context.Context, r auth.Rotation) (auth.Rotated, error) {
	defer pause(s.after)
	pause(s.before)
	return s.Memory.RotateRefresh(ctx, r)
}

// pausingFactor is the second factor of a machine.
type pausingFactor struct {
	required         bool
	asking, checking func()
}

func (f *pausingFactor) Required(context.Context, string) (bool, error) {
	pause(f.asking)
	return f.required, nil
}

func (f *pausingFactor) VerifyFactor(_ context.Context, _ *identity.Principal, code string) (string, error) {
	pause(f.checking)
	if code != "123456" {
		return "", nil
	}
	return "otp", nil
}

func pause(f func()) {
	if f != nil {
		f()
	}
}

// A pairOfMachines is what the tests of this file begin with.
type pairOfMachines struct {
	t     *testing.T
	users *auth.Memory
	a, b  *machine
	hash  func(password string) string
}

const (
	machineIssuer = "https://id.example"
	oldPassword   = "an old password"
	newPassword   = "another password"
)

// openMachines starts two, whose clocks are ahead by so much.
func openMachines(t *testing.T, ahead [2]time.Duration) *pairOfMachines {
	t.Helper()
	hasher, err := password.New(password.Config{Argon2id: password.Argon2id{Memory: 64, Passes: 1, Lanes: 1}, InsecureArgon2id: true})
	if err != nil {
		t.Fatal(err)
	}
	m := &pairOfMachines{t: t, users: new(auth.Memory), hash: func(password string) string {
		hash, err := hasher.Hash(context.Background(), password)
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}}
	m.setPassword(oldPassword)
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("a secret of access tokens, 32 b."))})
	if err != nil {
		t.Fatal(err)
	}
	log := new(blacklist.MemoryLog)
	start := func(ahead time.Duration) *machine {
		replica, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
		if err != nil {
			t.Fatal(err)
		}
		replica.SetClock(ahead)
		if err := replica.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		out := &machine{replica: replica, sessions: &pausing{Memory: m.users}, factor: new(pausingFactor)}
		tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: machineIssuer, Audience: machineIssuer})
		if err != nil {
			t.Fatal(err)
		}
		if out.verifier, err = token.NewVerifier(ring, token.VerifierConfig{Issuer: machineIssuer, Audience: machineIssuer, Revoker: replica}); err != nil {
			t.Fatal(err)
		}
		out.server, err = auth.New(m.users, tokens, auth.Config{
			Sessions:     out.sessions,
			RefreshKeys:  []guard.Secret{guard.NewSecret([]byte("a secret of refresh tokens, 32 b"))},
			Revoker:      replica,
			Verifier:     out.verifier,
			Passwords:    hasher,
			SecondFactor: out.factor,
			Challenges:   m.users,
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	m.a, m.b = start(ahead[0]), start(ahead[1])
	return m
}

func (m *pairOfMachines) setPassword(password string) {
	m.t.Helper()
	if err := m.users.SetUser("ada", auth.User{ID: "1", Tenant: "acme", PasswordHash: m.hash(password)}); err != nil {
		m.t.Fatal(err)
	}
}

// An answered request has a status and the members of its body.
type answered struct {
	status int
	body   map[string]any
}

func (a answered) text(name string) string {
	s, _ := a.body[name].(string)
	return s
}

func postForm(h http.Handler, p *identity.Principal, form ...string) answered {
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p != nil {
		r = r.WithContext(identity.NewContext(r.Context(), p))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	out := answered{status: w.Code}
	_ = json.Unmarshal(w.Body.Bytes(), &out.body)
	return out
}

func (m *machine) signIn(password string) answered {
	return postForm(m.server.Token(), nil, "username", "ada", "password", password)
}

func (m *machine) refresh(a answered) answered {
	return postForm(m.server.Refresh(), nil, "refresh_token", a.text("refresh_token"))
}

func (m *machine) exchange(a answered) answered {
	return postForm(m.server.MFA(), nil, "mfa_token", a.text("mfa_token"), "code", "123456")
}

func (m *machine) stepUp(a answered) answered {
	p, err := m.verifier.Verify(context.Background(), a.text("access_token"))
	if err != nil {
		return answered{status: http.StatusUnauthorized}
	}
	return postForm(m.server.StepUp(), p, "code", "123456")
}

// read has both replicas read the log. Nothing else does, but for what has to.
func (m *pairOfMachines) read() {
	m.t.Helper()
	for _, on := range []*machine{m.a, m.b} {
		if err := on.replica.Refresh(context.Background()); err != nil {
			m.t.Fatal(err)
		}
	}
}

// over fails if something of an answer is accepted on one of the machines, now
// or after everything that expires has expired.
func (m *pairOfMachines) over(what string, all ...answered) {
	m.t.Helper()
	for _, wait := range []time.Duration{0, 11 * time.Minute, 10 * time.Minute, 24 * time.Hour, 10 * 24 * time.Hour} {
		time.Sleep(wait)
		m.read()
		for name, on := range map[string]*machine{"A": m.a, "B": m.b} {
			for _, a := range all {
				if _, err := on.verifier.Verify(context.Background(), a.text("access_token")); err == nil {
					m.t.Errorf("%s: its access token is accepted on %s, %v later", what, name, wait)
				}
				if got := on.refresh(a); got.status == http.StatusOK {
					m.t.Errorf("%s: it is refreshed on %s, %v later", what, name, wait)
				}
				if got := on.exchange(a); got.status == http.StatusOK {
					m.t.Errorf("%s: its challenge is exchanged on %s, %v later", what, name, wait)
				}
			}
		}
	}
	if left, err := m.users.Sessions(context.Background(), "1"); err != nil || len(left) != 0 {
		m.t.Errorf("%s: %d sessions are left, %v", what, len(left), err)
	}
}

// good fails unless an answer is accepted on both machines.
func (m *pairOfMachines) good(what string, a answered) {
	m.t.Helper()
	if a.status != http.StatusOK {
		m.t.Errorf("%s: %d %v", what, a.status, a.body)
		return
	}
	for range 2 {
		m.read()
		for name, on := range map[string]*machine{"A": m.a, "B": m.b} {
			if _, err := on.verifier.Verify(context.Background(), a.text("access_token")); err != nil {
				m.t.Errorf("%s: its access token on %s: %v", what, name, err)
			}
			if a = on.refresh(a); a.status != http.StatusOK {
				m.t.Errorf("%s: refreshed on %s: %d %v", what, name, a.status, a.body)
				return
			}
		}
		time.Sleep(time.Second)
	}
}

// clocks is by how much those of A and B are ahead.
var clocks = [][2]time.Duration{
	{0, 0}, {2 * time.Second, 0}, {0, 2 * time.Second}, {2 * time.Second, -2 * time.Second}, {-2 * time.Second, 2 * time.Second},
}

// onMachines runs a test for each pair of clocks.
func onMachines(t *testing.T, test func(t *testing.T, m *pairOfMachines)) {
	for _, ahead := range clocks {
		t.Run(fmt.Sprintf("A is ahead by %v and B by %v", ahead[0], ahead[1]), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, openMachines(t, ahead))
			})
		})
	}
}

// ends are the ways of ending what ada has.
var ends = map[string]identity.Revocation{
	"Subject":            {Subject: "1"},
	"Tenant":             {Tenant: "acme"},
	"Subject and Tenant": {Subject: "1", Tenant: "acme"},
	"Before":             {},
	"Spare":              {Subject: "1", Spare: "another session"},
}

// end changes the password and ends what ada has, on B.
func (m *pairOfMachines) end(which identity.Revocation) {
	m.t.Helper()
	m.setPassword(newPassword)
	if which == (identity.Revocation{}) {
		which.Before = time.Now()
	}
	if err := m.b.server.EndSessions(context.Background(), which); err != nil {
		m.t.Errorf("EndSessions(%+v) = %v", which, err)
	}
}

func TestSignInUnderWayOnAnotherMachineIsEnded(t *testing.T) {
	for name, which := range ends {
		t.Run(name, func(t *testing.T) {
			onMachines(t, func(t *testing.T, m *pairOfMachines) {
				var all []answered
				for _, step := range []func(end func()){
					func(end func()) { m.a.factor.asking = end },
					func(end func()) { m.a.sessions.before = end },
					func(end func()) { m.a.sessions.after = end },
				} {
					m.setPassword(oldPassword)
					ended := false
					step(func() {
						if ended {
							return
						}
						ended = true
						time.Sleep(time.Millisecond)
						m.end(which)
						time.Sleep(time.Millisecond)
					})
					a := m.a.signIn(oldPassword)
					if a.status == http.StatusOK {
						t.Errorf("the sign-in succeeds after EndSessions")
					}
					all = append(all, a)
					m.a.factor.asking, m.a.sessions.before, m.a.sessions.after = nil, nil, nil
				}
				m.over("a sign-in that was under way", all...)
			})
		})
	}
}

func TestEverythingOfBeforeIsEndedOnEveryMachine(t *testing.T) {
	for name, which := range ends {
		t.Run(name, func(t *testing.T) {
			onMachines(t, func(t *testing.T, m *pairOfMachines) {
				all := []answered{m.a.signIn(oldPassword), m.b.signIn(oldPassword)}
				m.a.factor.required, m.b.factor.required = true, true
				challenges := []answered{m.a.signIn(oldPassword), m.b.signIn(oldPassword)}
				m.a.factor.required, m.b.factor.required = false, false
				all = append(all, m.a.refresh(m.b.refresh(m.a.signIn(oldPassword))))
				m.end(which)
				for _, c := range challenges {
					if c.text("mfa_token") == "" {
						t.Fatal("there is no challenge")
					}
					if got := m.a.exchange(c); got.status == http.StatusOK {
						t.Error("a challenge of before is exchanged at once")
					}
				}
				for _, a := range all {
					if got := m.a.refresh(a); got.status == http.StatusOK {
						t.Error("a session of before is refreshed at once")
					}
				}
				m.over("what there was", append(all, challenges...)...)
			})
		})
	}
}

// The other way around: who signs in with the new password is let in, and stays.
func TestSignInRightAfterEndSessionsSucceeds(t *testing.T) {
	for name, which := range ends {
		t.Run(name, func(t *testing.T) {
			onMachines(t, func(t *testing.T, m *pairOfMachines) {
				old := m.b.signIn(oldPassword)
				for range 3 { // one revocation upon the other
					m.end(which)
				}
				for name, on := range map[string]*machine{"A": m.a, "B": m.b} {
					m.good("a sign-in on "+name, on.signIn(newPassword))
					m.good("a step-up on "+name, on.stepUp(on.signIn(newPassword)))
					on.factor.required = true
					challenge := on.signIn(newPassword)
					on.factor.required = false
					m.good("a sign-in with two factors, begun on "+name, m.b.exchange(challenge))
					on.factor.required = true
					challenge = on.signIn(newPassword)
					on.factor.required = false
					m.good("a sign-in with two factors, begun on "+name+", finished on A", m.a.exchange(challenge))
				}
				// And ended again, though it is dated ahead.
				m.end(which)
				fresh := m.a.signIn(newPassword)
				m.end(which)
				m.over("what there was", old, fresh)
			})
		})
	}
}

func TestExchangeAndStepUpUnderWayOnAnotherMachineAreEnded(t *testing.T) {
	for name, which := range ends {
		t.Run(name, func(t *testing.T) {
			onMachines(t, func(t *testing.T, m *pairOfMachines) {
				var all []answered
				for _, step := range []func(end func()){
					func(end func()) { m.a.factor.checking = end },
					func(end func()) { m.a.sessions.before = end },
					func(end func()) { m.a.sessions.after = end },
				} {
					for _, stepUp := range []bool{false, true} {
						m.setPassword(oldPassword)
						m.a.factor.required = !stepUp
						first := m.a.signIn(oldPassword)
						m.a.factor.required = false
						ended := false
						step(func() {
							if ended {
								return
							}
							ended = true
							time.Sleep(time.Millisecond)
							m.end(which)
							time.Sleep(time.Millisecond)
						})
						var got answered
						if stepUp {
							got = m.a.stepUp(first)
						} else {
							got = m.a.exchange(first)
						}
						if got.status == http.StatusOK || !ended {
							t.Errorf("step-up %t: %d after EndSessions, which was called: %t", stepUp, got.status, ended)
						}
						all = append(all, first, got)
						m.a.factor.checking, m.a.sessions.before, m.a.sessions.after = nil, nil, nil
					}
				}
				m.over("what was under way", all...)
			})
		})
	}
}

func TestRefreshUnderWayOnAnotherMachineIsEnded(t *testing.T) {
	for name, which := range ends {
		t.Run(name, func(t *testing.T) {
			onMachines(t, func(t *testing.T, m *pairOfMachines) {
				var all []answered
				for _, before := range []bool{true, false} {
					m.setPassword(oldPassword)
					first := m.a.signIn(oldPassword)
					end := func() { m.end(which) }
					if before {
						m.a.sessions.before = end
					} else {
						m.a.sessions.after = end
					}
					got := m.a.refresh(first)
					m.a.sessions.before, m.a.sessions.after = nil, nil
					if got.status == http.StatusOK {
						t.Error("the refresh succeeds after EndSessions")
					}
					all = append(all, first, got)
				}
				m.over("what was under way", all...)
			})
		})
	}
}

// The session in which the password was changed goes on, with what it is given
// at the same time.
func TestSparedSessionGoesOn(t *testing.T) {
	onMachines(t, func(t *testing.T, m *pairOfMachines) {
		own, other := m.a.signIn(oldPassword), m.a.signIn(oldPassword)
		p, err := m.a.verifier.Verify(t.Context(), own.text("access_token"))
		if err != nil {
			t.Fatal(err)
		}
		which := identity.Revocation{Subject: "1", Spare: p.Session}
		m.a.sessions.after = func() {
			m.a.sessions.after = nil
			m.end(which)
		}
		own = m.a.refresh(own)
		m.good("the own session", own)
		for _, on := range []*machine{m.a, m.b} {
			if got := on.refresh(other); got.status == http.StatusOK {
				t.Error("another session is refreshed")
			}
			if _, err := on.verifier.Verify(t.Context(), other.text("access_token")); err == nil {
				t.Error("another session's access token is accepted")
			}
		}
		left, err := m.users.Sessions(t.Context(), "1")
		if err != nil || len(left) != 1 || left[0].ID != p.Session {
			t.Errorf("the sessions are %v, %v; want the own one", left, err)
		}
		// Ending the rest includes the one that was spared.
		m.end(identity.Revocation{Subject: "1"})
		m.over("all there was", own, other)
	})
}

// A host that records a revocation itself, dated by a clock that is behind, ends
// what is under way all the same.
func TestRevocationDatedByAClockThatIsBehindEndsASignInUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := openMachines(t, [2]time.Duration{})
		m.a.sessions.before = func() {
			err := m.b.replica.Revoke(t.Context(), identity.Revocation{
				Issuer: machineIssuer, Subject: "1", Before: time.Now().Add(-30 * time.Second), Expires: time.Now().Add(time.Hour),
			})
			if err != nil {
				t.Error(err)
			}
		}
		if got := m.a.signIn(oldPassword); got.status == http.StatusOK {
			t.Error("the sign-in succeeds")
		}
		m.a.sessions.before = nil
		// What began afterwards is another matter.
		m.good("a sign-in afterwards", m.a.signIn(oldPassword))
	})
}

func TestRevocationDatedByAClockThatIsBehindEndsAChallenge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := openMachines(t, [2]time.Duration{})
		m.a.factor.required = true
		challenge := m.a.signIn(oldPassword)
		time.Sleep(time.Second)
		err := m.b.replica.Revoke(t.Context(), identity.Revocation{
			Issuer: machineIssuer, Subject: "1", Before: time.Now().Add(-30 * time.Second), Expires: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for name, on := range map[string]*machine{"A": m.a, "B": m.b} {
			if got := on.exchange(challenge); got.status == http.StatusOK {
				t.Errorf("the challenge is exchanged on %s", name)
			}
		}
		m.good("a sign-in afterwards", m.b.exchange(m.a.signIn(oldPassword)))
	})
}

// clockedLog is a log with a clock of its own.
type clockedLog struct {
	*blacklist.MemoryLog
	ahead atomic.Int64 // nanoseconds
	down  atomic.Bool
}

func (l *clockedLog) set(ahead time.Duration, down bool) {
	l.ahead.Store(int64(ahead))
	l.down.Store(down)
}

func (l *clockedLog) Now(context.Context) (time.Time, error) {
	if l.down.Load() {
		return time.Time{}, errDown
	}
	return time.Now().Add(time.Duration(l.ahead.Load())), nil
}

func TestReadyRefusesAMachineWhoseClockIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &clockedLog{MemoryLog: new(blacklist.MemoryLog)}
		var observed atomic.Int32
		r, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{Hooks: guard.Hooks{
			Observe: func(context.Context, guard.Event) { observed.Add(1) },
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, ahead := range []time.Duration{6 * time.Second, -6 * time.Second, time.Hour} {
			log.set(ahead, false)
			fresh, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
			if err == nil {
				err = fresh.Refresh(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := fresh.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "clock of this machine differs by") {
				t.Errorf("ahead by %v: Ready = %v at the start", ahead, err)
			}
		}
		log.set(4*time.Second, false)
		if err := errors.Join(r.Refresh(t.Context()), r.Ready(t.Context())); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Run(ctx); close(done) }()
		log.set(-7*time.Second, false)
		time.Sleep(time.Minute)
		if err := r.Ready(t.Context()); err == nil {
			t.Error("Ready = nil a minute after the clock was changed")
		}
		if n := observed.Load(); n != 1 {
			t.Errorf("%d events, want one", n)
		}
		// A log that does not answer says nothing about the clock.
		log.set(-7*time.Second, true)
		time.Sleep(time.Minute)
		if err := r.Ready(t.Context()); err == nil || errors.Is(err, errDown) {
			t.Errorf("Ready = %v while the clock cannot be read", err)
		}
		log.set(0, false)
		time.Sleep(time.Minute)
		if err := r.Ready(t.Context()); err != nil {
			t.Errorf("Ready = %v when the clock is right again", err)
		}
		cancel()
		<-done
	})
}
