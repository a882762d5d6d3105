package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

// withOutbox are settings of a server whose messages tests can read.
func withOutbox() settings {
	how := testSettings
	how.outbox = true
	how.hosts = append(slices.Clone(how.hosts), "localhost")
	return how
}

// letters returns the messages to an address for a purpose, the newest first, when
// there are at least n.
func (s *site) letters(t *testing.T, to, purpose string, n int) []letter {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var found []letter
		for _, one := range into[[]letter](t, s.do(t, "GET", "/outbox/", ""), 200) {
			if one.To == to && one.Purpose == purpose {
				found = append(found, one)
			}
		}
		if len(found) >= n {
			return found
		}
		if time.Now().After(deadline) {
			t.Fatalf("there are %d messages %q to %s, want %d", len(found), purpose, to, n)
		}
	}
}

// secretOf returns what is behind the # of a link, and checks where it leads.
func secretOf(t *testing.T, l letter) string {
	t.Helper()
	at, secret, _ := strings.Cut(l.Link, "#")
	if at != testIssuer+"/account/"+l.Purpose || secret == "" {
		t.Fatalf("the link is %s", l.Link)
	}
	return secret
}

// A browser keeps cookies and sends them back.
type browser struct {
	*site
	jar map[string]string
}

func (s *site) browser() *browser { return &browser{s, make(map[string]string)} }

func (b *browser) do(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	var all []string
	for name, value := range b.jar {
		all = append(all, name+"="+value)
	}
	if len(all) > 0 {
		headers = append(slices.Clone(headers), "Cookie: "+strings.Join(all, "; "))
	}
	got := b.site.do(t, method, path, body, append(headers, "Sec-Fetch-Site: same-origin")...)
	for _, cookie := range (&http.Response{Header: got.header}).Cookies() {
		if cookie.MaxAge < 0 || cookie.Value == "" {
			delete(b.jar, cookie.Name)
			continue
		}
		if !cookie.Secure || !cookie.HttpOnly || !strings.HasPrefix(cookie.Name, "__Host-") || cookie.Path != "/" || cookie.Domain != "" {
			t.Errorf("the cookie %s is weak", cookie)
		}
		b.jar[cookie.Name] = cookie.Value
	}
	return got
}

func (b *browser) signIn(t *testing.T, username string) {
	t.Helper()
	got := b.do(t, "POST", "/session/token", form("username", username, "password", b.keys.DemoPassword), formType)
	got.is(t, 200)
	if strings.Contains(got.body, "eyJ") {
		t.Errorf("a token is in the body: %s", got.body)
	}
}

func proofOf(proof string) string {
	b := must(json.Marshal(map[string]string{"proof": proof}))
	return string(b)
}

// addPasskey registers a passkey of a caller.
func (b *browser) addPasskey(t *testing.T, name string) (*passkeytest.Authenticator, string) {
	t.Helper()
	device := passkeytest.New(testIssuer)
	options := b.do(t, "POST", "/passkeys/options", proofOf(b.keys.DemoPassword), jsonType)
	options.is(t, 200)
	var created map[string]any
	check(json.Unmarshal(must(device.Create([]byte(options.body))), &created))
	created["name"] = name
	made := into[struct{ ID string }](t, b.do(t, "POST", "/passkeys/", string(must(json.Marshal(created))), jsonType), 201)
	return device, made.ID
}

