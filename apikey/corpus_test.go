package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// The attacks and faults that the package must stand, by their numbers.

func TestEmptyAndAbsurdKeysAreRefusedWithoutTheStore(t *testing.T) {
	r := open(t, apikey.Config{LegacyHash: legacyHash})
	good, _ := r.issue(nil)
	tests := []struct{ name, key string }{
		{"an empty header", ""},
		{"a space", " "},
		{"many spaces", strings.Repeat(" ", 72)},
		{"64 kB", strings.Repeat("a", 64<<10)},
		{"64 kB after a good key", good + strings.Repeat("a", 64<<10)},
		{"a character beyond ASCII", "acme_live_ключ"},
		{"a NUL", good[:20] + "\x00" + good[21:]},
		{"a NUL at the end", good + "\x00"},
		{"a line break at the end", good + "\n"},
		{"a space in the middle", good[:20] + " " + good[21:]},
		{"a space in front", " " + good},
		{"a comma and another key", good + "," + good},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := request("/")
			q.Header["X-Api-Key"] = []string{tt.key}
			invalid.check(t, send(r.handler, q))
			if err := r.events.last(); !errors.Is(err, apikey.ErrMalformed) {
				t.Errorf("the event says %v", err)
			}
			q = request("/")
			q.Header["Authorization"] = []string{"ApiKey " + tt.key}
			if tt.name != "a space in front" { // any number stands between scheme and key
				invalid.check(t, send(r.handler, q))
			}
		})
	}
	if n := r.store.asked.Load(); n != 0 || r.next.ran() != 0 {
		t.Errorf("the store was asked %d times, next ran %d times", n, r.next.ran())
	}
	if _, err := apikey.NewStatic(apikey.StaticConfig{}, apikey.StaticKey{Name: "unset", Key: apikey.NewSecret("")}); err == nil {
		t.Error("an empty configured key was taken")
	}
}

func TestAMillionRandomKeysDoNotReachTheStore(t *testing.T) {
	r := open(t, apikey.Config{})
	random := rand.New(rand.NewPCG(1, 2))
	key := []byte("acme_live_000000000000_" + strings.Repeat("0", 49))
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for range 1_000_000 {
		for i := len("acme_live_"); i < len(key); {
			for n := random.Uint64(); n > 62 && i < len(key); n /= 62 {
				if key[i] != '_' {
					key[i] = digits[n%62]
				}
				i++
			}
		}
		if _, err := r.keys.Verify(t.Context(), string(key), ""); !errors.Is(err, apikey.ErrMalformed) {
			t.Fatalf("%s: %v", key, err)
		}
	}
	if n := r.store.asked.Load(); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
}

func TestAWrongChecksumPrefixOrEnvironmentDoesNotReachTheStore(t *testing.T) {
	r := open(t, apikey.Config{})
	good, _ := r.issue(nil)
	for i := range good {
		invalid.check(t, r.get(with(other(good, i))))
	}
	for _, key := range []string{
		"acne" + good[4:], "acme_test" + good[9:], "ACME" + good[4:], good[:len(good)-1], good + "0", good[1:],
		resum("acne" + good[4:]), resum("acme_test" + good[9:]), resum("acme-live-" + good[10:]),
	} {
		invalid.check(t, r.get(with(key)))
	}
	if n := r.store.asked.Load(); n != 0 || r.next.ran() != 0 {
		t.Errorf("the store was asked %d times, next ran %d times", n, r.next.ran())
	}
	welcome.check(t, r.get(with(good)))
}

