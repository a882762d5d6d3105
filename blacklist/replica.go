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
)

// ReplicaConfig says how a [Replica] follows its log. The zero ReplicaConfig is
// ready for use.
type ReplicaConfig struct {
	// Poll is how long [Replica.Run] waits between two readings of the log.
	// Default: 250 ms.
	Poll time.Duration

	// Wake ends a wait early: a host sends to it when it hears, by
	// LISTEN/NOTIFY or a subscription, that there is something new. What it
	// misses costs one Poll. Default: none.
	Wake <-chan struct{}

	// MaxStale is how old the last complete reading may be. When it is
	// older, whoever is not known to be revoked is refused with 503. It
	// must be longer than Poll and ReadTimeout together. Default: 5 s.
	MaxStale time.Duration

	// ReadTimeout is how long one call of [Log.Since] may take, and
	// WriteTimeout how long one of [Log.Append]. Default: 500 ms and 5 s.
	ReadTimeout, WriteTimeout time.Duration

	// MaxEntries is how many entries are kept at most, at about 25 bytes
	// each; those with Before take 60. When there are so many, Revoke
	// returns [ErrFull], and if other machines record more, this one soon
	// counts as stale: nothing is evicted. Default: 20,000,000.
	MaxEntries int

	// InsecureFailOpen lets callers in while the log has not been read for
	// longer than MaxStale, and tells Hooks.Observe so once a second.
	// Whoever can cut this machine off from the log can then go on with a
	// token that was revoked elsewhere. What is known to be revoked stays
	// refused, [Replica.Direct] refuses as ever, and so does everything
	// until the log was read once. Default: 503.
	InsecureFailOpen bool

	// OnEntry hears of each entry that is recorded after the log was read
	// once, when Revoked already knows it: to drop from a cache what
	// [Entry.Matches]. It runs in the goroutine that reads or revokes and
	// must not block. It may hear of one entry more than once.
	// Default: nobody hears of them.
	OnEntry func(Entry)

	// Hooks.Observe hears, as guard.EventUnavailable, when the log cannot be
	// read any more. The other hooks are not used. Default: nobody hears.
	Hooks guard.Hooks
}

// ErrStale is the error of [Replica.Revoked] when the log has not been read for
// longer than MaxStale, or not at all yet.
var ErrStale = errors.New("blacklist: the log was not read lately enough to tell who is revoked")

// A Replica is a [Revoker] that has all entries of a [Log] in the memory of
// this process, so that asking costs no I/O. It is safe for concurrent use.
//
// It follows the log while [Replica.Run] runs, which the host starts and ends:
//
//	log, err := blacklist.OpenFile("revocations.log", blacklist.FileConfig{})
//	…
//	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
//	…
//	if err := revoked.Refresh(ctx); err != nil { // read it all before serving
//		return err
//	}
//	go revoked.Run(ctx)
//
// What Revoke has recorded is in the log first and known here when it returns;
// other machines know it after their next reading, a Poll later. If the log
// cannot be read, what is known to be revoked stays refused for as long as that
// lasts, others are let in until MaxStale is over, and then get an error that
// is answered 503. A reading that succeeds ends this at once.
//
// Entries count until they expire by this machine's clock, and are kept for an
// hour longer, so that setting the clock back by up to an hour un-revokes
// nothing. Staleness is measured without that clock.
type Replica struct {
	log    Log
	config ReplicaConfig
	set    *set
	start  time.Time // of which the monotonic reading counts

	fresh  atomic.Int64 // when the last complete reading began, since start; before the first: unread
	shout  atomic.Int64 // when InsecureFailOpen was last told, since start
	failed atomic.Pointer[error]

	turn     chan struct{} // held by who reads the log
	position uint64        // up to which it was read; for who holds turn
	reached  atomic.Uint64 // position after the last complete reading
	latest   atomic.Int64  // the latest Before that IssueTime may have returned, in microseconds
	recent   recentMarks
	skew     atomic.Pointer[error] // why the clock is not good enough
	ahead    time.Duration         // of the system's clock; only tests set it

	mu   sync.Mutex
	next *reading // which begins when it is somebody's turn
}

var _ Revoker = (*Replica)(nil)

// unread is the value of Replica.fresh before the first reading.
const unread = math.MinInt64

// compactEvery is how often Run asks the log to drop what has expired.
const compactEvery = 10 * time.Minute

// pageSize is how many entries are read in one call.
const pageSize = 4096

