package blacklist_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

// Where this package meets those that ask it. Only tests import them.

// A signedToken is a token, its verifier, and its key.
type signedToken struct {
	spelled  string
	key      token.Key
	verifier *token.Verifier
}

func newToken(t testing.TB, alg token.Algorithm, revoked blacklist.Revoker, subject string) signedToken {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := token.GenerateKey(alg)
	must(err)
	ring, err := token.NewKeyring(key)
	must(err)
	signer, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: "https://api.example.com"})
	must(err)
	s, err := signer.Issue(t.Context(), &identity.Principal{Subject: subject, Session: "session of " + subject}, nil)
	must(err)
	v, err := token.NewVerifier(ring, token.VerifierConfig{Issuer: issuer, Audience: "https://api.example.com", Revoker: revoked})
	must(err)
	return signedToken{s, key, v}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// spellings returns every string that a lenient reader takes for the token:
// other values of the bits that base64url leaves over, padding, line breaks and
// spaces, and for ECDSA the other signature that each signature has.
func (s signedToken) spellings(t testing.TB) (all []string) {
	parts := strings.Split(s.spelled, ".")
	with := func(i int, part string) {
		other := slices.Clone(parts)
		other[i] = part
		all = append(all, strings.Join(other, "."))
	}
	respell := func(i int, part string) {
		unused := map[int]int{0: 0, 2: 15, 3: 3}[len(part)%4]
		last := strings.IndexByte(alphabet, part[len(part)-1])
		for bits := 1; bits <= unused; bits++ {
			with(i, part[:len(part)-1]+string(alphabet[last&^unused|(last^bits)&unused]))
		}
		for _, extra := range []string{"=", "==", "\n", "\r\n", "\r", " ", "\t"} {
			with(i, part+extra)
			with(i, extra+part)
			with(i, part[:len(part)/2]+extra+part[len(part)/2:])
		}
	}
	for i, part := range parts {
		respell(i, part)
	}
	all = append(all, s.spelled+"\n", "\n"+s.spelled, s.spelled+" ", s.spelled+"=")
	if public, ok := publicECDSA(s.key); ok {
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		half := len(signature) / 2
		other := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(signature[half:]))
		twin := append(slices.Clone(signature[:half]), other.FillBytes(make([]byte, half))...)
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(twin[:half]), other) {
			t.Fatal("(r, n-s) is no signature: the test is wrong")
		}
		spelled := base64.RawURLEncoding.EncodeToString(twin)
		with(2, spelled)
		respell(2, spelled)
	}
	return all
}

func publicECDSA(k token.Key) (*ecdsa.PublicKey, bool) {
	if k.Signer.IsZero() {
		return nil, false
	}
	p, ok := k.Signer.Public().(*ecdsa.PublicKey)
	return p, ok
}

// lenient is how a service that is not as strict reads a token after it has
// verified it: what it asks the Revoker about.
func lenient(spelled string) (*identity.Principal, bool) {
	parts := strings.Split(spelled, ".")
	if len(parts) != 3 {
		return nil, false
	}
	clean := strings.NewReplacer("=", "", "\n", "", "\r", "", " ", "", "\t", "").Replace(parts[1])
	b, err := base64.RawURLEncoding.DecodeString(clean)
	var claims struct{ Iss, Jti, Sid, Sub string }
	if err != nil || json.Unmarshal(b, &claims) != nil {
		return nil, false
	}
	return &identity.Principal{Issuer: claims.Iss, Credential: claims.Jti, Session: claims.Sid, Subject: claims.Sub}, true
}

