package rbac_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

// bearers is an authenticator that takes the roles of a caller, separated by
// commas, for their token.
type bearers struct{}

func (bearers) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Bearer", Realm: "demo"} }

func (bearers) Authenticate(r *http.Request) (*identity.Principal, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, guard.ErrNoCredentials
	}
	return caller(strings.Split(token, ",")...), nil
}

// routes is a server with a route for each kind of guard.
func routes(t testing.TB, reached func(r *http.Request)) *guard.Mux {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	mux := guard.NewMux(guard.Hooks{}, bearers{})
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached(r)
		io.WriteString(w, "done\n")
	})
	mux.Handle("GET /users/me", e.Require(a.read)(answer))
	mux.Handle("DELETE /users/{id}", e.RequireRole("admin", "root")(e.Require(a.remove)(answer)))
	mux.Handle("POST /moderate/", e.RequireRole("moderator")(answer))
	mux.Handle("PUT /users/{id}", e.Require(a.read, a.write)(answer))
	mux.Handle("PATCH /content/{id}", e.RequireAny(a.edit, a.write)(answer))
	mux.Handle("GET /notes/{id}", e.Owned(a.write, func(r *http.Request) (rbac.Object, error) {
		if r.PathValue("id") == "ada's" {
			return rbac.Object{Issuer: "https://auth.example.com", Owner: "ada"}, nil
		}
		return rbac.Object{Issuer: "https://auth.example.com", Owner: "bob"}, nil
	})(answer))
	return mux
}

func TestRolesByRoutes(t *testing.T) {
	reached := false
	mux := routes(t, func(*http.Request) { reached = true })
	server := httptest.NewServer(mux)
	defer server.Close()

	routes := []string{"GET /users/me", "DELETE /users/7", "POST /moderate/", "PUT /users/7", "PATCH /content/7", "GET /notes/ada's", "GET /notes/bob's"}
	for _, row := range []struct {
		roles string // "-" sends no token
		want  string // status of each route
	}{
		//                  me  delete mod put patch  own other's
		{"-", "             401 401 401 401 401       401 401"},
		{"unknown", "       403 403 403 403 403       200 404"},
		{"user", "          200 403 403 403 403       200 404"},
		{"moderator", "     200 403 200 403 200       200 404"},
		{"admin", "         200 200 200 200 200       200 200"},
		{"root", "          200 200 403 200 200       200 200"},
		{"auditor", "       200 403 200 403 200       403 403"},
		{"suspended", "     403 403 403 403 403       403 403"},
		{"admin,suspended", "403 403 200 403 403      403 403"},
		{"user,moderator", "200 403 200 403 200       200 404"},
		{"auditor,root", "  200 403 200 403 200       403 403"},
	} {
		for i, want := range strings.Fields(row.want) {
			method, path, _ := strings.Cut(routes[i], " ")
			t.Run(row.roles+" "+routes[i], func(t *testing.T) {
				req := must(http.NewRequest(method, server.URL+path, nil))(t)
				if row.roles != "-" {
					req.Header.Set("Authorization", "Bearer "+row.roles)
				}
				reached = false
				res := must(server.Client().Do(req))(t)
				body := string(must(io.ReadAll(res.Body))(t))
				res.Body.Close()
				if got := fmt.Sprint(res.StatusCode); got != want {
					t.Errorf("status %s, want %s", got, want)
				}
				if reached != (want == "200") {
					t.Errorf("the handler ran: %v", reached)
				}
				if want == "403" && body != forbidden {
					t.Errorf("body %s", body)
				}
				if want == "401" && res.Header.Get("WWW-Authenticate") != `Bearer realm="demo"` {
					t.Errorf("WWW-Authenticate %q", res.Header.Get("WWW-Authenticate"))
				}
			})
		}
	}
}

func TestPathTricksKeepTheDecision(t *testing.T) {
	mux := routes(t, func(r *http.Request) {
		t.Errorf("%s %s reached a handler of a route for admins", r.Method, r.URL.Path)
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	// Sent as they stand, for a client would clean some of them up. What is
	// not the route of the guard is no route, or is sent to the clean path.
	for _, test := range []struct{ line, header, want string }{
		{"DELETE /users/7", "", "403"},
		{"DELETE //users/7", "", "307"},
		{"DELETE /users//7", "", "307"},
		{"DELETE /./users/7", "", "307"},
		{"DELETE /x/../users/7", "", "307"},
		{"DELETE /users/7/", "", "404"},
		{"DELETE /users/%37", "", "403"},
		{"DELETE /users/..%2f7", "", "403"},
		{"DELETE /users%2f7", "", "404"},
		{"DELETE /USERS/7", "", "404"},
		{"DELETE /%75sers/7", "", "403"},
		{"DELETE /users/7?_method=GET", "", "403"},
		{"DELETE /users/7;x=y", "", "403"},
		{"DELETE http://elsewhere/users/7", "", "403"},
		{"delete /users/7", "", "405"},
		{"POST /users/7", "X-HTTP-Method-Override: DELETE", "405"},
		{"DELETE /users/7", "X-HTTP-Method-Override: GET", "403"},
		{"DELETE /users/7", "X-Original-URL: /users/me", "403"},
		{"DELETE /users/7", "X-Rewrite-URL: /users/me", "403"},
		{"HEAD /notes/bob's", "", "404"},
		{"HEAD /users/7", "", "405"},
		{"POST /moderate/anything", "", "403"},
		{"POST /moderate", "", "307"},
	} {
		t.Run(test.line+" "+test.header, func(t *testing.T) {
			conn := must(net.Dial("tcp", server.Listener.Addr().String()))(t)
			defer conn.Close()
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer user\r\nConnection: close\r\n", test.line)
			if test.header != "" {
				fmt.Fprintf(conn, "%s\r\n", test.header)
			}
			io.WriteString(conn, "\r\n")
			res := must(http.ReadResponse(bufio.NewReader(conn), nil))(t)
			res.Body.Close()
			if got := fmt.Sprint(res.StatusCode); got != test.want {
				t.Errorf("status %s, want %s", got, test.want)
			}
		})
	}
}

func TestHEADIsDecidedLikeGET(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	mux := http.NewServeMux()
	ran := false
	mux.Handle("GET /users", e.Require(a.read)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })))
	for roles, want := range map[string]int{"": 403, "user": 200} {
		ran = false
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("HEAD", "/users", nil).WithContext(as(caller(roles))))
		if w.Code != want || ran != (want == 200) {
			t.Errorf("HEAD as %q: %d, ran %v", roles, w.Code, ran)
		}
	}
}

