package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestNewListsEveryMistake(t *testing.T) {
	short := apikey.Pepper{ID: "one", Secret: guard.NewSecret(make([]byte, 31))}
	good := apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}}
	with := func(edit func(*apikey.Config)) apikey.Config { c := good; edit(&c); return c }
	type onlyKeys struct{ apikey.KeyStore }
	tests := []struct {
		name   string
		store  apikey.KeyStore
		config apikey.Config
		want   []string
	}{
		{"the least", new(apikey.Memory), good, nil},
		{"everything off", new(apikey.Memory), with(func(c *apikey.Config) { c.CacheTTL, c.MissTTL, c.UsageInterval = -1, -1, -1 }), nil},
		{"the bounds", new(apikey.Memory), with(func(c *apikey.Config) {
			c.CacheTTL, c.MissTTL, c.UsageInterval, c.StoreTimeout, c.CacheSize = 5*time.Minute, time.Second, time.Second, time.Minute, 1
		}), nil},
		{"nothing", nil, apikey.Config{}, []string{
			"apikey: the KeyStore is nil", "apikey: Config.Format is zero", "apikey: Config.Peppers is empty",
		}},
		{"bad peppers", new(apikey.Memory), with(func(c *apikey.Config) {
			c.Peppers = []apikey.Pepper{pepper1, short, {}, {ID: strings.Repeat("x", 65), Secret: pepper1.Secret}}
		}), []string{
			`Config.Peppers[1].ID is "one", as in [0]`, "Config.Peppers[1].Secret has 31 bytes; use at least 32",
			`Config.Peppers[2].ID is ""`, "Config.Peppers[2].Secret has 0 bytes", "Config.Peppers[3].ID is",
		}},
		{"durations", new(apikey.Memory), with(func(c *apikey.Config) {
			c.CacheTTL, c.MissTTL, c.UsageInterval, c.StoreTimeout = 6*time.Minute, 2*time.Second, time.Millisecond, -1
		}), []string{"Config.CacheTTL is 6m0s", "Config.MissTTL is 2s", "Config.UsageInterval is 1ms", "Config.StoreTimeout is -1ns"}},
		{"sizes", new(apikey.Memory), with(func(c *apikey.Config) { c.CacheSize, c.MaxPendingUses = -1, 1<<20+1 }),
			[]string{"Config.CacheSize is -1", "Config.MaxPendingUses is 1048577"}},
		{"a legacy hash without a finder", onlyKeys{new(apikey.Memory)}, with(func(c *apikey.Config) { c.LegacyHash = legacyHash }),
			[]string{"Config.LegacyHash is set and the KeyStore (apikey_test.onlyKeys) has no KeyByHash"}},
		{"names", new(apikey.Memory), with(func(c *apikey.Config) { c.Header, c.InsecureQueryParameter = "X Key", "a b" }),
			[]string{`Config.Header is "X Key"`, `Config.InsecureQueryParameter is "a b"`}},
		{"Authorization as a plain header", new(apikey.Memory), with(func(c *apikey.Config) { c.Header = "authorization" }),
			[]string{`Config.Header is "authorization"; use another header`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := apikey.New(tt.store, tt.config)
			if (err == nil) != (len(tt.want) == 0) || (a == nil) != (err != nil) {
				t.Fatalf("%v, %v", a, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say that %s:\n%v", want, err)
				}
			}
			if err != nil && strings.Count(err.Error(), "\n")+1 != len(tt.want) {
				t.Errorf("%d mistakes, want %d:\n%v", strings.Count(err.Error(), "\n")+1, len(tt.want), err)
			}
		})
	}
}

func TestThePrincipal(t *testing.T) {
	r := open(t, apikey.Config{})
	end := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	key, record := r.issue(func(r *apikey.Record) { r.ExpiresAt = end })
	for range 2 { // from the store and from memory
		welcome.check(t, r.get(with(key)))
		got := r.next.last()
		want := identity.Principal{
			Issuer: "apikey:acme", Subject: "ada", Tenant: "math", Credential: record.ID, Client: identity.FirstParty,
			Roles: identity.NewSet("user"), Scopes: identity.NewSet("read:items", "write:items"),
			IssuedAt: record.CreatedAt, Expires: end,
		}
		if fmt.Sprintf("%#v", plain(got)) != fmt.Sprintf("%#v", plain(want)) {
			t.Errorf("got %#v\nwant %#v", plain(got), plain(want))
		}
	}
	if r.keys.Issuer() != "apikey:acme" {
		t.Errorf("the issuer is %q", r.keys.Issuer())
	}
}

