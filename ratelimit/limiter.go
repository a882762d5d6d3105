package ratelimit

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatewright/gatewright/auth/guard"
)

// A Limiter limits requests.
type Limiter struct {
	key    KeyFunc
	config Config
	plan   *Plan
	gate   *gate
	pool   sync.Pool // of *scratch
	noted  [3]*rate.Sometimes
}

// New returns a Limiter that counts for key.
func New(key KeyFunc, config Config, limits ...Limit) (*Limiter, error) {
	mistakes := config.validate()
	if key == nil {
		mistakes = append(mistakes, errors.New("ratelimit: key is nil; use a KeyFunc, for example ByIP"))
	}
	plan, err := NewPlan(limits...)
	if err != nil {
		mistakes = append(mistakes, err)
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	if config.NetworkFactor == 0 {
		config.NetworkFactor = 16
	}
	l := &Limiter{key: key, config: config, plan: plan, gate: newGate(&config)}
	l.pool.New = func() any { return new(scratch) }
	for i := range l.noted {
		l.noted[i] = &rate.Sometimes{First: 1, Interval: time.Minute}
	}
	return l, nil
}

// scratch is memory for the decision about one request. It holds nothing of the
// request when the handler runs.
type scratch struct {
	key  KeyBuilder
	plan *Plan
	chargeSet
	field []byte
	slab  slab
}

// Handler returns next behind the limits. A place in a Concurrent limit is free when
// next returns or panics, also after a hijack. Limiters in a chain must have limits
// with different names. The route ledger has Config.Name and the limits.
func (l *Limiter) Handler(next http.Handler) http.Handler {
	if next == nil {
		panic("ratelimit: the next handler is nil")
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.serve(w, r, next) })
	return guard.Describe(h, next, l.requirement())
}

func (l *Limiter) requirement() guard.Requirement {
	q := guard.Requirement{Kind: guard.KindLimit}
	if l.config.Name != "" {
		q.Values = append(q.Values, l.config.Name)
	}
	for _, limit := range l.plan.limits {
		q.Values = append(q.Values, limit.String())
	}
	if l.config.LimitsFor != nil {
		q.Values = append(q.Values, "or by plan")
	}
	if l.config.InsecureShadow {
		q.Values = append(q.Values, "in shadow")
	}
	return q
}

func (l *Limiter) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if l.config.Skip != nil && l.config.Skip(r) {
		next.ServeHTTP(w, r)
		return
	}
	s := l.pool.Get().(*scratch)
	admitted, err := l.decide(r, s)
	if len(s.states) > 0 && l.config.Fields != FieldsNone && !l.config.InsecureShadow {
		l.writeFields(w.Header(), s)
	}
	settles := err == nil && l.settles(s.plan)
	l.pool.Put(s)
	switch {
	case err != nil && l.config.InsecureShadow:
		l.observeShadow(r, err)
		next.ServeHTTP(w, r)
	case err != nil:
		l.config.Hooks.Refuse(w, r, err)
	case settles:
		l.serveSettled(w, r, next, admitted)
	default:
		next.ServeHTTP(w, r)
	}
}

// settles reports whether a charge is given back after a request.
func (l *Limiter) settles(p *Plan) bool { return p.inUse || l.config.Refund != nil }

func (l *Limiter) serveSettled(w http.ResponseWriter, r *http.Request, next http.Handler, admitted admission) {
	// The handler may replace *r, but not this context.
	ctx := r.Context()
	if l.config.Refund == nil {
		defer l.gate.settle(ctx, admitted, nil)
		next.ServeHTTP(w, r)
		return
	}
	sw := &statusWriter{ResponseWriter: w}
	var which func(*Charge) bool
	defer func() { l.gate.settle(ctx, admitted, which) }()
	next.ServeHTTP(sw, r)
	if l.config.Refund(sw.final()) {
		which = allCharges
	}
}

