// Package redisstore keeps passkeys in Redis 5 or later, or a compatible server.
//
//	store, err := redisstore.New(eval, redisstore.Config{})
//	…
//	passkeys, err := passkey.New(store, passkey.Config{…})
//
// See [github.com/gatewright/gatewright/auth/redisstore] for eval and servers. Keys
// do not expire.
//
// # Security considerations
//
// If the server loses passkeys, users are locked out. Therefore the Store rejects a
// server that evicts keys or has no append-only file.
package redisstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/internal/redisdb"
)

// pkg begins each error.
const pkg = "auth/passkey/redisstore"

// Config configures a [Store]. The zero Config is ready for use.
type Config struct {
	// Prefix begins every key: 1 to 64 letters, digits and any of ":._-/". Stores
	// with the same Prefix share their data. Default: "gatewright:passkeys".
	Prefix string

	// InsecureEviction accepts a server that evicts keys or hides its
	// maxmemory-policy: an attacker who fills its memory locks users out.
	InsecureEviction bool

	// InsecureVolatile accepts a server without an append-only file, or that hides
	// it: a restart removes all passkeys.
	InsecureVolatile bool
}

// A Store implements [passkey.Store]. It is safe for concurrent use, also by
// several processes.
type Store struct{ db *redisdb.DB }

var _ passkey.Store = (*Store)(nil)

// New returns a Store that runs its scripts with eval: see
// [github.com/gatewright/gatewright/auth/redisstore]. It does not use the server.
// The error lists all mistakes.
func New(eval func(ctx context.Context, script string, keys []string, args ...any) (any, error), config Config) (*Store, error) {
	return redisdb.Open(pkg, eval, redisdb.Settings{
		Prefix: config.Prefix, DefaultPrefix: "gatewright:passkeys",
		AllowEviction: config.InsecureEviction, AllowVolatile: config.InsecureVolatile,
		Keeps: "passkeys", Rights: "+eval +evalsha +info +exists +set +del +hset +hget +hmget +hdel +zadd +zcard +zrange +zrem",
	}, func(db *redisdb.DB) *Store { return &Store{db} })
}

// Ready checks that the server is a primary that accepts writes and meets [Config].
// Call it at start and for readiness. Until it succeeded once, other methods call
// it first.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, redisdb.ReadyKey(s.db.Tag()))
}

// key returns the key of a passkey, and set the key of the passkeys of a subject.
func (s *Store) key(id []byte) string { return s.db.Tag() + "key:" + hex.EncodeToString(id) }

func (s *Store) set(subject string) string {
	return s.db.Tag() + "subject:" + redisdb.Digest(subject)
}

// fields are the fields of the hash of a passkey, in the order of parse.
const fields = `'id', 'subject', 'record', 'handle', 'session', 'name', 'count', 'backed', 'created', 'used'`

// addScript adds the passkey KEYS[1] to the set KEYS[2]. ARGV has the limit, then
// the values of fields.
const addScript = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 'exists' end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[1]) then return 'many' end
redis.call('HSET', KEYS[1], 'id', ARGV[2], 'subject', ARGV[3], 'record', ARGV[4], 'handle', ARGV[5], 'session', ARGV[6],
  'name', ARGV[7], 'count', ARGV[8], 'backed', ARGV[9], 'created', ARGV[10], 'used', ARGV[11])
