package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// The audit trail: events are appended to a table whose rows are chained by an HMAC.
// Requests put events into a queue; one goroutine writes them in batches. See
// auditchain.go for the chain.

const (
	auditQueue    = 4096                   // events that wait to be written
	auditBatch    = 256                    // rows of one transaction
	auditInterval = 100 * time.Millisecond // between two transactions, so that batches form
	auditMinute   = time.Minute            // between two checkpoints
	auditDrain    = 5 * time.Second        // for the last writes

	// Refusals of one event name that are stored: so many at once, and so many a
	// second. The others are counted.
	refusalBurst = 100
	refusalRate  = 5
)

// Names of the rows that the trail writes about itself.
const (
	eventAuditSkipped   guard.EventName = "audit_skipped"   // events that were counted and not stored
	eventAuditRestarted guard.EventName = "audit_restarted" // the chain begins anew, with other secrets
	eventAuditRead      guard.EventName = "sensitive_read"  // an administrator read the trail
)

// A trail is the audit trail of the database.
type trail struct {
	db       *sql.DB
	log      *slog.Logger
	keys     auditKeys
	interval time.Duration // between two checkpoints

	queue   chan auditRow
	flushes chan chan struct{}

	mu      sync.Mutex
	budgets map[guard.EventName]*budget
	skipped map[guard.EventName]int // refusals that were counted only
	dropped int                     // events that found the queue full, or that the database did not take
	since   time.Time               // of the first that was skipped or dropped
	lost    int                     // dropped, of the whole run

	// Of the goroutine that writes.
	head        position // after the last append of this process
	inDoubt     position // the last row of an append whose commit failed
	checkpoint  position // the last that was logged
	lastWritten time.Time
}

// A budget is how many refusals of one name are stored.
type budget struct {
	left float64
	at   time.Time
}

func newTrail(db *sql.DB, keys *secrets, interval time.Duration, log *slog.Logger) (*trail, error) {
	chain, err := newAuditKeys(keys)
	if err != nil {
		return nil, err
	}
	return &trail{
		db: db, log: log, keys: chain, interval: cmp.Or(interval, auditMinute),
		queue: make(chan auditRow, auditQueue), flushes: make(chan chan struct{}),
		budgets: make(map[guard.EventName]*budget), skipped: make(map[guard.EventName]int),
	}, nil
}

// observe is of guard.Hooks. It never waits: it copies the event into the queue, or
// counts it.
func (t *trail) observe(ctx context.Context, e guard.Event) {
	if refusal := e.Denial != nil || e.Name == guard.EventUnavailable; refusal {
		if atWill(e) || !t.spend(e.Name) || len(t.queue) > auditQueue/2 {
			t.skip(e.Name, false)
			return
		}
	}
	select {
	case t.queue <- rowOf(ctx, e):
	default:
		t.skip(e.Name, true)
	}
}

// atWill reports whether an event is one of those that any client causes as often as
// it likes: requests without credentials or without a route.
func atWill(e guard.Event) bool {
	d := e.Denial
	if d == nil || d.Status >= 500 {
		return false
	}
	return errors.Is(d.Err, guard.ErrNoCredentials) || e.Name == guard.EventInputFail && (d.Status == http.StatusNotFound || d.Status == http.StatusMethodNotAllowed)
}

// spend reports whether one more refusal of this name is stored.
func (t *trail) spend(name guard.EventName) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	b := t.budgets[name]
	if b == nil {
		b = &budget{left: refusalBurst, at: now}
		t.budgets[name] = b
	}
	b.left = min(refusalBurst, b.left+refusalRate*now.Sub(b.at).Seconds())
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

func (t *trail) skip(name guard.EventName, dropped bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		t.since = time.Now()
	}
	if dropped {
		t.dropped++
		t.lost++
	} else {
		t.skipped[name]++
	}
}

// lostEvents returns how many events were dropped since the process began.
func (t *trail) lostEvents() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}

