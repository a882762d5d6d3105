package token_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

// A kms is a key management system: a private key that is not in memory, with a
// day of its own before each signature.
type kms struct {
	crypto.Signer
	calls, open atomic.Int64
	day         atomic.Pointer[func() ([]byte, error)] // nil, or a nil result: it signs
}

func (k *kms) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.calls.Add(1)
	k.open.Add(1)
	defer k.open.Add(-1)
	if day := k.day.Load(); day != nil {
		if signature, err := (*day)(); signature != nil || err != nil {
			return signature, err
		}
	}
	return k.Signer.Sign(rand.Reader, digest, opts)
}

func (k *kms) has(day func() ([]byte, error)) { k.day.Store(&day) }

func kmsKey(t *testing.T, alg token.Algorithm) (token.Key, *kms) {
	k := &kms{Signer: shared(t, alg).Signer}
	return token.Key{Algorithm: alg, Signer: token.NewSigner(k)}, k
}

// asymmetric are the algorithms that a KMS can have.
var asymmetric = []token.Algorithm{token.RS256, token.RS384, token.RS512, token.PS256, token.PS384, token.PS512, token.ES256, token.ES384, token.ES512, token.EdDSA}

func TestKMSSignsWithEveryAlgorithm(t *testing.T) {
	for _, alg := range asymmetric {
		key, k := kmsKey(t, alg)
		ring := mustRing(t, key)
		wantAccepted(t, serve(newVerifier(t, ring), get("Bearer "+issue(t, newIssuer(t, ring), identity.Principal{}, nil))))
		if k.calls.Load() != 1 {
			t.Errorf("%s: %d calls", alg, k.calls.Load())
		}
	}
}

// TestKMSThatFails: whatever the KMS does, Issue has an answer within its time
// that is no verdict on anybody, and what was signed before is still verified.
func TestKMSThatFails(t *testing.T) {
	sealed := errors.New("the vault is sealed")
	for _, alg := range asymmetric {
		other := shared(t, alg).Signer
		if alg[0] == 'R' || alg[0] == 'P' {
			other = kits()[token.PS256].key.Signer
		}
		for name, c := range map[string]struct {
			day  func() ([]byte, error)
			want string
			is   error
			took time.Duration
		}{
			"slow":     {func() ([]byte, error) { time.Sleep(2 * time.Second); return nil, nil }, "", nil, 2 * time.Second},
			"too slow": {func() ([]byte, error) { time.Sleep(4 * time.Second); return nil, nil }, "did not answer", context.DeadlineExceeded, 3 * time.Second},
			"failing":  {func() ([]byte, error) { return nil, sealed }, "sealed", sealed, 0},
			"failing late": {func() ([]byte, error) { time.Sleep(time.Second); return nil, sealed },
				"sealed", sealed, time.Second},
			"panicking":        {func() ([]byte, error) { panic("SECRET") }, "panicked", nil, 0},
			"panicking, nil":   {func() ([]byte, error) { panic(nil) }, "panicked", nil, 0},
			"leaving":          {func() ([]byte, error) { runtime.Goexit(); return nil, nil }, "panicked", nil, 0},
			"returning noise":  {func() ([]byte, error) { return random(100), nil }, "the Signer returned", nil, 0},
			"returning little": {func() ([]byte, error) { return []byte{}, nil }, "the Signer returned", nil, 0},
			"signing with another key": {func() ([]byte, error) {
				digest, opts := random(64), crypto.SignerOpts(crypto.Hash(0))
				if alg != token.EdDSA {
					digest, opts = random(32), crypto.SHA256
				}
				return other.Sign(rand.Reader, digest, opts)
			}, "its own public key does not verify", nil, 0},
		} {
			t.Run(string(alg)+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					key, k := kmsKey(t, alg)
					ring := mustRing(t, key)
					issuer, verifier := newIssuer(t, ring), newVerifier(t, ring, forgetful)
					before := issue(t, issuer, identity.Principal{}, nil)
					k.has(c.day)
					start := time.Now()
					s, err := issuer.Issue(t.Context(), &identity.Principal{Subject: "alice"}, nil)
					if took := time.Since(start); took != c.took {
						t.Errorf("it took %v, want %v", took, c.took)
					}
					switch {
					case c.want == "" && err != nil:
						t.Error(err)
					case c.want != "" && (s != "" || err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, token.ErrInvalid) || strings.Contains(err.Error(), "SECRET")):
						t.Errorf("Issue = %q, %v; want an error with %q", s, err, c.want)
					case c.is != nil && !errors.Is(err, c.is):
						t.Errorf("Issue = %v, which is not %v", err, c.is)
					}
					wantAccepted(t, serve(verifier, get("Bearer "+before)))
					k.has(func() ([]byte, error) { return nil, nil })
					wantAccepted(t, serve(verifier, get("Bearer "+issue(t, issuer, identity.Principal{}, nil))))
					time.Sleep(time.Minute) // until all calls have returned
				})
			})
		}
	}
}

