package blacklisttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/blacklist"
)

// RunLog checks each rule of [blacklist.Log] in a subtest, and DeleteExpired if
// the log has this method. Entries are random, so open may return a log that
// other subtests have written to.
func RunLog(t *testing.T, open func(t *testing.T) blacklist.Log) {
	for _, rule := range logRules {
		t.Run(rule.name, func(t *testing.T) {
			if err := rule.check(t.Context(), open(t)); err != nil {
				t.Errorf("%v\n\nWhy this matters: %s", err, rule.reason)
			}
		})
	}
}

// A logRule is one demand on a Log.
type logRule struct {
	name, reason string
	check        func(context.Context, blacklist.Log) error
}

// randomEntry returns a live entry that no other test has.
func randomEntry(kind blacklist.Kind, marks ...int64) blacklist.Entry {
	e := blacklist.Entry{Kind: kind, Expires: time.Now().Add(time.Hour).UnixMicro()}
	rand.Read(e.ID[:])
	if len(marks) > 0 {
		e.Before = marks[0]
	}
	if len(marks) > 1 {
		rand.Read(e.Spare[:])
	}
	return e
}

func randomEntries(n int) []blacklist.Entry {
	var all []blacklist.Entry
	for range n {
		all = append(all, randomEntry(blacklist.KindSession))
	}
	return all
}

// end returns the position behind everything that is in the log.
func end(ctx context.Context, log blacklist.Log) (uint64, error) {
	_, last, err := readFrom(ctx, log, 0, 1000)
	return last, err
}

// readFrom reads to the end in pages.
func readFrom(ctx context.Context, log blacklist.Log, after uint64, page int) (all []blacklist.Entry, last uint64, _ error) {
	for {
		entries, next, err := log.Since(ctx, after, page)
		switch {
		case err != nil:
			return nil, 0, fmt.Errorf("Since(%d, %d) = %w", after, page, err)
		case len(entries) > page:
			return nil, 0, fmt.Errorf("Since(%d, %d) returned %d entries", after, page, len(entries))
		case len(entries) == 0 && next != after:
			return nil, 0, fmt.Errorf("Since(%d, %d) returned no entries and the number %d, want the same number", after, page, next)
		case len(entries) > 0 && next < after+uint64(len(entries)):
			return nil, 0, fmt.Errorf("Since(%d, %d) returned %d entries up to number %d, but each has its own", after, page, len(entries), next)
		}
		all = append(all, entries...)
		after = next
		if len(entries) < page {
			return all, after, nil
		}
	}
}

func same(got, want []blacklist.Entry) error {
	if !slices.Equal(got, want) {
		return fmt.Errorf("read %d entries %+v, want %d: %+v", len(got), shorten(got), len(want), shorten(want))
	}
	return nil
}

func shorten(all []blacklist.Entry) []blacklist.Entry { return all[:min(len(all), 5)] }

