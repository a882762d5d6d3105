package blacklisttest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// naive is a Revoker by the letter of the rules: a list that is read from the
// start. It shows that the suite accepts something else than Memory, and is
// what the faults below are planted into.
type naive struct {
	mu   sync.Mutex
	list []identity.Revocation
}

func (n *naive) Revoke(_ context.Context, r identity.Revocation) error {
	if err := blacklist.Validate(r); err != nil {
		return err
	}
	n.add(r)
	return nil
}

func (n *naive) Revoked(_ context.Context, p *identity.Principal) (bool, error) {
	if p == nil || p.Issuer == "" {
		return false, errors.New("nobody")
	}
	return n.any(func(r identity.Revocation) bool { return names(r, p) && dated(r, p) && live(r) }), nil
}

// RevokeNow has a Before that is later than every one so far.
func (n *naive) RevokeNow(ctx context.Context, r identity.Revocation) (time.Time, error) {
	if !r.Before.IsZero() || r.Session != "" || r.Credential != "" {
		return time.Time{}, errors.New("not up to now")
	}
	r.Before = time.Now().Add(identity.MaxClockSkew)
	n.any(func(old identity.Revocation) bool {
		if !old.Before.Before(r.Before) && time.Until(old.Before) < 3*identity.MaxClockSkew {
			r.Before = old.Before.Add(time.Nanosecond)
		}
		return false
	})
	return r.Before, n.Revoke(ctx, r)
}

func (n *naive) IssueTime(_ context.Context, p *identity.Principal) (time.Time, error) {
	at := time.Now()
	n.any(func(r identity.Revocation) bool {
		if names(r, p) && live(r) && r.Before.After(at) && time.Until(r.Before) < 3*identity.MaxClockSkew {
			at = r.Before
		}
		return false
	})
	return at, nil
}

func (n *naive) Checkpoint(context.Context) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return uint64(len(n.list)), nil
}

func (n *naive) RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	number := uint64(0)
	return n.any(func(r identity.Revocation) bool {
		number++
		return names(r, p) && live(r) && (dated(r, p) || number > checkpoint && p.IssuedAt.Sub(r.Before) < time.Minute)
	}), nil
}

func (n *naive) add(r identity.Revocation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, r)
}

// replace puts r in the place of the first that has the same fields, changed by
// combine.
func (n *naive) replace(r identity.Revocation, combine func(old, r identity.Revocation) identity.Revocation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, old := range n.list {
		if old.Issuer == r.Issuer && old.Credential == r.Credential && old.Session == r.Session &&
			old.Subject == r.Subject && old.Tenant == r.Tenant && old.Spare == r.Spare {
			n.list[i] = combine(old, r)
			return
		}
	}
	n.list = append(n.list, r)
}

func (n *naive) any(match func(identity.Revocation) bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.list {
		if match(r) {
			return true
		}
	}
	return false
}

func names(r identity.Revocation, p *identity.Principal) bool {
	return r.Issuer == p.Issuer &&
		(r.Credential == "" || r.Credential == p.Credential) &&
		(r.Session == "" || r.Session == p.Session) &&
		(r.Subject == "" || r.Subject == p.Subject) &&
		(r.Tenant == "" || r.Tenant == p.Tenant) &&
		(r.Spare == "" || r.Spare != p.Session)
}

func dated(r identity.Revocation, p *identity.Principal) bool {
	return r.Before.IsZero() || p.IssuedAt.Before(r.Before)
}

func live(r identity.Revocation) bool {
	return r.Expires.IsZero() || time.Now().Before(r.Expires)
}

// A fault is a naive Revoker with one method changed.
type fault struct {
	name    string
	breaks  string // the rule that must notice
	revoke  func(*naive, context.Context, identity.Revocation) error
	revoked func(*naive, context.Context, *identity.Principal) (bool, error)
	now     func(*naive, context.Context, identity.Revocation) (time.Time, error)
	issued  func(*naive, *identity.Principal) time.Time
	since   func(*naive, context.Context, *identity.Principal, uint64) (bool, error)
}

