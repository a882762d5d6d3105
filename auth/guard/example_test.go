package guard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

var page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the page") })

// A guard of the host's own. What it demands is in the route ledger.
func ExampleHooks_Require() {
	var hooks guard.Hooks
	staff := hooks.Require(func(r *http.Request) error {
		p, err := guard.Caller(r)
		if err != nil {
			return err // 401: nobody is signed in
		}
		if p.Tenant != "acme" {
			return guard.Forbidden(fmt.Errorf("tenant %q", p.Tenant)) // the reason is for the log
		}
		return nil
	}, guard.Requirement{Kind: guard.KindCheck, Values: []string{"staff of acme"}})

	h := staff(page)
	fmt.Println(guard.Requirements(h))
	for _, tenant := range []string{"", "evil", "acme"} {
		r := httptest.NewRequest("GET", "/", nil)
		if tenant != "" {
			// In a server, Identify or a Mux does this.
			r = r.WithContext(identity.NewContext(r.Context(), &identity.Principal{Subject: "ada", Tenant: tenant}))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// [check staff of acme]
	// 401
	// 403
	// 200
}

// A page for people instead of problem details. Whatever status and headers it
// asks for, the verdict stands.
func ExampleHooks_deny() {
	hooks := guard.Hooks{
		Deny: func(w http.ResponseWriter, r *http.Request, d *guard.Denial) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Del("WWW-Authenticate") // has no effect
			w.WriteHeader(http.StatusOK)       // has no effect
			fmt.Fprintf(w, "Sorry. %s", d.Detail)
		},
	}
	w := httptest.NewRecorder()
	hooks.Authenticated(page).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"), w.Header().Get("Cache-Control"))
	fmt.Println(w.Body)
	// Output:
	// 401 Bearer no-store
	// Sorry. This needs you to be signed in.
}

// The audit trail as structured log.
func ExampleLog() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{} // for this example only
			}
			return a
		},
	}))
	hooks := guard.Hooks{Observe: guard.Log(logger)}
	h := hooks.Require(func(*http.Request) error { return guard.Forbidden(errors.New("role admin is missing")) })(page)

	r := httptest.NewRequest("DELETE", "/users/7?token=not-logged", nil)
	r.Header.Set("User-Agent", "curl\nlevel=INFO msg=forged")
	r = r.WithContext(identity.NewContext(r.Context(), &identity.Principal{Issuer: "tokens", Subject: "ada"}))
	h.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// level=WARN msg=authz_fail principal.issuer=tokens principal.subject=ada outcome=refused status=403 code=forbidden reason="role admin is missing" request.method=DELETE request.pattern="" request.path=/users/7 request.host=example.com request.remote_addr=192.0.2.1:1234 request.user_agent="curl?level=INFO msg=forged"
}

// An event of the host's own.
func ExampleHooks_Emit() {
	hooks := guard.Hooks{Observe: func(_ context.Context, e guard.Event) { fmt.Println(e.Name, e.Login) }}
	hooks.Emit(httptest.NewRequest("POST", "/users/", nil), guard.Event{Name: guard.EventUserCreated, Login: "ada"})
	// Output: user_created ada
}

// Several guards and the handler that need the caller's user share one load.
func ExampleOnce() {
	type userKey struct{}
	user := func(r *http.Request) (string, error) {
		return guard.Once(r.Context(), userKey{}, func() (string, error) {
			fmt.Println("loading")
			return "Ada Lovelace", nil
		})
	}
	var hooks guard.Hooks
	exists := hooks.Require(func(r *http.Request) error {
		_, err := user(r)
		return err
	})
	h := hooks.Identify(sessions{"t-ada": "ada"})(exists(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _ := user(r)
		fmt.Println(name)
	})))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	// Output:
	// loading
	// Ada Lovelace
}

// Whatever stands in a value, the header has one challenge.
func ExampleChallenge_String() {
	fmt.Println(guard.Challenge{
		Scheme: "Bearer",
		Realm:  "a\" , error=x\r\nSet-Cookie: a=b",
		Error:  guard.CodeInsufficientScope,
		Scope:  identity.NewSet("write:items"),
	})
	// Output: Bearer realm="a\" , error=x??Set-Cookie: a=b", scope="write:items", error="insufficient_scope"
}

// A middleware of the host's own between Mux and guard, correctly.
func ExampleDescribe() {
	var hooks guard.Hooks
	timed := func(next http.Handler) http.Handler {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r) })
		return guard.Describe(h, next) // demands nothing, and shows what is within
	}
	mux := guard.NewMux(hooks, sessions{})
	mux.Handle("GET /notes", timed(hooks.Authenticated(page)))
	fmt.Println(mux.Routes()[0].Requirements)
	// Output: [caller]
}

// INCORRECT: a middleware that does not call Describe hides the guard within,
// and a Mux refuses at start-up what it cannot see guarded.
func ExampleMux_incorrect() {
	var hooks guard.Hooks
	timed := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r) })
	}
	defer func() { fmt.Println(recover()) }()
	mux := guard.NewMux(hooks, sessions{})
	mux.Handle("GET /notes", timed(hooks.Authenticated(page)))
	// Output: guard: route "GET /notes" has no guard. Put one around its handler, or guard.Public with the reason; a middleware around a guard hides it unless it calls guard.Describe
}
