package token_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// idOf is the ID of a key.
func idOf(t *testing.T, k token.Key) string {
	t.Helper()
	return mustRing(t, k).Keys()[0].ID
}

// states are what the keys of a ring do now, by the order of IDs.
func states(ring *token.Keyring, ids ...string) string {
	var all []string
	for _, id := range ids {
		state := "absent"
		for _, info := range ring.Keys() {
			if info.ID == id {
				state = fmt.Sprint(info.State)
			}
		}
		all = append(all, state)
	}
	return strings.Join(all, " ")
}

// publishedIDs are the IDs in the JWK Set.
func publishedIDs(t *testing.T, ring *token.Keyring) string {
	t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(serveJWKS(t, ring, get()).Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range set.Keys {
		ids = append(ids, k.Kid)
	}
	return strings.Join(ids, " ")
}

// signerOf is the ID of the key that a token is signed with.
func signerOf(t *testing.T, s string) string {
	t.Helper()
	header, _, _ := strings.Cut(s, ".")
	raw, err := decode(header)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if err := json.Unmarshal(raw, &h); err != nil {
		t.Fatal(err)
	}
	return h.Kid
}

// TestStatesByTheClock walks four keys of four algorithms through their lives,
// without anything but the clock.
func TestStatesByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		day := func(n int) time.Time { return start.Add(time.Duration(n) * 24 * time.Hour) }
		const rest = 16 * time.Minute // a token's lifetime and the margin
		keys := []token.Key{mustKey(t, token.ES256), mustKey(t, token.EdDSA), mustKey(t, token.ES384), mustKey(t, token.HS256)}
		var ids []string
		for n := range keys {
			if n > 0 {
				keys[n].PublishFrom, keys[n].SignFrom = day(n).Add(-time.Hour), day(n)
			}
			if n < 3 {
				keys[n].VerifyUntil = day(n + 1).Add(rest)
			}
			ids = append(ids, idOf(t, keys[n]))
		}
		ring := mustRing(t, keys[2], keys[0], keys[3], keys[1]) // in any order
		issuer, verifier := newIssuer(t, ring), newVerifier(t, ring)
		if got := ring.Keys(); got[0].ID != ids[3] || got[0].Algorithm != token.HS256 || got[3].ID != ids[0] {
			t.Errorf("Keys = %v, want those that sign latest first", got)
		}
		for _, step := range []struct {
			at        time.Time
			states    string
			signs     int
			published []int
		}{
			{day(0), "signing pending pending pending", 0, []int{0}},
			{day(1).Add(-time.Hour - 1), "signing pending pending pending", 0, []int{0}},
			{day(1).Add(-time.Hour), "signing published pending pending", 0, []int{1, 0}},
			{day(1).Add(-1), "signing published pending pending", 0, []int{1, 0}},
			{day(1), "verifying signing pending pending", 1, []int{1, 0}},
			{day(1).Add(rest - 1), "verifying signing pending pending", 1, []int{1, 0}},
			{day(1).Add(rest), "retired signing pending pending", 1, []int{1}},
			{day(2).Add(-time.Minute), "retired signing published pending", 1, []int{2, 1}},
			{day(2), "retired verifying signing pending", 2, []int{2, 1}},
			{day(2).Add(rest), "retired retired signing pending", 2, []int{2}},
			{day(3).Add(-time.Minute), "retired retired signing published", 2, []int{2}}, // HS keys are not in the set
			{day(3), "retired retired verifying signing", 3, []int{2}},
			{day(3).Add(rest), "retired retired retired signing", 3, nil},
			{day(300), "retired retired retired signing", 3, nil},
		} {
			time.Sleep(time.Until(step.at))
			at := step.at.Sub(start)
			if got := states(ring, ids...); got != step.states {
				t.Errorf("at %v the states are %s, want %s", at, got, step.states)
			}
			var want []string
			for _, n := range step.published {
				want = append(want, ids[n])
			}
			if got := publishedIDs(t, ring); got != strings.Join(want, " ") {
				t.Errorf("at %v the set has %s, want %s", at, got, want)
			}
			s := issue(t, issuer, identity.Principal{}, nil)
			if signerOf(t, s) != ids[step.signs] {
				t.Errorf("at %v %s signs, want key %d", at, signerOf(t, s), step.signs)
			}
			wantAccepted(t, serve(verifier, get("Bearer "+s)))
		}
	})
}

