package ticket_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/ticket"
)

const strong = "correct horse battery"

func TestResetJourney(t *testing.T) {
	s := newSite(t)
	s.ok(s.post(s.service.Request(ticket.ResetPassword), nil, "", "email", "ada@EXAMPLE.com"), 202)
	token, m := s.sent()
	// The stored spelling of the address, and the configured host.
	if m.To != "Ada@example.com" || string(m.Link.Bytes()) != base+"reset-password#"+token || len(token) != 43 || m.Subject != "1" || m.Tenant != "acme" {
		t.Errorf("%+v", m)
	}
	use := s.service.Use(ticket.ResetPassword)
	s.ok(s.post(use, nil, "", "token", token, "password", "weak"), 400)
	w := s.ok(s.post(use, nil, "", "token", token, "password", strong), 204)
	if len(w.Result().Cookies()) > 0 {
		t.Error("a reset signed the user in")
	}
	if s.users["1"].PasswordHash != "hash of "+strong || fmt.Sprint(s.ended) != "[1 1]" || len(s.claimed) > 0 {
		t.Errorf("%+v, %v, %v", s.users["1"], s.ended, s.claimed)
	}
	s.ok(s.post(use, nil, "", "token", token, "password", strong), 400)
	s.flush()
	if last := s.mails[len(s.mails)-1]; last.To != "Ada@example.com" || last.Notice == "" || !last.Link.IsZero() || !last.Code.IsZero() {
		t.Errorf("%+v", last)
	}
}

func TestRequestsAreAnsweredAlike(t *testing.T) {
	for _, p := range []ticket.Purpose{ticket.ResetPassword, ticket.SignInLink, ticket.SignInCode} {
		answers := map[string]bool{}
		for _, email := range []string{"ada@example.com", "bob@example.com", "unknown@example.com", "limited@example.com"} {
			s := newSite(t)
			if s.limited = email == "limited@example.com"; s.limited {
				email = "ada@example.com"
			}
			w := s.ok(s.post(s.service.Request(p), nil, "", "email", email), 202)
			header := w.Header().Clone()
			for i, c := range header["Set-Cookie"] {
				before, after, _ := strings.Cut(c, ";")
				header["Set-Cookie"][i] = fmt.Sprint(len(before), after)
			}
			answers[fmt.Sprint(w.Code, header, w.Body)] = true
			s.flush()
			if want := email == "ada@example.com" && !s.limited; len(s.mails) != map[bool]int{true: 1}[want] {
				t.Errorf("%s for %s: %d messages", p, email, len(s.mails))
			}
		}
		if len(answers) != 1 {
			t.Errorf("%s: %v", p, answers)
		}
	}
}

func TestMalformedAddressesAreBadRequests(t *testing.T) {
	s := newSite(t)
	h := s.service.Request(ticket.ResetPassword)
	for _, email := range []string{"", "ada", "@example.com", "ada@", "a@b@c", "a@b,c@d", "a@b\r\nBcc: c@d", "a@b c@d", "a@b;c@d", "<a@b>", "a\x00@b",
		"a@b\u2028", strings.Repeat("x", 250) + "@b.de"} {
		s.ok(s.post(h, nil, "", "email", email), 400)
	}
	for body, status := range map[string]int{
		`{"email":["ada@example.com"]}`: 400, `{"email":"ada@example.com","email":"eve@example.com"}`: 400, `{"email":"a@b.de"`: 400,
		`{"email":"` + strings.Repeat("x", 9<<10) + `"}`: 413,
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		s.ok(s.do(h, r, nil, ""), status)
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader("email=ada%40example.com&email=eve%40example.com"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	s.ok(s.do(h, r, nil, ""), 400)
	s.ok(s.do(h, httptest.NewRequest("GET", "/?email=ada@example.com", nil), nil, ""), 405)
	s.flush()
	if len(s.mails) > 0 {
		t.Errorf("%v", s.mails)
	}
}

// A look-alike of another letter is a host's matter; the message goes to the
// stored address, so the owner of the look-alike receives nothing.
func TestTheStoredAddressReceivesTheMessage(t *testing.T) {
	s := newSite(t)
	s.change("1", func(u *ticket.User) { u.Email = "mike@example.com" })
	s.ok(s.post(s.service.Request(ticket.ResetPassword), nil, "", "email", "mi\u212ae@example.com"), 202) // a Kelvin sign
	if _, m := s.sent(); m.To != "mike@example.com" {
		t.Errorf("%+v", m)
	}
}

func TestATicketPassesForItsPurposeOnly(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.config.Accept = func(context.Context, ticket.Ticket, map[string]string) error { t.Error("accepted"); return nil }
	})
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	for _, p := range []ticket.Purpose{ticket.UndoEmail, ticket.Invitation, ticket.VerifyEmail, ticket.ChangeEmail} {
		s.ok(s.post(s.service.Use(p), caller("1"), "", "token", token, "password", strong), 400)
	}
	s.rejected("", "token", token)
	s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 204)
}

