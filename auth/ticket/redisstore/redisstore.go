// Package redisstore keeps tickets in Redis 5 or later, or a compatible server.
//
//	store, err := redisstore.New(eval, redisstore.Config{})
//	…
//	tickets, err := ticket.New(store, users, ticket.Config{…})
//
// See [github.com/gatewright/gatewright/auth/redisstore] for eval and servers. Keys
// expire an hour after their ticket.
//
// # Security considerations
//
// If the server loses tickets, users must request new ones. If it loses the count
// of wrong codes, codes can be guessed. Therefore the Store rejects a server that
// evicts keys or has no append-only file.
package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/ticket"
	"github.com/gatewright/gatewright/internal/redisdb"
)

// pkg begins each error.
const pkg = "auth/ticket/redisstore"

// Config configures a [Store]. The zero Config is ready for use.
type Config struct {
	// Prefix begins every key: 1 to 64 letters, digits and any of ":._-/". Stores
	// with the same Prefix share their data. Default: "gatewright:tickets".
	Prefix string

	// InsecureEviction accepts a server that evicts keys or hides its
	// maxmemory-policy: an attacker who fills its memory can guess codes without
	// limit.
	InsecureEviction bool

	// InsecureVolatile accepts a server without an append-only file, or that hides
	// it: a restart removes tickets and the count of wrong codes.
	InsecureVolatile bool
}

// A Store implements [ticket.Store]. It is safe for concurrent use, also by several
// processes.
type Store struct{ db *redisdb.DB }

var _ ticket.Store = (*Store)(nil)

// New returns a Store that runs its scripts with eval: see
// [github.com/gatewright/gatewright/auth/redisstore]. It does not use the server.
// The error lists all mistakes.
func New(eval func(ctx context.Context, script string, keys []string, args ...any) (any, error), config Config) (*Store, error) {
	return redisdb.Open(pkg, eval, redisdb.Settings{
		Prefix: config.Prefix, DefaultPrefix: "gatewright:tickets",
		AllowEviction: config.InsecureEviction, AllowVolatile: config.InsecureVolatile,
		Keeps: "tickets", Rights: "+eval +evalsha +info +exists +get +set +del +hset +hget +hmget +hdel +hincrby +pexpireat +sadd +srem +smembers +zadd +zcount +zremrangebyscore +pexpire",
	}, func(db *redisdb.DB) *Store { return &Store{db} })
}

// Ready checks that the server is a primary that accepts writes and meets [Config].
// Call it at start and for readiness. Until it succeeded once, other methods call
// it first.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, redisdb.ReadyKey(s.db.Tag()))
}

