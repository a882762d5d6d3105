package token

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// remembered returns how many tokens are in c.
func (c *cache) remembered() (n int) {
	for i := range c.sets {
		for j := range c.sets[i] {
			if c.sets[i][j].Load() != nil {
				n++
			}
		}
	}
	return n
}

// rig is a verifier and what signs for it.
func rig(t *testing.T, size int) (*Verifier, func(members string) string) {
	t.Helper()
	k, err := GenerateKey(HS256)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := NewKeyring(k)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(ring, VerifierConfig{Issuer: "i", Audience: "a", CacheSize: size, InsecureNoRevoker: true})
	if err != nil {
		t.Fatal(err)
	}
	signing := ring.load().keys[0]
	return v, func(members string) string {
		now := time.Now().Unix()
		input := encode([]byte(`{"alg":"HS256","typ":"at+jwt","kid":"`+signing.id+`"}`)) + "." +
			encode(fmt.Appendf(nil, `{"iss":"i","aud":"a","sub":"s","jti":"j","client_id":"c","iat":%d,"exp":%d%s}`, now, now+60, members))
		signature, err := signing.sign([]byte(input))
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + encode(signature)
	}
}

func TestCacheSizeIsRoundedUp(t *testing.T) {
	for size, want := range map[int]int{0: 4096, 1: 4, 4: 4, 5: 8, 1000: 1024, 4096: 4096} {
		if v, _ := rig(t, size); 4*len(v.cache.sets) != want {
			t.Errorf("CacheSize %d: %d places, want %d", size, 4*len(v.cache.sets), want)
		}
	}
	v, sign := rig(t, -1)
	if v.cache != nil {
		t.Error("a negative CacheSize makes a cache")
	}
	if _, err := v.Verify(t.Context(), sign("")); err != nil {
		t.Error(err)
	}
}

// TestInvalidTokensNeverEnterTheCache sends what nobody signed, and long tokens, to a
// verifier that remembers four.
func TestInvalidTokensNeverEnterTheCache(t *testing.T) {
	v, sign := rig(t, 4)
	good := sign("")
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	hit := func() bool {
		state, err := v.keys.current(time.Now())
		return err == nil && v.cache.get(good, state, time.Now()) != nil
	}
	if !hit() {
		t.Fatal("a good token is not remembered")
	}
	header, _, _ := strings.Cut(good, ".")
	for n := range 1000 {
		for _, s := range []string{
			fmt.Sprint("junk", n), header + "." + encode(fmt.Append(nil, n)) + "." + encode(make([]byte, 32)), good[:len(good)-4] + fmt.Sprintf("%04d", n),
		} {
			if _, err := v.Verify(t.Context(), s); err == nil {
				t.Fatal("taken")
			}
		}
		if _, err := v.Verify(t.Context(), sign(`,"exp":1`)); err == nil { // signed, and no good
			t.Fatal("taken")
		}
	}
	if n := v.cache.remembered(); n != 1 || !hit() {
		t.Errorf("%d tokens are remembered and the good one: %v; want it alone", n, hit())
	}
	for n := range 20 {
		long := sign(fmt.Sprintf(`,"x":"%02d%s"`, n, strings.Repeat("x", maxCached)))
		for range 2 {
			if _, err := v.Verify(t.Context(), long); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := v.cache.remembered(); n != 1 || !hit() {
		t.Errorf("after long tokens, %d are remembered and the good one: %v; want it alone", n, hit())
	}
	for n := range 200 {
		if _, err := v.Verify(t.Context(), sign(fmt.Sprintf(`,"n":%d`, n))); err != nil {
			t.Fatal(err)
		}
	}
	if n := v.cache.remembered(); n != 4 {
		t.Errorf("%d tokens are remembered, want 4", n)
	}
}

// TestCacheFollowsTheClock walks a hit through explicit times, among them a clock that is
// put back.
func TestCacheFollowsTheClock(t *testing.T) {
	base := time.Unix(1e9, 0)
	state, other := new(ringState), new(ringState)
	k := &key{publishFrom: base.Add(-time.Hour), verifyUntil: base.Add(time.Hour)}
	c := newCache(16)
	p := &identity.Principal{Subject: "alice", Expires: base.Add(time.Minute)}
	from := base.Add(-time.Second)
	c.put("token", state, k, from, base, p)
	p.Subject = "changed"
	for _, step := range []struct {
		name  string
		state *ringState
		at    time.Time
		want  bool
	}{
		{"now", state, base, true},
		{"the last moment", state, base.Add(time.Minute - 1), true},
		{"expired", state, base.Add(time.Minute), false},
		{"the clock put back", state, base, true},
		{"the clock put back to the first moment", state, from, true},
		{"the clock put back to before it was good", state, from.Add(-1), false},
		{"other keys", other, base, false},
		{"no keys", nil, base, false},
		{"the same keys again", state, base, true},
	} {
		e := c.get("token", step.state, step.at)
		if (e != nil) != step.want || e != nil && e.principal.Subject != "alice" {
			t.Errorf("%s: %+v, want a hit: %v", step.name, e, step.want)
		}
	}
	k2 := &key{verifyUntil: base.Add(time.Second)}
	c.put("other", state, k2, from, base, p)
	if c.get("other", state, base) == nil || c.get("other", state, base.Add(time.Second)) != nil {
		t.Error("a token outlives its key")
	}
	if c.get("token ", state, base) != nil || c.get("toke", state, base) != nil || c.get("", state, base) != nil {
		t.Error("another token is a hit")
	}
}

// TestCacheKeepsWhatIsGood: a token takes its own place again, or that of one
// which has ended, before that of one which is good.
func TestCacheKeepsWhatIsGood(t *testing.T) {
	base := time.Unix(1e9, 0)
	state, k := new(ringState), new(key)
	c := newCache(4) // one set
	put := func(s string, state *ringState, life time.Duration, now time.Time) {
		c.put(s, state, k, base, now, &identity.Principal{Expires: base.Add(life)})
	}
	good := func(s string, now time.Time) bool { return c.get(s, state, now) != nil }
	for _, s := range []string{"a", "b", "c", "c", "c", "d"} {
		put(s, state, time.Hour, base)
	}
	for _, s := range []string{"a", "b", "c", "d"} {
		if !good(s, base) {
			t.Errorf("%s has no place, and there are four", s)
		}
	}
	c = newCache(4)
	put("c", new(ringState), time.Hour, base) // of other keys
	put("a", state, time.Hour, base)
	put("b", state, time.Minute, base)
	put("d", state, time.Hour, base)
	now := base.Add(2 * time.Minute)
	put("e", state, time.Hour, now)
	put("f", state, time.Hour, now)
	for _, s := range []string{"a", "d", "e", "f"} {
		if !good(s, now) {
			t.Errorf("%s has no place, and only four are good", s)
		}
	}
}
