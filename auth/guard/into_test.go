package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// into is an IntoAuthenticator made of an authenticator. before is written to
// the room whatever the verdict.
type into struct {
	*authenticator
	before identity.Principal
	asked  [2]atomic.Int64 // Authenticate, AuthenticateInto
	dirty  atomic.Bool     // the room was not zero
}

func (a *into) Authenticate(r *http.Request) (*identity.Principal, error) {
	a.asked[0].Add(1)
	return a.authenticate(r)
}

func (a *into) AuthenticateInto(r *http.Request, p *identity.Principal) error {
	a.asked[1].Add(1)
	if p.Subject != "" || p.Issuer != "" {
		a.dirty.Store(true)
	}
	*p = a.before
	found, err := a.authenticate(r)
	if found != nil {
		*p = *found
	}
	return err
}

// TestIntoAuthenticator holds an IntoAuthenticator to what holds for any.
func TestIntoAuthenticator(t *testing.T) {
	mallory := identity.Principal{Issuer: "tokens", Subject: "mallory", Credential: "x"}
	tests := []struct {
		name   string
		header []string
		caller string // "" if next must not run
		status int
		asked  [4]int64 // tokens: Authenticate, AuthenticateInto; keys: the same
	}{
		{"no credentials are anonymous, whatever was left in the room", nil, "nobody", 200, [4]int64{0, 1, 0, 1}},
		{"good credentials name the caller", []string{"Authorization: Bearer ada"}, "ada", 200, [4]int64{0, 1, 1, 0}},
		{"the second one can use the room that the first did not need", []string{"X-Api-Key: robot"}, "robot", 200, [4]int64{0, 1, 0, 1}},
		{"bad credentials are 401, and what was left in the room does not count", []string{"Authorization: Bearer bad"}, "", 401, [4]int64{0, 1, 1, 0}},
		{"bad credentials of the second one are 401", []string{"X-Api-Key: bad"}, "", 401, [4]int64{0, 1, 0, 1}},
		{"a store that does not answer is 503", []string{"Authorization: Bearer down"}, "", 503, [4]int64{0, 1, 1, 0}},
		{"credentials of two kinds are 400", []string{"Authorization: Bearer ada", "X-Api-Key: robot"}, "", 400, [4]int64{0, 1, 1, 0}},
		{"a good key does not save a bad token", []string{"Authorization: Bearer bad", "X-Api-Key: robot"}, "", 400, [4]int64{0, 1, 1, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tokens, keys := &into{authenticator: bearer(), before: mallory}, &into{authenticator: apiKeys(), before: mallory}
			next := new(spy)
			w := serve(guard.Hooks{}.Identify(tokens, keys)(next), get("/", test.header...))
			if w.Code != test.status || next.ran() != (test.caller != "") {
				t.Errorf("answered %d %s, next ran = %v; want %d", w.Code, w.Body, next.ran(), test.status)
			}
			if next.ran() && w.Body.String() != "hello "+test.caller {
				t.Errorf("next said %q, want hello %s", w.Body, test.caller)
			}
			if asked := [4]int64{tokens.asked[0].Load(), tokens.asked[1].Load(), keys.asked[0].Load(), keys.asked[1].Load()}; asked != test.asked {
				t.Errorf("asked %v times, want %v", asked, test.asked)
			}
			if tokens.dirty.Load() || keys.dirty.Load() {
				t.Error("the room was not zero before")
			}
		})
	}
	t.Run("neither a principal nor an error is 503", func(t *testing.T) {
		nothing := &into{authenticator: bearer()}
		nothing.authenticate = func(*http.Request) (*identity.Principal, error) { return nil, nil }
		next := new(spy)
		hooks := guard.Hooks{}
		w := serve(hooks.Identify(nothing)(hooks.Authenticated(next)), get("/", "Authorization: Bearer ada"))
		if w.Code != 503 || next.ran() {
			t.Errorf("answered %d, next ran = %v; want 503: nobody was named", w.Code, next.ran())
		}
	})
	t.Run("an anonymous request has no caller in its context", func(t *testing.T) {
		tokens := &into{authenticator: bearer(), before: mallory}
		serve(guard.Hooks{}.Identify(tokens)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if p, ok := identity.FromContext(r.Context()); ok {
				t.Errorf("the caller is %v", p)
			}
		})), get("/"))
	})
	t.Run("Active is asked about the caller in the room", func(t *testing.T) {
		hooks := guard.Hooks{Active: func(_ context.Context, p *identity.Principal) error {
			if p.Subject != "ada" {
				t.Errorf("asked about %v", p)
			}
			return guard.ErrInactive
		}}
		next := new(spy)
		if w := serve(hooks.Identify(&into{authenticator: bearer()})(next), get("/", "Authorization: Bearer ada")); w.Code != 401 || next.ran() {
			t.Errorf("answered %d, next ran = %v; want 401", w.Code, next.ran())
		}
	})
	t.Run("Accept knows it", func(t *testing.T) {
		tokens, keys := &into{authenticator: bearer()}, &into{authenticator: apiKeys()}
		hooks := guard.Hooks{}
		for line, want := range map[string]int{"Authorization: Bearer ada": 200, "X-Api-Key: robot": 401} {
			if w := serve(hooks.Identify(tokens, keys)(hooks.Accept(tokens)(new(spy))), get("/", line)); w.Code != want {
				t.Errorf("%s: answered %d, want %d", line, w.Code, want)
			}
		}
	})
}

// TestRoomIsTheRequestsOwn: concurrent requests, whose handlers keep and write
// to what they were given.
func TestRoomIsTheRequestsOwn(t *testing.T) {
	var wg sync.WaitGroup
	h := guard.Hooks{}.Identify(&into{authenticator: bearer()})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
