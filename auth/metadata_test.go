package auth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/token"
)

// issuing returns a server that issues tokens under the given name.
func issuing(t testing.TB, name string) *auth.Server {
	t.Helper()
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte(accessSecret))})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: name, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t)
	s, err := auth.New(h.store, tokens, auth.Config{Sessions: h.store, RefreshKeys: []guard.Secret{refreshSecret}, Revoker: h.revoked})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var everywhere = auth.Metadata{
	TokenEndpoint:         "https://auth.example/token",
	RevocationEndpoint:    "https://auth.example/revoke",
	IntrospectionEndpoint: "https://auth.example/introspect",
	JWKSURI:               "https://auth.example/jwks",
	Scopes:                []string{"read", "write"},
}

func metadata(t testing.TB, name string, m auth.Metadata) answer {
	t.Helper()
	handler, err := issuing(t, name).Metadata(m)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, handler, httptest.NewRequest("GET", "/", nil))
}

func TestRFC8414Section2Metadata(t *testing.T) {
	a := metadata(t, issuer, everywhere)
	want := `{"issuer":"https://auth.example","token_endpoint":"https://auth.example/token","jwks_uri":"https://auth.example/jwks",` +
		`"scopes_supported":["read","write"],"response_types_supported":[],"grant_types_supported":["refresh_token"],` +
		`"token_endpoint_auth_methods_supported":["none"],"revocation_endpoint":"https://auth.example/revoke",` +
		`"revocation_endpoint_auth_methods_supported":["none"],"introspection_endpoint":"https://auth.example/introspect",` +
		`"introspection_endpoint_auth_methods_supported":["Bearer"]}`
	if a.raw != want {
		t.Errorf("the document is\n%s, want\n%s", a.raw, want)
	}
}

func TestRFC8414Section2ClientsAuthenticateInTheWaysThatAreListed(t *testing.T) {
	h := newHost(t, withClients)
	handler, err := h.server.Metadata(everywhere)
	if err != nil {
		t.Fatal(err)
	}
	a := answerOf(t, handler, httptest.NewRequest("GET", "/", nil))
	for _, name := range []string{"token_endpoint_auth_methods_supported", "revocation_endpoint_auth_methods_supported"} {
		if got := fmt.Sprint(a.json[name]); got != "[none client_secret_basic client_secret_post]" {
			t.Errorf("%s is %s", name, got)
		}
	}
	if got := fmt.Sprint(a.json["introspection_endpoint_auth_methods_supported"]); got != "[Bearer]" {
		t.Errorf("who introspects shows %s", got)
	}
}

func TestRFC8414Section2PasswordGrantIsNotListed(t *testing.T) {
	if a := metadata(t, issuer, everywhere); strings.Contains(a.raw, "password") {
		t.Errorf("the document is %s", a.raw)
	}
}

func TestRFC8414Section2IssuerIsHTTPSWithoutQueryOrFragment(t *testing.T) {
	for name, ok := range map[string]bool{
		"https://auth.example": true, "https://auth.example/": true, "https://auth.example/tenant": true, "https://auth.example:8443": true,
		"http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost": true, "HTTPS://auth.example": true,
		"http://auth.example": false, "http://localhost.example": false, "http://127.0.0.1.example": false, "ftp://auth.example": false,
		"https://auth.example?": false, "https://auth.example?a=b": false, "https://auth.example#": false, "https://auth.example#a": false,
		"https://": false, "https://:443": false, "auth.example": false, "//auth.example": false, "https://me:pw@auth.example": false, "https://a b": false,
	} {
		_, err := issuing(t, name).Metadata(everywhere)
		if (err == nil) != ok {
			t.Errorf("the issuer %q: error %v", name, err)
		}
		m := everywhere
		m.IntrospectionEndpoint = name
		if _, err := issuing(t, issuer).Metadata(m); (err == nil) != ok {
			t.Errorf("the endpoint %q: error %v", name, err)
		}
		if _, err := (auth.ResourceMetadata{Resource: name, AuthorizationServers: []string{issuer}}).Handler(); (err == nil) != ok {
			t.Errorf("the resource %q: error %v", name, err)
		}
		if _, err := (auth.ResourceMetadata{Resource: audience, AuthorizationServers: []string{issuer, name}}).Handler(); (err == nil) != ok {
			t.Errorf("the authorization server %q: error %v", name, err)
		}
	}
	insecure := everywhere
	insecure.InsecureHTTP = true
	if _, err := issuing(t, "http://auth.example").Metadata(insecure); err != nil {
		t.Error(err)
	}
}

