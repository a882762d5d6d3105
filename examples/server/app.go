package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/apikey"
	keystore "github.com/gatewright/gatewright/apikey/sqlstore"
	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/auth/ticket"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/examples/observability"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/rbac"
	"github.com/gatewright/gatewright/scopes"
	"github.com/gatewright/gatewright/totp"
)

// settings are what the command line decides about the app.
type settings struct {
	issuer           string                              // of its tokens, and where clients reach it
	hosts            []string                            // that requests may be for
	https            bool                                // clients reach it by https: refuse and redirect what comes otherwise
	trustedProxies   []string                            // whose X-Forwarded-For is believed
	corsOrigins      []string                            // whose pages may use it
	insecureNoLimits bool                                // for load tests: passwords can be guessed without end
	demo             bool                                // a new database gets demo users
	outbox           bool                                // messages are shown at /outbox/ and sent nowhere
	mail             func(context.Context, letter) error // sends a message; nil: none is sent
	hops             int                                 // how many trusted proxies a request passes; zero: one

	blocklist *password.Blocklist // passwords that users may not choose; nil: none

	meter *meter // nil: nothing is measured

	longestRequest time.Duration // zero: the constant of this name
	auditRetention time.Duration // how long rows of the audit trail are kept; zero: for ever
	auditInterval  time.Duration // between two checkpoints of it; zero: a minute
	limitTimeout   time.Duration // that limits wait for their store; zero: 50 ms
	backends
}

// An app is the server's parts, joined.
type app struct {
	log        *slog.Logger
	issuer     string
	db         *sql.DB
	hooks      guard.Hooks
	users      users
	backends   backends
	sessions   sessionStore
	uses       uses
	revoked    *blacklist.Replica
	wake       chan struct{}  // tells revoked of something new
	following  sync.WaitGroup // what start started
	passwords  *password.Hasher
	policy     *password.Policy
	me         *auth.Accounts[*user]
	signIn     *auth.Server
	keyStore   *keystore.Store
	apiKeys    *apikey.Authenticator
	keyManager *apikey.Manager
	factors    *totp.Service
	access     *rbac.Engine
	scopes     *scopes.Middleware
	items      items
	comments   comments
	direct     *blacklist.Guard
	front      *front
	limits     *limits
	mux        *guard.Mux
	document   []byte // of /openapi.json
	ways       ways
	audit      *trail

	databaseProof, redisProof proof // that they take writes

	longestRequest time.Duration
	auditRetention time.Duration
	demo           bool   // whether a new database gets demo users
	demoHash       string // of the password that the demo users got; empty: there are none
}

// longestToken is how long a credential can be good for after it was issued,
// and so how long a revocation has to be remembered.
const longestToken = 24 * time.Hour

// longestSession is auth.Config.RefreshAbsolute, which has its default.
const longestSession = 90 * 24 * time.Hour