func TestATokenHasOneSpelling(t *testing.T) {
	s := newSite(t)
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	use := s.service.Use(ticket.ResetPassword)
	last := token[len(token)-1]
	for _, other := range []string{"", token + "=", token + "\n", "\n" + token, token[:42], token + "A", strings.Repeat("+", 43), strings.Repeat("/", 43),
		token[:42] + string(last+1), token[:20] + "\n" + token[20:], "%" + token[1:]} {
		if other == token {
			continue
		}
		s.ok(s.post(use, nil, "", "token", other, "password", strong), 400)
	}
	s.ok(s.post(use, nil, "", "token", token, "password", strong), 204)
}

func TestALinkIsUsedOnce(t *testing.T) {
	s := newSite(t)
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	use := s.service.Use(ticket.ResetPassword)
	var used atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if w := s.post(use, nil, "", "token", token, "password", strong); w.Code == 204 {
				used.Add(1)
			}
		})
	}
	wg.Wait()
	if used.Load() != 1 {
		t.Errorf("used %d times", used.Load())
	}
}

func TestANewerTicketReplacesTheOlder(t *testing.T) {
	s := newSite(t)
	older, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	newer, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	use := s.service.Use(ticket.ResetPassword)
	s.ok(s.post(use, nil, "", "token", older, "password", strong), 400)
	s.ok(s.post(use, nil, "", "token", newer, "password", strong), 204)
}

func TestATicketExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
		time.Sleep(time.Hour)
		s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 400)
		token, _ = s.requested(ticket.ResetPassword, "ada@example.com")
		time.Sleep(time.Hour - time.Microsecond)
		s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 204)
		s.service.Close(t.Context())
	})
}

func TestATicketDiesWithWhatItWasMadeFor(t *testing.T) {
	for name, change := range map[string]func(*ticket.User){
		"the password changed": func(u *ticket.User) { u.PasswordHash = "another" },
		"the address changed":  func(u *ticket.User) { u.Email = "other@example.com" },
		"disabled":             func(u *ticket.User) { u.Disabled = true },
		"another tenant":       func(u *ticket.User) { u.Tenant = "other" },
		"another user":         func(u *ticket.User) { u.Subject = "gone" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
			link, cookie := s.requested(ticket.SignInLink, "ada@example.com")
			if name == "another user" {
				delete(s.users, "1")
			} else {
				s.change("1", change)
			}
			s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 400)
			s.rejected(cookie, "token", link)
		})
	}
}

func TestATableThatIsDownUsesNothingUp(t *testing.T) {
	s := newSite(t)
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	use := s.service.Use(ticket.ResetPassword)
	s.down = true
	s.ok(s.post(use, nil, "", "token", token, "password", strong), 503)
	s.down = false
	s.ok(s.post(use, nil, "", "token", token, "password", strong), 204)
}