// plain is a principal that prints all that it has.
func plain(p identity.Principal) [12]string {
	return [...]string{p.Issuer, p.Subject, p.Tenant, p.Session, p.Credential, p.Client, p.Roles.String(), p.Scopes.String(),
		p.Factors.String(), p.AuthTime.String(), p.IssuedAt.UTC().String(), p.Expires.UTC().String()}
}

func TestOwnersRights(t *testing.T) {
	tests := []struct {
		name          string
		roles, scopes string
		err           error
		want          want
		left          string
	}{
		{"all of them", "user admin", "read:items write:items delete:items", nil, welcome, "user / read:items write:items"},
		{"just those", "user", "read:items write:items", nil, welcome, "user / read:items write:items"},
		{"a scope was taken away", "user", "read:items", nil, welcome, "user / read:items"},
		{"the role was taken away", "guest", "read:items write:items", nil, welcome, " / read:items write:items"},
		{"nothing is left", "", "", nil, welcome, " / "},
		{"the owner is disabled", "", "", fmt.Errorf("user 7: %w", guard.ErrInactive), invalid, ""},
		{"the store does not answer", "user", "read:items", errors.New("down"), unavailable, ""},
		{"a denial of its own is no verdict", "user", "", guard.InvalidToken("Bearer", nil), unavailable, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			r := open(t, apikey.Config{OwnerRights: func(_ context.Context, p *identity.Principal) (identity.Set, identity.Set, error) {
				asked++
				if p.Subject != "ada" || p.Roles.String() != "user" {
					t.Errorf("asked for %v with the roles %v", p, p.Roles)
				}
				p.Roles = identity.NewSet("admin") // which must not stay
				return identity.ParseSet(tt.roles), identity.ParseSet(tt.scopes), tt.err
			}})
			key, _ := r.issue(nil)
			for range 2 {
				tt.want.check(t, r.get(with(key)))
			}
			if asked != 2 {
				t.Errorf("asked %d times, want on each use", asked)
			}
			if tt.want.status != 200 {
				if r.next.ran() != 0 {
					t.Error("next ran")
				}
				return
			}
			if got := r.next.last(); got.Roles.String()+" / "+got.Scopes.String() != tt.left {
				t.Errorf("left are %s / %s, want %s", got.Roles, got.Scopes, tt.left)
			}
		})
	}
}

func TestRevoker(t *testing.T) {
	revoked := new(revoker)
	r := open(t, apikey.Config{Revoker: revoked})
	key, record := r.issue(nil)
	welcome.check(t, r.get(with(key)))
	revoked.Revoke(t.Context(), identity.Revocation{Issuer: "https://tokens.example", Credential: record.ID})
	welcome.check(t, r.get(with(key)))
	revoked.Revoke(t.Context(), identity.Revocation{Issuer: "apikey:acme", Credential: record.ID})
	invalid.check(t, r.get(with(key)))
	if !strings.HasSuffix(r.events.names(), string(guard.EventTokenReuse)) || !errors.Is(r.events.last(), apikey.ErrRevoked) {
		t.Errorf("events %s, the last %v", r.events.names(), r.events.last())
	}
	fresh, _ := r.issue(nil)
	revoked.fail = apikey.ErrRevoked // says nothing about this key
	unavailable.check(t, r.get(with(fresh)))
	if r.next.ran() != 2 {
		t.Errorf("next ran %d times", r.next.ran())
	}
}

func TestAThrottleThatFailsIs503(t *testing.T) {
	for name, throttle := range map[string]*throttle{
		"an error":             {fail: errors.New("down")},
		"a refusal of its own": {fail: apikey.ErrInvalid},
		"neither":              {broken: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, apikey.Config{Throttle: throttle})
			key, _ := r.issue(nil)
			unavailable.check(t, r.get(with(key)))
			if r.next.ran() != 0 || r.store.asked.Load() != 0 {
				t.Error("it went on")
			}
		})
	}
}

