package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestIdentifyFindsOneCallerOrRefuses(t *testing.T) {
	refusedAs := func(err error) *authenticator {
		a := bearer()
		a.authenticate = func(*http.Request) (*identity.Principal, error) { return nil, err }
		return a
	}
	ada := &identity.Principal{Subject: "ada"}
	tests := []struct {
		name           string
		authenticators []guard.Authenticator // nil: bearer, then API keys
		header         []string
		caller         string // "" if next must not run
		want           want
	}{
		{"no credentials go on anonymously", nil, nil,
			"nobody", want{200, nil, "", "hello nobody"}},
		{"good credentials name the caller", nil, []string{"Authorization: Bearer ada"},
			"ada", want{200, nil, "", "hello ada"}},
		{"the second authenticator is asked too", nil, []string{"X-Api-Key: robot"},
			"robot", want{200, nil, "", "hello robot"}},
		{"bad credentials are 401, never anonymous", nil, []string{"Authorization: Bearer bad"},
			"", want{401, []string{badBearerLine, keyLine}, "", invalidTokenBody}},
		{"bad credentials of the second authenticator", nil, []string{"X-Api-Key: bad"},
			"", want{401, []string{badKeyLine, bearerLine}, "", invalidTokenBody}},
		{"a store that does not answer is 503", nil, []string{"Authorization: Bearer down"},
			"", want{503, nil, "1", unavailableBody}},
		{"credentials of two kinds are 400", nil, []string{"Authorization: Bearer ada", "X-Api-Key: robot"},
			"", want{400, nil, "", twoKindsBody}},
		{"credentials of two kinds are 400 for one person too", nil, []string{"Authorization: Bearer ada", "X-Api-Key: ada"},
			"", want{400, nil, "", twoKindsBody}},
		{"a good key does not save a bad token", nil, []string{"Authorization: Bearer bad", "X-Api-Key: robot"},
			"", want{400, nil, "", twoKindsBody}},
		{"a bad key does not hide behind a good token", nil, []string{"Authorization: Bearer ada", "X-Api-Key: bad"},
			"", want{400, nil, "", twoKindsBody}},
		{"two bad credentials are 400", nil, []string{"Authorization: Bearer bad", "X-Api-Key: bad"},
			"", want{400, nil, "", twoKindsBody}},
		{"two credentials and a store that does not answer are 400", nil, []string{"Authorization: Bearer down", "X-Api-Key: robot"},
			"", want{400, nil, "", twoKindsBody}},
		{"two Authorization lines are 400", nil, []string{"Authorization: Bearer ada", "Authorization: Bearer ada"},
			"", want{400, nil, "", twoLinesBody}},
		{"two Authorization lines are 400, also of a scheme that nobody claims", nil, []string{"Authorization: Basic eA==", "Authorization: Bearer ada"},
			"", want{400, nil, "", twoLinesBody}},
		{"two Authorization lines are 400, also empty ones", nil, []string{"Authorization: ", "Authorization: "},
			"", want{400, nil, "", twoLinesBody}},
		{"a scheme that nobody claims is not looked at", nil, []string{"Authorization: Basic Og=="},
			"nobody", want{200, nil, "", "hello nobody"}},
		{"a scheme that nobody claims does not disturb a key", nil, []string{"Authorization: Basic Og==", "X-Api-Key: robot"},
			"robot", want{200, nil, "", "hello robot"}},
		{"neither principal nor error is 503", []guard.Authenticator{refusedAs(nil)}, nil,
			"", want{503, nil, "1", unavailableBody}},
		{"a wrapped ErrNoCredentials is none", []guard.Authenticator{refusedAs(fmt.Errorf("cookie: %w", guard.ErrNoCredentials))}, nil,
			"nobody", want{200, nil, "", "hello nobody"}},
		{"a denial is a refusal, also for want of credentials", []guard.Authenticator{refusedAs(guard.InvalidToken("Bearer", guard.ErrNoCredentials))}, nil,
			"", want{401, []string{badBearerLine}, "", invalidTokenBody}},
		{"a wrapped denial is a refusal, also for want of credentials",
			[]guard.Authenticator{refusedAs(fmt.Errorf("x: %w", guard.InvalidToken("Bearer", guard.ErrNoCredentials)))}, nil,
			"", want{401, []string{badBearerLine}, "", invalidTokenBody}},
		{"a nil *Denial is 503", []guard.Authenticator{refusedAs((*guard.Denial)(nil))}, nil,
			"", want{503, nil, "1", unavailableBody}},
		{"a denial without a status is 500", []guard.Authenticator{refusedAs(&guard.Denial{Err: errSecret})}, nil,
			"", want{500, nil, "", problemBody(500, "", "")}},
		{"a principal beside an error does not count",
			[]guard.Authenticator{&authenticator{bearer().challenge, func(*http.Request) (*identity.Principal, error) { return ada, errSecret }}}, nil,
			"", want{503, nil, "1", unavailableBody}},
		{"a principal beside ErrNoCredentials does not count",
			[]guard.Authenticator{&authenticator{bearer().challenge, func(*http.Request) (*identity.Principal, error) { return ada, guard.ErrNoCredentials }}}, nil,
			"nobody", want{200, nil, "", "hello nobody"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.authenticators == nil {
				test.authenticators = []guard.Authenticator{bearer(), apiKeys()}
			}
			next, heard := new(spy), new(events)
			hooks := guard.Hooks{Observe: heard.observe}
			w := serve(hooks.Identify(test.authenticators...)(next), get("/", test.header...))
			test.want.check(t, w)
			if got := strings.Join(next.callers, ","); got != test.caller {
				t.Errorf("next ran for %q, want %q", got, test.caller)
			}
			if refused := test.caller == ""; refused != (len(heard.all) == 1) {
				t.Errorf("%d events, want one for each refusal and no other", len(heard.all))
			}
		})
	}
}

