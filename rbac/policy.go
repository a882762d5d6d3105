package rbac

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Policy defines roles and their permissions, as a Go literal or as JSON for
// [ParsePolicy]:
//
//	{
//		"permissions": ["users:read", "users:write"],
//		"roles": {
//			"user":    {"allow": ["users:read"]},
//			"admin":   {"inherits": ["user"], "allow": ["users:*"]},
//			"auditor": {"inherits": ["admin"], "deny": ["users:write"]}
//		}
//	}
type Policy struct {
	// Permissions declares names in addition to Config.Permissions. Allow
	// and Deny can use declared names only.
	Permissions []string

	// Roles are the roles by name, at least one.
	Roles map[string]Role
}

// A Role allows and denies permissions.
//
// In Allow and Deny, the segment * matches one segment of a name, and at the end one
// or more: "users:*", "*:users", "*". Wildcards match declared permissions; one
// without a match is a mistake.
type Role struct {
	// Inherits names roles whose rules, denials included, apply to this
	// role too.
	Inherits []string `json:"inherits,omitempty"`

	// Allow lists the permissions that the role grants.
	Allow []string `json:"allow,omitempty"`

	// Deny lists the permissions that callers with this role never have,
	// whatever this or another role allows.
	Deny []string `json:"deny,omitempty"`
}

// clone returns a copy that shares nothing.
func (p Policy) clone() Policy {
	own := Policy{Permissions: slices.Clone(p.Permissions), Roles: make(map[string]Role, len(p.Roles))}
	for name, r := range p.Roles {
		own.Roles[name] = Role{slices.Clone(r.Inherits), slices.Clone(r.Allow), slices.Clone(r.Deny)}
	}
	return own
}

// MarshalJSON returns JSON for [ParsePolicy], with the roles sorted by name.
func (p Policy) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Permissions []string        `json:"permissions,omitempty"`
		Roles       map[string]Role `json:"roles,omitempty"`
	}{p.Permissions, p.Roles})
}

// UnmarshalJSON calls [ParsePolicy].
func (p *Policy) UnmarshalJSON(data []byte) error {
	read, err := ParsePolicy(data)
	if err != nil {
		return err
	}
	*p = read
	return nil
}

// maxPolicyBytes bounds the JSON of a policy.
const maxPolicyBytes = 1 << 20

// ParsePolicy reads a policy from JSON of at most 1 MiB. It returns an error, with
// the position, for null, trailing data, malformed names, and unknown or repeated
// members, in any case of letters. [New] checks the rules.
func ParsePolicy(data []byte) (Policy, error) {
	if len(data) > maxPolicyBytes {
		return Policy{}, fmt.Errorf("rbac: the JSON of the policy has %d bytes; use at most %d", len(data), maxPolicyBytes)
	}
	r := policyReader{json.NewDecoder(bytes.NewReader(data))}
	p, err := r.policy()
	if err != nil {
		return Policy{}, fmt.Errorf("rbac: the JSON of the policy, before byte %d: %w", r.dec.InputOffset(), err)
	}
	return p, nil
}

// A policyReader reads a policy token by token, because encoding/json accepts
// repeated members and "ALLOW" for "allow", even with DisallowUnknownFields. It does
// not recurse, so the nesting is bounded.
type policyReader struct{ dec *json.Decoder }

func (r policyReader) policy() (p Policy, err error) {
	err = r.object(func(member string) (err error) {
		switch member {
		case "permissions":
			p.Permissions, err = r.names(malformed)
		case "roles":
			p.Roles, err = r.roles()
		default:
			err = fmt.Errorf("unknown member %q; use permissions and roles", member)
		}
		return err
	})
	if err != nil {
		return Policy{}, err
	}
	if _, err := r.dec.Token(); err != io.EOF {
		return Policy{}, errors.New("trailing data after the policy")
	}
	return p, nil
}

func (r policyReader) roles() (map[string]Role, error) {
	var roles map[string]Role
	err := r.object(func(name string) error {
		if why := malformed(name); why != "" {
			return fmt.Errorf("the name %q of a role %s", name, why)
		}
		role, err := r.role()
		if err != nil {
			return err
		}
		if roles == nil {
			roles = make(map[string]Role)
		}
		roles[name] = role
		return nil
	})
	return roles, err
}

func (r policyReader) role() (role Role, err error) {
	err = r.object(func(member string) (err error) {
		switch member {
		case "inherits":
			role.Inherits, err = r.names(malformed)
		case "allow":
			role.Allow, err = r.names(malformedRule)
		case "deny":
			role.Deny, err = r.names(malformedRule)
		default:
			err = fmt.Errorf("unknown member %q; use inherits, allow and deny", member)
		}
		return err
	})
	return role, err
}

// object reads an object and calls member for each name; member reads the value.
func (r policyReader) object(member func(name string) error) error {
	if err := r.delim('{'); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("found %v instead of a member name", token)
		}
		// Valid names are ASCII; member refuses all other names.
		if folded := strings.ToLower(name); seen[folded] {
			return fmt.Errorf("the member %q is repeated, possibly in another case", name)
		} else {
			seen[folded] = true
		}
		if err := member(name); err != nil {
			return err
		}
	}
	return r.delim('}')
}

// names reads an array of strings for which wrong returns "".
func (r policyReader) names(wrong func(string) string) ([]string, error) {
	if err := r.delim('['); err != nil {
		return nil, err
	}
	var names []string
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("found %v instead of a string", token)
		}
		if why := wrong(name); why != "" {
			return nil, fmt.Errorf("the name %q %s", name, why)
		}
		names = append(names, name)
	}
	return names, r.delim(']')
}

func (r policyReader) delim(want json.Delim) error {
	token, err := r.dec.Token()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("found %v instead of %v", token, want)
	}
	return nil
}
