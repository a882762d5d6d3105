package ratelimit

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// waitQueues bounds the concurrent calls of a key. Further calls wait in a queue,
// first come, first served. A key without calls takes no memory. The zero waitQueues
// is ready for use.
type waitQueues struct {
	mu    sync.Mutex
	byKey map[Key]*waitQueue
}

type waitQueue struct {
	running int
	waiting list.List // of chan struct{}, each closed when its turn has come
}

const (
	maxQueued = 64              // calls that wait for one key
	maxWait   = 5 * time.Second // for one turn
)

// enter waits until fewer than turns calls of the key run, and reports whether that
// happened in time; then the caller must call leave. It returns an error if ctx ends
// first.
func (q *waitQueues) enter(ctx context.Context, key *Key, turns int) (bool, error) {
	q.mu.Lock()
	at := q.byKey[*key]
	if at == nil {
		if q.byKey == nil {
			q.byKey = make(map[Key]*waitQueue)
		}
		at = new(waitQueue)
		q.byKey[*key] = at
	}
	if at.running < turns {
		at.running++
		q.mu.Unlock()
		return true, nil
	}
	if at.waiting.Len() >= maxQueued {
		q.mu.Unlock()
		return false, nil
	}
	turn := make(chan struct{})
	place := at.waiting.PushBack(turn)
	q.mu.Unlock()

	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case <-turn:
		return true, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-turn: // it came at the same moment
		return true, nil
	default:
		at.waiting.Remove(place) // others run, or the turn would have come
		return false, ctx.Err()
	}
}

// leave admits the next waiting call.
func (q *waitQueues) leave(key *Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.byKey[*key]
	if next := at.waiting.Front(); next != nil {
		close(at.waiting.Remove(next).(chan struct{}))
		return
	}
	if at.running--; at.running == 0 {
		delete(q.byKey, *key)
	}
}
