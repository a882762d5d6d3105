package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
)

// The SQLite set, and in a folder of its own the one for PostgreSQL. Statements
// are the same for both: either database takes $1.
//
//go:embed migrations/*.sql migrations/postgresql/*.sql
var migrations embed.FS

// isPostgres reports whether a database is PostgreSQL, and not SQLite.
func isPostgres(db *sql.DB) bool {
	_, ok := db.Driver().(*stdlib.Driver)
	return ok
}

// dialect chooses what the database speaks.
func dialect[D any](db *sql.DB, sqlite, postgreSQL D) D {
	if isPostgres(db) {
		return postgreSQL
	}
	return sqlite
}

// openDatabase opens the SQLite file and brings its tables up to date.
func openDatabase(ctx context.Context, path string) (*sql.DB, error) {
	// A relative path could mean something else to SQLite: ":memory:" does.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	release, err := lockStart(ctx, path+".lock")
	if err != nil {
		return nil, fmt.Errorf("waiting for another process to open %s: %w", path, err)
	}
	defer release()
	if err := makeFile(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(path, "immediate", // so that no transaction fails for having read first
		"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)"))
	if err != nil {
		return nil, err
	}
	// SQLite has one writer at a time; more connections would wait for its
	// lock asleep instead of in the pool. The third is that of the audit trail.
	db.SetMaxOpenConns(3)
	if err := migrate(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), db.Close())
	}
	return db, nil
}

// dsn names a file to the driver such that no character in its path means
// anything.
func dsn(path, txlock string, pragmas ...string) string {
	name := url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: url.Values{
		"_pragma": pragmas,
		"_txlock": {txlock},
	}.Encode()}
	return name.String()
}

// makeFile makes the file of the database before SQLite would, since it holds
// password hashes, and SQLite would let others read it. One that exists is not
// even opened: closing it again would drop the locks that SQLite has on it.
func makeFile(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// lockStart lets one process at a time open the database: of two that start at
// once both would run the migrations, for which goose has no lock on SQLite.
// It is a transaction in a database of its own, which ends with the process
// whatever happens to it.
func lockStart(ctx context.Context, path string) (release func(), err error) {
	db, err := sql.Open("sqlite", dsn(path, "exclusive", "busy_timeout(30000)"))
	if err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return func() {
		// Nothing was written, and closing gives the lock back in any case.
		_ = tx.Rollback()
		_ = db.Close()
	}, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	provider, err := newProvider(db)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, dialect(db, "migrations", "migrations/postgresql"))
	if err != nil {
		return nil, err
	}
	if !isPostgres(db) {
		return goose.NewProvider(goose.DialectSQLite3, db, files)
	}
	// Of several servers that start at once one migrates, and the others ask
	// every second whether it is done: usually it is, and they wait once.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 10))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
}

// A user is a row of the users table.
type user struct {
	ID            int64
	Username      string
	Email         string
	EmailVerified bool
	FullName      string
	Disabled      bool
	PasswordHash  string
	Roles         identity.Set
	Permissions   identity.Set // beside those of the roles
	Scopes        identity.Set
}

// users is the table of users: the host's side of auth.UserStore and
// auth.PasswordUpdater.
type users struct{ db *sql.DB }

const userColumns = "id, username, email, email_verified, full_name, disabled, password_hash, roles, permissions, scopes"

func (s users) byUsername(ctx context.Context, username string) (*user, error) {
	return scanUser(s.db.QueryRowContext(ctx, "SELECT "+userColumns+" FROM users WHERE username = $1", username))
}

func (s users) byID(ctx context.Context, id string) (*user, error) {
	number, ok := parseID(id)
	if !ok {
		return nil, auth.ErrNotFound
	}
	return userByID(ctx, s.db, number)
}

// parseID reads an ID in the one spelling that it has: strconv alone reads "+6"
// and "06" as well.
func parseID(s string) (int64, bool) {
	id, err := strconv.ParseInt(s, 10, 64)
	return id, err == nil && id > 0 && strconv.FormatInt(id, 10) == s
}

