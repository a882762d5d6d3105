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

// A rule is one demand on a store.
type rule struct {
	name   string       // of the subtest
	reason string       // why there is this rule, printed when it is broken
	demand func(*probe) // asks the store; the probe notes what is wrong
}

// check returns how s breaks the rule, or nil.
func (u rule) check(ctx context.Context, s totp.Store) error {
	p := &probe{ctx: ctx, store: s, mark: strings.ToLower(rand.Text())}
	u.demand(p)
	return errors.Join(p.broken...)
}

// A probe asks one store and collects what is wrong with the answers. It may be
// used by several goroutines at once.
type probe struct {
	ctx   context.Context
	store totp.Store
	mark  string // of names that nobody else has

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

// save demands that the store answers, and that it saves or does not.
func (p *probe) save(user string, r totp.Record, want bool, because string) {
	saved, err := p.store.SaveTOTP(p.ctx, user, r)
	if err != nil {
		p.errorf("SaveTOTP(%q, version %d): %v", user, r.Version, err)
	} else if saved != want {
		p.errorf("SaveTOTP(%q, version %d) = %t, want %t: %s", user, r.Version, saved, want, because)
	}
}

// has demands that the record of user is want.
func (p *probe) has(user string, want totp.Record, because string) {
	if got := p.load(user); !equal(got, want) {
		p.errorf("LoadTOTP(%q) =\n%+v, want\n%+v: %s", user, got, want, because)
	}
}

// full returns a record of the version with a value in each field.
func full(version int64) totp.Record {
	// In the middle of a millisecond, which is what must not get lost.
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

// workers is how many goroutines contend.
const workers = 16

// together calls f in as many goroutines as there are workers, at once.
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
		reason: "it is how everybody begins; an error would be answered 503, and sign-ins would be impossible.",
		demand: func(p *probe) {
			p.has(p.mark, totp.Record{}, "nothing was saved")
			p.has(p.mark, totp.Record{}, "loading creates nothing")
		},
	},
	{
		name:   "what was saved is loaded, each field",
		reason: "a step or a count that gets lost makes a used code good again, or lifts the limit on guesses.",
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
		reason: "whoever decided on an older record did not know what has been used up since.",
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
		name:   "users are told apart byte for byte",
		reason: "a store that folds case, trims or cuts lets one user's code sign another one in.",
		demand: func(p *probe) {
			long := strings.Repeat("x", 254-len(p.mark))
			names := []string{
				"alice", "Alice", "alice ", " alice", "alice\n", "al%", "al_ce", "*", "0", "00", "1e3", "1000",
				"\u00e9lise", "e\u0301lise", "stra\u00dfe", "strasse", `'; --`, `''; --`, `a\`, `a\\`, "?", "$1",
				long + "1", long + "2", long,
			}
			for i, name := range names {
				p.save(p.mark+name, totp.Record{Step: int64(i)}, true, "nobody has this name yet")
			}
			for i, name := range names {
				p.has(p.mark+name, totp.Record{Version: 1, Step: int64(i)}, "it is what was saved for this name")
			}
		},
	},
	{
		name:   "a record is the caller's own",
		reason: "a service changes the record that it loaded before it knows whether it may.",
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
			p.has(p.mark, full(1), "what was saved is changed afterwards by who saved it")
			scribble(p.load(p.mark))
			p.has(p.mark, full(1), "what was loaded is changed by who loaded it")
		},
	},
	{
		name:   "of many saves on one version one is done",
		reason: "it is what single use rests on: two that are both told to have saved have both used the same code.",
		demand: func(p *probe) {
			for version := range int64(20) {
				var mu sync.Mutex
				var won []int
				together(func(worker int) {
					saved, err := p.store.SaveTOTP(p.ctx, p.mark, totp.Record{Version: version, Step: int64(worker)})
					if err != nil {
						p.errorf("SaveTOTP at the same time as others: %v", err)
					}
					if saved {
						mu.Lock()
						defer mu.Unlock()
						won = append(won, worker)
					}
				})
				if len(won) != 1 {
					p.errorf("of %d saves on version %d, %d were done, want 1", workers, version, len(won))
					return
				}
				p.has(p.mark, totp.Record{Version: version + 1, Step: int64(won[0])}, "it is the one that was done")
			}
		},
	},
	{
		name:   "counting with many at once loses nothing",
		reason: "a wrong code that is not counted is a guess for nothing.",
		demand: func(p *probe) {
			const each = 10
			together(func(int) {
				for done := 0; done < each; {
					r, err := p.store.LoadTOTP(p.ctx, p.mark)
					if err != nil {
						p.errorf("LoadTOTP at the same time as others: %v", err)
						return
					}
					r.Guesses.Failures++
					saved, err := p.store.SaveTOTP(p.ctx, p.mark, r)
					if err != nil {
						p.errorf("SaveTOTP at the same time as others: %v", err)
						return
					}
					if saved {
						done++
					}
				}
			})
			want := totp.Record{Version: workers * each}
			want.Guesses.Failures = workers * each
			p.has(p.mark, want, "so many counted, and each waited until theirs was saved")
		},
	},
	{
		name:   "a code is good once, however many ask",
		reason: "RFC 6238 section 5.2: whoever looks over a shoulder must not get in with the same code.",
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
		name:   "a recovery code is good once, however many ask",
		reason: "a list of ten that opens eleven doors is a list that somebody else can share.",
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

// enrol gives the probe's user a second factor, whose code of the present step
// is used up.
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

// once demands that of many who give the code at once, and of those who give it
// again, one gets in.
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
			p.errorf("Verify of %s at the same time as others: %v", what, err)
		}
	})
	if good != 1 {
		p.errorf("%d of %d got in with %s, want 1", good, workers, what)
	}
	if err := s.Unlock(p.ctx, p.mark); err != nil {
		p.errorf("Unlock: %v", err)
	}
	if _, err := s.Verify(p.ctx, p.mark, code); !errors.Is(err, totp.ErrWrongCode) {
		p.errorf("%s again = %v, want %v", what, err, totp.ErrWrongCode)
	}
	if err := s.Unlock(p.ctx, p.mark); err != nil {
		p.errorf("Unlock: %v", err)
	}
}
