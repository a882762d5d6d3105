package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/rbac"
)

// What administrators look at: the users, and who may do what and why.

// maxUsers is how many users a list has.
const maxUsers = 200

// listUsers is GET /admin/users.
func (a *app) listUsers(w http.ResponseWriter, r *http.Request) {
	all, err := a.users.list(r.Context())
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	out := make([]account, 0, len(all))
	for _, u := range all {
		out = append(out, account{u.ID, profileOf(u), u.Roles, u.Permissions})
	}
	writeJSON(w, http.StatusOK, out)
}

// list returns the first users by their ID.
func (s users) list(ctx context.Context) ([]*user, error) {
	ids, err := s.ids(ctx)
	if err != nil {
		return nil, err
	}
	var all []*user
	for _, id := range ids[:min(len(ids), maxUsers)] {
		u, err := userByID(ctx, s.db, id)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// A right is whether a role has a permission, and why.
type right struct {
	Role       string `json:"role"`
	Permission string `json:"permission"`
	Allowed    bool   `json:"allowed"`
	Why        string `json:"why"`
}

// showPolicy is GET /admin/policy.
func (a *app) showPolicy(w http.ResponseWriter, _ *http.Request) {
	list := a.access.Listing()
	out := []right{}
	for _, role := range rolesOfPeople(list) {
		for _, permission := range slices.Sorted(slices.Values(list.Permissions())) {
			why := list.Why(role, permission)
			out = append(out, right{role, permission, why.Verdict == rbac.Allowed, why.String()})
		}
	}
	writeJSON(w, http.StatusOK, out)
}

// A policyChange is what a role gains or loses by another policy.
type policyChange struct {
	Role       string `json:"role"`
	Permission string `json:"permission"`
	Change     string `json:"change"` // "gains", "loses", or "differs": it is denied instead of not allowed, or the other way round
	Before     string `json:"before"` // why
	After      string `json:"after"`
}

// comparePolicies is POST /admin/policy/diff: what changes from the policy in force, or
// from another, to a policy of the body. It changes nothing.
func (a *app) comparePolicies(w http.ResponseWriter, r *http.Request) {
	var before, after string
	if err := a.readJSON(w, r, map[string]any{"before": &before, "after": &after}); err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	var errs []error
	listing := func(member, text string) *rbac.Listing {
		policy, err := policyOf([]byte(text))
		var list *rbac.Listing
		if err == nil {
			list, err = policy.Listing(&permissions)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s", member, strings.ReplaceAll(err.Error(), "rbac: ", "")))
		}
		return list
	}
	from := a.access.Listing()
	if before != "" {
		from = listing("before", before)
	}
	to := listing("after", after)
	if err := errors.Join(errs...); err != nil {
		a.hooks.Refuse(w, r, invalid(err))
		return
	}
	why := func(in *rbac.Listing, role string, w rbac.Witness) string {
		if !slices.Contains(in.Roles(), role) {
			return "there is no such role"
		}
		return w.String()
	}
	out := []policyChange{}
	for _, c := range from.Diff(to) {
		what := "differs"
		switch {
		case c.Gained():
			what = "gains"
		case c.Lost():
			what = "loses"
		}
		out = append(out, policyChange{c.Role, c.Permission, what, why(from, c.Role, c.Before), why(to, c.Role, c.After)})
	}
	writeJSON(w, http.StatusOK, out)
}
