package totp

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/internal/hidden"
)

// Memory is a [Store] in memory, for tests, with at most 100,000 records. The zero
// Memory is ready for use. It is safe for concurrent use and must not be copied after
// first use.
type Memory struct {
	mu      sync.RWMutex
	records map[string]hidden.Value[Record]
}

var _ Store = (*Memory)(nil)

const maxRecords = 100_000

// LoadTOTP implements [Store].
func (m *Memory) LoadTOTP(_ context.Context, user string) (Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.records[user].Reveal().clone(), nil
}

// SaveTOTP implements [Store].
func (m *Memory) SaveTOTP(_ context.Context, user string, r Record) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, exists := m.records[user]
	if old.Reveal().Version != r.Version {
		return false, nil
	}
	if !exists {
		if len(m.records) >= maxRecords {
			return false, ErrFull
		}
		if m.records == nil {
			m.records = make(map[string]hidden.Value[Record])
		}
		user = strings.Clone(user)
	}
	r.Version++
	m.records[user] = hidden.New(r.clone())
	return true, nil
}

// clone returns a copy that shares no memory with r.
func (r Record) clone() Record {
	r.Active = slices.Clone(r.Active)
	r.Pending = slices.Clone(r.Pending)
	r.Recovery = slices.Clone(r.Recovery)
	return r
}
