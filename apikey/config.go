package apikey

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A Revoker knows which credentials were ended before their time. A
// *blacklist.Replica is one. It is asked about principals with the Issuer
// "apikey:" and the prefix of the keys. It is safe for concurrent use.
type Revoker interface {
	// Revoked reports whether p's credential is revoked. An error means
	// that it could not be found out, which refuses the request with 503.
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)
}

// A Throttle limits how often keys may be guessed from an address. It is safe
// for concurrent use. A *ratelimit.KeyThrottle is one.
type Throttle interface {
	// ReserveAddr charges one attempt from the address (without the port),
	// before the store is asked, so that parallel guesses cannot slip
	// through. A positive retryAfter refuses it (429), and settle is nil
	// then. Otherwise settle is called once when the attempt is over: what
	// was charged is given back unless it failed.
	ReserveAddr(ctx context.Context, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error)
}

// Config says which keys are accepted. Format and Peppers are required.
type Config struct {
	// Format is how the keys are spelled, from [NewFormat], with the
	// environments of this service. Required.
	Format Format

	// Peppers are the secrets that hashes of keys are made with. The first
	// makes new ones; the others still verify. Keep each until the last key
	// that was issued with it has been rotated: without its pepper a key is
	// refused. If there are several processes, put a new one last in all of
	// them before it becomes the first in any. Required.
	Peppers []Pepper

	// Revoker is asked about each key that is good otherwise. Default: what
	// the record says, which other processes hear of when they have
	// forgotten what they remember: see CacheTTL.
	Revoker Revoker

	// OwnerRights returns what the owner of a key may do today. The key's
	// roles and scopes are cut down to these: those that it has and its
	// owner has too. guard.ErrInactive refuses the key (401), any other
	// error is answered 503. p is what the key would be good for, and not
	// to be changed. Use guard.Once to share the load with other guards.
	// Default: the rights in the record, so a key keeps what its owner has
	// lost.
	OwnerRights func(ctx context.Context, p *identity.Principal) (roles, scopes identity.Set, err error)

	// Throttle limits guessing. It is asked before the store, for each key
	// that is not remembered as a good one. A key that was good from the
	// same address (of IPv6, from the same /64) in the last 30 days does not
	// ask it, so a guesser behind the address of others holds up none but
	// those who come there for the first time; 65,536 such pairs are
	// remembered in this process, and one is forgotten once its key is
	// refused. A ratelimit.KeyThrottle is one; a ratelimit.SignIn is none,
	// for its limits are those of passwords. Default: none. The secrets cannot be guessed, but each well-formed
	// guess is a question to the store.
	Throttle Throttle

	// CacheTTL is how long the record of a good key is remembered, from
	// before the store was asked: until then this process may miss that it
	// was changed elsewhere. Dates, networks, Revoker and OwnerRights are
	// looked at on each use all the same, and [Authenticator.Evict] forgets
	// at once. At most 5 minutes. Negative: nothing is remembered. Default:
	// 5 seconds.
	CacheTTL time.Duration

	// MissTTL is how long a well-formed key that was refused is remembered,
	// so that its repetition does not reach the store. At most 1 second.
	// Negative: not at all. Default: 1 second.
	MissTTL time.Duration

	// CacheSize is how many good keys are remembered. One takes about half
	// a kilobyte. There is room for a quarter as many refused ones, which
	// push no good ones out. At most 1,048,576. Default: 4096.
	CacheSize int

	// StoreTimeout is how long the Throttle and the store may take together
	// for a request, and how long a request waits for another that asks for
	// the same key. At most 1 minute. Default: 2 seconds.
	StoreTimeout time.Duration

	// UsageInterval is how often LastUsedAt is written for a key, if the
	// store is a [UsageRecorder]: see [Authenticator.Flush]. At least 1
	// second, at most 24 hours. Negative: never. Default: 1 minute.
	UsageInterval time.Duration

	// MaxPendingUses is how many keys may be waiting for their use to be
	// written; the uses of others are lost, which an event tells. At most
	// 1,048,576. Default: 65,536.
	MaxPendingUses int

	// LegacyHash makes a hash of keys of an older scheme: all that do not
	// begin with the prefix of Format and an underscore. The store must be
	// a [HashFinder]. They are 1 to 256 characters of visible ASCII, and
	// have no checksum, so junk reaches the store. Default: none are
	// accepted.
	LegacyHash func(key string) Hash

	// Header is where keys are looked for, beside "Authorization: ApiKey".
	// Default: X-API-Key.
	Header string

	// Bearer accepts keys in "Authorization: Bearer" too, as many client
	// libraries send them. The prefix of Format decides: what begins with it and
	// an underscore is an API key, and guard.Hooks.Identify does not pass it to
	// authenticators with the scheme Bearer; everything else is left to them. No
	// signed token begins so. Keys of an older scheme (LegacyHash) are not
	// accepted there. Default: false.
	Bearer bool

	// InsecureQueryParameter is the name of a parameter of the query that
	// may carry the key, for clients that cannot set headers. URLs are
	// written to the logs of proxies and of this server, to browser
	// histories and to Referer headers, and responses are cached under
	// them: whoever reads one of these has the key. The parameter is taken
	// out of the URL before the next handler sees it; those outside of the
	// authenticator have seen it. Default: keys in URLs are not looked at.
	InsecureQueryParameter string

	// FastAPIStatusCodes answers a bad key with 403 as FastAPI's guide does
	// ("Invalid API key"), and [Authenticator.Handler] so a missing one
	// ("API key required"), instead of 401 with a challenge. Default: 401.
	FastAPIStatusCodes bool

	// Realm goes into the challenge (RFC 9110 section 11.5). Default: left
	// out.
	Realm string

	// Hooks says how refusals look and who hears of events. Default: see
	// [guard.Hooks].
	Hooks guard.Hooks
}

