package peers

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/go-webauthn/webauthn/protocol"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

const (
	rpID   = "example.com"
	origin = "https://example.com"
	issuer = "https://example.com"
)

// rounds is how many ceremonies are generated: PEER_ROUNDS, or a few.
func rounds(few int) int {
	if n, err := strconv.Atoi(os.Getenv("PEER_ROUNDS")); err == nil {
		return n
	}
	return few
}

// newParty returns a relying party that lets challenges be used again, so that
// one ceremony can be judged in many variants.
func newParty(t testing.TB, store passkey.Store) *party {
	t.Helper()
	return newPartyOf(t, store, rpID, origin)
}

func newPartyOf(t testing.TB, store passkey.Store, rpID, origin string) *party {
	t.Helper()
	p := new(party)
	rp, err := passkey.New(store, passkey.Config{
		RPID: rpID, Name: "Example", Origins: []string{origin}, Issuer: issuer,
		Keys: []guard.Secret{guard.NewSecret(bytes.Repeat([]byte("k"), 32))},
		Once: func(context.Context, [32]byte, time.Time) (bool, error) { return true, nil },
		User: func(_ context.Context, subject string) (passkey.User, error) {
			return passkey.User{Name: subject}, nil
		},
		Authorize: func(context.Context, *identity.Principal, string) error { return nil },
		Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
			if e.Denial != nil {
				p.reason = e.Denial.Err
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.RelyingParty = rp
	return p
}

// A party is our relying party, with the reason of its last refusal.
type party struct {
	*passkey.RelyingParty
	reason error
}

// register returns why a registration is refused.
func (p *party) register(created string) error {
	p.reason = errors.New("no reason")
	if w := call(p.Register(), created); w.Code != 201 {
		return p.reason
	}
	return nil
}

var ada = &identity.Principal{Issuer: issuer, Subject: "ada", Session: "s", Factors: identity.NewSet("pwd", "otp")}

func call(h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	p := *ada
	p.AuthTime = time.Now()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), &p)))
	return w
}

func prove(rp *party, assertion string) error {
	r := httptest.NewRequest("POST", "/", strings.NewReader(assertion))
	r.Header.Set("Content-Type", "application/json")
	_, err := rp.Prove(r)
	return err
}

// A ceremony is a registration and an assertion as a browser sends them, and what
// the peer needs to judge them.
type ceremony struct {
	created, asserted                string
	createChallenge, assertChallenge string
	credential                       []byte // the COSE key
	id                               []byte
	rpID, origin                     string
}

// generate makes a ceremony with an authenticator in software.
func generate(t testing.TB, rp *party, create, get func(options string) string) ceremony {
	t.Helper()
	c := ceremony{rpID: rpID, origin: origin}
	options := call(rp.RegisterOptions(), `{"proof":"x"}`).Body.String()
	c.createChallenge, c.created = challengeOf(t, options), create(options)
	if w := call(rp.Register(), c.created); w.Code != 201 {
		t.Fatalf("our registration: %d %s\n%s", w.Code, w.Body, c.created)
	}
	options = call(rp.SignInOptions(), "{}").Body.String()
	c.assertChallenge, c.asserted = challengeOf(t, options), get(options)
	c.readKey(t)
	return c
}

// readKey reads the key and the ID of the registration.
func (c *ceremony) readKey(t testing.TB) {
	t.Helper()
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(c.created))
	if err != nil {
		t.Fatalf("the peer cannot read the registration: %v\n%s", err, c.created)
	}
	c.credential = parsed.Response.AttestationObject.AuthData.AttData.CredentialPublicKey
	c.id = parsed.Response.AttestationObject.AuthData.AttData.CredentialID
}

func challengeOf(t testing.TB, options string) string {
	t.Helper()
	var o struct{ Challenge string }
	if err := json.Unmarshal([]byte(options), &o); err != nil || o.Challenge == "" {
		t.Fatalf("%v in %s", err, options)
	}
	return o.Challenge
}

