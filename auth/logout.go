package auth

import (
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Logout returns the handler of POST /logout/, which ends the session of the
// request's access token, with all its tokens. It answers 200 when the end is
// durable, and otherwise 503.
func (s *Server) Logout() http.Handler {
	hooks := s.config.Hooks
	return hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			hooks.Refuse(w, r, badRequest(http.StatusMethodNotAllowed, "This endpoint takes POST requests."))
			return
		}
		p, err := guard.Caller(r)
		if err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		if err := s.logout(r, p); err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		hooks.Emit(r, guard.Event{Name: guard.EventTokenRevoked})
		writeJSON(w, http.StatusOK, loggedOut)
	}))
}

// loggedOut is the response of FastAPI's guide to a logout.
var loggedOut any = struct {
	Message string `json:"message"`
}{"Successfully logged out"}

func (s *Server) logout(r *http.Request, p *identity.Principal) error {
	switch {
	case p.Issuer != s.tokens.Name():
		return badRequest(http.StatusBadRequest, "These credentials are not of a session that can be ended here.")
	case p.Session != "":
		return s.endSessions(r.Context(), identity.Revocation{Session: p.Session})
	case p.Credential != "":
		// A token without a session is ended alone.
		return s.endCredential(r.Context(), p)
	}
	return errors.New("auth: the caller has neither a session nor a credential to end")
}
