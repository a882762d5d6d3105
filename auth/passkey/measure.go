package passkey

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/auth/guard"
)

// measuredStore passes the duration of each call to Hooks.Measure. Errors such as
// ErrNotFound count as success.
type measuredStore struct {
	store Store
	hooks guard.Hooks
}

func (s measuredStore) AddPasskey(ctx context.Context, p Passkey, max int) error {
	begun := s.hooks.Begin()
	err := s.store.AddPasskey(ctx, p, max)
	s.hooks.Measured(ctx, begun, "store", "passkey.AddPasskey", failure(err))
	return err
}

func (s measuredStore) Passkeys(ctx context.Context, subject string) ([]Passkey, error) {
	begun := s.hooks.Begin()
	all, err := s.store.Passkeys(ctx, subject)
	s.hooks.Measured(ctx, begun, "store", "passkey.Passkeys", failure(err))
	return all, err
}

func (s measuredStore) PasskeyByID(ctx context.Context, id []byte) (Passkey, error) {
	begun := s.hooks.Begin()
	found, err := s.store.PasskeyByID(ctx, id)
	s.hooks.Measured(ctx, begun, "store", "passkey.PasskeyByID", failure(err))
	return found, err
}

func (s measuredStore) UsePasskey(ctx context.Context, u Use) (Passkey, error) {
	begun := s.hooks.Begin()
	previous, err := s.store.UsePasskey(ctx, u)
	s.hooks.Measured(ctx, begun, "store", "passkey.UsePasskey", failure(err))
	return previous, err
}

func (s measuredStore) RenamePasskey(ctx context.Context, subject string, id []byte, name string) error {
	begun := s.hooks.Begin()
	err := s.store.RenamePasskey(ctx, subject, id, name)
	s.hooks.Measured(ctx, begun, "store", "passkey.RenamePasskey", failure(err))
	return err
}

func (s measuredStore) RemovePasskey(ctx context.Context, subject string, id []byte, keepLast bool) error {
	begun := s.hooks.Begin()
	err := s.store.RemovePasskey(ctx, subject, id, keepLast)
	s.hooks.Measured(ctx, begun, "store", "passkey.RemovePasskey", failure(err))
	return err
}

// failure returns err, or nil if it is an expected error of a store.
func failure(err error) error {
	for _, expected := range []error{ErrNotFound, ErrExists, ErrTooMany, ErrLast} {
		if errors.Is(err, expected) {
			return nil
		}
	}
	return err
}
