package totp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
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

// enrolled returns a service on which alice has a factor, enrolled in the session of
// caller, and a minute has passed.
func enrolled(t testing.TB, config totp.Config) (s *totp.Service, store *totp.Memory, secret string, recovery []string) {
	t.Helper()
	store = new(totp.Memory)
	s = service(t, store, config)
	secret, recovery = enrol(t, s, "alice")
	time.Sleep(time.Minute)
	return s, store, secret, recovery
}

func isNotProven(err error) bool { return errors.Is(err, identity.ErrNotProven) }

func isSameSession(err error) bool {
	d := asDenial(err)
	return d != nil && d.Status == 403 && errors.Is(err, totp.ErrSameSession)
}

func TestFactorDoesNotRaiseTheSessionThatEnrolledIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, secret, recovery := enrolled(t, totp.Config{})
		before, err := store.LoadTOTP(ctx, "alice")
		if err != nil {
			t.Fatal(err)
		}
		for what, code := range map[string]string{
			"a code": codeAt(t, secret, time.Now()), "a recovery code": recovery[0],
			"a wrong code": wrong(t, secret, time.Now()), "a wrong recovery code": "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA",
		} {
			if method, err := s.VerifyFactor(ctx, caller("alice"), code); method != "" || !isSameSession(err) {
				t.Errorf("%s: %q, %v", what, method, err)
			}
		}
		after, err := store.LoadTOTP(ctx, "alice")
		if err != nil || after.Guesses != before.Guesses || after.Step != before.Step || len(after.Recovery) != 10 {
			t.Errorf("a refusal changed the record: %+v, %v", after, err)
		}
		if method, err := s.VerifyFactor(ctx, laterCaller("alice"), codeAt(t, secret, time.Now())); method != "otp" || err != nil {
			t.Errorf("in another session: %q, %v", method, err)
		}
		signIn := caller("alice")
		signIn.Session = ""
		if method, err := s.VerifyFactor(ctx, signIn, recovery[0]); method != "otp" || err != nil {
			t.Errorf("at sign-in: %q, %v", method, err)
		}
	})
}

func TestRecoveryCodesDoNotRaiseTheSessionThatMadeThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, secret, _ := enrolled(t, totp.Config{})
		codes, err := s.Regenerate(ctx, laterCaller("alice"), byPassword)
		if err != nil {
			t.Fatal(err)
		}
		recovery := codes.All()
		if method, err := s.VerifyFactor(ctx, laterCaller("alice"), recovery[0]); method != "" || !isSameSession(err) {
			t.Errorf("in the session that made them: %q, %v", method, err)
		}
		if method, err := s.VerifyFactor(ctx, laterCaller("alice"), codeAt(t, secret, time.Now())); method != "otp" || err != nil {
			t.Errorf("a code, whose secret is of another session: %q, %v", method, err)
		}
		if method, err := s.VerifyFactor(ctx, caller("alice"), recovery[0]); method != "otp" || err != nil {
			t.Errorf("in another session: %q, %v", method, err)
		}
		if method, err := s.VerifyFactor(ctx, caller("alice"), next(t, secret)); method != "" || !isSameSession(err) {
			t.Errorf("a code in the session that enrolled its secret: %q, %v", method, err)
		}
	})
}

// The tag of a session survives that its secret is sealed anew.
func TestSealingAnewKeepsTheSessionOfTheFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, secret, _ := enrolled(t, totp.Config{})
		fresh, err := totp.New(store, keyring(t, []byte("a new key of thirty-two bytes!!!"), sealKey), totp.Config{Issuer: "Example"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fresh.VerifyFactor(ctx, laterCaller("alice"), codeAt(t, secret, time.Now())); err != nil {
			t.Fatal(err)
		}
		if _, err := fresh.VerifyFactor(ctx, caller("alice"), next(t, secret)); !isSameSession(err) {
			t.Errorf("after sealing anew: %v", err)
		}
	})
}

func TestStolenTokenChangesNoFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, new(totp.Memory), totp.Config{})
		e, err := s.Begin(ctx, caller("alice"))
		if err != nil {
			t.Fatal(err)
		}
		code := func() string { return codeAt(t, e.Secret(), time.Now()) }
		status := func(body string) *httptest.ResponseRecorder {
			return send(s.ConfirmHandler(), alice(), "POST", "/", asJSON, body)
		}
		is(t, "no proof", status(jsonCode(code())), 403, "proof_required")
		is(t, "an empty password", status(`{"code":"`+code()+`","password":""}`), 403, "proof_required")
		is(t, "a grant that nobody takes", status(`{"code":"`+code()+`","grant":"x"}`), 403, "proof_required")
		is(t, "two proofs", status(`{"code":"`+code()+`","password":"`+password+`","current_code":"123456"}`), 400, "one of current_code, password and grant")
		is(t, "a wrong password", status(`{"code":"`+code()+`","password":"wrong"}`), 400, "invalid_proof")
		is(t, "too soon", status(`{"code":"`+code()+`","password":"`+password+`"}`), 429, "too_many_attempts")
		time.Sleep(time.Second)
		is(t, "a code of the pending factor as the proof", status(`{"code":"`+code()+`","current_code":"`+code()+`"}`), 400, "invalid_proof")
		time.Sleep(2 * time.Second)
		if required, err := s.Required(ctx, "alice"); required || err != nil {
			t.Fatalf("Required = %t, %v", required, err)
		}
		is(t, "the password", status(`{"code":"`+code()+`","password":"`+password+`"}`), 200, "recovery_codes")
	})
}

// Guesses at the password by a stolen session wait like guesses at a code, and end
// after Config.MaxFailures.
func TestWrongProofsCountLikeWrongCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s, _, secret, recovery := enrolled(t, totp.Config{MaxFailures: 3, VerifyPassword: func(ctx context.Context, p *identity.Principal, given string) error {
			asked++
			return verifyPassword(ctx, p, given)
		}})
		asked = 0
		for range 3 {
			if err := s.Disable(ctx, caller("alice"), totp.Password("wrong")); !isNotProven(err) {
				t.Fatal(err)
			}
			if _, waits := throttled(s.Disable(ctx, caller("alice"), byPassword)); !waits {
				t.Error("no wait after a wrong password")
			}
			time.Sleep(24 * time.Hour)
		}
		for name, proof := range map[string]totp.Proof{"password": byPassword, "code": totp.Code(codeAt(t, secret, time.Now())), "recovery code": totp.Code(recovery[0])} {
			if waits, ok := throttled(s.Disable(ctx, caller("alice"), proof)); !ok || !waits.Locked {
				t.Errorf("%s: not locked", name)
			}
		}
		if asked != 3 {
			t.Errorf("%d passwords were verified, want 3", asked)
		}
	})
}

// A right password takes its own charge back and no more, or whoever has it could
// guess codes without end.
func TestPasswordDoesNotEndTheCountOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, secret, _ := enrolled(t, totp.Config{})
		if _, err := s.Verify(ctx, "alice", wrong(t, secret, time.Now())); !isWrong(err) {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := s.Regenerate(ctx, caller("alice"), byPassword); err != nil {
			t.Fatal(err)
		}
		if r, err := store.LoadTOTP(ctx, "alice"); r.Guesses.Failures != 1 || err != nil {
			t.Errorf("%d failures, %v, want 1", r.Guesses.Failures, err)
		}
		if _, err := s.Regenerate(ctx, caller("alice"), totp.Code(next(t, secret))); err != nil {
			t.Fatal(err)
		}
		if r, err := store.LoadTOTP(ctx, "alice"); r.Guesses.Failures != 0 || err != nil {
			t.Errorf("%d failures, %v, want 0", r.Guesses.Failures, err)
		}
	})
}

func TestGrantsArePassedToUseGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var result error
		s, store, _, _ := enrolled(t, totp.Config{UseGrant: func(_ context.Context, p *identity.Principal, grant string) error {
			if p.Subject != "alice" || grant != "a grant" {
				t.Errorf("UseGrant(%v, %q)", p, grant)
			}
			return result
		}})
		body := `{"grant":"a grant"}`
		for _, tt := range []struct {
			err    error
			status int
			code   string
		}{
			{fmt.Errorf("used: %w", identity.ErrNotProven), 400, "invalid_proof"},
			{guard.TooManyAttempts(time.Minute, errDown), 429, "too_many_attempts"},
			{errDown, 503, "unavailable"},
			{fmt.Errorf("down: %w", guard.TooManyAttempts(time.Minute, errDown)), 503, "unavailable"},
			{guard.InvalidToken("Bearer", errDown), 503, "unavailable"},
			{(*guard.Denial)(nil), 503, "unavailable"},
		} {
			result = tt.err
			is(t, tt.err.Error(), send(s.RegenerateHandler(), alice(), "POST", "/", asJSON, body), tt.status, tt.code)
			r, err := store.LoadTOTP(ctx, "alice")
			if want := map[bool]int{true: 1, false: 0}[isNotProven(tt.err)]; r.Guesses.Failures != want || err != nil {
				t.Errorf("%v: %d failures, %v, want %d", tt.err, r.Guesses.Failures, err, want)
			}
			if err := s.Unlock(ctx, "alice"); err != nil {
				t.Fatal(err)
			}
		}
		result = nil
		is(t, "a good one", send(s.DisableHandler(), alice(), "DELETE", "/", asForm, "grant=a+grant"), 204, "")
	})
}

// The guide's own flow tries a code before there is a factor.
func TestCodesWithoutAFactorAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &probed{Store: new(totp.Memory)}
		s := service(t, store, totp.Config{VerifyPassword: func(context.Context, *identity.Principal, string) error {
			t.Error("a password is verified for nothing")
			return nil
		}})
		for range 5 {
			is(t, "verify", post(s.VerifyHandler(), alice(), "123456"), 400, "invalid_code")
			is(t, "confirm", confirm(s, "123456"), 400, "invalid_code")
			is(t, "disable", send(s.DisableHandler(), alice(), "DELETE", "/", asJSON, `{"password":"x"}`), 400, "invalid_code")
		}
		if store.saves != 0 {
			t.Errorf("%d saves", store.saves)
		}
	})
	t.Run("an enrolment that has expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := service(t, new(totp.Memory), totp.Config{})
			e, err := s.Begin(ctx, caller("alice"))
			if err != nil {
				t.Fatal(err)
			}
			is(t, "verify before the confirmation", post(s.VerifyHandler(), alice(), codeAt(t, e.Secret(), time.Now())), 400, "invalid_code")
			is(t, "confirm", confirm(s, codeAt(t, e.Secret(), time.Now())), 200, "recovery_codes")
		})
	})
}

// A session that ends while its change is under way leaves nothing behind.
func TestChangeOfARevokedSessionIsTakenBack(t *testing.T) {
	for name, tt := range map[string]struct {
		revoked bool
		err     error
		status  int
	}{"revoked": {true, nil, 401}, "not known": {false, errDown, 503}, "a verdict of another system": {false, guard.ErrInactive, 503}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asking := false
				s, store, secret, recovery := enrolled(t, totp.Config{Revoked: func(_ context.Context, p *identity.Principal) (bool, error) {
					if p.Session != "session" {
						t.Errorf("%v", p)
					}
					return asking && tt.revoked, map[bool]error{true: tt.err}[asking]
				}})
				e, err := s.Begin(ctx, caller("alice"))
				if err != nil {
					t.Fatal(err)
				}
				asking = true
				before, _ := store.LoadTOTP(ctx, "alice")
				used := func(i int) string { return `"` + recovery[i] + `"` }
				code := codeAt(t, e.Secret(), time.Now())
				is(t, "confirm", send(s.ConfirmHandler(), alice(), "POST", "/", asJSON, `{"code":"`+code+`","current_code":`+used(0)+`}`), tt.status, "")
				is(t, "regenerate", send(s.RegenerateHandler(), alice(), "POST", "/", asJSON, `{"code":`+used(1)+`}`), tt.status, "")
				is(t, "disable", send(s.DisableHandler(), alice(), "POST", "/", asJSON, `{"code":`+used(2)+`}`), tt.status, "")
				proof := codeAt(t, secret, time.Now())
				is(t, "disable with a code", send(s.DisableHandler(), alice(), "POST", "/", asJSON, jsonCode(proof)), tt.status, "")
				if _, err := s.Verify(ctx, "alice", proof); !isWrong(err) {
					t.Errorf("the code that was the proof of a change that was taken back: %v", err)
				}
				after, err := store.LoadTOTP(ctx, "alice")
				if err != nil || !bytes.Equal(after.Active, before.Active) || !slices.Equal(after.Recovery, before.Recovery[3:]) {
					t.Errorf("the factor of before is not there: %+v, %v", after, err)
				}
				time.Sleep(time.Minute)
				if _, err := s.Verify(ctx, "alice", next(t, secret)); err != nil {
					t.Errorf("a code of the factor of before: %v", err)
				}
			})
		})
	}
}

