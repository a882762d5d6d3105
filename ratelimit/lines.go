package ratelimit

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// lines bounds how many calls of one key are under way at once: one line of calls
// that wait for each key, first come, first served. A key without calls takes no
// memory. The zero lines is ready for use.
type lines struct {
	mu    sync.Mutex
	byKey map[Key]*line
}

type line struct {
	running int
	waiting list.List // of chan struct{}, each closed when its turn has come
}

const (
	maxInLine = 64              // calls that wait for one key
	maxWait   = 5 * time.Second // for one turn
)

// enter waits for a turn, of which there are so many at once. It reports whether
// the turn came; the caller then calls leave. It returns an error if ctx ends first.
func (l *lines) enter(ctx context.Context, key *Key, turns int) (bool, error) {
	l.mu.Lock()
	at := l.byKey[*key]
	if at == nil {
		if l.byKey == nil {
			l.byKey = make(map[Key]*line)
		}
		at = new(line)
		l.byKey[*key] = at
	}
	if at.running < turns {
		at.running++
		l.mu.Unlock()
		return true, nil
	}
	if at.waiting.Len() >= maxInLine {
		l.mu.Unlock()
		return false, nil
	}
	turn := make(chan struct{})
	place := at.waiting.PushBack(turn)
	l.mu.Unlock()

	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case <-turn:
		return true, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn: // it came at the same moment
		return true, nil
	default:
		at.waiting.Remove(place) // others run, or the turn would have come
		return false, ctx.Err()
	}
}

// leave gives a turn to the next.
func (l *lines) leave(key *Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.byKey[*key]
	if next := at.waiting.Front(); next != nil {
		close(at.waiting.Remove(next).(chan struct{}))
		return
	}
	if at.running--; at.running == 0 {
		delete(l.byKey, *key)
	}
}