// newApp joins the parts. Nothing is served before start.
func newApp(db *sql.DB, keys *secrets, passwords *password.Hasher, s settings, log *slog.Logger) (*app, error) {
	issuer := s.issuer
	a := &app{log: log, issuer: issuer, db: db, backends: s.backends, users: users{db}, items: items{db}, comments: comments{db}, passwords: passwords}
	a.wake = make(chan struct{}, 1)
	a.demo = s.demo
	a.longestRequest = cmp.Or(s.longestRequest, longestRequest)
	a.auditRetention = s.auditRetention
	var err error
	if a.audit, err = newTrail(db, keys, s.auditInterval, log); err != nil {
		return nil, err
	}
	logged := guard.Limited(guard.Log(log), 600)
	a.hooks = guard.Hooks{Observe: func(ctx context.Context, e guard.Event) {
		logged(ctx, e)
		a.audit.observe(ctx, e)
		a.began(ctx, e)
	}}
	if s.meter != nil {
		a.hooks.Observe = s.meter.Count(a.hooks.Observe)
		a.hooks.Measure = s.meter.Measure
	}
	a.ways.page = pageOf(issuer)
	a.me, err = auth.NewAccounts(a.loadUser, (*user).account, auth.AccountsConfig{
		Issuers: []string{issuer}, KeyIssuers: []string{"apikey:" + keyPrefix}, Hooks: a.hooks,
	})
	if err != nil {
		return nil, err
	}
	// From here on a disabled user is out at the next request, everywhere.
	a.hooks.Active = func(ctx context.Context, p *identity.Principal) error {
		err := a.me.Active(ctx, p)
		if err == nil {
			a.uses.note(p.Session)
		}
		return err
	}

	var errFront, errLimits, errRevoked error
	counts := new(ratelimit.Memory)
	a.front, errFront = newFront(s, counts, a.hooks)
	limitsKey, errKey := keys.derive("rate limits")
	a.limits, errLimits = newLimits(s, counts, limitsKey, a.hooks)
	var revocations blacklist.Log = new(blacklist.MemoryLog)
	if s.revocations != nil {
		revocations = s.revocations
	}
	a.revoked, errRevoked = blacklist.NewReplica(revocations, blacklist.ReplicaConfig{Wake: a.wake, Hooks: a.hooks})
	if err := errors.Join(errFront, errKey, errLimits, errRevoked); err != nil {
		return nil, err
	}
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
	var errSessions error
	if a.sessions = s.sessions; a.sessions == nil {
		a.sessions, errSessions = sqlstore.New(db, sqlstore.Config{Dialect: dialect(db, sqlstore.SQLite, sqlstore.PostgreSQL)})
	}
	policy, errPolicy := password.NewPolicy(password.PolicyConfig{MinLength: minPassword, Blocklist: s.blocklist})
	if err := errors.Join(errMetadata, errVerifier, errTokens, errSessions, errPolicy); err != nil {
		return nil, err
	}
	a.policy = policy
	if err := a.joinFactors(db, keys); err != nil {
		return nil, err
	}
	if err := a.joinPasskeys(keys); err != nil {
		return nil, err
	}
	config := auth.Config{
		Sessions:     a.sessions,
		RefreshKeys:  []guard.Secret{guard.NewSecret(keys.RefreshKey)},
		Revoker:      a.revoked,
		Verifier:     verifier,
		Passwords:    passwords,
		SecondFactor: auth.EitherFactor(a.ways.passkeys, a.factors),
		Challenges:   a.sessions,
		Hooks:        a.hooks,
	}
	if a.limits.signIn != nil { // nil in an interface is not a nil interface
		config.Throttle = a.limits.signIn
	}
	a.signIn, err = auth.New(a.users, tokens, config)
	if err != nil {
		return nil, err
	}
	if err := a.joinKeys(db, keys); err != nil {
		return nil, err
	}
	if a.ways.cookies, err = auth.NewCookies(a.signIn, auth.CookieConfig{}); err != nil {
		return nil, err
	}
	a.ways.post = a.newPost(s)
	if err := a.joinTickets(keys, s); err != nil {
		return nil, err
	}
	if a.access, err = newAccess(a.me.Roles, a.hooks); err != nil {
		return nil, err
	}
	if a.scopes, err = newScopes(a.hooks); err != nil {
		return nil, err
	}
	if a.direct, err = blacklist.NewGuard(a.revoked.Direct(), blacklist.GuardConfig{Hooks: a.hooks}); err != nil {
		return nil, err
	}
	if s.meter != nil {
		from := observability.Sources{Revocations: a.revoked, Hashing: s.meter.hashing, Limits: []*ratelimit.Memory{counts},
			Caches: map[string]interface{ CacheUse() (hits, misses uint64) }{"tokens": verifier, "keys": a.apiKeys}}
		if counter, ok := a.sessions.(auth.SessionCounter); ok {
			from.Sessions = counter
		}
		if err := s.meter.Watch(from); err != nil {
			return nil, err
		}
	}
	a.databaseProof.check = a.keyStore.Ready // one table stands for all
	a.redisProof.check = a.backends.redis
	a.mux = guard.NewMux(a.hooks, verifier, a.apiKeys, a.ways.cookies)
	register(a.mux, a.limits.caller, a.routes(ring))
	return a, errors.Join(a.metadata(), a.describe())
}

