package totp_test

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/totp"
)

var ctx = context.Background()

// next waits until the code of the next step is the current one, and returns it.
func next(t testing.TB, secret string) string {
	t.Helper()
	time.Sleep(30 * time.Second)
	return codeAt(t, secret, time.Now())
}

func isWrong(err error) bool { return errors.Is(err, totp.ErrWrongCode) }

func throttled(err error) (*totp.ThrottledError, bool) {
	return errors.AsType[*totp.ThrottledError](err)
}

func TestFactorFromBeginToDisable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []totp.Change
		s := service(t, new(totp.Memory), totp.Config{Notify: func(_ context.Context, c totp.Change) { changes = append(changes, c) }})
		required := func(want bool) {
			t.Helper()
			if got, err := s.Required(ctx, "alice"); got != want || err != nil {
				t.Fatalf("Required = %t, %v, want %t", got, err, want)
			}
		}

		required(false)
		e, err := s.Begin(ctx, caller("alice"))
		if err != nil {
			t.Fatal(err)
		}
		required(false) // it is pending only
		codes, err := s.Confirm(ctx, caller("alice"), codeAt(t, e.Secret(), time.Now()), byPassword)
		if err != nil {
			t.Fatal(err)
		}
		required(true)
		recovery := codes.All()
		if len(recovery) != 10 {
			t.Fatalf("%d recovery codes, want 10", len(recovery))
		}
		if result, err := s.Verify(ctx, "alice", next(t, e.Secret())); err != nil || result != (totp.Result{RecoveryLeft: 10}) {
			t.Fatalf("a code: %+v, %v", result, err)
		}
		if result, err := s.Verify(ctx, "alice", recovery[3]); err != nil || result != (totp.Result{Recovery: true, RecoveryLeft: 9}) {
			t.Fatalf("a recovery code: %+v, %v", result, err)
		}
		fresh, err := s.Regenerate(ctx, caller("alice"), totp.Code(next(t, e.Secret())))
		if err != nil {
			t.Fatal(err)
		}
		for _, old := range recovery {
			if _, err := s.Verify(ctx, "alice", old); !isWrong(err) {
				t.Fatalf("a recovery code that was replaced: %v", err)
			}
			time.Sleep(5 * time.Hour)
		}
		if got, err := s.Status(ctx, "alice"); err != nil || got != (totp.Status{Enabled: true, RecoveryLeft: 10}) {
			t.Fatalf("%+v, %v", got, err)
		}
		if err := s.Disable(ctx, caller("alice"), totp.Code(fresh.All()[0])); err != nil {
			t.Fatal(err)
		}
		required(false)
		for _, code := range []string{next(t, e.Secret()), fresh.All()[1]} {
			if _, err := s.Verify(ctx, "alice", code); !isWrong(err) {
				t.Fatalf("a code of a factor that was removed: %v", err)
			}
			time.Sleep(time.Minute)
		}
		want := []totp.Change{
			{User: "alice", Kind: totp.EventBegun},
			{User: "alice", Kind: totp.EventConfirmed, RecoveryLeft: 10},
			{User: "alice", Kind: totp.EventUsed, RecoveryLeft: 10},
			{User: "alice", Kind: totp.EventRecoveryUsed, RecoveryLeft: 9},
			{User: "alice", Kind: totp.EventRegenerated, RecoveryLeft: 10},
			{User: "alice", Kind: totp.EventRemoved},
		}
		if !slices.Equal(changes, want) {
			t.Errorf("Notify heard\n%+v, want\n%+v", changes, want)
		}
	})
}

