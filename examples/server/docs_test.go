package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/auth/guard/openapi"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestDocumentAndRoutesAreTheSame(t *testing.T) {
	s := openSite(t)
	got := s.do(t, "GET", "/openapi.json", "")
	got.is(t, http.StatusOK)
	// With the limits, as a server has that is not under test.
	limited := testSettings
	limited.insecureNoLimits = false
	app := must(newApp(s.db, s.keys, quick(), limited, s.app.log))
	lines, err := openapi.Diff(app.document, app.mux.Routes(), openapiConfig)
	if err != nil || len(lines) > 0 {
		t.Errorf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	// Before it was merged it knew every operation, so each has a text of its own.
	lines = must(openapi.Diff(openapiFile, app.mux.Routes(), openapiConfig))
	for _, line := range lines {
		if strings.Contains(line, "without a route") || strings.Contains(line, "without an operation") {
			t.Errorf("openapi.json: %s", line)
		}
	}
	// Scopes too: those that routes demand, and those that Authorize offers.
	demanded := make(map[string]bool)
	for _, route := range app.mux.Routes() {
		for _, q := range route.Requirements {
			if q.Kind == "scope" {
				for _, scope := range q.Values {
					demanded[scope] = true
				}
			}
		}
	}
	demanded["admin"] = true // of administrators' tokens: a check, and no scope of the route
	for scope := range demanded {
		if scopeNames[scope] == "" {
			t.Errorf("the document does not offer the scope %s", scope)
		}
	}
	for scope := range scopeNames {
		if !demanded[scope] {
			t.Errorf("the document offers the scope %s, which no route demands", scope)
		}
	}
}

func TestDocumentLeadsNowhere(t *testing.T) {
	s := openSite(t)
	var doc map[string]any
	check(json.Unmarshal(s.document, &doc))
	ids := make(map[string]bool)
	for path, item := range doc["paths"].(map[string]any) {
		for method, value := range item.(map[string]any) {
			op := value.(map[string]any)
			id, _ := op["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s %s has the operationId %q", method, path, id)
			}
			ids[id] = true
			// Each parameter of the path is declared.
			for _, match := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				list, _ := op["parameters"].([]any)
				if !slices.ContainsFunc(list, func(p any) bool { return p.(map[string]any)["name"] == match[1] }) {
					t.Errorf("%s %s does not declare %s", method, path, match[1])
				}
			}
		}
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				walk(at, one)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				target := any(doc)
				for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
					m, _ := target.(map[string]any)
					target = m[part]
				}
				if target == nil {
					t.Errorf("%s: %s leads nowhere", at, ref)
				}
			}
			for name, one := range v {
				walk(at+"/"+name, one)
			}
		}
	}
	walk("", doc)
}

// documented are the statuses of each operation in the document, by method and
// the pattern that matches its path.
func documented(document []byte) (*http.ServeMux, map[string]map[string]bool) {
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]map[string]any
		}
	}
	check(json.Unmarshal(document, &doc))
	mux, statuses := http.NewServeMux(), make(map[string]map[string]bool)
	for path, item := range doc.Paths {
		pattern := path
		if strings.HasSuffix(path, "/") {
			pattern += "{$}"
		}
		for method, op := range item {
			key := strings.ToUpper(method) + " " + pattern
			mux.Handle(key, http.NotFoundHandler())
			statuses[key] = make(map[string]bool)
			for status := range op.Responses {
				statuses[key][status] = true
			}
		}
	}
	return mux, statuses
}

