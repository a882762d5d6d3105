package identity

import (
	"fmt"
	"log/slog"
	"time"
)

// FirstParty is the [Principal.Client] of the host's own applications.
const FirstParty = "first-party"

// A Principal is the caller of a request and the rights of the credential that
// was presented. It holds no secret.
//
// Each request has a Principal of its own: a handler may change its fields, and
// no other request sees the change. Sets are immutable.
type Principal struct {
	// Issuer is the authority for the Subject: the "iss" of a token, or "apikey:"
	// and the prefix of an API key. Issuer and Subject together name the caller;
	// a Subject alone does not (OpenID Connect Core 1.0 section 5.7).
	Issuer string

	// Subject is the ID of the caller. It is unique within Issuer and never
	// reused.
	Subject string

	// Tenant is the organisation for which the caller acts. Empty means no
	// organisation, never any.
	Tenant string

	// Session is the sign-in session, which all tokens of one sign-in share. It
	// is empty for API keys.
	Session string

	// Credential is the ID of the token ("jti") or of the API key. It is not
	// secret; it may be logged and revoked.
	Credential string

	// Client is the OAuth client to which the credential was issued. Default:
	// [FirstParty].
	Client string

	// Roles are the roles in the credential. They may be out of date; guards that
	// need today's roles load them from the host.
	Roles Set

	// Scopes limit what the credential may be used for.
	Scopes Set

	// Factors are the methods by which the caller signed in, by their RFC 8176
	// names: "pwd", "otp", and so on.
	Factors Set

	// AuthTime is when the caller last signed in, IssuedAt when the credential
	// was made, and Expires when it ends. A zero Expires means never.
	AuthTime, IssuedAt, Expires time.Time

	// Claims is the verified claims set of a token as JSON; token.Claims decodes
	// it. It is empty for other credentials. It may hold personal data, so
	// LogValue, Format and encoding/json omit it.
	Claims string `json:"-"`
}

// Same reports whether p and q are one caller with one credential: Issuer,
// Subject, Tenant, Session and Credential are equal.
func (p *Principal) Same(q *Principal) bool {
	return p == q || p != nil && q != nil && p.Issuer == q.Issuer && p.Subject == q.Subject && p.Tenant == q.Tenant &&
		p.Session == q.Session && p.Credential == q.Credential
}

// LogValue returns the identifiers of p: issuer, subject, tenant, session,
// credential and client. It omits scopes, roles and claims.
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

// Format writes the quoted subject and issuer under every verb, without claims.
func (p Principal) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "principal(%q at %q)", p.Subject, p.Issuer)
}

// MaxClockSkew is how far the clocks of the machines of one service may differ.
// Revocations of everything up to now reach that far beyond the present, and
// credentials issued after such a revocation are dated accordingly.
const MaxClockSkew = 5 * time.Second

// A Revocation names credentials that are no longer valid: all that match every
// field that is not empty.
type Revocation struct {
	// Issuer is the issuer of the credentials. Required, because identifiers of
	// two issuers may be equal.
	Issuer string

	// Credential, Session, Subject and Tenant are compared with the fields of the
	// same name in [Principal]. If all are empty and Before is set, every
	// credential of the Issuer matches.
	Credential, Session, Subject, Tenant string

	// Before limits the revocation to credentials issued before this time, so
	// that later sign-ins are valid. If zero, the time of issue does not matter.
	Before time.Time

	// Spare is a session that the revocation does not end, for example the
	// session in which a password was changed. It requires Before, and excludes
	// Credential and Session. Credentials without a session are not spared.
	Spare string

	// Expires is when the revocation may be forgotten, because every credential
	// that it matches has expired. If zero, never.
	Expires time.Time
}
