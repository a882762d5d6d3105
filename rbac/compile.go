package rbac

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// compiled is a policy as bits. It is immutable.
type compiled struct {
	permissions []string       // by bit: the registry's, then the policy's own
	bits        map[string]int // by name
	roles       map[string]*role
	names       []string // of the roles, sorted
	index       index    // of roles
}

// A role is a Role together with all inherited rules.
type role struct {
	Role
	name   string
	number int
	may    bitset // allowed permissions; denied ones are not removed
	denied bitset // permissions
	is     bitset // numbers of roles, its own included
}

// A bitset is a set of small numbers. All bitsets of a policy have the same length.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[uint(i)/64]&(1<<(uint(i)%64)) != 0 }

func (b bitset) add(c bitset) {
	for i, word := range c {
		b[i] |= word
	}
}

// compile checks p and compiles it for the declared permissions of the registry
// and its own. The error lists every mistake.
func compile(p Policy, declared []string) (*compiled, error) {
	c := &compiler{
		policy: p.clone(),
		compiled: &compiled{
			permissions: slices.Clone(declared),
			bits:        make(map[string]int),
			roles:       make(map[string]*role),
			names:       slices.Sorted(maps.Keys(p.Roles)),
		},
		expanded: make(map[string]bitset),
	}
	c.declare()
	c.name()
	if err := errors.Join(c.mistakes...); err != nil {
		// With wrong names, the checks below would report correct rules.
		return nil, err
	}
	for _, name := range c.names {
		c.rules(c.roles[name])
	}
	for _, name := range c.names {
		c.inherit(name)
	}
	if err := errors.Join(c.mistakes...); err != nil {
		return nil, err
	}
	c.index = newIndex(c.roles)
	return c.compiled, nil
}

// A compiler collects the mistakes of a policy while it compiles it.
type compiler struct {
	*compiled
	policy   Policy
	mistakes []error
	expanded map[string]bitset // by wildcard
	path     []string          // of the roles that inherit is at
	done     map[string]bool
}

// maxMistakes bounds the reported mistakes. A policy in which all roles inherit
// each other has too many cycles to print.
const maxMistakes = 100

func (c *compiler) mistake(format string, args ...any) {
	switch len(c.mistakes) {
	case maxMistakes + 1:
	case maxMistakes:
		c.mistakes = append(c.mistakes, errors.New("rbac: Policy has more mistakes than these"))
	default:
		c.mistakes = append(c.mistakes, fmt.Errorf("rbac: Policy."+format, args...))
	}
}

// declare numbers the permissions.
func (c *compiler) declare() {
	folded := make(map[string]string)
	for bit, name := range c.permissions {
		c.bits[name] = bit
		folded[strings.ToLower(name)] = name
	}
	own := make(map[string]bool)
	for i, name := range c.policy.Permissions {
		other, known := folded[strings.ToLower(name)]
		switch why := malformed(name); {
		case why != "":
			c.mistake("Permissions[%d] is %q: the name %s", i, name, why)
		case own[name]:
			c.mistake("Permissions[%d] is %q, which is listed twice", i, name)
		case known && other != name:
			c.mistake("Permissions[%d] is %q, which differs from %q in upper and lower case only", i, name, other)
		case !known:
			folded[strings.ToLower(name)] = name
			c.bits[name] = len(c.permissions)
			c.permissions = append(c.permissions, name)
		}
		own[name] = true
	}
	if n := len(c.permissions); n > maxPermissions {
		c.mistake("Permissions makes %d with Config.Permissions; use at most %d", n, maxPermissions)
	}
}

// name numbers the roles.
func (c *compiler) name() {
	if len(c.names) == 0 {
		c.mistake("Roles is empty; define at least one role")
	}
	if len(c.names) > maxRoles {
		c.mistake("Roles has %d roles; use at most %d", len(c.names), maxRoles)
	}
	folded := make(map[string]string)
	for i, name := range c.names {
		if why := malformed(name); why != "" {
			c.mistake("Roles[%q]: the name %s", name, why)
		} else if other, known := folded[strings.ToLower(name)]; known {
			c.mistake("Roles[%q] differs from %q in upper and lower case only", name, other)
		}
		folded[strings.ToLower(name)] = name
		c.roles[name] = &role{Role: c.policy.Roles[name], name: name, number: i}
	}
}