// The next authenticator is asked, so that two kinds are noticed, but its
// answer never saves what another one refused.
func TestIdentifyAsksEachAuthenticatorOnce(t *testing.T) {
	asked := map[string]int{}
	count := func(a *authenticator) *authenticator {
		inner := a.authenticate
		a.authenticate = func(r *http.Request) (*identity.Principal, error) {
			asked[a.challenge.Scheme]++
			return inner(r)
		}
		return a
	}
	next := new(spy)
	w := serve(guard.Hooks{}.Identify(count(bearer()), count(apiKeys()))(next), get("/", "Authorization: Bearer bad"))
	want{401, []string{badBearerLine, keyLine}, "", invalidTokenBody}.check(t, w)
	if next.ran() || asked["Bearer"] != 1 || asked["ApiKey"] != 1 {
		t.Errorf("next ran = %v, asked = %v", next.ran(), asked)
	}
}

func TestIdentifyMistakes(t *testing.T) {
	scheme := func(c guard.Challenge) guard.Authenticator { return &authenticator{challenge: c} }
	tests := []struct {
		name           string
		authenticators []guard.Authenticator
		says           string
	}{
		{"no authenticator", nil, "at least one"},
		{"a nil authenticator", []guard.Authenticator{bearer(), nil}, "authenticator 1 is nil"},
		{"no scheme", []guard.Authenticator{scheme(guard.Challenge{})}, `scheme ""`},
		{"a scheme that is no token", []guard.Authenticator{scheme(guard.Challenge{Scheme: "Api Key"})}, `scheme "Api Key"`},
		{"two of bearer tokens", []guard.Authenticator{bearer(), apiKeys(), bearer()}, "token.NewVerifiers"},
		{"two of one scheme in another case", []guard.Authenticator{scheme(guard.Challenge{Scheme: "bearer", Realm: "a"}), scheme(guard.Challenge{Scheme: "BEARER"})}, "token.NewVerifiers"},
		{"two with one challenge", []guard.Authenticator{apiKeys(), apiKeys()}, "Realm"},
		{"a standing error code", []guard.Authenticator{scheme(guard.Challenge{Scheme: "Bearer", Error: "invalid_token"})}, "Error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, f := range map[string]func(){
				"Identify": func() { guard.Hooks{}.Identify(test.authenticators...) },
				"NewMux":   func() { guard.NewMux(guard.Hooks{}, test.authenticators...) },
				"Accept":   func() { guard.Hooks{}.Accept(test.authenticators...) },
			} {
				if name == "NewMux" && len(test.authenticators) == 0 || name == "Accept" && strings.HasPrefix(test.name, "two") {
					continue
				}
				if text := mustPanic(t, f); !strings.Contains(text, test.says) {
					t.Errorf("%s panics with %q, want %q in it", name, text, test.says)
				}
			}
		})
	}
}

func TestInactiveCallersAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		header string
		asked  int
		want   want
	}{
		{"an active caller passes", nil, "Authorization: Bearer ada", 1,
			want{200, nil, "", "hello ada"}},
		{"a disabled caller is 401", guard.ErrInactive, "Authorization: Bearer ada", 1,
			want{401, []string{badBearerLine, keyLine}, "", invalidTokenBody}},
		{"a disabled owner of a key is 401, in the scheme of the key", guard.ErrInactive, "X-Api-Key: robot", 1,
			want{401, []string{badKeyLine, bearerLine}, "", invalidTokenBody}},
		{"a wrapped ErrInactive is 401", fmt.Errorf("SECRET-REASON: %w", guard.ErrInactive), "Authorization: Bearer ada", 1,
			want{401, []string{badBearerLine, keyLine}, "", invalidTokenBody}},
		{"a denial of the host's own stands", guard.Forbidden(guard.ErrInactive), "Authorization: Bearer ada", 1,
			want{403, nil, "", forbiddenBody}},
		{"a store that does not answer is 503", errSecret, "Authorization: Bearer ada", 1,
			want{503, nil, "1", unavailableBody}},
		{"a nil *Denial is 503", (*guard.Denial)(nil), "Authorization: Bearer ada", 1,
			want{503, nil, "1", unavailableBody}},
		{"nobody asks about an anonymous request", guard.ErrInactive, "Accept: */*", 0,
			want{200, nil, "", "hello nobody"}},
		{"nobody asks about bad credentials", nil, "Authorization: Bearer bad", 0,
			want{401, []string{badBearerLine, keyLine}, "", invalidTokenBody}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			asked := 0
			hooks := guard.Hooks{Active: func(ctx context.Context, p *identity.Principal) error {
				asked++
				if got, _ := identity.FromContext(ctx); got != p {
					t.Errorf("the context has %v, want %v", got, p)
				}
				return test.err
			}}
			next := new(spy)
			h := hooks.Identify(bearer(), apiKeys())(hooks.Require(func(*http.Request) error { return nil })(next))
			test.want.check(t, serve(h, get("/", test.header)))
			if asked != test.asked {
				t.Errorf("asked %d times, want %d", asked, test.asked)
			}
			if next.ran() != (test.want.status == 200) {
				t.Errorf("next ran = %v", next.ran())
			}
		})
	}
}

// hostsOwn is the adapter of a host with a login of its own.
func hostsOwn(p *identity.Principal, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), p)))
	})
}

func TestIdentifyWithinAHostsOwnLogin(t *testing.T) {
	bob := &identity.Principal{Issuer: "sessions", Subject: "bob"}
	tests := []struct {
		name, header string
		caller       string
	}{
		{"an anonymous request keeps the host's caller", "Accept: */*", "bob"},
		{"a credential beside the host's caller is ambiguous", "Authorization: Bearer ada", ""},
		{"a bad credential is refused in spite of the host's caller", "Authorization: Bearer bad", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			next := new(spy)
			serve(hostsOwn(bob, guard.Hooks{}.Identify(bearer())(next)), get("/", test.header))
			if got := strings.Join(next.callers, ","); got != test.caller {
				t.Errorf("next ran for %q, want %q", got, test.caller)
			}
		})
	}
}

