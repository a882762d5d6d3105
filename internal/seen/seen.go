// Package seen remembers which pairs of, for example, a credential and an address
// were accepted lately. A throttle exempts these pairs, so that other clients'
// failed attempts do not lock them out.
package seen

import (
	"encoding/binary"
	"sync"
	"time"
)

const (
	// Life is how long a pair is remembered.
	Life = 30 * 24 * time.Hour

	// Max is how many pairs are remembered.
	Max = 65_536

	ways = 8
	sets = Max / ways
)

// A Pair is a part of a hash of both values, which clients cannot choose.
type Pair [16]byte

// Pairs remembers the last [Max] pairs, in a table that is allocated at the first
// Add. A new pair replaces the oldest pair of its set. A forgotten pair is only
// throttled like a pair that was never seen. Callers add pairs only after a
// successful authentication, so an attacker without a valid credential cannot
// evict pairs. The zero Pairs is ready for use and safe for concurrent use.
type Pairs struct {
	mu    sync.Mutex
	start time.Time
	sets  []set
}

type set [ways]struct {
	pair Pair
	at   time.Duration // since start, more than 0; 0: free
}

func (p *Pairs) set(of *Pair) *set {
	return &p.sets[binary.LittleEndian.Uint64(of[:])%sets]
}

// Has reports whether the pair was added within Life before now.
func (p *Pairs) Has(of Pair, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sets == nil {
		return false
	}
	at := now.Sub(p.start)
	set := p.set(&of)
	for i := range set {
		if e := &set[i]; e.at != 0 && e.pair == of {
			return at-e.at < Life
		}
	}
	return false
}

// Add remembers the pair from now on.
func (p *Pairs) Add(of Pair, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sets == nil {
		p.sets, p.start = make([]set, sets), now.Add(-1)
	}
	set := p.set(&of)
	oldest := 0
	for i := range set {
		if set[i].at != 0 && set[i].pair == of {
			oldest = i
			break
		}
		if set[i].at < set[oldest].at {
			oldest = i
		}
	}
	set[oldest].pair, set[oldest].at = of, max(1, now.Sub(p.start))
}

// Remove forgets the pair.
func (p *Pairs) Remove(of Pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sets == nil {
		return
	}
	set := p.set(&of)
	for i := range set {
		if set[i].pair == of {
			set[i].at = 0
		}
	}
}