// A store that breaks its word must not let anybody in.
func TestAStoreThatReturnsNonsenseIs503(t *testing.T) {
	var one apikey.Record
	for name, answer := range map[string]func(context.Context, string) (*apikey.Record, error){
		"neither":        func(context.Context, string) (*apikey.Record, error) { return nil, nil },
		"another record": func(context.Context, string) (*apikey.Record, error) { r := one; r.ID = "another"; return &r, nil },
		"no owner":       func(context.Context, string) (*apikey.Record, error) { r := one; r.Owner = ""; return &r, nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, apikey.Config{})
			var key string
			key, one = r.issue(nil)
			a := must(apikey.New(storeFunc(answer), apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}}))
			unavailable.check(t, send(a.Handler(r.next), request("/", with(key))))
			if r.next.ran() != 0 {
				t.Error("next ran")
			}
		})
	}
}

type storeFunc func(context.Context, string) (*apikey.Record, error)

func (f storeFunc) KeyByID(ctx context.Context, id string) (*apikey.Record, error) { return f(ctx, id) }

func TestPeppersTakeTurns(t *testing.T) {
	store := new(counted)
	before := openOn(t, store, apikey.Config{Peppers: []apikey.Pepper{pepper1}})
	during := openOn(t, store, apikey.Config{Peppers: []apikey.Pepper{pepper2, pepper1}})
	after := openOn(t, store, apikey.Config{Peppers: []apikey.Pepper{pepper2}})
	old, one := before.issue(nil)
	young, two := during.issue(nil)
	if one.PepperID != "one" || two.PepperID != "two" {
		t.Errorf("made with %q and %q", one.PepperID, two.PepperID)
	}
	welcome.check(t, during.get(with(old)))
	welcome.check(t, during.get(with(young)))
	welcome.check(t, after.get(with(young)))
	invalid.check(t, after.get(with(old)))
	invalid.check(t, before.get(with(young)))
	// Who changes the slice afterwards changes nothing.
	secret := pepper1.Secret.Bytes()
	ring := []apikey.Pepper{{ID: "one", Secret: guard.NewSecret(secret)}}
	r := openOn(t, store, apikey.Config{Peppers: ring, CacheTTL: -1})
	clear(secret)
	ring[0].ID = "x"
	welcome.check(t, r.get(with(old)))
}

func TestLegacyKeys(t *testing.T) {
	r := open(t, apikey.Config{LegacyHash: legacyHash})
	const key = "s3cr3t-from-2019"
	add := func(id, key string, edit func(*apikey.Record)) {
		record := &apikey.Record{ID: id, Owner: "ada", Environment: "live", Active: true, Hash: legacyHash(key)}
		if edit != nil {
			edit(record)
		}
		if err := r.store.Memory.WriteKeys(t.Context(), nil, record); err != nil {
			t.Fatal(err)
		}
	}
	add("legacy-7", key, nil)
	add("legacy-8", "switched-off", func(r *apikey.Record) { r.Active = false })
	add("legacy-9", "of-test", func(r *apikey.Record) { r.Environment = "test" })
	add("legacy-10", "acme_x", nil)
	for range 2 {
		welcome.check(t, r.get(with(key)))
		if got := r.next.last(); got.Credential != "legacy-7" || got.Subject != "ada" {
			t.Errorf("%v", got)
		}
		invalid.check(t, r.get(with("s3cr3t-from-2020")))
		invalid.check(t, r.get(with("switched-off")))
		invalid.check(t, r.get(with("of-test")))
	}
	if n := r.store.asked.Load(); n != 4 {
		t.Errorf("the store was asked %d times, want 4", n)
	}
	// A new key with a typing error is not looked for among the old ones.
	invalid.check(t, r.get(with("acme_x")))
	invalid.check(t, r.get(with(strings.Repeat("x", 257))))
	if n := r.store.asked.Load(); n != 4 {
		t.Errorf("the store was asked %d times, want 4", n)
	}
	if err := r.events.last(); !errors.Is(err, apikey.ErrMalformed) {
		t.Errorf("the event says %v", err)
	}
	// New keys are good beside them, and their hashes are no legacy ones.
	fresh, record := r.issue(nil)
	welcome.check(t, r.get(with(fresh)))
	wrong := openOn(t, r.store, apikey.Config{LegacyHash: func(string) apikey.Hash { return record.Hash }})
	invalid.check(t, wrong.get(with("anything-at-all")))
	// Rotating one gives a key of the new format.
	secret, _, err := r.manager.Rotate(t.Context(), maker, "legacy-7", 0)
	if err != nil {
		t.Fatal(err)
	}
	welcome.check(t, r.get(with(secret.Plain())))
	invalid.check(t, r.get(with(key)))
	// Without the hash there are none.
	off := openOn(t, r.store, apikey.Config{})
	invalid.check(t, off.get(with("switched-off")))
}

