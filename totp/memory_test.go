package totp_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/totp"
	"github.com/gatewright/gatewright/totp/totptest"
)

func TestMemoryPassesTheConformanceSuite(t *testing.T) {
	totptest.Run(t, func(*testing.T) totp.Store { return new(totp.Memory) })
}

// Evicting a record would disable a second factor.
func TestMemoryIsBoundedAndForgetsNobody(t *testing.T) {
	ctx := context.Background()
	m := new(totp.Memory)
	const most = 100_000
	for i := range most {
		if saved, err := m.SaveTOTP(ctx, fmt.Sprint(i), totp.Record{Step: int64(i)}); !saved || err != nil {
			t.Fatal(saved, err)
		}
	}
	if saved, err := m.SaveTOTP(ctx, "one more", totp.Record{}); saved || !errors.Is(err, totp.ErrFull) {
		t.Errorf("a record too many: %t, %v, want %v", saved, err, totp.ErrFull)
	}
	for i := range most {
		if r, err := m.LoadTOTP(ctx, fmt.Sprint(i)); r.Version != 1 || r.Step != int64(i) || err != nil {
			t.Errorf("user %d: %+v, %v", i, r, err)
		}
	}
	if saved, err := m.SaveTOTP(ctx, "1", totp.Record{Version: 1}); !saved || err != nil {
		t.Errorf("a change of one that is there: %t, %v", saved, err)
	}
}
