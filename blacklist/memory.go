package blacklist

import (
	"container/heap"
	"context"
	"errors"
	"iter"
	"math/bits"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// ErrFull is returned by [Memory], [MemoryLog] and [Replica] at MaxEntries, if no
// entry has expired. They evict none.
var ErrFull = errors.New("blacklist: MaxEntries is reached and no revocation has expired; raise MaxEntries")

// Memory is a [Revoker] in memory, for tests. The zero value is ready for use. It
// is safe for concurrent use, and must not be copied. If the wall clock is set
// back, revocations last longer.
type Memory struct {
	// MaxEntries bounds the revocations, of about 350 bytes each, at most 4 kB with
	// strings of [MaxLength]. Set it before first use. Default, also below one:
	// 1,000,000.
	MaxEntries int

	mu      sync.RWMutex
	issuers map[string]*issuer
	ending  endings   // the entries that expire, soonest first
	size    int       // entries of all issuers
	number  uint64    // of the last revocation
	latest  time.Time // the latest Before that IssueTime may have returned
}

var _ Revoker = (*Memory)(nil)

// Revoke implements [Revoker]. It ignores the context.
func (m *Memory) Revoke(_ context.Context, r identity.Revocation) error {
	if err := Validate(r); err != nil {
		return err
	}
	// Without the monotonic reading and the time zone, moments compare the
	// same however they were made.
	before, expires := r.Before.Round(0).UTC(), r.Expires.Round(0).UTC()
	now := time.Now()
	if past(expires, now) {
		return nil
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	return m.record(r, before, expires, now)
}

// record records r with these moments. The caller has the lock.
func (m *Memory) record(r identity.Revocation, before, expires, now time.Time) error {
	m.sweep(now)
	if nearNow(before, now) && before.After(m.latest) {
		m.latest = ceilMicro(before)
	}
	t := target{r.Credential, r.Session, r.Subject, r.Tenant, r.Spare != ""}
	if e := m.issuers[r.Issuer].entry(t); e != nil {
		if past(e.expires, now) {
			e.before, e.all, e.spare, e.expires = before, time.Time{}, strings.Clone(r.Spare), expires
		} else {
			e.join(before, r.Spare)
			e.expires = later(e.expires, expires)
		}
		m.number++
		e.number = m.number
		m.ending.update(e)
		return nil
	}
	if m.size >= m.maxEntries() {
		return ErrFull
	}
	m.number++
	m.add(r.Issuer, &entry{target: t.clone(), before: before, spare: strings.Clone(r.Spare), expires: expires, number: m.number, position: absent})
	return nil
}

// RevokeNow implements [Revoker].
func (m *Memory) RevokeNow(_ context.Context, r identity.Revocation) (time.Time, error) {
	if err := checkNow(r); err != nil {
		return time.Time{}, err
	}
	now := time.Now().Round(0).UTC()
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Before = nextBefore(now, m.latest)
	if err := Validate(r); err != nil {
		return time.Time{}, err
	}
	expires := r.Expires.Round(0).UTC()
	if past(expires, now) {
		return r.Before, nil
	}
	if err := m.record(r, r.Before, expires, now); err != nil {
		return time.Time{}, err
	}
	return r.Before, nil
}

// nextBefore returns the Before of a revocation of everything up to now, where
// latest is the last one so far.
func nextBefore(now, latest time.Time) time.Time {
	// Microseconds are what logs and tokens keep.
	before := now.Truncate(time.Microsecond).Add(identity.MaxClockSkew + time.Microsecond)
	if !latest.Before(before) && nearNow(latest, now) {
		before = latest.Add(time.Microsecond)
	}
	return before.UTC()
}

// nearNow reports whether before may be from a RevokeNow at now: the clock of its machine
// may be ahead by MaxClockSkew, and RevokeNow adds as much. Concurrent revocations add a
// microsecond each.
func nearNow(before, now time.Time) bool {
	return before.Sub(now) <= 2*identity.MaxClockSkew+time.Millisecond
}

// IssueTime implements [Revoker].
func (m *Memory) IssueTime(_ context.Context, p *identity.Principal) (time.Time, error) {
	if err := checkPrincipal(p); err != nil {
		return time.Time{}, err
	}
	now := time.Now().Truncate(time.Microsecond)
	at := now
	m.mu.RLock()
	defer m.mu.RUnlock()
	for e := range m.of(p) {
		if e.before.IsZero() || past(e.expires, now) {
			continue
		}
		if e.before.After(at) && nearNow(e.before, now) {
			at = ceilMicro(e.before)
		}
	}
	return at, nil
}

// ceilMicro returns t, rounded up to a whole microsecond.
func ceilMicro(t time.Time) time.Time {
	if whole := t.Truncate(time.Microsecond); whole.Before(t) {
		return whole.Add(time.Microsecond)
	}
	return t
}

// Checkpoint implements [Revoker].
func (m *Memory) Checkpoint(context.Context) (uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.number, nil
}

// RevokedSince implements [Revoker].
func (m *Memory) RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	if revoked, err := m.Revoked(ctx, p); revoked || err != nil {
		return revoked, err
	}
	now := time.Now()
	m.mu.RLock()
	defer m.mu.RUnlock()
	for e := range m.of(p) {
		if e.number > checkpoint && !past(e.expires, now) && (e.spare == "" || e.spare != p.Session) &&
			e.before.After(p.IssuedAt.Add(-orderWindow)) {
			return true, nil
		}
	}
	return false, nil
}

// of returns the entries whose target is p, whatever their dates. The caller
// has the lock.
func (m *Memory) of(p *identity.Principal) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		i := m.issuers[p.Issuer]
		if i == nil {
			return
		}
		whole := target{p.Credential, p.Session, p.Subject, p.Tenant, true}
		has := whole.fields()
		for rest := i.present; rest != 0; rest &= rest - 1 {
			fields := fieldSet(bits.TrailingZeros32(rest))
			if fields&^has != 0 {
				continue
			}
			if e := i.entries[whole.only(fields)]; e != nil && !yield(e) {
				return
			}
		}
	}
}

