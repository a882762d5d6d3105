package apikey

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/hidden"
	"github.com/gatewright/gatewright/internal/seen"
)

// An Authenticator identifies callers by API keys. It is a guard.Authenticator and
// safe for concurrent use.
type Authenticator struct {
	config    Config   // without Peppers
	hashers   []hasher // the first makes new hashes
	source    source
	store     KeyStore
	issuer    string
	legacy    HashFinder // nil without Config.LegacyHash
	cache     *keyCache
	usage     usage
	networks  networks
	pairs     seen.Pairs // keys and the addresses where they were good, with a Throttle
	challenge guard.Challenge

	// malformed are the refusals of malformed keys. They contain nothing of the
	// key, so New makes them once.
	malformed []malformed

	// decoy is compared with if there is no record, so that the time is the same.
	decoy hidden.Value[*Record]

	mu      sync.Mutex
	queries map[queryKey]*query
}

var _ guard.Authenticator = (*Authenticator)(nil)

// New returns an Authenticator of the keys in store. The error lists all mistakes.
func New(store KeyStore, config Config) (*Authenticator, error) {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("apikey: "+format, args...)) }
	config.complete(store, mistake)
	from := newSource("Config", config.Header, config.InsecureQueryParameter, mistake)
	if config.Bearer {
		from.bearer = config.Format.owns
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var hashers []hasher
	for _, p := range config.Peppers {
		hashers = append(hashers, newHasher(p))
	}
	config.Peppers = nil
	a := &Authenticator{
		hashers:   hashers,
		config:    config,
		source:    from,
		store:     store,
		issuer:    "apikey:" + config.Format.prefix,
		cache:     newCache(config.CacheSize, config.CacheTTL, config.MissTTL),
		challenge: guard.Challenge{Scheme: scheme, Realm: config.Realm},
		queries:   make(map[queryKey]*query),
	}
	if config.LegacyHash != nil {
		a.legacy = store.(HashFinder) // complete has seen that it is
	}
	for _, reason := range [...]error{errHead, errLength, errChecksum, errSpelling} {
		named := fmt.Errorf("%w; the Format has %s", reason, config.Format.beginnings())
		a.malformed = append(a.malformed, malformed{reason, a.denial(named)})
	}
	a.decoy = hidden.New(&Record{PepperID: hashers[0].id, Hash: Hash(make([]byte, sha256.Size))})
	a.usage = usage{
		interval: config.UsageInterval,
		max:      config.MaxPendingUses,
		timeout:  config.StoreTimeout,
		hooks:    config.Hooks,
		writing:  make(chan struct{}, 1),
		pending:  make(map[string]int64),
		due:      time.Now().Add(config.UsageInterval),
	}
	if recorder, ok := store.(UsageRecorder); ok && config.UsageInterval > 0 {
		a.usage.recorder = recorder
	}
	a.networks = networks{timeout: config.StoreTimeout, hooks: config.Hooks}
	if config.ReportNetworks {
		a.networks.recorder = store.(NetworkRecorder) // complete has seen that it is
	}
	return a, nil
}

// Challenge returns the challenge of the scheme ApiKey.
func (a *Authenticator) Challenge() guard.Challenge { return a.challenge }

// ClaimsBearer reports whether a bearer credential is a key; see Config.Bearer.
func (a *Authenticator) ClaimsBearer(credential string) bool {
	return a.config.Bearer && a.config.Format.owns(credential)
}

// Issuer returns the Issuer of Principals and revocations: "apikey:" and the
// prefix.
func (a *Authenticator) Issuer() string { return a.issuer }

// Authenticate returns the Principal of the key that r carries.
func (a *Authenticator) Authenticate(r *http.Request) (*identity.Principal, error) {
	key, err := a.source.read(r)
	if err != nil {
		return nil, err
	}
	p := guard.NewPrincipal(r)
	if err := a.verify(r.Context(), key, r.RemoteAddr, p); err != nil {
		return nil, a.refusal(err)
	}
	return p, nil
}

// A malformed is an error of Format.Parse, and its refusal.
type malformed struct {
	reason error
	denial *guard.Denial
}

// refusal returns the refusal for an error of verify.
func (a *Authenticator) refusal(err error) error {
	for i := range a.malformed { // the usual ones of junk, and fast
		if err == a.malformed[i].reason {
			return a.malformed[i].denial
		}
	}
	if !errors.Is(err, ErrInvalid) {
		return err
	}
	return a.denial(err)
}

