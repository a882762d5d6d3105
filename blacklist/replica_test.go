package blacklist_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/blacklisttest"
)

// patient is the configuration of replicas that nobody runs.
var patient = blacklist.ReplicaConfig{MaxStale: time.Hour}

// newReplica returns a replica that has read the log.
func newReplica(t testing.TB, log blacklist.Log, config blacklist.ReplicaConfig) *blacklist.Replica {
	t.Helper()
	r, err := blacklist.NewReplica(log, config)
	if err == nil {
		err = r.Refresh(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// twoNodes revokes at one replica and asks another one that reads first.
type twoNodes struct{ here, there blacklist.Revoker }

func (n twoNodes) Revoke(ctx context.Context, r identity.Revocation) error {
	return n.here.Revoke(ctx, r)
}

func (n twoNodes) RevokeNow(ctx context.Context, r identity.Revocation) (time.Time, error) {
	return n.here.RevokeNow(ctx, r)
}

func (n twoNodes) IssueTime(ctx context.Context, p *identity.Principal) (time.Time, error) {
	if _, err := n.there.Checkpoint(ctx); err != nil {
		return time.Time{}, err
	}
	return n.there.IssueTime(ctx, p)
}

func (n twoNodes) Checkpoint(ctx context.Context) (uint64, error) { return n.there.Checkpoint(ctx) }

func (n twoNodes) RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	return n.there.RevokedSince(ctx, p, checkpoint)
}

func (n twoNodes) Revoked(ctx context.Context, p *identity.Principal) (bool, error) {
	return n.there.Revoked(ctx, p)
}

// afterRestart asks a replica that has read the whole log for each question.
type afterRestart struct {
	blacklist.Revoker
	log blacklist.Log
}

func (a afterRestart) Revoked(ctx context.Context, p *identity.Principal) (bool, error) {
	r, err := blacklist.NewReplica(a.log, patient)
	if err == nil {
		err = r.Refresh(ctx)
	}
	if err != nil {
		return false, err
	}
	return r.Revoked(ctx, p)
}

func TestReplicaKeepsTheRules(t *testing.T) {
	t.Run("of a MemoryLog", func(t *testing.T) {
		blacklisttest.Run(t, func(t *testing.T) blacklist.Revoker { return newReplica(t, new(blacklist.MemoryLog), patient) })
	})
	t.Run("of a File", func(t *testing.T) {
		blacklisttest.Run(t, func(t *testing.T) blacklist.Revoker { return newReplica(t, openLog(t, logPath(t)), patient) })
	})
	t.Run("the same for all", func(t *testing.T) {
		shared := newReplica(t, new(blacklist.MemoryLog), patient)
		blacklisttest.Run(t, func(*testing.T) blacklist.Revoker { return shared })
	})
	t.Run("Direct of another node", func(t *testing.T) {
		blacklisttest.Run(t, func(t *testing.T) blacklist.Revoker {
			log := new(blacklist.MemoryLog)
			return twoNodes{newReplica(t, log, patient), newReplica(t, log, patient).Direct()}
		})
	})
	t.Run("after a restart", func(t *testing.T) {
		blacklisttest.Run(t, func(t *testing.T) blacklist.Revoker {
			log := openLog(t, logPath(t))
			return afterRestart{newReplica(t, log, patient), log}
		})
	})
}

func TestNewReplicaReportsEveryMistake(t *testing.T) {
	_, err := blacklist.NewReplica(nil, blacklist.ReplicaConfig{Poll: -1, MaxStale: -2, ReadTimeout: -3, WriteTimeout: -4, MaxEntries: -5})
	for _, want := range []string{
		"blacklist: the Log is nil; use",
		"blacklist: ReplicaConfig.Poll is -1ns; use",
		"blacklist: ReplicaConfig.MaxStale is -2ns; use",
		"blacklist: ReplicaConfig.ReadTimeout is -3ns; use",
		"blacklist: ReplicaConfig.WriteTimeout is -4ns; use",
		"blacklist: ReplicaConfig.MaxEntries is -5; use",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	_, err = blacklist.NewReplica(new(blacklist.MemoryLog), blacklist.ReplicaConfig{MaxStale: 750 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "MaxStale is 750ms; use more than Poll and ReadTimeout together") {
		t.Errorf("got %v, want a complaint: no reading could be in time", err)
	}
	if _, err := blacklist.NewReplica(new(blacklist.MemoryLog), blacklist.ReplicaConfig{}); err != nil {
		t.Errorf("the zero ReplicaConfig: %v", err)
	}
}

// flaky is a log with faults.
type flaky struct {
	blacklist.Log
	down    atomic.Bool // refuses at once
	hangs   atomic.Bool // does not answer
	reads   atomic.Int64
	appends atomic.Int64
	slow    time.Duration // of each call
	since   func(entries []blacklist.Entry, last uint64, err error) ([]blacklist.Entry, uint64, error)
}

var errDown = errors.New("connection refused")

func (f *flaky) trouble(ctx context.Context) error {
	if f.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if f.slow > 0 {
		select {
		case <-time.After(f.slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.down.Load() {
		return errDown
	}
	return nil
}

func (f *flaky) Append(ctx context.Context, entries ...blacklist.Entry) (uint64, error) {
	f.appends.Add(1)
	if err := f.trouble(ctx); err != nil {
		return 0, err
	}
	return f.Log.Append(ctx, entries...)
}

func (f *flaky) Since(ctx context.Context, after uint64, max int) ([]blacklist.Entry, uint64, error) {
	f.reads.Add(1)
	if err := f.trouble(ctx); err != nil {
		return nil, 0, err
	}
	entries, last, err := f.Log.Since(ctx, after, max)
	if f.since != nil {
		return f.since(entries, last, err)
	}
	return entries, last, err
}

// run starts Run, which ends with the test.
func run(t *testing.T, r *blacklist.Replica) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want the error of the context", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func session(name string) *identity.Principal {
	return &identity.Principal{Issuer: issuer, Session: name, IssuedAt: time.Now()}
}

// answer is what a Revoker says, in a word.
func answer(r blacklist.Revoker, p *identity.Principal) string {
	revoked, err := r.Revoked(context.Background(), p)
	switch {
	case errors.Is(err, blacklist.ErrStale):
		return "stale"
	case err != nil:
		return err.Error()
	case revoked:
		return "revoked"
	}
	return "good"
}

func wantAnswer(t *testing.T, r blacklist.Revoker, p *identity.Principal, want, when string) {
	t.Helper()
	if got := answer(r, p); got != want {
		t.Errorf("%s: session %q is %s, want %s", when, p.Session, got, want)
	}
}

func mustRevoke(t *testing.T, r blacklist.Revoker, what identity.Revocation) {
	t.Helper()
	if what.Issuer == "" {
		what.Issuer = issuer
	}
	if err := r.Revoke(t.Context(), what); err != nil {
		t.Fatal(err)
	}
}

// R5: the log is unreachable. Known-revoked is refused for the whole outage,
// others are served until MaxStale is over, then 503; recovery takes less than
// a second.
func TestOutage(t *testing.T) {
	for _, kind := range []string{"refuses", "does not answer"} {
		t.Run("a log that "+kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &flaky{Log: new(blacklist.MemoryLog)}
				fault := &log.down
				if kind == "does not answer" {
					fault = &log.hangs
				}
				here, there := newReplica(t, log, blacklist.ReplicaConfig{}), newReplica(t, log, blacklist.ReplicaConfig{})
				stop := run(t, here)
				mustRevoke(t, here, identity.Revocation{Session: "before"})
				time.Sleep(10 * time.Second)
				wantAnswer(t, here, session("other"), "good", "before the outage")

				fault.Store(true)
				began := time.Now()
				served := time.Duration(0)
				for time.Since(began) < time.Minute {
					wantAnswer(t, here, session("before"), "revoked", "during the outage")
					switch got := answer(here, session("other")); {
					case got == "good":
						served = time.Since(began)
						if err := here.Ready(t.Context()); err != nil {
							t.Fatalf("callers are served, and Ready = %v", err)
						}
					case got != "stale":
						t.Fatalf("during the outage the answer is %q", got)
					case here.Ready(t.Context()) == nil:
						t.Fatal("callers are refused, and Ready = nil")
					}
					time.Sleep(10 * time.Millisecond)
				}
				// The last reading began up to a Poll before the outage.
				if served < 4500*time.Millisecond || served > 5*time.Second {
					t.Errorf("others were served for %v, want up to MaxStale", served)
				}
				if s := here.Staleness(); s < 59*time.Second || s > 61*time.Second {
					t.Errorf("Staleness = %v after a minute", s)
				}
				if err := here.Revoke(t.Context(), identity.Revocation{Issuer: issuer, Session: "logout"}); err == nil {
					t.Error("a logout was acknowledged during the outage")
				}
				if log.reads.Load() > 1000 {
					t.Errorf("the log was asked %d times", log.reads.Load())
				}

				time.Sleep(5 * time.Millisecond) // or a reading begins at the same moment
				fault.Store(false)
				mustRevoke(t, there, identity.Revocation{Session: "elsewhere"})
				back := time.Now()
				for answer(here, session("other")) != "good" {
					time.Sleep(10 * time.Millisecond)
				}
				if d := time.Since(back); d > time.Second {
					t.Errorf("it took %v to recover, want less than a second", d)
				}
				wantAnswer(t, here, session("elsewhere"), "revoked", "as soon as anybody is served")
				stop()
			})
		})
	}
}

// R8.
func TestReplicaIsNotReadyUntilAllIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000 // of several pages
		memory := new(blacklist.MemoryLog)
		for i := range n {
			e, err := blacklist.NewEntry(identity.Revocation{Issuer: issuer, Session: fmt.Sprint(i)})
			if err == nil {
				_, err = memory.Append(t.Context(), e)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		log := &flaky{Log: memory, slow: 100 * time.Millisecond}
		for _, open := range []bool{false, true} {
			r, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{InsecureFailOpen: open})
			if err != nil {
				t.Fatal(err)
			}
			wantAnswer(t, r, session("other"), "stale", "before anything was read")
			if r.Ready(t.Context()) == nil || r.Staleness() != math.MaxInt64 {
				t.Errorf("before anything was read: Ready = nil, Staleness = %v", r.Staleness())
			}
			stop := run(t, r)
			time.Sleep(250 * time.Millisecond)
			if r.Len() == 0 || r.Len() == n {
				t.Fatalf("%d entries in the middle of the reading: the test proves nothing", r.Len())
			}
			wantAnswer(t, r, session("0"), "revoked", "in the middle of the reading")
			wantAnswer(t, r, session("other"), "stale", "in the middle of the reading")
			wantAnswer(t, r, session(fmt.Sprint(n-1)), "stale", "in the middle of the reading")
			time.Sleep(100 * time.Millisecond)
			wantAnswer(t, r, session(fmt.Sprint(n-1)), "revoked", "when all was read")
			wantAnswer(t, r, session("other"), "good", "when all was read")
			if err := r.Ready(t.Context()); err != nil {
				t.Errorf("when all was read: Ready = %v", err)
			}
			stop()
		}
	})
}

func TestErrStaleSaysWhatToDo(t *testing.T) {
	log := &flaky{Log: new(blacklist.MemoryLog)}
	r, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Revoked(t.Context(), session("s"))
	if !errors.Is(err, blacklist.ErrStale) || !strings.Contains(err.Error(), "Replica.Run") {
		t.Errorf("got %v, want the advice to call Run", err)
	}
	log.down.Store(true)
	if err := r.Refresh(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("Refresh = %v, want the error of the log", err)
	}
	_, err = r.Revoked(t.Context(), session("s"))
	if !errors.Is(err, blacklist.ErrStale) || !errors.Is(err, errDown) {
		t.Errorf("got %v, want the reason in it", err)
	}
	if err := r.Ready(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("Ready = %v, want the reason in it", err)
	}
}

// R6: what hears of changes loses, repeats and reorders messages; readings go
// on without it. The bound holds, and a pause of 10 s fails closed.
func TestWakeIsOnlyAHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &flaky{Log: new(blacklist.MemoryLog)}
		wake := make(chan struct{})
		here := newReplica(t, log, blacklist.ReplicaConfig{Wake: wake})
		there := newReplica(t, log, blacklist.ReplicaConfig{})
		stop := run(t, here)
		synctest.Wait()

		mustRevoke(t, there, identity.Revocation{Session: "told"})
		wake <- struct{}{}
		wake <- struct{}{} // twice
		synctest.Wait()
		wantAnswer(t, here, session("told"), "revoked", "after a wake-up, without a wait")

		mustRevoke(t, there, identity.Revocation{Session: "lost"})
		wantAnswer(t, here, session("lost"), "good", "at once")
		time.Sleep(250 * time.Millisecond)
		synctest.Wait()
		wantAnswer(t, here, session("lost"), "revoked", "after a Poll")

		log.hangs.Store(true) // nothing is read for 10 s
		mustBe := func(d time.Duration, want string) {
			time.Sleep(d)
			wantAnswer(t, here, session("x"), want, fmt.Sprintf("%v later", d))
		}
		mustBe(4*time.Second, "good")
		mustBe(6*time.Second, "stale")
		log.hangs.Store(false)
		mustBe(time.Second, "good")

		close(wake) // the subscription is over
		reads := log.reads.Load()
		mustBe(10*time.Second, "good")
		if n := log.reads.Load() - reads; n < 35 || n > 45 {
			t.Errorf("%d readings in 10 s after Wake was closed, want one each 250 ms", n)
		}
		stop()
	})
}

