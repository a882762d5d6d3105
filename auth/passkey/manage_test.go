package passkey_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

func TestRegistrationJourney(t *testing.T) {
	s := newSite(t)
	ada := caller("ada")
	options := s.creation(ada)
	var o struct {
		RP                     struct{ ID, Name string }
		User                   struct{ ID, Name, DisplayName string }
		PubKeyCredParams       []struct{ Alg int }
		Timeout                int
		ExcludeCredentials     []struct{ ID string }
		AuthenticatorSelection struct{ ResidentKey, UserVerification string }
		Attestation            string
	}
	if err := json.Unmarshal(options, &o); err != nil {
		t.Fatal(err)
	}
	if o.RP.ID != rpID || o.User.Name != "ada@example.com" || o.User.DisplayName != o.User.Name || len(o.User.ID) != 86 || len(o.PubKeyCredParams) != 3 ||
		o.Timeout != 300_000 || o.AuthenticatorSelection.ResidentKey != "required" || o.Attestation != "none" || strings.Contains(string(options), `"id":"ada"`) {
		t.Errorf("%s", options)
	}
	a := passkeytest.New(origin)
	created, err := a.Create(options)
	if err != nil {
		t.Fatal(err)
	}
	named := edit(t, string(created), func(c, _ map[string]any) { c["name"] = "My phone" })
	s.ok(s.call(s.rp.Register(), "POST", ada, named), 201)
	if len(s.changes) != 1 || s.changes[0].Kind != passkey.Added || s.changes[0].Passkey.Name != "My phone" {
		t.Errorf("%v", s.changes)
	}
	s.ok(s.call(s.rp.Register(), "POST", ada, named), 400) // once

	s.accepted(s.assertion(a), "ada")
	list := string(s.ok(s.call(s.rp.List(), "GET", ada, ""), 200))
	if !strings.Contains(list, `"name":"My phone"`) || !strings.Contains(list, `"sign_in":true`) || strings.Contains(list, `"used":null`) {
		t.Error(list)
	}

	id := base64.RawURLEncoding.EncodeToString(a.ID)
	s.ok(s.call(s.rp.Rename(), "PATCH", ada, `{"name":"Old phone"}`, id), 204)
	s.ok(s.call(s.rp.Rename(), "PATCH", ada, `{"name":"a\nb"}`, id), 400)
	s.ok(s.call(s.rp.Rename(), "PATCH", ada, `{}`, id), 400)
	s.ok(s.call(s.rp.Rename(), "PATCH", caller("eve"), `{"name":"mine"}`, id), 404)
	s.ok(s.call(s.rp.Remove(), "DELETE", caller("eve", "pop"), `{"proof":"right"}`, id), 404)
	s.ok(s.call(s.rp.Remove(), "DELETE", ada, `{"proof":"right"}`, "AA"), 404)

	// The second one: options exclude the first and keep the user handle.
	strong := caller("ada", "pwd", "otp")
	options = s.creation(strong)
	if err := json.Unmarshal(options, &o); err != nil {
		t.Fatal(err)
	}
	if len(o.ExcludeCredentials) != 1 || o.ExcludeCredentials[0].ID != id || o.User.ID != base64.RawURLEncoding.EncodeToString(a.Handle) {
		t.Errorf("%s", options)
	}
	b := passkeytest.New(origin)
	s.register(strong, b)
	s.accepted(s.assertion(b), "ada")

	s.ok(s.call(s.rp.Remove(), "DELETE", strong, `{"proof":"right"}`, id), 204)
	s.rejected(s.assertion(a))
	s.ok(s.call(s.rp.Remove(), "DELETE", strong, `{"proof":"right"}`, base64.RawURLEncoding.EncodeToString(b.ID)), 409)
	s.accepted(s.assertion(b), "ada")
}

