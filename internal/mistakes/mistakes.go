// Package mistakes collects the mistakes in a configuration, so that constructors
// report all of them at once, in the same words.
package mistakes

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/auth/guard"
)

// A List holds the mistakes in the arguments of one constructor.
type List struct {
	// Package is the name of the package by its path: "auth/token".
	Package string

	all []error
}

// Bad adds that a field has a value, and what to use instead. It shows the value
// as [Shown] does: do not pass secrets.
func (l *List) Bad(field string, value any, instead string) {
	l.Add("%s is %s; use %s", field, Shown(value), instead)
}

// Add adds a mistake in other words.
func (l *List) Add(format string, args ...any) {
	l.all = append(l.all, fmt.Errorf(l.Package+": "+format, args...))
}

// Err returns all mistakes as one error, nil if there are none.
func (l *List) Err() error { return errors.Join(l.all...) }

// Shown returns value for an error text: quoted and cut if it is a string, "empty" if
// it is the empty string, "nil" if it is nil.
func Shown(value any) string {
	switch v := value.(type) {
	case nil:
		return "nil"
	case string:
		switch {
		case v == "":
			return "empty"
		case len(v) > 100:
			return fmt.Sprintf("%q…", v[:100])
		}
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(value)
}

// At names an element of a list field.
func At(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// Secrets calls mistake for each secret of a field that has fewer than n bytes or
// only zeros, and if there is no secret.
func Secrets(mistake func(format string, args ...any), field string, n int, secrets []guard.Secret) {
	if len(secrets) == 0 {
		mistake("%s is empty; set a secret of %d random bytes", field, n)
	}
	for i, secret := range secrets {
		switch b := secret.Bytes(); {
		case len(b) < n:
			mistake("%s[%d] has %d bytes; use at least %d random ones", field, i, len(b), n)
		case len(bytes.Trim(b, "\x00")) == 0:
			mistake("%s[%d] is all zeros; use random bytes", field, i)
		}
	}
}
