package sqlstore

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
)

// A model is one row, through which everything goes as text, and what really
// happened to it.
type model struct {
	t     *testing.T
	row   string
	now   int64
	made  []*made
	total int
}

type made struct {
	ratelimit.Charge
	at   int64
	gone bool
}

const began = int64(1_764_000_000_000_000)

// at returns what the row says at a moment.
func (m *model) at(l *ratelimit.Limit, now int64) *spent {
	m.t.Helper()
	s, err := parse(l, m.row, now)
	if err != nil {
		m.t.Fatalf("the row %q: %v", m.row, err)
	}
	return &s
}

// take charges, and checks what a refusal says.
func (m *model) take(l ratelimit.Limit, cost int64) *made {
	m.t.Helper()
	c := ratelimit.Charge{Limit: l, Cost: cost}
	s := m.at(&l, m.now)
	wait, ok := s.fits(&c, m.now)
	if before := s.state(&l, m.now); ok != (cost <= before.Remaining) {
		m.t.Fatalf("%v: %d remain, and a cost of %d fits: %t", l, before.Remaining, cost, ok)
	}
	if !ok {
		m.grows(&l, s.state(&l, m.now))
		then := m.at(&l, m.now+wait.Microseconds())
		if _, ok := then.fits(&c, m.now+wait.Microseconds()); !ok || wait <= 0 {
			m.t.Fatalf("%v: a cost of %d does not fit after RetryAfter, %v", l, cost, wait)
		}
		almost := m.at(&l, m.now+wait.Microseconds()-1)
		if _, ok := almost.fits(&c, m.now+wait.Microseconds()-1); ok {
			m.t.Fatalf("%v: a cost of %d fits before RetryAfter, %v", l, cost, wait)
		}
		return nil
	}
	s.add(&c, m.now)
	if n := len(s.list); n > exactQuota+parts+2 {
		m.t.Fatalf("the row has %d entries: %q", n, m.row)
	}
	m.row, _ = s.row(&l)
	one := &made{Charge: c, at: m.now}
	m.made = append(m.made, one)
	m.total++
	m.grows(&l, s.state(&l, m.now))
	return one
}

// grows demands that more remains at Reset, and not a microsecond earlier.
func (m *model) grows(l *ratelimit.Limit, state ratelimit.State) {
	m.t.Helper()
	for early, want := range []bool{true, false} {
		at := m.now + state.Reset.Microseconds() - int64(early)
		if after := m.at(l, at).state(l, at); after.Remaining > state.Remaining != want {
			m.t.Fatalf("%v: %d remain, and %d at %d µs before Reset, %v", l, state.Remaining, after.Remaining, early, state.Reset)
		}
	}
}

func (m *model) refund(one *made) {
	if one.gone {
		return
	}
	s := m.at(&one.Limit, m.now)
	s.giveBack(&one.Charge, one.at, m.now)
	m.row, _ = s.row(&one.Limit)
	if one.at+one.Limit.Window.Microseconds() > m.now {
		one.gone = true
	}
}

// spentSince returns what was made after a moment and not given back.
func (m *model) spentSince(at int64) (units int64) {
	for _, one := range m.made {
		if one.at > at && !one.gone {
			units += one.Cost
		}
	}
	return units
}

// TestStrictKeepsItsPromise: whatever is charged and given back, at whatever
// quota, no window ever has more than the quota of its last charge.
func TestStrictKeepsItsPromise(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := &model{t: t, now: began}
		l := ratelimit.Limit{Name: "strict", Window: time.Duration(1000+r.IntN(5000)) * time.Microsecond}
		quotas := []int64{1 + r.Int64N(10), 1 + r.Int64N(100)}
		for range 500 {
			m.now += r.Int64N(l.Window.Microseconds() / 8)
			l.Quota = quotas[r.IntN(len(quotas))]
			if m.take(l, 1+r.Int64N(min(l.Quota, 4))) != nil {
				if got := m.spentSince(m.now - l.Window.Microseconds()); got > l.Quota {
					t.Fatalf("seed %d: %d of %v are spent", seed, got, l)
				}
			}
			if r.IntN(5) == 0 && len(m.made) > 0 {
				m.refund(m.made[max(0, len(m.made)-1-r.IntN(8))])
			}
			if n := len(m.made); n > 200 {
				m.made = m.made[n-200:]
			}
		}
		if m.total < 50 {
			t.Fatalf("seed %d: %d of 500 were admitted", seed, m.total)
		}
	}
}

// TestStrictGivesBackAfterTheWindow: what was spent is back after one window of
// a small quota, and after 1.1 of a large one.
func TestStrictGivesBackAfterTheWindow(t *testing.T) {
	for quota, most := range map[int64]int64{5: 1_000_000, 500: 1_100_000} {
		m := &model{t: t, now: began + 12_345}
		l := ratelimit.Limit{Name: "strict", Quota: quota, Window: time.Second}
		for m.take(l, 1) != nil {
		}
		if m.total != int(quota) {
			t.Errorf("%d of %d were admitted", m.total, quota)
		}
		m.now += 999_999
		if m.take(l, 1) != nil {
			t.Errorf("%v: one more was admitted within the window", l)
		}
		m.now = began + 12_345 + most
		if m.take(l, quota) == nil {
			t.Errorf("%v: nothing is back after %d µs", l, most)
		}
	}
}