// R6, where the log itself repeats and reorders: entries that were read twice
// and in any order lead to the same.
func TestEntriesInAnyOrder(t *testing.T) {
	now := time.Now().Truncate(time.Microsecond)
	var all []identity.Revocation
	for i := range 40 {
		all = append(all, identity.Revocation{Issuer: issuer, Subject: "u", Before: now.Add(time.Duration(i%20) * time.Second)})
		all = append(all, identity.Revocation{Issuer: issuer, Subject: "u", Before: now.Add(time.Duration(i%13) * time.Second), Spare: fmt.Sprint(i % 3)})
	}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 6))
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		r := newReplica(t, new(blacklist.MemoryLog), patient)
		for i, what := range all {
			mustRevoke(t, r, what)
			mustRevoke(t, r, all[random.IntN(i+1)])
		}
		for i := range 25 {
			p := &identity.Principal{Issuer: issuer, Subject: "u", Session: "0", IssuedAt: now.Add(time.Duration(i) * time.Second)}
			if got, _ := r.Revoked(t.Context(), p); got != (i < 19) {
				t.Fatalf("seed %d: issued %d s later: revoked = %t", seed, i, got)
			}
		}
	}
}

// R3: revoke all, then sign in within the same second, a thousand times.
func TestReplicaSignInAfterRevokeAll(t *testing.T) {
	r := newReplica(t, new(blacklist.MemoryLog), patient)
	sameSecond := 0
	for i := range 1000 {
		subject := fmt.Sprint("user ", i)
		// The issue time of a token has microseconds.
		stolen := &identity.Principal{Issuer: issuer, Subject: subject, IssuedAt: time.Now().Truncate(time.Microsecond)}
		before := time.Now()
		for !stolen.IssuedAt.Before(before) {
			before = time.Now()
		}
		mustRevoke(t, r, identity.Revocation{Subject: subject, Before: before, Expires: before.Add(time.Hour)})
		signedIn := time.Now()
		for !signedIn.Truncate(time.Microsecond).After(before) { // in the next microsecond
			signedIn = time.Now()
		}
		fresh := &identity.Principal{Issuer: issuer, Subject: subject, IssuedAt: signedIn.Truncate(time.Microsecond)}
		if fresh.IssuedAt.Unix() == before.Unix() {
			sameSecond++
		}
		wantAnswer(t, r, stolen, "revoked", subject+" stolen")
		wantAnswer(t, r, fresh, "good", subject+" signed in again")
	}
	if sameSecond < 900 {
		t.Errorf("only %d of 1000 sign-ins were in the second of the revocation", sameSecond)
	}
}