// TestKeysAreSilentOutsideTheirTimes: a key verifies from PublishFrom to
// VerifyUntil, whatever it could sign.
func TestKeysAreSilentOutsideTheirTimes(t *testing.T) {
	for _, alg := range everyday {
		synctest.Test(t, func(t *testing.T) {
			k := kits()[alg]
			key := k.key
			key.PublishFrom = time.Now().Add(time.Minute)
			key.SignFrom = key.PublishFrom.Add(10 * time.Minute)
			key.VerifyUntil = key.SignFrom.Add(time.Hour)
			v := newVerifier(t, mustRing(t, key))
			at := func(at time.Time) outcome {
				time.Sleep(time.Until(at))
				return serve(v, get("Bearer "+k.token()))
			}
			wantRefused(t, at(key.PublishFrom.Add(-1)), token.ErrKey)
			wantAccepted(t, at(key.PublishFrom))
			wantAccepted(t, at(key.VerifyUntil.Add(-1)))
			wantRefused(t, at(key.VerifyUntil), token.ErrKey)
		})
	}
}

func TestKeyTimesThatAreWrong(t *testing.T) {
	now := time.Now()
	k := mustKey(t, token.ES256)
	for name, c := range map[string]struct {
		key  token.Key
		want string // "" if it is right
	}{
		"none":                                {token.Key{}, ""},
		"signs ten minutes after it is out":   {token.Key{PublishFrom: now, SignFrom: now.Add(10 * time.Minute)}, ""},
		"signs a moment sooner":               {token.Key{PublishFrom: now, SignFrom: now.Add(10*time.Minute - 1)}, "at least 10m0s later"},
		"signs from the start, published not": {token.Key{PublishFrom: now}, "at least 10m0s later"},
		"signs before it is out":              {token.Key{PublishFrom: now, SignFrom: now.Add(-time.Hour)}, "at least 10m0s later"},
		"verifies when it could only sign":    {token.Key{SignFrom: now, VerifyUntil: now}, "VerifyUntil"},
		"retired before it signs":             {token.Key{SignFrom: now, VerifyUntil: now.Add(-1)}, "VerifyUntil"},
		"retired before it is published":      {token.Key{PublishFrom: now, SignFrom: now.Add(time.Hour), VerifyUntil: now.Add(-1)}, "VerifyUntil"},
	} {
		c.key.Algorithm, c.key.Signer = k.Algorithm, k.Signer
		_, err := token.NewKeyring(c.key)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	old := public(k)
	old.PublishFrom, old.VerifyUntil = now.Add(time.Hour), now
	if _, err := token.NewKeyring(old); err == nil {
		t.Error("a public key may be retired before it is published")
	}
	old.VerifyUntil = now.Add(2 * time.Hour)
	if _, err := token.NewKeyring(old); err != nil {
		t.Errorf("a key that only verifies needs no time before it signs: %v", err)
	}
	_, err := token.NewKeyring(token.Key{Algorithm: k.Algorithm, Signer: k.Signer, PublishFrom: now, VerifyUntil: now.Add(-1)}, token.Key{})
	for _, want := range []string{"key 0", "SignFrom is", "VerifyUntil is", "key 1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewKeyring = %v, want it to mention %q", err, want)
		}
	}
}

// TestIssuerFindsGaps: no time without a key to sign with before a later one's
// turn.
func TestIssuerFindsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		first, second := mustKey(t, token.ES256), mustKey(t, token.ES256)
		for name, c := range map[string]struct {
			until, from time.Duration // VerifyUntil of the first, SignFrom of the second; 0: not set
			verifyOnly  bool
			gap         bool
		}{
			"one after the other":               {time.Hour + 16*time.Minute, time.Hour, false, false},
			"without one in common":             {time.Hour + 16*time.Minute - 1, time.Hour, false, false},
			"a nanosecond too late":             {time.Hour + 16*time.Minute - 2, time.Hour, false, true},
			"the first ends before its token":   {15 * time.Minute, time.Hour, false, true},
			"nobody signs yet, somebody will":   {-1, time.Hour, true, true},
			"the second signs from the start":   {time.Hour, 0, false, false},
			"the first ends, and nobody is due": {time.Hour, -1, true, false},
		} {
			a, b := first, second
			if c.until > 0 {
				a.VerifyUntil = now.Add(c.until)
			}
			if c.from > 0 {
				b.SignFrom = now.Add(c.from)
			}
			keys := []token.Key{a, b}
			if c.verifyOnly {
				if c.from > 0 {
					keys = []token.Key{public(a), b}
				} else {
					keys = []token.Key{a, public(b)}
				}
			}
			_, err := token.NewIssuer(mustRing(t, keys...), token.IssuerConfig{Issuer: issuerName, Audience: audience})
			if (err != nil) != c.gap || err != nil && !strings.Contains(err.Error(), "no key of the Keyring may sign a token that lives for 15m0s") {
				t.Errorf("%s: %v, want a gap: %v", name, err, c.gap)
			}
		}
	})
	t.Run("Issue says so when the keys have run out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			key := mustKey(t, token.ES256)
			key.VerifyUntil = time.Now().Add(time.Hour)
			ring := mustRing(t, key)
			issuer, verifier := newIssuer(t, ring), newVerifier(t, ring)
			time.Sleep(44 * time.Minute)
			s := issue(t, issuer, identity.Principal{}, nil) // to the last moment
			time.Sleep(2 * time.Second)
			if s, err := issuer.Issue(t.Context(), &identity.Principal{Subject: "alice"}, nil); s != "" || err == nil || errors.Is(err, token.ErrInvalid) {
				t.Errorf("Issue = %q, %v; want an error", s, err)
			}
			if got := ring.Keys()[0].State; got != token.KeyVerifying {
				t.Errorf("the key is %v, want verifying: no token that it may sign lives so long", got)
			}
			wantAccepted(t, serve(verifier, get("Bearer "+s)))
			time.Sleep(15*time.Minute - 3*time.Second)
			wantAccepted(t, serve(verifier, get("Bearer "+s)))
		})
	})
	t.Run("a token for longer is signed with the key that lasts", func(t *testing.T) {
		short, long := mustKey(t, token.ES256), mustKey(t, token.EdDSA)
		short.SignFrom, short.VerifyUntil = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		issuer := newIssuer(t, mustRing(t, short, long))
		for want, lifetime := range map[string]time.Duration{idOf(t, short): time.Minute, idOf(t, long): 2 * time.Hour} {
			s := issue(t, issuer, identity.Principal{Expires: time.Now().Add(lifetime)}, nil)
			if signerOf(t, s) != want {
				t.Errorf("a token for %v is signed with another key", lifetime)
			}
		}
	})
}

