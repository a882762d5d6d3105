package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/headers"
)

// The command line: what the flags mean together, and which values are refused.

// options are the values of the flags.
type options struct {
	addr, issuer     string
	db, secrets      string
	postgres         *pgx.ConnConfig // parsed from db; nil: SQLite
	redisOptions     *redis.Options  // nil: none
	revocations      string
	sessions         string
	factors          string
	limitTimeout     time.Duration
	tlsCert, tlsKey  string
	hosts            []string
	trustedProxies   []string
	hops             int
	corsOrigins      []string
	demo             demoFlag
	replaceSecrets   bool
	makeAdmin        string
	skipDamaged      bool
	insecureNoLimits bool
	issuerMissing    bool // settle made one up
	listRoutesAndEnd bool
	openPage         bool
	verifyAudit      bool
	checkpoints      []string
	auditRetention   time.Duration
	smtp, mailFrom   string
	metricsAddr      string                              // empty: no metrics
	blockedFile      string                              // of -passwords-blocked; empty: none
	blocklist        *password.Blocklist                 // what is in it
	mail             func(context.Context, letter) error // nil: no mail server
}

// A demoFlag is the value of -demo. Without the flag it depends on the database.
type demoFlag struct{ given, on bool }

func (f *demoFlag) String() string { return strconv.FormatBool(f.on) }

func (f *demoFlag) Set(s string) (err error) {
	f.given = true
	f.on, err = strconv.ParseBool(s)
	return err
}