func TestTheLastPasskeyGoesIfThereIsAnotherWayIn(t *testing.T) {
	s := newSite(t, func(c *passkey.Config) {
		c.AnotherWayIn = func(_ context.Context, subject string) (bool, error) { return subject == "ada", nil }
	})
	ada, bob := s.registered("ada"), s.registered("bob")
	remove := func(subject string, a *passkeytest.Authenticator) int {
		return s.call(s.rp.Remove(), "DELETE", caller(subject, "mfa"), `{"proof":"right"}`, base64.RawURLEncoding.EncodeToString(a.ID)).Code
	}
	if got := remove("ada", ada); got != 204 {
		t.Error(got)
	}
	if got := remove("bob", bob); got != 409 {
		t.Error(got)
	}
}

func TestEachChangeOfAPasskeyIsOneEvent(t *testing.T) {
	s := newSite(t)
	ada := caller("ada", "pwd", "otp")
	a := passkeytest.New(origin)
	s.register(ada, a)
	s.accepted(s.assertion(a), "ada")
	id := base64.RawURLEncoding.EncodeToString(a.ID)
	s.ok(s.call(s.rp.Rename(), "PATCH", ada, `{"name":"phone"}`, id), 204)
	s.register(ada, passkeytest.New(origin))
	s.ok(s.call(s.rp.Remove(), "DELETE", ada, `{"proof":"right"}`, id), 204)
	want := []guard.EventName{passkey.EventAdded, passkey.EventUsed, passkey.EventRenamed, passkey.EventAdded, passkey.EventRemoved}
	var got []guard.EventName
	for _, e := range s.events {
		got = append(got, e.Name)
		actor := "ada"
		if e.Name == passkey.EventUsed {
			actor = "" // the user is not signed in yet
		}
		if e.Target != "ada" || actor != "" && (e.Principal == nil || e.Principal.Subject != actor) {
			t.Errorf("%+v", e)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the events are %s, want %s", got, want)
	}
	if got := fmt.Sprint(s.events[2].Changes); got != "[factor=passkey passkey="+id+" name=phone]" {
		t.Error(got)
	}
}

// A stolen access token, or a session that lacks the second factor, does not
// become a passkey.
func TestAddingAndRemovingTakesAProofAndAFreshSignIn(t *testing.T) {
	changed := func(change func(*identity.Principal)) *identity.Principal {
		p := caller("ada", "pwd", "otp")
		change(p)
		return p
	}
	tests := []struct {
		name   string
		caller *identity.Principal
		body   string
		status int
	}{
		{"all there", caller("ada", "pwd", "otp"), `{"proof":"right"}`, 200},
		{"a passkey's session", caller("ada", "pop"), `{"proof":"right"}`, 200},
		{"not signed in", nil, `{"proof":"right"}`, 401},
		{"no proof", caller("ada", "pwd", "otp"), `{}`, 400},
		{"an empty proof", caller("ada", "pwd", "otp"), `{"proof":""}`, 400},
		{"a wrong proof", caller("ada", "pwd", "otp"), `{"proof":"wrong"}`, 400},
		{"an assertion that is none", caller("ada", "pwd", "otp"), `{"proof":"{}"}`, 400},
		{"two proofs", caller("ada", "pwd", "otp"), `{"proof":"wrong","proof":"right"}`, 400},
		{"without the second factor", caller("ada", "pwd"), `{"proof":"right"}`, 401},
		{"signed in long ago", changed(func(p *identity.Principal) { p.AuthTime = p.AuthTime.Add(-11 * time.Minute) }), `{"proof":"right"}`, 401},
		{"signed in in the future", changed(func(p *identity.Principal) { p.AuthTime = p.AuthTime.Add(time.Hour) }), `{"proof":"right"}`, 401},
		{"signed in at no time", changed(func(p *identity.Principal) { p.AuthTime = time.Time{} }), `{"proof":"right"}`, 401},
		{"an API key", changed(func(p *identity.Principal) { p.Session = "" }), `{"proof":"right"}`, 403},
		{"another issuer", changed(func(p *identity.Principal) { p.Issuer = "https://partner.example" }), `{"proof":"right"}`, 403},
		{"no subject", changed(func(p *identity.Principal) { p.Subject = "" }), `{"proof":"right"}`, 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			a := s.registered("ada")
			if w := s.call(s.rp.RegisterOptions(), "POST", test.caller, test.body); w.Code != test.status {
				t.Errorf("options: %d, want %d: %s", w.Code, test.status, w.Body)
			}
			want := test.status
			if want == 200 {
				want = 409 // the last one
			}
			w := s.call(s.rp.Remove(), "DELETE", test.caller, test.body, base64.RawURLEncoding.EncodeToString(a.ID))
			if w.Code != want {
				t.Errorf("remove: %d, want %d: %s", w.Code, want, w.Body)
			}
		})
	}
}