// R2.
func TestIdentifiersOfAllKinds(t *testing.T) {
	r := newReplica(t, new(blacklist.MemoryLog), patient)
	token := func(iss, jti string) *identity.Principal {
		return &identity.Principal{Issuer: iss, Credential: jti, Session: "s-" + iss, IssuedAt: time.Now()}
	}
	mustRevoke(t, r, identity.Revocation{Issuer: "https://a.example", Credential: "7"})
	wantAnswer(t, r, token("https://a.example", "7"), "revoked", "the jti of one issuer")
	wantAnswer(t, r, token("https://b.example", "7"), "good", "the same jti of another issuer")
	wantAnswer(t, r, token("https://a.example", ""), "good", "a token without jti")
	wantAnswer(t, r, token("https://a.example", "07"), "good", "a number in another spelling")
	wantAnswer(t, r, token("https://a.example", "7.0"), "good", "a number in another spelling")

	huge := strings.Repeat("7", 1<<20)
	began := time.Now()
	for range 1000 {
		wantAnswer(t, r, token("https://a.example", huge), "good", "a jti of a megabyte")
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("a thousand jtis of a megabyte took %v: they are hashed", d)
	}
	if err := r.Revoke(t.Context(), identity.Revocation{Issuer: "https://a.example", Credential: huge}); err == nil {
		t.Error("a jti of a megabyte was revoked: it would have to be cut")
	}
	// Such a token ends with its session.
	mustRevoke(t, r, identity.Revocation{Issuer: "https://a.example", Session: "s-https://a.example"})
	wantAnswer(t, r, token("https://a.example", huge), "revoked", "by its session")
	wantAnswer(t, r, token("https://a.example", ""), "revoked", "a token without jti, by its session")
}

