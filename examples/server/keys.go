package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// API keys: users make them for their programs, see them once, replace and
// revoke them.

// maxKeys is how many keys somebody may have that have not ended.
const maxKeys = 50

// usualLife is how long a key lasts that was asked for without an end, and
// longestLife how long one lasts at most.
const (
	usualLife   = 90 * 24 * time.Hour
	longestLife = 10 * 365 * 24 * time.Hour
)

// protected is GET /protected/.
func (a *app) protected(w http.ResponseWriter, r *http.Request) {
	record, err := a.apiKeys.Record(r.Context())
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"message": "Access granted", "key_name": record.Name})
}

// A shownKey is what its owner may see of a key.
type shownKey struct {
	Key string `json:"key,omitempty"` // when it is made, and never again

	ID              string         `json:"id"`
	Name            string         `json:"name"`
	Active          bool           `json:"is_active"`
	Created         time.Time      `json:"created_at"`
	Expires         *time.Time     `json:"expires_at"` // null: it does not
	Revoked         *time.Time     `json:"revoked_at"`
	LastUsed        *time.Time     `json:"last_used_at"`
	Successor       string         `json:"successor,omitempty"`
	Roles           identity.Set   `json:"roles"`
	Scopes          identity.Set   `json:"scopes"`
	AllowedPrefixes []netip.Prefix `json:"allowed_prefixes"`
}

func shown(k apikey.Record) shownKey {
	orNull := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC()
		return &t
	}
	return shownKey{
		ID:              k.ID,
		Name:            k.Name,
		Active:          k.Active,
		Created:         k.CreatedAt.UTC(),
		Expires:         orNull(k.End()),
		Revoked:         orNull(k.RevokedAt),
		LastUsed:        orNull(k.LastUsedAt),
		Successor:       k.Successor,
		Roles:           k.Roles,
		Scopes:          k.Scopes,
		AllowedPrefixes: append([]netip.Prefix{}, k.AllowedPrefixes...),
	}
}

