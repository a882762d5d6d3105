package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/felixge/httpsnoop"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/auth/token"
)

// An app is the server's parts, joined.
type app struct {
	log       *slog.Logger
	issuer    string
	hooks     guard.Hooks
	users     users
	sessions  *sqlstore.Store
	revoked   *revoker
	passwords *password.Hasher
	policy    *password.Policy
	me        *auth.CurrentUser[*user]
	signIn    *auth.Server
	mux       *guard.Mux
}

// longestToken is how long a credential can be good for after it was issued,
// and so how long a revocation has to be remembered.
const longestToken = 24 * time.Hour

// newApp joins the parts. Nothing is served before start.
func newApp(db *sql.DB, keys *secrets, passwords *password.Hasher, issuer string, log *slog.Logger) (*app, error) {
	a := &app{log: log, issuer: issuer, users: users{db}, revoked: &revoker{db: db}, passwords: passwords}
	a.hooks = guard.Hooks{Observe: guard.Log(log)}
	a.me = auth.NewCurrentUser(a.loadUser, auth.CurrentUserConfig{Hooks: a.hooks})
	// From here on a disabled user is out at the next request, everywhere.
	a.hooks.Active = a.me.Active

	ring, err := keys.ring()
	if err != nil {
		return nil, err
	}
	resourceMetadata, errMetadata := auth.ResourceMetadataPath(issuer)
	verifier, errVerifier := token.NewVerifier(ring, token.VerifierConfig{
		Issuer:           issuer,
		Audience:         issuer,
		Revoker:          a.revoked,
		MaxLifetime:      longestToken,
		ResourceMetadata: origin(issuer) + resourceMetadata,
	})
	tokens, errTokens := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: issuer})
	sessions, errSessions := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
	policy, errPolicy := password.NewPolicy(password.PolicyConfig{})
	if err := errors.Join(errMetadata, errVerifier, errTokens, errSessions, errPolicy); err != nil {
		return nil, err
	}
	a.policy = policy
	a.sessions = sessions
	a.signIn, err = auth.New(a.users, tokens, auth.Config{
		Sessions:    sessions,
		RefreshKeys: [][]byte{keys.RefreshKey},
		Revoker:     a.revoked,
		Verifier:    verifier,
		Passwords:   passwords,
		Hooks:       a.hooks,
	})
	if err != nil {
		return nil, err
	}
	if err := a.routes(ring, verifier); err != nil {
		return nil, err
	}
	return a, nil
}

// start reads what earlier processes have revoked, and makes the demo users.
func (a *app) start(ctx context.Context, keys *secrets) error {
	if err := a.revoked.load(ctx); err != nil {
		return fmt.Errorf("loading revocations: %w", err)
	}
	return a.seed(ctx, keys)
}

// routes is the whole surface of the server. The mux refuses to start with a
// route that nobody guards and nobody called public.
func (a *app) routes(ring *token.Keyring, verifier *token.Verifier) error {
	a.mux = guard.NewMux(a.hooks, verifier)
	public := func(why string, h http.HandlerFunc) http.Handler { return guard.Public(why)(h) }
	signedIn := func(h http.HandlerFunc) http.Handler { return a.me.Handler(h) }
	// Whoever is signed in, in a session of their own: what is about sessions
	// is not for other credentials.
	inSession := func(h http.HandlerFunc) http.Handler {
		return a.me.Handler(a.hooks.Require(hasSession, guard.Requirement{Kind: guard.KindCheck, Values: []string{"session"}})(h))
	}
	administrator := func(h http.HandlerFunc) http.Handler {
		return a.me.Handler(a.requireScope("admin")(a.requireRole("admin")(h)))
	}

	a.mux.Handle("/token", a.signIn.Token())
	a.mux.Handle("/token/refresh", a.signIn.Refresh())
	a.mux.Handle("/revoke", a.signIn.Revoke())
	a.mux.Handle("/introspect", a.signIn.Introspect())
	a.mux.Handle("/logout/{$}", a.signIn.Logout())
	a.mux.Handle("POST /logout/all", inSession(a.logoutAll))
	a.mux.Handle("GET /sessions/{$}", inSession(a.listSessions))
	a.mux.Handle("DELETE /sessions/{id}", inSession(a.endSession))
	a.mux.Handle("POST /users/{$}", public("registration", a.register))
	a.mux.Handle("GET /users/me", signedIn(a.showMe))
	a.mux.Handle("POST /users/me/password", inSession(a.changePassword))
	a.mux.Handle("GET /users/{username}", signedIn(a.showUser))
	a.mux.Handle("POST /users/{username}/disable", administrator(a.disableUser))
	a.mux.Handle("POST /users/{username}/enable", administrator(a.enableUser))
	a.mux.Handle("GET /.well-known/jwks.json", ring.JWKSHandler())
	a.mux.Handle("GET /healthz", public("health check", a.healthz))
	return a.metadata()
}

// metadata adds the documents by which programs find the endpoints.
func (a *app) metadata() error {
	// Whether there is TLS was settled where the server was started; a client
	// that got here without it has nothing to lose any more.
	const insecureHTTP = true
	scopes := []string{"read:items", "write:items"}
	at := func(path string) string { return strings.TrimSuffix(a.issuer, "/") + path }
	server, errServer := a.signIn.Metadata(auth.Metadata{
		TokenEndpoint:         at("/token"),
		RevocationEndpoint:    at("/revoke"),
		IntrospectionEndpoint: at("/introspect"),
		JWKSURI:               at("/.well-known/jwks.json"),
		Scopes:                scopes,
		InsecureHTTP:          insecureHTTP,
	})
	resource, errResource := auth.ResourceMetadata{
		Resource:             a.issuer,
		AuthorizationServers: []string{a.issuer},
		Scopes:               scopes,
		InsecureHTTP:         insecureHTTP,
	}.Handler()
	if err := errors.Join(errServer, errResource); err != nil {
		return err
	}
	serverPath, errServer := auth.MetadataPath(a.issuer)
	resourcePath, errResource := auth.ResourceMetadataPath(a.issuer)
	if err := errors.Join(errServer, errResource); err != nil {
		return err
	}
	a.mux.Handle("GET "+serverPath, server)
	a.mux.Handle("GET "+resourcePath, resource)
	return nil
}

