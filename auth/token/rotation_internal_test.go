package token

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// The clocks of an issuer's processes and of those who verify are at most
// clockMargin apart: each is off by up to half of it.
func skew(r *rand.Rand) time.Duration {
	if r.IntN(4) == 0 { // the extremes
		return time.Duration(r.IntN(2)*2-1) * clockMargin / 2
	}
	return time.Duration(r.Int64N(int64(clockMargin))) - clockMargin/2
}

// schedule makes up keys that take turns, more or less as they should: some of
// the schedules are wrong in one way or another.
func schedule(r *rand.Rand, base time.Time, lifetime time.Duration) []Key {
	upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }
	keys := make([]Key, 1+r.IntN(5))
	turn := base.Add(-upTo(lifetime))
	for i := range keys {
		seed := make([]byte, ed25519.SeedSize)
		seed[0] = byte(i + 1)
		k := Key{Algorithm: EdDSA, Signer: NewSigner(ed25519.NewKeyFromSeed(seed))}
		if i%3 == 2 {
			seed[31] = 1
			k = Key{Algorithm: HS256, Secret: guard.NewSecret(seed)}
		}
		if i > 0 || r.IntN(2) == 0 {
			k.SignFrom = turn
		}
		if r.IntN(3) > 0 && !k.SignFrom.IsZero() {
			k.PublishFrom = k.SignFrom.Add(-publishLead - upTo(time.Hour))
			if r.IntN(20) == 0 {
				k.PublishFrom = k.SignFrom.Add(-upTo(publishLead))
			}
		}
		turn = turn.Add(upTo(2*lifetime) + time.Second)
		if r.IntN(4) > 0 {
			k.VerifyUntil = turn.Add(lifetime + clockMargin)
			switch r.IntN(8) {
			case 0:
				k.VerifyUntil = k.VerifyUntil.Add(upTo(lifetime))
			case 1:
				k.VerifyUntil = k.VerifyUntil.Add(-upTo(lifetime))
			}
		}
		keys[i] = k
	}
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys
}

// moments are times at which something may change in the schedule, a
// nanosecond to either side of them, and some at random.
func moments(r *rand.Rand, s *ringState, base time.Time, lifetime time.Duration) []time.Time {
	var all []time.Time
	last := base
	for _, k := range s.keys {
		for _, at := range []time.Time{k.publishFrom, k.signFrom, k.verifyUntil, k.verifyUntil.Add(-lifetime - clockMargin)} {
			if at.After(base) {
				all = append(all, at.Add(-1), at, at.Add(1))
				last = latest(last, at)
			}
		}
	}
	for range 10 {
		all = append(all, base.Add(time.Duration(r.Int64N(int64(last.Sub(base)+2*lifetime)))))
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), 20)]
}

