package auth

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// An answer is what an endpoint responds with if it did not fail.
type answer interface {
	write(w http.ResponseWriter)
}

// A result is the answer of a sign-in, an exchange, a step-up or a refresh: one of
// its fields is set.
type result struct {
	tokens    *response
	challenge *challenge // a second factor is due
}

func (o result) write(w http.ResponseWriter) {
	if o.challenge != nil {
		writeJSON(w, http.StatusBadRequest, o.challenge)
		return
	}
	writeJSON(w, http.StatusOK, o.tokens)
}

// A formReader reads the form of a request.
type formReader func(http.ResponseWriter, *http.Request) (form, error)

// endpoint returns a public handler that reads a form, calls respond and writes its
// answer.
func endpoint[A answer](s *Server, why string, read formReader, respond func(*http.Request, form) (A, error)) http.Handler {
	return guard.Public(why)(formHandler(s, read, respond))
}

// formHandler is an endpoint that is not public.
func formHandler[A answer](s *Server, read formReader, respond func(*http.Request, form) (A, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := read(w, r)
		if err != nil {
			s.hooks.Refuse(w, r, err)
			return
		}
		a, err := respond(r, f)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		a.write(w)
	})
}

// guided is respond with the status codes of Config.FastAPIStatusCodes.
func guided[A any](s *Server, respond func(*http.Request, form) (A, error)) func(*http.Request, form) (A, error) {
	if !s.config.FastAPIStatusCodes {
		return respond
	}
	return func(r *http.Request, f form) (A, error) {
		a, err := respond(r, f)
		if d, ok := errors.AsType[*guard.Denial](err); ok && d.Code == codeInvalidGrant {
			// The Denial was made for this request and is not shared.
			d.Status = http.StatusUnauthorized
			d.Challenges = []guard.Challenge{{Scheme: "Bearer"}}
		}
		return a, err
	}
}

// refuse calls hooks.Refuse with the principal that err is about, for the audit trail.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if whose, ok := errors.AsType[aboutPrincipal](err); ok {
		// Not identity.NewContext: the request has no identified caller.
		r = r.WithContext(context.WithValue(r.Context(), identity.ContextKey{}, whose.p))
	}
	s.hooks.Refuse(w, r, err)
}
