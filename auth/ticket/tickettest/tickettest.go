// Package tickettest has a conformance suite for [ticket.Store].
//
//	func TestTickets(t *testing.T) {
//		tickettest.Run(t, func(t *testing.T) ticket.Store { return newStore(t) })
//	}
package tickettest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/ticket"
)

// Run checks each rule of [ticket.Store] in a subtest. Subjects and keys are
// random, so open may return the same store every time.
func Run(t *testing.T, open func(t *testing.T) ticket.Store) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			rule.check(&probe{T: t, ctx: t.Context(), store: open(t), now: time.Now().Truncate(time.Microsecond)})
		})
	}
}

type probe struct {
	*testing.T
	ctx   context.Context
	store ticket.Store
	now   time.Time
}

var rules = []struct {
	name  string
	check func(p *probe)
}{
	{"a link comes back as it was issued, and passes once", func(p *probe) {
		t := p.link(rand.Text())
		t.Data = []byte("\x00\xff'")
		p.issue(t)
		p.finds(t)
		p.uses(useOf(t, p.now), true)
		p.uses(useOf(t, p.now), false)
		p.lacks(t)
	}},
	{"of a thousand uses at once one succeeds", func(p *probe) {
		t := p.link(rand.Text())
		p.issue(t)
		var used atomic.Int64
		parallel(50, func(int) {
			for range 20 {
				ok, err := p.store.UseTicket(p.ctx, useOf(t, p.now))
				if err != nil {
					p.Errorf("UseTicket: %v", err)
				}
				if ok {
					used.Add(1)
				}
			}
		})
		if used.Load() != 1 {
			p.Errorf("the ticket was used %d times", used.Load())
		}
	}},
	{"a ticket passes before it expires, and not from then on", func(p *probe) {
		t := p.link(rand.Text())
		p.issue(t)
		for _, now := range []time.Time{t.Expires, t.Expires.Add(time.Hour)} {
			if _, err := p.store.FindTicket(p.ctx, useOf(t, now)); !errors.Is(err, ticket.ErrNotFound) {
				p.Errorf("FindTicket of an expired ticket returned %v, want ErrNotFound", err)
			}
			p.uses(useOf(t, now), false)
		}
		p.uses(useOf(t, t.Expires.Add(-time.Microsecond)), true)
	}},
	{"another purpose, key or browser does not pass and uses nothing up", func(p *probe) {
		t := p.link(rand.Text())
		p.issue(t)
		for _, change := range []func(*ticket.Use){
			func(u *ticket.Use) { u.Purpose = ticket.SignInLink },
			func(u *ticket.Use) { u.Key[0] ^= 1 },
			func(u *ticket.Use) { u.Browser[31] ^= 1 },
			func(u *ticket.Use) { u.Browser = [32]byte{} },
			func(u *ticket.Use) { u.ID = "no code" },
		} {
			u := useOf(t, p.now)
			change(&u)
			p.uses(u, false)
		}
		p.uses(useOf(t, p.now), true)
	}},
	{"a new ticket replaces the older one of its purpose, subject and tenant", func(p *probe) {
		subject := rand.Text()
		old, other, tenant, purpose := p.link(subject), p.link(subject+"x"), p.link(subject), p.link(subject)
		tenant.Tenant = ""
		purpose.Purpose = ticket.VerifyEmail
		for _, t := range []ticket.Ticket{old, other, tenant, purpose} {
			p.issue(t)
		}
		next := p.link(subject)
		p.issue(next)
		p.lacks(old)
		for _, t := range []ticket.Ticket{next, other, tenant, purpose} {
			p.finds(t)
		}
	}},
	{"invitations and undo tickets are replaced by address", func(p *probe) {
		for _, base := range []ticket.Ticket{p.link(""), p.link(rand.Text())} {
			base.Purpose = ticket.Invitation
			if base.Subject != "" {
				base.Purpose = ticket.UndoEmail
			}
			base.Email = rand.Text() + "@example.com"
			a, b, c := base, base, base
			rand.Read(b.Key[:])
			rand.Read(c.Key[:])
			b.Email = "other" + base.Email
			p.issue(a)
			p.issue(b)
			p.issue(c) // of the address of a
			p.lacks(a)
			p.finds(b)
			p.finds(c)
		}
	}},
	{"a code passes within its tries, however many are made at once", func(p *probe) {
		t := p.code(rand.Text())
		p.issue(t)
		p.finds(t)
		wrong := useOf(t, p.now)
		wrong.Key[0] ^= 1
		p.uses(wrong, false)
		p.uses(useOf(t, p.now), true)

		t = p.code(rand.Text())
		p.issue(t)
		wrong = useOf(t, p.now)
		wrong.Key[0] ^= 1
		parallel(16, func(int) {
			if used, err := p.store.UseTicket(p.ctx, wrong); used || err != nil {
				p.Errorf("UseTicket of a wrong code: %t, %v", used, err)
			}
		})
		if n, err := p.store.WrongCodes(p.ctx, t.Subject, t.Tenant, p.now.Add(-time.Hour)); n != 5 || err != nil {
			p.Errorf("WrongCodes returned %d, %v after 16 wrong codes with 5 tries", n, err)
		}
		p.uses(useOf(t, p.now), false)
	}},
	{"a code of another browser is not tried", func(p *probe) {
		t := p.code(rand.Text())
		p.issue(t)
		u := useOf(t, p.now)
		u.Browser[0] ^= 1
		for range 10 {
			p.uses(u, false)
		}
		p.uses(useOf(t, p.now), true)
	}},
	{"wrong codes of a subject count over all of its tickets, until they are old", func(p *probe) {
		subject := rand.Text()
		guess := func(now time.Time) ticket.Ticket {
			t := p.code(subject)
			t.Expires = now.Add(time.Hour)
			p.issue(t)
			u := useOf(t, now)
			u.Key[0] ^= 1
			p.uses(u, false)
			return t
		}
		for range 24 {
			guess(p.now)
		}
		last := guess(p.now.Add(time.Hour))
		p.uses(useOf(last, p.now.Add(time.Hour)), false) // 25 wrong ones
		if n, err := p.store.WrongCodes(p.ctx, subject, last.Tenant, p.now.Add(time.Minute)); n != 1 || err != nil {
			p.Errorf("WrongCodes since a minute later returned %d, %v, want 1", n, err)
		}
		if n, err := p.store.WrongCodes(p.ctx, subject, "another tenant", p.now.Add(-time.Hour)); n != 0 || err != nil {
			p.Errorf("WrongCodes of another tenant returned %d, %v", n, err)
		}
		later := p.now.Add(30*24*time.Hour + time.Second)
		t := p.code(subject)
		t.Created, t.Expires = later, later.Add(time.Hour)
		p.issue(t)
		p.uses(useOf(t, later), true)
	}},
	{"tickets end by subject, address, tenant, purpose and time", func(p *probe) {
		subject := rand.Text()
		issue := func(change func(*ticket.Ticket)) ticket.Ticket {
			t := p.link(subject)
			t.Email = subject + "@example.com"
			change(&t)
			p.issue(t)
			return t
		}
		reset := issue(func(*ticket.Ticket) {})
		verify := issue(func(t *ticket.Ticket) { t.Purpose = ticket.VerifyEmail })
		undo := issue(func(t *ticket.Ticket) { t.Purpose = ticket.UndoEmail })
		late := issue(func(t *ticket.Ticket) { t.Purpose = ticket.ChangeEmail; t.Created = p.now.Add(time.Second) })
		tenant := issue(func(t *ticket.Ticket) { t.Tenant = "" })
		other := issue(func(t *ticket.Ticket) { t.Subject += "x" })

		p.end(ticket.Which{Subject: subject, After: p.now})
		p.lacks(late)
		p.finds(verify)
		p.end(ticket.Which{Subject: subject, Purpose: ticket.VerifyEmail})
		p.lacks(verify)
		p.finds(reset)
		p.end(ticket.Which{Subject: subject, Tenant: reset.Tenant, Except: ticket.UndoEmail})
		p.lacks(reset)
		p.finds(undo)
		p.finds(tenant)
		p.end(ticket.Which{Subject: subject})
		p.lacks(undo)
		p.lacks(tenant)
		p.finds(other)
		p.end(ticket.Which{Email: subject + "@example.com"})
		p.lacks(other)
		p.end(ticket.Which{Subject: subject}) // none is left

		for _, which := range []ticket.Which{{}, {Tenant: reset.Tenant}, {Purpose: ticket.ResetPassword}} {
			if err := p.store.EndTickets(p.ctx, which); err == nil {
				p.Errorf("EndTickets(%+v) returned nil; it would end the tickets of everyone", which)
			}
		}
	}},
	{"parallel calls in any order use no ticket twice, nor after a newer one", interleave},
	{"a ticket that is ended while it is used passes at most once", func(p *probe) {
		for range 20 {
			t := p.link(rand.Text())
			p.issue(t)
			ended := make(chan struct{})
			go func() { defer close(ended); p.end(ticket.Which{Subject: t.Subject}) }()
			if _, err := p.store.UseTicket(p.ctx, useOf(t, p.now)); err != nil {
				p.Errorf("UseTicket: %v", err)
			}
			<-ended
			p.uses(useOf(t, p.now), false)
		}
	}},
}