func (l *Limiter) observeShadow(r *http.Request, err error) {
	d, ok := errors.AsType[*guard.Denial](err)
	if !ok {
		l.config.Hooks.Emit(r, guard.Event{Name: guard.EventUnavailable, Err: err})
		return
	}
	l.config.Hooks.Emit(r, guard.Event{Name: guard.EventRateLimit, Denial: d})
}

// Check charges the limits for r and returns nil or the refusal of Handler. Concurrent
// limits are an error; see [Limiter.Reserve].
func (l *Limiter) Check(r *http.Request) error {
	if l.plan.inUse {
		return errors.New("ratelimit: Check cannot give back the place of a Concurrent limit; use Handler or Reserve")
	}
	s := l.pool.Get().(*scratch)
	defer l.pool.Put(s)
	admitted, err := l.decide(r, s)
	if err == nil && s.plan.inUse {
		l.gate.settle(r.Context(), admitted, allCharges)
		return errors.New("ratelimit: Check cannot give back the place of a Concurrent limit of a Plan; use Handler")
	}
	if err != nil && l.config.InsecureShadow {
		l.observeShadow(r, err)
		return nil
	}
	return err
}

// Reserve charges the limits of New without a request, for example for a WebSocket
// message, together with a [KeyFunc] that adds the same fields. It returns the refusal
// as a [guard.Denial], or a Reservation, which must be ended for Concurrent limits.
// Skip, LimitsFor, Cost and InsecureShadow have no effect.
func (l *Limiter) Reserve(ctx context.Context, cost int64, fields ...string) (*Reservation, error) {
	s := l.pool.Get().(*scratch)
	defer l.pool.Put(s)
	s.key.reset(tagLimiter, l.config.Name)
	return l.reserve(ctx, s, cost, fields)
}

// ReserveAddr is [Limiter.Reserve] for a key that begins with an address, like [ByIP].
func (l *Limiter) ReserveAddr(ctx context.Context, cost int64, addr netip.Addr, fields ...string) (*Reservation, error) {
	s := l.pool.Get().(*scratch)
	defer l.pool.Put(s)
	s.key.reset(tagLimiter, l.config.Name)
	s.key.AddAddr(addr)
	return l.reserve(ctx, s, cost, fields)
}

// reserve charges the limits of New for s.key and fields.
func (l *Limiter) reserve(ctx context.Context, s *scratch, cost int64, fields []string) (*Reservation, error) {
	for _, f := range fields {
		s.key.Add(f)
	}
	s.plan = l.plan
	begun := l.config.Hooks.Begin()
	admitted, err := l.charge(ctx, s, max(1, cost), true)
	l.config.Hooks.Measured(ctx, begun, "limit", l.config.Name, err)
	if err != nil {
		return nil, err
	}
	return &Reservation{States: append([]State(nil), s.states[:len(s.plan.limits)]...), gate: l.gate, admitted: admitted}, nil
}

// A Reservation is a charge by [Limiter.Reserve].
type Reservation struct {
	// States has the State of each limit of New.
	States []State

	gate     *gate
	admitted admission
	ended    atomic.Bool
}

// End frees the places in Concurrent limits and, if refund is set, gives back other
// charges. Only the first call counts.
func (r *Reservation) End(ctx context.Context, refund bool) {
	if r.ended.CompareAndSwap(false, true) {
		var which func(*Charge) bool
		if refund {
			which = allCharges
		}
		r.gate.settle(ctx, r.admitted, which)
	}
}

// decide charges the limits of r.
func (l *Limiter) decide(r *http.Request, s *scratch) (admission, error) {
	begun := l.config.Hooks.Begin()
	owed, err := l.chargeFor(r, s)
	l.config.Hooks.Measured(r.Context(), begun, "limit", l.config.Name, err)
	return owed, err
}

