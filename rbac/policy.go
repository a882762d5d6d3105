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

// A Policy defines roles and their permissions. It is a Go literal, or JSON for
// [ParsePolicy]:
//
//	{
//		"permissions": ["users:read", "users:write", "users:delete"],
//		"roles": {
//			"user":  {"allow": ["users:read"]},
//			"admin": {"inherits": ["user"], "allow": ["users:*"]},
//			"auditor": {"inherits": ["admin"], "deny": ["users:write", "users:delete"]}
//		}
//	}
//
// [New], [Engine.Reload] and [Policy.Listing] check a Policy and copy it.
type Policy struct {
	// Permissions declares names in addition to Config.Permissions; a name in
	// both is one permission. Allow and Deny can use declared names only.
	// Default: the code declares all permissions.
	Permissions []string

	// Roles are the roles by name. At least one is required.
	Roles map[string]Role
}

// A Role allows and denies permissions.
//
// In Allow and Deny, the segment * matches any one segment of a name, and at the end
// one or more: "users:*", "*:users", and "*" for everything. Wildcards match the
// permissions that are declared when the policy is loaded; a wildcard without a match
// is a mistake.
type Role struct {
	// Inherits names roles. All their rules apply to this role too, denials
	// and inherited rules included.
	Inherits []string `json:"inherits,omitempty"`

	// Allow lists the permissions that the role grants.
	Allow []string `json:"allow,omitempty"`

	// Deny lists the permissions that are refused to every caller with the
	// role, even if a rule of this role, of a role that it inherits or that
	// inherits it, or of any other role of the caller allows them.
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

// MarshalJSON returns the JSON that [ParsePolicy] reads, with the roles sorted by
// name.
func (p Policy) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Permissions []string        `json:"permissions,omitempty"`
		Roles       map[string]Role `json:"roles,omitempty"`
	}{p.Permissions, p.Roles})
}

// UnmarshalJSON calls [ParsePolicy], so that a policy can be part of a larger
// configuration.
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
// the position, for unknown and repeated members, members in other upper or lower
// case, two roles whose names differ in case only, null, malformed names, and
// anything after the end. It does not check the rules; [New] does.
func ParsePolicy(data []byte) (Policy, error) {
	if len(data) > maxPolicyBytes {
		return Policy{}, fmt.Errorf("rbac: the JSON of the policy has %d bytes, want at most %d", len(data), maxPolicyBytes)
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
			err = fmt.Errorf("unknown member %q, want permissions and roles", member)
		}
		return err
	})
	if err != nil {
		return Policy{}, err
	}
	if _, err := r.dec.Token(); err != io.EOF {
		return Policy{}, errors.New("there is more after the policy")
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
			err = fmt.Errorf("unknown member %q, want inherits, allow and deny", member)
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
			return fmt.Errorf("found %v, want the name of a member", token)
		}
		// Valid names are ASCII; member refuses all other names.
		if folded := strings.ToLower(name); seen[folded] {
			return fmt.Errorf("the member %q is there twice, if only in other upper and lower case", name)
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
			return nil, fmt.Errorf("found %v, want a string", token)
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
		return fmt.Errorf("found %v, want %v", token, want)
	}
	return nil
}
