package main

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

// An item is something that belongs to a user.
type item struct {
	ID      int64     `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	owner   int64
}

const (
	maxItems     = 100 // of one user
	maxItemsName = 200 // bytes
)

// listItems is GET /items/.
func (a *app) listItems(w http.ResponseWriter, r *http.Request) {
	u, err := a.current(r)
	var all []item
	if err == nil {
		all, err = a.items.ofOwner(r.Context(), u.ID)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, all)
}

// createItem is POST /items/.
func (a *app) createItem(w http.ResponseWriter, r *http.Request) {
	one, err := a.newItem(w, r)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.Header().Set("Location", "/items/"+strconv.FormatInt(one.ID, 10))
	writeJSON(w, http.StatusCreated, one)
}

func (a *app) newItem(w http.ResponseWriter, r *http.Request) (*item, error) {
	u, err := a.current(r)
	if err != nil {
		return nil, err
	}
	var name string
	if err := a.readJSON(w, r, map[string]any{"name": &name}); err != nil {
		return nil, err
	}
	if name = strings.TrimSpace(name); name == "" || len(name) > maxItemsName || strings.ContainsFunc(name, unicode.IsControl) {
		return nil, invalid(errors.New("name: must have 1 to 200 bytes and no control characters"))
	}
	return a.items.create(r.Context(), u.ID, name)
}

// deleteItem is DELETE /items/{id}, for the owner and whoever may delete the
// items of others.
func (a *app) deleteItem(w http.ResponseWriter, r *http.Request) {
	one, err := a.itemOf(r) // the one that the guard has judged
	if err == nil {
		err = a.items.delete(r.Context(), one.ID)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

type itemKey struct{}

// itemOf returns the item of the path, loaded once per request.
func (a *app) itemOf(r *http.Request) (*item, error) {
	return guard.Once(r.Context(), itemKey{}, func() (*item, error) {
		id, ok := parseID(r.PathValue("id"))
		if !ok {
			return nil, rbac.ErrNotFound
		}
		return a.items.byID(r.Context(), id)
	})
}

// ownerOfItem tells the guard whose item it is. The subjects of tokens and of
// API keys are user IDs here, so either may be the owner.
func (a *app) ownerOfItem(r *http.Request) (rbac.Object, error) {
	p, ok := identity.FromContext(r.Context())
	if !ok {
		return rbac.Object{}, guard.Unauthenticated()
	}
	one, err := a.itemOf(r)
	if err != nil {
		return rbac.Object{}, err
	}
	return rbac.Object{Tenant: p.Tenant, Issuer: p.Issuer, Owner: strconv.FormatInt(one.owner, 10)}, nil
}

// items is the table of items.
type items struct{ db *sql.DB }

func (s items) ofOwner(ctx context.Context, owner int64) ([]item, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, name, created FROM items WHERE owner = $1 ORDER BY id", owner)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make([]item, 0)
	for rows.Next() {
		one := item{owner: owner}
		var created int64
		if err := rows.Scan(&one.ID, &one.Name, &created); err != nil {
			return nil, err
		}
		one.Created = time.UnixMicro(created).UTC()
		all = append(all, one)
	}
	return all, rows.Err()
}

func (s items) byID(ctx context.Context, id int64) (*item, error) {
	one := item{ID: id}
	var created int64
	err := s.db.QueryRowContext(ctx, "SELECT name, created, owner FROM items WHERE id = $1", id).Scan(&one.Name, &created, &one.owner)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, rbac.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	one.Created = time.UnixMicro(created).UTC()
	return &one, nil
}

// create adds an item, unless its owner has as many as are allowed. It holds the
// owner while it counts and writes, so that many at once do not get past it.
func (s items) create(ctx context.Context, owner int64, name string) (*item, error) {
	one := item{Name: name, Created: time.Now().UTC().Truncate(time.Microsecond), owner: owner}
	err := locked(ctx, s.db, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `INSERT INTO items (owner, name, created)
			SELECT $1, $2, $3 WHERE (SELECT count(*) FROM items WHERE owner = $1) < $4 RETURNING id`,
			owner, name, one.Created.UnixMicro(), maxItems).Scan(&one.ID)
	}, owner)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tooMany("There are as many items as one may have.")
	}
	if err != nil {
		return nil, err
	}
	return &one, nil
}

func (s items) delete(ctx context.Context, id int64) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM items WHERE id = $1", id)
	return err
}