func TestPasskeySignsInAloneAndIsASecondFactorAndStepsUp(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	b := s.browser()
	b.signIn(t, "alice")
	b.do(t, "POST", "/passkeys/options", proofOf("wrong"), jsonType).has(t, "a wrong password", 400, "invalid_proof")
	device, id := b.addPasskey(t, "My phone")
	if told := s.letters(t, "alice@example.com", "notice", 1); !strings.Contains(told[0].Text, `"My phone" was added`) {
		t.Errorf("alice was told %q", told[0].Text)
	}

	// Alone, as tokens and as cookies.
	assertion := must(device.Get([]byte(s.do(t, "POST", "/passkeys/sign-in", "").body)))
	pair := s.do(t, "POST", "/token/passkey", string(assertion), jsonType).tokens(t)
	if c := claims(t, pair.Access); c.Session == "" {
		t.Error("there is no session")
	}
	s.do(t, "POST", "/token/passkey", string(assertion), jsonType).refused(t, 400, "invalid_grant") // once
	other := s.browser()
	assertion = must(device.Get([]byte(s.do(t, "POST", "/passkeys/sign-in", "").body)))
	other.do(t, "POST", "/session/passkey", string(assertion), jsonType).is(t, 200)
	view := into[sessionView](t, other.do(t, "GET", "/session/", ""), 200)
	if view.Username != "alice" || view.Began != "passkey" || !view.Factors.Has("mfa") || !view.Passkeys || view.Codes {
		t.Errorf("the session is %+v", view)
	}

	// A password alone opens no session any more.
	third := s.browser()
	third.do(t, "POST", "/session/token", form("username", "alice", "password", s.keys.DemoPassword), formType).refused(t, 400, "mfa_required")
	assertion = must(device.Get([]byte(s.do(t, "POST", "/passkeys/second-factor", "").body)))
	third.do(t, "POST", "/session/mfa", form("code", string(assertion)), formType).is(t, 200)
	list := into[[]listed](t, third.do(t, "GET", "/sessions/", ""), 200)
	if len(list) != 4 || list[0].Began != "password" || !list[0].Current || !list[0].Factors.Has("pop") || !slices.ContainsFunc(list, func(l listed) bool { return l.Began == "passkey" }) {
		t.Errorf("the sessions are %+v", list)
	}

	// Stepping up the first session is refused: the passkey was made in it.
	assertion = must(device.Get([]byte(b.do(t, "POST", "/passkeys/step-up", "").body)))
	if got := b.do(t, "POST", "/session/step-up", form("code", string(assertion)), formType); got.status == 200 {
		t.Error("a passkey raised the session in which it was registered")
	}
	assertion = must(device.Get([]byte(third.do(t, "POST", "/passkeys/step-up", "").body)))
	third.do(t, "POST", "/session/step-up", form("code", string(assertion)), formType).is(t, 200)
	if view := into[sessionView](t, third.do(t, "GET", "/session/", ""), 200); view.Began != "step-up" {
		t.Errorf("the session began by %q", view.Began)
	}

	third.do(t, "PATCH", "/passkeys/"+id, `{"name":"Old phone"}`, jsonType).is(t, 204)
	if all := third.do(t, "GET", "/passkeys/", "").body; !strings.Contains(all, "Old phone") {
		t.Errorf("the passkeys are %s", all)
	}
	mod := s.browser()
	mod.signIn(t, "mod")
	mod.do(t, "PATCH", "/passkeys/"+id, `{"name":"x"}`, jsonType).has(t, "another user's passkey", 404, "not_found")
	mod.do(t, "DELETE", "/passkeys/"+id, proofOf(s.keys.DemoPassword), jsonType).has(t, "another user's passkey", 404, "not_found")
	third.do(t, "DELETE", "/passkeys/"+id, proofOf(s.keys.DemoPassword), jsonType).is(t, 204)
	s.signInAlice(t) // with the password alone again
}

func TestAdministratorResetsPasskeysToo(t *testing.T) {
	s := openSite(t)
	b := s.browser()
	b.signIn(t, "alice")
	b.addPasskey(t, "Lost")
	s.challenged(t, "alice")
	p, _ := s.enrol(t, s.signIn(t, "admin", s.keys.DemoPassword).Access)
	challenge := s.challenged(t, "admin")
	admin := s.respond(t, challenge, p.code(t)).tokens(t)
	s.do(t, "DELETE", "/users/alice/2fa", "", bearer(admin.Access)).is(t, 204)
	s.signInAlice(t)
}

