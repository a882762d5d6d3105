package blacklist

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/audit"
)

// ReplicaConfig configures a [Replica]. The zero ReplicaConfig is ready for use.
type ReplicaConfig struct {
	Poll time.Duration // between two readings in [Replica.Run]; default: 250 ms

	// Wake begins a reading at once, for example for LISTEN/NOTIFY. A lost message
	// costs one Poll.
	Wake <-chan struct{}

	// MaxStale bounds the age of the last complete reading. Beyond it, callers not
	// known to be revoked get 503. It must exceed Poll and ReadTimeout together.
	// Default: 5 seconds.
	MaxStale time.Duration

	// ReadTimeout bounds a [Log.Since], WriteTimeout a [Log.Append]. Default: 500
	// ms and 5 seconds.
	ReadTimeout, WriteTimeout time.Duration

	// MaxEntries bounds the entries, of about 25 bytes each, or 60 with Before. At
	// the bound, Revoke returns [ErrFull], and entries of other machines make this
	// one stale. Default: 20,000,000.
	MaxEntries int

	// InsecureFailOpen accepts callers while the last reading is older than
	// MaxStale, with an event at most once a second. An attacker who can cut this
	// machine off from the log can use a token that was revoked elsewhere. Known
	// revocations, [Replica.Direct], and the time before the first reading are not
	// affected.
	InsecureFailOpen bool

	// OnEntry is called with each entry recorded after the first reading, possibly
	// more than once, to evict callers from caches. Revoked already uses the entry.
	// OnEntry must not block.
	OnEntry func(Entry)

	// Hooks.Observe receives guard.EventUnavailable when the log becomes
	// unreadable. No other hook is called.
	Hooks guard.Hooks
}

// ErrStale is returned by [Replica.Revoked] if the log was not read within
// MaxStale.
var ErrStale = errors.New("blacklist: the last reading of the log is too old to accept callers")

// A Replica is a [Revoker] that holds all entries of a [Log] in memory, and follows
// the log while [Replica.Run] runs. It is safe for concurrent use.
//
// Entries count until they expire by the clock of this machine, and are kept for
// another hour, so that setting the clock back by up to an hour undoes no
// revocation. Staleness is measured with the monotonic clock.
type Replica struct {
	log    Log
	config ReplicaConfig
	set    *set
	start  time.Time // of which the monotonic reading counts

	fresh    atomic.Int64 // when the last complete reading began, since start; before the first: unread
	reported atomic.Int64 // when InsecureFailOpen was last reported, since start
	failed   atomic.Pointer[error]

	turn     chan struct{} // held by the goroutine that reads the log
	position uint64        // up to which it was read; guarded by turn
	reached  atomic.Uint64 // position after the last complete reading
	latest   atomic.Int64  // the latest Before that IssueTime may have returned, in microseconds
	recent   recentMarks
	skew     atomic.Pointer[error] // why the clock is not good enough
	ahead    time.Duration         // of the system's clock; only tests set it

	mu   sync.Mutex
	next *reading // begins when the current one has ended
}

var _ Revoker = (*Replica)(nil)

// unread is the value of Replica.fresh before the first reading.
const unread = math.MinInt64

// compactEvery is how often Run calls DeleteExpired of the log.
const compactEvery = 10 * time.Minute

// pageSize is how many entries are read in one call.
const pageSize = 4096

// NewReplica returns a Replica of the log, not read yet. The error lists all
// mistakes.
func NewReplica(log Log, config ReplicaConfig) (*Replica, error) {
	var errs []error
	if log == nil {
		errs = append(errs, errors.New("blacklist: the Log is nil; use OpenFile, sqllog.New or redislog.New"))
	}
	for _, d := range []struct {
		name    string
		value   *time.Duration
		usually time.Duration
	}{
		{"Poll", &config.Poll, 250 * time.Millisecond},
		{"MaxStale", &config.MaxStale, 5 * time.Second},
		{"ReadTimeout", &config.ReadTimeout, 500 * time.Millisecond},
		{"WriteTimeout", &config.WriteTimeout, 5 * time.Second},
	} {
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("blacklist: ReplicaConfig.%s is %v; use more than zero, or zero for %v", d.name, *d.value, d.usually))
		}
		if *d.value == 0 {
			*d.value = d.usually
		}
	}
	if config.MaxStale <= config.Poll+config.ReadTimeout {
		errs = append(errs, fmt.Errorf("blacklist: ReplicaConfig.MaxStale is %v; use more than Poll and ReadTimeout together, which are %v",
			config.MaxStale, config.Poll+config.ReadTimeout))
	}
	if config.MaxEntries < 0 {
		errs = append(errs, fmt.Errorf("blacklist: ReplicaConfig.MaxEntries is %d; use more than zero, or zero for 20,000,000", config.MaxEntries))
	}
	if config.MaxEntries == 0 {
		config.MaxEntries = 20_000_000
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	r := &Replica{log: log, config: config, set: newSet(config.MaxEntries), start: time.Now(), turn: make(chan struct{}, 1)}
	r.fresh.Store(unread)
	r.reported.Store(unread)
	return r, nil
}

