package sqlstore

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
)

// This file is the arithmetic: pure functions of a moment of the database's
// clock, in microseconds since 1970.

const (
	parts      = 10 // of a window, where units are counted together
	exactQuota = 10 // up to which quota they are not
)

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// An entry is the units that are free again at one moment.
type entry struct{ free, units int64 }

// A spent is the content of a row: the entries of a Strict limit, ascending, or
// the theoretical arrival time of a Smooth limit in nanoseconds.
type spent struct {
	list  []entry
	tat   int64
	moved bool // the clock was set back, so the row must be written
}

var errDamaged = errors.New("a row of the table is damaged")

// parse reads a row, and drops units that are free by now. If the clock was set
// back, it shortens moments that are further ahead than a charge can be.
func parse(l *ratelimit.Limit, row string, now int64) (s spent, err error) {
	if l.Kind == ratelimit.Smooth {
		if row != "" {
			if s.tat, err = strconv.ParseInt(row, 10, 64); err != nil {
				return s, errDamaged
			}
		}
		s.tat = max(s.tat, now*1000)
		if longest := now*1000 + interval(l)*l.Quota; s.tat > longest {
			s.tat, s.moved = longest, true
		}
		return s, nil
	}
	longest := now + (parts+1)*ceilDiv(l.Window.Microseconds(), parts)
	for word := range strings.FieldsSeq(row) {
		free, units, _ := strings.Cut(word, ":")
		var e entry
		var err2 error
		e.free, err = strconv.ParseInt(free, 10, 64)
		e.units, err2 = strconv.ParseInt(units, 10, 64)
		if err != nil || err2 != nil || e.units < 1 {
			return s, errDamaged
		}
		if e.free > longest {
			e.free, s.moved = longest, true
		}
		if e.free > now {
			s.list = append(s.list, e)
		}
	}
	return s, nil
}

// row is what parse reads, and when it says nothing any more.
func (s *spent) row(l *ratelimit.Limit) (row string, expires int64) {
	if l.Kind == ratelimit.Smooth {
		return strconv.FormatInt(s.tat, 10), ceilDiv(s.tat, 1000)
	}
	var b strings.Builder
	for _, e := range s.list {
		fmt.Fprintf(&b, "%d:%d ", e.free, e.units)
		expires = e.free
	}
	return b.String(), expires
}

func (s *spent) used() (units int64) {
	for _, e := range s.list {
		units += e.units
	}
	return units
}

// freed returns when so many units are free.
func (s *spent) freed(units int64) int64 {
	for _, e := range s.list {
		if units -= e.units; units <= 0 {
			return e.free
		}
	}
	return 0
}

// interval returns after how many nanoseconds the next unit of a Smooth limit
// comes, rounded up.
func interval(l *ratelimit.Limit) int64 { return ceilDiv(int64(l.Window), l.Quota) }

// fits returns when the charge fits, 0 if it does now, and reports whether it
// does.
func (s *spent) fits(c *ratelimit.Charge, now int64) (wait time.Duration, ok bool) {
	l := &c.Limit
	if l.Kind == ratelimit.Smooth {
		over := s.tat - now*1000 - (l.Burst-c.Cost)*interval(l)
		return micros(max(0, ceilDiv(over, 1000))), over <= 0
	}
	over := s.used() + c.Cost - l.Quota
	if over <= 0 {
		return 0, true
	}
	return micros(s.freed(over) - now), false
}

// add makes a charge.
func (s *spent) add(c *ratelimit.Charge, now int64) {
	l := &c.Limit
	if l.Kind == ratelimit.Smooth {
		s.tat += c.Cost * interval(l)
		return
	}
	exact, counted := frees(l, now)
	free := counted
	if l.Quota <= exactQuota {
		free = exact
	}
	i, found := slices.BinarySearchFunc(s.list, free, func(e entry, free int64) int { return int(max(-1, min(1, e.free-free))) })
	if !found {
		s.list = slices.Insert(s.list, i, entry{free: free})
	}
	s.list[i].units += c.Cost
}

// frees returns when what is spent at a moment is free again: if its time is
// kept, and if it is counted together with what was spent in the same tenth.
func frees(l *ratelimit.Limit, at int64) (exact, counted int64) {
	window := l.Window.Microseconds()
	sub := ceilDiv(window, parts)
	return at + window, (at/sub + parts + 1) * sub
}

// giveBack undoes a charge of a moment: the same units, or ones that are free no
// later. What has come back by itself is not given back once more.
func (s *spent) giveBack(c *ratelimit.Charge, at, now int64) {
	l := &c.Limit
	if l.Kind == ratelimit.Smooth {
		s.tat -= max(0, (at-now)*1000+c.Cost*interval(l))
		return
	}
	exact, counted := frees(l, at)
	if exact <= now {
		return
	}
	left := c.Cost
	for i := range s.list {
		if e := &s.list[i]; e.free == exact || e.free == counted {
			gone := min(left, e.units)
			e.units -= gone
			left -= gone
		}
	}
	s.list = slices.DeleteFunc(s.list, func(e entry) bool { return e.units == 0 })
}

// state says what remains.
func (s *spent) state(l *ratelimit.Limit, now int64) ratelimit.State {
	if l.Kind == ratelimit.Smooth {
		one, debt := interval(l), s.tat-now*1000
		if debt <= 0 {
			return ratelimit.State{Remaining: l.Burst}
		}
		remaining := max(0, (l.Burst*one-debt)/one)
		next := min(debt, max(1, debt-(l.Burst-remaining-1)*one))
		return ratelimit.State{Remaining: remaining, Reset: micros(ceilDiv(next, 1000))}
	}
	used := s.used()
	state := ratelimit.State{Remaining: max(0, l.Quota-used)}
	if used > 0 {
		state.Reset = micros(s.freed(max(1, used-l.Quota+1)) - now)
	}
	return state
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
