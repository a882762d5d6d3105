package rbac_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

func rolesAre(roles ...string) func(context.Context, *identity.Principal) ([]string, error) {
	return func(context.Context, *identity.Principal) ([]string, error) { return roles, nil }
}

func TestWhoIsRefusedWhateverThePolicySays(t *testing.T) {
	a := newApp()
	cancelled, cancel := context.WithCancel(as(caller("root")))
	cancel()
	late, cancel := context.WithTimeout(as(caller("root")), -1)
	defer cancel()
	noSubject := caller("root")
	noSubject.Subject = ""
	for _, test := range []struct {
		name   string
		config rbac.Config
		ctx    context.Context
		status int
		reason string
	}{
		{"nobody", rbac.Config{}, context.Background(), 401, "no credentials"},
		{"nobody, with roles from the host", rbac.Config{Roles: rolesAre("root")}, context.Background(), 401, "no credentials"},
		{"a nil principal", rbac.Config{}, identity.NewContext(context.Background(), nil), 401, "no credentials"},
		{"an empty subject", rbac.Config{}, as(noSubject), 403, "Principal.Subject is empty"},
		{"an empty subject, with roles from the host", rbac.Config{Roles: rolesAre("root")}, as(noSubject), 403, "Principal.Subject is empty"},
		{"a request that was cancelled", rbac.Config{}, cancelled, 499, "context canceled"},
		{"a request whose time is over", rbac.Config{}, late, 503, "deadline exceeded"},
		{"no tenant where there are tenants", rbac.Config{Tenants: true}, as(caller("root")), 403, "Principal.Tenant is empty"},
		{"no tenant, with roles from the host", rbac.Config{Tenants: true, Roles: rolesAre("root")}, as(caller("root")), 403, "Principal.Tenant is empty"},
		{"a store that fails", rbac.Config{Roles: func(context.Context, *identity.Principal) ([]string, error) {
			return []string{"root"}, errors.New("connection refused")
		}}, as(caller("root")), 503, `rbac: the roles of "ada": connection refused`},
		{"a store that fails with a refusal of another system", rbac.Config{Roles: func(context.Context, *identity.Principal) ([]string, error) {
			return []string{"root"}, fmt.Errorf("calling it: %w", guard.Forbidden(errors.New("its caller may not")))
		}}, as(caller("root")), 503, "its caller may not"},
		{"an account that is disabled", rbac.Config{Roles: func(context.Context, *identity.Principal) ([]string, error) {
			return []string{"root"}, guard.ErrInactive
		}}, as(caller("root")), 401, "account is not active"},
		{"a denial of the host's own", rbac.Config{Roles: func(context.Context, *identity.Principal) ([]string, error) {
			return nil, guard.Forbidden(errors.New("not on a Sunday"))
		}}, as(caller("root")), 403, "not on a Sunday"},
		{"a nil denial as an error", rbac.Config{Roles: func(context.Context, *identity.Principal) ([]string, error) {
			var d *guard.Denial
			return []string{"root"}, d
		}}, as(caller("root")), 503, ""},
		{"roles that the host took away", rbac.Config{Roles: rolesAre("user")}, as(caller("root")), 403, "has no role"},
		{"no roles from the host", rbac.Config{Roles: rolesAre()}, as(caller("root")), 403, "has no role"},
		{"blank roles from the host", rbac.Config{Roles: rolesAre("", "")}, as(caller("root")), 403, "has no role"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var heard audit
			test.config.Hooks = heard.hooks()
			e := a.engine(t, test.config)
			guards := map[string]func(http.Handler) http.Handler{
				"Require":     e.Require(a.remove),
				"RequireAny":  e.RequireAny(a.remove, a.write),
				"RequireRole": e.RequireRole("root"),
				"Owned": e.Owned(a.remove, func(*http.Request) (rbac.Object, error) {
					if test.status != 403 || test.reason != "has no role" {
						t.Error("the object of somebody who is refused was loaded")
					}
					return rbac.Object{Owner: "somebody", Visible: true}, nil
				}),
			}
			for name, guarded := range guards {
				t.Run(name, func(t *testing.T) {
					got := askIn(test.ctx, guarded)
					got.is(t, test.status)
					if got.status == 403 && got.body != forbidden {
						t.Errorf("body %s", got.body)
					}
					if name != "RequireRole" && name != "Owned" || test.reason != "has no role" {
						contains(t, heard.last(), test.reason)
					}
				})
			}
			if p, ok := identity.FromContext(test.ctx); e.Can(test.ctx, p, a.remove) {
				t.Error("Can is true of somebody who is refused, identified:", ok)
			}
			if rows, err := e.Rows(test.ctx, a.remove); (err == nil) != (test.reason == "has no role") || rows.All {
				t.Errorf("Rows returns %+v, %v", rows, err)
			}
		})
	}
}