func (l *Limiter) chargeFor(r *http.Request, s *scratch) (admission, error) {
	s.states = s.states[:0]
	s.plan = l.plan
	if l.config.LimitsFor != nil {
		switch plan, err := l.config.LimitsFor(r); {
		case err != nil:
			return admission{}, err
		case plan != nil:
			s.plan = plan
		}
	}
	s.key.reset(tagLimiter, l.config.Name)
	if err := l.key(r, &s.key); err != nil {
		return admission{}, err
	}
	if s.key.unknown != 0 {
		l.noteUnknown(r, s.key.unknown)
	}
	cost := int64(1)
	if l.config.Cost != nil {
		cost = max(1, l.config.Cost(r))
	}
	return l.charge(r.Context(), s, cost, false)
}

// charge charges s.plan for s.key and sets one state for each limit.
func (l *Limiter) charge(ctx context.Context, s *scratch, cost int64, keep bool) (admission, error) {
	s.charges = s.charges[:0]
	key := l.gate.hash.sum(s.key.b)
	for i := range s.plan.limits {
		limit := &s.plan.limits[i]
		c := Charge{Key: key, Limit: limit.Limit, Cost: cost}
		if limit.Kind == Concurrent {
			c.Cost = 1
		}
		if c.Cost > limit.Max() {
			s.states = s.states[:0]
			return admission{}, &guard.Denial{
				Status: http.StatusRequestEntityTooLarge,
				Code:   codeCostTooLarge,
				Detail: "The request is larger than the limit ever allows.",
				Event:  guard.EventRateLimit,
				Err:    limit.exhausted,
			}
		}
		s.charges = append(s.charges, c)
	}
	n := len(s.charges)
	if len(s.key.network) > 0 {
		key := l.gate.hash.sum(s.key.network)
		for i := range n {
			c := s.charges[i]
			c.Key = key
			c.Limit.Name = s.plan.limits[i].network
			c.Limit.Quota = min(c.Limit.Quota*l.config.NetworkFactor, maxQuota)
			if c.Limit.Kind == Smooth {
				c.Limit.Quota = min(c.Limit.Quota, int64(c.Limit.Window/time.Microsecond))
				c.Limit.Burst = min(c.Limit.Burst*l.config.NetworkFactor, c.Limit.Quota)
			}
			s.charges = append(s.charges, c)
		}
	}
	if cap(s.states) < len(s.charges) {
		s.states = make([]State, len(s.charges))
	}
	s.states = s.states[:len(s.charges)]
	var admitted admission
	var ok bool
	var err error
	if s.plan.inUse {
		ok, admitted, err = l.gate.take(ctx, &s.chargeSet)
	} else {
		ok, admitted, err = l.gate.spend(ctx, s.charges, s.states, keep || l.config.Refund != nil)
	}
	if err != nil {
		s.states = s.states[:0]
		return admission{}, clientGone(ctx, err)
	}
	for i := n; i < len(s.states); i++ {
		if tighter(&s.states[i], &s.states[i-n]) {
			s.states[i-n] = s.states[i]
		}
	}
	s.states = s.states[:n]
	if !ok {
		return admission{}, refusal(s.plan, s.states)
	}
	return admitted, nil
}

// tighter reports whether a limits the client more than b.
func tighter(a, b *State) bool {
	switch {
	case a.Refused != b.Refused:
		return a.Refused
	case a.Refused:
		return a.RetryAfter > b.RetryAfter
	}
	return a.Remaining < b.Remaining
}

// clientGone returns a refusal for the cancellation of a request, which is no failure
// of the server.
func clientGone(ctx context.Context, err error) error {
	if !errors.Is(err, context.Canceled) || ctx.Err() == nil {
		return err
	}
	return &guard.Denial{Status: 499, Code: guard.CodeClientGone, Detail: "The request was given up.", Err: err}
}

