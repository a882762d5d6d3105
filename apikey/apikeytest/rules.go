package apikeytest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/identity"
)

// A rule is one demand on a store.
type rule struct {
	name   string                     // of the subtest
	reason string                     // why there is this rule, printed when it is broken
	of     func(apikey.KeyStore) bool // whether it is a rule for this store; nil for each
	demand func(*probe)               // asks the store; the probe notes what is wrong
}

func (u rule) applies(s apikey.KeyStore) bool { return u.of == nil || u.of(s) }

// check returns how the store breaks the rule, or nil.
func (u rule) check(p *probe) error {
	u.demand(p)
	return errors.Join(p.broken...)
}

func isFinder(s apikey.KeyStore) bool { _, ok := s.(apikey.HashFinder); return ok }
func isLister(s apikey.KeyStore) bool { _, ok := s.(apikey.KeyLister); return ok }
func isWriter(s apikey.KeyStore) bool { _, ok := s.(apikey.KeyWriter); return ok }
func isBounder(s apikey.KeyStore) bool {
	b, ok := s.(apikey.KeyBounder)
	return ok && isWriter(s) && b.KeysPerOwner() > 0
}
func isRecorder(s apikey.KeyStore) bool  { _, ok := s.(apikey.UsageRecorder); return ok }
func isNetworked(s apikey.KeyStore) bool { _, ok := s.(apikey.NetworkRecorder); return ok }

// A probe checks one store and collects failures. It is safe for concurrent use.
type probe struct {
	ctx   context.Context
	store apikey.KeyStore

	unique                      string // in all IDs, owners and hashes
	full, bare, ended, legacy   apikey.Record
	waiting, off, over, endless apikey.Record // of one owner
	graced, halfway             apikey.Record

	mu     sync.Mutex
	broken []error
}

func newProbe(ctx context.Context) *probe {
	unique := rand.Text()
	// Microseconds are what a store must keep.
	now := time.Now().Truncate(time.Microsecond)
	p := &probe{ctx: ctx, unique: unique}
	p.full = apikey.Record{
		ID: "full" + unique, Name: "Zoë's \"backup\" job; DROP TABLE keys --", Owner: "owner" + unique, Tenant: "tenant", Environment: "live",
		Roles: identity.NewSet("admin", "user"), Scopes: identity.NewSet("read:items", "write:items", `odd "name"`),
		Active: true, CreatedAt: now.Add(-time.Hour), NotBefore: now.Add(-time.Minute), ExpiresAt: now.Add(time.Hour),
		Successor: "another", GraceUntil: now.Add(time.Minute),
		AllowedPrefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Limits:          "5/minute;1000/hour", Hash: hashOf("full" + unique), PepperID: "2026",
	}
	p.bare = apikey.Record{ID: "bare" + unique, Owner: p.full.Owner, Environment: "live", Active: true,
		CreatedAt: now.Add(-time.Minute), Hash: hashOf("bare" + unique), PepperID: "2026"}
	p.ended = apikey.Record{ID: "ended" + unique, Owner: "another" + unique, Environment: "test",
		CreatedAt: now, RevokedAt: now.Add(-time.Second), ExpiresAt: now.Add(-time.Minute), Hash: hashOf("ended" + unique), PepperID: "2025"}
	p.legacy = apikey.Record{ID: "legacy" + unique, Owner: "another" + unique, Environment: "live", Active: true,
		CreatedAt: now.Add(-time.Hour), Hash: hashOf("legacy" + unique)}
	p.waiting, p.off, p.over = p.other("waiting", 1), p.other("off", 2), p.other("over", 3)
	p.graced, p.halfway, p.endless = p.other("graced", 4), p.other("halfway", 5), p.other("endless", 6)
	p.waiting.NotBefore = now.Add(time.Hour)
	p.off.Active = false
	p.over.ExpiresAt = now.Add(-time.Minute)
	p.graced.ExpiresAt, p.graced.Successor, p.graced.GraceUntil = now.Add(time.Hour), "another", now.Add(-time.Minute)
	p.halfway.Successor = "another" // and no grace
	p.endless.Successor, p.endless.GraceUntil = "another", now.Add(time.Hour)
	return p
}

