package blacklisttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// A rule is one demand on a Revoker.
type rule struct {
	name   string       // of the subtest
	reason string       // why there is this rule, printed when it is broken
	demand func(*probe) // asks the Revoker; the probe notes what is wrong
}

// check returns how r breaks the rule, or nil.
func (u rule) check(ctx context.Context, r blacklist.Revoker) error {
	p := &probe{
		ctx:     ctx,
		revoker: r,
		issuer:  "https://" + strings.ToLower(rand.Text()) + ".example",
		moment:  time.Now().Add(-time.Hour).Truncate(time.Second).Add(500 * time.Millisecond),
	}
	u.demand(p)
	return errors.Join(p.broken...)
}

// A probe checks one Revoker and collects failures. It is safe for concurrent use.
type probe struct {
	ctx     context.Context
	revoker blacklist.Revoker
	issuer  string    // of this probe only
	moment  time.Time // an hour ago, in the middle of a second

	mu     sync.Mutex
	broken []error
}

func (p *probe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = append(p.broken, fmt.Errorf(format, args...))
}

// revoke demands that r, of the probe's issuer unless it has one, can be
// recorded.
func (p *probe) revoke(r identity.Revocation) {
	if r.Issuer == "" {
		r.Issuer = p.issuer
	}
	if err := p.revoker.Revoke(p.ctx, r); err != nil {
		p.errorf("Revoke(%s) = %v, want no error", describe(r), err)
	}
}

// revokeNow demands that r can be recorded up to now, and returns its Before.
func (p *probe) revokeNow(r identity.Revocation) time.Time {
	r.Issuer, r.Expires = p.issuer, time.Now().Add(time.Hour)
	before, err := p.revoker.RevokeNow(p.ctx, r)
	if err != nil {
		p.errorf("RevokeNow(%s) = %v, want no error", describe(r), err)
	}
	return before
}

// issueTime returns what IssueTime does.
func (p *probe) issueTime(who identity.Principal) time.Time {
	who.Issuer = p.issuer
	at, err := p.revoker.IssueTime(p.ctx, &who)
	if err != nil {
		p.errorf("IssueTime(%s) = %v, want no error", describePrincipal(who), err)
	}
	return at
}

// checkpoint returns what Checkpoint does.
func (p *probe) checkpoint() uint64 {
	checkpoint, err := p.revoker.Checkpoint(p.ctx)
	if err != nil {
		p.errorf("Checkpoint = %v, want no error", err)
	}
	return checkpoint
}

// since requires a result of RevokedSince.
func (p *probe) since(who identity.Principal, checkpoint uint64, want bool, because string) {
	who.Issuer = p.issuer
	got, err := p.revoker.RevokedSince(p.ctx, &who, checkpoint)
	if err != nil {
		p.errorf("RevokedSince(%s) = %v, want no error", describePrincipal(who), err)
	} else if got != want {
		p.errorf("RevokedSince(%s) = %t, want %t: %s", describePrincipal(who), got, want, because)
	}
}

// refused requires that a principal is revoked.
func (p *probe) refused(who identity.Principal, because string) { p.check(who, true, because) }

// accepted requires that a principal is not revoked.
func (p *probe) accepted(who identity.Principal, because string) { p.check(who, false, because) }

func (p *probe) check(who identity.Principal, want bool, because string) {
	if who.Issuer == "" {
		who.Issuer = p.issuer
	}
	got, err := p.revoker.Revoked(p.ctx, &who)
	if err != nil {
		p.errorf("Revoked(%s) = %v, want no error", describePrincipal(who), err)
	} else if got != want {
		p.errorf("Revoked(%s) = %t, want %t: %s", describePrincipal(who), got, want, because)
	}
}

// principal returns a principal with all fields, issued at the probe's moment.
func (p *probe) principal() identity.Principal {
	return identity.Principal{
		Issuer:     p.issuer,
		Credential: "credential",
		Session:    "session",
		Subject:    "subject",
		Tenant:     "tenant",
		IssuedAt:   p.moment,
	}
}