// R4: a revocation outlasts the token and the leeway of whoever verifies it, if
// whoever revokes says so, to the millisecond.
func TestExpiryAndLeeway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplica(t, new(blacklist.MemoryLog), patient)
		const life, leeway = 15 * time.Minute, time.Minute
		mustRevoke(t, r, identity.Revocation{Session: "s", Expires: time.Now().Add(life + leeway)})
		mustRevoke(t, r, identity.Revocation{Tenant: "t", Before: time.Now(), Expires: time.Now().Add(life + leeway)})
		member := &identity.Principal{Issuer: issuer, Tenant: "t", IssuedAt: time.Now().Add(-time.Second)}
		time.Sleep(life + leeway - time.Nanosecond)
		wantAnswer(t, r, session("s"), "revoked", "a nanosecond before the end of the leeway")
		wantAnswer(t, r, member, "revoked", "a nanosecond before the end of the leeway")
		time.Sleep(2 * time.Millisecond)
		wantAnswer(t, r, session("s"), "good", "after the leeway")
		wantAnswer(t, r, member, "good", "after the leeway")
	})
}

func TestRevokeIsDurableFirst(t *testing.T) {
	log := &flaky{Log: new(blacklist.MemoryLog)}
	r := newReplica(t, log, patient)
	log.down.Store(true)
	err := r.Revoke(t.Context(), identity.Revocation{Issuer: issuer, Session: "s"})
	if !errors.Is(err, errDown) {
		t.Errorf("Revoke = %v, want the error of the log", err)
	}
	wantAnswer(t, r, session("s"), "good", "what is not in the log would be gone after a restart")
	log.down.Store(false)
	mustRevoke(t, r, identity.Revocation{Session: "s"})
	wantAnswer(t, r, session("s"), "revoked", "at once, without another reading")
	reads := log.reads.Load()
	wantAnswer(t, r, session("s"), "revoked", "again")
	if log.reads.Load() != reads {
		t.Error("a question has read the log")
	}
	appends := log.appends.Load()
	mustRevoke(t, r, identity.Revocation{Session: "over", Expires: time.Now().Add(-time.Second)})
	if r.Revoke(t.Context(), identity.Revocation{}) == nil || log.appends.Load() != appends {
		t.Error("nonsense, or what has expired, was recorded")
	}
}

func TestRevokeObeysWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &flaky{Log: new(blacklist.MemoryLog)}
		r := newReplica(t, log, patient)
		log.hangs.Store(true)
		began := time.Now()
		if err := r.Revoke(context.Background(), identity.Revocation{Issuer: issuer, Session: "s"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Revoke = %v, want a timeout", err)
		}
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("Revoke took %v, want WriteTimeout", d)
		}
	})
}

func TestInsecureFailOpenShouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []error
		log := &flaky{Log: new(blacklist.MemoryLog)}
		r := newReplica(t, log, blacklist.ReplicaConfig{InsecureFailOpen: true, Hooks: guard.Hooks{
			Observe: func(_ context.Context, e guard.Event) {
				switch {
				case e.Name == guard.EventUnavailable:
					heard = append(heard, e.Err)
				case e.Name != guard.EventTokenRevoked || e.Session != "known":
					t.Errorf("event %+v", e)
				}
			},
		}})
		mustRevoke(t, r, identity.Revocation{Session: "known"})
		log.down.Store(true)
		time.Sleep(10 * time.Second)
		if r.Ready(t.Context()) == nil {
			t.Error("Ready = nil although the log was not read for 10 s")
		}
		for range 30 {
			wantAnswer(t, r, session("other"), "good", "with InsecureFailOpen")
			wantAnswer(t, r, session("known"), "revoked", "with InsecureFailOpen")
			wantAnswer(t, r.Direct(), session("other"), "reading the log: connection refused", "Direct")
			wantAnswer(t, r.Direct(), session("known"), "revoked", "Direct")
			time.Sleep(100 * time.Millisecond)
		}
		let, failed := 0, 0
		for _, err := range heard {
			if !errors.Is(err, errDown) && !errors.Is(err, blacklist.ErrStale) {
				t.Errorf("heard %v", err)
			}
			if errors.Is(err, blacklist.ErrStale) {
				let++
			} else {
				failed++
			}
		}
		if let != 3 || failed != 1 {
			t.Errorf("heard %d times that callers were let in, want once a second; and %d times that the log is down, want once", let, failed)
		}
	})
}

func TestOutageIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down, up atomic.Int64
		log := &flaky{Log: new(blacklist.MemoryLog)}
		r := newReplica(t, log, blacklist.ReplicaConfig{Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
			switch {
			case e.Name == guard.EventUnavailable && e.Err != nil:
				down.Add(1)
			case e.Name == guard.EventAvailable && e.Err == nil:
				up.Add(1)
			default:
				t.Errorf("event %+v", e)
			}
		}}})
		stop := run(t, r)
		for outage := range 2 {
			log.down.Store(true)
			time.Sleep(time.Minute)
			log.down.Store(false)
			time.Sleep(time.Minute)
			if d, u := down.Load(), up.Load(); d != int64(outage)+1 || u != d {
				t.Errorf("after outage %d: heard of %d, and of %d ends", outage, d, u)
			}
		}
		stop()
	})
}