// Each of these is refused with the same answer, after one question to the
// store, one comparison and one settlement with the throttle; and, repeated at
// once, after none.
func TestRefusalsDoNotDiffer(t *testing.T) {
	hour := time.Hour
	tests := []struct {
		name string
		edit func(*apikey.Record)
		want error
		key  func(t *testing.T, good string) string
	}{
		{"unknown", nil, apikey.ErrUnknown, func(t *testing.T, _ string) string {
			stranger, _ := open(t, apikey.Config{}).issue(nil)
			return stranger
		}},
		{"wrong secret", nil, apikey.ErrSecret, func(t *testing.T, good string) string { return wrongSecret(t, good) }},
		{"revoked", func(r *apikey.Record) { r.RevokedAt = time.Now().Add(-hour) }, apikey.ErrRevoked, nil},
		{"revoked by a clock that is ahead", func(r *apikey.Record) { r.RevokedAt = time.Now().Add(hour) }, apikey.ErrRevoked, nil},
		{"expired", func(r *apikey.Record) { r.ExpiresAt = time.Now().Add(-hour) }, apikey.ErrExpired, nil},
		{"not valid yet", func(r *apikey.Record) { r.NotBefore = time.Now().Add(hour) }, apikey.ErrTooEarly, nil},
		{"switched off", func(r *apikey.Record) { r.Active = false }, apikey.ErrInactive, nil},
		{"past its grace", func(r *apikey.Record) { r.Successor, r.GraceUntil = "x", time.Now().Add(-hour) }, apikey.ErrRotated, nil},
		{"replaced without a grace", func(r *apikey.Record) { r.Successor = "x" }, apikey.ErrRotated, nil},
		{"past a grace without a successor", func(r *apikey.Record) { r.GraceUntil = time.Now().Add(-hour) }, apikey.ErrRotated, nil},
		{"hashed with a pepper that is gone", func(r *apikey.Record) { r.PepperID = "gone" }, apikey.ErrPepper, nil},
		{"hashed with another pepper than it says", func(r *apikey.Record) { r.PepperID = "two" }, apikey.ErrSecret, nil},
		{"a record without a hash", func(r *apikey.Record) { r.Hash = "" }, apikey.ErrSecret, nil},
		{"a record of a legacy key", func(r *apikey.Record) { r.PepperID = "" }, apikey.ErrPepper, nil},
		{"of another environment than it says", func(r *apikey.Record) { r.Environment = "test" }, apikey.ErrEnvironment, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			throttle := new(throttle)
			r := open(t, apikey.Config{Throttle: throttle, Peppers: []apikey.Pepper{pepper1, pepper2}})
			key, _ := r.issue(tt.edit)
			if tt.key != nil {
				key = tt.key(t, key)
			}
			for range 2 {
				invalid.check(t, r.get(with(key)))
				if err := r.events.last(); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), key[10:22]) {
					t.Errorf("the event says %v, want %v and the ID", err, tt.want)
				}
			}
			if n := r.store.asked.Load(); n != 1 {
				t.Errorf("the store was asked %d times, want once", n)
			}
			if got := throttle.String(); got != "2 reserved, 2 failed, 0 given back" {
				t.Error(got)
			}
			if r.next.ran() != 0 {
				t.Error("next ran")
			}
		})
	}
}

