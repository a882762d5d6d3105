package ticket_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	"github.com/gatewright/gatewright/auth/ticket"
)

func TestMailedLinksAreAWayIn(t *testing.T) {
	authtest.RunWayIn(t, func(t *testing.T) authtest.Ceremony {
		s := newSite(t)
		s.change("1", func(u *ticket.User) { u.Tenant = "" })
		ask := func(secret, cookie string) *http.Request {
			r := httptest.NewRequest("POST", "/", strings.NewReader(url.Values{"token": {secret}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.AddCookie(&http.Cookie{Name: ticket.CookieName, Value: cookie})
			return r
		}
		return authtest.Ceremony{
			Way: auth.WayIn{Name: "link", Prove: s.service.Prove},
			Good: func(_ *testing.T, subject string) *http.Request {
				disabled := s.users[subject].Disabled
				s.change(subject, func(u *ticket.User) { u.Disabled = false })
				secret, cookie := s.requested(ticket.SignInLink, s.users[subject].Email)
				s.change(subject, func(u *ticket.User) { u.Disabled = disabled })
				return ask(secret, cookie)
			},
			Bad: func(*testing.T) []*http.Request {
				secret, cookie := s.requested(ticket.SignInLink, "ada@example.com")
				s.accepted(cookie, "token", secret, "1")
				return []*http.Request{ask(secret, cookie), ask("x", cookie), ask(secret[1:], cookie)}
			},
			SingleUse: true,
		}
	})
}
