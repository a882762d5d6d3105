package auth_test

import (
	"errors"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestEitherFactor(t *testing.T) {
	named := func(name string, required bool, err error) *factor {
		return &factor{
			required: func() (bool, error) { return required, err },
			verify:   func(_, code string) (string, error) { return name, err },
		}
	}
	f := auth.EitherFactor(named("pop", false, nil), named("otp", true, nil))
	for code, want := range map[string]string{`{"id":"x"}`: "pop", "123456": "otp", " {": "otp", "": "otp"} {
		if got, err := f.VerifyFactor(t.Context(), &identity.Principal{Subject: alice}, code); got != want || err != nil {
			t.Errorf("%q: %q, %v", code, got, err)
		}
	}
	for _, test := range []struct {
		passkeys, codes *factor
		want            bool
		err             error
	}{
		{named("", false, nil), named("", false, nil), false, nil},
		{named("", true, nil), named("", false, nil), true, nil},
		{named("", false, nil), named("", true, nil), true, nil},
		{named("", false, errDown), named("", true, nil), false, errDown},
		{named("", false, nil), named("", false, errDown), false, errDown},
	} {
		if got, err := auth.EitherFactor(test.passkeys, test.codes).Required(t.Context(), alice); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%t, %v, want %t, %v", got, err, test.want, test.err)
		}
	}
}