// The rows of the attack corpus on which code is taken when.
func TestCodesAreAcceptedForTheStepsAroundNowOnce(t *testing.T) {
	const step = 30 * time.Second
	tests := []struct {
		name   string
		strict bool
		used   []time.Duration // of the codes given before, from now
		given  time.Duration
		spell  func(string) string
		good   bool
	}{
		{name: "the current step", given: 0, good: true},
		{name: "one step late", given: -step, good: true},
		{name: "one step early", given: step, good: true},
		{name: "two steps late", given: -2 * step},
		{name: "two steps early", given: 2 * step},
		{name: "strict: the current step", strict: true, given: 0, good: true},
		{name: "strict: one step late", strict: true, given: -step},
		{name: "strict: one step early", strict: true, given: step},
		{name: "the same code again", used: []time.Duration{0}, given: 0},
		{name: "the previous code after the current one", used: []time.Duration{0}, given: -step},
		{name: "the next code after the current one", used: []time.Duration{0}, given: step, good: true},
		{name: "A, B, A: what remembers one code only lets this pass", used: []time.Duration{-step, 0}, given: -step},
		{name: "the same code with a space before it", used: []time.Duration{0}, spell: func(c string) string { return " " + c }},
		{name: "the same code with a space within", used: []time.Duration{0}, spell: func(c string) string { return c[:3] + " " + c[3:] }},
		{name: "the same code with a line feed", used: []time.Duration{0}, spell: func(c string) string { return c + "\n" }},
		{name: "the same code in full-width digits", used: []time.Duration{0}, spell: fullWidth},
		{name: "a code with a space within", given: 0, spell: func(c string) string { return c[:3] + " " + c[3:] }, good: true},
		{name: "a code in full-width digits", given: 0, spell: fullWidth},
		{name: "a code with a line feed", given: 0, spell: func(c string) string { return c + "\n" }, good: true},
		{name: "a code with a no-break space and an en dash", given: 0, spell: func(c string) string { return c[:3] + "\u00a0\u2013" + c[3:] }, good: true},
		{name: "a code without its last digit", given: 0, spell: func(c string) string { return c[:5] }},
		{name: "a code with another digit", given: 0, spell: func(c string) string { return c + "0" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := service(t, new(totp.Memory), totp.Config{Strict: tt.strict})
				secret, _ := enrol(t, s, "alice")
				time.Sleep(time.Hour)
				for _, used := range tt.used {
					if _, err := s.Verify(ctx, "alice", codeAt(t, secret, time.Now().Add(used))); err != nil {
						t.Fatalf("before: %v", err)
					}
				}
				code := codeAt(t, secret, time.Now().Add(tt.given))
				if tt.spell != nil {
					code = tt.spell(code)
				}
				if _, err := s.Verify(ctx, "alice", code); (err == nil) != tt.good || err != nil && !isWrong(err) {
					t.Errorf("Verify: %v, want good: %t", err, tt.good)
				}
			})
		})
	}
}

func fullWidth(code string) string {
	return strings.Map(func(r rune) rune { return r - '0' + '０' }, code)
}

func TestSetupCodeIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		e, err := s.Begin(ctx, caller("alice"))
		if err != nil {
			t.Fatal(err)
		}
		code := codeAt(t, e.Secret(), time.Now())
		if _, err := s.Confirm(ctx, caller("alice"), code, byPassword); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Verify(ctx, "alice", code); !isWrong(err) {
			t.Errorf("the code of the setup, at the next sign-in: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := s.Confirm(ctx, caller("alice"), codeAt(t, e.Secret(), time.Now()), byPassword); !isWrong(err) {
			t.Errorf("confirmed twice: %v", err)
		}
	})
}

func TestCodesAreAcceptedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		secret, recovery := enrol(t, s, "alice")
		for _, code := range []string{next(t, secret), recovery[0]} {
			if _, err := s.Verify(ctx, "alice", code); err != nil {
				t.Errorf("%s: %v", code, err)
			}
			if _, err := s.Verify(ctx, "alice", code); !isWrong(err) {
				t.Errorf("%s again: %v", code, err)
			}
			time.Sleep(5 * time.Hour) // the wrong one is forgiven
		}
	})
}

