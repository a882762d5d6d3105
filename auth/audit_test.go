package auth_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth"
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
	if e := h.wantEvent(all, guard.EventLoginSuccess); len(all) != 1 || fmt.Sprint(e.Changes) != "[factors=[otp pwd] proven=[otp] ended_session="+old+"]" {
		t.Errorf("%d events, %s", len(all), summary(e))
	}
}

func TestEachStepOfASignInNamesTheFactorThatItProves(t *testing.T) {
	h := newHost(t, withFactor(&factor{
		verify: func(string, string) (string, error) { return "otp", nil },
	}))
	a := h.signIn("alice", right)
	all := h.events.take()
	if e := h.wantEvent(all, guard.EventTokenCreated); len(all) != 1 || fmt.Sprint(e.Changes) != "[factors=[pwd]]" {
		t.Errorf("%d events, %s", len(all), summary(e))
	}
	h.want(h.answer(a.text("mfa_token"), code), http.StatusOK, "")
	all = h.events.take()
	if e := h.wantEvent(all, guard.EventLoginSuccess); len(all) != 1 || fmt.Sprint(e.Changes) != "[factors=[otp pwd] proven=[otp]]" {
		t.Errorf("%d events, %s", len(all), summary(e))
	}
}

func TestSignInsNameTheSessionsThatTheyEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, withFactor(&factor{
			required: func() (bool, error) { return false, nil },
			verify:   func(string, string) (string, error) { return "otp", nil },
		}), func(s *setup) { s.MaxSessions = 2 })
		var all []answer
		var ids []string
		for range 3 {
			all = append(all, h.signedIn())
			ids = append(ids, h.me(all[len(all)-1].access()).text("sid"))
			time.Sleep(time.Second)
		}
		events := h.events.take()
		for i, want := range []string{"[factors=[pwd]]", "[factors=[pwd]]", "[factors=[pwd] evicted_sessions=[" + ids[0] + "] reason=max_sessions]"} {
			if len(events) != 3 || events[i].Name != guard.EventLoginSuccess || events[i].Principal.Session != ids[i] || fmt.Sprint(events[i].Changes) != want {
				t.Fatalf("%d events, number %d is %s, want %s", len(events), i, summary(events[i]), want)
			}
		}
		// The session of a step-up begins before the old session ends.
		h.stepUp(all[2].access(), "code", code)
		events = h.events.take()
		want := "[factors=[otp pwd] proven=[otp] ended_session=" + ids[2] + " evicted_sessions=[" + ids[1] + "] reason=max_sessions]"
		if len(events) != 1 || fmt.Sprint(events[0].Changes) != want {
			t.Errorf("%d events, %s, want %s", len(events), summary(events[0]), want)
		}
	})
}

func TestSessionsThatMadeRoomForARefusedSignInAreAnEvent(t *testing.T) {
	var h *host
	var end func() error
	h = newHost(t, func(s *setup) {
		s.MaxSessions = 1
		s.Sessions = &sessions{Memory: s.store, create: func(auth.Session) error {
			if end != nil {
				return end()
			}
			return nil
		}}
	})
	old := h.me(h.signedIn().access()).text("sid")
	h.events.take()
	end = func() error { // after the password was verified
		return h.server.EndSessions(guard.NestedChange(t.Context()), identity.Revocation{Subject: alice, Spare: old})
	}
	h.want(h.signIn("alice", right), http.StatusBadRequest, "invalid_grant")
	var made []string
	for _, e := range h.events.take() {
		if e.Denial == nil {
			made = append(made, summary(e))
		}
	}
	want := `authn_token_revoked by "user-1": target "user-1" session "" [evicted_sessions=[` + old + `] reason=max_sessions]`
	if len(made) != 1 || made[0] != want {
		t.Errorf("events %q, want %s", made, want)
	}
}
