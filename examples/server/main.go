// Command server is the reference server of Gatewright: everything the library
// has, put together the way a host would.
//
// It listens on 127.0.0.1:8080, keeps its database in the user's cache
// directory, and prints a curl line that signs a demo user in:
//
//	go -C examples run ./server
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
// /readyz is 503 when requests would be refused for what cannot be asked, and
// tells of each store; "limits" is "local" where a process counts for itself.
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
//	DELETE /sessions/{id}
//	POST   /users/                      username, password, email, full_name
//	GET    /users/me, /users/{username}
//	POST   /users/me/password           current_password, new_password
//	POST   /users/{username}/disable    administrators; so are the next four
//	POST   /users/{username}/enable
//	PUT    /users/{username}/roles      roles, permissions
//	DELETE /users/{username}/2fa        with a second factor proven lately
//	DELETE /users/{id}                  the id that the answers above show
//	POST   /moderate/                   moderators
//	GET    /items/                      scope read:items
//	POST   /items/                      name; scope write:items
//	DELETE /items/{id}                  owners and moderators
//	GET    /keys/                       one's API keys
//	POST   /keys/                       name, scopes, roles, expires_in, allowed_prefixes
//	POST   /keys/{id}/rotate            overlap, in seconds
//	DELETE /keys/{id}
//	GET    /protected/                  with X-API-Key
//	POST   /2fa/setup/                  form: code, if there is a factor; a QR code
//	POST   /2fa/confirm/                form: code; the recovery codes
//	POST   /2fa/verify/                 form: code; a new pair of tokens
//	POST   /2fa/recovery/               form: code; new recovery codes
//	DELETE /2fa/                        form: code
//	GET    /limited/                    five a minute
//	GET    /healthz, /readyz, /.well-known/…
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

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
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// silent is a logger of go-redis.
type silent struct{}

// Printf is of its interface.
func (silent) Printf(context.Context, string, ...any) {}

// options are what the command line says.
type options struct {
	addr, issuer     string
	db, secrets      string
	postgres         *pgx.ConnConfig // what db says; nil: it is a file
	redisOptions     *redis.Options  // nil: none
	revocations      string
	sessions         string
	factors          string
	limitTimeout     time.Duration
	tlsCert, tlsKey  string
	hosts            []string
	trustedProxies   []string
	corsOrigins      []string
	insecureNoLimits bool
	listRoutesAndEnd bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	flags.StringVar(&o.issuer, "issuer", "", "`URL` under which clients reach the server, the issuer of its tokens (default: made of -addr)")
	flags.StringVar(&o.db, "db", "", "`file` of the SQLite database, or postgres://user@host/database for servers on several machines, which takes its password from PGPASSWORD or ~/.pgpass too (default: gatewright/server.db in the user's cache directory)")
	flags.StringVar(&o.secrets, "secrets", "", "`file` of the keys, made if it is missing, the same for all servers that share a database (default: beside the SQLite database)")
	var redisURL string
	flags.StringVar(&redisURL, "redis", "", "`URL` of a Redis in which several servers count limits together, as redis://host:6379/0; without one PostgreSQL does, and with SQLite each process for itself")
	flags.StringVar(&o.revocations, "revocations", "", "`file` of what was revoked, of one process at a time, or \"database\" or \"redis\" for one that several may share (default: \"database\" with PostgreSQL, a file beside the SQLite database)")
	flags.StringVar(&o.sessions, "sessions", inDatabase, "where sessions are kept: \"database\" or \"redis\"")
	flags.StringVar(&o.factors, "factors", inDatabase, "where second factors are kept: \"database\" or \"redis\"")
	flags.DurationVar(&o.limitTimeout, "limit-timeout", 50*time.Millisecond, "how `long` a request waits for where limits are counted together; then this process counts it by itself")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "`file` of the TLS certificate; serves HTTPS")
	flags.StringVar(&o.tlsKey, "tls-key", "", "`file` of the certificate's private key")
	list := func(to *[]string) func(string) error {
		return func(s string) error { *to = append(*to, strings.Split(s, ",")...); return nil }
	}
	flags.Func("host", "`name` that requests may be for, beside those of -issuer and -addr; several with commas, or again", list(&o.hosts))
	flags.Func("trusted-proxy", "`prefix` or address of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; several as above", list(&o.trustedProxies))
	flags.Func("cors-origin", "`origin` whose pages may use the server, as https://app.example.com; several as above", list(&o.corsOrigins))
	flags.BoolVar(&o.insecureNoLimits, "insecure-no-limits", false, "limit nothing but /limited/, for load tests: passwords can be guessed without end")
	flags.BoolVar(&o.listRoutesAndEnd, "routes", false, "print each route with what it demands, and end")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", withoutRest(flags.Arg(0)))
	}
	if (o.tlsCert == "") != (o.tlsKey == "") {
		return o, errors.New("-tls-cert and -tls-key go together")
	}
	return o, errors.Join(o.parseDatabase(), o.parseRedis(redisURL))
}

// withoutRest cuts off what is behind the scheme of a URL: there may be a
// password in it.
func withoutRest(url string) string {
	if scheme, _, ok := strings.Cut(url, "://"); ok {
		return scheme + "://…"
	}
	return url
}

