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
)

// An Authenticator identifies callers by API keys and implements
// [guard.Authenticator]. It is safe for concurrent use if its store and the
// values of its Config are.
type Authenticator struct {
	config    Config   // without Peppers
	hashers   []hasher // the first makes new hashes
	source    source
	store     KeyStore
	issuer    string
	legacy    HashFinder // nil without Config.LegacyHash
	cache     *cache
	usage     usage
	pairs     pairs // only with a Throttle
	challenge guard.Challenge

	// malformed are the refusals of keys that are none, made once: they say
	// nothing of the key.
	malformed []malformed

	// nobody is compared with where no record is, so that this takes as long.
	nobody hidden.Value[*Record]

	mu      sync.Mutex
	flights map[flightKey]*flight
}

var _ guard.Authenticator = (*Authenticator)(nil)

// New returns an Authenticator of the keys in store. The error lists every
// mistake in config.
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
		flights:   make(map[flightKey]*flight),
	}
	if config.LegacyHash != nil {
		a.legacy = store.(HashFinder) // complete has seen that it is
	}
	for _, reason := range [...]error{errHead, errLength, errChecksum, errSpelling} {
		named := fmt.Errorf("%w; the Format has %s", reason, config.Format.beginnings())
		a.malformed = append(a.malformed, malformed{reason, a.denial(named)})
	}
	a.nobody = hidden.New(&Record{PepperID: hashers[0].id, Hash: Hash(make([]byte, sha256.Size))})
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
	return a, nil
}

// Challenge returns the challenge of the scheme ApiKey.
func (a *Authenticator) Challenge() guard.Challenge { return a.challenge }

// ClaimsBearer reports whether a credential of "Authorization: Bearer" is a key
// for this Authenticator: see Config.Bearer.
func (a *Authenticator) ClaimsBearer(credential string) bool {
	return a.config.Bearer && a.config.Format.owns(credential)
}

// Issuer returns the Issuer of Principals and of revocations: "apikey:" and the
// prefix.
func (a *Authenticator) Issuer() string { return a.issuer }

// Authenticate returns the Principal of the key that r carries. The package
// page lists the refusals.
func (a *Authenticator) Authenticate(r *http.Request) (*identity.Principal, error) {
	key, err := a.source.read(r)
	if err != nil {
		return nil, err
	}
	p := guard.NewPrincipal(r)
	if err := a.verify(r.Context(), key, r.RemoteAddr, p); err != nil {
		return nil, a.answer(err)
	}
	return p, nil
}

// A malformed is what Format.Parse returns, and the refusal for it.
type malformed struct {
	reason error
	denial *guard.Denial
}

// answer makes a refusal of what verify returns.
func (a *Authenticator) answer(err error) error {
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
		// The secret was right: a 401 would make the owner throw a good key
		// away, and who has stolen it learns what they see anyway.
		return guard.Forbidden(err)
	case a.config.FastAPIStatusCodes:
		d = &guard.Denial{Status: http.StatusForbidden, Code: guard.CodeInvalidToken, Detail: "Invalid API key", Event: guard.EventLoginFail, Err: err}
	}
	if errors.Is(err, ErrRevoked) || errors.Is(err, ErrRotated) {
		d.Event = guard.EventTokenReuse
	}
	return d
}

// Verify returns the Principal of a key, for gRPC and other callers without an
// http.Request. remoteAddr has the form of http.Request.RemoteAddr. The error
// wraps [ErrInvalid] for a bad key, is a *guard.Denial with status 429 from the
// Throttle, and another error if Verify could not decide.
func (a *Authenticator) Verify(ctx context.Context, key, remoteAddr string) (*identity.Principal, error) {
	p := new(identity.Principal)
	if err := a.verify(ctx, key, remoteAddr, p); err != nil {
		return nil, err
	}
	return p, nil
}

// verify is Verify into p.
func (a *Authenticator) verify(ctx context.Context, key, remoteAddr string, p *identity.Principal) error {
	parts, err := a.config.Format.Parse(key)
	if err != nil && !a.isLegacy(key) {
		return err
	}
	now := time.Now()
	// Neither form is longer than the buffer, so that it stays on the stack.
	var buffer [maxKey]byte
	s := sha256.Sum256(append(buffer[:0], key...))
	e := a.cache.get(&s, now)
	if e == nil {
		if e, err = a.look(ctx, &s, key, parts, remoteAddr, now); err != nil {
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
			return guard.CannotDecide("apikey: asking whether a key is revoked", err)
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
			return guard.CannotDecide("apikey: asking what the owner of a key may do", err)
		}
		// The record's, in case that p was changed.
		p.Roles, p.Scopes = cut(r.Roles, roles), cut(r.Scopes, scopes)
	}
	a.usage.note(ctx, e, now)
	return nil
}