// R1: after the logout of one spelling of a token all are refused.
func TestEverySpellingOfATokenDies(t *testing.T) {
	for _, alg := range []token.Algorithm{token.HS256, token.ES256, token.RS256, token.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			revoked := newReplica(t, openLog(t, logPath(t)), patient)
			s := newToken(t, alg, revoked, "alice")
			p, err := s.verifier.Verify(t.Context(), s.spelled)
			if err != nil {
				t.Fatal(err)
			}
			all := s.spellings(t)
			accepted := 0
			for _, spelled := range all {
				if _, err := s.verifier.Verify(t.Context(), spelled); err == nil {
					accepted++
				}
			}
			t.Logf("%d spellings, of which %d are accepted before the logout", len(all), accepted)

			mustRevoke(t, revoked, identity.Revocation{Credential: p.Credential, Expires: p.Expires.Add(time.Minute)})
			asked := 0
			for _, spelled := range append(all, s.spelled) {
				if _, err := s.verifier.Verify(t.Context(), spelled); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("%q: %v, want it refused", spelled, err)
				}
				if who, ok := lenient(spelled); ok {
					asked++
					wantAnswer(t, revoked, who, "revoked", fmt.Sprintf("as a lenient service reads %q", spelled))
				}
			}
			if asked < len(all)/2 {
				t.Errorf("a lenient service reads only %d of %d spellings: the test proves little", asked, len(all))
			}
			if _, err := s.verifier.Verify(t.Context(), s.spelled); !errors.Is(err, token.ErrRevoked) {
				t.Errorf("the token itself: %v, want ErrRevoked", err)
			}
		})
	}
}