func TestForgottenPasswordIsReplacedByLink(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	before := s.signInAlice(t)
	key := s.key(t, before.Access, `{"name":"x"}`)
	known := s.do(t, "POST", "/forgot/", form("email", "Alice@example.com"), formType)
	unknown := s.do(t, "POST", "/forgot/", form("email", "nobody@example.com"), formType)
	known.is(t, 202)
	if known.body != unknown.body || unknown.status != 202 {
		t.Errorf("%d %q for an address that is known, %d %q for another", known.status, known.body, unknown.status, unknown.body)
	}
	secret := secretOf(t, s.letters(t, "alice@example.com", "reset-password", 1)[0])
	page := s.do(t, "GET", "/account/reset-password", "") // a scanner
	page.is(t, 200)
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'sha256-") {
		t.Errorf("the script of the page cannot run: %s", policy)
	}
	s.do(t, "POST", "/account/reset-password", form("token", secret, "password", "short"), formType).has(t, "a short password", 400, "weak_password")
	got := s.do(t, "POST", "/account/reset-password", form("token", secret, "password", testPassword), formType)
	got.is(t, 303)
	if at := got.header.Get("Location"); at != testIssuer+"/account/reset-password?done" {
		t.Errorf("Location is %s", at)
	}
	s.do(t, "POST", "/account/reset-password", form("token", secret, "password", testPassword), formType).has(t, "the link again", 400, "invalid_ticket")
	s.me(t, before.Access).has(t, "a session of before", 401, "invalid_token")
	s.do(t, "GET", "/protected/", "", withKey(key.Key)).is(t, 401)
	s.signIn(t, "alice", testPassword)
	s.letters(t, "alice@example.com", "reset-password", 2) // the link, and that it was used
}

func TestLinksOfBeforeAnAccountWasDisabledStayInvalid(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	s.do(t, "POST", "/forgot/", form("email", "alice@example.com"), formType).is(t, 202)
	secret := secretOf(t, s.letters(t, "alice@example.com", "reset-password", 1)[0])
	s.administer(t, admin.Access, "alice", "disable").is(t, 200)
	s.administer(t, admin.Access, "alice", "enable").is(t, 200)
	s.do(t, "POST", "/account/reset-password", form("token", secret, "password", testPassword), formType).has(t, "a link of before", 400, "invalid_ticket")
	s.signInAlice(t)
}

func TestResetAsksForTheSecondFactorAtTheNextSignIn(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	s.enrol(t, s.signInAlice(t).Access)
	s.do(t, "POST", "/forgot/", form("email", "alice@example.com"), formType).is(t, 202)
	secret := secretOf(t, s.letters(t, "alice@example.com", "reset-password", 1)[0])
	s.do(t, "POST", "/account/reset-password", form("token", secret, "password", testPassword), formType).is(t, 303)
	s.do(t, "POST", "/token", form("username", "alice", "password", testPassword), formType).refused(t, 400, "mfa_required")
}

func TestMailedLinkAndCodeSignInTheBrowserThatAskedForThem(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	b, thief := s.browser(), s.browser()
	b.do(t, "POST", "/sign-in/link", form("email", "mod@example.com"), formType).is(t, 202)
	secret := secretOf(t, s.letters(t, "mod@example.com", "sign-in-link", 1)[0])
	thief.do(t, "POST", "/session/mail", form("token", secret), formType).refused(t, 400, "invalid_grant")
	b.do(t, "GET", "/account/sign-in-link", "").is(t, 200)
	b.do(t, "POST", "/session/mail", form("token", secret), formType).is(t, 200)
	view := into[sessionView](t, b.do(t, "GET", "/session/", ""), 200)
	if view.Username != "mod" || view.Began != "mail" || !view.Factors.Has("email") || view.Factors.Len() != 1 {
		t.Errorf("the session is %+v", view)
	}
	// A mailbox is not enough for a key that outlives it.
	b.do(t, "POST", "/keys/", `{"name":"x"}`, jsonType).has(t, "a key", 401, "insufficient_user_authentication")

	b.do(t, "POST", "/sign-in/code", form("email", "mod@example.com"), formType).is(t, 202)
	code := s.letters(t, "mod@example.com", "sign-in-code", 1)[0].Code
	if len(code) != 6 {
		t.Fatalf("the code is %q", code)
	}
	thief.do(t, "POST", "/token/mail", form("code", code), formType).refused(t, 400, "invalid_grant")
	b.do(t, "POST", "/token/mail", form("code", code), formType).tokens(t)
	b.do(t, "POST", "/token/mail", form("code", code), formType).refused(t, 400, "invalid_grant")
}

