// Package issuers has settings of package token for common identity providers.
//
//	preset := issuers.Keycloak("https://sso.example.com/realms/demo", "orders-api")
//	preset.Verifier.Revoker = revoked // or InsecureNoRevoker
//	preset.Verifier.Profile.Roles = []token.Grant{{
//		Claim: token.Path{"resource_access", "orders-api", "roles"},
//		Names: map[string]string{"editor": "editor"},
//	}}
//	verifier, keys, err := preset.NewVerifier()
//
// A [Preset] grants nothing: tokens state the identity of the caller, and what the
// host adds to the Profile. The settings are of 2026-12-01. Providers change their
// tokens: test with a token of your tenant.
package issuers

import (
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/token"
)

// A Preset configures a Verifier and its keys. The host may change it.
type Preset struct {
	Keys     token.RemoteConfig
	Verifier token.VerifierConfig
}

// NewVerifier returns the Verifier and its keys. Call their Fetch method before the
// first request.
func (p Preset) NewVerifier() (*token.Verifier, *token.Remote, error) {
	keys, err := token.NewRemote(p.Keys)
	if err != nil {
		return nil, nil, err
	}
	v, err := token.NewVerifier(keys, p.Verifier)
	if err != nil {
		return nil, nil, err
	}
	return v, keys, nil
}

func preset(issuer, audience, keys string, profile token.Profile) Preset {
	return Preset{
		Keys:     token.RemoteConfig{URL: keys, Algorithms: []token.Algorithm{token.RS256}},
		Verifier: token.VerifierConfig{Issuer: issuer, Audience: audience, Foreign: true, Profile: profile},
	}
}

// is returns a condition, which no token meets without values.
func is(name string, values ...string) token.Condition {
	c := token.Condition{Claim: token.Path{name}}
	for _, v := range values {
		c.Is = append(c.Is, v)
	}
	if len(c.Is) == 0 {
		c.Is = []any{""}
	}
	return c
}

var jwtOnly = []string{"JWT"}

// Keycloak accepts access tokens of a realm, for example
// "https://sso.example.com/realms/demo". audience is the client ID of this service,
// which an audience mapper must add. Scopes are in "scope", roles in realm_access >
// roles and resource_access > CLIENT > roles.
func Keycloak(realmURL, audience string) Preset {
	// Source: Keycloak 26, JsonWebToken.java, AccessToken.java, upgrading guide of 25.0.
	return preset(realmURL, audience, realmURL+"/protocol/openid-connect/certs", token.Profile{
		Types:       jwtOnly,
		ClientClaim: token.Path{"azp"},
		Require:     []token.Condition{is("typ", "Bearer")}, // the claim; ID tokens have "ID"
	})
}

// Entra accepts version 2.0 access tokens of one tenant of Microsoft Entra ID for the
// application with the ID app. List Scopes of the claim "scp" or Roles of the claim
// "roles": RequireGrant rejects tokens without either, which each application of the
// tenant can obtain.
func Entra(tenant, app string) Preset {
	// Source: Microsoft identity platform, access token claims reference, signing key rollover.
	p := entra(app, tenant)
	p.Verifier.Issuer = "https://login.microsoftonline.com/" + tenant + "/v2.0"
	p.Verifier.Profile.Require = append(p.Verifier.Profile.Require, is("tid", tenant))
	return p
}

// EntraTenants accepts tokens as [Entra] does, of each of the tenants.
func EntraTenants(app string, tenants ...string) Preset {
	p := entra(app, "common")
	p.Verifier.Issuer = "https://login.microsoftonline.com/{tenantid}/v2.0"
	p.Verifier.Profile.Tenants = tenants
	return p
}

func entra(app, keysOf string) Preset {
	return preset("", app, "https://login.microsoftonline.com/"+keysOf+"/discovery/v2.0/keys", token.Profile{
		Types:           jwtOnly,
		ClientClaim:     token.Path{"azp"},
		CredentialClaim: token.Path{"uti"},
		TenantClaim:     token.Path{"tid"},
		KeyIssuers:      true,
		RequireGrant:    true,
		Require:         []token.Condition{is("ver", "2.0")},
	})
}