func TestDocsAreAPageUnderAPolicyOfItsOwn(t *testing.T) {
	s := openSite(t)
	page := s.do(t, "GET", "/docs/", "")
	page.is(t, http.StatusOK)
	policy := page.header.Get("Content-Security-Policy")
	match := regexp.MustCompile(`'nonce-([^']+)'`).FindStringSubmatch(policy)
	if match == nil || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Fatalf("the policy is %s", policy)
	}
	if n := strings.Count(page.body, `<script nonce="`+match[1]+`"`); n != 2 || strings.Count(page.body, "<script") != n {
		t.Errorf("the page has %d scripts with the nonce:\n%s", n, page.body)
	}
	if again := s.do(t, "GET", "/docs/", ""); again.header.Get("Content-Security-Policy") == policy || again.header.Get("Cache-Control") != "no-store" {
		t.Error("the nonce is used twice, or the page may be kept")
	}
	for path, kind := range map[string]string{
		"/docs/swagger-ui.css": "text/css; charset=utf-8", "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8", "/docs/start.js": "text/javascript; charset=utf-8", "/docs/favicon-32x32.png": "image/png",
	} {
		if got := s.do(t, "GET", path, ""); got.status != 200 || got.header.Get("Content-Type") != kind || len(got.body) == 0 {
			t.Errorf("%s: %d %s", path, got.status, got.header.Get("Content-Type"))
		}
	}
	for _, path := range []string{"/docs/swagger-ui.css.map", "/docs/index.html", "/docs/..%2fx", "/docs/%2e%2e"} {
		if got := s.do(t, "GET", path, ""); got.status == http.StatusOK {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if got := s.do(t, "GET", "/docs", ""); got.header.Get("Location") != "/docs/" {
		t.Errorf("GET /docs: %d, Location %q", got.status, got.header.Get("Location"))
	}
	// The rest of the server keeps the policy for answers that are no page.
	if got := s.do(t, "GET", "/openapi.json", ""); !strings.HasPrefix(got.header.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(got.header.Get("Content-Security-Policy"), "nonce") {
		t.Errorf("the policy of /openapi.json is %s", got.header.Get("Content-Security-Policy"))
	}
}

// An observation is an answer that some test got.
type observation struct {
	method, path string
	status       int
}

// observed are those of all tests in this run.
var observed sync.Map

// ofAnyRoute are statuses that what stands in front of the routes answers with, or
// that the ledger documents.
var ofAnyRoute = map[int]bool{307: true, 308: true, 400: true, 401: true, 403: true, 405: true, 429: true, 431: true, 499: true, 500: true, 503: true}

// TestMain compares, when all tests have run, the statuses that they got with
// those of the document.
func TestMain(m *testing.M) {
	code := m.Run()
	all := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" && !testing.Short() &&
		flag.Lookup("test.list").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == ""
	if code == 0 && !comparedWithDocument(all) {
		code = 1
	}
	os.Exit(code)
}

func comparedWithDocument(all bool) bool {
	fine := true
	complain := func(format string, args ...any) {
		fine = false
		fmt.Printf(format+"\n", args...)
	}
	mux, statuses := documented(openapiFile)
	seen := make(map[string]map[string]bool)
	observed.Range(func(key, _ any) bool {
		o := key.(observation)
		if strings.Contains(o.path, "..") {
			return true // the mux of the server does not take it for another path
		}
		r := &http.Request{Method: o.method, URL: &url.URL{Path: o.path}}
		_, pattern := mux.Handler(r)
		if statuses[pattern] == nil {
			return true // no route, or a handler of the test's own
		}
		if seen[pattern] == nil {
			seen[pattern] = make(map[string]bool)
		}
		status := strconv.Itoa(o.status)
		seen[pattern][status] = true
		if !statuses[pattern][status] && !ofAnyRoute[o.status] {
			complain("openapi.json: %s answered %s, which is not documented", pattern, status)
		}
		return true
	})
	if !all {
		return fine
	}
	for pattern, list := range statuses {
		for status := range list {
			if n, _ := strconv.Atoi(status); !seen[pattern][status] && !ofAnyRoute[n] {
				complain("openapi.json: %s documents %s, which no test got", pattern, status)
			}
		}
	}
	return fine
}

// Each body that is documented has a type and a size.
func TestBodiesOfEachRouteAreOfTheirTypeAndSize(t *testing.T) {
	s := openSite(t)
	admin := bearer(s.signIn(t, "admin", s.keys.DemoPassword).Access)
	key := s.key(t, strings.TrimPrefix(admin, "Authorization: Bearer "), `{"name":"x"}`)
	comment := into[shownComment](t, s.do(t, "POST", "/comments/", `{"content":"x"}`, admin, jsonType), 201)
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody struct{ Content map[string]any }
		}
	}
	check(json.Unmarshal(s.document, &doc))
	bodies := 0
	for path, item := range doc.Paths {
		for method, op := range item {
			kind, wrong := jsonType, formType
			if op.RequestBody.Content == nil {
				continue
			}
			if op.RequestBody.Content["application/json"] == nil {
				kind, wrong = formType, "Content-Type: text/plain"
			}
			bodies++
			at := strings.NewReplacer("{username}", "alice", "{id}", map[bool]string{true: key.ID, false: strconv.FormatInt(comment.ID, 10)}[strings.HasPrefix(path, "/keys/")]).Replace(path)
			method = strings.ToUpper(method)
			headers := []string{admin}
			if strings.HasPrefix(path, "/token") {
				headers = nil
			}
			if got := s.do(t, method, at, "x=1", append(headers, wrong)...); got.status != http.StatusUnsupportedMediaType {
				t.Errorf("%s %s with another type: %d %s", method, at, got.status, got.body)
			}
			if got := s.do(t, method, at, strings.Repeat("x", 18<<10), append(headers, kind)...); got.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s %s with 18 KiB: %d %s", method, at, got.status, got.body)
			}
		}
	}
	if bodies < 15 {
		t.Errorf("only %d bodies are documented", bodies)
	}
}

