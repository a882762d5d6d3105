// Package audit makes the events that several packages emit.
package audit

import (
	"log/slog"
	"slices"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// Revoked returns the event of a revocation. Its Target is what the revocation names
// first of a credential, a subject, a session, a tenant and an issuer, and the change
// "revoked" names which.
func Revoked(which identity.Revocation) guard.Event {
	e := guard.Event{Name: guard.EventTokenRevoked, Session: which.Session}
	for _, f := range [...]struct{ kind, value string }{
		{"credential", which.Credential}, {"subject", which.Subject}, {"session", which.Session}, {"tenant", which.Tenant}, {"issuer", which.Issuer},
	} {
		if f.value != "" {
			e.Target = f.value
			e.Changes = append(e.Changes, slog.String("revoked", f.kind))
			break
		}
	}
	for _, f := range [...]struct{ key, value string }{
		{"issuer", which.Issuer}, {"subject", which.Subject}, {"tenant", which.Tenant}, {"spare", which.Spare},
	} {
		if f.value != "" && f.value != e.Target {
			e.Changes = append(e.Changes, slog.String(f.key, f.value))
		}
	}
	if !which.Before.IsZero() {
		e.Changes = append(e.Changes, slog.Time("before", which.Before))
	}
	return e
}

// Names returns the change of a list, for Event.Changes.
func Names(key string, names identity.Set) slog.Attr {
	return slog.Any(key, slices.Collect(names.All()))
}