// Revoked implements [Revoker]. It allocates nothing, and concurrent calls do not
// wait for each other.
func (m *Memory) Revoked(_ context.Context, p *identity.Principal) (bool, error) {
	if err := checkPrincipal(p); err != nil {
		return false, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	i := m.issuers[p.Issuer]
	if i == nil {
		return false, nil
	}
	whole := target{p.Credential, p.Session, p.Subject, p.Tenant, true}
	has := whole.fields()
	for rest := i.present; rest != 0; rest &= rest - 1 {
		fields := fieldSet(bits.TrailingZeros32(rest))
		if fields&^has != 0 {
			continue
		}
		if i.entries[whole.only(fields)].matches(p) {
			return true, nil
		}
	}
	return false, nil
}

// Len returns the number of entries, including expired ones. Equal revocations
// share an entry.
func (m *Memory) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.size
}

func (m *Memory) maxEntries() int {
	if m.MaxEntries <= 0 {
		return 1_000_000
	}
	return m.MaxEntries
}

// add records e, whose target has no entry yet.
func (m *Memory) add(name string, e *entry) {
	i := m.issuers[name]
	if i == nil {
		i = &issuer{name: strings.Clone(name), entries: make(map[target]*entry)}
		if m.issuers == nil {
			m.issuers = make(map[string]*issuer)
		}
		m.issuers[i.name] = i
	}
	e.issuer = i
	i.entries[e.target] = e
	fields := e.target.fields()
	i.counts[fields]++
	i.present |= 1 << fields
	m.size++
	m.ending.update(e)
}

// sweep drops expired entries: at most eight, so that readers do not wait long
// for the lock, and more than one, so that a backlog shrinks although each call
// may add an entry.
func (m *Memory) sweep(now time.Time) {
	for range 8 {
		if len(m.ending) == 0 || !past(m.ending[0].expires, now) {
			return
		}
		m.drop(heap.Pop(&m.ending).(*entry))
	}
}

// drop forgets e, which is no longer in m.ending.
func (m *Memory) drop(e *entry) {
	i := e.issuer
	delete(i.entries, e.target)
	fields := e.target.fields()
	if i.counts[fields]--; i.counts[fields] == 0 {
		i.present &^= 1 << fields
	}
	if len(i.entries) == 0 {
		delete(m.issuers, i.name)
	}
	m.size--
}

// An issuer holds the entries of one issuer. Keeping them apart makes the
// usual answer, nothing, as quick as one look-up, and spares each entry a copy
// of the name.
type issuer struct {
	name    string
	entries map[target]*entry
	present uint32    // bit f is set while counts[f] > 0
	counts  [32]int32 // entries by the fields that their targets have
}

// entry returns the entry of exactly t, or nil.
func (i *issuer) entry(t target) *entry {
	if i == nil {
		return nil
	}
	return i.entries[t]
}

