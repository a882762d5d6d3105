// Command server is the reference server of Gatewright: everything the library
// has, put together the way a host would.
//
// It listens on 127.0.0.1:8080, keeps its database in the user's cache
// directory, and prints a curl line that signs a demo user in, and what is on, off
// and insecure; -h lists the flags by groups, with examples:
//
//	go -C examples run ./server
//
// A new SQLite database gets demo users, with a password that is made up at the
// first start and printed. They are never made again, and not at all with
// -demo=false or, unless -demo is given, with PostgreSQL: there, register a user
// and let -make-admin NAME, with the -secrets of the server, give that user the role of
// administrator.
//
// Servers on several machines share a PostgreSQL and, if there is one, a Redis,
// and act as one: their tokens and keys, sessions, logouts, limits and one-time
// codes. They need the same -secrets, which the first makes and the others are
// given a copy of, and the same -issuer.
//
//	server -db postgres://app@db.internal/app -redis redis://cache.internal:6379 \
//		-secrets /etc/gatewright/secrets -issuer https://app.example.com -addr 10.0.0.1:8080
//
// Redis counts limits, and may be down: then each process counts for itself, so
// that several of them together admit more. With -revocations, -sessions or
// -factors redis it is needed, and has to keep what it is told (appendonly yes,
// appendfsync always, maxmemory-policy noeviction). A logout is known to the
// other servers in some milliseconds, as PostgreSQL or Redis announces it, and
// within a second if they do not.
//
// Events are kept in the database, in an audit trail whose rows are chained with a key
// of -secrets. The log has a signed checkpoint of it every minute and at the stop.
// -verify-audit compares the two:
//
//	grep "audit checkpoint" server.log | server -db … -secrets … -verify-audit -checkpoint -
//
// It finds every row before the last checkpoint that was changed, removed or moved; rows
// after it can be removed from the end unseen. Keep the log where the administrators of
// the database cannot write. -audit-retention removes old rows, and the rest verifies.
// Requests never wait for the trail: a flood of refusals, and events that the database
// does not take in time, are counted in a row audit_skipped.
//
// /readyz is 503 when requests would be refused for what cannot be asked, and
// tells of each store; "limits" is "local" where a process counts for itself.
//
// -passwords-blocked names a file of passwords that users may not choose, one a line.
//
// -metrics-addr 127.0.0.1:9090 serves /metrics for Prometheus on a second listener, which
// only this machine reaches. examples/observability has a dashboard for it.
//
// -routes lists what each route demands. Bodies are JSON objects, unless they
// are called forms, with these members:
//
//	POST   /token                       form: username, password, scope
//	POST   /token/mfa                   form: mfa_token, code
//	POST   /token/refresh               form: refresh_token, scope
//	POST   /logout/                     none; ends this session
//	POST   /logout/all                  none; ends all of one's sessions
//	POST   /revoke, /introspect         form: token
//	GET    /sessions/                   where one is signed in
//	DELETE /sessions/{id}               DELETE /sessions/ ends all but this one
//	POST   /users/                      username, password, email, full_name
//	GET    /users/me, /users/{username}
//	POST   /users/me/password           current_password, new_password
//	POST   /users/{username}/disable    permission write:users; so are the next three
//	POST   /users/{username}/enable
//	PUT    /users/{username}/roles      roles, permissions
//	DELETE /users/{username}/2fa        with a second factor proven lately
//	DELETE /users/{id}                  permission delete:users; the id that the answers above show
//	POST   /moderate/                   permission moderate:content
//	GET    /items/                      scope read:items, which write:items implies
//	POST   /items/                      name; scope write:items
//	DELETE /items/{id}                  owners and moderators
//	GET    /comments/                   order, author, limit and offset in the query
//	POST   /comments/                   content
//	PUT    /comments/{id}               content; authors and permission moderate:content
//	DELETE /comments/{id}               authors and permission moderate:content
//	GET    /keys/                       one's API keys
//	POST   /keys/                       name, scopes, roles, expires_in, allowed_prefixes
//	POST   /keys/{id}/rotate            overlap, in seconds
//	DELETE /keys/{id}
//	GET    /protected/                  with X-API-Key
//	POST   /2fa/setup/                  a QR code
//	POST   /2fa/confirm/                form: code, and password or current_code; the recovery codes
//	POST   /2fa/verify/                 form: code; a new pair of tokens, in another session than that of the setup
//	POST   /2fa/recovery/               form: code or password; new recovery codes
//	DELETE /2fa/                        form: code or password
//	GET    /limited/                    five a minute
//	POST   /token/passkey               JSON of an assertion, with a challenge of POST /passkeys/sign-in
//	POST   /passkeys/options            proof; options for navigator.credentials.create
//	POST   /passkeys/                   JSON of the new credential, and a name
//	GET    /passkeys/
//	PATCH  /passkeys/{id}               name
//	DELETE /passkeys/{id}               proof
//	POST   /passkeys/step-up            options for the code of /2fa/verify/; /passkeys/second-factor: of /token/mfa
//	POST   /forgot/                     form: email; a link to choose a new password is sent
//	POST   /sign-in/link, /sign-in/code form: email; a link or six digits for /token/mail are sent
//	POST   /token/mail                  form: token or code, in the browser that asked for it
//	POST   /email/verify, /email/       form: email, proof; links to verify and to change one's address
//	POST   /invitations/                email; permission write:users, as is the next
//	POST   /users/{username}/reset-password
//	GET    /admin/users, /admin/policy  permission write:users
//	POST   /admin/policy/diff           before, after: the text of two policies; what roles gain and lose
//	GET    /audit/                      permission read:audit; event, subject, since, until, after, before,
//	                                    order, limit and format (json or jsonl) in the query
//	GET    /users/me/audit              the events of one's own account; the same, without subject
//	GET    /                            a page for all of it; POST /session/… are its ways in, with cookies
//	GET    /outbox/                     messages that would be sent, on the developer's machine only
//	GET    /docs/, /openapi.json        the routes, to try them in a browser
//	GET    /healthz, /readyz, /.well-known/…
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/password"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal does not wait for requests
	redis.SetLogger(silent{})    // what it reports comes back as an error too, and is logged in the usual form
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "server:", explain(err))
		os.Exit(1)
	}
}