var rules = []rule{
	{
		name:   "each field revokes what it names",
		reason: "a logout must end its own session and no other.",
		demand: func(p *probe) {
			for _, f := range fields {
				var r identity.Revocation
				*f.of(&r) = "revoked " + f.name
				who := p.principal()
				*f.in(&who) = "revoked " + f.name
				p.accepted(who, "nothing was revoked yet")
				p.revoke(r)
				p.refused(who, "its "+f.name+" was revoked")
				p.refused(just(f, "revoked "+f.name), "its "+f.name+" was revoked; the other fields do not matter")
				p.accepted(just(f, "another "+f.name), "another "+f.name+" was revoked")
				p.accepted(just(f, ""), "it has no "+f.name)
			}
			p.accepted(p.principal(), "none of its identifiers was revoked")
		},
	},
	{
		name:   "a value of one field is not a value of another",
		reason: "identifiers of two kinds can be equal: a tenant and a user can both be called acme.",
		demand: func(p *probe) {
			for _, f := range fields {
				var r identity.Revocation
				*f.of(&r) = "acme as " + f.name
				p.revoke(r)
				for _, g := range fields {
					if f.name != g.name {
						p.accepted(just(g, "acme as "+f.name), "it was a "+f.name+" that was revoked, not a "+g.name)
					}
				}
			}
		},
	},
	{
		name:   "issuers are apart",
		reason: "two issuers may use the same token IDs and subjects; a Subject alone identifies no user (OpenID Connect Core 1.0 section 5.7).",
		demand: func(p *probe) {
			other := p.principal()
			other.Issuer += ".net"
			p.revoke(identity.Revocation{Subject: other.Subject})
			p.revoke(identity.Revocation{Credential: other.Credential})
			p.revoke(identity.Revocation{Before: p.moment.Add(time.Hour)})
			p.accepted(other, "another issuer's was revoked")
			p.refused(p.principal(), "it was revoked")
		},
	},
	{
		name:   "all fields of a revocation must match",
		reason: "two fields select less than one: a user in a tenant. Matched separately, they would lock out the whole tenant.",
		demand: func(p *probe) {
			for set := 1; set < 1<<len(fields); set++ {
				mark := fmt.Sprintf(" of set %04b", set)
				var r identity.Revocation
				who := p.principal()
				for i, f := range fields {
					*f.in(&who) = f.name + mark
					if set&(1<<i) != 0 {
						*f.of(&r) = f.name + mark
					}
				}
				p.revoke(r)
				p.refused(who, "all that the revocation names is its own")
				for i, f := range fields {
					if set&(1<<i) == 0 {
						continue
					}
					for _, value := range [...]string{"", "other"} {
						almost := who
						*f.in(&almost) = value
						p.accepted(almost, "the revocation names another "+f.name+" ("+describe(r)+")")
					}
				}
			}
		},
	},
	{
		name:   "fields do not run into each other",
		reason: "if identifiers are joined to one key without lengths, a user can choose a name that revokes another user, or that never matches.",
		demand: func(p *probe) {
			for _, separator := range [...]string{"", ":", "|", "/", " ", "\n"} {
				revoked := identity.Principal{Subject: "a" + separator, Tenant: "bc"}
				p.revoke(identity.Revocation{Subject: revoked.Subject, Tenant: revoked.Tenant})
				p.refused(revoked, "it was revoked")
				for _, cut := range [...]identity.Principal{
					{Subject: "a" + separator + "b", Tenant: "c"},
					{Subject: "a" + separator + "bc"},
					{Subject: "a", Tenant: separator + "bc"},
				} {
					if separator != "" || cut.Subject != "a" {
						p.accepted(cut, "what was revoked is "+describePrincipal(revoked))
					}
				}
			}
		},
	},
	{
		name:   "identifiers are compared byte for byte",
		reason: "a store that folds case, trims or matches patterns ends the sessions of other users; many databases compare text like that by default.",
		demand: func(p *probe) {
			for _, pair := range [...][2]string{
				{"Alice", "alice"},
				{"alice ", "alice"},
				{"al%", "alfred"},
				{"al_ce", "alice"},
				{"*", "anybody"},
				{"\u00e9lise", "e\u0301lise"}, // composed and decomposed
				{"stra\u00dfe", "strasse"},
				{"0", "00"},
				{"1e3", "1000"},
				{`'; --`, `''; --`},
			} {
				p.revoke(identity.Revocation{Subject: pair[0]})
				p.refused(identity.Principal{Subject: pair[0]}, "it was revoked")
				p.accepted(identity.Principal{Subject: pair[1]}, fmt.Sprintf("%q was revoked", pair[0]))
			}
		},
	},
	{
		name:   "long identifiers are not cut",
		reason: "a store that truncates identifiers revokes all users with the same prefix, or none.",
		demand: func(p *probe) {
			long := strings.Repeat("x", blacklist.MaxLength-1)
			for _, f := range fields {
				var r identity.Revocation
				*f.of(&r) = long + "1"
				p.revoke(r)
				p.refused(just(f, long+"1"), "it was revoked")
				p.accepted(just(f, long+"2"), "its last byte differs")
				p.accepted(just(f, long), "it is shorter by a byte")

				*f.of(&r) = long + "345"
				r.Issuer = p.issuer
				if err := p.revoker.Revoke(p.ctx, r); err == nil {
					p.errorf("Revoke with a %s of %d bytes = nil, want an error: the most is %d",
						f.name, len(long)+3, blacklist.MaxLength)
				}
				p.accepted(just(f, long+"3"), "what was too long must not be cut")
			}
		},
	},
	{
		name:   "Before spares what was issued at that moment or later",
		reason: "a sign-in in the same second as a revoke-all must survive it, and a token stolen in that second must not.",
		demand: func(p *probe) {
			who := p.principal()
			p.revoke(identity.Revocation{Subject: who.Subject, Before: p.moment})
			p.accepted(who, "it was issued at that moment, which is not before it")
			who.IssuedAt = p.moment.Add(time.Millisecond)
			p.accepted(who, "it was issued a millisecond after Before")
			who.IssuedAt = p.moment.Add(-time.Millisecond)
			p.refused(who, "it was issued a millisecond before Before")
			who.IssuedAt = p.moment.Add(-50 * 365 * 24 * time.Hour)
			p.refused(who, "it was issued long before Before")
			who.IssuedAt = time.Time{}
			p.refused(who, "nobody knows when it was issued, so it may have been before Before")
		},
	},
	{
		name:   "Spare leaves one session alone",
		reason: "a change of the password ends all sessions except the session that changed it.",
		demand: func(p *probe) {
			in := func(subject, session string, after time.Duration) identity.Principal {
				return identity.Principal{Subject: subject, Session: session, IssuedAt: p.moment.Add(after)}
			}
			others := func(subject, spare string, after time.Duration) {
				p.revoke(identity.Revocation{Subject: subject, Spare: spare, Before: p.moment.Add(after)})
			}
			others("alice", "own", 0)
			p.accepted(in("alice", "own", -time.Second), "its session is the one that is spared")
			p.refused(in("alice", "other", -time.Second), "only another session is spared")
			p.refused(in("alice", "", -time.Second), "it belongs to no session, and so to none that is spared")
			p.accepted(in("alice", "other", 0), "it was issued at Before, which is not before it")
			p.accepted(in("bob", "other", -time.Second), "another subject's sessions were revoked")
			p.revoke(identity.Revocation{Session: "own"})
			p.refused(in("alice", "own", -time.Second), "the session that was spared was revoked by itself")

			// Two that spare different sessions, in both orders.
			for _, subject := range [...]string{"earlier first", "later first"} {
				if subject == "earlier first" {
					others(subject, "first", 0)
				}
				others(subject, "second", time.Minute)
				if subject == "later first" {
					others(subject, "first", 0)
				}
				p.refused(in(subject, "first", time.Minute-time.Second), "the later revocation does not spare it")
				p.refused(in(subject, "second", -time.Second), "the earlier revocation does not spare it")
				p.accepted(in(subject, "second", 0), "the later revocation spares it, and the earlier one is of what was issued before")
				p.refused(in(subject, "third", time.Minute-time.Second), "the later revocation does not spare it")
				p.accepted(in(subject, "third", time.Minute), "it was issued at the later Before")
			}

			p.revoke(identity.Revocation{Subject: "all", Before: p.moment})
			others("all", "mine", time.Minute)
			p.refused(in("all", "mine", -time.Second), "another revocation spares nobody")
			p.accepted(in("all", "mine", 0), "it was issued after what the revocation that spares nobody is of")
			p.revoke(identity.Revocation{Tenant: "acme", Spare: "mine", Before: p.moment})
			member := in("member", "mine", -time.Second)
			member.Tenant = "acme"
			p.accepted(member, "its session is the one of the tenant that is spared")
			member.Session = "other"
			p.refused(member, "another session of the tenant is spared")
		},
	},
	{
		name:   "Before alone means everything of the issuer",
		reason: "it is the remedy when a signing key was stolen.",
		demand: func(p *probe) {
			old, recent := p.principal(), p.principal()
			old.IssuedAt = p.moment.Add(-time.Second)
			p.revoke(identity.Revocation{Before: p.moment})
			p.refused(old, "all that its issuer issued before was revoked")
			p.refused(identity.Principal{IssuedAt: old.IssuedAt}, "all that its issuer issued before was revoked")
			p.accepted(recent, "it was issued at that moment, which is not before it")
		},
	},
	{
		name:   "moments do not depend on time zones",
		reason: "a store that drops the time zone is off by hours, in one of two directions.",
		demand: func(p *probe) {
			for _, hours := range [...]int{-12, 14} {
				zone := time.FixedZone("", hours*60*60)
				subject := fmt.Sprintf("subject at %+d", hours)
				p.revoke(identity.Revocation{
					Subject: subject,
					Before:  p.moment.In(zone),
					Expires: time.Now().Add(time.Hour).In(zone),
				})
				who := identity.Principal{Subject: subject}
				for _, here := range [...]*time.Location{time.UTC, zone} {
					who.IssuedAt = p.moment.In(here)
					p.accepted(who, "it was issued at that moment, which is not before it")
					who.IssuedAt = p.moment.Add(-time.Second).In(here)
					p.refused(who, "it was issued a second before Before")
				}
			}
		},
	},
	{
		name:   "dates far away are dates",
		reason: "a date that overflows becomes a past date, and the revocation is lost.",
		demand: func(p *probe) {
			end := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
			p.revoke(identity.Revocation{Subject: "for long", Expires: end})
			p.refused(identity.Principal{Subject: "for long", IssuedAt: p.moment}, "the revocation expires in the year 9999")
			p.revoke(identity.Revocation{Subject: "until then", Before: end})
			p.refused(identity.Principal{Subject: "until then", IssuedAt: p.moment}, "it was issued before the year 9999")
			p.revoke(identity.Revocation{Subject: "long ago", Before: time.Unix(1, 0)})
			p.accepted(identity.Principal{Subject: "long ago", IssuedAt: p.moment}, "it was issued after 1970")
		},
	},
	{
		name:   "revoking twice is no error",
		reason: "after an error the caller does not know whether the revocation was recorded, and must be able to retry.",
		demand: func(p *probe) {
			for _, r := range [...]identity.Revocation{
				{Session: "session"},
				{Subject: "subject", Before: p.moment, Expires: time.Now().Add(time.Hour)},
				{Before: p.moment.Add(-time.Hour)},
			} {
				p.revoke(r)
				p.revoke(r)
			}
			p.refused(identity.Principal{Session: "session", IssuedAt: p.moment}, "it was revoked twice")
			p.refused(identity.Principal{Subject: "subject", IssuedAt: p.moment.Add(-time.Second)}, "it was revoked twice")
			p.accepted(identity.Principal{Subject: "subject", IssuedAt: p.moment}, "it was issued at that moment, which is not before it")
		},
	},
	{
		name:   "a revocation does not replace another",
		reason: "a revocation must last: otherwise an attacker who can sign out undoes a revocation by an administrator.",
		demand: func(p *probe) {
			day := 24 * time.Hour
			issued := func(subject string, at time.Time) identity.Principal {
				return identity.Principal{Subject: subject, IssuedAt: at}
			}
			for _, order := range [...]struct {
				subject string
				befores [2]time.Time
			}{
				{"earlier first", [2]time.Time{p.moment.Add(-day), p.moment}},
				{"later first", [2]time.Time{p.moment, p.moment.Add(-day)}},
			} {
				for _, before := range order.befores {
					p.revoke(identity.Revocation{Subject: order.subject, Before: before})
				}
				p.refused(issued(order.subject, p.moment.Add(-time.Second)), "it was issued before the later Before of two")
				p.accepted(issued(order.subject, p.moment), "it was issued at the later Before of two")
			}
			for _, order := range [...]struct {
				subject string
				befores [2]time.Time
			}{
				{"all first", [2]time.Time{{}, p.moment}},
				{"all last", [2]time.Time{p.moment, {}}},
			} {
				for _, before := range order.befores {
					p.revoke(identity.Revocation{Subject: order.subject, Before: before})
				}
				p.refused(issued(order.subject, p.moment.Add(day)), "one of two revocations has no Before")
			}

			p.revoke(identity.Revocation{Session: "one"})
			p.revoke(identity.Revocation{Session: "two"})
			p.refused(identity.Principal{Session: "one", Subject: "somebody"}, "another session was revoked later")
			p.revoke(identity.Revocation{Session: "one", Subject: "somebody", Before: p.moment.Add(-day)})
			p.refused(identity.Principal{Session: "one", Subject: "somebody", IssuedAt: p.moment},
				"its session was revoked, and later something narrower")
		},
	},
	{
		name:   "a revocation lasts until Expires and no longer",
		reason: "a revocation that ends early revives stolen tokens; one that never ends fills the store, and locks users out for longer than intended.",
		demand: func(p *probe) {
			expires := time.Now().Add(300 * time.Millisecond)
			revoke := func(subject string, before, expires time.Time) {
				p.revoke(identity.Revocation{Subject: subject, Before: before, Expires: expires})
			}
			revoke("until then", time.Time{}, expires)
			revoke("until then before", p.moment.Add(time.Second), expires)
			revoke("for ever", time.Time{}, time.Time{})
			revoke("longer", time.Time{}, time.Now().Add(time.Hour))
			revoke("longer first", time.Time{}, time.Now().Add(time.Hour))
			revoke("longer first", time.Time{}, expires)
			revoke("longer last", time.Time{}, expires)
			revoke("longer last", time.Time{}, time.Now().Add(time.Hour))
			revoke("for ever first", time.Time{}, time.Time{})
			revoke("for ever first", time.Time{}, expires)
			revoke("for ever last", time.Time{}, expires)
			revoke("for ever last", time.Time{}, time.Time{})
			revoke("over already", time.Time{}, time.Now().Add(-time.Minute))
			revoke("past and present", time.Time{}, time.Now().Add(time.Hour))
			revoke("past and present", time.Time{}, time.Now().Add(-time.Minute))
			revoke("again", time.Time{}, expires)
			revoke("again with less", p.moment, expires)

			subject := func(name string) identity.Principal {
				return identity.Principal{Subject: name, IssuedAt: p.moment}
			}
			p.accepted(subject("over already"), "the revocation had expired when it was recorded")
			p.refused(subject("past and present"), "a revocation that had expired was recorded after a live one")

			for _, name := range [...]string{"until then", "until then before", "again"} {
				p.ends(subject(name), expires)
			}
			for _, name := range [...]string{"for ever", "longer", "longer first", "longer last", "for ever first", "for ever last"} {
				p.refused(subject(name), "its revocation, or one of two, has not expired")
			}

			revoke("again", p.moment.Add(-time.Hour), time.Time{})
			p.accepted(subject("again"), "a revocation that has expired does not come back with a narrower one")
			old := subject("again")
			old.IssuedAt = p.moment.Add(-2 * time.Hour)
			p.refused(old, "it was revoked again after the first revocation had expired")

			less := subject("again with less")
			less.IssuedAt = p.moment.Add(-time.Minute)
			p.ends(less, expires)
			revoke("again with less", p.moment.Add(-time.Hour), time.Time{})
			p.accepted(less, "a revocation that has expired does not come back with one of an earlier Before")
			less.IssuedAt = p.moment.Add(-2 * time.Hour)
			p.refused(less, "it was revoked again after the first revocation had expired")
		},
	},
	{
		name:   "RevokeNow ends what was issued so far, and a sign-in that follows survives",
		reason: "a user who changes a password signs in again at once; a clock that is ahead must neither keep a stolen token alive nor end the new one.",
		demand: func(p *probe) {
			for _, f := range fields {
				if f.name != "Subject" && f.name != "Tenant" {
					continue
				}
				var r identity.Revocation
				*f.of(&r) = "now " + f.name
				before := p.revokeNow(r)
				who := just(f, "now "+f.name)
				who.IssuedAt = time.Now().Add(identity.MaxClockSkew - time.Second)
				p.refused(who, "it was issued before, by a clock that is ahead")
				who.IssuedAt = p.issueTime(who)
				if who.IssuedAt.Before(before) {
					p.errorf("IssueTime = %v, want the Before of RevokeNow, %v, or later", who.IssuedAt, before)
				}
				p.accepted(who, "it is issued now, and IssueTime has said when that is")
				// Another one must end that too.
				p.revokeNow(r)
				p.refused(who, "it was issued before the second RevokeNow")
			}
			other := just(fields[2], "another")
			if at := p.issueTime(other); time.Until(at).Abs() > time.Second {
				p.errorf("IssueTime = %v for a subject of whom nothing was revoked, want the present", at)
			}
		},
	},
	{
		name:   "IssueTime stays near the present",
		reason: "a tenant that is closed until tomorrow must not have tokens that are dated tomorrow.",
		demand: func(p *probe) {
			p.revoke(identity.Revocation{Subject: "closed", Before: time.Now().Add(24 * time.Hour)})
			who := just(fields[2], "closed")
			who.IssuedAt = p.issueTime(who)
			if time.Until(who.IssuedAt) > 3*identity.MaxClockSkew {
				p.errorf("IssueTime = %v, want the present", who.IssuedAt)
			}
			p.refused(who, "everything until tomorrow is revoked")
		},
	},
	{
		name:   "RevokeNow spares a session",
		reason: "the device that changed a password stays signed in, and other devices do not.",
		demand: func(p *probe) {
			checkpoint := p.checkpoint()
			p.revokeNow(identity.Revocation{Subject: "subject", Spare: "own"})
			own, other := p.principal(), p.principal()
			own.Session = "own"
			p.accepted(own, "it is spared")
			p.refused(other, "another session is spared")
			p.since(own, checkpoint, false, "it is spared")
			p.since(other, checkpoint, true, "another session is spared")
		},
	},
	{
		name:   "a revocation after the checkpoint counts whatever its time",
		reason: "of two machines with different clocks, one may sign a user in while the other ends the sessions: the order in the store decides.",
		demand: func(p *probe) {
			who := p.principal()
			who.IssuedAt = time.Now()
			earlier := p.checkpoint()
			p.since(who, earlier, false, "nothing was revoked")
			p.revoke(identity.Revocation{Subject: "subject", Before: who.IssuedAt.Add(-2 * time.Second)})
			p.accepted(who, "it was issued later")
			p.since(who, earlier, true, "a revocation that matches it was recorded after the checkpoint")
			p.since(who, p.checkpoint(), false, "the revocation was recorded before the checkpoint")
			p.since(just(fields[2], "another"), earlier, false, "it was another subject's")
			p.revoke(identity.Revocation{Tenant: "tenant", Before: who.IssuedAt.Add(-time.Hour)})
			p.since(who, p.checkpoint(), false, "nothing was revoked after the checkpoint")
			latest := p.checkpoint()
			p.revoke(identity.Revocation{Before: who.IssuedAt.Add(-time.Hour)})
			p.since(who, latest, false, "the revocation is about an hour ago")
			p.revoke(identity.Revocation{Session: "session"})
			p.since(who, p.checkpoint(), true, "its session is revoked")
		},
	},
	{
		name:   "RevokeNow refuses what has no time",
		reason: "sessions and credentials are revoked by Revoke, whenever they were issued.",
		demand: func(p *probe) {
			for _, r := range []identity.Revocation{
				{Issuer: p.issuer, Session: "session"},
				{Issuer: p.issuer, Credential: "credential"},
				{Issuer: p.issuer, Subject: "subject", Before: p.moment},
				{Subject: "subject"},
			} {
				if _, err := p.revoker.RevokeNow(p.ctx, r); err == nil {
					p.errorf("RevokeNow(%s) = nil, want an error", describe(r))
				}
			}
			p.accepted(p.principal(), "nothing was revoked")
		},
	},
	{
		name:   "a mistake is an error and revokes nothing",
		reason: "a revocation whose subject was lost must neither look like a logout nor lock all users out.",
		demand: func(p *probe) {
			for _, wrong := range [...]struct {
				name string
				identity.Revocation
			}{
				{"nothing", identity.Revocation{}},
				{"no Issuer", identity.Revocation{Subject: "subject"}},
				{"no Issuer and a Before", identity.Revocation{Before: p.moment.Add(time.Hour)}},
				{"nothing but an Issuer", identity.Revocation{Issuer: p.issuer}},
				{"nothing but an Issuer and Expires", identity.Revocation{Issuer: p.issuer, Expires: time.Now().Add(time.Hour)}},
				{"a Spare without Before", identity.Revocation{Issuer: p.issuer, Subject: "subject", Spare: "own"}},
				{"a Spare and a Session", identity.Revocation{Issuer: p.issuer, Session: "session", Spare: "own", Before: p.moment.Add(time.Hour)}},
				{"an Issuer that is too long", identity.Revocation{
					Issuer:  p.issuer + strings.Repeat("x", blacklist.MaxLength),
					Subject: "subject",
				}},
			} {
				if err := p.revoker.Revoke(p.ctx, wrong.Revocation); err == nil {
					p.errorf("Revoke of a revocation with %s = nil, want an error", wrong.name)
				}
			}
			p.accepted(p.principal(), "only mistakes were recorded")
			p.accepted(identity.Principal{}, "only mistakes were recorded")
		},
	},
	{
		name:   "a principal without Issuer is an error",
		reason: "false would mean that the credential is good, although no revocation can ever match it.",
		demand: func(p *probe) {
			if _, err := p.revoker.Revoked(p.ctx, nil); err == nil {
				p.errorf("Revoked(nil) without an error")
			}
			if _, err := p.revoker.Revoked(p.ctx, &identity.Principal{Subject: "subject"}); err == nil {
				p.errorf("Revoked of a principal without Issuer without an error")
			}
		},
	},
	{
		name:   "a cancelled context causes an error or a correct result",
		reason: "clients disconnect at any time: an undecided check must not look like a good credential, nor an unfinished logout like a finished one.",
		demand: func(p *probe) {
			p.revoke(identity.Revocation{Session: "revoked"})
			cancelled, cancel := context.WithCancel(p.ctx)
			cancel()
			who := p.principal()
			who.Session = "revoked"
			if revoked, err := p.revoker.Revoked(cancelled, &who); err == nil && !revoked {
				p.errorf("with a cancelled context, Revoked of a revoked session = false without an error")
			}
			err := p.revoker.Revoke(cancelled, identity.Revocation{Issuer: p.issuer, Session: "hung up"})
			if err == nil {
				who.Session = "hung up"
				p.refused(who, "Revoke returned no error, if with a cancelled context")
			}
			p.accepted(p.principal(), "another session was revoked")
		},
	},
	{
		name:   "the principal is not changed",
		reason: "the handler receives the same principal afterwards.",
		demand: func(p *probe) {
			who := p.principal()
			who.Roles, who.Scopes = identity.NewSet("admin"), identity.NewSet("read")
			before := who
			p.revoke(identity.Revocation{Subject: who.Subject, Before: p.moment})
			if _, err := p.revoker.Revoked(p.ctx, &who); err != nil {
				p.errorf("Revoked(%s) = %v, want no error", describePrincipal(who), err)
			}
			if !reflect.DeepEqual(who, before) {
				p.errorf("Revoked changed its principal")
			}
		},
	},
	{
		name:   "concurrent revocations lose nothing",
		reason: "requests are concurrent: a store that reads, changes and writes back loses revocations.",
		demand: func(p *probe) {
			const goroutines, each = 8, 20
			var all sync.WaitGroup
			for g := range goroutines {
				all.Go(func() {
					for i := range each {
						session := fmt.Sprintf("session %d of %d", i, g)
						who := identity.Principal{Session: session, IssuedAt: p.moment}
						p.accepted(who, "it was not revoked yet")
						p.revoke(identity.Revocation{Session: session})
						p.refused(who, "Revoke has returned")
						// All goroutines revoke this one, with Befores
						// in no order.
						p.revoke(identity.Revocation{
							Subject: "everybody's",
							Before:  p.moment.Add(time.Duration((i*7+g*3)%(each*goroutines)) * time.Millisecond),
						})
					}
				})
			}
			all.Wait()
			latest := 0
			for g := range goroutines {
				for i := range each {
					latest = max(latest, (i*7+g*3)%(each*goroutines))
					session := fmt.Sprintf("session %d of %d", i, g)
					p.refused(identity.Principal{Session: session}, "it was revoked while others were")
				}
			}
			who := identity.Principal{Subject: "everybody's"}
			who.IssuedAt = p.moment.Add(time.Duration(latest-1) * time.Millisecond)
			p.refused(who, "it was issued before the latest of many Befores")
			who.IssuedAt = p.moment.Add(time.Duration(latest) * time.Millisecond)
			p.accepted(who, "it was issued at the latest of many Befores")
		},
	},
}

