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
	"strconv"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
)

//go:embed migrations/*.sql
var migrations embed.FS

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
	// lock asleep instead of in the pool.
	db.SetMaxOpenConns(2)
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
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// A user is a row of the users table.
type user struct {
	ID           int64
	Username     string
	Email        string
	FullName     string
	Disabled     bool
	PasswordHash string
	Roles        identity.Set
	Permissions  identity.Set // beside those of the roles
	Scopes       identity.Set
}

// users is the table of users: the host's side of auth.UserStore and
// auth.PasswordUpdater.
type users struct{ db *sql.DB }

const userColumns = "id, username, email, full_name, disabled, password_hash, roles, permissions, scopes"

func (s users) byUsername(ctx context.Context, username string) (*user, error) {
	return scanUser(s.db.QueryRowContext(ctx, "SELECT "+userColumns+" FROM users WHERE username = ?", username))
}

func (s users) byID(ctx context.Context, id string) (*user, error) {
	// Only the spelling that subjects have: SQLite would find "01" too.
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil || strconv.FormatInt(number, 10) != id {
		return nil, auth.ErrNotFound
	}
	return scanUser(s.db.QueryRowContext(ctx, "SELECT "+userColumns+" FROM users WHERE id = ?", number))
}

func scanUser(row *sql.Row) (*user, error) {
	var u user
	var roles, permissions, scopes string
	err := row.Scan(&u.ID, &u.Username, &u.Email, &u.FullName, &u.Disabled, &u.PasswordHash, &roles, &permissions, &scopes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, auth.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	u.Roles, u.Permissions, u.Scopes = identity.ParseSet(roles), identity.ParseSet(permissions), identity.ParseSet(scopes)
	return &u, nil
}

// errTaken is what create returns for a name that somebody has.
var errTaken = errors.New("the username is taken")

// create adds u, whose ID the database chooses.
func (s users) create(ctx context.Context, u *user) error {
	result, err := s.db.ExecContext(ctx, `INSERT INTO users
		(username, email, full_name, disabled, password_hash, roles, permissions, scopes, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (username) DO NOTHING`,
		u.Username, u.Email, u.FullName, u.Disabled, u.PasswordHash, u.Roles.String(), u.Permissions.String(), u.Scopes.String(), time.Now().UnixMicro())
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errTaken)
	}
	u.ID, err = result.LastInsertId()
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

// UpdatePasswordHash is of auth.PasswordUpdater.
func (s users) UpdatePasswordHash(ctx context.Context, id, old, new string) error {
	_, err := s.db.ExecContext(ctx, "UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?", new, id, old)
	return err
}

// changePassword replaces the hash of a user who is not disabled, if it still
// is old, and reports whether it did.
func (s users) changePassword(ctx context.Context, id int64, old, new string) (bool, error) {
	return changed(s.db.ExecContext(ctx, "UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ? AND disabled = 0", new, id, old))
}

// setDisabled disables a user or enables one again, and reports whether by was
// an enabled administrator at that moment: of two who disable each other at
// once one stays.
func (s users) setDisabled(ctx context.Context, id, by int64, disabled bool) (bool, error) {
	return changed(s.db.ExecContext(ctx, "UPDATE users SET disabled = ? WHERE id = ? AND "+byAdministrator, disabled, id, by))
}

// setRights gives a user other roles and permissions, and reports whether by
// was an enabled administrator at that moment: of two who demote each other at
// once one stays.
func (s users) setRights(ctx context.Context, id, by int64, roles, permissions identity.Set) (bool, error) {
	return changed(s.db.ExecContext(ctx, "UPDATE users SET roles = ?, permissions = ? WHERE id = ? AND "+byAdministrator,
		roles.String(), permissions.String(), id, by))
}

// delete deletes a user with what is theirs, and reports whether by was an
// enabled administrator at that moment. The ID is not given again.
func (s users) delete(ctx context.Context, id, by int64) (bool, error) {
	return changed(s.db.ExecContext(ctx, "DELETE FROM users WHERE id = ? AND "+byAdministrator, id, by))
}

const byAdministrator = `EXISTS (SELECT 1 FROM users WHERE id = ? AND disabled = 0 AND ' ' || roles || ' ' LIKE '% admin %')`

// changed reports whether a statement changed a row.
func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
