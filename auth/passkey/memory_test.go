package passkey_test

import (
	"errors"
	"testing"

	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

func TestMemoryConforms(t *testing.T) {
	passkeytest.Run(t, func(*testing.T) passkey.Store { return new(passkey.Memory) })
}

func TestMemoryIsBounded(t *testing.T) {
	m := &passkey.Memory{MaxPasskeys: 1}
	if err := m.AddPasskey(t.Context(), passkey.Passkey{Subject: "a", ID: []byte("1")}, 10); err != nil {
		t.Fatal(err)
	}
	if err := m.AddPasskey(t.Context(), passkey.Passkey{Subject: "b", ID: []byte("2")}, 10); err == nil || errors.Is(err, passkey.ErrTooMany) {
		t.Error(err)
	}
}
