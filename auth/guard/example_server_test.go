package guard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// sessions is the smallest authenticator: it knows its bearer tokens by heart.
// A server takes token.Verifier instead.
type sessions map[string]string // token to user

func (s sessions) Challenge() guard.Challenge {
	return guard.Challenge{Scheme: "Bearer", Realm: "notes"}
}

func (s sessions) Authenticate(r *http.Request) (*identity.Principal, error) {
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, guard.ErrNoCredentials
	}
	user, ok := s[credential]
	if !ok {
		return nil, guard.InvalidToken("Bearer", errors.New("no such session"))
	}
	return &identity.Principal{Issuer: "notes", Subject: user}, nil
}

// A whole server: everybody may read the front page, only who is signed in
// may read the notes, and whoever was disabled is out at the next request.
func Example() {
	hooks := guard.Hooks{
		Active: func(_ context.Context, p *identity.Principal) error {
			if p.Subject == "mallory" {
				return guard.ErrInactive
			}
			return nil
		},
	}
	mux := guard.NewMux(hooks, sessions{"t-ada": "ada", "t-mallory": "mallory"})
	mux.Handle("GET /{$}", guard.Public("front page")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "welcome\n")
	})))
	mux.Handle("GET /notes", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		fmt.Fprintf(w, "the notes of %s\n", p.Subject)
	})))
	for _, route := range mux.Routes() {
		fmt.Println(route)
	}

	server := httptest.NewServer(mux)
	defer server.Close()
	for _, try := range []struct{ path, token string }{
		{"/", "stale"},
		{"/notes", ""},
		{"/notes", "stale"},
		{"/notes", "t-mallory"},
		{"/notes", "t-ada"},
	} {
		req, err := http.NewRequest("GET", server.URL+try.path, nil)
		if err != nil {
			panic(err)
		}
		if try.token != "" {
			req.Header.Set("Authorization", "Bearer "+try.token)
		}
		res, err := server.Client().Do(req)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		fmt.Printf("\n%s as %q: %d %s\n%s", try.path, try.token, res.StatusCode, res.Header.Values("WWW-Authenticate"), body)
	}

	// Output:
	// GET /notes	caller
	// GET /{$}	public (front page)
	//
	// / as "stale": 200 []
	// welcome
	//
	// /notes as "": 401 [Bearer realm="notes"]
	// {"title":"Unauthorized","status":401,"code":"unauthenticated","detail":"This needs you to be signed in."}
	//
	// /notes as "stale": 401 [Bearer realm="notes", error="invalid_token"]
	// {"title":"Unauthorized","status":401,"code":"invalid_token","detail":"The credentials are not valid."}
	//
	// /notes as "t-mallory": 401 [Bearer realm="notes", error="invalid_token"]
	// {"title":"Unauthorized","status":401,"code":"invalid_token","detail":"The credentials are not valid."}
	//
	// /notes as "t-ada": 200 []
	// the notes of ada
}
