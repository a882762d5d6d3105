package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
)

// throttle is what auth.Config.Throttle wants.
type throttle interface {
	Reserve(ctx context.Context, login, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error)
}

var _ throttle = (*ratelimit.SignIn)(nil)

func newSignIn(t testing.TB, c ratelimit.SignInConfig) *ratelimit.SignIn {
	t.Helper()
	s, err := ratelimit.NewSignIn(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// try makes an attempt, and returns how long to wait if it was refused.
func try(t testing.TB, s throttle, login, addr string, outcome guard.Outcome) time.Duration {
	t.Helper()
	settle, wait, err := s.Reserve(t.Context(), login, addr)
	if err != nil || (settle == nil) != (wait > 0) {
		t.Fatalf("settle %t, wait %v, %v", settle != nil, wait, err)
	}
	if settle != nil {
		settle(outcome)
		settle(guard.Succeeded) // a second call must not give anything back
	}
	return wait
}

func TestSignInPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSignIn(t, ratelimit.SignInConfig{})
		for range 20 {
			if settle, wait, _ := s.Reserve(t.Context(), "alice", "192.0.2.1"); wait > 0 {
				t.Fatalf("a success was charged: wait %v", wait)
			} else {
				settle(guard.Succeeded)
			}
		}
		for i := range 5 {
			settle, wait, err := s.Reserve(t.Context(), "bob", "192.0.2.1")
			if err != nil || wait > 0 {
				t.Fatalf("attempt %d: %v %v", i, wait, err)
			}
			settle(guard.Failed)
			settle(guard.Succeeded)
		}
		settle, wait, err := s.Reserve(t.Context(), "bob", "192.0.2.1")
		if settle != nil || err != nil || wait < 15*time.Minute || wait > 17*time.Minute {
			t.Errorf("the sixth: settle %t, wait %v, %v", settle != nil, wait, err)
		}
		if wait := try(t, s, "bob", "192.0.2.2", guard.Failed); wait > 0 {
			t.Errorf("bob from elsewhere waits %v", wait)
		}
		if wait := try(t, s, "alice", "192.0.2.1", guard.Failed); wait > 0 {
			t.Errorf("alice from the same address waits %v", wait)
		}
		time.Sleep(15 * time.Minute)
		if wait := try(t, s, "bob", "192.0.2.1", guard.Failed); wait > 0 {
			t.Errorf("after the window bob waits %v", wait)
		}
	})
}

// TestParallelGuesses: of a thousand wrong passwords at once no more are tried
// than the limit says.
func TestSignInParallelGuesses(t *testing.T) {
	for _, tt := range []struct {
		name string
		addr func(i int) string
		want int64
	}{
		{"from one address", func(int) string { return "192.0.2.1" }, 5},
		{"from as many addresses", func(i int) string { return fmt.Sprintf("10.0.%d.%d", i>>8, i&255) }, 100},
		{"from two addresses", func(i int) string { return fmt.Sprintf("10.0.0.%d", i%2) }, 10},
		{"from as many networks", func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSignIn(t, ratelimit.SignInConfig{})
			var tried atomic.Int64
			var ready, done sync.WaitGroup
			ready.Add(1000)
			for i := range 1000 {
				done.Go(func() {
					ready.Done()
					ready.Wait()
					settle, wait, err := s.Reserve(t.Context(), "alice", tt.addr(i))
					if err != nil {
						t.Error(err)
					} else if wait == 0 {
						tried.Add(1)
						settle(guard.Failed)
					}
				})
			}
			done.Wait()
			if tried.Load() != tt.want {
				t.Errorf("%d passwords were tried, want %d", tried.Load(), tt.want)
			}
		})
	}
}

func TestSignInAddressAndNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSignIn(t, ratelimit.SignInConfig{})
		tried := func(n int, addr func(int) string) (ok int) {
			for i := range n {
				if try(t, s, fmt.Sprint("user", i), addr(i), guard.Failed) == 0 {
					ok++
				}
			}
			return ok
		}
		if got := tried(100, func(int) string { return "192.0.2.1:5000" }); got != 50 {
			t.Errorf("%d logins were tried from one address, want 50", got)
		}
		if got := tried(1000, func(i int) string { return fmt.Sprintf("[2001:db8:7:%x::1]:1", i) }); got != 200 {
			t.Errorf("%d logins were tried from one /48, want 200", got)
		}
		if got := tried(100, func(i int) string { return []string{"@", "", "nowhere"}[i%3] }); got != 50 {
			t.Errorf("%d logins were tried from no address, want 50", got)
		}
	})
}