// A finder that returns a record with another hash, as a database does that
// compares without regard to case, lets nobody in.
func TestALegacyRecordIsComparedAgain(t *testing.T) {
	f := &finder{record: apikey.Record{ID: "7", Owner: "ada", Environment: "live", Active: true, Hash: legacyHash("another")}}
	a := must(apikey.New(f, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}, LegacyHash: legacyHash}))
	for _, hash := range []apikey.Hash{legacyHash("another"), ""} {
		f.record.Hash = hash
		if _, err := a.Verify(t.Context(), "mine", ""); !errors.Is(err, apikey.ErrSecret) {
			t.Errorf("%v", err)
		}
	}
}

type finder struct{ record apikey.Record }

func (f *finder) KeyByID(context.Context, string) (*apikey.Record, error) {
	return nil, apikey.ErrNotFound
}
func (f *finder) KeyByHash(context.Context, apikey.Hash) (*apikey.Record, error) {
	return &f.record, nil
}

func TestConcurrentMissesShareOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		key, _ := r.issue(nil)
		r.store.set(nil, func(ctx context.Context) error {
			select {
			case <-time.After(50 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { welcome.check(t, r.get(with(key))) })
		}
		// Others do not wait for it.
		wg.Go(func() { invalid.check(t, r.get(with(wrongSecret(t, key)))) })
		wg.Wait()
		if n := r.store.asked.Load(); n != 2 {
			t.Errorf("the store was asked %d times, want twice", n)
		}
	})
}

func TestWhoAsksMayGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		key, _ := r.issue(nil)
		r.store.set(nil, func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		ask := func(after, patience time.Duration) error {
			time.Sleep(after)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := r.keys.Verify(ctx, key, "")
			return err
		}
		var wg sync.WaitGroup
		wg.Go(func() { // asks, and hangs up
			if err := ask(0, 500*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first: %v", err)
			}
		})
		wg.Go(func() { // waits for the first, and hangs up before it does
			if err := ask(time.Millisecond, 100*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the second: %v", err)
			}
		})
		for range 10 { // these ask again
			wg.Go(func() {
				if err := ask(2*time.Millisecond, time.Minute); err != nil {
					t.Errorf("a patient one: %v", err)
				}
			})
		}
		wg.Wait()
		if n := r.store.asked.Load(); n != 2 {
			t.Errorf("the store was asked %d times, want twice", n)
		}
	})
}

func TestAPanicOfTheStoreLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := new(throttle)
		r := open(t, apikey.Config{Throttle: throttle})
		key, _ := r.issue(nil)
		first := true
		r.store.set(nil, func(context.Context) error {
			if first {
				first = false
				time.Sleep(time.Second)
				panic("the store panics")
			}
			return nil
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is gone")
				}
			}()
			r.get(with(key))
		})
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			welcome.check(t, r.get(with(key)))
		})
		wg.Wait()
		if got := throttle.String(); got != "2 reserved, 1 failed, 1 given back" {
			t.Error(got)
		}
	})
}

// What was asked for before an eviction is neither remembered nor given to who
// asks after it.
func TestEvictDuringAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		key, record := r.issue(nil)
		asked := 0
		old := make(chan struct{})
		a := must(apikey.New(storeFunc(func(ctx context.Context, id string) (*apikey.Record, error) {
			asked++
			found, err := r.store.Memory.KeyByID(ctx, id)
			if asked == 1 {
				<-old // the answer is on its way for a while
			}
			return found, err
		}), apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}}))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.Verify(t.Context(), key, ""); err != nil {
				t.Errorf("who asked before: %v", err)
			}
		})
		synctest.Wait()
		r.edit(record.ID, func(r *apikey.Record) { r.RevokedAt = time.Now() })
		a.Evict(record.ID)
		if _, err := a.Verify(t.Context(), key, ""); !errors.Is(err, apikey.ErrRevoked) {
			t.Errorf("who asked after: %v", err)
		}
		close(old)
		wg.Wait()
		time.Sleep(time.Second) // the refusal is forgotten
		if _, err := a.Verify(t.Context(), key, ""); !errors.Is(err, apikey.ErrRevoked) {
			t.Errorf("the old answer was remembered: %v", err)
		}
	})
}

func TestRefusalsAreRememberedForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		key, record := r.issue(func(r *apikey.Record) { r.Active = false })
		invalid.check(t, r.get(with(key)))
		r.edit(record.ID, func(r *apikey.Record) { r.Active = true })
		time.Sleep(time.Second - time.Nanosecond)
		invalid.check(t, r.get(with(key)))
		time.Sleep(time.Nanosecond)
		welcome.check(t, r.get(with(key)))
		// Or until an eviction.
		r.edit(record.ID, func(r *apikey.Record) { r.Active = false })
		r.keys.Evict(record.ID)
		invalid.check(t, r.get(with(key)))
		r.edit(record.ID, func(r *apikey.Record) { r.Active = true })
		r.keys.Evict(record.ID)
		welcome.check(t, r.get(with(key)))
	})
}

func TestWithoutMemoryTheStoreIsAskedEachTime(t *testing.T) {
	r := open(t, apikey.Config{CacheTTL: -1, MissTTL: -1})
	key, _ := r.issue(nil)
	bad := wrongSecret(t, key)
	for range 3 {
		welcome.check(t, r.get(with(key)))
		invalid.check(t, r.get(with(bad)))
	}
	if n := r.store.asked.Load(); n != 6 {
		t.Errorf("the store was asked %d times, want 6", n)
	}
	r.keys.Evict("nothing is remembered")
}

// However many keys come, there are so many places; and refused ones push no
// good one out.
func TestTheMemoryIsBounded(t *testing.T) {
	r := open(t, apikey.Config{CacheSize: 4, CacheTTL: 5 * time.Minute})
	var keys []string
	for range 40 {
		key, _ := r.issue(nil)
		keys = append(keys, key)
		welcome.check(t, r.get(with(key)))
	}
	asked := r.store.asked.Load()
	for _, key := range keys {
		welcome.check(t, r.get(with(key)))
	}
	if n := r.store.asked.Load() - asked; n < 36 {
		t.Errorf("%d of 40 keys were remembered in 4 places", 40-n)
	}
	good := keys[0]
	welcome.check(t, r.get(with(good)))
	asked = r.store.asked.Load()
	for i := range 1000 {
		invalid.check(t, r.get(with(resum(good[:len(good)-10]+fmt.Sprintf("%04d000000", i)))))
	}
	if n := r.store.asked.Load() - asked; n < 990 {
		t.Errorf("a wrong secret was answered from memory: %d questions for 1000", n)
	}
	asked = r.store.asked.Load()
	welcome.check(t, r.get(with(good)))
	if n := r.store.asked.Load() - asked; n != 0 {
		t.Error("refused keys pushed a good one out")
	}
}

// Handlers get copies: what one does to its record or principal, no other sees.
func TestWhatHandlersChangeStaysTheirs(t *testing.T) {
	r := open(t, apikey.Config{})
	key, _ := r.issue(func(r *apikey.Record) {
		r.AllowedPrefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	h := r.keys.Handler(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		p, _ := identity.FromContext(q.Context())
		record, err := r.keys.Record(q.Context())
		if err != nil {
			t.Error(err)
			return
		}
		if p.Tenant != "math" || record.Name != "backup job" || record.AllowedPrefixes[0].Bits() != 24 || record.Scopes.Len() != 2 {
			t.Errorf("somebody else's change: %v, %v, %v", p, record.Name, record.AllowedPrefixes)
		}
		p.Tenant, p.Roles = "mine", identity.NewSet("admin")
		record.Name, record.Active = "mine", false
		record.AllowedPrefixes[0] = netip.MustParsePrefix("0.0.0.0/0")
		record.Scopes = record.Scopes.With("everything")
	}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if w := send(h, request("/", with(key))); w.Code != 200 {
					t.Errorf("%d", w.Code)
				}
			}
		})
	}
	wg.Wait()
}

