package apikey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// A whole server: people manage their keys under /keys/, and programs use them
// under /protected/.
func Example() {
	format, err := apikey.NewFormat("acme", "live")
	if err != nil {
		log.Fatal(err)
	}
	store := new(apikey.Memory)                   // sqlstore.New(db, …) in production
	pepper := bytes.Repeat([]byte("example "), 4) // 32 random bytes, from where secrets are kept
	// The host's users. A host of package auth takes both functions from
	// auth.Accounts, which loads a user once a request and compares tenants.
	type user struct{ roles, scopes identity.Set }
	table := map[string]user{
		"ada":     {identity.NewSet("user"), identity.NewSet("read:items")},
		"mallory": {},
	}
	rights := func(_ context.Context, p *identity.Principal) (roles, scopes identity.Set, err error) {
		u, ok := table[p.Subject]
		if !ok {
			return roles, scopes, guard.ErrInactive
		}
		return u.roles, u.scopes, nil
	}
	hooks := guard.Hooks{Active: func(ctx context.Context, p *identity.Principal) error {
		_, _, err := rights(ctx, p)
		return err
	}}
	keys, err := apikey.New(store, apikey.Config{
		Format:      format,
		Peppers:     []apikey.Pepper{{ID: "2026", Secret: guard.NewSecret(pepper)}},
		OwnerRights: rights,
		Hooks:       hooks,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer keys.Flush(context.Background())
	revoked := new(blacklist.Memory) // the Revoker of the whole program
	manager, err := apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: revoked, Hooks: hooks})
	if err != nil {
		log.Fatal(err)
	}

	mux := guard.NewMux(hooks, signedIn{}, keys)
	mux.Handle("GET /protected/", hooks.Accept(keys)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, err := keys.Record(r.Context())
		if err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		p, _ := identity.FromContext(r.Context())
		json.NewEncoder(w).Encode(map[string]string{"message": "Access granted", "key_name": key.Name, "scopes": p.Scopes.String()})
	})))
	mux.Handle("POST /keys/", hooks.Accept(signedIn{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		key, record, err := manager.Issue(r.Context(), p, apikey.Spec{
			Owner:     p.Subject,
			Name:      r.FormValue("name"),
			Scopes:    identity.ParseSet(r.FormValue("scope")),
			ExpiresAt: time.Now().AddDate(0, 3, 0),
		})
		switch {
		case errors.Is(err, apikey.ErrSpec):
			err = guard.InvalidRequest("The key cannot be made as asked for.", err)
			fallthrough
		case err != nil:
			hooks.Refuse(w, r, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]string{"id": record.ID, "key": key.Plain()}) // shown once
	})))
	mux.Handle("DELETE /keys/{id}", hooks.Accept(signedIn{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := identity.FromContext(r.Context())
		key, err := manager.Owned(r.Context(), p.Subject, r.PathValue("id"))
		if err == nil {
			err = manager.Revoke(r.Context(), key.ID)
		}
		if errors.Is(err, apikey.ErrNotFound) {
			err = &guard.Denial{Status: http.StatusNotFound, Code: guard.CodeNotFound, Err: err}
		}
		if err != nil {
			hooks.Refuse(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})))

	server := httptest.NewServer(mux)
	defer server.Close()
	call := func(method, path, header, value string) []byte {
		r, _ := http.NewRequest(method, server.URL+path, nil)
		if header != "" {
			r.Header.Set(header, value)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		fmt.Println(method, path[:6], response.StatusCode)
		return body
	}

	var made struct{ ID, Key string }
	json.Unmarshal(call("POST", "/keys/?name=backup&scope=read:items", "Authorization", "Bearer ada"), &made)
	os.Stdout.Write(call("GET", "/protected/", "X-API-Key", made.Key))
	os.Stdout.Write(call("GET", "/protected/", "Authorization", "ApiKey "+made.Key))
	call("GET", "/protected/", "", "")
	call("GET", "/protected/", "X-API-Key", made.Key+"x")
	call("DELETE", "/keys/"+made.ID, "Authorization", "Bearer mallory")
	call("DELETE", "/keys/"+made.ID, "Authorization", "Bearer ada")
	call("GET", "/protected/", "X-API-Key", made.Key)
	// Output:
	// POST /keys/ 201
	// GET /prote 200
	// {"key_name":"backup","message":"Access granted","scopes":"read:items"}
	// GET /prote 200
	// {"key_name":"backup","message":"Access granted","scopes":"read:items"}
	// GET /prote 401
	// GET /prote 401
	// DELETE /keys/ 404
	// DELETE /keys/ 204
	// GET /prote 401
}

// signedIn is the host's own login.
type signedIn struct{}

func (signedIn) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }

