package unproven_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/unproven"
)

func TestRefusal(t *testing.T) {
	denial := guard.Forbidden(errors.New("no"))
	if err := unproven.Refusal("ticket", nil); err != nil {
		t.Errorf("nil: %v", err)
	}
	if err := unproven.Refusal("ticket", denial); err != error(denial) {
		t.Errorf("a Denial: %v", err)
	}
	var d *guard.Denial
	err := unproven.Refusal("ticket", fmt.Errorf("wrapped: %w", identity.ErrNotProven))
	if !errors.As(err, &d) || d.Status != http.StatusBadRequest || d.Code != "invalid_proof" || d.Event != guard.EventLoginFail {
		t.Errorf("a wrong proof: %+v", err)
	}
	for name, cause := range map[string]error{"an outage": errors.New("down"), "an outage that wraps a Denial": fmt.Errorf("down: %w", denial)} {
		d = nil
		if err := unproven.Refusal("ticket", cause); err == nil || errors.As(err, &d) {
			t.Errorf("%s: %v is a refusal", name, err)
		}
	}
}
