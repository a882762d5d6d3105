package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// What the server says about itself: the help, and a summary at the start.

// flagGroups are the flags by what they are about, in the order of the help.
var flagGroups = []struct {
	title string
	names []string
}{
	{"Where it listens", []string{"addr", "issuer", "host", "tls-cert", "tls-key", "open"}},
	{"Behind proxies, and pages of other origins", []string{"trusted-proxy", "trusted-proxy-hops", "cors-origin"}},
	{"Where data is kept", []string{"db", "secrets", "redis", "revocations", "sessions", "factors", "limit-timeout"}},
	{"Users and messages", []string{"demo", "make-admin", "passwords-blocked", "smtp", "mail-from"}},
	{"Operation", []string{"routes", "metrics-addr", "audit-retention", "verify-audit", "checkpoint"}},
	{"Recovery and load tests", []string{"replace-secrets", "insecure-skip-damaged", "insecure-no-limits"}},
}

const helpExamples = `Usage: server [flags]

Examples:
  server -open
	on your own machine: an SQLite database, demo users, the page in the browser
  server -issuer https://app.example.com -trusted-proxy 127.0.0.1 -demo=false
	behind nginx or Caddy on this machine, which speak TLS
  server -addr :443 -issuer https://app.example.com -tls-cert cert.pem -tls-key key.pem -demo=false
	with TLS of its own
  server -db postgres://app@db.internal/app -redis rediss://cache.internal -secrets /etc/gatewright/secrets \
      -issuer https://app.example.com -addr 10.0.0.1:8080 -trusted-proxy 10.0.0.0/8
	one of several machines
  server -routes
	each route with what it demands
`

// printHelp prints examples, and the flags by groups.
func printHelp(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprint(w, helpExamples)
	printed := make(map[string]bool)
	group := func(title string, all []*flag.Flag) {
		if len(all) == 0 {
			return
		}
		some := flag.NewFlagSet("", flag.ContinueOnError)
		some.SetOutput(w)
		for _, f := range all {
			printed[f.Name] = true
			some.Var(f.Value, f.Name, f.Usage)
			some.Lookup(f.Name).DefValue = f.DefValue
		}
		fmt.Fprintf(w, "\n%s:\n", title)
		some.PrintDefaults()
	}
	for _, g := range flagGroups {
		var all []*flag.Flag
		for _, name := range g.names {
			if f := flags.Lookup(name); f != nil {
				all = append(all, f)
			}
		}
		group(g.title, all)
	}
	var rest []*flag.Flag
	flags.VisitAll(func(f *flag.Flag) {
		if !printed[f.Name] {
			rest = append(rest, f)
		}
	})
	group("Others", rest)
}

// explainFlags returns the error of flags.Parse with a flag that may have been meant.
func explainFlags(err error, flags *flag.FlagSet) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return fmt.Errorf("%w; -h lists the flags", err)
	}
	best, least := "", 3
	flags.VisitAll(func(f *flag.Flag) {
		if d := distance(name, f.Name); d < least || strings.HasPrefix(f.Name, name) && best == "" {
			best, least = f.Name, min(d, least)
		}
	})
	if best != "" {
		return fmt.Errorf("there is no flag -%s; did you mean -%s?", withoutRest(name), best)
	}
	return fmt.Errorf("there is no flag -%s; -h lists the flags", withoutRest(name))
}