// 64 submissions of one code, at once: one success. So for a recovery code.
func TestConcurrentSubmissionsOfOneCode(t *testing.T) {
	for range 20 {
		s := service(t, new(totp.Memory), totp.Config{})
		secret, recovery := enrol(t, s, "alice")
		for what, code := range map[string]string{
			"a code":          codeAt(t, secret, time.Now().Add(30*time.Second)),
			"a recovery code": recovery[0],
		} {
			var good, refused atomic.Int32
			var group sync.WaitGroup
			start := make(chan struct{})
			for range 64 {
				group.Go(func() {
					<-start
					_, err := s.Verify(ctx, "alice", code)
					_, waits := throttled(err)
					switch {
					case err == nil:
						good.Add(1)
					case waits || isWrong(err):
						refused.Add(1)
					default:
						t.Errorf("%s: %v", what, err)
					}
				})
			}
			close(start)
			group.Wait()
			if good.Load() != 1 || refused.Load() != 63 {
				t.Errorf("%s: %d good and %d refused of 64, want 1 and 63", what, good.Load(), refused.Load())
			}
			if err := s.Unlock(ctx, "alice"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Guesses that are made at once are counted before any of them is looked at: of
// 64, one is.
func TestConcurrentGuessesAreCountedFirst(t *testing.T) {
	store := new(totp.Memory)
	s := service(t, store, totp.Config{FirstWait: time.Hour}) // on a slow machine too
	secret, _ := enrol(t, s, "alice")
	var compared atomic.Int32
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			if _, err := s.Verify(ctx, "alice", wrong(t, secret, time.Now())); isWrong(err) {
				compared.Add(1)
			}
		})
	}
	group.Wait()
	if n := compared.Load(); n != 1 {
		t.Errorf("%d of 64 guesses were compared, want 1", n)
	}
	if r, err := store.LoadTOTP(ctx, "alice"); r.Guesses.Failures != 1 || err != nil {
		t.Errorf("%d failures, %v, want 1", r.Guesses.Failures, err)
	}
}

// Begin needs a session only, and replaces nothing. Confirm replaces, with a proof.
func TestReplacingNeedsAProof(t *testing.T) {
	for what, proof := range map[string]func(t testing.TB, secret string, recovery []string) totp.Proof{
		"a code": func(t testing.TB, secret string, _ []string) totp.Proof {
			return totp.Code(codeAt(t, secret, time.Now()))
		},
		"a recovery code": func(_ testing.TB, _ string, recovery []string) totp.Proof { return totp.Code(recovery[0]) },
		"the password":    func(testing.TB, string, []string) totp.Proof { return byPassword },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := service(t, new(totp.Memory), totp.Config{})
				secret, recovery := enrol(t, s, "alice")
				time.Sleep(time.Minute)
				e, err := s.Begin(ctx, caller("alice"))
				if err != nil || e.Secret() == secret {
					t.Fatal(err)
				}
				if _, err := s.Verify(ctx, "alice", codeAt(t, e.Secret(), time.Now())); !isWrong(err) {
					t.Errorf("a secret that is not confirmed: %v", err)
				}
				time.Sleep(time.Minute)
				if _, err := s.Verify(ctx, "alice", codeAt(t, secret, time.Now())); err != nil {
					t.Errorf("the old factor before the new one is confirmed: %v", err)
				}
				for name, wrongly := range map[string]totp.Proof{
					"no proof": {}, "a wrong password": totp.Password("wrong"), "the new code": totp.Code(codeAt(t, e.Secret(), time.Now())),
					"no code": totp.Code("x"), "an empty password": totp.Password(""), "a grant, without UseGrant": totp.Grant(password),
				} {
					codes, err := s.Confirm(ctx, caller("alice"), codeAt(t, e.Secret(), time.Now()), wrongly)
					if codes != nil || !errors.Is(err, identity.ErrNotProven) && !errors.Is(err, totp.ErrProofNeeded) {
						t.Errorf("confirmed with %s: %v", name, err)
					}
					time.Sleep(time.Minute)
				}
				given := proof(t, secret, recovery)
				codes, err := s.Confirm(ctx, caller("alice"), codeAt(t, e.Secret(), time.Now()), given)
				if err != nil {
					t.Fatal(err)
				}
				for _, old := range []string{next(t, secret), recovery[1]} {
					if _, err := s.Verify(ctx, "alice", old); !isWrong(err) {
						t.Errorf("a code of the old factor: %v", err)
					}
					time.Sleep(time.Minute)
				}
				time.Sleep(time.Hour)
				if _, err := s.Verify(ctx, "alice", codes.All()[0]); err != nil {
					t.Errorf("a recovery code of the new factor: %v", err)
				}
			})
		})
	}
}