func TestTheHostsRolesCountAndNotTheCredentials(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{Roles: rolesAre("admin")})
	ask(caller("user"), e.Require(a.remove)).is(t, 204)
	e = a.engine(t, rbac.Config{Roles: rolesAre("user", "user", "admin")})
	ask(caller(), e.Require(a.remove)).is(t, 204)
}

func TestAPanicInAFunctionOfTheHostLetsNobodyIn(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{Roles: func(context.Context, *identity.Principal) ([]string, error) { panic("roles") }})
	plain := a.engine(t, rbac.Config{})
	for name, guarded := range map[string]func(http.Handler) http.Handler{
		"roles":  e.Require(a.read),
		"loader": plain.Owned(a.read, func(*http.Request) (rbac.Object, error) { panic("loader") }),
	} {
		ran := false
		h := guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
		for range 2 {
			// Twice within one request, for the second guard finds what the
			// first one left behind.
			within(caller("root"), func(r *http.Request) {
				for range 2 {
					if message := panics(t, func() { h.ServeHTTP(httptest.NewRecorder(), r) }); message != name {
						t.Errorf("panic %q, want %q", message, name)
					}
				}
			})
		}
		if ran {
			t.Errorf("%s: the handler ran", name)
		}
	}
}

func TestTheRolesAreLoadedOncePerRequest(t *testing.T) {
	a := newApp()
	loads := 0
	var fails error
	e := a.engine(t, rbac.Config{Roles: func(_ context.Context, p *identity.Principal) ([]string, error) {
		loads++
		if p.Tenant == "b" {
			return []string{"user"}, fails
		}
		return []string{"admin"}, fails
	}})
	h := e.Require(a.read)(e.RequireAny(a.remove)(e.RequireRole("admin")(nothing)))
	within(caller(), func(r *http.Request) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 || loads != 1 {
			t.Errorf("status %d after %d loads, want 200 after 1", w.Code, loads)
		}
		p, _ := identity.FromContext(r.Context())
		e.Can(r.Context(), p, a.read)
		if loads != 1 {
			t.Errorf("a handler's question made it %d loads", loads)
		}

		// Somebody else, or the same elsewhere, is not who was asked about.
		for _, change := range []func(*identity.Principal){
			func(p *identity.Principal) { p.Tenant = "b" },
			func(p *identity.Principal) { p.Subject, p.Tenant = "bob", "b" },
			func(p *identity.Principal) { p.Issuer, p.Tenant = "elsewhere", "b" },
		} {
			other := *p
			change(&other)
			if e.Can(r.Context(), &other, a.remove) {
				t.Errorf("%+v has the roles of %+v", other, *p)
			}
		}
		if loads != 4 {
			t.Errorf("%d loads, want 4", loads)
		}
		if !e.Can(r.Context(), p, a.remove) || loads != 4 {
			t.Errorf("the caller's own roles were forgotten, %d loads", loads)
		}
	})

	// Another credential of the same person may have other roles.
	within(caller(), func(r *http.Request) {
		loads = 0
		p, _ := identity.FromContext(r.Context())
		for _, change := range []func(*identity.Principal){
			func(*identity.Principal) {},
			func(p *identity.Principal) { p.Subject = "bob" },
			func(p *identity.Principal) { p.Issuer = "elsewhere" },
			func(p *identity.Principal) { p.Tenant = "b" },
			func(p *identity.Principal) { p.Credential = "a key" },
		} {
			before := loads
			other := *p
			change(&other)
			e.Can(r.Context(), &other, a.read)
			if loads != before+1 {
				t.Errorf("%+v: no load of its own", other)
			}
		}
	})

	// Another request asks again, and an error is remembered as well.
	loads, fails = 0, errors.New("down")
	within(caller(), func(r *http.Request) {
		for range 3 {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 503 || loads != 1 {
				t.Errorf("status %d after %d loads, want 503 after 1", w.Code, loads)
			}
		}
	})

	// Two engines do not share what they were told.
	fails = nil
	none := a.engine(t, rbac.Config{Roles: rolesAre()})
	within(caller(), func(r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		if !e.Can(r.Context(), p, a.remove) || none.Can(r.Context(), p, a.remove) {
			t.Error("one engine has the roles of another")
		}
	})
}

