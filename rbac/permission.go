package rbac

import (
	"fmt"
	"strings"
	"sync"
)

// A Permission names an action, for example "users:delete". It is declared in a
// [Registry] or comes from [Engine.Permission]. Permissions of one registry with
// equal names are equal. The zero Permission is never granted.
type Permission struct {
	of   *Registry
	name string
	bit  int // in every compiled policy, or byName
}

// byName is the bit of a permission that only the policy declares: its real bit may
// differ from one policy to the next.
const byName = -1

// String returns the name.
func (p Permission) String() string { return p.name }

// Names returns the names of the permissions, for Allow and Deny of a [Role].
func Names(permissions ...Permission) []string {
	names := make([]string, len(permissions))
	for i, p := range permissions {
		names[i] = p.name
	}
	return names
}

// A Registry holds the permissions that the code declares, usually as package
// variables. The zero Registry is ready for use. It must not be copied after first
// use and is safe for concurrent use.
type Registry struct {
	mu     sync.Mutex
	names  []string // by bit
	folded map[string]string
	sealed bool
}

// Permission declares a permission. A name has at most 128 bytes, in segments
// separated by colons, each of ASCII letters, digits and _ . - / @ +. Permission
// panics if the name is malformed or declared already, in any case of letters, if the
// registry holds 16,384 permissions, and after [New].
func (r *Registry) Permission(name string) Permission {
	if why := malformed(name); why != "" {
		panic(fmt.Sprintf("rbac: Permission(%q): the name %s", name, why))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed {
		panic(fmt.Sprintf("rbac: Permission(%q) is declared after New; declare it in a package variable", name))
	}
	if len(r.names) == maxPermissions {
		panic(fmt.Sprintf("rbac: Permission(%q): the registry is full; use at most %d permissions", name, maxPermissions))
	}
	if other, ok := r.folded[strings.ToLower(name)]; ok {
		panic(fmt.Sprintf("rbac: Permission(%q): %q is declared already", name, other))
	}
	if r.folded == nil {
		r.folded = make(map[string]string)
	}
	r.folded[strings.ToLower(name)] = name
	r.names = append(r.names, name)
	return Permission{of: r, name: name, bit: len(r.names) - 1}
}

// seal makes later declarations panic: compiled policies have no bits for them.
func (r *Registry) seal() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = true
}

// declared returns the names by bit. Names are only appended, so the slice needs no
// copy.
func (r *Registry) declared() []string {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.names[:len(r.names):len(r.names)]
}

// Bounds of a policy. The largest one compiles to some 20 MB.
const (
	maxName        = 128   // bytes of a name of a role or a permission
	maxRoles       = 4096  // of a policy
	maxPermissions = 16384 // of a registry and a policy together
	maxWildcards   = 4096  // different ones, in a policy
)

// malformed returns what is wrong with the name of a role or a permission, or "".
func malformed(name string) string { return check(name, false) }

// malformedRule is malformed for names that may have wildcards.
func malformedRule(rule string) string { return check(rule, true) }

func check(name string, wildcards bool) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return fmt.Sprintf("has %d bytes; use at most %d", len(name), maxName)
	}
	for segment := range strings.SplitSeq(name, ":") {
		if segment == "" {
			return "has an empty segment; write a name on both sides of each colon"
		}
		if wildcards && segment == "*" {
			continue
		}
		for i := range len(segment) {
			switch c := segment[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("_.-/@+", c) >= 0:
			case c == '*' && wildcards:
				return "has a * beside other characters; use * as a whole segment"
			case c == '*':
				return "has a *; use wildcards in Allow and Deny only"
			default:
				return fmt.Sprintf("has the character %q; use letters, digits, _ . - / @ + and colons between segments", rune(c))
			}
		}
	}
	return ""
}

// isWildcard reports whether rule has a wildcard.
func isWildcard(rule string) bool { return strings.Contains(rule, "*") }

// matches reports whether a rule matches the name of a permission. A * matches one
// segment; as the last segment, one or more.
func matches(rule, name string) bool {
	for {
		want, rest, more := strings.Cut(rule, ":")
		segment, left, longer := strings.Cut(name, ":")
		switch {
		case want == "*" && !more:
			return true
		case want != "*" && want != segment:
			return false
		case !more || !longer:
			return more == longer
		}
		rule, name = rest, left
	}
}
