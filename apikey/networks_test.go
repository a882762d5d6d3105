package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
)

// networkStore counts calls of RecordNetwork, and fails or waits if it is told to.
type networkStore struct {
	apikey.Memory
	calls atomic.Int64
	fail  atomic.Bool
	block chan struct{} // nil: it does not wait
}

func (s *networkStore) RecordNetwork(ctx context.Context, id string, network netip.Prefix, at time.Time) (int, error) {
	s.calls.Add(1)
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if s.fail.Load() {
		return 0, errors.New("down")
	}
	return s.Memory.RecordNetwork(ctx, id, network, at)
}

// node returns an Authenticator of the keys in store, and its events.
func node(store apikey.KeyStore) (*apikey.Authenticator, *events) {
	seen := new(events)
	return must(apikey.New(store, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}, ReportNetworks: true,
		UsageInterval: -1, Hooks: guard.Hooks{Observe: seen.observe}})), seen
}

// keyIn adds a key to a store.
func keyIn(t *testing.T, store apikey.KeyWriter) (string, apikey.Record) {
	t.Helper()
	key, record := open(t, apikey.Config{}).issue(nil)
	if err := store.WriteKeys(t.Context(), nil, &record); err != nil {
		t.Fatal(err)
	}
	return key, record
}

// use verifies a key from an address.
func use(t *testing.T, a *apikey.Authenticator, key, addr string) {
	t.Helper()
	if _, err := a.Verify(t.Context(), key, addr); err != nil {
		t.Fatal(err)
	}
}

func TestTheFirstUseOfAKeyFromANetworkIsOneEvent(t *testing.T) {
	store := new(networkStore)
	key, record := keyIn(t, store)
	a, seen := node(store)
	for _, step := range []struct{ addr, network string }{
		{"192.0.2.7:4711", "192.0.2.0/24"},
		{"192.0.2.7:4712", ""},
		{"192.0.2.200:4711", ""},
		{"[::ffff:192.0.2.9]:1", ""},
		{"198.51.100.1", "198.51.100.0/24"},
		{"192.0.2.1:1", ""},
		{"[2001:db8:1:2::3]:4711", "2001:db8:1::/48"},
		{"[2001:db8:1:ffff::3]:4711", ""},
		{"[2001:db8:2::3%eth0]:4711", "2001:db8:2::/48"},
		{"", ""},
		{"@", ""},
	} {
		before := len(seen.all)
		use(t, a, key, step.addr)
		made := seen.all[before:]
		if step.network == "" {
			if len(made) != 0 {
				t.Errorf("%q: %v", step.addr, made)
			}
			continue
		}
		if len(made) != 1 {
			t.Fatalf("%q: %d events, want 1", step.addr, len(made))
		}
		want := fmt.Sprintf("[network=%s networks=%d]", step.network, len(seen.all))
		if e := made[0]; e.Name != apikey.EventNewNetwork || e.Target != record.ID || e.Principal == nil || e.Principal.Subject != "ada" ||
			e.Principal.Credential != record.ID || fmt.Sprint(e.Changes) != want {
			t.Errorf("%q: %s of %q by %v: %v, want %s", step.addr, e.Name, e.Target, e.Principal, e.Changes, want)
		}
	}
	if n := store.calls.Load(); n != 4 {
		t.Errorf("the store was called %d times, want once per network", n)
	}
}

func TestTheEventOfANewNetworkHasTheRequest(t *testing.T) {
	r := open(t, apikey.Config{ReportNetworks: true})
	key, _ := r.issue(nil)
	welcome.check(t, r.get(with(key)))
	welcome.check(t, r.get(with(key)))
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	found := slices.DeleteFunc(r.events.all, func(e guard.Event) bool { return e.Name != apikey.EventNewNetwork })
	if len(found) != 1 || found[0].Request.RemoteAddr != "192.0.2.1:1234" || found[0].Request.Path != "/" {
		t.Errorf("%+v", found)
	}
}

func TestNetworksAreNotRecordedUnlessConfigured(t *testing.T) {
	r := open(t, apikey.Config{})
	key, record := r.issue(nil)
	welcome.check(t, r.get(with(key)))
	if n, err := r.store.RecordNetwork(t.Context(), record.ID, netip.MustParsePrefix("192.0.2.0/24"), time.Now()); n != 1 || err != nil {
		t.Errorf("%d, %v: the network was recorded", n, err)
	}
	type plain struct{ apikey.KeyStore }
	_, err := apikey.New(plain{r.store}, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}, ReportNetworks: true})
	const want = "apikey: Config.ReportNetworks is set and the KeyStore (apikey_test.plain) has no RecordNetwork; use a NetworkRecorder"
	if err == nil || err.Error() != want {
		t.Errorf("New: %v, want %s", err, want)
	}
}

