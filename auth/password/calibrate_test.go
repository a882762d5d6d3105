package password_test

import (
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/password"
)

// On a real machine nothing is known of the result but its bounds.
func TestCalibrateOnThisMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("it hashes for some seconds; not with -short")
	}
	began := time.Now()
	params, err := password.Calibrate(t.Context(), time.Minute, // which no machine needs for 12 MiB
		password.BudgetConfig{Memory: 24 << 20, Concurrent: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v after %v", params, time.Since(began))
	if want := (password.Argon2id{Memory: 12288, Passes: 16, Lanes: 4, SaltLength: 16, TagLength: 32}); params != want {
		t.Errorf("got %+v, want %+v", params, want)
	}
	if _, err := password.New(password.Config{Argon2id: params}); err != nil {
		t.Error(err)
	}
	if params, err := password.Calibrate(t.Context(), 1, password.BudgetConfig{}); err == nil {
		t.Errorf("a nanosecond is enough for %+v", params)
	}
}