func TestStepsOfTheOldSecretDoNotCountForTheNewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		secret, _ := enrol(t, s, "alice")
		e, err := s.Begin(ctx, caller("alice"))
		if err != nil {
			t.Fatal(err)
		}
		// Both codes are of one step.
		old := next(t, secret)
		if _, err := s.Confirm(ctx, caller("alice"), codeAt(t, e.Secret(), time.Now()), totp.Code(old)); err != nil {
			t.Errorf("a code of a new secret, of a step in which the old one was used: %v", err)
		}
	})
}

func TestPendingEnrolmentExpiresAndIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		first, err := s.Begin(ctx, caller("alice"))
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.Begin(ctx, caller("alice"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Confirm(ctx, caller("alice"), codeAt(t, first.Secret(), time.Now()), byPassword); !isWrong(err) {
			t.Errorf("an enrolment that was begun anew: %v", err)
		}
		time.Sleep(10*time.Minute - 30*time.Second)
		if !second.Expires.After(time.Now()) {
			t.Errorf("it expired at %v", second.Expires)
		}
		if _, err := s.Confirm(ctx, caller("bob"), codeAt(t, second.Secret(), time.Now()), byPassword); !isWrong(err) {
			t.Errorf("somebody else's enrolment: %v", err)
		}
		time.Sleep(30 * time.Second)
		if _, err := s.Confirm(ctx, caller("alice"), codeAt(t, second.Secret(), time.Now()), byPassword); !isWrong(err) {
			t.Errorf("after ten minutes: %v", err)
		}
		if required, err := s.Required(ctx, "alice"); required || err != nil {
			t.Errorf("Required = %t, %v", required, err)
		}
	})
}

func TestCodesOfOneUserAreWrongForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		secret, recovery := enrol(t, s, "alice")
		enrol(t, s, "bob")
		code := next(t, secret)
		for _, given := range []string{code, recovery[0]} {
			if _, err := s.Verify(ctx, "bob", given); !isWrong(err) {
				t.Errorf("alice's code, given by bob: %v", err)
			}
			time.Sleep(2 * time.Second)
		}
		// Neither was used up, and bob's failures are not alice's.
		for _, given := range []string{code, recovery[0]} {
			if _, err := s.Verify(ctx, "alice", given); err != nil {
				t.Errorf("alice: %v", err)
			}
		}
	})
}

func TestImportRefusesCodesTheOtherSystemMayHaveAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		for _, size := range []int{0, 1, 10, 15, 129} {
			if codes, err := s.Import(ctx, "alice", make([]byte, size)); err == nil || codes != nil {
				t.Errorf("a secret of %d bytes was taken", size)
			}
		}
		if required, err := s.Required(ctx, "alice"); required || err != nil {
			t.Errorf("Required = %t, %v", required, err)
		}
		secret := []byte("12345678901234567890")
		text := base32.StdEncoding.EncodeToString(secret)
		codes, err := s.Import(ctx, "alice", secret)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		taken := []string{codeAt(t, text, at.Add(-30*time.Second)), codeAt(t, text, at), codeAt(t, text, at.Add(30*time.Second))}
		for step, code := range taken {
			if _, err := s.Verify(ctx, "alice", code); !isWrong(err) {
				t.Errorf("a code that the other system may have taken, of step %d: %v", step-1, err)
			}
			if err := s.Unlock(ctx, "alice"); err != nil {
				t.Error(err)
			}
		}
		// Its step comes, and it is as used as before.
		if _, err := s.Verify(ctx, "alice", next(t, text)); !isWrong(err) {
			t.Errorf("a code that the other system may have taken ahead of time: %v", err)
		}
		if _, err := s.Verify(ctx, "alice", next(t, text)); err != nil {
			t.Error(err)
		}
		if _, err := s.Verify(ctx, "alice", codes.All()[9]); err != nil {
			t.Error(err)
		}
		if _, err := s.Import(ctx, "alice", secret); !errors.Is(err, totp.ErrEnrolled) {
			t.Errorf("a second time: %v", err)
		}
	})
}

