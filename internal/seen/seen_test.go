package seen_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/seen"
)

func pair(n uint64, rest byte) (p seen.Pair) {
	binary.LittleEndian.PutUint64(p[:], n)
	p[8] = rest
	return p
}

func TestAPairIsRememberedForItsLife(t *testing.T) {
	var p seen.Pairs
	start := time.Now()
	one := pair(0, 1)
	if p.Has(one, start) {
		t.Error("an empty memory has a pair")
	}
	p.Remove(one)
	p.Add(one, start)
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {seen.Life - time.Second, true}, {seen.Life, false}} {
		if got := p.Has(one, start.Add(tt.after)); got != tt.want {
			t.Errorf("after %v: %t, want %t", tt.after, got, tt.want)
		}
	}
	if p.Has(pair(0, 0), start) || p.Has(seen.Pair{}, start) {
		t.Error("a pair that was never added, in the same set, is there")
	}
	p.Add(one, start.Add(seen.Life))
	if !p.Has(one, start.Add(seen.Life)) {
		t.Error("a pair that was added again has ended")
	}
	p.Remove(one)
	if p.Has(one, start.Add(seen.Life)) {
		t.Error("a removed pair is there")
	}
}

func TestANewPairTakesThePlaceOfTheOldestOfItsSet(t *testing.T) {
	var p seen.Pairs
	now := time.Now()
	for i := range 8 {
		p.Add(pair(0, byte(i)), now.Add(time.Duration(i)*time.Second))
	}
	p.Add(pair(1, 0), now) // of another set
	now = now.Add(time.Minute)
	p.Add(pair(0, 0), now) // now the newest
	p.Add(pair(0, 8), now)
	for i := range 9 {
		if got := p.Has(pair(0, byte(i)), now); got != (i != 1) {
			t.Errorf("pair %d: %t", i, got)
		}
	}
	if !p.Has(pair(1, 0), now) {
		t.Error("a pair of another set has lost its place")
	}
}

func BenchmarkHas(b *testing.B) {
	var p seen.Pairs
	now := time.Now()
	p.Add(pair(7, 7), now)
	b.ReportAllocs()
	for b.Loop() {
		p.Has(pair(7, 7), now)
	}
}
