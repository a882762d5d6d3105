package passkey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// Config configures a [RelyingParty].
type Config struct {
	// RPID is the domain of the passkeys, such as "example.com", without port.
	// Passkeys stop working when it changes. Required.
	RPID string

	// Name is the name of the site in authenticators. Required.
	Name string

	// Origins are the origins of pages that may use the passkeys, compared byte for
	// byte: "https://example.com" or "android:apk-key-hash:…" of an app. Origins
	// outside RPID also need [RelyingParty.RelatedOrigins]. Required.
	Origins []string

	// TopOrigins are origins of pages that may embed a page of Origins. Some
	// browsers do not report them: set frame-ancestors too.
	TopOrigins []string

	// Issuer is the issuer of access tokens. Other callers get 403. Required.
	Issuer string

	// Keys are secrets of at least 32 random bytes, shared by all processes. The
	// first makes challenges, all verify. Required.
	Keys []guard.Secret

	// Once records the use of a challenge in one atomic step, and reports whether
	// it is the first. Required. With package auth:
	//
	//	func(ctx context.Context, id [32]byte, expires time.Time) (bool, error) {
	//		return sessions.AttemptChallenge(ctx, auth.TokenHash(id), 1, expires)
	//	}
	Once func(ctx context.Context, id [32]byte, expires time.Time) (first bool, err error)

	// User returns the names of a subject for authenticators. Required.
	User func(ctx context.Context, subject string) (User, error)

	// Authorize verifies the proof for adding or removing a passkey: the current
	// password, or a code. It must limit wrong proofs, for which it returns
	// [identity.ErrNotProven]. Errors are 503, except a *guard.Denial. Required.
	Authorize func(ctx context.Context, p *identity.Principal, proof string) error

	// SecondFactor reports whether the subject has a second factor other than a
	// passkey. If nil, only passkeys count.
	SecondFactor func(ctx context.Context, subject string) (bool, error)

	// AnotherWayIn reports whether the subject can sign in without a passkey. If
	// nil, the last passkey cannot be removed.
	AnotherWayIn func(ctx context.Context, subject string) (bool, error)

	// Revoked reports whether the caller's session has ended, from the log of
	// revocations, not a replica. It is called before and after a passkey is added,
	// and before one is removed. If true or an error, the change is refused or
	// undone. If nil, a passkey that is added while the session ends on another
	// machine may stay.
	Revoked func(ctx context.Context, p *identity.Principal) (bool, error)

	// Fresh is the maximum age of a sign-in that may add or remove a passkey, 1
	// minute to 24 hours. Default: 10 minutes.
	Fresh time.Duration

	// Max is the maximum number of passkeys of a subject, 1 to 100. Default: 20.
	Max int

	// RefuseClones rejects an assertion whose counter did not grow, which locks out
	// users of some synchronizing authenticators. Default: only an event.
	RefuseClones bool

	// Notify is called after each change, to send a message to the user. It must
	// not block.
	Notify func(ctx context.Context, c Change)

	Hooks guard.Hooks // receives events and writes refusals
}

// A User has the names of an account in authenticators.
type User struct {
	Name        string // a login or an e-mail address; required
	DisplayName string // Default: Name
}

// A Change is the argument of Config.Notify.
type Change struct {
	Kind    ChangeKind
	Passkey Passkey
}

// A ChangeKind is a kind of change of a passkey.
type ChangeKind string

// The kinds of changes.
const (
	Added   ChangeKind = "added"
	Renamed ChangeKind = "renamed"
	Removed ChangeKind = "removed"
)

// Audit events of passkeys. Principal is the caller, Target is the owner of the passkey,
// and Changes are factor and passkey, its ID.
const (
	EventAdded   guard.EventName = "factor_confirmed"
	EventRenamed guard.EventName = "factor_renamed"
	EventRemoved guard.EventName = "factor_removed"
	EventUsed    guard.EventName = "factor_used"
)

