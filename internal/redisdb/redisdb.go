// Package redisdb holds what the Redis stores of this module share: the function
// that runs scripts, prefixes, readiness, replies and errors.
package redisdb

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// An Eval runs a script on the server and returns its reply: an integer as int64,
// an array as []any, a bulk string as string or []byte. Each of args is a string.
// It is safe for concurrent use and returns when ctx ends. It sends nothing
// twice, but EVAL after EVALSHA was answered by NOSCRIPT.
type Eval = func(ctx context.Context, script string, keys []string, args ...any) (any, error)

// Settings are how a store uses the server.
type Settings struct {
	Prefix        string // as the host configured it
	DefaultPrefix string // in place of an empty Prefix

	AllowEviction bool // use a server that evicts
	AllowVolatile bool // use a server without an append-only file

	// Keeps names what the server must not forget, for error texts:
	// "sessions".
	Keeps string

	// Rights are the commands that the scripts call, as ACL SETUSER takes
	// them, for error texts.
	Rights string
}

// A DB is the server of one store. It is safe for concurrent use.
type DB struct {
	pkg      string
	eval     Eval
	settings Settings
	ready    atomic.Bool
}

// New returns a DB for the store of a package, whose path begins each error. It
// returns every mistake in the arguments, and does not call eval.
func New(pkg string, eval Eval, s Settings) (*DB, error) {
	var mistakes []error
	if eval == nil {
		mistakes = append(mistakes, errors.New(pkg+": eval is nil; pass a function that runs a script, as the package documentation shows"))
	}
	if s.Prefix == "" {
		s.Prefix = s.DefaultPrefix
	}
	if len(s.Prefix) > 64 || strings.ContainsFunc(s.Prefix, strange) {
		mistakes = append(mistakes, fmt.Errorf("%s: Config.Prefix is %.100q; use 1 to 64 letters, digits and any of %q", pkg, s.Prefix, ":._-/"))
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return &DB{pkg: pkg, eval: eval, settings: s}, nil
}

// Open returns the store that wrap makes of a DB: see [New]. If an argument is
// wrong, it returns the zero value and all mistakes, joined.
func Open[Store any](pkg string, eval Eval, s Settings, wrap func(*DB) Store) (store Store, err error) {
	db, err := New(pkg, eval, s)
	if err != nil {
		return store, err
	}
	return wrap(db), nil
}

// strange reports whether c is not allowed in a Prefix. Braces would make a hash tag.
func strange(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(":._-/", c))
}

// Prefix returns what begins every key.
func (d *DB) Prefix() string { return d.settings.Prefix }

// Tag returns the prefix as a hash tag, and a colon. A cluster keeps all keys that
// begin with it in one slot.
func (d *DB) Tag() string { return "{" + d.settings.Prefix + "}:" }

// Digest returns 43 characters that represent a name of any length in a key.
func Digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// readyScript sets and deletes KEYS[1] and returns the server's role, maxmemory-policy and whether it has an append-only file. The SET fails
// where writes do: on a replica, without memory or disk, and with too few
// replicas. ARGV tells whether a policy and an append-only file are required;
// INFO may be forbidden if neither is.
const readyScript = `
redis.call('SET', KEYS[1], '1', 'PX', '60000')
redis.call('DEL', KEYS[1])
local function setting(section, name, required)
  local info
  if required == '1' then info = redis.call('INFO', section) else info = redis.pcall('INFO', section) end
  return type(info) == 'string' and string.match(info, name .. ':([^\r\n]*)') or ''
end
return {setting('replication', 'role', '0'), setting('memory', 'maxmemory_policy', ARGV[1]),
  setting('persistence', 'aof_enabled', ARGV[2])}
`

// Ready proves that the server takes writes and keeps them. The error says that
// the server cannot be reached, is a replica, refuses to write, evicts, or has no
// append-only file. The key is one that the scripts of the store may write.
func (d *DB) Ready(ctx context.Context, key string) error {
	return d.Wrap(d.check(ctx, key), "proving a write")
}

func (d *DB) check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	answer, err := Words(d.eval(ctx, readyScript, []string{key}, Flag(!d.settings.AllowEviction), Flag(!d.settings.AllowVolatile)))
	if err != nil {
		return err
	}
	if len(answer) != 3 {
		return fmt.Errorf("the reply has %d parts instead of 3", len(answer))
	}
	return d.Accept(answer[0], answer[1], answer[2])
}

