package rbac

import (
	"fmt"
	"slices"
	"strings"
)

// A Listing lists what each role of a policy may do. It is immutable.
type Listing struct{ policy *compiled }

// Listing returns the Listing of p with the permissions that the code declares. It
// leaves declared, which may be nil, open and returns errors as [New] does.
func (p Policy) Listing(declared *Registry) (*Listing, error) {
	c, err := compile(p, declared.declared())
	if err != nil {
		return nil, err
	}
	return &Listing{c}, nil
}

// Listing returns the Listing of the policy in force.
func (e *Engine) Listing() *Listing { return &Listing{e.policy.Load()} }

// Roles returns the names of all roles, sorted.
func (l *Listing) Roles() []string { return slices.Clone(l.policy.names) }

// Permissions returns the names of all permissions, sorted.
func (l *Listing) Permissions() []string { return slices.Sorted(slices.Values(l.policy.permissions)) }

// May returns the permissions that the role grants, sorted.
func (l *Listing) May(role string) []string {
	return slices.DeleteFunc(l.Permissions(), func(permission string) bool { return !l.may(role, permission) })
}

// Who returns the roles that grant the permission, sorted.
func (l *Listing) Who(permission string) []string {
	return slices.DeleteFunc(l.Roles(), func(role string) bool { return !l.may(role, permission) })
}

func (l *Listing) may(role, permission string) bool { return l.verdict(role, permission) == Allowed }

// verdict is the Verdict of Why, with Unallowed in the place of Unknown.
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

// String returns a table of permissions and roles, with x for grants and ! for
// denials.
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

// A Verdict is a role's result for a permission.
type Verdict string

// The verdicts.
const (
	Allowed   Verdict = "allowed"   // a rule allows it, and no rule denies it
	Denied    Verdict = "denied"    // a rule denies it, even if another allows it
	Unallowed Verdict = "unallowed" // no rule matches it
	Unknown   Verdict = "unknown"   // the policy does not have the role or the permission
)

// A Witness explains a verdict.
type Witness struct {
	Verdict Verdict

	// Path is a shortest path from the role to the ancestor that has the
	// rule. It is empty without a rule.
	Path []string

	// Rule is the entry of Allow or Deny.
	Rule string
}

// String returns one line, for example `admin → editor allows "posts:*"`.
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

// Why returns the verdict of the role for the permission and explains it.
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

// witness returns the nearest rule for the permission in from and its ancestors.
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

// A Change is a difference between two policies: two verdicts of a role or, with an
// empty Role, a permission that only one policy declares.
type Change struct {
	Role, Permission string
	Before, After    Witness
}

// Gained reports whether only the new policy grants the permission to the role.
func (c Change) Gained() bool { return c.After.Verdict == Allowed }

// Lost reports whether only the old policy grants the permission to the role. Other
// changes concern denials, which matter to callers with further roles, or
// declarations, which matter to owners.
func (c Change) Lost() bool { return c.Before.Verdict == Allowed }

// String returns one line that begins with + for a gain, - for a loss, and !
// otherwise.
func (c Change) String() string {
	sign := "!"
	switch {
	case c.Role == "" && c.After.Verdict == Unknown:
		return fmt.Sprintf("! %s: not declared; before, declared", c.Permission)
	case c.Role == "":
		return fmt.Sprintf("! %s: declared; before, not declared", c.Permission)
	case c.Gained():
		sign = "+"
	case c.Lost():
		sign = "-"
	}
	return fmt.Sprintf("%s %s %s: %s; before, %s", sign, c.Role, c.Permission, c.After, c.Before)
}

// Changes are the differences between two policies.
type Changes []Change

// String returns a line for each change.
func (c Changes) String() string {
	var b strings.Builder
	for _, change := range c {
		b.WriteString(change.String() + "\n")
	}
	return b.String()
}

// Diff returns the changes from l to after, ordered by role and permission. Without
// changes, both policies decide alike about every permission. Diff does not compare
// which roles exist or inherit each other, as [Engine.RequireRole] does.
func (l *Listing) Diff(after *Listing) Changes {
	var changes Changes
	permissions := union(l.Permissions(), after.Permissions())
	for _, permission := range permissions {
		if was, is := l.declared(permission), after.declared(permission); was != is {
			changes = append(changes, Change{Permission: permission, Before: Witness{Verdict: was}, After: Witness{Verdict: is}})
		}
	}
	for _, role := range union(l.policy.names, after.policy.names) {
		for _, permission := range permissions {
			if l.verdict(role, permission) != after.verdict(role, permission) {
				changes = append(changes, Change{role, permission, l.Why(role, permission), after.Why(role, permission)})
			}
		}
	}
	return changes
}

// declared returns the verdict for a permission that no rule matches.
func (l *Listing) declared(permission string) Verdict {
	if _, ok := l.policy.bits[permission]; ok {
		return Unallowed
	}
	return Unknown
}

// union returns the sorted names of both lists.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
