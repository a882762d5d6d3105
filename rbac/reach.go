package rbac

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/gatewright/gatewright/auth/identity"
)

// MaxRoles is how many roles a caller may have. One who has more is refused:
// to look at some of them only could miss one that denies.
const MaxRoles = 256

// A view is a policy as somebody with certain roles sees it.
type view struct {
	*compiled
	roles *identity.Set
	reach *reach // of roles, nil if it is not remembered
}

// view returns what the policy means for roles, of which there are at most
// MaxRoles.
func (c *compiled) view(roles *identity.Set) view {
	found, free := c.reaches.get(*roles)
	if found == nil && free != nil {
		if found = c.reachOf(*roles); found != nil {
			// Whoever was quicker in taking the place keeps it.
			free.CompareAndSwap(nil, found)
		}
	}
	return view{c, roles, found}
}

// asks returns whether one of the roles allows the permission at bit and
// whether one denies it.
func (v view) asks(bit int) (allowed, denied bool) {
	if v.reach != nil {
		return v.reach.may.has(bit), v.reach.denied.has(bit)
	}
	for name := range v.roles.All() {
		if r := v.compiled.roles[name]; r != nil {
			allowed = allowed || r.may.has(bit)
			denied = denied || r.denied.has(bit)
		}
	}
	return allowed, denied
}

// has reports whether one of the roles is r or inherits it.
func (v view) has(r *role) bool {
	if v.reach != nil {
		return v.reach.is.has(r.number)
	}
	for name := range v.roles.All() {
		if own := v.compiled.roles[name]; own != nil && own.is.has(r.number) {
			return true
		}
	}
	return false
}

// A reach is what several roles together amount to.
type reach struct {
	hash            uint64
	roles           identity.Set
	may, denied, is bitset
}

// maxRemembered is the largest number of roles that are remembered together.
const maxRemembered = 16

// reachOf returns what roles amount to, nil for sets that are not to be
// remembered: those with a role that the policy does not have, above all, so
// that names from outside cannot take up the places of the policy's own.
func (c *compiled) reachOf(roles identity.Set) *reach {
	for name := range roles.All() {
		if c.roles[name] == nil {
			return nil
		}
	}
	// Copies: the names may be parts of a whole token.
	names := make([]string, 0, roles.Len())
	for name := range roles.All() {
		names = append(names, strings.Clone(name))
	}
	n, m := len(c.permissions), len(c.names)
	sum := &reach{c.reaches.hash(roles), identity.NewSet(names...), newBitset(n), newBitset(n), newBitset(m)}
	for _, name := range names {
		r := c.roles[name]
		sum.may.add(r.may)
		sum.denied.add(r.denied)
		sum.is.add(r.is)
	}
	return sum
}

// reaches remembers what sets of roles amount to, for callers have few
// different ones. A place that is taken stays taken until the policy is
// replaced, for what it says cannot become wrong; sets that find no place are
// worked out each time, which takes some ten nanoseconds for each role.
type reaches struct {
	seed   maphash.Seed
	places [64][4]atomic.Pointer[reach]
}

// hash is the same for equal sets. Whether an attacker could find two sets
// with one hash does not matter: they take a place from nobody.
func (m *reaches) hash(roles identity.Set) uint64 {
	var h uint64
	for name := range roles.All() {
		h = (h ^ maphash.String(m.seed, name)) * 0x9e3779b97f4a7c15
	}
	return h ^ h>>32
}

// get returns what is remembered of roles, or else a place for it, or neither.
func (m *reaches) get(roles identity.Set) (found *reach, free *atomic.Pointer[reach]) {
	if n := roles.Len(); n == 0 || n > maxRemembered {
		return nil, nil
	}
	h := m.hash(roles)
	set := &m.places[h%uint64(len(m.places))]
	for i := range set {
		place := &set[i]
		r := place.Load()
		if r == nil {
			return nil, place
		}
		if r.hash == h && r.roles.Equal(roles) {
			return r, nil
		}
	}
	return nil, nil
}