// An intruder registers the address of a victim first.
func TestAnUnverifiedAccountIsClaimedByTheOwnerOfTheAddress(t *testing.T) {
	unverified := func(u *ticket.User) { u.Verified = false }
	t.Run("by a link", func(t *testing.T) {
		s := newSite(t)
		s.change("1", unverified)
		token, cookie := s.requested(ticket.SignInLink, "ada@example.com")
		s.accepted(cookie, "token", token, "1")
		if u := s.users["1"]; !u.Verified || u.PasswordHash != "" || fmt.Sprint(s.claimed, s.ended) != "[1 1] [1]" {
			t.Errorf("%+v, %v, %v", u, s.claimed, s.ended)
		}
	})
	t.Run("by a reset", func(t *testing.T) {
		s := newSite(t)
		s.change("1", unverified)
		token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
		s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 204)
		if u := s.users["1"]; !u.Verified || u.PasswordHash != "hash of "+strong || fmt.Sprint(s.claimed) != "[1 1]" {
			t.Errorf("%+v, %v", u, s.claimed)
		}
	})
	t.Run("by a reset not without Config.Claim", func(t *testing.T) {
		s := newSite(t, func(s *site) { s.config.Claim = nil })
		s.change("1", unverified)
		token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
		s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 400)
		if u := s.users["1"]; u.Verified || u.PasswordHash != "hash of ada" {
			t.Errorf("a refused reset changed %+v", u)
		}
	})
	t.Run("by Config.Claim before and after sessions end", func(t *testing.T) {
		var steps []string
		s := newSite(t, func(s *site) {
			s.config.EndSessions = func(context.Context, string) error { steps = append(steps, "end"); return nil }
			s.config.Claim = func(context.Context, string, bool) error { steps = append(steps, "claim"); return nil }
		})
		s.change("1", unverified)
		token, cookie := s.requested(ticket.SignInLink, "ada@example.com")
		s.accepted(cookie, "token", token, "1")
		if fmt.Sprint(steps) != "[claim end claim]" {
			t.Errorf("%v: a session of the intruder could add a passkey after the last Claim", steps)
		}
	})
	t.Run("whose other tickets end", func(t *testing.T) {
		s := newSite(t)
		intruder := caller("1")
		s.ok(s.post(s.service.Request(ticket.ChangeEmail), intruder, "", "email", "intruder@example.com", "proof", "right"), 202)
		token, _ := s.sent()
		s.ok(s.post(s.service.Use(ticket.ChangeEmail), intruder, "", "token", token), 204)
		undo, m := s.sent() // to another address of the intruder
		if m.Purpose != ticket.UndoEmail {
			t.Fatal(m)
		}
		s.change("1", func(u *ticket.User) { u.Email, u.Verified = "victim@example.com", false }) // by a form of the host
		token, cookie := s.requested(ticket.SignInLink, "victim@example.com")
		s.accepted(cookie, "token", token, "1")
		s.ok(s.post(s.service.Use(ticket.UndoEmail), nil, "", "token", undo), 400)
		if u := s.users["1"]; u.Email != "victim@example.com" {
			t.Errorf("the intruder has the account again: %+v", u)
		}
	})
	t.Run("by undoing a change", func(t *testing.T) {
		s := newSite(t)
		s.change("1", unverified)
		intruder := caller("1")
		s.ok(s.post(s.service.Request(ticket.ChangeEmail), intruder, "", "email", "intruder@example.com", "proof", "right"), 202)
		token, _ := s.sent()
		s.ok(s.post(s.service.Use(ticket.ChangeEmail), intruder, "", "token", token), 204)
		undo, m := s.sent()
		if m.Purpose != ticket.UndoEmail || m.To != "Ada@example.com" {
			t.Fatal(m)
		}
		s.ok(s.post(s.service.Use(ticket.UndoEmail), nil, "", "token", undo), 204)
		if u := s.users["1"]; u.Email != "Ada@example.com" || !u.Verified || u.PasswordHash != "" || fmt.Sprint(s.claimed) != "[1 1]" {
			t.Errorf("%+v, %v: the passkeys of the intruder stay in an account that looks verified", u, s.claimed)
		}
	})
	t.Run("not without Config.Claim", func(t *testing.T) {
		s := newSite(t, func(s *site) { s.config.Claim = nil })
		s.change("1", unverified)
		token, cookie := s.requested(ticket.SignInLink, "ada@example.com")
		s.rejected(cookie, "token", token)
	})
}

func TestASignInLinkPassesInTheBrowserThatRequestedIt(t *testing.T) {
	s := newSite(t)
	token, cookie := s.requested(ticket.SignInLink, "ada@example.com")
	_, other := s.requested(ticket.SignInLink, "eve@example.com")
	s.rejected("", "token", token)
	s.rejected(other, "token", token)
	s.rejected("malformed", "token", token)
	// A scanner opens the page as often as it likes.
	for range 100 {
		s.ok(s.do(s.service.Page(ticket.SignInLink), httptest.NewRequest("GET", "/", nil), nil, ""), 200)
	}
	s.accepted(cookie, "token", token, "1")
	s.rejected(cookie, "token", token)
}

