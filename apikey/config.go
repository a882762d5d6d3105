package apikey

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A Revoker reports revoked credentials, such as a *blacklist.Replica. It is safe
// for concurrent use.
type Revoker interface {
	// Revoked reports whether p's credential is revoked. An error is answered
	// 503.
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)
}

// A Throttle limits guesses by address, such as a *ratelimit.KeyThrottle. It is
// safe for concurrent use.
type Throttle interface {
	// ReserveAddr charges one attempt to an address without a port. A positive
	// retryAfter refuses the attempt (429). Otherwise the caller calls settle
	// once, which refunds the charge unless the outcome is guard.Failed.
	ReserveAddr(ctx context.Context, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error)
}

// Config configures an [Authenticator].
type Config struct {
	// Format is the spelling of the keys, from [NewFormat]. Required.
	Format Format

	// Peppers are the secrets of the keyed hashes. The first makes new hashes, all
	// verify. To add one, append it in all processes, then move it to the front.
	// Removing one refuses its keys. Required.
	Peppers []Pepper

	// Revoker is called on each use of a good key. If nil, other processes may
	// accept a revoked key for up to CacheTTL.
	Revoker Revoker

	// OwnerRights returns the rights of p, the key's owner, which limit the key. It
	// must not change p. guard.ErrInactive refuses the key (401), other errors are
	// 503. If nil, a key keeps rights that its owner has lost.
	OwnerRights func(ctx context.Context, p *identity.Principal) (roles, scopes identity.Set, err error)

	// Throttle limits attempts with keys not cached as good. A key that was good
	// from the same address (IPv6: the same /64) in the last 30 days is not
	// charged; each process remembers 65,536 such pairs. Default: no limit.
	Throttle Throttle

	// CacheTTL is how long a good key is cached, without changes by other
	// processes. At most 5 minutes. Negative: no cache. Default: 5 seconds.
	CacheTTL time.Duration

	// MissTTL is how long a refused key is cached, even if it becomes good. At most
	// 1 second. Negative: no cache. Default: 1 second.
	MissTTL time.Duration

	// CacheSize is the number of cached good keys, half a kilobyte each; a quarter
	// as many refused keys are cached too. At most 1,048,576. Default: 4096.
	CacheSize int

	// StoreTimeout bounds the time of a request in the Throttle and the store. At
	// most 1 minute. Default: 2 seconds.
	StoreTimeout time.Duration

	// UsageInterval is how often uses are written to a [UsageRecorder], 1 second to
	// 24 hours. Negative: never. Default: 1 minute.
	UsageInterval time.Duration

	// MaxPendingUses bounds the keys with an unwritten use. Further uses are lost;
	// an event or Flush reports it. At most 1,048,576. Default: 65,536.
	MaxPendingUses int

	// ReportNetworks emits [EventNewNetwork] at the first use of a key from a
	// network: an IPv4 /24 or an IPv6 /48. The store must be a [NetworkRecorder];
	// it is read once per key and network, and written for each new one. Each
	// process remembers 65,536 such pairs. If the store fails, the key is good and
	// a later use is reported.
	ReportNetworks bool

	// LegacyHash hashes keys of an older scheme: 1 to 256 visible ASCII characters
	// that do not begin with prefix and underscore. Add each by WriteKeys as a
	// Record with its Hash, an ID, and no PepperID. The store must be a
	// [HashFinder]. Junk reaches the store too.
	LegacyHash func(key string) Hash

	Header string // with the key; default: X-API-Key

	// Bearer also reads keys that begin with prefix and underscore from
	// "Authorization: Bearer". No other authenticator gets these credentials.
	Bearer bool

	// InsecureQueryParameter names a query parameter that may carry the key, hidden
	// from inner handlers. URLs leak through logs, browser histories, Referer
	// headers and caches.
	InsecureQueryParameter string

	// FastAPIStatusCodes answers bad keys with 403 "Invalid API key" and, in
	// [Authenticator.Handler], missing keys with 403 "API key required".
	FastAPIStatusCodes bool

	Realm string // of the challenge (RFC 9110 section 11.5)

	Hooks guard.Hooks // writes refusals and receives events
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
		mistake("the KeyStore is nil; use sqlstore.New, or &apikey.Memory{} in tests")
	}
	if len(c.Format.heads) == 0 {
		mistake("Config.Format is zero; use NewFormat")
	}
	mistakesOfPeppers(c.Peppers, mistake)
	duration := func(name string, d *time.Duration, byDefault, atLeast, atMost time.Duration, orOff string) {
		if *d == 0 {
			*d = byDefault
		}
		if (*d < atLeast || *d > atMost) && (*d > 0 || orOff == "") {
			mistake("Config.%s is %v; use %v to %v%s", name, *d, atLeast, atMost, orOff)
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
			mistake("Config.%s is %d; use 1 to %d", name, *n, maxPlaces)
		}
	}
	places("CacheSize", &c.CacheSize, 4096)
	places("MaxPendingUses", &c.MaxPendingUses, 1<<16)
	if _, ok := store.(NetworkRecorder); c.ReportNetworks && store != nil && !ok {
		mistake("Config.ReportNetworks is set and the KeyStore (%T) has no RecordNetwork; use a NetworkRecorder", store)
	}
	if _, ok := store.(HashFinder); c.LegacyHash != nil && store != nil && !ok {
		mistake("Config.LegacyHash is set and the KeyStore (%T) has no KeyByHash; use a HashFinder", store)
	}
}
