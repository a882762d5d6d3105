package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/internal/sqldb/sqldbtest"
)

// The conformance suites run against real databases in the examples module,
// which has their drivers. Here is what needs none.

func TestNewReportsEveryMistakeAndSchemaKnowsItsDialects(t *testing.T) {
	sqldbtest.CheckStore(t, "auth/sqlstore", sqlstore.Schema, 3, func(db *sql.DB, dialect sqlstore.Dialect) error {
		_, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
		return err
	})
}

func open(t *testing.T, d *sqldbtest.DB, dialect sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(d.Open(t), sqlstore.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A database that does not answer is an error, and never an outcome.
func TestDatabaseDown(t *testing.T) {
	ctx := context.Background()
	for _, dialect := range sqldbtest.Dialects {
		s := open(t, &sqldbtest.DB{Fails: "connect"}, dialect)
		tests := []struct {
			name string
			call func() (any, error)
		}{
			{"CreateRefresh", func() (any, error) {
				evicted, err := s.CreateRefresh(ctx, auth.Session{ID: "s"}, auth.TokenHash{}, time.Now(), auth.MaxListed)
				return or(evicted != nil), err
			}},
			{"RotateRefresh", func() (any, error) {
				got, err := s.RotateRefresh(ctx, auth.Rotation{Session: "s"})
				if got != (auth.Rotated{}) {
					return got, err
				}
				return nil, err
			}},
			{"RevokeRefresh", func() (any, error) { return nil, s.RevokeRefresh(ctx, identity.Revocation{Session: "s"}) }},
			{"Ready", func() (any, error) { return nil, s.Ready(ctx) }},
			{"Sessions", func() (any, error) { all, err := s.Sessions(ctx, "u"); return or(all != nil), err }},
			{"CountSessions", func() (any, error) { n, err := s.CountSessions(ctx); return or(n != 0), err }},
			{"AttemptChallenge", func() (any, error) {
				ok, err := s.AttemptChallenge(ctx, auth.TokenHash{}, 5, time.Now())
				return or(ok), err
			}},
			{"FinishChallenge", func() (any, error) { ok, err := s.FinishChallenge(ctx, auth.TokenHash{}); return or(ok), err }},
			{"DeleteExpired", func() (any, error) { n, err := s.DeleteExpired(ctx, time.Now()); return or(n != 0), err }},
		}
		for _, tt := range tests {
			t.Run(dialect.String()+": "+tt.name, func(t *testing.T) {
				if got, err := tt.call(); got != nil || !errors.Is(err, sqldbtest.ErrDown) || !strings.HasPrefix(err.Error(), "auth/sqlstore: ") {
					t.Errorf("%v, %v; want an error of the database and nothing else", got, err)
				}
			})
		}
		t.Run(dialect.String()+": what is not asked of the database", func(t *testing.T) {
			if ok, err := s.AttemptChallenge(ctx, auth.TokenHash{}, 0, time.Now()); ok || err != nil {
				t.Errorf("an attempt of none: %v, %v", ok, err)
			}
			for _, which := range []identity.Revocation{{}, {Issuer: "https://any.example"}, {Session: "s", Credential: "c"}} {
				if err := s.RevokeRefresh(ctx, which); err == nil || errors.Is(err, sqldbtest.ErrDown) {
					t.Errorf("RevokeRefresh(%+v): %v, want that it is refused", which, err)
				}
			}
		})
	}
}

func or(set bool) any {
	if set {
		return true
	}
	return nil
}

func TestParametersAreNumberedAsTheyOccur(t *testing.T) {
	ctx := t.Context()
	for _, dialect := range sqldbtest.Dialects {
		d := &sqldbtest.DB{Answer: func(sqldbtest.Statement) ([][]driver.Value, int64) { return nil, 1 }}
		s := open(t, d, dialect)
		now := time.Now()
		s.Ready(ctx)
		s.CreateRefresh(ctx, auth.Session{ID: "s", Created: now, Expires: now}, auth.TokenHash{}, now, auth.MaxListed)
		s.RotateRefresh(ctx, auth.Rotation{Session: "s", Now: now})
		s.RevokeRefresh(ctx, identity.Revocation{Session: "s", Subject: "u", Tenant: "t", Before: now})
		s.Sessions(ctx, "u")
		s.CountSessions(ctx)
		s.AttemptChallenge(ctx, auth.TokenHash{}, 5, now)
		s.FinishChallenge(ctx, auth.TokenHash{})
		s.DeleteExpired(ctx, now)
		if n := len(d.Statements()); n < 12 {
			t.Fatalf("%v: %d statements", dialect, n)
		}
		d.CheckStatements(t)
	}
}

func TestIllFormedNamesNeverReachTheDatabase(t *testing.T) {
	ctx := t.Context()
	for _, bad := range []string{"a\x00", "\xff", strings.Repeat("a", 1025)} {
		d := new(sqldbtest.DB)
		s := open(t, d, sqlstore.PostgreSQL)
		for _, session := range []auth.Session{{ID: bad}, {ID: "s", Subject: bad}, {ID: "s", Tenant: bad}, {ID: "s", Client: bad}} {
			if _, err := s.CreateRefresh(ctx, session, auth.TokenHash{}, time.Now(), auth.MaxListed); err == nil {
				t.Errorf("CreateRefresh(%.20q): no error", session)
			}
		}
		if got, err := s.RotateRefresh(ctx, auth.Rotation{Session: bad}); err != nil || got != (auth.Rotated{}) {
			t.Errorf("RotateRefresh: %+v, %v", got, err)
		}
		for _, which := range []identity.Revocation{{Session: bad}, {Subject: bad}, {Tenant: bad}} {
			if err := s.RevokeRefresh(ctx, which); err != nil {
				t.Errorf("RevokeRefresh: %v", err)
			}
		}
		if all, err := s.Sessions(ctx, bad); len(all) != 0 || err != nil {
			t.Errorf("Sessions: %v, %v", all, err)
		}
		if got := d.Statements(); len(got) != 0 {
			t.Errorf("%.20q reached the database: %v", bad, got)
		}
	}
}