// An attacker's page requests a link to the attacker's own mailbox in the browser of a
// victim, who would then open the attacker's account.
func TestAPageOfAnotherOriginBindsNoTicketToABrowser(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.TrustedOrigins = []string{"https://app.example.com"} })
	send := func(p ticket.Purpose, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "https://example.com/sign-in/link", strings.NewReader("email=eve@example.com"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for pair := range slices.Chunk(headers, 2) {
			r.Header.Set(pair[0], pair[1])
		}
		return s.do(s.service.Request(p), r, nil, "")
	}
	for _, p := range []ticket.Purpose{ticket.SignInLink, ticket.SignInCode} {
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
			{"Sec-Fetch-Site", "same-site", "Origin", "https://blog.example.com"},
			{"Origin", "https://evil.example"},
			{"Origin", "null"},
		} {
			if w := s.ok(send(p, headers...), 403); len(w.Result().Cookies()) > 0 {
				t.Errorf("%v: a cookie was set", headers)
			}
		}
		s.flush()
		if len(s.mails) > 0 {
			t.Errorf("%v was sent", s.mails)
		}
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "same-origin", "Origin", "https://example.com"},
			{"Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"},
			{"Origin", "https://example.com"},
			{}, // no browser
		} {
			s.ok(send(p, headers...), 202)
		}
		s.flush()
		s.mails = nil
	}
	s.ok(send(ticket.ResetPassword, "Sec-Fetch-Site", "cross-site"), 202) // binds nothing
	s.config.InsecureAnyBrowser = true
	s.open()
	s.ok(send(ticket.SignInLink, "Sec-Fetch-Site", "cross-site"), 202)
	s.config.TrustedOrigins = []string{"https://app.example.com/"}
	if _, err := ticket.New(s.store, s, s.config); err == nil || !strings.Contains(err.Error(), "TrustedOrigins[0]") {
		t.Error(err)
	}
}

func TestInsecureAnyBrowser(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.InsecureAnyBrowser = true })
	token, cookie := s.requested(ticket.SignInLink, "ada@example.com")
	if cookie != "" {
		t.Error("a cookie was set")
	}
	s.accepted("", "token", token, "1")
	code, cookie := s.requested(ticket.SignInCode, "ada@example.com")
	s.rejected("", "code", code)
	s.accepted(cookie, "code", code, "1")
}

func TestACodeHasFiveTriesInItsBrowser(t *testing.T) {
	s := newSite(t)
	code, cookie := s.requested(ticket.SignInCode, "ada@example.com")
	_, other := s.requested(ticket.SignInCode, "eve@example.com")
	wrong := fmt.Sprintf("%06d", (atoi(code)+1)%1_000_000)
	s.rejected(other, "code", code)
	for _, malformed := range []string{"12345", "1234567", "１２３４５６", "12 456", "-12345"} {
		s.rejected(cookie, "code", malformed)
	}
	for range 4 {
		s.rejected(cookie, "code", wrong)
	}
	s.accepted(cookie, "code", code, "1")
	s.rejected(cookie, "code", code)

	code, cookie = s.requested(ticket.SignInCode, "ada@example.com")
	wrong = fmt.Sprintf("%06d", (atoi(code)+1)%1_000_000)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { s.rejected(cookie, "code", wrong) })
	}
	wg.Wait()
	s.rejected(cookie, "code", code)
}

func atoi(code string) (n int) {
	fmt.Sscanf(code, "%d", &n)
	return n
}

func TestAfter25WrongCodesALinkIsSent(t *testing.T) {
	s := newSite(t)
	for range 5 {
		code, cookie := s.requested(ticket.SignInCode, "ada@example.com")
		for range 5 {
			s.rejected(cookie, "code", fmt.Sprintf("%06d", (atoi(code)+1)%1_000_000))
		}
	}
	w := s.ok(s.post(s.service.Request(ticket.SignInCode), nil, "", "email", "ada@example.com"), 202)
	token, m := s.sent()
	if !m.Code.IsZero() || m.Purpose != ticket.SignInLink {
		t.Fatalf("%+v", m)
	}
	s.accepted(w.Result().Cookies()[0].Value, "token", token, "1")
}

