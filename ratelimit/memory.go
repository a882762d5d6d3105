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

// Memory is a [Store] in the memory of this process. The zero value is ready for
// use; set fields before first use. A Memory is safe for concurrent use and must
// not be copied.
//
// Each limit has a table of fixed size. A new key in a full table inherits what
// evicted keys have spent: a flood of keys gets no client a new quota, but a new
// key may be refused, with [ErrFull], for what others spent. With four places for
// each live key, fewer than one new key in a thousand is refused.
type Memory struct {
	// Bytes is the size of the table of each limit. A key of a Strict limit takes
	// 73 bytes, of a Smooth limit 18. Default: 16 MiB, 229,376 keys of a Strict
	// limit, 917,504 of a Smooth limit.
	Bytes int

	// MaxLimits bounds the tables: one for each limit, and one more for the /48
	// of each limit by IPv6 address. More are an error. Default: 64.
	MaxLimits int

	once     sync.Once
	base     time.Time
	tables   atomic.Pointer[[]*table]
	adding   sync.Mutex
	stripes  [stripes]stripe
	inFlight inFlight // of Concurrent limits
}

var _ Store = (*Memory)(nil)

// stripes is how many locks there are. The sets of all tables share them.
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

// Stats describes how full the table of a limit is.
type Stats struct {
	Limit   string  // its name
	Slots   int     // keys that the table has places for
	Load    float64 // estimated part of the places whose keys have something spent
	Evicted uint64  // keys that lost their place with something spent
	Refused uint64  // charges refused with State.Full
}

// Stats returns one entry for each limit, cheaply. If Load exceeds a half, double
// Bytes.
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

// load looks at 64 sets that are spread over the table.
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

// tableOf returns the table of a limit, which it makes at the first use.
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
		return nil, fmt.Errorf("ratelimit: Memory has tables for %d limits and limit %q needs one more; raise Memory.MaxLimits"+
			" or use limits that agree in Name, Kind and Window", most, l.Name)
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

// errNoTable cannot occur: each charge that was made has a table.
var errNoTable = errors.New("ratelimit: Memory has no table for a limit that was charged")

// place is where a charge belongs.
type place struct {
	table *table
	set   uint64
}

// take is Take at a given time for validated charges. It reports whether they
// were made.
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
		// Another charge of the same request may have taken its place meanwhile.
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
			// It was counted as made, and was not.
			states[i].Remaining += charges[i].Cost
		}
	}
	return false, nil
}

// giveBack is Refund at a given time, of charges made at another.
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

// lock takes the locks of places, in ascending order, so that no two callers
// wait for each other.
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
