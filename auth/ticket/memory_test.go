package ticket_test

import (
	"crypto/sha256"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/ticket"
	"github.com/gatewright/gatewright/auth/ticket/tickettest"
)

func TestMemoryConforms(t *testing.T) {
	tickettest.Run(t, func(*testing.T) ticket.Store { return new(ticket.Memory) })
}

func TestMemoryIsBoundedAndForgetsExpiredTickets(t *testing.T) {
	m := new(ticket.Memory)
	now := time.Now()
	issue := func(subject string, at time.Time) error {
		return m.IssueTicket(t.Context(), ticket.Ticket{Purpose: ticket.ResetPassword, Key: sha256.Sum256([]byte(subject)), Subject: subject, Created: at, Expires: at.Add(time.Hour)})
	}
	for i := range 100_000 {
		if err := issue(strconv.Itoa(i), now); err != nil {
			t.Fatal(err)
		}
	}
	if err := issue("1", now); err != nil { // replaces one
		t.Fatal(err)
	}
	if err := issue("c", now.Add(time.Minute)); err == nil || errors.Is(err, ticket.ErrNotFound) {
		t.Error(err)
	}
	if err := issue("c", now.Add(time.Hour)); err != nil {
		t.Error(err)
	}
}
