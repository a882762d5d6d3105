package ticket_test

import (
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/ticket"
)

// reasons returns the events of refusals and failures.
func reasons(all []guard.Event) (some []guard.Event) {
	for _, e := range all {
		if e.Denial != nil || e.Err != nil {
			some = append(some, e)
		}
	}
	return some
}

func TestTicketsAreEventsWithActorAndTarget(t *testing.T) {
	s := newSite(t)
	ctx := identity.NewContext(t.Context(), &identity.Principal{Issuer: "https://example.com", Subject: "admin"})
	last := func(want string) {
		t.Helper()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.events) != 1 {
			t.Fatalf("%d events, want %s: %v", len(s.events), want, s.events)
		}
		e := s.events[0]
		s.events = nil
		by := ""
		if e.Principal != nil {
			by = e.Principal.Subject
		}
		if got := fmt.Sprintf("%s by %q: %q %v", e.Name, by, e.Target, e.Changes[:min(2, len(e.Changes))]); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if err := s.service.Issue(ctx, ticket.Order{Purpose: ticket.ResetPassword, Subject: "1"}); err != nil {
		t.Fatal(err)
	}
	last(`authn_token_created by "admin": "1" [ticket=issued purpose=reset-password]`)
	token, _ := s.sent()
	s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 204)
	last(`authn_password_change by "1": "" [ticket=used purpose=reset-password]`)
	if err := s.service.Issue(ctx, ticket.Order{Purpose: ticket.Invitation, Email: "new@example.com"}); err != nil {
		t.Fatal(err)
	}
	last(`authn_token_created by "admin": "new@example.com" [ticket=issued purpose=invitation]`)
	if err := s.service.End(ctx, ticket.Which{Subject: "1"}); err != nil {
		t.Fatal(err)
	}
	last(`authn_token_revoked by "admin": "1" [ticket=ended]`)
}
