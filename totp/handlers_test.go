package totp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/totp"
)

func alice() *identity.Principal { return caller("alice") }

// send answers a request of p, nobody's if it is nil.
func send(h http.Handler, p *identity.Principal, method, target, contentType, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	r = r.WithContext(identity.NewContext(r.Context(), p))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"
)

func jsonCode(code string) string { return `{"code":"` + code + `"}` }

// post sends a code as JSON.
func post(h http.Handler, p *identity.Principal, code string) *httptest.ResponseRecorder {
	return send(h, p, "POST", "/", asJSON, jsonCode(code))
}

// confirm confirms alice's enrolment with the password.
func confirm(s *totp.Service, code string) *httptest.ResponseRecorder {
	return send(s.ConfirmHandler(), alice(), "POST", "/", asJSON, `{"code":"`+code+`","password":"`+password+`"}`)
}

// is checks an answer, and that it must not be stored.
func is(t *testing.T, what string, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || !strings.Contains(w.Body.String(), body) {
		t.Errorf("%s: %d %s, want %d and %q", what, w.Code, w.Body, status, body)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s: Cache-Control is %q", what, got)
	}
}

func recoveryOf(t *testing.T, w *httptest.ResponseRecorder) []string {
	t.Helper()
	var body struct {
		Codes []string `json:"recovery_codes"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Codes) != 10 || w.Header().Get("Content-Type") != asJSON {
		t.Fatalf("%d %s %s: %v", w.Code, w.Header().Get("Content-Type"), w.Body, err)
	}
	return body.Codes
}

// A session may end while its last request is being sent.
func TestConfigUserIsCalledAfterTheBodyWasRead(t *testing.T) {
	ended := false
	s := service(t, new(totp.Memory), totp.Config{User: func(_ context.Context, p *identity.Principal) (string, error) {
		if ended {
			return "", guard.ErrInactive
		}
		return p.Subject, nil
	}})
	for name, h := range map[string]http.Handler{
		"setup": s.SetupHandler(), "confirm": s.ConfirmHandler(), "verify": s.VerifyHandler(),
		"regenerate": s.RegenerateHandler(), "disable": s.DisableHandler(),
	} {
		ended = false
		r := httptest.NewRequest("POST", "/", readerFunc(func(b []byte) (int, error) {
			ended = true
			return copy(b, bodyOf(name)), io.EOF
		}))
		r.Header.Set("Content-Type", asJSON)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), alice())))
		is(t, name, w, 401, "invalid_token")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// The handlers from setup to the end, and what the audit trail hears.
func TestHandlersFromSetupToRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []guard.EventName
		s := service(t, new(totp.Memory), totp.Config{Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
			events = append(events, e.Name)
			if e.Principal == nil || e.Principal.Subject != "alice" {
				t.Errorf("%s is about %v", e.Name, e.Principal)
			}
		}}})
		w := send(s.SetupHandler(), alice(), "POST", "/2fa/setup/", "", "", "Accept", "application/json")
		is(t, "setup", w, 200, "otpauth://totp/Example:alice?secret=")
		var setup struct {
			URI, Secret string
			ExpiresIn   int `json:"expires_in"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &setup); err != nil || !strings.Contains(setup.URI, setup.Secret) || setup.ExpiresIn != 600 {
			t.Fatalf("%s: %v", w.Body, err)
		}
		is(t, "a wrong code to confirm", confirm(s, wrong(t, setup.Secret, time.Now())), 400, "invalid_code")
		time.Sleep(time.Second)
		w = confirm(s, codeAt(t, setup.Secret, time.Now()))
		is(t, "confirm", w, 200, "recovery_codes")
		recovery := recoveryOf(t, w)
		is(t, "the setup's code again", post(s.VerifyHandler(), alice(), codeAt(t, setup.Secret, time.Now())), 400, "Invalid 2FA code")
		time.Sleep(time.Minute)
		is(t, "verify", post(s.VerifyHandler(), alice(), codeAt(t, setup.Secret, time.Now())), 200, `{"message":"2FA verified successfully"}`)
		is(t, "verify a recovery code", post(s.VerifyHandler(), alice(), recovery[0]), 200, "verified")
		w = post(s.RegenerateHandler(), alice(), recovery[1])
		is(t, "regenerate", w, 200, "recovery_codes")
		fresh := recoveryOf(t, w)
		is(t, "a recovery code that was replaced", post(s.VerifyHandler(), alice(), recovery[2]), 400, "invalid_code")
		w = post(s.VerifyHandler(), alice(), fresh[0])
		is(t, "too early", w, 429, `"code":"too_many_attempts","detail":"There were too many attempts. Please wait."`)
		if got := w.Header().Get("Retry-After"); got != "4" {
			t.Errorf("Retry-After is %q", got) // the third wrong code within four hours
		}
		time.Sleep(4 * time.Second)
		w = send(s.DisableHandler(), alice(), "DELETE", "/2fa/", asJSON, jsonCode(fresh[0]))
		is(t, "disable", w, 204, "")
		if required, err := s.Required(ctx, "alice"); required || err != nil {
			t.Errorf("Required = %t, %v", required, err)
		}
		want := []guard.EventName{
			totp.EventBegun, guard.EventLoginFail, totp.EventConfirmed, guard.EventLoginFail, totp.EventUsed, totp.EventRecoveryUsed,
			totp.EventRegenerated, guard.EventLoginFail, guard.EventLoginFailMax, totp.EventRemoved,
		}
		if !slices.Equal(events, want) {
			t.Errorf("events are\n%v, want\n%v", events, want)
		}
	})
}