// A target has the fields that a revocation is compared by. It is a struct and
// not one string, so that no choice of identifiers makes two targets equal.
//
// sparing is whether a session is spared, not which one: of two revocations that
// differ in Spare alone, the later must not replace the earlier.
type target struct {
	credential, session, subject, tenant string
	sparing                              bool
}

// A fieldSet is the set of fields of a target that are not empty. A principal can match
// 32 targets: each subset of its fields, with and without a spared session. Hosts revoke
// in few ways, so looking up the sets in use takes one or two look-ups.
type fieldSet uint8

const (
	hasCredential fieldSet = 1 << iota
	hasSession
	hasSubject
	hasTenant
	isSparing
)

func (t target) fields() (f fieldSet) {
	if t.credential != "" {
		f |= hasCredential
	}
	if t.session != "" {
		f |= hasSession
	}
	if t.subject != "" {
		f |= hasSubject
	}
	if t.tenant != "" {
		f |= hasTenant
	}
	if t.sparing {
		f |= isSparing
	}
	return f
}

// only returns t without the fields that are not in f.
func (t target) only(f fieldSet) target {
	if f&hasCredential == 0 {
		t.credential = ""
	}
	if f&hasSession == 0 {
		t.session = ""
	}
	if f&hasSubject == 0 {
		t.subject = ""
	}
	if f&hasTenant == 0 {
		t.tenant = ""
	}
	t.sparing = t.sparing && f&isSparing != 0
	return t
}

// clone returns a copy that keeps nothing else in memory: identifiers are
// often cut from a whole token.
func (t target) clone() target {
	return target{
		strings.Clone(t.credential),
		strings.Clone(t.session),
		strings.Clone(t.subject),
		strings.Clone(t.tenant),
		t.sparing,
	}
}

// An entry is all revocations of one target.
type entry struct {
	issuer   *issuer
	target   target
	before   time.Time // zero: whenever issued
	all      time.Time // the same for the spared session; zero: it is not revoked
	spare    string    // a session; empty if no session is spared
	expires  time.Time // zero: never
	number   uint64    // of the last revocation that became part of it
	position int       // in endings, or absent
}

// matches reports whether e, found by the fields of p, also matches the issue
// time of p, now. A nil entry matches nothing.
func (e *entry) matches(p *identity.Principal) bool {
	if e == nil || !e.before.IsZero() && !p.IssuedAt.Before(e.before) {
		return false
	}
	if e.spare != "" && e.spare == p.Session && !p.IssuedAt.Before(e.all) {
		return false
	}
	return e.expires.IsZero() || !past(e.expires, time.Now())
}

// join adds a revocation of the same target. Of two revocations that spare different
// sessions, each refuses the session that the other spares: the session spared by the
// later is refused up to the earlier Before, all further sessions up to the later Before.
func (e *entry) join(before time.Time, spare string) {
	if spare == e.spare {
		e.before = later(e.before, before)
		return
	}
	earlier := e.before
	if before.After(e.before) {
		e.before, e.spare = before, strings.Clone(spare)
	} else {
		earlier = before
	}
	if earlier.After(e.all) {
		e.all = earlier
	}
}

// past reports whether expires is not after now. A zero expires is never past.
func past(expires, now time.Time) bool {
	return !expires.IsZero() && !now.Before(expires)
}

// later returns the later of two moments, where zero is the end of time: a zero Before
// matches the most, and a zero Expires lasts the longest.
func later(a, b time.Time) time.Time {
	switch {
	case a.IsZero() || b.IsZero():
		return time.Time{}
	case a.After(b):
		return a
	}
	return b
}

// endings is a heap of the entries that expire, so that an expired entry is found without
// a search.
type endings []*entry

// absent is the position of an entry that is not in the heap.
const absent = -1

// update puts e where its expires belongs.
func (h *endings) update(e *entry) {
	switch {
	case e.position != absent && e.expires.IsZero():
		heap.Remove(h, e.position)
	case e.position != absent:
		heap.Fix(h, e.position)
	case !e.expires.IsZero():
		heap.Push(h, e)
	}
}

func (h endings) Len() int           { return len(h) }
func (h endings) Less(i, j int) bool { return h[i].expires.Before(h[j].expires) }

func (h endings) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].position, h[j].position = i, j
}

func (h *endings) Push(x any) {
	e := x.(*entry)
	e.position = len(*h)
	*h = append(*h, e)
}

func (h *endings) Pop() any {
	old := *h
	last := len(old) - 1
	e := old[last]
	old[last] = nil // for the collector
	*h = old[:last]
	e.position = absent
	return e
}
