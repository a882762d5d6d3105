package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// filling returns a, which fills in a Principal of guard.NewPrincipal. It leaves
// another caller in it if it returns an error.
func filling(a *authenticator) *authenticator {
	authenticate := a.authenticate
	a.authenticate = func(r *http.Request) (*identity.Principal, error) {
		p := guard.NewPrincipal(r)
		if p.Subject != "" || p.Issuer != "" {
			return nil, fmt.Errorf("the principal is %v, want a zero one", p)
		}
		*p = identity.Principal{Issuer: "tokens", Subject: "mallory", Credential: "x"}
		found, err := authenticate(r)
		if err != nil {
			return nil, err
		}
		*p = *found
		return p, nil
	}
	return a
}

func TestAnAuthenticatorMayFillInAPrincipalOfTheRequest(t *testing.T) {
	for _, test := range []struct {
		name   string
		header []string
		caller string // "" if next must not run
		status int
	}{
		{"no credentials are anonymous, whatever was left behind", nil, "nobody", 200},
		{"good credentials name the caller", []string{"Authorization: Bearer ada"}, "ada", 200},
		{"good credentials of the second kind", []string{"X-Api-Key: robot"}, "robot", 200},
		{"bad credentials are 401, whatever was left behind", []string{"Authorization: Bearer bad"}, "", 401},
		{"bad credentials of the second kind are 401", []string{"X-Api-Key: bad"}, "", 401},
		{"a store that does not answer is 503", []string{"Authorization: Bearer down"}, "", 503},
		{"credentials of two kinds are 400", []string{"Authorization: Bearer ada", "X-Api-Key: robot"}, "", 400},
		{"a good key does not save a bad token", []string{"Authorization: Bearer bad", "X-Api-Key: robot"}, "", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			next := new(spy)
			w := serve(guard.Hooks{}.Identify(filling(bearer()), filling(apiKeys()))(next), get("/", test.header...))
			if w.Code != test.status || next.ran() != (test.caller != "") {
				t.Errorf("answered %d %s, next ran = %v; want %d", w.Code, w.Body, next.ran(), test.status)
			}
			if next.ran() && w.Body.String() != "hello "+test.caller {
				t.Errorf("next wrote %q, want hello %s", w.Body, test.caller)
			}
		})
	}
	t.Run("two of them get two", func(t *testing.T) {
		r := get("/")
		serve(guard.Hooks{}.Identify(&authenticator{challenge: bearer().challenge, authenticate: func(r *http.Request) (*identity.Principal, error) {
			if p, q := guard.NewPrincipal(r), guard.NewPrincipal(r.WithContext(context.WithValue(r.Context(), t, t))); p == q {
				t.Error("they are one")
			}
			return nil, guard.ErrNoCredentials
		}})(new(spy)), r)
		if p, q := guard.NewPrincipal(r), guard.NewPrincipal(r); p == q || p == nil {
			t.Error("outside of Identify they are one")
		}
	})
	for name, returned := range map[string]*identity.Principal{"no principal": nil, "one that names no caller": {Roles: identity.NewSet("admin")}} {
		t.Run(name+" is 503", func(t *testing.T) {
			nothing := bearer()
			nothing.authenticate = func(*http.Request) (*identity.Principal, error) { return returned, nil }
			hooks, next := guard.Hooks{}, new(spy)
			if w := serve(hooks.Identify(nothing)(hooks.Authenticated(next)), get("/")); w.Code != 503 || next.ran() {
				t.Errorf("answered %d, next ran = %v; want 503", w.Code, next.ran())
			}
		})
	}
	t.Run("it costs no allocation", func(t *testing.T) {
		measure := func(authenticate func(r *http.Request) (*identity.Principal, error)) float64 {
			h := guard.Hooks{}.Identify(&authenticator{challenge: bearer().challenge, authenticate: authenticate})(
				http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			r := get("/")
			return testing.AllocsPerRun(100, func() { h.ServeHTTP(nil, r) })
		}
		shared := &identity.Principal{Subject: "ada"}
		least := measure(func(r *http.Request) (*identity.Principal, error) { return shared, nil })
		if n := measure(func(r *http.Request) (*identity.Principal, error) {
			p := guard.NewPrincipal(r)
			p.Subject = "ada"
			return p, nil
		}); n != least {
			t.Errorf("%v allocations, want %v", n, least)
		}
	})
}

func TestThePrincipalIsTheRequestsOwn(t *testing.T) {
	var wg sync.WaitGroup
	h := guard.Hooks{}.Identify(filling(bearer()))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprint(w, p.Subject)
		wg.Go(func() { *p = identity.Principal{Subject: "changed"} })
	}))
	for n := range 200 {
		wg.Go(func() {
			name := fmt.Sprint("user", n)
			if w := serve(h, get("/", "Authorization: Bearer "+name)); w.Body.String() != name {
				t.Errorf("%s was taken for %s", name, w.Body)
			}
		})
	}
	wg.Wait()
}

// strict embeds an authenticator of ours and is stricter.
type strict struct{ *authenticator }

func (s strict) Authenticate(r *http.Request) (*identity.Principal, error) {
	return nil, guard.InvalidToken("Bearer", nil)
}

func TestAnAuthenticatorThatEmbedsAnotherIsTheOneThatIsCalled(t *testing.T) {
	next := new(spy)
	w := serve(guard.Hooks{}.Identify(strict{filling(bearer())})(next), get("/", "Authorization: Bearer ada"))
	if w.Code != 401 || next.ran() {
		t.Errorf("answered %d, next ran = %v; want 401", w.Code, next.ran())
	}
}