// other returns a record of the owner of several, the younger the larger n is.
func (p *probe) other(name string, n int) apikey.Record {
	return apikey.Record{ID: name + p.unique, Owner: "several" + p.unique, Environment: "live", Active: true,
		CreatedAt: p.bare.CreatedAt.Add(time.Duration(n) * time.Second), Hash: hashOf(name + p.unique), PepperID: "2026"}
}

func hashOf(s string) apikey.Hash {
	sum := sha256.Sum256([]byte(s))
	return apikey.Hash(sum[:])
}

// given returns the records that the store shall have. Those that cannot be
// found without a HashFinder are there for all.
func (p *probe) given() []apikey.Record {
	return []apikey.Record{p.full.Clone(), p.bare.Clone(), p.ended.Clone(), p.legacy.Clone(), p.waiting.Clone(), p.off.Clone(),
		p.over.Clone(), p.graced.Clone(), p.halfway.Clone(), p.endless.Clone()}
}

func (p *probe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = append(p.broken, fmt.Errorf(format, args...))
}

// stored demands that the store has just this, Version and LastUsedAt included,
// as far as it keeps them.
func (p *probe) stored(want apikey.Record, because string) {
	got, err := p.store.KeyByID(p.ctx, want.ID)
	p.same(got, err, want, fmt.Sprintf("KeyByID(%q)", want.ID), because)
}

func (p *probe) same(got *apikey.Record, err error, want apikey.Record, call, because string) {
	switch {
	case err != nil:
		p.errorf("%s = %v, want a record: %s", call, err, because)
	case got == nil:
		p.errorf("%s = neither a record nor an error: %s", call, because)
	default:
		if !isWriter(p.store) {
			want.Version = got.Version
		}
		if g, w := describe(got), describe(&want); g != w {
			p.errorf("%s =\n\t%s\nwant\n\t%s\n%s", call, g, w, because)
		}
	}
}

// describe returns all of a record as text.
func describe(r *apikey.Record) string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("ID %q, Name %q, Owner %q, Tenant %q, Environment %q, Roles %q, Scopes %q, Active %t, CreatedAt %s, NotBefore %s, "+
		"ExpiresAt %s, RevokedAt %s, Successor %q, GraceUntil %s, AllowedPrefixes %v, Limits %q, LastUsedAt %s, Hash %x, PepperID %q, Version %d",
		r.ID, r.Name, r.Owner, r.Tenant, r.Environment, slices.Collect(r.Roles.All()), slices.Collect(r.Scopes.All()), r.Active,
		at(r.CreatedAt), at(r.NotBefore), at(r.ExpiresAt), at(r.RevokedAt), r.Successor, at(r.GraceUntil), r.AllowedPrefixes, r.Limits,
		at(r.LastUsedAt), string(r.Hash), r.PepperID, r.Version)
}

// writer returns the store of the rules for one.
func (p *probe) writer() apikey.KeyWriter { return p.store.(apikey.KeyWriter) }

// write requires a result of WriteKeys.
func (p *probe) write(update, created *apikey.Record, want error, because string) {
	err := p.writer().WriteKeys(p.ctx, update, created)
	if !errors.Is(err, want) {
		p.errorf("WriteKeys(%s, %s) = %v, want %v: %s", name(update), name(created), err, want, because)
	}
}

func name(r *apikey.Record) string {
	if r == nil {
		return "nil"
	}
	return fmt.Sprintf("%s of version %d", r.ID, r.Version)
}

// written is a record as WriteKeys has stored it.
func written(r apikey.Record, version int64) apikey.Record {
	r = r.Clone()
	r.Version = version
	return r
}