// TestKMSThatHangs collects no goroutines, holds nobody up for longer than the
// timeout, and is no matter for keys in memory. When it comes back, so do we.
func TestKMSThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, k := kmsKey(t, token.ES256)
		memory := mustKey(t, token.EdDSA)
		ring := mustRing(t, key)
		issuer, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuerName, Audience: audience, SignTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		verifier := newVerifier(t, ring, forgetful)
		before := issue(t, issuer, identity.Principal{}, nil)
		wake := make(chan struct{})
		k.has(func() ([]byte, error) { <-wake; return nil, nil })
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				start := time.Now()
				_, err := issuer.Issue(t.Context(), &identity.Principal{Subject: "alice"}, nil)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
					t.Errorf("Issue = %v after %v, want a deadline after 1s", err, time.Since(start))
				}
				// Answered 503, as any error that is no Denial.
				if _, denied := errors.AsType[*guard.Denial](err); denied || errors.Is(err, token.ErrInvalid) {
					t.Errorf("Issue = %v, which is a verdict", err)
				}
			})
		}
		time.Sleep(time.Second / 2)
		synctest.Wait()
		if n := k.open.Load(); n != 64 {
			t.Errorf("%d calls are under way, want 64", n)
		}
		wantAccepted(t, serve(verifier, get("Bearer "+before)))
		wg.Wait()
		for range 3 { // with the places taken
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/4)
			start := time.Now()
			if _, err := issuer.Issue(ctx, &identity.Principal{Subject: "alice"}, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second/4 {
				t.Errorf("Issue = %v after %v", err, time.Since(start))
			}
			cancel()
			if _, err := issuer.Issue(ctx, &identity.Principal{Subject: "alice"}, nil); err == nil {
				t.Error("Issue for somebody who left")
			}
		}
		if n := k.calls.Load(); n != 65 {
			t.Errorf("the KMS was called %d times, want 65", n)
		}
		// The places are the Issuer's: keys in memory need none.
		start := time.Now()
		issue(t, newIssuer(t, mustRing(t, memory)), identity.Principal{}, nil)
		if time.Since(start) != 0 {
			t.Error("a key in memory waited")
		}
		if err := ring.Replace(memory, public(key)); err != nil {
			t.Fatal(err)
		}
		wantAccepted(t, serve(verifier, get("Bearer "+issue(t, issuer, identity.Principal{}, nil))))

		close(wake)
		synctest.Wait()
		if n := k.open.Load(); n != 0 {
			t.Errorf("%d calls are under way", n)
		}
		if err := ring.Replace(key); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			wantAccepted(t, serve(verifier, get("Bearer "+issue(t, issuer, identity.Principal{}, nil))))
		}
	})
	t.Run("a request that ends first does not wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			key, k := kmsKey(t, token.EdDSA)
			issuer := newIssuer(t, mustRing(t, key))
			k.has(func() ([]byte, error) { time.Sleep(time.Minute); return nil, nil })
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			if _, err := issuer.Issue(ctx, &identity.Principal{Subject: "alice"}, nil); !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
				t.Errorf("Issue = %v after %v", err, time.Since(start))
			}
			calls := k.calls.Load()
			if _, err := issuer.Issue(ctx, &identity.Principal{Subject: "alice"}, nil); !errors.Is(err, context.Canceled) || k.calls.Load() != calls {
				t.Errorf("Issue = %v, and the Signer was called for nobody", err)
			}
			time.Sleep(time.Minute)
		})
	})
	t.Run("a key in memory does not ask whether anybody waits", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := newIssuer(t, kits()[token.ES256].ring).Issue(ctx, &identity.Principal{Subject: "alice"}, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestSignTimeoutBoundsTheSigner(t *testing.T) {
	ring := kits()[token.HS256].ring
	_, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: "i", Audience: "a", SignTimeout: -time.Second})
	if err == nil || !strings.Contains(err.Error(), "IssuerConfig.SignTimeout is -1s") {
		t.Errorf("NewIssuer = %v", err)
	}
}