func TestKeysInTwoPlacesAreRefused(t *testing.T) {
	r := open(t, apikey.Config{InsecureQueryParameter: "api_key"})
	key, _ := r.issue(nil)
	tests := []struct {
		name, target string
		lines        []string
		want         want
	}{
		{"one header", "/", []string{with(key)}, welcome},
		{"one Authorization", "/", []string{"Authorization: ApiKey " + key}, welcome},
		{"the scheme in other letters", "/", []string{"Authorization: aPIkEY   " + key}, welcome},
		{"one parameter", "/?api_key=" + key, nil, welcome},
		{"another scheme beside it", "/", []string{with(key), "Authorization: Negotiate abc"}, welcome},
		{"the header twice", "/", []string{with(key), with(key)}, several},
		{"the header and an empty one", "/", []string{with(key), with("")}, several},
		{"the header and Authorization", "/", []string{with(key), "Authorization: ApiKey " + key}, several},
		{"the header and a bare Authorization", "/", []string{with(key), "Authorization: ApiKey"}, several},
		{"the header and a parameter", "/?api_key=" + key, []string{with(key)}, several},
		{"the header and an empty parameter", "/?api_key", []string{with(key)}, several},
		{"the parameter twice", "/?api_key=" + key + "&api_key=" + key, nil, several},
		{"Authorization and a parameter", "/?api_key=" + key, []string{"Authorization: ApiKey " + key}, several},
		{"no key", "/", nil, missing},
		{"another scheme", "/", []string{"Authorization: Bearer " + key}, missing},
		{"a scheme that begins alike", "/", []string{"Authorization: ApiKeys " + key}, missing},
		{"a bare scheme", "/", []string{"Authorization: ApiKey"}, invalid},
		{"a tab after the scheme", "/", []string{"Authorization: ApiKey\t" + key}, invalid},
		{"an empty parameter", "/?api_key=", nil, invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := r.next.ran()
			tt.want.check(t, send(r.handler, request(tt.target, tt.lines...)))
			if ran := r.next.ran() - before; (ran == 1) != (tt.want.status == 200) {
				t.Errorf("next ran %d times", ran)
			}
		})
	}
	t.Run("two Authorization lines", func(t *testing.T) {
		for _, lines := range [][]string{
			{"Authorization: ApiKey " + key, "Authorization: ApiKey " + key},
			{"Authorization: ApiKey " + key, "Authorization: Bearer x"},
			{"Authorization: Bearer x", "Authorization: ApiKey " + key},
		} {
			if w := r.get(lines...); w.Code != 400 {
				t.Errorf("%q: %d", lines, w.Code)
			}
			// And without guard in front.
			d, ok := errors.AsType[*guard.Denial](second(r.keys.Authenticate(request("/", lines...))))
			if !ok || d.Status != 400 {
				t.Errorf("%q: %v", lines, d)
			}
		}
	})
	t.Run("a key beside a bearer token", func(t *testing.T) {
		h := guard.Hooks{}.Identify(r.keys, bearer{})(r.next)
		if w := send(h, request("/", with(key), "Authorization: Bearer x")); w.Code != 400 {
			t.Errorf("%d", w.Code)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// bearer takes every bearer token for bob's.
type bearer struct{}

func (bearer) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }
func (bearer) Authenticate(r *http.Request) (*identity.Principal, error) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		return nil, guard.ErrNoCredentials
	}
	return &identity.Principal{Issuer: "tokens", Subject: "bob"}, nil
}

func TestATestKeyIsNothingOnALiveRoute(t *testing.T) {
	store := new(counted)
	all := openOn(t, store, apikey.Config{Format: both})
	live := openOn(t, store, apikey.Config{Format: acme})
	key, record, err := all.manager.Issue(t.Context(), maker, apikey.Spec{Owner: "ada", Environment: "test"})
	if err != nil || record.Environment != "test" || !strings.HasPrefix(key.Plain(), "acme_test_") {
		t.Fatal(key, record, err)
	}
	invalid.check(t, live.get(with(key.Plain())))
	if n := store.asked.Load(); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
	welcome.check(t, all.get(with(key.Plain())))
	// Nor is its secret good under another head.
	invalid.check(t, all.get(with(resum("acme_live_"+key.Plain()[10:]))))
	// Not even to be rotated there.
	if _, _, err := live.manager.Rotate(t.Context(), maker, record.ID, 0); !errors.Is(err, apikey.ErrNotRotatable) {
		t.Errorf("rotated on live: %v", err)
	}
}