func TestAnAssertionIsAProof(t *testing.T) {
	s := newSite(t)
	a := s.registered("ada")
	proofs := s.proofs
	proof := func(p *identity.Principal) string {
		assertion := s.answer(a, s.call(s.rp.StepUpOptions(), "POST", p, ""))
		b, err := json.Marshal(map[string]string{"proof": assertion})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	weak := caller("ada", "pwd")
	body := proof(weak)
	s.ok(s.call(s.rp.RegisterOptions(), "POST", weak, body), 200)
	s.ok(s.call(s.rp.RegisterOptions(), "POST", weak, body), 400) // once
	if s.proofs != proofs {
		t.Error("Config.Authorize was called for an assertion")
	}
	s.ok(s.call(s.rp.RegisterOptions(), "POST", caller("eve"), proof(weak)), 400)
}

func TestASecondFactorElsewhereIsNeededForTheFirstPasskey(t *testing.T) {
	s := newSite(t, func(c *passkey.Config) {
		c.SecondFactor = func(_ context.Context, subject string) (bool, error) {
			if subject == "down" {
				return false, errDown
			}
			return subject == "ada", nil
		}
	})
	for _, test := range []struct {
		p      *identity.Principal
		status int
	}{{caller("ada"), 401}, {caller("ada", "pwd", "otp"), 200}, {caller("bob"), 200}, {caller("down"), 503}} {
		s.ok(s.call(s.rp.RegisterOptions(), "POST", test.p, `{"proof":"right"}`), test.status)
	}
}

func TestErrorsOfAuthorize(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
	}{
		{identity.ErrNotProven, 400},
		{fmt.Errorf("wrong: %w", identity.ErrNotProven), 400},
		{guard.TooManyAttempts(time.Minute, nil), 429},
		{errDown, 503},
		{fmt.Errorf("elsewhere: %w", guard.Forbidden(nil)), 503},
	} {
		s := newSite(t, func(c *passkey.Config) {
			c.Authorize = func(context.Context, *identity.Principal, string) error { return test.err }
		})
		s.ok(s.call(s.rp.RegisterOptions(), "POST", caller("ada"), `{"proof":"x"}`), test.status)
	}
}