// TestSignInCannotLockOut: a botnet uses up the limit of a login, and its owner
// still gets in from where they have been before.
func TestSignInCannotLockOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSignIn(t, ratelimit.SignInConfig{})
		try(t, s, "alice", "198.51.100.7", guard.Succeeded)
		refused := 0
		for i := range 300 {
			if try(t, s, "alice", fmt.Sprintf("10.1.%d.%d", i>>8, i&255), guard.Failed) > 0 {
				refused++
			}
		}
		if refused != 200 {
			t.Errorf("%d guesses were refused, want 200 of 300", refused)
		}
		if wait := try(t, s, "alice", "198.51.100.7:99", guard.Failed); wait > 0 {
			t.Errorf("alice is locked out of where she has signed in, for %v", wait)
		}
		// But five wrong ones are five there too.
		for range 4 {
			try(t, s, "alice", "198.51.100.7", guard.Failed)
		}
		if wait := try(t, s, "alice", "198.51.100.7", guard.Failed); wait == 0 {
			t.Error("a known address has no limit")
		}
		if wait := try(t, s, "alice", "198.51.100.8", guard.Failed); wait == 0 {
			t.Error("an unknown address is let past the limit of the login")
		}
		// Another user's known address is not alice's.
		try(t, s, "mallory", "203.0.113.1", guard.Succeeded)
		if wait := try(t, s, "alice", "203.0.113.1", guard.Failed); wait == 0 {
			t.Error("whoever signs in as somebody is known as everybody")
		}
		time.Sleep(31 * 24 * time.Hour)
		for i := range 100 {
			try(t, s, "alice", fmt.Sprintf("10.2.0.%d", i), guard.Failed)
		}
		if wait := try(t, s, "alice", "198.51.100.7", guard.Failed); wait == 0 {
			t.Error("an address is known for ever")
		}
	})
}

// TestSignInGlobal: when all attempts together are too many, known addresses
// notice nothing and unknown ones get one attempt per Slow each.
func TestSignInGlobalSlowsAndRefusesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSignIn(t, ratelimit.SignInConfig{Global: ratelimit.Limit{Quota: 50, Window: time.Hour}, Slow: 20 * time.Second})
		try(t, s, "alice", "198.51.100.7", guard.Succeeded)
		storm := func(n int) {
			for i := range n {
				try(t, s, fmt.Sprint("user", i), fmt.Sprintf("10.0.%d.%d", i>>8, i&255), guard.Failed)
			}
		}
		storm(50)
		for range 4 {
			if wait := try(t, s, "alice", "198.51.100.7", guard.Failed); wait > 0 {
				t.Errorf("a known address waits %v", wait)
			}
		}
		if wait := try(t, s, "bob", "203.0.113.5", guard.Failed); wait > 0 {
			t.Errorf("an unknown address waits %v for its first attempt", wait)
		}
		wait := try(t, s, "bob", "203.0.113.5", guard.Failed)
		if wait < 20*time.Second || wait > 22*time.Second {
			t.Errorf("an unknown address waits %v for its second attempt, want 20 s", wait)
		}
		if wait := try(t, s, "carol", "203.0.113.6", guard.Failed); wait > 0 {
			t.Errorf("another unknown address waits %v", wait)
		}
		time.Sleep(20 * time.Second)
		// What was refused is not charged: four attempts of the pair are left.
		for i := range 4 {
			if wait := try(t, s, "bob", "203.0.113.5", guard.Failed); wait > 0 {
				t.Errorf("attempt %d waits %v", i, wait)
			}
			time.Sleep(20 * time.Second)
		}
		if wait := try(t, s, "bob", "203.0.113.5", guard.Failed); wait < time.Minute {
			t.Errorf("the sixth failure of a pair waits %v", wait)
		}
	})
}

