package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	passwords "github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/ratelimit"
)

var _ auth.Throttle = (*ratelimit.SignIn)(nil)

// A throttledHost is a server that signs in at POST /token, by the joint of auth
// and ratelimit.
type throttledHost struct {
	*httptest.Server
	throttle *ratelimit.SignIn
	budget   *passwords.Budget
	broken   atomic.Bool // the store of users
	reserved chan struct{}
	settled  chan guard.Outcome
}

// Reserve is ratelimit.SignIn's, and tells the test when and how it was asked.
func (h *throttledHost) Reserve(ctx context.Context, login, addr string) (func(guard.Outcome), time.Duration, error) {
	settle, wait, err := h.throttle.Reserve(ctx, login, addr)
	if settle == nil {
		return nil, wait, err
	}
	h.reserved <- struct{}{}
	return func(outcome guard.Outcome) {
		settle(outcome)
		h.settled <- outcome
	}, wait, err
}

// breakable is a store of users that can be down.
type breakable struct {
	*auth.Memory
	host *throttledHost
}

func (b breakable) UserByLogin(ctx context.Context, login string) (*auth.User, error) {
	if b.host.broken.Load() {
		return nil, errors.New("connection refused")
	}
	return b.Memory.UserByLogin(ctx, login)
}

func newThrottledHost(t *testing.T, maxWait time.Duration) *throttledHost {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h := &throttledHost{reserved: make(chan struct{}, 100), settled: make(chan guard.Outcome, 100)}
	var err error
	h.throttle, err = ratelimit.NewSignIn(ratelimit.SignInConfig{Login: ratelimit.Limit{Quota: 3, Window: time.Hour}})
	check(err)
	h.budget, err = passwords.NewBudget(passwords.BudgetConfig{Concurrent: 1, MaxWait: maxWait})
	check(err)
	hasher := h.hasher(t, passwords.Argon2id{Memory: 8, Passes: 1, Lanes: 1})
	hash, err := hasher.Hash(t.Context(), factorPassword)
	check(err)
	memory := new(auth.Memory)
	check(memory.SetUser("victim", auth.User{ID: "1", PasswordHash: hash}))
	key, err := token.GenerateKey(token.ES256)
	check(err)
	ring, err := token.NewKeyring(key)
	check(err)
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: issuer})
	check(err)
	server, err := auth.New(breakable{memory, h}, tokens, auth.Config{
		Sessions: memory, Revoker: new(blacklist.Memory), Passwords: hasher, Throttle: h,
		RefreshKeys: []guard.Secret{guard.NewSecret([]byte("fedcba9876543210fedcba9876543210"))},
	})
	check(err)
	h.Server = httptest.NewServer(server.Token())
	t.Cleanup(h.Close)
	return h
}

func (h *throttledHost) hasher(t *testing.T, params passwords.Argon2id) *passwords.Hasher {
	t.Helper()
	hasher, err := passwords.New(passwords.Config{Argon2id: params, InsecureArgon2id: true, Budget: h.budget})
	if err != nil {
		t.Fatal(err)
	}
	return hasher
}

// occupy keeps the hasher busy, for about a second, and returns when it is.
func (h *throttledHost) occupy(t *testing.T) {
	t.Helper()
	slow := h.hasher(t, passwords.Argon2id{Memory: 128 << 10, Passes: 16, Lanes: 1})
	probe := h.hasher(t, passwords.Argon2id{Memory: 8, Passes: 1, Lanes: 1})
	for {
		done := make(chan struct{})
		go func() {
			defer close(done)
			slow.Hash(context.Background(), factorPassword)
		}()
		for over := false; !over; {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err := probe.Hash(ctx, factorPassword)
			cancel()
			select {
			case <-done: // a probe was in its way, or it is over already
				over = true
			default:
				if err != nil {
					t.Cleanup(func() { <-done })
					return
				}
			}
		}
	}
}

func guess(password string) string {
	return url.Values{"grant_type": {"password"}, "username": {"victim"}, "password": {password}}.Encode()
}