// cut returns the names that both have.
func cut(mine, owners identity.Set) identity.Set {
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

// look asks for a key that is not remembered as a good one. Whatever is wrong
// with it, the path is the same: the Throttle, the refusals of the last second,
// the store, one HMAC and one comparison.
func (a *Authenticator) look(ctx context.Context, s *sum, key string, parts Parts, remoteAddr string, now time.Time) (*entry, error) {
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
	e, err := a.share(ctx, bounded, s, key, parts)
	switch {
	case err == nil:
		outcome = guard.Succeeded
	case !errors.Is(err, ErrInvalid):
		outcome = guard.Undecided // a store that does not answer is nobody's failure
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
			// Whoever repeats a key that has ended is a guesser like others.
			a.pairs.remove(of)
		case guard.Succeeded:
			a.pairs.add(of, now)
		}
	}
	if a.pairs.has(of, now) {
		return note, nil
	}
	back, wait, err := a.config.Throttle.ReserveAddr(ctx, addr)
	switch {
	case err != nil:
		return nil, guard.CannotDecide("apikey: asking the throttle", err)
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

// A flight is a question to the store that several requests wait for.
type flight struct {
	done  chan struct{}
	entry *entry
	err   error

	// abandoned means that who asked went away before there was an answer.
	abandoned bool
}

// A flightKey is what they ask for. Whoever asks after an eviction does not
// wait for an answer from before.
type flightKey struct {
	sum   sum
	epoch uint64
}

// share asks the store, or waits for another request that is asking for the
// same key. ctx is the request's, bounded has an end.
func (a *Authenticator) share(ctx, bounded context.Context, s *sum, key string, parts Parts) (*entry, error) {
	k := flightKey{*s, a.cache.epoch.Load()}
	for {
		a.mu.Lock()
		f, joined := a.flights[k]
		if !joined {
			f = &flight{done: make(chan struct{})}
			a.flights[k] = f
		}
		a.mu.Unlock()
		if !joined {
			a.fly(ctx, bounded, f, k, key, parts)
			return f.entry, f.err
		}
		select {
		case <-f.done:
		case <-bounded.Done():
			return nil, guard.CannotDecide("apikey: waiting for the store of keys", bounded.Err())
		}
		if !f.abandoned {
			return f.entry, f.err
		}
	}
}

// fly asks the store for all that wait.
func (a *Authenticator) fly(ctx, bounded context.Context, f *flight, k flightKey, key string, parts Parts) {
	f.abandoned = true // if the store panics
	defer func() {
		a.mu.Lock()
		delete(a.flights, k)
		a.mu.Unlock()
		close(f.done)
	}()
	asked := time.Now()
	record, err := a.find(bounded, key, parts)
	switch {
	case err == nil:
		f.entry = &entry{sum: k.sum, record: *record, loaded: asked}
		a.cache.put(f.entry, k.epoch, time.Now())
	case errors.Is(err, ErrInvalid):
		f.err = err
		a.cache.putMiss(&k.sum, k.epoch, asked, err)
	default:
		f.err = err
		// Its own context ended, not the time for all.
		f.abandoned = ctx.Err() != nil
		return
	}
	f.abandoned = false
}

// find returns the record of a key, our own copy, if the secret is right and
// the key is good now.
func (a *Authenticator) find(ctx context.Context, key string, parts Parts) (*Record, error) {
	var found *Record
	var given Hash
	var err error
	legacy := parts == Parts{}
	if legacy {
		given = a.config.LegacyHash(key)
		found, err = a.legacy.KeyByHash(ctx, given)
	} else {
		found, err = a.store.KeyByID(ctx, parts.ID)
	}
	missing := errors.Is(err, ErrNotFound)
	switch {
	case err != nil && !missing:
		return nil, guard.CannotDecide("apikey: asking the store of keys", err)
	case err == nil && found == nil:
		return nil, errors.New("apikey: the store of keys returned neither a record nor an error")
	case missing:
		found = a.nobody.Reveal()
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
	another := !legacy && r.ID != parts.ID || r.ID == "" || r.Owner == ""
	elsewhere := !legacy && r.Environment != parts.Environment || legacy && !slices.Contains(a.config.Format.Environments(), r.Environment)

	switch {
	case missing:
		return nil, &rejection{ErrUnknown, parts.ID, nil, ""}
	case retired:
		return nil, &rejection{ErrPepper, parts.ID, &r, a.pepperIDs()}
	case legacy && r.PepperID != "":
		return nil, &rejection{ErrUnknown, "", nil, ""} // not a legacy record: its hash is of another kind
	case !right:
		return nil, &rejection{ErrSecret, parts.ID, nil, ""}
	case another:
		return nil, errors.New("apikey: the store of keys returned a record of another key, or without an ID or an owner")
	case elsewhere && legacy:
		return nil, &rejection{ErrEnvironment, r.ID, &r, "one of " + strings.Join(a.config.Format.Environments(), ", ")}
	case elsewhere:
		return nil, &rejection{ErrEnvironment, r.ID, &r, strconv.Quote(parts.Environment)}
	case state != nil:
		return nil, &rejection{state, r.ID, &r, ""}
	}
	return &r, nil
}

// Evict drops a key from the cache, so that the next use queries the store.
// [Manager] calls Evict for its own changes; call it for changes by other
// processes.
func (a *Authenticator) Evict(id string) { a.cache.evict(id) }

// recordKey is what [guard.Once] remembers the record of a request under.
type recordKey struct{ a *Authenticator }

// ErrNoKey means that no key of this Authenticator identified the request.
var ErrNoKey = errors.New("apikey: the request was not identified by a key")

// Record returns the record of the key that identified the request of ctx, from
// the cache or, once per request, from the store. The error is [ErrNoKey] if no
// key of this Authenticator identified the request.
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
		r, err := a.store.KeyByID(ctx, p.Credential)
		if err == nil && r == nil {
			err = errors.New("neither a record nor an error")
		}
		if err != nil {
			return nil, guard.CannotDecide("apikey: asking the store of keys", err)
		}
		return r, nil
	})
	if err != nil {
		return Record{}, err
	}
	return r.Clone(), nil
}

// Handler is the guard for routes that accept only API keys, under any router:
// it identifies the caller and refuses requests without a key. On a guard.Mux
// with the Authenticator, use guard.Hooks.Accept, which does not verify the key
// again.
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