// What is changed again after a change, by Reset for one, is not undone.
func TestTakingBackDoesNotUndoAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *totp.Service
		ended := false
		s, store, _, _ := enrolled(t, totp.Config{Revoked: func(context.Context, *identity.Principal) (bool, error) {
			if !ended {
				return false, nil
			}
			return true, s.Reset(ctx, "alice")
		}})
		ended = true
		if _, err := s.Regenerate(ctx, caller("alice"), byPassword); !errors.Is(err, guard.ErrInactive) {
			t.Errorf("Regenerate = %v", err)
		}
		if r, err := store.LoadTOTP(ctx, "alice"); len(r.Active) != 0 || err != nil {
			t.Errorf("the factor is back: %+v, %v", r, err)
		}
	})
}

func TestEndIsCalledBeforeAndAfterAFactorEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		var fail error
		store := new(totp.Memory)
		var s *totp.Service
		s = service(t, store, totp.Config{End: func(ctx context.Context, c totp.Change) error {
			required, err := s.Required(ctx, c.User)
			if err != nil {
				t.Error(err)
			}
			calls = append(calls, fmt.Sprint(c.User, " ", c.Kind, " ", required))
			return fail
		}})
		want := func(what string, all ...string) {
			t.Helper()
			if !slices.Equal(calls, all) {
				t.Errorf("%s: End was called with %q, want %q", what, calls, all)
			}
			calls = nil
		}
		_, recovery := enrol(t, s, "alice")
		want("a first factor")
		if _, err := s.Regenerate(ctx, caller("alice"), byPassword); err != nil {
			t.Fatal(err)
		}
		want("recovery codes")
		enrol(t, s, "alice")
		want("another factor", "alice factor_replaced true", "alice factor_replaced true")
		fail = guard.ErrInactive // a verdict that is none
		if err := s.Disable(ctx, caller("alice"), byPassword); err == nil || errors.Is(err, guard.ErrInactive) {
			t.Errorf("Disable = %v", err)
		}
		want("End that fails", "alice factor_removed true")
		if err := s.Reset(ctx, "alice"); err == nil {
			t.Error("Reset is done")
		}
		want("End that fails", "alice factor_reset true")
		if r, err := store.LoadTOTP(ctx, "alice"); len(r.Active) == 0 || r.Guesses != (totp.Guesses{}) || err != nil {
			t.Errorf("%+v, %v", r, err)
		}
		fail = nil
		if err := s.Disable(ctx, caller("alice"), totp.Password("wrong")); !isNotProven(err) {
			t.Errorf("Disable = %v", err)
		}
		want("a wrong proof")
		time.Sleep(time.Second)
		if err := s.Disable(ctx, caller("alice"), byPassword); err != nil {
			t.Fatal(err)
		}
		want("removing", "alice factor_removed true", "alice factor_removed false")
		if err := s.Reset(ctx, "alice"); err != nil {
			t.Fatal(err)
		}
		want("resetting", "alice factor_reset false", "alice factor_reset false")
		_ = recovery
	})
}