// A history notes what was called and what returned, in one order.
type history struct {
	mu      sync.Mutex
	issued  map[[32]byte]bool // IssueTicket has returned, and nothing has replaced or ended the ticket
	all     []ticket.Ticket
	used    map[[32]byte]int
	problem string
}

// present returns the tickets that a call which begins now may replace or end: their
// IssueTicket has returned.
func (h *history) present() (keys [][32]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range h.issued {
		keys = append(keys, key)
	}
	return keys
}

// over marks tickets as replaced or ended.
func (h *history) over(keys [][32]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range keys {
		delete(h.issued, key)
	}
}

// interleave issues, uses and ends tickets of one subject at once and in any order.
// No ticket is used twice. None is used by a call that began after it was replaced or
// ended.
func interleave(p *probe) {
	h := &history{issued: map[[32]byte]bool{}, used: map[[32]byte]int{}}
	subject := rand.Text()
	var one sync.Mutex // for IssueTicket: of two at once, either may be the last
	parallel(8, func(worker int) {
		for i := range 40 {
			switch {
			case (worker+i)%8 == 0:
				keys := h.present()
				if err := p.store.EndTickets(p.ctx, ticket.Which{Subject: subject}); err != nil {
					p.Errorf("EndTickets: %v", err)
				}
				h.over(keys)
			case (worker+i)%4 == 1:
				one.Lock()
				t := p.link(subject)
				keys := h.present()
				h.mu.Lock()
				h.all = append(h.all, t)
				h.mu.Unlock()
				if err := p.store.IssueTicket(p.ctx, t); err != nil {
					p.Errorf("IssueTicket: %v", err)
				}
				h.over(keys)
				h.mu.Lock()
				h.issued[t.Key] = true
				h.mu.Unlock()
				one.Unlock()
			default:
				h.mu.Lock()
				if len(h.all) == 0 {
					h.mu.Unlock()
					continue
				}
				back := min(len(h.all), 1+(worker*7+i)%4)
				t := h.all[len(h.all)-back]
				// Not yet issued, issued, or over: only the last is certain.
				newer := back > 1 && h.issued[h.all[len(h.all)-1].Key]
				h.mu.Unlock()
				used, err := p.store.UseTicket(p.ctx, useOf(t, p.now))
				if err != nil {
					p.Errorf("UseTicket: %v", err)
				}
				if used {
					h.mu.Lock()
					h.used[t.Key]++
					if h.used[t.Key] > 1 {
						h.problem = "a ticket was used twice"
					} else if newer {
						h.problem = "a ticket was used after a newer one was issued"
					}
					h.mu.Unlock()
				}
			}
		}
	})
	if h.problem != "" {
		p.Error(h.problem)
	}
	keys := h.present()
	p.end(ticket.Which{Subject: subject})
	for _, t := range h.all {
		if used, err := p.store.UseTicket(p.ctx, useOf(t, p.now)); used || err != nil {
			p.Errorf("after EndTickets of all %d: %t, %v", len(keys), used, err)
		}
	}
}