func TestCodesOfOlderKeysPass(t *testing.T) {
	s := newSite(t)
	code, cookie := s.requested(ticket.SignInCode, "ada@example.com")
	s.config.Keys = append([]guard.Secret{guard.NewSecret([]byte(strings.Repeat("n", 32)))}, s.config.Keys...)
	s.open()
	s.accepted(cookie, "code", code, "1")
	code, cookie = s.requested(ticket.SignInCode, "ada@example.com")
	s.rejected(cookie, "code", fmt.Sprintf("%06d", (atoi(code)+1)%1_000_000))
	s.accepted(cookie, "code", code, "1")
}

func TestProveTakesEitherATokenOrACode(t *testing.T) {
	s := newSite(t)
	for _, body := range []string{"", "token=a&code=b"} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		_, err := s.service.Prove(r)
		if d := guard.DenialOf(t.Context(), err); err == nil || d.Status != 400 || errors.Is(err, identity.ErrNotProven) {
			t.Error(err)
		}
	}
}

func TestAnAccountWithoutAnAddressGetsNoMessage(t *testing.T) {
	s := newSite(t)
	s.change("1", func(u *ticket.User) { u.Email = "" })
	s.ok(s.post(s.service.Request(ticket.VerifyEmail), caller("1"), ""), 400)
	if err := s.service.Issue(t.Context(), ticket.Order{Purpose: ticket.ResetPassword, Subject: "1"}); err == nil {
		t.Error("a reset was issued")
	}
	s.flush()
	if len(s.mails) > 0 || len(reasons(s.events)) != 1 { // the refusal
		t.Errorf("%v, %v", s.mails, reasons(s.events))
	}
}

func TestVerificationBelongsToTheSession(t *testing.T) {
	s := newSite(t)
	s.change("1", func(u *ticket.User) { u.Verified = false })
	request, use := s.service.Request(ticket.VerifyEmail), s.service.Use(ticket.VerifyEmail)
	s.ok(s.post(request, nil, ""), 401)
	s.ok(s.post(request, caller("1"), ""), 202)
	token, m := s.sent()
	if m.To != "Ada@example.com" {
		t.Errorf("%+v", m)
	}
	other := caller("1")
	other.Session = "another session"
	s.ok(s.post(use, caller("3"), "", "token", token), 400)
	s.ok(s.post(use, other, "", "token", token), 400)
	s.ok(s.post(use, nil, "", "token", token), 401)
	s.ok(s.post(use, caller("1"), "", "token", token), 204)
	if !s.users["1"].Verified {
		t.Error("not verified")
	}
}

func TestChangeOfAddressAndUndo(t *testing.T) {
	s := newSite(t)
	request, undo := s.service.Request(ticket.ChangeEmail), s.service.Use(ticket.UndoEmail)
	change := func(email string) (undoToken string) {
		t.Helper()
		s.ok(s.post(s.service.Request(ticket.ChangeEmail), caller("1"), "", "email", email, "proof", "right"), 202)
		s.flush()
		var token string
		for _, m := range s.mails {
			if m.Purpose == ticket.ChangeEmail && m.To == email {
				_, token, _ = strings.Cut(string(m.Link.Bytes()), "#")
			}
		}
		s.mails = nil
		s.ok(s.post(s.service.Use(ticket.ChangeEmail), caller("1"), "", "token", token), 204)
		undoToken, m := s.sent()
		if m.Purpose != ticket.UndoEmail {
			t.Fatalf("%+v", s.mails)
		}
		return undoToken
	}
	for _, fields := range [][]string{{"email", "new@example.com"}, {"email", "new@example.com", "proof", "wrong"}, {"email", "new", "proof", "right"}} {
		s.ok(s.post(request, caller("1"), "", fields...), 400)
	}
	key := caller("1")
	key.Session = ""
	s.ok(s.post(request, key, "", "email", "new@example.com", "proof", "right"), 403)
	foreign := caller("1")
	foreign.Issuer = "https://partner.example"
	s.ok(s.post(request, foreign, "", "email", "new@example.com", "proof", "right"), 403)
	moved := caller("1")
	moved.Tenant = "other"
	s.ok(s.post(request, moved, "", "email", "new@example.com", "proof", "right"), 401)

	// A thief with the password changes the address twice, and resets the
	// password. The first owner's link undoes all of it.
	ownersUndo := change("thief@example.com")
	if s.users["1"].Email != "thief@example.com" {
		t.Fatalf("%+v", s.users["1"])
	}
	thiefsUndo := change("thief2@example.com")
	reset, _ := s.requested(ticket.ResetPassword, "thief2@example.com")
	s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", reset, "password", strong), 204)
	s.ended = nil
	s.ok(s.post(undo, nil, "", "token", ownersUndo), 204)
	if s.users["1"].Email != "Ada@example.com" || fmt.Sprint(s.ended) != "[1 1]" {
		t.Errorf("%+v, %v", s.users["1"], s.ended)
	}
	s.ok(s.post(undo, nil, "", "token", thiefsUndo), 400)
	s.ok(s.post(undo, nil, "", "token", ownersUndo), 400)
}