func TestSetupAnswersInTheFormatThatAcceptSelects(t *testing.T) {
	for accept, want := range map[string]string{"": "image/png", "*/*": "image/png", "image/svg+xml": "image/svg+xml", "application/json": asJSON} {
		s := service(t, new(totp.Memory), totp.Config{QRSize: 200})
		var header []string
		if accept != "" {
			header = []string{"Accept", accept}
		}
		w := send(s.SetupHandler(), alice(), "POST", "/2fa/setup/", "", "", header...)
		is(t, accept, w, 200, "")
		if got := w.Header().Get("Content-Type"); got != want || w.Header().Get("Vary") != "Accept" {
			t.Errorf("%s: %s, Vary: %s", accept, got, w.Header().Get("Vary"))
		}
		if want == "image/png" {
			picture, err := png.Decode(bytes.NewReader(w.Body.Bytes()))
			if err != nil || picture.Bounds().Dx() != 200 {
				t.Errorf("%v, %v", picture.Bounds(), err)
			}
		}
	}
	s := service(t, new(totp.Memory), totp.Config{})
	is(t, "nothing acceptable", send(s.SetupHandler(), alice(), "POST", "/", "", "", "Accept", "text/html"), 406, "not_acceptable")
}

// <img src=/2fa/setup/> in somebody else's page makes the browser send a GET: no
// method but those that are listed changes anything, or is looked at.
func TestOtherMethodsChangeNothing(t *testing.T) {
	store := &probed{Store: new(totp.Memory)}
	s := service(t, store, totp.Config{})
	_, recovery := enrol(t, s, "alice")
	before := store.saves
	for name, h := range map[string]http.Handler{
		"POST": s.SetupHandler(), "POST ": s.ConfirmHandler(), "POST  ": s.VerifyHandler(), "DELETE, POST": s.DisableHandler(), "POST   ": s.RegenerateHandler(),
	} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "post"} {
			if strings.Contains(name, method) {
				continue
			}
			w := send(h, alice(), method, "/2fa/setup/", asJSON, jsonCode(recovery[0]))
			is(t, method, w, 405, "")
			if got := w.Header().Get("Allow"); got != strings.TrimSpace(name) {
				t.Errorf("Allow is %q, want %q", got, name)
			}
		}
	}
	if store.saves != before {
		t.Errorf("%d changes", store.saves-before)
	}
}

