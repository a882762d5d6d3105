// Package sqlstore keeps the records of API keys in an SQL database that the
// host opens, with whatever driver it likes: SQLite or PostgreSQL.
//
//	db, err := sql.Open("sqlite", "file:app.db?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
//	…
//	_, err = db.ExecContext(ctx, sqlstore.Schema(sqlstore.SQLite)) // or as a migration of yours
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
//	…
//	keys, err := apikey.New(store, apikey.Config{…})
//
// A host that writes its migrations down puts what [Schema] prints into one; a
// table of older keys is read row by row and added with [Store.WriteKeys], as
// the documentation of package apikey shows.
//
// # Durability
//
// A method that returned nil has committed. What that means when the machine
// loses power is the database's affair: for SQLite in WAL mode, set
// synchronous(full) if a revocation must survive that too.
//
// # Security considerations
//
// The table holds keyed hashes. Who reads it cannot make a key from them, or
// tell a good one without the pepper; who writes to it can revive a key, and
// give it any owner and any rights. Grant it to the application alone.
package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/identity"
)

// A Dialect is the SQL that a database speaks.
type Dialect int

// The dialects.
const (
	SQLite     Dialect = iota + 1 // 3.35 or later
	PostgreSQL                    // 13 or later
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	}
	return "Dialect(" + strconv.Itoa(int(d)) + ")"
}

// ends is when a key ends, 0 if it was revoked. A key has ended by now if that
// is not after now: Record.Ended in SQL. The index has it, so that ended keys,
// however many, cost nothing where only the others are asked for.
const ends = `(CASE WHEN revoked <> 0 THEN 0
	WHEN (successor <> '' OR grace_until <> 0) AND (expires = 0 OR grace_until < expires) THEN grace_until
	WHEN expires <> 0 THEN expires
	ELSE 9223372036854775807 END)`

// Schema returns the statements that create the table, for the host to run or
// to copy into a migration of its own. They change nothing where the table
// exists already. It panics on an unknown dialect.
func Schema(d Dialect) string {
	bytes := "BLOB"
	switch d {
	case SQLite:
	case PostgreSQL:
		bytes = "BYTEA"
	default:
		panic("sqlstore: unknown " + d.String())
	}
	// Times are microseconds since 1970, which both databases compare alike;
	// 0 is none. Sets and networks are JSON.
	return strings.ReplaceAll(`CREATE TABLE IF NOT EXISTS gatewright_api_keys (
	id          TEXT     PRIMARY KEY,
	name        TEXT     NOT NULL,
	owner       TEXT     NOT NULL,
	tenant      TEXT     NOT NULL,
	environment TEXT     NOT NULL,
	roles       TEXT     NOT NULL,
	scopes      TEXT     NOT NULL,
	active      SMALLINT NOT NULL,
	created     BIGINT   NOT NULL,
	not_before  BIGINT   NOT NULL,
	expires     BIGINT   NOT NULL,
	revoked     BIGINT   NOT NULL,
	successor   TEXT     NOT NULL,
	grace_until BIGINT   NOT NULL,
	networks    TEXT     NOT NULL,
	limits      TEXT     NOT NULL,
	last_used   BIGINT   NOT NULL,
	hash        BYTES    NOT NULL,
	pepper      TEXT     NOT NULL,
	version     BIGINT   NOT NULL
);
CREATE INDEX IF NOT EXISTS gatewright_api_keys_living ON gatewright_api_keys (owner, `+ends+`);
CREATE UNIQUE INDEX IF NOT EXISTS gatewright_api_keys_hash ON gatewright_api_keys (hash) WHERE pepper = '';
`, "BYTES", bytes)
}

// Config says how to speak to the database.
type Config struct {
	// Dialect is what the database speaks. Required.
	Dialect Dialect

	// MaxPerOwner is how many keys that have not ended an owner may have:
	// see [apikey.KeyBounder]. It holds however many processes write at once,
	// as long as all are told the same. At most 1000, which is as many as
	// KeysByOwner lists. Negative: any number, for an import of older keys,
	// say. Default: 100.
	MaxPerOwner int
}

