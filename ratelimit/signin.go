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
// Four limits count failures and stand against four ways of guessing:
//
//   - Pair, of one login from one address: one user's password;
//   - Address, of all logins from one address, and all of a /48 together:
//     many users' passwords from one place;
//   - Login, of one login from everywhere: one user's password from many places;
//   - Global, of all attempts: many users' passwords from many places.
//
// Two more keep one address from taking the processors that hash passwords, by
// accounts of its own: InFlight, of attempts from one address at once, of which
// further ones wait in a queue of that address, and Attempts, of all attempts from
// one address, successes among them.
//
// Login and Global could be used to lock somebody out, or everybody. So they do not
// count who comes from where they have signed in before: a login and an
// address that are known together have only Pair and Address to keep to. Only a
// sign-in that succeeded makes them known: neither hanging up nor a store that
// is down does. And when Global is used up nobody is refused for it: addresses
// that are not known for the login get one attempt per Slow. Sessions that are
// signed in, and their refreshes, never ask here.
type SignIn struct {
	gate       *gate
	config     SignInConfig
	pair       Limit
	address    Limit
	network    Limit
	login      Limit
	global     Limit
	slow       Limit
	attempts   Limit
	attempts48 Limit
	known      known
	lines      lines
}

// SignInConfig says how many attempts to sign in may fail. The zero SignInConfig
// is ready for use, on one machine.
type SignInConfig struct {
	// Pair, Address, Login and Global say how many attempts may fail. All
	// are Strict. Default: 5 per 15 minutes, 50 per 15 minutes, 100 per day
	// (NIST SP 800-63B-4 section 3.2.2 allows no more than 100 in a row), 600
	// per minute.
	Pair, Address, Login, Global Limit

	// Attempts is how many attempts one address may make, whether they succeed
	// or fail. All of a /48 of IPv6 have NetworkFactor times as many. An
	// attempt that was not decided does not count. Many people may share an
	// address: it should be ten times Address or more.
	// Default: 20 times Address.
	Attempts Limit

	// InFlight is how many attempts from one address may be under way at once
	// in this process, and NetworkFactor times as many from all of a /48 of
	// IPv6. Up to 64 more wait for their turn, in the order in which they came,
	// for up to 5 seconds; any other is refused. An attempt is under way until
	// settle is called. Default: 16.
	InFlight int

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
	if config.InFlight == 0 {
		config.InFlight = 16
	}
	if config.InFlight < 0 || config.InFlight > 1<<16 {
		wrong = append(wrong, fmt.Errorf("ratelimit: SignInConfig.InFlight is %d, want 1 to %d", config.InFlight, 1<<16))
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
	if len(wrong) == 0 {
		s.attempts = config.Attempts
		if s.attempts.Quota == 0 {
			s.attempts.Quota = min(20*s.address.Quota, MaxQuota)
		}
		if s.attempts.Window == 0 {
			s.attempts.Window = s.address.Window
		}
		if s.attempts.Name == "" {
			s.attempts.Name = "sign-in Attempts"
		}
		err := s.attempts.Validate()
		if err == nil && s.attempts.Kind != Strict {
			err = fmt.Errorf("ratelimit: Limit.Kind is %v, want strict", s.attempts.Kind)
		}
		if err == nil && s.attempts.Name == s.address.Name {
			err = fmt.Errorf("ratelimit: Limit.Name is %q, which is that of Address, want another", s.attempts.Name)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("ratelimit: SignInConfig.Attempts: %w", err))
		}
	}
	if len(wrong) == 0 && int64(s.address.Window/s.slow.Window) >= s.address.Quota {
		wrong = append(wrong, fmt.Errorf("ratelimit: SignInConfig.Slow is %v, which allows an address no less than SignInConfig.Address, %v,"+
			" want more than %v", s.slow.Window, s.address, s.address.Window/time.Duration(s.address.Quota)))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	ofNetwork := func(l Limit, name string) Limit {
		l.Name = name
		l.Quota = min(l.Quota*config.NetworkFactor, MaxQuota)
		return l
	}
	s.network = ofNetwork(s.address, "sign-in /48")
	s.attempts48 = ofNetwork(s.attempts, "sign-in Attempts /48")
	s.gate = newGate(&common)
	return s, nil
}

// Reserve charges one attempt on login from the address, with or without a
// port, after it has waited until no more than InFlight attempts from the address
// are under way. A positive retryAfter refuses the attempt, and settle is nil then.
// Otherwise settle is called when the attempt is over, or the place of the attempt
// is never free again. What was charged stays charged after [guard.Failed]. After
// [guard.Undecided] it is given back, and that is all. After [guard.Succeeded] it
// is given back, but for Attempts, and login and address are known together from
// then on. Calling settle again does nothing. An error means that the limits could
// not be consulted.
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

	leave, turn, err := s.enter(ctx, &addressKey, &address)
	if err != nil || !turn {
		return nil, jitter(time.Second), err
	}
	defer func() {
		if settle == nil {
			leave()
		}
	}()
	known := false
	if s.config.Known == nil {
		known = s.known.has(&pairKey, s.now())
	} else if known, err = s.config.Known(ctx, login, addr); err != nil {
		return nil, 0, err
	}
	charges := []Charge{{pairKey, s.pair, 1}, {addressKey, s.address, 1}, {addressKey, s.attempts, 1}}
	if len(address.network) > 0 {
		networkKey := s.gate.hash.sum(address.network)
		charges = append(charges, Charge{networkKey, s.network, 1}, Charge{networkKey, s.attempts48, 1})
	}
	if !known {
		charges = append(charges, Charge{s.gate.hash.sum(name.b), s.login, 1})
	}
	first, retryAfter, err := s.charge(ctx, charges)
	if err != nil || retryAfter > 0 {
		return nil, retryAfter, err
	}
	bills := []bill{first}
	if !known {
		all := s.gate.hash.sum(appendField(nil, tagSignIn, s.config.Name))
		second, wait, err := s.charge(ctx, []Charge{{all, s.global, 1}})
		if err == nil && wait > 0 {
			second, wait, err = s.charge(ctx, []Charge{{addressKey, s.slow, 1}})
		}
		if err != nil || wait > 0 {
			s.gate.settle(ctx, first, everything)
			return nil, wait, err
		}
		bills = append(bills, second)
	}
	var over atomic.Bool
	return func(outcome guard.Outcome) {
		if over.Swap(true) {
			return
		}
		// A place in line is free before the store is called.
		leave()
		which := everything
		switch outcome {
		case guard.Undecided:
		case guard.Succeeded:
			which = s.ofFailures
		default:
			return
		}
		for _, b := range bills {
			s.gate.settle(ctx, b, which)
		}
		if outcome == guard.Succeeded && s.config.Known == nil {
			s.known.add(&pairKey, s.now())
		}
	}, 0, nil
}

