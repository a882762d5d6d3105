package apikey_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestTheRequestThatFindsTheMinuteOverWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		key, record := r.issue(nil)
		welcome.check(t, r.get(with(key)))
		used := time.Now()
		time.Sleep(time.Minute - time.Nanosecond)
		welcome.check(t, r.get(with(key)))
		if n := r.store.batches.Load(); n != 0 {
			t.Errorf("%d batches within the minute", n)
		}
		time.Sleep(time.Second)
		now := time.Now().Truncate(time.Second)
		welcome.check(t, r.get(with(key)))
		if n := r.store.batches.Load(); n != 1 || len(r.store.uses) != 1 {
			t.Fatalf("%d batches, %v", n, r.store.uses)
		}
		if got := r.store.uses[0]; got.ID != record.ID || !got.At.Equal(now) || got.At.Equal(used) {
			t.Errorf("written %v, want %v", got, now)
		}
	})
}

func TestRefusedKeysAreNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{OwnerRights: func(context.Context, *identity.Principal) (a, b identity.Set, err error) {
			return a, b, guard.ErrInactive
		}})
		key, _ := r.issue(nil)
		expired, _ := r.issue(func(r *apikey.Record) { r.ExpiresAt = time.Now() })
		for _, k := range []string{key, expired, wrongSecret(t, key), "junk"} {
			invalid.check(t, r.get(with(k)))
		}
		if err := r.keys.Flush(t.Context()); err != nil || len(r.store.uses) != 0 {
			t.Errorf("written %v (%v)", r.store.uses, err)
		}
	})
}

func TestUsesThatCouldNotBeWrittenAreWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		key, one := r.issue(nil)
		rare, two := r.issue(nil)
		welcome.check(t, r.get(with(key)))
		welcome.check(t, r.get(with(rare)))
		first := time.Now().Truncate(time.Second)
		time.Sleep(time.Minute - 2*time.Second)
		welcome.check(t, r.get(with(key))) // so that it is remembered
		time.Sleep(2 * time.Second)
		r.store.set(errors.New("down"), nil)
		welcome.check(t, r.get(with(key))) // is not refused for it
		if n := r.store.batches.Load(); n != 1 || !strings.HasSuffix(r.events.names(), string(guard.EventUnavailable)) {
			t.Errorf("%d batches, events %s", n, r.events.names())
		}
		time.Sleep(2 * time.Second)
		welcome.check(t, r.get(with(key))) // does not try again at once
		if n := r.store.batches.Load(); n != 1 {
			t.Errorf("%d batches", n)
		}
		last := time.Now().Truncate(time.Second)
		if err := r.keys.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "recording when keys were used") {
			t.Errorf("Close says %v", err)
		}
		r.store.set(nil, nil)
		if err := r.keys.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := map[string]time.Time{}
		for _, use := range r.store.uses {
			got[use.ID] = use.At
		}
		if len(got) != 2 || !got[one.ID].Equal(last) || !got[two.ID].Equal(first) {
			t.Errorf("written %v, want %v and %v", got, last, first)
		}
	})
}

// A store that is slow to write holds one request up, and no other.
func TestOneRequestWritesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowRecorder{}
		r := open(t, apikey.Config{})
		key, record := r.issue(nil)
		if err := slow.WriteKeys(t.Context(), nil, &record); err != nil {
			t.Fatal(err)
		}
		a := must(apikey.New(slow, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}, CacheTTL: 5 * time.Minute}))
		verify := func() time.Duration {
			start := time.Now()
			if _, err := a.Verify(t.Context(), key, ""); err != nil {
				t.Error(err)
			}
			return time.Since(start)
		}
		verify()
		time.Sleep(time.Minute)
		var wg sync.WaitGroup
		held := make([]time.Duration, 50)
		for i := range held {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond) // some in the next seconds
				held[i] = verify()
			})
		}
		wg.Wait()
		n := 0
		for _, d := range held {
			if d > 0 {
				n++
			}
			if d > 2*time.Second { // StoreTimeout
				t.Errorf("held up for %v", d)
			}
		}
		if most := slow.atOnce(); n != 1 || most != 1 {
			t.Errorf("%d requests were held up, %d wrote at once", n, most)
		}
		// Flush waits for who is writing, and for no longer than it may.
		go a.Flush(t.Context())
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		if err := a.Flush(ctx); err == nil || slow.atOnce() != 1 {
			t.Errorf("Flush without the time for it: %v", err)
		}
		time.Sleep(time.Minute)
	})
}

type slowRecorder struct {
	apikey.Memory
	mu        sync.Mutex
	now, most int
}

// atOnce returns how many have been writing at once, at most.
func (s *slowRecorder) atOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func (s *slowRecorder) RecordUse(ctx context.Context, _ []apikey.Use) error {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	select {
	case <-time.After(30 * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestPendingUsesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{MaxPendingUses: 3})
		for range 5 {
			key, _ := r.issue(nil)
			welcome.check(t, r.get(with(key)))
		}
		err := r.keys.Flush(t.Context())
		if err == nil || !strings.Contains(err.Error(), "2 uses were not recorded because uses of 3 keys were pending") {
			t.Errorf("Flush says %v", err)
		}
		if len(r.store.uses) != 3 {
			t.Errorf("%d written", len(r.store.uses))
		}
		if err := r.keys.Flush(t.Context()); err != nil {
			t.Errorf("the second Flush says %v", err)
		}
	})
}

type failingRecorder struct {
	*apikey.Memory
	fails bool
}

func (f *failingRecorder) RecordUse(ctx context.Context, uses []apikey.Use) error {
	if f.fails {
		return errDown
	}
	return f.Memory.RecordUse(ctx, uses)
}

func TestLostUsesAreReportedAfterAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		store := &failingRecorder{&r.store.Memory, true}
		keys := must(apikey.New(store, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}, MaxPendingUses: 3}))
		for range 5 {
			key, _ := r.issue(nil)
			if _, err := keys.Verify(t.Context(), key, ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := keys.Flush(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("Flush of a store that fails: %v", err)
		}
		store.fails = false
		if err := keys.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "2 uses were not recorded") {
			t.Errorf("the next Flush: %v, want the two lost uses", err)
		}
		if err := keys.Flush(t.Context()); err != nil {
			t.Errorf("the last Flush: %v", err)
		}
	})
}

func TestUsesAreNotWrittenIfNobodyWantsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		off := open(t, apikey.Config{UsageInterval: -1})
		key, record := off.issue(nil)
		type plain struct{ apikey.KeyStore }
		none := must(apikey.New(plain{off.store}, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}}))
		for range 2 {
			welcome.check(t, off.get(with(key)))
			if _, err := none.Verify(t.Context(), key, ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
		}
		if err := errors.Join(off.keys.Flush(t.Context()), none.Flush(t.Context())); err != nil {
			t.Error(err)
		}
		if got, _ := off.store.Memory.KeyByID(t.Context(), record.ID); off.store.batches.Load() != 0 || !got.LastUsedAt.IsZero() {
			t.Errorf("last used at %v", got.LastUsedAt)
		}
	})
}

// The client of the request that writes may hang up: the uses are those of
// others too.
func TestAClientThatHangsUpLosesNoUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{CacheTTL: 5 * time.Minute})
		key, record := r.issue(nil)
		welcome.check(t, r.get(with(key)))
		time.Sleep(time.Minute)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.keys.Verify(gone, key, ""); err != nil {
			t.Fatal(err)
		}
		if len(r.store.uses) != 1 || r.store.uses[0].ID != record.ID {
			t.Errorf("written %v", r.store.uses)
		}
	})
}