// IsBoolFlag lets -demo stand without a value.
func (f *demoFlag) IsBoolFlag() bool { return true }

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {} // only for -h, and not before each error
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8080", "`address` to listen on; for all addresses of the machine, as :8080, -issuer or -host says by which names clients reach it")
	flags.StringVar(&o.issuer, "issuer", "", "`URL` at which clients reach the server, the issuer of its tokens (default: made of -addr, or of the first -host if that is every address)")
	flags.StringVar(&o.db, "db", "", "`file` of the SQLite database, or postgres://user@host/database for servers on several machines, which takes its password from PGPASSWORD or ~/.pgpass too (default: gatewright/server.db in the user's cache directory)")
	flags.StringVar(&o.secrets, "secrets", "", "`file` of the keys, made if it is missing, the same for all servers that share a database (default: beside the SQLite database)")
	flags.BoolVar(&o.replaceSecrets, "replace-secrets", false, "start although the database was used with other secrets: ends all sessions, revokes all API keys and removes all second factors, which the lost secrets protected; passwords stay as they are. Stop the other servers of the database first")
	flags.Var(&o.demo, "demo", "make demo users if the database is new (default: only with SQLite); they are never made again")
	flags.StringVar(&o.makeAdmin, "make-admin", "", "give the role of administrator to the registered `user` of this name, and end")
	var redisURL string
	flags.StringVar(&redisURL, "redis", "", "`URL` of a Redis in which several servers count limits together, as redis://host:6379/0; without one PostgreSQL does, and with SQLite each process for itself")
	flags.StringVar(&o.revocations, "revocations", "", "`file` of what was revoked, of one process at a time, or \"database\" or \"redis\" for one that several may share (default: \"database\" with PostgreSQL, a file beside the SQLite database)")
	flags.StringVar(&o.sessions, "sessions", inDatabase, "where sessions are kept: \"database\" or \"redis\"")
	flags.StringVar(&o.factors, "factors", inDatabase, "where second factors are kept: \"database\" or \"redis\"")
	flags.DurationVar(&o.limitTimeout, "limit-timeout", 50*time.Millisecond, "how `long` a request waits for the store in which limits are counted together; after that the process counts by itself")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "`file` of the TLS certificate; serves HTTPS")
	flags.StringVar(&o.tlsKey, "tls-key", "", "`file` of the certificate's private key")
	list := func(to *[]string) func(string) error {
		return func(s string) error { *to = append(*to, strings.Split(s, ",")...); return nil }
	}
	flags.StringVar(&o.smtp, "smtp", "", "`URL` of the mail server for messages to users, as smtp://mail.example.com:587; SMTP_USER and SMTP_PASSWORD sign in to it (default: on a developer's machine an outbox in the page, elsewhere none)")
	flags.StringVar(&o.blockedFile, "passwords-blocked", "", "`file` of passwords that users may not choose, one a line, at most 16 MiB, in any case of letters; for new passwords, not at sign-in (default: none)")
	flags.StringVar(&o.mailFrom, "mail-from", "", "`address` that messages come from, as noreply@example.com")
	flags.Func("host", "`name` that requests may be for, beside those of -issuer and -addr; several with commas, or again", list(&o.hosts))
	flags.Func("trusted-proxy", "`prefix` or address of reverse proxies that write X-Forwarded-For and X-Forwarded-Proto; several as above", list(&o.trustedProxies))
	flags.IntVar(&o.hops, "trusted-proxy-hops", 1, "`number` of trusted proxies that a request passes, 1 to 16; with too few, all clients share the address of a proxy")
	flags.Func("cors-origin", "`origin` whose pages may use the server, as https://app.example.com; several as above", list(&o.corsOrigins))
	flags.BoolVar(&o.skipDamaged, "insecure-skip-damaged", false, "open a file of -revocations of which a part was damaged: what was revoked in that part is good again")
	flags.BoolVar(&o.insecureNoLimits, "insecure-no-limits", false, "limit nothing but /limited/, for load tests: passwords can be guessed without end")
	flags.DurationVar(&o.auditRetention, "audit-retention", 0, "how `long` the rows of the audit trail are kept, as 8760h for a year (default: for ever)")
	flags.BoolVar(&o.verifyAudit, "verify-audit", false, "verify the audit trail of the database with -secrets, and end; the exit status is 1 if rows were changed, removed or reordered")
	flags.Func("checkpoint", "`checkpoint` of the audit trail, of a line \"audit checkpoint\" in the log, for -verify-audit; several with commas, or -, which reads a log from standard input", list(&o.checkpoints))
	flags.BoolVar(&o.openPage, "open", false, "open the page in the browser when the server listens")
	flags.StringVar(&o.metricsAddr, "metrics-addr", "", "loopback `address` of a second listener with /metrics for Prometheus, as 127.0.0.1:9090 (default: none)")
	flags.BoolVar(&o.listRoutesAndEnd, "routes", false, "print each route with what it demands, and end")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		printHelp(stderr, flags)
		return o, err
	case err != nil:
		return o, explainFlags(err, flags)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", withoutRest(flags.Arg(0)))
	}
	errs := []error{o.checkNetwork(), checkMetricsAddr(o.metricsAddr), o.parseDatabase(), o.parseRedis(redisURL)}
	if o.smtp != "" || o.mailFrom != "" {
		m, err := newMailer(o.smtp, o.mailFrom)
		if err != nil {
			errs = append(errs, err)
		} else {
			o.mail = m.send
		}
	}
	if o.blockedFile != "" {
		var err error
		if o.blocklist, err = readBlocklist(o.blockedFile); err != nil {
			errs = append(errs, err)
		}
	}
	if o.auditRetention < 0 || o.auditRetention > 0 && o.auditRetention < time.Hour {
		errs = append(errs, fmt.Errorf("-audit-retention %s: use an hour or more, or 0 to keep all rows", o.auditRetention))
	}
	if len(o.checkpoints) > 0 && !o.verifyAudit {
		errs = append(errs, errors.New("-checkpoint is for -verify-audit"))
	}
	if (o.tlsCert == "") != (o.tlsKey == "") {
		errs = append(errs, errors.New("-tls-cert and -tls-key go together"))
	}
	return o, errors.Join(errs...)
}

// readBlocklist reads the file of -passwords-blocked.
func readBlocklist(path string) (*password.Blocklist, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("-passwords-blocked: %w", err)
	}
	defer file.Close()
	list, err := password.ReadBlocklist(file)
	if err != nil {
		return nil, fmt.Errorf("-passwords-blocked %s: %w", path, err)
	}
	if list.Count(minPassword) == 0 {
		return nil, fmt.Errorf("-passwords-blocked %s: the file has no password of %d characters or more; shorter ones are refused anyway", path, minPassword)
	}
	return list, nil
}