// listKeys is GET /keys/.
func (a *app) listKeys(w http.ResponseWriter, r *http.Request) {
	p, err := guard.Caller(r)
	var all []apikey.Record
	if err == nil {
		all, err = a.keyManager.List(r.Context(), p.Subject)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	out := make([]shownKey, 0, len(all))
	for _, one := range all {
		out = append(out, shown(one))
	}
	writeJSON(w, http.StatusOK, out)
}

// createKey is POST /keys/. The answer is the only time that the key is shown.
func (a *app) createKey(w http.ResponseWriter, r *http.Request) {
	secret, record, err := a.newKey(w, r)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeKey(w, secret, record)
}

func writeKey(w http.ResponseWriter, secret apikey.Secret, record apikey.Record) {
	out := shown(record)
	out.Key = secret.Plain()
	w.Header().Set("Location", "/keys/"+record.ID)
	writeJSON(w, http.StatusCreated, out)
}

func (a *app) newKey(w http.ResponseWriter, r *http.Request) (secret apikey.Secret, record apikey.Record, err error) {
	p, err := guard.Caller(r)
	if err != nil {
		return secret, record, err
	}
	u, err := a.current(r)
	if err != nil {
		return secret, record, err
	}
	var in struct {
		name            string
		roles, scopes   []string
		expiresIn       int64 // seconds, as of OAuth's expires_in
		allowedPrefixes []netip.Prefix
	}
	in.expiresIn = int64(usualLife / time.Second)
	err = a.readJSON(w, r, map[string]any{
		"name":             &in.name,
		"roles":            &in.roles,
		"scopes":           &in.scopes,
		"expires_in":       &in.expiresIn,
		"allowed_prefixes": &in.allowedPrefixes,
	})
	if err != nil {
		return secret, record, err
	}
	spec := apikey.Spec{
		Owner:           p.Subject,
		Name:            in.name,
		Roles:           identity.NewSet(in.roles...),
		Scopes:          identity.NewSet(in.scopes...),
		AllowedPrefixes: in.allowedPrefixes,
	}
	var errs []error
	// Not more than the token that asks: it may have been made for less than
	// its owner has.
	if missing := unknown(in.scopes, slices.Collect(p.Scopes.All())); len(missing) > 0 {
		errs = append(errs, fmt.Errorf("scopes: the token that asks does not have %q", missing))
	}
	if missing := unknown(in.roles, slices.Collect(u.Roles.All())); len(missing) > 0 {
		errs = append(errs, fmt.Errorf("roles: the caller does not have %q", missing))
	}
	if longest := int64(longestLife / time.Second); in.expiresIn < 1 || in.expiresIn > longest {
		errs = append(errs, fmt.Errorf("expires_in: must be 1 to %d seconds", longest))
	} else {
		spec.ExpiresAt = time.Now().Add(time.Duration(in.expiresIn) * time.Second)
	}
	if err := errors.Join(errs...); err != nil {
		return secret, record, invalid(err)
	}
	secret, record, err = a.keyManager.Issue(r.Context(), p, spec)
	switch {
	case errors.Is(err, apikey.ErrSpec):
		err = invalidKey(err)
	case errors.Is(err, apikey.ErrTooMany):
		err = tooMany("There are as many keys as one may have. Please revoke one.")
	}
	return secret, record, err
}

// invalidKey says what is wrong with a key that was asked for, by the names that
// the members of the body have.
func invalidKey(err error) error {
	text := strings.TrimPrefix(err.Error(), apikey.ErrSpec.Error()+": ")
	return invalid(errors.New(strings.NewReplacer(
		"Spec.Name", "name",
		"Spec.Roles", "roles",
		"Spec.Scopes", "scopes",
		"Spec.ExpiresAt", "expires_in: the end of the key",
		"Spec.AllowedPrefixes", "allowed_prefixes",
		"Spec.", "",
	).Replace(text)))
}

func tooMany(detail string) error {
	return &guard.Denial{Status: http.StatusConflict, Code: "too_many", Detail: detail}
}

// rotateKey is POST /keys/{id}/rotate. Without a body the old key ends at
// once; {"overlap": 86400} leaves it a day.
func (a *app) rotateKey(w http.ResponseWriter, r *http.Request) {
	secret, record, err := a.replaceKey(w, r)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeKey(w, secret, record)
}

func (a *app) replaceKey(w http.ResponseWriter, r *http.Request) (secret apikey.Secret, record apikey.Record, err error) {
	p, err := guard.Caller(r)
	if err != nil {
		return secret, record, err
	}
	old, err := a.ownKey(r)
	if err != nil {
		return secret, record, err
	}
	// Or a token for little would get a key for much. Roles are the user's and
	// not the token's, and a key has those that its owner has today.
	if !p.Scopes.Contains(old.Scopes) {
		return secret, record, guard.Forbidden(errors.New("the key is good for more than the token that asks"))
	}
	var overlap int64
	if r.ContentLength != 0 {
		if err := a.readJSON(w, r, map[string]any{"overlap": &overlap}); err != nil {
			return secret, record, err
		}
	}
	const longest = int64(30 * 24 * time.Hour / time.Second)
	if overlap < 0 || overlap > longest {
		return secret, record, invalid(fmt.Errorf("overlap: must be 0 to %d seconds", longest))
	}
	secret, record, err = a.keyManager.Rotate(r.Context(), p, old.ID, time.Duration(overlap)*time.Second)
	if errors.Is(err, apikey.ErrAlreadyRotated) || errors.Is(err, apikey.ErrNotRotatable) || errors.Is(err, apikey.ErrConflict) {
		err = &guard.Denial{Status: http.StatusConflict, Code: "conflict", Detail: "The key was replaced or has ended.", Err: err}
	}
	if errors.Is(err, apikey.ErrTooMany) {
		err = tooMany("There are as many keys as one may have. Please revoke one.")
	}
	return secret, record, err
}

// revokeKey is DELETE /keys/{id}.
func (a *app) revokeKey(w http.ResponseWriter, r *http.Request) {
	key, err := a.ownKey(r)
	if err == nil {
		err = a.keyManager.Revoke(context.WithoutCancel(r.Context()), key.ID)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ownKey returns the key of the path. Somebody else's is answered as one that
// does not exist.
func (a *app) ownKey(r *http.Request) (apikey.Record, error) {
	p, err := guard.Caller(r)
	if err != nil {
		return apikey.Record{}, err
	}
	record, err := a.keyManager.Owned(r.Context(), p.Subject, r.PathValue("id"))
	if errors.Is(err, apikey.ErrNotFound) {
		err = notFound()
	}
	return record, err
}

// revokeKeysOf ends all keys of a user.
func (a *app) revokeKeysOf(ctx context.Context, u *user) error {
	all, err := a.keyManager.List(ctx, strconv.FormatInt(u.ID, 10))
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := a.keyManager.Revoke(ctx, one.ID); err != nil {
			return err
		}
	}
	return nil
}
