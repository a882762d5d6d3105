package auth

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// guided is answer with the status codes of Config.FastAPIStatusCodes.
func (s *Server) guided(answer func(*http.Request, form) (any, error)) func(*http.Request, form) (any, error) {
	if !s.config.FastAPIStatusCodes {
		return answer
	}
	return func(r *http.Request, f form) (any, error) {
		body, err := answer(r, f)
		if d, ok := errors.AsType[*guard.Denial](err); ok && d.Code == codeInvalidGrant {
			// The Denial was made for this request and is not shared.
			d.Status = http.StatusUnauthorized
			d.Challenges = []guard.Challenge{{Scheme: "Bearer"}}
		}
		return body, err
	}
}

// endpoint returns a handler that reads a form, calls answer and writes the result.
func (s *Server) endpoint(why string, answer func(*http.Request, form) (any, error)) http.Handler {
	return guard.Public(why)(s.formHandler(answer))
}

// formHandler is an endpoint that is not public.
func (s *Server) formHandler(answer func(*http.Request, form) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := readForm(w, r)
		if err != nil {
			s.hooks.Refuse(w, r, err)
			return
		}
		body, err := answer(r, f)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		status := http.StatusOK
		if _, asked := body.(challenge); asked {
			status = http.StatusBadRequest
		}
		writeJSON(w, status, body)
	})
}

// refuse calls hooks.Refuse with the principal that err is about, for the audit trail.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if whose, ok := errors.AsType[aboutPrincipal](err); ok {
		// Not identity.NewContext: the request has no identified caller.
		r = r.WithContext(context.WithValue(r.Context(), identity.ContextKey{}, whose.p))
	}
	s.hooks.Refuse(w, r, err)
}
