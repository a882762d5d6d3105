package integration

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
	"github.com/gatewright/gatewright/auth/ticket"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

// thousand calls try 1,000 times in parallel, on two machines in turn. try returns a
// status. One of them is below 300, and the others are 400. On a slow machine some
// may be 503, and the one that would have been right among them.
func thousand(t *testing.T, what string, machines [2]*waysMachine, try func(m *waysMachine) int) {
	t.Helper()
	var right, undecided atomic.Int64
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for j := range 20 {
				switch status := try(machines[(i+j)%2]); {
				case status < 300:
					right.Add(1)
				case status == http.StatusServiceUnavailable:
					undecided.Add(1)
				case status != http.StatusBadRequest:
					t.Errorf("%s: status %d", what, status)
				}
			}
		})
	}
	all.Wait()
	if n := undecided.Load(); n > 0 {
		t.Logf("%s: %d were answered 503", what, n)
	}
	if n := right.Load(); n > 1 || n == 0 && undecided.Load() == 0 {
		t.Errorf("%s was used %d times", what, n)
	}
}

func TestOfAThousandParallelUsesOneSucceeds(t *testing.T) {
	eachWaysPlace(t, func(t *testing.T, place waysPlace) {
		machines := [2]*waysMachine{place.machine(t, nil), place.machine(t, nil)}
		m := machines[0]
		m.add("ada", "the old password")
		token, _ := m.mailed(ticket.ResetPassword, "ada")
		thousand(t, "a link to reset a password", machines, func(m *waysMachine) int {
			status, _, _ := m.post(m.mail.Use(ticket.ResetPassword), nil, "", fields{"token": token, "password": "the new password"})
			return status
		})
		link, cookie := m.mailed(ticket.SignInLink, "ada")
		thousand(t, "a link to sign in", machines, func(m *waysMachine) int {
			return m.by(m.byMail(), cookie, fields{"token": link}).status
		})
		assertion := m.assertion(m.enrolled("ada"))
		thousand(t, "an assertion", machines, func(m *waysMachine) int {
			return m.by(m.byPasskey(), "", assertion).status
		})
		if g := machines[1].by(machines[1].byPasskey(), "", assertion); g.status < 300 {
			t.Errorf("the assertion is accepted later: %d", g.status)
		}
		m.add("eve", "a password")
		code := m.recoveryCodes("eve")[0]
		thousand(t, "a recovery code", machines, func(m *waysMachine) int {
			if _, err := m.codes.Verify(context.Background(), "eve", code); err == nil {
				return http.StatusOK
			}
			return http.StatusBadRequest
		})
	})
}

// enrolled returns an authenticator that is registered for subject.
func (m *waysMachine) enrolled(subject string) *passkeytest.Authenticator {
	m.Helper()
	p := &identity.Principal{Issuer: issuer, Subject: subject, Session: "the session of the enrolment", Factors: identity.NewSet("pwd", "otp"), AuthTime: time.Now()}
	a := passkeytest.New(waysOrigin)
	created := m.created(p, a)
	if status, text, _ := m.post(m.keys.Register(), p, "", created); status != 201 {
		m.Fatalf("status %d: %s", status, text)
	}
	return a
}

// created returns the registration of an authenticator.
func (m *waysMachine) created(p *identity.Principal, a *passkeytest.Authenticator) string {
	m.Helper()
	status, options, _ := m.post(m.keys.RegisterOptions(), p, "", fields{"proof": "x"})
	created, err := a.Create([]byte(options))
	if status != 200 || err != nil {
		m.Fatalf("%d %s: %v", status, options, err)
	}
	return string(created)
}

// assertion returns an assertion to sign in.
func (m *waysMachine) assertion(a *passkeytest.Authenticator) string {
	m.Helper()
	_, options, _ := m.post(m.keys.SignInOptions(), nil, "", "{}")
	b, err := a.Get([]byte(options))
	if err != nil {
		m.Fatal(err)
	}
	return string(b)
}