func TestAKeyEndsAtItsMomentWhileItIsRemembered(t *testing.T) {
	tests := []struct {
		name string
		edit func(r *apikey.Record, end time.Time)
		want error
	}{
		{"expiry", func(r *apikey.Record, end time.Time) { r.ExpiresAt = end }, apikey.ErrExpired},
		{"grace", func(r *apikey.Record, end time.Time) { r.Successor, r.GraceUntil = "x", end }, apikey.ErrRotated},
		{"grace, with a later expiry", func(r *apikey.Record, end time.Time) {
			r.Successor, r.GraceUntil, r.ExpiresAt = "x", end, end.Add(time.Hour)
		}, apikey.ErrRotated},
		{"expiry, with a later grace", func(r *apikey.Record, end time.Time) {
			r.Successor, r.ExpiresAt, r.GraceUntil = "x", end, end.Add(time.Hour)
		}, apikey.ErrExpired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, apikey.Config{CacheTTL: time.Minute})
				end := time.Now().Add(10 * time.Second)
				key, _ := r.issue(func(r *apikey.Record) { tt.edit(r, end) })
				welcome.check(t, r.get(with(key)))
				if got := r.next.last().Expires; !got.Equal(end) {
					t.Errorf("the principal expires at %v, want %v", got, end)
				}
				time.Sleep(10*time.Second - time.Nanosecond)
				welcome.check(t, r.get(with(key)))
				time.Sleep(time.Nanosecond)
				invalid.check(t, r.get(with(key)))
				if err := r.events.last(); !errors.Is(err, tt.want) {
					t.Errorf("the event says %v", err)
				}
				if n := r.store.asked.Load(); n != 1 {
					t.Errorf("the store was asked %d times, want once: this is about what is remembered", n)
				}
			})
		})
	}
}

func TestAChangeElsewhereIsSeenWithinTheStatedTime(t *testing.T) {
	changes := []struct {
		name string
		edit func(*apikey.Record)
	}{
		{"revoked", func(r *apikey.Record) { r.RevokedAt = time.Now() }},
		{"switched off", func(r *apikey.Record) { r.Active = false }},
		{"rotated", func(r *apikey.Record) { r.Successor = "x" }},
	}
	for _, tt := range changes {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, apikey.Config{})
				key, record := r.issue(nil)
				welcome.check(t, r.get(with(key)))
				r.edit(record.ID, tt.edit)
				time.Sleep(5*time.Second - time.Nanosecond)
				welcome.check(t, r.get(with(key)))
				time.Sleep(time.Nanosecond)
				invalid.check(t, r.get(with(key)))
			})
		})
		t.Run(tt.name+", and evicted", func(t *testing.T) {
			r := open(t, apikey.Config{})
			key, record := r.issue(nil)
			welcome.check(t, r.get(with(key)))
			r.edit(record.ID, tt.edit)
			r.keys.Evict("another")
			welcome.check(t, r.get(with(key)))
			r.keys.Evict(record.ID)
			invalid.check(t, r.get(with(key)))
		})
	}
	t.Run("told by the Revoker", func(t *testing.T) {
		revoked := new(revoker)
		store := new(counted)
		here, there := openOn(t, store, apikey.Config{Revoker: revoked}), openOn(t, store, apikey.Config{Revoker: revoked})
		manager := must(apikey.NewManager(here.keys, store, apikey.ManagerConfig{Revoker: revoked}))
		key, record := here.issue(nil)
		welcome.check(t, there.get(with(key)))
		if err := manager.Revoke(t.Context(), record.ID); err != nil {
			t.Fatal(err)
		}
		invalid.check(t, there.get(with(key)))
		invalid.check(t, here.get(with(key)))
		if got := revoked.last(); got.Issuer != "apikey:acme" || got.Credential != record.ID || time.Until(got.Expires) < 5*time.Minute {
			t.Errorf("revoked %+v", got)
		}
	})
}

func TestAHundredRotationsMakeOneSuccessor(t *testing.T) {
	r := open(t, apikey.Config{})
	key, record := r.issue(nil)
	const calls = 100
	var wg sync.WaitGroup
	secrets := make(chan string, calls)
	losers := make(chan error, calls)
	start := make(chan struct{})
	for range calls {
		wg.Go(func() {
			<-start
			secret, _, err := r.manager.Rotate(context.Background(), maker, record.ID, time.Hour)
			if err != nil {
				losers <- err
				return
			}
			secrets <- secret.Plain()
		})
	}
	close(start)
	wg.Wait()
	close(losers)
	for err := range losers {
		if !errors.Is(err, apikey.ErrAlreadyRotated) {
			t.Errorf("a loser was told %v", err)
		}
	}
	if len(secrets) != 1 {
		t.Fatalf("%d successors", len(secrets))
	}
	all, err := r.manager.List(t.Context(), "ada")
	if err != nil || len(all) != 2 {
		t.Fatalf("%d keys in the store (%v), want the old one and its successor", len(all), err)
	}
	welcome.check(t, r.get(with(<-secrets)))
	welcome.check(t, r.get(with(key)))
}

