package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// publishLead is how long a key is published before it signs: twice as long as
// clients may cache the JWK Set.
const publishLead = 2 * jwksMaxAge

// clockMargin is how far the clocks of an issuer's processes may differ. A key signs
// no token that expires within it of the key's retirement.
const clockMargin = time.Minute

// A KeyState is the state of a key at one time.
type KeyState int

// The states, in the order in which a key enters them.
const (
	KeyPending   KeyState = iota // before PublishFrom; not used
	KeyPublished                 // in the JWK Set, and verifies
	KeySigning                   // signs new tokens
	KeyVerifying                 // verifies; another key signs
	KeyRetired                   // from VerifyUntil on; not used
)

// String returns the name of the state in lower case.
func (s KeyState) String() string {
	switch s {
	case KeyPending:
		return "pending"
	case KeyPublished:
		return "published"
	case KeySigning:
		return "signing"
	case KeyVerifying:
		return "verifying"
	case KeyRetired:
		return "retired"
	}
	return fmt.Sprintf("KeyState(%d)", int(s))
}

// A KeyInfo describes a key without its material.
type KeyInfo struct {
	ID        string // RFC 7638 thumbprint, the "kid"
	Algorithm Algorithm
	State     KeyState
}

// A Keyring holds the keys of one issuer and rotates them by the clock: the key with
// the latest past SignFrom signs; among equals, the first. A Keyring is safe for
// concurrent use.
//
//	token.NewKeyring(
//		token.Key{Algorithm: token.ES256, Signer: token.NewSigner(march), VerifyUntil: april1.Add(time.Hour)},
//		token.Key{Algorithm: token.ES256, Signer: token.NewSigner(april), PublishFrom: april1.Add(-24 * time.Hour), SignFrom: april1},
//	)
//
// A key must be published for ten minutes before it signs, because clients may cache
// the JWK Set for five. No token outlives its key, even if clocks differ by a minute.
type Keyring struct {
	// Hooks.Observe receives guard.EventKeysReplaced from [Keyring.Replace]. Set it
	// before the ring is used.
	Hooks guard.Hooks `json:"-"`

	state    atomic.Pointer[ringState]
	changing sync.Mutex   // held by Replace
	lifetime atomic.Int64 // of the longest-lived tokens of its Issuers
}

// A ringState is the immutable set of keys of a ring at one time.
type ringState struct {
	keys []*key // by SignFrom, the latest first
	byID map[string][]*key
}

// NewKeyring returns a ring of the keys.
func NewKeyring(keys ...Key) (*Keyring, error) {
	state, err := newRingState(keys)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, k := range state.keys {
		k.publishedSince = now
		if !k.publishFrom.IsZero() {
			k.publishedSince = k.publishFrom
		}
	}
	ring := new(Keyring)
	ring.state.Store(state)
	return ring, nil
}

// Replace sets the keys of the ring at once; other keys no longer verify. It changes
// nothing and returns an error if a new key would sign before it is published for ten
// minutes although a previous key could sign meanwhile, or if no key could sign for
// some time before a later key begins.
func (ring *Keyring) Replace(keys ...Key) error {
	state, err := newRingState(keys)
	if err != nil {
		return err
	}
	old, err := ring.replace(state)
	if err != nil {
		return err
	}
	var added, removed []string
	for _, k := range state.keys {
		if old.key(k.id) == nil {
			added = append(added, k.id)
		}
	}
	for _, k := range old.keys {
		if state.key(k.id) == nil {
			removed = append(removed, k.id)
		}
	}
	ring.Hooks.EmitContext(context.Background(), guard.Event{Name: guard.EventKeysReplaced, Target: "key ring", Changes: []slog.Attr{
		slog.Any("added", added), slog.Any("removed", removed), slog.Int("keys", len(state.keys)),
	}})
	return nil
}