// Auth0 accepts access tokens of the default profile for the API audience; domain is
// the tenant domain or a custom domain. Scopes are in "scope", the rights of the user
// in "permissions". For the RFC 9068 profile, use a Profile with Scopes and
// TenantClaim only.
func Auth0(domain, audience string) Preset {
	// Source: Auth0, access token profiles.
	issuer := "https://" + domain + "/"
	return preset(issuer, audience, issuer+".well-known/jwks.json", token.Profile{
		Types:              jwtOnly,
		ClientClaim:        token.Path{"azp"},
		CredentialOptional: true, // the profile has no jti
		TenantClaim:        token.Path{"org_id"},
	})
}

// Okta accepts access tokens of a custom authorization server, for example
// "https://example.okta.com/oauth2/default". Scopes are in "scp". The subject is the
// login, which can be given to another user; the claim "uid" is permanent.
func Okta(issuer, audience string) Preset {
	// Source: Okta developer documentation, OAuth claims, key rotation.
	return preset(issuer, audience, issuer+"/v1/keys", token.Profile{
		NoType:      true,
		ClientClaim: token.Path{"cid"},
	})
}

// CognitoAccess accepts access tokens of a user pool for the app client. They have no
// audience: all services of the client accept them. Groups are in "cognito:groups".
func CognitoAccess(region, pool, client string) Preset {
	// Source: Amazon Cognito developer guide, aws-jwt-verify.
	p := cognito(region, pool, client, "access")
	p.Verifier.Profile.AudienceClaim = token.Path{"client_id"}
	return p
}

// CognitoID accepts ID tokens of a user pool for the app client.
func CognitoID(region, pool, client string) Preset {
	p := cognito(region, pool, client, "id")
	p.Verifier.Profile.IDTokens = true
	p.Verifier.Profile.ClientOptional = true
	return p
}

func cognito(region, pool, client, use string) Preset {
	issuer := "https://cognito-idp." + region + ".amazonaws.com/" + pool
	return preset(issuer, client, issuer+"/.well-known/jwks.json", token.Profile{
		NoType:       true,
		SessionClaim: token.Path{"origin_jti"},
		Require:      []token.Condition{is("token_use", use)},
	})
}

// Google accepts ID tokens of accounts of the Workspace domain hostedDomain for an
// OAuth client. The claim "hd" proves the domain; the e-mail address does not.
func Google(client, hostedDomain string) Preset {
	// Source: Google, OpenID Connect, google-auth-library-nodejs.
	p := google(client)
	p.Verifier.Profile.ClientClaim = token.Path{"azp"}
	p.Verifier.Profile.TenantClaim = token.Path{"hd"}
	p.Verifier.Profile.Require = []token.Condition{
		is("hd", hostedDomain),
		{Claim: token.Path{"email_verified"}, Is: []any{true}},
	}
	return p
}

// GoogleServiceAccount accepts ID tokens of the service accounts with these numeric
// IDs. Each customer of Google Cloud can obtain a token with any audience.
func GoogleServiceAccount(audience string, subjects ...string) Preset {
	// Source: Google, service-to-service authentication.
	p := google(audience)
	p.Verifier.Profile.ClientOptional = true
	p.Verifier.Profile.Require = []token.Condition{is("sub", subjects...)}
	return p
}

func google(audience string) Preset {
	p := preset("https://accounts.google.com", audience, "", token.Profile{
		Types:              jwtOnly,
		IDTokens:           true,
		IssuerAliases:      []string{"accounts.google.com"},
		CredentialOptional: true,
	})
	p.Keys.Issuer, p.Keys.KeyHosts = "https://accounts.google.com", []string{"www.googleapis.com"}
	return p
}

// Firebase accepts ID tokens of a project, also of anonymous sign-ins; refuse them
// with a Condition on firebase > sign_in_provider.
func Firebase(project string) Preset {
	// Source: firebase-admin-go, token_verifier.go.
	return preset("https://securetoken.google.com/"+project, project,
		"https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com", token.Profile{
			Types:              jwtOnly,
			IDTokens:           true,
			ClientOptional:     true,
			CredentialOptional: true,
		})
}