// origin returns the scheme and the host of a URL, where well-known paths
// begin.
func origin(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return "" // auth.ResourceMetadataPath tells
	}
	return u.Scheme + "://" + u.Host
}

// requireScope is the guard that asks what the token is good for.
func (a *app) requireScope(scope string) func(http.Handler) http.Handler {
	return a.hooks.Require(func(r *http.Request) error {
		p, err := guard.Caller(r)
		if err != nil {
			return err
		}
		if p.Scopes.Has(scope) {
			return nil
		}
		return &guard.Denial{
			Status:     http.StatusForbidden,
			Code:       guard.CodeInsufficientScope,
			Detail:     "The token is not good for this.",
			Challenges: []guard.Challenge{{Scheme: "Bearer", Error: guard.CodeInsufficientScope, Scope: identity.NewSet(scope)}},
			Err:        fmt.Errorf("the scope %s is missing", scope),
		}
	}, guard.Requirement{Kind: guard.KindScope, Values: []string{scope}})
}

// requireRole is the guard that asks who the caller is now. The role in the
// token may be up to a quarter of an hour old.
func (a *app) requireRole(role string) func(http.Handler) http.Handler {
	return a.hooks.Require(func(r *http.Request) error {
		u, err := a.me.Of(r.Context())
		if err != nil {
			return err
		}
		if !u.Roles.Has(role) {
			return guard.Forbidden(fmt.Errorf("the role %s is missing", role))
		}
		return nil
	}, guard.Requirement{Kind: guard.KindRole, Values: []string{role}})
}

// handler is the mux with what stands in front of it.
func (a *app) handler() http.Handler { return a.accessLog(a.mux) }

// accessLog writes a line for each request. The holder lets it name the
// caller, who is identified further in.
func (a *app) accessLog(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, holder := identity.WithHolder(r.Context())
		r = r.WithContext(ctx)
		m := httpsnoop.CaptureMetrics(next, w, r)
		attrs := []slog.Attr{
			slog.String("method", r.Method),
			slog.String("path", r.URL.Path), // never the query
			slog.Int("status", m.Code),
			slog.Int64("bytes", m.Written),
			slog.Duration("duration", m.Duration),
		}
		if p := holder.Principal(); p != nil {
			attrs = append(attrs, slog.Any("principal", p))
		}
		a.log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
	})
}

// loadUser is who a.me loads.
func (a *app) loadUser(ctx context.Context, p *identity.Principal) (*user, error) {
	u, err := a.users.byID(ctx, p.Subject)
	if err == nil && u.Disabled {
		return nil, guard.ErrInactive
	}
	return u, err
}

// sweep drops what has expired from the database, now and every hour.
func (a *app) sweep(ctx context.Context) {
	for {
		now := time.Now()
		_, err := a.sessions.DeleteExpired(ctx, now)
		if err := errors.Join(err, a.revoked.forget(ctx, now)); err != nil && ctx.Err() == nil {
			a.log.Error("dropping expired rows", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}

// A demoUser is a user whom every database has from the start.
type demoUser struct {
	user
	note string
}

var demoUsers = []demoUser{
	{user{Username: "alice", Email: "alice@example.com", FullName: "Alice Example",
		Roles: identity.NewSet("user"), Scopes: identity.NewSet("read:items", "write:items")}, "may read and write items"},
	{user{Username: "mod", Email: "mod@example.com", FullName: "Mo Derator",
		Roles: identity.NewSet("moderator"), Scopes: identity.NewSet("read:items")}, "is a moderator"},
	{user{Username: "admin", Email: "admin@example.com", FullName: "Ad Ministrator",
		Roles: identity.NewSet("admin"), Scopes: identity.NewSet("read:items", "write:items", "admin", "introspect")}, "is an administrator"},
	{user{Username: "dora", Email: "dora@example.com", FullName: "Dora Disabled", Disabled: true,
		Roles: identity.NewSet("user")}, "is disabled: signing in fails"},
}

// seed creates the demo users that are missing. When the secrets are new, those
// who were there get the new password, which is the one that is printed.
func (a *app) seed(ctx context.Context, keys *secrets) error {
	for _, demo := range demoUsers {
		found, err := a.users.byUsername(ctx, demo.Username)
		if err == nil && !keys.fresh {
			continue
		}
		if err != nil && !errors.Is(err, auth.ErrNotFound) {
			return err
		}
		hash, err := a.passwords.Hash(ctx, keys.DemoPassword)
		if err != nil {
			return err
		}
		if found != nil {
			id := strconv.FormatInt(found.ID, 10)
			if err := a.users.UpdatePasswordHash(ctx, id, found.PasswordHash, hash); err != nil {
				return err
			}
			continue
		}
		u := demo.user
		u.PasswordHash = hash
		// Another process may have been first.
		if err := a.users.create(ctx, &u); err != nil && !errors.Is(err, errTaken) {
			return err
		}
	}
	return nil
}
