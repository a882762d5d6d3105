package totp_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/totp"
)

// fail gives so many wrong codes, each as soon as one is taken, and returns for
// how long the last of them makes the user wait.
func fail(t *testing.T, s *totp.Service, secret string, times int) time.Duration {
	t.Helper()
	for range times {
		_, err := s.Verify(ctx, "alice", wrong(t, secret, time.Now()))
		if waits, ok := throttled(err); ok {
			time.Sleep(waits.RetryAfter)
			_, err = s.Verify(ctx, "alice", wrong(t, secret, time.Now()))
		}
		if !isWrong(err) {
			t.Fatalf("a wrong code: %v", err)
		}
	}
	_, err := s.Verify(ctx, "alice", "123456")
	waits, ok := throttled(err)
	if !ok {
		t.Fatalf("after %d wrong codes: %v, want a wait", times, err)
	}
	return waits.RetryAfter
}

func TestWaitsDoubleAfterWrongCodes(t *testing.T) {
	const week = 7 * 24 * time.Hour
	tests := []struct {
		name   string
		times  int
		wait   time.Duration
		locked bool
	}{
		{"one", 1, time.Second, false},
		{"two", 2, 2 * time.Second, false},
		{"five", 5, 16 * time.Second, false},
		{"ten", 10, 512 * time.Second, false},
		{"fourteen", 14, 8192 * time.Second, false},
		{"fifteen, of which one is forgiven by then", 15, 8192 * time.Second, false},
		{"fifty", 50, 4 * time.Hour, false},
		{"ninety-nine", 99, 4 * time.Hour, false},
		{"a hundred", 100, 4 * time.Hour, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var locked int
				s := service(t, new(totp.Memory), totp.Config{Notify: func(_ context.Context, c totp.Change) {
					if c.Kind == totp.EventLocked {
						locked++
					}
				}})
				secret, recovery := enrol(t, s, "alice")
				time.Sleep(time.Hour)
				wait := fail(t, s, secret, tt.times)
				if diff := tt.wait - wait; diff < 0 || diff > tt.wait/50 {
					t.Errorf("the wait is %v, want %v", wait, tt.wait)
				}
				refused := func(when string) {
					t.Helper()
					// No factor is spared, and a right code waits like a wrong one.
					for what, code := range map[string]string{"a code": codeAt(t, secret, time.Now()), "a recovery code": recovery[0]} {
						if _, err := s.Verify(ctx, "alice", code); err == nil || isWrong(err) {
							t.Errorf("%s, %s: %v, want a wait", when, what, err)
						}
					}
				}
				refused("at once")
				time.Sleep(wait - time.Millisecond)
				refused("just before the wait is over")
				time.Sleep(time.Millisecond)
				if tt.locked {
					time.Sleep(week)
					refused("after a week")
					if status, err := s.Status(ctx, "alice"); !status.Locked || !status.Enabled || err != nil || locked != 1 {
						t.Errorf("%+v, %v, told %d times", status, err, locked)
					}
					if err := s.Unlock(ctx, "alice"); err != nil {
						t.Fatal(err)
					}
				} else if locked != 0 {
					t.Error("Notify heard of a lock")
				}
				if _, err := s.Verify(ctx, "alice", codeAt(t, secret, time.Now())); err != nil {
					t.Errorf("a right code after the wait: %v", err)
				}
				if status, err := s.Status(ctx, "alice"); status.Locked || err != nil {
					t.Errorf("after a right code: %+v, %v", status, err)
				}
			})
		})
	}
}

// Every way to give a code counts in one place.
func TestWaitsAreSharedByAllFactorsAndActions(t *testing.T) {
	const badRecovery = "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA"
	actions := map[string]func(s *totp.Service, code string) error{
		"Verify":                      func(s *totp.Service, code string) error { _, err := s.Verify(ctx, "alice", code); return err },
		"Verify with a recovery code": func(s *totp.Service, _ string) error { _, err := s.Verify(ctx, "alice", badRecovery); return err },
		"Confirm": func(s *totp.Service, code string) error {
			if _, err := s.Begin(ctx, caller("alice")); err != nil {
				return err
			}
			_, err := s.Confirm(ctx, caller("alice"), "000000", totp.Code(code))
			return err
		},
		"Disable": func(s *totp.Service, code string) error { return s.Disable(ctx, caller("alice"), totp.Code(code)) },
		"Regenerate": func(s *totp.Service, code string) error {
			_, err := s.Regenerate(ctx, caller("alice"), totp.Code(code))
			return err
		},
	}
	for first, wrongly := range actions {
		t.Run("after "+first, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := service(t, new(totp.Memory), totp.Config{})
				secret, recovery := enrol(t, s, "alice")
				if err := wrongly(s, wrong(t, secret, time.Now())); !isWrong(err) {
					t.Fatal(err)
				}
				for name, act := range actions {
					waits, ok := throttled(act(s, recovery[0]))
					if !ok || waits.RetryAfter != time.Second || waits.Locked {
						t.Errorf("%s: %+v, want a wait of one second", name, waits)
					}
				}
			})
		})
	}
}

