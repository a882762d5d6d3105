package identity

import (
	"fmt"
	"log/slog"
	"time"
)

// FirstParty is the [Principal.Client] of the host's own applications.
const FirstParty = "first-party"

// A Principal is the caller of a request and the rights of the presented credential.
// It holds no secret. Each request has its own, which handlers may change.
type Principal struct {
	// Issuer is the authority for the Subject: the "iss" of a token, or "apikey:" and
	// the prefix of an API key. Only Issuer and Subject together name the caller
	// (OpenID Connect Core 1.0 section 5.7).
	Issuer string

	// Subject is the ID of the caller, unique within Issuer and never reused.
	Subject string

	// Tenant is the organisation for which the caller acts. Empty means none, never
	// any.
	Tenant string

	// Session is the sign-in session of the token, empty for API keys.
	Session string

	// Credential is the ID of the token ("jti") or of the API key. It is not secret.
	Credential string

	// Client is the OAuth client to which the credential was issued. Default:
	// [FirstParty].
	Client string

	// Roles are the roles in the credential. They may be stale.
	Roles Set

	// Scopes limit the use of the credential.
	Scopes Set

	// Factors are the methods of the sign-in, by their RFC 8176 names: "pwd", "otp".
	Factors Set

	// AuthTime is when the caller last signed in, IssuedAt when the credential was
	// made, and Expires when it ends. A zero Expires means never.
	AuthTime, IssuedAt, Expires time.Time

	// Claims is the verified claims set of a token as JSON; token.Claims decodes it.
	// It may hold personal data, so LogValue, Format and encoding/json omit it.
	Claims string `json:"-"`
}

// Same reports whether Issuer, Subject, Tenant, Session and Credential are equal.
func (p *Principal) Same(q *Principal) bool {
	return p == q || p != nil && q != nil && p.Issuer == q.Issuer && p.Subject == q.Subject && p.Tenant == q.Tenant &&
		p.Session == q.Session && p.Credential == q.Credential
}

// LogValue returns issuer, subject, tenant, session, credential and client.
func (p *Principal) LogValue() slog.Value {
	if p == nil {
		return slog.GroupValue()
	}
	attrs := make([]slog.Attr, 0, 6)
	for _, a := range [...]struct{ key, value string }{
		{"issuer", p.Issuer},
		{"subject", p.Subject},
		{"tenant", p.Tenant},
		{"session", p.Session},
		{"credential", p.Credential},
		{"client", p.Client},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	return slog.GroupValue(attrs...)
}

// Format writes subject and issuer under every verb.
func (p Principal) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "principal(%q at %q)", p.Subject, p.Issuer)
}

// MaxClockSkew is how far the clocks of one service's machines may differ, by which
// revocations of everything up to now reach into the future.
const MaxClockSkew = 5 * time.Second

// A Revocation invalidates the credentials that match all its non-empty fields.
type Revocation struct {
	// Issuer of the credentials. Required.
	Issuer string

	// Credential, Session, Subject and Tenant are compared with the [Principal]. If
	// all are empty and Before is set, every credential of the Issuer matches.
	Credential, Session, Subject, Tenant string

	// Before limits the revocation to credentials issued earlier, if not zero.
	Before time.Time

	// Spare is a session that the revocation does not end. It requires Before, and
	// excludes Credential and Session. Credentials without a session are not spared.
	Spare string

	// Expires is when every matching credential has expired. If zero, never.
	Expires time.Time
}
