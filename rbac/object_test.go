package rbac_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

const notFound = `{"title":"Not Found","status":404,"code":"not_found","detail":"There is nothing here."}` + "\n"

func TestOwned(t *testing.T) {
	const us = "https://auth.example.com"
	ada := func(roles ...string) *identity.Principal {
		p := caller(roles...)
		p.Tenant = "acme"
		return p
	}
	elsewhere := ada()
	elsewhere.Issuer = "https://elsewhere.example.com"
	homeless := caller("admin")
	for _, test := range []struct {
		name   string
		p      *identity.Principal
		object rbac.Object
		err    error
		status int
		reason string
	}{
		{"the owner", ada(), rbac.Object{Tenant: "acme", Issuer: us, Owner: "ada"}, nil, 204, ""},
		{"who has the permission", ada("admin"), rbac.Object{Tenant: "acme", Issuer: us, Owner: "bob"}, nil, 204, ""},
		{"who has the permission, of nobody's object", ada("admin"), rbac.Object{Tenant: "acme"}, nil, 204, ""},
		{"somebody else", ada("user"), rbac.Object{Tenant: "acme", Issuer: us, Owner: "bob"}, nil, 404, "neither owns the object"},
		{"somebody else, of a visible object", ada("user"), rbac.Object{Tenant: "acme", Issuer: us, Owner: "bob", Visible: true}, nil, 403, "neither owns the object"},
		{"nobody's object", ada("user"), rbac.Object{Tenant: "acme", Issuer: us}, nil, 404, "neither owns the object"},
		{"the owner's name at another issuer", elsewhere, rbac.Object{Tenant: "acme", Issuer: us, Owner: "ada"}, nil, 404, "neither owns the object"},
		{"an object without an issuer", ada(), rbac.Object{Tenant: "acme", Owner: "ada"}, nil, 404, "neither owns the object"},
		{"the owner in other case", ada(), rbac.Object{Tenant: "acme", Issuer: us, Owner: "Ada"}, nil, 404, "neither owns the object"},
		{"the owner, to whom a role denies it", ada("suspended"), rbac.Object{Tenant: "acme", Issuer: us, Owner: "ada"}, nil, 403, "has a role that denies"},
		{"the owner with the permission, to whom a role denies it", ada("admin", "auditor"), rbac.Object{Tenant: "acme", Issuer: us, Owner: "ada"}, nil, 403, "has a role that denies"},
		{"the owner, in another tenant", ada(), rbac.Object{Tenant: "globex", Issuer: us, Owner: "ada"}, nil, 404, `requests an object of tenant "globex"`},
		{"who has the permission, in another tenant", ada("root"), rbac.Object{Tenant: "globex", Issuer: us, Owner: "bob"}, nil, 404, `requests an object of tenant "globex"`},
		{"another tenant's object that is visible", ada("root"), rbac.Object{Tenant: "globex", Visible: true}, nil, 404, `requests an object of tenant "globex"`},
		{"an object of no tenant", ada("root"), rbac.Object{Issuer: us, Owner: "ada"}, nil, 404, `requests an object of tenant ""`},
		{"a caller of no tenant and an object of one", homeless, rbac.Object{Tenant: "acme", Issuer: us, Owner: "ada"}, nil, 404, `"ada" of tenant "" requests an object of tenant "acme"`},
		{"neither has a tenant", homeless, rbac.Object{}, nil, 204, ""},
		{"no such object", ada("root"), rbac.Object{Tenant: "acme", Issuer: us, Owner: "ada"}, rbac.ErrNotFound, 404, "no such object"},
		{"no such object, wrapped", ada(), rbac.Object{Tenant: "acme", Issuer: us, Owner: "ada"}, fmt.Errorf("note 7: %w", rbac.ErrNotFound), 404, "note 7"},
		{"a store that fails", ada("root"), rbac.Object{Tenant: "acme", Issuer: us, Owner: "ada"}, errors.New("connection refused"), 503, "rbac: loading the object: connection refused"},
		{"a denial of the host's own", ada("root"), rbac.Object{Tenant: "acme"}, &guard.Denial{Status: 410, Code: "gone"}, 410, ""},
		{"the zero Object", ada("root"), rbac.Object{}, nil, 404, ""},
		{"nobody", nil, rbac.Object{}, nil, 401, "no credentials"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var heard audit
			a := newApp()
			e := a.engine(t, rbac.Config{Hooks: heard.hooks()})
			loaded := false
			got := ask(test.p, e.Owned(a.remove, func(*http.Request) (rbac.Object, error) {
				loaded = true
				return test.object, test.err
			}))
			got.is(t, test.status)
			switch test.status {
			case 403:
				if got.body != forbidden {
					t.Errorf("body %s", got.body)
				}
			case 404:
				if got.body != notFound {
					t.Errorf("body %s", got.body)
				}
			}
			contains(t, heard.last(), test.reason)
			if refusedOutright := test.p == nil || test.reason == "has a role that denies"; loaded == refusedOutright {
				t.Errorf("loaded: %v", loaded)
			}
			// A 404 that hides a refusal is one for the audit trail.
			if test.status == 404 {
				want := guard.EventAuthzFail
				if test.err != nil {
					want = (&audit{}).nameOf(404)
				}
				if name := heard.events[0].Name; name != want {
					t.Errorf("event %s, want %s", name, want)
				}
			}
			if test.err == nil && test.p != nil {
				err := e.CheckObject(as(test.p), a.remove, test.object)
				if (err == nil) != (test.status == 204) {
					t.Errorf("CheckObject returns %v", err)
				}
				rows, err := e.Rows(as(test.p), a.remove)
				if match := err == nil && rows.Match(test.object); match != (test.status == 204) {
					t.Errorf("%+v match the object: %v, %v", rows, match, err)
				}
			}
		})
	}
}