// name returns a digest of strings. Different sequences have different digests.
func name(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// lookup returns the part of a key that identifies a ticket.
func lookup(key [32]byte, id string) string {
	if id != "" {
		return "code:" + name(id)
	}
	return "link:" + hex.EncodeToString(key[:])
}

// A ticket is the hash KEYS base.."ticket:"..slot. base..lookup has the slot, and
// the sets base.."subject:" and base.."email:" have the slots of a subject and of
// an address.
const common = `
local base = ARGV[1]
local function drop(slot)
  local t = redis.call('HMGET', base .. 'ticket:' .. slot, 'lookup', 'subjectset', 'emailset')
  if not t[1] then return end
  redis.call('DEL', base .. t[1], base .. 'ticket:' .. slot)
  redis.call('SREM', base .. t[2], slot)
  redis.call('SREM', base .. t[3], slot)
end
local function find(lookup, purpose, now)
  local slot = redis.call('GET', base .. lookup)
  if not slot then return nil end
  local t = redis.call('HMGET', base .. 'ticket:' .. slot, 'lookup', 'purpose', 'expires')
  if t[1] ~= lookup or t[2] ~= purpose or tonumber(t[3]) <= tonumber(now) then return nil end
  return slot
end
`

// issueScript adds a ticket. ARGV: base, slot, lookup, the sets of subject and
// address, the millisecond in which the keys expire, and the values of fields.
const issueScript = common + `
local slot, key = ARGV[2], base .. 'ticket:' .. ARGV[2]
drop(slot)
redis.call('HSET', key, 'lookup', ARGV[3], 'subjectset', ARGV[4], 'emailset', ARGV[5], 'tries', '0',
  'purpose', ARGV[7], 'key', ARGV[8], 'id', ARGV[9], 'browser', ARGV[10], 'state', ARGV[11], 'subject', ARGV[12],
  'tenant', ARGV[13], 'email', ARGV[14], 'data', ARGV[15], 'created', ARGV[16], 'expires', ARGV[17])
redis.call('SET', base .. ARGV[3], slot)
redis.call('PEXPIREAT', key, ARGV[6])
redis.call('PEXPIREAT', base .. ARGV[3], ARGV[6])
for _, set in ipairs({ARGV[4], ARGV[5]}) do
  for _, other in ipairs(redis.call('SMEMBERS', base .. set)) do
    if redis.call('EXISTS', base .. 'ticket:' .. other) == 0 then redis.call('SREM', base .. set, other) end
  end
  redis.call('SADD', base .. set, slot)
  redis.call('PEXPIRE', base .. set, 2764800000)
end
return 1
`

// IssueTicket implements [ticket.Store].
func (s *Store) IssueTicket(ctx context.Context, t ticket.Ticket) (err error) {
	defer func() { err = s.db.Wrap(err, "issuing a ticket") }()
	if err := identity.CheckNames(string(t.Purpose), t.Tenant, t.Subject, t.Email, t.ID); err != nil {
		return err
	}
	times, err := redisdb.Micros(t.Created, t.Expires)
	if err != nil {
		return err
	}
	slot := name(string(t.Purpose), t.Tenant, t.Subject)
	if t.Subject == "" || t.Purpose == ticket.UndoEmail {
		slot = name(string(t.Purpose), t.Tenant, t.Subject, t.Email)
	}
	gone := strconv.FormatInt(t.Expires.Add(time.Hour).UnixMilli(), 10)
	_, err = redisdb.Yes(s.run(ctx, issueScript, slot, lookup(t.Key, t.ID), "subject:"+name(t.Subject), "email:"+name(t.Email), gone,
		string(t.Purpose), hex.EncodeToString(t.Key[:]), t.ID, hex.EncodeToString(t.Browser[:]), hex.EncodeToString(t.State[:]),
		t.Subject, t.Tenant, t.Email, hex.EncodeToString(t.Data), times[0], times[1]))
	return err
}

// run runs a script with base as its first argument. The key names the slot of a
// cluster.
func (s *Store) run(ctx context.Context, script string, args ...any) (any, error) {
	return s.db.Run(ctx, script, []string{s.db.Tag() + "tickets"}, append([]any{s.db.Tag()}, args...)...)
}

// findScript returns a ticket, or nothing. ARGV: base, lookup, purpose, now. The
// HDEL deletes nothing: it fails on a replica, which may lack a use.
const findScript = common + `
redis.call('HDEL', base .. 'none', '')
local slot = find(ARGV[2], ARGV[3], ARGV[4])
if not slot then return {} end
return redis.call('HMGET', base .. 'ticket:' .. slot, 'key', 'id', 'browser', 'state', 'subject', 'tenant', 'email', 'data', 'created', 'expires')
`

// FindTicket implements [ticket.Store].
func (s *Store) FindTicket(ctx context.Context, u ticket.Use) (ticket.Ticket, error) {
	const doing = "looking a ticket up"
	if identity.CheckNames(u.ID, string(u.Purpose)) != nil {
		return ticket.Ticket{}, ticket.ErrNotFound
	}
	now, err := redisdb.Micros(u.Now)
	if err != nil {
		return ticket.Ticket{}, s.db.Wrap(err, doing)
	}
	v, err := redisdb.Words(s.run(ctx, findScript, lookup(u.Key, u.ID), string(u.Purpose), now[0]))
	switch {
	case err != nil:
		return ticket.Ticket{}, s.db.Wrap(err, doing)
	case len(v) == 0:
		return ticket.Ticket{}, ticket.ErrNotFound
	case len(v) != 10:
		return ticket.Ticket{}, s.db.Wrap(errors.New("the reply has a wrong length"), doing)
	}
	t := ticket.Ticket{Purpose: u.Purpose, ID: v[1], Subject: v[4], Tenant: v[5], Email: v[6]}
	created, err1 := redisdb.Instant(v[8])
	expires, err2 := redisdb.Instant(v[9])
	data, err3 := hex.DecodeString(v[7])
	if errors.Join(err1, err2, err3, unhex(&t.Key, v[0]), unhex(&t.Browser, v[2]), unhex(&t.State, v[3])) != nil || t.ID != u.ID {
		return ticket.Ticket{}, s.db.Wrap(errors.New("a stored ticket is damaged"), doing)
	}
	t.Data, t.Created, t.Expires = data, created, expires
	return t, nil
}

func unhex(to *[32]byte, text string) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(to) {
		return errors.New("a hash has a wrong length")
	}
	*to = [32]byte(b)
	return nil
}

