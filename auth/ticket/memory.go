package ticket

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"sync"
	"time"
)

// Memory is a [Store] of at most 100,000 tickets in memory, for tests. The zero
// Memory is ready for use. It is safe for concurrent use and must not be copied
// after first use.
type Memory struct {
	mu      sync.Mutex
	tickets map[slot]*kept
	byKey   map[[32]byte]*kept
	byID    map[string]*kept
	wrong   map[account][]time.Time
}

// A slot has one ticket at a time.
type slot struct {
	purpose         Purpose
	tenant, subject string
	email           string // without a subject, and to undo
}

type account struct{ tenant, subject string }

type kept struct {
	Ticket
	slot  slot
	tries int
}

var _ Store = (*Memory)(nil)

const maxTickets = 100_000

var errFull = errors.New("ticket: Memory has 100,000 tickets; use sqlstore.New")

func slotOf(t Ticket) slot {
	s := slot{purpose: t.Purpose, tenant: t.Tenant, subject: t.Subject}
	if t.Subject == "" || t.Purpose == UndoEmail {
		s.email = t.Email
	}
	return s
}

// IssueTicket implements [Store].
func (m *Memory) IssueTicket(_ context.Context, t Ticket) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tickets == nil {
		m.tickets, m.byKey, m.byID, m.wrong = map[slot]*kept{}, map[[32]byte]*kept{}, map[string]*kept{}, map[account][]time.Time{}
	}
	k := &kept{Ticket: t, slot: slotOf(t)}
	k.Data = bytes.Clone(t.Data)
	if old := m.tickets[k.slot]; old != nil {
		m.remove(old)
	}
	if len(m.tickets) >= maxTickets {
		for _, old := range m.tickets {
			if !t.Created.Before(old.Expires) {
				m.remove(old)
			}
		}
		if len(m.tickets) >= maxTickets {
			return errFull
		}
	}
	m.tickets[k.slot] = k
	if t.ID != "" {
		m.byID[t.ID] = k
	} else {
		m.byKey[t.Key] = k
	}
	return nil
}

func (m *Memory) remove(k *kept) {
	delete(m.tickets, k.slot)
	if k.ID != "" {
		delete(m.byID, k.ID)
	} else {
		delete(m.byKey, k.Key)
	}
}

// find returns the ticket that u is about, or nil.
func (m *Memory) find(u Use) *kept {
	k := m.byKey[u.Key]
	if u.ID != "" {
		k = m.byID[u.ID]
	}
	if k == nil || k.Purpose != u.Purpose || !u.Now.Before(k.Expires) {
		return nil
	}
	return k
}

// FindTicket implements [Store].
func (m *Memory) FindTicket(_ context.Context, u Use) (Ticket, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.find(u)
	if k == nil {
		return Ticket{}, ErrNotFound
	}
	t := k.Ticket
	t.Data = bytes.Clone(t.Data)
	return t, nil
}

// UseTicket implements [Store].
func (m *Memory) UseTicket(_ context.Context, u Use) (used bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.find(u)
	if k == nil || k.Browser != u.Browser {
		return false, nil
	}
	if u.ID != "" {
		owner := account{k.Tenant, k.Subject}
		if k.tries >= u.MaxTries || m.wrongSince(owner, u.WrongSince) >= u.MaxWrong {
			return false, nil
		}
		k.tries++
		if subtle.ConstantTimeCompare(k.Key[:], u.Key[:]) != 1 {
			m.wrong[owner] = append(m.wrong[owner], u.Now)
			return false, nil
		}
	}
	m.remove(k)
	return true, nil
}

// wrongSince counts wrong codes and forgets older ones.
func (m *Memory) wrongSince(owner account, since time.Time) int {
	all := m.wrong[owner]
	for len(all) > 0 && all[0].Before(since) {
		all = all[1:]
	}
	if len(all) == 0 {
		delete(m.wrong, owner)
	} else {
		m.wrong[owner] = all
	}
	return len(all)
}

// WrongCodes implements [Store].
func (m *Memory) WrongCodes(_ context.Context, subject, tenant string, since time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrongSince(account{tenant, subject}, since), nil
}

// EndTickets implements [Store].
func (m *Memory) EndTickets(_ context.Context, which Which) error {
	if which.Subject == "" && which.Email == "" {
		return errors.New("ticket: EndTickets needs a Subject or an Email")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.tickets {
		if matches(which.Subject, k.Subject) && matches(which.Email, k.Email) && matches(which.Tenant, k.Tenant) && matches(string(which.Purpose), string(k.Purpose)) &&
			k.Purpose != which.Except && (which.After.IsZero() || k.Created.After(which.After)) {
			m.remove(k)
		}
	}
	return nil
}

func matches(want, have string) bool { return want == "" || want == have }
