package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

func TestNewManagerListsEveryMistake(t *testing.T) {
	m, err := apikey.NewManager(nil, nil, apikey.ManagerConfig{})
	if m != nil || err == nil || !strings.Contains(err.Error(), "ManagerConfig.Revoker is nil") || !strings.Contains(err.Error(), "Authenticator is nil") || !strings.Contains(err.Error(), "KeyWriter is nil") {
		t.Errorf("%v, %v", m, err)
	}
}

func TestIssue(t *testing.T) {
	r := open(t, apikey.Config{Format: both, Peppers: []apikey.Pepper{pepper2, pepper1}})
	now := time.Now().Add(-time.Millisecond)
	prefixes := []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.77/120")}
	spec := apikey.Spec{
		Owner: "ada", Name: "Zoë's backup", Tenant: "math", Environment: "test", Roles: identity.NewSet("user"), Scopes: identity.NewSet("read:items"),
		NotBefore: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour), AllowedPrefixes: prefixes, Limits: "gold",
	}
	key, record, err := r.manager.Issue(t.Context(), maker, spec)
	if err != nil {
		t.Fatal(err)
	}
	prefixes[0] = netip.MustParsePrefix("0.0.0.0/0") // is the caller's
	stored, err := r.store.Memory.KeyByID(t.Context(), record.ID)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]apikey.Record{"returned": record, "stored": *stored} {
		if got.Owner != "ada" || got.Name != "Zoë's backup" || got.Tenant != "math" || got.Environment != "test" || !got.Roles.Has("user") ||
			got.Scopes.String() != "read:items" || !got.Active || got.CreatedAt.Before(now) || got.Limits != "gold" || got.Version != 1 ||
			!got.ExpiresAt.Equal(spec.ExpiresAt.Truncate(time.Microsecond)) || !got.NotBefore.Equal(spec.NotBefore.Truncate(time.Microsecond)) ||
			got.PepperID != "two" || len(got.Hash) != 32 || len(got.AllowedPrefixes) != 1 || got.AllowedPrefixes[0].String() != "192.0.2.0/24" {
			t.Errorf("%s %#v", name, got)
		}
	}
	if id, environment, err := both.Parse(key.Plain()); err != nil || id != record.ID || environment != "test" {
		t.Errorf("%v, %v", id+"_"+environment, err)
	}
	if r.events.names() != "authn_token_created" || r.events.all[0].Target != record.ID {
		t.Errorf("events %s", r.events.names())
	}
	if _, least, err := r.manager.Issue(t.Context(), maker, apikey.Spec{Owner: "ada"}); err != nil || least.Environment != "live" || !least.End().IsZero() {
		t.Errorf("the least: %v, %v", least, err)
	}
}

