package blacklisttest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/blacklist"
)

// simple is a Log by the letter: a list with numbers, some of which are left
// out.
type simple struct {
	mu   sync.Mutex
	last uint64
	all  []numberedEntry
	logFault
}

type numberedEntry struct {
	number uint64
	blacklist.Entry
}

// A logFault is a change of simple.
type logFault struct {
	name, breaks string
	stored       func(blacklist.Entry) blacklist.Entry // what is kept of an entry
	append       func(s *simple, ctx context.Context, entries []blacklist.Entry) (uint64, error)
	since        func(s *simple, ctx context.Context, after uint64, max int) ([]blacklist.Entry, uint64, error)
	compact      func(s *simple, before int64)
}

func (s *simple) Append(ctx context.Context, entries ...blacklist.Entry) (uint64, error) {
	if s.append != nil {
		return s.append(s, ctx, entries)
	}
	return s.record(ctx, entries)
}

func (s *simple) record(ctx context.Context, entries []blacklist.Entry) (uint64, error) {
	for _, e := range entries {
		if e.Kind > 15 || e.Kind == 0 && e.Before == 0 || e.Spare != (blacklist.ID{}) && e.Before == 0 {
			return 0, errors.New("nonsense")
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if s.stored != nil {
			e = s.stored(e)
		}
		s.last += 1 + s.last%3
		s.all = append(s.all, numberedEntry{s.last, e})
	}
	return s.last, nil
}

func (s *simple) Since(ctx context.Context, after uint64, max int) ([]blacklist.Entry, uint64, error) {
	if s.since != nil {
		return s.since(s, ctx, after, max)
	}
	return s.read(ctx, after, max)
}

func (s *simple) read(ctx context.Context, after uint64, max int) ([]blacklist.Entry, uint64, error) {
	if err := ctx.Err(); err != nil || max < 1 {
		return nil, 0, errors.Join(err, errors.New("nothing to read"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if after > s.last {
		return nil, 0, blacklist.ErrRewound
	}
	var out []blacklist.Entry
	for _, e := range s.all {
		if e.number > after && len(out) < max {
			out = append(out, e.Entry)
			after = e.number
		}
	}
	return out, after, nil
}

func (s *simple) DeleteExpired(_ context.Context, before time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.compact != nil {
		s.compact(s, before.UnixMicro())
	} else {
		s.drop(before.UnixMicro())
	}
	return 0, nil
}

func (s *simple) drop(before int64) {
	s.all = slices.DeleteFunc(s.all, func(e numberedEntry) bool { return e.Expires != 0 && e.Expires < before })
}

var logFaults = []logFault{
	{name: "drops Before", breaks: "entries are read unchanged and in order", stored: func(e blacklist.Entry) blacklist.Entry {
		if e.Kind != 0 {
			e.Before = 0
		}
		return e
	}},
	{name: "drops Spare", breaks: "entries are read unchanged and in order", stored: func(e blacklist.Entry) blacklist.Entry {
		e.Spare = blacklist.ID{}
		return e
	}},
	{name: "cuts Expires to seconds", breaks: "entries are read unchanged and in order", stored: func(e blacklist.Entry) blacklist.Entry {
		e.Expires = e.Expires / 1e6 * 1e6
		return e
	}},
	{name: "keeps IDs as text", breaks: "entries are read unchanged and in order", stored: func(e blacklist.Entry) blacklist.Entry {
		text := []rune(string(e.ID[:]))
		e.ID = blacklist.ID{}
		copy(e.ID[:], string(text))
		return e
	}},
	{
		name: "acknowledges and does nothing", breaks: "entries are read unchanged and in order",
		append: func(s *simple, _ context.Context, _ []blacklist.Entry) (uint64, error) { return s.last + 1, nil },
	},
	{
		name: "records in the reverse order", breaks: "several entries are appended in their order",
		append: func(s *simple, ctx context.Context, entries []blacklist.Entry) (uint64, error) {
			entries = slices.Clone(entries)
			slices.Reverse(entries)
			return s.record(ctx, entries)
		},
	},
	{
		name: "returns the number of the first", breaks: "several entries are appended in their order",
		append: func(s *simple, ctx context.Context, entries []blacklist.Entry) (first uint64, _ error) {
			for i := range entries {
				n, err := s.record(ctx, entries[i:i+1])
				if err != nil {
					return 0, err
				}
				if i == 0 {
					first = n
				}
			}
			return first, nil
		},
	},
	{
		name: "returns from the number on", breaks: "pages of any size show everything once",
		since: func(s *simple, ctx context.Context, after uint64, max int) ([]blacklist.Entry, uint64, error) {
			if after > 0 && after <= s.last {
				after--
			}
			return s.read(ctx, after, max)
		},
	},
	{
		name: "leaves out the last of a full page", breaks: "pages of any size show everything once",
		since: func(s *simple, ctx context.Context, after uint64, max int) ([]blacklist.Entry, uint64, error) {
			out, last, err := s.read(ctx, after, max)
			if len(out) == max && max > 3 {
				out = out[:max-1]
			}
			return out, last, err
		},
	},
	{
		name: "ends at its own largest page", breaks: "compaction drops what has expired and nothing else",
		since: func(s *simple, ctx context.Context, after uint64, max int) ([]blacklist.Entry, uint64, error) {
			return s.read(ctx, after, min(max, 500))
		},
	},
	{
		name: "makes a number of nothing", breaks: "an Append without entries does nothing",
		append: func(s *simple, ctx context.Context, entries []blacklist.Entry) (uint64, error) {
			if len(entries) == 0 {
				entries = []blacklist.Entry{{Kind: 1}}
			}
			return s.record(ctx, entries)
		},
	},
	{
		name: "has nothing after a number that was never reached", breaks: "a number that was never reached is ErrRewound",
		since: func(s *simple, ctx context.Context, after uint64, max int) ([]blacklist.Entry, uint64, error) {
			out, last, err := s.read(ctx, after, max)
			if errors.Is(err, blacklist.ErrRewound) {
				return nil, after, nil
			}
			return out, last, err
		},
	},
	{
		name: "records nonsense", breaks: "an invalid entry is an error",
		append: func(s *simple, _ context.Context, entries []blacklist.Entry) (uint64, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, e := range entries {
				s.last++
				s.all = append(s.all, numberedEntry{s.last, e})
			}
			return s.last, nil
		},
	},
	{
		name: "is empty when cancelled", breaks: "a cancelled context causes an error or a correct result",
		since: func(s *simple, ctx context.Context, after uint64, max int) ([]blacklist.Entry, uint64, error) {
			if ctx.Err() != nil {
				return nil, after, nil
			}
			return s.read(ctx, after, max)
		},
	},
	{
		name: "skips what was cancelled", breaks: "a cancelled context causes an error or a correct result",
		append: func(s *simple, ctx context.Context, entries []blacklist.Entry) (uint64, error) {
			if ctx.Err() != nil {
				return s.last, nil
			}
			return s.record(ctx, entries)
		},
	},
	{
		name: "numbers entries before it shows them", breaks: "no entry appears behind the position of a reader, with many writers",
		append: func(s *simple, ctx context.Context, entries []blacklist.Entry) (uint64, error) {
			s.mu.Lock()
			first := s.last + 1
			s.last += uint64(len(entries))
			last := s.last
			s.mu.Unlock()
			time.Sleep(time.Duration(entries[0].ID[0]%4) * 300 * time.Microsecond) // the transaction
			s.mu.Lock()
			defer s.mu.Unlock()
			for i, e := range entries {
				s.all = append(s.all, numberedEntry{first + uint64(i), e})
			}
			slices.SortFunc(s.all, func(a, b numberedEntry) int { return int(a.number) - int(b.number) })
			return last, nil
		},
	},
	{
		name: "drops what never expires", breaks: "compaction drops what has expired and nothing else",
		compact: func(s *simple, before int64) {
			s.all = slices.DeleteFunc(s.all, func(e numberedEntry) bool { return e.Expires < before })
		},
	},
	{
		name: "numbers what is left anew", breaks: "compaction drops what has expired and nothing else",
		compact: func(s *simple, before int64) {
			s.drop(before)
			for i := range s.all {
				s.all[i].number = uint64(i + 1)
			}
		},
	},
	{
		name: "goes back to the last that is left", breaks: "compaction drops what has expired and nothing else",
		compact: func(s *simple, before int64) {
			s.drop(before)
			s.last = s.all[len(s.all)-1].number - 5
		},
	},
}

func TestLogRulesAcceptTheirLetter(t *testing.T) {
	for _, rule := range logRules {
		if err := rule.check(t.Context(), new(simple)); err != nil {
			t.Errorf("%s: %v", rule.name, err)
		}
	}
}

func TestLogRulesFindFaults(t *testing.T) {
	for _, rule := range logRules {
		planted := false
		for _, fault := range logFaults {
			if fault.breaks != rule.name {
				continue
			}
			planted = true
			t.Run(fault.name, func(t *testing.T) {
				if rule.check(t.Context(), &simple{logFault: fault}) == nil {
					t.Errorf("the rule that %s did not notice", rule.name)
				}
			})
		}
		if !planted {
			t.Errorf("no fault was planted against the rule that %s", rule.name)
		}
	}
	for _, fault := range logFaults {
		if !slices.ContainsFunc(logRules, func(r logRule) bool { return r.name == fault.breaks }) {
			t.Errorf("there is no rule that %s", fault.breaks)
		}
	}
}

func TestRunLog(t *testing.T) {
	opened := 0
	RunLog(t, func(*testing.T) blacklist.Log {
		opened++
		return new(simple)
	})
	if opened != len(logRules) {
		t.Errorf("opened %d logs for %d rules, want a fresh one for each", opened, len(logRules))
	}
}