func TestTheOldAddressIsToldOfARequestedChange(t *testing.T) {
	s := newSite(t)
	s.ok(s.post(s.service.Request(ticket.ChangeEmail), caller("1"), "", "email", "new@example.com", "proof", "right"), 202)
	s.flush()
	if len(s.mails) != 2 || s.mails[0].To != "new@example.com" || s.mails[1].To != "Ada@example.com" || s.mails[1].Notice == "" || !s.mails[1].Link.IsZero() {
		t.Errorf("%+v", s.mails)
	}
}

func TestTwoAccountsCannotConfirmOneAddress(t *testing.T) {
	s := newSite(t)
	tokens := map[string]string{}
	for _, subject := range []string{"1", "3"} {
		s.ok(s.post(s.service.Request(ticket.ChangeEmail), caller(subject), "", "email", "new@example.com", "proof", "right"), 202)
		tokens[subject], _ = s.sent()
	}
	use := s.service.Use(ticket.ChangeEmail)
	s.ok(s.post(use, caller("1"), "", "token", tokens["1"]), 204)
	s.ok(s.post(use, caller("3"), "", "token", tokens["3"]), 400)
}

func TestInvitationJourney(t *testing.T) {
	var got ticket.Ticket
	var fields map[string]string
	refuse := error(nil)
	s := newSite(t, func(s *site) {
		s.config.Accept = func(_ context.Context, t ticket.Ticket, f map[string]string) error {
			got, fields = t, f
			return refuse
		}
	})
	invite := func(email string) string {
		t.Helper()
		if err := s.service.Issue(t.Context(), ticket.Order{Purpose: ticket.Invitation, Email: email, Tenant: "acme", Data: []byte("by 1")}); err != nil {
			t.Fatal(err)
		}
		token, _ := s.sent()
		return token
	}
	use := s.service.Use(ticket.Invitation)
	token := invite("new@example.com")
	s.ok(s.post(use, nil, "", "token", token, "name", "New", "password", "weak"), 400)
	s.ok(s.post(use, nil, "", "token", token, "name", "New", "password", strong, "email", "other@example.com"), 400)
	s.ok(s.post(use, nil, "", "token", token, "name", "New", "password", strong), 204)
	if got.Email != "new@example.com" || got.Tenant != "acme" || string(got.Data) != "by 1" || fmt.Sprint(fields) != "map[name:New password:"+strong+"]" {
		t.Errorf("%+v %v", got, fields)
	}
	s.ok(s.post(use, nil, "", "token", token, "name", "New", "password", strong), 400)

	old, again := invite("new@example.com"), invite("new@example.com")
	s.ok(s.post(use, nil, "", "token", old, "password", strong), 400)
	refuse = guard.Forbidden(errors.New("the inviter may not invite any more"))
	s.ok(s.post(use, nil, "", "token", again, "password", strong), 403)

	token = invite("new@example.com")
	if err := s.service.End(t.Context(), ticket.Which{Email: "new@example.com", Purpose: ticket.Invitation}); err != nil {
		t.Fatal(err)
	}
	s.ok(s.post(use, nil, "", "token", token, "password", strong), 400)
}