// A Store is an [apikey.KeyStore] with all that one may be besides. It is safe
// for concurrent use, by several processes too.
type Store struct {
	db          *sql.DB
	dialect     Dialect
	maxPerOwner int // 0 for any number
}

var (
	_ apikey.KeyWriter     = (*Store)(nil)
	_ apikey.HashFinder    = (*Store)(nil)
	_ apikey.KeyLister     = (*Store)(nil)
	_ apikey.KeyBounder    = (*Store)(nil)
	_ apikey.UsageRecorder = (*Store)(nil)
)

// New returns a store on db, whose table exists: see [Schema]. It does not ask the
// database. The host closes db.
func New(db *sql.DB, config Config) (*Store, error) {
	var errs []error
	if db == nil {
		errs = append(errs, errors.New("sqlstore: the *sql.DB is nil"))
	}
	if config.Dialect != SQLite && config.Dialect != PostgreSQL {
		errs = append(errs, fmt.Errorf("sqlstore: Config.Dialect is %v, want SQLite or PostgreSQL", config.Dialect))
	}
	if config.MaxPerOwner > apikey.MaxListed {
		errs = append(errs, fmt.Errorf("sqlstore: Config.MaxPerOwner is %d, want 1 to %d, or a negative one for any number", config.MaxPerOwner, apikey.MaxListed))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if config.MaxPerOwner == 0 {
		config.MaxPerOwner = 100
	}
	return &Store{db, config.Dialect, max(config.MaxPerOwner, 0)}, nil
}

// KeysPerOwner implements [apikey.KeyBounder].
func (s *Store) KeysPerOwner() int { return s.maxPerOwner }

const columns = `id, name, owner, tenant, environment, roles, scopes, active, created, not_before, expires, revoked,
	successor, grace_until, networks, limits, hash, pepper, last_used, version`

// KeyByID implements [apikey.KeyStore].
func (s *Store) KeyByID(ctx context.Context, id string) (*apikey.Record, error) {
	if strings.ContainsRune(id, 0) {
		return nil, apikey.ErrNotFound // PostgreSQL has no such text
	}
	return s.one(ctx, `WHERE id = ?`, id)
}

// KeyByHash implements [apikey.HashFinder].
func (s *Store) KeyByHash(ctx context.Context, hash apikey.Hash) (*apikey.Record, error) {
	if hash == "" {
		return nil, apikey.ErrNotFound
	}
	return s.one(ctx, `WHERE hash = ? AND pepper = ''`, []byte(hash))
}

func (s *Store) one(ctx context.Context, where string, arg any) (*apikey.Record, error) {
	r, err := scan(s.db.QueryRowContext(ctx, s.bind(`SELECT `+columns+` FROM gatewright_api_keys `+where), arg))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, apikey.ErrNotFound
	}
	if err != nil {
		return nil, wrap(err, "finding a key")
	}
	return r, nil
}

// KeysByOwner implements [apikey.KeyLister].
func (s *Store) KeysByOwner(ctx context.Context, owner string) (_ []apikey.Record, err error) {
	defer func() { err = wrap(err, "listing keys") }()
	rows, err := s.db.QueryContext(ctx, s.bind(`SELECT `+columns+` FROM gatewright_api_keys
		WHERE owner = ? AND `+ends+` > ? ORDER BY created DESC, id LIMIT ?`), owner, time.Now().UnixMicro(), apikey.MaxListed)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []apikey.Record
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, *r)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return all, nil
}