// TestSignInOutcomes: of the three ways to end, one counts, and another one
// makes an address known.
func TestSignInOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name           string
		outcome        guard.Outcome
		counted, known bool
	}{
		{"a failure counts", guard.Failed, true, false},
		{"who hung up, or found a store down, is as before", guard.Undecided, false, false},
		{"a success is free, and makes known", guard.Succeeded, false, true},
		{"an outcome that nobody has heard of counts", 7, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSignIn(t, ratelimit.SignInConfig{Login: ratelimit.Limit{Quota: 10, Window: time.Hour}})
			const home = "198.51.100.7"
			for range 5 {
				if wait := try(t, s, "alice", home, tt.outcome); wait > 0 {
					t.Fatalf("one of five waits %v", wait)
				}
			}
			if wait := try(t, s, "alice", home, tt.outcome); (wait > 0) != tt.counted {
				t.Errorf("the sixth waits %v, counted %t", wait, tt.counted)
			}
			// Strangers use up the limit of the login.
			strangers := 0
			for i := range 20 {
				if try(t, s, "alice", fmt.Sprintf("10.0.0.%d", i), guard.Failed) == 0 {
					strangers++
				}
			}
			if want := map[bool]int{true: 5, false: 10}[tt.counted]; strangers != want {
				t.Errorf("%d strangers were let in, want %d", strangers, want)
			}
			if known := try(t, s, "alice", home, guard.Undecided) == 0; known != tt.known {
				t.Errorf("known %t, want %t", known, tt.known)
			}
		})
	}
}

// TestSignInSlowLowersWhatAddressAllows: 400 addresses guess for a quarter of an
// hour, and each of them gets less than Address alone would give it.
func TestSignInSlowLowersWhatAddressAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSignIn(t, ratelimit.SignInConfig{Global: ratelimit.Limit{Quota: 10, Window: time.Minute}})
		const addresses = 400
		guesses := 0
		for second := range 900 / 5 {
			for a := range addresses {
				if try(t, s, fmt.Sprintf("user%d-%d", a, second%50), fmt.Sprintf("10.0.%d.%d", a>>8, a&255), guard.Failed) == 0 {
					guesses++
				}
			}
			time.Sleep(5 * time.Second)
		}
		// One per 5 minutes each, and what Global admits before it slows.
		if most := addresses*3 + 15*10 + 10; guesses > most || guesses < addresses*3 {
			t.Errorf("%d guesses in 15 minutes, want %d to %d, of the %d that Address allows", guesses, addresses*3, most, addresses*50)
		}
	})
}

func TestSignInKnownByTheHost(t *testing.T) {
	broken := errors.New("no database")
	s := newSignIn(t, ratelimit.SignInConfig{
		Login: ratelimit.Limit{Quota: 1, Window: time.Hour},
		Known: func(_ context.Context, login, addr string) (bool, error) {
			if login == "error" {
				return false, broken
			}
			return login == "alice" && addr == "192.0.2.1", nil
		},
	})
	for i, want := range []bool{true, true, true} {
		if got := try(t, s, "alice", "192.0.2.1", guard.Failed) == 0; got != want {
			t.Errorf("known, attempt %d: %t", i, got)
		}
	}
	for i, want := range []bool{true, false} {
		if got := try(t, s, "alice", fmt.Sprintf("192.0.2.%d", 7+i), guard.Failed) == 0; got != want {
			t.Errorf("unknown, attempt %d: %t", i, got)
		}
	}
	if _, _, err := s.Reserve(t.Context(), "error", "192.0.2.1"); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestSignInFindsEveryMistake(t *testing.T) {
	_, err := ratelimit.NewSignIn(ratelimit.SignInConfig{
		Pair: ratelimit.Limit{Kind: ratelimit.Smooth, Quota: 5, Burst: 1, Window: time.Hour}, Slow: -1, Timeout: time.Hour, Store: faulty{},
	})
	for _, want := range []string{"SignInConfig.Pair: ratelimit: Limit.Kind is smooth", "SignInConfig.Slow", "Config.Timeout is 1h0m0s", "Config.Name is empty", "Config.Secret is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in %v", want, err)
		}
	}
}

func TestSignInRefusesASlowThatLowersNothing(t *testing.T) {
	for _, tt := range []struct {
		name    string
		slow    time.Duration
		address ratelimit.Limit
		wrong   string
	}{
		{"the defaults are good", 0, ratelimit.Limit{}, ""},
		{"just as much", 18 * time.Second, ratelimit.Limit{}, "SignInConfig.Slow is 18s, which allows an address as much as SignInConfig.Address, 50 per 15 minutes; set more than 18s"},
		{"a little less", 18*time.Second + time.Microsecond, ratelimit.Limit{}, ""},
		{"a narrow Address", 0, ratelimit.Limit{Quota: 3, Window: 15 * time.Minute}, "Slow is 5m0s"},
		{"a narrow Address and a Slow for it", 10 * time.Minute, ratelimit.Limit{Quota: 3, Window: 15 * time.Minute}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ratelimit.NewSignIn(ratelimit.SignInConfig{Slow: tt.slow, Address: tt.address})
			if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("%v, want %q", err, tt.wrong)
			}
		})
	}
}

func TestSignInWithItsStoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSignIn(t, ratelimit.SignInConfig{Store: faulty{}, Name: "n", Secret: guard.NewSecret(make([]byte, 16))})
		ok := 0
		for range 20 {
			if try(t, s, "alice", "192.0.2.1", guard.Failed) == 0 {
				ok++
			}
		}
		if ok != 5 {
			t.Errorf("%d guesses without the store, want the 5 that this process allows", ok)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := s.Reserve(ctx, "bob", "192.0.2.1"); err == nil {
			t.Error("a cancelled context is no error")
		}
	})
}

// reserving calls Reserve in a goroutine of its own and returns where its answer
// will be.
type answer struct {
	settle func(guard.Outcome)
	wait   time.Duration
	err    error
}

func reserving(ctx context.Context, s *ratelimit.SignIn, login, addr string) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		settle, wait, err := s.Reserve(ctx, login, addr)
		c <- answer{settle, wait, err}
	}()
	synctest.Wait()
	return c
}

func answered(c <-chan answer) (answer, bool) {
	synctest.Wait()
	select {
	case a := <-c:
		return a, true
	default:
		return answer{}, false
	}
}

// Attempts from one address wait for each other, attempts from another do not wait
// for them.
func TestAttemptsOfOneAddressWaitInLine(t *testing.T) {
	for _, tt := range []struct {
		name string
		addr func(i int) string
		free int // attempts that do not wait
	}{
		{"IPv4", func(i int) string { return fmt.Sprintf("192.0.2.1:%d", i) }, 2},
		{"a /64", func(i int) string { return fmt.Sprintf("[2001:db8::%x]:1", i) }, 2},
		{"a /48", func(i int) string { return fmt.Sprintf("[2001:db8:0:%x::1]:1", i) }, 6},
		{"no address", func(i int) string { return "@" }, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := ratelimit.NewSignIn(ratelimit.SignInConfig{InFlight: 2, NetworkFactor: 3})
				if err != nil {
					t.Fatal(err)
				}
				login := func(i int) string { return fmt.Sprintf("own-%d", i) }
				var under []answer
				for i := range tt.free {
					a, ok := answered(reserving(t.Context(), s, login(i), tt.addr(i)))
					if !ok || a.settle == nil {
						t.Fatalf("attempt %d waits or is refused: %+v", i, a)
					}
					under = append(under, a)
				}
				second, third := reserving(t.Context(), s, "b", tt.addr(tt.free)), reserving(t.Context(), s, "c", tt.addr(tt.free+1))
				if _, ok := answered(second); ok {
					t.Fatal("one more does not wait")
				}
				if a, ok := answered(reserving(t.Context(), s, "alice", "198.51.100.1:1")); !ok || a.settle == nil {
					t.Fatalf("another address waits or is refused: %+v", a)
				}
				// The turns come in order, and a settle that is repeated gives none.
				under[0].settle(guard.Failed)
				under[0].settle(guard.Failed)
				a, ok := answered(second)
				if !ok || a.settle == nil {
					t.Fatalf("the turn of the second did not come: %+v", a)
				}
				if _, ok := answered(third); ok {
					t.Fatal("the third did not wait for its turn")
				}
				time.Sleep(5 * time.Second)
				if a, ok := answered(third); !ok || a.settle != nil || a.wait <= 0 || a.err != nil {
					t.Fatalf("after 5 seconds: %+v, want a refusal", a)
				}
				// One that gives up leaves no hole in the line.
				ctx, cancel := context.WithCancel(t.Context())
				gone, next := reserving(ctx, s, "d", tt.addr(0)), reserving(t.Context(), s, "e", tt.addr(0))
				cancel()
				if a, ok := answered(gone); !ok || !errors.Is(a.err, context.Canceled) || a.settle != nil {
					t.Fatalf("a client that hung up: %+v", a)
				}
				a.settle(guard.Undecided)
				for _, u := range under[1:] {
					u.settle(guard.Succeeded)
				}
				if a, ok := answered(next); !ok || a.settle == nil {
					t.Fatalf("the one behind: %+v", a)
				}
			})
		})
	}
}