// A request with a session of the host's own and an API key is refused,
// whichever middleware comes first.
func TestASessionOfTheHostsOwnBesideAKeyIsRefusedInAnyOrder(t *testing.T) {
	hooks := guard.Hooks{}
	bob := func(next http.Handler) http.Handler {
		return hostsOwn(&identity.Principal{Issuer: "sessions", Subject: "bob"}, next)
	}
	keys := apiKeys()
	identify := hooks.Identify(keys)
	for name, chain := range map[string]func(http.Handler) http.Handler{
		"the session outside": func(h http.Handler) http.Handler { return bob(identify(h)) },
		"the session inside":  func(h http.Handler) http.Handler { return identify(bob(h)) },
		"two sessions": func(h http.Handler) http.Handler {
			return bob(hostsOwn(&identity.Principal{Issuer: "sso", Subject: "bob"}, identify(h)))
		},
		"around a mux": func(h http.Handler) http.Handler {
			mux := guard.NewMux(hooks, keys)
			mux.Handle("/", h)
			return bob(mux)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, guarded := range map[string]func(http.Handler) http.Handler{
				"Authenticated": hooks.Authenticated,
				"Accept":        hooks.Accept(keys),
				"Require":       hooks.Require(func(r *http.Request) error { _, err := guard.Caller(r); return err }),
			} {
				next := new(spy)
				w := serve(chain(guarded(next)), get("/", "X-Api-Key: robot"))
				if next.ran() || w.Code != 400 {
					t.Errorf("%s: answered %d, next ran for %v; want 400", kind, w.Code, next.callers)
				}
			}
		})
	}
	t.Run("one that a mux identifies after the tenant was changed", func(t *testing.T) {
		in := func(tenant string) *identity.Principal { return &identity.Principal{Subject: "robot", Tenant: tenant} }
		a := apiKeys()
		a.authenticate = func(*http.Request) (*identity.Principal, error) { return in("acme"), nil }
		for tenant, want := range map[string]int{"acme": 200, "umbrella": 400} {
			next := new(spy)
			if w := serve(hostsOwn(in(tenant), hooks.Identify(a)(hooks.Authenticated(next))), get("/")); w.Code != want {
				t.Errorf("%s: answered %d, want %d", tenant, w.Code, want)
			}
		}
	})
}

func TestIdentifyWithinIdentify(t *testing.T) {
	same := bearer()
	twins := bearer() // takes the bearer token for another person
	twins.authenticate = func(r *http.Request) (*identity.Principal, error) {
		return &identity.Principal{Issuer: "elsewhere", Subject: "ada's twin"}, nil
	}
	tests := []struct {
		name         string
		outer, inner guard.Authenticator
		header       []string
		caller       string
		want         want
	}{
		{"an anonymous request is asked for all kinds", apiKeys(), bearer(), nil,
			"", want{401, []string{bearerLine, keyLine}, "", unauthenticatedBody}},
		{"a bad inner credential names the outer kind too", apiKeys(), bearer(), []string{"Authorization: Bearer bad"},
			"", want{401, []string{badBearerLine, keyLine}, "", invalidTokenBody}},
		{"a scheme is asked for once", same, same, nil,
			"", want{401, []string{bearerLine}, "", unauthenticatedBody}},
		{"the outer caller stays", apiKeys(), bearer(), []string{"X-Api-Key: robot"},
			"robot", want{200, nil, "", "hello robot"}},
		{"the same caller twice is one", same, same, []string{"Authorization: Bearer ada"},
			"ada", want{200, nil, "", "hello ada"}},
		{"credentials of two kinds are 400", apiKeys(), bearer(), []string{"X-Api-Key: robot", "Authorization: Bearer ada"},
			"", want{400, nil, "", twoKindsBody}},
		{"two readings of one credential are 400", bearer(), twins, []string{"Authorization: Bearer ada"},
			"", want{400, nil, "", twoKindsBody}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			hooks, next := guard.Hooks{}, new(spy)
			inner := hooks.Identify(test.inner)(hooks.Authenticated(next))
			if test.inner == twins {
				inner = http.HandlerFunc(inner.ServeHTTP) // hidden from the outer Identify
			}
			h := hooks.Identify(test.outer)(inner)
			test.want.check(t, serve(h, get("/", test.header...)))
			if got := strings.Join(next.callers, ","); got != test.caller {
				t.Errorf("next ran for %q, want %q", got, test.caller)
			}
		})
	}
}

func TestIdentifyWithinIdentifyRefusesAnotherAuthenticatorOfBearerTokens(t *testing.T) {
	hooks := guard.Hooks{}
	inner := hooks.Identify(bearer())(hooks.Authenticated(new(spy)))
	for name, register := range map[string]func(){
		"Identify": func() { hooks.Identify(apiKeys(), bearer())(inner) },
		"Mux":      func() { guard.NewMux(hooks, bearer()).Handle("GET /", inner) },
	} {
		if got := mustPanic(t, register); !strings.Contains(got, "token.NewVerifiers") {
			t.Errorf("%s: got %s, want a panic that names token.NewVerifiers", name, got)
		}
	}
	hooks.Identify(apiKeys())(inner)
}