type faulty struct {
	*naive
	fault
}

func (f faulty) Revoke(ctx context.Context, r identity.Revocation) error {
	if f.revoke == nil {
		return f.naive.Revoke(ctx, r)
	}
	return f.revoke(f.naive, ctx, r)
}

func (f faulty) Revoked(ctx context.Context, p *identity.Principal) (bool, error) {
	if f.revoked == nil {
		return f.naive.Revoked(ctx, p)
	}
	return f.revoked(f.naive, ctx, p)
}

func (f faulty) RevokeNow(ctx context.Context, r identity.Revocation) (time.Time, error) {
	if f.now == nil {
		return f.naive.RevokeNow(ctx, r)
	}
	return f.now(f.naive, ctx, r)
}

func (f faulty) IssueTime(ctx context.Context, p *identity.Principal) (time.Time, error) {
	if f.issued == nil {
		return f.naive.IssueTime(ctx, p)
	}
	return f.issued(f.naive, p), nil
}

func (f faulty) RevokedSince(ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
	if f.since == nil {
		return f.naive.RevokedSince(ctx, p, checkpoint)
	}
	return f.since(f.naive, ctx, p, checkpoint)
}

// storing is a Revoke that changes what it was given.
func storing(change func(*identity.Revocation)) func(*naive, context.Context, identity.Revocation) error {
	return func(n *naive, ctx context.Context, r identity.Revocation) error {
		if err := blacklist.Validate(r); err != nil {
			return err
		}
		change(&r)
		n.add(r)
		return nil
	}
}

// combining is a Revoke that keeps one entry for the same fields.
func combining(combine func(old, r identity.Revocation) identity.Revocation) func(*naive, context.Context, identity.Revocation) error {
	return func(n *naive, ctx context.Context, r identity.Revocation) error {
		if err := blacklist.Validate(r); err != nil {
			return err
		}
		if live(r) {
			n.replace(r, combine)
		}
		return nil
	}
}

// comparing is a Revoked with another notion of a match.
func comparing(match func(identity.Revocation, *identity.Principal) bool) func(*naive, context.Context, *identity.Principal) (bool, error) {
	return func(n *naive, ctx context.Context, p *identity.Principal) (bool, error) {
		if p == nil || p.Issuer == "" {
			return false, errors.New("nobody")
		}
		return n.any(func(r identity.Revocation) bool { return match(r, p) }), nil
	}
}

// as is a comparison of fields after both sides were changed.
func as(change func(string) string) func(*naive, context.Context, *identity.Principal) (bool, error) {
	return comparing(func(r identity.Revocation, p *identity.Principal) bool {
		q := *p
		for _, f := range fields {
			*f.of(&r) = change(*f.of(&r))
			*f.in(&q) = change(*f.in(&q))
		}
		return names(r, &q) && dated(r, p) && live(r)
	})
}

func latest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && a.After(b) {
		return a
	}
	return b
}