// Beginning an enrolment takes a session of any age, and a sign-in that is still to
// come is refused everywhere: see scopes.Middleware.Fresh.
func TestAuthTimeInTheFutureIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &probed{Store: new(totp.Memory)}
		s := service(t, store, totp.Config{})
		for _, at := range []time.Duration{-365 * 24 * time.Hour, 0, 30 * time.Second} {
			p := alice()
			p.AuthTime = time.Now().Add(at)
			is(t, at.String(), send(s.SetupHandler(), p, "POST", "/2fa/setup/", "", ""), 200, "PNG")
		}
		p := alice()
		p.AuthTime = time.Time{}
		is(t, "unknown", send(s.SetupHandler(), p, "POST", "/2fa/setup/", "", ""), 200, "PNG")
		before := store.saves
		for _, at := range []time.Duration{31 * time.Second, time.Hour, 1000 * 24 * time.Hour} {
			p := alice()
			p.AuthTime = time.Now().Add(at)
			for name, h := range allHandlers(s) {
				is(t, name+" in "+at.String(), send(h, p, "POST", "/", asJSON, bodyOf(name)), 401, "insufficient_user_authentication")
			}
		}
		if store.saves != before {
			t.Errorf("%d saves", store.saves-before)
		}
	})
}

// bodyOf returns a body that the handler can read.
func bodyOf(handler string) string {
	switch handler {
	case "setup":
		return ""
	case "confirm":
		return `{"code":"123456","password":"` + password + `"}`
	}
	return jsonCode("123456")
}

// Confirming, replacing and removing take a proof, and a session is not enough,
// however fresh.
func TestSessionAloneRemovesNothing(t *testing.T) {
	s := service(t, new(totp.Memory), totp.Config{})
	enrol(t, s, "alice")
	for name, h := range map[string]http.Handler{"disable": s.DisableHandler(), "regenerate": s.RegenerateHandler()} {
		is(t, name, send(h, alice(), "POST", "/", "", ""), 403, "proof_required")
		is(t, name, send(h, alice(), "POST", "/", asJSON, `{"code":""}`), 403, "proof_required")
	}
	if required, err := s.Required(ctx, "alice"); !required || err != nil {
		t.Errorf("Required = %t, %v", required, err)
	}
}

// Whether somebody has a second factor cannot be told from an answer to a wrong
// code: status, headers and body are the same. That it can be told from the wait
// after several is the price for not counting codes that cannot be right.
func TestWrongCodeDoesNotRevealWhetherThereIsAFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		secret, _ := enrol(t, s, "alice")
		for name, h := range map[string]http.Handler{
			"verify": s.VerifyHandler(), "disable": s.DisableHandler(), "regenerate": s.RegenerateHandler(),
		} {
			for range 6 {
				for _, code := range []string{wrong(t, secret, time.Now()), "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA", "no code"} {
					bob := alice()
					bob.Subject = "bob"
					if err := s.Unlock(ctx, "alice"); err != nil {
						t.Fatal(err)
					}
					with, without := post(h, alice(), code), post(h, bob, code)
					if with.Code != without.Code || with.Body.String() != without.Body.String() || !equalHeaders(with.Header(), without.Header()) {
						t.Errorf("%s: with a factor %d %v %s, without %d %v %s", name, with.Code, with.Header(), with.Body, without.Code, without.Header(), without.Body)
					}
					time.Sleep(time.Second)
				}
			}
		}
	})
}

