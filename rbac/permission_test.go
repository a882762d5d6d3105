package rbac_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/rbac"
)

// perms is as a host has it: package variables, in an order that the compiler
// works out.
var (
	deleteUsers = perms.Permission("users:delete")
	perms       rbac.Registry
	readUsers   = perms.Permission("users:read")
)

func TestPermissionsArePackageVariables(t *testing.T) {
	e := must(rbac.New(rbac.Policy{Roles: map[string]rbac.Role{
		"user":  {Allow: rbac.Names(readUsers)},
		"admin": {Allow: rbac.Names(readUsers, deleteUsers)},
	}}, rbac.Config{Permissions: &perms}))(t)
	for _, test := range []struct {
		role       string
		permission rbac.Permission
		want       bool
	}{
		{"user", readUsers, true},
		{"user", deleteUsers, false},
		{"admin", readUsers, true},
		{"admin", deleteUsers, true},
	} {
		if got := e.Can(t.Context(), caller(test.role), test.permission); got != test.want {
			t.Errorf("%s can %s: %v, want %v", test.role, test.permission, got, test.want)
		}
	}
}

// A string, misspelt or not, is no Permission: such code does not compile.
func TestAPermissionCannotBeMadeOfAString(t *testing.T) {
	permission := reflect.TypeFor[rbac.Permission]()
	if reflect.TypeFor[string]().ConvertibleTo(permission) {
		t.Error("a string converts to a Permission")
	}
	for field := range permission.Fields() {
		if field.IsExported() {
			t.Errorf("others can set %s", field.Name)
		}
	}
}

func TestDeclaringAPermissionWronglyPanics(t *testing.T) {
	for _, test := range []struct{ name, permission, want string }{
		{"no name", "", "the name is empty"},
		{"a wildcard", "users:*", "the name has a *"},
		{"a space", "users: read", "the name has the character ' '"},
		{"a reserved character", "users|read", "the name has the character '|'"},
		{"an empty segment", "users::read", "the name has an empty segment"},
		{"too long", strings.Repeat("x", 129), "the name has 129 bytes"},
		{"twice", "users:read", `"users:read" is declared already`},
		{"twice in other case", "Users:Read", `"users:read" is declared already`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r rbac.Registry
			r.Permission("users:read")
			contains(t, panics(t, func() { r.Permission(test.permission) }), "rbac: Permission(", test.want)
		})
	}
	t.Run("after New", func(t *testing.T) {
		a := newApp()
		a.engine(t, rbac.Config{})
		contains(t, panics(t, func() { a.perms.Permission("late") }), `rbac: Permission("late") is declared after New`)
	})
	t.Run("too many", func(t *testing.T) {
		var r rbac.Registry
		for i := range 16384 {
			r.Permission(fmt.Sprint(i))
		}
		contains(t, panics(t, func() { r.Permission("more") }), "the registry is full; use at most 16384 permissions")
	})
	t.Run("128 bytes are fine", func(t *testing.T) {
		var r rbac.Registry
		if got := r.Permission(strings.Repeat("x", 128)).String(); len(got) != 128 {
			t.Error(got)
		}
	})
}

func TestAPermissionOfSomethingElseIsGrantedToNobody(t *testing.T) {
	a, other := newApp(), newApp()
	e := a.engine(t, rbac.Config{})
	ofThePolicy := must(rbac.New(rbac.Policy{
		Permissions: []string{"users:read"},
		Roles:       map[string]rbac.Role{"user": {Allow: []string{"*"}}},
	}, rbac.Config{}))(t)
	fromAnotherEngine := must(ofThePolicy.Permission("users:read"))(t)
	for _, test := range []struct {
		name       string
		permission rbac.Permission
	}{
		{"the zero Permission", rbac.Permission{}},
		{"one of another registry, of the same name", other.read},
		{"one of another engine's policy", fromAnotherEngine},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := caller("root")
			if e.Can(t.Context(), p, test.permission) {
				t.Error("Can is true")
			}
			for _, err := range []error{
				e.Check(as(p), test.permission),
				e.CheckAny(as(p), test.permission),
				e.CheckObject(as(p), test.permission, rbac.Object{Issuer: p.Issuer, Owner: p.Subject}),
			} {
				if err == nil {
					t.Fatal("no error")
				}
				contains(t, err.Error(), "403 forbidden", "a permission that is not of this Engine")
			}
			if message := panics(t, func() { e.Require(test.permission) }); !strings.Contains(message, "is neither in Config.Permissions") {
				t.Errorf("Require panics with %q", message)
			}
		})
	}
	// Without a registry, the zero Permission must not pass for one of it.
	if ofThePolicy.Can(t.Context(), caller("user"), rbac.Permission{}) {
		t.Error("the zero Permission is granted by an engine without a registry")
	}
	if ofThePolicy.Can(t.Context(), caller("user"), a.read) || !ofThePolicy.Can(t.Context(), caller("user"), fromAnotherEngine) {
		t.Error("an engine without a registry confuses permissions")
	}
}

func TestPermissionsByName(t *testing.T) {
	a := newApp()
	policy := appPolicy()
	policy.Permissions = []string{"reports:print", "users:read"}
	policy.Roles["clerk"] = rbac.Role{Allow: []string{"reports:print"}}
	e := must(rbac.New(policy, rbac.Config{Permissions: &a.perms}))(t)

	if got := must(e.Permission("users:read"))(t); got != a.read {
		t.Errorf("the code's permission by name is %#v, want %#v", got, a.read)
	}
	printing := must(e.Permission("reports:print"))(t)
	if printing.String() != "reports:print" || printing != must(e.Permission("reports:print"))(t) {
		t.Errorf("got %v", printing)
	}
	if !e.Can(t.Context(), caller("clerk"), printing) || e.Can(t.Context(), caller("user"), printing) || !e.Can(t.Context(), caller("root"), printing) {
		t.Error("a permission of the policy alone is decided wrongly")
	}
	if p, err := e.Permission("reports:*"); err == nil {
		t.Errorf("got %v, want an error", p)
	}
	if p, err := e.Permission("nothing"); err == nil || p != (rbac.Permission{}) {
		t.Errorf("got %v, %v, want an error", p, err)
	}

	// A later policy declares it elsewhere, and another not at all.
	policy.Permissions = []string{"aaa", "bbb", "reports:print"}
	if err := e.Reload(policy); err != nil {
		t.Fatal(err)
	}
	if !e.Can(t.Context(), caller("clerk"), printing) || e.Can(t.Context(), caller("user"), printing) {
		t.Error("after a reload a permission of the policy is decided wrongly")
	}
	if err := e.Reload(appPolicy()); err != nil {
		t.Fatal(err)
	}
	p := caller("root")
	if e.Can(t.Context(), p, printing) {
		t.Error("root has a permission that is not declared any more")
	}
	for _, err := range []error{
		e.Check(as(p), printing),
		e.CheckObject(as(p), printing, rbac.Object{Issuer: p.Issuer, Owner: p.Subject}),
	} {
		if err == nil {
			t.Fatal("a permission that is not declared any more passes")
		}
		contains(t, err.Error(), "the policy does not declare")
	}
	contains(t, panics(t, func() { e.Require(printing) }), "does not declare it")
}