func TestIssueListsEveryMistake(t *testing.T) {
	r := open(t, apikey.Config{})
	now := time.Now()
	tests := []struct {
		name string
		spec apikey.Spec
		want []string
	}{
		{"nobody's", apikey.Spec{}, []string{"Spec.Owner is empty"}},
		{"too long", apikey.Spec{Owner: strings.Repeat("x", 513), Name: strings.Repeat("x", 129), Tenant: strings.Repeat("x", 513), Limits: strings.Repeat("x", 513)},
			[]string{"Spec.Owner has 513 bytes", "Spec.Name has 129 bytes", "Spec.Tenant has", "Spec.Limits has"}},
		{"control characters", apikey.Spec{Owner: "a\x00", Name: "a\nb", Tenant: "\xff", Limits: "a\u2028b"},
			[]string{"Spec.Owner is", "Spec.Name is", "Spec.Tenant is", "Spec.Limits is"}},
		{"an unknown environment", apikey.Spec{Owner: "a", Environment: "test"}, []string{`Spec.Environment is "test"; use one of live`}},
		{"ended", apikey.Spec{Owner: "a", ExpiresAt: now.Add(-time.Second)}, []string{"Spec.ExpiresAt is", "use a later time"}},
		{"ends before it begins", apikey.Spec{Owner: "a", NotBefore: now.Add(2 * time.Hour), ExpiresAt: now.Add(time.Hour)}, []string{"use a moment after NotBefore"}},
		{"writing that turns round", apikey.Spec{Owner: "a\u2066", Name: "key\u202egpj", Tenant: "a\u200bb", Limits: "\ufeff"},
			[]string{"Spec.Owner is", "Spec.Name is", "Spec.Tenant is", "Spec.Limits is"}},
		{"rights that are none", apikey.Spec{Owner: "a", Roles: identity.NewSet("a b", "ä"), Scopes: identity.NewSet(`a"b`, `a\b`, "a\nb")},
			[]string{`Spec.Roles has "a b"`, `Spec.Roles has "ä"`, `Spec.Scopes has "a\"b"`, `Spec.Scopes has "a\\b"`, `Spec.Scopes has "a\nb"`}},
		{"long rights", apikey.Spec{Owner: "a", Roles: identity.NewSet(strings.Repeat("r", 129)), Scopes: identity.NewSet(strings.Repeat("s", 129))},
			[]string{"Spec.Roles has", "Spec.Scopes has", "of 129 bytes; use 1 to 128"}},
		{"too many rights", apikey.Spec{Owner: "a", Roles: numbered(257), Scopes: numbered(257)},
			[]string{"Spec.Roles has 257 names; use at most 256", "Spec.Scopes has 257 names"}},
		{"networks", apikey.Spec{Owner: "a", AllowedPrefixes: make([]netip.Prefix, 65)}, []string{"Spec.AllowedPrefixes has 65", "Spec.AllowedPrefixes[0] is not valid"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, record, err := r.manager.Issue(t.Context(), maker, tt.spec)
			if !errors.Is(err, apikey.ErrSpec) || key.Plain() != "" || record.ID != "" {
				t.Fatalf("%v, %v, %v", key, record, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say that %s:\n%v", want, err)
				}
			}
		})
	}
	if r.store.written.Load() != 0 || r.events.names() != "" {
		t.Error("something was written")
	}
}

func numbered(n int) identity.Set {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint("n", i))
	}
	return identity.NewSet(all...)
}

func TestIssueTakesAsManyRightsAsThereMayBe(t *testing.T) {
	r := open(t, apikey.Config{})
	spec := apikey.Spec{
		Owner: "ada", Name: "Zoë's 鍵 no. 1",
		Roles:  numbered(255).With(strings.Repeat("r", 128)),
		Scopes: numbered(254).With(strings.Repeat("s", 128), "!#[]~"),
	}
	if _, record, err := r.manager.Issue(t.Context(), maker, spec); err != nil || record.Roles.Len() != 256 || record.Scopes.Len() != 256 {
		t.Errorf("%v, %v", record, err)
	}
}

// writerFunc is a store whose writes are the test's.
type writerFunc struct {
	apikey.KeyStore
	write func(update, created *apikey.Record) error
}

func (w writerFunc) WriteKeys(_ context.Context, update, created *apikey.Record) error {
	return w.write(update, created)
}

func (r *room) writing(write func(update, created *apikey.Record) error) *apikey.Manager {
	return must(apikey.NewManager(r.keys, writerFunc{&r.store.Memory, write}, apikey.ManagerConfig{Revoker: new(blacklist.Memory)}))
}

func TestIssueTriesAnotherIdentifier(t *testing.T) {
	r := open(t, apikey.Config{})
	var ids []string
	m := r.writing(func(_, created *apikey.Record) error {
		if ids = append(ids, created.ID); len(ids) < 3 {
			return apikey.ErrConflict
		}
		return r.store.Memory.WriteKeys(t.Context(), nil, created)
	})
	key, record, err := m.Issue(t.Context(), maker, apikey.Spec{Owner: "ada"})
	if err != nil || len(ids) != 3 || ids[0] == ids[1] || record.ID != ids[2] {
		t.Fatalf("%v, %v, %v", ids, record, err)
	}
	welcome.check(t, r.get(with(key.Plain())))
	ids = nil
	always := r.writing(func(_, created *apikey.Record) error { ids = append(ids, created.ID); return apikey.ErrConflict })
	if _, _, err := always.Issue(t.Context(), maker, apikey.Spec{Owner: "ada"}); err == nil || len(ids) > 10 {
		t.Errorf("%v after %d attempts", err, len(ids))
	}
	down := r.writing(func(_, _ *apikey.Record) error { return errDown })
	if key, _, err := down.Issue(t.Context(), maker, apikey.Spec{Owner: "ada"}); !errors.Is(err, errDown) || key.Plain() != "" {
		t.Errorf("%v", err)
	}
}

