package apikey

import (
	"sync"
	"testing"
	"time"
)

// What was loaded before an eviction is not remembered after it, in whatever
// order the two go on.
func TestEvictionBeatsALoadThatBeganBeforeIt(t *testing.T) {
	c := newCache(4, time.Minute, time.Second)
	now := time.Now()
	for i := range 30_000 {
		e := &entry{sum: sum{byte(i), byte(i >> 8)}, record: Record{ID: "0123456789AB"}, loaded: now}
		epoch := c.epoch.Load()
		var both sync.WaitGroup
		both.Go(func() { c.put(e, epoch, now) })
		both.Go(func() { c.evict(e.record.ID) })
		both.Wait()
		if c.get(&e.sum, now) != nil || c.getByID(e.record.ID, now) != nil {
			t.Fatalf("round %d: the record is remembered after it was evicted", i)
		}
	}
}