// What another system has taken does not depend on what is taken here.
func TestImportIntoAStrictServiceRefusesTheSameCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{Strict: true})
		secret := []byte("12345678901234567890")
		text := base32.StdEncoding.EncodeToString(secret)
		if _, err := s.Import(ctx, "alice", secret); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Verify(ctx, "alice", next(t, text)); !isWrong(err) {
			t.Errorf("a code that the other system may have taken ahead of time: %v", err)
		}
		if _, err := s.Verify(ctx, "alice", next(t, text)); err != nil {
			t.Error(err)
		}
	})
}

// Whatever Config says later, a factor keeps the parameters that its user's app
// was given.
func TestParametersStayWithTheFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(totp.Memory)
		secret, _ := enrol(t, service(t, store, totp.Config{}), "alice")
		later := service(t, store, totp.Config{Digits: 8, Algorithm: totp.SHA256})
		if _, err := later.Verify(ctx, "alice", next(t, secret)); err != nil {
			t.Error(err)
		}
		e, err := later.Begin(ctx, caller("bob"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(e.URI(), "&algorithm=SHA256&digits=8") || len(e.Secret()) != 52 {
			t.Errorf("%s", e.URI())
		}
	})
}

func TestResetRemovesAndUnlockForgetsGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []guard.EventName
		s := service(t, new(totp.Memory), totp.Config{Notify: func(_ context.Context, c totp.Change) { changes = append(changes, c.Kind) }})
		secret, recovery := enrol(t, s, "alice")
		s.Verify(ctx, "alice", wrong(t, secret, time.Now()))
		if _, err := s.Verify(ctx, "alice", recovery[0]); err == nil {
			t.Fatal("no wait")
		}
		if err := s.Unlock(ctx, "alice"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Verify(ctx, "alice", recovery[0]); err != nil {
			t.Errorf("after Unlock: %v", err)
		}
		if err := s.Reset(ctx, "alice"); err != nil {
			t.Fatal(err)
		}
		if status, err := s.Status(ctx, "alice"); status != (totp.Status{}) || err != nil {
			t.Errorf("after Reset: %+v, %v", status, err)
		}
		if err := s.Reset(ctx, "nobody"); err != nil {
			t.Error(err)
		}
		if want := []guard.EventName{totp.EventBegun, totp.EventConfirmed, totp.EventUnlocked, totp.EventRecoveryUsed, totp.EventReset}; !slices.Equal(changes, want) {
			t.Errorf("Notify heard %v, want %v", changes, want)
		}
	})
}