// now is the present by the clock of this machine, in microseconds since 1970.
func (r *Replica) now() int64 { return nowMicros() + r.ahead.Microseconds() }

// Revoke implements [Revoker].
func (r *Replica) Revoke(ctx context.Context, what identity.Revocation) error {
	return r.RevokeAll(ctx, what)
}

// RevokeAll records several revocations in one step of the log, or nothing if one
// is invalid.
func (r *Replica) RevokeAll(ctx context.Context, all ...identity.Revocation) error {
	now, caller := r.now(), ctx
	entries := make([]Entry, 0, len(all))
	recorded := make([]identity.Revocation, 0, len(all))
	for _, what := range all {
		e, err := r.set.entry(what)
		if err != nil {
			return err
		}
		if !e.expired(now) {
			entries = append(entries, e)
			recorded = append(recorded, what)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if r.set.full() {
		return ErrFull
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.WriteTimeout)
	defer cancel()
	begun := r.config.Hooks.Begin()
	_, err := r.log.Append(ctx, entries...)
	r.config.Hooks.Measured(ctx, begun, "store", "blacklist.Append", err)
	if err != nil {
		return fmt.Errorf("recording a revocation: %w", err)
	}
	for _, e := range entries {
		if err := r.learn(e, true); err != nil {
			return err
		}
	}
	for _, what := range recorded {
		r.config.Hooks.EmitContext(caller, audit.Revoked(what))
	}
	return nil
}

// RevokeNow implements [Revoker]. It reads the log, then appends to it.
func (r *Replica) RevokeNow(ctx context.Context, what identity.Revocation) (time.Time, error) {
	if err := checkNow(what); err != nil {
		return time.Time{}, err
	}
	if err := r.readNow(ctx); err != nil {
		return time.Time{}, err
	}
	what.Before = nextBefore(time.UnixMicro(r.now()), time.UnixMicro(r.latest.Load()))
	if err := r.Revoke(ctx, what); err != nil {
		return time.Time{}, err
	}
	return what.Before, nil
}

// IssueTime implements [Revoker]. It does no I/O.
func (r *Replica) IssueTime(_ context.Context, p *identity.Principal) (time.Time, error) {
	if err := checkPrincipal(p); err != nil {
		return time.Time{}, err
	}
	now := r.now()
	return time.UnixMicro(r.set.latest(p, now)), nil
}

// Checkpoint implements [Revoker]. Concurrent calls share a reading.
func (r *Replica) Checkpoint(ctx context.Context) (uint64, error) {
	if err := r.readNow(ctx); err != nil {
		return 0, err
	}
	return r.reached.Load(), nil
}

// RevokedSince implements [Revoker]. It reads the log to its end, unless p is known
// to be revoked. Entries older than the last 4096 with a Before are compared by
// Before alone.
func (r *Replica) RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	revoked, err := r.Direct().Revoked(ctx, p)
	if revoked || err != nil {
		return revoked, err
	}
	return r.recent.matches(r.set, p, checkpoint, r.now()), nil
}

// readNow reads the log to its end within MaxStale.
func (r *Replica) readNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.MaxStale)
	defer cancel()
	return r.Refresh(ctx)
}

// learn adds e to the set that Revoked uses.
func (r *Replica) learn(e Entry, report bool) error {
	now := r.now()
	if err := r.set.add(e, now); err != nil {
		return err
	}
	if e.Before != 0 && nearNow(time.UnixMicro(e.Before), time.UnixMicro(now)) {
		for latest := r.latest.Load(); e.Before > latest && !r.latest.CompareAndSwap(latest, e.Before); {
			latest = r.latest.Load()
		}
	}
	if report && r.config.OnEntry != nil {
		r.config.OnEntry(e)
	}
	return nil
}