// NewReplica returns a Replica of the log. It has read nothing yet. Its error
// lists every mistake.
func NewReplica(log Log, config ReplicaConfig) (*Replica, error) {
	var errs []error
	if log == nil {
		errs = append(errs, errors.New("blacklist: the Log is nil, want a *File, a *MemoryLog, one of sqllog or redislog, or one of your own"))
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
			errs = append(errs, fmt.Errorf("blacklist: ReplicaConfig.%s is %v, want more than zero, or zero for %v", d.name, *d.value, d.usually))
		}
		if *d.value == 0 {
			*d.value = d.usually
		}
	}
	if config.MaxStale <= config.Poll+config.ReadTimeout {
		errs = append(errs, fmt.Errorf("blacklist: ReplicaConfig.MaxStale is %v, want more than Poll and ReadTimeout together, which are %v",
			config.MaxStale, config.Poll+config.ReadTimeout))
	}
	if config.MaxEntries < 0 {
		errs = append(errs, fmt.Errorf("blacklist: ReplicaConfig.MaxEntries is %d, want more than zero, or zero for 20,000,000", config.MaxEntries))
	}
	if config.MaxEntries == 0 {
		config.MaxEntries = 20_000_000
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	r := &Replica{log: log, config: config, set: newSet(config.MaxEntries), start: time.Now(), turn: make(chan struct{}, 1)}
	r.fresh.Store(unread)
	r.shout.Store(unread)
	return r, nil
}

// now is the present by the clock of this machine, in microseconds since 1970.
func (r *Replica) now() int64 { return nowMicros() + r.ahead.Microseconds() }

// Revoke implements [Revoker].
func (r *Replica) Revoke(ctx context.Context, what identity.Revocation) error {
	return r.RevokeAll(ctx, what)
}

// RevokeAll is Revoke of several revocations in one step of the log, for one
// event that ends credentials of several issuers: somebody's tokens and their
// API keys. One that is wrong is an error, and then none is recorded.
func (r *Replica) RevokeAll(ctx context.Context, all ...identity.Revocation) error {
	now := r.now()
	entries := make([]Entry, 0, len(all))
	for _, what := range all {
		e, err := r.set.entry(what)
		if err != nil {
			return err
		}
		if !e.expired(now) {
			entries = append(entries, e)
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
	if _, err := r.log.Append(ctx, entries...); err != nil {
		return fmt.Errorf("recording a revocation: %w", err)
	}
	for _, e := range entries {
		if err := r.know(e, true); err != nil {
			return err
		}
	}
	return nil
}

// RevokeNow implements [Revoker]. It reads the log before it appends to it.
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

// Checkpoint implements [Revoker]: it reads the log to its end and returns the
// sequence number up to which it was read. Calls at the same time share a
// reading.
func (r *Replica) Checkpoint(ctx context.Context) (uint64, error) {
	if err := r.readNow(ctx); err != nil {
		return 0, err
	}
	return r.reached.Load(), nil
}

// RevokedSince implements [Revoker]: it reads the log to its end first. The
// order of the last 4096 entries with a Before is remembered; entries before
// those are compared by their Before alone.
func (r *Replica) RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	if err := checkPrincipal(p); err != nil {
		return false, err
	}
	if r.set.revoked(p, r.now) {
		return true, nil
	}
	if err := r.readNow(ctx); err != nil {
		return false, err
	}
	return r.set.revoked(p, r.now) || r.recent.matches(r.set, p, checkpoint, r.now()), nil
}

// readNow reads the log to its end within MaxStale.
func (r *Replica) readNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.MaxStale)
	defer cancel()
	return r.Refresh(ctx)
}

// know makes Revoked know e.
func (r *Replica) know(e Entry, tell bool) error {
	now := r.now()
	if err := r.set.add(e, now); err != nil {
		return err
	}
	if e.Before != 0 && nearNow(time.UnixMicro(e.Before), time.UnixMicro(now)) {
		for latest := r.latest.Load(); e.Before > latest && !r.latest.CompareAndSwap(latest, e.Before); {
			latest = r.latest.Load()
		}
	}
	if tell && r.config.OnEntry != nil {
		r.config.OnEntry(e)
	}
	return nil
}

// Revoked implements [Revoker]. It allocates nothing, does no I/O, and takes no
// lock. The error is [ErrStale] if the log was not read lately enough. The
// context is not looked at, for there is nothing to wait for.
func (r *Replica) Revoked(ctx context.Context, p *identity.Principal) (bool, error) {
	if err := checkPrincipal(p); err != nil {
		return false, err
	}
	if r.set.revoked(p, r.now) {
		return true, nil
	}
	// Asked after the set: were it the other way round, an answer could be
	// older than it says.
	since := time.Since(r.start)
	fresh := r.fresh.Load()
	if fresh != unread && since-time.Duration(fresh) <= r.config.MaxStale {
		return false, nil
	}
	err := r.stale()
	if !r.config.InsecureFailOpen || fresh == unread {
		return false, err
	}
	if last := r.shout.Load(); (last == unread || since-time.Duration(last) >= time.Second) && r.shout.CompareAndSwap(last, int64(since)) {
		r.observe(ctx, fmt.Errorf("callers are let in all the same: %w", err))
	}
	return false, nil
}

