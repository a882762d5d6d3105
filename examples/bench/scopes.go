package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/scopes"
)

// scopesJobs compares asking for three scopes of a token that has ten. The peer
// is no library but what hosts write by hand: strings.Fields of the claim, and
// slices.Contains for each scope and for each that implies it.
func scopesJobs() []job {
	const claim = "openid profile read:items write:items delete:items orders:read orders:write read:users write:users admin:users"
	wanted := []string{"read:items", "orders:read", "write:items"}
	implied := []string{"list:items", "list:orders", "draft:items"}
	above := map[string][]string{ // what the naive reading needs of the same hierarchy
		"list:items": {"list:items", "read:items"}, "list:orders": {"list:orders", "orders:read"}, "draft:items": {"draft:items", "write:items"},
	}
	m := must(scopes.New(scopes.Config{Implies: map[string][]string{
		"read:items": {"list:items"}, "orders:read": {"list:orders"}, "write:items": {"draft:items"},
	}}))
	ctx := identity.NewContext(context.Background(), &identity.Principal{Issuer: "tokens", Subject: "ada", Scopes: identity.ParseSet(claim)})

	const naive = "Fields+Contains"
	check := func(asked []string) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if m.Check(ctx, asked...) != nil {
					fail(b, "refused")
				}
			}
		}
	}
	byHand := func(has func([]string) bool) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !has(strings.Fields(claim)) {
					fail(b, "refused")
				}
			}
		}
	}
	hasAll := func(granted []string) bool {
		for _, s := range wanted {
			if !slices.Contains(granted, s) {
				return false
			}
		}
		return true
	}
	hasImplied := func(granted []string) bool {
		for _, s := range implied {
			if !slices.ContainsFunc(above[s], func(a string) bool { return slices.Contains(granted, a) }) {
				return false
			}
		}
		return true
	}
	type claimKey struct{}
	route := func(has func([]string) bool) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			granted, ok := r.Context().Value(claimKey{}).(string)
			if !ok || !has(strings.Fields(granted)) {
				http.Error(w, "Forbidden", http.StatusForbidden)
				return
			}
			handled(w, r)
		})
	}
	guarded := func(h http.Handler, byPeer bool) func(*testing.B) {
		return func(b *testing.B) {
			r := request("")
			if byPeer {
				r = r.WithContext(context.WithValue(r.Context(), claimKey{}, claim))
			} else {
				r = r.WithContext(ctx)
			}
			b.ReportAllocs()
			w := &sink{header: make(http.Header)}
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		}
	}
	none := guard.Hooks{}.Authenticated(http.HandlerFunc(handled))
	return []job{
		{"scopes, 3 of 10", naive, map[string]func(*testing.B){naive: byHand(hasAll), "gatewright": check(wanted)}, "<= 30 ns, 0 allocs"},
		{"scopes, 3 of 10, implied", naive, map[string]func(*testing.B){naive: byHand(hasImplied), "gatewright": check(implied)}, "<= 1"},
		{"scopes, guard of 3", naive, map[string]func(*testing.B){
			naive: guarded(route(hasAll), true), "gatewright": guarded(m.Require(wanted...)(http.HandlerFunc(handled)), false)}, "<= 60 ns, 0 allocs"},
		{"scopes, guard of 3, implied", naive, map[string]func(*testing.B){
			naive: guarded(route(hasImplied), true), "gatewright": guarded(m.Require(implied...)(http.HandlerFunc(handled)), false)}, "<= 60 ns, 0 allocs"},
		{"scopes, guard of 3 beside Authenticated", "Authenticated", map[string]func(*testing.B){
			"Authenticated": guarded(none, false), "gatewright": guarded(m.Require(wanted...)(http.HandlerFunc(handled)), false)}, "<= 30 ns more"},
	}
}