// A line has an end, at once, and only that of its own address.
func TestALineOfAttemptsHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := ratelimit.NewSignIn(ratelimit.SignInConfig{InFlight: 1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 65 {
			reserving(ctx, s, fmt.Sprint(i), "192.0.2.1:1")
		}
		began := time.Now()
		if a, ok := answered(reserving(t.Context(), s, "x", "192.0.2.1:1")); !ok || a.wait <= 0 || a.settle != nil || time.Since(began) != 0 {
			t.Errorf("the 66th: %v %+v, want a refusal at once", ok, a)
		}
		if a, ok := answered(reserving(t.Context(), s, "x", "192.0.2.2:1")); !ok || a.settle == nil {
			t.Errorf("another address: %v %+v", ok, a)
		}
		cancel()
		synctest.Wait()
	})
}

// A refusal and an error give the place in line back.
func TestRefusedAttemptsHoldNoPlaceInLine(t *testing.T) {
	broken := errors.New("broken")
	s, err := ratelimit.NewSignIn(ratelimit.SignInConfig{
		InFlight: 1, Pair: ratelimit.Limit{Quota: 1},
		Known: func(_ context.Context, login, _ string) (bool, error) {
			if login == "error" {
				return false, broken
			}
			return true, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	settle, _, err := s.Reserve(ctx, "alice", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	settle(guard.Failed)
	for range 3 {
		if settle, wait, err := s.Reserve(ctx, "alice", "192.0.2.1"); settle != nil || wait <= 0 || err != nil {
			t.Fatalf("a used-up pair: %t, %v, %v", settle != nil, wait, err)
		}
		if _, _, err := s.Reserve(ctx, "error", "192.0.2.1"); !errors.Is(err, broken) {
			t.Fatalf("Known is down: %v", err)
		}
	}
	if settle, wait, err := s.Reserve(ctx, "bob", "192.0.2.1"); settle == nil {
		t.Fatalf("the next: %v, %v", wait, err)
	}
}

// Successes of one address are counted, at least ten times as generously as
// failures, and attempts that were not decided are not.
func TestSuccessesOfOneAddressAreLimited(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config ratelimit.SignInConfig
		want   int
	}{
		{"by default", ratelimit.SignInConfig{}, 1000},
		{"20 times Address", ratelimit.SignInConfig{Address: ratelimit.Limit{Quota: 6}}, 120},
		{"as it is said", ratelimit.SignInConfig{Attempts: ratelimit.Limit{Quota: 70}}, 70},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ratelimit.NewSignIn(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			one := func(addr string, outcome guard.Outcome) bool {
				settle, _, err := s.Reserve(t.Context(), "own", addr)
				if err != nil {
					t.Fatal(err)
				}
				if settle == nil {
					return false
				}
				settle(outcome)
				return true
			}
			for i := range 2 * tt.want {
				if !one("192.0.2.1", guard.Undecided) {
					t.Fatalf("undecided attempt %d is refused", i)
				}
			}
			for i := range tt.want {
				if !one("192.0.2.1", guard.Succeeded) {
					t.Fatalf("success %d is refused, want %d", i, tt.want)
				}
			}
			if one("192.0.2.1", guard.Succeeded) {
				t.Errorf("success %d is admitted", tt.want)
			}
			if !one("192.0.2.2", guard.Succeeded) {
				t.Error("another address is refused")
			}
		})
	}
}

// An attempt that Slow refuses costs its pair and its address nothing.
func TestAttemptsThatSlowRefusesAreNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := ratelimit.NewSignIn(ratelimit.SignInConfig{Global: ratelimit.Limit{Quota: 1, Window: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		try := func(addr string) bool {
			settle, _, err := s.Reserve(t.Context(), "alice", addr)
			if err != nil {
				t.Fatal(err)
			}
			if settle == nil {
				return false
			}
			settle(guard.Failed)
			return true
		}
		if !try("192.0.2.1") || !try("192.0.2.2") {
			t.Fatal("the first of all, and the first that Slow allows, are refused")
		}
		for range 100 {
			if try("192.0.2.2") {
				t.Fatal("Slow allows a second attempt at once")
			}
		}
		time.Sleep(5*time.Minute + time.Second)
		if !try("192.0.2.2") {
			t.Error("attempts that Slow has refused have used up the quota of their pair")
		}
	})
}