func TestAddressIsVerifiedAndChangedAndTheChangeUndone(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	s.register(t, map[string]string{"username": "newcomer", "email": "New@example.com", "full_name": "N", "password": s.keys.DemoPassword}).is(t, 201)
	b := s.browser()
	b.signIn(t, "newcomer")
	b.do(t, "POST", "/email/verify", "").is(t, 202)
	secret := secretOf(t, s.letters(t, "New@example.com", "verify-email", 1)[0])
	elsewhere := s.browser()
	elsewhere.signIn(t, "newcomer")
	elsewhere.do(t, "GET", "/account/verify-email", "").is(t, 200)
	elsewhere.do(t, "POST", "/account/verify-email", form("token", secret), formType).has(t, "another session", 400, "invalid_ticket")
	b.do(t, "POST", "/account/verify-email", form("token", secret), formType).is(t, 303)
	if view := into[sessionView](t, b.do(t, "GET", "/session/", ""), 200); !view.Verified {
		t.Error("the address is not verified")
	}

	b.do(t, "POST", "/email/", form("email", "other@example.com", "proof", "wrong"), formType).is(t, 400)
	b.do(t, "POST", "/email/", form("email", "other@example.com", "proof", s.keys.DemoPassword), formType).is(t, 202)
	secret = secretOf(t, s.letters(t, "other@example.com", "change-email", 1)[0])
	b.do(t, "GET", "/account/change-email", "").is(t, 200)
	b.do(t, "POST", "/account/change-email", form("token", secret), formType).is(t, 303)
	if view := into[sessionView](t, b.do(t, "GET", "/session/", ""), 200); view.Email != "other@example.com" || !view.Verified {
		t.Errorf("the address is %s", view.Email)
	}
	undo := secretOf(t, s.letters(t, "New@example.com", "undo-email", 1)[0])
	s.do(t, "GET", "/account/undo-email", "").is(t, 200)
	s.do(t, "POST", "/account/undo-email", form("token", undo), formType).is(t, 303)
	b.do(t, "GET", "/session/", "").is(t, 401)
}

func TestOneOfTwoUsersHasAVerifiedAddress(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	s.register(t, map[string]string{"username": "squatter", "email": "ALICE@example.com", "full_name": "", "password": s.keys.DemoPassword}).is(t, 201)
	b := s.browser()
	b.signIn(t, "squatter")
	b.do(t, "POST", "/email/verify", "").is(t, 202)
	secret := secretOf(t, s.letters(t, "ALICE@example.com", "verify-email", 1)[0])
	b.do(t, "POST", "/account/verify-email", form("token", secret), formType).has(t, "an address that alice has", 400, "invalid_ticket")
	// And a link to reset goes to alice's account.
	s.do(t, "POST", "/forgot/", form("email", "alice@example.com"), formType).is(t, 202)
	secret = secretOf(t, s.letters(t, "alice@example.com", "reset-password", 1)[0])
	s.do(t, "POST", "/account/reset-password", form("token", secret, "password", testPassword), formType).is(t, 303)
	s.signIn(t, "alice", testPassword)
	s.signIn(t, "squatter", s.keys.DemoPassword)
	if _, err := s.db.ExecContext(t.Context(), "UPDATE users SET email_verified = $1 WHERE username = 'squatter'", true); !isDuplicate(err) {
		t.Errorf("the database lets two users have one verified address: %v", err)
	}
}