const (
	minKey  = 32 // bytes
	maxName = 64
)

// New returns a RelyingParty that keeps passkeys in store. The error lists all
// mistakes.
func New(store Store, config Config) (*RelyingParty, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("passkey: "+format, args...)) }
	if store == nil {
		mistake("the Store is nil; use sqlstore.New")
	}
	if problem := rpIDProblem(config.RPID); problem != "" {
		mistake("Config.RPID is %q, %s", config.RPID, problem)
	}
	if config.Name == "" {
		mistake("Config.Name is empty; set the name of the site")
	}
	if config.Issuer == "" {
		mistake("Config.Issuer is empty; set the issuer of the access tokens")
	}
	if len(config.Origins) == 0 {
		mistake("Config.Origins is empty; set the origin of the page, such as https://%s", config.RPID)
	}
	own := false
	for i, o := range config.Origins {
		if problem := originProblem(o); problem != "" {
			mistake("Config.Origins[%d] is %q, %s", i, o, problem)
		}
		own = own || belongsTo(o, config.RPID)
	}
	if len(config.Origins) > 0 && !own {
		mistake("Config.Origins has no origin of the domain %q, so browsers would refuse to make passkeys; add one", config.RPID)
	}
	for i, o := range config.TopOrigins {
		if problem := originProblem(o); problem != "" {
			mistake("Config.TopOrigins[%d] is %q, %s", i, o, problem)
		}
	}
	mistakes.Secrets(mistake, "Config.Keys", minKey, config.Keys)
	if config.Once == nil {
		mistake("Config.Once is nil; use the AttemptChallenge of a session store of package auth")
	}
	if config.User == nil {
		mistake("Config.User is nil; return the login of the subject")
	}
	if config.Authorize == nil {
		mistake("Config.Authorize is nil; verify the current password")
	}
	if config.Fresh == 0 {
		config.Fresh = 10 * time.Minute
	}
	if config.Fresh < time.Minute || config.Fresh > 24*time.Hour {
		mistake("Config.Fresh is %v; use 1m to 24h", config.Fresh)
	}
	if config.Max == 0 {
		config.Max = 20
	}
	if config.Max < 1 || config.Max > 100 {
		mistake("Config.Max is %d; use 1 to 100", config.Max)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	config.Origins, config.TopOrigins, config.Keys = slices.Clone(config.Origins), slices.Clone(config.TopOrigins), slices.Clone(config.Keys)
	store = measuredStore{store, config.Hooks}
	return &RelyingParty{config: config, store: store, macs: macs(config.Keys)}, nil
}

// rpIDProblem returns what is wrong with an RP ID, or "".
func rpIDProblem(id string) string {
	if _, err := netip.ParseAddr(id); err == nil {
		return "an IP address, which browsers refuse; use a domain, or localhost"
	}
	if id == "" || len(id) > 253 {
		return "not a domain; use the domain of the site"
	}
	for label := range strings.SplitSeq(id, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return "not a domain in lower-case ASCII without port; use the domain of the site"
		}
	}
	return ""
}

// originProblem returns what is wrong with an origin, or "".
func originProblem(origin string) string {
	if hash, ok := strings.CutPrefix(origin, "android:apk-key-hash:"); ok && hash != "" {
		return ""
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin || u.User != nil {
		return "not an origin; use scheme, host and port only, in lower case, such as https://example.com"
	}
	switch {
	case u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
		return "has the default port, which browsers leave out; remove the port"
	case u.Scheme == "https", u.Scheme == "http" && (u.Hostname() == "localhost" || strings.HasSuffix(u.Hostname(), ".localhost")):
		return ""
	}
	return "not secure; use https, or http://localhost on the developer's machine"
}

// belongsTo reports whether pages of origin may use the RP ID without related
// origins. An app has no domain.
func belongsTo(origin, rpID string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return host == rpID || strings.HasSuffix(host, "."+rpID) || u.Scheme == "android"
}
