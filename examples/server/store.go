package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
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
		Scopes:       u.Scopes,
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
// enabled at that moment: of two administrators who disable each other at once
// one stays.
func (s users) setDisabled(ctx context.Context, id, by int64, disabled bool) (bool, error) {
	return changed(s.db.ExecContext(ctx, `UPDATE users SET disabled = ?
		WHERE id = ? AND EXISTS (SELECT 1 FROM users WHERE id = ? AND disabled = 0)`, disabled, id, by))
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

// A revoker is a blacklist that survives a restart: what it is told it writes
// to the database before it says so, and what it is asked it answers from
// memory.
type revoker struct {
	db     *sql.DB
	memory blacklist.Memory

	mu     sync.RWMutex
	others map[owner]others
}

// An owner is whose credentials are meant.
type owner struct{ issuer, subject string }

// others are the credentials that were issued before a moment, but for those
// of one session. It is what an identity.Revocation cannot say.
type others struct {
	before  time.Time
	spared  string // the session
	expires time.Time
}

// load reads what an earlier process has revoked.
func (v *revoker) load(ctx context.Context) error {
	rows, err := v.db.QueryContext(ctx, `SELECT issuer, credential, session, subject, tenant, before, expires, spared
		FROM revocations WHERE expires = 0 OR expires > ?`, time.Now().UnixMicro())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r identity.Revocation
		var before, expires int64
		var spared string
		if err := rows.Scan(&r.Issuer, &r.Credential, &r.Session, &r.Subject, &r.Tenant, &before, &expires, &spared); err != nil {
			return err
		}
		r.Before, r.Expires = fromMicro(before), fromMicro(expires)
		if spared != "" {
			v.remember(r, spared)
		} else if err := v.memory.Revoke(ctx, r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Revoke is of auth.Revoker.
func (v *revoker) Revoke(ctx context.Context, r identity.Revocation) error {
	// What the memory does not take must not be stored either, or the next
	// start would fail to load it.
	if err := blacklist.Validate(r); err != nil {
		return err
	}
	if err := v.store(ctx, r, ""); err != nil {
		return err
	}
	return v.memory.Revoke(ctx, r)
}

// revokeOthers revokes what r says, which is all that a subject was issued
// before a moment, but for the credentials of one session. What spared a
// session of that subject earlier spares it no more.
func (v *revoker) revokeOthers(ctx context.Context, r identity.Revocation, spared string) error {
	if r.Issuer == "" || r.Subject == "" || r.Before.IsZero() || r.Expires.IsZero() || spared == "" {
		return errors.New("a revocation of the others needs an issuer, a subject, a moment, an end, and a session to spare")
	}
	if err := v.store(ctx, r, spared); err != nil {
		return err
	}
	v.remember(r, spared)
	return nil
}

func (v *revoker) store(ctx context.Context, r identity.Revocation, spared string) error {
	_, err := v.db.ExecContext(ctx, `INSERT INTO revocations
		(issuer, credential, session, subject, tenant, before, expires, spared) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Issuer, r.Credential, r.Session, r.Subject, r.Tenant, toMicro(r.Before), toMicro(r.Expires), spared)
	return err
}

// remember keeps the latest for each subject: it covers what an earlier one
// does, but for the session that was spared then, whose turn it is now.
func (v *revoker) remember(r identity.Revocation, spared string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.others == nil {
		v.others = make(map[owner]others)
	}
	whose := owner{r.Issuer, r.Subject}
	if !r.Before.Before(v.others[whose].before) {
		v.others[whose] = others{r.Before, spared, r.Expires}
	}
}

// Revoked is of auth.Revoker and token.Revoker.
func (v *revoker) Revoked(ctx context.Context, p *identity.Principal) (bool, error) {
	if revoked, err := v.memory.Revoked(ctx, p); err != nil || revoked {
		return revoked, err
	}
	v.mu.RLock()
	o, ok := v.others[owner{p.Issuer, p.Subject}]
	v.mu.RUnlock()
	return ok && p.Session != o.spared && p.IssuedAt.Before(o.before), nil
}

// forget drops what has expired.
func (v *revoker) forget(ctx context.Context, now time.Time) error {
	v.mu.Lock()
	maps.DeleteFunc(v.others, func(_ owner, o others) bool { return !now.Before(o.expires) })
	v.mu.Unlock()
	_, err := v.db.ExecContext(ctx, "DELETE FROM revocations WHERE expires <> 0 AND expires <= ?", now.UnixMicro())
	return err
}

func toMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicro(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros)
}
