package main

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/microcosm-cc/bluemonday"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
)

// A profile is the guide's User.
type profile struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Email    string `json:"email"`
	Disabled bool   `json:"disabled"`
}

// routes are the guide's, in its order.
func (a *app) routes() http.Handler {
	user := a.accounts.Handler // Depends(get_current_active_user)
	readUsers, deleteUsers := must(a.roles.Permission("read:users")), must(a.roles.Permission("delete:users"))
	clean := bluemonday.StrictPolicy().Sanitize // bleach.clean(v, tags=[], strip=True)

	mux := guard.NewMux(a.hooks, a.verifier, a.key)
	mux.Handle("/token", a.signIn.Token())
	mux.Handle("/token/mfa", a.signIn.MFA()) // for users with a second factor
	mux.Handle("GET /users/me", user(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := a.accounts.Current(r.Context())
		if err != nil {
			a.hooks.Refuse(w, r, err)
			return
		}
		write(w, a.profiles[u.ID])
	})))
	mux.Handle("/token/refresh", a.signIn.Refresh())
	mux.Handle("GET /protected/", a.key.Handler(message("Access granted")))
	mux.Handle("DELETE /users/{user_id}", user(a.roles.Require(deleteUsers)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := a.profiles[r.PathValue("user_id")]; !ok {
			a.hooks.Refuse(w, r, guard.NotFound(nil))
			return
		}
		write(w, map[string]string{"message": "User deleted"}) // the guide deletes nothing
	}))))
	mux.Handle("POST /moderate/", user(a.roles.RequireRole("moderator")(message("Content moderated"))))
	mux.Handle("GET /items/", user(a.scope.Require("read:items")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string][]string{"items": {}})
	}))))
	mux.Handle("POST /items/", user(a.scope.Require("write:items")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var item struct{ Name string }
		if a.read(w, r, &item) {
			write(w, map[string]any{"item": item})
		}
	}))))
	mux.Handle("GET /limited/", guard.Public("a limit to try out")(a.limit.Handler(message("This endpoint is rate limited"))))
	mux.Handle("GET /users/{username}", user(a.roles.Require(readUsers)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := a.users.UserByLogin(r.Context(), r.PathValue("username"))
		if errors.Is(err, auth.ErrNotFound) {
			err = guard.NotFound(err)
		}
		if err != nil {
			a.hooks.Refuse(w, r, err)
			return
		}
		write(w, a.profiles[u.ID])
	}))))
	mux.Handle("POST /comments/", user(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var comment struct {
			Content string `json:"content"`
		}
		if a.read(w, r, &comment) {
			comment.Content = clean(comment.Content)
			write(w, comment)
		}
	})))
	mux.Handle("/logout/", a.signIn.Logout())
	mux.Handle("/2fa/setup/", a.factors.SetupHandler())
	mux.Handle("/2fa/confirm/", a.factors.ConfirmHandler()) // the guide enables a factor that was never tried
	mux.Handle("/2fa/verify/", a.factors.VerifyHandler())
	return mux
}

// read decodes a body of JSON, and refuses the request if it cannot.
func (a *app) read(w http.ResponseWriter, r *http.Request, to any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		a.hooks.Refuse(w, r, guard.InvalidRequest("The body is not what this route takes.", err))
		return false
	}
	return true
}

func message(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(w, map[string]string{"message": text}) })
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