// Each change of state is one event, with who did it and whose factor it is.
func TestEventsNameActorAndTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events, changes []string
		s := service(t, new(totp.Memory), totp.Config{MaxFailures: 1, Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
			actor := "nobody"
			if e.Principal != nil {
				actor = e.Principal.Subject
			}
			if path := e.Request.Path; path != "" {
				actor += path
			}
			events = append(events, actor+" "+string(e.Name)+" "+e.Target)
			changes = append(changes, strings.ReplaceAll(fmt.Sprint(e.Changes), "factor=totp", ""))
		}}})
		admin := identity.NewContext(ctx, caller("admin"))
		w := send(s.SetupHandler(), alice(), "POST", "/2fa/setup/", "", "", "Accept", asJSON)
		var setup struct{ Secret string }
		if err := json.Unmarshal(w.Body.Bytes(), &setup); err != nil {
			t.Fatal(err)
		}
		codes, err := s.Confirm(ctx, caller("alice"), codeAt(t, setup.Secret, time.Now()), byPassword)
		if err != nil {
			t.Fatal(err)
		}
		s.Verify(ctx, "alice", next(t, setup.Secret))
		s.Verify(ctx, "alice", codes.All()[0])
		s.Regenerate(ctx, caller("alice"), byPassword)
		s.Verify(ctx, "alice", wrong(t, setup.Secret, time.Now()))
		s.Unlock(admin, "alice")
		enrol(t, s, "alice")
		s.Disable(ctx, caller("alice"), byPassword)
		s.Import(admin, "alice", make([]byte, 20))
		s.Reset(admin, "alice")
		s.Reset(admin, "alice") // changes nothing
		want := []string{
			"alice/2fa/setup/ factor_begun alice", "alice factor_confirmed alice", "nobody factor_used alice", "nobody factor_recovery_used alice",
			"alice factor_recovery_regenerated alice", "nobody factor_locked alice", "admin factor_unlocked alice",
			"alice factor_begun alice", "alice factor_replaced alice", "alice factor_removed alice", "admin factor_confirmed alice", "admin factor_reset alice",
		}
		if !slices.Equal(events, want) {
			t.Errorf("the events are\n%s\nwant\n%s", strings.Join(events, "\n"), strings.Join(want, "\n"))
		}
		left := func(n int) string { return fmt.Sprintf("[ recovery_left=%d]", n) }
		if want := []string{"[]", left(10), left(10), left(9), left(10), left(10), left(10), "[]", left(10), "[]", left(10), "[]"}; !slices.Equal(changes, want) {
			t.Errorf("the changes are %q, want %q", changes, want)
		}
	})
}

func TestProofsPrintNoSecret(t *testing.T) {
	const secret = "hunter2hunter2"
	for name, proof := range map[string]totp.Proof{"password": totp.Password(secret), "code": totp.Code(secret), "grant": totp.Grant(secret)} {
		text, err := json.Marshal(struct{ P totp.Proof }{proof})
		if err != nil {
			t.Fatal(err)
		}
		all := string(text)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			all += fmt.Sprintf(verb, proof) + fmt.Sprintf(verb, &proof)
		}
		for _, leak := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprint([]byte(secret))} {
			if strings.Contains(all, leak) {
				t.Errorf("%s prints %s", name, all)
			}
		}
	}
}

func TestShortSecretsAreImportedByChoiceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, insecure := range []bool{false, true} {
			store := new(totp.Memory)
			s := service(t, store, totp.Config{InsecureShortSecrets: insecure})
			for size, want := range map[int]bool{0: false, 5: false, 9: false, 10: insecure, 15: insecure, 16: true, 128: true, 129: false} {
				_, err := s.Import(ctx, fmt.Sprint(size), make([]byte, size))
				if (err == nil) != want {
					t.Errorf("%d bytes, InsecureShortSecrets %t: %v", size, insecure, err)
				}
			}
			if !insecure {
				continue
			}
			time.Sleep(time.Minute)
			// Without the field, as for a host that has moved everybody.
			if _, err := service(t, store, totp.Config{}).Verify(ctx, "10", codeAt(t, "AAAAAAAAAAAAAAAA", time.Now())); err != nil {
				t.Errorf("a code of 10 bytes: %v", err)
			}
		}
	})
}

// Of many passwords that are guessed at once, one is verified.
func TestConcurrentPasswordsAreCountedBeforeTheyAreVerified(t *testing.T) {
	var verified atomic.Int32
	store := new(totp.Memory)
	s := service(t, store, totp.Config{FirstWait: time.Hour, VerifyPassword: func(ctx context.Context, p *identity.Principal, given string) error {
		verified.Add(1)
		return verifyPassword(ctx, p, given)
	}})
	enrol(t, s, "alice")
	verified.Store(0)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			err := s.Disable(ctx, caller("alice"), totp.Password("wrong"))
			if _, waits := throttled(err); !waits && !isNotProven(err) {
				t.Errorf("Disable = %v", err)
			}
		})
	}
	all.Wait()
	if n := verified.Load(); n != 1 {
		t.Errorf("%d of 64 passwords were verified, want 1", n)
	}
}