func TestTheLedgerSeesEachGuard(t *testing.T) {
	var got []string
	for _, route := range routes(t, func(*http.Request) {}).Routes() {
		got = append(got, route.String())
	}
	want := `DELETE /users/{id}	any role admin|root, permission users:delete
GET /notes/{id}	any permission users:write|(owner)
GET /users/me	permission users:read
PATCH /content/{id}	any permission posts:edit|users:write
POST /moderate/	role moderator
PUT /users/{id}	permission users:read users:write`
	if ledger := strings.Join(got, "\n"); ledger != want {
		t.Errorf("the ledger is\n%s\nwant\n%s", ledger, want)
	}

	a := newApp()
	e := a.engine(t, rbac.Config{})
	for _, test := range []struct {
		guarded func(http.Handler) http.Handler
		want    guard.Requirement
	}{
		{e.Require(a.read), guard.Requirement{Kind: guard.KindPermission, Values: []string{"users:read"}}},
		{e.RequireAny(a.read), guard.Requirement{Kind: guard.KindPermission, Values: []string{"users:read"}, Any: true}},
		{e.RequireRole("user"), guard.Requirement{Kind: guard.KindRole, Values: []string{"user"}, Any: true}},
	} {
		got := guard.Requirements(test.guarded(nothing))
		if fmt.Sprint(got) != fmt.Sprint([]guard.Requirement{test.want}) || got[0].Any != test.want.Any {
			t.Errorf("requires %+v, want %+v", got, test.want)
		}
	}
}

func TestAGuardThatIsUsedWronglyPanics(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	load := func(*http.Request) (rbac.Object, error) { return rbac.Object{}, nil }
	for _, test := range []struct {
		name string
		use  func()
		want string
	}{
		{"Require of nothing", func() { e.Require() }, "rbac: Require needs a permission"},
		{"RequireAny of nothing", func() { e.RequireAny() }, "rbac: RequireAny needs a permission"},
		{"RequireRole of nothing", func() { e.RequireRole() }, "rbac: RequireRole needs a role"},
		{"RequireRole of an unknown role", func() { e.RequireRole("user", "supervisor") }, `rbac: RequireRole("supervisor"): the policy does not have the role`},
		{"RequireRole of a blank role", func() { e.RequireRole("") }, `RequireRole("")`},
		{"RequireAny with the zero Permission", func() { e.RequireAny(a.read, rbac.Permission{}) }, `rbac: RequireAny("")`},
		{"Owned with the zero Permission", func() { e.Owned(rbac.Permission{}, load) }, `rbac: Owned("")`},
		{"Owned without a loader", func() { e.Owned(a.read, nil) }, "rbac: Owned needs a loader"},
		{"a guard of no handler", func() { e.Require(a.read)(nil) }, "guard: no handler"},
	} {
		t.Run(test.name, func(t *testing.T) { contains(t, panics(t, test.use), test.want) })
	}
}

func TestAGuardKeepsWhatItWasGiven(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	permissions := []rbac.Permission{a.remove}
	roles := []string{"admin"}
	all, any, role := e.Require(permissions...), e.RequireAny(permissions...), e.RequireRole(roles...)
	permissions[0], roles[0] = a.read, "user"
	for name, guarded := range map[string]func(http.Handler) http.Handler{"Require": all, "RequireAny": any, "RequireRole": role} {
		t.Run(name, func(t *testing.T) { ask(caller("user"), guarded).is(t, 403) })
	}
}

func TestCheckRoleCountsInheritedRoles(t *testing.T) {
	a := newApp()
	e := a.engine(t, rbac.Config{})
	for _, test := range []struct {
		roles, asked string
		want         bool
	}{
		{"user", "user", true},
		{"admin", "user", true},
		{"admin unknown", "user", true}, // not from memory
		{"user", "admin", false},
		{"user unknown", "admin", false},
		{"root", "admin", false},
		{"auditor", "moderator", true},
		{"user", "admin user", true},
		{"root user", "admin moderator", false},
		{"unknown", "unknown", false},
	} {
		err := e.CheckRole(as(caller(strings.Fields(test.roles)...)), strings.Fields(test.asked)...)
		if (err == nil) != test.want {
			t.Errorf("%s asked for any of %s: %v", test.roles, test.asked, err)
		}
		if err != nil {
			contains(t, err.Error(), "403 forbidden", "has none of the roles")
		}
	}
}