// A store that does not answer is an error of its own, whatever is asked, and
// never a right or a wrong code. A code that was to be used up is not.
func TestStoreThatFailsIsAnErrorAndNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := func() error { return errDown }
		store := &probed{Store: new(totp.Memory)}
		s := service(t, store, totp.Config{})
		secret, recovery := enrol(t, s, "alice")
		calls := map[string]func() (any, error){
			"Required": func() (any, error) { ok, err := s.Required(ctx, "alice"); return ok, err },
			"VerifyFactor": func() (any, error) {
				m, err := s.VerifyFactor(ctx, laterCaller("alice"), recovery[0])
				return m != "", err
			},
			"Verify": func() (any, error) { r, err := s.Verify(ctx, "alice", recovery[0]); return r != totp.Result{}, err },
			"Begin":  func() (any, error) { e, err := s.Begin(ctx, caller("alice")); return e != nil, err },
			"Confirm": func() (any, error) {
				c, err := s.Confirm(ctx, caller("alice"), "123456", byPassword)
				return c != nil, err
			},
			"Disable": func() (any, error) { return false, s.Disable(ctx, caller("alice"), totp.Code(recovery[0])) },
			"Regenerate": func() (any, error) {
				c, err := s.Regenerate(ctx, caller("alice"), totp.Code(recovery[0]))
				return c != nil, err
			},
			"Import": func() (any, error) { c, err := s.Import(ctx, "bob", make([]byte, 20)); return c != nil, err },
			"Unlock": func() (any, error) { return false, s.Unlock(ctx, "alice") },
			"Reset":  func() (any, error) { return false, s.Reset(ctx, "alice") },
			"Status": func() (any, error) { st, err := s.Status(ctx, "alice"); return st != totp.Status{}, err },
		}
		check := func(when string, skip ...string) {
			for name, call := range calls {
				if slices.Contains(skip, name) {
					continue
				}
				if got, err := call(); got != false || !errors.Is(err, errDown) || isWrong(err) {
					t.Errorf("%s, %s: %v, %v", when, name, got, err)
				}
			}
		}
		store.load = down
		check("loading fails")
		store.load, store.save = nil, down
		check("saving fails", "Required", "Status", "Confirm")
		store.save = nil
		if _, err := s.Verify(ctx, "alice", recovery[0]); err != nil {
			t.Errorf("a code that could not be used up: %v", err)
		}
		// The attempt is saved first, then the success: the second may fail.
		saves := 0
		store.save = func() error {
			if saves++; saves == 2 {
				return errDown
			}
			return nil
		}
		if _, err := s.Verify(ctx, "alice", next(t, secret)); !errors.Is(err, errDown) {
			t.Errorf("a success that could not be saved: %v", err)
		}
	})
}

