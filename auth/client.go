package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A Client is a registered application of the host.
type Client struct {
	// ID is the client_id: public, never empty, and never [identity.FirstParty].
	ID string

	// Secrets are hashes from [NewClientSecret]. Each secret is accepted, so that
	// secrets can be rotated. Required unless Public is set.
	Secrets []SecretHash

	// Public marks a client that cannot keep a secret (RFC 6749 section 2.1) and
	// does not authenticate, for example a mobile app. An empty Secrets does not
	// imply Public. Default: the client must authenticate.
	Public bool

	// Grants are the grants that the client may use: "password", "refresh_token",
	// and names of [WayIn]. Default: none.
	Grants identity.Set
}

// Format prints the ID under every verb, and never Secrets. fmt does not call it
// for a Client in an unexported field.
func (c Client) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "client %q", c.ID) }

// LogValue returns the ID and whether the client is public.
func (c Client) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", c.ID), slog.Bool("public", c.Public))
}

// A SecretHash is the SHA-256 of a client's secret. It protects random secrets, not
// secrets that a person has chosen.
type SecretHash [sha256.Size]byte

// NewClientSecret returns a new secret of 256 random bits, and its hash.
func NewClientSecret() (secret string, hash SecretHash) {
	random := make([]byte, 32)
	rand.Read(random)
	secret = base64.RawURLEncoding.EncodeToString(random)
	return secret, sha256.Sum256([]byte(secret))
}

// A ClientStore loads registered clients. It is safe for concurrent use.
type ClientStore interface {
	// ClientByID returns the client, or an error that wraps [ErrNotFound]. Other
	// errors are answered 503. The caller does not modify the Client.
	ClientByID(ctx context.Context, id string) (*Client, error)
}

// An origin is where a request for tokens comes from.
type origin struct {
	*Client
	room int // bytes that the access token may have, to fit into a cookie; zero: any
}

// ownApplication is the client of requests without a client_id.
var ownApplication = &Client{ID: identity.FirstParty, Grants: identity.NewSet("password", "refresh_token")}

// client returns the application that sent a request (RFC 6749 section 2.3.1), from
// HTTP Basic or from client_id and client_secret in the form. A request without either
// is from the host's own application, and so is every request without Config.Clients.
func (s *Server) client(r *http.Request, f form) (*Client, error) {
	if s.config.Clients == nil {
		return ownApplication, nil
	}
	id, secret, err := clientCredentials(r, f)
	switch {
	case err != nil:
		return nil, err
	case id == "":
		return ownApplication, nil
	case id == identity.FirstParty:
		return nil, invalidClient(id, "the client_id stands for requests without a client")
	}
	found, err := s.clientByID(r.Context(), id)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(secret))
	switch {
	case found == nil:
		return nil, invalidClient(id, "no such client")
	case found.Public && len(found.Secrets) > 0:
		return nil, unavailable("looking a client up", fmt.Errorf("client %q is public and has secrets", found.ID))
	case found.Public && secret == "":
		return found, nil
	}
	// All secrets are compared, so that the time does not reveal which matched.
	match := 0
	for _, one := range found.Secrets {
		match |= subtle.ConstantTimeCompare(one[:], hash[:])
	}
	if match == 0 || secret == "" {
		return nil, invalidClient(id, "wrong client secret, or none")
	}
	return found, nil
}

// byClient is respond for the client that sent the request.
func byClient[A any](s *Server, respond func(*http.Request, form, origin) (A, error)) func(*http.Request, form) (A, error) {
	return func(r *http.Request, f form) (a A, err error) {
		c, err := s.client(r, f)
		if err != nil {
			return a, err
		}
		return respond(r, f, origin{Client: c})
	}
}

// clientCredentials returns the client credentials of a request. The empty Basic that
// some libraries send is ignored.
func clientCredentials(r *http.Request, f form) (id, secret string, _ error) {
	id, secret = f.get("client_id"), f.get("client_secret")
	lines := r.Header["Authorization"]
	if len(lines) > 1 {
		return "", "", badRequest(http.StatusBadRequest, "The request carries more than one Authorization header.")
	}
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Basic") {
		user, password, ok := r.BasicAuth()
		if !ok {
			return "", "", invalidClient(id, "malformed Basic credentials")
		}
		// Section 2.3.1: both were encoded like the values of a form.
		user, errUser := url.QueryUnescape(user)
		password, errPassword := url.QueryUnescape(password)
		switch {
		case errUser != nil || errPassword != nil:
			return "", "", invalidClient(id, "malformed Basic credentials")
		case user == "" && password == "":
		case secret != "":
			// Section 2.3 forbids two methods at once.
			return "", "", badRequest(http.StatusBadRequest, "The request authenticates its client in more than one way.")
		case id != "" && id != user:
			return "", "", badRequest(http.StatusBadRequest, "The request names two clients.")
		case user == "":
			return "", "", invalidClient(user, "a client secret without a client")
		default:
			return user, password, nil
		}
	}
	if id == "" && secret != "" {
		return "", "", invalidClient(id, "a client_secret without a client_id")
	}
	return id, secret, nil
}

// invalidClient refuses a client that is unknown or has not authenticated. The
// 401 has a challenge however the client tried: RFC 6749 section 5.2 demands it
// where it used Basic, RFC 9110 section 15.5.2 everywhere.
func invalidClient(id, reason string) *guard.Denial {
	return &guard.Denial{
		Status:     http.StatusUnauthorized,
		Code:       codeInvalidClient,
		Detail:     "The client is not known, or has not authenticated.",
		Challenges: []guard.Challenge{{Scheme: "Basic", Realm: "token endpoint"}},
		Event:      guard.EventLoginFail,
		Login:      id,
		Err:        errors.New(reason),
	}
}

// may returns the refusal of a client that may not use a grant type.
func (c *Client) may(grant string) error {
	if c.Grants.Has(grant) {
		return nil
	}
	return &guard.Denial{
		Status: http.StatusBadRequest,
		Code:   codeUnauthorizedClient,
		Detail: "The client may not use this grant type.",
		Event:  guard.EventAuthzFail,
		Login:  c.ID,
		Err:    errors.New("the client may not use the grant type " + grant),
	}
}

// issuedTo returns the refusal of a token that was issued to another client (RFC 6749
// sections 5.2 and 10.4), with detail.
func (c *Client) issuedTo(p *identity.Principal, detail string) error {
	if p.Client == c.ID {
		return nil
	}
	return aboutPrincipal{invalidGrant(detail, errors.New("the token was issued to another client")), p}
}
