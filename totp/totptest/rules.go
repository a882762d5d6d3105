package totptest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pquerna/otp"
	peer "github.com/pquerna/otp/totp"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/totp"
)

// A rule is a requirement on a store.
type rule struct {
	name   string       // of the subtest
	reason string       // printed when the rule is broken
	demand func(*probe) // calls the store; the probe records mistakes
}

// check returns how s breaks the rule.
func (u rule) check(ctx context.Context, s totp.Store) error {
	p := &probe{ctx: ctx, store: s, mark: strings.ToLower(rand.Text())}
	u.demand(p)
	return errors.Join(p.broken...)
}

// A probe calls one store and collects mistakes. It is safe for concurrent use.
type probe struct {
	ctx   context.Context
	store totp.Store
	mark  string // a random part of names

	mu     sync.Mutex
	broken []error
}

func (p *probe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = append(p.broken, fmt.Errorf(format, args...))
}

// load demands that the record of user can be loaded.
func (p *probe) load(user string) totp.Record {
	r, err := p.store.LoadTOTP(p.ctx, user)
	if err != nil {
		p.errorf("LoadTOTP(%q): %v", user, err)
	}
	return r
}

// save demands that SaveTOTP returns want.
func (p *probe) save(user string, r totp.Record, want bool, because string) {
	saved, err := p.store.SaveTOTP(p.ctx, user, r)
	if err != nil {
		p.errorf("SaveTOTP(%q, version %d): %v", user, r.Version, err)
	} else if saved != want {
		p.errorf("SaveTOTP(%q, version %d) returned %t instead of %t: %s", user, r.Version, saved, want, because)
	}
}

// has demands that the record of user is want.
func (p *probe) has(user string, want totp.Record, because string) {
	if got := p.load(user); !equal(got, want) {
		p.errorf("LoadTOTP(%q) returned\n%+v instead of\n%+v: %s", user, got, want, because)
	}
}

// full returns a record of the version with a value in each field.
func full(version int64) totp.Record {
	// With microseconds, which must not be lost.
	moment := time.Date(2026, 3, 4, 5, 6, 7, 89_012_000, time.UTC)
	return totp.Record{
		Version:      version,
		Active:       []byte("active\x00\xff"),
		Pending:      []byte("pending\x00\xff"),
		PendingUntil: moment,
		Step:         1 << 40,
		Recovery:     []totp.RecoveryHash{{1, 2, 3}, {31: 0xff}, {}},
		Guesses:      totp.Guesses{Failures: 99, Retry: moment.Add(time.Microsecond), Forgiven: moment.Add(time.Hour)},
	}
}

func equal(a, b totp.Record) bool {
	return a.Version == b.Version && bytes.Equal(a.Active, b.Active) && bytes.Equal(a.Pending, b.Pending) &&
		a.PendingUntil.Equal(b.PendingUntil) && a.Step == b.Step && slices.Equal(a.Recovery, b.Recovery) &&
		a.Guesses.Failures == b.Guesses.Failures &&
		a.Guesses.Retry.Equal(b.Guesses.Retry) && a.Guesses.Forgiven.Equal(b.Guesses.Forgiven)
}

// workers is the number of goroutines that contend.
const workers = 16

