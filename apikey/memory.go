package apikey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/internal/hidden"
)

// ErrFull means that a [Memory] has no room for another key. It evicts none.
var ErrFull = errors.New("apikey: Memory has 100,000 keys; use sqlstore.New")

// A Memory is a store of at most 100,000 records in memory, for tests. The zero
// Memory is ready for use; set MaxPerOwner before first use. It is safe for
// concurrent use and must not be copied.
type Memory struct {
	// MaxPerOwner bounds the keys of an owner; see [KeyBounder]. At most
	// [MaxListed]. Negative: unlimited. Default: 100.
	MaxPerOwner int

	mu   sync.RWMutex
	keys map[string]hidden.Value[*Record]
	hash map[sum]string // of records without a PepperID: SHA-256 of the Hash, to the ID

	networks map[string][]usedNetwork // by the ID of the key
}

type usedNetwork struct {
	network netip.Prefix
	at      time.Time
}

var (
	_ KeyWriter       = (*Memory)(nil)
	_ HashFinder      = (*Memory)(nil)
	_ KeyLister       = (*Memory)(nil)
	_ KeyBounder      = (*Memory)(nil)
	_ UsageRecorder   = (*Memory)(nil)
	_ NetworkRecorder = (*Memory)(nil)
)

// KeyByID implements [KeyStore].
func (m *Memory) KeyByID(_ context.Context, id string) (*Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.get(id)
}

// KeyByHash implements [HashFinder].
func (m *Memory) KeyByHash(_ context.Context, hash Hash) (*Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.get(m.hash[sumOf(hash)]) // no record has the ID ""
}

func (m *Memory) get(id string) (*Record, error) {
	r := m.keys[id].Reveal()
	ok := r != nil
	if !ok {
		r = new(Record)
	}
	// Before it is known whether there is one, so that it takes as long.
	c := r.Clone()
	if !ok {
		return nil, ErrNotFound
	}
	return &c, nil
}

// KeysByOwner implements [KeyLister].
func (m *Memory) KeysByOwner(_ context.Context, owner string) ([]Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := time.Now()
	var all []Record
	for _, kept := range m.keys {
		if r := kept.Reveal(); r.Owner == owner && !r.Ended(now) {
			all = append(all, r.Clone())
		}
	}
	slices.SortFunc(all, func(a, b Record) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all[:min(len(all), MaxListed)], nil
}

// WriteKeys implements [KeyWriter].
func (m *Memory) WriteKeys(_ context.Context, update, created *Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if update != nil {
		old := m.keys[update.ID].Reveal()
		switch {
		case old == nil:
			return ErrNotFound
		case old.Version != update.Version:
			return ErrConflict
		case m.taken(update):
			return ErrConflict
		}
	}
	if created != nil {
		switch {
		case created.ID == "":
			return errors.New("apikey: Memory: the record has no ID")
		case m.keys[created.ID].Reveal() != nil || m.taken(created):
			return ErrConflict
		case len(m.keys) >= maxKeys:
			return ErrFull
		case m.crowded(update, created):
			return ErrTooMany
		}
	}
	if update != nil {
		old := m.keys[update.ID].Reveal()
		r := update.Clone()
		r.LastUsedAt = old.LastUsedAt
		r.Version++
		delete(m.hash, sumOf(m.legacy(old)))
		m.put(&r)
	}
	if created != nil {
		r := created.Clone()
		r.LastUsedAt, r.Version = Use{}.At, 1
		m.put(&r)
	}
	return nil
}

// legacy returns the hash that r is found by, "" if it is not.
func (m *Memory) legacy(r *Record) Hash {
	if r.PepperID != "" {
		return ""
	}
	return r.Hash
}

// taken reports whether another record is found by r's hash.
func (m *Memory) taken(r *Record) bool {
	id, ok := m.hash[sumOf(m.legacy(r))]
	return ok && id != r.ID
}

// sumOf returns what stands for h in the map: a Hash would be printed with it.
func sumOf(h Hash) sum { return sha256.Sum256([]byte(h)) }

func (m *Memory) put(r *Record) {
	if m.keys == nil {
		m.keys, m.hash = make(map[string]hidden.Value[*Record]), make(map[sum]string)
	}
	m.keys[r.ID] = hidden.New(r)
	if h := m.legacy(r); h != "" {
		m.hash[sumOf(h)] = r.ID
	}
}

// crowded reports whether created is one key too many for its owner once the
// update is made.
func (m *Memory) crowded(update, created *Record) bool {
	most, now := m.KeysPerOwner(), time.Now()
	if most == 0 || created.Ended(now) {
		return false
	}
	living := 0
	for id, kept := range m.keys {
		r := kept.Reveal()
		if update != nil && id == update.ID {
			r = update
		}
		if r.Owner == created.Owner && !r.Ended(now) {
			living++
		}
	}
	return living >= most
}

// KeysPerOwner implements [KeyBounder].
func (m *Memory) KeysPerOwner() int {
	switch {
	case m.MaxPerOwner < 0:
		return 0
	case m.MaxPerOwner == 0:
		return 100
	}
	return min(m.MaxPerOwner, MaxListed)
}

const maxKeys = 100_000 // of a Memory

// RecordUse implements [UsageRecorder].
func (m *Memory) RecordUse(_ context.Context, uses []Use) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range uses {
		if r := m.keys[u.ID].Reveal(); r != nil && u.At.After(r.LastUsedAt) {
			r.LastUsedAt = u.At
		}
	}
	return nil
}

// RecordNetwork implements [NetworkRecorder].
func (m *Memory) RecordNetwork(_ context.Context, id string, network netip.Prefix, at time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.networks[id]
	if m.keys[id].Reveal() == nil || slices.ContainsFunc(all, func(u usedNetwork) bool { return u.network == network }) {
		return 0, nil
	}
	if len(all) >= MaxNetworks {
		slices.SortFunc(all, func(a, b usedNetwork) int { return a.at.Compare(b.at) })
		all = slices.Delete(all, 0, 1)
	}
	if m.networks == nil {
		m.networks = make(map[string][]usedNetwork)
	}
	m.networks[id] = append(all, usedNetwork{network, at})
	return len(m.networks[id]), nil
}