// rules sets the bits of a role's own rules.
func (c *compiler) rules(r *role) {
	r.may, r.denied, r.is = newBitset(len(c.permissions)), newBitset(len(c.permissions)), newBitset(len(c.names))
	r.is.set(r.number)
	c.expand(r.may, r.name, "Allow", r.Allow)
	c.expand(r.denied, r.name, "Deny", r.Deny)
	seen := make(map[string]bool)
	for i, parent := range r.Inherits {
		switch {
		case c.roles[parent] == nil:
			c.mistake("Roles[%q].Inherits[%d] is %q, which is not a role of the policy", r.name, i, parent)
		case seen[parent]:
			c.mistake("Roles[%q].Inherits[%d] is %q, which is listed twice", r.name, i, parent)
		}
		seen[parent] = true
	}
}

// expand sets the bits of the permissions that the rules match.
func (c *compiler) expand(bits bitset, role, field string, rules []string) {
	seen := make(map[string]bool)
	for i, rule := range rules {
		bit, known := c.bits[rule]
		why := malformedRule(rule)
		switch {
		case why != "":
			c.mistake("Roles[%q].%s[%d] is %q: the name %s", role, field, i, rule, why)
		case seen[rule]:
			c.mistake("Roles[%q].%s[%d] is %q, which is listed twice", role, field, i, rule)
		case known:
			bits.set(bit)
		case !isWildcard(rule):
			c.mistake("Roles[%q].%s[%d] is %q, which is not a declared permission", role, field, i, rule)
		default:
			all, ok := c.expanded[rule]
			if !ok {
				all = c.wildcard(rule)
			}
			if all == nil {
				c.mistake("Roles[%q].%s[%d] is %q, which matches no declared permission", role, field, i, rule)
				break
			}
			bits.add(all)
		}
		seen[rule] = true
	}
}

// wildcard returns the permissions that rule matches, or nil without a match.
func (c *compiler) wildcard(rule string) bitset {
	if len(c.expanded) == maxWildcards {
		c.mistake("Roles has more than %d different wildcards; use names or fewer roles", maxWildcards)
	}
	if len(c.expanded) > maxWildcards {
		return newBitset(len(c.permissions)) // the mistake is recorded, once
	}
	var all bitset
	for bit, name := range c.permissions {
		if matches(rule, name) {
			if all == nil {
				all = newBitset(len(c.permissions))
			}
			all.set(bit)
		}
	}
	c.expanded[rule] = all
	return all
}

// inherit adds the rules of the parents to a role, after compiling the parents.
func (c *compiler) inherit(name string) {
	if c.done[name] || len(c.mistakes) > maxMistakes {
		return
	}
	if at := slices.Index(c.path, name); at >= 0 {
		c.mistake("Roles has a cycle of inheritance: %s", strings.Join(append(slices.Clone(c.path[at:]), name), " → "))
		return
	}
	r := c.roles[name]
	c.path = append(c.path, name)
	for _, parent := range r.Inherits {
		p := c.roles[parent]
		if p == nil {
			continue // recorded by rules
		}
		c.inherit(parent)
		r.may.add(p.may)
		r.denied.add(p.denied)
		r.is.add(p.is)
	}
	c.path = c.path[:len(c.path)-1]
	if c.done == nil {
		c.done = make(map[string]bool)
	}
	c.done[name] = true
}

// bit returns the bit of p, and whether the policy declares p.
func (c *compiled) bit(p Permission) (int, bool) {
	if p.bit != byName {
		return p.bit, true
	}
	bit, ok := c.bits[p.name]
	return bit, ok
}
