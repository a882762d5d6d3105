package ratelimit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// A SignIn throttles attempts to sign in: it is what auth.Config.Throttle asks
// for. An attempt is charged before any work is done for it and given back unless
// it fails, so that failures count, and of any number of guesses at once no more
// are tried than of one after the other. It is safe for concurrent use.
//
// Four limits stand against four ways of guessing:
//
//   - Pair, of one login from one address: one user's password;
//   - Address, of all logins from one address, and all of a /48 together:
//     many users' passwords from one place;
//   - Login, of one login from everywhere: one user's password from many places;
//   - Global, of all attempts: many users' passwords from many places.
//
// The last two could be used to lock somebody out, or everybody. So they do not
// count who comes from where they have signed in before: a login and an
// address that are known together have only Pair and Address to keep to. Only a
// sign-in that succeeded makes them known: neither hanging up nor a store that
// is down does. And when Global is used up nobody is refused for it: addresses
// that are not known for the login get one attempt per Slow. Sessions that are
// signed in, and their refreshes, never ask here.
type SignIn struct {
	gate    *gate
	config  SignInConfig
	pair    Limit
	address Limit
	network Limit
	login   Limit
	global  Limit
	slow    Limit
	known   known
}

// SignInConfig says how many attempts to sign in may fail. The zero SignInConfig
// is ready for use, on one machine.
type SignInConfig struct {
	// Pair, Address, Login and Global say how many attempts may fail. All
	// are Strict. Default: 5 per 15 minutes, 50 per 15 minutes, 100 per day
	// (NIST SP 800-63B-4 section 3.2.2 allows no more than 100 in a row), 600
	// per minute.
	Pair, Address, Login, Global Limit

	// Slow is how long an address that is not known for a login waits
	// between two attempts while Global is used up. It must leave fewer
	// attempts than Address does, or it lowers nothing: more than
	// Address.Window / Address.Quota. Default: 5 minutes, which leaves 3 of
	// the 50 that an address has in 15 minutes.
	Slow time.Duration

	// Known reports whether somebody has signed in with login from the
	// address before, which is as Reserve was given it. A host that keeps
	// sessions can tell, on all machines and after a restart. An error is
	// returned by Reserve. Default: what this process has seen in the last
	// 30 days, up to 65,536 pairs.
	Known func(ctx context.Context, login, addr string) (bool, error)

	// NetworkFactor is how many times Address all of a /48 of IPv6 have.
	// Default: 4.
	NetworkFactor int64

	// Store, Name, Secret, Timeout, Local and Nodes are those of [Config].
	// While a shared Store does not answer, the limits count in this
	// process. Default: as there.
	Store   Store
	Name    string
	Secret  guard.Secret
	Timeout time.Duration
	Local   *Memory
	Nodes   int64

	// Hooks.Observe hears of the Store. Refusals are the business of who
	// asks. Default: nobody hears.
	Hooks guard.Hooks
}

// NewSignIn returns a SignIn. Its error lists every mistake in config.
func NewSignIn(config SignInConfig) (*SignIn, error) {
	common := Config{
		Store: config.Store, Name: config.Name, Secret: config.Secret, Timeout: config.Timeout,
		Local: config.Local, Nodes: config.Nodes, NetworkFactor: config.NetworkFactor, Hooks: config.Hooks,
	}
	wrong := common.validate()
	if config.NetworkFactor == 0 {
		config.NetworkFactor = 4
	}
	s := &SignIn{config: config}
	for _, l := range []struct {
		field string
		given Limit
		quota int64
		per   time.Duration
		into  *Limit
	}{
		{"Pair", config.Pair, 5, 15 * time.Minute, &s.pair},
		{"Address", config.Address, 50, 15 * time.Minute, &s.address},
		{"Login", config.Login, 100, 24 * time.Hour, &s.login},
		{"Global", config.Global, 600, time.Minute, &s.global},
		{"Slow", Limit{Quota: 1, Window: config.Slow}, 1, 5 * time.Minute, &s.slow},
	} {
		limit := l.given
		if limit.Quota == 0 {
			limit.Quota = l.quota
		}
		if limit.Window == 0 {
			limit.Window = l.per
		}
		if limit.Name == "" {
			limit.Name = "sign-in " + l.field
		}
		err := limit.Validate()
		if err == nil && limit.Kind != Strict {
			err = fmt.Errorf("ratelimit: Limit.Kind is %v, want strict", limit.Kind)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("ratelimit: SignInConfig.%s: %w", l.field, err))
		}
		*l.into = limit
	}
	if len(wrong) == 0 && int64(s.address.Window/s.slow.Window) >= s.address.Quota {
		wrong = append(wrong, fmt.Errorf("ratelimit: SignInConfig.Slow is %v, which allows an address no less than SignInConfig.Address, %v,"+
			" want more than %v", s.slow.Window, s.address, s.address.Window/time.Duration(s.address.Quota)))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	s.network = s.address
	s.network.Name = "sign-in /48"
	s.network.Quota = min(s.address.Quota*config.NetworkFactor, MaxQuota)
	s.gate = newGate(&common)
	return s, nil
}