func TestUsesAreWrittenOnceAMinuteAndNoneIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		first, one := r.issue(nil)
		second, two := r.issue(nil)
		q1, q2 := request("/", with(first)), request("/", with(second))
		// Five minutes, a thousand requests in each second.
		for range 300 {
			for range 1000 {
				if _, err := r.keys.Authenticate(q1); err != nil {
					t.Fatal(err)
				}
			}
			r.keys.Authenticate(q2)
			time.Sleep(time.Second)
		}
		if n := r.store.batches.Load(); n < 4 || n > 5 {
			t.Errorf("%d batches in five minutes", n)
		}
		last := make(map[string]time.Time)
		for _, use := range r.store.uses {
			if before, ok := last[use.ID]; ok && use.At.Sub(before) < time.Minute {
				t.Errorf("%s was written at %v and at %v", use.ID, before, use.At)
			}
			last[use.ID] = use.At
		}
		r.keys.Authenticate(q1)
		now := time.Now()
		if err := r.keys.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := r.store.Memory.KeyByID(t.Context(), one.ID); !got.LastUsedAt.Equal(now) {
			t.Errorf("the first was last used at %v, want %v", got.LastUsedAt, now)
		}
		if got, _ := r.store.Memory.KeyByID(t.Context(), two.ID); !got.LastUsedAt.Equal(now.Add(-time.Second)) {
			t.Errorf("the second was last used at %v, want a second before %v", got.LastUsedAt, now)
		}
		before := r.store.batches.Load()
		if err := r.keys.Flush(t.Context()); err != nil || r.store.batches.Load() != before {
			t.Errorf("nothing to write was written (%v)", err)
		}
	})
}

func TestWhoHasTheDatabaseAndNoPepperHasNoKey(t *testing.T) {
	victim := open(t, apikey.Config{})
	key, record := victim.issue(nil)
	// The thief runs the same program on the dump, with a pepper of their own
	// that has the same name.
	thief := openOn(t, victim.store, apikey.Config{Peppers: []apikey.Pepper{{ID: "one", Secret: pepper2.Secret}}})
	invalid.check(t, thief.get(with(key)))
	// Nothing in the record is a key, or makes one.
	dump := fmt.Sprintf("%q %q", string(record.Hash), record.ID)
	for _, part := range []string{key, key[23:66], key[23:]} {
		if strings.Contains(dump, part) {
			t.Errorf("the dump has %q", part)
		}
	}
	if record.Hash == legacyHash(key) {
		t.Error("the hash is made without a pepper")
	}
	invalid.check(t, victim.get(with(string(record.Hash))))
	welcome.check(t, victim.get(with(key)))
}