// joinKeys makes what is about API keys.
func (a *app) joinKeys(db *sql.DB, keys *secrets) error {
	format, errFormat := apikey.NewFormat(keyPrefix, "live")
	pepper, errPepper := keys.derive("API keys")
	store, errStore := keystore.New(db, keystore.Config{Dialect: dialect(db, keystore.SQLite, keystore.PostgreSQL), MaxPerOwner: maxKeys})
	if err := errors.Join(errFormat, errPepper, errStore); err != nil {
		return err
	}
	a.keyStore = store
	var err error
	config := apikey.Config{
		Format:      format,
		Peppers:     []apikey.Pepper{{ID: "1", Secret: guard.NewSecret(pepper)}},
		Revoker:     a.revoked,
		OwnerRights: a.me.Rights,
		Hooks:       a.hooks,

		ReportNetworks: true,
	}
	if a.limits.keys != nil {
		config.Throttle = a.limits.keys
	}
	a.apiKeys, err = apikey.New(store, config)
	if err != nil {
		return err
	}
	a.keyManager, err = apikey.NewManager(a.apiKeys, store, apikey.ManagerConfig{Revoker: a.revoked, Hooks: a.hooks})
	return err
}

// firstReading reads the log of revocations, in several attempts: the first connection
// to a busy database takes longer than the ReadTimeout of the replica.
func (a *app) firstReading(ctx context.Context) error {
	const within, pause = 5 * time.Second, 100 * time.Millisecond
	for end := time.Now().Add(within); ; {
		err := a.revoked.Refresh(ctx)
		if err == nil || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// start reads what was revoked before, goes on reading until ctx ends, and
// makes the demo users of a new database. Whoever ends ctx waits for following.
func (a *app) start(ctx context.Context, keys *secrets) error {
	a.following.Go(func() { a.audit.run(ctx) })
	if err := a.firstReading(ctx); err != nil {
		return fmt.Errorf("loading revocations: %w", err)
	}
	a.following.Go(func() {
		if err := a.revoked.Run(ctx); ctx.Err() == nil {
			a.log.Error("revocations are not followed any more", "error", err)
		}
	})
	a.following.Go(func() { a.writeUses(ctx) })
	if a.backends.listen != nil {
		a.following.Go(func() { a.listen(ctx) })
	}
	return a.seed(ctx, keys, a.demo)
}

// listen hears of revocations on other machines as they are recorded, so that
// this one need not wait until it next looks. When that is not possible it tries
// again every second or so, and nothing else depends on it.
func (a *app) listen(ctx context.Context) {
	for lost := false; ctx.Err() == nil; {
		err := a.backends.listen(ctx, func() {
			if lost {
				lost = false
				a.log.Info("revocations are announced again")
			}
			select {
			case a.wake <- struct{}{}:
			default: // it is about to look
			}
		})
		if !lost && ctx.Err() == nil {
			lost = true
			a.log.Warn("revocations are not announced, and found a little later", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second + rand.N(time.Second/2)): // not all servers at once
		}
	}
}

// A route is what a pattern answers, and who may have it answered: the guards,
// outermost first.
type route struct {
	pattern string
	guards  []func(http.Handler) http.Handler
	handler http.Handler
}

// routes is the whole surface of the server, but for the metadata. Handlers of
// auth bring their own guards. The mux refuses to start with a route that
// nobody guards and nobody called public.
func (a *app) routes(ring *token.Keyring) []route {
	type guards = []func(http.Handler) http.Handler
	public := func(why string) guards { return guards{guard.Public(why)} }
	// Whoever is signed in or has a key, and may do this.
	caller := func(more ...func(http.Handler) http.Handler) guards { return append(guards{a.me.Handler}, more...) }
	// Whoever is signed in, in a session of their own: what is about sessions,
	// passwords and keys is not for API keys.
	inSession := caller(a.hooks.Require(hasSession, guard.Requirement{Kind: guard.KindCheck, Values: []string{"session"}}))
	// Who finds a token cannot turn it into a key that outlives it.
	// A mailbox is not enough for that either.
	recent := append(inSession[:len(inSession):len(inSession)], a.scopes.Fresh(10*time.Minute, "pwd", "phr", "otp"))
	// What administrators do is not undone by a logout that comes a moment
	// later, so whether one has come is read from the log and not from memory.
	// The permission opens the route, whether a role has it or the user alone.
	administrator := func(may rbac.Permission) guards {
		return caller(a.direct.Handler, a.hooks.Require(a.adminScope, guard.Requirement{Kind: guard.KindCheck, Values: []string{"scope admin, if the caller is an administrator"}}), a.access.Require(may))
	}
	mailed, attempts := guards{a.limits.messages}, guards{a.limits.attempts}
	return []route{
		{"/token", attempts, a.signIn.Token()},
		{"/token/mfa", nil, a.signIn.MFA()},
		{"/token/refresh", nil, a.signIn.Refresh()},
		{"/revoke", nil, a.signIn.Revoke()},
		{"/introspect", caller(a.scopes.Require("introspect"), a.access.RequireRole("admin")), a.signIn.Introspect()},
		{"/logout/{$}", nil, a.signIn.Logout()},
		{"POST /logout/all", inSession, http.HandlerFunc(a.logoutAll)},
		{"GET /sessions/{$}", inSession, http.HandlerFunc(a.listSessions)},
		{"DELETE /sessions/{$}", inSession, http.HandlerFunc(a.endOtherSessions)},
		{"DELETE /sessions/{id}", inSession, http.HandlerFunc(a.endSession)},

		{"POST /2fa/setup/{$}", inSession, a.factors.SetupHandler()},
		{"POST /2fa/confirm/{$}", inSession, a.factors.ConfirmHandler()},
		{"POST /2fa/verify/{$}", inSession, a.signIn.StepUp()},
		{"POST /2fa/recovery/{$}", inSession, a.factors.RegenerateHandler()},
		{"DELETE /2fa/{$}", inSession, a.factors.DisableHandler()},
		{"DELETE /users/{username}/2fa", append(administrator(writeUsers), a.scopes.Fresh(10*time.Minute, "mfa", "phr")), http.HandlerFunc(a.resetFactor)},

		// The page keeps its tokens in cookies.
		{"/session/token", attempts, a.ways.cookies.Token()},
		{"/session/mfa", nil, a.ways.cookies.MFA()},
		{"/session/refresh", nil, a.ways.cookies.Refresh()},
		{"/session/logout", nil, a.ways.cookies.Logout()},
		{"POST /session/step-up", inSession, a.ways.cookies.StepUp()},
		{"GET /session/{$}", inSession, http.HandlerFunc(a.showSession)},

		{"/token/passkey", attempts, a.signIn.SignIn(a.signInByPasskey())},
		{"/session/passkey", attempts, a.ways.cookies.SignIn(a.signInByPasskey())},
		{"POST /passkeys/sign-in", nil, a.ways.passkeys.SignInOptions()},
		{"POST /passkeys/second-factor", nil, a.ways.passkeys.SecondFactorOptions()},
		{"POST /passkeys/step-up", inSession, a.ways.passkeys.StepUpOptions()},
		{"POST /passkeys/options", inSession, a.ways.passkeys.RegisterOptions()},
		{"POST /passkeys/{$}", inSession, a.ways.passkeys.Register()},
		{"GET /passkeys/{$}", inSession, a.ways.passkeys.List()},
		{"PATCH /passkeys/{id}", inSession, a.ways.passkeys.Rename()},
		{"DELETE /passkeys/{id}", inSession, a.ways.passkeys.Remove()},

		// Messages: each costs somebody's attention, so that few go out for one client.
		{"/token/mail", attempts, a.signIn.SignIn(a.signInByMail())},
		{"/session/mail", attempts, a.ways.cookies.SignIn(a.signInByMail())},
		{"POST /forgot/{$}", mailed, a.ways.tickets.Request(ticket.ResetPassword)},
		{"POST /sign-in/link", mailed, a.ways.tickets.Request(ticket.SignInLink)},
		{"POST /sign-in/code", mailed, a.ways.tickets.Request(ticket.SignInCode)},
		{"POST /email/verify", append(inSession[:len(inSession):len(inSession)], a.limits.messages), a.ways.tickets.Request(ticket.VerifyEmail)},
		{"POST /email/{$}", append(inSession[:len(inSession):len(inSession)], a.limits.messages), a.ways.tickets.Request(ticket.ChangeEmail)},
		{"POST /invitations/{$}", administrator(writeUsers), http.HandlerFunc(a.invite)},
		{"POST /users/{username}/reset-password", administrator(writeUsers), http.HandlerFunc(a.sendReset)},
		{"GET /account/reset-password", nil, a.ways.tickets.Page(ticket.ResetPassword)},
		{"POST /account/reset-password", nil, a.ways.tickets.Use(ticket.ResetPassword)},
		{"GET /account/verify-email", nil, a.ways.tickets.Page(ticket.VerifyEmail)},
		{"POST /account/verify-email", inSession, a.ways.tickets.Use(ticket.VerifyEmail)},
		{"GET /account/change-email", nil, a.ways.tickets.Page(ticket.ChangeEmail)},
		{"POST /account/change-email", inSession, a.ways.tickets.Use(ticket.ChangeEmail)},
		{"GET /account/undo-email", nil, a.ways.tickets.Page(ticket.UndoEmail)},
		{"POST /account/undo-email", nil, a.ways.tickets.Use(ticket.UndoEmail)},
		{"GET /account/invitation", nil, a.ways.tickets.Page(ticket.Invitation)},
		{"POST /account/invitation", nil, a.ways.tickets.Use(ticket.Invitation)},
		{"GET /account/sign-in-link", public("the page"), http.HandlerFunc(a.showPage)},
		{"GET /{$}", public("the page"), http.HandlerFunc(a.showPage)},
		{"GET /page/{file}", public("the page"), http.HandlerFunc(a.showPageFile)},
		{"GET /outbox/{$}", public("messages, on the developer's machine only"), http.HandlerFunc(a.showOutbox)},

		{"POST /users/{$}", append(public("registration"), a.limits.register), http.HandlerFunc(a.register)},
		{"GET /users/me", caller(), http.HandlerFunc(a.showMe)},
		{"POST /users/me/password", inSession, http.HandlerFunc(a.changePassword)},
		{"GET /users/{username}", caller(a.access.Require(readUsers)), http.HandlerFunc(a.showUser)},
		{"DELETE /users/{id}", administrator(deleteUsers), http.HandlerFunc(a.deleteUser)},
		{"PUT /users/{username}/roles", administrator(writeUsers), http.HandlerFunc(a.setRoles)},
		{"POST /users/{username}/disable", administrator(writeUsers), http.HandlerFunc(a.disableUser)},
		{"POST /users/{username}/enable", administrator(writeUsers), http.HandlerFunc(a.enableUser)},
		{"GET /admin/users", administrator(writeUsers), http.HandlerFunc(a.listUsers)},
		{"GET /admin/policy", administrator(writeUsers), http.HandlerFunc(a.showPolicy)},
		{"POST /admin/policy/diff", administrator(writeUsers), http.HandlerFunc(a.comparePolicies)},
		{"GET /audit/{$}", administrator(readAudit), http.HandlerFunc(a.listAudit)},
		{"GET /users/me/audit", inSession, http.HandlerFunc(a.listOwnAudit)},
		{"POST /moderate/{$}", caller(a.access.Require(moderateContent)), http.HandlerFunc(a.moderate)},

		{"GET /items/{$}", caller(a.scopes.Require("read:items")), http.HandlerFunc(a.listItems)},
		{"POST /items/{$}", caller(a.scopes.Require("write:items")), http.HandlerFunc(a.createItem)},
		{"DELETE /items/{id}", caller(a.scopes.Require("write:items"), a.access.Owned(deleteItems, a.ownerOfItem)), http.HandlerFunc(a.deleteItem)},

		// What all read is written by people in a session, not by programs.
		{"GET /comments/{$}", caller(), http.HandlerFunc(a.listComments)},
		{"POST /comments/{$}", inSession, http.HandlerFunc(a.createComment)},
		{"PUT /comments/{id}", append(inSession[:len(inSession):len(inSession)], a.access.Owned(moderateContent, a.authorOfComment)), http.HandlerFunc(a.editComment)},
		{"DELETE /comments/{id}", append(inSession[:len(inSession):len(inSession)], a.access.Owned(moderateContent, a.authorOfComment)), http.HandlerFunc(a.deleteComment)},

		{"GET /protected/{$}", guards{a.hooks.Accept(a.apiKeys)}, http.HandlerFunc(a.protected)},
		{"GET /keys/{$}", inSession, http.HandlerFunc(a.listKeys)},
		{"POST /keys/{$}", recent, http.HandlerFunc(a.createKey)},
		{"POST /keys/{id}/rotate", recent, http.HandlerFunc(a.rotateKey)},
		{"DELETE /keys/{id}", inSession, http.HandlerFunc(a.revokeKey)},

		{"GET /limited/{$}", append(public("a limit to try out"), a.limits.five), http.HandlerFunc(a.limited)},
		{"GET /.well-known/jwks.json", nil, ring.JWKSHandler()},
		{"GET /openapi.json", public("documentation"), http.HandlerFunc(a.showOpenAPI)},
		{"GET /docs/{$}", public("documentation"), http.HandlerFunc(a.showDocs)},
		{"GET /docs/{file}", public("documentation"), http.HandlerFunc(a.showDocsFile)},
		{"GET /healthz", public("health check"), http.HandlerFunc(a.healthz)},
		{"GET /readyz", public("readiness check"), http.HandlerFunc(a.readyz)},
	}
}

// register puts routes on a mux, those that are not public behind the limit of
// each caller. It panics for a route without a guard.
func register(mux *guard.Mux, callerLimit func(http.Handler) http.Handler, routes []route) {
	for _, one := range routes {
		h := one.handler
		for _, g := range slices.Backward(one.guards) {
			h = g(h)
		}
		public := func(q guard.Requirement) bool { return q.Kind == guard.KindPublic }
		if !slices.ContainsFunc(guard.Requirements(h), public) {
			h = callerLimit(h)
		}
		mux.Handle(one.pattern, h)
	}
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

// handler is the whole server.
func (a *app) handler() http.Handler { return a.chain(a.mux) }

// keyPrefix is what the API keys begin with.
const keyPrefix = "gatewright"

// loadUser returns the user whose credential it is, once per request for
// Hooks.Active, the roles, the rights of an API key and the handler. The subjects
// of tokens and of API keys are both the user's ID.
func (a *app) loadUser(ctx context.Context, p *identity.Principal) (*user, error) {
	return a.users.byID(ctx, p.Subject)
}

// current returns the user who is calling, as the guards have loaded it.
func (a *app) current(r *http.Request) (*user, error) { return a.me.Current(r.Context()) }

// An expirer is a store in which expired rows stay until they are deleted. Redis
// deletes them by itself.
type expirer interface {
	DeleteExpired(ctx context.Context, before time.Time) (int64, error)
}

// sweep drops what has expired from the database, now and every hour.
func (a *app) sweep(ctx context.Context) {
	for {
		now := time.Now()
		var err error
		if s, ok := a.sessions.(expirer); ok {
			_, err = s.DeleteExpired(ctx, now)
		}
		_, errKeys := a.keyStore.DeleteExpired(ctx, now.Add(-30*24*time.Hour))
		_, errTickets := a.ways.ticketStore.DeleteExpired(ctx, now)
		_, errBegan := a.db.ExecContext(ctx, "DELETE FROM session_beginnings WHERE began < $1", now.Add(-longestSession).UnixMicro())
		errAudit := a.pruneAudit(ctx, now)
		if err := errors.Join(err, errKeys, errTickets, errBegan, errAudit); err != nil && ctx.Err() == nil {
			a.log.Error("dropping expired rows", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}

// sweepLimits drops from the database, every minute, what nobody has spent any
// more.
func (a *app) sweepLimits(ctx context.Context) {
	limits, ok := a.backends.limits.(expirer)
	for ok {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
		for more := true; more; {
			n, err := limits.DeleteExpired(ctx, time.Now())
			if err != nil && ctx.Err() == nil {
				a.log.Error("dropping expired limits", "error", err)
			}
			more = err == nil && n >= 1000
		}
	}
}