// denial is the refusal for a reason.
func (a *Authenticator) denial(err error) *guard.Denial {
	d := guard.InvalidToken(scheme, err)
	switch {
	case errors.Is(err, ErrAddress):
		// The secret was right: after a 401 the owner would discard a good key.
		// A thief learns from the 403 that the key is good, but not from where.
		return guard.Forbidden(err)
	case a.config.FastAPIStatusCodes:
		d = &guard.Denial{Status: http.StatusForbidden, Code: guard.CodeInvalidToken, Detail: "Invalid API key", Event: guard.EventLoginFail, Err: err}
	}
	if errors.Is(err, ErrRevoked) || errors.Is(err, ErrRotated) {
		d.Event = guard.EventTokenReuse
	}
	return d
}

// Verify returns the Principal of a key. remoteAddr may have a port. The error
// wraps [ErrInvalid] for a bad key, and is a *guard.Denial (429) from the Throttle,
// or another error if Verify could not decide.
func (a *Authenticator) Verify(ctx context.Context, key, remoteAddr string) (*identity.Principal, error) {
	p := new(identity.Principal)
	if err := a.verify(ctx, key, remoteAddr, p); err != nil {
		return nil, err
	}
	return p, nil
}

// parts are the public parts of a key, or empty for a key of an older scheme.
type parts struct{ id, environment string }

// verify is Verify into p.
func (a *Authenticator) verify(ctx context.Context, key, remoteAddr string, p *identity.Principal) error {
	id, environment, err := a.config.Format.Parse(key)
	if err != nil && !a.isLegacy(key) {
		return err
	}
	now := time.Now()
	// Neither form is longer than the buffer, so that it stays on the stack.
	var buffer [maxKey]byte
	s := sha256.Sum256(append(buffer[:0], key...))
	e := a.cache.get(&s, now)
	if e == nil {
		if e, err = a.lookUp(ctx, &s, key, parts{id, environment}, remoteAddr, now); err != nil {
			return err
		}
		now = time.Now() // the store took its time
	}
	r := &e.record
	if err := r.state(now); err != nil {
		return &rejection{err, r.ID, r, ""}
	}
	if !r.allows(remoteAddr) {
		return &rejection{ErrAddress, r.ID, r, remoteAddr}
	}
	*p = identity.Principal{
		Issuer:     a.issuer,
		Subject:    r.Owner,
		Tenant:     r.Tenant,
		Credential: r.ID,
		Client:     identity.FirstParty,
		Roles:      r.Roles,
		Scopes:     r.Scopes,
		IssuedAt:   r.CreatedAt,
		Expires:    r.End(),
	}
	if a.config.Revoker != nil {
		revoked, err := a.config.Revoker.Revoked(ctx, p)
		if err != nil {
			return guard.CannotDecide("apikey: checking whether a key is revoked", err)
		}
		if revoked {
			return &rejection{ErrRevoked, r.ID, r, ""}
		}
	}
	if a.config.OwnerRights != nil {
		roles, scopes, err := a.config.OwnerRights(ctx, p)
		switch {
		case errors.Is(err, guard.ErrInactive):
			return &rejection{ErrOwner, r.ID, r, ""}
		case err != nil:
			return guard.CannotDecide("apikey: loading the rights of a key's owner", err)
		}
		// The record's, in case that p was changed.
		p.Roles, p.Scopes = intersection(r.Roles, roles), intersection(r.Scopes, scopes)
	}
	a.usage.note(ctx, e, now)
	a.networks.note(ctx, e, p, remoteAddr, now)
	return nil
}

// intersection returns the names that both sets have.
func intersection(mine, owners identity.Set) identity.Set {
	if owners.Contains(mine) {
		return mine
	}
	var both []string
	for name := range mine.All() {
		if owners.Has(name) {
			both = append(both, name)
		}
	}
	return identity.NewSet(both...)
}

// isLegacy reports whether a key may be one of the older scheme.
func (a *Authenticator) isLegacy(key string) bool {
	if a.legacy == nil || key == "" || len(key) > maxLegacy {
		return false
	}
	// A new key with a typing error stays one.
	prefix := a.config.Format.prefix
	if strings.HasPrefix(key, prefix) && strings.HasPrefix(key[len(prefix):], "_") {
		return false
	}
	return visible(key)
}

// maxLegacy is the longest key of an older scheme, in bytes, and no other is
// longer.
const (
	maxLegacy = 256
	maxKey    = max(maxLegacy, maxName+1+maxName+1+afterHead)
)

