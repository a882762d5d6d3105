package rbac_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

// large is an engine with 100 roles and 1,000 permissions: a hierarchy ten
// deep, of which each role has ten permissions of its own, wildcards and
// denials among them.
func large(tb testing.TB, config rbac.Config) (*rbac.Engine, []rbac.Permission) {
	var perms rbac.Registry
	var all []rbac.Permission
	for i := range 1000 {
		all = append(all, perms.Permission(fmt.Sprintf("resource-%02d:action-%02d", i/10, i%10)))
	}
	policy := rbac.Policy{Roles: map[string]rbac.Role{}}
	for i := range 100 {
		r := rbac.Role{Allow: []string{fmt.Sprintf("resource-%02d:*", i)}}
		if i%10 != 0 {
			r.Inherits = []string{fmt.Sprintf("role-%02d", i-1)}
		}
		if i%7 == 0 {
			r.Deny = []string{fmt.Sprintf("resource-%02d:action-09", i)}
		}
		policy.Roles[fmt.Sprintf("role-%02d", i)] = r
	}
	config.Permissions = &perms
	return must(rbac.New(policy, config))(tb), all
}

// employee has three of the roles.
func employee() *identity.Principal {
	return &identity.Principal{
		Issuer:  "https://auth.example.com",
		Subject: "user-1234567890",
		Roles:   identity.NewSet("role-17", "role-42", "role-99"),
	}
}

func benchmarkCan(b *testing.B, p *identity.Principal, want bool) {
	e, all := large(b, rbac.Config{})
	ctx := context.Background()
	permission := all[425]
	if e.Can(ctx, p, permission) != want {
		b.Fatalf("Can is not %v", want)
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Can(ctx, p, permission)
	}
}

func BenchmarkCan(b *testing.B) { benchmarkCan(b, employee(), true) }

func BenchmarkCanOneRole(b *testing.B) {
	p := employee()
	p.Roles = identity.NewSet("role-42")
	benchmarkCan(b, p, true)
}

func BenchmarkCanParallel(b *testing.B) {
	e, all := large(b, rbac.Config{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx, p := context.Background(), employee()
		for pb.Next() {
			e.Can(ctx, p, all[425])
		}
	})
}

// A role that the policy does not have keeps a set from being remembered.
func BenchmarkCanUnknownRole(b *testing.B) {
	p := employee()
	p.Roles = p.Roles.With("not-a-role")
	benchmarkCan(b, p, true)
}

func hostile(n int) *identity.Principal {
	p := employee()
	for i := range n - p.Roles.Len() {
		p.Roles = p.Roles.With(fmt.Sprintf("unknown-%04d", i))
	}
	return p
}

func BenchmarkCanHostile256Roles(b *testing.B)  { benchmarkCan(b, hostile(256), true) }
func BenchmarkCanHostile1000Roles(b *testing.B) { benchmarkCan(b, hostile(1000), false) }

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// within runs f with a request as Identify leaves it behind.
func within(p *identity.Principal, f func(*http.Request)) {
	guard.Hooks{}.Identify(demo{p})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(r)
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

// demo is an authenticator that recognises everybody as p.
type demo struct{ p *identity.Principal }

func (d demo) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer", Realm: "demo"} }

func (d demo) Authenticate(*http.Request) (*identity.Principal, error) {
	own := *d.p
	return &own, nil
}

func benchmarkGuard(b *testing.B, config rbac.Config, p *identity.Principal, guarded func(*rbac.Engine, []rbac.Permission) http.Handler) {
	e, all := large(b, config)
	h := guarded(e, all)
	within(p, func(r *http.Request) {
		w := &discard{http.Header{}}
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(w, r)
		}
	})
}

// BenchmarkRequire is the guard alone: what it adds to a request.
func BenchmarkRequire(b *testing.B) {
	benchmarkGuard(b, rbac.Config{}, employee(), func(e *rbac.Engine, all []rbac.Permission) http.Handler {
		return e.Require(all[425])(nothing)
	})
}

func BenchmarkRequireFour(b *testing.B) {
	benchmarkGuard(b, rbac.Config{}, employee(), func(e *rbac.Engine, all []rbac.Permission) http.Handler {
		return e.Require(all[425], all[424], all[423], all[995])(nothing)
	})
}

func BenchmarkRequireRole(b *testing.B) {
	benchmarkGuard(b, rbac.Config{}, employee(), func(e *rbac.Engine, _ []rbac.Permission) http.Handler {
		return e.RequireRole("role-40")(nothing)
	})
}

func BenchmarkOwned(b *testing.B) {
	p := employee()
	benchmarkGuard(b, rbac.Config{}, p, func(e *rbac.Engine, all []rbac.Permission) http.Handler {
		return e.Owned(all[500], func(*http.Request) (rbac.Object, error) {
			return rbac.Object{Issuer: p.Issuer, Owner: p.Subject}, nil
		})(nothing)
	})
}

// The second guard and later ones of a request, with Config.Roles.
func BenchmarkRequireLoadedRoles(b *testing.B) {
	roles := []string{"role-17", "role-42", "role-99"}
	config := rbac.Config{Roles: func(context.Context, *identity.Principal) ([]string, error) { return roles, nil }}
	benchmarkGuard(b, config, employee(), func(e *rbac.Engine, all []rbac.Permission) http.Handler {
		return e.Require(all[425])(nothing)
	})
}

func BenchmarkRequireRefused(b *testing.B) {
	benchmarkGuard(b, rbac.Config{}, employee(), func(e *rbac.Engine, all []rbac.Permission) http.Handler {
		return e.Require(all[500])(nothing)
	})
}

func BenchmarkRequireHostile1000RolesRefused(b *testing.B) {
	benchmarkGuard(b, rbac.Config{}, hostile(1000), func(e *rbac.Engine, all []rbac.Permission) http.Handler {
		return e.Require(all[500])(nothing)
	})
}

// BenchmarkReload is what a new policy of this size costs.
func BenchmarkReload(b *testing.B) {
	var policy rbac.Policy
	policy.Roles = map[string]rbac.Role{}
	for i := range 1000 {
		policy.Permissions = append(policy.Permissions, fmt.Sprintf("resource-%02d:action-%02d", i/10, i%10))
	}
	for i := range 100 {
		policy.Roles[fmt.Sprintf("role-%02d", i)] = rbac.Role{Allow: []string{fmt.Sprintf("resource-%02d:*", i)}}
	}
	e := must(rbac.New(policy, rbac.Config{}))(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Reload(policy); err != nil {
			b.Fatal(err)
		}
	}
}

// must returns a function that fails the test if there is an error, and
// otherwise returns v.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}
