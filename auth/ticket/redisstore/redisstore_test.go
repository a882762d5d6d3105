package redisstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/ticket"
	"github.com/gatewright/gatewright/auth/ticket/redisstore"
	"github.com/gatewright/gatewright/internal/redisdb/redisdbtest"
)

// The conformance suite runs on a real server in the examples module.

func TestFailuresAndBadRepliesAreErrors(t *testing.T) {
	for name, server := range map[string]*redisdbtest.Server{
		"down":          {Err: errors.New("down")},
		"a number":      {Answer: int64(-1)},
		"a word":        {Answer: "perhaps"},
		"a short array": {Answer: []any{"1"}},
		"a damaged one": {Answer: []any{"zz", "", "", "", "", "", "", "", "0", "0"}},
	} {
		s, err := redisstore.New(server.Eval, redisstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, now := t.Context(), time.Now()
		_, find := s.FindTicket(ctx, ticket.Use{Now: now})
		_, use := s.UseTicket(ctx, ticket.Use{Now: now})
		_, wrong := s.WrongCodes(ctx, "ada", "", now)
		for method, err := range map[string]error{
			"FindTicket": find, "UseTicket": use, "WrongCodes": wrong,
			"IssueTicket": s.IssueTicket(ctx, ticket.Ticket{Subject: "ada", Created: now, Expires: now}),
			"EndTickets":  s.EndTickets(ctx, ticket.Which{Subject: "ada"}),
		} {
			if err == nil || errors.Is(err, ticket.ErrNotFound) || !strings.HasPrefix(err.Error(), "auth/ticket/redisstore: ") {
				t.Errorf("%s: %s: %v", name, method, err)
			}
		}
	}
}

func TestIllFormedSubjectsNeverReachTheServer(t *testing.T) {
	server := &redisdbtest.Server{Err: errors.New("it was used")}
	s, err := redisstore.New(server.Eval, redisstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"a\x00", "\xff", strings.Repeat("a", 1025)} {
		if err := s.IssueTicket(t.Context(), ticket.Ticket{Subject: subject}); err == nil {
			t.Error("IssueTicket returned nil")
		}
		if err := s.EndTickets(t.Context(), ticket.Which{Subject: subject}); err != nil {
			t.Error(err)
		}
		if used, err := s.UseTicket(t.Context(), ticket.Use{ID: subject}); used || err != nil {
			t.Error(used, err)
		}
	}
	if err := s.EndTickets(t.Context(), ticket.Which{Tenant: "acme"}); err == nil {
		t.Error("EndTickets returned nil without a subject or an address")
	}
	if len(server.Calls) != 0 {
		t.Errorf("%v", server.Calls)
	}
}

func TestNewReportsEveryMistake(t *testing.T) {
	_, err := redisstore.New(nil, redisstore.Config{Prefix: "a{b}"})
	if err == nil || !strings.Contains(err.Error(), "eval is nil") || !strings.Contains(err.Error(), "Config.Prefix") {
		t.Error(err)
	}
}
