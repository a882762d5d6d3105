package cache_test

import (
	"testing"

	"github.com/gatewright/gatewright/internal/cache"
)

type value struct {
	key   int
	ended bool
}

func TestNewHasAtLeastThePlacesThatAreAskedFor(t *testing.T) {
	for size, want := range map[int]int{0: 1, 1: 1, 4: 1, 5: 2, 8: 2, 1000: 256} {
		if got := len(cache.New[value](size)); got != want {
			t.Errorf("New(%d) has %d sets, want %d", size, got, want)
		}
	}
}

func put(s *cache.Set[value], key int, pick uint8) {
	v := &value{key: key}
	place := s.Put(v, pick, func(old *value) bool { return old.key == key }, func(old *value) bool { return old.ended })
	if place.Load() != v {
		panic("Put returned another place")
	}
}

func keys(s *cache.Set[value]) (all [4]int) {
	for i := range s {
		if v := s[i].Load(); v != nil {
			all[i] = v.key
		}
	}
	return all
}

func TestPutKeepsWhatIsGoodAsLongAsThereIsAnotherPlace(t *testing.T) {
	s := cache.New[value](4).Set(1 << 40)
	for key := 1; key <= 4; key++ {
		put(s, key, 0)
	}
	if got := keys(s); got != [4]int{4, 3, 2, 1} {
		t.Fatalf("four values in four free places: %v", got)
	}
	put(s, 2, 0)
	if got := keys(s); got != [4]int{4, 3, 2, 1} {
		t.Errorf("a value that is there already: %v", got)
	}
	s[1].Load().ended = true
	put(s, 5, 0)
	if got := keys(s); got != [4]int{4, 5, 2, 1} {
		t.Errorf("with one that has ended: %v", got)
	}
	put(s, 6, 7)
	if got := keys(s); got != [4]int{4, 5, 2, 6} {
		t.Errorf("in the place that pick chooses, 7 modulo 4: %v", got)
	}
}

func TestSetDependsOnTheHash(t *testing.T) {
	table := cache.New[value](16)
	put(table.Set(1), 1, 0)
	if keys(table.Set(5)) != keys(table.Set(1)) || keys(table.Set(2)) != ([4]int{}) {
		t.Error("the low bits of the hash do not choose the set")
	}
}
