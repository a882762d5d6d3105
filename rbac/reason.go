package rbac

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Reasons, for the log, that do not depend on the policy.
var (
	errNoSubject    = errors.New("rbac: the caller's Principal.Subject is empty")
	errNoTenant     = errors.New("rbac: the caller's Principal.Tenant is empty")
	errTooManyRoles = fmt.Errorf("rbac: the caller has more than %d roles", maxRolesOfCaller)
)

// Errors of Check, CheckAny and CheckRole without arguments.
var (
	errNoPermission = errors.New("rbac: no permission to check; pass at least one")
	errNoRole       = errors.New("rbac: no role to check; pass at least one")
)

// A reason is why the policy refuses a caller. Error formats it, because without
// Hooks.Observe the text is not needed.
type reason struct {
	subject string
	roles   identity.Set
	policy  *compiled
	why     string
	names   []string // that why is about
}

// refuse returns a 403 for p.
func (v view) refuse(p *identity.Principal, why string, names ...string) error {
	return guard.Forbidden(&reason{p.Subject, *v.roles, v.compiled, why, names})
}

// Error names the caller, what was refused, and roles that the policy does not have.
func (r *reason) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rbac: %s %s", quote(r.subject), r.why)
	for i, name := range r.names {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + quote(name))
	}
	const shown = 3
	var unknown []string
	n := 0
	for name := range r.roles.All() {
		if r.policy.roles[name] != nil {
			continue
		}
		if n++; n <= shown {
			unknown = append(unknown, quote(name))
		}
	}
	if n > 0 {
		fmt.Fprintf(&b, "; the policy does not have %d of the %d roles: %s", n, r.roles.Len(), strings.Join(unknown, ", "))
	}
	if n > shown {
		b.WriteString(", …")
	}
	return b.String()
}

// quote returns a name of any origin quoted and shortened for a log.
func quote(name string) string {
	const most = 64
	if len(name) > most {
		return fmt.Sprintf("%q…", name[:most])
	}
	return fmt.Sprintf("%q", name)
}
