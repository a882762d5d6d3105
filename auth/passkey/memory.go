package passkey

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
)

// Memory is a [Store] of at most 100,000 passkeys in memory, for tests. The zero
// Memory is ready for use. It is safe for concurrent use and must not be copied
// after first use.
type Memory struct {
	mu        sync.RWMutex
	byID      map[string]*Passkey
	bySubject map[string][]*Passkey // the oldest first
}

var _ Store = (*Memory)(nil)

const maxPasskeys = 100_000

var errFull = errors.New("passkey: Memory has 100,000 passkeys; use sqlstore.New")

// AddPasskey implements [Store].
func (m *Memory) AddPasskey(_ context.Context, p Passkey, max int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.byID[string(p.ID)] != nil:
		return ErrExists
	case len(m.bySubject[p.Subject]) >= max:
		return ErrTooMany
	case len(m.byID) >= maxPasskeys:
		return errFull
	}
	if m.byID == nil {
		m.byID, m.bySubject = map[string]*Passkey{}, map[string][]*Passkey{}
	}
	kept := p.clone()
	m.byID[string(p.ID)] = &kept
	m.bySubject[p.Subject] = append(m.bySubject[p.Subject], &kept)
	return nil
}

// Passkeys implements [Store].
func (m *Memory) Passkeys(_ context.Context, subject string) ([]Passkey, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := []Passkey{}
	for _, p := range m.bySubject[subject] {
		all = append(all, p.clone())
	}
	return all, nil
}

// PasskeyByID implements [Store].
func (m *Memory) PasskeyByID(_ context.Context, id []byte) (Passkey, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p := m.byID[string(id)]
	if p == nil {
		return Passkey{}, ErrNotFound
	}
	return p.clone(), nil
}

// UsePasskey implements [Store].
func (m *Memory) UsePasskey(_ context.Context, u Use) (previous Passkey, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.byID[string(u.ID)]
	if p == nil {
		return Passkey{}, ErrNotFound
	}
	previous = p.clone()
	p.SignCount = max(p.SignCount, u.SignCount)
	if !u.At.Before(p.Used) {
		p.Used, p.BackedUp = u.At, u.BackedUp
	}
	return previous, nil
}

// RenamePasskey implements [Store].
func (m *Memory) RenamePasskey(_ context.Context, subject string, id []byte, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.byID[string(id)]
	if p == nil || p.Subject != subject {
		return ErrNotFound
	}
	p.Name = name
	return nil
}

// RemovePasskey implements [Store].
func (m *Memory) RemovePasskey(_ context.Context, subject string, id []byte, keepLast bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.byID[string(id)]
	switch {
	case p == nil || p.Subject != subject:
		return ErrNotFound
	case keepLast && len(m.bySubject[subject]) == 1:
		return ErrLast
	}
	delete(m.byID, string(id))
	rest := slices.DeleteFunc(m.bySubject[subject], func(o *Passkey) bool { return o == p })
	if len(rest) == 0 {
		delete(m.bySubject, subject)
	} else {
		m.bySubject[subject] = rest
	}
	return nil
}

// clone returns a copy that shares no memory with p.
func (p *Passkey) clone() Passkey {
	c := *p
	c.ID, c.Handle = bytes.Clone(p.ID), bytes.Clone(p.Handle)
	return c
}