// withoutRest cuts off what is behind the scheme of a URL: there may be a
// password in it.
func withoutRest(url string) string {
	if scheme, _, ok := strings.Cut(url, "://"); ok {
		return scheme + "://…"
	}
	return url
}

// checkNetwork checks the flags that say where the server listens and who
// reaches it how.
func (o *options) checkNetwork() error {
	errs := []error{checkAddr(o.addr)}
	if o.issuer != "" {
		errs = append(errs, checkIssuer(o.issuer, o.tlsCert != ""))
	}
	for _, host := range o.hosts {
		if _, err := headers.NewTrustedHosts([]string{host}, headers.HostsConfig{}); err != nil || host == "*" {
			errs = append(errs, fmt.Errorf("-host %q: want a name such as app.example.com or *.example.com, or an address with IPv6 in brackets", host))
		}
	}
	for _, prefix := range o.trustedProxies {
		if _, err := headers.NewTrustedProxies([]string{prefix}, headers.ProxiesConfig{}); err != nil {
			errs = append(errs, fmt.Errorf("-trusted-proxy %q: want the address or the prefix of proxies of your own, as 10.0.0.1 or 10.0.0.0/8", prefix))
		}
	}
	if o.hops < 1 || o.hops > 16 {
		errs = append(errs, fmt.Errorf("-trusted-proxy-hops %d: want 1 to 16", o.hops))
	} else if o.hops > 1 && len(o.trustedProxies) == 0 {
		errs = append(errs, fmt.Errorf("-trusted-proxy-hops %d: -trusted-proxy is needed, it says which proxies these are", o.hops))
	}
	for _, origin := range o.corsOrigins {
		if _, err := headers.NewCORS([]string{origin}, headers.CORSConfig{}); err != nil || origin == "*" {
			errs = append(errs, fmt.Errorf("-cors-origin %q: want an origin such as https://app.example.com, without a path", origin))
		}
	}
	return errors.Join(errs...)
}

// checkAddr refuses what net.Listen would take for something else, or refuse
// without saying where it comes from.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil && port == "" {
		err = errors.New("missing port in address")
	}
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || strings.Contains(addr, "/") {
		return fmt.Errorf("-addr %q: want a host and a port of 0 to 65535, as 127.0.0.1:8080 or [::1]:8080", withoutRest(addr))
	}
	return nil
}

// checkIssuer checks -issuer. Tokens name it, clients append paths to it, and
// the host in it is one that requests may be for.
func checkIssuer(issuer string, tls bool) error {
	bad := func(want string) error { return fmt.Errorf("-issuer %q: %s", withoutRest(issuer), want) }
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return bad("want the URL at which clients reach the server, as https://app.example.com")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(issuer, "#"):
		return bad("want the URL without user, query and fragment")
	case u.Scheme == "http" && tls:
		return fmt.Errorf("-issuer %q: want https://, which -tls-cert makes the server speak", issuer)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.Unmap().IsUnspecified() {
		return fmt.Errorf("-issuer %q: want a host that clients can reach, which %s is not", issuer, ip)
	}
	_, errHost := headers.NewTrustedHosts([]string{bracketed(u.Hostname())}, headers.HostsConfig{})
	_, errServer := auth.MetadataPath(issuer)
	_, errResource := auth.ResourceMetadataPath(issuer)
	_, errPort := net.LookupPort("tcp", cmp.Or(u.Port(), "0"))
	if errHost != nil || errServer != nil || errResource != nil || errPort != nil || strings.HasSuffix(u.Host, ":") {
		return fmt.Errorf("-issuer %q: want a host in ASCII, a port of 1 to 65535 if any, and a plain path if any, as https://app.example.com", issuer)
	}
	return nil
}

// isWildcard reports whether a server that listens on addr can be reached at
// every address of the machine.
func isWildcard(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && (len(tcp.IP) == 0 || tcp.IP.IsUnspecified())
}