func TestAnAdministratorSendsAndNeverSeesTheSecret(t *testing.T) {
	s := newSite(t)
	if err := s.service.Issue(t.Context(), ticket.Order{Purpose: ticket.ResetPassword, Subject: "1", Email: "admin@example.com"}); err != nil {
		t.Fatal(err)
	}
	token, m := s.sent()
	if m.To != "Ada@example.com" {
		t.Errorf("%+v", m)
	}
	s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 204)
	for _, o := range []ticket.Order{{Purpose: ticket.ResetPassword, Subject: "2"}, {Purpose: ticket.ResetPassword, Subject: "9"}, {Purpose: ticket.SignInLink, Subject: "1"},
		{Purpose: ticket.Invitation, Email: "x"}, {Purpose: ticket.Invitation, Email: "a@b.de", Data: make([]byte, 1025)}} {
		if err := s.service.Issue(t.Context(), o); err == nil {
			t.Errorf("%+v", o)
		}
	}
}

func TestDeliveryThatFailsChangesNoAnswer(t *testing.T) {
	for name, deliver := range map[string]func(context.Context, ticket.Message) error{
		"error": func(context.Context, ticket.Message) error { return errDown },
		"panic": func(context.Context, ticket.Message) error { panic("SMTP") },
		"hang":  func(ctx context.Context, _ ticket.Message) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				good := s.config.Deliver
				s.config.Workers = 1
				s.config.Deliver = deliver
				s.open()
				s.ok(s.post(s.service.Request(ticket.ResetPassword), nil, "", "email", "ada@example.com"), 202)
				time.Sleep(31 * time.Second)
				synctest.Wait()
				if len(reasons(s.events)) != 1 {
					t.Errorf("%+v", s.events)
				}
				// The worker is alive.
				s.ok(s.post(s.service.Request(ticket.ResetPassword), nil, "", "email", "ada@example.com"), 202)
				time.Sleep(31 * time.Second)
				synctest.Wait()
				if len(reasons(s.events)) != 2 {
					t.Errorf("%+v", s.events)
				}
				s.config.Deliver = good
				s.service.Close(t.Context())
			})
		})
	}
}

func TestAFullQueueIs503ForAll(t *testing.T) {
	release := make(chan struct{})
	s := newSite(t, func(s *site) {
		s.config.Queue, s.config.Workers = 1, 1
		s.config.Limit = func(context.Context, string) error { <-release; return nil }
	})
	defer close(release)
	h := s.service.Request(ticket.ResetPassword)
	full := 0
	for _, email := range []string{"ada@example.com", "unknown@example.com", "ada@example.com", "unknown@example.com", "bob@example.com"} {
		if w := s.post(h, nil, "", "email", email); w.Code == 503 {
			full++
		}
	}
	if full < 3 {
		t.Errorf("%d of 5 were refused with room for two", full)
	}
}

func TestAClosedServiceRefuses(t *testing.T) {
	s := newSite(t)
	for range 2 {
		if err := s.service.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.ok(s.post(s.service.Request(ticket.ResetPassword), nil, "", "email", "ada@example.com"), 503)
}

// A thief who fills the queue does not get rid of the notice of a reset.
func TestNoticesDoNotDependOnTheQueue(t *testing.T) {
	s := newSite(t)
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	if err := s.service.Close(t.Context()); err != nil { // there is no room at all
		t.Fatal(err)
	}
	s.mails = nil
	s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 204)
	if len(s.mails) != 1 || s.mails[0].Notice == "" {
		t.Errorf("%+v", s.mails)
	}
}

