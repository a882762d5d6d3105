package totp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	peer "github.com/pquerna/otp/totp"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/totp"
)

// session stands for the host's sign-in: whoever sends the header is alice, and
// has signed in a moment ago.
type session struct{}

func (session) Authenticate(r *http.Request) (*identity.Principal, error) {
	if r.Header.Get("Authorization") != "Bearer alice" {
		return nil, guard.ErrNoCredentials
	}
	return &identity.Principal{
		Issuer: "https://auth.example.com", Subject: "alice", Session: "1",
		Factors: identity.NewSet("pwd"), AuthTime: time.Now(),
	}, nil
}

func (session) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }

// A server on which people set a second factor up, and that asks for it.
func Example() {
	keys, err := totp.NewKeyring([]byte("32 random bytes, from a file ...")) // not a constant
	if err != nil {
		fmt.Println(err)
		return
	}
	hooks := guard.Hooks{}
	factors, err := totp.New(new(totp.Memory), keys, totp.Config{Issuer: "Example", VerifyPassword: checkPassword, Hooks: hooks})
	if err != nil {
		fmt.Println(err)
		return
	}
	vault := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "gold") })

	mux := guard.NewMux(hooks, session{})
	mux.Handle("/2fa/setup/", factors.SetupHandler())
	mux.Handle("/2fa/confirm/", factors.ConfirmHandler())
	mux.Handle("/2fa/verify/", factors.VerifyHandler())
	mux.Handle("GET /vault", factors.Handler(vault))
	for _, route := range mux.Routes() {
		fmt.Println(route)
	}

	send := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer alice")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	setup := send("POST", "/2fa/setup/", "")
	fmt.Println(setup.Code, setup.Header().Get("Content-Type"))
	wrong := send("POST", "/2fa/confirm/", `{"code":"12345"}`)
	fmt.Print(wrong.Code, " ", wrong.Body)
	locked := send("GET", "/vault", "")
	fmt.Println(locked.Code, locked.Header().Get("WWW-Authenticate"))
	// Output:
	// /2fa/confirm/	caller
	// /2fa/setup/	caller
	// /2fa/verify/	caller
	// GET /vault	factor otp
	// 200 image/png
	// 400 {"title":"Bad Request","status":400,"code":"invalid_code","detail":"Invalid 2FA code"}
	// 401 Bearer error="insufficient_user_authentication", error_description="A second factor is required"
}

// checkPassword stands for the VerifyPassword of an auth.Server.
func checkPassword(_ context.Context, _ *identity.Principal, password string) error {
	if password != "correct horse" {
		return identity.ErrNotProven
	}
	return nil
}

// newService returns a service for the examples below.
func newService() *totp.Service {
	keys, err := totp.NewKeyring([]byte("32 random bytes, from a file ..."))
	if err != nil {
		panic(err)
	}
	s, err := totp.New(new(totp.Memory), keys, totp.Config{Issuer: "Example", VerifyPassword: checkPassword, FirstWait: time.Minute})
	if err != nil {
		panic(err)
	}
	return s
}

// appCode is what the user's authenticator app shows.
func appCode(e *totp.Enrolment) string {
	code, err := peer.GenerateCode(e.Secret(), time.Now())
	if err != nil {
		panic(err)
	}
	return code
}

// Setting up without the handlers.
func ExampleService_Begin() {
	ctx := context.Background()
	factors := newService()

	alice := &identity.Principal{Subject: "alice", Session: "of this browser"}
	enrolment, err := factors.Begin(ctx, alice)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(enrolment) // the secret is not printed by mistake

	// A session alone, which may be stolen, confirms nothing.
	_, err = factors.Confirm(ctx, alice, appCode(enrolment), totp.Proof{})
	fmt.Println(err)
	recovery, err := factors.Confirm(ctx, alice, appCode(enrolment), totp.Password("correct horse"))
	fmt.Println(len(recovery.All()), err)
	// Output:
	// totp: secret not shown
	// totp: a proof is needed
	// 10 <nil>
}

// The errors of Verify, and what they mean.
func ExampleService_Verify() {
	ctx := context.Background()
	factors := newService()
	verify := func(code string) {
		_, err := factors.Verify(ctx, "alice", code)
		throttled, isThrottled := errors.AsType[*totp.ThrottledError](err)
		switch {
		case err == nil:
			fmt.Println("right, and used up")
		case errors.Is(err, totp.ErrWrongCode):
			fmt.Println("wrong")
		case isThrottled:
			fmt.Println("not looked at, wait", throttled.RetryAfter.Round(time.Minute))
		default:
			fmt.Println("the store is down, and nobody is let in:", err)
		}
	}
	alice := &identity.Principal{Subject: "alice", Session: "of this browser"}
	enrolment, err := factors.Begin(ctx, alice)
	if err != nil {
		fmt.Println(err)
		return
	}
	code := appCode(enrolment)
	recovery, err := factors.Confirm(ctx, alice, code, totp.Password("correct horse"))
	if err != nil {
		fmt.Println(err)
		return
	}
	verify(recovery.All()[0])
	verify(code) // the one that confirmed the enrolment
	verify(recovery.All()[1])
	// Output:
	// right, and used up
	// wrong
	// not looked at, wait 1m0s
}

// How likely it is that a code is guessed within a year, by somebody who has the
// password.
func ExampleConfig_Risk() {
	fmt.Printf("%.2f %%\n", 100*totp.Config{}.Risk())
	fmt.Printf("%.2f %%\n", 100*totp.Config{Strict: true, Forgive: 12 * time.Hour}.Risk())

	// Ten tries in a quarter of an hour, which is common: New refuses it.
	fmt.Printf("%.2f %%\n", 100*totp.Config{Forgive: 90 * time.Second}.Risk())
	// Output:
	// 0.66 %
	// 0.07 %
	// 65.05 %
}

// A second factor that the handler checks by itself, of a header that it was
// never proven by. Verify uses codes up and counts wrong ones; comparing with a
// code of one's own does neither, so that a code can be used again, and guessed
// without end.
func ExampleService_Verify_incorrect() {
	secret := "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !peer.Validate(r.Header.Get("X-Code"), secret) { // wrong: use Service.Verify
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "in")
	})
	code, err := peer.GenerateCode(secret, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 { // whoever saw the code over a shoulder
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Code", code)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 in
	// 200 in
}
