package token

import (
	"fmt"

	"github.com/gatewright/gatewright/auth/guard"
)

// Reasons why a token is rejected, for [errors.Is]. Each wraps ErrInvalid. The text,
// for logs, has the value and what was expected; clients do not receive it.
var (
	ErrInvalid   = guard.NewReason("auth/token: invalid token")
	ErrMalformed = guard.NewReason("auth/token: malformed token", ErrInvalid)               // size, envelope, header or claims
	ErrKey       = guard.NewReason("auth/token: unknown key ID", ErrInvalid)                // kid
	ErrAlgorithm = guard.NewReason("auth/token: wrong algorithm", ErrInvalid)               // alg
	ErrType      = guard.NewReason("auth/token: wrong type of token", ErrInvalid)           // typ, or a claim of ID tokens
	ErrSignature = guard.NewReason("auth/token: wrong signature", ErrInvalid)               //
	ErrIssuer    = guard.NewReason("auth/token: wrong issuer", ErrInvalid)                  // iss
	ErrAudience  = guard.NewReason("auth/token: wrong audience", ErrInvalid)                // aud
	ErrExpired   = guard.NewReason("auth/token: expired", ErrInvalid)                       // exp
	ErrTooEarly  = guard.NewReason("auth/token: not valid yet", ErrInvalid)                 // nbf or iat
	ErrLifetime  = guard.NewReason("auth/token: lifetime too long", ErrInvalid)             // exp - iat
	ErrClaim     = guard.NewReason("auth/token: a required claim is different", ErrInvalid) // Profile.Require, Refuse and so on
	ErrRevoked   = guard.NewReason("auth/token: revoked", ErrInvalid)
)

// A rejection is a reason with the member that led to it. Its text is made when
// needed.
type rejection struct {
	reason      error
	member      string // such as "aud"
	got         string // as it stands in the token; unbounded, and not escaped
	unnamed     bool   // got is left out: it could be a secret, or the whole token
	want        string
	unverified  bool // the signature was not verified
	gotIsQuoted bool // got is JSON
	n, most     int  // instead of got and want
	key         *key // whose signature is wrong
}

// maxQuoted bounds what an error text quotes of a token, in bytes.
const maxQuoted = 120

func (r *rejection) Error() string {
	s := r.reason.Error() + ": " + r.member
	switch {
	case r.key != nil:
		s += " does not match the key " + quote(r.key.id) + " with " + string(r.key.alg)
	case r.most != 0:
		s += fmt.Sprintf(" is %d; at most %d is accepted", r.n, r.most)
	case r.got != "" && r.gotIsQuoted && plainText(r.got) && len(r.got) <= maxQuoted:
		s += " is " + r.got
	case r.got != "":
		s += " is " + quote(r.got)
	case !r.unnamed:
		s += " is missing"
	}
	if r.want != "" {
		s += "; expected " + r.want
	}
	if r.unverified {
		s += " (the signature was not verified)"
	}
	return s
}

func (r *rejection) Unwrap() error { return r.reason }

// IsVerdict marks a rejection for guard.CannotDecide.
func (r *rejection) IsVerdict() {}

// A revocation is ErrRevoked with the token that is revoked.
type revocation struct{ credential, session, subject string }

func (r *revocation) Error() string {
	return ErrRevoked.Error() + ": " + quote(r.credential) + " of session " + quote(r.session) + ", subject " + quote(r.subject)
}

func (r *revocation) Unwrap() error { return ErrRevoked }

// IsVerdict marks a revocation for guard.CannotDecide.
func (r *revocation) IsVerdict() {}

// quote returns the beginning of s, escaped, for an error text.
func quote(s string) string {
	if len(s) > maxQuoted {
		return fmt.Sprintf("%q…", s[:maxQuoted])
	}
	return fmt.Sprintf("%q", s)
}

// malformed returns the rejection of a token with an unreadable part, which is not
// quoted.
func malformed(part, want string) error {
	return &rejection{reason: ErrMalformed, member: part, want: want, unnamed: true}
}

// missing returns the rejection of a token without a required member.
func missing(member, want string) error {
	return &rejection{reason: ErrMalformed, member: member, want: want}
}