func (h *throttledHost) signIn(t *testing.T, password string) int {
	t.Helper()
	answer, err := http.Post(h.URL, "application/x-www-form-urlencoded", strings.NewReader(guess(password)))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// knows reports whether the address that the tests come from is known for the
// victim: strangers use up the limit of the login, and who is known is let in.
func (h *throttledHost) knows(t *testing.T) bool {
	t.Helper()
	for i := range 10 {
		settle, _, err := h.throttle.Reserve(t.Context(), "victim", fmt.Sprintf("192.0.2.%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if settle != nil {
			settle(guard.Failed)
		}
	}
	settle, _, err := h.throttle.Reserve(t.Context(), "victim", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return settle != nil
}

// TestSignInThrottleTrustsOnlyWhoSignedIn: what a password was not judged for
// makes nobody known, and what it was judged for counts as it should.
func TestSignInThrottleTrustsOnlyWhoSignedIn(t *testing.T) {
	for _, tt := range []struct {
		name    string
		maxWait time.Duration // for the hasher
		attempt func(t *testing.T, h *throttledHost)
		outcome guard.Outcome
		known   bool
	}{
		{"the right password", time.Minute, func(t *testing.T, h *throttledHost) {
			if status := h.signIn(t, factorPassword); status != http.StatusOK {
				t.Fatal(status)
			}
		}, guard.Succeeded, true},
		{"a wrong password", time.Minute, func(t *testing.T, h *throttledHost) {
			if status := h.signIn(t, "guess"); status != http.StatusBadRequest {
				t.Fatal(status)
			}
		}, guard.Failed, false},
		{"hanging up while the hasher is busy", time.Minute, func(t *testing.T, h *throttledHost) {
			h.occupy(t)
			c, err := net.Dial("tcp", h.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			body := guess("guess")
			fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			<-h.reserved
			c.Close()
		}, guard.Undecided, false},
		{"503, for the hasher is busy", time.Millisecond, func(t *testing.T, h *throttledHost) {
			h.occupy(t)
			if status := h.signIn(t, "guess"); status != http.StatusServiceUnavailable {
				t.Fatal(status)
			}
		}, guard.Undecided, false},
		{"503, for the store of users is down", time.Minute, func(t *testing.T, h *throttledHost) {
			h.broken.Store(true)
			if status := h.signIn(t, "guess"); status != http.StatusServiceUnavailable {
				t.Fatal(status)
			}
		}, guard.Undecided, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newThrottledHost(t, tt.maxWait)
			tt.attempt(t, h)
			select {
			case outcome := <-h.settled:
				if outcome != tt.outcome {
					t.Fatalf("the attempt ended as %v, want %v", outcome, tt.outcome)
				}
			case <-time.After(time.Minute):
				t.Fatal("the attempt never ended")
			}
			if known := h.knows(t); known != tt.known {
				t.Errorf("known %t, want %t", known, tt.known)
			}
		})
	}
}

// An address that signs in without pause, by right passwords of accounts of its
// own, does not keep another address from signing in: neither with a throttle, nor
// by the fairness of the hashing budget alone.
func TestOneAddressCannotTakeTheHashingBudget(t *testing.T) {
	const crowd, tries, atLeast = 50, 100, 95
	for _, throttled := range []bool{true, false} {
		t.Run(fmt.Sprintf("with a throttle %t", throttled), func(t *testing.T) {
			budget, err := passwords.NewBudget(passwords.BudgetConfig{Concurrent: 2})
			if err != nil {
				t.Fatal(err)
			}
			hasher, err := passwords.New(passwords.Config{
				Argon2id: passwords.Argon2id{Memory: 12 << 10, Passes: 3, Lanes: 1}, Budget: budget,
			})
			if err != nil {
				t.Fatal(err)
			}
			hash, err := hasher.Hash(t.Context(), factorPassword)
			if err != nil {
				t.Fatal(err)
			}
			memory := new(auth.Memory)
			for _, login := range []string{"victim", "own0", "own1", "own2", "own3", "own4", "own5", "own6", "own7", "own8", "own9"} {
				if err := memory.SetUser(login, auth.User{ID: login, PasswordHash: hash}); err != nil {
					t.Fatal(err)
				}
			}
			config := auth.Config{
				Sessions: memory, Revoker: new(blacklist.Memory), Passwords: hasher,
				RefreshKeys: []guard.Secret{guard.NewSecret([]byte("fedcba9876543210fedcba9876543210"))},
			}
			if throttled {
				// The crowd is not stopped by its quota, so that the queue is what is tested.
				config.Throttle, err = ratelimit.NewSignIn(ratelimit.SignInConfig{Attempts: ratelimit.Limit{Quota: 1_000_000}})
				if err != nil {
					t.Fatal(err)
				}
			}
			server := httptest.NewServer(newSignInHandler(t, memory, config))
			defer server.Close()

			// from returns a client that comes from an address of the loopback network.
			from := func(addr string) *http.Client {
				dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
				return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: crowd}}
			}
			post := func(client *http.Client, login string) int {
				form := url.Values{"grant_type": {"password"}, "username": {login}, "password": {factorPassword}}
				response, err := client.PostForm(server.URL, form)
				if err != nil {
					return 0
				}
				response.Body.Close()
				return response.StatusCode
			}
			var done atomic.Bool
			var signedIn atomic.Int64
			var group sync.WaitGroup
			attacker, other := from("127.0.0.2"), from("127.0.0.3")
			for i := range crowd {
				group.Go(func() {
					for !done.Load() {
						if post(attacker, fmt.Sprintf("own%d", i%10)) == http.StatusOK {
							signedIn.Add(1)
						}
					}
				})
			}
			for signedIn.Load() < 5 {
				time.Sleep(10 * time.Millisecond)
			}
			good := 0
			for range tries {
				if post(other, "victim") == http.StatusOK {
					good++
				}
			}
			done.Store(true)
			group.Wait()
			if good < atLeast {
				t.Errorf("%d of %d tries from the other address succeeded, want %d", good, tries, atLeast)
			}
			t.Logf("%d of %d tries succeeded while the crowd signed in %d times", good, tries, signedIn.Load())
			if signedIn.Load() < tries {
				t.Errorf("the crowd signed in %d times: it is not kept out, it takes turns", signedIn.Load())
			}
		})
	}
}

// newSignInHandler returns the handler of POST /token.
func newSignInHandler(t *testing.T, users auth.UserStore, config auth.Config) http.Handler {
	t.Helper()
	key, err := token.GenerateKey(token.ES256)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := token.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: issuer})
	if err != nil {
		t.Fatal(err)
	}
	server, err := auth.New(users, tokens, config)
	if err != nil {
		t.Fatal(err)
	}
	return server.Token()
}