// link returns a ticket for a link, and code one for a code.
func (p *probe) link(subject string) ticket.Ticket {
	t := ticket.Ticket{
		Purpose: ticket.ResetPassword, Subject: subject, Tenant: "Tenant é", Email: "Ada@example.com",
		Data: []byte{}, Created: p.now, Expires: p.now.Add(time.Hour),
	}
	rand.Read(t.Key[:])
	rand.Read(t.Browser[:])
	rand.Read(t.State[:])
	return t
}

func (p *probe) code(subject string) ticket.Ticket {
	t := p.link(subject)
	t.Purpose, t.ID = ticket.SignInCode, rand.Text()
	return t
}

func useOf(t ticket.Ticket, now time.Time) ticket.Use {
	return ticket.Use{Purpose: t.Purpose, Key: t.Key, ID: t.ID, Browser: t.Browser, Now: now,
		MaxTries: 5, MaxWrong: 25, WrongSince: now.Add(-30 * 24 * time.Hour)}
}

func (p *probe) issue(t ticket.Ticket) {
	p.Helper()
	if err := p.store.IssueTicket(p.ctx, t); err != nil {
		p.Fatalf("IssueTicket: %v", err)
	}
}

func (p *probe) uses(u ticket.Use, want bool) {
	p.Helper()
	if got, err := p.store.UseTicket(p.ctx, u); got != want || err != nil {
		p.Errorf("UseTicket returned %t, %v, want %t", got, err, want)
	}
}

func (p *probe) end(which ticket.Which) {
	p.Helper()
	if err := p.store.EndTickets(p.ctx, which); err != nil {
		p.Errorf("EndTickets(%+v): %v", which, err)
	}
}

func (p *probe) finds(t ticket.Ticket) {
	p.Helper()
	got, err := p.store.FindTicket(p.ctx, useOf(t, p.now))
	if err != nil || !equal(got, t) {
		p.Errorf("FindTicket returned\n%s, %v, want\n%s", detail(got), err, detail(t))
	}
}

func (p *probe) lacks(t ticket.Ticket) {
	p.Helper()
	if got, err := p.store.FindTicket(p.ctx, useOf(t, p.now)); !errors.Is(err, ticket.ErrNotFound) {
		p.Errorf("FindTicket returned %v, %v, want ErrNotFound", got, err)
	}
}

func equal(a, b ticket.Ticket) bool {
	return a.Purpose == b.Purpose && a.Key == b.Key && a.ID == b.ID && a.Browser == b.Browser && a.State == b.State && a.Subject == b.Subject &&
		a.Tenant == b.Tenant && a.Email == b.Email && bytes.Equal(a.Data, b.Data) && a.Created.Equal(b.Created) && a.Expires.Equal(b.Expires)
}

func detail(t ticket.Ticket) string {
	type plain ticket.Ticket // without its String
	return fmt.Sprintf("%+v", plain(t))
}

func parallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}
