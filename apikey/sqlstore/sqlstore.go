// Package sqlstore keeps the records of package apikey in SQLite or PostgreSQL,
// with any database/sql driver.
//
//	_, err = db.ExecContext(ctx, sqlstore.Schema(sqlstore.SQLite)) // or a migration
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
//
// See [github.com/gatewright/gatewright/auth/sqlstore] for databases.
//
// # Security considerations
//
// An attacker with read access cannot make a key from its hash, nor check a guess
// without the pepper. An attacker with write access can revive a key and give it
// any owner and rights: grant access to the application alone.
package sqlstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/sqldb"
)

// pkg begins each error.
const pkg = "apikey/sqlstore"

// A Dialect is an SQL dialect, the same type in all SQL stores.
type Dialect = sqldb.Dialect

// The dialects.
const (
	SQLite     = sqldb.SQLite     // 3.35 or later
	PostgreSQL = sqldb.PostgreSQL // 13 or later
)

// ends is when a key ends, 0 if it was revoked: Record.Ended in SQL. A key has
// ended by now if ends is not after now. The index contains it, so that ended
// keys cost nothing in queries of the others.
const ends = `(CASE WHEN revoked <> 0 THEN 0
	WHEN (successor <> '' OR grace_until <> 0) AND (expires = 0 OR grace_until < expires) THEN grace_until
	WHEN expires <> 0 THEN expires
	ELSE 9223372036854775807 END)`

// Schema returns the statements that create the tables if they do not exist.
// Several processes may execute them at once. Schema panics if d is unknown.
func Schema(d Dialect) string {
	// Times are microseconds since 1970, which both databases compare alike;
	// 0 is none. Sets and networks are JSON.
	return sqldb.Schema(pkg, d, `CREATE TABLE IF NOT EXISTS gatewright_api_keys (
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
CREATE TABLE IF NOT EXISTS gatewright_api_key_networks (
	id         TEXT   NOT NULL,
	network    TEXT   NOT NULL,
	first_used BIGINT NOT NULL,
	PRIMARY KEY (id, network)
);
`)
}

// Config configures a [Store].
type Config struct {
	Dialect Dialect // required

	// MaxPerOwner bounds the keys of an owner that have not ended; see
	// [apikey.KeyBounder]. All processes need the same value, at most
	// [apikey.MaxListed]. Negative: unlimited. Default: 100.
	MaxPerOwner int
}

// A Store implements [apikey.KeyStore] and all its optional interfaces. It is safe
// for concurrent use, also by several processes.
type Store struct {
	db          *sqldb.DB
	maxPerOwner int // 0 for any number
}

var (
	_ apikey.KeyWriter       = (*Store)(nil)
	_ apikey.HashFinder      = (*Store)(nil)
	_ apikey.KeyLister       = (*Store)(nil)
	_ apikey.KeyBounder      = (*Store)(nil)
	_ apikey.UsageRecorder   = (*Store)(nil)
	_ apikey.NetworkRecorder = (*Store)(nil)
)

// New returns a Store on the tables of [Schema] in db, which the host closes. It
// does not use db. The error lists all mistakes.
func New(db *sql.DB, config Config) (*Store, error) {
	shared, err := sqldb.New(pkg, db, config.Dialect)
	if config.MaxPerOwner > apikey.MaxListed {
		err = errors.Join(err, fmt.Errorf("%s: Config.MaxPerOwner is %d; use 1 to %d, or a negative number for no bound",
			pkg, config.MaxPerOwner, apikey.MaxListed))
	}
	if err != nil {
		return nil, err
	}
	if config.MaxPerOwner == 0 {
		config.MaxPerOwner = 100
	}
	return &Store{shared, max(config.MaxPerOwner, 0)}, nil
}

