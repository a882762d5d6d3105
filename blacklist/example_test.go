package blacklist_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// A server whose host has a login of its own: the middleware that recognises
// callers asks, the logout revokes. The auth and token packages do both when
// their Config has a Revoker.
func Example() {
	revoked := new(blacklist.Memory)

	identify := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// In earnest: verify a token first. Here the session is taken
			// at its word.
			p := &identity.Principal{Issuer: "demo", Subject: "alice", Session: r.Header.Get("Demo-Session")}
			gone, err := revoked.Revoked(r.Context(), p)
			switch {
			case err != nil:
				http.Error(w, "try again", http.StatusServiceUnavailable)
			case gone:
				http.Error(w, "signed out", http.StatusUnauthorized)
			default:
				next.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), p)))
			}
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprintln(w, "hello,", p.Subject)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		if err := revoked.Revoke(r.Context(), identity.Revocation{
			Issuer:  p.Issuer,
			Session: p.Session,
			Expires: time.Now().Add(24 * time.Hour), // no session lives longer
		}); err != nil {
			http.Error(w, "you are still signed in, try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "bye")
	})
	server := identify(mux)

	for _, request := range []struct{ method, path, session string }{
		{"GET", "/me", "laptop"},
		{"POST", "/logout", "laptop"},
		{"GET", "/me", "laptop"},
		{"GET", "/me", "phone"},
	} {
		r := httptest.NewRequest(request.method, request.path, nil)
		r.Header.Set("Demo-Session", request.session)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		fmt.Print(request.session, " ", request.path, ": ", w.Code, " ", w.Body)
	}
	// Output:
	// laptop /me: 200 hello, alice
	// laptop /logout: 200 bye
	// laptop /me: 401 signed out
	// phone /me: 200 hello, alice
}

// Everything that somebody is signed in with, on every device, ends; whoever
// knows the new password may sign in at once.
func ExampleMemory_Revoke_everywhere() {
	var revoked blacklist.Memory
	ctx := context.Background()
	stolen := &identity.Principal{Issuer: "demo", Subject: "alice", Session: "thief", IssuedAt: time.Now().Add(-time.Minute)}

	now := time.Now()
	if err := revoked.Revoke(ctx, identity.Revocation{
		Issuer:  "demo",
		Subject: "alice",
		Before:  now,
		Expires: now.Add(24 * time.Hour),
	}); err != nil {
		fmt.Println("nobody was signed out:", err)
	}

	fresh := &identity.Principal{Issuer: "demo", Subject: "alice", Session: "alice", IssuedAt: time.Now()}
	for _, p := range []*identity.Principal{stolen, fresh} {
		gone, err := revoked.Revoked(ctx, p)
		fmt.Println(p.Session, gone, err)
	}
	// Output:
	// thief true <nil>
	// alice false <nil>
}

// A member leaves one organisation and stays in another: two fields narrow
// each other down.
func ExampleMemory_Revoke_member() {
	var revoked blacklist.Memory
	ctx := context.Background()
	if err := revoked.Revoke(ctx, identity.Revocation{Issuer: "demo", Subject: "alice", Tenant: "acme"}); err != nil {
		fmt.Println(err)
	}
	for _, p := range []*identity.Principal{
		{Issuer: "demo", Subject: "alice", Tenant: "acme"},
		{Issuer: "demo", Subject: "alice", Tenant: "globex"},
		{Issuer: "demo", Subject: "bob", Tenant: "acme"},
	} {
		gone, err := revoked.Revoked(ctx, p)
		fmt.Println(p.Subject, p.Tenant, gone, err)
	}
	// Output:
	// alice acme true <nil>
	// alice globex false <nil>
	// bob acme false <nil>
}

// Incorrect: a variable that happens to be empty turned "this user" into
// "everybody, for ever". It is an error and revokes nothing.
func ExampleMemory_Revoke_incorrect() {
	var revoked blacklist.Memory
	subject := "" // from a form that was not filled in
	err := revoked.Revoke(context.Background(), identity.Revocation{Issuer: "demo", Subject: subject})
	fmt.Println(err)
	// Output:
	// blacklist: Revocation has neither Credential, Session, Subject, Tenant nor Before and would refuse everybody for ever; to revoke all that the issuer has issued so far, set Before to now
}