// nameOf returns the event that guard makes of a bare denial.
func (a *audit) nameOf(status int) guard.EventName {
	a.hooks().Refuse(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), &guard.Denial{Status: status})
	return a.events[0].Name
}

func TestARefusedObjectLooksLikeNoRoute(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	mux := guard.NewMux(guard.Hooks{}, demo{caller("user")})
	mux.Handle("GET /notes/{id}", e.Owned(a.remove, func(r *http.Request) (rbac.Object, error) {
		if r.PathValue("id") == "1" {
			return rbac.Object{Owner: "bob"}, nil
		}
		return rbac.Object{}, rbac.ErrNotFound
	})(nothing))
	var answers []string
	for _, path := range []string{"/notes/1", "/notes/2", "/elsewhere"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		// The ServeMux within has set this one before guard takes over.
		w.Header().Del("X-Content-Type-Options")
		answers = append(answers, fmt.Sprint(w.Code, w.Header(), w.Body))
	}
	if answers[0] != answers[1] || answers[1] != answers[2] {
		t.Errorf("the answers differ:\n%s\n%s\n%s", answers[0], answers[1], answers[2])
	}
}

func TestARequestThatEndsWhileTheObjectIsLoadedIsRefused(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	ctx, cancel := context.WithCancel(as(caller("root")))
	got := askIn(ctx, e.Owned(a.read, func(*http.Request) (rbac.Object, error) {
		cancel()
		return rbac.Object{}, nil
	}))
	got.is(t, 499)
}

// What Rows lets into a list is what CheckObject lets through one by one, and
// what the rule says in other words.
func TestRowsAreWhatOwnedLetsThrough(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	let := 0
	for range 50_000 {
		p := &identity.Principal{
			Issuer:  pick("x", "y"),
			Subject: pick("ada", "bob"),
			Tenant:  pick("", "acme", "globex"),
			Roles:   identity.NewSet(pick("user", "admin", "auditor", "unknown"), pick("", "suspended", "root", "user")),
		}
		o := rbac.Object{
			Tenant: pick("", "acme", "globex"), Issuer: pick("", "x", "y"), Owner: pick("", "ada", "bob"),
			Visible: random.IntN(2) == 0,
		}
		suspended := p.Roles.Has("suspended") || p.Roles.Has("auditor")
		permitted := p.Roles.Has("admin") || p.Roles.Has("root")
		want := !suspended && o.Tenant == p.Tenant && (permitted || o.Issuer == p.Issuer && o.Owner == p.Subject)

		rows, err := e.Rows(as(p), a.remove)
		if match := rows.Match(o); match != want || err != nil && match || (err != nil) != suspended {
			t.Fatalf("%+v: rows %+v, %v match %+v: %v, want %v", p, rows, err, o, match, want)
		}
		if err := e.CheckObject(as(p), a.remove, o); (err == nil) != want {
			t.Fatalf("%+v: CheckObject of %+v returns %v, want one: %v", p, o, err, !want)
		}
		if want {
			let++
		}
	}
	if let < 1000 {
		t.Errorf("only %d were let through: too few to prove much", let)
	}
	if (rbac.Rows{}).Match(rbac.Object{}) {
		t.Error("the zero Rows match the zero Object")
	}
}