// Bounds of the Config.
const (
	maxCacheTTL = 5 * time.Minute
	maxMissTTL  = time.Second
	maxPlaces   = 1 << 20
)

// complete fills in the defaults and reports every mistake.
func (c *Config) complete(store KeyStore, mistake func(format string, args ...any)) {
	if store == nil {
		mistake("the KeyStore is nil, want one such as sqlstore.New(db, …), or &apikey.Memory{} in tests")
	}
	if len(c.Format.heads) == 0 {
		mistake("Config.Format is zero, want one from NewFormat")
	}
	mistakesOfPeppers(c.Peppers, mistake)
	duration := func(name string, d *time.Duration, byDefault, atLeast, atMost time.Duration, orOff string) {
		if *d == 0 {
			*d = byDefault
		}
		if (*d < atLeast || *d > atMost) && (*d > 0 || orOff == "") {
			mistake("Config.%s is %v, want %v to %v%s", name, *d, atLeast, atMost, orOff)
		}
	}
	const orOff = ", or a negative one for none"
	duration("CacheTTL", &c.CacheTTL, 5*time.Second, 1, maxCacheTTL, orOff)
	duration("MissTTL", &c.MissTTL, maxMissTTL, 1, maxMissTTL, orOff)
	duration("UsageInterval", &c.UsageInterval, time.Minute, time.Second, 24*time.Hour, orOff)
	duration("StoreTimeout", &c.StoreTimeout, 2*time.Second, 1, time.Minute, "")
	places := func(name string, n *int, byDefault int) {
		if *n == 0 {
			*n = byDefault
		}
		if *n < 1 || *n > maxPlaces {
			mistake("Config.%s is %d, want 1 to %d", name, *n, maxPlaces)
		}
	}
	places("CacheSize", &c.CacheSize, 4096)
	places("MaxPendingUses", &c.MaxPendingUses, 1<<16)
	if _, ok := store.(HashFinder); c.LegacyHash != nil && store != nil && !ok {
		mistake("Config.LegacyHash is set and the KeyStore (%T) has no KeyByHash, want a HashFinder", store)
	}
}