// Revoked implements [Revoker] without allocations, I/O or locks. It ignores the
// context.
func (r *Replica) Revoked(ctx context.Context, p *identity.Principal) (bool, error) {
	if err := checkPrincipal(p); err != nil {
		return false, err
	}
	if r.set.revoked(p, r.now) {
		return true, nil
	}
	// Read after the set: in the reverse order, an answer could be older than
	// the reading that it is based on.
	since := time.Since(r.start)
	fresh := r.fresh.Load()
	if fresh != unread && since-time.Duration(fresh) <= r.config.MaxStale {
		return false, nil
	}
	err := r.stale()
	if !r.config.InsecureFailOpen || fresh == unread {
		return false, err
	}
	if last := r.reported.Load(); (last == unread || since-time.Duration(last) >= time.Second) && r.reported.CompareAndSwap(last, int64(since)) {
		r.observe(fmt.Errorf("InsecureFailOpen accepts callers nevertheless: %w", err))
	}
	return false, nil
}

// Staleness returns the age of the last complete reading, or the longest duration.
func (r *Replica) Staleness() time.Duration {
	fresh := r.fresh.Load()
	if fresh == unread {
		return math.MaxInt64
	}
	return max(0, time.Since(r.start)-time.Duration(fresh))
}

// Ready returns nil if the log was read to its end at most MaxStale ago, also with
// InsecureFailOpen. It does not wait. If the log is a [Clock], Ready returns an
// error while the clocks differ by more than identity.MaxClockSkew.
func (r *Replica) Ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.Staleness() > r.config.MaxStale {
		return r.stale()
	}
	if skew := r.skew.Load(); skew != nil {
		return *skew
	}
	return nil
}

// compareEvery is how often the clocks of this machine and of the log are compared.
const compareEvery = 10 * time.Second

// compareClocks compares the clocks. After an error of the log, the last result
// stays.
func (r *Replica) compareClocks(ctx context.Context) {
	clock, ok := r.log.(Clock)
	since := time.Since(r.start)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.ReadTimeout)
	defer cancel()
	there, err := clock.Now(ctx)
	if err != nil {
		return
	}
	took := time.Since(r.start) - since
	ahead := time.UnixMicro(r.now()).Sub(there.Add(took / 2))
	if ahead.Abs()-took/2 <= identity.MaxClockSkew {
		r.skew.Store(nil)
		return
	}
	wrong := fmt.Errorf("blacklist: the clock of this machine differs by %v from the log's, more than the %v that are allowed; set it, by NTP say",
		ahead.Round(time.Millisecond), identity.MaxClockSkew)
	if r.skew.Swap(&wrong) == nil {
		r.observe(wrong)
	}
}

// Len returns the number of entries, including expired ones.
func (r *Replica) Len() int { return int(r.set.len()) }

func (r *Replica) stale() error {
	how := "it was never read to its end"
	if s := r.Staleness(); s != math.MaxInt64 {
		how = fmt.Sprintf("that was %v ago", s.Round(time.Millisecond))
	}
	if last := r.failed.Load(); last != nil {
		return fmt.Errorf("%w: %s: %w", ErrStale, how, *last)
	}
	return fmt.Errorf("%w: %s; call Replica.Refresh, and keep Replica.Run running", ErrStale, how)
}

// observe emits an event about the log, without a Principal, because no caller
// caused it.
func (r *Replica) observe(err error) {
	r.config.Hooks.EmitContext(context.Background(), guard.Event{Name: guard.EventUnavailable, Target: "log of revocations", Err: err})
}

// Run follows the log until ctx ends, and returns the error of ctx. It also deletes
// expired entries, every ten minutes in the log. Call it once, and close the log
// afterwards.
func (r *Replica) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	if c, ok := r.log.(expirer); ok {
		all.Go(func() { r.compact(ctx, c) }) // which may take longer than MaxStale
	}
	all.Go(func() { r.watchClocks(ctx) })
	wake := r.config.Wake
	timer := time.NewTimer(0)
	defer timer.Stop()
	for part := 0; ; part = (part + 1) % shardCount {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case _, open := <-wake:
			if !open {
				wake = nil
				continue
			}
		}
		// The error is kept for Revoked and Ready, and another reading follows.
		_ = r.Refresh(ctx)
		r.set.sweep(part, r.now())
		timer.Reset(r.config.Poll)
	}
}

// watchClocks compares the clocks now and then, if the log has one.
func (r *Replica) watchClocks(ctx context.Context) {
	if _, ok := r.log.(Clock); !ok {
		return
	}
	ticker := time.NewTicker(compareEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.compareClocks(ctx)
		}
	}
}