// Reserve charges one attempt on login from the address, with or without a
// port. A positive retryAfter refuses it, and settle is nil then. Otherwise
// settle is called when the attempt is over. What was charged stays charged
// after [guard.Failed]. After [guard.Undecided] it is given back, and that is
// all. After [guard.Succeeded] it is given back, and login and address are known
// together from then on. Calling settle again does nothing. An error says that
// the limits could not be asked.
//
// An address that is none, of a UNIX socket say, is shared by all who have
// none. Login is compared as it is given: pass it in the one form that the user
// store compares.
func (s *SignIn) Reserve(ctx context.Context, login, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error) {
	var pair, address, name KeyBuilder
	ip, _ := addrOf(addr)
	address.reset(tagSignIn, s.config.Name)
	address.AddAddr(ip)
	pair.reset(tagSignIn, s.config.Name)
	pair.Add(login)
	pair.AddAddr(ip)
	name.reset(tagSignIn, s.config.Name)
	name.Add(login)
	pairKey := s.gate.hash.sum(pair.b)
	addressKey := s.gate.hash.sum(address.b)

	known := false
	if s.config.Known == nil {
		known = s.known.has(&pairKey, s.now())
	} else if known, err = s.config.Known(ctx, login, addr); err != nil {
		return nil, 0, err
	}
	charges := []Charge{{pairKey, s.pair, 1}, {addressKey, s.address, 1}}
	if len(address.network) > 0 {
		charges = append(charges, Charge{s.gate.hash.sum(address.network), s.network, 1})
	}
	if !known {
		charges = append(charges, Charge{s.gate.hash.sum(name.b), s.login, 1})
	}
	bill, retryAfter, err := s.charge(ctx, charges)
	if err != nil || retryAfter > 0 {
		return nil, retryAfter, err
	}
	bills := []paid{bill}
	if !known {
		everybody := s.gate.hash.sum(appendField(nil, tagSignIn, s.config.Name))
		bill, wait, err := s.charge(ctx, []Charge{{everybody, s.global, 1}})
		if err == nil && wait > 0 {
			bill, wait, err = s.charge(ctx, []Charge{{addressKey, s.slow, 1}})
		}
		if err != nil || wait > 0 {
			s.gate.settle(ctx, bills[0], true)
			return nil, wait, err
		}
		bills = append(bills, bill)
	}
	var over atomic.Bool
	return func(outcome guard.Outcome) {
		if over.Swap(true) || outcome != guard.Undecided && outcome != guard.Succeeded {
			return
		}
		for _, b := range bills {
			s.gate.settle(ctx, b, true)
		}
		if outcome == guard.Succeeded && s.config.Known == nil {
			s.known.add(&pairKey, s.now())
		}
	}, 0, nil
}

// now is never zero, so that a place that was taken is younger than a free one.
func (s *SignIn) now() time.Duration { return time.Duration(s.gate.memory.now()) + 1 }

// charge returns how long to wait if the charges do not fit.
func (s *SignIn) charge(ctx context.Context, charges []Charge) (paid, time.Duration, error) {
	states := make([]State, len(charges))
	ok, bill, err := s.gate.take(ctx, charges, states, true)
	if err != nil || ok {
		return bill, 0, err
	}
	var wait time.Duration
	for i := range states {
		if states[i].Refused {
			wait = max(wait, states[i].RetryAfter)
		}
	}
	return paid{}, jitter(max(wait, time.Millisecond)), nil
}

// known remembers pairs that have signed in. To forget one costs its owner some
// protection from being locked out and nobody else anything, so a new pair takes
// the place of the oldest of its set. It is made at the first success.
type known struct {
	mu   sync.Mutex
	sets []knownSet
}

type knownSet [8]struct {
	tag   uint64
	since time.Duration // of the process's clock; 0 with a tag of 0 is nobody
}

const (
	knownSets = 65_536 / 8
	remember  = 30 * 24 * time.Hour
)

func (k *known) has(key *Key, now time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sets == nil {
		return false
	}
	for _, e := range k.sets[setOfKnown(key)] {
		if e.tag == tagOf(key) {
			return now-e.since < remember
		}
	}
	return false
}

func (k *known) add(key *Key, now time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sets == nil {
		k.sets = make([]knownSet, knownSets)
	}
	set, tag := &k.sets[setOfKnown(key)], tagOf(key)
	oldest := 0
	for i, e := range set {
		if e.tag == tag {
			oldest = i
			break
		}
		if e.since < set[oldest].since {
			oldest = i
		}
	}
	set[oldest].tag, set[oldest].since = tag, now
}

func setOfKnown(key *Key) int {
	return int(binary.LittleEndian.Uint64(key[:8]) % knownSets)
}
