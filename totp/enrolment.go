package totp

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const redacted = "totp: secret not shown"

// An Enrolment is a new secret, to be shown to its user once. Only URI, Secret, PNG
// and SVG return it; it does not print.
type Enrolment struct {
	// Expires is when the enrolment can no longer be confirmed.
	Expires time.Time

	// A func, because fmt cannot call Format for a value in an unexported field
	// of another struct, and prints only the address of a func.
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

// escape writes s with everything escaped that is not unreserved (RFC 3986
// section 2.3). Functions of net/url leave more as it is: a '+', which half of
// the apps read as a space, and a '/' or '&' in a path.
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

// URI returns the otpauth URI in the QR code. It contains the secret.
func (e Enrolment) URI() string { return e.show().uri }

// Secret returns the secret in base32, to be typed into an app.
func (e Enrolment) Secret() string { return e.show().secret }

// PNG returns the QR code as a picture of size times size pixels, 128 to 1024, or
// larger if a module would have fewer than two. The margin is four modules (ISO
// 18004).
func (e Enrolment) PNG(size int) ([]byte, error) { return pngOf(e.show().uri, size) }

// SVG returns the QR code as an SVG document without a fixed size, with the same
// margin.
func (e Enrolment) SVG() ([]byte, error) { return svgOf(e.show().uri) }

// Format writes no secret.
func (e Enrolment) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue logs no secret.
func (e Enrolment) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes no secret, into JSON either.
func (e Enrolment) MarshalText() ([]byte, error) { return []byte(redacted), nil }