func TestTheKeyIsInNoLogErrorOrURL(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	observed := guard.Log(logger)
	var store counted
	r := openOn(t, &store, apikey.Config{
		Hooks: guard.Hooks{Observe: func(ctx context.Context, e guard.Event) {
			observed(ctx, e)
			fmt.Fprintf(&log, "%v %+v %#v\n", e, e, e)
			if e.Denial != nil {
				fmt.Fprintf(&log, "%v %+v %#v %v\n", e.Denial, *e.Denial, e.Denial, e.Denial.Err)
			}
		}},
		InsecureQueryParameter: "api_key",
		Peppers:                []apikey.Pepper{pepper1},
	})
	key, record := r.issue(nil)
	bad := wrongSecret(t, key)
	for _, k := range []string{key, bad, other(key, 40), key + "x"} {
		for _, q := range []*http.Request{
			request("/", with(k)), request("/", "Authorization: ApiKey "+k), request("/a?api_key=" + k + "&b=c"),
			request("/", with(k), with(k)),
		} {
			fmt.Fprintln(&log, send(r.handler, q).Body)
		}
	}
	store.set(errors.New("down"), nil)
	r.keys.Evict(record.ID)
	fmt.Fprintln(&log, r.get(with(key)).Body)
	store.set(nil, func(context.Context) error { panic("the store panics") })
	func() {
		defer func() { fmt.Fprintln(&log, recover()) }()
		r.get(with(key))
	}()
	store.set(nil, nil)
	secret, next, err := r.manager.Rotate(t.Context(), maker, record.ID, 0)
	fmt.Fprintf(&log, "%v %+v %#v %v %+v %#v %v\n", secret, secret, secret, next, next, next, err)
	for _, verb := range []string{"%v", "%+v", "%s", "%q", "%x"} {
		fmt.Fprintf(&log, verb+verb+"\n", r.keys, *r.manager)
	}
	logger.Info("issued", "key", secret, "record", next, "pepper", pepper1)
	fmt.Fprintln(&log, strings.Join(r.next.urls, "\n"))
	for name, part := range map[string]string{
		"the key": key[23:66], "the bad key": bad[23:66], "the successor": secret.Plain()[23:66],
		"the hash": string(record.Hash), "the pepper": string(pepper1.Secret.Bytes()), "the pepper in numbers": "1 1 1 1 1 1 1 1",
	} {
		if i := strings.Index(log.String(), part); i >= 0 {
			t.Errorf("%s is in the log: %.300q", name, log.String()[max(0, i-200):])
		}
	}
	if !strings.Contains(log.String(), record.ID) {
		t.Error("the log does not name the key")
	}
}

func TestNetworksAreThoseOfTheRemoteAddr(t *testing.T) {
	tests := []struct {
		name, network, remote string
		allowed               bool
	}{
		{"inside", "192.0.2.0/24", "192.0.2.7:1234", true},
		{"outside", "192.0.2.0/24", "192.0.3.7:1234", false},
		{"IPv4 in IPv6", "192.0.2.0/24", "[::ffff:192.0.2.7]:1234", true},
		{"IPv4 in IPv6, in other digits", "192.0.2.0/24", "[::ffff:c000:207]:1234", true},
		{"IPv4 in IPv6 outside", "192.0.2.0/24", "[::ffff:192.0.3.7]:1234", false},
		{"a network of IPv4 in IPv6", "::ffff:192.0.2.0/120", "192.0.2.7:1234", true},
		{"a network of IPv4 in IPv6, outside", "::ffff:192.0.2.0/120", "192.0.3.7:1234", false},
		{"IPv6 that only looks like it", "192.0.2.0/24", "[2001:db8::192.0.2.7]:1234", false},
		{"all of IPv6 is not IPv4", "::/0", "192.0.2.7:1234", false},
		{"IPv6", "2001:db8::/32", "[2001:db8::1]:1234", true},
		{"IPv6 with a zone", "fe80::/10", "[fe80::1%eth0]:1234", true},
		{"without a port", "192.0.2.0/24", "192.0.2.7", true},
		{"a single address", "192.0.2.7/32", "192.0.2.7:1", true},
		{"a UNIX socket", "0.0.0.0/0", "@", false},
		{"no address", "0.0.0.0/0", "", false},
		{"a name", "127.0.0.0/8", "localhost:1234", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := open(t, apikey.Config{})
			key, _ := r.issue(func(r *apikey.Record) {
				r.AllowedPrefixes = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix(tt.network)}
			})
			want := forbidden
			if tt.allowed {
				want = welcome
			}
			for range 2 { // from the store and from memory
				// What clients say about themselves does not count.
				q := request("/", with(key), "X-Forwarded-For: 203.0.113.1", "Forwarded: for=203.0.113.1", "X-Real-Ip: 203.0.113.1")
				q.RemoteAddr = tt.remote
				want.check(t, send(r.handler, q))
			}
			if !tt.allowed && !errors.Is(r.events.last(), apikey.ErrAddress) {
				t.Errorf("the event says %v", r.events.last())
			}
			if tt.allowed != (r.next.ran() == 2) {
				t.Errorf("next ran %d times", r.next.ran())
			}
		})
	}
}