// TestReplaceWithdrawsKeys is the way of an operator through a rotation by hand.
func TestReplaceWithdrawsKeys(t *testing.T) {
	in := func(k token.Key, d time.Duration) token.Key {
		k.SignFrom = time.Now().Add(d)
		return k
	}
	for _, alg := range everyday {
		t.Run(string(alg), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, next := shared(t, alg), mustKey(t, alg)
				ring := mustRing(t, old)
				issuer, verifier := newIssuer(t, ring), newVerifier(t, ring)
				before := issue(t, issuer, identity.Principal{}, nil)
				refused := func(what, want string, keys ...token.Key) {
					t.Helper()
					was := fmt.Sprint(ring.Keys())
					if err := ring.Replace(keys...); err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %v, want an error with %q", what, err, want)
					}
					if got := fmt.Sprint(ring.Keys()); got != was {
						t.Errorf("%s: the ring was changed to %s", what, got)
					}
				}
				refused("no keys", "at least one key")
				refused("a key that is wrong", "key 1", old, token.Key{})
				refused("a new key that signs at once", "would sign before it is published", old, next)
				refused("a new key that signs too soon", "would sign before it is published", old, in(next, 10*time.Minute-1))
				lies := in(next, time.Minute)
				lies.PublishFrom = time.Now().Add(-time.Hour)
				refused("a new key that says it was published before", "would sign before it is published", old, lies)
				if err := ring.Replace(old, in(next, 10*time.Minute)); err != nil {
					t.Fatal(err)
				}
				sameSet := in(next, 10*time.Minute)
				time.Sleep(time.Minute)
				refused("a key that signs earlier than announced", "would sign before it is published", old, next)
				refused("a key that signs earlier than announced, by a little", "would sign before it is published", old, in(next, 9*time.Minute-1))
				if err := ring.Replace(old, sameSet); err != nil {
					t.Errorf("the same keys again: %v", err)
				}
				if got, want := states(ring, idOf(t, old), idOf(t, next)), "signing published"; got != want {
					t.Errorf("the keys are %s, want %s", got, want)
				}
				time.Sleep(9 * time.Minute)
				if got, want := states(ring, idOf(t, old), idOf(t, next)), "verifying signing"; got != want {
					t.Errorf("the keys are %s, want %s", got, want)
				}
				after := issue(t, issuer, identity.Principal{}, nil)
				if err := ring.Replace(old, sameSet); err != nil {
					t.Errorf("the same keys again: %v", err)
				}
				wantAccepted(t, serve(verifier, get("Bearer "+before)))
				wantAccepted(t, serve(verifier, get("Bearer "+after)))

				// The old one was stolen.
				if err := ring.Replace(next); err != nil {
					t.Fatal(err)
				}
				wantRefused(t, serve(verifier, get("Bearer "+before)), token.ErrKey)
				wantAccepted(t, serve(verifier, get("Bearer "+after)))

				// So was the new one: no other can sign, so a third may at once.
				third := mustKey(t, alg)
				if err := ring.Replace(third); err != nil {
					t.Fatal(err)
				}
				wantRefused(t, serve(verifier, get("Bearer "+after)), token.ErrKey)
				wantAccepted(t, serve(verifier, get("Bearer "+issue(t, issuer, identity.Principal{}, nil))))
				// And it may go on at once.
				if err := ring.Replace(third, in(old, time.Hour)); err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Run("a key that was announced for later signs at once if it is the last", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			old, next := mustKey(t, token.ES256), mustKey(t, token.ES256)
			ring := mustRing(t, old, in(next, time.Hour))
			issuer := newIssuer(t, ring)
			if err := ring.Replace(in(next, time.Hour)); err == nil || !strings.Contains(err.Error(), "no key of the Keyring may sign") {
				t.Errorf("nobody signs for an hour: %v", err)
			}
			if err := ring.Replace(next); err != nil {
				t.Error(err)
			}
			issue(t, issuer, identity.Principal{}, nil)
		})
	})
	t.Run("a key that the ring only verified with is not published longer than that", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			old, next := mustKey(t, token.ES256), mustKey(t, token.ES256)
			ring := mustRing(t, old)
			if err := ring.Replace(old, public(next)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10*time.Minute - 1)
			if err := ring.Replace(old, next); err == nil {
				t.Error("it signs too soon")
			}
			time.Sleep(time.Nanosecond)
			if err := ring.Replace(old, next); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a later gap is an error for the longest of its issuers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			old, next := mustKey(t, token.ES256), in(mustKey(t, token.ES256), time.Hour)
			ring := mustRing(t, old)
			old.VerifyUntil = time.Now().Add(2 * time.Hour)
			if err := ring.Replace(old, in(next, 119*time.Minute)); err != nil {
				t.Errorf("a ring that nobody signs with: %v", err)
			}
			for _, lifetime := range []time.Duration{time.Hour - time.Minute, time.Minute} {
				if _, err := token.NewIssuer(mustRing(t, old, next), token.IssuerConfig{Issuer: "i", Audience: "a", Lifetime: lifetime}); err != nil {
					t.Fatal(err)
				}
			}
			ring = mustRing(t, old, next)
			for _, lifetime := range []time.Duration{time.Hour - time.Minute, time.Minute} {
				if _, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: "i", Audience: "a", Lifetime: lifetime}); err != nil {
					t.Fatal(err)
				}
			}
			late := next
			late.SignFrom = late.SignFrom.Add(2)
			if err := ring.Replace(old, late); err == nil || !strings.Contains(err.Error(), "lives for 59m0s") {
				t.Errorf("a gap of a nanosecond: %v", err)
			}
			if err := ring.Replace(public(old)); err != nil {
				t.Errorf("a ring that is not to sign any more: %v", err)
			}
		})
	})
	t.Run("at the same time", func(t *testing.T) {
		a, b := mustKey(t, token.EdDSA), mustKey(t, token.EdDSA)
		ring := mustRing(t, a)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					if err := ring.Replace(a, in(b, time.Hour)); err != nil {
						t.Error(err)
					}
					_ = ring.Keys()
					_ = fmt.Sprint(ring)
				}
			})
		}
		wg.Wait()
	})
}