func TestWrongRegistrationsAreBadRequests(t *testing.T) {
	ada := caller("ada")
	with := func(change func(a *passkeytest.Authenticator)) func(*site) (*identity.Principal, string) {
		return func(s *site) (*identity.Principal, string) {
			a := passkeytest.New(origin)
			change(a)
			created, err := a.Create(s.creation(ada))
			if err != nil {
				s.Fatal(err)
			}
			return ada, string(created)
		}
	}
	edited := func(change func(c, r map[string]any)) func(*site) (*identity.Principal, string) {
		return func(s *site) (*identity.Principal, string) {
			_, created := with(func(*passkeytest.Authenticator) {})(s)
			return ada, edit(s.TB, created, change)
		}
	}
	object := func(old, new string) func(*site) (*identity.Principal, string) {
		return edited(func(_, r map[string]any) {
			b, _ := base64.RawURLEncoding.DecodeString(r["attestationObject"].(string))
			if !strings.Contains(string(b), old) {
				panic(old)
			}
			r["attestationObject"] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(b), old, new, 1)))
		})
	}
	tests := map[string]func(s *site) (*identity.Principal, string){
		"another origin":          with(func(a *passkeytest.Authenticator) { a.Origin = "https://evil.example" }),
		"an assertion's type":     with(func(a *passkeytest.Authenticator) { a.Type = "webauthn.get" }),
		"a frame":                 with(func(a *passkeytest.Authenticator) { a.TopOrigin = "https://evil.example" }),
		"no user present":         with(func(a *passkeytest.Authenticator) { a.Flags &^= passkeytest.UserPresent }),
		"backed up, not eligible": with(func(a *passkeytest.Authenticator) { a.Flags |= passkeytest.BackedUp }),
		"an empty ID":             with(func(a *passkeytest.Authenticator) { a.ID = nil }),
		"an ID of 15 bytes":       with(func(a *passkeytest.Authenticator) { a.ID = make([]byte, 15) }),
		"an ID of 1024 bytes":     with(func(a *passkeytest.Authenticator) { a.ID = make([]byte, 1024) }),
		"not discoverable": edited(func(c, _ map[string]any) {
			c["clientExtensionResults"] = map[string]any{"credProps": map[string]any{"rk": false}}
		}),
		"an ID unlike the data's": edited(func(c, _ map[string]any) { c["id"], c["rawId"] = strings.Repeat("A", 22), strings.Repeat("A", 22) }),
		"bytes after the object": edited(func(_, r map[string]any) {
			b, _ := base64.RawURLEncoding.DecodeString(r["attestationObject"].(string))
			r["attestationObject"] = base64.RawURLEncoding.EncodeToString(append(b, 0xa0))
		}),
		"another member of the object":  object("\xa3\x63fmt", "\xa4\x61x\xf5\x63fmt"),
		"no format":                     object("\x63fmt", "\x63fmu"),
		"a statement that is no map":    object("\x67attStmt\xa0", "\x67attStmt\x80"),
		"an offered key of another alg": object("\x03\x26\x20\x01", "\x03\x38\x22\x20"),
		"a curve that is not offered":   object("\x26\x20\x01", "\x26\x20\x02"),
		"members in another order":      object("\xa5\x01\x02\x03\x26", "\xa5\x03\x26\x01\x02"),
		"a name of 65 bytes":            edited(func(c, _ map[string]any) { c["name"] = strings.Repeat("x", 65) }),
		"a name with a control":         edited(func(c, _ map[string]any) { c["name"] = "a\u202eb" }),
		"no attestation object":         edited(func(_, r map[string]any) { delete(r, "attestationObject") }),
		"an assertion": func(s *site) (*identity.Principal, string) {
			return ada, s.assertion(s.registered("bob"))
		},
		"another session": func(s *site) (*identity.Principal, string) {
			_, created := with(func(*passkeytest.Authenticator) {})(s)
			p := caller("ada")
			p.Session = "another"
			return p, created
		},
		"another subject": func(s *site) (*identity.Principal, string) {
			_, created := with(func(*passkeytest.Authenticator) {})(s)
			return caller("eve"), created
		},
		"another account's ID": func(s *site) (*identity.Principal, string) {
			bob := s.registered("bob")
			return with(func(a *passkeytest.Authenticator) { a.ID = bob.ID })(s)
		},
	}
	for name, wrong := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			p, created := wrong(s)
			s.ok(s.call(s.rp.Register(), "POST", p, created), 400)
			if all, err := s.store.Passkeys(t.Context(), p.Subject); err != nil || len(all) > 0 {
				t.Errorf("%v, %v", all, err)
			}
		})
	}
}

func TestAccountsOfTheSameIDStayIntact(t *testing.T) {
	s := newSite(t)
	bob := s.registered("bob")
	eve := passkeytest.New(origin)
	eve.ID = bob.ID
	created, err := eve.Create(s.creation(caller("eve")))
	if err != nil {
		t.Fatal(err)
	}
	s.ok(s.call(s.rp.Register(), "POST", caller("eve"), string(created)), 400)
	s.accepted(s.assertion(bob), "bob")
	s.rejected(s.assertion(eve))
}

