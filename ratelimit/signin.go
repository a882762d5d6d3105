package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/seen"
)

// A SignIn limits attempts to sign in, concurrent ones too. It implements
// auth.Throttle.
//
// Pair, Address, Login and Global limit failures: of a login from an address, of an
// address, of a login, and of all attempts. So that an attacker cannot lock users out,
// Login and Global ignore addresses from which the login has signed in before, and a
// used-up Global still admits one attempt per Slow from each other address. InFlight
// and Attempts bound the passwords hashed for an address.
type SignIn struct {
	gate    *gate
	config  SignInConfig
	pair    Limit
	address Limit
	network Limit
	// pair limits guesses at one password, address at many passwords from one
	// address, login at one password from many addresses, and global at many
	// passwords from many addresses.
	login      Limit
	global     Limit
	slow       Limit
	attempts   Limit
	attempts48 Limit
	known      seen.Pairs
	queues     waitQueues
}

// SignInConfig configures a [SignIn].
type SignInConfig struct {
	// Pair, Address, Login and Global are Strict limits of failures. Default: 5
	// and 50 per 15 minutes, 100 per day (NIST SP 800-63B-4 section 3.2.2), 600
	// per minute.
	Pair, Address, Login, Global Limit

	// Attempts limits all attempts from an address, which may be an office behind
	// a NAT. Default: 20 times Address.
	Attempts Limit

	// InFlight is the number of concurrent attempts from an address in this
	// process. Up to 64 more wait for up to 5 seconds; others are refused.
	// Default: 16.
	InFlight int

	// Slow is the time between attempts of unknown addresses while Global is used
	// up, more than Address.Window / Address.Quota. Default: 5 minutes.
	Slow time.Duration

	// Known reports whether login has signed in from addr before. If nil, this
	// process remembers 65,536 pairs for 30 days.
	Known func(ctx context.Context, login, addr string) (bool, error)

	// NetworkFactor multiplies Address, Attempts and InFlight for an IPv6 /48.
	// Default: 4.
	NetworkFactor int64

	// See [Config]. While a shared Store does not answer, this process counts.
	Store   Store
	Name    string
	Secret  guard.Secret
	Timeout time.Duration
	Local   *Memory
	Nodes   int64

	// Hooks.Observe receives events about the Store, Hooks.Measure decisions. The
	// caller of Reserve reports refusals.
	Hooks guard.Hooks
}

// NewSignIn returns a SignIn.
func NewSignIn(config SignInConfig) (*SignIn, error) {
	common := Config{
		Store: config.Store, Name: config.Name, Secret: config.Secret, Timeout: config.Timeout,
		Local: config.Local, Nodes: config.Nodes, NetworkFactor: config.NetworkFactor, Hooks: config.Hooks,
	}
	mistakes := common.validate()
	if config.NetworkFactor == 0 {
		config.NetworkFactor = 4
	}
	if config.InFlight == 0 {
		config.InFlight = 16
	}
	if config.InFlight < 0 || config.InFlight > 1<<16 {
		mistakes = append(mistakes, fmt.Errorf("ratelimit: SignInConfig.InFlight is %d; set 1 to %d", config.InFlight, 1<<16))
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
		err := limit.validate()
		if err == nil && limit.Kind != Strict {
			err = fmt.Errorf("ratelimit: Limit.Kind is %v; set Strict", limit.Kind)
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("ratelimit: SignInConfig.%s: %w", l.field, err))
		}
		*l.into = limit
	}
	if len(mistakes) == 0 {
		s.attempts = config.Attempts
		if s.attempts.Quota == 0 {
			s.attempts.Quota = min(20*s.address.Quota, maxQuota)
		}
		if s.attempts.Window == 0 {
			s.attempts.Window = s.address.Window
		}
		if s.attempts.Name == "" {
			s.attempts.Name = "sign-in Attempts"
		}
		err := s.attempts.validate()
		if err == nil && s.attempts.Kind != Strict {
			err = fmt.Errorf("ratelimit: Limit.Kind is %v; set Strict", s.attempts.Kind)
		}
		if err == nil && s.attempts.Name == s.address.Name {
			err = fmt.Errorf("ratelimit: Limit.Name is %q, the name of Address; use another", s.attempts.Name)
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("ratelimit: SignInConfig.Attempts: %w", err))
		}
	}
	if len(mistakes) == 0 && int64(s.address.Window/s.slow.Window) >= s.address.Quota {
		mistakes = append(mistakes, fmt.Errorf("ratelimit: SignInConfig.Slow is %v, which allows an address as much as SignInConfig.Address, %v;"+
			" set more than %v", s.slow.Window, s.address, s.address.Window/time.Duration(s.address.Quota)))
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	ofNetwork := func(l Limit, name string) Limit {
		l.Name = name
		l.Quota = min(l.Quota*config.NetworkFactor, maxQuota)
		return l
	}
	s.network = ofNetwork(s.address, "sign-in /48")
	s.attempts48 = ofNetwork(s.attempts, "sign-in Attempts /48")
	s.gate = newGate(&common)
	return s, nil
}