// together calls f concurrently for each worker.
func together(f func(worker int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range workers {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

var rules = []rule{
	{
		name:   "a user without a record has the zero record",
		reason: "users begin without a record; an error would be answered 503, so they could not sign in.",
		demand: func(p *probe) {
			p.has(p.mark, totp.Record{}, "nothing was saved")
			p.has(p.mark, totp.Record{}, "loading creates nothing")
		},
	},
	{
		name:   "each field that was saved is loaded",
		reason: "a lost step or count makes a used code acceptable again, or lifts the limit on guesses.",
		demand: func(p *probe) {
			p.save(p.mark, full(0), true, "there is no record yet")
			p.has(p.mark, full(1), "it was saved")
			p.save(p.mark, totp.Record{Version: 1}, true, "it is the version that is stored")
			p.has(p.mark, totp.Record{Version: 2}, "a record without a factor was saved; zero times stay zero, and the version stays")
			later := full(2)
			later.Recovery = later.Recovery[1:2]
			p.save(p.mark, later, true, "it is the version that is stored")
			later.Version++
			p.has(p.mark, later, "it was saved")
			if got := p.load(p.mark); got.Guesses.Retry.IsZero() || got.PendingUntil.IsZero() {
				p.errorf("a time was lost: %+v", got)
			}
		},
	},
	{
		name:   "only the version that is stored is replaced",
		reason: "a decision on an older record misses codes that were used up since.",
		demand: func(p *probe) {
			for version := range int64(5) {
				p.save(p.mark, full(version), true, "it is the version that is stored")
				for _, other := range []int64{0, version - 1, version, version + 2} {
					bad := totp.Record{Version: other, Step: 7}
					p.save(p.mark, bad, false, fmt.Sprintf("version %d is stored", version+1))
				}
				p.has(p.mark, full(version+1), "no other version was to be saved")
			}
			p.save(p.mark+"2", full(3), false, "there is no record, and so no version 3 of it")
			p.has(p.mark+"2", totp.Record{}, "nothing was saved")
		},
	},
	{
		name:   "user names are compared byte for byte",
		reason: "a store that folds case, trims or cuts lets one user's code sign another one in.",
		demand: func(p *probe) {
			long := strings.Repeat("x", 254-len(p.mark))
			names := []string{
				"alice", "Alice", "alice ", " alice", "alice\n", "al%", "al_ce", "*", "0", "00", "1e3", "1000",
				"\u00e9lise", "e\u0301lise", "stra\u00dfe", "strasse", `'; --`, `''; --`, `a\`, `a\\`, "?", "$1",
				long + "1", long + "2", long,
			}
			for i, name := range names {
				p.save(p.mark+name, totp.Record{Step: int64(i)}, true, "this user has no record yet")
			}
			for i, name := range names {
				p.has(p.mark+name, totp.Record{Version: 1, Step: int64(i)}, "it was saved for this name")
			}
		},
	},
	{
		name:   "a record is the caller's own",
		reason: "a service changes a loaded record before the change is allowed.",
		demand: func(p *probe) {
			r := full(0)
			p.save(p.mark, r, true, "there is no record yet")
			scribble := func(r totp.Record) {
				if len(r.Active) == 0 || len(r.Pending) == 0 || len(r.Recovery) == 0 {
					p.errorf("a field is empty: %+v", r)
					return
				}
				r.Active[0], r.Pending[0], r.Recovery[0][0] = 'X', 'X', 'X'
			}
			scribble(r)
			p.has(p.mark, full(1), "the saved record was changed by the caller afterwards")
			scribble(p.load(p.mark))
			p.has(p.mark, full(1), "the loaded record was changed by the caller")
		},
	},
	{
		name:   "of concurrent saves on one version one succeeds",
		reason: "otherwise two requests can use the same code.",
		demand: func(p *probe) {
			for version := range int64(20) {
				var mu sync.Mutex
				var won []int
				together(func(worker int) {
					saved, err := p.store.SaveTOTP(p.ctx, p.mark, totp.Record{Version: version, Step: int64(worker)})
					if err != nil {
						p.errorf("concurrent SaveTOTP: %v", err)
					}
					if saved {
						mu.Lock()
						defer mu.Unlock()
						won = append(won, worker)
					}
				})
				if len(won) != 1 {
					p.errorf("of %d saves on version %d, %d succeeded instead of 1", workers, version, len(won))
					return
				}
				p.has(p.mark, totp.Record{Version: version + 1, Step: int64(won[0])}, "it is the record that was saved")
			}
		},
	},
	{
		name:   "concurrent counting loses no attempt",
		reason: "an attacker gets a free guess for each wrong code that is not counted.",
		demand: func(p *probe) {
			const each = 10
			together(func(int) {
				for done := 0; done < each; {
					r, err := p.store.LoadTOTP(p.ctx, p.mark)
					if err != nil {
						p.errorf("LoadTOTP of concurrent calls: %v", err)
						return
					}
					r.Guesses.Failures++
					saved, err := p.store.SaveTOTP(p.ctx, p.mark, r)
					if err != nil {
						p.errorf("SaveTOTP of concurrent calls: %v", err)
						return
					}
					if saved {
						done++
					}
				}
			})
			want := totp.Record{Version: workers * each}
			want.Guesses.Failures = workers * each
			p.has(p.mark, want, "each worker repeated its save until it succeeded")
		},
	},
	{
		name:   "a code is accepted once by concurrent calls",
		reason: "RFC 6238 section 5.2: an attacker who sees a code must not be able to use it again.",
		demand: func(p *probe) {
			s, secret, _ := p.enrol()
			code, err := peer.GenerateCodeCustom(secret, time.Now().Add(30*time.Second), peer.ValidateOpts{Period: 30, Digits: otp.DigitsSix})
			if err != nil {
				p.errorf("no code: %v", err)
				return
			}
			p.once(s, "a code", code)
		},
	},
	{
		name:   "a recovery code is accepted once by concurrent calls",
		reason: "a recovery code that is accepted twice can be replayed.",
		demand: func(p *probe) {
			s, _, recovery := p.enrol()
			for i, code := range recovery {
				p.once(s, fmt.Sprintf("recovery code %d", i), code)
			}
			if status, err := s.Status(p.ctx, p.mark); err != nil || status.RecoveryLeft != 0 {
				p.errorf("after all recovery codes: %+v, %v", status, err)
			}
		},
	},
}

// enrol gives the probe's user a second factor whose current code is used up.
func (p *probe) enrol() (s *totp.Service, secret string, recovery []string) {
	key := make([]byte, 32)
	rand.Read(key)
	keys, errKeys := totp.NewKeyring(key)
	s, errNew := totp.New(p.store, keys, totp.Config{
		Issuer:         "Example",
		VerifyPassword: func(context.Context, *identity.Principal, string) error { return nil },
	})
	if err := errors.Join(errKeys, errNew); err != nil {
		p.errorf("no service: %v", err)
		return nil, "", nil
	}
	caller := &identity.Principal{Subject: p.mark, Session: p.mark}
	e, err := s.Begin(p.ctx, caller)
	if err != nil {
		p.errorf("Begin: %v", err)
		return nil, "", nil
	}
	code, err := peer.GenerateCode(e.Secret(), time.Now())
	if err != nil {
		p.errorf("no code: %v", err)
		return nil, "", nil
	}
	codes, err := s.Confirm(p.ctx, caller, code, totp.Password("any"))
	if err != nil {
		p.errorf("Confirm: %v", err)
		return nil, "", nil
	}
	return s, e.Secret(), codes.All()
}

// once demands that one of many concurrent and later calls accepts the code.
func (p *probe) once(s *totp.Service, what, code string) {
	if s == nil {
		return
	}
	var mu sync.Mutex
	good := 0
	together(func(int) {
		_, err := s.Verify(p.ctx, p.mark, code)
		_, throttled := errors.AsType[*totp.ThrottledError](err)
		switch {
		case err == nil:
			mu.Lock()
			defer mu.Unlock()
			good++
		case !throttled && !errors.Is(err, totp.ErrWrongCode):
			p.errorf("concurrent Verify of %s: %v", what, err)
		}
	})
	if good != 1 {
		p.errorf("%d of %d calls accepted %s instead of 1", good, workers, what)
	}
	if err := s.Unlock(p.ctx, p.mark); err != nil {
		p.errorf("Unlock: %v", err)
	}
	if _, err := s.Verify(p.ctx, p.mark, code); !errors.Is(err, totp.ErrWrongCode) {
		p.errorf("%s again returned %v instead of %v", what, err, totp.ErrWrongCode)
	}
	if err := s.Unlock(p.ctx, p.mark); err != nil {
		p.errorf("Unlock: %v", err)
	}
}
