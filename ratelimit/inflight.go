package ratelimit

import "sync"

// inFlight counts the requests in flight in this process, for Concurrent limits. A key
// without requests takes no memory. The zero inFlight is ready for use.
type inFlight struct{ shards [64]inFlightShard }

type inFlightShard struct {
	mu    sync.Mutex
	taken map[slotKey]int64
	_     [48]byte // a line of the cache for each
}

// A slotKey identifies requests that count together.
type slotKey struct {
	key   Key
	limit string
}

func (f *inFlight) shard(k *Key) *inFlightShard { return &f.shards[k[0]%64] }

// take takes a place for each charge of a Concurrent limit or for no charge, reports
// which, and sets the states of these charges.
func (f *inFlight) take(charges []Charge, states []State) bool {
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

func (f *inFlight) takeOne(c *Charge) State {
	shard, k := f.shard(&c.Key), slotKey{c.Key, c.Limit.Name}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	taken := shard.taken[k]
	if taken >= c.Limit.Quota {
		return State{Refused: true}
	}
	if shard.taken == nil {
		shard.taken = make(map[slotKey]int64)
	}
	shard.taken[k] = taken + 1
	return State{Remaining: c.Limit.Quota - taken - 1}
}

// giveBack frees the places of charges.
func (f *inFlight) giveBack(charges []Charge) {
	for i := range charges {
		c := &charges[i]
		if c.Limit.Kind != Concurrent {
			continue
		}
		shard, k := f.shard(&c.Key), slotKey{c.Key, c.Limit.Name}
		shard.mu.Lock()
		if left := shard.taken[k] - 1; left > 0 {
			shard.taken[k] = left
		} else {
			delete(shard.taken, k)
		}
		shard.mu.Unlock()
	}
}
