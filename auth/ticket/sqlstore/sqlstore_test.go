package sqlstore_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/ticket"
	"github.com/gatewright/gatewright/auth/ticket/sqlstore"
	"github.com/gatewright/gatewright/internal/sqldb/sqldbtest"
)

// The conformance suite runs against real databases in the examples module, which
// has their drivers.

func open(t *testing.T, d *sqldbtest.DB, dialect sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(d.Open(t), sqlstore.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// errorsOf returns the error of each method.
func errorsOf(t *testing.T, s *sqlstore.Store, subject string) map[string]error {
	ctx := t.Context()
	_, find := s.FindTicket(ctx, ticket.Use{})
	_, link := s.UseTicket(ctx, ticket.Use{})
	_, code := s.UseTicket(ctx, ticket.Use{ID: "id"})
	_, expired := s.DeleteExpired(ctx, time.Now())
	_, wrong := s.WrongCodes(ctx, subject, "", time.Now())
	return map[string]error{
		"Ready": s.Ready(ctx), "FindTicket": find, "UseTicket": link, "UseTicket of a code": code, "WrongCodes": wrong,
		"IssueTicket":   s.IssueTicket(ctx, ticket.Ticket{Subject: subject}),
		"EndTickets":    s.EndTickets(ctx, ticket.Which{Subject: subject, Except: ticket.UndoEmail, After: time.Now()}),
		"DeleteExpired": expired,
	}
}

func TestADatabaseThatFailsIsAnError(t *testing.T) {
	for _, dialect := range sqldbtest.Dialects {
		for method, err := range errorsOf(t, open(t, &sqldbtest.DB{Fails: "connect"}, dialect), "ada") {
			if !errors.Is(err, sqldbtest.ErrDown) || !strings.HasPrefix(err.Error(), "auth/ticket/sqlstore: ") || errors.Is(err, ticket.ErrNotFound) {
				t.Errorf("%v: %s: %v", dialect, method, err)
			}
		}
	}
}

func TestParametersAreNumberedAsTheyOccur(t *testing.T) {
	for _, dialect := range sqldbtest.Dialects {
		d := &sqldbtest.DB{Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) { return nil, 1 }}
		errorsOf(t, open(t, d, dialect), "ada")
		d.CheckStatements(t)
	}
}

func TestEndTicketsNeedsASubjectOrAnEmail(t *testing.T) {
	d := new(sqldbtest.DB)
	if err := open(t, d, sqlstore.PostgreSQL).EndTickets(t.Context(), ticket.Which{Tenant: "acme"}); err == nil || len(d.Statements()) != 0 {
		t.Error(err, d.Statements())
	}
}

func TestIllFormedSubjectsNeverReachTheDatabase(t *testing.T) {
	for _, subject := range []string{"a\x00", "\xff", strings.Repeat("a", 1025)} {
		d := new(sqldbtest.DB)
		s := open(t, d, sqlstore.PostgreSQL)
		if err := s.IssueTicket(t.Context(), ticket.Ticket{Subject: subject}); err == nil {
			t.Error("IssueTicket returned nil")
		}
		if err := s.EndTickets(t.Context(), ticket.Which{Subject: subject}); err != nil {
			t.Error(err)
		}
		if used, err := s.UseTicket(t.Context(), ticket.Use{ID: subject}); used || err != nil {
			t.Error(used, err)
		}
		if got := d.Statements(); len(got) != 0 {
			t.Errorf("the database was used: %v", got)
		}
	}
}

func TestNewReportsEveryMistakeAndSchemaKnowsItsDialects(t *testing.T) {
	sqldbtest.CheckStore(t, "auth/ticket/sqlstore", sqlstore.Schema, 4, func(db *sql.DB, dialect sqlstore.Dialect) error {
		_, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
		return err
	})
}

func TestDeleteExpiredReturnsHowManyRowsWereDeleted(t *testing.T) {
	now := time.UnixMicro(1_800_000_000_000_000)
	d := &sqldbtest.DB{Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) { return nil, 2 }}
	if n, err := open(t, d, sqlstore.PostgreSQL).DeleteExpired(t.Context(), now); n != 4 || err != nil {
		t.Errorf("%d, %v; want the 2 of each table", n, err)
	}
	all := d.Statements()
	if len(all) != 2 || all[0].Args[0] != now.UnixMicro() || all[1].Args[0] != now.Add(-30*24*time.Hour).UnixMicro() {
		t.Errorf("%v", all)
	}
	d = &sqldbtest.DB{Fails: "DELETE FROM gatewright_wrong_codes", Answer: d.Answer}
	if n, err := open(t, d, sqlstore.PostgreSQL).DeleteExpired(t.Context(), now); n != 2 || !errors.Is(err, sqldbtest.ErrDown) {
		t.Errorf("%d, %v; want what was deleted before the error", n, err)
	}
}
