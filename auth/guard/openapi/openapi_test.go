package openapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/guard/openapi"
)

var config = openapi.Config{Schemes: []openapi.Scheme{
	openapi.PasswordFlow("password", "/token", "/token/refresh", map[string]string{"read:items": "Read items"}),
	openapi.HeaderKey("key", "ApiKey", "X-API-Key"),
}}

// both are the schemes of the routes below.
var both = []string{"Bearer", "ApiKey"}

func need(kind guard.Kind, values ...string) guard.Requirement {
	return guard.Requirement{Kind: kind, Values: values}
}

// operation merges one route into a document and returns its operation.
func operation(t *testing.T, document string, route guard.Route, method, path string) map[string]any {
	t.Helper()
	merged, err := openapi.Merge([]byte(document), []guard.Route{route}, config)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]map[string]any
	}
	if err := json.Unmarshal(merged, &doc); err != nil {
		t.Fatal(err)
	}
	found, ok := doc.Paths[path][method]
	if !ok {
		t.Fatalf("there is no %s %s in\n%s", method, path, merged)
	}
	return found
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

const empty = `{"openapi":"3.1.0","info":{"title":"t","version":"1"}}`

func TestSecurityOfAnOperationIsWhatTheRouteDemands(t *testing.T) {
	for _, tt := range []struct {
		name     string
		needs    []guard.Requirement
		security string
		statuses string
	}{
		{"public", []guard.Requirement{need(guard.KindPublic, "why")}, `[]`, ``},
		{"public and limited", []guard.Requirement{need(guard.KindPublic, "why"), need(guard.KindLimit, "5 per minute")}, `[]`, `429`},
		{"a caller", []guard.Requirement{need(guard.KindCaller)}, `[{"password":[]},{"key":[]}]`, `400 401 503`},
		{"optional", []guard.Requirement{need(guard.KindOptional, "why")}, `[{},{"password":[]},{"key":[]}]`, `400 401 503`},
		{"one scheme", []guard.Requirement{need(guard.KindScheme, "ApiKey")}, `[{"key":[]}]`, `400 401 503`},
		{"a scope", []guard.Requirement{need(guard.KindScope, "read:items")}, `[{"password":["read:items"]},{"key":["read:items"]}]`, `400 401 403 503`},
		{"scopes, one of them twice", []guard.Requirement{need(guard.KindScope, "b", "a"), need(guard.KindScope, "b")}, `[{"password":["a","b"]},{"key":["a","b"]}]`, `400 401 403 503`},
		{"one of two scopes", []guard.Requirement{need(guard.KindScheme, "ApiKey"), {Kind: guard.KindScope, Values: []string{"a", "b"}, Any: true}}, `[{"key":["a"]},{"key":["b"]}]`, `400 401 403 503`},
		{"a role and a limit", []guard.Requirement{need(guard.KindRole, "admin"), need(guard.KindLimit, "5 per minute")}, `[{"password":[]},{"key":[]}]`, `400 401 403 429 503`},
		{"a factor", []guard.Requirement{need(guard.KindFactor, "mfa")}, `[{"password":[]},{"key":[]}]`, `400 401 503`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			route := guard.Route{Pattern: "GET /x/{$}", Requirements: tt.needs}
			if tt.needs[0].Kind != guard.KindPublic {
				route.Schemes = both
			}
			got := operation(t, empty, route, "get", "/x/")
			if text(got["security"]) != tt.security {
				t.Errorf("security is %s, want %s", text(got["security"]), tt.security)
			}
			var statuses []string
			for status := range got["responses"].(map[string]any) {
				statuses = append(statuses, status)
			}
			slices.Sort(statuses)
			if strings.Join(statuses, " ") != tt.statuses {
				t.Errorf("the responses are %v, want %s", statuses, tt.statuses)
			}
		})
	}
}

func TestRequirementsAreInTheExtension(t *testing.T) {
	route := guard.Route{Pattern: "DELETE /items/{id}", Schemes: both, Requirements: []guard.Requirement{
		need(guard.KindLimit, "5 per minute"), need(guard.KindCaller), need(guard.KindScope, "write:items"), need(guard.KindScope, "write:items"),
		{Kind: guard.KindPermission, Values: []string{"delete:items", "(owner)"}, Any: true},
	}}
	got := operation(t, empty, route, "delete", "/items/{id}")
	const want = `[{"kind":"limit","values":["5 per minute"]},{"kind":"scope","values":["write:items"]},{"any":true,"kind":"permission","values":["delete:items","(owner)"]}]`
	if text(got["x-requirements"]) != want {
		t.Errorf("x-requirements is %s, want %s", text(got["x-requirements"]), want)
	}
}

