package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// BudgetConfig configures a [Budget].
type BudgetConfig struct {
	// Memory is how many bytes argon2id and scrypt may use at once, at least 1 MiB.
	// The process needs up to twice as much; set GOMEMLIMIT. Default: 256 MiB.
	Memory int64

	// Concurrent is how many calls may hash at once. Default: GOMAXPROCS at the time
	// of NewBudget.
	Concurrent int

	// MaxWaiting is how many calls may wait, or negative for none. Beyond it, the
	// newest call of the client with the most calls gets [ErrBusy]. Default: 32.
	MaxWaiting int

	// MaxWait is how long a call waits before it gets [ErrBusy]. Default: 5 seconds.
	MaxWait time.Duration
}

// A Budget bounds the memory and processors of all Hashers that share it. Clients
// take turns (see [WithClient]); a small call does not overtake a large one. A Budget
// is safe for concurrent use.
type Budget struct {
	memory     int64
	concurrent int
	maxWaiting int
	maxWait    time.Duration

	mu      sync.Mutex
	used    int64 // bytes of the permits given out
	running int   // permits given out
	queue   queue
}

// NewBudget returns a Budget. The error lists every mistake in config.
func NewBudget(config BudgetConfig) (*Budget, error) {
	c := config
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	if c.Concurrent == 0 {
		c.Concurrent = runtime.GOMAXPROCS(0)
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = 32
	}
	if c.MaxWait == 0 {
		c.MaxWait = 5 * time.Second
	}
	var errs []error
	if c.Memory < 1<<20 {
		errs = append(errs, fmt.Errorf("password: BudgetConfig.Memory is %d bytes; set at least 1048576", c.Memory))
	}
	if c.Concurrent < 0 {
		errs = append(errs, fmt.Errorf("password: BudgetConfig.Concurrent is %d; set a positive number", c.Concurrent))
	}
	if c.MaxWait < 0 {
		errs = append(errs, fmt.Errorf("password: BudgetConfig.MaxWait is %v; set a positive duration", c.MaxWait))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Budget{
		memory:     c.Memory,
		concurrent: c.Concurrent,
		maxWaiting: c.MaxWaiting,
		maxWait:    c.MaxWait,
	}, nil
}

// acquire takes a permit for n bytes, at most the whole budget, or returns an error.
func (b *Budget) acquire(ctx context.Context, n int64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("password: before hashing: %w", err)
	}
	b.mu.Lock()
	if b.queue.waiting == 0 && b.fits(n) {
		b.take(n)
		b.mu.Unlock()
		return nil
	}
	if b.maxWaiting < 0 {
		b.mu.Unlock()
		return ErrBusy
	}
	// Without an address the prefixes are invalid, which is a client as well.
	from, _ := ctx.Value(clientKey{}).(client)
	w := &waiter{client: from, size: n, done: make(chan struct{})}
	b.queue.push(w)
	if b.queue.waiting > b.maxWaiting {
		last := b.queue.longest(w)
		b.queue.remove(last)
		last.refused = true
		close(last.done)
		b.serve() // the next waiters may fit now
	}
	b.mu.Unlock()

	timer := time.NewTimer(b.maxWait)
	defer timer.Stop()
	var err error
	select {
	case <-w.done:
		if w.refused {
			return ErrBusy
		}
		return nil
	case <-timer.C:
		err = ErrBusy
	case <-ctx.Done():
		err = fmt.Errorf("password: waiting to hash: %w", ctx.Err())
	}
	b.giveUp(w)
	return err
}

// Usage returns how many calls hash and how many wait, for metrics.
func (b *Budget) Usage() (hashing, waiting int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running, b.queue.waiting
}

// giveUp removes w from the queue, and returns its permit if it has one already. The
// next waiters may fit then.
func (b *Budget) giveUp(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.done:
		if !w.refused {
			b.putBack(w.size)
		}
	default:
		b.queue.remove(w)
	}
	b.serve()
}

// release gives back a permit for n bytes.
func (b *Budget) release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.putBack(n)
	b.serve()
}

// serve gives permits to the first waiters that fit. The caller of serve, fits, take
// and putBack holds the lock.
func (b *Budget) serve() {
	for w := b.queue.front(); w != nil && b.fits(w.size); w = b.queue.front() {
		b.take(w.size)
		b.queue.serve()
		close(w.done)
	}
}

func (b *Budget) fits(n int64) bool { return b.running < b.concurrent && n <= b.memory-b.used }
func (b *Budget) take(n int64)      { b.used += n; b.running++ }
func (b *Budget) putBack(n int64)   { b.used -= n; b.running-- }
