package passkey_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

func TestMemoryConforms(t *testing.T) {
	passkeytest.Run(t, func(*testing.T) passkey.Store { return new(passkey.Memory) })
}

func TestMemoryIsBounded(t *testing.T) {
	m := new(passkey.Memory)
	for i := range 100_000 {
		if err := m.AddPasskey(t.Context(), passkey.Passkey{Subject: strconv.Itoa(i), ID: []byte(strconv.Itoa(i))}, 10); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.AddPasskey(t.Context(), passkey.Passkey{Subject: "b", ID: []byte("b")}, 10); err == nil || errors.Is(err, passkey.ErrTooMany) {
		t.Error(err)
	}
}