// Reserve charges an attempt on login from addr, with or without a port, and waits
// while InFlight attempts from the address run. A positive retryAfter refuses the
// attempt; an error means that the limits could not be checked. Otherwise the caller
// must call settle after the attempt, or its place is never free.
//
// [guard.Undecided] gives the charge back, [guard.Succeeded] all but Attempts, and
// makes the address known for the login. Invalid addresses count as one. Pass login as
// the user store compares it.
func (s *SignIn) Reserve(ctx context.Context, login, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error) {
	begun := s.config.Hooks.Begin()
	settle, retryAfter, err = s.reserve(ctx, login, addr)
	refused := err
	if err == nil && retryAfter > 0 && !begun.IsZero() {
		refused = guard.TooManyAttempts(retryAfter, nil)
	}
	s.config.Hooks.Measured(ctx, begun, "limit", cmp.Or(s.config.Name, "sign-in"), refused)
	return settle, retryAfter, err
}

func (s *SignIn) reserve(ctx context.Context, login, addr string) (settle func(guard.Outcome), retryAfter time.Duration, err error) {
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
		known = s.known.Has(seen.Pair(pairKey), time.Now())
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
	admissions := []admission{first}
	if !known {
		all := s.gate.hash.sum(appendField(nil, tagSignIn, s.config.Name))
		second, wait, err := s.charge(ctx, []Charge{{all, s.global, 1}})
		if err == nil && wait > 0 {
			second, wait, err = s.charge(ctx, []Charge{{addressKey, s.slow, 1}})
		}
		if err != nil || wait > 0 {
			s.gate.settle(ctx, first, allCharges)
			return nil, wait, err
		}
		admissions = append(admissions, second)
	}
	var over atomic.Bool
	return func(outcome guard.Outcome) {
		if over.Swap(true) {
			return
		}
		// The place is free before the store is called.
		leave()
		which := allCharges
		switch outcome {
		case guard.Undecided:
		case guard.Succeeded:
			which = s.ofFailures
		default:
			return
		}
		for _, b := range admissions {
			s.gate.settle(ctx, b, which)
		}
		if outcome == guard.Succeeded && s.config.Known == nil {
			s.known.Add(seen.Pair(pairKey), time.Now())
		}
	}, 0, nil
}

// enter waits for a place for one attempt from an address, and reports whether it got
// one. Then the caller must call leave once.
func (s *SignIn) enter(ctx context.Context, addressKey *Key, address *KeyBuilder) (leave func(), turn bool, err error) {
	if turn, err = s.queues.enter(ctx, addressKey, s.config.InFlight); !turn {
		return nil, false, err
	}
	if len(address.network) == 0 {
		return func() { s.queues.leave(addressKey) }, true, nil
	}
	networkKey := s.gate.hash.sum(address.network)
	if turn, err = s.queues.enter(ctx, &networkKey, s.config.InFlight*int(s.config.NetworkFactor)); !turn {
		s.queues.leave(addressKey)
		return nil, false, err
	}
	return func() {
		s.queues.leave(&networkKey)
		s.queues.leave(addressKey)
	}, true, nil
}

// ofFailures reports whether a charge counts only failed attempts.
func (s *SignIn) ofFailures(c *Charge) bool {
	return c.Limit.Name != s.attempts.Name && c.Limit.Name != s.attempts48.Name
}

// charge makes the charges, or returns how long to wait.
func (s *SignIn) charge(ctx context.Context, charges []Charge) (admission, time.Duration, error) {
	states := make([]State, len(charges))
	ok, admitted, err := s.gate.spend(ctx, charges, states, true)
	if err != nil || ok {
		return admitted, 0, err
	}
	var wait time.Duration
	for i := range states {
		if states[i].Refused {
			wait = max(wait, states[i].RetryAfter)
		}
	}
	return admission{}, jitter(max(wait, time.Millisecond)), nil
}