func TestWhatTheHostWroteStays(t *testing.T) {
	const written = `{"openapi":"3.1.1","info":{"title":"t","version":"1"},"x-own":12345678901234567890,
		"paths":{"/token":{"post":{"summary":"Sign in","responses":{"200":{"description":"ok"},"429":{"description":"own"}}}},
			"/x/{id}":{"parameters":[{"name":"id"}],"put":{"security":[{"old":[]}],"responses":{}}}},
		"components":{"schemas":{"Problem":{"type":"string"}},"responses":{"Forbidden":{"description":"own"}},"securitySchemes":{"mine":{"type":"http"}}}}`
	merged, err := openapi.Merge([]byte(written), []guard.Route{
		{Pattern: "/token", Requirements: []guard.Requirement{need(guard.KindPublic, "sign-in"), need(guard.KindLimit, "5 per minute")}},
		{Pattern: "PUT example.com/x/{id...}", Schemes: both, Requirements: []guard.Requirement{need(guard.KindRole, "admin")}},
	}, config)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`12345678901234567890`, `"summary": "Sign in"`, `"mine"`, `"description": "own"`, `"type": "string"`, `"name": "id"`, `"tokenUrl": "/token"`} {
		if !strings.Contains(string(merged), want) {
			t.Errorf("%s is lost in\n%s", want, merged)
		}
	}
	if strings.Contains(string(merged), `"old"`) {
		t.Error("the security is not that of the ledger")
	}
	again, err := openapi.Merge(merged, nil, config)
	if err != nil || string(again) != string(merged) {
		t.Errorf("merging twice changes the document (%v)", err)
	}
}

// "GET /users/{name}" and "DELETE /users/{id}" are two patterns, and one path.
func TestPatternsThatDifferInNamesAreOnePath(t *testing.T) {
	routes := []guard.Route{
		{Pattern: "DELETE /users/{id}", Schemes: both, Requirements: []guard.Requirement{need(guard.KindRole, "admin")}},
		{Pattern: "GET /users/{name}", Schemes: both, Requirements: []guard.Requirement{need(guard.KindCaller)}},
		{Pattern: "GET /users/me", Schemes: both, Requirements: []guard.Requirement{need(guard.KindCaller)}},
	}
	merged, err := openapi.Merge([]byte(empty), routes, config)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(merged, &doc); err != nil || len(doc.Paths) != 2 || len(doc.Paths["/users/{id}"]) != 2 {
		t.Errorf("the paths are %v (%v)", doc.Paths, err)
	}
	if lines, err := openapi.Diff(merged, routes, config); err != nil || lines != nil {
		t.Errorf("it differs: %q, %v", lines, err)
	}
}

func TestMistakesAreNamedAllAtOnce(t *testing.T) {
	_, err := openapi.Merge([]byte(empty), []guard.Route{
		{Pattern: "GET /a", Schemes: []string{"DPoP"}, Requirements: []guard.Requirement{need(guard.KindCaller)}},
		{Pattern: "GET /b", Requirements: []guard.Requirement{need(guard.KindCaller)}},
	}, openapi.Config{Schemes: []openapi.Scheme{{Name: "a b"}, openapi.BearerToken("x"), openapi.BearerToken("x")}})
	for _, want := range []string{`Schemes[0].Name is "a b"`, "Schemes[0].Challenge", "Schemes[0].Definition", `Schemes[2].Name is "x" a second time`, `"DPoP"`, `"GET /b" is guarded`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	for document, want := range map[string]string{
		``:                                   "not a JSON object",
		`[]`:                                 "not a JSON object",
		`{"openapi":"3.0.3"}`:                `"3.0.3"`,
		`{"openapi":"3.1.0"}{}`:              "after its end",
		`{"openapi":"3.1.0","paths":[]}`:     `"paths"`,
		`{"openapi":"3.1.0","components":1}`: `"components"`,
		`{"openapi":"3.1.0","paths":{"/a":{"get":[]}}}`:              `"get"`,
		`{"openapi":"3.1.0","paths":{"/a":{"get":{"responses":1}}}}`: `"responses"`,
	} {
		_, err := openapi.Merge([]byte(document), []guard.Route{{Pattern: "GET /a", Requirements: []guard.Requirement{need(guard.KindPublic, "x")}}}, config)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error that names %s", document, err, want)
		}
	}
	// A pattern for every method says nothing about which there are.
	if _, err := openapi.Merge([]byte(empty), []guard.Route{{Pattern: "/a", Requirements: []guard.Requirement{need(guard.KindPublic, "x")}}}, config); err == nil {
		t.Error("a pattern without a method and without an operation was merged")
	}
}

