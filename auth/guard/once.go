package guard

import (
	"context"
	"sync"
)

// A memo keeps what was loaded for one request.
type memo struct {
	mu      sync.Mutex
	entries map[any]any // memoKey[T] to func() (T, error)
}

// memoKey has the type of the value in its own, so that a nil interface value
// needs no type assertion and two types under one key are two entries.
type memoKey[T any] struct{ key any }

// Once calls load once per request and key, and returns its result each time,
// errors included. Use a type or a pointer of your own as key. Outside of Identify,
// load is called each time; within an inner Identify it begins anew, because the
// caller may differ.
func Once[T any](ctx context.Context, key any, load func() (T, error)) (T, error) {
	rc, ok := ctx.Value(requestKey{}).(*requestContext)
	if !ok {
		return load()
	}
	return entry(&rc.memo, key, load)()
}

// entry returns the function that loads what key stands for.
func entry[T any](m *memo, key any, load func() (T, error)) func() (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := memoKey[T]{key}
	if e, ok := m.entries[k]; ok {
		return e.(func() (T, error))
	}
	if m.entries == nil {
		m.entries = make(map[any]any)
	}
	// OnceValues: a second goroutine of the request waits for the first
	// without holding up other keys.
	e := sync.OnceValues(load)
	m.entries[k] = e
	return e
}