func TestRevocationsOfTheHostAreEvents(t *testing.T) {
	var heard []guard.Event
	r := newReplica(t, new(blacklist.MemoryLog), blacklist.ReplicaConfig{Hooks: guard.Hooks{Observe: func(_ context.Context, e guard.Event) {
		heard = append(heard, e)
	}}})
	ctx := identity.NewContext(t.Context(), &identity.Principal{Issuer: issuer, Subject: "admin"})
	over := identity.Revocation{Issuer: issuer, Session: "over", Expires: time.Now().Add(-time.Hour)}
	err := r.RevokeAll(ctx, identity.Revocation{Issuer: issuer, Credential: "key"}, over, identity.Revocation{Issuer: issuer, Subject: "ada", Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	before, err := r.RevokeNow(ctx, identity.Revocation{Issuer: issuer, Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Revoke(guard.NestedChange(ctx), identity.Revocation{Issuer: issuer, Session: "nested"}); err != nil {
		t.Fatal(err)
	}
	if r.Revoke(ctx, identity.Revocation{}) == nil {
		t.Error("an empty revocation is no mistake")
	}
	want := []string{
		"key [revoked=credential issuer=" + issuer + "]",
		"ada [revoked=subject issuer=" + issuer + " tenant=acme]",
		"acme [revoked=tenant issuer=" + issuer + " before=" + before.UTC().String() + "]",
	}
	for i, e := range heard {
		if got := fmt.Sprint(e.Target, " ", e.Changes); i >= len(want) || got != want[i] || e.Name != guard.EventTokenRevoked || e.Principal.Subject != "admin" {
			t.Errorf("event %d: %s %s", i, e.Name, got)
		}
	}
	if len(heard) != len(want) {
		t.Errorf("%d events, want %d", len(heard), len(want))
	}
}

func TestDirectReadsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &flaky{Log: new(blacklist.MemoryLog), slow: 50 * time.Millisecond}
		here, there := newReplica(t, log, patient), newReplica(t, log, patient)
		mustRevoke(t, there, identity.Revocation{Session: "s"})
		wantAnswer(t, here, session("s"), "good", "before a reading")
		wantAnswer(t, here.Direct(), session("s"), "revoked", "Direct")
		reads := log.reads.Load()
		wantAnswer(t, here.Direct(), session("s"), "revoked", "Direct, of what is known")
		if log.reads.Load() != reads {
			t.Error("what is known to be revoked was asked of the log")
		}
		// A hundred at once share readings: one that is under way does not
		// count, for it may have passed by what they ask for.
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				time.Sleep(time.Duration(i%2) * 25 * time.Millisecond)
				wantAnswer(t, here.Direct(), session("x"), "good", "Direct, many at once")
			})
		}
		time.Sleep(25 * time.Millisecond)
		all.Wait()
		if n := log.reads.Load() - reads; n != 2 {
			t.Errorf("100 questions have read the log %d times, want 2", n)
		}
		// The reading of whoever hangs up is not held against the others.
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			if _, err := here.Direct().Revoked(ctx, session("x")); !errors.Is(err, context.Canceled) {
				t.Errorf("whoever hung up got %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			wantAnswer(t, here.Direct(), session("x"), "good", "after another one hung up")
		})
		synctest.Wait()
		cancel()
		all.Wait()
		// Nor does anybody wait for ever.
		log.hangs.Store(true)
		began := time.Now()
		if _, err := here.Direct().Revoked(t.Context(), session("x")); err == nil {
			t.Error("the log hangs, and Direct lets in")
		}
		if d := time.Since(began); d != 500*time.Millisecond {
			t.Errorf("Direct waited %v, want ReadTimeout", d)
		}
		if _, err := here.Direct().Revoked(t.Context(), nil); err == nil {
			t.Error("Direct of nobody without an error")
		}
	})
}

func TestRefreshThatIsJoinedIsNotAnEarlierOne(t *testing.T) {
	// Whoever asks while a reading is under way is told of what was recorded
	// before they asked.
	synctest.Test(t, func(t *testing.T) {
		log := &flaky{Log: new(blacklist.MemoryLog)}
		here, there := newReplica(t, log, patient), newReplica(t, log, patient)
		// This log has looked before it is slow to answer.
		log.since = func(entries []blacklist.Entry, last uint64, err error) ([]blacklist.Entry, uint64, error) {
			time.Sleep(100 * time.Millisecond)
			return entries, last, err
		}
		go here.Refresh(t.Context())
		time.Sleep(50 * time.Millisecond)
		mustRevoke(t, there, identity.Revocation{Session: "s"})
		wantAnswer(t, here.Direct(), session("s"), "revoked", "while a reading was under way")
	})
}