// Staleness returns how old the last complete reading of the log is, and before
// the first one the longest duration there is. It is a number to watch.
func (r *Replica) Staleness() time.Duration {
	fresh := r.fresh.Load()
	if fresh == unread {
		return math.MaxInt64
	}
	return max(0, time.Since(r.start)-time.Duration(fresh))
}

// Ready returns nil if the log was read to its end, and lately enough for
// Revoked to answer, and otherwise why not. It is what a readiness check asks;
// it does not wait. With InsecureFailOpen it returns the error all the same. If
// the log is a [Clock], Ready also returns an error while the clock of this
// machine differs from the log's by more than [identity.MaxClockSkew].
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

// compareEvery is how often the clock of this machine is compared with that of
// the log.
const compareEvery = 10 * time.Second

// compareClocks compares the clocks. An error of the log leaves what is known of
// them.
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
		r.observe(ctx, wrong)
	}
}

// Len returns how many entries take up room, to be compared with MaxEntries.
// Those that have expired count until they are dropped.
func (r *Replica) Len() int { return int(r.set.len()) }

func (r *Replica) stale() error {
	how := "it was never read to its end"
	if s := r.Staleness(); s != math.MaxInt64 {
		how = fmt.Sprintf("that was %v ago", s.Round(time.Millisecond))
	}
	if last := r.failed.Load(); last != nil {
		return fmt.Errorf("%w: %s: %w", ErrStale, how, *last)
	}
	return fmt.Errorf("%w: %s; Replica.Refresh does it, and Replica.Run goes on", ErrStale, how)
}

func (r *Replica) observe(ctx context.Context, err error) {
	if r.config.Hooks.Observe != nil {
		r.config.Hooks.Observe(ctx, guard.Event{Name: guard.EventUnavailable, Err: err})
	}
}

// Run follows the log until the context is done, and returns its error. It also
// drops what has expired: here a part at a time, and in the log now and then.
// One call is enough; the host waits for it before it closes the log.
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
				r.observe(ctx, fmt.Errorf("deleting what has expired from the log: %w", err))
			}
		}
	}
}

// A reading is one pass over what is new in the log, for all who wait for it.
type reading struct {
	done chan struct{}
	err  error
	// abandoned says that whoever read was called off, which tells the others
	// nothing.
	abandoned bool
}

// Refresh reads what is new in the log, all of it when called for the first
// time, and returns when Revoked knows it. Calls that come while the log is
// being read share the next reading. The context ends the wait.
func (r *Replica) Refresh(ctx context.Context) error {
	for {
		err, abandoned := r.refresh(ctx)
		if !abandoned || ctx.Err() != nil {
			return err
		}
	}
}

func (r *Replica) refresh(ctx context.Context) (err error, abandoned bool) {
	// One that is under way may have passed by what the caller wants to see,
	// so it has to be one that begins from now on.
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
	case <-mine.done: // by who had the turn before
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
			if ctx.Err() == nil { // else it says nothing about the log
				err = fmt.Errorf("reading the log: %w", err)
				if r.failed.Swap(&err) == nil {
					r.observe(ctx, err)
				}
			}
			return err
		case n < pageSize:
			r.failed.Store(nil)
			r.reached.Store(r.position)
			first := r.fresh.Load() == unread
			r.fresh.Store(int64(began))
			if first {
				r.compareClocks(ctx) // before Ready is asked
			}
			return nil
		}
	}
}

// page reads some entries and returns how many.
func (r *Replica) page(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.ReadTimeout)
	defer cancel()
	entries, last, err := r.log.Since(ctx, r.position, pageSize)
	if err != nil {
		return 0, err
	}
	if last < r.position || len(entries) > 0 && last == r.position {
		return 0, fmt.Errorf("blacklist: Since(%d) returned %d entries up to number %d", r.position, len(entries), last)
	}
	tell := r.fresh.Load() != unread
	for i, e := range entries {
		if err := r.know(e, tell); err != nil {
			return 0, err
		}
		// Numbers may be left out, so that its own may be greater.
		r.recent.add(r.position+1+uint64(i), e)
	}
	r.position = last
	return len(entries), nil
}

// Direct returns the Revoker for routes on which nobody may get through who was
// revoked a moment ago on another machine: it reads the log before it says no.
// Questions that come while it reads share the next reading. If the log cannot
// be read its error is answered 503, whatever MaxStale and InsecureFailOpen
// say. What is known to be revoked it says at once.
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

// checkPrincipal returns why nothing could ever revoke p.
func checkPrincipal(p *identity.Principal) error {
	switch {
	case p == nil:
		return errors.New("blacklist: principal is nil, want who was identified")
	case p.Issuer == "":
		return errors.New("blacklist: Principal.Issuer is empty, so that nothing could revoke it")
	}
	return nil
}
