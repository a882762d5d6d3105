package rbac_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

// users is the host's table: what each user is today.
var users = map[string]auth.User{
	"ada":  {ID: "ada", Tenant: "acme", Roles: identity.NewSet("admin")},
	"bob":  {ID: "bob", Tenant: "acme", Roles: identity.NewSet("user")},
	"eve":  {ID: "eve", Tenant: "acme", Roles: identity.NewSet("user", "suspended")},
	"carl": {ID: "carl", Tenant: "globex", Roles: identity.NewSet("user")}, // moved there today
}

// sessions is an authenticator that takes a name for a token that was issued in
// the tenant acme. A server takes token.Verifier instead.
type sessions struct{}

func (sessions) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer", Realm: "demo"} }

func (sessions) Authenticate(r *http.Request) (*identity.Principal, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, guard.ErrNoCredentials
	}
	return &identity.Principal{Issuer: "demo", Subject: name, Tenant: "acme"}, nil
}

// A whole server: users read, admins delete, and the author of a comment and
// moderators may change it. Roles and tenant are those of today: a user who was moved
// to another tenant does not reach the rows of the old one with the old token.
func Example() {
	// In a program, these are package variables.
	var perms rbac.Registry
	readUsers := perms.Permission("users:read")
	deleteUsers := perms.Permission("users:delete")
	editComments := perms.Permission("comments:edit")

	accounts, err := auth.NewAccounts(func(_ context.Context, p *identity.Principal) (auth.User, error) {
		u, ok := users[p.Subject]
		if !ok {
			return u, auth.ErrNotFound
		}
		return u, nil
	}, func(u auth.User) auth.User { return u }, auth.AccountsConfig{Issuers: []string{"demo"}})
	if err != nil {
		panic(err)
	}
	hooks := guard.Hooks{Active: accounts.Active}

	roles, err := rbac.New(rbac.Policy{Roles: map[string]rbac.Role{
		"user":      {Allow: rbac.Names(readUsers)},
		"moderator": {Inherits: []string{"user"}, Allow: []string{"comments:*"}},
		"admin":     {Inherits: []string{"moderator"}, Allow: []string{"users:*"}},
		"suspended": {Deny: []string{"*"}},
	}}, rbac.Config{
		Permissions: &perms,
		Roles:       accounts.Roles,
		Tenants:     true,
		Hooks:       hooks,
	})
	if err != nil {
		panic(err)
	}

	authors := map[string]string{"1": "ada", "2": "bob"}
	comment := func(r *http.Request) (rbac.Object, error) {
		author, ok := authors[r.PathValue("id")]
		if !ok {
			return rbac.Object{}, rbac.ErrNotFound
		}
		// Everybody may read comments, so that there is one is no secret.
		return rbac.Object{Tenant: "acme", Issuer: "demo", Owner: author, Visible: true}, nil
	}

	done := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "done") })
	mux := guard.NewMux(hooks, sessions{})
	mux.Handle("GET /users/{id}", roles.Require(readUsers)(done))
	mux.Handle("DELETE /users/{id}", roles.Require(deleteUsers)(done))
	mux.Handle("POST /moderate/", roles.RequireRole("moderator")(done))
	mux.Handle("PUT /comments/{id}", roles.Owned(editComments, comment)(done))
	for _, route := range mux.Routes() {
		fmt.Println(route)
	}

	server := httptest.NewServer(mux)
	defer server.Close()
	for _, try := range []struct{ who, method, path string }{
		{"", "GET", "/users/7"},
		{"bob", "GET", "/users/7"},
		{"eve", "GET", "/users/7"},
		{"carl", "GET", "/users/7"},
		{"bob", "DELETE", "/users/7"},
		{"ada", "DELETE", "/users/7"},
		{"ada", "POST", "/moderate/"},
		{"bob", "PUT", "/comments/1"},
		{"bob", "PUT", "/comments/2"},
		{"bob", "PUT", "/comments/3"},
		{"ada", "PUT", "/comments/2"},
	} {
		req, err := http.NewRequest(try.method, server.URL+try.path, nil)
		if err != nil {
			panic(err)
		}
		if try.who != "" {
			req.Header.Set("Authorization", "Bearer "+try.who)
		}
		res, err := server.Client().Do(req)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		fmt.Printf("%s %s as %q: %d %s", try.method, try.path, try.who, res.StatusCode, body)
	}

	// Output:
	// DELETE /users/{id}	permission users:delete
	// GET /users/{id}	permission users:read
	// POST /moderate/	role moderator
	// PUT /comments/{id}	any permission comments:edit|(owner)
	// GET /users/7 as "": 401 {"title":"Unauthorized","status":401,"code":"unauthenticated","detail":"This needs you to be signed in."}
	// GET /users/7 as "bob": 200 done
	// GET /users/7 as "eve": 403 {"title":"Forbidden","status":403,"code":"forbidden","detail":"Access denied"}
	// GET /users/7 as "carl": 401 {"title":"Unauthorized","status":401,"code":"invalid_token","detail":"The credentials are not valid."}
	// DELETE /users/7 as "bob": 403 {"title":"Forbidden","status":403,"code":"forbidden","detail":"Access denied"}
	// DELETE /users/7 as "ada": 200 done
	// POST /moderate/ as "ada": 200 done
	// PUT /comments/1 as "bob": 403 {"title":"Forbidden","status":403,"code":"forbidden","detail":"Access denied"}
	// PUT /comments/2 as "bob": 200 done
	// PUT /comments/3 as "bob": 404 {"title":"Not Found","status":404,"code":"not_found","detail":"There is nothing here."}
	// PUT /comments/2 as "ada": 200 done
}