func (signedIn) Authenticate(r *http.Request) (*identity.Principal, error) {
	const scheme = "Bearer "
	if line := r.Header.Get("Authorization"); len(line) > len(scheme) && line[:len(scheme)] == scheme {
		return &identity.Principal{Issuer: "example", Subject: line[len(scheme):]}, nil
	}
	return nil, guard.ErrNoCredentials
}

// A scanner of commits, logs or chats finds what looks like a key, and Parse
// tells whether it is one.
func ExampleFormat_Regexp() {
	format, _ := apikey.NewFormat("acme", "live", "test")
	text := `
		key   = acme_live_0123456789AB_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf4MqGjh
		typo  = acme_live_0123456789AB_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf4MqGjj
		other = acme_prod_0123456789AB_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf4MqGjh
		shown = acme_live_0123456789AB_[redacted]`
	for _, found := range format.Regexp().FindAllString(text, -1) {
		id, _, err := format.Parse(found)
		fmt.Println(strconv.Quote(id), err)
	}
	// Output:
	// "0123456789AB" <nil>
	// "" apikey: malformed: the checksum does not match, as in a mistyped key
}

// A key is replaced while its programs go on: both are good for the overlap.
func ExampleManager_Rotate() {
	keys, store := exampleKeys()
	manager, err := apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: new(blacklist.Memory)})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	operator := &identity.Principal{Issuer: "cli", Subject: "ada"} // in a handler, the caller
	old, record, err := manager.Issue(ctx, operator, apikey.Spec{Owner: "ada", Name: "backup"})
	if err != nil {
		log.Fatal(err)
	}
	successor, _, err := manager.Rotate(ctx, operator, record.ID, 24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	for _, key := range []apikey.Secret{old, successor} {
		_, err := keys.Verify(ctx, key.Plain(), "192.0.2.1:1234")
		fmt.Println(err)
	}
	_, _, err = manager.Rotate(ctx, operator, record.ID, 24*time.Hour)
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
	// apikey: the key was replaced already
}

// The guide's simple check, in constant time, with an empty key refused at
// start-up and not at the first request without one.
func ExampleNewStatic() {
	_, err := apikey.NewStatic(apikey.StaticConfig{}, apikey.StaticKey{Name: "cron", Key: apikey.NewSecret(os.Getenv("NO_SUCH_VARIABLE"))})
	fmt.Println(err)

	keys, err := apikey.NewStatic(apikey.StaticConfig{}, apikey.StaticKey{Name: "cron", Key: apikey.NewSecret("7c0f3b1e9a5d4c68")})
	if err != nil {
		log.Fatal(err)
	}
	h := keys.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Access granted") }))
	for _, key := range []string{"7c0f3b1e9a5d4c68", "7c0f3b1e9a5d4c69"} {
		r := httptest.NewRequest("GET", "/protected/", nil)
		r.Header.Set("X-API-Key", key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// apikey: key 0 is empty; use at least 16 random characters
	// 200
	// 401
}

// Incorrect: the program prints the Secret, or puts it into its answer, and its
// owner gets to see what everybody may. Plain is what belongs there.
func ExampleSecret_incorrect() {
	key := apikey.NewSecret("7c0f3b1e9a5d4c68")
	answer, _ := json.Marshal(map[string]any{"key": key})
	fmt.Println(key, string(answer))
	// Output: [redacted] {"key":"[redacted]"}
}

func exampleKeys() (*apikey.Authenticator, *apikey.Memory) {
	format, err := apikey.NewFormat("acme")
	if err != nil {
		log.Fatal(err)
	}
	store := new(apikey.Memory)
	keys, err := apikey.New(store, apikey.Config{
		Format:  format,
		Peppers: []apikey.Pepper{{ID: "2026", Secret: guard.NewSecret(bytes.Repeat([]byte("example "), 4))}},
	})
	if err != nil {
		log.Fatal(err)
	}
	return keys, store
}