var errDown = errors.New("the store is down")

func TestRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		key, old := r.issue(func(r *apikey.Record) {
			r.ExpiresAt = r.CreatedAt.Add(90 * 24 * time.Hour)
			r.AllowedPrefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		})
		if err := r.store.Memory.RecordUse(t.Context(), []apikey.Use{{ID: old.ID, At: time.Now()}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * 24 * time.Hour)
		welcome.check(t, r.get(with(key)))
		now := time.Now()
		secret, next, err := r.manager.Rotate(t.Context(), maker, old.ID, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if next.Name != old.Name || next.Owner != old.Owner || next.Tenant != old.Tenant || !next.Scopes.Equal(old.Scopes) || !next.Roles.Equal(old.Roles) ||
			next.Limits != old.Limits || len(next.AllowedPrefixes) != 1 || !next.Active || next.Version != 1 || next.ID == old.ID || next.Hash == old.Hash ||
			!next.CreatedAt.Equal(now) || !next.ExpiresAt.Equal(now.Add(90*24*time.Hour)) || !next.LastUsedAt.IsZero() || next.Successor != "" || !next.GraceUntil.IsZero() {
			t.Errorf("%#v", next)
		}
		stored, err := r.store.Memory.KeyByID(t.Context(), old.ID)
		if err != nil || stored.Successor != next.ID || !stored.GraceUntil.Equal(now.Add(time.Hour)) {
			t.Errorf("%#v, %v", stored, err)
		}
		welcome.check(t, r.get(with(secret.Plain())))
		// The old one was remembered, and ends at its moment all the same.
		time.Sleep(time.Hour - time.Nanosecond)
		welcome.check(t, r.get(with(key)))
		time.Sleep(time.Nanosecond)
		invalid.check(t, r.get(with(key)))
		welcome.check(t, r.get(with(secret.Plain())))
		// A chain goes on with the successor, and nowhere else.
		if _, _, err := r.manager.Rotate(t.Context(), maker, old.ID, time.Hour); !errors.Is(err, apikey.ErrAlreadyRotated) {
			t.Errorf("again: %v", err)
		}
		if _, _, err := r.manager.Rotate(t.Context(), maker, next.ID, 0); err != nil {
			t.Errorf("the successor: %v", err)
		}
		invalid.check(t, r.get(with(secret.Plain())))
	})
}

func TestRotateRefuses(t *testing.T) {
	r := open(t, apikey.Config{})
	hour := time.Hour
	tests := []struct {
		name    string
		edit    func(*apikey.Record)
		overlap time.Duration
		want    error
	}{
		{"a revoked key", func(r *apikey.Record) { r.RevokedAt = time.Now() }, hour, apikey.ErrNotRotatable},
		{"an expired key", func(r *apikey.Record) { r.ExpiresAt = time.Now() }, hour, apikey.ErrNotRotatable},
		{"a key that is switched off", func(r *apikey.Record) { r.Active = false }, hour, apikey.ErrNotRotatable},
		{"a replaced key", func(r *apikey.Record) { r.Successor = "x" }, hour, apikey.ErrAlreadyRotated},
		{"a negative overlap", nil, -1, nil},
		{"an overlap without an end", nil, 367 * 24 * hour, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, record := r.issue(tt.edit)
			before := r.store.written.Load()
			secret, next, err := r.manager.Rotate(t.Context(), maker, record.ID, tt.overlap)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || secret.Plain() != "" || next.ID != "" {
				t.Errorf("%v, %v, %v", secret, next, err)
			}
			if r.store.written.Load() != before {
				t.Error("something was written")
			}
		})
	}
	if _, _, err := r.manager.Rotate(t.Context(), maker, "none", 0); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	_, early := r.issue(func(r *apikey.Record) { r.NotBefore = time.Now().Add(time.Hour) })
	if _, next, err := r.manager.Rotate(t.Context(), maker, early.ID, hour); err != nil || !next.NotBefore.Equal(early.NotBefore) {
		t.Errorf("a key that has not begun: %v, %v", next, err)
	}
}