func TestPagesAreConstantAndSubmitNothing(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.config.Accept = func(context.Context, ticket.Ticket, map[string]string) error { return nil }
		s.config.AcceptFields = []string{"name", `"><script>`, "password"}
	})
	for _, p := range []ticket.Purpose{ticket.ResetPassword, ticket.VerifyEmail, ticket.ChangeEmail, ticket.UndoEmail, ticket.SignInLink, ticket.Invitation} {
		h := s.service.Page(p)
		w := s.ok(s.do(h, httptest.NewRequest("GET", "/?x=<script>", nil), nil, ""), 200)
		body := w.Body.String()
		if strings.Contains(body, "submit()") || strings.Contains(body, `"><script>`) || strings.Count(body, "<script>") != 1 || !strings.Contains(body, `method="post"`) {
			t.Errorf("%s:\n%s", p, body)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Error(csp)
		}
		if w.Header().Get("Referrer-Policy") != "no-referrer" || w.Header().Get("Cache-Control") != "no-store" {
			t.Error(w.Header())
		}
		s.ok(s.do(h, httptest.NewRequest("POST", "/", nil), nil, ""), 405)
		if done := s.ok(s.do(h, httptest.NewRequest("GET", "/?done", nil), nil, ""), 200).Body.String(); strings.Contains(done, "<form") {
			t.Error(done)
		}
	}
}

func TestAFormIsRedirectedToThePage(t *testing.T) {
	s := newSite(t)
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	r := httptest.NewRequest("POST", "/", strings.NewReader(url.Values{"token": {token}, "password": {strong}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := s.ok(s.do(s.service.Use(ticket.ResetPassword), r, nil, ""), 303)
	if got := w.Header().Get("Location"); got != base+"reset-password?done" {
		t.Error(got)
	}
}

func TestNoSecretIsPrinted(t *testing.T) {
	s := newSite(t)
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	code, _ := s.requested(ticket.SignInCode, "ada@example.com")
	s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", "weak")
	s.post(s.service.Use(ticket.UndoEmail), nil, "", "token", token)
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		fmt.Fprintf(&b, verb+"\n", s.mails)
		fmt.Fprintf(&b, verb+"\n", s.events)
		fmt.Fprintf(&b, verb+"\n", s.users["1"])
	}
	for _, e := range s.events {
		if e.Denial != nil {
			fmt.Fprintln(&b, e.Denial, e.Denial.Err)
		}
	}
	for _, secret := range []string{token, "Code:" + code, "hash of ada"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("%s is printed", secret)
		}
	}
	kept, err := json.Marshal(s.store)
	if err != nil || strings.Contains(string(kept), token) {
		t.Errorf("%s, %v", kept, err)
	}
}

func TestUsageMistakesPanic(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Authorize = nil })
	for name, call := range map[string]func() http.Handler{
		"Request(Invitation)":                    func() http.Handler { return s.service.Request(ticket.Invitation) },
		"Request(ChangeEmail) without Authorize": func() http.Handler { return s.service.Request(ticket.ChangeEmail) },
		"Use(SignInLink)":                        func() http.Handler { return s.service.Use(ticket.SignInLink) },
		"Use(Invitation) without Accept":         func() http.Handler { return s.service.Use(ticket.Invitation) },
		"Page(SignInCode)":                       func() http.Handler { return s.service.Page(ticket.SignInCode) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			call()
		}()
	}
}

func TestNewReportsEveryMistake(t *testing.T) {
	_, err := ticket.New(nil, nil, ticket.Config{Base: "http://example.com", Keys: []guard.Secret{guard.NewSecret([]byte("short"))},
		Lifetimes: map[ticket.Purpose]time.Duration{"x": time.Second}, Queue: -1})
	for _, part := range []string{"Store is nil", "Users is nil", "Config.Base", "Config.Keys[0]", "Config.Deliver", "Config.Limit", "Config.CheckPassword",
		"Config.EndSessions", "Config.Lifetimes", "Config.Queue"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in\n%v", part, err)
		}
	}
}

func TestTheLedgerShowsWhatEachRouteDemands(t *testing.T) {
	s := newSite(t).service
	for _, h := range []http.Handler{s.Request(ticket.ResetPassword), s.Request(ticket.SignInCode), s.Use(ticket.ResetPassword), s.Use(ticket.UndoEmail), s.Page(ticket.ResetPassword)} {
		if q := guard.Requirements(h); len(q) != 1 || q[0].Kind != guard.KindPublic {
			t.Error(q)
		}
	}
	for _, h := range []http.Handler{s.Request(ticket.VerifyEmail), s.Request(ticket.ChangeEmail), s.Use(ticket.VerifyEmail), s.Use(ticket.ChangeEmail)} {
		if q := guard.Requirements(h); len(q) != 1 || q[0].Kind != guard.KindCaller {
			t.Error(q)
		}
	}
}