// settle completes the options by the address that the server listens on, and
// returns the URL at which this machine reaches it.
func (o *options) settle(listening net.Addr) (local string, err error) {
	scheme, usual := "http", "80"
	if o.tlsCert != "" {
		scheme, usual = "https", "443"
	}
	o.issuerMissing = o.issuer == ""
	host, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return "", err
	}
	if !isWildcard(listening) {
		local = scheme + "://" + net.JoinHostPort(host, port)
		o.issuer = cmp.Or(o.issuer, local)
		return local, nil
	}
	local = scheme + "://" + net.JoinHostPort("127.0.0.1", port)
	name := "localhost"
	if len(o.hosts) > 0 && !strings.HasPrefix(o.hosts[0], "*") {
		name = o.hosts[0]
	}
	if o.issuer == "" && len(o.hosts) == 0 {
		o.hosts = addresses()
	}
	o.hosts = append(o.hosts, "localhost", "127.0.0.1", "[::1]")
	if o.issuer != "" {
		return local, nil
	}
	o.issuer = scheme + "://" + name
	if u, err := url.Parse(o.issuer); err == nil && u.Port() == "" && port != usual {
		o.issuer += ":" + port
	}
	return local, checkIssuer(o.issuer, o.tlsCert != "")
}

// addresses returns the addresses of this machine, as they stand in a URL. A
// page on another site cannot make a browser send one of them for its own name.
func addresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the names that remain are enough to begin with
	}
	var hosts []string
	for _, one := range all {
		if network, ok := one.(*net.IPNet); ok && !network.IP.IsLoopback() {
			hosts = append(hosts, bracketed(network.IP.String()))
		}
	}
	return hosts
}

// showsOutbox reports whether messages to users are shown to everyone on this
// machine and sent nowhere: on the machine of a developer with demo users, which no
// other machine and no proxy can reach.
func (o *options) showsOutbox(listening net.Addr) bool {
	return o.smtp == "" && o.demo.on && o.postgres == nil && isLoopback(listening.String()) && isLoopback(hostOf(o.issuer)) && len(o.trustedProxies) == 0
}

// listen opens -addr.
func (o *options) listen() (net.Listener, error) {
	listener, err := net.Listen("tcp", o.addr)
	if err != nil {
		return nil, fmt.Errorf("-addr %s: %w; another address or port, as -addr 127.0.0.1:0 for a free one, may do", o.addr, err)
	}
	return listener, nil
}

// certificate reads the certificate and its key, nil if the server speaks http.
func (o *options) certificate() (*tls.Certificate, error) {
	if o.tlsCert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("-tls-cert %s, -tls-key %s: %w; want PEM files of a certificate and its private key", o.tlsCert, o.tlsKey, err)
	}
	return &pair, nil
}

// requiresHTTPS reports whether requests that did not come by https are
// redirected or refused.
func (o *options) requiresHTTPS() bool {
	return o.tlsCert != "" || strings.HasPrefix(o.issuer, "https:") && len(o.trustedProxies) > 0
}

// trustsLoopback reports whether this machine is one of the trusted proxies.
func (o *options) trustsLoopback() bool {
	here := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return slices.ContainsFunc(o.trustedProxies, func(s string) bool {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			return prefix.Contains(here)
		}
		addr, err := netip.ParseAddr(s)
		return err == nil && addr == here
	})
}

// open opens the database.
func (o *options) open(ctx context.Context) (*sql.DB, error) {
	if o.postgres != nil {
		return openPostgres(ctx, o.postgres)
	}
	db, err := openDatabase(ctx, o.db)
	if err != nil {
		err = fmt.Errorf("-db %s: %w", o.db, err)
	}
	return db, err
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
			errs = append(errs, fmt.Errorf("-revocations %s: servers that share PostgreSQL have to share their logouts, want %s or %s", o.revocations, inDatabase, inRedis))
		}
		return errors.Join(errs...)
	}
	if !o.demo.given {
		o.demo.on = true
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