// parseDatabase reads -db, and what it decides about other flags.
func (o *options) parseDatabase() (err error) {
	if scheme, _, isURL := strings.Cut(o.db, "://"); isURL {
		if scheme != "postgres" && scheme != "postgresql" {
			return fmt.Errorf("-db %s: want the path of an SQLite file, or postgres://…", withoutRest(o.db))
		}
		if o.postgres, err = parsePostgres(o.db); err != nil {
			return err
		}
		o.db = nameOfPostgres(o.postgres)
		o.revocations = cmp.Or(o.revocations, inDatabase)
		var errs []error
		if o.secrets == "" {
			errs = append(errs, errors.New("-secrets is needed with PostgreSQL: all servers that share it have to sign tokens, seal second factors and hash API keys with the same keys"))
		}
		if o.revocations != inDatabase && o.revocations != inRedis {
			errs = append(errs, fmt.Errorf("-revocations %s: servers that share PostgreSQL have to know of each other's logouts, want %s or %s", o.revocations, inDatabase, inRedis))
		}
		return errors.Join(errs...)
	}
	if o.db == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("-db is needed: %w", err)
		}
		o.db = filepath.Join(cache, "gatewright", "server.db")
	}
	o.secrets = cmp.Or(o.secrets, o.db+".secrets")
	o.revocations = cmp.Or(o.revocations, o.db+".revocations")
	return nil
}

// parseRedis reads -redis, and checks what needs it.
func (o *options) parseRedis(url string) (err error) {
	var errs []error
	if url != "" {
		if o.redisOptions, err = parseRedis(url); err != nil {
			errs = append(errs, err)
		}
	}
	for _, where := range []struct{ name, value string }{{"revocations", o.revocations}, {"sessions", o.sessions}, {"factors", o.factors}} {
		if where.value == inRedis && url == "" {
			errs = append(errs, fmt.Errorf("-%s %s: -redis is needed to say which", where.name, inRedis))
		}
		if where.name != "revocations" && where.value != inRedis && where.value != inDatabase {
			errs = append(errs, fmt.Errorf("-%s is %q, want %s or %s", where.name, where.value, inDatabase, inRedis))
		}
	}
	return errors.Join(errs...)
}

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

	listener, err := net.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	scheme := "http"
	if o.tlsCert != "" {
		scheme = "https"
	}
	url := scheme + "://" + listener.Addr().String()
	if o.issuer == "" && o.postgres != nil {
		log.Warn("other servers have another issuer, and refuse the tokens of this one: -issuer says where clients reach them all")
	}
	o.issuer = cmp.Or(o.issuer, url)

	keys, err := loadSecrets(o.secrets)
	if err != nil {
		return err
	}
	var db *sql.DB
	if o.postgres != nil {
		db, err = openPostgres(ctx, o.postgres)
	} else {
		db, err = openDatabase(ctx, o.db)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if o.postgres != nil {
		if err := keys.agree(ctx, db, o.secrets); err != nil {
			return err
		}
	}

	passwords, err := password.New(password.Config{})
	if err != nil {
		return err
	}
	behindTLS := o.tlsCert == "" && strings.HasPrefix(o.issuer, "https:")
	if behindTLS && len(o.trustedProxies) == 0 {
		log.Warn("whether clients come by https is not known here, so requests in the clear are not refused: -trusted-proxy says who ends TLS")
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
		https:            o.tlsCert != "" || behindTLS && len(o.trustedProxies) > 0,
		trustedProxies:   o.trustedProxies,
		corsOrigins:      o.corsOrigins,
		insecureNoLimits: o.insecureNoLimits,
		limitTimeout:     o.limitTimeout,
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
	defer func() { err = errors.Join(err, app.apiKeys.Close()) }() // when keys were last used
	go app.sweep(ctx)
	go app.sweepLimits(ctx)

	server := newServer(app.handler(), log)
	served := make(chan error, 1)
	go func() {
		if o.tlsCert != "" {
			served <- server.ServeTLS(listener, o.tlsCert, o.tlsKey)
			return
		}
		served <- server.Serve(listener)
	}()
	greet(stdout, url, o, keys.DemoPassword)

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
	for _, route := range app.mux.Routes() {
		fmt.Fprintln(w, route)
	}
	return nil
}

// greet tells a newcomer what to do next. The password of the demo users was
// made up at the first start, and is theirs to change.
func greet(w io.Writer, url string, o options, password string) {
	fmt.Fprintf(w, "Gatewright's reference server listens on %s\n", url)
	fmt.Fprintf(w, "Database %s, secrets %s\n", o.db, o.secrets)
	if o.redisOptions != nil {
		fmt.Fprintf(w, "Redis %s\n", nameOfRedis(o.redisOptions))
	}
	fmt.Fprintf(w, "Demo users, all with the password %s:\n", password)
	for _, u := range demoUsers {
		fmt.Fprintf(w, "  %-6s %s\n", u.Username, u.note)
	}
	fmt.Fprintln(w, "Sign in:")
	insecure := ""
	if strings.HasPrefix(url, "https:") {
		insecure = "-k "
	}
	fmt.Fprintf(w, "curl -s %s%s/token -d grant_type=password -d username=%s -d password=%s\n", insecure, url, demoUsers[0].Username, password)
}