// R3, with tokens: revoke all, sign in within the same second, a thousand times.
func TestTokensOfTheSecondOfARevokeAll(t *testing.T) {
	revoked := newReplica(t, new(blacklist.MemoryLog), patient)
	s := newToken(t, token.HS256, revoked, "alice")
	ring, err := token.NewKeyring(s.key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: "https://api.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	signIn := func() string {
		out, err := signer.Issue(t.Context(), &identity.Principal{Subject: "alice"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	nextMicrosecond := func() {
		for now := time.Now().Truncate(time.Microsecond); time.Now().Truncate(time.Microsecond).Equal(now); {
		}
	}
	for round := range 1000 {
		stolen := signIn()
		nextMicrosecond()
		mustRevoke(t, revoked, identity.Revocation{Subject: "alice", Before: time.Now()})
		nextMicrosecond()
		fresh := signIn()
		if _, err := s.verifier.Verify(t.Context(), stolen); !errors.Is(err, token.ErrRevoked) {
			t.Fatalf("round %d: a token from before: %v, want ErrRevoked", round, err)
		}
		if _, err := s.verifier.Verify(t.Context(), fresh); err != nil {
			t.Fatalf("round %d: a token from after: %v", round, err)
		}
	}
}

// A store that is down is 503, and a revoked token 401, whoever asks.
func TestOutageThroughTheVerifier(t *testing.T) {
	log := &flaky{Log: new(blacklist.MemoryLog)}
	revoked, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s := newToken(t, token.HS256, revoked, "alice")
	hooks := guard.Hooks{}
	h := hooks.Identify(s.verifier)(hooks.Authenticated(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	get := func() *http.Response {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+s.spelled)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	if w := get(); w.StatusCode != http.StatusServiceUnavailable || w.Header.Get("Retry-After") == "" || w.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("before the log was read: %d %v, want 503, when to try again, and no challenge", w.StatusCode, w.Header)
	}
	if err := revoked.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := get(); w.StatusCode != http.StatusOK {
		t.Errorf("when it was read: %d, want 200", w.StatusCode)
	}
	mustRevoke(t, revoked, identity.Revocation{Session: "session of alice"})
	if w := get(); w.StatusCode != http.StatusUnauthorized || !strings.Contains(w.Header.Get("WWW-Authenticate"), "invalid_token") {
		t.Errorf("after the logout: %d %v, want 401 invalid_token", w.StatusCode, w.Header)
	}
}

// One event ends everything that somebody has: their sessions' tokens and their
// API keys, of several issuers, on every node.
func TestOneEventStopsEveryCredentialOfAUser(t *testing.T) {
	log := openLog(t, logPath(t))
	nodes := []*blacklist.Replica{newReplica(t, log, patient), newReplica(t, log, patient), newReplica(t, log, patient)}
	issuers := []string{issuer, "apikey:acme", "apikey:acme-test"}
	var theirs, others []*identity.Principal
	for _, iss := range issuers {
		for i := range 4 {
			p := &identity.Principal{Issuer: iss, Subject: "alice", Tenant: "acme", Credential: fmt.Sprint(iss, i), IssuedAt: time.Now().Add(-time.Duration(i) * 24 * time.Hour)}
			if iss == issuer {
				p.Session = fmt.Sprint("session ", i)
			}
			theirs = append(theirs, p)
			other := *p
			other.Subject, other.Credential, other.Session = "bob", "other "+p.Credential, "other "+p.Session
			others = append(others, &other)
		}
	}
	numbers, err := log.Append(t.Context(), someEntries(t, 1)...)
	if err != nil {
		t.Fatal(err)
	}
	var event []identity.Revocation
	for _, iss := range issuers {
		event = append(event, identity.Revocation{Issuer: iss, Subject: "alice", Before: time.Now().Add(time.Microsecond)})
	}
	if err := nodes[0].RevokeAll(t.Context(), event...); err != nil {
		t.Fatal(err)
	}
	if _, last, err := log.Since(t.Context(), numbers, 10); err != nil || last == numbers {
		t.Errorf("Since leads to %d (%v): nothing was recorded", last, err)
	}
	for i, node := range nodes {
		if err := node.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, p := range theirs {
			wantAnswer(t, node, p, "revoked", fmt.Sprintf("node %d, issuer %s", i, p.Issuer))
		}
		for _, p := range others {
			wantAnswer(t, node, p, "good", fmt.Sprintf("node %d, issuer %s, of somebody else", i, p.Issuer))
		}
	}
	wrong := append(slices.Clone(event), identity.Revocation{})
	wrong[0].Subject = "carol"
	if err := nodes[0].RevokeAll(t.Context(), wrong...); err == nil {
		t.Error("an event with a mistake was recorded")
	}
	wantAnswer(t, nodes[0], &identity.Principal{Issuer: issuer, Subject: "carol"}, "good", "a part of an event with a mistake")
	if err := nodes[0].RevokeAll(t.Context()); err != nil {
		t.Errorf("an event without revocations: %v", err)
	}
}

// A change of the password ends every session but the one it was made in.
func TestChangeOfPassword(t *testing.T) {
	path := logPath(t)
	f := openLog(t, path)
	revoked := newReplica(t, f, patient)
	before := time.Now()
	of := func(session string, issued time.Time) *identity.Principal {
		return &identity.Principal{Issuer: issuer, Subject: "alice", Session: session, IssuedAt: issued}
	}
	change := before.Add(time.Second)
	mustRevoke(t, revoked, identity.Revocation{Subject: "alice", Before: change, Spare: "own", Expires: change.Add(time.Hour)})
	closeLog(t, f)
	for when, r := range map[string]blacklist.Revoker{"at once": revoked, "after a restart": newReplica(t, openLog(t, path), patient)} {
		wantAnswer(t, r, of("own", before), "good", when)
		wantAnswer(t, r, of("thief", before), "revoked", when)
		wantAnswer(t, r, of("", before), "revoked", when)
		wantAnswer(t, r, of("new", change.Add(time.Second)), "good", when)
	}
}

// Guard.

// answering is a Revoker with one answer.
type answering struct {
	revoked bool
	err     error
}

func (a answering) Revoked(context.Context, *identity.Principal) (bool, error) {
	return a.revoked, a.err
}

// An asker is what a Guard needs.
type asker interface {
	Revoked(ctx context.Context, p *identity.Principal) (bool, error)
}

func TestGuard(t *testing.T) {
	alice := &identity.Principal{Issuer: "demo", Subject: "alice", Session: "s", Credential: "c"}
	for _, tt := range []struct {
		name      string
		revoker   asker
		caller    *identity.Principal
		scheme    string
		status    int
		challenge string
		code      string
		event     guard.EventName
	}{
		{"a caller who is not revoked gets through", answering{}, alice, "", 200, "", "", ""},
		{"a caller who is revoked is refused", answering{revoked: true}, alice, "", 401, `Bearer error="invalid_token"`, "invalid_token", guard.EventTokenReuse},
		{"with the scheme of the host", answering{revoked: true}, alice, "ApiKey", 401, `ApiKey error="invalid_token"`, "invalid_token", guard.EventTokenReuse},
		{"nobody is refused", answering{}, nil, "", 401, "Bearer", "unauthenticated", guard.EventLoginFail},
		{"nobody is refused although nothing can be asked", answering{err: errDown}, nil, "", 401, "Bearer", "unauthenticated", guard.EventLoginFail},
		{"a store that is down refuses everybody", answering{err: errDown}, alice, "", 503, "", "unavailable", guard.EventUnavailable},
		{"even one that says true and fails", answering{revoked: true, err: errDown}, alice, "", 503, "", "unavailable", guard.EventUnavailable},
		{"a 401 of the store's own is no verdict on the caller", answering{err: guard.Unauthenticated()}, alice, "", 503, "", "unavailable", guard.EventUnavailable},
		{"nor is a nil Denial", answering{err: (*guard.Denial)(nil)}, alice, "", 503, "", "unavailable", guard.EventUnavailable},
		{"nor is ErrInactive", answering{err: guard.ErrInactive}, alice, "", 503, "", "unavailable", guard.EventUnavailable},
		{"a caller without an issuer cannot be judged", new(blacklist.Memory), &identity.Principal{Subject: "alice"}, "", 503, "", "unavailable", guard.EventUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var events []guard.Event
			g, err := blacklist.NewGuard(tt.revoker, blacklist.GuardConfig{Scheme: tt.scheme, Hooks: guard.Hooks{
				Observe: func(_ context.Context, e guard.Event) { events = append(events, e) },
			}})
			if err != nil {
				t.Fatal(err)
			}
			ran := false
			h := g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ran = true }))
			r := httptest.NewRequest("GET", "/", nil)
			if tt.caller != nil {
				r = r.WithContext(identity.NewContext(r.Context(), tt.caller))
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || ran != (tt.status == 200) || w.Header().Get("WWW-Authenticate") != tt.challenge {
				t.Errorf("status %d, the handler ran: %t, challenge %q; want %d and %q", w.Code, ran, w.Header().Get("WWW-Authenticate"), tt.status, tt.challenge)
			}
			if (w.Header().Get("Retry-After") != "") != (tt.status == 503) {
				t.Errorf("Retry-After is %q with status %d", w.Header().Get("Retry-After"), w.Code)
			}
			if body := w.Body.String(); tt.code != "" && !strings.Contains(body, `"code":"`+tt.code+`"`) || strings.Contains(body, "refused") || strings.Contains(body, "session") {
				t.Errorf("body %q, want the code %q and no reason", body, tt.code)
			}
			if tt.event == "" && len(events) != 0 || tt.event != "" && (len(events) != 1 || events[0].Name != tt.event) {
				t.Errorf("events %v, want %q", events, tt.event)
			}
			if tt.status == 401 && tt.caller != nil && !errors.Is(g.Check(r.Context()), blacklist.ErrRevoked) {
				t.Errorf("Check = %v, want ErrRevoked in it", g.Check(r.Context()))
			}
			if tt.status == 503 && !strings.HasPrefix(events[0].Denial.Err.Error(), "blacklist: checking whether a credential is revoked: ") {
				t.Errorf("the log says %q", events[0].Denial.Err)
			}
		})
	}
}

func TestOptionalGuardLetsAnonymousRequestsPass(t *testing.T) {
	alice := identity.NewContext(t.Context(), &identity.Principal{Issuer: issuer, Subject: "alice"})
	ambiguous := identity.NewContext(alice, &identity.Principal{Issuer: issuer, Subject: "bob"})
	for _, tt := range []struct {
		name    string
		ctx     context.Context
		revoker answering
		status  int // of the refusal, 0 for none
	}{
		{"an anonymous request", t.Context(), answering{err: errDown}, 0},
		{"a caller", alice, answering{}, 0},
		{"a revoked caller", alice, answering{revoked: true}, 401},
		{"a caller while the revoker is down", alice, answering{err: errDown}, 503},
		{"two callers", ambiguous, answering{}, 400},
	} {
		if tt.status == 400 && !identity.Ambiguous(ambiguous) {
			continue
		}
		g, err := blacklist.NewGuard(tt.revoker, blacklist.GuardConfig{Optional: true})
		if err != nil {
			t.Fatal(err)
		}
		err = g.Check(tt.ctx)
		d, refused := errors.AsType[*guard.Denial](err)
		if refused != (tt.status != 0) || refused && d.Status != tt.status || !refused && err != nil {
			t.Errorf("%s: %v, want %d", tt.name, err, tt.status)
		}
		h := guard.Optional("anyone may read")(g.Handler(http.NotFoundHandler()))
		if got := fmt.Sprint(guard.Requirements(h)); !strings.Contains(got, "not revoked") || strings.Contains(got, "caller") {
			t.Errorf("the ledger shows %s", got)
		}
	}
}

func TestGuardOfAClientThatIsGone(t *testing.T) {
	g, err := blacklist.NewGuard(answering{err: context.Canceled}, blacklist.GuardConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(identity.NewContext(t.Context(), &identity.Principal{Issuer: "demo"}))
	cancel()
	if err := g.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Check = %v, want the error of the context, which raises no alarm", err)
	}
}

func TestNewGuardReportsEveryMistake(t *testing.T) {
	_, err := blacklist.NewGuard(nil, blacklist.GuardConfig{Scheme: "Bearer realm=x"})
	for _, want := range []string{"blacklist: the revoker is nil; pass", `blacklist: GuardConfig.Scheme is "Bearer realm=x"; use`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestGuardInTheLedger(t *testing.T) {
	r := newReplica(t, new(blacklist.MemoryLog), patient)
	for want, revoker := range map[string]blacklist.Revoker{
		"[caller check not revoked]":                      r,
		"[caller check not revoked, as the log says now]": r.Direct(),
	} {
		g, err := blacklist.NewGuard(revoker, blacklist.GuardConfig{})
		if err != nil {
			t.Fatal(err)
		}
		h := g.Handler(http.NotFoundHandler())
		if got := fmt.Sprint(guard.Requirements(h)); got != want {
			t.Errorf("the ledger says %s, want %s", got, want)
		}
	}
}

// A host with a login of its own, and a dangerous route: on the other node the
// caller was revoked a moment ago.
func TestGuardDirectOnOneRoute(t *testing.T) {
	log := new(blacklist.MemoryLog)
	here, there := newReplica(t, log, patient), newReplica(t, log, patient)
	serve := func(revoker blacklist.Revoker) int {
		g, err := blacklist.NewGuard(revoker, blacklist.GuardConfig{})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("DELETE", "/users/1", nil)
		w := httptest.NewRecorder()
		g.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w,
			r.WithContext(identity.NewContext(r.Context(), &identity.Principal{Issuer: issuer, Subject: "admin"})))
		return w.Code
	}
	mustRevoke(t, there, identity.Revocation{Subject: "admin"})
	if got := serve(here); got != 200 {
		t.Errorf("before the next reading, on a usual route: %d, want 200", got)
	}
	if got := serve(here.Direct()); got != 401 {
		t.Errorf("on a dangerous route: %d, want 401", got)
	}
	if got := serve(here); got != 401 {
		t.Errorf("after that on any route: %d, want 401", got)
	}
}
