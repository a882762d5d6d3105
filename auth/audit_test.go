package auth_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// summary returns the parts of an event that say what was done to what.
func summary(e guard.Event) string {
	subject := ""
	if e.Principal != nil {
		subject = e.Principal.Subject
	}
	return fmt.Sprintf("%s by %q: target %q session %q %v", e.Name, subject, e.Target, e.Session, e.Changes)
}

func TestEndSessionsIsOneEventWithActorAndTarget(t *testing.T) {
	before := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	for _, test := range []struct {
		which identity.Revocation
		want  string
	}{
		{identity.Revocation{Subject: alice}, `target "user-1" session "" [revoked=subject issuer=https://auth.example]`},
		{identity.Revocation{Subject: alice, Tenant: "acme", Spare: "s"}, `target "user-1" session "" [revoked=subject issuer=https://auth.example tenant=acme spare=s]`},
		{identity.Revocation{Session: "s", Subject: alice}, `target "user-1" session "s" [revoked=subject issuer=https://auth.example]`},
		{identity.Revocation{Session: "s"}, `target "s" session "s" [revoked=session issuer=https://auth.example]`},
		{identity.Revocation{Tenant: "acme"}, `target "acme" session "" [revoked=tenant issuer=https://auth.example]`},
		{identity.Revocation{Before: before}, `target "https://auth.example" session "" [revoked=issuer before=` + before.String() + `]`},
	} {
		h := newHost(t)
		ctx := identity.NewContext(t.Context(), &identity.Principal{Issuer: issuer, Subject: "admin"})
		if err := h.server.EndSessions(ctx, test.which); err != nil {
			t.Fatal(err)
		}
		all := h.events.take()
		if want := `authn_token_revoked by "admin": ` + test.want; len(all) != 1 || summary(all[0]) != want {
			t.Errorf("%+v: %d events, %s, want %s", test.which, len(all), summary(all[0]), want)
		}
		if err := h.server.EndSessions(guard.NestedChange(ctx), test.which); err != nil || len(h.events.take()) != 0 {
			t.Errorf("a nested EndSessions is an event, or %v", err)
		}
	}
	h := newHost(t)
	if err := h.server.EndSessions(t.Context(), identity.Revocation{}); err == nil || len(h.events.take()) != 0 {
		t.Errorf("an EndSessions that ended nothing is an event, or %v", err)
	}
}

func TestGrantsAreEvents(t *testing.T) {
	h := newHost(t)
	p := &identity.Principal{Issuer: issuer, Subject: alice, Session: "s"}
	grant, expires, err := h.server.Grant(t.Context(), p, "2fa", identity.Proof{Subject: alice, Factors: identity.NewSet("pop")})
	if err != nil {
		t.Fatal(err)
	}
	h.secret(grant)
	if err := h.server.UseGrant(t.Context(), p, "2fa", grant); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`authn_token_created by "user-1": target "" session "" [grant=issued purpose=2fa factors=[pop] expires=` + expires.UTC().String() + `]`,
		`authn_token_revoked by "user-1": target "" session "" [grant=used purpose=2fa]`,
	}
	all := h.events.take()
	for i, e := range all {
		if i >= len(want) || summary(e) != want[i] {
			t.Errorf("event %d: %s", i, summary(e))
		}
	}
	if len(all) != 2 {
		t.Errorf("%d events", len(all))
	}
	if err := h.server.UseGrant(t.Context(), p, "2fa", grant); err == nil || len(h.events.take()) != 0 {
		t.Errorf("a refused use is the event of a change, or %v", err)
	}
	h.noSecrets()
}

func TestSignInsAndStepUpsNameTheirFactors(t *testing.T) {
	h := newHost(t, withFactor(&factor{
		required: func() (bool, error) { return false, nil },
		verify:   func(string, string) (string, error) { return "otp", nil },
	}))
	a := h.signedIn()
	old := h.me(a.access()).text("sid")
	e := h.wantEvent(h.events.take(), guard.EventLoginSuccess)
	if got := fmt.Sprint(e.Changes); got != "[factors=[pwd]]" {
		t.Error(got)
	}
	h.stepUp(a.access(), "code", code)
	all := h.events.take()
	if e := h.wantEvent(all, guard.EventLoginSuccess); len(all) != 1 || fmt.Sprint(e.Changes) != "[factors=[otp pwd] ended_session="+old+"]" {
		t.Errorf("%d events, %s", len(all), summary(e))
	}
}