// virtual returns the two sides of descope/virtualwebauthn.
func virtual(kind virtualwebauthn.KeyType) (create, get func(string) string) {
	rp := virtualwebauthn.RelyingParty{Name: "Example", ID: rpID, Origin: origin}
	authenticator := virtualwebauthn.NewAuthenticator()
	credential := virtualwebauthn.NewCredential(kind)
	// It leaves out leading zeros of coordinates, which RFC 9053 section 7.1.1
	// demands: such a key is malformed, and another one is made.
	whole := func() bool {
		data := credential.Key.AttestationData()
		return bytes.Contains(data, []byte("\x21\x58\x20")) && bytes.Contains(data, []byte("\x22\x58\x20"))
	}
	for kind == virtualwebauthn.KeyTypeEC2 && !whole() {
		credential = virtualwebauthn.NewCredential(kind)
	}
	create = func(options string) string {
		o, err := virtualwebauthn.ParseAttestationOptions(options)
		if err != nil {
			panic(err)
		}
		handle, err := base64.RawURLEncoding.DecodeString(o.UserID)
		if err != nil {
			handle = []byte(o.UserID)
		}
		authenticator.Options.UserHandle = handle
		authenticator.AddCredential(credential)
		return virtualwebauthn.CreateAttestationResponse(rp, authenticator, credential, *o)
	}
	get = func(options string) string {
		o, err := virtualwebauthn.ParseAssertionOptions(options)
		if err != nil {
			panic(err)
		}
		return virtualwebauthn.CreateAssertionResponse(rp, authenticator, credential, *o)
	}
	return create, get
}