func equalHeaders(a, b http.Header) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func TestBodiesOfVerifyHaveOneCodeAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		_, recovery := enrol(t, s, "alice")
		form := func(code string) string { return url.Values{"code": {code}}.Encode() }
		tests := []struct {
			name, target, contentType, body string
			header                          []string
			status                          int
		}{
			{"JSON", "/", asJSON, jsonCode(recovery[0]), nil, 200},
			{"JSON with a charset", "/", "application/json; charset=UTF-8", jsonCode(recovery[1]), nil, 200},
			{"a form", "/", asForm, form(recovery[2]), nil, 200},
			{"a form with another parameter in the URL", "/?lang=de", asForm, form(recovery[3]), nil, 200},
			{"4096 bytes", "/", asJSON, strings.Repeat(" ", 4096-len(jsonCode(recovery[4]))) + jsonCode(recovery[4]), nil, 200},
			{"4097 bytes", "/", asJSON, strings.Repeat(" ", 4097-len(jsonCode(recovery[5]))) + jsonCode(recovery[5]), nil, 413},
			{"nothing", "/", asJSON, "", nil, 400},
			{"the code in the URL, as FastAPI's guide has it", "/?code=" + recovery[5], "", "", nil, 400},
			{"the code in the URL too", "/?code=1", asForm, form(recovery[5]), nil, 400},
			{"a query that cannot be read", "/?%zz", asForm, form(recovery[5]), nil, 400},
			{"a form that has more", "/", asForm, form(recovery[5]) + "&user=bob", nil, 400},
			{"a form with the code twice", "/", asForm, form(recovery[5]) + "&" + form(recovery[6]), nil, 400},
			{"a form of another name", "/", asForm, "Code=" + recovery[5], nil, 400},
			{"a form that cannot be read", "/", asForm, "code=%zz", nil, 400},
			{"JSON that has more", "/", asJSON, `{"code":"` + recovery[5] + `","user":"bob"}`, nil, 400},
			{"JSON with the code twice", "/", asJSON, `{"code":"` + recovery[5] + `","code":"` + recovery[5] + `"}`, nil, 400},
			{"JSON as a form", "/", asForm, jsonCode(recovery[5]), nil, 400},
			{"a form as JSON", "/", asJSON, form(recovery[5]), nil, 400},
			{"no media type", "/", "", jsonCode(recovery[5]), nil, 415},
			{"text", "/", "text/plain", jsonCode(recovery[5]), nil, 415},
			{"another charset", "/", "application/json; charset=utf-16", jsonCode(recovery[5]), nil, 415},
			{"two media types", "/", asJSON, jsonCode(recovery[5]), []string{"Content-Type", asForm}, 415},
			{"compressed", "/", asJSON, jsonCode(recovery[5]), []string{"Content-Encoding", "gzip"}, 415},
		}
		for _, tt := range tests {
			w := send(s.VerifyHandler(), alice(), "POST", tt.target, tt.contentType, tt.body, tt.header...)
			is(t, tt.name, w, tt.status, "")
			if strings.Contains(w.Body.String(), recovery[5]) {
				t.Errorf("%s: the answer quotes the code", tt.name)
			}
		}
		if status, err := s.Status(ctx, "alice"); status.RecoveryLeft != 5 || err != nil {
			t.Errorf("%+v, %v", status, err)
		}
		for name, length := range map[string]int64{"a body that breaks off": -1, "a length that is too large, which is not read": 4097} {
			r := httptest.NewRequest("POST", "/", brokenBody{})
			r.ContentLength = length
			w := httptest.NewRecorder()
			s.VerifyHandler().ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), alice())))
			is(t, name, w, map[int64]int{-1: 400, 4097: 413}[length], "invalid_request")
		}
	})
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("the line is dead") }

func allHandlers(s *totp.Service) map[string]http.Handler {
	return map[string]http.Handler{
		"setup": s.SetupHandler(), "confirm": s.ConfirmHandler(), "verify": s.VerifyHandler(),
		"disable": s.DisableHandler(), "regenerate": s.RegenerateHandler(),
	}
}

