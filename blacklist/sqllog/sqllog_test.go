package sqllog_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/sqllog"
	"github.com/gatewright/gatewright/internal/sqldb/sqldbtest"
)

// The conformance suite runs against real databases in the examples module,
// which has their drivers. Here is what needs none.

var (
	ctx      = context.Background()
	dialects = sqldbtest.Dialects
)

func open(t *testing.T, d *database, dialect sqllog.Dialect) *sqllog.Log {
	t.Helper()
	d.Answer = d.answer
	log, err := sqllog.New(d.Open(t), sqllog.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func entry(id byte) blacklist.Entry {
	return blacklist.Entry{Kind: blacklist.KindSession, ID: blacklist.ID{id}}
}

func TestNewReportsEveryMistakeAndSchemaKnowsItsDialects(t *testing.T) {
	sqldbtest.CheckStore(t, "blacklist/sqllog", sqllog.Schema, 2, func(db *sql.DB, dialect sqllog.Dialect) error {
		_, err := sqllog.New(db, sqllog.Config{Dialect: dialect})
		return err
	})
}

// calls are the methods, and whether they returned something beside the error.
func calls(log *sqllog.Log) map[string]func(context.Context) (bool, error) {
	return map[string]func(context.Context) (bool, error){
		"Append": func(ctx context.Context) (bool, error) {
			n, err := log.Append(ctx, entry(1), entry(2))
			return n != 0, err
		},
		"Since": func(ctx context.Context) (bool, error) {
			all, n, err := log.Since(ctx, 7, 2)
			return all != nil || n != 0, err
		},
		"Ready": func(ctx context.Context) (bool, error) { return false, log.Ready(ctx) },
		"DeleteExpired": func(ctx context.Context) (bool, error) {
			_, err := log.DeleteExpired(ctx, time.Now())
			return false, err
		},
	}
}

// A database that fails at any step is an error, and never nobody revoked.
func TestDatabaseFails(t *testing.T) {
	steps := map[string][]string{
		"Append":        {"connect", "begin", "INSERT INTO gatewright_revocations_end", "INSERT INTO gatewright_revocations ", "count", "commit"},
		"Since":         {"connect", "SELECT", "row"},
		"Ready":         {"connect", "begin", "INSERT", "DELETE", "count", "commit"},
		"DeleteExpired": {"connect", "DELETE", "count"},
	}
	for _, dialect := range dialects {
		for method, all := range steps {
			for _, step := range all {
				log := open(t, &database{DB: sqldbtest.DB{Fails: step}}, dialect)
				if something, err := calls(log)[method](ctx); something || !errors.Is(err, sqldbtest.ErrDown) || !strings.HasPrefix(err.Error(), "blacklist/sqllog: ") {
					t.Errorf("%v: %s: %s fails: %v, %v", dialect, method, step, something, err)
				}
			}
			d := new(database)
			if _, err := calls(open(t, d, dialect))[method](ctx); err != nil {
				t.Errorf("%v: %s: nothing fails: %v", dialect, method, err)
			}
		}
		r, err := blacklist.NewReplica(open(t, &database{DB: sqldbtest.DB{Fails: "SELECT"}}, dialect), blacklist.ReplicaConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Refresh(ctx); !errors.Is(err, sqldbtest.ErrDown) {
			t.Errorf("Refresh: %v", err)
		}
		if _, err := r.Revoked(ctx, &identity.Principal{Issuer: "i", Session: "s"}); !errors.Is(err, blacklist.ErrStale) {
			t.Errorf("Revoked: %v, want ErrStale", err)
		}
	}
}

func TestCancelled(t *testing.T) {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for _, dialect := range dialects {
		d := new(database)
		for name, call := range calls(open(t, d, dialect)) {
			if something, err := call(cancelled); something || !errors.Is(err, context.Canceled) {
				t.Errorf("%v: %s: %v, %v", dialect, name, something, err)
			}
		}
		if len(d.Statements()) != 0 {
			t.Errorf("%v: the database was asked: %v", dialect, d.Statements())
		}
	}
}

func TestMalformedRows(t *testing.T) {
	id, spare := make([]byte, 16), make([]byte, 16)
	id[0], spare[0] = 1, 2
	ok := []driver.Value{int64(9), true, int64(8), int64(2), id, []byte{}, int64(0), int64(0)}
	with := func(changes ...any) []driver.Value {
		row := append([]driver.Value{}, ok...)
		for i := 0; i < len(changes); i += 2 {
			row[changes[i].(int)] = changes[i+1]
		}
		return row
	}
	none := []driver.Value{int64(9), true, nil, nil, nil, nil, nil, nil}
	tests := []struct {
		name string
		rows [][]driver.Value
		want string // of the error
		n    int    // of entries
	}{
		{"an entry", [][]driver.Value{ok}, "", 1},
		{"two entries", [][]driver.Value{ok, with(2, int64(9), 5, spare, 6, int64(1))}, "", 2},
		{"none", [][]driver.Value{none}, "", 0},
		{"a log that never began", [][]driver.Value{{nil, true, nil, nil, nil, nil, nil, nil}}, blacklist.ErrRewound.Error(), 0},
		{"a log that has not come so far", [][]driver.Value{{int64(6), true, nil, nil, nil, nil, nil, nil}}, blacklist.ErrRewound.Error(), 0},
		{"an answer without a row", nil, "no row", 0},
		{"a standby", [][]driver.Value{with(1, false)}, "standby", 0},
		{"a standby without entries", [][]driver.Value{{int64(9), false, nil, nil, nil, nil, nil, nil}}, "standby", 0},
		{"a standby of a log that never began", [][]driver.Value{{nil, false, nil, nil, nil, nil, nil, nil}}, "standby", 0},
		{"no end", [][]driver.Value{with(0, nil)}, "ends with 0", 0},
		{"a number that was read before", [][]driver.Value{with(2, int64(7))}, "entry 7 follows number 7", 0},
		{"a number twice", [][]driver.Value{ok, ok}, "entry 8 follows number 8", 0},
		{"a number behind the end", [][]driver.Value{with(2, int64(10))}, "ends with 9", 0},
		{"a kind that nobody knows", [][]driver.Value{with(3, int64(16))}, "Entry.Kind is 16", 0},
		{"a kind that does not fit", [][]driver.Value{with(3, int64(258))}, "kind is 258", 0},
		{"a negative kind", [][]driver.Value{with(3, int64(-254))}, "kind is -254", 0},
		{"a kind in words", [][]driver.Value{with(3, "session")}, "session", 0},
		{"no kind", [][]driver.Value{with(3, nil)}, "NULL", 0},
		{"no moment", [][]driver.Value{with(6, nil)}, "NULL", 0},
		{"no end of an entry", [][]driver.Value{with(7, nil)}, "NULL", 0},
		{"a short id", [][]driver.Value{with(4, id[:15])}, "15 bytes", 0},
		{"no id", [][]driver.Value{with(4, nil)}, "0 bytes", 0},
		{"a long spare", [][]driver.Value{with(5, make([]byte, 17), 6, int64(1))}, "17 bytes", 0},
		{"a spare without a moment", [][]driver.Value{with(5, spare)}, "Entry.Spare", 0},
		{"a bad one behind a good one", [][]driver.Value{ok, with(2, int64(9), 4, id[:1])}, "entry 9", 0},
	}
	for _, dialect := range dialects {
		for _, tt := range tests {
			t.Run(dialect.String()+": "+tt.name, func(t *testing.T) {
				all, last, err := open(t, &database{rows: &tt.rows}, dialect).Since(ctx, 7, 10)
				if tt.want == "" {
					if err != nil || len(all) != tt.n || last != 7+uint64(tt.n) {
						t.Errorf("%v, %d, %v, want %d entries", all, last, err, tt.n)
					}
					return
				}
				if all != nil || last != 0 || err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, %d, %v, want an error with %q", all, last, err, tt.want)
				}
				if errors.Is(err, blacklist.ErrRewound) != (tt.want == blacklist.ErrRewound.Error()) {
					t.Errorf("ErrRewound: %v", err)
				}
			})
		}
	}
}

// A number above those of the database is not asked for.
func TestFarNumbers(t *testing.T) {
	d := new(database)
	if _, _, err := open(t, d, sqllog.SQLite).Since(ctx, math.MaxInt64+1, 1); !errors.Is(err, blacklist.ErrRewound) || len(d.Statements()) != 0 {
		t.Errorf("%v after %v, want ErrRewound", err, d.Statements())
	}
}

// Rows that were not inserted, and a number too small for the entries, are
// errors, and nothing is committed.
func TestAppendDoesNotTrust(t *testing.T) {
	for _, dialect := range dialects {
		for _, d := range []*database{{last: 1}, {missing: 1}} {
			if n, err := open(t, d, dialect).Append(ctx, entry(1), entry(2)); err == nil || n != 0 || d.Committed() != 0 {
				t.Errorf("%v: %d, %v, committed %d", dialect, n, err, d.Committed())
			}
		}
	}
}

func TestParametersAreNumberedAsTheyOccur(t *testing.T) {
	for _, dialect := range dialects {
		d := &database{deleted: []int64{5000, 5000, 4999}}
		log := open(t, d, dialect)
		all := make([]blacklist.Entry, 1201)
		for i := range all {
			all[i] = entry(byte(i))
		}
		if last, err := log.Append(ctx, all...); last != 9_000_000 || err != nil {
			t.Errorf("%v: %d, %v", dialect, last, err)
		}
		if len(d.numbers) != len(all) || d.numbers[0] != 9_000_000-1200 || d.numbers[1200] != 9_000_000 {
			t.Errorf("%v: the numbers are %v", dialect, d.numbers)
		}
		if _, _, err := log.Since(ctx, 1, 10); err != nil {
			t.Error(err)
		}
		if _, err := log.DeleteExpired(ctx, time.Now()); err != nil {
			t.Error(err)
		}
		if n := len(d.Statements()); n != 1+3+1+3 {
			t.Errorf("%v: %d statements", dialect, n)
		}
		d.CheckStatements(t)
	}
}

// Moments that do not fit into microseconds are cut, and do not wrap around.
func TestDeleteExpiredAtFarMoments(t *testing.T) {
	for _, tt := range []struct {
		before time.Time
		want   func(int64) bool
	}{
		{time.UnixMicro(5), func(n int64) bool { return n == 5 }},
		{time.Unix(math.MaxInt64/2, 0), func(n int64) bool { return n > 1<<62 }},
		{time.Unix(math.MinInt64/2, 0), func(n int64) bool { return n < -1<<62 }},
	} {
		d := new(database)
		if _, err := open(t, d, sqllog.SQLite).DeleteExpired(ctx, tt.before); err != nil || !tt.want(d.before) {
			t.Errorf("%v: %d, %v", tt.before, d.before, err)
		}
	}
}

// database is a database that answers as a test requires.
type database struct {
	sqldbtest.DB
	rows    *[][]driver.Value // of Since; nil: a log that has come to number 9,000,000 and is empty
	last    int64             // number that is given; zero: 9,000,000
	missing int64             // rows that are not inserted
	deleted []int64           // rows by each statement of DeleteExpired

	numbers []int64 // inserted
	before  int64   // of DeleteExpired
}

// empty is a log without entries.
func empty() *database {
	d := new(database)
	d.Answer = d.answer
	return d
}

func (d *database) answer(s sqldbtest.Statement) ([][]driver.Value, int64) {
	switch text := s.Text; {
	case strings.HasPrefix(text, "INSERT INTO gatewright_revocations_end"):
		if d.last != 0 {
			return [][]driver.Value{{d.last, nil, nil}}, 0
		}
		return [][]driver.Value{{int64(9_000_000), nil, "5s"}}, 0
	case len(s.Args) == 1: // of Ready
		return nil, 1
	case strings.HasPrefix(text, "INSERT"):
		for i := 0; i < len(s.Args); i += 6 {
			d.numbers = append(d.numbers, s.Args[i].(int64))
		}
		return nil, int64(len(s.Args)/6) - d.missing
	case strings.HasPrefix(text, "DELETE"):
		d.before = s.Args[0].(int64)
		n := int64(0)
		if len(d.deleted) > 0 {
			n, d.deleted = d.deleted[0], d.deleted[1:]
		}
		return nil, n
	case d.rows != nil:
		return *d.rows, 0
	}
	return [][]driver.Value{{int64(9_000_000), true, nil, nil, nil, nil, nil, nil}}, 0
}