func TestRFC8414Section3_1PathOfTheMetadata(t *testing.T) {
	const at = "/.well-known/oauth-authorization-server"
	for name, want := range map[string]string{
		"https://auth.example":             at,
		"https://auth.example/":            at,
		"https://auth.example/tenant":      at + "/tenant",
		"https://auth.example/tenant/":     at + "/tenant",
		"https://auth.example:8443/a/b":    at + "/a/b",
		"https://auth.example/a%20b/%7Bc}": at + "/a%20b/%7Bc%7D",
		"auth.example":                     "", "": "", "https://:443": "", "https://auth.example?a": "", "https://auth.example#": "", ":": "",
	} {
		got, err := auth.MetadataPath(name)
		if (err == nil) != (want != "") || got != want {
			t.Errorf("MetadataPath(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestRFC8414Section3_2Response(t *testing.T) {
	a := metadata(t, issuer, auth.Metadata{TokenEndpoint: "https://auth.example/token"})
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", a.status, a.header)
	}
	// What is empty is left out, but for what section 2 requires.
	if len(a.json) != 5 {
		t.Errorf("the document is %s", a.raw)
	}
	if types, ok := a.json["response_types_supported"].([]any); !ok || len(types) != 0 {
		t.Errorf("response_types_supported is %v, want an empty list", a.json["response_types_supported"])
	}
}

func TestRFC8414Section3_3IssuerIsEqual(t *testing.T) {
	for _, name := range []string{issuer, issuer + "/", issuer + "/Tenant%2F1", "http://localhost:8080"} {
		if got := metadata(t, name, everywhere).text("issuer"); got != name {
			t.Errorf("the issuer is %q, want %q to the letter", got, name)
		}
	}
	h := newHost(t)
	if got := payloadOf(t, h.signedIn().access())["iss"]; got != issuer {
		t.Errorf("the tokens are of %v", got)
	}
}

func TestRFC9728Section2ResourceMetadata(t *testing.T) {
	handler, err := auth.ResourceMetadata{Resource: audience, AuthorizationServers: []string{issuer}, Scopes: []string{"read"}}.Handler()
	if err != nil {
		t.Fatal(err)
	}
	a := answerOf(t, handler, httptest.NewRequest("GET", "/", nil))
	want := `{"resource":"https://api.example","authorization_servers":["https://auth.example"],"scopes_supported":["read"],"bearer_methods_supported":["header"]}`
	if a.status != http.StatusOK || a.raw != want || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v\n%s, want\n%s", a.status, a.header, a.raw, want)
	}
}

// The slash that is all of the path goes, one at the end of a longer path stays.
func TestRFC9728Section3_1PathOfTheMetadata(t *testing.T) {
	const at = "/.well-known/oauth-protected-resource"
	for resource, want := range map[string]string{
		"https://api.example":       at,
		"https://api.example/":      at,
		"https://api.example/v1":    at + "/v1",
		"https://api.example/v1/":   at + "/v1/",
		"https://api.example/a%2Fb": at + "/a%2Fb",
		"api.example":               "", "https://api.example?a": "",
	} {
		got, err := auth.ResourceMetadataPath(resource)
		if (err == nil) != (want != "") || got != want {
			t.Errorf("ResourceMetadataPath(%q) = %q, %v; want %q", resource, got, err, want)
		}
	}
}

func TestRFC9728Section3_3ResourceIsEqual(t *testing.T) {
	for _, resource := range []string{audience, audience + "/", audience + "/V1/%7Euser"} {
		handler, err := auth.ResourceMetadata{Resource: resource, AuthorizationServers: []string{issuer}}.Handler()
		if err != nil {
			t.Fatal(err)
		}
		if got := answerOf(t, handler, httptest.NewRequest("GET", "/", nil)).text("resource"); got != resource {
			t.Errorf("the resource is %q, want %q to the letter", got, resource)
		}
	}
}

func TestMetadataInAMux(t *testing.T) {
	var seen []guard.Event
	document, err := issuing(t, issuer+"/a b/{c}").Metadata(everywhere)
	if err == nil {
		var path string
		if path, err = auth.MetadataPath(issuer + "/a b/{c}"); err != nil {
			t.Fatal(err)
		}
		mux := guard.NewMux(guard.Hooks{})
		mux.Handle(path, document)
		if got := mux.Routes()[0].String(); got != path+"\tpublic (authorization server metadata)" {
			t.Errorf("the ledger says %s", got)
		}
		if a := answerOf(t, mux, httptest.NewRequest("GET", path, nil)); a.status != http.StatusOK || a.text("issuer") != issuer+"/a b/{c}" {
			t.Errorf("%d %s", a.status, a.raw)
		}
	}
	hooks := guard.Hooks{
		Deny:    func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) { w.Write([]byte(`{"ours":true}`)) },
		Observe: hear(&seen),
	}
	document, err = auth.ResourceMetadata{Resource: audience, AuthorizationServers: []string{issuer}, Hooks: hooks}.Handler()
	if err != nil {
		t.Fatal(err)
	}
	a := answerOf(t, document, httptest.NewRequest("POST", "/", nil))
	if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "GET, HEAD" || a.raw != `{"ours":true}` || len(seen) != 1 {
		t.Errorf("%d %v %s, %d events", a.status, a.header, a.raw, len(seen))
	}
	w := httptest.NewRecorder()
	document.ServeHTTP(w, httptest.NewRequest("HEAD", "/", nil))
	if w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) {
		t.Errorf("HEAD: %d", w.Code)
	}
}

func TestMetadataMistakesAreToldAtOnce(t *testing.T) {
	_, err := issuing(t, "http://auth.example").Metadata(auth.Metadata{JWKSURI: "x", RevocationEndpoint: "https://a#b"})
	for _, want := range []string{"Issuer", "TokenEndpoint is empty", "JWKSURI", "RevocationEndpoint"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, and does not tell of %s", err, want)
		}
	}
	_, err = auth.ResourceMetadata{}.Handler()
	for _, want := range []string{"Resource:", "AuthorizationServers is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, and does not tell of %s", err, want)
		}
	}
}