// An attempt is counted before its code is compared: where it cannot be counted,
// right and wrong codes are answered alike.
func TestNothingIsComparedThatIsNotCounted(t *testing.T) {
	store := &probed{Store: new(totp.Memory)}
	s := service(t, store, totp.Config{})
	secret, recovery := enrol(t, s, "alice")
	store.save = func() error { return errDown }
	answers := map[string]bool{}
	for _, code := range []string{wrong(t, secret, time.Now()), codeAt(t, secret, time.Now().Add(30*time.Second)), recovery[0]} {
		_, err := s.Verify(ctx, "alice", code)
		answers[fmt.Sprint(err)] = true
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
}

// A factor that changes between the count and the success is an error, and the code
// is not half used up. A new pending secret is no such change: any session can make
// one at any time.
func TestChangeBetweenCountAndSuccessIsAConflict(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*totp.Record)
		good   bool
	}{
		"the secret":     {func(r *totp.Record) { r.Active = append(r.Active, 0) }, false},
		"the step":       {func(r *totp.Record) { r.Step++ }, false},
		"recovery codes": {func(r *totp.Record) { r.Recovery = r.Recovery[1:] }, false},
		"the guesses":    {func(r *totp.Record) { r.Guesses = totp.Guesses{} }, false},
		"the wait":       {func(r *totp.Record) { r.Guesses.Retry = r.Guesses.Retry.Add(time.Second) }, false},
		"the debt":       {func(r *totp.Record) { r.Guesses.Forgiven = r.Guesses.Forgiven.Add(time.Second) }, false},
		"the pending secret": {func(r *totp.Record) {
			r.Pending, r.PendingUntil = []byte("box"), time.Now().Add(time.Minute)
		}, true},
	} {
		memory := new(totp.Memory)
		store := &probed{Store: memory}
		s := service(t, store, totp.Config{})
		_, recovery := enrol(t, s, "alice")
		saves := 0
		store.save = func() error {
			if saves++; saves != 2 {
				return nil
			}
			r, err := memory.LoadTOTP(ctx, "alice")
			if err != nil {
				return err
			}
			tt.change(&r)
			_, err = memory.SaveTOTP(ctx, "alice", r)
			return err
		}
		if _, err := s.Verify(ctx, "alice", recovery[9]); (err == nil) != tt.good || isWrong(err) {
			t.Errorf("%s: Verify = %v", name, err)
		}
		r, err := memory.LoadTOTP(ctx, "alice")
		if err != nil || (len(r.Recovery) < 9) || tt.good && string(r.Pending) != "box" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// A record that changes before the attempt is counted is loaded again: that is
// no reason to refuse a right code.
func TestChangeBeforeTheCountIsLoadedAgain(t *testing.T) {
	memory := new(totp.Memory)
	store := &probed{Store: memory}
	s := service(t, store, totp.Config{})
	_, recovery := enrol(t, s, "alice")
	saves := 0
	store.save = func() error {
		if saves++; saves > 3 {
			return nil
		}
		r, err := memory.LoadTOTP(ctx, "alice")
		if err != nil {
			return err
		}
		_, err = memory.SaveTOTP(ctx, "alice", r)
		return err
	}
	if _, err := s.Verify(ctx, "alice", recovery[0]); err != nil {
		t.Errorf("Verify = %v", err)
	}
	if saves != 5 {
		t.Errorf("%d saves, want 5: three that somebody forestalled, the count, the success", saves)
	}
}

// A store that never saves ends in an error, and not in a loop.
func TestStoreThatNeverSavesEndsInAnError(t *testing.T) {
	s := service(t, stubborn{}, totp.Config{})
	if _, err := s.Begin(ctx, caller("alice")); err == nil {
		t.Error("Begin did")
	}
	if err := s.Unlock(ctx, "alice"); err == nil {
		t.Errorf("Unlock did")
	}
}

type stubborn struct{}

func (stubborn) LoadTOTP(context.Context, string) (totp.Record, error) { return totp.Record{}, nil }
func (stubborn) SaveTOTP(context.Context, string, totp.Record) (bool, error) {
	return false, nil
}

func TestUserNamesThatStoresCannotKeepAreRefused(t *testing.T) {
	s := service(t, new(totp.Memory), totp.Config{})
	for name, user := range map[string]string{
		"empty": "", "too long": strings.Repeat("x", 256), "no UTF-8": "\xff", "with a NUL": "a\x00b",
	} {
		if _, err := s.Verify(ctx, user, "123456"); err == nil || isWrong(err) {
			t.Errorf("%s: Verify = %v", name, err)
		}
		if required, err := s.Required(ctx, user); err == nil || required {
			t.Errorf("%s: Required = %t, %v", name, required, err)
		}
	}
	long := service(t, new(totp.Memory), totp.Config{Account: shownAs("alice")})
	if _, err := long.Begin(ctx, caller(strings.Repeat("x", 255))); err != nil {
		t.Error(err)
	}
}

// For package auth a wrong code is "", and one that was not looked at an error.
func TestVerifyFactorReturnsTheMethodOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		secret, recovery := enrol(t, s, "alice")
		if method, err := s.VerifyFactor(ctx, laterCaller("alice"), next(t, secret)); method != "otp" || err != nil {
			t.Errorf("a code: %q, %v", method, err)
		}
		if method, err := s.VerifyFactor(ctx, laterCaller("alice"), recovery[0]); method != "otp" || err != nil {
			t.Errorf("a recovery code: %q, %v", method, err)
		}
		for _, bad := range []string{wrong(t, secret, time.Now()), "no code", ""} {
			if method, err := s.VerifyFactor(ctx, laterCaller("alice"), bad); method != "" || err != nil {
				t.Errorf("%q: %q, %v", bad, method, err)
			}
			time.Sleep(time.Second)
		}
		s.VerifyFactor(ctx, laterCaller("alice"), wrong(t, secret, time.Now()))
		method, err := s.VerifyFactor(ctx, laterCaller("alice"), recovery[1])
		d := asDenial(err)
		if method != "" || d == nil || d.Status != 429 || d.RetryAfter != 2*time.Second {
			t.Errorf("during a wait: %q, %v, %+v", method, err, d)
		}
		if method, err := s.VerifyFactor(ctx, caller("bob"), "123456"); method != "" || err != nil {
			t.Errorf("somebody without a factor: %q, %v", method, err)
		}
	})
}