// software returns the two sides of passkeytest.
func software() (create, get func(string) string) {
	a := passkeytest.New(origin)
	must := func(b []byte, err error) string {
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	return func(o string) string { return must(a.Create([]byte(o))) }, func(o string) string { return must(a.Get([]byte(o))) }
}

func TestGeneratedCeremoniesAreAcceptedByAll(t *testing.T) {
	sides := map[string]func() (create, get func(string) string){
		"virtualwebauthn EC2": func() (a, b func(string) string) { return virtual(virtualwebauthn.KeyTypeEC2) },
		"virtualwebauthn RSA": func() (a, b func(string) string) { return virtual(virtualwebauthn.KeyTypeRSA) },
		"passkeytest":         software,
	}
	for _, j := range judges {
		t.Run(j.name, func(t *testing.T) {
			peer := j.open(t)
			for name, side := range sides {
				n := rounds(1000)
				if strings.Contains(name, "RSA") {
					n /= 50 // keys take long to make
				}
				for range max(n, 1) {
					rp := newParty(t, new(passkey.Memory))
					create, get := side()
					c := generate(t, rp, create, get)
					if err := prove(rp, c.asserted); err != nil {
						t.Errorf("%s: we refuse: %v\n%s", name, err, c.asserted)
					}
					if err := peer.registers(c, c.created); err != nil {
						t.Errorf("%s: the peer refuses the registration: %v\n%s", name, err, c.created)
					}
					if err := peer.asserts(c, c.asserted); err != nil {
						t.Errorf("%s: the peer refuses the assertion: %v\n%s", name, err, c.asserted)
					}
				}
				t.Logf("%s: %d ceremonies", name, max(n, 1))
			}
		})
	}
}

// What a peer accepts and we refuse, by our reason. Each is a deliberate
// strictness, with cases in testdata/verdicts.txt; a new reason fails the test
// until it has been looked at.
var stricter = []string{
	"malformed",    // a second spelling of JSON, base64url or CBOR
	"occurs twice", // a JSON member twice, or with other case
	"user handle",  // the peers leave it to their callers
	"not CBOR in the canonical form",
	"credential ID differs",
	"public key is not one",
	"backed up but not eligible",
	"signature is wrong",       // BER
	"is not in Config.Origins", // in other case
}

// What a peer refuses in a registration and we accept: parts that we ignore.
var ignored = []string{
	"attestation format", // whatever it is, as WebAuthn Level 3 section 7.1 allows
	"Unsupported Attestation Format",
	"transports", // unknown ones
}

// mutants returns variants of a JSON text: one byte changed, removed or doubled,
// and one bit changed in a decoded value.
func mutants(r *rand.Rand, text string, n int) (all []string) {
	for range n {
		b := []byte(text)
		i := r.IntN(len(b))
		switch r.IntN(4) {
		case 0:
			const alphabet = "AZaz09-_+/={}[]\":,.\\ \n\x00\xff"
			b[i] = alphabet[r.IntN(len(alphabet))]
		case 1:
			b = slices.Delete(b, i, i+1)
		case 2:
			b = slices.Insert(b, i, b[i])
		default:
			if m, ok := bitFlipped(r, text); ok {
				b = []byte(m)
			}
		}
		all = append(all, string(b))
	}
	return all
}

// bitFlipped changes a bit of one of the base64url values of the response.
func bitFlipped(r *rand.Rand, text string) (string, bool) {
	var c map[string]any
	if json.Unmarshal([]byte(text), &c) != nil {
		return "", false
	}
	response := c["response"].(map[string]any)
	var names []string
	for name, v := range response {
		if _, ok := v.(string); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	name := names[r.IntN(len(names))]
	b, err := base64.RawURLEncoding.DecodeString(response[name].(string))
	if err != nil || len(b) == 0 {
		return "", false
	}
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	response[name] = base64.RawURLEncoding.EncodeToString(b)
	out, err := json.Marshal(c)
	return string(out), err == nil
}

// Nothing that a peer refuses is accepted by us, and what we refuse alone we refuse
// for a known reason.
func TestMutatedCeremoniesAreNeverAcceptedByUsAlone(t *testing.T) {
	for _, j := range judges {
		t.Run(j.name, func(t *testing.T) { judgeMutants(t, j.open(t)) })
	}
}

func judgeMutants(t *testing.T, peer judge) {
	seed := uint64(1) // the same in each run, unless it is a long one
	if os.Getenv("PEER_ROUNDS") != "" {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	n := rounds(2000)
	alone := map[string]int{}
	note := func(kind string, reason error, text string) {
		for _, known := range stricter {
			if strings.Contains(reason.Error(), known) {
				alone[kind+" refused: "+known]++
				return
			}
		}
		t.Errorf("only we refuse, for a reason that is not reviewed: %v\n%s", reason, text)
	}
	create, get := software()
	rp := newParty(t, new(passkey.Memory))
	c := generate(t, rp, create, get)
	for _, mutant := range mutants(r, c.asserted, n) {
		ours, theirs := prove(rp, mutant), peer.asserts(c, mutant)
		switch {
		case ours == nil && theirs != nil && mutant != c.asserted:
			t.Errorf("only we accept; the peer: %v\n%s", theirs, mutant)
		case ours != nil && theirs == nil:
			note("assertion", ours, mutant)
		}
	}
	for _, mutant := range mutants(r, c.created, n) {
		ours, theirs := newParty(t, new(passkey.Memory)).register(mutant), peer.registers(c, mutant)
		switch {
		case ours == nil && theirs != nil:
			if slices.ContainsFunc(ignored, func(part string) bool { return strings.Contains(theirs.Error(), part) }) {
				alone["registration accepted: "+theirs.Error()]++
				continue
			}
			t.Errorf("only we accept a registration; the peer: %v\n%s", theirs, mutant)
		case ours != nil && theirs == nil:
			note("registration", ours, mutant)
		}
	}
	for _, reason := range slices.Sorted(keys(alone)) {
		t.Logf("decided otherwise by us: %6d  %s", alone[reason], reason)
	}
}

func keys(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