// What is no code at all is neither counted nor looked up.
func TestMalformedCodesAreNotCounted(t *testing.T) {
	store := &probed{Store: new(totp.Memory)}
	s := service(t, store, totp.Config{})
	enrol(t, s, "alice")
	before := store.saves
	for _, code := range []string{"", "12345", "abcdef", "１２３４５６", strings.Repeat("9", 1<<20)} {
		if _, err := s.Verify(ctx, "alice", code); !isWrong(err) {
			t.Errorf("%v", err)
		}
	}
	if store.saves != before {
		t.Errorf("%d saves", store.saves-before)
	}
}

// A right code ends the count of consecutive failures, and not the waits: the
// owner's sign-ins are no help to somebody else's guesses.
func TestARightCodeDoesNotShortenTheWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(totp.Memory)
		s := service(t, store, totp.Config{})
		secret, _ := enrol(t, s, "alice")
		time.Sleep(fail(t, s, secret, 7)) // 64 s
		if _, err := s.Verify(ctx, "alice", codeAt(t, secret, time.Now())); err != nil {
			t.Fatal(err)
		}
		if r, err := store.LoadTOTP(ctx, "alice"); r.Guesses.Failures != 0 || err != nil {
			t.Errorf("%d failures, %v", r.Guesses.Failures, err)
		}
		if _, err := s.Verify(ctx, "alice", next(t, secret)); err != nil {
			t.Errorf("a right code after a right code waits: %v", err)
		}
		if wait := fail(t, s, secret, 1); wait != 128*time.Second {
			t.Errorf("after one more wrong code the wait is %v, want 128 s", wait)
		}
		time.Sleep(5 * 4 * time.Hour) // five of eight are forgiven
		if wait := fail(t, s, secret, 1); wait != 8*time.Second {
			t.Errorf("five forgiven, the wait is %v, want 8 s", wait)
		}
	})
}

// Beginning the sign-in anew does not give attempts back: the count is the
// account's, and is not in anything that a client can throw away. So for a
// process that begins anew.
func TestRestartOfSignInDoesNotReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(totp.Memory)
		s := service(t, store, totp.Config{})
		secret, _ := enrol(t, s, "alice")
		for range 9 {
			time.Sleep(fail(t, s, secret, 1))
			if required, err := s.Required(ctx, "alice"); !required || err != nil { // as after each password
				t.Fatal(required, err)
			}
			s = service(t, store, totp.Config{})
		}
		if wait := fail(t, s, secret, 1); wait != 512*time.Second {
			t.Errorf("the tenth wrong code makes a wait of %v, want 512 s", wait)
		}
	})
}

// A sealer that fails has compared nothing, so nothing is counted: a key service
// that is down locks nobody out.
func TestSealerThatFailsCountsNothing(t *testing.T) {
	store := new(totp.Memory)
	secret, recovery := enrol(t, service(t, store, totp.Config{}), "alice")
	other, err := totp.New(store, keyring(t, []byte("another key of thirty-two bytes!!")), totp.Config{Issuer: "Example"})
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if _, err := other.Verify(ctx, "alice", codeAt(t, secret, time.Now())); err == nil || isWrong(err) {
			t.Fatalf("Verify without the key: %v", err)
		}
	}
	if r, err := store.LoadTOTP(ctx, "alice"); r.Guesses != (totp.Guesses{}) || len(r.Recovery) != 10 || err != nil {
		t.Errorf("%+v, %v", r.Guesses, err)
	}
	if _, err := other.Verify(ctx, "alice", recovery[0]); err != nil {
		t.Errorf("recovery codes need no key: %v", err)
	}
}

// sealless is a Sealer that opens everything as stale and cannot seal.
type sealless struct{ totp.Sealer }

func (s sealless) Seal(context.Context, []byte, []byte) ([]byte, error) { return nil, errDown }
func (s sealless) Open(ctx context.Context, box, aad []byte) ([]byte, bool, error) {
	plain, _, err := s.Sealer.Open(ctx, box, aad)
	return plain, true, err
}

