package main

import (
	"context"
	"net/http"
	"slices"

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
