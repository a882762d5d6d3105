package blacklist_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// A server whose host has a login of its own. Logouts are on the disk before
// they are acknowledged; asking about them costs no I/O. The auth and token
// packages ask and revoke by themselves when their configuration has a Revoker.
func Example() {
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	log, err := blacklist.OpenFile(filepath.Join(folder, "revocations.log"), blacklist.FileConfig{})
	if err != nil {
		panic(err)
	}
	defer log.Close()
	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
	if err != nil {
		panic(err)
	}
	if err := revoked.Refresh(context.Background()); err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { revoked.Run(ctx) })
	defer running.Wait()
	defer stop()

	// In earnest: look the session up. Here it is taken at its word.
	signedIn := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p := &identity.Principal{Issuer: "demo", Subject: "alice", Session: r.Header.Get("Demo-Session")}
			next.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), p)))
		})
	}
	notRevoked, err := blacklist.NewGuard(revoked, blacklist.GuardConfig{})
	if err != nil {
		panic(err)
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
	server := signedIn(notRevoked.Handler(mux))

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
		fmt.Println(request.session, request.path, w.Code)
	}
	// Output:
	// laptop /me 200
	// laptop /logout 200
	// laptop /me 401
	// phone /me 200
}

// Two machines share a log. What is revoked at one counts at the other after its
// next reading; on a dangerous route it counts at once.
func ExampleReplica_Direct() {
	log := new(blacklist.MemoryLog) // in earnest, one in a database
	ctx := context.Background()
	here, _ := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
	there, _ := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
	fmt.Println(here.Refresh(ctx), there.Refresh(ctx))

	admin := &identity.Principal{Issuer: "demo", Subject: "admin"}
	fmt.Println(there.Revoke(ctx, identity.Revocation{Issuer: "demo", Subject: "admin"}))
	fmt.Println(here.Revoked(ctx, admin))
	fmt.Println(here.Direct().Revoked(ctx, admin))
	// Output:
	// <nil> <nil>
	// <nil>
	// false <nil>
	// true <nil>
}

// One event ends all that a person has, their tokens and their API keys, but for
// the session in which they asked for it.
func ExampleReplica_RevokeAll() {
	ctx := context.Background()
	revoked, _ := blacklist.NewReplica(new(blacklist.MemoryLog), blacklist.ReplicaConfig{})
	fmt.Println(revoked.Refresh(ctx))

	now := time.Now()
	yesterday := now.Add(-24 * time.Hour)
	fmt.Println(revoked.RevokeAll(ctx,
		identity.Revocation{Issuer: "demo", Subject: "alice", Before: now, Spare: "laptop"},
		identity.Revocation{Issuer: "apikey:acme", Subject: "alice", Before: now},
	))
	for _, p := range []*identity.Principal{
		{Issuer: "demo", Subject: "alice", Session: "laptop", IssuedAt: yesterday},
		{Issuer: "demo", Subject: "alice", Session: "phone", IssuedAt: yesterday},
		{Issuer: "apikey:acme", Subject: "alice", Credential: "k1", IssuedAt: yesterday},
	} {
		gone, err := revoked.Revoked(ctx, p)
		fmt.Println(p.Session+p.Credential, gone, err)
	}
	// Output:
	// <nil>
	// <nil>
	// laptop false <nil>
	// phone true <nil>
	// k1 true <nil>
}

// A host that keeps records of keys in a cache drops those that were revoked, on
// this machine or another.
func ExampleEntry_Matches() {
	cache := map[string]*identity.Principal{
		"k1": {Issuer: "apikey:acme", Credential: "k1", Subject: "alice"},
		"k2": {Issuer: "apikey:acme", Credential: "k2", Subject: "bob"},
	}
	var mu sync.Mutex // OnEntry runs beside requests
	revoked, _ := blacklist.NewReplica(new(blacklist.MemoryLog), blacklist.ReplicaConfig{
		OnEntry: func(e blacklist.Entry) {
			mu.Lock()
			defer mu.Unlock()
			maps.DeleteFunc(cache, func(_ string, p *identity.Principal) bool { return e.Matches(p) })
		},
	})
	fmt.Println(revoked.Revoke(context.Background(), identity.Revocation{Issuer: "apikey:acme", Subject: "alice"}))
	fmt.Println(len(cache), cache["k2"].Subject)
	// Output:
	// <nil>
	// 1 bob
}

// Incorrect: nobody has read the log. Without an answer the Replica lets nobody
// in, so that a forgotten Run is noticed on the first day and not after the
// first theft.
func ExampleReplica_incorrect() {
	revoked, _ := blacklist.NewReplica(new(blacklist.MemoryLog), blacklist.ReplicaConfig{})
	_, err := revoked.Revoked(context.Background(), &identity.Principal{Issuer: "demo", Subject: "alice"})
	fmt.Println(err)
	// Output:
	// blacklist: the last reading of the log is too old to accept callers: it was never read to its end; call Replica.Refresh, and keep Replica.Run running
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
	// blacklist: Revocation has neither Credential, Session, Subject, Tenant nor Before and would refuse every caller for ever; to revoke all that the issuer has issued so far, set Before to now
}
