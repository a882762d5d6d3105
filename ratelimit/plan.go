package ratelimit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Plan is an immutable set of limits for [Config.LimitsFor].
type Plan struct {
	limits  []limit
	policy  string // the value of RateLimit-Policy
	inUse   bool   // one is Concurrent
	closed  bool   // one is Closed
	allHere bool   // each is Local
}

// A limit is a Limit with its texts for responses and logs.
type limit struct {
	Limit
	network   string // the name of the limit of a /48
	field     string // "name";r=
	quota     string
	exhausted error
	full      error
}

// NewPlan returns a Plan of limits with different names.
func NewPlan(limits ...Limit) (*Plan, error) {
	var mistakes []error
	if n := len(limits); n == 0 || n > MaxCharges/2 {
		mistakes = append(mistakes, fmt.Errorf("ratelimit: there are %d limits; pass 1 to %d", n, MaxCharges/2))
	}
	p := &Plan{allHere: true}
	var policy strings.Builder
	for i, l := range limits {
		l = l.withDefaults()
		if err := l.validate(); err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		if n := maxName - len(networkSuffix); len(l.Name) > n {
			mistakes = append(mistakes, fmt.Errorf("ratelimit: Limit.Name is %q; use at most %d bytes", l.Name, n))
		}
		for _, other := range p.limits {
			if other.Name == l.Name {
				mistakes = append(mistakes, fmt.Errorf("ratelimit: Limit.Name is %q of two limits, %v and %v; use different names",
					l.Name, other.Limit, l))
			}
		}
		if i > 0 {
			policy.WriteString(", ")
		}
		policy.WriteString(sfString(l.Name) + ";q=" + strconv.FormatInt(l.Quota, 10))
		switch {
		case l.Kind == Concurrent:
			policy.WriteString(`;qu="concurrent-requests"`)
			p.inUse = true
		case l.Window%time.Second == 0:
			// w is in whole seconds; no window is better than a wrong one.
			policy.WriteString(";w=" + strconv.FormatInt(int64(l.Window/time.Second), 10))
		}
		p.closed = p.closed || l.Down == Closed
		p.allHere = p.allHere && l.Down == Local
		exhausted := fmt.Errorf("ratelimit: limit %q, %v, is used up", l.Name, l)
		p.limits = append(p.limits, limit{
			Limit:     l,
			network:   l.Name + networkSuffix,
			field:     sfString(l.Name) + ";r=",
			quota:     strconv.FormatInt(l.Quota, 10),
			exhausted: exhausted,
			full:      fmt.Errorf("%w: limit %q, %v", ErrFull, l.Name, l),
		})
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	p.policy = policy.String()
	return p, nil
}

const networkSuffix = "/48"

// sfString returns printable ASCII as a String of RFC 9651 section 3.3.3.
func sfString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// appendState appends the member of RateLimit for the i-th limit.
func (p *Plan) appendState(b []byte, i int, s *State) []byte {
	b = append(b, p.limits[i].field...)
	b = strconv.AppendInt(b, s.Remaining, 10)
	if wait := s.next(); wait > 0 {
		b = append(b, ";t="...)
		b = strconv.AppendInt(b, seconds(wait), 10)
	}
	return b
}

// next returns the time until a further charge fits.
func (s *State) next() time.Duration {
	if s.Refused {
		return s.RetryAfter
	}
	return s.Reset
}

// seconds returns d in whole seconds, rounded up.
func seconds(d time.Duration) int64 { return ceilDiv(int64(d), int64(time.Second)) }
