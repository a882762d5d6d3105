package sqlstore_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/sqlstore"
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
	ctx, id := t.Context(), []byte("0123456789abcdef")
	_, list := s.Passkeys(ctx, subject)
	_, one := s.PasskeyByID(ctx, id)
	_, use := s.UsePasskey(ctx, passkey.Use{ID: id})
	return map[string]error{
		"Ready": s.Ready(ctx), "Passkeys": list, "PasskeyByID": one, "UsePasskey": use,
		"AddPasskey":    s.AddPasskey(ctx, passkey.Passkey{Subject: subject, ID: id}, 1),
		"RenamePasskey": s.RenamePasskey(ctx, subject, id, "name"),
		"RemovePasskey": s.RemovePasskey(ctx, subject, id, true),
	}
}

func TestADatabaseThatFailsIsAnError(t *testing.T) {
	for _, dialect := range sqldbtest.Dialects {
		for method, err := range errorsOf(t, open(t, &sqldbtest.DB{Fails: "connect"}, dialect), "ada") {
			if !errors.Is(err, sqldbtest.ErrDown) || !strings.HasPrefix(err.Error(), "auth/passkey/sqlstore: ") || errors.Is(err, passkey.ErrNotFound) {
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

func TestIllFormedSubjectsNeverReachTheDatabase(t *testing.T) {
	for _, subject := range []string{"a\x00", "\xff", strings.Repeat("a", 1025)} {
		d := new(sqldbtest.DB)
		s := open(t, d, sqlstore.PostgreSQL)
		ctx, id := t.Context(), []byte("0123456789abcdef")
		if all, err := s.Passkeys(ctx, subject); len(all) != 0 || err != nil {
			t.Error(all, err)
		}
		if err := s.RenamePasskey(ctx, subject, id, "name"); !errors.Is(err, passkey.ErrNotFound) {
			t.Error(err)
		}
		if err := s.RemovePasskey(ctx, subject, id, true); !errors.Is(err, passkey.ErrNotFound) {
			t.Error(err)
		}
		if err := s.AddPasskey(ctx, passkey.Passkey{Subject: subject, ID: id}, 1); err == nil {
			t.Error("AddPasskey returned nil")
		}
		if got := d.Statements(); len(got) != 0 {
			t.Errorf("the database was used: %v", got)
		}
	}
}

func TestNewReportsEveryMistakeAndSchemaKnowsItsDialects(t *testing.T) {
	sqldbtest.CheckStore(t, "auth/passkey/sqlstore", sqlstore.Schema, 2, func(db *sql.DB, dialect sqlstore.Dialect) error {
		_, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
		return err
	})
}