// refusal returns the 429 for states with at least one refusal.
func refusal(p *Plan, states []State) *guard.Denial {
	d := &guard.Denial{
		Status: http.StatusTooManyRequests,
		Code:   CodeQuotaExceeded,
		Detail: "There were too many requests. Please wait.",
	}
	for i := range states {
		s := &states[i]
		if !s.Refused || d.Err != nil && s.RetryAfter <= d.RetryAfter {
			continue
		}
		d.RetryAfter, d.Err = s.RetryAfter, p.limits[i].exhausted
		if s.Full {
			d.Err = p.limits[i].full
		}
	}
	// It is unknown when a request in flight ends.
	d.RetryAfter = jitter(max(d.RetryAfter, time.Second))
	return d
}

// jitter returns d and up to a tenth more, so that refused clients do not retry all at
// once.
func jitter(d time.Duration) time.Duration {
	return d + rand.N(d/10+1)
}

// noteUnknown emits EventSharedQuota.
func (l *Limiter) noteUnknown(r *http.Request, u unknown) {
	for i, note := range [...]struct {
		bit  unknown
		name guard.EventName
		err  error
	}{
		{noAddress, EventSharedQuota, errNoAddress},
		{noRoute, EventSharedQuota, errNoRoute},
		{wideRoute, EventSharedQuota, errWideRoute},
	} {
		if u&note.bit == 0 {
			continue
		}
		now := false
		l.noted[i].Do(func() { now = true })
		if now {
			l.config.Hooks.Emit(r, guard.Event{Name: note.name, Err: note.err})
		}
	}
}

var (
	errNoAddress = errors.New("ratelimit: RemoteAddr is no address, and all such requests share one quota")
	errWideRoute = errors.New("ratelimit: the pattern that ByRoute counts for ends in a wildcard, and all routes behind it share one quota;" +
		" limit behind the inner router")
	errNoRoute = errors.New("ratelimit: ByRoute runs in front of the mux, and all requests share one quota")
)

// Names of the fields in canonical form, so that net/http does not convert them.
const (
	fieldRateLimit = "Ratelimit"
	fieldPolicy    = "Ratelimit-Policy"
	fieldLimit     = "X-Ratelimit-Limit"
	fieldRemaining = "X-Ratelimit-Remaining"
	fieldReset     = "X-Ratelimit-Reset"
)

// writeFields writes the response fields.
func (l *Limiter) writeFields(h http.Header, s *scratch) {
	if l.config.Fields != FieldsLegacy {
		b := s.field[:0]
		for i := range s.states {
			if s.states[i].Remaining == unknownRemaining {
				continue
			}
			if len(b) > 0 {
				b = append(b, ", "...)
			}
			b = s.plan.appendState(b, i, &s.states[i])
		}
		s.field = b
		if len(b) > 0 {
			addValue(h, fieldRateLimit, s.slab.list(s.slab.string(b)))
			addValue(h, fieldPolicy, s.slab.list(s.plan.policy))
		}
	}
	if l.config.Fields != FieldsDraft {
		l.writeLegacy(h, s)
	}
}

// addValue appends to a field that may have values of an outer Limiter.
func addValue(h http.Header, name string, value []string) {
	if old := h[name]; len(old) > 0 {
		value = append(old[:len(old):len(old)], value...)
	}
	h[name] = value
}

// writeLegacy describes the limit with the least remaining, unless the fields of an
// outer Limiter have less.
func (l *Limiter) writeLegacy(h http.Header, s *scratch) {
	least := -1
	for i := range s.states {
		if s.states[i].Remaining != unknownRemaining && (least < 0 || s.states[i].Remaining < s.states[least].Remaining) {
			least = i
		}
	}
	if least < 0 {
		return
	}
	state := &s.states[least]
	if old := h[fieldRemaining]; len(old) > 0 {
		if n, err := strconv.ParseInt(old[0], 10, 64); err == nil && n < state.Remaining {
			return
		}
	}
	h[fieldLimit] = s.slab.list(s.plan.limits[least].quota)
	h[fieldRemaining] = s.slab.number(state.Remaining)
	h[fieldReset] = s.slab.number(seconds(state.next()))
}