func TestOwnerOfAnAddressTakesAnAccountBackThatWasRegisteredWithIt(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	s.register(t, map[string]string{"username": "hijacked", "email": "victim@example.com", "full_name": "", "password": s.keys.DemoPassword}).is(t, 201)
	attacker := s.browser()
	attacker.signIn(t, "hijacked")
	attacker.addPasskey(t, "of the attacker")
	s.do(t, "POST", "/forgot/", form("email", "victim@example.com"), formType).is(t, 202)
	secret := secretOf(t, s.letters(t, "victim@example.com", "reset-password", 1)[0])
	s.do(t, "POST", "/account/reset-password", form("token", secret, "password", testPassword), formType).is(t, 303)
	attacker.do(t, "GET", "/session/", "").is(t, 401)
	s.signIn(t, "hijacked", testPassword) // without the attacker's passkey as a second factor
	if n := s.count(t, "SELECT count(*) FROM gatewright_passkeys"); n != 0 {
		t.Errorf("%d passkeys are left", n)
	}
}

func TestAdministratorInvitesAndSendsResetsAndChoosesNoPassword(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	admin := bearer(s.signIn(t, "admin", s.keys.DemoPassword).Access)
	alice := bearer(s.signInAlice(t).Access)
	s.do(t, "POST", "/invitations/", `{"email":"guest@example.com"}`, alice, jsonType).has(t, "as alice", 403, "forbidden")
	s.do(t, "POST", "/invitations/", `{"email":"not an address"}`, admin, jsonType).has(t, "junk", 422, "invalid_input")
	s.do(t, "POST", "/invitations/", `{"email":"guest@example.com"}`, admin, jsonType).is(t, 202)
	secret := secretOf(t, s.letters(t, "guest@example.com", "invitation", 1)[0])
	s.do(t, "GET", "/account/invitation", "").is(t, 200)
	s.do(t, "POST", "/account/invitation", form("token", secret, "username", "guest", "password", testPassword), formType).is(t, 303)
	s.signIn(t, "guest", testPassword)
	if n := s.count(t, "SELECT count(*) FROM users WHERE username = 'guest' AND email = 'guest@example.com' AND email_verified"); n != 1 {
		t.Error("the guest's address is not verified")
	}
	for i, tt := range []struct {
		username, code string
		status         int
	}{{"alice", "username_taken", 409}, {"!", "invalid_input", 422}} {
		s.do(t, "POST", "/invitations/", `{"email":"more@example.com"}`, admin, jsonType).is(t, 202)
		secret := secretOf(t, s.letters(t, "more@example.com", "invitation", i+1)[0])
		s.do(t, "POST", "/account/invitation", form("token", secret, "username", tt.username, "password", testPassword), formType).has(t, tt.username, tt.status, tt.code)
	}

	s.do(t, "POST", "/users/alice/reset-password", "", alice).has(t, "as alice", 403, "forbidden")
	s.do(t, "POST", "/users/nobody/reset-password", "", admin).has(t, "nobody", 404, "not_found")
	s.do(t, "POST", "/users/dora/reset-password", "", admin).has(t, "a disabled user", 409, "conflict")
	got := s.do(t, "POST", "/users/alice/reset-password", "", admin)
	if got.status != 202 || got.body != "" {
		t.Errorf("got %d %s", got.status, got.body)
	}
	secret = secretOf(t, s.letters(t, "alice@example.com", "reset-password", 1)[0])
	s.do(t, "POST", "/account/reset-password", form("token", secret, "password", testPassword), formType).is(t, 303)
	s.signIn(t, "alice", testPassword)
}

