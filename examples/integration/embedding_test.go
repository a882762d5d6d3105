package integration

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	passwords "github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/headers"
)

// Each of these embeds a type of ours and is stricter in the method that decides.
type (
	strictVerifier struct{ *token.Verifier }
	strictKeys     struct{ *apikey.Authenticator }
	strictStatic   struct{ *apikey.StaticAuthenticator }
	strictCookies  struct{ *auth.Cookies }
	strictStore    struct{ *apikey.Memory }
	strictUsers    struct{ *auth.Memory }
	strictRevoker  struct{ *blacklist.Memory }
)

func stricter() (*identity.Principal, error) { return nil, guard.InvalidToken("Bearer", nil) }

func (strictVerifier) Authenticate(*http.Request) (*identity.Principal, error) { return stricter() }
func (strictKeys) Authenticate(*http.Request) (*identity.Principal, error)     { return stricter() }
func (strictStatic) Authenticate(*http.Request) (*identity.Principal, error)   { return stricter() }
func (strictCookies) Authenticate(*http.Request) (*identity.Principal, error)  { return stricter() }

func (s strictStore) KeyByID(ctx context.Context, id string) (*apikey.Record, error) {
	r, err := s.Memory.KeyByID(ctx, id)
	if err == nil && r.Name == "forbidden" {
		return nil, apikey.ErrNotFound
	}
	return r, err
}

func (s strictUsers) UserByLogin(ctx context.Context, login string) (*auth.User, error) {
	if login == "forbidden" {
		return nil, auth.ErrNotFound
	}
	return s.Memory.UserByLogin(ctx, login)
}

func (s strictRevoker) Revoked(context.Context, *identity.Principal) (bool, error) { return true, nil }

func TestATypeThatEmbedsOneOfOursIsTheOneThatDecides(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const iss = "https://i.example"
	key, err := token.GenerateKey(token.ES256)
	must(err)
	ring, err := token.NewKeyring(key)
	must(err)
	issuer, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: iss, Audience: "a"})
	must(err)
	revoker := new(blacklist.Memory)
	verifier, err := token.NewVerifier(ring, token.VerifierConfig{Issuer: iss, Audience: "a", Revoker: revoker})
	must(err)
	revoking, err := token.NewVerifier(ring, token.VerifierConfig{Issuer: iss, Audience: "a", Revoker: strictRevoker{new(blacklist.Memory)}})
	must(err)
	bearer, err := issuer.Issue(t.Context(), &identity.Principal{Subject: "ada", Client: "c"}, nil)
	must(err)
	bearer = "Bearer " + bearer

	format, err := apikey.NewFormat("acme", "live")
	must(err)
	store := new(apikey.Memory)
	keysOf := func(store apikey.KeyStore) *apikey.Authenticator {
		keys, err := apikey.New(store, apikey.Config{Format: format,
			Peppers: []apikey.Pepper{{ID: "1", Secret: guard.NewSecret(bytes.Repeat([]byte("p"), 32))}}})
		must(err)
		t.Cleanup(func() { keys.Flush(context.Background()) })
		return keys
	}
	keys := keysOf(store)
	manager, err := apikey.NewManager(keys, strictStore{store}, apikey.ManagerConfig{Revoker: new(blacklist.Memory)})
	must(err)
	maker := &identity.Principal{Issuer: iss, Subject: "ada"}
	issue := func(name string) string {
		secret, _, err := manager.Issue(t.Context(), maker, apikey.Spec{Owner: "ada", Name: name})
		must(err)
		return secret.Plain()
	}
	allowed, forbidden := issue("allowed"), issue("forbidden")
	const plain = "a-static-key-of-some-length-0123456789"
	static, err := apikey.NewStatic(apikey.StaticConfig{}, apikey.StaticKey{Name: "robot", Key: apikey.NewSecret(plain)})
	must(err)

	// Authenticators.
	status := func(a guard.Authenticator, header, value string) int {
		hooks := guard.Hooks{}
		mux := guard.NewMux(hooks, a)
		mux.Handle("/", hooks.Accept(a)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code
	}
	for name, c := range map[string]struct {
		strict, ours  guard.Authenticator
		header, value string
	}{
		"token.Verifier":             {strictVerifier{verifier}, verifier, "Authorization", bearer},
		"apikey.Authenticator":       {strictKeys{keys}, keys, "X-Api-Key", allowed},
		"apikey.StaticAuthenticator": {strictStatic{static}, static, "X-Api-Key", plain},
		"a Revoker":                  {revoking, verifier, "Authorization", bearer},
		"a KeyStore":                 {keysOf(strictStore{store}), keysOf(store), "X-Api-Key", forbidden},
	} {
		if ours, strict := status(c.ours, c.header, c.value), status(c.strict, c.header, c.value); ours != 200 || strict != 401 {
			t.Errorf("%s: %d, and %d for the one that embeds it; want 200 and 401", name, ours, strict)
		}
	}

	// Stores, whose capabilities stay.
	if records, err := manager.List(t.Context(), "ada"); err != nil || len(records) != 2 {
		t.Errorf("a KeyStore that embeds Memory lists %v, %v", records, err)
	}
	hasher, err := passwords.New(passwords.Config{Argon2id: passwords.Argon2id{Memory: 64, Passes: 1, Lanes: 1}, InsecureArgon2id: true})
	must(err)
	users := strictUsers{new(auth.Memory)}
	stronger, err := passwords.New(passwords.Config{Argon2id: passwords.Argon2id{Memory: 128, Passes: 1, Lanes: 1}, InsecureArgon2id: true})
	must(err)
	hash, err := hasher.Hash(t.Context(), "correct horse")
	must(err)
	must(users.SetUser("ada", auth.User{ID: "1", PasswordHash: hash}))
	must(users.SetUser("forbidden", auth.User{ID: "2", PasswordHash: hash}))
	signIn, err := auth.New(users, issuer, auth.Config{Sessions: users, RefreshKeys: []guard.Secret{guard.NewSecret(bytes.Repeat([]byte("r"), 32))},
		Revoker: revoker, Passwords: stronger, Verifier: verifier})
	must(err)
	for login, want := range map[string]int{"ada": 200, "forbidden": 400} {
		r := httptest.NewRequest("POST", "/token", strings.NewReader(url.Values{"username": {login}, "password": {"correct horse"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		signIn.Token().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("sign-in of %s: %d %s, want %d", login, w.Code, w.Body, want)
		}
	}
	if u, err := users.UserByID(t.Context(), "1"); err != nil || u.PasswordHash == hash {
		t.Errorf("the hash was not upgraded by the PasswordUpdater that is embedded: %v", err)
	}
	cookies, err := auth.NewCookies(signIn, auth.CookieConfig{})
	must(err)
	if code := status(strictCookies{cookies}, "Accept", "*/*"); code != 401 {
		t.Errorf("auth.Cookies: %d for the one that embeds it, want 401", code)
	}

	// A ResponseWriter that embeds another.
	security, err := headers.New(headers.Config{Enforce: true})
	must(err)
	w := &upper{ResponseRecorder: httptest.NewRecorder()}
	security.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.ServeContent(w, httptest.NewRequest("GET", "/", nil), "x.txt", time.Time{}, strings.NewReader("secret"))
	})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Body.String() != "SECRET" {
		t.Errorf("the ResponseWriter that embeds another was passed by: %q", w.Body)
	}
}

// upper writes everything in upper case.
type upper struct{ *httptest.ResponseRecorder }

func (u *upper) Write(p []byte) (int, error) { return u.ResponseRecorder.Write(bytes.ToUpper(p)) }