// GitHubActions accepts tokens of workflows in the repositories with these IDs, of
// the owner with the ID ownerID. Each repository on GitHub can obtain a token with
// any audience. Workflows of pull requests are accepted too, unless a Condition on
// "ref" or "environment" excludes them.
func GitHubActions(audience, ownerID string, repositoryIDs ...string) Preset {
	// Source: GitHub documentation, OpenID Connect reference.
	const issuer = "https://token.actions.githubusercontent.com"
	p := preset(issuer, audience, issuer+"/.well-known/jwks", token.Profile{
		Types:          jwtOnly,
		ClientOptional: true,
		Require:        []token.Condition{is("repository_owner_id", ownerID), is("repository_id", repositoryIDs...)},
	})
	p.Verifier.MaxLifetime = time.Hour
	return p
}

// Kubernetes accepts projected service account tokens of the namespaces of a cluster;
// the namespace becomes the tenant. If the discovery endpoint needs credentials, set
// Keys.Client. Tokens of deleted pods remain valid until they expire.
func Kubernetes(issuer, audience string, namespaces ...string) Preset {
	// Source: Kubernetes, pkg/serviceaccount/claims.go, KEP-4193.
	namespace := is("", namespaces...)
	namespace.Claim = token.Path{"kubernetes.io", "namespace"}
	p := preset(issuer, audience, "", token.Profile{
		NoType:             true,
		ClientOptional:     true,
		CredentialOptional: true, // jti since Kubernetes 1.32
		SubjectPrefix:      "system:serviceaccount:",
		TenantClaim:        token.Path{"kubernetes.io", "namespace"},
		Require:            []token.Condition{namespace},
	})
	p.Keys.Issuer = issuer
	return p
}

// CloudflareAccess accepts the tokens that Cloudflare Access adds to requests for the
// application with the audience tag; teamDomain is, for example,
// "example.cloudflareaccess.com". Service tokens have the client ID as subject and
// client.
func CloudflareAccess(teamDomain, audienceTag string) Preset {
	// Source: Cloudflare One documentation, application token, validating JSON web tokens.
	issuer := "https://" + teamDomain
	p := preset(issuer, audienceTag, issuer+"/cdn-cgi/access/certs", token.Profile{
		Types:              jwtOnly,
		SubjectClaims:      []token.Path{{"sub"}, {"common_name"}},
		ClientClaim:        token.Path{"common_name"},
		ClientOptional:     true,
		CredentialOptional: true,
		Require:            []token.Condition{is("type", "app")},
	})
	p.Verifier.Header = "Cf-Access-Jwt-Assertion"
	return p
}

// GoogleIAP accepts the tokens that Google Identity-Aware Proxy adds to requests.
// audience names the backend, for example "/projects/123/global/backendServices/456".
// Only the audience excludes tokens of other customers of Google Cloud, which share
// the keys.
func GoogleIAP(audience string) Preset {
	// Source: Google Cloud, securing your app with signed headers.
	p := preset("https://cloud.google.com/iap", audience, "https://www.gstatic.com/iap/verify/public_key-jwk", token.Profile{
		Types:              jwtOnly,
		ClientOptional:     true,
		CredentialOptional: true,
		TenantClaim:        token.Path{"hd"},
	})
	p.Keys.Algorithms = []token.Algorithm{token.ES256}
	p.Verifier.Header = "X-Goog-Iap-Jwt-Assertion"
	p.Verifier.MaxLifetime = 11 * time.Minute
	return p
}

// Supabase accepts access tokens of a project, for example "https://abc.supabase.co",
// that signs with ES256 or RS256. Never grant from user_metadata, which users write.
func Supabase(projectURL string) Preset {
	// Source: Supabase, JWT claims reference, supabase/auth.
	issuer := strings.TrimSuffix(projectURL, "/") + "/auth/v1"
	p := preset(issuer, "authenticated", issuer+"/.well-known/jwks.json", token.Profile{
		Types:              jwtOnly,
		ClientClaim:        token.Path{"client_id"},
		ClientOptional:     true,
		CredentialOptional: true,
		SessionClaim:       token.Path{"session_id"},
		Require:            []token.Condition{{Claim: token.Path{"is_anonymous"}, Is: []any{false}}},
	})
	p.Keys.Algorithms = []token.Algorithm{token.ES256, token.RS256}
	return p
}