// demandBound is the rule of a KeyBounder.
func demandBound(p *probe) {
	most := p.store.(apikey.KeyBounder).KeysPerOwner()
	if most < 4 {
		p.errorf("KeysPerOwner() = %d, want 4 at least for this test", most)
		return
	}
	n := 0
	another := func() apikey.Record {
		n++
		r := p.other(fmt.Sprintf("crowd%d-", n), n)
		r.Owner = "crowd" + p.unique
		return r
	}
	past, future := p.bare.CreatedAt, p.bare.CreatedAt.Add(time.Hour)
	// Ended ones are not counted.
	for range 2 {
		revoked, expired, graced := another(), another(), another()
		revoked.RevokedAt, expired.ExpiresAt, graced.Successor, graced.GraceUntil = past, past, "x", past
		for _, r := range []apikey.Record{revoked, expired, graced} {
			p.write(nil, &r, nil, "it has ended and counts for nothing")
		}
	}
	// All others are.
	var living []apikey.Record
	for i := range most - 2 {
		r := another()
		switch i % 4 {
		case 0:
			r.Active = false
		case 1:
			r.Successor, r.GraceUntil = "x", future
		case 2:
			r.NotBefore = future
		}
		p.write(nil, &r, nil, "there is room")
		living = append(living, written(r, 1))
	}
	// Two places are left, and eight come at once.
	atOnce := make([]apikey.Record, 8)
	for i := range atOnce {
		atOnce[i] = another()
	}
	p.rush("new keys", 2, len(atOnce), func(i int) error { return p.writer().WriteKeys(p.ctx, nil, &atOnce[i]) })
	for _, r := range atOnce {
		if found, err := p.store.KeyByID(p.ctx, r.ID); err == nil && found != nil {
			living = append(living, *found)
		}
	}
	if len(living) != most {
		p.errorf("there are %d keys that have not ended, want %d", len(living), most)
		return
	}
	one := another()
	p.write(nil, &one, apikey.ErrTooMany, "the owner has all that one may have")
	stranger := p.other("stranger", 0)
	p.write(nil, &stranger, nil, "another owner has room")
	revoked := another()
	revoked.RevokedAt = past
	p.write(nil, &revoked, nil, "a key that has ended needs no room")

	// With an overlap both count, without one there is room.
	old, next := living[most-1].Clone(), another()
	old.Successor, old.GraceUntil = next.ID, future
	p.write(&old, &next, apikey.ErrTooMany, "both would be good")
	p.stored(living[most-1], "the rotation was refused")
	if _, err := p.store.KeyByID(p.ctx, next.ID); !errors.Is(err, apikey.ErrNotFound) {
		p.errorf("the successor is there although the rotation was refused: %v", err)
	}
	old.GraceUntil = past
	p.write(&old, &next, nil, "the old one ends in the same step")
	living[most-1] = written(next, 1)
	// An update is not refused, whatever it makes of a record.
	named := living[0].Clone()
	named.Name = "renamed"
	p.write(&named, nil, nil, "nothing is added")
	living[0] = written(named, named.Version+1)

	// A revocation makes room for one key, in any order.
	gone := living[1].Clone()
	gone.RevokedAt = past
	p.write(&gone, nil, nil, "it is an update")
	updates, successors := []apikey.Record{}, []apikey.Record{}
	for _, i := range []int{0, 2, most - 1} {
		update, successor := living[i].Clone(), another()
		update.Successor, update.GraceUntil = successor.ID, future
		updates, successors = append(updates, update), append(successors, successor)
	}
	p.rush("rotations with an overlap", 1, len(updates), func(i int) error {
		return p.writer().WriteKeys(p.ctx, &updates[i], &successors[i])
	})
}