var faults = []fault{
	{
		name: "knows no sessions", breaks: "each field revokes what it names",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			if err := blacklist.Validate(r); err != nil || r.Session != "" {
				return err
			}
			n.add(r)
			return nil
		},
	},
	{
		name: "revokes nothing", breaks: "each field revokes what it names",
		revoke: func(*naive, context.Context, identity.Revocation) error { return nil },
	},
	{
		name: "finds everybody revoked", breaks: "each field revokes what it names",
		revoked: func(*naive, context.Context, *identity.Principal) (bool, error) { return true, nil },
	},
	{
		name: "is down", breaks: "each field revokes what it names",
		revoked: func(*naive, context.Context, *identity.Principal) (bool, error) {
			return false, errors.New("connection refused")
		},
	},
	{
		name: "asks only for identifiers that both have", breaks: "each field revokes what it names",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			for _, f := range fields {
				if *f.in(p) == "" {
					*f.of(&r) = ""
				}
			}
			return names(r, p) && dated(r, p) && live(r)
		}),
	},
	{
		name: "keeps all identifiers in one set", breaks: "a value of one field is not a value of another",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			if r.Issuer != p.Issuer || !dated(r, p) || !live(r) {
				return false
			}
			for _, f := range fields {
				found := *f.of(&r) == ""
				for _, g := range fields {
					found = found || *f.of(&r) == *g.in(p)
				}
				if !found {
					return false
				}
			}
			return true
		}),
	},
	{
		name: "does not look at the issuer", breaks: "issuers are apart",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			r.Issuer = p.Issuer
			return names(r, p) && dated(r, p) && live(r)
		}),
	},
	{
		name: "finds one field enough", breaks: "all fields of a revocation must match",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			if r.Issuer != p.Issuer || !dated(r, p) || !live(r) {
				return false
			}
			some := false
			for _, f := range fields {
				if v := *f.of(&r); v != "" {
					some = true
					if v == *f.in(p) {
						return true
					}
				}
			}
			return !some
		}),
	},
	{
		name: "looks at the first field only", breaks: "all fields of a revocation must match",
		revoke: storing(func(r *identity.Revocation) {
			first := true
			for _, f := range fields {
				if v := f.of(r); *v != "" {
					if !first {
						*v = ""
					}
					first = false
				}
			}
		}),
	},
	{
		name: "joins subject and tenant", breaks: "fields do not run into each other",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			q := *p
			if r.Subject != "" && r.Tenant != "" {
				r.Subject, r.Tenant = r.Subject+":"+r.Tenant, ""
				q.Subject, q.Tenant = q.Subject+":"+q.Tenant, ""
			}
			return names(r, &q) && dated(r, p) && live(r)
		}),
	},
	{name: "folds case", breaks: "identifiers are compared byte for byte", revoked: as(strings.ToLower)},
	{name: "trims", breaks: "identifiers are compared byte for byte", revoked: as(strings.TrimSpace)},
	{
		name: "reads patterns", breaks: "identifiers are compared byte for byte",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			if prefix, ok := strings.CutSuffix(r.Subject, "%"); ok && strings.HasPrefix(p.Subject, prefix) {
				r.Subject = p.Subject
			}
			return names(r, p) && dated(r, p) && live(r)
		}),
	},
	{
		name: "cuts at 255 bytes", breaks: "long identifiers are not cut",
		revoked: as(func(s string) string { return s[:min(len(s), 255)] }),
	},
	{
		name: "cuts at the limit", breaks: "long identifiers are not cut",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			for _, f := range fields {
				v := f.of(&r)
				*v = (*v)[:min(len(*v), blacklist.MaxLength)]
			}
			return n.Revoke(ctx, r)
		},
	},
	{
		name: "counts the moment itself as before", breaks: "Before spares what was issued at that moment or later",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			return names(r, p) && live(r) && (r.Before.IsZero() || !p.IssuedAt.After(r.Before))
		}),
	},
	{
		name: "cuts Before to seconds", breaks: "Before spares what was issued at that moment or later",
		revoke: storing(func(r *identity.Revocation) { r.Before = r.Before.Truncate(time.Second) }),
	},
	{
		name: "counts the second as a whole", breaks: "Before spares what was issued at that moment or later",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			return names(r, p) && live(r) && (r.Before.IsZero() || p.IssuedAt.Unix() <= r.Before.Unix())
		}),
	},
	{
		name: "lets in what has no time of issue", breaks: "Before spares what was issued at that moment or later",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			return names(r, p) && dated(r, p) && live(r) && (r.Before.IsZero() || !p.IssuedAt.IsZero())
		}),
	},
	{
		name: "does not look at Before", breaks: "Before spares what was issued at that moment or later",
		revoke: storing(func(r *identity.Revocation) { r.Before = time.Time{} }),
	},
	{
		name: "does not look at Spare", breaks: "Spare leaves one session alone",
		revoke: storing(func(r *identity.Revocation) { r.Spare = "" }),
	},
	{
		name: "spares the last session only", breaks: "Spare leaves one session alone",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			if err := blacklist.Validate(r); err != nil {
				return err
			}
			if r.Spare == "" {
				n.add(r)
				return nil
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			for i, old := range n.list {
				if old.Subject == r.Subject && old.Spare != "" {
					if r.Before.After(old.Before) {
						n.list[i] = r
					}
					return nil
				}
			}
			n.list = append(n.list, r)
			return nil
		},
	},
	{
		name: "spares what has no session", breaks: "Spare leaves one session alone",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			return names(r, p) && dated(r, p) && live(r) && (r.Spare == "" || p.Session != "")
		}),
	},
	{
		name: "spares the session from everything", breaks: "Spare leaves one session alone",
		revoked: func(n *naive, ctx context.Context, p *identity.Principal) (bool, error) {
			if p != nil && n.any(func(r identity.Revocation) bool { return r.Spare != "" && r.Spare == p.Session }) {
				return false, nil
			}
			return n.Revoked(ctx, p)
		},
	},
	{
		name: "needs an identifier", breaks: "Before alone means everything of the issuer",
		revoked: comparing(func(r identity.Revocation, p *identity.Principal) bool {
			return r.Credential+r.Session+r.Subject+r.Tenant != "" && names(r, p) && dated(r, p) && live(r)
		}),
	},
	{
		name: "drops the time zone", breaks: "moments do not depend on time zones",
		revoke: storing(func(r *identity.Revocation) {
			for _, t := range [...]*time.Time{&r.Before, &r.Expires} {
				if !t.IsZero() {
					*t, _ = time.Parse("2006-01-02T15:04:05.999999999", t.Format("2006-01-02T15:04:05.999999999"))
				}
			}
		}),
	},
	{
		name: "counts nanoseconds in 64 bits", breaks: "dates far away are dates",
		revoke: storing(func(r *identity.Revocation) {
			for _, t := range [...]*time.Time{&r.Before, &r.Expires} {
				if !t.IsZero() {
					*t = time.Unix(0, t.UnixNano())
				}
			}
		}),
	},
	{
		name: "cannot revoke twice", breaks: "revoking twice is no error",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			if n.any(func(old identity.Revocation) bool { return old == r }) {
				return errors.New("duplicate key")
			}
			return n.Revoke(ctx, r)
		},
	},
	{
		name: "keeps the last", breaks: "a revocation does not replace another",
		revoke: combining(func(_, r identity.Revocation) identity.Revocation { return r }),
	},
	{
		name: "keeps the first", breaks: "a revocation does not replace another",
		revoke: combining(func(old, _ identity.Revocation) identity.Revocation { return old }),
	},
	{
		name: "takes no Before for the earliest", breaks: "a revocation does not replace another",
		revoke: combining(func(old, r identity.Revocation) identity.Revocation {
			if old.Before.After(r.Before) {
				r.Before = old.Before
			}
			return r
		}),
	},
	{
		name: "keeps the last Expires", breaks: "a revocation lasts until Expires and no longer",
		revoke: combining(func(old, r identity.Revocation) identity.Revocation {
			if live(old) {
				r.Before = latest(old.Before, r.Before)
			}
			return r
		}),
	},
	{
		name: "combines with what has expired", breaks: "a revocation lasts until Expires and no longer",
		revoke: combining(func(old, r identity.Revocation) identity.Revocation {
			r.Before, r.Expires = latest(old.Before, r.Before), latest(old.Expires, r.Expires)
			return r
		}),
	},
	{
		name: "never forgets", breaks: "a revocation lasts until Expires and no longer",
		revoke: storing(func(r *identity.Revocation) { r.Expires = time.Time{} }),
	},
	{
		name: "cuts Expires to seconds", breaks: "a revocation lasts until Expires and no longer",
		revoke: storing(func(r *identity.Revocation) { r.Expires = r.Expires.Truncate(time.Second) }),
	},
	{
		name: "has no never", breaks: "a revocation lasts until Expires and no longer",
		revoke: storing(func(r *identity.Revocation) {
			if r.Expires.IsZero() {
				r.Expires = time.Now()
			}
		}),
	},
	{
		name: "replaces by what has expired", breaks: "a revocation lasts until Expires and no longer",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			if err := blacklist.Validate(r); err != nil {
				return err
			}
			if !live(r) {
				n.replace(r, func(_, r identity.Revocation) identity.Revocation { return r })
				return nil
			}
			n.add(r)
			return nil
		},
	},
	{
		name: "takes everything", breaks: "a mistake is an error and revokes nothing",
		revoke: func(n *naive, _ context.Context, r identity.Revocation) error {
			n.add(r)
			return nil
		},
	},
	{
		name: "swallows mistakes", breaks: "a mistake is an error and revokes nothing",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			if blacklist.Validate(r) == nil {
				n.add(r)
			}
			return nil
		},
	},
	{
		name: "complains and does it", breaks: "a mistake is an error and revokes nothing",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			n.add(r)
			return blacklist.Validate(r)
		},
	},
	{
		name: "finds nobody good", breaks: "a principal without Issuer is an error",
		revoked: func(n *naive, ctx context.Context, p *identity.Principal) (bool, error) {
			if p == nil {
				return false, nil
			}
			return n.Revoked(ctx, p)
		},
	},
	{
		name: "finds good who has no issuer", breaks: "a principal without Issuer is an error",
		revoked: func(n *naive, ctx context.Context, p *identity.Principal) (bool, error) {
			if p != nil && p.Issuer == "" {
				return false, nil
			}
			return n.Revoked(ctx, p)
		},
	},
	{
		name: "finds everybody good when cancelled", breaks: "a cancelled context causes an error or a correct result",
		revoked: func(n *naive, ctx context.Context, p *identity.Principal) (bool, error) {
			if ctx.Err() != nil {
				return false, nil
			}
			return n.Revoked(ctx, p)
		},
	},
	{
		name: "skips a cancelled logout", breaks: "a cancelled context causes an error or a correct result",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			if ctx.Err() != nil {
				return nil
			}
			return n.Revoke(ctx, r)
		},
	},
	{
		name: "changes the principal", breaks: "the principal is not changed",
		revoked: func(n *naive, ctx context.Context, p *identity.Principal) (bool, error) {
			revoked, err := n.Revoked(ctx, p)
			if p != nil {
				p.Roles = identity.Set{}
			}
			return revoked, err
		},
	},
	{
		name: "gets, then sets", breaks: "concurrent revocations lose nothing",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			if err := blacklist.Validate(r); err != nil {
				return err
			}
			n.mu.Lock()
			list := n.list[:len(n.list):len(n.list)]
			n.mu.Unlock()
			time.Sleep(time.Millisecond)
			n.mu.Lock()
			defer n.mu.Unlock()
			n.list = append(list, r)
			return nil
		},
	},
	{
		name: "dates RevokeNow by its own clock", breaks: "RevokeNow ends what was issued so far, and a sign-in that follows survives",
		now: func(n *naive, ctx context.Context, r identity.Revocation) (time.Time, error) {
			r.Before = time.Now()
			return r.Before, n.Revoke(ctx, r)
		},
	},
	{
		name: "dates what is issued by its own clock", breaks: "RevokeNow ends what was issued so far, and a sign-in that follows survives",
		issued: func(*naive, *identity.Principal) time.Time { return time.Now() },
	},
	{
		name: "dates a second RevokeNow like the first", breaks: "RevokeNow ends what was issued so far, and a sign-in that follows survives",
		now: func(n *naive, ctx context.Context, r identity.Revocation) (time.Time, error) {
			r.Before = time.Now().Add(identity.MaxClockSkew)
			return r.Before, n.Revoke(ctx, r)
		},
	},
	{
		name: "dates what is issued after any revocation", breaks: "IssueTime stays near the present",
		issued: func(n *naive, p *identity.Principal) time.Time {
			at := time.Now()
			n.any(func(r identity.Revocation) bool {
				if names(r, p) && r.Before.After(at) {
					at = r.Before
				}
				return false
			})
			return at
		},
	},
	{
		name: "spares nothing in the order", breaks: "RevokeNow spares a session",
		since: func(n *naive, ctx context.Context, p *identity.Principal, checkpoint uint64) (bool, error) {
			other := *p
			other.Session = ""
			return n.RevokedSince(ctx, &other, checkpoint)
		},
	},
	{
		name: "does not look at the order", breaks: "a revocation after the checkpoint counts whatever its time",
		since: func(n *naive, ctx context.Context, p *identity.Principal, _ uint64) (bool, error) {
			return n.Revoked(ctx, p)
		},
	},
	{
		name: "takes every revocation for a later one", breaks: "a revocation after the checkpoint counts whatever its time",
		since: func(n *naive, ctx context.Context, p *identity.Principal, _ uint64) (bool, error) {
			return n.RevokedSince(ctx, p, 0)
		},
	},
	{
		name: "revokes a session up to now", breaks: "RevokeNow refuses what has no time",
		now: func(n *naive, ctx context.Context, r identity.Revocation) (time.Time, error) {
			r.Before = time.Now()
			return r.Before, n.Revoke(ctx, r)
		},
	},
	{
		name: "returns too soon", breaks: "each field revokes what it names",
		revoke: func(n *naive, ctx context.Context, r identity.Revocation) error {
			time.AfterFunc(time.Millisecond, func() { n.Revoke(ctx, r) })
			return blacklist.Validate(r)
		},
	},
}