func TestHolderOutsideSeesTheCaller(t *testing.T) {
	tests := []struct {
		name, header, want string
	}{
		{"a caller", "Authorization: Bearer ada", "ada"},
		{"a caller who is refused afterwards", "Authorization: Bearer eve", "eve"},
		{"an anonymous request", "Accept: */*", ""},
		{"bad credentials", "Authorization: Bearer bad", ""},
	}
	hooks := guard.Hooks{Active: func(_ context.Context, p *identity.Principal) error {
		if p.Subject == "eve" {
			return guard.ErrInactive
		}
		return nil
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// As an access log does it.
			r := get("/", test.header)
			ctx, holder := identity.WithHolder(r.Context())
			serve(hooks.Identify(bearer())(new(spy)), r.WithContext(ctx))
			got := ""
			if p := holder.Principal(); p != nil {
				got = p.Subject
			}
			if got != test.want {
				t.Errorf("the holder has %q, want %q", got, test.want)
			}
		})
	}
}

func TestConcurrentRequestsSeeTheirOwnCaller(t *testing.T) {
	hooks := guard.Hooks{Active: func(context.Context, *identity.Principal) error { return nil }}
	h := hooks.Identify(bearer(), apiKeys())(hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := guard.Caller(r)
		if err != nil {
			t.Error(err)
			return
		}
		subject := p.Subject
		p.Subject = "changed by the handler"
		w.Write([]byte(subject))
	})))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				name := fmt.Sprintf("user-%d-%d", i, j)
				header := "Authorization: Bearer " + name
				if i%2 == 0 {
					header = "X-Api-Key: " + name
				}
				if w := serve(h, get("/", header)); w.Code != 200 || w.Body.String() != name {
					t.Errorf("%s is taken for %q (%d)", name, w.Body, w.Code)
				}
			}
		})
	}
	wg.Wait()
}

// An authenticator may leave work behind, a usage record say, that logs with
// the request's context.
func TestAuthenticatorMayKeepTheContext(t *testing.T) {
	var wg sync.WaitGroup
	a := bearer()
	inner := a.authenticate
	a.authenticate = func(r *http.Request) (*identity.Principal, error) {
		ctx := context.WithoutCancel(r.Context())
		wg.Go(func() {
			for range 100 {
				identity.FromContext(ctx)
			}
		})
		return inner(r)
	}
	for range 20 {
		serve(guard.Hooks{}.Identify(a)(new(spy)), get("/", "Authorization: Bearer ada"))
	}
	wg.Wait()
}

// funcAuthenticator cannot be compared: == on two of them panics.
type funcAuthenticator func(*http.Request) (*identity.Principal, error)

func (f funcAuthenticator) Authenticate(r *http.Request) (*identity.Principal, error) { return f(r) }
func (f funcAuthenticator) Challenge() guard.Challenge                                { return guard.Challenge{Scheme: "Func"} }