// TestZeroKeyringHasNoKeys: one that nobody made refuses, and does not panic.
func TestZeroKeyringHasNoKeys(t *testing.T) {
	type embedded struct{ *token.Keyring }
	config := token.VerifierConfig{Issuer: issuerName, Audience: audience, InsecureNoRevoker: true}
	for name, keys := range map[string]token.KeySource{
		"nil": nil, "a nil Keyring": (*token.Keyring)(nil), "a zero Keyring": new(token.Keyring),
		"a nil Remote": (*token.Remote)(nil), "a zero Remote": new(token.Remote), "an embedded nil": embedded{},
	} {
		if v, err := token.NewVerifier(keys, config); v != nil || err == nil || !strings.Contains(err.Error(), "KeySource is nil or zero") {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	for _, ring := range []*token.Keyring{nil, new(token.Keyring)} {
		if i, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuerName, Audience: audience}); i != nil || err == nil || !strings.Contains(err.Error(), "Keyring is nil or zero") {
			t.Errorf("NewIssuer = %v, %v", i, err)
		}
	}
	ring := new(token.Keyring)
	if len(ring.Keys()) != 0 || publishedIDs(t, ring) != "" || fmt.Sprint(ring) != "token.Keyring()" {
		t.Errorf("it has keys: %v", ring)
	}
	if err := ring.Replace(mustKey(t, token.ES256)); err != nil || len(ring.Keys()) != 1 {
		t.Errorf("Replace: %v, %v", err, ring.Keys())
	}
}