redis.call('ZADD', KEYS[2], ARGV[10], ARGV[2])
return 'ok'
`

// AddPasskey implements [passkey.Store].
func (s *Store) AddPasskey(ctx context.Context, p passkey.Passkey, max int) (err error) {
	const doing = "adding a passkey"
	if err := identity.CheckNames(p.Subject, p.Session, p.Name); err != nil {
		return s.db.Wrap(err, doing)
	}
	times, err := redisdb.Micros(p.Created, zero(p.Used))
	if err != nil {
		return s.db.Wrap(err, doing)
	}
	word, err := redisdb.Word(s.db.Run(ctx, addScript, []string{s.key(p.ID), s.set(p.Subject)}, strconv.Itoa(max),
		hex.EncodeToString(p.ID), p.Subject, p.Record, hex.EncodeToString(p.Handle), p.Session, p.Name,
		strconv.FormatUint(uint64(p.SignCount), 10), redisdb.Flag(p.BackedUp), times[0], times[1]))
	return s.outcome(word, err, doing)
}

// zero returns 1970 for the zero time, which the server stores as 0.
func zero(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0)
	}
	return t
}

// outcome returns the error of a script that replies with a word.
func (s *Store) outcome(word string, err error, doing string) error {
	switch {
	case err != nil:
		return s.db.Wrap(err, doing)
	case word == "ok":
		return nil
	case word == "exists":
		return passkey.ErrExists
	case word == "many":
		return passkey.ErrTooMany
	case word == "missing":
		return passkey.ErrNotFound
	case word == "last":
		return passkey.ErrLast
	}
	return s.db.Wrap(fmt.Errorf("the reply is %.32q instead of ok, exists, many, missing or last", word), doing)
}

// listScript returns the passkeys of the set KEYS[1]. ARGV[1] begins their keys.
// The HDEL, here and below, deletes nothing: it fails on a replica, which may lack
// a removal.
const listScript = `
redis.call('HDEL', ARGV[1] .. 'none', '')
local all = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  for _, value in ipairs(redis.call('HMGET', ARGV[1] .. id, ` + fields + `)) do all[#all + 1] = value or '' end
end
return all
`

// Passkeys implements [passkey.Store].
func (s *Store) Passkeys(ctx context.Context, subject string) ([]passkey.Passkey, error) {
	const doing = "listing passkeys"
	all := []passkey.Passkey{}
	if identity.CheckNames(subject) != nil {
		return all, nil
	}
	words, err := redisdb.Words(s.db.Run(ctx, listScript, []string{s.set(subject)}, s.db.Tag()+"key:"))
	if err == nil && len(words)%values != 0 {
		err = errors.New("the reply has a wrong length")
	}
	for ; err == nil && len(words) > 0; words = words[values:] {
		var p passkey.Passkey
		if p, err = parse(words[:values]); err == nil && p.Subject != subject {
			err = errDamaged
		}
		all = append(all, p)
	}
	if err != nil {
		return nil, s.db.Wrap(err, doing)
	}
	return all, nil
}

const values = 10 // of a passkey

var errDamaged = errors.New("a stored passkey is damaged")

// parse returns the passkey of the values of fields.
func parse(v []string) (p passkey.Passkey, err error) {
	id, err1 := hex.DecodeString(v[0])
	handle, err2 := hex.DecodeString(v[3])
	count, err3 := strconv.ParseUint(v[6], 10, 32)
	created, err4 := redisdb.Instant(v[8])
	used, err5 := redisdb.Instant(v[9])
	if errors.Join(err1, err2, err3, err4, err5) != nil || len(id) == 0 || v[7] != "0" && v[7] != "1" {
		return passkey.Passkey{}, errDamaged
	}
	if used.UnixMicro() == 0 {
		used = time.Time{}
	}
	return passkey.Passkey{Record: v[2], Subject: v[1], ID: id, Handle: handle, Session: v[4], Name: v[5], SignCount: uint32(count),
		BackedUp: v[7] == "1", Created: created, Used: used}, nil
}

// getScript returns the passkey KEYS[1], or nothing.
const getScript = `
redis.call('HDEL', KEYS[1], '')
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
return redis.call('HMGET', KEYS[1], ` + fields + `)
`

// PasskeyByID implements [passkey.Store].
func (s *Store) PasskeyByID(ctx context.Context, id []byte) (passkey.Passkey, error) {
	return s.one(ctx, "looking a passkey up", getScript, id)
}

// one returns the passkey that a script on the key of an ID replies with.
func (s *Store) one(ctx context.Context, doing, script string, id []byte, args ...any) (passkey.Passkey, error) {
	words, err := redisdb.Words(s.db.Run(ctx, script, []string{s.key(id)}, args...))
	switch {
	case err != nil:
	case len(words) == 0:
		return passkey.Passkey{}, passkey.ErrNotFound
	case len(words) != values:
		err = errors.New("the reply has a wrong length")
	default:
		p, err := parse(words)
		if err == nil && string(p.ID) != string(id) {
			err = errDamaged
		}
		if err == nil {
			return p, nil
		}
		return passkey.Passkey{}, s.db.Wrap(err, doing)
	}
	return passkey.Passkey{}, s.db.Wrap(err, doing)
}

// useScript records a use of the passkey KEYS[1]: ARGV has the counter, the time
// and the backup state. It replies with the passkey as it was before.
const useScript = `
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local was = redis.call('HMGET', KEYS[1], ` + fields + `)
if tonumber(ARGV[1]) > tonumber(was[7]) then redis.call('HSET', KEYS[1], 'count', ARGV[1]) end
if tonumber(ARGV[2]) >= tonumber(was[10]) then redis.call('HSET', KEYS[1], 'used', ARGV[2], 'backed', ARGV[3]) end
return was
`

// UsePasskey implements [passkey.Store].
func (s *Store) UsePasskey(ctx context.Context, u passkey.Use) (previous passkey.Passkey, err error) {
	const doing = "recording the use of a passkey"
	times, err := redisdb.Micros(zero(u.At))
	if err != nil {
		return passkey.Passkey{}, s.db.Wrap(err, doing)
	}
	return s.one(ctx, doing, useScript, u.ID, strconv.FormatUint(uint64(u.SignCount), 10), times[0], redisdb.Flag(u.BackedUp))
}

// renameScript names the passkey KEYS[1] of the subject ARGV[1].
const renameScript = `
if redis.call('HGET', KEYS[1], 'subject') ~= ARGV[1] then return 'missing' end
redis.call('HSET', KEYS[1], 'name', ARGV[2])
return 'ok'
`

// RenamePasskey implements [passkey.Store].
func (s *Store) RenamePasskey(ctx context.Context, subject string, id []byte, name string) error {
	const doing = "renaming a passkey"
	if identity.CheckNames(subject) != nil {
		return passkey.ErrNotFound
	}
	if err := identity.CheckNames(name); err != nil {
		return s.db.Wrap(err, doing)
	}
	word, err := redisdb.Word(s.db.Run(ctx, renameScript, []string{s.key(id)}, subject, name))
	return s.outcome(word, err, doing)
}

// removeScript removes the passkey KEYS[1] of the subject ARGV[1] from the set
// KEYS[2], unless ARGV[2] is 1 and it is the last one. ARGV[3] is its member.
const removeScript = `
if redis.call('HGET', KEYS[1], 'subject') ~= ARGV[1] then return 'missing' end
if ARGV[2] == '1' and redis.call('ZCARD', KEYS[2]) == 1 then return 'last' end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[3])
return 'ok'
`

// RemovePasskey implements [passkey.Store].
func (s *Store) RemovePasskey(ctx context.Context, subject string, id []byte, keepLast bool) error {
	if identity.CheckNames(subject) != nil {
		return passkey.ErrNotFound
	}
	word, err := redisdb.Word(s.db.Run(ctx, removeScript, []string{s.key(id), s.set(subject)}, subject, redisdb.Flag(keepLast), hex.EncodeToString(id)))
	return s.outcome(word, err, "removing a passkey")
}
