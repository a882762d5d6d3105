package identity_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gatewright/gatewright/auth/identity"
)

// A login of the host's own says who is calling; the handler, and every guard
// of this module, reads it back.
func Example() {
	signedIn := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := r.Cookie("demo"); err == nil { // in earnest: look the session up
				p := &identity.Principal{Issuer: "demo", Subject: c.Value}
				r = r.WithContext(identity.NewContext(r.Context(), p))
			}
			next.ServeHTTP(w, r)
		})
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := identity.FromContext(r.Context())
		if !ok {
			fmt.Fprintln(w, "hello, whoever you are")
			return
		}
		fmt.Fprintln(w, "hello,", p.Subject)
	})

	for _, cookie := range []string{"demo=alice", ""} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		signedIn(hello).ServeHTTP(w, r)
		fmt.Print(w.Body)
	}
	// Output:
	// hello, alice
	// hello, whoever you are
}

// A test of a handler puts the caller in by itself.
func ExampleNewContext() {
	me := func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprintln(w, p.Subject, "may", p.Scopes)
	}

	r := httptest.NewRequest("GET", "/users/me", nil)
	r = r.WithContext(identity.NewContext(r.Context(), &identity.Principal{
		Issuer:  "test",
		Subject: "alice",
		Scopes:  identity.NewSet("read:items"),
	}))
	w := httptest.NewRecorder()
	me(w, r)
	fmt.Print(w.Body)
	// Output: alice may read:items
}

func ExampleFromContext() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if _, ok := identity.FromContext(r.Context()); !ok {
			fmt.Println("anonymous")
		}
	}
	handler(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	// Output: anonymous
}

// An access log runs outside authentication, and yet it can say who called.
func ExampleWithHolder() {
	accessLog := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, holder := identity.WithHolder(r.Context())
			next.ServeHTTP(w, r.WithContext(ctx))
			subject := "-"
			if p := holder.Principal(); p != nil {
				subject = p.Subject
			}
			fmt.Println(r.Method, r.URL.Path, subject)
		})
	}
	identify := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user := r.Header.Get("Demo-User"); user != "" {
				p := &identity.Principal{Issuer: "demo", Subject: user}
				r = r.WithContext(identity.NewContext(r.Context(), p))
			}
			next.ServeHTTP(w, r)
		})
	}
	server := accessLog(identify(http.NotFoundHandler()))

	r := httptest.NewRequest("GET", "/items/", nil)
	r.Header.Set("Demo-User", "alice")
	server.ServeHTTP(httptest.NewRecorder(), r)
	server.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	// Output:
	// GET /items/ alice
	// GET / -
}

func ExampleSet() {
	granted := identity.ParseSet("write:items read:items")
	fmt.Println(granted, granted.Len())
	fmt.Println(granted.Has("read:items"), granted.HasAll("read:items", "admin"))

	more := granted.With("admin")
	fmt.Println(more, more.Contains(granted), granted.Contains(more))
	for name := range granted.All() {
		fmt.Println("-", name)
	}
	// Output:
	// read:items write:items 2
	// true false
	// admin read:items write:items true false
	// - read:items
	// - write:items
}