// A forgotten password comes back by mail, and the second factor is due as before.
// What began before the reset is over on every machine.
func TestAResetEndsSessionsAndKeepsTheSecondFactor(t *testing.T) {
	eachWaysPlace(t, func(t *testing.T, place waysPlace) {
		a, b := place.machine(t, nil), place.machine(t, nil)
		a.add("ada", "the old password")
		before := a.must(200, a.signIn("ada", "the old password"))
		recovery := a.recoveryCodes("ada")
		challenge := a.signIn("ada", "the old password")
		if challenge.status != 400 || challenge.Challenge == "" {
			t.Fatalf("no challenge for the second factor: %+v", challenge)
		}
		late := a.must(200, ask(a.server.MFA(), nil, "mfa_token", challenge.Challenge, "code", recovery[0]))
		open := a.signIn("ada", "the old password") // a thief is asked for the factor
		verify, _ := a.mailed(ticket.ResetPassword, "ada")
		token, _ := b.mailed(ticket.ResetPassword, "ada") // which replaces the other one

		status, text, cookie := b.post(b.mail.Use(ticket.ResetPassword), nil, "", fields{"token": token, "password": "the new password"})
		if status != 204 || text != "" || cookie != "" {
			t.Fatalf("%d %q %q", status, text, cookie)
		}
		if err := a.replica.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, g := range map[string]granted{"without the factor": before, "with the factor": late} {
			if _, err := a.verifier.Verify(t.Context(), g.Access); err == nil {
				t.Errorf("the access token of the session %s is accepted", name)
			}
			if got := ask(a.server.Refresh(), nil, "refresh_token", g.Refresh); got.status != 400 {
				t.Errorf("the refresh token of the session %s: %d", name, got.status)
			}
		}
		if got := ask(a.server.MFA(), nil, "mfa_token", open.Challenge, "code", recovery[1]); got.status != 400 {
			t.Errorf("the challenge of before: %d", got.status)
		}
		if got := a.signIn("ada", "the old password"); got.status != 400 || got.Challenge != "" {
			t.Errorf("the old password: %+v", got)
		}
		if status, _, _ := a.post(a.mail.Use(ticket.ResetPassword), nil, "", fields{"token": verify, "password": "another"}); status != 400 {
			t.Errorf("the older link: %d", status)
		}
		challenge = a.signIn("ada", "the new password")
		if challenge.status != 400 || challenge.Challenge == "" {
			t.Fatalf("the second factor is gone after the reset: %+v", challenge)
		}
		a.must(200, ask(a.server.MFA(), nil, "mfa_token", challenge.Challenge, "code", recovery[2]))
	})
}

// A thief signs in with the old password on one machine, again and again, while the
// owner resets it on the other one.
func TestNoSessionOfTheOldPasswordSurvivesAReset(t *testing.T) {
	eachWaysPlace(t, func(t *testing.T, place waysPlace) {
		a, b := place.machine(t, nil), place.machine(t, nil)
		for round := range endingRounds() / 4 {
			subject := fmt.Sprintf("user%d", round)
			a.add(subject, "the old password")
			token, _ := b.mailed(ticket.ResetPassword, subject)
			var stop atomic.Bool
			stolen := new(loot)
			var thieves sync.WaitGroup
			for range 3 {
				thieves.Go(func() {
					for !stop.Load() {
						if g := a.signIn(subject, "the old password"); g.status == 200 {
							stolen.add(g)
						}
					}
				})
			}
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				stolen.mu.Lock()
				n := len(stolen.all)
				stolen.mu.Unlock()
				if n > 0 {
					break
				}
			}
			status, text, _ := b.post(b.mail.Use(ticket.ResetPassword), nil, "", fields{"token": token, "password": "the new password"})
			stop.Store(true)
			thieves.Wait()
			if status != 204 || len(stolen.all) == 0 {
				t.Fatalf("%d %s, %d sessions", status, text, len(stolen.all))
			}
			if err := a.replica.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, g := range stolen.all {
				if _, err := a.verifier.Verify(t.Context(), g.Access); err == nil {
					t.Fatalf("round %d: an access token is accepted", round)
				}
				if got := ask(b.server.Refresh(), nil, "refresh_token", g.Refresh); got.status == 200 {
					t.Fatalf("round %d: a refresh token is accepted", round)
				}
			}
			if all, err := b.sessions.Sessions(t.Context(), subject); err != nil || len(all) != 0 {
				t.Fatalf("round %d: %d sessions are left: %v", round, len(all), err)
			}
		}
	})
}

// A passkey satisfies an authentication context of a resistant factor. A mailed
// link, a password and a recovery code do not, and a mailed link is no second factor.
func TestRecoveryNeverSatisfiesAStrongerContext(t *testing.T) {
	place := waysPlace{Engine: "SQLite", Server: "file:" + t.TempDir() + "/ways.db?_pragma=busy_timeout(10000)&_txlock=immediate"}
	place.create(t)
	m := place.machine(t, nil)
	rights, err := scopes.New(scopes.Config{ACR: map[string]identity.Set{"phr": identity.NewSet("pop"), "two": identity.NewSet("mfa")}})
	if err != nil {
		t.Fatal(err)
	}
	status := func(g granted, acr string) int {
		t.Helper()
		r := httptest.NewRequest("GET", "/", nil)
		r = r.WithContext(identity.NewContext(r.Context(), m.sessionOf(g)))
		w := httptest.NewRecorder()
		rights.Fresh(10*time.Minute, acr)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		return w.Code
	}
	m.add("ada", "the password")
	password := m.must(200, m.signIn("ada", "the password"))
	token, cookie := m.mailed(ticket.SignInLink, "ada")
	mailed := m.must(200, m.by(m.byMail(), cookie, fields{"token": token}))
	if p := m.sessionOf(mailed); !p.Factors.Equal(identity.NewSet("email")) {
		t.Errorf("a mailed link proves %v", p.Factors)
	}
	a := m.enrolled("ada")
	strong := m.must(200, m.by(m.byPasskey(), "", m.assertion(a)))
	// With a passkey there is a second factor: a password or a link alone opens no
	// session any more.
	token, cookie = m.mailed(ticket.SignInLink, "ada")
	for name, g := range map[string]granted{"password": m.signIn("ada", "the password"), "link": m.by(m.byMail(), cookie, fields{"token": token})} {
		if g.status != 400 || g.Challenge == "" || g.Access != "" {
			t.Errorf("%s without the passkey: %+v", name, g)
		}
	}
	m.add("eve", "the password")
	recovery := m.recoveryCodes("eve")
	challenge := m.signIn("eve", "the password")
	recovered := m.must(200, ask(m.server.MFA(), nil, "mfa_token", challenge.Challenge, "code", recovery[0]))
	for _, test := range []struct {
		name  string
		g     granted
		phr   int
		multi int
	}{{"passkey", strong, 200, 200}, {"password", password, 401, 401}, {"link", mailed, 401, 401}, {"recovery code", recovered, 401, 401}} {
		if got := status(test.g, "phr"); got != test.phr {
			t.Errorf("%s: phr %d, want %d", test.name, got, test.phr)
		}
		if got := status(test.g, "two"); got != test.multi {
			t.Errorf("%s: two %d, want %d", test.name, got, test.multi)
		}
	}
}