// scan reads a row of columns. A row that cannot be read is an error and never
// a key with fewer restrictions.
func scan(row interface{ Scan(...any) error }) (*apikey.Record, error) {
	var r apikey.Record
	var roles, scopes, networks string
	var hash []byte
	var active, created, notBefore, expires, revoked, grace, used int64
	if err := row.Scan(&r.ID, &r.Name, &r.Owner, &r.Tenant, &r.Environment, &roles, &scopes, &active, &created, &notBefore, &expires, &revoked,
		&r.Successor, &grace, &networks, &r.Limits, &hash, &r.PepperID, &used, &r.Version); err != nil {
		return nil, err
	}
	for _, f := range [...]struct {
		text string
		to   any
	}{{roles, &r.Roles}, {scopes, &r.Scopes}, {networks, &r.AllowedPrefixes}} {
		if err := json.Unmarshal([]byte(f.text), f.to); err != nil {
			return nil, fmt.Errorf("key %q: %w", r.ID, err)
		}
		// null is no error to encoding/json, and would be no restriction.
		if !strings.HasPrefix(strings.TrimLeft(f.text, " \t\r\n"), "[") {
			return nil, fmt.Errorf("key %q has %q where an array belongs", r.ID, f.text)
		}
	}
	for _, p := range r.AllowedPrefixes {
		if !p.IsValid() {
			return nil, fmt.Errorf("key %q has a network that is none", r.ID)
		}
	}
	if len(r.AllowedPrefixes) == 0 {
		r.AllowedPrefixes = nil
	}
	r.Active, r.Hash = active == 1, apikey.Hash(hash)
	r.CreatedAt, r.NotBefore, r.ExpiresAt, r.RevokedAt = at(created), at(notBefore), at(expires), at(revoked)
	r.GraceUntil, r.LastUsedAt = at(grace), at(used)
	return &r, nil
}

func at(micro int64) time.Time {
	if micro == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micro)
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// WriteKeys implements [apikey.KeyWriter]. With both records it is one transaction,
// which begins with the update: of several at once the first takes the row's
// lock, and the others find another version.
//
// MaxPerOwner is kept by SQLite's one writer, and in PostgreSQL by an advisory
// lock on the owner that lasts until the transaction ends.
func (s *Store) WriteKeys(ctx context.Context, update, created *apikey.Record) (err error) {
	defer func() { err = wrap(err, "writing keys") }()
	var options *sql.TxOptions
	if s.dialect == PostgreSQL {
		// Each statement must see what was committed before it, or whoever
		// has waited for a lock counts what was there before the wait.
		options = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	tx, err := s.db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if update != nil {
		if err := s.update(ctx, tx, update); err != nil {
			return err
		}
	}
	if created != nil {
		if err := s.create(ctx, tx, created); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *Store) update(ctx context.Context, tx *sql.Tx, r *apikey.Record) error {
	args, err := values(r)
	if err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, s.bind(`UPDATE gatewright_api_keys SET
		name = ?, owner = ?, tenant = ?, environment = ?, roles = ?, scopes = ?, active = ?, created = ?, not_before = ?, expires = ?,
		revoked = ?, successor = ?, grace_until = ?, networks = ?, limits = ?, hash = ?, pepper = ?, version = version + 1
		WHERE id = ? AND version = ?`), append(args, r.ID, r.Version)...)
	if err != nil {
		return err
	}
	if updated, err := result.RowsAffected(); err != nil || updated == 1 {
		return err
	}
	var version int64
	err = tx.QueryRowContext(ctx, s.bind(`SELECT version FROM gatewright_api_keys WHERE id = ?`), r.ID).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return apikey.ErrNotFound
	}
	if err != nil {
		return err
	}
	return apikey.ErrConflict
}

func (s *Store) create(ctx context.Context, tx *sql.Tx, r *apikey.Record) error {
	if r.ID == "" {
		return errors.New("the record has no ID")
	}
	args, err := values(r)
	if err != nil {
		return err
	}
	now := time.Now()
	bounded := s.maxPerOwner > 0 && !r.Ended(now)
	if bounded && s.dialect == PostgreSQL {
		// After the update, whose rows are locked: nobody who has this lock
		// waits for a row that somebody else is changing.
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, lockOf(r.Owner)); err != nil {
			return err
		}
		if err := s.count(ctx, tx, r.Owner, now); err != nil {
			return err
		}
	}
	args = append(args, r.ID)
	source := `VALUES (` + created + `)`
	if bounded && s.dialect == SQLite {
		// A part of the statement, which has the write lock before it counts:
		// a statement of its own would count in an older snapshot.
		source = `SELECT ` + created + ` WHERE ` + living + ` < ?`
		args = append(args, r.Owner, now.UnixMicro(), s.maxPerOwner)
	}
	// Not an error that each driver would spell in its own way.
	result, err := tx.ExecContext(ctx, s.bind(`INSERT INTO gatewright_api_keys (
		name, owner, tenant, environment, roles, scopes, active, created, not_before, expires,
		revoked, successor, grace_until, networks, limits, hash, pepper, id, last_used, version)
		`+source+` ON CONFLICT DO NOTHING`), args...)
	if err != nil {
		return err
	}
	if inserted, err := result.RowsAffected(); err != nil || inserted == 1 {
		return err
	}
	if bounded && s.dialect == SQLite {
		if err := s.count(ctx, tx, r.Owner, now); err != nil {
			return err
		}
	}
	return apikey.ErrConflict
}