func TestHandlersRefuseCallersWithoutASession(t *testing.T) {
	store := &probed{Store: new(totp.Memory)}
	s := service(t, store, totp.Config{})
	key := alice()
	key.Session = ""
	strange := service(t, store, totp.Config{User: func(ctx context.Context, p *identity.Principal) (string, error) {
		if caller, ok := identity.FromContext(ctx); !ok || caller != p {
			t.Error("the context is not that of the request")
		}
		if p.Issuer != "https://other.example.com" {
			return "", guard.Forbidden(errors.New("another issuer"))
		}
		return "other|" + p.Subject, nil
	}})
	for name := range allHandlers(s) {
		is(t, name+" by nobody", send(allHandlers(s)[name], nil, "POST", "/", asJSON, bodyOf(name)), 401, "unauthenticated")
		is(t, name+" with an API key", send(allHandlers(s)[name], key, "POST", "/", asJSON, bodyOf(name)), 403, "Access denied")
		is(t, name+" by a caller of another issuer", send(allHandlers(strange)[name], alice(), "POST", "/", asJSON, bodyOf(name)), 403, "Access denied")
	}
	if store.saves != 0 {
		t.Errorf("%d saves", store.saves)
	}
	other := alice()
	other.Issuer = "https://other.example.com"
	is(t, "by a caller of the issuer", send(strange.SetupHandler(), other, "POST", "/", "", ""), 200, "PNG")
	if r, err := store.LoadTOTP(ctx, "other|alice"); len(r.Pending) == 0 || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// A store or a function of the host that fails is 503, and its reason stays
// here, whatever it looks like.
func TestHandlersFailClosed(t *testing.T) {
	for name, fault := range map[string]error{
		"an error":                 errDown,
		"a 401 of its own":         guard.InvalidToken("Bearer", errDown),
		"a 400 of its own":         guard.InvalidRequest("The store is down.", errDown),
		"an account of its own":    guard.ErrInactive,
		"a body of its own":        &http.MaxBytesError{Limit: 1},
		"a wrong code of its own":  fmt.Errorf("down: %w", totp.ErrWrongCode),
		"a limit of its own":       &totp.ThrottledError{RetryAfter: time.Hour},
		"no credentials, it says":  guard.ErrNoCredentials,
		"a proof that is needed":   totp.ErrProofNeeded,
		"a proof that is wrong":    identity.ErrNotProven,
		"a client that is gone":    context.Canceled,
		"a deadline that is over":  context.DeadlineExceeded,
		"a denial without a thing": &guard.Denial{},
		"no denial but its type":   (*guard.Denial)(nil),
		"one that is wrapped":      fmt.Errorf("down: %w", (*guard.Denial)(nil)),
	} {
		store := &probed{Store: new(totp.Memory)}
		s := service(t, store, totp.Config{})
		_, recovery := enrol(t, s, "alice")
		failing := func() error { return fault }
		for what, set := range map[string]func(){
			"loading": func() { store.load, store.save = failing, nil },
			"saving":  func() { store.load, store.save = nil, failing },
		} {
			set()
			for handler, h := range allHandlers(s) {
				body := jsonCode(recovery[0])
				switch handler {
				case "setup":
					body = ""
				case "confirm":
					if what == "saving" {
						continue // there is nothing to confirm, so nothing is saved
					}
					body = bodyOf(handler)
				}
				w := send(h, alice(), "POST", "/", asJSON, body)
				is(t, name+", "+what+", "+handler, w, 503, `"code":"unavailable"`)
				if w.Header().Get("Retry-After") != "1" || strings.Contains(w.Body.String(), "down") {
					t.Errorf("%s, %s, %s: %v %s", name, what, handler, w.Header(), w.Body)
				}
			}
		}
		if r, err := store.Store.LoadTOTP(ctx, "alice"); len(r.Recovery) != 10 || len(r.Active) == 0 || err != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		unnamed := service(t, new(totp.Memory), totp.Config{Account: func(context.Context, *identity.Principal) (string, error) { return "", fault }})
		is(t, name+", Account", send(unnamed.SetupHandler(), alice(), "POST", "/", "", ""), 503, `"code":"unavailable"`)
	}
	t.Run("a 503 says when to come back", func(t *testing.T) {
		store := &probed{Store: new(totp.Memory), load: func() error { return guard.Unavailable(time.Minute, errDown) }}
		w := post(service(t, store, totp.Config{}).VerifyHandler(), alice(), "123456")
		is(t, "verify", w, 503, `"code":"unavailable"`)
		if got := w.Header().Get("Retry-After"); got != "60" {
			t.Errorf("Retry-After is %q", got)
		}
	})
}

func TestAccountIsTheNameInTheURI(t *testing.T) {
	s := service(t, new(totp.Memory), totp.Config{Account: func(_ context.Context, p *identity.Principal) (string, error) {
		return p.Subject + "@example.com", nil
	}})
	w := send(s.SetupHandler(), alice(), "POST", "/", "", "", "Accept", asJSON)
	is(t, "setup", w, 200, "otpauth://totp/Example:alice%40example.com?")
}

// Handler demands the factor "otp" of the Principal.
func TestHandlerRequiresTheFactor(t *testing.T) {
	s := service(t, new(totp.Memory), totp.Config{ACRValues: []string{"https://example.com/mfa", "mfa"}})
	with := func(factors ...string) *identity.Principal {
		p := alice()
		p.Factors = identity.NewSet(factors...)
		return p
	}
	const challenge = `Bearer error="insufficient_user_authentication", error_description="A second factor is required", acr_values="https://example.com/mfa mfa"`
	tests := []struct {
		name      string
		caller    *identity.Principal
		status    int
		challenge string
		body      string
	}{
		{"nobody", nil, 401, "Bearer", `"code":"unauthenticated"`},
		{"a password", with("pwd"), 401, challenge, `"code":"insufficient_user_authentication","detail":"This needs a more recent or a stronger sign-in."`},
		{"no factor", with(), 401, challenge, "insufficient_user_authentication"},
		{"another factor", with("pwd", "sms", "mfa", "OTP"), 401, challenge, "insufficient_user_authentication"},
		{"a password and a code", with("pwd", "otp"), 200, "", "in"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ran := false
			h := s.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { ran = true; w.Write([]byte("in")) }))
			w := send(h, tt.caller, "GET", "/", "", "")
			if ran != (tt.status == 200) || w.Code != tt.status || w.Header().Get("WWW-Authenticate") != tt.challenge || !strings.Contains(w.Body.String(), tt.body) {
				t.Errorf("ran: %t, %d %v %s", ran, w.Code, w.Header(), w.Body)
			}
			err := s.Check(identity.NewContext(context.Background(), tt.caller))
			if d := asDenial(err); (err == nil) != (tt.status == 200) || d != nil && d.Status != tt.status {
				t.Errorf("Check = %v", err)
			}
		})
	}
	t.Run("a refusal of one caller is not another's", func(t *testing.T) {
		asDenial(s.Check(identity.NewContext(ctx, alice()))).Challenges[0].ACRValues[0] = "changed"
		if got := asDenial(s.Check(identity.NewContext(ctx, alice()))).Challenges[0].ACRValues[0]; got == "changed" {
			t.Error("it is")
		}
	})
	t.Run("the ledger tells", func(t *testing.T) {
		mux := guard.NewMux(guard.Hooks{})
		mux.Handle("GET /secret", s.Handler(http.NotFoundHandler()))
		mux.Handle("/2fa/setup/", s.SetupHandler())
		mux.Handle("/2fa/verify/", s.VerifyHandler())
		var got []string
		for _, route := range mux.Routes() {
			got = append(got, route.String())
		}
		if want := []string{"/2fa/setup/\tcaller", "/2fa/verify/\tcaller", "GET /secret\tfactor otp"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Too many wrong codes end no session: whoever has proven the factor goes on.
func TestLockOutLeavesSessionsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{MaxFailures: 3})
		secret, _ := enrol(t, s, "alice")
		fail(t, s, secret, 3)
		p := alice()
		p.Factors = identity.NewSet("pwd", "otp")
		if err := s.Check(identity.NewContext(ctx, p)); err != nil {
			t.Error(err)
		}
		is(t, "another code", post(s.VerifyHandler(), p, codeAt(t, secret, time.Now())), 429, "too_many_attempts")
	})
}

