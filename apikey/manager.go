package apikey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/audit"
)

// A Spec describes a new key.
type Spec struct {
	// Owner is the Subject of the key's Principals: the caller's, never a value
	// from the request. If callers come from several issuers, put the issuer into
	// it. Required.
	Owner string

	// Name is the owner's name for the key, up to 128 bytes without control and
	// format characters.
	Name string

	Tenant string // the organisation of the key

	// Environment is one of the Format. Default: the first.
	Environment string

	// Roles and Scopes limit the key: up to 256 of each, of 1 to 128 bytes of
	// visible ASCII; scopes without quotation mark and backslash.
	Roles, Scopes identity.Set

	// The key is good from NotBefore to ExpiresAt. Default: at once, without end.
	NotBefore, ExpiresAt time.Time

	// AllowedPrefixes are up to 64 networks that may use the key. If empty, all
	// may.
	AllowedPrefixes []netip.Prefix

	Limits string // for the host's rate limits
}

// ManagerConfig configures a [Manager].
type ManagerConfig struct {
	// Revoker spreads revocations, and reports whether the maker of a key was
	// revoked meanwhile. Use the value in auth.Config and Config. Required.
	Revoker ManagerRevoker

	// Hooks receives events of created, revoked and switched keys. Target is the ID
	// of the key.
	Hooks guard.Hooks
}

// ManagerRevoker is the part of blacklist.Revoker that a [Manager] calls.
type ManagerRevoker interface {
	Revoke(ctx context.Context, r identity.Revocation) error

	Checkpoint(ctx context.Context) (uint64, error)

	RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error)
}

// A Manager issues, rotates and revokes keys. It does not authorize: check keys in
// requests with [Manager.Owned]. It is safe for concurrent use, also by several
// processes.
type Manager struct {
	keys   *Authenticator
	store  KeyWriter
	config ManagerConfig
}

// Errors of a [Manager], beside [ErrNotFound], [ErrConflict] and [ErrTooMany].
var (
	// ErrSpec means that a Spec has mistakes (400 or 422).
	ErrSpec = errors.New("apikey: the key cannot be made")

	// ErrAlreadyRotated means that the key has a successor.
	ErrAlreadyRotated = errors.New("apikey: the key was replaced already")

	// ErrMakerRevoked means that the maker was revoked before Issue or Rotate
	// returned. The new key is revoked. It wraps [guard.ErrInactive] (401).
	ErrMakerRevoked = fmt.Errorf("apikey: the maker of the key was revoked: %w", guard.ErrInactive)

	// ErrNotRotatable means that the key has ended, is switched off, or is of an
	// environment outside the Format.
	ErrNotRotatable = errors.New("apikey: the key has ended and cannot be replaced")
)

const (
	maxText     = 512 // of an owner, a tenant or limits
	maxKeyName  = 128
	maxNetworks = 64
	maxRights   = 256 // roles, and scopes
	maxRight    = 128 // bytes of one
	maxOverlap  = 366 * 24 * time.Hour

	// attempts bounds the retries of a change after conflicts, and of finding an
	// unused identifier.
	attempts = 8

	// revocationLife is the life of a revocation: longer than any process caches
	// a record, but short, because a Revoker has limited room.
	revocationLife = 2 * maxCacheTTL
)