// distance is how many letters of a are added, removed or replaced in b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		before := row[0]
		row[0] = i + 1
		for j := range b {
			cost := before
			if a[i] != b[j] {
				cost = min(before, row[j], row[j+1]) + 1
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// A state is what the summary says of a feature.
type state string

const (
	on       state = "on"
	off      state = "off"
	insecure state = "insecure"
)

// A feature is a line of the summary.
type feature struct {
	state     state
	name, how string
}

// features returns what is on, off and insecure. page is the URL of the page.
func (o *options) features(listening net.Addr, page string, demo, outbox bool) []feature {
	local := !isWildcard(listening) && isLoopback(listening.String()) && isLoopback(hostOf(o.issuer))
	in := func(where, file string) string {
		switch where {
		case inDatabase:
			return "in the database"
		case inRedis:
			return "in Redis"
		}
		return "in " + file
	}
	https := feature{off, "https", "only this machine reaches the server; -tls-cert and -tls-key serve https"}
	switch {
	case o.tlsCert != "":
		https = feature{on, "https", "with " + o.tlsCert}
	case o.requiresHTTPS():
		https = feature{on, "https", "by the proxies; requests in the clear are refused"}
	case strings.HasPrefix(o.issuer, "https:"):
		https = feature{insecure, "https", "requests in the clear are not refused; -trusted-proxy names the proxy that ends TLS"}
	case !local:
		https = feature{insecure, "https", "passwords and tokens are in the clear; -tls-cert and -tls-key serve https"}
	}
	limits := feature{on, "limits", "counted in this process"}
	switch {
	case o.insecureNoLimits:
		limits = feature{insecure, "limits", "-insecure-no-limits: passwords, codes and keys can be guessed"}
	case o.redisOptions != nil:
		limits.how = "counted in Redis for all servers together"
	case o.postgres != nil:
		limits.how = "counted in the database for all servers together"
	}
	users := feature{off, "demo users", "-make-admin NAME makes a registered user an administrator"}
	switch {
	case demo && local:
		users = feature{on, "demo users", "only this machine reaches them"}
	case demo:
		users = feature{insecure, "demo users", "other machines reach them; begin with a new database and -demo=false"}
	}
	passkeys := feature{on, "passkeys", "at " + page}
	if rpID, _ := domainOfPasskeys(strings.TrimSuffix(page, "/")); rpID == "passkeys.invalid" {
		passkeys = feature{off, "passkeys", "they need a page with https and a domain; -issuer says where it is"}
	}
	mail := feature{off, "mail", "-smtp names a mail server; without one no link and no code is sent"}
	switch {
	case o.smtp != "":
		mail = feature{on, "mail", "by " + nameOfMail(o.smtp)}
	case outbox:
		mail = feature{on, "mail", "in the outbox of the page, sent nowhere"}
	}
	cors := feature{off, "other origins", "-cors-origin names pages that may use the server"}
	if len(o.corsOrigins) > 0 {
		cors = feature{on, "other origins", strings.Join(o.corsOrigins, ", ")}
	}
	proxies := feature{off, "proxies", "X-Forwarded headers are ignored; -trusted-proxy names the proxies"}
	if len(o.trustedProxies) > 0 {
		proxies = feature{on, "proxies", strings.Join(o.trustedProxies, ", ")}
	}
	all := []feature{
		{on, "sessions", in(o.sessions, "")}, {on, "second factors", in(o.factors, "")}, {on, "revocations", in(o.revocations, o.revocations)},
		passkeys, mail, limits, https, proxies, cors, users,
	}
	if o.blocklist != nil {
		all = append(all, feature{on, "blocked passwords", fmt.Sprintf("%d of %d characters or more, in %s", o.blocklist.Count(minPassword), minPassword, o.blockedFile)})
	}
	if o.skipDamaged {
		all = append(all, feature{insecure, "-insecure-skip-damaged", "what a damaged part of the revocations ended is good again"})
	}
	order := []state{insecure, on, off}
	slices.SortStableFunc(all, func(a, b feature) int { return cmp.Compare(slices.Index(order, a.state), slices.Index(order, b.state)) })
	return all
}

// nameOfMail returns what may be shown of the URL of a mail server.
func nameOfMail(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "a mail server"
	}
	return u.Host
}

// printFeatures prints the summary.
func printFeatures(w io.Writer, all []feature, colors bool) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range all {
		shown := string(f.state)
		if colors {
			// Of one length, because they count as text.
			shown = map[state]string{on: "\x1b[32m", off: "\x1b[90m", insecure: "\x1b[31m"}[f.state] + shown + "\x1b[0m"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", shown, f.name, f.how)
	}
	_ = t.Flush() // as for every other line, there is nobody to tell
}

// isTerminal reports whether w is a terminal that shows colors.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