// The limit of an address is one, however many clients request a message for it.
func TestTenThousandRequestsForOneAddressAreTenMessages(t *testing.T) {
	place := waysPlace{Engine: "SQLite", Server: "file:" + t.TempDir() + "/ways.db?_pragma=busy_timeout(10000)&_txlock=immediate"}
	place.create(t)
	m := place.machine(t, nil)
	m.add("ada", "the password")
	limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{Name: "mail", Secret: guard.NewSecret(make([]byte, 32))}, ratelimit.Limit{Name: "day", Quota: 10, Window: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	service, err := ticket.New(m.tickets, m, ticket.Config{
		Base: "https://example.com/account/", Keys: []guard.Secret{guard.NewSecret([]byte("32 bytes that all machines share"))}, Queue: 1 << 16,
		Deliver: func(context.Context, ticket.Message) error { sent.Add(1); return nil },
		Limit: func(ctx context.Context, key string) error {
			_, err := limiter.Reserve(ctx, 1, key)
			return err
		},
		CheckPassword: func(string) error { return nil },
		EndSessions:   func(context.Context, string) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := service.Request(ticket.ResetPassword)
	answers := map[string]int{}
	for range 10_000 {
		status, text, _ := m.post(h, nil, "", fields{"email": "ada@example.com"})
		answers[fmt.Sprint(status, text)]++
	}
	if err := service.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sent.Load() != 10 || len(answers) != 1 {
		t.Errorf("%d messages, answers %v", sent.Load(), answers)
	}
}

// A wrong code is answered alike for known and unknown addresses. The times are
// logged, with the smallest difference of medians that the samples would have shown:
// three standard errors. A slow machine does not fail the test.
func TestWrongCodesOfUnknownAddressesAreAnsweredAlike(t *testing.T) {
	eachWaysPlace(t, func(t *testing.T, place waysPlace) {
		m := place.machine(t, nil)
		var times [2][]time.Duration
		answers := map[string]int{}
		for i := range 200 {
			known := fmt.Sprintf("user%d", i)
			m.add(known, "a password")
			var cookies [2]string
			for j, name := range []string{known, "unknown-" + known} {
				var status int
				var text string
				status, text, cookies[j] = m.post(m.mail.Request(ticket.SignInCode), nil, "", fields{"email": name + "@example.com"})
				answers[fmt.Sprint("requested: ", status, text, len(cookies[j]))]++
			}
			m.settle()
			for range 5 {
				for j, cookie := range cookies {
					began := time.Now()
					status, text, _ := m.post(m.server.SignIn(m.byMail()), nil, cookie, fields{"code": "12345" + fmt.Sprint(i%10)})
					times[j] = append(times[j], time.Since(began))
					answers[fmt.Sprint("wrong code: ", status, text)]++
				}
			}
		}
		if len(answers) > 2 && !(len(answers) == 3 && answers["wrong code: 200"] > 0) { // a guess may be right
			t.Errorf("%v", answers)
		}
		spread := time.Duration(0)
		for _, all := range times {
			slices.Sort(all)
			spread = max(spread, all[len(all)*3/4]-all[len(all)/4])
		}
		n := len(times[0])
		t.Logf("%d samples in turn: known %v, unknown %v; a difference of %v would have been seen", n, times[0][n/2], times[1][n/2],
			time.Duration(3*math.Sqrt2*0.93*float64(spread)/math.Sqrt(float64(n))).Round(time.Microsecond))
	})
}

// settle waits until the messages that were requested are sent.
func (m *waysMachine) settle() {
	m.Helper()
	if err := m.mail.Close(m.Context()); err != nil {
		m.Fatal(err)
	}
	m.openMail()
}
