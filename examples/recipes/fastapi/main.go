// Command fastapi is the service of FastAPI's guide to authentication, route by route:
// the same paths, parameters, members and status codes. routes.go has the routes,
// this file what the guide builds by hand. The README of the library compares the
// two; what the guide gets wrong is not ported: refresh tokens in URLs and without
// rotation, API keys in the clear, codes that pass twice.
//
//	go -C examples run ./recipes/fastapi
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/headers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/rbac"
	"github.com/gatewright/gatewright/scopes"
	"github.com/gatewright/gatewright/totp"
)

// An app has the parts that the guide's dependencies are.
type app struct {
	users    *auth.Memory // a table of the host's, with UserByLogin and UserByID
	profiles map[string]profile
	hooks    guard.Hooks
	signIn   *auth.Server
	verifier *token.Verifier
	accounts *auth.Accounts[*auth.User]
	key      *apikey.StaticAuthenticator
	roles    *rbac.Engine
	scope    *scopes.Middleware
	limit    *ratelimit.Limiter
	factors  *totp.Service
}

// newApp makes them. secret is the password of the users, apiKey the guide's API_KEY.
func newApp(self, secret, apiKey string) *app {
	hooks := guard.Hooks{Observe: guard.Log(slog.Default())}
	a := &app{users: new(auth.Memory), profiles: make(map[string]profile), hooks: hooks}
	passwords := must(password.New(password.Config{}))
	hash := must(passwords.Hash(context.Background(), secret))
	for id, role := range map[string]string{"1": "user", "2": "moderator", "3": "admin", "4": "disabled"} {
		check(a.users.SetUser(role, auth.User{
			ID: id, PasswordHash: hash, Disabled: role == "disabled", Roles: identity.NewSet(role),
			Scopes: identity.NewSet("read:items", "write:items"),
		}))
		a.profiles[id] = profile{ID: id, Username: role, Email: role + "@example.com", Disabled: role == "disabled"}
	}

	// SECRET_KEY, ALGORITHM, ACCESS_TOKEN_EXPIRE_MINUTES, REFRESH_TOKEN_EXPIRE_DAYS.
	key := token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte(rand.Text() + rand.Text()))}
	ring, revoked := must(token.NewKeyring(key)), new(blacklist.Memory)
	tokens := must(token.NewIssuer(ring, token.IssuerConfig{Issuer: self, Audience: self, Lifetime: 15 * time.Minute}))
	a.verifier = must(token.NewVerifier(ring, token.VerifierConfig{Issuer: self, Audience: self, Revoker: revoked}))

	// get_current_active_user, with the roles of today.
	a.accounts = must(auth.NewAccounts(func(ctx context.Context, p *identity.Principal) (*auth.User, error) {
		return a.users.UserByID(ctx, p.Subject)
	}, func(u *auth.User) auth.User { return *u }, auth.AccountsConfig{Issuers: []string{self}, FastAPIStatusCodes: true, Hooks: hooks}))

	// pyotp: the sealing keys of the secrets are kept apart from them.
	a.factors = must(totp.New(new(totp.Memory), must(totp.NewKeyring([]byte(rand.Text()+rand.Text()))), totp.Config{
		Issuer: "Your App",
		VerifyPassword: func(ctx context.Context, p *identity.Principal, password string) error {
			return a.signIn.VerifyPassword(ctx, p, password)
		},
		Hooks: hooks,
	}))
	a.signIn = must(auth.New(a.users, tokens, auth.Config{
		Sessions: a.users, RefreshKeys: []guard.Secret{guard.NewSecret([]byte(rand.Text() + rand.Text()))}, RefreshIdle: 7 * 24 * time.Hour,
		Revoker: revoked, Verifier: a.verifier, Passwords: passwords, SecondFactor: a.factors, Challenges: a.users,
		Throttle: must(ratelimit.NewSignIn(ratelimit.SignInConfig{Hooks: hooks})), FastAPIStatusCodes: true, Hooks: hooks,
	}))
	// get_api_key, require_role and has_permission, SecurityScopes, slowapi.
	a.key = must(apikey.NewStatic(apikey.StaticConfig{FastAPIStatusCodes: true, Hooks: hooks}, apikey.StaticKey{Key: apikey.NewSecret(apiKey), Name: "partner"}))
	a.roles = must(rbac.New(rbac.Policy{
		Permissions: []string{"read:users", "write:users", "delete:users"},
		Roles: map[string]rbac.Role{
			"user": {}, "moderator": {Inherits: []string{"user"}, Allow: []string{"read:users"}},
			"admin": {Inherits: []string{"moderator"}, Allow: []string{"*:users"}},
		},
	}, rbac.Config{Roles: a.accounts.Roles, Hooks: hooks}))
	a.scope = must(scopes.New(scopes.Config{Hooks: hooks}))
	a.limit = must(ratelimit.New(ratelimit.ByIP, ratelimit.Config{Hooks: hooks}, ratelimit.MustParse("5/minute")...))
	return a
}

// front is the guide's middleware: security headers, trusted hosts, HTTPS, CORS.
func (a *app) front(next http.Handler, https bool, hosts ...string) http.Handler {
	next = must(headers.NewCORS([]string{"https://yourdomain.com"}, headers.CORSConfig{
		Methods: []string{"GET", "POST", "PUT", "DELETE"}, Credentials: true, MaxAge: time.Hour,
	})).Handler(next)
	if https {
		next = must(headers.NewRedirectHTTPS(headers.HTTPSConfig{Hooks: a.hooks})).Handler(next)
	}
	next = must(headers.NewTrustedHosts(append(hosts, "yourdomain.com", "*.yourdomain.com"), headers.HostsConfig{Hooks: a.hooks})).Handler(next)
	next = must(headers.New(headers.Config{})).Handler(next) // headers.FastAPI() has the guide's four alone
	return must(headers.NewTrustedProxies([]string{"127.0.0.1"}, headers.ProxiesConfig{Hooks: a.hooks})).Handler(next)
}

func main() {
	https := flag.Bool("https", false, "answer https only, which a proxy on this machine speaks")
	flag.Parse()
	listener := must(net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")))
	self, secret, apiKey := "http://"+listener.Addr().String(), rand.Text(), rand.Text()
	a := newApp(self, secret, apiKey)
	fmt.Printf("curl -s %s/token -d username=user -d password=%s # the API key is %s\n", self, secret, apiKey)
	server := http.Server{Handler: a.front(a.routes(), *https, "127.0.0.1", "localhost"), ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	check(server.Serve(listener))
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