func TestDiffNamesEveryDifference(t *testing.T) {
	routes := []guard.Route{
		{Pattern: "GET /a", Schemes: both, Requirements: []guard.Requirement{need(guard.KindScope, "read:items")}},
		{Pattern: "POST /b", Requirements: []guard.Requirement{need(guard.KindPublic, "x"), need(guard.KindLimit, "1 per hour")}},
	}
	merged, err := openapi.Merge([]byte(empty), routes, config)
	if err != nil {
		t.Fatal(err)
	}
	if lines, err := openapi.Diff(merged, routes, config); err != nil || lines != nil {
		t.Errorf("a merged document differs: %q, %v", lines, err)
	}
	changed := slices.Clone(routes)
	changed[0].Requirements = []guard.Requirement{need(guard.KindScope, "write:items"), need(guard.KindRole, "admin")}
	for _, tt := range []struct {
		name   string
		doc    string
		routes []guard.Route
		says   string
	}{
		{"a route more", string(merged), append(slices.Clone(routes), guard.Route{Pattern: "GET /c", Requirements: []guard.Requirement{need(guard.KindPublic, "x")}}), "GET /c: a route without an operation"},
		{"a route less", string(merged), routes[:1], "POST /b: an operation without a route"},
		{"another scope", string(merged), changed, "GET /a: security is"},
		{"another role", string(merged), changed, "GET /a: x-requirements is"},
		{"a status less", strings.Replace(string(merged), `"429"`, `"418"`, 1), routes, "POST /b: no response 429"},
	} {
		if lines, err := openapi.Diff([]byte(tt.doc), tt.routes, config); err != nil || !strings.Contains(strings.Join(lines, "\n"), tt.says) {
			t.Errorf("%s: got %q (%v), want %q", tt.name, lines, err, tt.says)
		}
	}
}

// FuzzMerge: whatever the document is, Merge returns an error or a document that
// does not differ from the routes.
func FuzzMerge(f *testing.F) {
	f.Add(empty)
	f.Add(`{"openapi":"3.1.0","paths":{"/a":{"get":{"responses":{"401":{}},"security":[]},"post":{}},"/b":{"post":null}}}`)
	f.Add(`{"openapi":"3.1.0","components":{"responses":{"Forbidden":1},"schemas":null}}`)
	routes := []guard.Route{
		{Pattern: "GET /a", Schemes: both, Requirements: []guard.Requirement{need(guard.KindScope, "read:items"), need(guard.KindRole, "admin")}},
		{Pattern: "POST /b", Requirements: []guard.Requirement{need(guard.KindPublic, "x")}},
	}
	f.Fuzz(func(t *testing.T, document string) {
		merged, err := openapi.Merge([]byte(document), routes, config)
		if err != nil {
			if merged != nil {
				t.Error("there is an error and a document")
			}
			return
		}
		lines, err := openapi.Diff(merged, routes, config)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(line, "an operation without a route") {
				t.Error(line)
			}
		}
	})
}

func Example() {
	hooks := guard.Hooks{}
	mux := guard.NewMux(hooks)
	mux.Handle("GET /hello", guard.Public("a greeting")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	written := `{"openapi":"3.1.0","info":{"title":"Hello","version":"1"},
		"paths":{"/hello":{"get":{"summary":"Greet","responses":{"200":{"description":"A greeting"}}}}}}`
	merged, err := openapi.Merge([]byte(written), mux.Routes(), openapi.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	lines, err := openapi.Diff(merged, mux.Routes(), openapi.Config{})
	fmt.Println(len(lines), errors.Is(err, nil))
	// Output: 0 true
}
