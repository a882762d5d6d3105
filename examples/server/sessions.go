package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/sqlstore"
)

// A lister is an auth.RefreshStore that can tell where somebody is signed in.
// Signing in needs no such thing; these pages do.
type lister interface {
	// Sessions returns the sessions of a subject that can be refreshed now,
	// those that began last first, a thousand at most.
	Sessions(ctx context.Context, subject string) ([]auth.Session, error)
}

var _ lister = (*sqlstore.Store)(nil)

// A listed session is what people see of one of theirs.
type listed struct {
	ID      string       `json:"id"`
	Created time.Time    `json:"created"`
	Expires time.Time    `json:"expires"`
	Current bool         `json:"current"` // it is the one that asks
	Began   string       `json:"began"`   // "password", "passkey", "mail", "step-up"; empty: not known
	Factors identity.Set `json:"factors"` // that were proven then

	Address   string    `json:"address"`       // from which it began
	UserAgent string    `json:"user_agent"`    // with which it began
	Used      time.Time `json:"used,omitzero"` // when it was used last
}

// hasSession refuses callers who are not in a session.
func hasSession(r *http.Request) error {
	p, err := guard.Caller(r)
	if err == nil && p.Session == "" {
		err = guard.Forbidden(errors.New("the credential is not of a session"))
	}
	return err
}

// listSessions is GET /sessions/.
func (a *app) listSessions(w http.ResponseWriter, r *http.Request) {
	p, all, err := a.ownSessions(r)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	out := make([]listed, 0, len(all))
	for _, one := range all {
		f, err := a.facts(r.Context(), one.ID)
		if err != nil {
			a.hooks.Refuse(w, r, err)
			return
		}
		out = append(out, listed{ID: one.ID, Created: one.Created.UTC(), Expires: one.Expires.UTC(), Current: one.ID == p.Session,
			Began: f.way, Factors: f.factors, Address: f.address, UserAgent: f.userAgent, Used: f.used})
	}
	writeJSON(w, http.StatusOK, out)
}

// endSession is DELETE /sessions/{id}. Somebody else's session is answered as
// one that does not exist.
func (a *app) endSession(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	p, all, err := a.ownSessions(r)
	if err == nil && !slices.ContainsFunc(all, func(one auth.Session) bool { return one.ID == id }) {
		err = notFound()
	}
	if err == nil {
		err = a.signIn.EndSessions(r.Context(), identity.Revocation{Session: id, Subject: p.Subject})
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// endOtherSessions is DELETE /sessions/: it ends every session of the caller but this one.
func (a *app) endOtherSessions(w http.ResponseWriter, r *http.Request) {
	p, err := guard.Caller(r)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), endTimeout)
		defer cancel()
		err = a.endOthers(ctx, p)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ownSessions returns the caller and where else they are signed in.
func (a *app) ownSessions(r *http.Request) (*identity.Principal, []auth.Session, error) {
	p, err := guard.Caller(r)
	if err != nil {
		return nil, nil, err
	}
	all, err := a.sessions.Sessions(r.Context(), p.Subject)
	return p, all, err
}

// logoutAll is POST /logout/all: it ends every session of the caller, this one
// too.
func (a *app) logoutAll(w http.ResponseWriter, r *http.Request) {
	u, err := a.current(r)
	if err == nil {
		err = a.endAll(r.Context(), u)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"message": "Successfully logged out everywhere"})
}