// TestRotationHolds takes thousands of schedules that NewKeyring and NewIssuer
// accept through time, on three processes and two verifiers of other services
// that keep the JWK Set for as long as they may, all with clocks that are off.
// No token that has not expired is ever unverifiable, and none is signed with a
// key that was not published for publishLead.
func TestRotationHolds(t *testing.T) {
	const schedules = 4000
	r := rand.New(rand.NewPCG(3, 7517))
	base := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	accepted, malformed, gaps, signed, checked := 0, 0, 0, 0, 0
	for round := range schedules {
		lifetime := time.Second * time.Duration(1+r.IntN(7200))
		state, err := newRingState(schedule(r, base, lifetime))
		if err != nil {
			malformed++
			continue
		}
		clocks := []time.Duration{skew(r), skew(r), skew(r), skew(r), skew(r)}
		replicas, remotes := clocks[:3], clocks[3:]
		if at, found := state.gap(base.Add(slices.Min(clocks)), lifetime); found {
			if k := state.signing(at, at.Add(lifetime)); k != nil {
				t.Errorf("round %d: at %v there is no key to sign with, and %s may", round, at, k.id)
			}
			gaps++
			continue
		}
		accepted++
		for _, at := range moments(r, state, base, lifetime) {
			for i, off := range replicas {
				now := at.Add(off)
				if now.Before(base.Add(slices.Min(clocks))) {
					continue
				}
				k := state.signing(now, now.Add(lifetime).Truncate(time.Second))
				if k == nil {
					if slices.ContainsFunc(state.keys, func(k *key) bool { return k.canSign() && k.signFrom.After(now) }) {
						t.Errorf("round %d: at %v process %d has no key to sign with, and will have one later", round, now, i)
					}
					continue
				}
				signed++
				if now.Sub(k.publishFrom) < publishLead {
					t.Errorf("round %d: process %d signs at %v with a key that is published from %v", round, i, now, k.publishFrom)
				}
				expires := now.Add(lifetime).Truncate(time.Second)
				for n := range 8 {
					// When the token is presented: at once, at the end, between.
					then := at.Add(time.Duration(r.Int64N(int64(lifetime) + int64(clockMargin))))
					switch n {
					case 0:
						then = at
					case 1:
						then = expires.Add(-slices.Max(clocks) - 1)
					}
					if then.Before(at) {
						continue
					}
					for j, off := range replicas {
						if there := then.Add(off); there.Before(expires) {
							checked++
							if found(state, k, there) != k {
								t.Errorf("round %d: process %d cannot verify at %v a token of process %d that expires at %v", round, j, there, i, expires)
							}
						}
					}
					for j, off := range remotes {
						if !then.Add(off).Before(expires) || k.jwk == nil {
							continue
						}
						// It has the set that some process gave out a while ago.
						fetched := then.Add(-time.Duration(r.Int64N(int64(jwksMaxAge) + 1)))
						if n < 4 {
							fetched = then.Add(-jwksMaxAge)
						}
						checked++
						if !k.published(fetched.Add(replicas[r.IntN(len(replicas))])) {
							t.Errorf("round %d: at %v verifier %d has no key for a token that process %d signed at %v, after %v of publishing it", round, then, j, i, now, now.Sub(k.publishFrom))
						}
					}
				}
			}
		}
		if round%50 == 0 { // that published means published
			now := base.Add(time.Duration(r.Int64N(int64(4 * lifetime))))
			wantPublished(t, state, now)
		}
	}
	t.Logf("%d schedules: %d malformed, %d with gaps, %d accepted; %d tokens, %d verifications", schedules, malformed, gaps, accepted, signed, checked)
	if accepted < 2000 || malformed < 100 || gaps < 100 || signed < 50_000 {
		t.Errorf("the schedules are one-sided: %d malformed, %d with gaps, %d accepted, %d tokens", malformed, gaps, accepted, signed)
	}
}

// wantPublished checks that the JWK Set has the keys that a Remote then knows.
func wantPublished(t *testing.T, state *ringState, now time.Time) {
	t.Helper()
	body, err := state.jwks(now)
	if err != nil {
		t.Fatal(err)
	}
	remote, refused, err := parseJWKS(string(body), []Algorithm{EdDSA}, []string{"sig"})
	if err != nil || refused != nil {
		t.Fatalf("%s: %v, %v", body, refused, err)
	}
	for _, k := range state.keys {
		if got, want := remote.key(k.id) != nil, k.jwk != nil && k.published(now); got != want {
			t.Errorf("key %s is in the set: %v, want %v", k.id, got, want)
		}
	}
}

// TestReplaceHolds takes rings through random replacements: those that are
// accepted let no key sign that was not published for publishLead, unless
// nothing else could sign.
func TestReplaceHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	keys := make([]Key, 4)
	for i := range keys {
		seed := make([]byte, ed25519.SeedSize)
		seed[0] = byte(i + 1)
		keys[i] = Key{Algorithm: EdDSA, Signer: NewSigner(ed25519.NewKeyFromSeed(seed))}
	}
	replaced, refused, alone := 0, 0, 0
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			ring, err := NewKeyring(keys[0])
			if err != nil {
				t.Fatal(err)
			}
			published := map[string]time.Time{ring.load().keys[0].id: {}} // since when
			current := map[int]Key{0: keys[0]}
			signs := map[string]bool{ring.load().keys[0].id: true}
			for range 12 {
				time.Sleep(time.Duration(r.Int64N(int64(2 * publishLead))))
				now := time.Now()
				// The keys whose turn came in between sign now.
				for _, k := range ring.load().keys {
					if k.turnHasCome(now) {
						signs[k.id] = true
					}
				}
				var next []Key
				chosen := make(map[int]Key)
				for i, k := range keys {
					if had, ok := current[i]; ok && r.IntN(4) > 0 {
						next, chosen[i] = append(next, had), had
						continue
					}
					had := len(next)
					switch r.IntN(5) {
					case 0:
						next = append(next, k)
					case 1:
						k.SignFrom = now.Add(time.Duration(r.Int64N(int64(2 * publishLead))))
						next = append(next, k)
					case 2:
						next = append(next, Key{Algorithm: EdDSA, Public: k.Signer.Public()})
					case 3:
						k.PublishFrom = now.Add(time.Duration(r.Int64N(int64(publishLead))) - publishLead/2)
						k.SignFrom = k.PublishFrom.Add(publishLead + time.Duration(r.Int64N(int64(publishLead))))
						next = append(next, k)
					}
					if len(next) > had {
						chosen[i] = next[had]
					}
				}
				before := ring.load()
				if err := ring.Replace(next...); err != nil {
					refused++
					if ring.load() != before {
						t.Error("a replacement that is refused changes the ring")
					}
					continue
				}
				replaced++
				current = chosen
				state := ring.load()
				stays := slices.ContainsFunc(state.keys, func(k *key) bool { return signs[k.id] && k.turnHasCome(now) })
				for id := range published {
					if state.key(id) == nil {
						delete(published, id)
					}
				}
				for _, k := range state.keys {
					since, known := published[k.id]
					if !known {
						since = now
					}
					since = latest(since, k.publishFrom)
					published[k.id] = since
					if !k.canSign() {
						continue
					}
					from := latest(now, k.signFrom)
					if from.Sub(since) >= publishLead || signs[k.id] && !k.signFrom.After(now) {
						continue
					}
					if stays && !laterThan(before, k, now) {
						t.Errorf("key %s is published from %v and signs from %v, and another could sign", k.id, since, from)
					}
					alone++
				}
				clear(signs)
				for _, k := range state.keys {
					if k.turnHasCome(now) {
						signs[k.id] = true
					}
				}
			}
		})
	}
	t.Logf("%d replaced, %d refused, %d keys that had to sign at once", replaced, refused, alone)
	if replaced < 500 || refused < 500 || alone < 50 {
		t.Error("the replacements are one-sided")
	}
}

