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

// A Policy says which roles there are and what each may do. It is plain data:
// a Go literal, or JSON that [ParsePolicy] has read:
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
// A Policy means something once [New], [Engine.Reload] or [Policy.Listing]
// has found it free of mistakes. They copy what they need of it.
type Policy struct {
	// Permissions are names that can be permitted in addition to those of
	// Config.Permissions; one that is in both is the same. What Allow and
	// Deny name must be among them.
	// Default: the code declares all there are.
	Permissions []string

	// Roles are the roles by name. There must be one at least.
	Roles map[string]Role
}

// A Role is what those who have it may do.
//
// In Allow and Deny, the segment * stands for any one segment of a name, and
// at the end for one or more: "users:*" and "*:users" and, for everything,
// "*". Wildcards stand for the permissions that are declared when the policy
// is loaded, and one that stands for none is a mistake.
type Role struct {
	// Inherits names the roles whose rules, denials included, are this
	// one's too, with all that those inherit.
	Inherits []string `json:"inherits,omitempty"`

	// Allow is what the role permits.
	Allow []string `json:"allow,omitempty"`

	// Deny is what nobody who has the role may do, whatever allows it: a
	// rule of this role, of one it inherits or that inherits it, or of any
	// other role of the same caller.
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

// MarshalJSON writes the form that [ParsePolicy] reads, roles in the order of
// their names.
func (p Policy) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Permissions []string        `json:"permissions,omitempty"`
		Roles       map[string]Role `json:"roles,omitempty"`
	}{p.Permissions, p.Roles})
}

// UnmarshalJSON reads what [ParsePolicy] reads, as strictly, so that a policy
// may be part of a larger configuration.
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

// ParsePolicy reads a policy from JSON, of at most 1 MiB. It is strict, so
// that two readers cannot read one file differently: a member that is unknown,
// misspelt in upper or lower case, or there twice, two roles whose names
// differ in case only, null, a name that no policy may have, and anything
// after the end are errors, which say where. Whether the policy makes sense is
// for [New] to say.
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

// A policyReader reads a policy token by token: encoding/json would let the
// last of two members win, and take "ALLOW" for "allow", even when told to
// refuse unknown fields. There is no recursion, so nothing can nest deeper
// than a policy does.
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

// object reads an object and calls member for each name, which reads the
// value.
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
		// Names that are good are ASCII, and others are refused below.
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

// names reads an array of strings that wrong has nothing against.
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