// Nor does a store that goes on changing what it has returned.
func TestWhatStoresChangeStaysTheirs(t *testing.T) {
	r := open(t, apikey.Config{})
	key, kept := r.issue(nil)
	kept.AllowedPrefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	a := must(apikey.New(storeFunc(func(context.Context, string) (*apikey.Record, error) { return &kept, nil }),
		apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}}))
	if _, err := a.Verify(t.Context(), key, "192.0.2.1:1"); err != nil {
		t.Fatal(err)
	}
	kept.AllowedPrefixes[0] = netip.MustParsePrefix("0.0.0.0/0")
	kept.Owner = "mallory"
	if p, err := a.Verify(t.Context(), key, "192.0.2.1:1"); err != nil || p.Subject != "ada" {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := a.Verify(t.Context(), key, "198.51.100.1:1"); !errors.Is(err, apikey.ErrAddress) {
		t.Errorf("%v", err)
	}
}

func TestRecord(t *testing.T) {
	for name, ttl := range map[string]time.Duration{"remembered": time.Minute, "not remembered": -1} {
		t.Run(name, func(t *testing.T) {
			r := open(t, apikey.Config{CacheTTL: ttl})
			key, issued := r.issue(nil)
			var got apikey.Record
			h := r.keys.Handler(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				for range 3 {
					var err error
					if got, err = r.keys.Record(q.Context()); err != nil {
						t.Error(err)
					}
				}
			}))
			send(h, request("/", with(key)))
			if got.ID != issued.ID || got.Name != "backup job" || got.Limits != "5/minute" {
				t.Errorf("%+v", got)
			}
			want := int64(1) // the cache has it
			if ttl < 0 {
				want = 2 // once more for the handler, however often it asks
			}
			if n := r.store.asked.Load(); n != want {
				t.Errorf("the store was asked %d times, want %d", n, want)
			}
		})
	}
	r := open(t, apikey.Config{})
	for name, ctx := range map[string]context.Context{
		"nobody":             t.Context(),
		"a caller by token":  identity.NewContext(t.Context(), &identity.Principal{Issuer: "tokens", Subject: "ada"}),
		"a key of elsewhere": identity.NewContext(t.Context(), &identity.Principal{Issuer: "apikey:other", Credential: "x"}),
	} {
		if got, err := r.keys.Record(ctx); err != apikey.ErrNoKey || got.ID != "" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	ours := identity.NewContext(t.Context(), &identity.Principal{Issuer: "apikey:acme", Credential: "x"})
	if _, err := r.keys.Record(ours); err == nil || errors.Is(err, apikey.ErrNoKey) {
		t.Errorf("a key that is gone: %v", err)
	}
	a := must(apikey.New(storeFunc(func(context.Context, string) (*apikey.Record, error) { return nil, nil }),
		apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}}))
	if _, err := a.Record(ours); err == nil {
		t.Error("neither a record nor an error was taken for a record")
	}
}

func TestFastAPIStatusCodes(t *testing.T) {
	r := open(t, apikey.Config{FastAPIStatusCodes: true})
	key, _ := r.issue(nil)
	body := func(code, detail string) want {
		return want{403, "", "", `{"title":"Forbidden","status":403,"code":"` + code + `","detail":"` + detail + `"}` + "\n"}
	}
	body("unauthenticated", "API key required").check(t, r.get())
	for _, bad := range []string{"", "x", other(key, 20), wrongSecret(t, key)} {
		body("invalid_token", "Invalid API key").check(t, r.get(with(bad)))
	}
	if r.next.ran() != 0 {
		t.Error("next ran")
	}
	welcome.check(t, r.get(with(key)))
	several.check(t, r.get(with(key), with(key)))
	// A caller who came by other means has no key.
	h := guard.Hooks{}.Identify(bearer{})(r.handler)
	body("unauthenticated", "API key required").check(t, send(h, request("/", "Authorization: Bearer x")))
	if got := r.events.names(); !strings.HasPrefix(got, "authn_token_created authz_fail authn_login_fail ") {
		t.Errorf("events: %s", got)
	}
}

