package scopes_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/scopes"
)

func fresh(seconds int, acr ...string) func(*scopes.Middleware) func(http.Handler) http.Handler {
	return func(m *scopes.Middleware) func(http.Handler) http.Handler {
		return m.Fresh(time.Duration(seconds)*time.Second, acr...)
	}
}

// RFC 9470 section 3, figures 2 and 3, of which the line breaks are only for
// the page.
func TestRFC9470Section3Examples(t *testing.T) {
	unrealm := guard.Authenticator(plain{found{&identity.Principal{Issuer: "i", Subject: "ada", AuthTime: time.Now().Add(-time.Hour)}}})
	config := scopes.Config{ACR: map[string]identity.Set{"myACR": identity.NewSet("otp")}}
	ask(t, config, fresh(0, "myACR"), unrealm).check(t, 401, stepUpBody,
		`Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="myACR"`)
	ask(t, config, fresh(5), unrealm).check(t, 401, stepUpBody,
		`Bearer error="insufficient_user_authentication", error_description="More recent authentication is required", max_age="5"`)
}

// plain has no realm.
type plain struct{ found }

func (plain) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }

func TestFresh(t *testing.T) {
	const (
		ago     = time.Second
		ahead   = -time.Second
		never   = time.Duration(1 << 62)
		minute  = `Bearer realm="example", error="insufficient_user_authentication", error_description="More recent authentication is required", max_age="60"`
		mfa     = `Bearer realm="example", error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="mfa"`
		either  = `Bearer realm="example", error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="hwk mfa"`
		both    = `Bearer realm="example", error="insufficient_user_authentication", error_description="A more recent authentication of a different level is required", acr_values="mfa", max_age="60"`
		old     = "scopes: the sign-in is too old"
		unknown = "scopes: the time of the sign-in is unknown"
		future  = "scopes: the time of the sign-in is in the future"
		unmet   = "scopes: none of mfa is proven"
	)
	tests := []struct {
		name      string
		signedIn  time.Duration // before now
		factors   string
		guard     func(*scopes.Middleware) func(http.Handler) http.Handler
		challenge string // empty: it passes
		reason    string
	}{
		{"just now", 0, "pwd", fresh(60), "", ""},
		{"as old as may be", 60 * ago, "pwd", fresh(60), "", ""},
		{"a little older", 60*ago + 1, "pwd", fresh(60), minute, old},
		{"much older", 1e6 * ago, "pwd", fresh(60), minute, old},
		{"at an unknown time", never, "pwd", fresh(60), minute, unknown},
		{"at an unknown time, and the age does not matter", never, "pwd otp", fresh(0, "mfa"), "", ""},
		{"in the future, as far as clocks differ", 30 * ahead, "pwd", fresh(60), "", ""},
		{"further in the future", 30*ahead - 1, "pwd", fresh(60), minute, future},
		{"in the far future", 1e9 * ahead, "pwd", fresh(60), minute, future},
		{"the future does not matter without an age", 1e9 * ahead, "pwd otp", fresh(0, "mfa"), "", ""},

		{"all factors", 0, "pwd otp", fresh(0, "mfa"), "", ""},
		{"more than all factors", 0, "face pwd otp", fresh(0, "mfa"), "", ""},
		{"one of two factors", 0, "pwd", fresh(0, "mfa"), mfa, unmet},
		{"the other one", 0, "otp", fresh(0, "mfa"), mfa, unmet},
		{"no factor", 0, "", fresh(0, "mfa"), mfa, unmet},
		{"a factor of that name", 0, "mfa", fresh(0, "mfa"), mfa, unmet},
		{"another case", 0, "PWD OTP", fresh(0, "mfa"), mfa, unmet},
		{"the first of two contexts", 0, "hwk user", fresh(0, "hwk", "mfa"), "", ""},
		{"the second of two contexts", 0, "pwd otp", fresh(0, "hwk", "mfa"), "", ""},
		{"half of each of two contexts", 0, "pwd hwk", fresh(0, "hwk", "mfa"), either, "scopes: none of hwk, mfa is proven"},

		{"recent and strong", 0, "pwd otp", fresh(60, "mfa"), "", ""},
		{"recent and weak", 0, "pwd", fresh(60, "mfa"), both, unmet},
		{"old and strong", 61 * ago, "pwd otp", fresh(60, "mfa"), both, old},
		{"old and weak", 61 * ago, "pwd", fresh(60, "mfa"), both, old + ", and none of mfa is proven"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &identity.Principal{Issuer: "https://issuer.example", Subject: "ada", Factors: identity.ParseSet(test.factors)}
				if test.signedIn != never {
					p.AuthTime = time.Now().Add(-test.signedIn)
				}
				a := ask(t, scopes.Config{ACR: levels}, test.guard, found{p})
				if test.challenge == "" {
					a.check(t, 200, "passed")
					return
				}
				a.check(t, 401, stepUpBody, test.challenge)
				if got := a.event.Denial.Err.Error(); got != test.reason || a.event.Name != guard.EventAuthzFail {
					t.Errorf("event %q, reason %q; want %q", a.event.Name, got, test.reason)
				}
			})
		})
	}
}

func TestASignInAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := found{&identity.Principal{Issuer: "i", Subject: "ada", AuthTime: time.Now()}}
		for _, want := range []int{200, 200, 401} {
			if a := ask(t, scopes.Config{}, fresh(60), p); a.status != want {
				t.Errorf("%v after the sign-in: %d, want %d", time.Since(p.p.AuthTime), a.status, want)
			}
			time.Sleep(31 * time.Second)
		}
		p.p.AuthTime = time.Now() // stepped up
		ask(t, scopes.Config{}, fresh(60), p).check(t, 200, "passed")
	})
}

func TestLeewayIsForTheFutureOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := scopes.Config{Leeway: 5 * time.Minute}
		for _, test := range []struct {
			signedIn time.Duration
			status   int
		}{{-5 * time.Minute, 200}, {-5*time.Minute - 1, 401}, {61 * time.Second, 401}} {
			p := found{&identity.Principal{Issuer: "i", Subject: "ada", AuthTime: time.Now().Add(-test.signedIn)}}
			if a := ask(t, config, fresh(60), p); a.status != test.status || a.passed != (test.status == 200) {
				t.Errorf("%v ago: %d, want %d", test.signedIn, a.status, test.status)
			}
		}
	})
}

// A key has no sign-in, and nothing that it could do about it: it is told that
// a token would have.
func TestAnAPIKeyIsNeverFresh(t *testing.T) {
	key := keys{found{&identity.Principal{Issuer: "apikey:acme", Credential: "k1", IssuedAt: time.Now()}}}
	ask(t, scopes.Config{}, fresh(60), found{nil}, key).check(t, 401, stepUpBody,
		`Bearer realm="example", error="insufficient_user_authentication", error_description="More recent authentication is required", max_age="60"`,
		`ApiKey realm="keys"`)
	ask(t, scopes.Config{ACR: levels, Scheme: "DPoP"}, fresh(0, "mfa"), key).check(t, 401, stepUpBody,
		`DPoP error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="mfa"`,
		`ApiKey realm="keys"`)
}

// An acr is a URI more often than not; in the header it stays one string.
func TestACRValuesAreQuoted(t *testing.T) {
	config := scopes.Config{ACR: map[string]identity.Set{"urn:example:a?b=c,d;e#f": identity.NewSet("otp")}}
	ask(t, config, fresh(0, "urn:example:a?b=c,d;e#f"), plain{with().(found)}).check(t, 401, stepUpBody,
		`Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="urn:example:a?b=c,d;e#f"`)
}

func TestCheckFresh(t *testing.T) {
	m := must(scopes.New(scopes.Config{ACR: levels}))
	p := as(&identity.Principal{AuthTime: time.Now(), Factors: identity.NewSet("pwd", "otp")})
	if err := m.CheckFresh(p, time.Hour, "hwk", "mfa"); err != nil {
		t.Errorf("recent and strong: %v", err)
	}
	d := denialOf(t, m.CheckFresh(p, time.Hour, "hwk"))
	if d.Status != 401 || d.Code != "insufficient_user_authentication" || d.Challenges[0].MaxAge != time.Hour {
		t.Errorf("weak: %+v", d)
	}
	if d := denialOf(t, m.CheckFresh(context.Background(), time.Hour)); d.Status != 401 || !errors.Is(d, guard.ErrNoCredentials) {
		t.Errorf("nobody: %+v", d)
	}
	for name, err := range map[string]error{
		"nothing is asked for": m.CheckFresh(p, 0),
		"a negative age":       m.CheckFresh(p, -time.Second),
		"a fraction":           m.CheckFresh(p, time.Millisecond),
		"an unknown acr":       m.CheckFresh(p, time.Hour, "mfa", "gold"),
	} {
		if _, denied := errors.AsType[*guard.Denial](err); err == nil || denied || !strings.HasPrefix(err.Error(), "scopes: CheckFresh: ") {
			t.Errorf("%s: %v, want an error that is no Denial", name, err)
		}
	}
}

// A hook that writes to a refusal must not change the next one.
func TestAStepUpIsNobodyElses(t *testing.T) {
	var told []string
	m := must(scopes.New(scopes.Config{ACR: levels, Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
		told = append(told, e.Denial.Challenges[0].ACRValues[0])
		e.Denial.Challenges[0].ACRValues[0] = "changed"
	}}}))
	for g := m.Fresh(0, "mfa"); len(told) < 2; {
		if lets(g, &identity.Principal{}) {
			t.Fatal("passed")
		}
	}
	if told[0] != "mfa" || told[1] != "mfa" {
		t.Errorf("the client was told %q", told)
	}
}

// What a route asks for stays, whatever becomes of the slice it was made from.
func TestFreshKeepsWhatItAsksFor(t *testing.T) {
	names := []string{"mfa"}
	a := ask(t, scopes.Config{ACR: levels}, func(m *scopes.Middleware) func(http.Handler) http.Handler {
		g := m.Fresh(0, names...)
		names[0] = "pwd"
		return g
	}, found{&identity.Principal{Issuer: "i", Subject: "ada", Factors: identity.NewSet("pwd")}})
	if a.passed || !strings.Contains(a.challenges[0], `acr_values="mfa"`) {
		t.Errorf("passed: %v, %q", a.passed, a.challenges)
	}
}