// A policy file, and permissions that only it knows.
func ExampleParsePolicy() {
	policy, err := rbac.ParsePolicy([]byte(`{
		"permissions": ["reports:print", "reports:archive"],
		"roles": {
			"clerk": {"allow": ["reports:print"]},
			"chief": {"inherits": ["clerk"], "allow": ["reports:*"]}
		}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	roles, err := rbac.New(policy, rbac.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	archive, err := roles.Permission("reports:archive")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, role := range []string{"clerk", "chief"} {
		p := &identity.Principal{Issuer: "demo", Subject: "ada", Roles: identity.NewSet(role)}
		fmt.Println(role, roles.Can(context.Background(), p, archive))
	}
	_, err = rbac.ParsePolicy([]byte(`{"roles":{"clerk":{"deny":["*"],"Deny":[]}}}`))
	fmt.Println(err)
	// Output:
	// clerk false
	// chief true
	// rbac: the JSON of the policy, before byte 38: the member "Deny" is repeated, possibly in another case
}

// Every mistake is found at once, and names what is meant.
func ExampleNew_incorrect() {
	var perms rbac.Registry
	perms.Permission("users:read")
	perms.Permission("users:delete")
	_, err := rbac.New(rbac.Policy{Roles: map[string]rbac.Role{
		"user":   {Allow: []string{"users:raed"}},
		"admin":  {Inherits: []string{"editor"}, Allow: []string{"user:*"}},
		"editor": {Inherits: []string{"admin", "autor"}},
	}}, rbac.Config{Permissions: &perms})
	fmt.Println(err)
	// Output:
	// rbac: Policy.Roles["admin"].Allow[0] is "user:*", which matches no declared permission
	// rbac: Policy.Roles["editor"].Inherits[1] is "autor", which is not a role of the policy
	// rbac: Policy.Roles["user"].Allow[0] is "users:raed", which is not a declared permission
	// rbac: Policy.Roles has a cycle of inheritance: admin → editor → admin
}

// Incorrect: to ask for the name of a role in the handler. Whoever inherits
// the role is refused, whoever is suspended passes, and the route ledger knows
// nothing of it. Ask for the permission.
func ExampleEngine_Can_incorrect() {
	var perms rbac.Registry
	publish := perms.Permission("posts:publish")
	roles, err := rbac.New(rbac.Policy{Roles: map[string]rbac.Role{
		"editor":    {Allow: rbac.Names(publish)},
		"chief":     {Inherits: []string{"editor"}},
		"suspended": {Deny: []string{"*"}},
	}}, rbac.Config{Permissions: &perms})
	if err != nil {
		panic(err)
	}
	for _, has := range [][]string{{"chief"}, {"editor", "suspended"}} {
		p := &identity.Principal{Issuer: "demo", Subject: "ada", Roles: identity.NewSet(has...)}
		fmt.Println(has, "incorrect:", p.Roles.Has("editor"), "correct:", roles.Can(context.Background(), p, publish))
	}
	// Output:
	// [chief] incorrect: false correct: true
	// [editor suspended] incorrect: true correct: false
}

// The guard and the handler see the same note, loaded once.
func ExampleEngine_Owned() {
	var perms rbac.Registry
	readNotes := perms.Permission("notes:read")
	roles, err := rbac.New(rbac.Policy{Roles: map[string]rbac.Role{
		"auditor": {Allow: rbac.Names(readNotes)},
	}}, rbac.Config{Permissions: &perms})
	if err != nil {
		panic(err)
	}

	type note struct{ tenant, owner, text string }
	loads := 0
	type noteKey struct{ id string }
	load := func(r *http.Request) (note, error) {
		id := r.PathValue("id")
		return guard.Once(r.Context(), noteKey{id}, func() (note, error) {
			loads++
			if id != "1" {
				return note{}, rbac.ErrNotFound
			}
			return note{"acme", "ada", "buy milk"}, nil
		})
	}
	mux := guard.NewMux(guard.Hooks{}, actors{
		"ada":  {Issuer: "demo", Subject: "ada", Tenant: "acme"},
		"bob":  {Issuer: "demo", Subject: "bob", Tenant: "acme"},
		"carl": {Issuer: "demo", Subject: "carl", Tenant: "acme", Roles: identity.NewSet("auditor")},
		"dora": {Issuer: "demo", Subject: "dora", Tenant: "globex", Roles: identity.NewSet("auditor")},
	})
	mux.Handle("GET /notes/{id}", roles.Owned(readNotes, func(r *http.Request) (rbac.Object, error) {
		n, err := load(r)
		return rbac.Object{Tenant: n.tenant, Issuer: "demo", Owner: n.owner}, err
	})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := load(r)
		fmt.Fprint(w, n.text)
	})))

	for _, who := range []string{"ada", "bob", "carl", "dora"} {
		loads = 0
		r := httptest.NewRequest("GET", "/notes/1", nil)
		r.Header.Set("Authorization", "Bearer "+who)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(who, w.Code, "loads:", loads)
	}
	// Output:
	// ada 200 loads: 1
	// bob 404 loads: 1
	// carl 200 loads: 1
	// dora 404 loads: 1
}

// actors knows everybody by name.
type actors map[string]*identity.Principal

func (a actors) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer"} }

func (a actors) Authenticate(r *http.Request) (*identity.Principal, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, guard.ErrNoCredentials
	}
	p, ok := a[name]
	if !ok {
		return nil, guard.InvalidToken("Bearer", errors.New("nobody"))
	}
	own := *p
	return &own, nil
}

// A list shows what the caller could open one by one.
func ExampleEngine_Rows() {
	var perms rbac.Registry
	readNotes := perms.Permission("notes:read")
	roles, err := rbac.New(rbac.Policy{Roles: map[string]rbac.Role{
		"auditor": {Allow: rbac.Names(readNotes)},
	}}, rbac.Config{Permissions: &perms, Tenants: true})
	if err != nil {
		panic(err)
	}
	list := func(ctx context.Context, db *sql.DB) (*sql.Rows, error) {
		may, err := roles.Rows(ctx, readNotes)
		if err != nil {
			return nil, err // for Hooks.Refuse
		}
		return db.QueryContext(ctx,
			`SELECT text FROM notes WHERE tenant = $1 AND ($2 OR (issuer = $3 AND owner = $4))`,
			may.Tenant, may.All, may.Issuer, may.Owner)
	}
	_ = list

	for _, role := range []string{"auditor", "user"} {
		ctx := identity.NewContext(context.Background(), &identity.Principal{
			Issuer: "demo", Subject: "ada", Tenant: "acme", Roles: identity.NewSet(role),
		})
		may, err := roles.Rows(ctx, readNotes)
		fmt.Printf("%s: %+v %v\n", role, may, err)
	}
	// Output:
	// auditor: {Tenant:acme All:true Issuer:demo Owner:ada} <nil>
	// user: {Tenant:acme All:false Issuer:demo Owner:ada} <nil>
}

// What a change of the policy file would do, for the one who reviews it.
func ExampleListing_Diff() {
	old, err := rbac.Policy{
		Permissions: []string{"posts:edit", "posts:publish", "users:delete"},
		Roles: map[string]rbac.Role{
			"editor": {Allow: []string{"posts:*"}},
			"admin":  {Inherits: []string{"editor"}, Allow: []string{"users:delete"}},
		},
	}.Listing(nil)
	if err != nil {
		panic(err)
	}
	proposed, err := rbac.Policy{
		Permissions: []string{"posts:edit", "posts:publish", "users:delete"},
		Roles: map[string]rbac.Role{
			"editor": {Allow: []string{"*"}, Deny: []string{"posts:publish"}},
			"admin":  {Inherits: []string{"editor"}},
		},
	}.Listing(nil)
	if err != nil {
		panic(err)
	}
	fmt.Print(old.Diff(proposed), "\n", proposed)
	// Output:
	// - admin posts:publish: admin → editor denies "posts:publish"; before, admin → editor allows "posts:*"
	// - editor posts:publish: editor denies "posts:publish"; before, editor allows "posts:*"
	// + editor users:delete: editor allows "*"; before, nothing allows it
	//
	//                admin  editor
	// posts:edit     x      x
	// posts:publish  !      !
	// users:delete   x      x
}
