package ticket_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/ticket"
)

// A watched store notes the calls of its methods, and fails in those that a test
// names.
type watched struct {
	ticket.Store
	mu    sync.Mutex
	calls []string
	fails string
}

func (w *watched) call(method string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, method)
	if w.fails == method {
		// As a client of another service would fail.
		return fmt.Errorf("calling it: %w: %w", guard.InvalidToken("Bearer", identity.ErrNotProven), errDown)
	}
	return nil
}

// taken returns the calls since it was last called.
func (w *watched) taken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := strings.Join(w.calls, " ")
	w.calls = nil
	return calls
}

func (w *watched) IssueTicket(ctx context.Context, t ticket.Ticket) error {
	if err := w.call("IssueTicket"); err != nil {
		return err
	}
	return w.Store.IssueTicket(ctx, t)
}

func (w *watched) FindTicket(ctx context.Context, u ticket.Use) (ticket.Ticket, error) {
	if err := w.call("FindTicket"); err != nil {
		return ticket.Ticket{}, err
	}
	return w.Store.FindTicket(ctx, u)
}

func (w *watched) UseTicket(ctx context.Context, u ticket.Use) (bool, error) {
	if err := w.call("UseTicket"); err != nil {
		return false, err
	}
	return w.Store.UseTicket(ctx, u)
}

func (w *watched) WrongCodes(ctx context.Context, subject, tenant string, since time.Time) (int, error) {
	if err := w.call("WrongCodes"); err != nil {
		return 0, err
	}
	return w.Store.WrongCodes(ctx, subject, tenant, since)
}

func (w *watched) EndTickets(ctx context.Context, which ticket.Which) error {
	if err := w.call("EndTickets"); err != nil {
		return err
	}
	return w.Store.EndTickets(ctx, which)
}

// watch puts a watched store into a site.
func watch(t *testing.T, change ...func(*site)) (*site, *watched) {
	w := &watched{Store: new(ticket.Memory)}
	s := newSite(t, append([]func(*site){func(s *site) { s.store = w }}, change...)...)
	return s, w
}

func TestAMalformedSecretReachesNoStore(t *testing.T) {
	s, store := watch(t)
	_, cookie := s.requested(ticket.SignInLink, "ada@example.com")
	store.taken()
	for _, token := range []string{"", "a", strings.Repeat("A", 42), strings.Repeat("A", 44), strings.Repeat("A", 42) + "=", strings.Repeat("+", 43), strings.Repeat("A", 42) + "B",
		strings.Repeat("A", 43) + "\n", strings.Repeat("A", 20) + "\r\n" + strings.Repeat("A", 21)} {
		s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 400)
		if token != "" {
			s.rejected(cookie, "token", token)
		}
	}
	s.rejected("", "token", strings.Repeat("A", 43)) // without the cookie
	s.rejected("", "code", "123456")
	if calls := store.taken(); calls != "" {
		t.Errorf("the store was called: %s", calls)
	}
}

func TestLookingAtALinkUsesNothingUp(t *testing.T) {
	s, store := watch(t)
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	store.taken()
	bodies := map[string]bool{}
	for range 100 {
		for _, method := range []string{"GET", "HEAD"} {
			w := s.ok(s.do(s.service.Page(ticket.ResetPassword), httptest.NewRequest(method, "/account/reset-password?"+token, nil), nil, ""), 200)
			bodies[method+w.Body.String()] = true
			s.ok(s.do(s.service.Use(ticket.ResetPassword), httptest.NewRequest(method, "/?token="+token+"&password="+strings.ReplaceAll(strong, " ", "+"), nil), nil, ""), 405)
		}
	}
	if calls := store.taken(); calls != "" || len(bodies) != 2 {
		t.Errorf("the store was called (%s), or the page has %d bodies", calls, len(bodies))
	}
	s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 204)
}