// enter waits until one more attempt from an address may be under way. It reports
// whether it may; then leave is to be called once.
func (s *SignIn) enter(ctx context.Context, addressKey *Key, address *KeyBuilder) (leave func(), turn bool, err error) {
	if turn, err = s.lines.enter(ctx, addressKey, s.config.InFlight); !turn {
		return nil, false, err
	}
	if len(address.network) == 0 {
		return func() { s.lines.leave(addressKey) }, true, nil
	}
	networkKey := s.gate.hash.sum(address.network)
	if turn, err = s.lines.enter(ctx, &networkKey, s.config.InFlight*int(s.config.NetworkFactor)); !turn {
		s.lines.leave(addressKey)
		return nil, false, err
	}
	return func() {
		s.lines.leave(&networkKey)
		s.lines.leave(addressKey)
	}, true, nil
}

// ofFailures reports whether a charge counts failures only.
func (s *SignIn) ofFailures(c *Charge) bool {
	return c.Limit.Name != s.attempts.Name && c.Limit.Name != s.attempts48.Name
}

// now is never zero, so that a place that was taken is younger than a free one.
func (s *SignIn) now() time.Duration { return time.Duration(s.gate.memory.now()) + 1 }

// charge returns how long to wait if the charges do not fit.
func (s *SignIn) charge(ctx context.Context, charges []Charge) (bill, time.Duration, error) {
	states := make([]State, len(charges))
	ok, owed, err := s.gate.spend(ctx, charges, states, true)
	if err != nil || ok {
		return owed, 0, err
	}
	var wait time.Duration
	for i := range states {
		if states[i].Refused {
			wait = max(wait, states[i].RetryAfter)
		}
	}
	return bill{}, jitter(max(wait, time.Millisecond)), nil
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