// Of those who share a reading one does it. If that one hangs up in the middle
// another takes over.
func TestSharedReadingOfWhoeverHangsUp(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			log := &flaky{Log: new(blacklist.MemoryLog), slow: 100 * time.Millisecond}
			r := newReplica(t, log, patient)
			go r.Refresh(t.Context())
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() { r.Refresh(ctx) })
				all.Go(func() {
					if err := r.Refresh(t.Context()); err != nil {
						t.Errorf("another one hung up, and Refresh = %v", err)
					}
				})
			}
			time.Sleep(150 * time.Millisecond) // the shared one is under way
			cancel()
			all.Wait()
		})
	}
}

// What a reading may have missed is what came after it began.
func TestStalenessCountsFromTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplica(t, &flaky{Log: new(blacklist.MemoryLog), slow: 400 * time.Millisecond}, patient)
		if s := r.Staleness(); s != 400*time.Millisecond {
			t.Errorf("after a reading of 400 ms Staleness is %v", s)
		}
		time.Sleep(time.Second)
		if s := r.Staleness(); s != 1400*time.Millisecond {
			t.Errorf("a second later Staleness is %v", s)
		}
	})
}

func TestRewoundLogIsReadAnew(t *testing.T) {
	old, renewed := new(blacklist.MemoryLog), new(blacklist.MemoryLog)
	log := &flaky{Log: old}
	r := newReplica(t, log, patient)
	for i := range 10 {
		mustRevoke(t, r, identity.Revocation{Session: fmt.Sprint("old ", i)})
	}
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.Log = renewed // from a backup
	other := newReplica(t, renewed, patient)
	mustRevoke(t, other, identity.Revocation{Session: "new"})
	if err := r.Refresh(t.Context()); err != nil {
		t.Errorf("Refresh = %v", err)
	}
	wantAnswer(t, r, session("new"), "revoked", "of the log that took its place")
	for i := range 10 {
		wantAnswer(t, r, session(fmt.Sprint("old ", i)), "revoked", "what the old log said is not forgotten")
	}
}

func TestStrangeLogsFailClosed(t *testing.T) {
	for name, since := range map[string]func([]blacklist.Entry, uint64, error) ([]blacklist.Entry, uint64, error){
		"goes back": func(e []blacklist.Entry, last uint64, err error) ([]blacklist.Entry, uint64, error) {
			return e, 1, err
		},
		"stays where it is": func(e []blacklist.Entry, last uint64, err error) ([]blacklist.Entry, uint64, error) {
			return []blacklist.Entry{{Kind: blacklist.KindSession}}, 5, err
		},
		"is of a later version": func(e []blacklist.Entry, last uint64, err error) ([]blacklist.Entry, uint64, error) {
			return []blacklist.Entry{{Kind: 16}}, last + 1, err
		},
		"says that it was rewound, again and again": func([]blacklist.Entry, uint64, error) ([]blacklist.Entry, uint64, error) {
			return nil, 0, blacklist.ErrRewound
		},
	} {
		t.Run("a log that "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &flaky{Log: new(blacklist.MemoryLog)}
				r := newReplica(t, log, blacklist.ReplicaConfig{})
				for range 5 {
					mustRevoke(t, r, identity.Revocation{Session: "s"})
				}
				if err := r.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				log.since = since
				if err := r.Refresh(t.Context()); err == nil {
					t.Error("Refresh = nil, want an error")
				}
				time.Sleep(6 * time.Second)
				wantAnswer(t, r, session("other"), "stale", "while the log is strange")
				wantAnswer(t, r, session("s"), "revoked", "while the log is strange")
			})
		})
	}
}

func TestReplicaFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &flaky{Log: new(blacklist.MemoryLog)}
		r := newReplica(t, log, blacklist.ReplicaConfig{MaxEntries: 3})
		other := newReplica(t, log, patient)
		for i := range 3 {
			mustRevoke(t, r, identity.Revocation{Session: fmt.Sprint(i), Expires: time.Now().Add(time.Minute)})
		}
		appends := log.appends.Load()
		if err := r.Revoke(t.Context(), identity.Revocation{Issuer: issuer, Session: "3"}); !errors.Is(err, blacklist.ErrFull) {
			t.Errorf("Revoke = %v, want ErrFull", err)
		}
		if log.appends.Load() != appends {
			t.Error("what there is no room for was recorded")
		}
		stop := run(t, r)
		mustRevoke(t, other, identity.Revocation{Session: "elsewhere"})
		time.Sleep(6 * time.Second)
		wantAnswer(t, r, session("nobody"), "stale", "when others record more than there is room for")
		wantAnswer(t, r, session("elsewhere"), "stale", "what there is no room for must not be let in")
		for i := range 3 {
			wantAnswer(t, r, session(fmt.Sprint(i)), "revoked", "nothing is evicted")
		}
		// An hour after they have expired there is room again.
		time.Sleep(time.Hour + 3*time.Minute)
		wantAnswer(t, r, session("elsewhere"), "revoked", "when there is room again")
		wantAnswer(t, r, session("nobody"), "good", "when there is room again")
		if r.Len() != 1 {
			t.Errorf("%d entries, want 1", r.Len())
		}
		stop()
	})
}

func TestRunDropsWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(blacklist.MemoryLog)
		r := newReplica(t, log, blacklist.ReplicaConfig{})
		stop := run(t, r)
		for i := range 2000 {
			mustRevoke(t, r, identity.Revocation{Session: fmt.Sprint(i), Expires: time.Now().Add(time.Minute)})
		}
		mustRevoke(t, r, identity.Revocation{Session: "kept"})
		time.Sleep(time.Hour + 15*time.Minute)
		if r.Len() != 1 {
			t.Errorf("%d entries are left, want 1", r.Len())
		}
		if entries, _, err := log.Since(t.Context(), 0, 10); len(entries) != 1 || err != nil {
			t.Errorf("%d entries are left in the log (%v), want 1", len(entries), err)
		}
		wantAnswer(t, r, session("kept"), "revoked", "after the others were dropped")
		stop()
	})
}

// The hook by which a host drops what it keeps in a cache of its own.
func TestOnEntry(t *testing.T) {
	log := new(blacklist.MemoryLog)
	there := newReplica(t, log, patient)
	mustRevoke(t, there, identity.Revocation{Session: "old"})

	cache := map[string]*identity.Principal{}
	for _, id := range []string{"k1", "k2", "k3"} {
		cache[id] = &identity.Principal{Issuer: "apikey:acme", Credential: id, Subject: "alice", IssuedAt: time.Now()}
	}
	cache["k3"].Subject = "bob"
	var here *blacklist.Replica
	heard := 0
	config := patient
	config.OnEntry = func(e blacklist.Entry) {
		heard++
		for id, p := range cache {
			if e.Matches(p) {
				delete(cache, id)
				if answer(here, p) != "revoked" {
					t.Error("OnEntry was called before Revoked knew")
				}
			}
		}
	}
	here = newReplica(t, log, config)
	if heard != 0 {
		t.Errorf("heard of %d entries of the first reading", heard)
	}
	mustRevoke(t, there, identity.Revocation{Issuer: "apikey:acme", Credential: "k1"})
	if err := here.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, there := cache["k1"]; there || len(cache) != 2 || heard != 1 {
		t.Errorf("after the key was revoked elsewhere: %d keys in the cache, heard %d", len(cache), heard)
	}
	mustRevoke(t, here, identity.Revocation{Issuer: "apikey:acme", Subject: "alice", Before: time.Now().Add(time.Second)})
	if _, there := cache["k2"]; there || len(cache) != 1 {
		t.Errorf("after the person was revoked here: %d keys in the cache", len(cache))
	}
}

func TestReplicaRevokedAllocatesNothing(t *testing.T) {
	r := newReplica(t, new(blacklist.MemoryLog), patient)
	who := fillReplica(t, r, 1000)
	for name, p := range who {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := r.Revoked(t.Context(), p); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

// fillReplica revokes n things, as filled does, and returns the same callers.
func fillReplica(tb testing.TB, r blacklist.Revoker, n int) map[string]*identity.Principal {
	tb.Helper()
	expires := time.Now().Add(time.Hour)
	for i := range n {
		what := identity.Revocation{Issuer: issuer, Expires: expires}
		switch id := fmt.Sprintf("%026d", i); i % 10 {
		case 0:
			what.Session = id
		case 1:
			what.Subject, what.Before = id, expires
		default:
			what.Credential = id
		}
		if err := r.Revoke(tb.Context(), what); err != nil {
			tb.Fatal(err)
		}
	}
	return callers()
}

func TestReplicaParallel(t *testing.T) {
	log := new(blacklist.MemoryLog)
	here, there := newReplica(t, log, patient), newReplica(t, log, patient)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 200 {
				name := fmt.Sprintf("%d of %d", i, g)
				r := []*blacklist.Replica{here, there}[i%2]
				if err := r.Revoke(context.Background(), identity.Revocation{Issuer: issuer, Session: name}); err != nil {
					t.Error(err)
				}
				wantAnswer(t, r, session(name), "revoked", "where it was revoked")
				if i%10 == 0 {
					wantAnswer(t, here.Direct(), session(name), "revoked", "Direct")
					wantAnswer(t, there.Direct(), session(name), "revoked", "Direct")
				}
				here.Staleness()
				here.Len()
			}
		})
	}
	all.Wait()
	for _, r := range []*blacklist.Replica{here, there} {
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r.Len() != 800 {
			t.Errorf("%d entries, want 800", r.Len())
		}
	}
}
