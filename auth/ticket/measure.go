package ticket

import (
	"context"
	"errors"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// measuredStore passes the duration of each call to Hooks.Measure. ErrNotFound is a
// success of the call.
type measuredStore struct {
	store Store
	hooks guard.Hooks
}

func (s measuredStore) IssueTicket(ctx context.Context, t Ticket) error {
	begun := s.hooks.Begin()
	err := s.store.IssueTicket(ctx, t)
	s.hooks.Measured(ctx, begun, "store", "ticket.IssueTicket", failure(err))
	return err
}

func (s measuredStore) FindTicket(ctx context.Context, u Use) (Ticket, error) {
	begun := s.hooks.Begin()
	found, err := s.store.FindTicket(ctx, u)
	s.hooks.Measured(ctx, begun, "store", "ticket.FindTicket", failure(err))
	return found, err
}

func (s measuredStore) UseTicket(ctx context.Context, u Use) (bool, error) {
	begun := s.hooks.Begin()
	used, err := s.store.UseTicket(ctx, u)
	s.hooks.Measured(ctx, begun, "store", "ticket.UseTicket", failure(err))
	return used, err
}

func (s measuredStore) WrongCodes(ctx context.Context, subject, tenant string, since time.Time) (int, error) {
	begun := s.hooks.Begin()
	n, err := s.store.WrongCodes(ctx, subject, tenant, since)
	s.hooks.Measured(ctx, begun, "store", "ticket.WrongCodes", failure(err))
	return n, err
}

func (s measuredStore) EndTickets(ctx context.Context, which Which) error {
	begun := s.hooks.Begin()
	err := s.store.EndTickets(ctx, which)
	s.hooks.Measured(ctx, begun, "store", "ticket.EndTickets", failure(err))
	return err
}

// failure returns err, nil if it is ErrNotFound.
func failure(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