// rowOf returns the row of an event. The event is stored as a line of guard.Log, so
// that the trail has what the log has. It is the one place that knows guard.Event.
func rowOf(ctx context.Context, e guard.Event) auditRow {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r := auditRow{at: e.Time.UnixMicro(), name: string(e.Name), target: e.Target, login: e.Login}
	if e.Principal != nil {
		r.subject = e.Principal.Subject
	}
	var line bytes.Buffer
	guard.Log(slog.New(slog.NewJSONHandler(&line, nil)))(ctx, e)
	r.event = strings.TrimSuffix(line.String(), "\n")
	return r
}

// takeSkipped returns the row that counts what was not stored, if there is something.
func (t *trail) takeSkipped(ctx context.Context) (auditRow, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return auditRow{}, false
	}
	changes := []slog.Attr{slog.Time("since", t.since), slog.Int("dropped", t.dropped)}
	names := make([]guard.EventName, 0, len(t.skipped))
	for name := range t.skipped {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b guard.EventName) int {
		return cmp.Or(cmp.Compare(t.skipped[b], t.skipped[a]), cmp.Compare(a, b))
	})
	const most = 13 // of the 16 changes that an event can have
	other := 0
	for i, name := range names {
		if i < most {
			changes = append(changes, slog.Int(string(name), t.skipped[name]))
		} else {
			other += t.skipped[name]
		}
	}
	if other > 0 {
		changes = append(changes, slog.Int("other", other))
	}
	clear(t.skipped)
	t.dropped, t.since = 0, time.Time{}
	return rowOf(ctx, guard.Event{Name: eventAuditSkipped, Changes: changes}), true
}

// flush waits until the events before it are written, or until ctx ends.
func (t *trail) flush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case t.flushes <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes what is in the queue until ctx ends, and then what is left.
func (t *trail) run(ctx context.Context) {
	tick := time.NewTicker(t.interval)
	defer tick.Stop()
	for {
		select {
		case first := <-t.queue:
			batch, waiting := t.collect(ctx, []auditRow{first})
			t.write(ctx, batch)
			release(waiting)
		case done := <-t.flushes:
			t.writeQueued(ctx)
			close(done)
		case <-tick.C:
			t.minute(ctx)
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditDrain)
			t.writeQueued(ending)
			t.minute(ending)
			cancel()
			return
		}
	}
}

func release(waiting []chan struct{}) {
	for _, done := range waiting {
		close(done)
	}
}

// collect adds to a batch what comes until the next transaction is due.
func (t *trail) collect(ctx context.Context, batch []auditRow) (_ []auditRow, waiting []chan struct{}) {
	due := time.NewTimer(time.Until(t.lastWritten.Add(auditInterval)))
	defer due.Stop()
	for len(batch) < auditBatch {
		select {
		case one := <-t.queue:
			batch = append(batch, one)
			continue
		case <-due.C:
		case <-ctx.Done():
		case done := <-t.flushes:
			waiting = append(waiting, done)
		}
		return t.drain(batch), waiting
	}
	return batch, waiting
}

// drain adds to a batch what is in the queue now.
func (t *trail) drain(batch []auditRow) []auditRow {
	for n := len(t.queue); n > 0; n-- {
		batch = append(batch, <-t.queue)
	}
	return batch
}

func (t *trail) writeQueued(ctx context.Context) {
	if batch := t.drain(nil); len(batch) > 0 {
		t.write(ctx, batch)
	}
}

// minute writes the row of what was not stored, and logs a checkpoint.
func (t *trail) minute(ctx context.Context) {
	if row, some := t.takeSkipped(ctx); some {
		t.write(ctx, []auditRow{row})
	}
	if err := t.logCheckpoint(ctx); err != nil && ctx.Err() == nil {
		t.log.Warn("the audit trail has no checkpoint of this minute", "error", err)
	}
}