func TestAStoreThatDoesNotAnswerIs503(t *testing.T) {
	down := errors.New("connection refused")
	tests := []struct {
		name string
		err  error
		want want
	}{
		{"down", down, unavailable},
		{"a denial of its own", guard.InvalidToken("Bearer", down), unavailable},
		{"no credentials of its own", guard.ErrNoCredentials, unavailable},
		{"inactive of its own", guard.ErrInactive, unavailable},
		{"our own reason", apikey.ErrRevoked, unavailable},
		{"a wrapped reason", fmt.Errorf("cache: %w", apikey.ErrInvalid), unavailable},
		{"too large", &http.MaxBytesError{Limit: 1}, unavailable},
		{"it says when to come back", guard.Unavailable(7*time.Second, down), want{503, "", "7", unavailableBody}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			throttle := new(throttle)
			r := open(t, apikey.Config{Throttle: throttle})
			key, _ := r.issue(nil)
			r.store.set(tt.err, nil)
			tt.want.check(t, r.get(with(key)))
			tt.want.check(t, r.get(with(wrongSecret(t, key))))
			if got := throttle.String(); got != "2 reserved, 0 failed, 2 given back" {
				t.Error(got)
			}
			if r.next.ran() != 0 {
				t.Error("next ran")
			}
			// And it is not remembered.
			r.store.set(nil, nil)
			welcome.check(t, r.get(with(key)))
		})
	}
	t.Run("slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, apikey.Config{StoreTimeout: 50 * time.Millisecond})
			key, _ := r.issue(nil)
			r.store.set(nil, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			start := time.Now()
			unavailable.check(t, r.get(with(key)))
			if d := time.Since(start); d != 50*time.Millisecond {
				t.Errorf("after %v", d)
			}
		})
	})
	t.Run("known good keys outlive it for CacheTTL", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, apikey.Config{})
			key, _ := r.issue(nil)
			welcome.check(t, r.get(with(key)))
			r.store.set(down, nil)
			welcome.check(t, r.get(with(key)))
			time.Sleep(5 * time.Second)
			unavailable.check(t, r.get(with(key)))
		})
	})
}

func TestGuessesAreLimitedByAddressBeforeTheStore(t *testing.T) {
	throttle := &throttle{limit: 5}
	r := open(t, apikey.Config{Throttle: throttle})
	key, _ := r.issue(nil)
	from := func(remote, key string) int {
		q := request("/", with(key))
		q.RemoteAddr = remote
		return send(r.handler, q).Code
	}
	if from("192.0.2.1:1", key) != 200 {
		t.Fatal("the key is no good")
	}
	asked := r.store.asked.Load()
	guesses := map[int]int{}
	for i := range 10_000 { // each of four digits
		id := fmt.Sprintf("00000000%04d", i)
		guesses[from(fmt.Sprintf("198.51.100.9:%d", i+1), resum("acme_live_"+id+key[22:]))]++
	}
	if guesses[401] != 5 || guesses[429] != 9_995 {
		t.Errorf("the guesser was answered %v", guesses)
	}
	if n := r.store.asked.Load() - asked; n != 5 {
		t.Errorf("the store was asked %d times, want 5", n)
	}
	want{429, "", "30", tooManyBody}.check(t, func() *httptest.ResponseRecorder {
		q := request("/", with(wrongSecret(t, key)))
		q.RemoteAddr = "198.51.100.9:1"
		return send(r.handler, q)
	}())
	if !strings.Contains(r.events.names(), string(guard.EventLoginFailMax)) {
		t.Errorf("no event of it: %s", r.events.names()[:200])
	}
	// Others are not in the way, nor who shares the address and was good.
	if from("192.0.2.1:1", key) != 200 || from("198.51.100.9:1", key) != 200 {
		t.Error("a good key was held up")
	}
	// Junk is not even charged.
	before := throttle.String()
	from("203.0.113.5:1", other(key, 30))
	if after := throttle.String(); after != before {
		t.Errorf("junk was charged: %s, then %s", before, after)
	}
}