// ends requires that a principal is revoked until expires and no longer, with some
// patience for clocks that differ and for stores that count in seconds.
func (p *probe) ends(who identity.Principal, expires time.Time) {
	who.Issuer = p.issuer
	for {
		revoked, err := p.revoker.Revoked(p.ctx, &who)
		now := time.Now()
		switch {
		case err != nil:
			p.errorf("Revoked(%s) = %v, want no error", describePrincipal(who), err)
			return
		case !revoked && now.Before(expires.Add(-50*time.Millisecond)):
			p.errorf("Revoked(%s) = false, want true: its revocation expires %v later", describePrincipal(who), expires.Sub(now))
			return
		case !revoked:
			return
		case now.After(expires.Add(5 * time.Second)):
			p.errorf("Revoked(%s) = true, want false: its revocation expired %v ago", describePrincipal(who), now.Sub(expires))
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A field is one that revocations and principals have in common.
type field struct {
	name string
	of   func(*identity.Revocation) *string
	in   func(*identity.Principal) *string
}

var fields = []field{
	{
		"Credential",
		func(r *identity.Revocation) *string { return &r.Credential },
		func(p *identity.Principal) *string { return &p.Credential },
	},
	{
		"Session",
		func(r *identity.Revocation) *string { return &r.Session },
		func(p *identity.Principal) *string { return &p.Session },
	},
	{
		"Subject",
		func(r *identity.Revocation) *string { return &r.Subject },
		func(p *identity.Principal) *string { return &p.Subject },
	},
	{
		"Tenant",
		func(r *identity.Revocation) *string { return &r.Tenant },
		func(p *identity.Principal) *string { return &p.Tenant },
	},
}

// just returns a principal that has nothing but the one field.
func just(f field, value string) identity.Principal {
	var who identity.Principal
	*f.in(&who) = value
	return who
}

// describe prints what a revocation names. The issuer is random and says
// nothing.
func describe(r identity.Revocation) string {
	s := describeFields(func(f field) string { return *f.of(&r) })
	if r.Spare != "" {
		s += fmt.Sprintf(", Spare %q", r.Spare)
	}
	if !r.Before.IsZero() {
		s += ", Before " + r.Before.Format(time.RFC3339Nano)
	}
	if !r.Expires.IsZero() {
		s += ", Expires " + r.Expires.Format(time.RFC3339Nano)
	}
	return s
}

func describePrincipal(who identity.Principal) string {
	s := describeFields(func(f field) string { return *f.in(&who) })
	if !who.IssuedAt.IsZero() {
		s += ", IssuedAt " + who.IssuedAt.Format(time.RFC3339Nano)
	}
	return s
}

func describeFields(value func(field) string) string {
	var parts []string
	for _, f := range fields {
		switch v := value(f); {
		case len(v) > 60:
			parts = append(parts, fmt.Sprintf("%s of %d bytes", f.name, len(v)))
		case v != "":
			parts = append(parts, fmt.Sprintf("%s %q", f.name, v))
		}
	}
	if len(parts) == 0 {
		return "no identifiers"
	}
	return strings.Join(parts, ", ")
}
