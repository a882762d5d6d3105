package ratelimit

// This file is the arithmetic of strict limits: pure functions of a moment, in
// nanoseconds since the table was made. See the package documentation for what
// they promise.

// parts is the number of sub-windows of a window. The current one and the ten
// before it cover any window that ends now, so eleven are kept.
const parts = 10

// exactUnits is the largest quota for which the exact times are kept.
const exactUnits = 10

// A shape has the durations that rings of one window share.
type shape struct {
	window int64 // ns
	sub    int64 // ns of a sub-window, so that ten of them are no less than window
	unit   int64 // ns of a tick, of which a window has at most 2^31
}

func newShape(window int64) shape {
	return shape{window, ceilDiv(window, parts), ceilDiv(window, 1<<31)}
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// A ring has the charges of one key for a strict limit, in one of two modes.
//
// Counting: w[i%11] is what was spent in sub-window i, for the eleven
// sub-windows that end with epoch.
//
// Exact: w[:n] is how many ticks before epoch each unit was spent, newest
// first. A ring that counts does so until it is empty: times that were lost
// cannot come back.
//
// A ring covers another if, after any moment, it has at least as much spent. Every
// operation keeps a ring covering the real charges: times are rounded up, and a join
// covers both rings.
type ring struct {
	epoch int64
	w     [parts + 1]uint32
	meta  uint32
}

const (
	metaCount       = 0x0f // how many times there are, in exact mode
	metaExact       = 0x10
	metaEstablished = 0x20 // the key came back in a later sub-window
)

func (r *ring) exact() bool { return r.meta&metaExact != 0 }
func (r *ring) n() int      { return int(r.meta & metaCount) }
func (r *ring) setN(n int)  { r.meta = r.meta&^metaCount | uint32(n) }

// advance drops charges that left the window before now.
func (r *ring) advance(s *shape, now int64) {
	if r.exact() {
		n := r.n()
		for n > 0 && r.tick(n-1)*s.unit+s.window <= now {
			n--
		}
		r.setN(n)
		if n > 0 {
			return
		}
		*r = ring{meta: r.meta & metaEstablished}
	}
	r.advanceTo(now / s.sub)
}

// advanceTo makes cur the newest sub-window of a ring that counts. Time does
// not go backwards: a caller that read the clock before another caller did, and
// got the lock after it, decides at the later moment.
func (r *ring) advanceTo(cur int64) {
	if cur <= r.epoch {
		return
	}
	if cur-r.epoch > parts {
		clear(r.w[:])
	} else {
		for i := r.epoch + 1; i <= cur; i++ {
			r.w[i%(parts+1)] = 0
		}
	}
	r.epoch = cur
}

// tick returns the absolute tick of the i-th newest unit.
func (r *ring) tick(i int) int64 { return r.epoch - int64(r.w[i]) }

// used returns what is spent. The ring was advanced.
func (r *ring) used() int64 {
	if r.exact() {
		return int64(r.n())
	}
	var sum int64
	for _, c := range r.w {
		sum += int64(c)
	}
	return sum
}

// freed returns the first moment at which so many spent units have left the
// window. The ring was advanced, and has at least so many spent.
func (r *ring) freed(s *shape, units int64) int64 {
	if r.exact() {
		return r.tick(r.n()-int(units))*s.unit + s.window
	}
	i := max(0, r.epoch-parts)
	for at := i % (parts + 1); ; i++ {
		units -= int64(r.w[at])
		if units <= 0 || i >= r.epoch {
			return (i + parts + 1) * s.sub
		}
		if at++; at > parts {
			at = 0
		}
	}
}

// add spends cost now, of a limit of quota. The ring was advanced.
func (r *ring) add(s *shape, now, cost, quota int64) {
	used := r.used()
	if used == 0 {
		r.meta &= metaEstablished
		if quota <= exactUnits {
			r.meta |= metaExact
		}
	} else if r.exact() && (quota > exactUnits || used+cost > exactUnits) {
		r.count(s, now)
	}
	if !r.exact() {
		at := r.epoch % (parts + 1)
		if used > 0 && r.w[at] == 0 {
			r.meta |= metaEstablished
		}
		r.w[at] += uint32(cost)
		return
	}
	tick := ceilDiv(now, s.unit)
	if used == 0 {
		r.epoch = tick
	} else if now-r.epoch*s.unit >= s.sub {
		r.meta |= metaEstablished
	}
	n := r.n()
	if later := tick - r.epoch; later > 0 {
		for i := range n {
			r.w[i] += uint32(later)
		}
		r.epoch = tick
	}
	copy(r.w[cost:], r.w[:n])
	clear(r.w[:cost])
	r.setN(n + int(cost))
}

// count changes an exact ring to one that counts.
func (r *ring) count(s *shape, now int64) {
	// A tick was rounded up and may be later than now. Without the cut it could
	// fall into a future sub-window, and the oldest would be dropped too early.
	c := ring{epoch: now / s.sub, meta: r.meta & metaEstablished}
	for i := range r.n() {
		sub := min(r.tick(i)*s.unit, now) / s.sub
		if sub >= c.epoch-parts {
			c.w[sub%(parts+1)]++
		}
	}
	*r = c
}

// take gives back up to cost units that were spent at a moment or earlier, never later
// ones, so the ring still covers the real charges after any join. Units that have left
// the window are not given back, because the remaining ones belong to other charges.
func (r *ring) take(s *shape, at, now, cost int64) {
	if at+s.window <= now {
		return
	}
	if r.exact() {
		tick := ceilDiv(at, s.unit)
		for n := r.n(); n > 0 && cost > 0; cost-- {
			i := n - 1
			for i >= 0 && r.tick(i) < tick {
				i--
			}
			if i < 0 {
				return
			}
			copy(r.w[i:], r.w[i+1:n])
			n--
			r.w[n] = 0
			r.setN(n)
		}
		return
	}
	for i := max(at/s.sub, 0); i <= r.epoch && cost > 0; i++ {
		if i < r.epoch-parts {
			return
		}
		gone := min(cost, int64(r.w[i%(parts+1)]))
		r.w[i%(parts+1)] -= uint32(gone)
		cost -= gone
	}
}

// join makes r cover o as well. Both were advanced to now.
func (r *ring) join(s *shape, now int64, o *ring) {
	if o.used() == 0 {
		return
	}
	if r.used() == 0 {
		*r = *o
		return
	}
	other := *o
	if r.exact() != other.exact() {
		if r.exact() {
			r.count(s, now)
		} else {
			other.count(s, now)
		}
	}
	if r.exact() {
		// The i-th newest of both is the later of the two i-th newest.
		epoch := max(r.epoch, other.epoch)
		n := max(r.n(), other.n())
		var w [parts + 1]uint32
		for i := range n {
			tick := int64(-1)
			if i < r.n() {
				tick = r.tick(i)
			}
			if i < other.n() {
				tick = max(tick, other.tick(i))
			}
			w[i] = uint32(epoch - tick)
		}
		r.epoch, r.w = epoch, w
		r.setN(n)
		return
	}
	epoch := max(r.epoch, other.epoch)
	r.advanceTo(epoch)
	other.advanceTo(epoch)
	for i := range r.w {
		r.w[i] = max(r.w[i], other.w[i])
	}
}
