package rbac

import (
	"fmt"
	"slices"
	"strings"
)

// A Listing says what a policy means, by name and in a fixed order: for
// reviews, for tests, and for pages that show people what they may do. It is
// of one policy and does not change when an engine is given another. It is safe
// for concurrent use.
type Listing struct{ policy *compiled }

// Listing returns what p means together with the permissions that the code
// declares; declared may be nil. The errors are those of [New].
func (p Policy) Listing(declared *Registry) (*Listing, error) {
	c, err := compile(p, declared.declared())
	if err != nil {
		return nil, err
	}
	return &Listing{c}, nil
}

// Listing returns what the policy in force means.
func (e *Engine) Listing() *Listing { return &Listing{e.policy.Load()} }

// Roles returns the names of all roles, sorted.
func (l *Listing) Roles() []string { return slices.Clone(l.policy.names) }

// Permissions returns the names of all permissions, sorted.
func (l *Listing) Permissions() []string { return slices.Sorted(slices.Values(l.policy.permissions)) }

// May returns the permissions of somebody who has this role alone, sorted. It
// is empty for a role that is unknown.
func (l *Listing) May(role string) []string {
	return slices.DeleteFunc(l.Permissions(), func(permission string) bool { return !l.may(role, permission) })
}

// Who returns the roles of which each alone permits this, sorted. It is empty
// for a permission that is unknown.
func (l *Listing) Who(permission string) []string {
	return slices.DeleteFunc(l.Roles(), func(role string) bool { return !l.may(role, permission) })
}

func (l *Listing) may(role, permission string) bool { return l.verdict(role, permission) == Allowed }

// verdict is that of Why, but for what is unknown, which nobody is allowed.
func (l *Listing) verdict(role, permission string) Verdict {
	r := l.policy.roles[role]
	bit, ok := l.policy.bits[permission]
	switch {
	case r == nil || !ok:
		return Unallowed
	case r.denied.has(bit):
		return Denied
	case r.may.has(bit):
		return Allowed
	}
	return Unallowed
}

// String returns who has what as a table, a line for each permission and a
// column for each role: x for what the role permits, ! for what it denies.
func (l *Listing) String() string {
	roles, permissions := l.Roles(), l.Permissions()
	width := 0
	for _, p := range permissions {
		width = max(width, len(p))
	}
	var b strings.Builder
	line := func(first string, cell func(role string) string) {
		text := fmt.Sprintf("%-*s", width, first)
		for _, role := range roles {
			text += fmt.Sprintf("  %-*s", len(role), cell(role))
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line("", func(role string) string { return role })
	for _, p := range permissions {
		line(p, func(role string) string {
			r, bit := l.policy.roles[role], l.policy.bits[p]
			switch {
			case r.denied.has(bit):
				return "!"
			case r.may.has(bit):
				return "x"
			}
			return ""
		})
	}
	return b.String()
}

// A Verdict is what a role says about a permission.
type Verdict string

// The verdicts.
const (
	Allowed   Verdict = "allowed"   // by a rule, and denied by none
	Denied    Verdict = "denied"    // by a rule, whatever allows it
	Unallowed Verdict = "unallowed" // no rule is about it
	Unknown   Verdict = "unknown"   // there is no such role, or no such permission
)

// A Witness is the reason of a verdict: the rule that makes it and how the
// role comes to it.
type Witness struct {
	Verdict Verdict

	// Path leads from the role to the one whose rule it is, each inheriting
	// the next. It is as short as can be, and empty if there is no rule.
	Path []string

	// Rule is the rule as it stands in Allow or Deny.
	Rule string
}

// String returns the witness on one line, such as
// `admin → editor allows "posts:*"`.
func (w Witness) String() string {
	switch w.Verdict {
	case Allowed:
		return fmt.Sprintf("%s allows %q", strings.Join(w.Path, " → "), w.Rule)
	case Denied:
		return fmt.Sprintf("%s denies %q", strings.Join(w.Path, " → "), w.Rule)
	case Unallowed:
		return "nothing allows it"
	}
	return "unknown"
}

// Why returns what the role says about the permission, and by which rule.
func (l *Listing) Why(role, permission string) Witness {
	r := l.policy.roles[role]
	_, ok := l.policy.bits[permission]
	if r == nil || !ok {
		return Witness{Verdict: Unknown}
	}
	switch v := l.verdict(role, permission); v {
	case Denied:
		return l.witness(v, r, permission, denies)
	case Allowed:
		return l.witness(v, r, permission, allows)
	default:
		return Witness{Verdict: v}
	}
}

func allows(r *role) []string { return r.Allow }
func denies(r *role) []string { return r.Deny }

// witness looks for a rule about the permission in from and what it inherits,
// nearest first.
func (l *Listing) witness(v Verdict, from *role, permission string, rules func(*role) []string) Witness {
	heirs := map[*role]*role{from: nil}
	for queue := []*role{from}; len(queue) > 0; queue = queue[1:] {
		r := queue[0]
		for _, rule := range rules(r) {
			if !matches(rule, permission) {
				continue
			}
			w := Witness{Verdict: v, Rule: rule}
			for ; r != nil; r = heirs[r] {
				w.Path = append(w.Path, r.name)
			}
			slices.Reverse(w.Path)
			return w
		}
		for _, name := range r.Inherits {
			parent := l.policy.roles[name]
			if _, seen := heirs[parent]; !seen {
				heirs[parent] = r
				queue = append(queue, parent)
			}
		}
	}
	// The bits were set by the same rules.
	panic(fmt.Sprintf("rbac: no rule of %q is about %q", from.name, permission))
}

// A Change is what a role says about a permission in one policy and says
// otherwise in the next, and why.
type Change struct {
	Role, Permission string
	Before, After    Witness
}

// Gained reports whether the role permits now what it did not before.
func (c Change) Gained() bool { return c.After.Verdict == Allowed }

// Lost reports whether the role permitted before what it does not now. A
// change that is neither is a denial that came or went where the role had
// nothing: it matters to those who have the permission by another role.
func (c Change) Lost() bool { return c.Before.Verdict == Allowed }

// String returns the change on one line, such as
// `+ editor posts:edit: editor allows "posts:*"; before, nothing allows it`.
// It begins with + for a gain, - for a loss, and ! for a denial alone.
func (c Change) String() string {
	sign := "!"
	switch {
	case c.Gained():
		sign = "+"
	case c.Lost():
		sign = "-"
	}
	return fmt.Sprintf("%s %s %s: %s; before, %s", sign, c.Role, c.Permission, c.After, c.Before)
}

// Changes are all that is different between two policies.
type Changes []Change

// String returns a line for each change.
func (c Changes) String() string {
	var b strings.Builder
	for _, change := range c {
		b.WriteString(change.String() + "\n")
	}
	return b.String()
}

// Diff returns what is different once after takes the place of l, ordered by
// role and permission. Policies that are written differently and mean the same
// have no difference: every permission is then decided alike, whatever roles a
// caller has. (Whether a role is there at all, [Engine.RequireRole] sees, and
// Diff does not.)
func (l *Listing) Diff(after *Listing) Changes {
	var changes Changes
	permissions := union(l.Permissions(), after.Permissions())
	for _, role := range union(l.policy.names, after.policy.names) {
		for _, permission := range permissions {
			if l.verdict(role, permission) != after.verdict(role, permission) {
				changes = append(changes, Change{role, permission, l.Why(role, permission), after.Why(role, permission)})
			}
		}
	}
	return changes
}

// union returns the sorted names of both lists.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