var logRules = []logRule{
	{
		name:   "entries are read unchanged and in order",
		reason: "a changed entry revokes another caller.",
		check: func(ctx context.Context, log blacklist.Log) error {
			start, err := end(ctx, log)
			if err != nil {
				return err
			}
			now := time.Now().UnixMicro()
			want := []blacklist.Entry{
				randomEntry(blacklist.KindCredential),
				randomEntry(blacklist.KindSession),
				randomEntry(blacklist.KindSubject, now),
				randomEntry(blacklist.KindSubject|blacklist.KindTenant, now+1, 1),
				randomEntry(blacklist.KindCredential|blacklist.KindSession|blacklist.KindSubject|blacklist.KindTenant, 1<<62),
				randomEntry(0, -1),
			}
			want[1].Expires = 0
			want[2].Expires = 1<<63 - 1
			want[3].ID = blacklist.ID{} // as good as any other
			want[4].ID = blacklist.ID{0xff, 0xfe, 0x80, 0, 0xc3, 0x28}
			var errs []error
			last := start
			for i, e := range want {
				number, err := log.Append(ctx, e)
				if err != nil {
					return fmt.Errorf("Append(entry %d) = %w", i, err)
				}
				if number <= last {
					errs = append(errs, fmt.Errorf("Append(entry %d) returned the number %d after %d", i, number, last))
				}
				last = number
				got, next, err := readFrom(ctx, log, start, 1000)
				if err != nil {
					return err
				}
				if err := same(got, want[:i+1]); err != nil {
					errs = append(errs, err)
				}
				if next != last {
					errs = append(errs, fmt.Errorf("reading leads to the number %d, and Append returned %d", next, last))
				}
			}
			return errors.Join(errs...)
		},
	},
	{
		name:   "several entries are appended in their order",
		reason: "Append returns the number of the last entry.",
		check: func(ctx context.Context, log blacklist.Log) error {
			start, err := end(ctx, log)
			if err != nil {
				return err
			}
			want := randomEntries(7)
			want[3] = randomEntry(blacklist.KindSubject, 1, 1)
			last, err := log.Append(ctx, want...)
			if err != nil {
				return err
			}
			got, next, err := readFrom(ctx, log, start, 1000)
			if err == nil && next != last {
				err = fmt.Errorf("the last number is %d by Append, and %d by Since", last, next)
			}
			return errors.Join(err, same(got, want))
		},
	},
	{
		name:   "pages of any size show everything once",
		reason: "a node that was down continues from its position; an entry lost between two pages would be a logout that it never applies.",
		check: func(ctx context.Context, log blacklist.Log) error {
			start, err := end(ctx, log)
			if err != nil {
				return err
			}
			want := randomEntries(25)
			for i := range want {
				if i%3 == 0 {
					want[i].Before = 1 // such may take more room
				}
			}
			if _, err := log.Append(ctx, want...); err != nil {
				return err
			}
			var errs []error
			for _, page := range []int{1, 2, 3, 7, 24, 25, 26, 1000} {
				got, _, err := readFrom(ctx, log, start, page)
				if err := errors.Join(err, same(got, want)); err != nil {
					errs = append(errs, fmt.Errorf("in pages of %d: %w", page, err))
				}
			}
			return errors.Join(errs...)
		},
	},
	{
		name:   "an Append without entries does nothing",
		reason: "an Append without entries must not use up a number.",
		check: func(ctx context.Context, log blacklist.Log) error {
			start, err := end(ctx, log)
			if err != nil {
				return err
			}
			if _, err := log.Append(ctx); err != nil {
				return fmt.Errorf("Append() = %w", err)
			}
			after, err := end(ctx, log)
			if err == nil && after != start {
				err = fmt.Errorf("the end went from %d to %d", start, after)
			}
			return err
		},
	},
	{
		name:   "a number that was never reached is ErrRewound",
		reason: "after a restore from a backup, new entries have numbers that a node has read already: it would never apply them.",
		check: func(ctx context.Context, log blacklist.Log) error {
			last, err := log.Append(ctx, randomEntries(1)...)
			if err != nil {
				return err
			}
			// Far enough, should others write at the same time.
			if _, _, err := log.Since(ctx, last+1<<40, 10); !errors.Is(err, blacklist.ErrRewound) {
				return fmt.Errorf("Since(%d) = %v with the end at %d, want ErrRewound", last+1<<40, err, last)
			}
			return nil
		},
	},
	{
		name:   "an invalid entry is an error",
		reason: "an entry without an identifier would refuse all callers on every machine.",
		check: func(ctx context.Context, log blacklist.Log) error {
			start, err := end(ctx, log)
			if err != nil {
				return err
			}
			var errs []error
			spare := randomEntry(blacklist.KindSubject, 0, 1)
			for _, e := range []blacklist.Entry{{}, randomEntry(0), randomEntry(16), randomEntry(255, 1), spare} {
				if _, err := log.Append(ctx, randomEntry(blacklist.KindSession), e); err == nil {
					errs = append(errs, fmt.Errorf("Append(%+v) = nil, want an error", e))
				}
			}
			for _, max := range []int{0, -1} {
				if _, _, err := log.Since(ctx, start, max); err == nil {
					errs = append(errs, fmt.Errorf("Since(%d, %d) without an error", start, max))
				}
			}
			got, _, err := readFrom(ctx, log, start, 1000)
			for _, e := range got {
				if e.Kind != blacklist.KindSession {
					errs = append(errs, fmt.Errorf("%+v was recorded", e))
				}
			}
			return errors.Join(append(errs, err)...)
		},
	},
	{
		name:   "a cancelled context causes an error or a correct result",
		reason: "an empty result looks like a log with nothing new.",
		check: func(ctx context.Context, log blacklist.Log) error {
			start, err := end(ctx, log)
			if err != nil {
				return err
			}
			want := randomEntries(2)
			if _, err := log.Append(ctx, want[0]); err != nil {
				return err
			}
			cancelled, cancel := context.WithCancel(ctx)
			cancel()
			var errs []error
			if got, _, err := log.Since(cancelled, start, 10); err == nil {
				errs = append(errs, same(got, want[:1]))
			}
			if _, err := log.Append(cancelled, want[1]); err == nil {
				got, _, err := readFrom(ctx, log, start, 10)
				errs = append(errs, err, same(got, want))
			}
			return errors.Join(errs...)
		},
	},
	{
		name:   "no entry appears behind the position of a reader, with many writers",
		reason: "if a number becomes visible after a greater one, nodes never apply that logout: databases number rows before they commit them.",
		check: func(ctx context.Context, log blacklist.Log) error {
			start, err := end(ctx, log)
			if err != nil {
				return err
			}
			const writers, each = 8, 30
			var mu sync.Mutex
			acknowledged := map[blacklist.ID]bool{}
			var errs []error
			fail := func(err error) {
				if err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
				}
			}
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for i := range each {
						batch := randomEntries(1 + (w+i)%3)
						if _, err := log.Append(ctx, batch...); err != nil {
							fail(err)
							return
						}
						mu.Lock()
						for _, e := range batch {
							acknowledged[e.ID] = true
						}
						mu.Unlock()
					}
				})
			}
			over := make(chan struct{})
			seen := map[blacklist.ID]int{}
			var reader sync.WaitGroup
			reader.Go(func() {
				for after, last := start, false; ; {
					select {
					case <-over:
						last = true
					default:
					}
					// Those that were acknowledged before Since begins must
					// be in what was read by its end.
					mu.Lock()
					before := make([]blacklist.ID, 0, len(acknowledged))
					for id := range acknowledged {
						before = append(before, id)
					}
					mu.Unlock()
					got, next, err := readFrom(ctx, log, after, 5)
					if err != nil {
						fail(err)
						return
					}
					after = next
					for _, e := range got {
						seen[e.ID]++
					}
					for _, id := range before {
						if seen[id] == 0 {
							fail(fmt.Errorf("an entry was acknowledged, and Since that began later passed it over"))
							return
						}
					}
					if last {
						return
					}
				}
			})
			all.Wait()
			close(over)
			reader.Wait()
			for id := range acknowledged {
				if seen[id] != 1 {
					fail(fmt.Errorf("an entry was read %d times, want once", seen[id]))
					break
				}
			}
			return errors.Join(errs...)
		},
	},
	{
		name:   "compaction drops what has expired and nothing else",
		reason: "an entry that is deleted too early undoes a logout; a concurrent reader must miss no entry.",
		check: func(ctx context.Context, log blacklist.Log) error {
			c, ok := log.(interface {
				DeleteExpired(ctx context.Context, before time.Time) (int64, error)
			})
			if !ok {
				return nil
			}
			start, err := end(ctx, log)
			if err != nil {
				return err
			}
			// Many, since a compaction that gains little may do nothing.
			const n = 9000
			now := time.Now()
			var all []blacklist.Entry
			for i := range n {
				e := randomEntry(blacklist.KindCredential)
				switch {
				case i%10 == 3:
					e.Expires = 0
				case i%10 == 5:
					e.Kind, e.Before = blacklist.KindSubject, now.UnixMicro()
				case i%10 != 0:
					e.Expires = now.Add(-3 * time.Hour).UnixMicro()
				}
				all = append(all, e)
			}
			positions := []uint64{start}
			for page := range slices.Chunk(all, 1000) {
				last, err := log.Append(ctx, page...)
				if err != nil {
					return err
				}
				positions = append(positions, last)
			}
			if _, err := c.DeleteExpired(ctx, now.Add(-time.Hour)); err != nil {
				return fmt.Errorf("deleting what has expired: %w", err)
			}
			live := func(entries []blacklist.Entry) (live []blacklist.Entry) {
				for _, e := range entries {
					if e.Expires == 0 || e.Expires > now.UnixMicro() {
						live = append(live, e)
					}
				}
				return live
			}
			for i, from := range positions {
				got, last, err := readFrom(ctx, log, from, 700)
				if err != nil {
					return err
				}
				// A reader may be shown again what it has seen.
				want := live(all[min(i*1000, n):])
				got = live(got)
				if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
					return fmt.Errorf("from the number %d on, which was after %d entries, %d live entries are left, want %d", from, i*1000, len(got), len(want))
				}
				if last > positions[len(positions)-1] {
					return fmt.Errorf("the end is at %d, and was at %d", last, positions[len(positions)-1])
				}
			}
			more := randomEntries(1)
			number, err := log.Append(ctx, more...)
			if err == nil && number <= positions[len(positions)-1] {
				err = fmt.Errorf("after the compaction Append returned the number %d, which was given before", number)
			}
			got, _, err2 := readFrom(ctx, log, positions[len(positions)-1], 10)
			return errors.Join(err, err2, same(got, more))
		},
	},
}