// Ready checks that the database accepts writes, without a visible change. Call it
// at start and for readiness.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, `INSERT INTO gatewright_api_keys (
		id, name, owner, tenant, environment, roles, scopes, active, created, not_before, expires,
		revoked, successor, grace_until, networks, limits, last_used, hash, pepper, version)
		VALUES ($1, '', '', '', '', '[]', '[]', 0, 0, 0, 0, 1, '', 0, '[]', '', 0, '', '-', 0)`,
		`DELETE FROM gatewright_api_keys WHERE id = $1`, "ready "+rand.Text())
}

// KeysPerOwner implements [apikey.KeyBounder].
func (s *Store) KeysPerOwner() int { return s.maxPerOwner }

const columns = `id, name, owner, tenant, environment, roles, scopes, active, created, not_before, expires, revoked,
	successor, grace_until, networks, limits, hash, pepper, last_used, version`

// KeyByID implements [apikey.KeyStore].
func (s *Store) KeyByID(ctx context.Context, id string) (*apikey.Record, error) {
	if identity.CheckNames(id) != nil {
		return nil, apikey.ErrNotFound
	}
	return s.one(ctx, `WHERE id = $1`, id)
}

// KeyByHash implements [apikey.HashFinder].
func (s *Store) KeyByHash(ctx context.Context, hash apikey.Hash) (*apikey.Record, error) {
	if hash == "" {
		return nil, apikey.ErrNotFound
	}
	return s.one(ctx, `WHERE hash = $1 AND pepper = ''`, []byte(hash))
}

func (s *Store) one(ctx context.Context, where string, arg any) (*apikey.Record, error) {
	const doing = "finding a key"
	var row row
	found, err := s.db.Row(ctx, doing, `SELECT `+columns+` FROM gatewright_api_keys `+where, []any{arg}, row.fields()...)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, apikey.ErrNotFound
	}
	r, err := row.record()
	return r, s.db.Wrap(err, doing)
}

// KeysByOwner implements [apikey.KeyLister].
func (s *Store) KeysByOwner(ctx context.Context, owner string) (all []apikey.Record, err error) {
	if identity.CheckNames(owner) != nil {
		return nil, nil
	}
	err = s.db.Query(ctx, "listing keys", `SELECT `+columns+` FROM gatewright_api_keys
		WHERE owner = $1 AND `+ends+` > $2 ORDER BY created DESC, id LIMIT $3`,
		[]any{owner, time.Now().UnixMicro(), apikey.MaxListed}, func(rows *sql.Rows) error {
			var row row
			if err := rows.Scan(row.fields()...); err != nil {
				return err
			}
			r, err := row.record()
			if err == nil {
				all = append(all, *r)
			}
			return err
		})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// A row is columns as the database has them.
type row struct {
	apikey.Record
	roles, scopes, networks                                            string
	hash                                                               []byte
	active, created, notBefore, expires, revoked, graceUntil, lastUsed int64
}

// fields returns where the columns are scanned to.
func (r *row) fields() []any {
	return []any{&r.ID, &r.Name, &r.Owner, &r.Tenant, &r.Environment, &r.roles, &r.scopes, &r.active, &r.created, &r.notBefore, &r.expires, &r.revoked,
		&r.Successor, &r.graceUntil, &r.networks, &r.Limits, &r.hash, &r.PepperID, &r.lastUsed, &r.Version}
}

// record returns the record of a row. A row that cannot be read is an error and
// never a key with fewer restrictions.
func (r *row) record() (*apikey.Record, error) {
	for _, f := range [...]struct {
		text string
		to   any
	}{{r.roles, &r.Roles}, {r.scopes, &r.Scopes}, {r.networks, &r.AllowedPrefixes}} {
		if err := json.Unmarshal([]byte(f.text), f.to); err != nil {
			return nil, fmt.Errorf("key %q: %w", r.ID, err)
		}
		// null is no error to encoding/json, and would be no restriction.
		if !strings.HasPrefix(strings.TrimLeft(f.text, " \t\r\n"), "[") {
			return nil, fmt.Errorf("key %q has %q instead of a JSON array", r.ID, f.text)
		}
	}
	for _, p := range r.AllowedPrefixes {
		if !p.IsValid() {
			return nil, fmt.Errorf("key %q has an invalid network", r.ID)
		}
	}
	if len(r.AllowedPrefixes) == 0 {
		r.AllowedPrefixes = nil
	}
	r.Active, r.Hash = r.active == 1, apikey.Hash(r.hash)
	r.CreatedAt, r.NotBefore, r.ExpiresAt, r.RevokedAt = sqldb.Instant(r.created), sqldb.Instant(r.notBefore), sqldb.Instant(r.expires), sqldb.Instant(r.revoked)
	r.GraceUntil, r.LastUsedAt = sqldb.Instant(r.graceUntil), sqldb.Instant(r.lastUsed)
	return &r.Record, nil
}

// WriteKeys implements [apikey.KeyWriter] in one transaction.
func (s *Store) WriteKeys(ctx context.Context, update, created *apikey.Record) error {
	// The update comes first: of several at once the first locks the row, and the
	// others find another Version. MaxPerOwner is kept by SQLite's single writer, and
	// in PostgreSQL by an advisory lock on the owner.
	return s.db.Tx(ctx, "writing keys", func(tx sqldb.Tx) error {
		if update != nil {
			if err := s.update(ctx, tx, update); err != nil {
				return err
			}
		}
		if created != nil {
			return s.create(ctx, tx, created)
		}
		return nil
	})
}

func (s *Store) update(ctx context.Context, tx sqldb.Tx, r *apikey.Record) error {
	if identity.CheckNames(r.ID) != nil {
		return apikey.ErrNotFound
	}
	args, err := values(r)
	if err != nil {
		return err
	}
	updated, err := tx.Exec(ctx, `UPDATE gatewright_api_keys SET
		name = $1, owner = $2, tenant = $3, environment = $4, roles = $5, scopes = $6, active = $7, created = $8, not_before = $9, expires = $10,
		revoked = $11, successor = $12, grace_until = $13, networks = $14, limits = $15, hash = $16, pepper = $17, version = version + 1
		WHERE id = $18 AND version = $19`, append(args, r.ID, r.Version)...)
	if err != nil || updated == 1 {
		return err
	}
	var version int64
	found, err := tx.Row(ctx, `SELECT version FROM gatewright_api_keys WHERE id = $1`, []any{r.ID}, &version)
	if err != nil {
		return err
	}
	if !found {
		return apikey.ErrNotFound
	}
	return apikey.ErrConflict
}

func (s *Store) create(ctx context.Context, tx sqldb.Tx, r *apikey.Record) error {
	if r.ID == "" {
		return errors.New("the record has no ID")
	}
	args, err := values(r)
	if err != nil {
		return err
	}
	now := time.Now()
	bounded := s.maxPerOwner > 0 && !r.Ended(now)
	if bounded && s.db.Dialect() == PostgreSQL {
		// After the update, whose rows are locked: a transaction that has this
		// lock waits for no row that another transaction changes.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, lockOf(r.Owner)); err != nil {
			return err
		}
		if err := s.count(ctx, tx, r.Owner, now); err != nil {
			return err
		}
	}
	args = append(args, r.ID)
	source := `VALUES (` + created + `)`
	if bounded && s.db.Dialect() == SQLite {
		// A part of the statement, which has the write lock before it counts:
		// a statement of its own would count in an older snapshot.
		source = `SELECT ` + created + ` WHERE ` + living("$19", "$20") + ` < $21`
		args = append(args, r.Owner, now.UnixMicro(), s.maxPerOwner)
	}
	// ON CONFLICT, since each driver has its own error for a conflict.
	inserted, err := tx.Exec(ctx, `INSERT INTO gatewright_api_keys (
		name, owner, tenant, environment, roles, scopes, active, created, not_before, expires,
		revoked, successor, grace_until, networks, limits, hash, pepper, id, last_used, version)
		`+source+` ON CONFLICT DO NOTHING`, args...)
	if err != nil || inserted == 1 {
		return err
	}
	if bounded && s.db.Dialect() == SQLite {
		if err := s.count(ctx, tx, r.Owner, now); err != nil {
			return err
		}
	}
	return apikey.ErrConflict
}

// count returns ErrTooMany if an owner has as many keys as one may have.
func (s *Store) count(ctx context.Context, tx sqldb.Tx, owner string, now time.Time) error {
	var n int
	if _, err := tx.Row(ctx, `SELECT `+living("$1", "$2"), []any{owner, now.UnixMicro()}, &n); err != nil {
		return err
	}
	if n >= s.maxPerOwner {
		return apikey.ErrTooMany
	}
	return nil
}

// created is a new row, with placeholders for what values returns and the ID.
const created = `$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 0, 1`

// living counts the keys of an owner that have not ended by a moment.
func living(owner, now string) string {
	return `(SELECT count(*) FROM gatewright_api_keys WHERE owner = ` + owner + ` AND ` + ends + ` > ` + now + `)`
}

// lockOf is the number of an owner's advisory lock. Two owners with the same
// number only wait for each other.
func lockOf(owner string) int64 {
	sum := sha256.Sum256([]byte("gatewright_api_keys " + owner))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// values returns what update and create have in common, in the order of both.
func values(r *apikey.Record) ([]any, error) {
	if err := identity.CheckNames(r.ID, r.Owner, r.Tenant, r.Successor); err != nil {
		return nil, err
	}
	prefixes := r.AllowedPrefixes
	if prefixes == nil {
		prefixes = []netip.Prefix{}
	}
	for _, p := range prefixes {
		if !p.IsValid() {
			return nil, errors.New("the record has an invalid network in AllowedPrefixes")
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
		sqldb.Micros(r.CreatedAt), sqldb.Micros(r.NotBefore), sqldb.Micros(r.ExpiresAt), sqldb.Micros(r.RevokedAt), r.Successor, sqldb.Micros(r.GraceUntil),
		texts[2], r.Limits, []byte(r.Hash), r.PepperID}, nil
}

// RecordUse implements [apikey.UsageRecorder] in one transaction.
func (s *Store) RecordUse(ctx context.Context, uses []apikey.Use) error {
	if len(uses) == 0 {
		return nil
	}
	return s.db.Tx(ctx, "recording uses", func(tx sqldb.Tx) error {
		for _, u := range uses {
			if identity.CheckNames(u.ID) != nil {
				continue // no key has such an ID
			}
			if _, err := tx.Exec(ctx, `UPDATE gatewright_api_keys SET last_used = $1 WHERE id = $2 AND last_used < $1`, sqldb.Micros(u.At), u.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// RecordNetwork implements [apikey.NetworkRecorder].
func (s *Store) RecordNetwork(ctx context.Context, id string, network netip.Prefix, at time.Time) (networks int, err error) {
	const doing = "recording a network"
	if identity.CheckNames(id) != nil {
		return 0, nil // no key has such an ID
	}
	if !network.IsValid() {
		return 0, s.db.Wrap(errors.New("the network is invalid"), doing)
	}
	var one int
	text := network.String()
	// Without a lock first: most calls are about a network that is there.
	found, err := s.db.Row(ctx, doing, `SELECT 1 FROM gatewright_api_key_networks WHERE id = $1 AND network = $2`, []any{id, text}, &one)
	if err != nil || found {
		return 0, err
	}
	err = s.db.Tx(ctx, doing, func(tx sqldb.Tx) error {
		networks = 0
		inserted, err := tx.Exec(ctx, `INSERT INTO gatewright_api_key_networks (id, network, first_used)
			SELECT id, CAST($1 AS TEXT), CAST($2 AS BIGINT) FROM gatewright_api_keys WHERE id = $3 ON CONFLICT DO NOTHING`, text, sqldb.Micros(at), id)
		if err != nil || inserted == 0 {
			return err
		}
		if _, err := tx.Row(ctx, `SELECT count(*) FROM gatewright_api_key_networks WHERE id = $1`, []any{id}, &networks); err != nil {
			return err
		}
		if networks <= apikey.MaxNetworks {
			return nil
		}
		// The new one stays, also if the clock of another process is ahead.
		_, err = tx.Exec(ctx, `DELETE FROM gatewright_api_key_networks WHERE id = $1 AND network IN (SELECT network
			FROM gatewright_api_key_networks WHERE id = $1 AND network <> $2 ORDER BY first_used, network LIMIT $3)`, id, text, networks-apikey.MaxNetworks)
		networks = apikey.MaxNetworks
		return err
	})
	if err != nil {
		return 0, err
	}
	return networks, nil
}

// DeleteExpired deletes keys that ended before the time, and returns their number.
// To keep a history of the keys of each owner, pass a time some months ago.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time) (deleted int64, err error) {
	err = s.db.Tx(ctx, "deleting ended keys", func(tx sqldb.Tx) error {
		const ended = `revoked <> 0 AND revoked < $1 OR expires <> 0 AND expires < $1 OR grace_until <> 0 AND grace_until < $1`
		// The networks first: afterwards nothing would connect them with these keys.
		if _, err := tx.Exec(ctx, `DELETE FROM gatewright_api_key_networks WHERE id IN (SELECT id FROM gatewright_api_keys WHERE `+ended+`)`, before.UnixMicro()); err != nil {
			return err
		}
		deleted, err = tx.Exec(ctx, `DELETE FROM gatewright_api_keys WHERE `+ended, before.UnixMicro())
		return err
	})
	if err != nil {
		return 0, err
	}
	return deleted, nil
}
