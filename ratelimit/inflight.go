package ratelimit

import "sync"

// flights counts what is in flight in this process, for Concurrent limits. A key
// without a request in flight takes no memory. The zero flights is ready for use.
type flights struct{ shards [64]placeShard }

type placeShard struct {
	mu    sync.Mutex
	taken map[placeKey]int64
	_     [48]byte // a line of the cache for each
}

// A placeKey is what is counted together.
type placeKey struct {
	key   Key
	limit string
}

func (f *flights) shard(k *Key) *placeShard { return &f.shards[k[0]%64] }

// take takes a place for each charge of a Concurrent limit or none, reports
// whether it did, and sets the states of those charges.
func (f *flights) take(charges []Charge, states []State) bool {
	for i := range charges {
		if charges[i].Limit.Kind != Concurrent {
			continue
		}
		if states[i] = f.takeOne(&charges[i]); states[i].Refused {
			f.giveBack(charges[:i])
			for j := range i {
				if charges[j].Limit.Kind == Concurrent {
					states[j].Remaining++
				}
			}
			return false
		}
	}
	return true
}

func (f *flights) takeOne(c *Charge) State {
	shard, k := f.shard(&c.Key), placeKey{c.Key, c.Limit.Name}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	taken := shard.taken[k]
	if taken >= c.Limit.Quota {
		return State{Refused: true}
	}
	if shard.taken == nil {
		shard.taken = make(map[placeKey]int64)
	}
	shard.taken[k] = taken + 1
	return State{Remaining: c.Limit.Quota - taken - 1}
}

// giveBack gives the places back that take took for charges.
func (f *flights) giveBack(charges []Charge) {
	for i := range charges {
		c := &charges[i]
		if c.Limit.Kind != Concurrent {
			continue
		}
		shard, k := f.shard(&c.Key), placeKey{c.Key, c.Limit.Name}
		shard.mu.Lock()
		if left := shard.taken[k] - 1; left > 0 {
			shard.taken[k] = left
		} else {
			delete(shard.taken, k)
		}
		shard.mu.Unlock()
	}
}
