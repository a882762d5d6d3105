package ticket_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/ticket"
	"github.com/gatewright/gatewright/auth/ticket/tickettest"
)

func TestMemoryConforms(t *testing.T) {
	tickettest.Run(t, func(*testing.T) ticket.Store { return new(ticket.Memory) })
}

func TestMemoryIsBoundedAndForgetsExpiredTickets(t *testing.T) {
	m := &ticket.Memory{MaxTickets: 2}
	now := time.Now()
	issue := func(subject string, at time.Time) error {
		return m.IssueTicket(t.Context(), ticket.Ticket{Purpose: ticket.ResetPassword, Key: [32]byte{subject[0]}, Subject: subject, Created: at, Expires: at.Add(time.Hour)})
	}
	for _, subject := range []string{"a", "b", "b"} {
		if err := issue(subject, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := issue("c", now.Add(time.Minute)); err == nil || errors.Is(err, ticket.ErrNotFound) {
		t.Error(err)
	}
	if err := issue("c", now.Add(time.Hour)); err != nil {
		t.Error(err)
	}
}
