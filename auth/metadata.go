package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
)

// Metadata is the metadata of a [Server] (RFC 8414). Empty URLs are left out.
type Metadata struct {
	TokenEndpoint, RevocationEndpoint, IntrospectionEndpoint, JWKSURI string

	// Scopes are the scopes to publish.
	Scopes []string

	// InsecureHTTP allows http URLs of other hosts. An attacker on the network can
	// then direct clients to other endpoints.
	InsecureHTTP bool
}

// Metadata returns the handler of the document for the path [MetadataPath]. It
// omits the password grant, which is for first-party applications only (RFC 9700
// section 2.4). The error lists every mistake.
func (s *Server) Metadata(m Metadata) (http.Handler, error) {
	var errs []error
	check := func(name, value string) {
		if value == "" {
			return
		}
		if err := checkURL(value, m.InsecureHTTP); err != nil {
			errs = append(errs, fmt.Errorf("auth: %s: %w", name, err))
		}
	}
	if m.TokenEndpoint == "" {
		errs = append(errs, errors.New("auth: Metadata.TokenEndpoint is empty, want the URL of Server.Token"))
	}
	check("the token.Issuer's Issuer", s.tokens.Name())
	check("Metadata.TokenEndpoint", m.TokenEndpoint)
	check("Metadata.RevocationEndpoint", m.RevocationEndpoint)
	check("Metadata.IntrospectionEndpoint", m.IntrospectionEndpoint)
	check("Metadata.JWKSURI", m.JWKSURI)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	clientAuth := []string{"none"}
	if s.config.Clients != nil {
		clientAuth = append(clientAuth, "client_secret_basic", "client_secret_post")
	}
	document := struct {
		Issuer        string   `json:"issuer"`
		Token         string   `json:"token_endpoint"`
		JWKS          string   `json:"jwks_uri,omitempty"`
		Scopes        []string `json:"scopes_supported,omitempty"`
		ResponseTypes []string `json:"response_types_supported"`
		Grants        []string `json:"grant_types_supported"`
		TokenAuth     []string `json:"token_endpoint_auth_methods_supported"`
		Revocation    string   `json:"revocation_endpoint,omitempty"`
		RevokeAuth    []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
		Introspection string   `json:"introspection_endpoint,omitempty"`
		IntrospectBy  []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	}{
		Issuer: s.tokens.Name(),
		Token:  m.TokenEndpoint,
		JWKS:   m.JWKSURI,
		Scopes: m.Scopes,
		// There is no authorization endpoint. Section 2 requires the member and
		// section 3.2 forbids one without elements; clients check the former.
		ResponseTypes: []string{},
		Grants:        []string{"refresh_token"},
		TokenAuth:     clientAuth,
		Revocation:    m.RevocationEndpoint,
		Introspection: m.IntrospectionEndpoint,
	}
	if m.RevocationEndpoint != "" {
		document.RevokeAuth = clientAuth
	}
	if m.IntrospectionEndpoint != "" {
		document.IntrospectBy = []string{"Bearer"}
	}
	return serveDocument("authorization server metadata", document, s.config.Hooks)
}

// MetadataPath returns the path of an issuer's metadata (RFC 8414 section 3.1),
// escaped as a pattern of a guard.Mux.
func MetadataPath(issuer string) (string, error) {
	path, err := pathOf(issuer)
	if err != nil {
		return "", err
	}
	return "/.well-known/oauth-authorization-server" + strings.TrimSuffix(path, "/"), nil
}

// ResourceMetadata is the metadata of a protected resource (RFC 9728).
// token.VerifierConfig.ResourceMetadata puts its URL into challenges.
type ResourceMetadata struct {
	// Resource is the URL of the resource exactly as clients use it, the audience
	// of its tokens. Required.
	Resource string

	// AuthorizationServers are the issuers of accepted tokens. Required.
	AuthorizationServers []string

	// Scopes are the scopes to publish.
	Scopes []string

	// InsecureHTTP allows http URLs of other hosts; see Metadata.InsecureHTTP.
	InsecureHTTP bool

	// Hooks renders refusals and receives events.
	Hooks guard.Hooks
}

// Handler returns the handler of the document for the path [ResourceMetadataPath],
// public in the route ledger. The error lists every mistake.
func (m ResourceMetadata) Handler() (http.Handler, error) {
	var errs []error
	if err := checkURL(m.Resource, m.InsecureHTTP); err != nil {
		errs = append(errs, fmt.Errorf("auth: ResourceMetadata.Resource: %w", err))
	}
	if len(m.AuthorizationServers) == 0 {
		errs = append(errs, errors.New("auth: ResourceMetadata.AuthorizationServers is empty, want the issuers whose tokens are accepted"))
	}
	for _, issuer := range m.AuthorizationServers {
		if err := checkURL(issuer, m.InsecureHTTP); err != nil {
			errs = append(errs, fmt.Errorf("auth: ResourceMetadata.AuthorizationServers: %w", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return serveDocument("protected resource metadata", struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Scopes   []string `json:"scopes_supported,omitempty"`
		Methods  []string `json:"bearer_methods_supported"`
	}{m.Resource, m.AuthorizationServers, m.Scopes, []string{"header"}}, m.Hooks)
}

// ResourceMetadataPath returns the path of a resource's metadata (RFC 9728 section
// 3.1). The path "/" of a resource is dropped; a longer path keeps its final slash.
func ResourceMetadataPath(resource string) (string, error) {
	path, err := pathOf(resource)
	if err != nil {
		return "", err
	}
	if path == "/" {
		path = ""
	}
	return "/.well-known/oauth-protected-resource" + path, nil
}

// pathOf returns the path of a URL, as it is escaped there.
func pathOf(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#") {
		return "", fmt.Errorf("auth: %q is not a URL with a host, and without a query or a fragment", s)
	}
	return u.EscapedPath(), nil
}

// checkURL checks the requirements of RFC 8414 section 2 on an issuer and of RFC 9728
// section 1.2 on a resource. All other URLs here must meet them too.
func checkURL(s string, insecureHTTP bool) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil:
		return fmt.Errorf("%q is not a URL, want one such as https://auth.example.com", s)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		return fmt.Errorf("%q has a query or a fragment, want none", s)
	case u.Scheme == "https", u.Scheme == "http" && (insecureHTTP || isLoopback(u.Hostname())):
		return nil
	}
	return fmt.Errorf("%q is not an https URL", s)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serveDocument returns the handler of a JSON document that does not change.
func serveDocument(why string, document any, hooks guard.Hooks) (http.Handler, error) {
	body, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return guard.Public(why)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			hooks.Refuse(w, r, badRequest(http.StatusMethodNotAllowed, "This endpoint takes GET requests."))
			return
		}
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("Access-Control-Allow-Origin", "*") // it is public, and browsers look for it too
		w.Write(body)
	})), nil
}