func scanUser(row *sql.Row) (*user, error) {
	var u user
	var roles, permissions, scopes string
	err := row.Scan(&u.ID, &u.Username, &u.Email, &u.EmailVerified, &u.FullName, &u.Disabled, &u.PasswordHash, &roles, &permissions, &scopes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, auth.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	u.Roles, u.Permissions, u.Scopes = identity.ParseSet(roles), identity.ParseSet(permissions), identity.ParseSet(scopes)
	return &u, nil
}

// errTaken is what create returns for a name, or a verified address, of another user.
var errTaken = errors.New("the username is taken")

// create adds u, whose ID the database chooses.
func (s users) create(ctx context.Context, u *user) error { return createUser(ctx, s.db, u) }

// A rower is an *sql.DB or an *sql.Tx.
type rower interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func createUser(ctx context.Context, db rower, u *user) error {
	err := db.QueryRowContext(ctx, `INSERT INTO users
		(username, email, email_key, email_verified, full_name, disabled, password_hash, roles, permissions, scopes, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (username) DO NOTHING RETURNING id`,
		u.Username, u.Email, addressKey(u.Email), u.EmailVerified, u.FullName, u.Disabled, u.PasswordHash, u.Roles.String(), u.Permissions.String(), u.Scopes.String(), time.Now().UnixMicro()).Scan(&u.ID)
	if errors.Is(err, sql.ErrNoRows) || isDuplicate(err) {
		return errTaken
	}
	return err
}

// UserByLogin is of auth.UserStore.
func (s users) UserByLogin(ctx context.Context, login string) (*auth.User, error) {
	return s.forAuth(s.byUsername(ctx, login))
}

// UserByID is of auth.UserStore.
func (s users) UserByID(ctx context.Context, id string) (*auth.User, error) {
	return s.forAuth(s.byID(ctx, id))
}

func (s users) forAuth(u *user, err error) (*auth.User, error) {
	if err != nil {
		return nil, err
	}
	return &auth.User{
		ID:           strconv.FormatInt(u.ID, 10),
		PasswordHash: u.PasswordHash,
		Disabled:     u.Disabled,
		Roles:        u.Roles,
		Scopes:       u.grantable(),
	}, nil
}

// account is what decides about the user's requests today: see auth.Accounts.
func (u *user) account() auth.User {
	return auth.User{ID: strconv.FormatInt(u.ID, 10), Disabled: u.Disabled, Roles: u.rights(), Scopes: u.grantable()}
}

// UpdatePasswordHash is of auth.PasswordUpdater.
func (s users) UpdatePasswordHash(ctx context.Context, id, old, new string) error {
	_, err := s.db.ExecContext(ctx, "UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3", new, id, old)
	return err
}

// changePassword replaces the hash of a user who is not disabled, if it still
// is old, and reports whether it did.
func (s users) changePassword(ctx context.Context, id int64, old, new string) (bool, error) {
	return changed(s.db.ExecContext(ctx, "UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3 AND NOT disabled", new, id, old))
}

// A judgement decides by two users as they are now whether by may change u. Its
// error is that of the change.
type judgement func(by, u *user) error

// setDisabled disables a user or enables one again.
func (s users) setDisabled(ctx context.Context, id, by int64, may judgement, disabled bool) error {
	return s.judged(ctx, id, by, may, "UPDATE users SET disabled = $2 WHERE id = $1", disabled)
}

// setRights gives a user other roles and permissions.
func (s users) setRights(ctx context.Context, id, by int64, may judgement, roles, permissions identity.Set) error {
	return s.judged(ctx, id, by, may, "UPDATE users SET roles = $2, permissions = $3 WHERE id = $1", roles.String(), permissions.String())
}

// delete deletes a user with what is theirs. The ID is not given again.
func (s users) delete(ctx context.Context, id, by int64, may judgement) error {
	return s.judged(ctx, id, by, may, "DELETE FROM users WHERE id = $1")
}

// judged carries out a statement about the user $1 if may agrees, in one
// transaction: of two users who take each other's rights at once one stays.
func (s users) judged(ctx context.Context, id, by int64, may judgement, statement string, args ...any) error {
	return locked(ctx, s.db, func(tx *sql.Tx) error {
		actor, err := userByID(ctx, tx, by)
		if err != nil {
			return err
		}
		u, err := userByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := may(actor, u); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, statement, append([]any{id}, args...)...)
		return err
	}, id, by)
}

func userByID(ctx context.Context, db rower, id int64) (*user, error) {
	return scanUser(db.QueryRowContext(ctx, "SELECT "+userColumns+" FROM users WHERE id = $1", id))
}

// ids returns the IDs of all users.
func (s users) ids(ctx context.Context) ([]int64, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id FROM users ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		all = append(all, id)
	}
	return all, rows.Err()
}

// locked calls f in a transaction for which all others wait that lock one of
// these users. In SQLite that is every transaction. In PostgreSQL two that only
// read what the other one changes would both go by what was there before.
func locked(ctx context.Context, db *sql.DB, f func(*sql.Tx) error, ids ...int64) error {
	var options *sql.TxOptions
	if isPostgres(db) {
		// So that f sees what was done while this waited for the locks.
		options = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if isPostgres(db) {
		slices.Sort(ids) // or two could wait for each other
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, "SELECT 1 FROM users WHERE id = $1 FOR UPDATE", id); err != nil {
				return err
			}
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// changed reports whether a statement changed a row.
func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
