package totptest

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/totp"
)

// broken is a store with one fault: what it does with records is up to the
// functions, the rest is a Memory's.
type broken struct {
	totp.Memory
	load func(m *totp.Memory, user string) (totp.Record, error)
	save func(m *totp.Memory, user string, r totp.Record) (bool, error)
}

func (b *broken) LoadTOTP(ctx context.Context, user string) (totp.Record, error) {
	if b.load != nil {
		return b.load(&b.Memory, user)
	}
	return b.Memory.LoadTOTP(ctx, user)
}

func (b *broken) SaveTOTP(ctx context.Context, user string, r totp.Record) (bool, error) {
	if b.save != nil {
		return b.save(&b.Memory, user, r)
	}
	return b.Memory.SaveTOTP(ctx, user, r)
}

var ctx = context.Background()

// named returns a store that keeps users under other names.
func named(name func(string) string) *broken {
	return &broken{
		load: func(m *totp.Memory, user string) (totp.Record, error) { return m.LoadTOTP(ctx, name(user)) },
		save: func(m *totp.Memory, user string, r totp.Record) (bool, error) { return m.SaveTOTP(ctx, name(user), r) },
	}
}

// losing returns a store that saves records without something of them.
func losing(lose func(*totp.Record)) *broken {
	return &broken{save: func(m *totp.Memory, user string, r totp.Record) (bool, error) {
		lose(&r)
		return m.SaveTOTP(ctx, user, r)
	}}
}

// force saves whatever the version is.
func force(m *totp.Memory, user string, r totp.Record) (bool, error) {
	for {
		now, _ := m.LoadTOTP(ctx, user)
		r.Version = now.Version
		if saved, err := m.SaveTOTP(ctx, user, r); saved || err != nil {
			return saved, err
		}
	}
}

// TestBrokenStoresAreFound: each fault that a store is likely to have breaks a
// rule, and the rule says so.
func TestBrokenStoresAreFound(t *testing.T) {
	tests := []struct {
		name string
		rule string // one of those that must find it
		open func() totp.Store
	}{
		{"an unknown user is an error", "a user without a record", func() totp.Store {
			return &broken{load: func(m *totp.Memory, user string) (totp.Record, error) {
				r, err := m.LoadTOTP(ctx, user)
				if r.Version == 0 {
					err = errors.New("no rows")
				}
				return r, err
			}}
		}},
		{"loading creates a record", "a user without a record", func() totp.Store {
			return &broken{load: func(m *totp.Memory, user string) (totp.Record, error) {
				m.SaveTOTP(ctx, user, totp.Record{})
				return m.LoadTOTP(ctx, user)
			}}
		}},
		{"the step is forgotten", "each field that was saved", func() totp.Store { return losing(func(r *totp.Record) { r.Step = 0 }) }},
		{"the step has 32 bits", "each field that was saved", func() totp.Store { return losing(func(r *totp.Record) { r.Step = int64(int32(r.Step)) }) }},
		{"failures are forgotten", "each field that was saved", func() totp.Store { return losing(func(r *totp.Record) { r.Guesses.Failures = 0 }) }},
		{"times have whole milliseconds", "each field that was saved", func() totp.Store {
			return losing(func(r *totp.Record) { r.Guesses.Retry = r.Guesses.Retry.Truncate(time.Millisecond) })
		}},
		{"one recovery code is kept", "each field that was saved", func() totp.Store {
			return losing(func(r *totp.Record) { r.Recovery = r.Recovery[:min(1, len(r.Recovery))] })
		}},
		{"a factor cannot be removed", "each field that was saved", func() totp.Store {
			return &broken{save: func(m *totp.Memory, user string, r totp.Record) (bool, error) {
				if old, _ := m.LoadTOTP(ctx, user); len(r.Active) == 0 {
					r.Active = old.Active
				}
				return m.SaveTOTP(ctx, user, r)
			}}
		}},
		{"the last one to save wins", "only the version", func() totp.Store { return &broken{save: force} }},
		{"saving is reported whether it happened or not", "only the version", func() totp.Store {
			return &broken{save: func(m *totp.Memory, user string, r totp.Record) (bool, error) {
				_, err := m.SaveTOTP(ctx, user, r)
				return true, err
			}}
		}},
		{"a record that is gone is created with any version", "only the version", func() totp.Store {
			return &broken{save: func(m *totp.Memory, user string, r totp.Record) (bool, error) {
				if old, _ := m.LoadTOTP(ctx, user); old.Version == 0 {
					return force(m, user, r)
				}
				return m.SaveTOTP(ctx, user, r)
			}}
		}},
		{"names are folded", "compared byte for byte", func() totp.Store { return named(strings.ToLower) }},
		{"names are trimmed", "compared byte for byte", func() totp.Store { return named(strings.TrimSpace) }},
		{"names are cut", "compared byte for byte", func() totp.Store { return named(func(s string) string { return s[:min(len(s), 250)] }) }},
		{"records are shared", "the caller's own", func() totp.Store { return &shared{records: map[string]totp.Record{}} }},
		{"asked first, saved then", "of concurrent saves", func() totp.Store { return &broken{save: getThenSet} }},
		{"asked first, saved then, counted", "counting", func() totp.Store { return &broken{save: getThenSet} }},
		{"asked first, saved then, with a code", "a code is accepted once", func() totp.Store { return &broken{save: getThenSet} }},
		{"used recovery codes come back", "a recovery code is accepted once", func() totp.Store {
			var mu sync.Mutex
			var first []totp.RecoveryHash
			return losing(func(r *totp.Record) {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = r.Recovery
				}
				r.Recovery = first
			})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, rule := range rules {
				if !strings.Contains(rule.name, tt.rule) {
					continue
				}
				// A race is lost sooner or later.
				for range 50 {
					if err := rule.check(t.Context(), tt.open()); err != nil {
						if rule.reason == "" || err.Error() == "" {
							t.Error("the rule does not say what is wrong and why")
						}
						return
					}
				}
				t.Errorf("the rule %q does not find it", rule.name)
				return
			}
			t.Errorf("there is no rule %q", tt.rule)
		})
	}
}

// getThenSet looks at the version first and saves afterwards.
func getThenSet(m *totp.Memory, user string, r totp.Record) (bool, error) {
	if old, _ := m.LoadTOTP(ctx, user); old.Version != r.Version {
		return false, nil
	}
	for range 10 {
		runtime.Gosched() // what a network in between does
	}
	if _, err := force(m, user, r); err != nil {
		return false, err
	}
	return true, nil
}

// shared is a store that hands out its own memory.
type shared struct {
	mu      sync.Mutex
	records map[string]totp.Record
}

func (s *shared) LoadTOTP(_ context.Context, user string) (totp.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[user], nil
}

func (s *shared) SaveTOTP(_ context.Context, user string, r totp.Record) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[user].Version != r.Version {
		return false, nil
	}
	r.Version++
	s.records[user] = r
	return true, nil
}
