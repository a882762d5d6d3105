package apikey

import "errors"

// failure returns err, or nil if it is an expected error of a store, for
// Hooks.Measure.
func failure(err error) error {
	for _, expected := range [...]error{ErrNotFound, ErrConflict, ErrTooMany} {
		if errors.Is(err, expected) {
			return nil
		}
	}
	return err
}