// No code and no secret is in a log, whatever happens.
func TestNothingSecretIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		store := &probed{Store: new(totp.Memory)}
		s := service(t, store, totp.Config{Hooks: guard.Hooks{
			Observe: guard.Log(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		}})
		var secrets []string
		note := func(code string) string { secrets = append(secrets, code); return code }
		w := send(s.SetupHandler(), alice(), "POST", "/2fa/setup/", "", "", "Accept", asJSON)
		var setup struct{ URI, Secret string }
		if err := json.Unmarshal(w.Body.Bytes(), &setup); err != nil {
			t.Fatal(err)
		}
		note(setup.Secret)
		note(setup.URI)
		for _, recovery := range recoveryOf(t, confirm(s, note(codeAt(t, setup.Secret, time.Now())))) {
			note(recovery)
		}
		given := slices.Clone(secrets[2:])
		for _, fault := range []error{nil, errDown} {
			store.save = func() error { return fault }
			for name, h := range allHandlers(s) {
				for _, code := range append(given[:3:3], wrong(t, setup.Secret, time.Now()), "hunter2") {
					note(code)
					post(h, alice(), code)
					send(h, alice(), "POST", "/?code="+url.QueryEscape(code), asJSON, "")
					send(h, alice(), "POST", "/", asJSON, `{"code":"`+code+`","x":1}`)
					send(h, alice(), "POST", "/", "text/plain", code)
					send(h, alice(), "GET", "/", asForm, "code="+code)
					if name == "disable" {
						break // before it succeeds
					}
					time.Sleep(time.Hour)
				}
			}
		}
		if log.Len() == 0 {
			t.Fatal("nothing was logged")
		}
		for _, secret := range secrets {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log has %q", secret)
			}
		}
	})
}