// write appends rows. While the database does not take them it tries again, until ctx
// ends, and the queue fills meanwhile.
func (t *trail) write(ctx context.Context, rows []auditRow) {
	pause := 100 * time.Millisecond
	for len(rows) > 0 {
		part := rows[:min(len(rows), auditBatch)]
		err := t.append(ctx, part)
		if err != nil && ctx.Err() != nil {
			// Once more, for a stop that came during an append.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditDrain)
			err = t.append(last, part)
			cancel()
		}
		t.lastWritten = time.Now()
		if err == nil {
			rows, pause = rows[len(part):], 100*time.Millisecond
			continue
		}
		if ctx.Err() != nil {
			t.log.Error("events are missing from the audit trail: the database did not take them before the stop", "events", len(rows), "error", err)
			return
		}
		if pause == 100*time.Millisecond {
			t.log.Error("the audit trail is not written; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// append adds rows to the chain, in one transaction for which the other nodes wait.
func (t *trail) append(ctx context.Context, rows []auditRow) error {
	var after, before position
	err := t.exclusively(ctx, func(tx *sql.Tx) error {
		stored, err := t.last(ctx, tx)
		if err != nil {
			return err
		}
		after, before = stored, stored
		if t.inDoubt.seq > 0 {
			// The commit of the last attempt may have arrived.
			there, err := macOf(ctx, tx, t.inDoubt.seq)
			if err != nil {
				return err
			}
			if hmac.Equal(there, t.inDoubt.mac) {
				return nil
			}
		}
		return t.insert(ctx, tx, &after, rows)
	})
	if err != nil {
		if after.seq > before.seq {
			t.inDoubt = after
		}
		return err
	}
	if t.head.seq > before.seq || t.head.seq == before.seq && t.head.seq > 0 && !hmac.Equal(t.head.mac, before.mac) {
		t.log.Error("rows of the audit trail were removed or changed while the server ran", "expected", t.head.seq, "found", before.seq)
	}
	t.head, t.inDoubt = after, position{}
	return nil
}

// insert adds rows after a position, which it moves. Statements have one of three
// sizes: the driver keeps each prepared.
func (t *trail) insert(ctx context.Context, tx *sql.Tx, after *position, rows []auditRow) error {
	for len(rows) > 0 {
		size := 64
		for size > len(rows) {
			size /= 8
		}
		args := make([]any, 0, 8*size)
		for i := range rows[:size] {
			r := &rows[i]
			r.seq = after.seq + 1
			r.mac = t.keys.mac(after.mac, r)
			*after = position{r.seq, r.mac}
			args = append(args, r.seq, r.at, r.name, r.subject, r.target, r.login, r.event, r.mac)
		}
		if _, err := tx.ExecContext(ctx, insertStatements[size], args...); err != nil {
			return err
		}
		rows = rows[size:]
	}
	return nil
}

// insertStatements are those that add so many rows.
var insertStatements = map[int]string{1: insertStatement(1), 8: insertStatement(8), 64: insertStatement(64)}

func insertStatement(rows int) string {
	var values []string
	for n := 0; n < 8*rows; n += 8 {
		values = append(values, fmt.Sprintf("($%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4, n+5, n+6, n+7, n+8))
	}
	return "INSERT INTO audit_events (" + auditColumns + ") VALUES " + strings.Join(values, ", ")
}

// auditLock is the advisory lock of the trail in a database of PostgreSQL.
const auditLock = 0x6761746577617564

// exclusively calls f in a transaction for which all others wait that change the
// trail. In SQLite every transaction is one.
func (t *trail) exclusively(ctx context.Context, f func(*sql.Tx) error) error {
	var options *sql.TxOptions
	if isPostgres(t.db) {
		// So that f sees what was written while this waited for the lock.
		options = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	tx, err := t.db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if isPostgres(t.db) {
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(auditLock)); err != nil {
			return err
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// pruneAudit removes from the audit trail what is older than -audit-retention.
func (a *app) pruneAudit(ctx context.Context, now time.Time) error {
	if a.auditRetention <= 0 {
		return nil
	}
	removed, err := a.audit.prune(ctx, now.Add(-a.auditRetention))
	if removed > 0 {
		a.log.Info("rows of the audit trail were removed at the end of their retention", "rows", removed)
	}
	return err
}