// Accept returns an error if the server has a role, a maxmemory-policy or an
// append-only file that the host does not allow; an empty role is not known. If
// not, [DB.Run] checks no more.
func (d *DB) Accept(role, policy, aof string) error {
	var wrong []error
	if role != "master" && role != "" {
		wrong = append(wrong, fmt.Errorf("%w (its role is %.32q)", ErrReplica, role))
	}
	if policy != "noeviction" && !d.settings.AllowEviction {
		wrong = append(wrong, fmt.Errorf("maxmemory-policy is %.32q and must be noeviction, or the server forgets %s", policy, d.settings.Keeps))
	}
	if aof != "1" && !d.settings.AllowVolatile {
		wrong = append(wrong, fmt.Errorf("aof_enabled is %.32q and must be 1, by appendonly yes and appendfsync always,"+
			" or the server forgets %s when it ends", aof, d.settings.Keeps))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	d.ready.Store(true)
	return nil
}

// Flag returns a boolean as a script reads it.
func Flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

// Run runs a script, after Ready has succeeded once, unless the host allows a
// server that evicts and has no append-only file. It returns the reply of the
// server, and errors as they are.
func (d *DB) Run(ctx context.Context, script string, keys []string, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !d.ready.Load() && !(d.settings.AllowEviction && d.settings.AllowVolatile) {
		if err := d.check(ctx, ReadyKey(keys[0])); err != nil {
			return nil, err
		}
	}
	return d.eval(ctx, script, keys, args...)
}

// RunUnchecked is Run for a script that checks the server itself, or needs no
// check.
func (d *DB) RunUnchecked(ctx context.Context, script string, keys []string, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return d.eval(ctx, script, keys, args...)
}

// ReadyKey returns the key that [DB.Ready] writes if the store uses key. Both are
// in one slot of a cluster if key has a hash tag.
func ReadyKey(key string) string { return key + ":ready" }

// ErrReplica is wrapped by errors of a server that is a replica.
var ErrReplica = errors.New("the server is a replica, which has writes late and takes none;" +
	" connect to the primary, and drop connections on READONLY as the package documentation shows")

// Wrap returns err with the path of the package and the failed operation, and with
// what to do about errors that the host can fix. It returns nil if err is nil.
func (d *DB) Wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch {
	case errors.Is(err, ErrReplica):
	case strings.Contains(text, "READONLY"):
		return fmt.Errorf("%s: %s: %w: %w", d.pkg, doing, ErrReplica, err)
	case strings.Contains(text, "NOPERM"), strings.Contains(text, "ACL failure"), strings.Contains(text, "can't run this command"):
		return fmt.Errorf("%s: %s: %w; the user of the server needs %s and the keys of prefix %s", d.pkg, doing, err, d.settings.Rights, d.settings.Prefix)
	}
	return fmt.Errorf("%s: %s: %w", d.pkg, doing, err)
}

// Word returns a reply that is a string.
func Word(reply any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	switch v := reply.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("the reply is a %T instead of a string", reply)
}

// Words returns a reply that is an array of strings.
func Words(reply any, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	list, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("the reply is a %T instead of an array", reply)
	}
	all := make([]string, len(list))
	for i, v := range list {
		if all[i], err = Word(v, nil); err != nil {
			return nil, fmt.Errorf("the reply has a %T at %d instead of a string", v, i)
		}
	}
	return all, nil
}

// Yes returns a reply that is 0 or 1.
func Yes(reply any, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	switch n, ok := reply.(int64); {
	case ok && n == 0:
		return false, nil
	case ok && n == 1:
		return true, nil
	}
	return false, fmt.Errorf("the reply is a %T instead of 0 or 1", reply)
}

// MaxNumber is the greatest number that Lua, which has doubles only, can distinguish
// from the next.
const MaxNumber = 1 << 53

// Number returns a number that the server wrote in decimal: 0 to [MaxNumber].
func Number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > MaxNumber {
		return 0, fmt.Errorf("the reply has %.32q for a number of 0 to 2^53", s)
	}
	return n, nil
}

// Micros returns times in microseconds since 1970, in decimal. Times before 1970
// and after 2254, which Lua cannot tell apart, are errors.
func Micros(times ...time.Time) ([]string, error) {
	all := make([]string, len(times))
	for i, t := range times {
		n := t.UnixMicro()
		if t.Year() < 1970 || t.Year() > 2254 || n < 0 {
			return nil, fmt.Errorf("a time is in the year %d instead of 1970 to 2254", t.Year())
		}
		all[i] = strconv.FormatInt(n, 10)
	}
	return all, nil
}

// Instant returns the time of one of [Micros].
func Instant(s string) (time.Time, error) {
	n, err := Number(s)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(n), nil
}