// silent is a logger of go-redis.
type silent struct{}

// Printf is of its interface.
func (silent) Printf(context.Context, string, ...any) {}

// run is the server until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if o.listRoutesAndEnd {
		return listRoutes(stdout, log)
	}

	if o.makeAdmin != "" {
		return makeAdministrator(ctx, o, stdout)
	}
	if o.verifyAudit {
		return verifyAudit(ctx, o, os.Stdin, stdout)
	}

	// Before anything else is touched or printed.
	certificate, err := o.certificate()
	if err != nil {
		return err
	}
	listener, err := o.listen()
	if err != nil {
		return err
	}
	defer listener.Close()
	url, err := o.settle(listener.Addr())
	if err != nil {
		return err
	}
	keys, err := loadSecrets(o.secrets)
	if err != nil {
		return fmt.Errorf("-secrets %s: %w", o.secrets, err)
	}
	db, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	replace := false
	if err := keys.agree(ctx, db, o.secrets, o.db); err != nil {
		if replace = errors.Is(err, errOtherSecrets) && o.replaceSecrets; !replace {
			return err
		}
	}

	hashing, err := password.NewBudget(password.BudgetConfig{})
	if err != nil {
		return err
	}
	passwords, err := password.New(password.Config{Budget: hashing})
	if err != nil {
		return err
	}
	var metrics *meter
	if o.metricsAddr != "" {
		if metrics, err = newMeter(o.metricsAddr, hashing, log); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, metrics.close()) }()
		log.Info("metrics for Prometheus", "url", "http://"+metrics.server.Addr+"/metrics")
	}
	stores, err := openBackends(ctx, o, db, log)
	defer func() { err = errors.Join(err, stores.end()) }()
	if err != nil {
		return err
	}
	app, err := newApp(db, keys, passwords, settings{
		backends:         stores,
		issuer:           o.issuer,
		hosts:            hostsOf(o.issuer, listener.Addr().String(), o.hosts),
		https:            o.requiresHTTPS(),
		trustedProxies:   o.trustedProxies,
		hops:             o.hops,
		demo:             o.demo.on,
		outbox:           o.showsOutbox(listener.Addr()),
		mail:             o.mail,
		corsOrigins:      o.corsOrigins,
		insecureNoLimits: o.insecureNoLimits,
		limitTimeout:     o.limitTimeout,
		meter:            metrics,
		auditRetention:   o.auditRetention,
		blocklist:        o.blocklist,
	}, log)
	if err != nil {
		return err
	}
	// Requests that are under way at the end still ask what is revoked.
	following, stopFollowing := context.WithCancel(context.WithoutCancel(ctx))
	defer func() { stopFollowing(); app.following.Wait() }()
	if err := app.start(following, keys); err != nil {
		return err
	}
	defer app.closeWays()
	defer func() {
		bounded, cancel := context.WithTimeout(following, 5*time.Second)
		defer cancel()
		err = errors.Join(err, app.apiKeys.Flush(bounded)) // writes when keys were last used
	}()
	if replace {
		if err := app.replaceSecrets(ctx, keys); err != nil {
			return err
		}
	}
	demo, err := app.demoUsers(ctx, keys)
	if err != nil {
		return err
	}
	for _, warning := range o.warnings(listener.Addr(), len(demo) > 0) {
		log.Warn(warning)
	}
	if o.demo.given && o.demo.on && app.demoHash == "" {
		log.Warn("-demo: no demo users are made, because the database is not new")
	}
	go app.sweep(ctx)
	go app.sweepLimits(ctx)

	server := newServer(app.handler(), log)
	served := make(chan error, 1)
	go func() {
		if certificate != nil {
			server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}}
			served <- server.ServeTLS(listener, "", "")
			return
		}
		served <- server.Serve(listener)
	}()
	page := origin(app.ways.page) + "/"
	greet(stdout, url, o, demo, keys.DemoPassword, o.features(listener.Addr(), page, len(demo) > 0, app.ways.post.outbox != nil), page)
	if o.openPage {
		if err := openInBrowser(page); err != nil {
			log.Warn("-open: the page was not opened", "error", err)
		}
	}

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	log.Info("shutting down")
	// What has begun may finish: an answer that is cut off makes a client
	// try again what was done already.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return errors.Join(err, server.Close())
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newServer returns the HTTP server with all its limits set: without them a
// client that sends or reads a byte a minute holds a connection for ever.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// "OPTIONS *" passes what stands in front of the routes like others.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// listRoutes prints the ledger. For that it makes an app that is never
// started, and needs neither a port nor a file.
func listRoutes(w io.Writer, log *slog.Logger) error {
	keys, err := newSecrets()
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return err
	}
	defer db.Close()
	passwords, err := password.New(password.Config{})
	if err != nil {
		return err
	}
	app, err := newApp(db, keys, passwords, settings{issuer: "http://localhost", hosts: []string{"localhost"}}, log)
	if err != nil {
		return err
	}
	defer app.closeWays()
	for _, route := range app.mux.Routes() {
		fmt.Fprintln(w, route)
	}
	fmt.Fprintln(w)
	for _, q := range guard.Requirements(app.front.limited(app.mux)) {
		fmt.Fprintf(w, "every route\t%s\n", q)
	}
	for _, scope := range slices.Sorted(maps.Keys(impliedScopes)) {
		fmt.Fprintf(w, "scope %s implies %s\n", scope, strings.Join(impliedScopes[scope], ", "))
	}
	return nil
}

