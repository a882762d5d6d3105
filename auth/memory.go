package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/hidden"
)

// Memory is a store of users, sessions, challenges and clients for tests. The zero
// Memory is empty and ready for use. It is safe for concurrent use and must not be
// copied after first use.
type Memory struct {
	// MaxSessions limits sessions, and likewise challenges. At the limit, new
	// entries fail with [ErrFull]. Default: 100,000.
	MaxSessions int

	mu         sync.Mutex
	users      map[string]hidden.Value[User]   // by ID
	logins     map[string]string               // to ID
	clients    map[string]hidden.Value[Client] // by ID
	sessions   map[string]*memorySession
	bySubject  map[string]map[string]*memorySession
	challenges map[TokenHash]*memoryChallenge
	sweepAt    int // how many entries there are when expired ones are next dropped
}

type memorySession struct {
	Session
	current, previous TokenHash
	replaced          bool      // previous is one
	rotated           time.Time // when current became that
	idle              time.Time // when current expires
}

type memoryChallenge struct {
	attempts int
	finished bool
	expires  time.Time
}

// SetUser adds a user, or replaces the user with the same ID. The login is stored
// in the form of [CanonicalLogin].
func (m *Memory) SetUser(login string, u User) error {
	canonical, err := CanonicalLogin(login)
	if err != nil {
		return err
	}
	if u.ID == "" {
		return errors.New("auth: a User needs an ID")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if id, taken := m.logins[canonical]; taken && id != u.ID {
		return fmt.Errorf("auth: the login %q is taken", canonical)
	}
	if m.users == nil {
		m.users = make(map[string]hidden.Value[User])
		m.logins = make(map[string]string)
	}
	m.users[u.ID] = hidden.New(u)
	m.logins[canonical] = u.ID
	return nil
}

// UserByLogin implements [UserStore].
func (m *Memory) UserByLogin(_ context.Context, login string) (*User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user(m.logins[login])
}

// UserByID implements [UserStore].
func (m *Memory) UserByID(_ context.Context, id string) (*User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user(id)
}

func (m *Memory) user(id string) (*User, error) {
	u, ok := m.users[id]
	if !ok {
		return nil, ErrNotFound
	}
	found := u.Reveal()
	return &found, nil
}

// UpdatePasswordHash implements [PasswordUpdater].
func (m *Memory) UpdatePasswordHash(_ context.Context, id, old, new string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.users[id].Reveal(); u.ID == id && u.PasswordHash == old {
		u.PasswordHash = new
		m.users[id] = hidden.New(u)
	}
	return nil
}

// CreateRefresh implements [RefreshStore].
func (m *Memory) CreateRefresh(_ context.Context, s Session, first TokenHash, idle time.Time, most int) (evicted []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if limit := m.room(); len(m.sessions) >= limit {
		return nil, ErrFull
	}
	if _, taken := m.sessions[s.ID]; taken {
		return nil, errors.New("auth: the session exists already")
	}
	if m.sessions == nil {
		m.sessions = make(map[string]*memorySession)
		m.bySubject = make(map[string]map[string]*memorySession)
	}
	own := m.bySubject[s.Subject]
	if own == nil {
		own = make(map[string]*memorySession)
		m.bySubject[s.Subject] = own
	}
	added := &memorySession{Session: s, current: first, rotated: s.Created, idle: idle}
	m.sessions[s.ID], own[s.ID] = added, added
	if len(own) <= most {
		return nil, nil
	}
	all := m.alive(s.Subject)
	for i, kept := 0, 1; i < len(all); i++ {
		switch {
		case all[i].ID == s.ID:
		case kept < most:
			kept++
		default:
			m.drop(&all[i])
			evicted = append(evicted, all[i].ID)
		}
	}
	return evicted, nil
}

// drop forgets a session. The caller has the lock.
func (m *Memory) drop(s *Session) {
	delete(m.sessions, s.ID)
	own := m.bySubject[s.Subject]
	if delete(own, s.ID); len(own) == 0 {
		delete(m.bySubject, s.Subject)
	}
}

// alive returns the sessions of a subject that can be refreshed now, newest first.
func (m *Memory) alive(subject string) []Session {
	now := time.Now()
	var all []Session
	for _, s := range m.bySubject[subject] {
		if now.Before(s.idle) && now.Before(s.Expires) {
			all = append(all, s.Session)
		}
	}
	slices.SortFunc(all, func(a, b Session) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
	return all
}

// CountSessions implements [SessionCounter].
func (m *Memory) CountSessions(context.Context) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, n := time.Now(), 0
	for _, s := range m.sessions {
		if now.Before(s.idle) && now.Before(s.Expires) {
			n++
		}
	}
	return n, nil
}

// room returns how many sessions, and how many challenges, there may be. It
// drops what has expired, each time the number of entries has doubled, so that
// an addition costs the same on average however many there are.
func (m *Memory) room() int {
	limit := m.MaxSessions
	if limit <= 0 {
		limit = 100_000
	}
	if n := max(len(m.sessions), len(m.challenges)); n >= limit || n >= max(m.sweepAt, 1024) {
		now := time.Now()
		for _, s := range m.sessions {
			if !now.Before(s.idle) || !now.Before(s.Expires) {
				m.drop(&s.Session)
			}
		}
		for id, c := range m.challenges {
			if !now.Before(c.expires) {
				delete(m.challenges, id)
			}
		}
		m.sweepAt = 2 * max(len(m.sessions), len(m.challenges))
	}
	return limit
}

// RotateRefresh implements [RefreshStore].
func (m *Memory) RotateRefresh(_ context.Context, r Rotation) (Rotated, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[r.Session]
	if !ok || !r.Now.Before(s.idle) || !r.Now.Before(s.Expires) {
		return Rotated{}, nil
	}
	outcome := RefreshRotated
	switch {
	case r.Old == s.current:
		s.previous, s.current, s.replaced = s.current, r.New, true
		s.rotated = r.Now
		s.idle = r.Now.Add(r.Idle)
		if s.idle.After(s.Expires) {
			s.idle = s.Expires
		}
	case s.replaced && r.Old == s.previous && r.Now.Sub(s.rotated) <= r.Grace:
		outcome = RefreshReplayed
	default:
		m.drop(&s.Session)
		return Rotated{Outcome: RefreshReused}, nil
	}
	return Rotated{Outcome: outcome, Current: s.current, At: s.rotated, Expires: s.idle}, nil
}

// RevokeRefresh implements [RefreshStore].
func (m *Memory) RevokeRefresh(_ context.Context, which identity.Revocation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if which.Credential != "" || which.Session == "" && which.Subject == "" && which.Tenant == "" && which.Before.IsZero() {
		return errors.New("auth: RevokeRefresh needs a Session, Subject, Tenant or Before, and no Credential")
	}
	if which.Session != "" {
		if s, ok := m.sessions[which.Session]; ok && s.matches(which) {
			m.drop(&s.Session)
		}
		return nil
	}
	among := m.sessions
	if which.Subject != "" {
		among = m.bySubject[which.Subject]
	}
	for _, s := range among {
		if s.matches(which) {
			m.drop(&s.Session)
		}
	}
	return nil
}

func (s *memorySession) matches(which identity.Revocation) bool {
	return (which.Session == "" || which.Session == s.ID) &&
		(which.Subject == "" || which.Subject == s.Subject) &&
		(which.Tenant == "" || which.Tenant == s.Tenant) &&
		(which.Before.IsZero() || s.Created.Before(which.Before)) &&
		(which.Spare == "" || which.Spare != s.ID)
}

// Sessions implements [SessionLister].
func (m *Memory) Sessions(_ context.Context, subject string) ([]Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.alive(subject)
	return all[:min(len(all), MaxListed)], nil
}

// SetClient adds a client, or replaces the client with the same ID.
func (m *Memory) SetClient(c Client) error {
	if c.ID == "" || c.ID == identity.FirstParty {
		return fmt.Errorf("auth: a Client has the ID %q, want another one", c.ID)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.clients == nil {
		m.clients = make(map[string]hidden.Value[Client])
	}
	c.Secrets = slices.Clone(c.Secrets)
	m.clients[c.ID] = hidden.New(c)
	return nil
}

// ClientByID implements [ClientStore].
func (m *Memory) ClientByID(_ context.Context, id string) (*Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.clients[id]
	if !ok {
		return nil, ErrNotFound
	}
	found := c.Reveal()
	return &found, nil
}

// AttemptChallenge implements [ChallengeStore].
func (m *Memory) AttemptChallenge(_ context.Context, id TokenHash, limit int, expires time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.challenges[id]
	if !ok {
		if limit := m.room(); len(m.challenges) >= limit {
			return false, ErrFull
		}
		if m.challenges == nil {
			m.challenges = make(map[TokenHash]*memoryChallenge)
		}
		c = &memoryChallenge{expires: expires}
		m.challenges[id] = c
	}
	if c.finished || c.attempts >= limit {
		return false, nil
	}
	c.attempts++
	return true, nil
}

// FinishChallenge implements [ChallengeStore].
func (m *Memory) FinishChallenge(_ context.Context, id TokenHash) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.challenges[id]
	if !ok || c.finished {
		return false, nil
	}
	c.finished = true
	return true, nil
}