// rush demands that of many writes at once so many succeed, and that the others
// are too many.
func (p *probe) rush(what string, want, calls int, write func(i int) error) {
	var wg sync.WaitGroup
	results := make([]error, calls)
	for i := range results {
		wg.Go(func() { results[i] = write(i) })
	}
	wg.Wait()
	succeeded := 0
	for i, err := range results {
		if err == nil {
			succeeded++
		} else if !errors.Is(err, apikey.ErrTooMany) {
			p.errorf("%s, call %d: %v, want apikey.ErrTooMany", what, i, err)
		}
	}
	if succeeded != want {
		p.errorf("%d of %d %s at once succeeded, want %d", succeeded, calls, what, want)
	}
}

var rules = []rule{
	{
		name:   "a record is returned with all fields",
		reason: "each field decides whether a caller is admitted, from where, until when and with which rights.",
		demand: func(p *probe) {
			for _, r := range p.given() {
				p.stored(written(r, 1), "it was put in like this")
			}
		},
	},
	{
		name:   "a missing key is ErrNotFound",
		reason: "any other error is answered 503, and nil without a record looks like a broken store.",
		demand: func(p *probe) {
			for _, id := range []string{
				"", "none" + p.unique, p.full.ID + " ", " " + p.full.ID, p.full.ID[1:], p.full.ID[:len(p.full.ID)-1],
				strings.ToLower(p.full.ID), strings.ToUpper(p.full.ID), "full%", "f" + strings.Repeat("_", len(p.full.ID)-1),
				"' OR '1'='1", p.full.ID + "'--", p.full.ID + "\x00", p.full.Name, p.full.Owner,
			} {
				// A NUL or bytes that are no text may be an error of the
				// database; they must not be found.
				if r, err := p.store.KeyByID(p.ctx, id); err == nil || r != nil || !strings.Contains(id, "\x00") && !errors.Is(err, apikey.ErrNotFound) {
					p.errorf("KeyByID(%q) = %v, %v; want apikey.ErrNotFound", id, r, err)
				}
			}
		},
	},
	{
		name:   "a returned record belongs to the caller",
		reason: "a change that one request makes to its record must not extend the key in the next request.",
		demand: func(p *probe) {
			r, err := p.store.KeyByID(p.ctx, p.full.ID)
			if err != nil || r == nil {
				p.errorf("KeyByID = %v, %v", r, err)
				return
			}
			r.Owner, r.Active, r.Hash = "mallory", false, "x"
			if len(r.AllowedPrefixes) > 0 {
				r.AllowedPrefixes[0] = netip.MustParsePrefix("0.0.0.0/0")
			}
			p.stored(written(p.full, 1), "another caller changed the copy it was given")
		},
	},
	{
		name:   "a legacy key is found by its hash",
		reason: "keys of an older scheme have no ID.",
		of:     isFinder,
		demand: func(p *probe) {
			r, err := p.store.(apikey.HashFinder).KeyByHash(p.ctx, p.legacy.Hash)
			p.same(r, err, written(p.legacy, 1), "KeyByHash", "it was put in like this")
		},
	},
	{
		name:   "other keys are not found by their hash",
		reason: "the hash of a new key is of another kind; an attacker with read access to the database must not be able to present it as a key.",
		of:     isFinder,
		demand: func(p *probe) {
			for _, h := range []apikey.Hash{p.full.Hash, p.ended.Hash, "", "x", p.legacy.Hash[1:], p.legacy.Hash + "x",
				apikey.Hash(strings.ToUpper(string(p.legacy.Hash))) + "x"} {
				if r, err := p.store.(apikey.HashFinder).KeyByHash(p.ctx, h); r != nil || !errors.Is(err, apikey.ErrNotFound) {
					p.errorf("KeyByHash(%x) = %v, %v; want apikey.ErrNotFound", string(h), r, err)
				}
			}
		},
	},
	{
		name:   "an owner's keys that have not ended are listed, the latest first",
		reason: "owners look for the key to revoke: ended keys must not push it out of the list, and the keys of other owners must stay hidden.",
		of:     isLister,
		demand: func(p *probe) {
			lister := p.store.(apikey.KeyLister)
			for owner, want := range map[string][]apikey.Record{
				p.full.Owner:                  {p.bare, p.full},
				p.ended.Owner:                 {p.legacy},
				p.off.Owner:                   {p.endless, p.off, p.waiting},
				"nobody" + p.unique:           nil,
				"%":                           nil,
				strings.ToUpper(p.full.Owner): nil,
			} {
				got, err := lister.KeysByOwner(p.ctx, owner)
				if err != nil || len(got) != len(want) {
					p.errorf("KeysByOwner(%q) = %d keys, %v; want %d", owner, len(got), err, len(want))
					continue
				}
				for i := range want {
					p.same(&got[i], nil, written(want[i], 1), fmt.Sprintf("KeysByOwner(%q)[%d]", owner, i), "the list is in this order, and whole")
				}
			}
		},
	},
	{
		name:   "a new record has version 1 and was never used",
		reason: "the first change states the version that it has read.",
		of:     isWriter,
		demand: func(p *probe) {
			r := p.bare.Clone()
			r.ID, r.Hash, r.Version, r.LastUsedAt = "new"+p.unique, hashOf("new"+p.unique), 7, p.bare.CreatedAt
			p.write(nil, &r, nil, "its ID is new")
			if r.Version != 7 {
				p.errorf("WriteKeys changed the record that it was given")
			}
			want := written(r, 1)
			want.LastUsedAt = time.Time{}
			p.stored(want, "it was just made")
		},
	},
	{
		name:   "an ID is taken once",
		reason: "a second key with the same ID would replace the first, or be found instead of it.",
		of:     isWriter,
		demand: func(p *probe) {
			r := p.bare.Clone()
			r.ID, r.Owner = p.full.ID, "mallory"
			p.write(nil, &r, apikey.ErrConflict, "the ID is taken")
			p.stored(written(p.full, 1), "nothing was written")
		},
	},
	{
		name:   "an update replaces all fields",
		reason: "revocations, and ends of an overlap, are updates.",
		of:     isWriter,
		demand: func(p *probe) {
			changed := written(p.ended, 1)
			changed.ID = p.full.ID
			p.write(&changed, nil, nil, "the version is the stored one")
			p.stored(written(changed, 2), "it was changed")
			back := written(p.full, 2)
			p.write(&back, nil, nil, "the version is the stored one")
			p.stored(written(p.full, 3), "it was changed back")
			p.stored(written(p.bare, 1), "nobody changed it")
		},
	},
	{
		name:   "an update of an older version is ErrConflict",
		reason: "a writer with an older record would undo changes since, such as a revocation.",
		of:     isWriter,
		demand: func(p *probe) {
			revoked := written(p.full, 1)
			revoked.RevokedAt = p.full.CreatedAt
			p.write(&revoked, nil, nil, "the version is the stored one")
			for _, version := range []int64{0, 1, 3, -1} {
				late := written(p.full, version)
				late.Name = "late"
				p.write(&late, nil, apikey.ErrConflict, "the stored version is 2")
			}
			p.stored(written(revoked, 2), "the late ones changed nothing")
		},
	},
	{
		name:   "an update of a missing key is ErrNotFound",
		reason: "an update must not create a key, and a retry does not help.",
		of:     isWriter,
		demand: func(p *probe) {
			r := written(p.bare, 1)
			r.ID = "none" + p.unique
			p.write(&r, nil, apikey.ErrNotFound, "there is no such key")
			if _, err := p.store.KeyByID(p.ctx, r.ID); !errors.Is(err, apikey.ErrNotFound) {
				p.errorf("the update made the key: %v", err)
			}
		},
	},
	{
		name:   "an update and a new record are one step",
		reason: "a rotation that stops half-way would leave a key without an end, or end a key without a successor.",
		of:     isWriter,
		demand: func(p *probe) {
			old, next := written(p.bare, 1), p.bare.Clone()
			next.ID, next.Hash = "next"+p.unique, hashOf("next"+p.unique)
			old.Successor, old.GraceUntil = next.ID, p.bare.CreatedAt.Add(time.Hour)
			stale := written(old, 9)
			p.write(&stale, &next, apikey.ErrConflict, "the stored version is 1")
			if _, err := p.store.KeyByID(p.ctx, next.ID); !errors.Is(err, apikey.ErrNotFound) {
				p.errorf("the new record was added without the update: %v", err)
			}
			taken := written(next, 0)
			taken.ID = p.ended.ID
			p.write(&old, &taken, apikey.ErrConflict, "the new ID is taken")
			p.stored(written(p.bare, 1), "the update was made without the new record")
			p.write(&old, &next, nil, "both can be done")
			p.stored(written(old, 2), "it was rotated")
			p.stored(written(next, 1), "it is the successor")
		},
	},
	{
		name:   "of many updates at once one succeeds",
		reason: "a hundred rotations of one key must make one successor.",
		of:     isWriter,
		demand: func(p *probe) {
			const calls = 16
			var wg sync.WaitGroup
			results := make([]error, calls)
			for i := range calls {
				wg.Go(func() {
					old, next := written(p.full, 1), p.full.Clone()
					next.ID, next.Hash = fmt.Sprintf("next%d%s", i, p.unique), hashOf(fmt.Sprint(i, p.unique))
					old.Successor = next.ID
					results[i] = p.writer().WriteKeys(p.ctx, &old, &next)
				})
			}
			wg.Wait()
			succeeded := 0
			for i, err := range results {
				if err == nil {
					succeeded++
				} else if !errors.Is(err, apikey.ErrConflict) {
					p.errorf("call %d: %v, want apikey.ErrConflict", i, err)
				}
				_, found := p.store.KeyByID(p.ctx, fmt.Sprintf("next%d%s", i, p.unique))
				if (found == nil) != (err == nil) {
					p.errorf("call %d returned %v, and for its successor the store says %v", i, err, found)
				}
			}
			if succeeded != 1 {
				p.errorf("%d of %d calls succeeded, want one", succeeded, calls)
			}
		},
	},
	{
		name:   "an owner has at most KeysPerOwner keys that have not ended",
		reason: "an attacker with a stolen session would create keys without limit, all at once or by rotations with an overlap.",
		of:     isBounder,
		demand: demandBound,
	},
	{
		name:   "the last use moves forward only",
		reason: "two processes write late and out of order.",
		of:     isRecorder,
		demand: func(p *probe) {
			recorder := p.store.(apikey.UsageRecorder)
			second := p.full.CreatedAt.Truncate(time.Second)
			record := func(uses ...apikey.Use) {
				if err := recorder.RecordUse(p.ctx, uses); err != nil {
					p.errorf("RecordUse(%v) = %v", uses, err)
				}
			}
			record()
			record(apikey.Use{ID: "none" + p.unique, At: second}, apikey.Use{ID: p.full.ID, At: second.Add(time.Minute)}, apikey.Use{ID: p.bare.ID, At: second})
			record(apikey.Use{ID: p.full.ID, At: second}, apikey.Use{ID: p.bare.ID, At: second.Add(time.Minute)})
			for _, r := range []apikey.Record{p.full, p.bare} {
				want := written(r, 1)
				want.LastUsedAt = second.Add(time.Minute)
				p.stored(want, "that was the latest use; all else, the version too, stays")
			}
			p.stored(written(p.ended, 1), "it was not used")
			if _, err := p.store.KeyByID(p.ctx, "none"+p.unique); !errors.Is(err, apikey.ErrNotFound) {
				p.errorf("the use of a key that is not there made it: %v", err)
			}
		},
	},
	{
		name:   "a change leaves the last use as it is",
		reason: "uses are written while keys are changed; the changed record has an older time, or none.",
		of:     func(s apikey.KeyStore) bool { return isRecorder(s) && isWriter(s) },
		demand: func(p *probe) {
			used := p.full.CreatedAt.Truncate(time.Second)
			if err := p.store.(apikey.UsageRecorder).RecordUse(p.ctx, []apikey.Use{{ID: p.full.ID, At: used}}); err != nil {
				p.errorf("RecordUse = %v", err)
			}
			changed := written(p.full, 1)
			changed.Name, changed.LastUsedAt = "changed", used.Add(time.Hour)
			p.write(&changed, nil, nil, "a use is no change of the version")
			want := written(changed, 2)
			want.LastUsedAt = used
			p.stored(want, "it was changed, and used before")
		},
	},
	{
		name:   "a network of a key is recorded once",
		reason: "each recorded network causes an event and a message to the owner, and processes do not share memory.",
		of:     isNetworked,
		demand: demandNetworks,
	},
	{
		name:   "a key has at most MaxNetworks networks",
		reason: "a stolen key used from changing addresses would fill the store.",
		of:     isNetworked,
		demand: func(p *probe) {
			for i := range apikey.MaxNetworks + 2 {
				p.network(p.full.ID, network(i), p.bare.CreatedAt.Add(time.Duration(i)*time.Second), min(i+1, apikey.MaxNetworks), "the number of networks of the key")
			}
			after := p.bare.CreatedAt.Add(time.Hour)
			p.network(p.full.ID, network(2), after, 0, "it is not among the two oldest")
			p.network(p.full.ID, network(0), after, apikey.MaxNetworks, "the oldest made room")
			p.network(p.full.ID, network(1), after, apikey.MaxNetworks, "the second made room")
			p.network(p.bare.ID, network(1), after, 1, "another key has networks of its own")
			// A clock that is behind must not lose what it has just recorded.
			p.network(p.full.ID, network(500), p.bare.CreatedAt.Add(-time.Hour), apikey.MaxNetworks, "it is new")
			p.network(p.full.ID, network(500), after, 0, "it was recorded a moment ago")
		},
	},
}