// count returns ErrTooMany if an owner has as many keys as one may have.
func (s *Store) count(ctx context.Context, tx *sql.Tx, owner string, now time.Time) error {
	var n int
	if err := tx.QueryRowContext(ctx, s.bind(`SELECT `+living), owner, now.UnixMicro()).Scan(&n); err != nil {
		return err
	}
	if n >= s.maxPerOwner {
		return apikey.ErrTooMany
	}
	return nil
}

// created is a new row, with placeholders for what values returns and the ID.
const created = `?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 1`

// living counts the keys of an owner that have not ended by a moment.
const living = `(SELECT count(*) FROM gatewright_api_keys WHERE owner = ? AND ` + ends + ` > ?)`

// lockOf is the number of an owner's advisory lock. Two owners with the same
// wait for each other and no more.
func lockOf(owner string) int64 {
	sum := sha256.Sum256([]byte("gatewright_api_keys " + owner))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// values returns what update and create have in common, in the order of both.
func values(r *apikey.Record) ([]any, error) {
	prefixes := r.AllowedPrefixes
	if prefixes == nil {
		prefixes = []netip.Prefix{}
	}
	for _, p := range prefixes {
		if !p.IsValid() {
			return nil, errors.New("the record has a network that is none")
		}
	}
	var texts [3]string
	for i, v := range [...]any{r.Roles, r.Scopes, prefixes} {
		if set, ok := v.(identity.Set); ok && strings.ContainsRune(set.String(), 0) {
			return nil, errors.New("the record has a name with a NUL")
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		texts[i] = string(b)
	}
	active := 0
	if r.Active {
		active = 1
	}
	return []any{r.Name, r.Owner, r.Tenant, r.Environment, texts[0], texts[1], active,
		micro(r.CreatedAt), micro(r.NotBefore), micro(r.ExpiresAt), micro(r.RevokedAt), r.Successor, micro(r.GraceUntil),
		texts[2], r.Limits, []byte(r.Hash), r.PepperID}, nil
}

// RecordUse implements [apikey.UsageRecorder]. It is one transaction.
func (s *Store) RecordUse(ctx context.Context, uses []apikey.Use) (err error) {
	defer func() { err = wrap(err, "recording uses") }()
	if len(uses) == 0 {
		return nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, u := range uses {
		if _, err := tx.ExecContext(ctx, s.bind(`UPDATE gatewright_api_keys SET last_used = ? WHERE id = ? AND last_used < ?`),
			micro(u.At), u.ID, micro(u.At)); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// DeleteEnded drops the keys that were revoked, or have expired or been
// replaced, before a moment, and returns how many. They are refused without it;
// it is for the disk, and the host runs it now and then. A moment some months
// ago keeps the trail of who had which key.
func (s *Store) DeleteEnded(ctx context.Context, before time.Time) (int64, error) {
	at := before.UnixMicro()
	result, err := s.db.ExecContext(ctx, s.bind(`DELETE FROM gatewright_api_keys WHERE revoked <> 0 AND revoked < ?
		OR expires <> 0 AND expires < ? OR grace_until <> 0 AND grace_until < ?`), at, at, at)
	if err != nil {
		return 0, wrap(err, "deleting ended keys")
	}
	deleted, err := result.RowsAffected()
	return deleted, wrap(err, "deleting ended keys")
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlstore: %s: %w", doing, err)
}

// bind writes placeholders as the dialect has them. No statement here has a
// question mark of its own.
func (s *Store) bind(statement string) string {
	if s.dialect != PostgreSQL {
		return statement
	}
	var b strings.Builder
	n := 0
	for _, c := range statement {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}
