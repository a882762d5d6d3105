package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type duration = time.Duration

// Memory is a [Store] in this process. The zero Memory is ready for use; set fields
// before first use. It must not be copied.
//
// Each limit has a table of fixed size. In a full table a new key inherits the charges
// of evicted keys: a flood of keys gets no client a new quota, but new keys may be
// refused with [ErrFull], with four places for each live key fewer than one in a
// thousand.
type Memory struct {
	// Bytes is the size of the table of each limit. Default: 16 MiB, for 229,376
	// keys of a Strict limit (73 bytes each) or 917,504 of a Smooth limit (18
	// bytes).
	Bytes int

	// MaxLimits bounds the tables: one for each limit, and one for its /48 by IPv6
	// address. More are an error. Default: 64.
	MaxLimits int

	once     sync.Once
	base     time.Time
	tables   atomic.Pointer[[]*table]
	adding   sync.Mutex
	stripes  [stripes]stripe
	inFlight inFlight // of Concurrent limits
}

var _ Store = (*Memory)(nil)

// stripes is the number of locks, which the sets of all tables share.
const stripes = 256

type stripe struct {
	sync.Mutex
	_ [56]byte // a line of the cache for each
}

// Take implements [Store].
func (m *Memory) Take(ctx context.Context, charges []Charge) ([]State, Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, Receipt{}, err
	}
	if err := Validate(charges); err != nil {
		return nil, Receipt{}, err
	}
	states := make([]State, len(charges))
	now := m.now()
	ok, err := m.take(now, charges, states)
	if !ok {
		return states, Receipt{}, err
	}
	return states, NewReceipt(time.Duration(now), charges), nil
}

// Refund implements [Store].
func (m *Memory) Refund(_ context.Context, receipt Receipt) error {
	at, charges := receipt.Use()
	if len(charges) == 0 {
		return nil
	}
	m.giveBack(m.now(), int64(at), charges)
	return nil
}

// Stats has the figures of the table of a limit.
type Stats struct {
	Limit   string  // Limit.Name
	Slots   int     // places for keys
	Load    float64 // estimated fraction of places with live keys
	Evicted uint64  // live keys that lost their place
	Refused uint64  // charges refused with State.Full
}

// Stats returns one entry for each limit. If Load exceeds a half, double Bytes.
func (m *Memory) Stats() []Stats {
	now := m.now()
	var all []Stats
	for _, t := range m.list() {
		all = append(all, Stats{
			Limit:   t.limit.Name,
			Slots:   int(t.sets) * ways,
			Load:    m.load(t, now),
			Evicted: t.evicted.Load(),
			Refused: t.refused.Load(),
		})
	}
	return all
}

// load samples 64 sets of the table.
func (m *Memory) load(t *table, now int64) float64 {
	looked, taken := 0, 0
	for i := range uint64(min(64, t.sets)) {
		set := i * t.sets / min(64, t.sets)
		lock := &m.stripes[set%stripes]
		lock.Lock()
		for j := range ways {
			looked++
			used := false
			if t.limit.Kind == Strict {
				r := t.rings[set].places[j].ring
				r.advance(&t.shape, now)
				used = r.used() > 0
			} else {
				used = t.arrivals[set].places[j].value > now
			}
			if used {
				taken++
			}
		}
		lock.Unlock()
	}
	return float64(taken) / float64(looked)
}

// now returns nanoseconds since the first use, by the monotonic clock.
func (m *Memory) now() int64 {
	m.once.Do(func() { m.base = time.Now() })
	return int64(time.Since(m.base))
}

func (m *Memory) list() []*table {
	if p := m.tables.Load(); p != nil {
		return *p
	}
	return nil
}

// tableOf returns the table of a limit, and makes it if needed.
func (m *Memory) tableOf(l *Limit) (*table, error) {
	for _, t := range m.list() {
		if t.limit.same(l) {
			return t, nil
		}
	}
	m.adding.Lock()
	defer m.adding.Unlock()
	old := m.list()
	for _, t := range old {
		if t.limit.same(l) {
			return t, nil
		}
	}
	most := m.MaxLimits
	if most <= 0 {
		most = 64
	}
	if len(old) >= most {
		return nil, fmt.Errorf("ratelimit: Memory has tables for %d limits and limit %q needs one more; increase Memory.MaxLimits"+
			" or use limits with the same Name, Kind and Window", most, l.Name)
	}
	bytes := m.Bytes
	if bytes <= 0 {
		bytes = 16 << 20
	}
	t := newTable(*l, bytes)
	all := append(slices.Clone(old), t)
	m.tables.Store(&all)
	return t, nil
}

// errNoTable cannot occur: each charge has a table.
var errNoTable = errors.New("ratelimit: Memory has no table for a limit that was charged")

// place is the set of a charge in its table.
type place struct {
	table *table
	set   uint64
}

// take is Take at a given time for validated charges. It reports whether they were
// made.
func (m *Memory) take(now int64, charges []Charge, states []State) (bool, error) {
	if len(charges) == 1 {
		c := &charges[0]
		t, err := m.tableOf(&c.Limit)
		if err != nil {
			return false, err
		}
		set := t.setOf(&c.Key)
		lock := &m.stripes[set%stripes]
		lock.Lock()
		state, at := t.decide(set, c, now)
		if !state.Refused {
			t.spend(set, at, c, now)
		}
		lock.Unlock()
		states[0] = state
		if state.Full {
			t.refused.Add(1)
		}
		return !state.Refused, nil
	}

	var room [MaxCharges]place
	places := room[:len(charges)]
	for i := range charges {
		t, err := m.tableOf(&charges[i].Limit)
		if err != nil {
			return false, err
		}
		places[i] = place{t, t.setOf(&charges[i].Key)}
	}
	var locks [MaxCharges]uint8
	locked := m.lock(places, &locks)
	ok := true
	for i, p := range places {
		states[i], _ = p.table.decide(p.set, &charges[i], now)
		ok = ok && !states[i].Refused
	}
	for i := 0; ok && i < len(places); i++ {
		// Another charge of the request may have taken the place of this key.
		p, c := places[i], &charges[i]
		p.table.spend(p.set, p.table.find(p.set, &c.Key), c, now)
	}
	m.unlock(locked)
	if ok {
		return true, nil
	}
	for i, p := range places {
		if states[i].Full {
			p.table.refused.Add(1)
		}
		if !states[i].Refused {
			// decide has subtracted the cost, but the charge was not made.
			states[i].Remaining += charges[i].Cost
		}
	}
	return false, nil
}

// giveBack is Refund at now, of charges made at another time.
func (m *Memory) giveBack(now, at int64, charges []Charge) {
	for i := range charges {
		c := &charges[i]
		t, err := m.tableOf(&c.Limit)
		if err != nil {
			panic(errNoTable)
		}
		set := t.setOf(&c.Key)
		lock := &m.stripes[set%stripes]
		lock.Lock()
		t.giveBack(set, c, at, now)
		lock.Unlock()
	}
}

// lock takes the locks of places in ascending order, which prevents deadlocks.
func (m *Memory) lock(places []place, locks *[MaxCharges]uint8) []uint8 {
	for i, p := range places {
		locks[i] = uint8(p.set % stripes)
	}
	all := locks[:len(places)]
	slices.Sort(all)
	all = slices.Compact(all)
	for _, i := range all {
		m.stripes[i].Lock()
	}
	return all
}

func (m *Memory) unlock(locks []uint8) {
	for _, i := range locks {
		m.stripes[i].Unlock()
	}
}