// useScript uses a ticket. ARGV: base, lookup, purpose, now, browser, and for a code
// the key, the two limits, since when wrong codes count, and a new member.
const useScript = common + `
local slot = find(ARGV[2], ARGV[3], ARGV[4])
if not slot then return 0 end
local key = base .. 'ticket:' .. slot
local t = redis.call('HMGET', key, 'browser', 'key', 'id', 'tries', 'subject', 'tenant')
if t[1] ~= ARGV[5] then return 0 end
if t[3] ~= '' then
  local wrong = base .. 'wrong:' .. #t[5] .. ':' .. t[5] .. t[6]
  redis.call('ZREMRANGEBYSCORE', wrong, '-inf', '(' .. ARGV[9])
  if tonumber(t[4]) >= tonumber(ARGV[7]) or redis.call('ZCOUNT', wrong, ARGV[9], '+inf') >= tonumber(ARGV[8]) then return 0 end
  redis.call('HINCRBY', key, 'tries', 1)
  if t[2] ~= ARGV[6] then
    redis.call('ZADD', wrong, ARGV[4], ARGV[10])
    redis.call('PEXPIRE', wrong, 2764800000)
    return 0
  end
end
drop(slot)
return 1
`

// UseTicket implements [ticket.Store].
func (s *Store) UseTicket(ctx context.Context, u ticket.Use) (used bool, err error) {
	defer func() { err = s.db.Wrap(err, "using a ticket") }()
	if identity.CheckNames(u.ID, string(u.Purpose)) != nil {
		return false, nil
	}
	times, err := redisdb.Micros(u.Now)
	if err != nil {
		return false, err
	}
	since := "0"
	if u.ID != "" && u.WrongSince.After(time.Unix(0, 0)) {
		since = strconv.FormatInt(u.WrongSince.UnixMicro(), 10)
	}
	return redisdb.Yes(s.run(ctx, useScript, lookup(u.Key, u.ID), string(u.Purpose), times[0], hex.EncodeToString(u.Browser[:]),
		hex.EncodeToString(u.Key[:]), strconv.Itoa(u.MaxTries), strconv.Itoa(u.MaxWrong), since, rand.Text()))
}

// wrongScript counts wrong codes. ARGV: base, subject, tenant, since.
const wrongScript = common + `
redis.call('HDEL', base .. 'none', '')
return redis.call('ZCOUNT', base .. 'wrong:' .. #ARGV[2] .. ':' .. ARGV[2] .. ARGV[3], ARGV[4], '+inf')
`

// WrongCodes implements [ticket.Store].
func (s *Store) WrongCodes(ctx context.Context, subject, tenant string, since time.Time) (n int, err error) {
	defer func() { err = s.db.Wrap(err, "counting wrong codes") }()
	if identity.CheckNames(subject, tenant) != nil {
		return 0, nil
	}
	reply, err := s.run(ctx, wrongScript, subject, tenant, strconv.FormatInt(since.UnixMicro(), 10))
	if err != nil {
		return 0, err
	}
	count, ok := reply.(int64)
	if !ok || count < 0 || count > redisdb.MaxNumber {
		return 0, errors.New("the reply is not a count")
	}
	return int(count), nil
}

// endScript ends tickets. ARGV: base, the set that has them all, then subject,
// tenant, email, purpose, a purpose that stays, and after which time they were
// created; what is empty selects all.
const endScript = common + `
for _, slot in ipairs(redis.call('SMEMBERS', base .. ARGV[2])) do
  local t = redis.call('HMGET', base .. 'ticket:' .. slot, 'subject', 'tenant', 'email', 'purpose', 'created')
  local function matches(i) return ARGV[i + 2] == '' or ARGV[i + 2] == t[i] end
  if t[1] and matches(1) and matches(2) and matches(3) and matches(4) and t[4] ~= ARGV[7] and
    (ARGV[8] == '' or tonumber(t[5]) > tonumber(ARGV[8])) then drop(slot) end
end
return 1
`

// EndTickets implements [ticket.Store].
func (s *Store) EndTickets(ctx context.Context, which ticket.Which) (err error) {
	defer func() { err = s.db.Wrap(err, "ending tickets") }()
	if which.Subject == "" && which.Email == "" {
		return errors.New("a Subject or an Email is needed")
	}
	if identity.CheckNames(which.Subject, which.Tenant, which.Email, string(which.Purpose), string(which.Except)) != nil {
		return nil // there is no such ticket
	}
	set, after := "subject:"+name(which.Subject), ""
	if which.Subject == "" {
		set = "email:" + name(which.Email)
	}
	if !which.After.IsZero() {
		after = strconv.FormatInt(which.After.UnixMicro(), 10)
	}
	_, err = redisdb.Yes(s.run(ctx, endScript, set, which.Subject, which.Tenant, which.Email, string(which.Purpose), string(which.Except), after))
	return err
}