func TestAcceptTakesCallersOfItsAuthenticatorsOnly(t *testing.T) {
	tokens, keys := bearer(), apiKeys()
	tests := []struct {
		name   string
		header string
		caller string
		want   want
	}{
		{"the wanted kind passes", "X-Api-Key: robot", "robot", want{200, nil, "", "hello robot"}},
		// The other kind would not help here, so it is not asked for.
		{"another kind is refused as if it were none", "Authorization: Bearer ada", "", want{401, []string{keyLine}, "", unauthenticatedBody}},
		{"no credentials are refused", "Accept: */*", "", want{401, []string{keyLine}, "", unauthenticatedBody}},
		{"bad credentials are refused before", "X-Api-Key: bad", "", want{401, []string{badKeyLine, bearerLine}, "", invalidTokenBody}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			hooks, next := guard.Hooks{}, new(spy)
			w := serve(hooks.Identify(tokens, keys)(hooks.Accept(keys)(next)), get("/", test.header))
			test.want.check(t, w)
			if got := strings.Join(next.callers, ","); got != test.caller {
				t.Errorf("next ran for %q, want %q", got, test.caller)
			}
		})
	}
	t.Run("a caller of the host's own is of no kind", func(t *testing.T) {
		hooks, next := guard.Hooks{}, new(spy)
		h := hostsOwn(&identity.Principal{Subject: "bob"}, hooks.Identify(tokens, keys)(hooks.Accept(keys, tokens)(next)))
		want{401, []string{keyLine, bearerLine}, "", unauthenticatedBody}.check(t, serve(h, get("/")))
		if next.ran() {
			t.Error("next ran")
		}
	})
	t.Run("nobody passes where nobody identifies", func(t *testing.T) {
		next := new(spy)
		want{401, []string{keyLine}, "", unauthenticatedBody}.check(t, serve(guard.Hooks{}.Accept(keys)(next), get("/", "X-Api-Key: robot")))
		if next.ran() {
			t.Error("next ran")
		}
	})
	t.Run("the kind of an outer Identify counts", func(t *testing.T) {
		hooks, next := guard.Hooks{}, new(spy)
		h := hooks.Identify(keys)(hooks.Identify(tokens)(hooks.Accept(keys)(next)))
		want{200, nil, "", "hello robot"}.check(t, serve(h, get("/", "X-Api-Key: robot")))
	})
	t.Run("a host that replaces the caller takes the kind away", func(t *testing.T) {
		hooks, next := guard.Hooks{}, new(spy)
		h := hooks.Identify(keys)(hostsOwn(&identity.Principal{Subject: "bob"}, hooks.Accept(keys)(next)))
		want{400, nil, "", twoKindsBody}.check(t, serve(h, get("/", "X-Api-Key: robot")))
		// On purpose: as an administrator acts as a user.
		h = hooks.Identify(keys)(hostsOwn(nil, hostsOwn(&identity.Principal{Subject: "bob"}, hooks.Accept(keys)(next))))
		want{401, []string{keyLine}, "", unauthenticatedBody}.check(t, serve(h, get("/", "X-Api-Key: robot")))
		if next.ran() {
			t.Errorf("next ran for %v", next.callers)
		}
	})
	t.Run("an authenticator that cannot be compared is a mistake at start-up", func(t *testing.T) {
		f := funcAuthenticator(func(*http.Request) (*identity.Principal, error) { return &identity.Principal{Subject: "f"}, nil })
		if text := mustPanic(t, func() { guard.Hooks{}.Accept(f) }); !strings.Contains(text, "compare") {
			t.Errorf("panic: %q", text)
		}
		next := new(spy)
		serve(guard.Hooks{}.Identify(f)(guard.Hooks{}.Identify(f)(next)), get("/"))
		if !next.ran() {
			t.Error("Identify does not take it")
		}
	})
}

