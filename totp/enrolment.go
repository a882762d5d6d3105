package totp

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const redacted = "totp: secret not shown"

// An Enrolment is a new secret, to be shown to the user once. Only URI, Secret, PNG and
// SVG reveal it; fmt, slog and JSON do not.
type Enrolment struct {
	// Expires is when it can no longer be confirmed.
	Expires time.Time

	// A func, because fmt does not call Format for unexported fields of other
	// structs; of a func it prints only the address.
	show func() shown
}

type shown struct{ uri, secret string }

// maxURI is the longest URI, in bytes, whose QR code is still easy to read.
const maxURI = 1000

func newEnrolment(k key, issuer, account string) (*Enrolment, error) {
	s := shown{secret: base32Text.EncodeToString(k.secret)}
	var b strings.Builder
	b.WriteString("otpauth://totp/")
	escape(&b, issuer)
	b.WriteByte(':')
	escape(&b, account)
	b.WriteString("?secret=" + s.secret + "&issuer=")
	escape(&b, issuer)
	// Defaults are left out: some apps refuse parameters that they ignore.
	if k.algorithm != SHA1 {
		b.WriteString("&algorithm=" + k.algorithm.String())
	}
	if k.digits != 6 {
		fmt.Fprintf(&b, "&digits=%d", k.digits)
	}
	s.uri = b.String()
	if len(s.uri) > maxURI {
		return nil, errors.New("totp: the names of issuer and account are too long for a QR code")
	}
	return &Enrolment{show: func() shown { return s }}, nil
}

// escape escapes all bytes of s that are not unreserved (RFC 3986 section 2.3).
// net/url does not escape '+', which half of the apps read as a space, nor '/' and '&'
// in a path.
func escape(b *strings.Builder, s string) {
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(b, "%%%02X", c)
	}
}

// URI returns the otpauth URI of the QR code, with the secret.
func (e Enrolment) URI() string { return e.show().uri }

// Secret returns the secret in base32.
func (e Enrolment) Secret() string { return e.show().secret }

// PNG returns the QR code as a square of size pixels, 128 to 1024, or more for two
// pixels per module. It has the white border of ISO 18004.
func (e Enrolment) PNG(size int) ([]byte, error) { return pngOf(e.show().uri, size) }

// SVG returns the QR code as an SVG document without a fixed size.
func (e Enrolment) SVG() ([]byte, error) { return svgOf(e.show().uri) }

// Format writes no secret.
func (e Enrolment) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue logs no secret.
func (e Enrolment) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes no secret.
func (e Enrolment) MarshalText() ([]byte, error) { return []byte(redacted), nil }
