package auth_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

// A whole server: sign in, ask who you are, refresh, log out. In earnest the
// users and the sessions are in a database (see sqlstore), and the keys come
// from where the host keeps its secrets.
func Example() {
	ctx := context.Background()
	passwords, err := password.New(password.Config{})
	if err != nil {
		log.Fatal(err)
	}
	hash, err := passwords.Hash(ctx, "correct horse battery staple")
	if err != nil {
		log.Fatal(err)
	}
	store := new(auth.Memory)
	if err := store.SetUser("alice", auth.User{ID: "1", PasswordHash: hash, Scopes: identity.NewSet("me", "items")}); err != nil {
		log.Fatal(err)
	}

	key, err := token.GenerateKey(token.ES256)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := token.NewKeyring(key)
	if err != nil {
		log.Fatal(err)
	}
	const iss, aud = "https://auth.example.com", "https://api.example.com"
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: iss, Audience: aud})
	if err != nil {
		log.Fatal(err)
	}
	revoked := new(blacklist.Memory) // the same for both
	verifier, err := token.NewVerifier(ring, token.VerifierConfig{Issuer: iss, Audience: aud, Revoker: revoked})
	if err != nil {
		log.Fatal(err)
	}

	var hooks guard.Hooks
	refreshKey := make([]byte, 32)
	rand.Read(refreshKey)
	signIn, err := auth.New(store, tokens, auth.Config{
		Sessions:    store,
		RefreshKeys: []guard.Secret{guard.NewSecret(refreshKey)},
		Revoker:     revoked,
		Passwords:   passwords,
		Hooks:       hooks,
	})
	if err != nil {
		log.Fatal(err)
	}
	accounts, err := auth.NewAccounts(func(ctx context.Context, p *identity.Principal) (*auth.User, error) {
		return store.UserByID(ctx, p.Subject)
	}, func(u *auth.User) auth.User { return *u }, auth.AccountsConfig{Issuers: []string{tokens.Name()}, Hooks: hooks})
	if err != nil {
		log.Fatal(err)
	}

	mux := guard.NewMux(hooks, verifier)
	mux.Handle("/token", signIn.Token())
	mux.Handle("/token/refresh", signIn.Refresh())
	mux.Handle("/logout/", signIn.Logout())
	mux.Handle("GET /users/me", accounts.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := accounts.Current(r.Context())
		if err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"id": u.ID, "disabled": u.Disabled})
	})))

	// And a client of it.
	send := func(method, path, accessToken string, form url.Values) map[string]any {
		r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if accessToken != "" {
			r.Header.Set("Authorization", "Bearer "+accessToken)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			log.Fatal(err)
		}
		fmt.Println(method, path, w.Code)
		return body
	}
	pair := send("POST", "/token", "", url.Values{"username": {"alice"}, "password": {"guess"}})
	fmt.Println(pair["error"], "-", pair["error_description"])
	pair = send("POST", "/token", "", url.Values{"username": {"Alice"}, "password": {"correct horse battery staple"}, "scope": {"me"}})
	fmt.Println(pair["token_type"], pair["scope"])
	fmt.Println(send("GET", "/users/me", pair["access_token"].(string), nil))
	pair = send("POST", "/token/refresh", "", url.Values{"refresh_token": {pair["refresh_token"].(string)}})
	fmt.Println(send("POST", "/logout/", pair["access_token"].(string), nil)["message"])
	fmt.Println(send("GET", "/users/me", pair["access_token"].(string), nil)["code"])
	fmt.Println(send("POST", "/token/refresh", "", url.Values{"refresh_token": {pair["refresh_token"].(string)}})["error"])
	// Output:
	// POST /token 400
	// invalid_grant - The login or the password is not right.
	// POST /token 200
	// bearer me
	// GET /users/me 200
	// map[disabled:false id:1]
	// POST /token/refresh 200
	// POST /logout/ 200
	// Successfully logged out
	// GET /users/me 401
	// invalid_token
	// POST /token/refresh 400
	// invalid_grant
}

// The host's own user, loaded once per request: Active refuses who was
// disabled, on every route, and the handler finds the user ready.
func ExampleAccounts() {
	type customer struct {
		ID, Name, Company string
		Disabled          bool
	}
	customers := map[string]*customer{"1": {ID: "1", Name: "Alice"}, "2": {ID: "2", Name: "Bob", Disabled: true}}
	queries := 0

	var hooks guard.Hooks
	accounts, err := auth.NewAccounts(func(_ context.Context, p *identity.Principal) (*customer, error) {
		queries++
		c, ok := customers[p.Subject]
		if !ok {
			return nil, auth.ErrNotFound
		}
		return c, nil
	}, func(c *customer) auth.User {
		return auth.User{ID: c.ID, Tenant: c.Company, Disabled: c.Disabled}
	}, auth.AccountsConfig{Issuers: []string{issuer}, Hooks: hooks})
	if err != nil {
		log.Fatal(err)
	}
	hooks.Active = accounts.Active

	mux := guard.NewMux(hooks, presented{}) // in earnest: a *token.Verifier
	mux.Handle("GET /users/me", hooks.Authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := accounts.Current(r.Context())
		if err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		fmt.Fprint(w, "hello, ", c.Name)
	})))

	for _, id := range []string{"1", "2", "3"} {
		r := httptest.NewRequest("GET", "/users/me", nil)
		r.Header.Set("Authorization", id)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			fmt.Println(w.Code)
			continue
		}
		fmt.Println(w.Code, w.Body)
	}
	fmt.Println(queries, "queries")
	// Output:
	// 200 hello, Alice
	// 401
	// 401
	// 3 queries
}