// Where a secret cannot be sealed anew, nothing of the record changes, and above
// all the factor is not gone.
func TestSealingAnewThatFailsChangesNothing(t *testing.T) {
	store := new(totp.Memory)
	secret, _ := enrol(t, service(t, store, totp.Config{}), "alice")
	before, err := store.LoadTOTP(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	s, err := totp.New(store, sealless{keyring(t)}, totp.Config{Issuer: "Example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(ctx, "alice", codeAt(t, secret, time.Now().Add(30*time.Second))); !errors.Is(err, errDown) {
		t.Errorf("Verify = %v", err)
	}
	after, err := store.LoadTOTP(ctx, "alice")
	before.Version = after.Version
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("%+v, %v, want\n%+v", after, err, before)
	}
	if _, err := s.Begin(ctx, caller("bob")); !errors.Is(err, errDown) {
		t.Errorf("Begin = %v", err)
	}
}

// The risk of the zero Config and of those that its documentation names.
func TestRiskIsComputedAndBounded(t *testing.T) {
	tests := []struct {
		name   string
		config totp.Config
		want   float64
	}{
		{"zero", totp.Config{}, 0.0066},
		{"strict", totp.Config{Strict: true}, 0.0022},
		{"eight digits", totp.Config{Digits: 8}, 0.000066},
		{"one attempt forgiven each 90 s, as ten in 15 minutes", totp.Config{Forgive: 90 * time.Second}, 0.65},
		{"a day", totp.Config{Forgive: 24 * time.Hour}, 0.00114},
		{"nonsense", totp.Config{Forgive: -1}, 1},
	}
	for _, tt := range tests {
		if got := tt.config.Risk(); math.Abs(got-tt.want) > 0.02*tt.want {
			t.Errorf("%s: %.5f, want %.5f", tt.name, got, tt.want)
		}
	}
	for _, config := range []totp.Config{{Forgive: 2 * time.Hour}, {Forgive: 90 * time.Second}, {Forgive: time.Hour, FirstWait: time.Hour}} {
		config.Issuer = "Example"
		if _, err := totp.New(new(totp.Memory), keyring(t), config); err == nil || !strings.Contains(err.Error(), "Config.Risk()") {
			t.Errorf("Forgive %v, with a risk of %.2g, is taken: %v", config.Forgive, config.Risk(), err)
		}
	}
	if _, err := totp.New(new(totp.Memory), keyring(t), totp.Config{Issuer: "Example", Forgive: 2 * time.Hour, Strict: true}); err != nil {
		t.Errorf("Strict allows for more attempts: %v", err)
	}
}

// attempts returns how many guesses a service compares within a year, of an
// attacker who sleeps for as long as idle says when told how long to wait, while
// the owner signs in whenever there is a chance to.
func attempts(t *testing.T, config totp.Config, idle func(wait time.Duration) time.Duration) (n int) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), config)
		secret, _ := enrol(t, s, "alice")
		end := time.Now().Add(365 * 24 * time.Hour)
		signedIn := time.Now()
		for time.Now().Before(end) {
			// Before the attacker, and with a code that was not used.
			if time.Since(signedIn) > 2*time.Minute {
				if _, err := s.Verify(ctx, "alice", codeAt(t, secret, time.Now())); err != nil {
					t.Fatalf("the owner: %v", err)
				}
				signedIn = time.Now()
			}
			_, err := s.Verify(ctx, "alice", wrong(t, secret, time.Now()))
			if waits, ok := throttled(err); ok {
				time.Sleep(idle(waits.RetryAfter))
				continue
			}
			if !isWrong(err) {
				t.Fatal(err)
			}
			n++
		}
	})
	return n
}

// TestRiskIsWhatHappens measures, on the service itself, how many guesses a year
// allows, draws years of so many guesses, and compares how many of these years
// have one that hits with what Risk says.
func TestAttackerGetsAsManyGuessesAsRiskSays(t *testing.T) {
	for name, config := range map[string]totp.Config{
		"the zero Config":          {},
		"strict, one each 2 hours": {Strict: true, Forgive: 2 * time.Hour},
		"waits from one hour on":   {FirstWait: time.Hour, Forgive: 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			// The worst case: at every moment at which an attempt is taken.
			n := attempts(t, config, func(wait time.Duration) time.Duration { return wait })
			window := 3.0
			if config.Strict {
				window = 1
			}
			// How many guesses it takes until one of window codes of a million
			// is hit is geometrically distributed.
			random := rand.New(rand.NewPCG(1, 2))
			const years = 1_000_000
			hits := 0
			for range years {
				tries := math.Ceil(math.Log(1-random.Float64()) / math.Log1p(-window/1e6))
				if tries <= float64(n) {
					hits++
				}
			}
			got, want := float64(hits)/years, config.Risk()
			t.Logf("%d guesses a year: %.5f, Risk says %.5f", n, got, want)
			if math.Abs(got-want) > 0.05*want {
				t.Errorf("%d guesses a year hit in %.5f of the years, Risk says %.5f", n, got, want)
			}
		})
	}
}

// An attacker who lets the waits run out now and then has no more guesses than
// one who does not.
func TestWaitingBetweenGuessesGivesNoMoreGuesses(t *testing.T) {
	const most = 365*6 + 14 // what Risk counts with
	for _, limit := range []time.Duration{2 * time.Second, time.Minute, time.Hour} {
		for _, pause := range []time.Duration{time.Hour, 5 * time.Hour, 24 * time.Hour, 56 * time.Hour, 400 * time.Hour} {
			n := attempts(t, totp.Config{}, func(wait time.Duration) time.Duration {
				if wait > limit {
					return max(wait, pause)
				}
				return wait
			})
			if n > most {
				t.Errorf("pauses of %v rather than waits of more than %v: %d guesses a year, want %d at most", pause, limit, n, most)
			}
		}
	}
}

func TestThrottledErrorNamesTheWait(t *testing.T) {
	for want, err := range map[string]error{
		"wait 2s":                   &totp.ThrottledError{RetryAfter: 2 * time.Second},
		"the host must call Unlock": &totp.ThrottledError{Locked: true},
	} {
		if got := errors.Unwrap(errors.Join(err)); got != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