// A backup of the database is read by a thief, who has no Config.Keys.
func TestWhatAStoreHoldsCannotBeUsed(t *testing.T) {
	s := newSite(t)
	code, cookie := s.requested(ticket.SignInCode, "ada@example.com")
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	dump := fmt.Sprintf("%#v", s.store)
	for _, secret := range []string{code, cookie, token} {
		if strings.Contains(dump, `"`+secret+`"`) {
			t.Errorf("the store holds %q", secret)
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || strings.Contains(dump, fmt.Sprint(raw)) {
		t.Error("the store holds the bytes of the token")
	}
	s.config.Keys = []guard.Secret{guard.NewSecret([]byte(strings.Repeat("t", 32)))}
	s.open()
	s.rejected(cookie, "code", code)
}

func TestATicketStoreThatFailsIs503AndUsesNothingUp(t *testing.T) {
	s, store := watch(t)
	use := s.service.Use(ticket.ResetPassword)
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	link, cookie := s.requested(ticket.SignInLink, "ada@example.com")
	for _, store.fails = range []string{"FindTicket", "UseTicket"} {
		s.ok(s.post(use, nil, "", "token", token, "password", strong), 503)
		if _, err := s.prove(cookie, "token", link); guard.DenialOf(t.Context(), err).Status != 503 || errors.Is(err, identity.ErrNotProven) {
			t.Errorf("%s: %v", store.fails, err)
		}
	}
	store.fails = ""
	s.accepted(cookie, "token", link, "1")
	store.fails = "EndTickets"
	s.ok(s.post(use, nil, "", "token", token, "password", strong), 503)
	if s.users["1"].PasswordHash != "hash of "+strong || len(s.ended) != 2 {
		t.Errorf("%v, %v", s.users["1"], s.ended)
	}
	store.fails = "IssueTicket"
	s.ok(s.post(s.service.Request(ticket.ResetPassword), nil, "", "email", "ada@example.com"), 202)
	s.flush()
	if n := len(s.events); n == 0 || !errors.Is(s.events[n-1].Err, errDown) {
		t.Errorf("%v", s.events)
	}
}

// The process, or the table of users, dies between the use of the ticket and the
// new password.
func TestAResetThatStopsHalfwayIsRequestedAnew(t *testing.T) {
	s := newSite(t)
	users := &failingUsers{Users: s, err: errDown}
	service, err := ticket.New(s.store, users, s.config)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close(t.Context())
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	s.ok(s.post(service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 503)
	if s.users["1"].PasswordHash != "hash of ada" {
		t.Errorf("%v", s.users["1"].PasswordHash)
	}
	s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 400)
	token, _ = s.requested(ticket.ResetPassword, "ada@example.com")
	users.err = ticket.ErrChanged // by another device meanwhile
	s.ok(s.post(service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 400)
	token, _ = s.requested(ticket.ResetPassword, "ada@example.com")
	s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 204)
}

type failingUsers struct {
	ticket.Users
	err error
}

func (f *failingUsers) SetPassword(context.Context, string, string, string) error { return f.err }

// Sessions end before the password changes too: a reset that stops in between must
// not leave the sessions of a thief beside a new password.
func TestNoPasswordIsSetWhileSessionsCannotBeEnded(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.config.EndSessions = func(context.Context, string) error { return errDown }
	})
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	s.ok(s.post(s.service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 503)
	if s.users["1"].PasswordHash != "hash of ada" {
		t.Errorf("%v", s.users["1"].PasswordHash)
	}
}

// However an address is spelled, its mailbox has one limit.
func TestSpellingsOfAnAddressShareItsLimit(t *testing.T) {
	charged := map[string]int{}
	s := newSite(t, func(s *site) {
		s.config.Queue = 1024
		s.config.Limit = func(_ context.Context, key string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if charged[key]++; charged[key] > 10 {
				return guard.TooManyAttempts(time.Minute, nil)
			}
			return nil
		}
	})
	s.change("1", func(u *ticket.User) { u.Email = "mikemike@example.com" })
	s.ok(s.post(s.service.Request(ticket.ResetPassword), nil, "", "email", "MikeMike@Example.com"), 202)
	s.flush()
	if len(charged) != 1 {
		t.Errorf("one request charged %d limits", len(charged))
	}
	h := s.service.Request(ticket.ResetPassword)
	for i := range 256 {
		spelling := []rune("mikemike")
		for bit := range 8 {
			if i>>bit&1 == 1 {
				spelling[bit] -= 'a' - 'A'
			}
		}
		email := string(spelling) + "@example.com"
		s.ok(s.post(h, nil, "", "email", email), 202)
		s.ok(s.post(h, nil, "", "email", strings.Replace(email, "k", "\u212a", 1)), 202) // a Kelvin sign, which folds to k
	}
	s.flush()
	if len(s.mails) != 10 {
		t.Errorf("%d messages", len(s.mails))
	}
}

func TestAChangeOfAddressBelongsToItsSession(t *testing.T) {
	s := newSite(t)
	s.ok(s.post(s.service.Request(ticket.ChangeEmail), caller("1"), "", "email", "new@example.com", "proof", "right"), 202)
	token, _ := s.sent()
	use := s.service.Use(ticket.ChangeEmail)
	other := caller("1")
	other.Session = "another session"
	s.ok(s.post(use, other, "", "token", token), 400)
	s.ok(s.post(use, caller("3"), "", "token", token), 400)
	s.ok(s.post(use, caller("1"), "", "token", token), 204)
}

func TestOfTwoAccountsThatConfirmAnAddressAtOnceOneHasIt(t *testing.T) {
	for range 20 {
		s := newSite(t)
		tokens := map[string]string{}
		for _, subject := range []string{"1", "3"} {
			s.ok(s.post(s.service.Request(ticket.ChangeEmail), caller(subject), "", "email", "new@example.com", "proof", "right"), 202)
			tokens[subject], _ = s.sent()
		}
		var confirmed atomic.Int64
		var wg sync.WaitGroup
		for subject, token := range tokens {
			wg.Go(func() {
				if s.post(s.service.Use(ticket.ChangeEmail), caller(subject), "", "token", token).Code == 204 {
					confirmed.Add(1)
				}
			})
		}
		wg.Wait()
		if confirmed.Load() != 1 {
			t.Fatalf("%d accounts confirmed the address", confirmed.Load())
		}
	}
}

// The answer to a request is written before a store is called, and a wrong code
// takes the same calls whether or not its address is known. The times are logged,
// with the smallest difference of medians that the samples would have shown.
func TestKnownAndUnknownAddressesTakeTheSameWork(t *testing.T) {
	var hold sync.Mutex // the queue waits while it is held
	s, store := watch(t, func(s *site) {
		s.config.Queue = 4096
		s.config.Limit = func(context.Context, string) error { hold.Lock(); defer hold.Unlock(); return nil }
	})
	s.change("1", func(u *ticket.User) { u.Verified = true })
	addresses := []string{"ada@example.com", "unknown@example.com", "bob@example.com"} // bob is disabled
	for _, p := range []ticket.Purpose{ticket.ResetPassword, ticket.SignInCode} {
		h := s.service.Request(p)
		times := make([][]time.Duration, len(addresses))
		hold.Lock()
		store.taken()
		for range 1000 {
			for i, email := range addresses {
				began := time.Now()
				w := s.post(h, nil, "", "email", email)
				times[i] = append(times[i], time.Since(began))
				if w.Code != 202 {
					t.Fatalf("status %d", w.Code)
				}
			}
		}
		if calls := store.taken(); calls != "" {
			t.Errorf("%s: the store was called before the answer: %.80s", p, calls)
		}
		hold.Unlock()
		s.flush()
		compare(t, string(p), addresses, times)
	}

	// Wrong codes, five for each that was requested.
	work := map[string][]string{}
	times := make([][]time.Duration, len(addresses))
	for range 5 {
		for i, email := range addresses {
			w := s.ok(s.post(s.service.Request(ticket.SignInCode), nil, "", "email", email), 202)
			s.flush()
			code, cookie := "000000", w.Result().Cookies()[0].Value
			if m := s.mails[len(s.mails)-1]; email == addresses[0] && string(m.Code.Bytes()) == code {
				code = "000001"
			}
			for range 8 { // three more than there are tries
				store.taken()
				began := time.Now()
				s.rejected(cookie, "code", code)
				times[i] = append(times[i], time.Since(began))
				work[email] = append(work[email], store.taken())
			}
		}
	}
	for _, email := range addresses[1:] {
		if !slices.Equal(work[email], work[addresses[0]]) {
			t.Errorf("a wrong code calls %q for %s and %q for %s", work[email], email, work[addresses[0]], addresses[0])
		}
	}
	compare(t, "wrong codes", addresses, times)
	// After 25 wrong ones a link is sent to the known address. A code is refused
	// as before.
	w := s.ok(s.post(s.service.Request(ticket.SignInCode), nil, "", "email", addresses[0]), 202)
	s.flush()
	store.taken()
	s.rejected(w.Result().Cookies()[0].Value, "code", "000000")
	if calls := store.taken(); calls != work[addresses[1]][0] {
		t.Errorf("after 25 wrong codes: %s, want %s", calls, work[addresses[1]][0])
	}
}

// compare logs the medians of times and the smallest difference between them that
// would have been seen: 3 standard errors of a difference of medians.
func compare(t *testing.T, what string, names []string, times [][]time.Duration) {
	var line strings.Builder
	var n, spread time.Duration
	for i, all := range times {
		slices.Sort(all)
		n = time.Duration(len(all))
		spread = max(spread, all[len(all)*3/4]-all[len(all)/4])
		fmt.Fprintf(&line, " %s %v", names[i], all[len(all)/2])
	}
	root := 1.0
	for root*root < float64(n) {
		root++
	}
	// A median's standard error is 0.93 quartile distances over the root of n.
	t.Logf("%s, %d samples in turn: medians%s; a difference of %v would have been seen", what, n, &line, time.Duration(3*1.41*0.93*float64(spread)/root).Round(10*time.Nanosecond))
}

// A link to undo a change has no State: it must refuse disabled users itself.
func TestAChangeIsNotUndoneForAUserWhoIsDisabledOrMoved(t *testing.T) {
	for name, change := range map[string]func(*ticket.User){
		"disabled":       func(u *ticket.User) { u.Disabled = true },
		"another tenant": func(u *ticket.User) { u.Tenant = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.ok(s.post(s.service.Request(ticket.ChangeEmail), caller("1"), "", "email", "new@example.com", "proof", "right"), 202)
			s.flush()
			_, token, _ := strings.Cut(string(s.mails[0].Link.Bytes()), "#")
			s.ok(s.post(s.service.Use(ticket.ChangeEmail), caller("1"), "", "token", token), 204)
			undo, m := s.sent()
			if m.Purpose != ticket.UndoEmail {
				t.Fatalf("%+v", m)
			}
			before := s.users["1"]
			s.change("1", change)
			s.ok(s.post(s.service.Use(ticket.UndoEmail), nil, "", "token", undo), 400)
			s.change("1", func(u *ticket.User) { *u = before })
			s.ok(s.post(s.service.Use(ticket.UndoEmail), nil, "", "token", undo), 204)
		})
	}
}