// What the tests of each room do not come by.
func TestRefusalsThatAreRare(t *testing.T) {
	s := openSite(t)
	admin := s.signIn(t, "admin", s.keys.DemoPassword)
	proven := bearer(s.token(t, admin.Access, func(p *identity.Principal) { p.Factors = identity.NewSet("pwd", "otp") }))
	s.do(t, "DELETE", "/users/nobody/2fa", "", proven).has(t, "the factor of nobody", 404, "not_found")
	s.do(t, "DELETE", "/users/admin/2fa", "", proven).has(t, "one's own factor", 409, "own_account")
	s.do(t, "POST", "/users/admin/enable", "", proven).has(t, "enabling oneself", 409, "own_account")
	key := s.key(t, admin.Access, `{"name":"x"}`)
	for _, overlap := range []string{"-1", "2592001"} {
		s.do(t, "POST", "/keys/"+key.ID+"/rotate", `{"overlap":`+overlap+`}`, proven, jsonType).has(t, "an overlap of "+overlap, 422, "invalid_input")
	}
	made := s.do(t, "POST", "/comments/", `{"content":"x"}`, proven, jsonType)
	s.do(t, "PUT", made.header.Get("Location"), `{"content":""}`, proven, jsonType).has(t, "a comment without content", 422, "invalid_input")
}

// What Swagger UI sends when Authorize is pressed: the password flow, with a client
// of which neither the name nor the secret was filled in.
func TestAuthorizeOfTheDocsSignsIn(t *testing.T) {
	s := openSite(t)
	got := s.do(t, "POST", "/token", form("grant_type", "password", "username", "alice", "password", s.keys.DemoPassword, "scope", "read:items write:items"),
		formType, "Authorization: Basic Og==", "X-Requested-With: XMLHttpRequest", "Origin: "+s.url, "Sec-Fetch-Site: same-origin").tokens(t)
	s.do(t, "GET", "/items/", "", bearer(got.Access)).is(t, http.StatusOK)
	s.do(t, "POST", "/items/", `{"name":"x"}`, bearer(got.Access), jsonType).is(t, http.StatusCreated)
}

func TestTheDocumentHasTheLimitsOfEachRouteWithTheirNames(t *testing.T) {
	how := testSettings
	how.insecureNoLimits = false
	s := openSiteAs(t, how)
	document := into[struct {
		Paths map[string]map[string]struct {
			Requirements []struct {
				Kind   string
				Values []string
			} `json:"x-requirements"`
			Responses map[string]any
		}
	}](t, s.do(t, "GET", "/openapi.json", ""), 200)
	for _, tt := range []struct{ method, path, want string }{
		{"get", "/users/me", "caller 100 per second 6000 per minute"},
		{"post", "/token", "failed sign-in 5 per 15 minutes of a login from an address, 50 per 15 minutes of an address, 100 per day of a login, 600 per minute in all"},
		{"post", "/session/passkey", "failed sign-in 5 per 15 minutes of a login from an address, 50 per 15 minutes of an address, 100 per day of a login, 600 per minute in all"},
		{"post", "/users/", "register 20 per hour"},
		{"post", "/forgot/", "messages 30 per hour"},
		{"post", "/email/verify", "caller 100 per second 6000 per minute; messages 30 per hour"},
		{"get", "/limited/", "five 5 per minute"},
	} {
		route := document.Paths[tt.path][tt.method]
		var got []string
		for _, q := range route.Requirements {
			if q.Kind == "limit" {
				got = append(got, strings.Join(q.Values, " "))
			}
		}
		if strings.Join(got, "; ") != tt.want || route.Responses["429"] == nil {
			t.Errorf("%s %s: limits %q, want %q; responses %v", tt.method, tt.path, got, tt.want, route.Responses)
		}
	}
}