// After a password was changed: all sessions end, now, and whoever knows the
// new password may sign in.
func ExampleServer_EndSessions() {
	signIn, _ := exampleServer(new(blacklist.Memory))

	err := signIn.EndSessions(context.Background(), identity.Revocation{Subject: "1"})
	fmt.Println(err)

	// Whom? A form that was not filled in must not end everybody's.
	err = signIn.EndSessions(context.Background(), identity.Revocation{Subject: ""})
	fmt.Println(err)
	// Output:
	// <nil>
	// auth: EndSessions needs a Session, Subject, Tenant or Before
}

// A back end that authenticates: its refresh tokens are no use to whoever steals
// them without its secret.
func ExampleNewClientSecret() {
	clients := new(auth.Memory) // in earnest: a table of the host's
	secret, hash := auth.NewClientSecret()
	err := clients.SetClient(auth.Client{
		ID:      "web",
		Secrets: []auth.SecretHash{hash},
		Grants:  identity.NewSet("password", "refresh_token"),
	})
	// The secret goes to the back end, which sends it as client_secret_basic
	// or client_secret_post; and auth.Config has Clients: clients.
	fmt.Println(len(secret), err)
	// Output: 43 <nil>
}

// Incorrect: the verifier asks another Revoker than the one that logging out
// tells. "Successfully logged out", and the access token goes on working until
// it expires.
func ExampleServer_Logout_incorrect() {
	_, mux := exampleServer(new(blacklist.Memory)) // wrong: the verifier has a Revoker of its own

	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/token", strings.NewReader("username=alice&password=correct+horse+battery"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	mux.ServeHTTP(w, r)
	var pair struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &pair); err != nil {
		log.Fatal(err)
	}
	for _, path := range []string{"/logout/", "/users/me"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", path, nil)
		r.Header.Set("Authorization", "Bearer "+pair.Access)
		mux.ServeHTTP(w, r)
		fmt.Println(path, w.Code)
	}
	// Output:
	// /logout/ 200
	// /users/me 200
}

// exampleServer is the server of the shorter examples. Its verifier has a
// Revoker of its own.
func exampleServer(revoked auth.Revoker) (*auth.Server, *guard.Mux) {
	cheap := password.Config{Argon2id: password.Argon2id{Memory: 8, Passes: 1, Lanes: 1}, InsecureArgon2id: true}
	passwords, err := password.New(cheap)
	hash, err2 := passwords.Hash(context.Background(), "correct horse battery")
	store := new(auth.Memory)
	err3 := store.SetUser("alice", auth.User{ID: "1", PasswordHash: hash})
	ring, err4 := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("an access token secret of 32 b.."))})
	tokens, err5 := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: audience})
	verifier, err6 := token.NewVerifier(ring, token.VerifierConfig{Issuer: issuer, Audience: audience, Revoker: new(blacklist.Memory)})
	signIn, err7 := auth.New(store, tokens, auth.Config{
		Sessions:    store,
		RefreshKeys: []guard.Secret{guard.NewSecret([]byte("0123456789abcdef0123456789abcdef"))},
		Revoker:     revoked,
		Passwords:   passwords,
	})
	if err := errors.Join(err, err2, err3, err4, err5, err6, err7); err != nil {
		log.Fatal(err)
	}
	var hooks guard.Hooks
	mux := guard.NewMux(hooks, verifier)
	mux.Handle("/token", signIn.Token())
	mux.Handle("/logout/", signIn.Logout())
	mux.Handle("/users/me", hooks.Authenticated(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	return signIn, mux
}

// Pages that keep no tokens: the browser has them in cookies that no script can
// read, and a page of another origin cannot use them.
func ExampleCookies() {
	var hooks guard.Hooks
	cookies, err := auth.NewCookies(serverWithVerifier(), auth.CookieConfig{})
	if err != nil {
		log.Fatal(err)
	}
	mux := guard.NewMux(hooks, cookies)
	mux.Handle("/session", cookies.Token())
	mux.Handle("POST /items", hooks.Authenticated(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))

	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/session", strings.NewReader("username=alice&password=correct+horse+battery"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	mux.ServeHTTP(w, r)
	fmt.Println("tokens in the body:", strings.Contains(w.Body.String(), "token"))

	for _, site := range []string{"same-origin", "cross-site"} { // as browsers tell
		r := httptest.NewRequest("POST", "/items", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		for _, c := range w.Result().Cookies() {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(site, w.Code)
	}
	// Output:
	// tokens in the body: false
	// same-origin 200
	// cross-site 403
}

// serverWithVerifier is a server that has Config.Verifier.
func serverWithVerifier() *auth.Server {
	passwords, err := password.New(password.Config{Argon2id: password.Argon2id{Memory: 8, Passes: 1, Lanes: 1}, InsecureArgon2id: true})
	hash, err2 := passwords.Hash(context.Background(), "correct horse battery")
	store, revoked := new(auth.Memory), new(blacklist.Memory)
	err3 := store.SetUser("alice", auth.User{ID: "1", PasswordHash: hash, Scopes: identity.NewSet("items")})
	ring, err4 := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("an access token secret of 32 b.."))})
	tokens, err5 := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: audience, Lifetime: lifetime})
	verifier, err6 := token.NewVerifier(ring, token.VerifierConfig{Issuer: issuer, Audience: audience, Revoker: revoked})
	signIn, err7 := auth.New(store, tokens, auth.Config{
		Sessions:    store,
		RefreshKeys: []guard.Secret{guard.NewSecret([]byte("0123456789abcdef0123456789abcdef"))},
		Revoker:     revoked,
		Verifier:    verifier,
		Passwords:   passwords,
	})
	if err := errors.Join(err, err2, err3, err4, err5, err6, err7); err != nil {
		log.Fatal(err)
	}
	return signIn
}