// TestRefundsOnlyGiveBackTheirOwn: what was spent in the same tenth of the window,
// and is counted for a little longer than the window, is not given back by a
// receipt whose own window has passed.
func TestRefundsOnlyGiveBackTheirOwn(t *testing.T) {
	m := &model{t: t, now: began}
	l := ratelimit.Limit{Name: "strict", Quota: 5, Window: time.Second}
	first := m.take(l, 5)
	l.Quota = 50
	m.now++
	m.take(l, 20)
	m.now = began + 1_000_000
	m.refund(first)
	if used := m.at(&l, m.now).used(); used != 20 {
		t.Errorf("%d are spent after the refund, want 20", used)
	}
}

// TestSmoothKeepsItsPromise: in any time t no more than Burst + Quota·t/Window.
func TestSmoothKeepsItsPromise(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := &model{t: t, now: began}
		quota := 1 + r.Int64N(1000)
		l := ratelimit.Limit{Name: "smooth", Kind: ratelimit.Smooth, Quota: quota, Burst: 1 + r.Int64N(min(quota, 20)),
			Window: time.Duration(quota+r.Int64N(100_000)) * time.Microsecond}
		if l.Window < time.Millisecond {
			l.Window = time.Millisecond
		}
		for range 300 {
			m.now += r.Int64N(2*l.Window.Microseconds()/quota + 2)
			m.take(l, 1+r.Int64N(l.Burst))
			if r.IntN(10) == 0 && len(m.made) > 0 {
				// Only the newest: of others a part has come back by itself.
				if last := m.made[len(m.made)-1]; last.at == m.now {
					m.refund(last)
				}
			}
		}
		for i, from := range m.made {
			units := int64(0)
			for _, one := range m.made[i:] {
				if !one.gone {
					units += one.Cost
				}
				allowed := l.Burst*l.Window.Microseconds() + quota*(one.at-from.at)
				if units*l.Window.Microseconds() > allowed {
					t.Fatalf("seed %d: %d of %v were admitted in %d µs", seed, units, l, one.at-from.at)
				}
			}
		}
		if m.total < 20 {
			t.Fatalf("seed %d: %d of 300 were admitted", seed, m.total)
		}
	}
}

// TestSmoothGivesBackOnlyWhatIsOwed: what came back by itself, or was given back
// before, is not given once more.
func TestSmoothGivesBackOnlyWhatIsOwed(t *testing.T) {
	l := ratelimit.Limit{Name: "smooth", Kind: ratelimit.Smooth, Quota: 10, Burst: 5, Window: time.Second}
	m := &model{t: t, now: began}
	first := m.take(l, 5)
	m.now += 500_000 // all of it has come back
	m.take(l, 5)
	m.refund(first)
	if m.take(l, 1) != nil {
		t.Error("a refund of what had come back was given")
	}
}

// TestClockSetBack: what was spent an hour from now is kept for a window and no
// longer, and the row says so from then on.
func TestClockSetBack(t *testing.T) {
	for _, l := range []ratelimit.Limit{
		{Name: "exact", Quota: 5, Window: time.Second},
		{Name: "counted", Quota: 50, Window: time.Second},
		{Name: "smooth", Kind: ratelimit.Smooth, Quota: 50, Burst: 50, Window: time.Second},
	} {
		m := &model{t: t, now: began}
		m.take(l, l.Quota)
		m.now -= time.Hour.Microseconds()
		s := m.at(&l, m.now)
		if _, ok := s.fits(&ratelimit.Charge{Limit: l, Cost: 1}, m.now); ok && l.Kind != ratelimit.Smooth || !s.moved {
			t.Errorf("%s: one more fits: %t, and the row is to be written: %t", l.Name, ok, s.moved)
		}
		m.row, _ = s.row(&l)
		m.now += 1_101_000
		if s := m.at(&l, m.now); s.state(&l, m.now).Remaining != l.Quota || s.moved {
			t.Errorf("%s: it is kept for longer than a window: %q", l.Name, m.row)
		}
	}
}

func TestDamagedRowsAdmitNobody(t *testing.T) {
	strict := ratelimit.Limit{Name: "strict", Quota: 5, Window: time.Second}
	smooth := ratelimit.Limit{Name: "smooth", Kind: ratelimit.Smooth, Quota: 5, Burst: 5, Window: time.Second}
	for _, row := range []string{"junk", "1", ":", "1:", ":1", "1:0", "1:-1", "1:1 2", "99999999999999999999:1"} {
		if _, err := parse(&strict, row, began); err == nil {
			t.Errorf("the row %q is no error", row)
		}
	}
	for _, row := range []string{"junk", "1:1", " ", "99999999999999999999"} {
		if _, err := parse(&smooth, row, began); err == nil {
			t.Errorf("the row %q is no error of a Smooth limit", row)
		}
	}
}

// TestLargestNumbers: nothing leaves 63 bits.
func TestLargestNumbers(t *testing.T) {
	far := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	for _, l := range []ratelimit.Limit{
		{Name: "strict", Quota: 1_000_000_000, Window: 366 * 24 * time.Hour},
		{Name: "smooth", Kind: ratelimit.Smooth, Quota: 1_000_000_000, Burst: 1_000_000_000, Window: 366 * 24 * time.Hour},
		{Name: "rare", Kind: ratelimit.Smooth, Quota: 1, Burst: 1, Window: 366 * 24 * time.Hour},
	} {
		m := &model{t: t, now: far}
		if m.take(l, l.Max()) == nil || m.take(l, 1) != nil {
			t.Errorf("%v: not all of it, or more, was admitted", l)
		}
	}
}