// replace sets the state of the ring, unless a rule of Replace forbids it, and
// returns the previous state.
func (ring *Keyring) replace(state *ringState) (*ringState, error) {
	ring.changing.Lock()
	defer ring.changing.Unlock()
	now, old := time.Now(), ring.load()
	for _, k := range state.keys {
		k.publishedSince = latest(now, k.publishFrom)
		if before := old.key(k.id); before != nil {
			k.publishedSince = latest(before.publishedSince, k.publishFrom)
		}
	}
	var errs []error
	left := slices.ContainsFunc(state.keys, func(k *key) bool {
		before := old.key(k.id)
		return before != nil && before.turnHasCome(now) && k.turnHasCome(now)
	})
	for _, k := range state.keys {
		if !k.canSign() {
			continue
		}
		// A key that the ring has already, with the same or an earlier SignFrom,
		// was checked before.
		before, signs := old.key(k.id), latest(now, k.signFrom)
		if before != nil && before.canSign() && !signs.Before(latest(now, before.signFrom)) {
			continue
		}
		if left && signs.Before(k.publishedSince.Add(publishLead)) {
			errs = append(errs, fmt.Errorf("auth/token: the key %s would sign before it is published for %v; set its SignFrom to %v or later",
				k.id, publishLead, date(k.publishedSince.Add(publishLead))))
		}
	}
	lifetime := time.Duration(ring.lifetime.Load())
	if at, found := state.gap(now, lifetime); found && lifetime > 0 && slices.ContainsFunc(state.keys, (*key).canSign) {
		errs = append(errs, gapError(at, lifetime))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	ring.state.Store(state)
	return old, nil
}

// load returns the keys of the ring. A zero Keyring has none.
func (ring *Keyring) load() *ringState {
	if state := ring.state.Load(); state != nil {
		return state
	}
	return new(ringState)
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func newRingState(keys []Key) (*ringState, error) {
	state := &ringState{byID: make(map[string][]*key)}
	var errs []error
	if len(keys) == 0 {
		errs = append(errs, errors.New("auth/token: a Keyring needs at least one key"))
	}
	for i, given := range keys {
		k, err := newKey(given)
		if err != nil {
			errs = append(errs, fmt.Errorf("auth/token: key %d: %w", i, err))
			continue
		}
		if slices.ContainsFunc(state.keys, func(other *key) bool { return other.material == k.material }) {
			errs = append(errs, fmt.Errorf("auth/token: key %d: the same key material is in the ring already; one key has one algorithm", i))
			continue
		}
		if state.byID[k.id] != nil {
			errs = append(errs, fmt.Errorf("auth/token: key %d: another key has the ID %q; use one ID for each key", i, k.id))
			continue
		}
		state.add(k)
	}
	slices.SortStableFunc(state.keys, func(a, b *key) int { return b.signFrom.Compare(a.signFrom) })
	return state, errors.Join(errs...)
}

// add adds k. The caller makes sure that no other key has its ID and algorithm.
func (s *ringState) add(k *key) {
	s.keys = append(s.keys, k)
	s.byID[k.id] = append(s.byID[k.id], k)
}

// key returns the key of that ID, nil if there is none. In a Keyring, an ID has
// one key.
func (s *ringState) key(id string) *key {
	if keys := s.byID[id]; keys != nil {
		return keys[0]
	}
	return nil
}

// checkTimes checks the schedule of one key.
func checkTimes(k Key) error {
	var errs []error
	signs := !k.Signer.IsZero() || !k.Secret.IsZero()
	if signs && !k.PublishFrom.IsZero() && k.SignFrom.Before(k.PublishFrom.Add(publishLead)) {
		errs = append(errs, fmt.Errorf("the SignFrom is %v and the PublishFrom %v; set SignFrom at least %v later, because clients cache the JWK Set for %v",
			date(k.SignFrom), date(k.PublishFrom), publishLead, jwksMaxAge))
	}
	if until := latest(k.SignFrom, k.PublishFrom); !k.VerifyUntil.IsZero() && !k.VerifyUntil.After(until) {
		errs = append(errs, fmt.Errorf("the VerifyUntil is %v; set it later than SignFrom and PublishFrom", date(k.VerifyUntil)))
	}
	return errors.Join(errs...)
}

// date returns t for an error text: in UTC, and without the reading of the
// monotonic clock that t.String would add.
func date(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// published reports whether k is in the JWK Set and verifies at now.
func (k *key) published(now time.Time) bool {
	return !now.Before(k.publishFrom) && (k.verifyUntil.IsZero() || now.Before(k.verifyUntil))
}

// turnHasCome reports whether k may sign at now, as far as its own times go.
func (k *key) turnHasCome(now time.Time) bool {
	return k.canSign() && !now.Before(k.signFrom) && k.published(now)
}

// signing returns the key for a token that is signed now and expires at until,
// nil if there is none.
func (s *ringState) signing(now, until time.Time) *key {
	for _, k := range s.keys {
		if k.turnHasCome(now) && (k.verifyUntil.IsZero() || !until.Add(clockMargin).After(k.verifyUntil)) {
			return k
		}
	}
	return nil
}

// lookup returns the key of that ID and algorithm, if it verifies at now. known
// reports whether a key of that ID verifies, with whatever algorithm.
func (s *ringState) lookup(id string, alg Algorithm, now time.Time) (_ *key, known bool) {
	for _, k := range s.byID[id] {
		if k.published(now) {
			known = true
			if k.alg.same(alg) {
				return k, true
			}
		}
	}
	return nil, known
}

// gap returns the first moment from now on at which no key may sign a token of that
// lifetime although a later key will; ok is false without such a moment.
func (s *ringState) gap(now time.Time, lifetime time.Duration) (at time.Time, ok bool) {
	for at = now; ; {
		k := s.signing(at, at.Add(lifetime))
		if k == nil {
			later := slices.ContainsFunc(s.keys, func(k *key) bool { return k.canSign() && k.signFrom.After(at) })
			return at, later || at.Equal(now)
		}
		if k.verifyUntil.IsZero() {
			return time.Time{}, false
		}
		at = k.verifyUntil.Add(-lifetime - clockMargin + 1)
	}
}

func gapError(at time.Time, lifetime time.Duration) error {
	return fmt.Errorf("auth/token: at %v no key of the Keyring may sign a token that lives for %v; set an earlier SignFrom or a later VerifyUntil",
		date(at), lifetime)
}

// A KeySource has the keys of a [Verifier]: a [*Keyring], [*Remote] or [*KeySet].
// Other packages cannot implement it.
type KeySource interface {
	// current returns the keys at now. An error means that they are unknown,
	// which is answered 503.
	current(now time.Time) (*ringState, error)

	// unknown returns the error for a token with that key ID, which is not
	// among the keys of state: [ErrKey], errKeysChanged if the source has
	// other keys by now, or another error if a fetch may still find the key.
	unknown(kid string, state *ringState, now time.Time) error

	// fetches reports whether keys may come later.
	fetches() bool

	// accepts reports whether keys of the source may be for that algorithm.
	accepts(alg Algorithm) bool

	// made reports whether the KeySource was returned by its constructor.
	made() bool
}

func (ring *Keyring) made() bool { return ring != nil && ring.state.Load() != nil }

func (ring *Keyring) current(time.Time) (*ringState, error) { return ring.load(), nil }

func (ring *Keyring) unknown(_ string, state *ringState, _ time.Time) error {
	if now := ring.state.Load(); now != nil && now != state {
		return errKeysChanged
	}
	return ErrKey
}

var errKeysChanged = errors.New("the keys have changed since they were read")

func (ring *Keyring) fetches() bool { return false }

func (ring *Keyring) accepts(alg Algorithm) bool {
	return slices.ContainsFunc(ring.load().keys, func(k *key) bool { return k.alg.same(alg) })
}

// Keys returns the state of each key, the latest SignFrom first.
func (ring *Keyring) Keys() []KeyInfo {
	now, state := time.Now(), ring.load()
	signing := state.signing(now, now.Add(time.Duration(ring.lifetime.Load())))
	all := make([]KeyInfo, len(state.keys))
	for i, k := range state.keys {
		info := KeyInfo{ID: k.id, Algorithm: k.alg}
		switch {
		case now.Before(k.publishFrom):
			info.State = KeyPending
		case !k.published(now):
			info.State = KeyRetired
		case k == signing:
			info.State = KeySigning
		case k.canSign() && now.Before(k.signFrom):
			info.State = KeyPublished
		default:
			info.State = KeyVerifying
		}
		all[i] = info
	}
	return all
}

// jwks returns the JWK Set (RFC 7517 section 5) as it is at now.
func (s *ringState) jwks(now time.Time) ([]byte, error) {
	set := struct {
		Keys []any `json:"keys"`
	}{Keys: []any{}}
	for _, k := range s.keys {
		if k.jwk != nil && k.published(now) {
			set.Keys = append(set.Keys, k.jwk)
		}
	}
	return json.Marshal(set)
}

// Format prints the algorithms and IDs of the keys for every verb.
func (ring *Keyring) Format(f fmt.State, _ rune) {
	var names []string
	for _, k := range ring.load().keys {
		names = append(names, string(k.alg)+" "+k.id)
	}
	fmt.Fprintf(f, "token.Keyring(%s)", strings.Join(names, ", "))
}