func TestOutboxIsForTheDeveloperAlone(t *testing.T) {
	s := openSite(t)
	s.do(t, "GET", "/outbox/", "").has(t, "without an outbox", 404, "not_found")
	with := openSiteAs(t, withOutbox())
	with.do(t, "GET", "/outbox/", "").is(t, 200)
	with.do(t, "GET", "/outbox/", "", "X-Forwarded-For: 192.0.2.1").has(t, "through a proxy", 404, "not_found")
	with.do(t, "GET", "/outbox/", "", "Sec-Fetch-Site: cross-site").has(t, "from another site", 404, "not_found")
	for _, tt := range []struct {
		args  []string
		shows bool
	}{
		{nil, true},
		{[]string{"-demo=false"}, false},
		{[]string{"-addr", "0.0.0.0:0"}, false},
		{[]string{"-issuer", "https://app.example.com"}, false},
		{[]string{"-trusted-proxy", "127.0.0.1"}, false},
	} {
		o, err := parse(append([]string{"-addr", "127.0.0.1:0", "-db", t.TempDir() + "/x.db"}, tt.args...), &record{})
		check(err)
		listener := must(o.listen())
		must(o.settle(listener.Addr()))
		if got := o.showsOutbox(listener.Addr()); got != tt.shows {
			t.Errorf("%q: the outbox is shown: %t", tt.args, got)
		}
		check(listener.Close())
	}
}

func TestUsersAreNotifiedOfNewPasswordsAndFactors(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	alice := s.signInAlice(t)
	s.enrol(t, alice.Access)
	if told := s.letters(t, "alice@example.com", "notice", 1); !strings.HasPrefix(told[0].Text, "One-time codes were set up.") {
		t.Errorf("the notice is %q", told[0].Text)
	}
	s.changePassword(t, alice.Access, s.keys.DemoPassword, testPassword).is(t, 204)
	if told := s.letters(t, "alice@example.com", "notice", 2); !strings.HasPrefix(told[0].Text, "The password was changed.") {
		t.Errorf("the notice is %q", told[0].Text)
	}
}

// No message is written to the log, and none of its secrets.
func TestMessagesAreNotInTheLog(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	s.do(t, "POST", "/forgot/", form("email", "alice@example.com"), formType).is(t, 202)
	secret := secretOf(t, s.letters(t, "alice@example.com", "reset-password", 1)[0])
	s.do(t, "POST", "/account/reset-password", form("token", secret, "password", testPassword), formType).is(t, 303)
	without := openSite(t)
	without.do(t, "POST", "/forgot/", form("email", "alice@example.com"), formType).is(t, 202)
	without.closeWays()
	if log := without.log.String(); !strings.Contains(log, "-smtp") || strings.Contains(log, "/account/reset-password#") {
		t.Errorf("the log of a server without mail is %s", log)
	}
	if log := s.log.String(); strings.Contains(log, secret) || strings.Contains(log, testPassword) {
		t.Errorf("the log has the secret: %s", log)
	}
}

func TestPageURLIsADomainOnTheDevelopersMachine(t *testing.T) {
	for _, tt := range []struct{ issuer, page, rpID, origin string }{
		{"http://127.0.0.1:8080", "http://localhost:8080", "localhost", "http://localhost:8080"},
		{"http://[::1]:8080", "http://localhost:8080", "localhost", "http://localhost:8080"},
		{"http://localhost", "http://localhost", "localhost", "http://localhost"},
		{"https://127.0.0.1:8443", "https://localhost:8443", "localhost", "https://localhost:8443"},
		{"https://app.example.com", "https://app.example.com", "app.example.com", "https://app.example.com"},
		{"https://App.example.com/base/", "https://App.example.com/base", "app.example.com", "https://app.example.com"},
		{"http://app.example.com", "http://app.example.com", "passkeys.invalid", "https://passkeys.invalid"},
		{"https://192.0.2.1", "https://192.0.2.1", "passkeys.invalid", "https://passkeys.invalid"},
		{"http://[2001:db8::1]:80", "http://[2001:db8::1]:80", "passkeys.invalid", "https://passkeys.invalid"},
	} {
		page := pageOf(tt.issuer)
		rpID, from := domainOfPasskeys(page)
		if page != tt.page || rpID != tt.rpID || from != tt.origin {
			t.Errorf("%s: the page is %s, the RP ID %s, the origin %s", tt.issuer, page, rpID, from)
		}
	}
}