// visible reports whether s is of visible ASCII characters only.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// lookUp returns the entry of a key that is not cached as good. The path is the
// same for every bad key: the Throttle, the refusals of the last second, the
// store, one HMAC and one comparison.
func (a *Authenticator) lookUp(ctx context.Context, s *sum, key string, parts parts, remoteAddr string, now time.Time) (*entry, error) {
	bounded, cancel := context.WithTimeout(ctx, a.config.StoreTimeout)
	defer cancel()
	settle, err := a.reserve(bounded, s, hostOf(remoteAddr), now)
	if err != nil {
		return nil, err
	}
	// If something panics, the attempt stays charged.
	outcome := guard.Failed
	defer func() { settle(outcome) }()
	if err := a.cache.refused(s, now); err != nil {
		return nil, err
	}
	e, err := a.findShared(ctx, bounded, s, key, parts)
	switch {
	case err == nil:
		outcome = guard.Succeeded
	case !errors.Is(err, ErrInvalid):
		outcome = guard.Undecided // an error of the store does not count as a guess
	}
	return e, err
}

// reserve charges the Throttle, unless this very key was good from the address
// lately. To charge only what the store has refused would let parallel guesses
// through.
func (a *Authenticator) reserve(ctx context.Context, s *sum, addr string, now time.Time) (settle func(guard.Outcome), err error) {
	if a.config.Throttle == nil {
		return func(guard.Outcome) {}, nil
	}
	of := pairOf(s, addr)
	note := func(outcome guard.Outcome) {
		switch outcome {
		case guard.Failed:
			// A client that repeats an ended key is charged like any guesser.
			a.pairs.Remove(of)
		case guard.Succeeded:
			a.pairs.Add(of, now)
		}
	}
	if a.pairs.Has(of, now) {
		return note, nil
	}
	back, wait, err := a.config.Throttle.ReserveAddr(ctx, addr)
	switch {
	case err != nil:
		return nil, guard.CannotDecide("apikey: reserving an attempt at the Throttle", err)
	case wait > 0:
		return nil, guard.TooManyAttempts(wait, fmt.Errorf("apikey: too many bad keys from %.64q", addr))
	case back == nil:
		return nil, errors.New("apikey: the Throttle returned neither settle nor retryAfter")
	}
	return func(outcome guard.Outcome) {
		note(outcome)
		back(outcome)
	}, nil
}

// CacheUse counts good keys found in the cache, and good keys that cost a query,
// for metrics. Requests that share a query count once. Both are zero without a
// cache.
func (a *Authenticator) CacheUse() (hits, misses uint64) { return a.cache.use.Counts() }

// A query is one query of the store, for all requests that wait for it.
type query struct {
	done  chan struct{}
	entry *entry
	err   error

	// abandoned means that the request that queried the store ended first.
	abandoned bool
}

// A queryKey identifies a query. A request after an eviction does not wait for a
// query that began before it.
type queryKey struct {
	sum   sum
	epoch uint64
}

// findShared queries the store, or waits for another request that queries it for
// the same key. ctx is the context of the request; bounded has a deadline.
func (a *Authenticator) findShared(ctx, bounded context.Context, s *sum, key string, parts parts) (*entry, error) {
	k := queryKey{*s, a.cache.epoch.Load()}
	for {
		a.mu.Lock()
		q, joined := a.queries[k]
		if !joined {
			q = &query{done: make(chan struct{})}
			a.queries[k] = q
		}
		a.mu.Unlock()
		if !joined {
			a.runQuery(ctx, bounded, q, k, key, parts)
			return q.entry, q.err
		}
		select {
		case <-q.done:
		case <-bounded.Done():
			return nil, guard.CannotDecide("apikey: waiting for the store of keys", bounded.Err())
		}
		if !q.abandoned {
			return q.entry, q.err
		}
	}
}

// runQuery queries the store for all requests that wait for q.
func (a *Authenticator) runQuery(ctx, bounded context.Context, q *query, k queryKey, key string, parts parts) {
	q.abandoned = true // if the store panics
	defer func() {
		a.mu.Lock()
		delete(a.queries, k)
		a.mu.Unlock()
		close(q.done)
	}()
	began := time.Now()
	record, err := a.find(bounded, key, parts)
	switch {
	case err == nil:
		q.entry = &entry{sum: k.sum, record: *record, loaded: began}
		a.cache.put(q.entry, k.epoch, time.Now())
	case errors.Is(err, ErrInvalid):
		q.err = err
		a.cache.putMiss(&k.sum, k.epoch, began, err)
	default:
		q.err = err
		// Its own context ended, not the time for all.
		q.abandoned = ctx.Err() != nil
		return
	}
	q.abandoned = false
}