func TestKeysThatAreRefusedRecordNoNetwork(t *testing.T) {
	store := new(networkStore)
	key, record := keyIn(t, store)
	record.AllowedPrefixes = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	if err := store.WriteKeys(t.Context(), &record, nil); err != nil {
		t.Fatal(err)
	}
	a, _ := node(store)
	for _, k := range []string{key, wrongSecret(t, key), "junk"} {
		if _, err := a.Verify(t.Context(), k, "192.0.2.1:1"); err == nil {
			t.Errorf("%s is good", k)
		}
	}
	if n := store.calls.Load(); n != 0 {
		t.Errorf("the store was called %d times", n)
	}
}

func TestOfTwoProcessesOneReportsANetwork(t *testing.T) {
	store := new(networkStore)
	key, _ := keyIn(t, store)
	var all []*events
	var wg sync.WaitGroup
	for range 4 {
		a, seen := node(store)
		all = append(all, seen)
		for range 8 {
			wg.Go(func() {
				if _, err := a.Verify(context.Background(), key, "192.0.2.1:1"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	made := 0
	for _, seen := range all {
		made += len(seen.all)
	}
	if made != 1 {
		t.Errorf("%d events of four processes, want 1", made)
	}
	// A process that starts again reads, and reports nothing.
	again, seen := node(store)
	use(t, again, key, "192.0.2.1:1")
	if len(seen.all) != 0 {
		t.Errorf("%s after a restart", seen.names())
	}
}

func TestAStoreThatDoesNotRecordNetworksHoldsUpOneRequestInTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &networkStore{block: make(chan struct{})}
		key, _ := keyIn(t, store)
		a, seen := node(store)
		begun := time.Now()
		use(t, a, key, "192.0.2.1:1") // the time that the store may take
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("the request took %v", took)
		}
		if seen.names() != string(guard.EventUnavailable) || !strings.Contains(seen.all[0].Err.Error(), "apikey: recording the network of a key") || seen.all[0].Principal != nil {
			t.Errorf("events: %v", seen.all)
		}
		begun = time.Now()
		for i := range 50 {
			use(t, a, key, fmt.Sprintf("192.0.%d.1:1", i))
		}
		if took, n := time.Since(begun), store.calls.Load(); took != 0 || n != 1 {
			t.Errorf("the other requests took %v, with %d calls of the store", took, n)
		}
		close(store.block)
		time.Sleep(10 * time.Second)
		use(t, a, key, "192.0.2.1:1")
		if want := string(guard.EventUnavailable) + " " + string(apikey.EventNewNetwork); seen.names() != want {
			t.Errorf("events %s, want %s", seen.names(), want)
		}
	})
}

func TestRequestsDoNotWaitForAnotherThatRecordsTheirNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &networkStore{block: make(chan struct{})}
		key, _ := keyIn(t, store)
		a, seen := node(store)
		var wg sync.WaitGroup
		wg.Go(func() { use(t, a, key, "192.0.2.1:1") })
		synctest.Wait()
		use(t, a, key, "192.0.2.2:1")
		if n := store.calls.Load(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
		close(store.block)
		wg.Wait()
		if seen.names() != string(apikey.EventNewNetwork) {
			t.Errorf("events %s", seen.names())
		}
	})
}

func TestTheOldestNetworkMakesRoom(t *testing.T) {
	store := new(networkStore)
	_, record := keyIn(t, store)
	recordAt := func(i int) int {
		n, err := store.Memory.RecordNetwork(t.Context(), record.ID, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24), time.Unix(int64(i), 0))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range apikey.MaxNetworks + 1 {
		if n := recordAt(i); n != min(i+1, apikey.MaxNetworks) {
			t.Errorf("network %d: %d, want %d", i, n, min(i+1, apikey.MaxNetworks))
		}
	}
	if recordAt(0) == 0 || recordAt(5) != 0 {
		t.Error("another network than the oldest made room")
	}
}

func TestAKnownNetworkCostsNoAllocation(t *testing.T) {
	store := new(networkStore)
	key, _ := keyIn(t, store)
	plain := must(apikey.New(store, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}, CacheTTL: 5 * time.Minute, UsageInterval: -1}))
	reporting := must(apikey.New(store, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}, CacheTTL: 5 * time.Minute, UsageInterval: -1, ReportNetworks: true}))
	allocations := func(a *apikey.Authenticator, addr string) float64 {
		use(t, a, key, addr)
		return testing.AllocsPerRun(100, func() { use(t, a, key, addr) })
	}
	for _, addr := range []string{"192.0.2.1:4711", "[2001:db8::1]:4711"} {
		if got, want := allocations(reporting, addr), allocations(plain, addr); got != want {
			t.Errorf("%s: %v allocations, want %v", addr, got, want)
		}
	}
	if n := store.calls.Load(); n != 2 {
		t.Errorf("the store was called %d times, want once per network", n)
	}
}