func TestCookiesAreForPagesOfThisOriginAlone(t *testing.T) {
	s := openSite(t)
	b := s.browser()
	b.signIn(t, "alice")
	cookie := "Cookie: __Host-access_token=" + b.jar["__Host-access_token"]
	s.do(t, "GET", "/users/me", "", cookie).is(t, 200)
	s.do(t, "POST", "/items/", `{"name":"x"}`, cookie, jsonType, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example").has(t, "from another site", 403, "forbidden")
	s.do(t, "POST", "/session/token", form("username", "mod", "password", s.keys.DemoPassword), formType, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example").is(t, 403)
	if got := s.do(t, "GET", "/users/me", "", cookie, "Authorization: Bearer x"); got.status != 400 {
		t.Errorf("two credentials: %d", got.status)
	}
	b.do(t, "POST", "/session/refresh", "", formType).is(t, 200)
	b.do(t, "POST", "/session/logout", "").is(t, 200)
	if len(b.jar) != 0 {
		t.Errorf("after signing out there are the cookies %v", b.jar)
	}
	s.do(t, "GET", "/users/me", "", cookie).is(t, 401)
}

func TestAdministratorSeesUsersAndThePolicy(t *testing.T) {
	s := openSite(t)
	alice, admin := bearer(s.signInAlice(t).Access), bearer(s.signIn(t, "admin", s.keys.DemoPassword).Access)
	for _, path := range []string{"/admin/users", "/admin/policy"} {
		s.do(t, "GET", path, "", alice).has(t, path, 403, "forbidden")
	}
	if all := into[[]account](t, s.do(t, "GET", "/admin/users", "", admin), 200); len(all) != len(demoUsers) || strings.Contains(s.do(t, "GET", "/admin/users", "", admin).body, "argon2") {
		t.Errorf("the users are %+v", all)
	}
	rights := into[[]right](t, s.do(t, "GET", "/admin/policy", "", admin), 200)
	allowed := func(role, permission string) bool {
		return slices.ContainsFunc(rights, func(r right) bool { return r.Role == role && r.Permission == permission && r.Allowed && r.Why != "" })
	}
	if !allowed("admin", "delete:users") || allowed("user", "delete:users") || !allowed("moderator", "moderate:content") {
		t.Errorf("the policy is %+v", rights)
	}
}

func TestAdministratorComparesPolicies(t *testing.T) {
	s := openSite(t)
	alice, admin := bearer(s.signInAlice(t).Access), bearer(s.signIn(t, "admin", s.keys.DemoPassword).Access)
	compare := func(before, after string) answer {
		t.Helper()
		body := map[string]string{"after": after}
		if before != "" {
			body["before"] = before
		}
		return s.do(t, "POST", "/admin/policy/diff", string(must(json.Marshal(body))), admin, jsonType)
	}
	in := s.do(t, "GET", "/admin/policy", "", admin).body
	const other = `{"roles": {
		"user": {"allow": ["read:users"]},
		"moderator": {"inherits": ["user"], "allow": ["moderate:content"], "deny": ["delete:users"]},
		"admin": {"inherits": ["user"], "allow": ["*:users", "delete:items", "read:audit", "moderate:content"]},
		"auditor": {"allow": ["read:audit"]}
	}}`
	short := func(a answer) string {
		t.Helper()
		var all []string
		for _, c := range into[[]policyChange](t, a, 200) {
			if c.Before == "" || c.After == "" || c.Role == "auditor" && c.Before != "there is no such role" && c.After != "there is no such role" {
				t.Errorf("there is no reason: %+v", c)
			}
			all = append(all, c.Role+" "+c.Change+" "+c.Permission)
		}
		return strings.Join(all, ", ")
	}
	const want = "admin gains moderate:content, auditor gains read:audit, moderator loses delete:items, moderator differs delete:users"
	if got := short(compare("", other)); got != want {
		t.Errorf("the changes are %s, want %s", got, want)
	}
	if got := short(compare(string(policyFile), string(policyFile))) + short(compare("", string(policyFile))); got != "" {
		t.Errorf("the policy differs from itself: %s", got)
	}
	if got := short(compare(other, string(policyFile))); got != "admin loses moderate:content, auditor loses read:audit, moderator gains delete:items, moderator differs delete:users" {
		t.Errorf("the other way round: %s", got)
	}
	for text, says := range map[string]string{
		"":                                       "after",
		"{":                                      "after: the JSON of the policy",
		`{"roles":{"x":{"allow":["fly:away"]}}}`: "fly:away",
		`{"roles":{"x":{"inherits":["y"]}}}`:     "y",
		strings.Repeat(" ", maxBody):             "",
	} {
		got := compare("", text)
		if status := 422; len(text) < maxBody && got.status != status || len(text) >= maxBody && got.status != 413 || !strings.Contains(got.body, says) {
			t.Errorf("%.40q: %d %s", text, got.status, got.body)
		}
	}
	if got := compare("{", string(policyFile)); got.status != 422 || !strings.Contains(got.body, "efore: the JSON") {
		t.Errorf("before: %d %s", got.status, got.body)
	}
	s.do(t, "POST", "/admin/policy/diff", `{"after":"{}"}`, alice, jsonType).has(t, "as a user", 403, "forbidden")
	if after := s.do(t, "GET", "/admin/policy", "", admin).body; after != in {
		t.Error("a comparison changed the policy")
	}
}

func TestPageAndItsFiles(t *testing.T) {
	s := openSite(t)
	page := s.do(t, "GET", "/", "")
	page.is(t, 200)
	policy := page.header.Get("Content-Security-Policy")
	if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "'strict-dynamic'") || !strings.Contains(policy, "require-trusted-types-for 'script'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("the policy is %s", policy)
	}
	if again := s.do(t, "GET", "/", "").header.Get("Content-Security-Policy"); again == policy {
		t.Error("the nonce is used twice")
	}
	weight := len(page.body)
	for path, kind := range map[string]string{"/page/app.js": "text/javascript; charset=utf-8", "/page/style.css": "text/css; charset=utf-8", "/page/icon.svg": "image/svg+xml"} {
		got := s.do(t, "GET", path, "")
		if got.status != 200 || got.header.Get("Content-Type") != kind {
			t.Errorf("%s: %d %s", path, got.status, got.header.Get("Content-Type"))
		}
		weight += len(got.body)
	}
	if weight > 60<<10 {
		t.Errorf("the page and its files have %d bytes", weight)
	}
	for _, path := range []string{"/page/index.html", "/page/..%2fopenapi.json", "/page/x"} {
		if got := s.do(t, "GET", path, ""); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	// No other host, no handler in an attribute, no style in one.
	script := s.do(t, "GET", "/page/app.js", "").body + s.do(t, "GET", "/page/style.css", "").body
	for _, bad := range []string{"localStorage", "sessionStorage", "document.cookie", "https://", "http://", "eval("} {
		if strings.Contains(script, bad) {
			t.Errorf("the page's files have %s", bad)
		}
	}
	for _, bad := range []string{" on", "style=\"", "javascript:"} {
		for _, tag := range strings.Split(page.body, "<")[1:] {
			tag, _, _ = strings.Cut(tag, ">")
			if i := strings.Index(tag, bad); i >= 0 && (bad != " on" || strings.Contains(tag[i:], "=\"") && strings.IndexByte(tag[i:], '=') < 14 && !strings.Contains(tag[i:strings.IndexByte(tag[i:], '=')+i], "\"")) {
				t.Errorf("the page has <%s>", tag)
			}
		}
	}
}