// NewManager returns a Manager of the keys of an Authenticator, in the same store.
// The error lists all mistakes.
func NewManager(keys *Authenticator, store KeyWriter, config ManagerConfig) (*Manager, error) {
	var errs []error
	if keys == nil {
		errs = append(errs, errors.New("apikey: the Authenticator is nil; use New"))
	}
	if store == nil {
		errs = append(errs, errors.New("apikey: the KeyWriter is nil; use sqlstore.New, or &apikey.Memory{} in tests"))
	}
	if v := reflect.ValueOf(config.Revoker); config.Revoker == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		errs = append(errs, errors.New("apikey: ManagerConfig.Revoker is nil; use blacklist.NewReplica, the same value as Config.Revoker"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Manager{keys: keys, store: store, config: config}, nil
}

// Issue makes a key for its maker by: the caller, or a Principal for an operator's
// program. Show the Secret to the owner once.
//
// If the Revoker fails, or reports by as revoked after the key is stored, Issue
// revokes the key and returns an error. To end all credentials of a user, revoke
// the user first, then the keys of [Manager.List]: no key made meanwhile is left.
//
// Without Config.OwnerRights, a key has any rights that spec names. If they come
// from a request, the host first compares them with the rights of by.
//
// The error is [ErrSpec], also for rights that the owner lacks (answer 400),
// [ErrTooMany] (409), [ErrMakerRevoked], or another error of the store, the Revoker
// or OwnerRights (503).
func (m *Manager) Issue(ctx context.Context, by *identity.Principal, spec Spec) (Secret, Record, error) {
	now := moment()
	if spec.Environment == "" {
		spec.Environment = m.keys.config.Format.heads[0].environment
	}
	if err := m.check(&spec, now); err != nil {
		return Secret{}, Record{}, err
	}
	if err := m.checkRights(ctx, &spec); err != nil {
		return Secret{}, Record{}, err
	}
	checkpoint, err := m.checkpoint(ctx, by)
	if err != nil {
		return Secret{}, Record{}, err
	}
	r := Record{
		Name:            spec.Name,
		Owner:           spec.Owner,
		Tenant:          spec.Tenant,
		Environment:     spec.Environment,
		Roles:           spec.Roles,
		Scopes:          spec.Scopes,
		Active:          true,
		CreatedAt:       now,
		NotBefore:       spec.NotBefore.Truncate(time.Microsecond),
		ExpiresAt:       spec.ExpiresAt.Truncate(time.Microsecond),
		AllowedPrefixes: slices.Clone(spec.AllowedPrefixes),
		Limits:          spec.Limits,
	}
	for i, p := range r.AllowedPrefixes {
		r.AllowedPrefixes[i] = unmapped(p).Masked()
	}
	for range attempts {
		key := m.mint(&r)
		err := m.write(ctx, nil, &r)
		switch {
		case err == nil:
			r.Version = 1
			if err := m.revokeIfMakerRevoked(ctx, by, checkpoint, r.ID); err != nil {
				return Secret{}, Record{}, err
			}
			m.emit(ctx, by, guard.EventTokenCreated, &r, made(&r)...)
			return key, r, nil
		case errors.Is(err, ErrTooMany):
			return Secret{}, Record{}, ErrTooMany
		case !errors.Is(err, ErrConflict):
			return Secret{}, Record{}, guard.CannotDecide("apikey: storing a new key", err)
		}
		// The identifier is taken, which of 62^12 hardly happens twice.
	}
	return Secret{}, Record{}, fmt.Errorf("apikey: storing a new key: %d random identifiers exist already", attempts)
}

// checkpoint returns the position of the log of revocations before a key is made.
func (m *Manager) checkpoint(ctx context.Context, by *identity.Principal) (checkpoint uint64, err error) {
	if by == nil || by.Issuer == "" {
		return 0, errors.New("apikey: the Principal that makes the key is nil or has no Issuer; use the caller of the request")
	}
	if checkpoint, err = m.config.Revoker.Checkpoint(ctx); err != nil {
		return 0, guard.CannotDecide("apikey: reading the log of revocations", err)
	}
	return checkpoint, nil
}

// revokeTimeout bounds the revocation of a key that was stored after its maker was
// revoked.
const revokeTimeout = 5 * time.Second

// revokeIfMakerRevoked revokes a key that was stored while its maker was revoked.
// The host that revokes the maker lists the keys afterwards, so either the host
// finds the key, or the log has the revocation of the maker.
func (m *Manager) revokeIfMakerRevoked(ctx context.Context, by *identity.Principal, checkpoint uint64, id string) error {
	revoked, err := m.config.Revoker.RevokedSince(ctx, by, checkpoint)
	switch {
	case err != nil:
		err = guard.CannotDecide("apikey: checking whether the maker of a key is revoked", err)
	case revoked:
		err = ErrMakerRevoked
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	if failed := m.Revoke(ctx, id); failed != nil {
		return failed
	}
	return err
}

// mint makes a key for r, with its ID and hash.
func (m *Manager) mint(r *Record) Secret {
	key, id := m.keys.config.Format.generate(r.Environment)
	hasher := &m.keys.hashers[0]
	r.ID, r.PepperID, r.Hash = id, hasher.id, hasher.hash(key.Plain())
	return key
}

// moment is the present as stores keep it.
func moment() time.Time { return time.Now().Truncate(time.Microsecond) }

// check returns what is wrong with a spec.
func (m *Manager) check(spec *Spec, now time.Time) error {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf("Spec."+format, args...)) }
	if spec.Owner == "" {
		mistake("Owner is empty; use the Subject of the caller")
	}
	for _, f := range [...]struct {
		name, value string
		max         int
	}{
		{"Owner", spec.Owner, maxText}, {"Tenant", spec.Tenant, maxText}, {"Limits", spec.Limits, maxText}, {"Name", spec.Name, maxKeyName},
	} {
		if len(f.value) > f.max {
			mistake("%s has %d bytes; use at most %d", f.name, len(f.value), f.max)
		} else if !printable(f.value) {
			mistake("%s is %q; use UTF-8 without control and format characters", f.name, f.value)
		}
	}
	for _, f := range [...]struct {
		name   string
		set    identity.Set
		barred string // beside what is not visible
		want   string
	}{
		{"Roles", spec.Roles, "", "visible ASCII"},
		{"Scopes", spec.Scopes, `"\`, "visible ASCII without quotation mark and backslash"},
	} {
		if f.set.Len() > maxRights {
			mistake("%s has %d names; use at most %d", f.name, f.set.Len(), maxRights)
			continue
		}
		for name := range f.set.All() {
			if len(name) > maxRight || !visible(name) || strings.ContainsAny(name, f.barred) {
				mistake("%s has %.40q of %d bytes; use 1 to %d bytes of %s", f.name, name, len(name), maxRight, f.want)
			}
		}
	}
	if all := m.keys.config.Format.names(); !slices.Contains(all, spec.Environment) {
		mistake("Environment is %q; use one of %s", spec.Environment, strings.Join(all, ", "))
	}
	if !spec.ExpiresAt.IsZero() {
		if !spec.ExpiresAt.After(now) {
			mistake("ExpiresAt is %v; use a later time than now", spec.ExpiresAt.UTC().Format(time.RFC3339))
		}
		if !spec.ExpiresAt.After(spec.NotBefore) {
			mistake("ExpiresAt is %v; use a moment after NotBefore", spec.ExpiresAt.UTC().Format(time.RFC3339))
		}
	}
	if len(spec.AllowedPrefixes) > maxNetworks {
		mistake("AllowedPrefixes has %d networks; use at most %d", len(spec.AllowedPrefixes), maxNetworks)
	}
	for i, p := range spec.AllowedPrefixes {
		if !p.IsValid() {
			mistake("AllowedPrefixes[%d] is not valid; use a network such as 192.0.2.0/24", i)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrSpec, errors.Join(errs...))
}

// checkRights returns an error if the owner lacks a right of the spec. Otherwise
// the Record would list rights that the key never has.
func (m *Manager) checkRights(ctx context.Context, spec *Spec) error {
	if m.keys.config.OwnerRights == nil || spec.Roles.Len()+spec.Scopes.Len() == 0 {
		return nil
	}
	roles, scopes, err := m.keys.config.OwnerRights(ctx, &identity.Principal{
		Issuer: m.keys.issuer, Subject: spec.Owner, Tenant: spec.Tenant, Client: identity.FirstParty, Roles: spec.Roles, Scopes: spec.Scopes,
	})
	if errors.Is(err, guard.ErrInactive) {
		return fmt.Errorf("%w: Spec.Owner is %.64q, which is not active in tenant %.64q", ErrSpec, spec.Owner, spec.Tenant)
	}
	if err != nil {
		return guard.CannotDecide("apikey: loading the rights of a key's owner", err)
	}
	var errs []error
	for _, f := range [...]struct {
		name        string
		want, owned identity.Set
	}{{"Spec.Roles", spec.Roles, roles}, {"Spec.Scopes", spec.Scopes, scopes}} {
		for name := range f.want.All() {
			if !f.owned.Has(name) {
				errs = append(errs, fmt.Errorf("%s has %q, which the owner %.64q does not have", f.name, name, spec.Owner))
			}
		}
	}
	if errs == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrSpec, errors.Join(errs...))
}

// printable reports whether s is UTF-8 without control and format characters.
func printable(s string) bool {
	for i, c := range s {
		if unicode.Is(unicode.Cf, c) || c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' || c == '\ufffd' && !strings.HasPrefix(s[i:], "\ufffd") {
			return false
		}
	}
	return true
}

// Rotate replaces a key by a new one with the same name, owner, rights, networks
// and limits. It does not compare rights: check that by has all rights of the
// record, or a narrow credential gets a broad key.
//
// Both keys are good for the overlap, up to 366 days; then the old key is refused,
// by other processes within CacheTTL. If an attacker may have it, call
// [Manager.Revoke] as well. The new key lasts as long as the old one from CreatedAt
// to ExpiresAt; if CreatedAt is zero, both expire together.
//
// The errors are [ErrNotFound], [ErrAlreadyRotated], also after a concurrent
// rotation, [ErrNotRotatable], [ErrMakerRevoked] (the old key stays replaced),
// [ErrTooMany] (during an overlap both keys count), and other errors of the store
// or the Revoker.
func (m *Manager) Rotate(ctx context.Context, by *identity.Principal, id string, overlap time.Duration) (Secret, Record, error) {
	if overlap < 0 || overlap > maxOverlap {
		return Secret{}, Record{}, fmt.Errorf("apikey: the overlap is %v; use 0 to %v", overlap, maxOverlap)
	}
	checkpoint, err := m.checkpoint(ctx, by)
	if err != nil {
		return Secret{}, Record{}, err
	}
	var key Secret
	var successor Record
	old, err := m.change(ctx, id, "rotating a key", func(old *Record) (*Record, error) {
		// Not the moment, which is cut to the microsecond: a key that has
		// just expired would still be good then.
		state, now := old.state(time.Now()), moment()
		switch {
		case old.rotated():
			return nil, ErrAlreadyRotated
		case state != nil && state != ErrTooEarly:
			return nil, fmt.Errorf("%w: %w", ErrNotRotatable, state)
		}
		if !slices.Contains(m.keys.config.Format.names(), old.Environment) {
			return nil, fmt.Errorf("%w: its environment %q is not one of the Format's", ErrNotRotatable, old.Environment)
		}
		successor = old.Clone()
		successor.CreatedAt = now
		successor.LastUsedAt = time.Time{}
		if life := old.ExpiresAt.Sub(old.CreatedAt); !old.ExpiresAt.IsZero() && !old.CreatedAt.IsZero() && life > 0 {
			successor.ExpiresAt = now.Add(life)
		}
		key = m.mint(&successor)
		old.Successor, old.GraceUntil = successor.ID, now.Add(overlap)
		return &successor, nil
	})
	if err != nil {
		return Secret{}, Record{}, err
	}
	successor.Version = 1
	if err := m.revokeIfMakerRevoked(ctx, by, checkpoint, successor.ID); err != nil {
		return Secret{}, Record{}, err
	}
	m.emit(ctx, by, guard.EventTokenCreated, &successor,
		append(made(&successor), slog.String("replaces", old.ID), slog.Time("replaced_until", old.GraceUntil))...)
	return key, successor, nil
}

// Revoke ends a key for good, in the store and then through the Revoker: in this
// process at once, in others when their Revoker has the revocation, at the latest
// after CacheTTL. A successor stays good. After an error, call Revoke again, on any
// Manager of the store; the event may have been emitted. A missing key is
// [ErrNotFound].
func (m *Manager) Revoke(ctx context.Context, id string) error {
	changed := false
	r, err := m.change(ctx, id, "revoking a key", func(r *Record) (*Record, error) {
		if changed = r.RevokedAt.IsZero(); !changed {
			return nil, errUnchanged
		}
		r.RevokedAt = moment()
		return nil, nil
	})
	if err != nil {
		return err
	}
	if changed {
		m.emit(ctx, nil, guard.EventTokenRevoked, &r)
	}
	err = m.config.Revoker.Revoke(guard.NestedChange(ctx), identity.Revocation{
		Issuer:     m.keys.issuer,
		Credential: r.ID,
		Expires:    time.Now().Add(revocationLife),
	})
	if err != nil {
		return guard.CannotDecide("apikey: recording the revocation of a key", err)
	}
	return nil
}

// SetActive switches a key off or on, in other processes within CacheTTL, or
// returns [ErrNotFound].
func (m *Manager) SetActive(ctx context.Context, id string, active bool) error {
	changed := false
	r, err := m.change(ctx, id, "switching a key", func(r *Record) (*Record, error) {
		if changed = r.Active != active; !changed {
			return nil, errUnchanged
		}
		r.Active = active
		return nil, nil
	})
	if err == nil && changed {
		m.emit(ctx, nil, guard.EventAuthzChange, &r, slog.Bool("active", active))
	}
	return err
}

// List returns the keys of an owner that have not ended, newest first, at most
// [MaxListed], or errors.ErrUnsupported if the store is no [KeyLister].
func (m *Manager) List(ctx context.Context, owner string) ([]Record, error) {
	lister, ok := m.store.(KeyLister)
	if !ok {
		return nil, fmt.Errorf("apikey: the store (%T) has no KeysByOwner: %w", m.store, errors.ErrUnsupported)
	}
	if owner == "" || identity.CheckNames(owner) != nil {
		return nil, nil
	}
	all, err := lister.KeysByOwner(ctx, owner)
	if err != nil {
		return nil, guard.CannotDecide("apikey: listing keys", err)
	}
	return all, nil
}

// Owned returns the record of a key of owner, or [ErrNotFound]. Call it before
// changing a key named in a request.
func (m *Manager) Owned(ctx context.Context, owner, id string) (Record, error) {
	r, err := m.load(ctx, id)
	if err != nil {
		return Record{}, err
	}
	if owner == "" || r.Owner != owner {
		return Record{}, ErrNotFound
	}
	return *r, nil
}

// errUnchanged is returned by an edit that has nothing to change.
var errUnchanged = errors.New("apikey: nothing to change")

// change reads a record, calls edit and writes the record, and repeats this after
// a concurrent change. edit may return a record to add in the same step.
func (m *Manager) change(ctx context.Context, id, doing string, edit func(*Record) (created *Record, err error)) (Record, error) {
	// The cached record is out of date after the change. A write that returned an
	// error may have changed the record too.
	defer m.keys.Evict(id)
	for range attempts {
		r, err := m.load(ctx, id)
		if err != nil {
			return Record{}, err
		}
		created, err := edit(r)
		if err == errUnchanged {
			return *r, nil
		}
		if err != nil {
			return Record{}, err
		}
		err = m.write(ctx, r, created)
		switch {
		case err == nil:
			return *r, nil
		case errors.Is(err, ErrNotFound):
			return Record{}, ErrNotFound
		case errors.Is(err, ErrTooMany):
			return Record{}, ErrTooMany
		case !errors.Is(err, ErrConflict):
			return Record{}, guard.CannotDecide("apikey: "+doing, err)
		}
	}
	return Record{}, fmt.Errorf("apikey: %s: %w", doing, ErrConflict)
}

// write is WriteKeys of the store.
func (m *Manager) write(ctx context.Context, old, new *Record) error {
	begun := m.config.Hooks.Begin()
	err := m.store.WriteKeys(ctx, old, new)
	m.config.Hooks.Measured(ctx, begun, "store", "apikey.WriteKeys", failure(err))
	return err
}

// load returns a record that is the caller's own.
func (m *Manager) load(ctx context.Context, id string) (*Record, error) {
	if id == "" || identity.CheckNames(id) != nil {
		return nil, ErrNotFound // no store has it, and a database may fail on it
	}
	begun := m.config.Hooks.Begin()
	r, err := m.store.KeyByID(ctx, id)
	m.config.Hooks.Measured(ctx, begun, "store", "apikey.KeyByID", failure(err))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, guard.CannotDecide("apikey: querying the store of keys", err)
	case r == nil || r.ID != id:
		return nil, errors.New("apikey: the store of keys returned another record, or neither a record nor an error")
	}
	own := r.Clone()
	return &own, nil
}

// made describes a new key for its event.
func made(r *Record) []slog.Attr {
	changes := []slog.Attr{slog.String("name", r.Name), slog.String("environment", r.Environment), audit.Names("roles", r.Roles), audit.Names("scopes", r.Scopes)}
	if !r.ExpiresAt.IsZero() {
		changes = append(changes, slog.Time("expires", r.ExpiresAt))
	}
	return changes
}

// emit emits an event about a key. by is the caller, nil for the caller of ctx if
// there is one.
func (m *Manager) emit(ctx context.Context, by *identity.Principal, name guard.EventName, r *Record, changes ...slog.Attr) {
	changes = append([]slog.Attr{slog.String("owner", r.Owner)}, changes...)
	m.config.Hooks.EmitContext(ctx, guard.Event{Name: name, Principal: by, Target: r.ID, Changes: changes})
}
