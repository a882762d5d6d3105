package token

import (
	"hash/maphash"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	setcache "github.com/gatewright/gatewright/internal/cache"
)

// A cache holds valid tokens, so that a repeated token costs a look-up and not a
// signature verification. At each hit, good checks time and keys again, and the
// caller calls the Revoker. Clients without valid tokens cannot evict entries.
type cache struct {
	sets setcache.Table[cached]
	use  setcache.Use
}

// A cached is one immutable entry.
type cached struct {
	hash      uint64
	token     string
	state     *ringState // that key was in; with another one it is verified anew
	key       *key
	from      time.Time // before which it is refused, were a clock put back
	principal identity.Principal
}

// maxCached is the length of the longest token that is cached, so that clients do not
// choose the memory of the cache. Usual tokens have 500 to 800 bytes.
const maxCached = 2048

// newCache returns a cache of at least size places, nil for none.
func newCache(size int) *cache {
	if size <= 0 {
		return nil
	}
	return &cache{sets: setcache.New[cached](size)}
}

// good reports whether verifying the token again would have the same result.
func (e *cached) good(state *ringState, now time.Time) bool {
	return e.state == state && now.Before(e.principal.Expires) && !now.Before(e.from) && e.key.published(now)
}

// hashSeed keeps clients from choosing tokens of one set. All caches share it, so
// that Verifiers hashes a token once.
var hashSeed = maphash.MakeSeed()

// hashToken returns the hash of a token that may be in a cache.
func hashToken(token string) uint64 {
	if len(token) > maxCached {
		return 0
	}
	return maphash.String(hashSeed, token)
}

// get returns the entry of token if it is still good, otherwise nil.
func (c *cache) get(token string, state *ringState, now time.Time) *cached {
	return c.find(hashToken(token), token, state, now)
}

// find is get with the hash of token.
func (c *cache) find(hash uint64, token string, state *ringState, now time.Time) *cached {
	if c == nil || len(token) > maxCached {
		return nil
	}
	set := c.sets.Set(hash)
	for i := range set {
		if e := set[i].Load(); e != nil && e.hash == hash && e.token == token && e.good(state, now) {
			c.use.Hit(hash)
			return e
		}
	}
	return nil
}

// put stores that token is valid from a moment on for p, signed with a key of state.
func (c *cache) put(token string, state *ringState, k *key, from, now time.Time, p *identity.Principal) {
	if c == nil {
		return
	}
	hash := hashToken(token)
	c.use.Miss(hash)
	if len(token) > maxCached {
		return
	}
	e := &cached{hash, strings.Clone(token), state, k, from, *p}
	c.sets.Set(e.hash).Put(e, uint8(e.hash>>62),
		func(old *cached) bool { return old.hash == e.hash && old.token == token },
		func(old *cached) bool { return !old.good(state, now) })
}