func TestRolesThatWereLoadedWhileTheRequestEndedDoNotCount(t *testing.T) {
	a := newApp()
	ctx, cancel := context.WithCancel(as(caller()))
	loads := 0
	e := a.engine(t, rbac.Config{Roles: func(context.Context, *identity.Principal) ([]string, error) {
		loads++
		cancel()
		return []string{"root"}, nil // "suspended" was to follow
	}})
	askIn(ctx, e.Require(a.read)).is(t, 499)
	if loads != 1 {
		t.Errorf("%d loads, want 1", loads)
	}
	// Nor for the rest of a request of which one part had less time.
	within(caller(), func(r *http.Request) {
		var short context.Context
		short, cancel = context.WithCancel(r.Context())
		p, _ := identity.FromContext(short)
		if e.Can(short, p, a.read) || e.Can(r.Context(), p, a.read) || loads != 2 {
			t.Errorf("half a list of roles counts, after %d loads", loads)
		}
	})
}

func TestALongConnectionMayAskForTheRolesAnew(t *testing.T) {
	a := newApp()
	roles := []string{"admin"}
	e := a.engine(t, rbac.Config{Roles: func(context.Context, *identity.Principal) ([]string, error) { return roles, nil }})
	within(caller(), func(r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		if err := e.Check(r.Context(), a.remove); err != nil {
			t.Fatal(err)
		}
		roles = []string{"user"}
		// As the package documentation says.
		if e.Check(identity.NewContext(context.Background(), p), a.remove) == nil {
			t.Error("who is no admin any more still passes")
		}
	})
}

func TestAnAPIKeyKeepsWhatItWasCutDownTo(t *testing.T) {
	a := newApp()
	owners := map[string]identity.Set{"ada": identity.NewSet("admin", "user")}
	// As the comment of Config.Roles says.
	e := a.engine(t, rbac.Config{Roles: func(_ context.Context, p *identity.Principal) ([]string, error) {
		var roles []string
		for role := range owners[p.Subject].All() {
			if p.Issuer != "apikey:acme" || p.Roles.Has(role) {
				roles = append(roles, role)
			}
		}
		return roles, nil
	}})
	key := &identity.Principal{Issuer: "apikey:acme", Subject: "ada", Credential: "k1", Roles: identity.NewSet("user", "moderator")}
	ask(caller(), e.Require(a.remove)).is(t, 204)
	ask(key, e.Require(a.remove)).is(t, 403)
	ask(key, e.Require(a.read)).is(t, 204)
	ask(key, e.Require(a.edit)).is(t, 403)
}

func TestTenants(t *testing.T) {
	a := newApp()
	memberships := map[string][]string{"acme": {"admin"}, "globex": {"user"}}
	e := a.engine(t, rbac.Config{Tenants: true, Roles: func(_ context.Context, p *identity.Principal) ([]string, error) {
		return memberships[p.Tenant], nil
	}})
	for _, test := range []struct {
		tenant string
		status int
	}{{"acme", 204}, {"globex", 403}, {"initech", 403}, {"", 403}, {"*", 403}} {
		p := caller("root")
		p.Tenant = test.tenant
		got := ask(p, e.Require(a.remove))
		got.is(t, test.status)
		if test.status == 403 && got.body != forbidden {
			t.Errorf("body %s", got.body)
		}
	}
}