func (r *Replica) compact(ctx context.Context, e expirer) {
	ticker := time.NewTicker(compactEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if _, err := e.DeleteExpired(ctx, time.Now().Add(-keep)); err != nil && ctx.Err() == nil {
				r.observe(fmt.Errorf("deleting what has expired from the log: %w", err))
			}
		}
	}
}

// A reading is one pass over the new entries of the log, for all waiting callers.
type reading struct {
	done chan struct{}
	err  error
	// abandoned is true if the context of the reading caller ended, so that err
	// does not apply to the waiting callers.
	abandoned bool
}

// Refresh reads the new entries of the log, the first call all entries, and returns
// when Revoked uses them. Concurrent calls share the next reading.
func (r *Replica) Refresh(ctx context.Context) error {
	for {
		err, abandoned := r.refresh(ctx)
		if !abandoned || ctx.Err() != nil {
			return err
		}
	}
}

func (r *Replica) refresh(ctx context.Context) (err error, abandoned bool) {
	// A reading under way may have passed the entries that the caller needs,
	// so it must be a reading that begins from now on.
	r.mu.Lock()
	mine := r.next
	if mine == nil {
		mine = &reading{done: make(chan struct{})}
		r.next = mine
	}
	r.mu.Unlock()

	select {
	case <-mine.done:
		return mine.err, mine.abandoned
	case <-ctx.Done():
		return ctx.Err(), false
	case r.turn <- struct{}{}:
	}
	defer func() { <-r.turn }()
	select {
	case <-mine.done: // by the goroutine that had the turn before
		return mine.err, mine.abandoned
	default:
	}
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	mine.err = r.read(ctx)
	mine.abandoned = mine.err != nil && ctx.Err() != nil
	close(mine.done)
	return mine.err, false
}

// read reads to the end of the log. The caller has the turn.
func (r *Replica) read(ctx context.Context) error {
	for rewound := false; ; {
		began := time.Since(r.start)
		n, err := r.page(ctx)
		switch {
		case errors.Is(err, ErrRewound) && !rewound:
			rewound = true
			r.position = 0
		case err != nil:
			if ctx.Err() == nil { // else the caller ended the reading
				err = fmt.Errorf("reading the log: %w", err)
				if r.failed.Swap(&err) == nil {
					r.observe(err)
				}
			}
			return err
		case n < pageSize:
			if r.failed.Swap(nil) != nil {
				r.config.Hooks.EmitContext(context.Background(), guard.Event{Name: guard.EventAvailable, Target: "log of revocations"})
			}
			r.reached.Store(r.position)
			first := r.fresh.Load() == unread
			r.fresh.Store(int64(began))
			if first {
				r.compareClocks(ctx) // before the first call of Ready
			}
			return nil
		}
	}
}

// page reads some entries and returns how many.
func (r *Replica) page(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.ReadTimeout)
	defer cancel()
	begun := r.config.Hooks.Begin()
	entries, last, err := r.log.Since(ctx, r.position, pageSize)
	r.config.Hooks.Measured(ctx, begun, "store", "blacklist.Since", err)
	if err != nil {
		return 0, err
	}
	if last < r.position || len(entries) > 0 && last == r.position {
		return 0, fmt.Errorf("blacklist: Since(%d) returned %d entries up to number %d", r.position, len(entries), last)
	}
	report := r.fresh.Load() != unread
	for i, e := range entries {
		if err := r.learn(e, report); err != nil {
			return 0, err
		}
		// Numbers may be left out, so that its own may be greater.
		r.recent.add(r.position+1+uint64(i), e)
	}
	r.position = last
	return len(entries), nil
}

// Direct returns a [Revoker] for routes on which a revocation on another machine
// must count at once: it reads the log before it reports that a caller is not
// revoked, and returns an error if it cannot, whatever MaxStale and
// InsecureFailOpen are. Concurrent calls share the next reading.
func (r *Replica) Direct() Revoker { return direct{r} }

type direct struct{ *Replica }

func (d direct) Revoked(ctx context.Context, p *identity.Principal) (bool, error) {
	if err := checkPrincipal(p); err != nil {
		return false, err
	}
	if d.set.revoked(p, d.now) {
		return true, nil
	}
	if err := d.readNow(ctx); err != nil {
		return false, err
	}
	return d.set.revoked(p, d.now), nil
}

// checkPrincipal returns an error if no revocation could ever match p.
func checkPrincipal(p *identity.Principal) error {
	switch {
	case p == nil:
		return errors.New("blacklist: the Principal is nil; pass the caller")
	case p.Issuer == "":
		return errors.New("blacklist: Principal.Issuer is empty, so no revocation can match; set the issuer of the credential")
	}
	return nil
}
