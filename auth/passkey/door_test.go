package passkey_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

func TestPasskeysAreAWayIn(t *testing.T) {
	authtest.RunWayIn(t, func(t *testing.T) authtest.Ceremony {
		s := newSite(t)
		ask := func(body string) *http.Request {
			r := httptest.NewRequest("POST", "/", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			return r
		}
		return authtest.Ceremony{
			Way:  auth.WayIn{Name: "passkey", Prove: s.rp.Prove, Second: auth.SkipIfMFA},
			Good: func(_ *testing.T, subject string) *http.Request { return ask(s.assertion(s.registered(subject))) },
			Bad: func(*testing.T) []*http.Request {
				stranger := passkeytest.New(origin)
				s.register(caller("1", "pwd", "otp"), stranger)
				used := s.assertion(stranger)
				s.accepted(used, "1")
				return []*http.Request{ask(used), ask(strings.ReplaceAll(s.assertion(stranger), `"signature":"M`, `"signature":"N`))}
			},
			SingleUse: true,
		}
	})
}