func TestHandlerTakesKeysOnly(t *testing.T) {
	r := open(t, apikey.Config{Realm: "vault"})
	h := guard.Hooks{}.Identify(bearer{})(r.handler)
	w := send(h, request("/", "Authorization: Bearer x"))
	if w.Code != 401 || w.Header().Get("WWW-Authenticate") != `ApiKey realm="vault"` || r.next.ran() != 0 {
		t.Errorf("%d %q", w.Code, w.Header())
	}
	key, _ := r.issue(nil)
	welcome.check(t, send(h, request("/", with(key))))
}

func TestTheLedgerSeesTheGuard(t *testing.T) {
	r := open(t, apikey.Config{})
	guide := open(t, apikey.Config{FastAPIStatusCodes: true})
	static := must(apikey.NewStatic(apikey.StaticConfig{}, apikey.StaticKey{Name: "cron", Key: apikey.NewSecret("0123456789abcdef")}))
	for _, h := range []http.Handler{r.handler, guide.handler, static.Handler(r.next)} {
		if got := fmt.Sprint(guard.Requirements(h)); got != "[scheme ApiKey]" {
			t.Errorf("the ledger has %s", got)
		}
	}
	hooks := guard.Hooks{}
	mux := guard.NewMux(hooks, bearer{}, r.keys)
	mux.Handle("GET /protected/", hooks.Accept(r.keys)(r.next))
	key, _ := r.issue(nil)
	welcome.check(t, send(mux, request("/protected/", with(key))))
	if w := send(mux, request("/protected/", "Authorization: Bearer x")); w.Code != 401 {
		t.Errorf("%d", w.Code)
	}
}

func TestTheQueryParameterIsStripped(t *testing.T) {
	r := open(t, apikey.Config{InsecureQueryParameter: "api_key"})
	key, _ := r.issue(nil)
	tests := []struct{ name, target, want string }{
		{"alone", "/a?api_key=" + key, "/a /a"},
		{"first", "/a?api_key=" + key + "&b=1", "/a?b=1 /a?b=1"},
		{"last", "/a?b=%201&c&api_key=" + key, "/a?b=%201&c /a?b=%201&c"},
		{"between", "/a%2Fb?b=1&api_key=" + key + "&c=2", "/a%2Fb?b=1&c=2 /a%2Fb?b=1&c=2"},
		{"its name in other bytes", "/a?%61pi_key=" + key, "/a /a"},
		{"after a semicolon", "/a?b=1;api_key=" + key, "/a /a"},
		{"others whose names are alike", "/a?api_keys=x&api_key=" + key + "&API_KEY=y", "/a?api_keys=x&API_KEY=y /a?api_keys=x&API_KEY=y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := request(tt.target)
			before := *q.URL
			welcome.check(t, send(r.handler, q))
			if got := r.next.urls[len(r.next.urls)-1]; got != tt.want {
				t.Errorf("next saw %s, want %s", got, tt.want)
			}
			if *q.URL != before {
				t.Error("the URL of who stands outside was changed")
			}
		})
	}
	t.Run("parsed already", func(t *testing.T) {
		q := request("/a?b=1&api_key=" + key)
		q.ParseForm()
		h := r.keys.Handler(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Form.Has("api_key") || q.FormValue("b") != "1" || q.URL.Query().Has("api_key") {
				t.Errorf("next saw %v, %v", q.Form, q.URL)
			}
		}))
		if w := send(h, q); w.Code != 200 || !q.Form.Has("api_key") {
			t.Errorf("%d, and outside is %v", w.Code, q.Form)
		}
	})
	t.Run("not asked for", func(t *testing.T) {
		off := open(t, apikey.Config{})
		key, _ := off.issue(nil)
		missing.check(t, send(off.handler, request("/?api_key="+key)))
	})
}

func FuzzQueryParameter(f *testing.F) {
	for _, seed := range []string{"", "api_key=x", "a=1&api_key=x&b", "api_key", "%61pi_key=%zz", "a;api_key=1;b", "&&==&api_key&", "api_key=a%00b"} {
		f.Add(seed)
	}
	var seen string
	a := must(apikey.New(new(apikey.Memory), apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}, InsecureQueryParameter: "api_key"}))
	h := guard.Hooks{}.Identify(a)(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { seen = q.URL.RawQuery }))
	f.Fuzz(func(t *testing.T, query string) {
		q := httptest.NewRequest("GET", "/", nil)
		q.URL.RawQuery = query
		seen = "next did not run"
		w := send(h, q)
		// What the standard library finds, we find: such a request is never
		// anonymous. What we let through is as it was.
		if values, _ := url.ParseQuery(query); values.Has("api_key") && w.Code == 200 {
			t.Fatalf("%q passed", query)
		}
		if w.Code == 200 && seen != query {
			t.Fatalf("%q became %q", query, seen)
		}
		if w.Code != 200 && w.Code != 400 && w.Code != 401 {
			t.Fatalf("%q: %d", query, w.Code)
		}
		// And the next authenticator or handler does not find it either.
		if err := second(a.Authenticate(q)); err != guard.ErrNoCredentials {
			if values, _ := url.ParseQuery(q.URL.RawQuery); values.Has("api_key") {
				t.Fatalf("%q is left of %q", q.URL.RawQuery, query)
			}
		}
	})
}