func TestAttestationStatementsAreIgnored(t *testing.T) {
	for name, statement := range map[string]string{
		"an unknown format": "\xa3\x63fmt\x63xyz\x67attStmt\xa0",
		"a bad signature":   "\xa3\x63fmt\x66packed\x67attStmt\xa2\x63alg\x26\x63sig\x43abc",
		"a forged chain":    "\xa3\x63fmt\x66packed\x67attStmt\xa3\x63alg\x26\x63sig\x43abc\x63x5c\x81\x43abc",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			a := passkeytest.New(origin)
			created, err := a.Create(s.creation(caller("ada")))
			if err != nil {
				t.Fatal(err)
			}
			s.ok(s.call(s.rp.Register(), "POST", caller("ada"), edit(t, string(created), func(_, r map[string]any) {
				b, _ := base64.RawURLEncoding.DecodeString(r["attestationObject"].(string))
				_, data, _ := strings.Cut(string(b), "\xa0")
				r["attestationObject"] = base64.RawURLEncoding.EncodeToString([]byte(statement + data))
			})), 201)
			s.accepted(s.assertion(a), "ada")
		})
	}
}

func TestIDsOf16And1023BytesAreAccepted(t *testing.T) {
	for _, size := range []int{16, 1023} {
		s := newSite(t)
		a := passkeytest.New(origin)
		a.ID = make([]byte, size)
		s.register(caller("ada"), a)
		s.accepted(s.assertion(a), "ada")
	}
}

func TestARegistrationExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a := passkeytest.New(origin)
		ada := caller("ada")
		created, err := a.Create(s.creation(ada))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		s.ok(s.call(s.rp.Register(), "POST", ada, string(created)), 400)
	})
}

// Two registrations of a first passkey are under way at once: each keeps the user
// handle that its authenticator was given.
func TestTwoFirstRegistrationsAtOnceBothWork(t *testing.T) {
	s := newSite(t)
	ada := caller("ada")
	first, second := s.creation(ada), s.creation(ada)
	for _, options := range [][]byte{first, second} {
		a := passkeytest.New(origin)
		created, err := a.Create(options)
		if err != nil {
			t.Fatal(err)
		}
		s.ok(s.call(s.rp.Register(), "POST", ada, string(created)), 201)
		s.accepted(s.assertion(a), "ada")
	}
}

func TestASubjectHasAtMostMaxPasskeys(t *testing.T) {
	s := newSite(t, func(c *passkey.Config) { c.Max = 1 })
	s.registered("ada")
	a := passkeytest.New(origin)
	strong := caller("ada", "pwd", "otp")
	created, err := a.Create(s.creation(strong))
	if err != nil {
		t.Fatal(err)
	}
	s.ok(s.call(s.rp.Register(), "POST", strong, string(created)), 400)
}

func TestRegistrationWithAStoreThatFailsIs503(t *testing.T) {
	for _, method := range []string{"Passkeys", "AddPasskey"} {
		s := newSite(t)
		a := passkeytest.New(origin)
		created, err := a.Create(s.creation(caller("ada")))
		if err != nil {
			t.Fatal(err)
		}
		s.store = &failing{Store: s.store, method: method}
		s.open()
		s.ok(s.call(s.rp.Register(), "POST", caller("ada"), string(created)), 503)
	}
}

