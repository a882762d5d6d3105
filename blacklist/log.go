package blacklist

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Log keeps entries in the order in which they were recorded, for [Replica]
// values on any number of machines. It is safe for concurrent use. Test it with
// blacklisttest.RunLog.
//
// Each entry has a sequence number of at least one, greater than all earlier
// numbers; numbers may be skipped. No number is given twice, not after a restart,
// and not after a failover that lost entries: a store that counts from its last
// entry takes the time in microseconds if that is greater.
type Log interface {
	// Append records entries in order, and returns the sequence number of the last.
	// After nil, the entries are durable, and each Since that begins later returns
	// them. After an error, any of them may be recorded; recording them again is
	// harmless. Without entries it does nothing.
	Append(ctx context.Context, entries ...Entry) (last uint64, err error)

	// Since returns at most max entries with sequence numbers greater than after,
	// in order, and the number of the last, or after without entries. If it returns
	// fewer than max, the log has no more entries. Afterwards no entry with a
	// number up to last may appear: databases that number rows before they commit
	// them need a lock around Append.
	//
	// Expired entries may be left out. If the log has not reached after, the error
	// is [ErrRewound]. An unreadable entry is an error.
	//
	// A Log may have a method DeleteExpired(ctx, before) (deleted int64, err
	// error), which [Replica.Run] calls every ten minutes. It deletes entries that
	// expired before the moment. The remaining entries keep their order, their
	// numbers do not decrease, and Since returns all that follow its number.
	Since(ctx context.Context, after uint64, max int) (entries []Entry, last uint64, err error)
}

// An expirer is a [Log] that frees the space of expired entries.
type expirer interface {
	DeleteExpired(ctx context.Context, before time.Time) (deleted int64, err error)
}

// A Clock is a [Log] that can read the clock of its server, for [Replica.Ready].
type Clock interface {
	Now(ctx context.Context) (time.Time, error)
}

// ErrRewound is returned by [Log.Since] for a number that the log has never given.
// A [Replica] then reads the whole log, and keeps its entries.
var ErrRewound = errors.New("blacklist: the log has not come as far as the sequence number; it was replaced by an older one")

// MemoryLog is a [Log] in memory, for tests. The zero value is ready for use. It is
// safe for concurrent use, and must not be copied after first use.
type MemoryLog struct {
	// MaxEntries bounds the entries, of about 64 bytes each: at the bound, Append
	// returns [ErrFull] unless entries have expired. Set it before first use.
	// Default, also below one: 1,000,000.
	MaxEntries int

	mu      sync.RWMutex
	entries []Entry
	numbers []uint64 // of entries
	last    uint64
}

var (
	_ Log     = (*MemoryLog)(nil)
	_ expirer = (*MemoryLog)(nil)
)

// Append implements [Log]. It records all entries or none.
func (m *MemoryLog) Append(ctx context.Context, entries ...Entry) (uint64, error) {
	if err := checkAll(ctx, entries); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	most := m.MaxEntries
	if most <= 0 {
		most = 1_000_000
	}
	if len(m.entries)+len(entries) > most {
		m.drop(nowMicros())
		if len(m.entries)+len(entries) > most {
			return 0, ErrFull
		}
	}
	for _, e := range entries {
		m.last++
		m.entries = append(m.entries, e)
		m.numbers = append(m.numbers, m.last)
	}
	return m.last, nil
}

// Since implements [Log].
func (m *MemoryLog) Since(ctx context.Context, after uint64, max int) ([]Entry, uint64, error) {
	if err := checkSince(ctx, max); err != nil {
		return nil, 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if after > m.last {
		return nil, 0, ErrRewound
	}
	from := firstAfter(m.numbers, after)
	if from == len(m.entries) {
		return nil, after, nil
	}
	to := min(from+max, len(m.entries))
	return append([]Entry(nil), m.entries[from:to]...), m.numbers[to-1], nil
}

// DeleteExpired deletes entries that expired before the moment, and returns their
// number.
func (m *MemoryLog) DeleteExpired(ctx context.Context, before time.Time) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.entries)
	m.drop(micros(before))
	return int64(n - len(m.entries)), nil
}

// drop forgets what has expired at a moment.
func (m *MemoryLog) drop(now int64) {
	n := 0
	for i, e := range m.entries {
		if !e.expired(now) {
			m.entries[n], m.numbers[n] = e, m.numbers[i]
			n++
		}
	}
	m.entries, m.numbers = m.entries[:n], m.numbers[:n]
}

// firstAfter returns the index of the first of the numbers, which ascend, that
// is greater than after.
func firstAfter(numbers []uint64, after uint64) int {
	low, high := 0, len(numbers)
	for low < high {
		middle := (low + high) / 2
		if numbers[middle] > after {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// checkAll returns why entries cannot be appended.
func checkAll(ctx context.Context, entries []Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return err
		}
	}
	return nil
}

func checkSince(ctx context.Context, max int) error {
	if max < 1 {
		return fmt.Errorf("blacklist: Since has a max of %d; pass 1 or more", max)
	}
	return ctx.Err()
}