func TestAnotherHeader(t *testing.T) {
	r := open(t, apikey.Config{Header: "x-acme-key"})
	key, _ := r.issue(nil)
	welcome.check(t, r.get("X-Acme-Key: "+key))
	missing.check(t, r.get(with(key)))
}

func TestVerifyIsTheDecisionWithoutARequest(t *testing.T) {
	r := open(t, apikey.Config{})
	key, record := r.issue(nil)
	p, err := r.keys.Verify(t.Context(), key, "")
	if err != nil || p.Credential != record.ID {
		t.Errorf("%v, %v", p, err)
	}
	p, err = r.keys.Verify(t.Context(), wrongSecret(t, key), "")
	if p != nil || !errors.Is(err, apikey.ErrInvalid) || !errors.Is(err, apikey.ErrSecret) || errors.Is(err, apikey.ErrRevoked) {
		t.Errorf("%v, %v", p, err)
	}
}

func TestAGoodKeyAllocatesItsPrincipalOnly(t *testing.T) {
	r := open(t, apikey.Config{})
	key, _ := r.issue(nil)
	q := request("/", with(key))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.keys.Authenticate(q); err != nil {
			t.Fatal(err)
		}
	}); n > 1.5 {
		t.Errorf("a good key: %v allocations", n)
	}
	q = request("/", with(other(key, 30)))
	if n := testing.AllocsPerRun(100, func() { r.keys.Authenticate(q) }); n > 1 {
		t.Errorf("junk: %v allocations", n)
	}
}

func TestSecretsPrintWithoutTheSecret(t *testing.T) {
	r := open(t, apikey.Config{})
	key, record, err := r.manager.Issue(t.Context(), maker, apikey.Spec{Owner: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	shown := "acme_live_" + record.ID + "_[redacted]"
	if key.String() != shown || apikey.NewSecret("x").String() != "[redacted]" || (apikey.Secret{}).String() != "[redacted]" {
		t.Errorf("shown as %s", key)
	}
	if (apikey.Secret{}).Plain() != "" || apikey.NewSecret("x").Plain() != "x" {
		t.Error("Plain is something else")
	}
	type hidden struct{ secret apikey.Secret }
	type pair struct {
		Key    apikey.Secret
		Record apikey.Record
		Pepper apikey.Pepper
		Hash   apikey.Hash
		hidden hidden
	}
	all := pair{key, record, pepper1, record.Hash, hidden{key}}
	var out strings.Builder
	for _, v := range []any{key, &key, all, &all, record, &record, record.Hash, pepper1, []any{all}, map[string]any{"k": key}, hidden{key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	logger := slog.New(slog.NewJSONHandler(&out, nil))
	logger.Info("x", "key", key, "all", all, "record", record, "hash", record.Hash, "pepper", pepper1)
	for _, v := range []any{key, all, record, record.Hash, pepper1} {
		io.WriteString(&out, must(jsonOf(v)))
	}
	for name, part := range map[string]string{
		"the secret": key.Plain()[23:66], "the secret in hex": fmt.Sprintf("%x", key.Plain()[23:66]),
		"the hash": string(record.Hash), "the hash in hex": fmt.Sprintf("%x", string(record.Hash)),
		"the pepper": string(pepper1.Secret.Bytes()), "the pepper in hex": strings.Repeat("01", 32), "the pepper in base64": "AQEBAQ",
	} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(part)) {
			t.Errorf("%s is printed", name)
		}
	}
	if !strings.Contains(out.String(), shown) {
		t.Error("what may be shown is not")
	}
}