func TestRevoke(t *testing.T) {
	r := open(t, apikey.Config{})
	key, record := r.issue(nil)
	welcome.check(t, r.get(with(key)))
	for range 2 { // again changes nothing
		if err := r.manager.Revoke(t.Context(), record.ID); err != nil {
			t.Fatal(err)
		}
		invalid.check(t, r.get(with(key)))
	}
	if n := r.store.written.Load(); n != 2 { // one of them made the key
		t.Errorf("%d writes", n)
	}
	if err := r.manager.Revoke(t.Context(), "none"); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	if !strings.Contains(r.events.names(), string(guard.EventTokenRevoked)) {
		t.Errorf("events %s", r.events.names())
	}
	// A Revoker that does not answer: the store has it, and the caller hears.
	revoked := &revoker{fail: errDown}
	m := must(apikey.NewManager(r.keys, r.store, apikey.ManagerConfig{Revoker: revoked}))
	other, two := r.issue(nil)
	if err := m.Revoke(t.Context(), two.ID); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
	invalid.check(t, r.get(with(other)))
	revoked.fail = nil
	if err := m.Revoke(t.Context(), two.ID); err != nil || revoked.last().Credential != two.ID {
		t.Errorf("again: %v", err)
	}
}

// A rotation takes no room in the Revoker: the record has an end, and this
// process has forgotten what it remembered.
func TestRotationDoesNotTellTheRevoker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		elsewhere := must(apikey.New(r.store, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}}))
		revoked := &revoker{fail: errDown}
		events := new(events)
		m := must(apikey.NewManager(r.keys, r.store, apikey.ManagerConfig{Revoker: revoked, Hooks: guard.Hooks{Observe: events.observe}}))
		for _, overlap := range []time.Duration{0, time.Hour} {
			key, record := r.issue(nil)
			welcome.check(t, r.get(with(key)))
			if _, err := elsewhere.Verify(t.Context(), key, ""); err != nil {
				t.Fatal(err)
			}
			if secret, _, err := m.Rotate(t.Context(), maker, record.ID, overlap); err != nil || secret.Plain() == "" {
				t.Fatalf("overlap %v: %v", overlap, err)
			}
			if overlap > 0 {
				welcome.check(t, r.get(with(key)))
				continue
			}
			invalid.check(t, r.get(with(key)))
			time.Sleep(5 * time.Second) // CacheTTL, for the others
			if _, err := elsewhere.Verify(t.Context(), key, ""); !errors.Is(err, apikey.ErrRotated) {
				t.Errorf("another process: %v", err)
			}
			// What is urgent may follow.
			revoked.fail = nil
			if err := m.Revoke(t.Context(), record.ID); err != nil || len(revoked.all) != 1 {
				t.Errorf("%d revocations (%v)", len(revoked.all), err)
			}
			revoked.fail = errDown
		}
		if n := len(revoked.all); n != 1 {
			t.Errorf("%d revocations, want 1", n)
		}
		if got := events.names(); strings.Count(got, string(guard.EventTokenRevoked)) != 1 {
			t.Errorf("events %s", got)
		}
	})
}

func TestRevokeIsRetriedOnAnyManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		revoked, events := &revoker{fail: errDown}, new(events)
		manager := func() *apikey.Manager { // of another process each time
			keys := must(apikey.New(r.store, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}}))
			return must(apikey.NewManager(keys, r.store, apikey.ManagerConfig{Revoker: revoked, Hooks: guard.Hooks{Observe: events.observe}}))
		}
		_, record := r.issue(nil)
		for range 2 {
			if err := manager().Revoke(t.Context(), record.ID); !errors.Is(err, errDown) {
				t.Errorf("with a Revoker that fails: %v", err)
			}
		}
		revoked.fail = nil
		for n := range 2 {
			if err := manager().Revoke(t.Context(), record.ID); err != nil || len(revoked.all) != n+1 || revoked.last().Credential != record.ID {
				t.Errorf("retry %d: %v, %d revocations", n, err, len(revoked.all))
			}
		}
		if d := time.Until(revoked.last().Expires); d != 10*time.Minute {
			t.Errorf("the Revoker keeps the revocation for %v, want 10 minutes", d)
		}
		if n := strings.Count(events.names(), string(guard.EventTokenRevoked)); n != 1 {
			t.Errorf("%d events of one revocation", n)
		}
	})
}

func TestRevokeAfterAWriteOfUnknownOutcomeCallsTheRevoker(t *testing.T) {
	r := open(t, apikey.Config{})
	revoked := new(revoker)
	_, record := r.issue(nil)
	fails := true
	store := writerFunc{&r.store.Memory, func(update, created *apikey.Record) error {
		err := r.store.Memory.WriteKeys(t.Context(), update, created)
		if fails {
			return errDown // although the record is written
		}
		return err
	}}
	m := must(apikey.NewManager(r.keys, store, apikey.ManagerConfig{Revoker: revoked}))
	if err := m.Revoke(t.Context(), record.ID); !errors.Is(err, errDown) || len(revoked.all) != 0 {
		t.Fatalf("%v, %d revocations", err, len(revoked.all))
	}
	fails = false
	if err := m.Revoke(t.Context(), record.ID); err != nil || len(revoked.all) != 1 {
		t.Errorf("%v, %d revocations", err, len(revoked.all))
	}
}

