package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// keyRing identifies everybody, in a scheme other than Bearer.
type keyRing struct{}

func (keyRing) Authenticate(*http.Request) (*identity.Principal, error) {
	return &identity.Principal{Issuer: "apikey:acme", Subject: "alice"}, nil
}
func (keyRing) Challenge() guard.Challenge { return guard.Challenge{Scheme: "ApiKey"} }

// A guard that finds out late that an account is disabled refuses like
// Hooks.Active would, in the scheme of the credentials that were shown.
func TestErrInactiveOfAnyGuardIsChallengedInTheCallersScheme(t *testing.T) {
	inactive := fmt.Errorf("disabled yesterday: %w", guard.ErrInactive)
	for name, handler := range map[string]http.Handler{
		"from Active": guard.Hooks{Active: func(context.Context, *identity.Principal) error { return inactive }}.
			Identify(keyRing{})(mustNotRun(t)),
		"from a guard": guard.Hooks{}.Identify(keyRing{})(
			guard.Hooks{}.Require(func(*http.Request) error { return inactive })(mustNotRun(t))),
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if got := w.Header().Get("WWW-Authenticate"); w.Code != 401 || got != `ApiKey error="invalid_token"` {
			t.Errorf("%s: status %d, challenge %s", name, w.Code, got)
		}
	}
}

func mustNotRun(t *testing.T) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("next ran") })
}
