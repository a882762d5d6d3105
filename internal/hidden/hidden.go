// Package hidden keeps derived keys and records in the structures of other
// packages such that printing the structure does not show them.
package hidden

// A Value holds a T behind a func: fmt prints the address of a func, under every
// verb, and encoders leave it out or fail. fmt calls no methods of unexported
// fields, so a Format method would not do. The zero Value holds the zero T.
type Value[T any] struct{ reveal func() T }

// New returns a Value that holds v.
func New[T any](v T) Value[T] { return Value[T]{func() T { return v }} }

// Reveal returns what v holds.
func (v Value[T]) Reveal() T {
	if v.reveal == nil {
		var zero T
		return zero
	}
	return v.reveal()
}