// openInBrowser opens a URL in the user's browser.
func openInBrowser(url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	return nil
}

// greet prints what a newcomer does next: a curl line that works as it stands, where
// the server is, and what is on, off and insecure. The curl line is the first, so that
// a program can run it.
func greet(w io.Writer, local string, o options, demo []demoUser, password string, features []feature, page string) {
	var b bytes.Buffer
	url, curl := local, "curl -s "
	switch {
	case o.tlsCert != "":
		curl += "-k "
	case !o.requiresHTTPS():
	case o.trustsLoopback():
		curl += "-H 'X-Forwarded-Proto: https' " // as the proxy sends it
	default:
		url = strings.TrimSuffix(o.issuer, "/") // requests from here, in the clear, are refused
	}
	if len(demo) == 0 {
		fmt.Fprintf(&b, "%s%s/users/ -H 'Content-Type: application/json' -d '{\"username\":\"%s\",\"password\":\"%s\"}'\n",
			curl, url, "user-"+strings.ToLower(rand.Text()[:6]), rand.Text())
	} else {
		fmt.Fprintf(&b, "%s%s/token -d grant_type=password -d username=%s -d password=%s\n", curl, url, demo[0].Username, password)
	}
	fmt.Fprintf(&b, "\nGatewright's reference server listens on %s\n", local)
	if o.issuer != local {
		fmt.Fprintf(&b, "Clients reach it at %s\n", o.issuer)
	}
	fmt.Fprintf(&b, "Open %s in a browser\n", page)
	fmt.Fprintf(&b, "Database %s, secrets %s\n", o.db, o.secrets)
	if o.redisOptions != nil {
		fmt.Fprintf(&b, "Redis %s\n", nameOfRedis(o.redisOptions))
	}
	if len(demo) == 0 {
		fmt.Fprintln(&b, "There are no demo users. The first line registers a user; -make-admin NAME gives a user the role of administrator.")
	} else {
		fmt.Fprintf(&b, "The first line signs %s in. All demo users have its password:\n", demo[0].Username)
		for _, u := range demo {
			fmt.Fprintf(&b, "  %-6s %s\n", u.Username, u.note)
		}
	}
	fmt.Fprintln(&b)
	printFeatures(&b, features, isTerminal(w))
	_, _ = w.Write(b.Bytes()) // a server whose output is closed serves all the same
}