// laterThan reports whether k signs no earlier than the ring of before had it
// planned, when that was allowed for want of another key.
func laterThan(before *ringState, k *key, now time.Time) bool {
	old := before.key(k.id)
	return old != nil && old.canSign() && !latest(now, k.signFrom).Before(latest(now, old.signFrom))
}

// found returns the key that verifies tokens of k at that moment, as their header
// names it.
func found(state *ringState, k *key, at time.Time) *key {
	found, _ := state.lookup(k.id, k.alg, at)
	return found
}

func TestKeyStateString(t *testing.T) {
	for s, want := range map[KeyState]string{KeyPending: "pending", KeyPublished: "published", KeySigning: "signing", KeyVerifying: "verifying", KeyRetired: "retired", 7: "KeyState(7)"} {
		if got := fmt.Sprint(s); got != want {
			t.Errorf("%d prints as %s, want %s", int(s), got, want)
		}
	}
}

// readsOldKeys is a KeySource whose keys are exchanged right after they were
// read for the first time.
type readsOldKeys struct {
	KeySource
	old *ringState
}

func (s *readsOldKeys) current(now time.Time) (*ringState, error) {
	if old := s.old; old != nil {
		s.old = nil
		return old, nil
	}
	return s.KeySource.current(now)
}

func TestKeysExchangedWhileATokenIsReadAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signs, err := GenerateKey(EdDSA)
		if err != nil {
			t.Fatal(err)
		}
		before, err := GenerateKey(EdDSA)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := NewKeyring(signs)
		if err != nil {
			t.Fatal(err)
		}
		other, err := NewKeyring(before)
		if err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		other.JWKSHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		set := published(rec.Body.String())
		remote, err := NewRemote(RemoteConfig{URL: "https://issuer.example.com", Algorithms: []Algorithm{EdDSA}, Client: &http.Client{Transport: &set}})
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		fetched := remote.known.Load().state
		rec = httptest.NewRecorder()
		ring.JWKSHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		set = published(rec.Body.String())
		time.Sleep(time.Minute)
		if err := remote.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		issuer, err := NewIssuer(ring, IssuerConfig{Issuer: "https://issuer.example.com", Audience: "api"})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := issuer.Issue(t.Context(), &identity.Principal{Subject: "ann", Credential: "1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, keys := range map[string]KeySource{
			"a Keyring": &readsOldKeys{ring, other.load()},
			"a Remote":  &readsOldKeys{remote, fetched},
		} {
			v, err := NewVerifier(keys, VerifierConfig{Issuer: "https://issuer.example.com", Audience: "api", InsecureNoRevoker: true})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", "Bearer "+signed)
			if p, err := v.Authenticate(r); err != nil || p.Subject != "ann" {
				t.Errorf("%s: Authenticate = %v, %v; want ann", name, p, err)
			}
		}
	})
}