// The first address of a user has none before it that could be told or restored.
func TestAFirstAddressHasNothingToUndo(t *testing.T) {
	for email, old := range map[string]string{"first@example.com": "", "Ada@example.com": "Ada@example.com"} {
		s := newSite(t)
		s.change("1", func(u *ticket.User) { u.Email = old })
		s.ok(s.post(s.service.Request(ticket.ChangeEmail), caller("1"), "", "email", email, "proof", "right"), 202)
		token, m := s.sent()
		if m.To != email || old == "" && len(s.mails) != 1 {
			t.Errorf("%v", s.mails)
		}
		s.mails = nil
		s.ok(s.post(s.service.Use(ticket.ChangeEmail), caller("1"), "", "token", token), 204)
		s.flush()
		if len(s.mails) > 0 || s.users["1"].Email != email {
			t.Errorf("%v, %v", s.mails, s.users["1"].Email)
		}
	}
}

// A table of users that returns no user and no error has no such user.
func TestANilUserIsNoUser(t *testing.T) {
	s := newSite(t)
	token, _ := s.requested(ticket.ResetPassword, "ada@example.com")
	service, err := ticket.New(s.store, nilUsers{s}, s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.ok(s.post(service.Use(ticket.ResetPassword), nil, "", "token", token, "password", strong), 400)
	s.ok(s.post(service.Request(ticket.SignInCode), nil, "", "email", "ada@example.com"), 202)
	s.ok(s.post(service.Request(ticket.VerifyEmail), caller("1"), ""), 401)
	s.ok(s.post(s.service.Request(ticket.VerifyEmail), caller("2"), ""), 401) // disabled
	s.ok(s.post(s.service.Request(ticket.VerifyEmail), caller("9"), ""), 401) // unknown
	sent := len(s.mails)
	if err := service.Close(t.Context()); err != nil || len(s.mails) != sent || len(reasons(s.events)) != 4 {
		t.Errorf("%v, %v, %v", err, s.mails, s.events)
	}
	if err := service.Issue(t.Context(), ticket.Order{Purpose: ticket.ResetPassword, Subject: "1"}); err == nil {
		t.Error("a ticket is issued for nobody")
	}
}

type nilUsers struct{ ticket.Users }

func (nilUsers) UserByEmail(context.Context, string) (*ticket.User, error)   { return nil, nil }
func (nilUsers) UserBySubject(context.Context, string) (*ticket.User, error) { return nil, nil }

func TestTheCookieOfABrowserIsBoundToTheHost(t *testing.T) {
	s := newSite(t)
	for p, lifetime := range map[ticket.Purpose]int{ticket.SignInLink: 600, ticket.SignInCode: 600} {
		all := s.ok(s.post(s.service.Request(p), nil, "", "email", "ada@example.com"), 202).Result().Cookies()
		if len(all) != 1 {
			t.Fatal(all)
		}
		c := all[0]
		if c.Name != "__Host-ticket" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != lifetime || len(c.Value) != 43 {
			t.Errorf("%+v", c)
		}
	}
	if all := s.post(s.service.Request(ticket.ResetPassword), nil, "", "email", "ada@example.com").Result().Cookies(); len(all) > 0 {
		t.Errorf("a reset sets %v", all)
	}
}

func TestAddressesAndDataAreBounded(t *testing.T) {
	s := newSite(t)
	h := s.service.Request(ticket.ResetPassword)
	domain := "@example.com"
	for email, status := range map[string]int{
		strings.Repeat("x", 254-len(domain)) + domain: 202, strings.Repeat("x", 255-len(domain)) + domain: 400,
		"a!#$%&'*+-/=?^_`{|}~.z" + domain: 202, "Zoë@exämple.com": 202,
		"a\u0080b" + domain: 400, "a\u009fb" + domain: 400, "a\x7fb" + domain: 400, "a\x1fb" + domain: 400, "a\u2029b" + domain: 400, "a\ufffdb" + domain: 400, "a b" + domain: 400,
	} {
		s.ok(s.post(h, nil, "", "email", email), status)
	}
	for size, want := range map[int]bool{1024: true, 1025: false} {
		if err := s.service.Issue(t.Context(), ticket.Order{Purpose: ticket.Invitation, Email: "a@b.de", Data: make([]byte, size)}); (err == nil) != want {
			t.Errorf("%d bytes of Data: %v", size, err)
		}
	}
}
