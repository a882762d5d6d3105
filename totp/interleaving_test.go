package totp_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/totp"
)

// scheduled is a store each of whose calls waits for its turn, and whose callers
// may die before or after one.
type scheduled struct {
	totp.Memory
	mu    sync.Mutex
	turns []chan turn
}

type turn int

const (
	goOn      turn = iota
	dieBefore      // the call is not made
	dieAfter       // the call is made, and nobody hears how it went
)

var errDead = errors.New("the process died")

func (s *scheduled) wait() turn {
	c := make(chan turn)
	s.mu.Lock()
	s.turns = append(s.turns, c)
	s.mu.Unlock()
	return <-c
}

func (s *scheduled) LoadTOTP(ctx context.Context, user string) (totp.Record, error) {
	if s.wait() != goOn {
		return totp.Record{}, errDead
	}
	return s.Memory.LoadTOTP(ctx, user)
}

func (s *scheduled) SaveTOTP(ctx context.Context, user string, r totp.Record) (bool, error) {
	how := s.wait()
	if how == dieBefore {
		return false, errDead
	}
	saved, err := s.Memory.SaveTOTP(ctx, user, r)
	if how == dieAfter {
		return false, errDead
	}
	return saved, err
}

// run lets the workers take turns, at random, until all are done. One of ten
// turns is the last one of its worker.
func (s *scheduled) run(random *rand.Rand, workers ...func()) {
	var group sync.WaitGroup
	for _, work := range workers {
		group.Go(work)
	}
	for {
		synctest.Wait() // each waits for its turn, or is done
		if len(s.turns) == 0 {
			break
		}
		i := random.IntN(len(s.turns))
		next := s.turns[i]
		s.turns = append(s.turns[:i], s.turns[i+1:]...)
		how := goOn
		if random.IntN(10) == 0 {
			how = dieBefore + turn(random.IntN(2))
		}
		next <- how
	}
	group.Wait()
}

// In whatever order the calls of several requests reach the store, and whichever
// of them die on the way: a code that was good for one is good for nobody else,
// and each wrong code that was compared has been counted.
func TestEveryInterleavingUsesACodeOnceAndCountsWrongOnes(t *testing.T) {
	const schedules = 3000
	outcomes := map[string]int{}
	for seed := range uint64(schedules) {
		synctest.Test(t, func(t *testing.T) {
			store := new(scheduled)
			plain := service(t, &store.Memory, totp.Config{})
			secret, recovery := enrol(t, plain, "alice")
			code, random := next(t, secret), rand.New(rand.NewPCG(seed, 0))
			bad := wrong(t, secret, time.Now())
			s := service(t, store, totp.Config{})

			var mu sync.Mutex
			good, compared := map[string]int{}, 0
			give := func(code string) func() {
				return func() {
					_, err := s.Verify(ctx, "alice", code)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						good[code]++
					case isWrong(err) && code == bad:
						compared++
					}
				}
			}
			store.run(random, give(code), give(code), give(code), give(recovery[0]), give(recovery[0]), give(bad))

			r, err := store.Memory.LoadTOTP(ctx, "alice")
			if err != nil {
				t.Fatal(err)
			}
			if compared > 0 && r.Guesses.Forgiven.IsZero() {
				t.Errorf("schedule %d: a wrong code was compared and is not counted", seed)
			}
			for what, code := range map[string]string{"code": code, "recovery code": recovery[0]} {
				if good[code] > 1 {
					t.Errorf("schedule %d: a %s was good %d times", seed, what, good[code])
				}
				if err := plain.Unlock(ctx, "alice"); err != nil {
					t.Fatal(err)
				}
				_, err := plain.Verify(ctx, "alice", code)
				if good[code] > 0 && !isWrong(err) {
					t.Errorf("schedule %d: a %s that was good is good again: %v", seed, what, err)
				}
				switch {
				case good[code] > 0:
					outcomes[what+" good"]++
				case err == nil:
					outcomes[what+" not used up"]++
				default:
					outcomes[what+" used up unheard"]++
				}
			}
		})
	}
	// Each kind of end was seen, or else this shows less than it says.
	t.Log(outcomes)
	for _, what := range []string{"code", "recovery code"} {
		for _, how := range []string{" good", " not used up", " used up unheard"} {
			if outcomes[what+how] == 0 {
				t.Errorf("no schedule had a %s%s", what, how)
			}
		}
	}
}
