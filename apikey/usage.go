package apikey

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// usage collects when keys were used, until that is written.
type usage struct {
	recorder UsageRecorder // nil: nothing is collected
	interval time.Duration
	max      int
	timeout  time.Duration
	hooks    guard.Hooks

	// writing is a lock with a timeout: it has room for one element.
	writing chan struct{}

	mu      sync.Mutex
	pending map[string]int64 // the last use, in seconds since 1970
	due     time.Time        // when a request writes
	lost    int              // uses of keys that had no room
}

// note records a use of the key in e. One request per interval writes the
// collected uses, so there is no goroutine to stop.
func (u *usage) note(ctx context.Context, e *entry, now time.Time) {
	if u.recorder == nil {
		return
	}
	second := now.Unix()
	if seen := e.used.Load(); seen >= second || !e.used.CompareAndSwap(seen, second) {
		return // another request has noted this second, or is about to
	}
	u.mu.Lock()
	u.add(e.record.ID, second)
	due := !now.Before(u.due)
	u.mu.Unlock()
	if !due {
		return
	}
	select {
	case u.writing <- struct{}{}:
	default:
		return
	}
	defer func() { <-u.writing }()
	// The client may disconnect; other clients' uses are written too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.timeout)
	defer cancel()
	u.mu.Lock()
	due = !now.Before(u.due) // unless another request has written
	u.mu.Unlock()
	if !due {
		return
	}
	if err := u.write(ctx, now); err != nil {
		// The key stays good; only the record of its use is late. The event has no
		// Principal, because the caller of this request did not cause it.
		u.hooks.EmitContext(context.Background(), guard.Event{Name: guard.EventUnavailable, Err: err})
	}
}

// add records a use. The caller holds mu.
func (u *usage) add(id string, second int64) {
	seen, known := u.pending[id]
	switch {
	case known:
		u.pending[id] = max(seen, second)
	case len(u.pending) >= u.max:
		u.lost++
	default:
		u.pending[id] = second
	}
}

// write writes the collected uses. The caller holds u.writing.
func (u *usage) write(ctx context.Context, now time.Time) error {
	u.mu.Lock()
	batch, lost := u.pending, u.lost
	u.pending, u.lost = make(map[string]int64), 0
	u.due = now.Add(u.interval)
	u.mu.Unlock()

	var err error
	if lost > 0 {
		err = fmt.Errorf("apikey: %d uses were not recorded because uses of %d keys were pending; raise Config.MaxPendingUses", lost, u.max)
	}
	if len(batch) == 0 {
		return err
	}
	uses := make([]Use, 0, len(batch))
	for id, second := range batch {
		uses = append(uses, Use{id, time.Unix(second, 0)})
	}
	// In one order everywhere, so that two processes do not lock each
	// other's rows.
	slices.SortFunc(uses, func(a, b Use) int { return cmp.Compare(a.ID, b.ID) })
	written := false
	defer func() {
		if written {
			return
		}
		// The next write tries again, with later uses, and reports what was lost.
		u.mu.Lock()
		defer u.mu.Unlock()
		u.lost += lost
		for id, second := range batch {
			u.add(id, second)
		}
	}()
	begun := u.hooks.Begin()
	failed := u.recorder.RecordUse(ctx, uses)
	u.hooks.Measured(ctx, begun, "store", "apikey.RecordUse", failed)
	if failed != nil {
		return guard.CannotDecide("apikey: recording when keys were used", failed)
	}
	written = true
	return err
}

// Flush writes pending uses. Call it after the server has shut down; until then,
// requests write them. After a failed write they stay pending. The error also
// reports uses lost because of Config.MaxPendingUses.
func (a *Authenticator) Flush(ctx context.Context) error {
	if a.usage.recorder == nil {
		return nil
	}
	select {
	case a.usage.writing <- struct{}{}:
	case <-ctx.Done():
		return guard.CannotDecide("apikey: waiting to record when keys were used", ctx.Err())
	}
	defer func() { <-a.usage.writing }()
	return a.usage.write(ctx, time.Now())
}