// The session has ended on another machine, and this one has not heard of it yet.
func TestASessionThatHasEndedAddsAndRemovesNoPasskey(t *testing.T) {
	for _, test := range []struct {
		name    string
		revoked bool
		err     error
		status  int
	}{{"ended", true, nil, 401}, {"the log is down", false, errDown, 503}} {
		calls := 1000 // until the session ends
		s := newSite(t, func(c *passkey.Config) {
			c.Revoked = func(_ context.Context, p *identity.Principal) (bool, error) {
				if p.Session == "" {
					t.Error("Revoked was called without a session")
				}
				if calls--; calls >= 0 {
					return false, nil
				}
				return test.revoked, test.err
			}
		})
		first, second := s.registered("ada"), passkeytest.New(origin)
		ada := caller("ada", "pwd", "otp")
		created, err := second.Create(s.creation(ada))
		if err != nil {
			t.Fatal(err)
		}
		s.changes = nil
		calls = 1 // between the two looks at the log
		s.ok(s.call(s.rp.Register(), "POST", ada, string(created)), test.status)
		all, err := s.store.Passkeys(t.Context(), "ada")
		if err != nil || len(all) != 1 || len(s.changes) > 0 {
			t.Errorf("%s: %d passkeys, %v, %v: the one of the ended session stays", test.name, len(all), err, s.changes)
		}
		if created, err = second.Create(s.creation(ada)); err != nil {
			t.Fatal(err)
		}
		seen := s.onceSeen
		s.ok(s.call(s.rp.Register(), "POST", ada, string(created)), test.status)
		if s.onceSeen != seen {
			t.Errorf("%s: the challenge of a session that had ended was used", test.name)
		}
		s.ok(s.call(s.rp.Remove(), "DELETE", ada, `{"proof":"right"}`, base64.RawURLEncoding.EncodeToString(all[0].ID)), test.status)
		s.accepted(s.assertion(first), "ada")
		s.rejected(s.assertion(second))
	}
}

func TestRelatedOriginsListsOriginsOfPages(t *testing.T) {
	s := newSite(t, func(c *passkey.Config) {
		c.Origins = []string{origin, "https://example.de", "android:apk-key-hash:abc", "http://localhost:8080"}
	})
	if got := string(s.ok(s.call(s.rp.RelatedOrigins(), "GET", nil, ""), 200)); got != `{"origins":["https://example.com","https://example.de"]}`+"\n" {
		t.Error(got)
	}
}

func TestTheLedgerShowsWhatEachRouteDemands(t *testing.T) {
	rp := newSite(t).rp
	for _, h := range []http.Handler{rp.SignInOptions(), rp.SecondFactorOptions(), rp.RelatedOrigins()} {
		if q := guard.Requirements(h); len(q) != 1 || q[0].Kind != guard.KindPublic {
			t.Error(q)
		}
	}
	for _, h := range []http.Handler{rp.StepUpOptions(), rp.RegisterOptions(), rp.Register(), rp.List(), rp.Rename(), rp.Remove()} {
		if q := guard.Requirements(h); len(q) != 1 || q[0].Kind != guard.KindCaller {
			t.Error(q)
		}
	}
}

func TestNewReportsEveryMistake(t *testing.T) {
	_, err := passkey.New(nil, passkey.Config{RPID: "127.0.0.1", Origins: []string{"http://example.com", "https://example.com/", "https://example.com:443"},
		TopOrigins: []string{"example.com"}, Keys: []guard.Secret{guard.NewSecret([]byte("short")), guard.NewSecret(make([]byte, 32))}, Fresh: time.Second, Max: 101})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"the Store is nil", "Config.RPID", "Config.Name", "Config.Issuer", "Config.Origins[0]", "Config.Origins[1]", "Config.Origins[2]",
		"no origin of the domain", "Config.TopOrigins[0]", "Config.Keys[0]", "Config.Keys[1]", "Config.Once", "Config.User", "Config.Authorize", "Config.Fresh", "Config.Max"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in\n%v", part, err)
		}
	}
}

func TestPrintedPasskeysAreShort(t *testing.T) {
	p := passkey.Passkey{Record: "RECORD", Handle: []byte("HANDLE"), Subject: "ada", ID: []byte("0123456789abcdef"), Name: "My phone"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, p); strings.Contains(got, "RECORD") || strings.Contains(got, "HANDLE") || !strings.Contains(got, "ada") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}