func TestRulesAcceptTheirLetter(t *testing.T) {
	for _, rule := range rules {
		synctest.Test(t, func(t *testing.T) {
			if err := rule.check(t.Context(), new(naive)); err != nil {
				t.Errorf("%s: %v", rule.name, err)
			}
		})
	}
}

// A conformance suite is worth what it finds.
func TestRulesFindFaults(t *testing.T) {
	for _, rule := range rules {
		planted := false
		for _, fault := range faults {
			if fault.breaks != rule.name {
				continue
			}
			planted = true
			t.Run(fault.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if rule.check(t.Context(), faulty{new(naive), fault}) == nil {
						t.Errorf("the rule that %s did not notice", rule.name)
					}
				})
			})
		}
		if !planted {
			t.Errorf("no fault was planted against the rule that %s", rule.name)
		}
	}
	for _, fault := range faults {
		if !slices.ContainsFunc(rules, func(u rule) bool { return u.name == fault.breaks }) {
			t.Errorf("there is no rule that %s", fault.breaks)
		}
	}
}

// What a host reads when its store fails must tell what happened.
func TestRulesTellWhatHappened(t *testing.T) {
	for _, rule := range rules {
		if rule.name != "issuers are apart" {
			continue
		}
		for _, fault := range faults {
			if fault.name != "does not look at the issuer" {
				continue
			}
			err := rule.check(t.Context(), faulty{new(naive), fault})
			const want = `Revoked(Credential "credential", Session "session", Subject "subject", Tenant "tenant", IssuedAt `
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s…", err, want)
			}
		}
	}
}

// Memory passes the suite through its exported door in package blacklist; here
// the door itself is opened once more, by the second implementation.
func TestRun(t *testing.T) {
	opened := 0
	Run(t, func(*testing.T) blacklist.Revoker {
		opened++
		return new(naive)
	})
	if opened != len(rules) {
		t.Errorf("opened %d Revokers for %d rules, want a fresh one for each", opened, len(rules))
	}
}