// Who rotates as often as they like hides nothing, and has no more keys at last.
func TestRotationsHideNoLivingKey(t *testing.T) {
	r := open(t, apikey.Config{})
	_, stolen := r.issue(nil)
	_, record := r.issue(nil)
	for range apikey.MaxListed + 5 {
		_, next, err := r.manager.Rotate(t.Context(), maker, record.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		record = next
	}
	all, err := r.manager.List(t.Context(), "ada")
	if err != nil || len(all) != 2 || all[0].ID != record.ID || all[1].ID != stolen.ID {
		t.Fatalf("%d keys (%v), want the last one and the first", len(all), err)
	}
	for _, one := range all {
		if err := r.manager.Revoke(t.Context(), one.ID); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := r.manager.List(t.Context(), "ada"); err != nil || len(all) != 0 {
		t.Errorf("%d keys (%v) are left", len(all), err)
	}
}

func TestTooManyKeys(t *testing.T) {
	r := open(t, apikey.Config{})
	var last apikey.Record
	for range 100 {
		_, last = r.issue(nil)
	}
	for name, make := range map[string]func() (apikey.Secret, apikey.Record, error){
		"Issue": func() (apikey.Secret, apikey.Record, error) {
			return r.manager.Issue(t.Context(), maker, apikey.Spec{Owner: "ada"})
		},
		"Rotate with an overlap": func() (apikey.Secret, apikey.Record, error) {
			return r.manager.Rotate(t.Context(), maker, last.ID, time.Hour)
		},
	} {
		if key, record, err := make(); err != apikey.ErrTooMany || key.Plain() != "" || record.ID != "" {
			t.Errorf("%s: %v, %v", name, record, err)
		}
	}
	if _, _, err := r.manager.Rotate(t.Context(), maker, last.ID, 0); err != nil {
		t.Errorf("Rotate without an overlap: %v", err)
	}
}

// A record of an older table may not say when it was made: its successor must
// not last for centuries.
func TestRotateKeepsTheEndOfAKeyOfUnknownAge(t *testing.T) {
	r := open(t, apikey.Config{})
	end := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	for name, created := range map[string]time.Time{"zero": {}, "after the end": end.Add(time.Hour)} {
		_, record := r.issue(func(r *apikey.Record) { r.CreatedAt, r.ExpiresAt = created, end })
		if _, next, err := r.manager.Rotate(t.Context(), maker, record.ID, 0); err != nil || !next.ExpiresAt.Equal(end) {
			t.Errorf("CreatedAt %s: ends %v (%v), want %v", name, next.ExpiresAt, err, end)
		}
	}
}

func TestSetActive(t *testing.T) {
	r := open(t, apikey.Config{})
	key, record := r.issue(nil)
	welcome.check(t, r.get(with(key)))
	for _, step := range []struct {
		active bool
		want   want
	}{{false, invalid}, {false, invalid}, {true, welcome}, {true, welcome}, {false, invalid}} {
		if err := r.manager.SetActive(t.Context(), record.ID, step.active); err != nil {
			t.Fatal(err)
		}
		step.want.check(t, r.get(with(key)))
	}
	if n := r.store.written.Load(); n != 4 {
		t.Errorf("%d writes, want 4", n)
	}
}

// A change that another one came before is made again, on what is there then.
func TestAChangeIsMadeOnWhatIsThere(t *testing.T) {
	r := open(t, apikey.Config{})
	_, record := r.issue(nil)
	calls := 0
	m := r.writing(func(update, created *apikey.Record) error {
		if calls++; calls == 1 {
			r.edit(record.ID, func(r *apikey.Record) { r.Name = "renamed" })
		}
		return r.store.Memory.WriteKeys(t.Context(), update, created)
	})
	if err := m.Revoke(t.Context(), record.ID); err != nil || calls != 2 {
		t.Fatalf("%v after %d writes", err, calls)
	}
	if got, _ := r.store.Memory.KeyByID(t.Context(), record.ID); got.Name != "renamed" || got.RevokedAt.IsZero() {
		t.Errorf("%#v", got)
	}
	for want, write := range map[error]func(_, _ *apikey.Record) error{
		apikey.ErrConflict: func(_, _ *apikey.Record) error { return apikey.ErrConflict },
		apikey.ErrNotFound: func(_, _ *apikey.Record) error { return apikey.ErrNotFound },
		errDown:            func(_, _ *apikey.Record) error { return errDown },
	} {
		_, record := r.issue(nil)
		if err := r.writing(write).Revoke(t.Context(), record.ID); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

func TestOwnedHidesTheKeysOfOthers(t *testing.T) {
	r := open(t, apikey.Config{})
	_, record := r.issue(nil)
	if got, err := r.manager.Owned(t.Context(), "ada", record.ID); err != nil || got.ID != record.ID {
		t.Errorf("%v, %v", got, err)
	}
	nobodys := apikey.Record{ID: "nobodys"}
	if err := r.store.Memory.WriteKeys(t.Context(), nil, &nobodys); err != nil {
		t.Fatal(err)
	}
	for _, q := range [][2]string{{"bob", record.ID}, {"", record.ID}, {"ada", "none"}, {"", "nobodys"}} {
		if got, err := r.manager.Owned(t.Context(), q[0], q[1]); err != apikey.ErrNotFound || got.ID != "" {
			t.Errorf("%q: %v, %v", q, got, err)
		}
	}
	r.store.set(errDown, nil)
	if _, err := r.manager.Owned(t.Context(), "ada", record.ID); !errors.Is(err, errDown) || errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("a store that is down: %v", err)
	}
}

func TestList(t *testing.T) {
	r := open(t, apikey.Config{})
	_, record := r.issue(nil)
	if all, err := r.manager.List(t.Context(), "ada"); err != nil || len(all) != 1 || all[0].ID != record.ID {
		t.Errorf("%v, %v", all, err)
	}
	if all, err := r.manager.List(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("nobody's: %v, %v", all, err)
	}
	if _, err := r.writing(nil).List(t.Context(), "ada"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a store that cannot: %v", err)
	}
}

// A maker is a Revoker of which a test says what becomes of the maker of a key.
type makerRevoker struct {
	*blacklist.Memory
	asked func() error // before RevokedSince answers
}

func (v makerRevoker) RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	if v.asked != nil {
		if err := v.asked(); err != nil {
			return false, err
		}
	}
	return v.Memory.RevokedSince(ctx, p, checkpoint)
}

func TestKeyOfAMakerWhoIsRevokedMeanwhileIsRevoked(t *testing.T) {
	ctx := t.Context()
	revocations := map[string]func(*blacklist.Memory) error{
		"the session": func(m *blacklist.Memory) error {
			return m.Revoke(ctx, identity.Revocation{Issuer: maker.Issuer, Session: maker.Session})
		},
		"the subject, up to now": func(m *blacklist.Memory) error {
			_, err := m.RevokeNow(ctx, identity.Revocation{Issuer: maker.Issuer, Subject: maker.Subject})
			return err
		},
		"the subject, by a clock that is behind": func(m *blacklist.Memory) error {
			return m.Revoke(ctx, identity.Revocation{Issuer: maker.Issuer, Subject: maker.Subject, Before: time.Now().Add(-10 * time.Second)})
		},
	}
	by := *maker
	by.IssuedAt = time.Now()
	for name, revoke := range revocations {
		for _, when := range []string{"before the key is stored", "before the Revoker answers", "not at all"} {
			t.Run(name+", "+when, func(t *testing.T) {
				r := open(t, apikey.Config{})
				_, old := r.issue(nil)
				revoked := makerRevoker{Memory: new(blacklist.Memory)}
				at := func(now string) error {
					if now == when {
						return revoke(revoked.Memory)
					}
					return nil
				}
				revoked.asked = func() error { return at("before the Revoker answers") }
				var written []string
				store := writerFunc{&r.store.Memory, func(update, created *apikey.Record) error {
					if created != nil {
						written = append(written, created.ID)
						if err := at("before the key is stored"); err != nil {
							return err
						}
					}
					return r.store.Memory.WriteKeys(ctx, update, created)
				}}
				m := must(apikey.NewManager(r.keys, store, apikey.ManagerConfig{Revoker: revoked}))
				for name, make := range map[string]func() (apikey.Secret, apikey.Record, error){
					"Issue":  func() (apikey.Secret, apikey.Record, error) { return m.Issue(ctx, &by, apikey.Spec{Owner: "ada"}) },
					"Rotate": func() (apikey.Secret, apikey.Record, error) { return m.Rotate(ctx, &by, old.ID, time.Hour) },
				} {
					secret, _, err := make()
					if when == "not at all" {
						if err != nil || secret.Plain() == "" {
							t.Errorf("%s: %v", name, err)
						}
						continue
					}
					if !errors.Is(err, apikey.ErrMakerRevoked) || !errors.Is(err, guard.ErrInactive) || secret.Plain() != "" {
						t.Errorf("%s = %v, want ErrMakerRevoked", name, err)
					}
				}
				for _, id := range written {
					record, err := r.store.Memory.KeyByID(ctx, id)
					if err != nil || record.RevokedAt.IsZero() != (when == "not at all") {
						t.Errorf("the key is %+v, %v", record, err)
					}
				}
				if len(written) != 2 {
					t.Errorf("%d keys were stored", len(written))
				}
			})
		}
	}
}

func TestKeyIsRevokedIfNobodyKnowsWhetherItsMakerIs(t *testing.T) {
	ctx := t.Context()
	r := open(t, apikey.Config{})
	m := must(apikey.NewManager(r.keys, r.store, apikey.ManagerConfig{Revoker: makerRevoker{new(blacklist.Memory), func() error { return errDown }}}))
	if secret, _, err := m.Issue(ctx, maker, apikey.Spec{Owner: "ada"}); !errors.Is(err, errDown) || secret.Plain() != "" {
		t.Errorf("Issue = %v", err)
	}
	if all := must(m.List(ctx, "ada")); len(all) != 0 {
		t.Errorf("the keys are %v, want none that is good", all)
	}
	for name, by := range map[string]*identity.Principal{"nobody": nil, "somebody without an issuer": {Subject: "ada"}} {
		if _, _, err := r.manager.Issue(ctx, by, apikey.Spec{Owner: "ada"}); err == nil {
			t.Errorf("%s can make a key", name)
		}
		if _, _, err := r.manager.Rotate(ctx, by, "x", 0); err == nil || errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("%s can replace a key", name)
		}
	}
}