// Junk from an address that many share must not lock out the keys that were
// good there before, nor let through more guesses than elsewhere.
func TestJunkDoesNotLockOutKeysThatWereGoodAtTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := &throttle{limit: 5}
		r := open(t, apikey.Config{Throttle: throttle})
		key, record := r.issue(nil)
		late, _ := r.issue(nil)
		from := func(remote, key string) int {
			q := request("/", with(key))
			q.RemoteAddr = remote
			return send(r.handler, q).Code
		}
		junk := func(remote string) map[int]int {
			codes := map[int]int{}
			for i := range 20 {
				codes[from(remote, resum(fmt.Sprintf("acme_live_00000000%04d", i)+key[22:]))]++
			}
			return codes
		}
		const nat, nat6 = "198.51.100.9:1", "[2001:db8:0:1::1]:1"
		if from(nat, key) != 200 || from(nat6, key) != 200 {
			t.Fatal("the key is no good")
		}
		for _, remote := range []string{nat, nat6} {
			if codes := junk(remote); codes[401] != 5 || codes[429] != 15 {
				t.Errorf("junk was answered %v", codes)
			}
		}
		for _, step := range []struct {
			name, remote, key string
			after             time.Duration
			want              int
		}{
			{"forgotten by the cache, good at the address", nat, key, 6 * time.Second, 200},
			{"another port", "198.51.100.9:2", key, 6 * time.Second, 200},
			{"with IPv4 in IPv6", "[::ffff:198.51.100.9]:2", key, 6 * time.Second, 200},
			{"another address of the /64", "[2001:db8:0:1::2]:1", key, 6 * time.Second, 200},
			{"a good key that was never used there", nat, late, 6 * time.Second, 429},
			{"the same ID with another secret", nat, wrongSecret(t, key), 6 * time.Second, 429},
			{"29 days later", nat, key, 29 * 24 * time.Hour, 200},
			{"again, since that was a use", nat, key, 29 * 24 * time.Hour, 200},
			{"30 days later", nat, key, 30 * 24 * time.Hour, 429},
		} {
			time.Sleep(step.after)
			if got := from(step.remote, step.key); got != step.want {
				t.Errorf("%s: %d, want %d", step.name, got, step.want)
			}
		}
		// A good key at an address of its own, ended: once it is refused it is
		// a guess like others.
		const own = "203.0.113.7:1"
		if from(own, key) != 200 {
			t.Fatal("the key is no good")
		}
		junk(own)
		time.Sleep(6 * time.Second)
		r.edit(record.ID, func(r *apikey.Record) { r.Active = false })
		asked := r.store.asked.Load()
		if a, b := from(own, key), from(own, key); a != 401 || b != 429 {
			t.Errorf("a key that has ended: %d, then %d, want 401 and 429", a, b)
		}
		if n := r.store.asked.Load() - asked; n != 1 {
			t.Errorf("the store was asked %d times, want once", n)
		}
	})
}

// A store that is down neither earns nor costs a key its place.
func TestAStoreThatIsDownIsNoReasonToForgetAGoodAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := new(throttle)
		r := open(t, apikey.Config{Throttle: throttle})
		key, _ := r.issue(nil)
		r.store.set(errDown, nil)
		unavailable.check(t, r.get(with(key)))
		r.store.set(nil, nil)
		welcome.check(t, r.get(with(key)))
		if got := throttle.String(); got != "2 reserved, 0 failed, 2 given back" {
			t.Errorf("at first: %s", got)
		}
		time.Sleep(6 * time.Second)
		r.store.set(errDown, nil)
		unavailable.check(t, r.get(with(key)))
		r.store.set(nil, nil)
		welcome.check(t, r.get(with(key)))
		if got := throttle.String(); got != "2 reserved, 0 failed, 2 given back" {
			t.Errorf("at last: %s", got)
		}
	})
}