// network returns one of many networks.
func network(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
}

// network requires a result of RecordNetwork.
func (p *probe) network(id string, network netip.Prefix, at time.Time, want int, because string) {
	got, err := p.store.(apikey.NetworkRecorder).RecordNetwork(p.ctx, id, network, at)
	if err != nil || got != want {
		p.errorf("RecordNetwork(%q, %v) = %d, %v; want %d: %s", id, network, got, err, want, because)
	}
}

// demandNetworks is the rule of a NetworkRecorder.
func demandNetworks(p *probe) {
	now := p.bare.CreatedAt
	six := netip.MustParsePrefix("2001:db8:1::/48")
	p.network(p.full.ID, network(0), now, 1, "it is the first")
	p.network(p.full.ID, network(0), now.Add(time.Hour), 0, "it is there")
	p.network(p.full.ID, six, now, 2, "it is the second")
	p.network(p.full.ID, six, now, 0, "it is there")
	p.network(p.bare.ID, six, now, 1, "another key has networks of its own")
	p.network("none"+p.unique, six, now, 0, "there is no such key")
	p.network("none"+p.unique+"\x00", six, now, 0, "there is no such key")
	p.stored(written(p.full, 1), "a network is no change of the key")

	var wg sync.WaitGroup
	var recorded atomic.Int64
	for range 8 {
		wg.Go(func() {
			n, err := p.store.(apikey.NetworkRecorder).RecordNetwork(p.ctx, p.full.ID, network(1), now)
			if err != nil || n != 0 && n != 3 {
				p.errorf("RecordNetwork = %d, %v; want 3 once and 0 otherwise", n, err)
			}
			if n != 0 {
				recorded.Add(1)
			}
		})
	}
	wg.Wait()
	if n := recorded.Load(); n != 1 {
		p.errorf("of eight calls at once %d recorded the network, want one", n)
	}
}