func TestOnceLoadsOncePerRequestAndKey(t *testing.T) {
	type keyA struct{}
	type keyB struct{}
	// within runs f inside of an Identify.
	within := func(t *testing.T, f func(ctx context.Context)) {
		t.Helper()
		ran := false
		serve(guard.Hooks{}.Identify(bearer())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ran = true
			f(r.Context())
		})), get("/", "Authorization: Bearer ada"))
		if !ran {
			t.Fatal("next did not run")
		}
	}
	loads := 0
	load := func() (int, error) { loads++; return loads, nil }
	failing := func() (int, error) { loads++; return loads, errSecret }

	t.Run("loads once for each key", func(t *testing.T) {
		loads = 0
		within(t, func(ctx context.Context) {
			for range 3 {
				if n, err := guard.Once(ctx, keyA{}, load); n != 1 || err != nil {
					t.Errorf("a: %d, %v", n, err)
				}
			}
			if n, err := guard.Once(ctx, keyB{}, load); n != 2 || err != nil {
				t.Errorf("b: %d, %v", n, err)
			}
			if n, err := guard.Once(context.WithValue(ctx, keyA{}, 1), keyA{}, load); n != 1 || err != nil {
				t.Errorf("a in a derived context: %d, %v", n, err)
			}
		})
	})
	t.Run("loads for each request", func(t *testing.T) {
		loads = 0
		for i := range 3 {
			within(t, func(ctx context.Context) {
				if n, _ := guard.Once(ctx, keyA{}, load); n != i+1 {
					t.Errorf("request %d gets %d", i, n)
				}
			})
		}
	})
	t.Run("remembers errors", func(t *testing.T) {
		loads = 0
		within(t, func(ctx context.Context) {
			for range 3 {
				if n, err := guard.Once(ctx, keyA{}, failing); n != 1 || err != error(errSecret) {
					t.Errorf("%d, %v", n, err)
				}
			}
			if loads != 1 {
				t.Errorf("%d loads, want 1", loads)
			}
		})
	})
	t.Run("loads each time outside of Identify", func(t *testing.T) {
		loads = 0
		for i := range 3 {
			if n, err := guard.Once(t.Context(), keyA{}, load); n != i+1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
	})
	t.Run("remembers nil of an interface type", func(t *testing.T) {
		loads = 0
		within(t, func(ctx context.Context) {
			for range 2 {
				v, err := guard.Once(ctx, keyA{}, func() (fmt.Stringer, error) { loads++; return nil, nil })
				if v != nil || err != nil || loads != 1 {
					t.Errorf("%v, %v after %d loads", v, err, loads)
				}
			}
		})
	})
	t.Run("remembers a nil pointer", func(t *testing.T) {
		within(t, func(ctx context.Context) {
			for range 2 {
				if v, err := guard.Once(ctx, keyA{}, func() (*spy, error) { return nil, nil }); v != nil || err != nil {
					t.Errorf("%v, %v", v, err)
				}
			}
		})
	})
	t.Run("keeps values of different types under one key apart", func(t *testing.T) {
		within(t, func(ctx context.Context) {
			n, err := guard.Once(ctx, keyA{}, func() (int, error) { return 7, nil })
			if n != 7 || err != nil {
				t.Errorf("%v, %v", n, err)
			}
			s, err := guard.Once(ctx, keyA{}, func() (string, error) { return "seven", nil })
			if s != "seven" || err != nil {
				t.Errorf("%v, %v", s, err)
			}
		})
	})
	t.Run("makes a second goroutine wait for the first", func(t *testing.T) {
		loads = 0
		within(t, func(ctx context.Context) {
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					if n, err := guard.Once(ctx, keyA{}, load); n != 1 || err != nil {
						t.Errorf("%d, %v", n, err)
					}
				})
			}
			wg.Wait()
		})
	})
	t.Run("may be called by a load of another key", func(t *testing.T) {
		loads = 0
		within(t, func(ctx context.Context) {
			n, err := guard.Once(ctx, keyA{}, func() (int, error) {
				m, err := guard.Once(ctx, keyB{}, load)
				return m + 10, err
			})
			if n != 11 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
	})
	t.Run("is shared by Active, guards and the handler", func(t *testing.T) {
		loads = 0
		hooks := guard.Hooks{Active: func(ctx context.Context, _ *identity.Principal) error {
			_, err := guard.Once(ctx, keyA{}, load)
			return err
		}}
		again := func(r *http.Request) error { _, err := guard.Once(r.Context(), keyA{}, load); return err }
		next := new(spy)
		serve(hooks.Identify(bearer())(hooks.Require(again)(hooks.Require(again)(next))), get("/", "Authorization: Bearer ada"))
		if !next.ran() || loads != 1 {
			t.Errorf("next ran = %v, %d loads, want 1", next.ran(), loads)
		}
	})
	t.Run("forgets when an inner Identify finds another caller", func(t *testing.T) {
		loads = 0
		hooks := guard.Hooks{}
		user := func(r *http.Request) (string, error) {
			return guard.Once(r.Context(), keyA{}, func() (string, error) {
				if p, ok := identity.FromContext(r.Context()); ok {
					return p.Subject, nil
				}
				return "nobody", nil
			})
		}
		var seen []string
		look := func(r *http.Request) error { u, err := user(r); seen = append(seen, u); return err }
		next := new(spy)
		h := hooks.Identify(apiKeys())(hooks.Require(look)(hooks.Identify(bearer())(hooks.Require(look)(next))))
		serve(h, get("/", "Authorization: Bearer ada"))
		if got := strings.Join(seen, ","); got != "nobody,ada" {
			t.Errorf("the guards see %q", got)
		}
	})
	t.Run("survives a key that is no map key", func(t *testing.T) {
		loads = 0
		within(t, func(ctx context.Context) {
			mustPanic(t, func() { guard.Once(ctx, []int{1}, load) })
			if n, err := guard.Once(ctx, keyA{}, load); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
	})
	t.Run("never takes a load that panicked for a success", func(t *testing.T) {
		within(t, func(ctx context.Context) {
			for range 2 {
				mustPanic(t, func() { guard.Once(ctx, keyA{}, func() (int, error) { panic(errors.New("load")) }) })
			}
		})
	})
}