// find returns the record of a key, our own copy, if the secret is right and
// the key is good now.
func (a *Authenticator) find(ctx context.Context, key string, parts parts) (*Record, error) {
	var found *Record
	var given Hash
	var err error
	legacy := parts.id == ""
	begun, method := a.config.Hooks.Begin(), "apikey.KeyByID"
	if legacy {
		given = a.config.LegacyHash(key)
		method = "apikey.KeyByHash"
		found, err = a.legacy.KeyByHash(ctx, given)
	} else {
		found, err = a.store.KeyByID(ctx, parts.id)
	}
	a.config.Hooks.Measured(ctx, begun, "store", method, failure(err))
	missing := errors.Is(err, ErrNotFound)
	switch {
	case err != nil && !missing:
		return nil, guard.CannotDecide("apikey: querying the store of keys", err)
	case err == nil && found == nil:
		return nil, errors.New("apikey: the store of keys returned neither a record nor an error")
	case missing:
		found = a.decoy.Reveal()
	}
	r := found.Clone()
	for i, p := range r.AllowedPrefixes {
		r.AllowedPrefixes[i] = unmapped(p)
	}

	// Each of these is worked out whatever the others are.
	hasher := a.hasher(r.PepperID)
	retired := hasher == nil && !legacy
	if retired {
		hasher = &a.hashers[0]
	}
	if !legacy {
		given = hasher.hash(key)
	}
	right := given.Equal(r.Hash)
	state := r.state(time.Now())
	another := !legacy && r.ID != parts.id || r.ID == "" || r.Owner == ""
	elsewhere := !legacy && r.Environment != parts.environment || legacy && !slices.Contains(a.config.Format.names(), r.Environment)

	switch {
	case missing:
		return nil, &rejection{ErrUnknown, parts.id, nil, ""}
	case retired:
		return nil, &rejection{ErrPepper, parts.id, &r, a.pepperIDs()}
	case legacy && r.PepperID != "":
		return nil, &rejection{ErrUnknown, "", nil, ""} // not a legacy record: its hash is of another kind
	case !right:
		return nil, &rejection{ErrSecret, parts.id, nil, ""}
	case another:
		return nil, errors.New("apikey: the store of keys returned a record of another key, or without an ID or an owner")
	case elsewhere && legacy:
		return nil, &rejection{ErrEnvironment, r.ID, &r, "one of " + strings.Join(a.config.Format.names(), ", ")}
	case elsewhere:
		return nil, &rejection{ErrEnvironment, r.ID, &r, strconv.Quote(parts.environment)}
	case state != nil:
		return nil, &rejection{state, r.ID, &r, ""}
	}
	return &r, nil
}

// Evict drops a key from the cache. A Manager does so for its own changes.
func (a *Authenticator) Evict(id string) { a.cache.evict(id) }

// recordKey is what [guard.Once] remembers the record of a request under.
type recordKey struct{ a *Authenticator }

// ErrNoKey means that no key of this Authenticator identified the request.
var ErrNoKey = errors.New("apikey: the request was not identified by a key")

// Record returns the record of the key of the request, with at most one query per
// request, or [ErrNoKey].
func (a *Authenticator) Record(ctx context.Context) (Record, error) {
	p, ok := identity.FromContext(ctx)
	if !ok || p.Issuer != a.issuer || p.Credential == "" || identity.CheckNames(p.Credential) != nil {
		return Record{}, ErrNoKey
	}
	if e := a.cache.getByID(p.Credential, time.Now()); e != nil {
		return e.record.Clone(), nil
	}
	r, err := guard.Once(ctx, recordKey{a}, func() (*Record, error) {
		ctx, cancel := context.WithTimeout(ctx, a.config.StoreTimeout)
		defer cancel()
		begun := a.config.Hooks.Begin()
		r, err := a.store.KeyByID(ctx, p.Credential)
		a.config.Hooks.Measured(ctx, begun, "store", "apikey.KeyByID", failure(err))
		if err == nil && r == nil {
			err = errors.New("neither a record nor an error")
		}
		if err != nil {
			return nil, guard.CannotDecide("apikey: querying the store of keys", err)
		}
		return r, nil
	})
	if err != nil {
		return Record{}, err
	}
	return r.Clone(), nil
}

// Handler is middleware for routes that accept only API keys. On a guard.Mux use
// guard.Hooks.Accept.
func (a *Authenticator) Handler(next http.Handler) http.Handler {
	return a.config.Hooks.Identify(a)(demand(a.config.Hooks, a, a.issuer, a.config.FastAPIStatusCodes)(next))
}

// demand is the inner part of Handler.
func demand(hooks guard.Hooks, a guard.Authenticator, issuer string, guides bool) func(http.Handler) http.Handler {
	if !guides {
		return hooks.Accept(a)
	}
	return hooks.Require(func(r *http.Request) error {
		if p, ok := identity.FromContext(r.Context()); ok && p.Issuer == issuer {
			return nil
		}
		return &guard.Denial{
			Status: http.StatusForbidden,
			Code:   guard.CodeUnauthenticated,
			Detail: "API key required",
			Err:    guard.ErrNoCredentials,
		}
	}, guard.Requirement{Kind: guard.KindScheme, Values: []string{scheme}})
}
