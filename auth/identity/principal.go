package identity

import (
	"fmt"
	"log/slog"
	"time"
)

// FirstParty is the value of [Principal.Client] for the host's own
// applications, the only clients there are until the host registers others.
const FirstParty = "first-party"

// A Principal is who sent a request and what the credential it was sent with
// may do. It holds no secret.
//
// Each request has a Principal of its own: a handler may change the fields of
// the one it was given, and no other request sees it. Sets cannot be changed
// at all.
type Principal struct {
	// Issuer is who vouches for the Subject: the "iss" of a token, or
	// "apikey:" and the prefix of an API key. With Subject it names the
	// caller; a Subject alone does not (OpenID Connect Core 1.0 section 5.7).
	Issuer string

	// Subject is who is calling. It is unique within Issuer, and never
	// given to somebody else later.
	Subject string

	// Tenant is the organisation the caller acts in. Empty means none; it
	// never means any.
	Tenant string

	// Session is the sign-in session, which all tokens that were refreshed
	// from one sign-in share. Empty for API keys.
	Session string

	// Credential identifies the token ("jti") or the API key that was
	// presented. It is an identifier and not the secret, so it may be logged
	// and revoked.
	Credential string

	// Client is the OAuth client the credential was issued to: [FirstParty]
	// unless the host has others.
	Client string

	// Roles is what the caller is, as the credential says. A role that was
	// taken away since is still here; guards that must not lag ask the host.
	Roles Set

	// Scopes is what the credential may be used for.
	Scopes Set

	// Factors is how the caller proved who they are, in the words of
	// RFC 8176: "pwd", "otp", and so on.
	Factors Set

	// AuthTime is when the caller last proved who they are, IssuedAt when
	// this credential was made, Expires when it ends. A zero Expires means
	// that the credential does not end by itself.
	AuthTime, IssuedAt, Expires time.Time

	// Claims is the verified claims set of a token as JSON, for hosts that
	// put members of their own into it; token.Claims decodes it. Empty for
	// other credentials. It may hold personal data, so LogValue, Format and
	// encoding/json leave it out.
	Claims string `json:"-"`
}

// Same reports whether p and q are one caller with one credential: Issuer,
// Subject, Tenant, Session and Credential are equal.
func (p *Principal) Same(q *Principal) bool {
	return p == q || p != nil && q != nil && p.Issuer == q.Issuer && p.Subject == q.Subject && p.Tenant == q.Tenant &&
		p.Session == q.Session && p.Credential == q.Credential
}

// LogValue shows what an audit trail needs: who, in which session, with which
// credential. Scopes, roles and claims are left out.
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

// Format prints the same under every verb: the caller, quoted, without the
// claims, so that a %+v of a principal in a host's log does not print them. (A
// principal in an unexported field of another struct is out of fmt's reach.)
func (p Principal) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "principal(%q at %q)", p.Subject, p.Issuer)
}

// MaxClockSkew is how far the clocks of the machines of one service may differ.
// Revocations of everything up to now reach that far beyond the present, and
// what is issued after one of them is dated accordingly.
const MaxClockSkew = 5 * time.Second

// A Revocation says which credentials are no longer good. Those that match
// every field that is not empty are meant, so one field names one credential,
// a session, a person or a tenant, and two narrow it down.
type Revocation struct {
	// Issuer is whose credentials are meant. It must not be empty: token
	// identifiers and subjects of two issuers may be alike.
	Issuer string

	// Credential, Session, Subject and Tenant are compared with the fields
	// of the same name in [Principal]. All four empty, with Before set,
	// means every credential of the Issuer.
	Credential, Session, Subject, Tenant string

	// Before limits the revocation to credentials issued before this
	// moment, so that whoever signs in again is let in. Zero means that
	// the date of issue does not matter.
	Before time.Time

	// Spare is a session that the revocation leaves alone although it matches
	// otherwise: the one in which a password was changed, while the others
	// end. It goes with Before, and not with Credential or Session. Empty
	// spares none; what belongs to no session is never spared.
	Spare string

	// Expires is when the revocation may be forgotten, because everything
	// it could match has expired by then. Zero means never.
	Expires time.Time
}
