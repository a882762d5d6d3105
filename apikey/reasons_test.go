package apikey_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Each refusal names in the log, and there only, what did not fit.
func TestReasonsNameTheValuesThatDidNotFit(t *testing.T) {
	past := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name   string
		config apikey.Config
		edit   func(*apikey.Record)
		key    func(string) string
		reason error
		says   []string
	}{
		{"another prefix", apikey.Config{}, nil, func(k string) string { return "other" + k[4:] }, apikey.ErrMalformed, []string{"acme_live_"}},
		{"another environment", apikey.Config{}, nil, func(k string) string { return resum("acme_test_" + k[10:]) }, apikey.ErrMalformed, []string{"acme_live_"}},
		{"cut short", apikey.Config{}, nil, func(k string) string { return k[:70] }, apikey.ErrMalformed, []string{"too short or too long"}},
		{"mistyped", apikey.Config{}, nil, func(k string) string { return other(k, 40) }, apikey.ErrMalformed, []string{"checksum"}},
		{"a space within", apikey.Config{}, nil, func(k string) string { return k[:71] + " " }, apikey.ErrMalformed, []string{"character"}},
		{"the pepper is gone", apikey.Config{}, func(r *apikey.Record) { r.PepperID = "2019" }, nil, apikey.ErrPepper, []string{`"2019"`, `"one"`}},
		{"of another environment in the store", apikey.Config{}, func(r *apikey.Record) { r.Environment = "test" }, nil, apikey.ErrEnvironment, []string{`"test"`, `"live"`}},
		{"revoked", apikey.Config{}, func(r *apikey.Record) { r.RevokedAt = past }, nil, apikey.ErrRevoked, []string{"2020-01-02T03:04:05Z"}},
		{"expired", apikey.Config{}, func(r *apikey.Record) { r.ExpiresAt = past }, nil, apikey.ErrExpired, []string{"2020-01-02T03:04:05Z"}},
		{"too early", apikey.Config{}, func(r *apikey.Record) { r.NotBefore = past.AddDate(100, 0, 0) }, nil, apikey.ErrTooEarly, []string{"2120-01-02T03:04:05Z"}},
		{"rotated", apikey.Config{}, func(r *apikey.Record) { r.Successor, r.GraceUntil = "AAAAAAAAAAAA", past }, nil, apikey.ErrRotated, []string{`"AAAAAAAAAAAA"`, "2020-01-02T03:04:05Z"}},
		{"another network", apikey.Config{}, func(r *apikey.Record) {
			r.AllowedPrefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/48")}
		}, nil, apikey.ErrAddress, []string{"192.0.2.1", "198.51.100.0/24, 2001:db8::/48"}},
		{"the owner is gone", apikey.Config{OwnerRights: func(context.Context, *identity.Principal) (a, b identity.Set, err error) {
			return a, b, guard.ErrInactive
		}}, nil, nil, apikey.ErrOwner, []string{`"ada"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := open(t, tt.config)
			key, record := r.issue(tt.edit)
			given := key
			if tt.key != nil {
				given = tt.key(key)
			}
			for range 2 { // the second time what is remembered answers
				w := r.get(with(given))
				if w.Code == 200 {
					t.Fatal("accepted")
				}
				got := r.events.last()
				if !errors.Is(got, tt.reason) || !errors.Is(got, apikey.ErrInvalid) {
					t.Fatalf("reason %v", got)
				}
				says := tt.says
				if tt.reason != apikey.ErrMalformed {
					says = append(slices.Clone(says), record.ID)
				}
				for _, want := range says {
					if !strings.Contains(got.Error(), want) {
						t.Errorf("the reason %q does not name %s", got, want)
					}
				}
				if strings.Contains(got.Error(), key[23:60]) {
					t.Errorf("the reason %q has the secret", got)
				}
				for _, said := range tt.says {
					if strings.Contains(w.Body.String(), said) {
						t.Errorf("the client reads %s", w.Body)
					}
				}
			}
		})
	}
}

// A stored hash with a pepper is no hash of an older scheme, whatever the store
// returns for it. Otherwise whoever has read the database would show the hash
// itself as a key, with a LegacyHash that keeps keys as they are.
func TestPepperedHashesAreNotLegacyKeys(t *testing.T) {
	plain := func(key string) apikey.Hash { return apikey.Hash(key) }
	store := &byAnyHash{}
	keys, err := apikey.New(store, apikey.Config{Format: acme, Peppers: []apikey.Pepper{pepper1}, LegacyHash: plain})
	if err != nil {
		t.Fatal(err)
	}
	record := apikey.Record{ID: "0123456789AB", Owner: "ada", Environment: "live", Active: true, Hash: "what-the-database-has-of-the-key"}
	store.record = record
	if _, err := keys.Verify(t.Context(), string(record.Hash), ""); err != nil {
		t.Fatalf("a legacy key: %v", err)
	}
	keys.Evict(record.ID)
	store.record.PepperID = "one"
	if p, err := keys.Verify(t.Context(), string(record.Hash), ""); !errors.Is(err, apikey.ErrUnknown) {
		t.Errorf("a peppered hash shown as a legacy key: %v, %v", p, err)
	}
}

// byAnyHash is a store that finds records by their hash, peppered or not.
type byAnyHash struct {
	apikey.Memory
	record apikey.Record
}

func (b *byAnyHash) KeyByHash(_ context.Context, hash apikey.Hash) (*apikey.Record, error) {
	if !hash.Equal(b.record.Hash) {
		return nil, apikey.ErrNotFound
	}
	found := b.record.Clone()
	return &found, nil
}

// The key's dates are compared with the time at which the store has answered.
func TestAKeyThatBeginsWhileTheStoreAnswersIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, apikey.Config{})
		key, record := r.issue(func(r *apikey.Record) { r.NotBefore = time.Now().Add(time.Second / 2) })
		r.store.set(nil, func(context.Context) error { time.Sleep(time.Second); return nil })
		welcome.check(t, r.get(with(key)))
		r.keys.Evict(record.ID)
		r.edit(record.ID, func(r *apikey.Record) { r.ExpiresAt = time.Now().Add(time.Second / 2) })
		invalid.check(t, r.get(with(key)))
	})
}

func TestIllFormedIDsDoNotReachTheStore(t *testing.T) {
	r := open(t, apikey.Config{})
	_, record := r.issue(nil)
	before := r.store.asked.Load()
	ctx := t.Context()
	for _, id := range []string{"", "\xff", "a\x00b", "\x00", record.ID + "\x00", strings.Repeat("a", 5000), "\xed\xa0\x80"} {
		if _, err := r.manager.Owned(ctx, "ada", id); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("Owned of %q: %v", id, err)
		}
		if err := r.manager.Revoke(ctx, id); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("Revoke of %q: %v", id, err)
		}
		if err := r.manager.SetActive(ctx, id, false); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("SetActive of %q: %v", id, err)
		}
		if _, _, err := r.manager.Rotate(ctx, maker, id, 0); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("Rotate of %q: %v", id, err)
		}
		if all, err := r.manager.List(ctx, id); err != nil || len(all) != 0 {
			t.Errorf("List of %q: %v, %v", id, all, err)
		}
		if _, err := r.keys.Record(identity.NewContext(ctx, &identity.Principal{Issuer: r.keys.Issuer(), Subject: "ada", Credential: id})); err == nil {
			t.Errorf("Record of %q", id)
		}
	}
	if n := r.store.asked.Load() - before; n != 0 {
		t.Errorf("the store was called %d times", n)
	}
}

func TestIssueRefusesWhatTheOwnerDoesNotHave(t *testing.T) {
	fail := error(nil)
	var asked []identity.Principal
	r := open(t, apikey.Config{OwnerRights: func(_ context.Context, p *identity.Principal) (identity.Set, identity.Set, error) {
		asked = append(asked, *p)
		return identity.NewSet("user"), identity.NewSet("read:items"), fail
	}})
	spec := apikey.Spec{Owner: "ada", Tenant: "math", Roles: identity.NewSet("user", "admin"), Scopes: identity.NewSet("read:items", "write:items")}
	_, _, err := r.manager.Issue(t.Context(), maker, spec)
	if !errors.Is(err, apikey.ErrSpec) || r.store.written.Load() != 0 {
		t.Fatalf("Issue: %v, %d writes", err, r.store.written.Load())
	}
	for _, want := range []string{`Spec.Roles has "admin", which the owner "ada" does not have`, `Spec.Scopes has "write:items", which the owner "ada" does not have`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	if strings.Contains(err.Error(), `"user"`) || strings.Contains(err.Error(), `"read:items"`) {
		t.Errorf("%v names what the owner has", err)
	}
	if p := asked[0]; p.Issuer != "apikey:acme" || p.Subject != "ada" || p.Tenant != "math" {
		t.Errorf("asked for %+v", p)
	}
	spec.Roles, spec.Scopes = identity.NewSet("user"), identity.NewSet("read:items")
	key, _, err := r.manager.Issue(t.Context(), maker, spec)
	if err != nil {
		t.Fatal(err)
	}
	welcome.check(t, r.get(with(key.Plain())))
	fail = guard.ErrInactive
	if _, _, err := r.manager.Issue(t.Context(), maker, spec); !errors.Is(err, apikey.ErrSpec) || errors.Is(err, guard.ErrInactive) {
		t.Errorf("an owner who is not active: %v", err)
	}
	fail = apikey.ErrSpec // says nothing about this key
	if _, _, err := r.manager.Issue(t.Context(), maker, spec); err == nil || guard.DenialOf(t.Context(), err).Status != 503 {
		t.Errorf("a store that fails: %v", err)
	}
	asked = nil
	spec.Roles, spec.Scopes, fail = identity.Set{}, identity.Set{}, errors.New("down")
	if _, _, err := r.manager.Issue(t.Context(), maker, spec); err != nil || asked != nil {
		t.Errorf("a key without rights: %v, asked %v", err, asked)
	}
}
