package redisstore

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/redisdb"
)

// pkg begins each error.
const pkg = "auth/redisstore"

// Config configures a [Store]. The zero Config is ready for use.
type Config struct {
	// Prefix begins every key: 1 to 64 letters, digits and any of ":._-/". Stores
	// with the same Prefix share their data. Default: "gatewright:auth".
	Prefix string

	// InsecureEviction accepts a server that evicts keys or hides its
	// maxmemory-policy: an attacker who fills its memory signs users out and resets
	// the attempts at challenges.
	InsecureEviction bool

	// InsecureVolatile accepts a server without an append-only file, or that hides
	// it: a restart can restore ended sessions, and end sessions with newer refresh
	// tokens.
	InsecureVolatile bool
}

// A Store implements [auth.RefreshStore], [auth.ChallengeStore] and
// [auth.SessionLister]. It is safe for concurrent use, also by several processes.
type Store struct{ db *redisdb.DB }

var (
	_ auth.RefreshStore   = (*Store)(nil)
	_ auth.ChallengeStore = (*Store)(nil)
	_ auth.SessionLister  = (*Store)(nil)
	_ auth.SessionCounter = (*Store)(nil)
)

const batch = 500 // sessions that one script reads

// New returns a Store that runs its scripts with eval. It does not use the server.
// The error lists all mistakes.
//
// The eval returns an integer of the reply as int64, an array as []any, and a bulk
// string as string or []byte. Each of args is a string. The eval is safe for
// concurrent use, returns when ctx ends, and sends no command twice, except EVAL
// after NOSCRIPT. With rueidis:
//
//	client, err := rueidis.NewClient(rueidis.ClientOption{
//		InitAddress:  []string{"localhost:6379"},
//		DisableRetry: true, DisableCache: true, ConnLifetime: 5 * time.Second,
//	})
//	…
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		words := make([]string, len(args))
//		for i, a := range args {
//			words[i] = a.(string)
//		}
//		return rueidis.NewLuaScript(script).Exec(ctx, client, keys, words).ToAny()
//	}
//
// With redigo:
//
//	pool := &redis.Pool{
//		MaxIdle: 16, MaxConnLifetime: 5 * time.Second,
//		DialContext: func(ctx context.Context) (redis.Conn, error) {
//			return redis.DialContext(ctx, "tcp", "localhost:6379")
//		},
//	}
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		conn, err := pool.GetContext(ctx)
//		if err != nil {
//			return nil, err
//		}
//		defer conn.Close()
//		words := []any{}
//		for _, key := range keys {
//			words = append(words, key)
//		}
//		return redis.NewScript(len(keys), script).DoContext(ctx, conn, append(words, args...)...)
//	}
func New(eval func(ctx context.Context, script string, keys []string, args ...any) (any, error), config Config) (*Store, error) {
	return redisdb.Open(pkg, eval, redisdb.Settings{
		Prefix: config.Prefix, DefaultPrefix: "gatewright:auth",
		AllowEviction: config.InsecureEviction, AllowVolatile: config.InsecureVolatile,
		Keeps: "sessions", Rights: rights,
	}, func(db *redisdb.DB) *Store { return &Store{db} })
}

// rights are the commands of the scripts.
const rights = "+eval +evalsha +info +time +exists +set +hset +hsetnx +hmget +hincrby +del +pexpireat +zadd +zcard +zrem +zrangebylex +zrangebyscore +zrevrangebylex"

// Ready checks that the server is a primary that accepts writes and meets [Config].
// Call it at start and for readiness. Until it succeeded once, other methods call
// it first.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, redisdb.ReadyKey(s.db.Tag()+"all"))
}

// CreateRefresh implements [auth.RefreshStore].
func (s *Store) CreateRefresh(ctx context.Context, session auth.Session, first auth.TokenHash, idle time.Time, most int) (evicted []string, err error) {
	defer func() { err = s.db.Wrap(err, "creating a session") }()
	if session.ID == "" {
		return nil, errors.New("the session has no ID")
	}
	if err := identity.CheckNames(session.ID, session.Subject, session.Tenant, session.Client); err != nil {
		return nil, err
	}
	times, err := redisdb.Micros(session.Created, session.Expires, idle)
	if err != nil {
		return nil, err
	}
	full := fmt.Sprintf("%016s", times[0]) + redisdb.Digest(session.ID) + redisdb.Digest(session.Subject) + redisdb.Digest(session.Tenant)
	list, err := redisdb.Words(s.run(ctx, createScript, s.session(session.ID), s.db.Tag(), full, redisdb.Flag(session.Tenant != ""),
		session.ID, session.Subject, session.Tenant, session.Client, times[0], times[1], hex.EncodeToString(first[:]), times[2], strconv.Itoa(max(most, 1))))
	if err != nil {
		return nil, err
	}
	switch {
	case len(list) > 0 && list[0] == "created":
		return list[1:], nil
	case len(list) == 1 && list[0] == "exists":
		return nil, errors.New("the session exists already")
	}
	return nil, fmt.Errorf("the reply is %.32q instead of created or exists", list)
}

// RotateRefresh implements [auth.RefreshStore] with one script.
func (s *Store) RotateRefresh(ctx context.Context, r auth.Rotation) (_ auth.Rotated, err error) {
	defer func() { err = s.db.Wrap(err, "rotating a refresh token") }()
	if identity.CheckNames(r.Session) != nil {
		return auth.Rotated{}, nil
	}
	times, err := redisdb.Micros(r.Now, r.Now.Add(r.Idle))
	if err != nil {
		return auth.Rotated{}, err
	}
	list, err := redisdb.Words(s.run(ctx, rotateScript, s.session(r.Session), s.db.Tag(),
		hex.EncodeToString(r.Old[:]), hex.EncodeToString(r.New[:]), times[0], strconv.FormatInt(r.Grace.Microseconds(), 10), times[1]))
	if err != nil {
		return auth.Rotated{}, err
	}
	if len(list) != 4 {
		return auth.Rotated{}, fmt.Errorf("the reply has %d parts instead of 4", len(list))
	}
	var out auth.Rotated
	switch list[0] {
	case "unknown":
		return auth.Rotated{}, nil
	case "reused":
		return auth.Rotated{Outcome: auth.RefreshReused}, nil
	case "rotated":
		out.Outcome = auth.RefreshRotated
	case "replayed":
		out.Outcome = auth.RefreshReplayed
	default:
		return auth.Rotated{}, fmt.Errorf("the reply is %.32q instead of an outcome", list[0])
	}
	current, err := hex.DecodeString(list[1])
	if err != nil || len(current) != len(out.Current) {
		return auth.Rotated{}, errors.New("the reply has a malformed hash")
	}
	copy(out.Current[:], current)
	if out.At, err = redisdb.Instant(list[2]); err != nil {
		return auth.Rotated{}, err
	}
	if out.Expires, err = redisdb.Instant(list[3]); err != nil {
		return auth.Rotated{}, err
	}
	if out.Outcome == auth.RefreshRotated && out.Current != r.New {
		return auth.Rotated{}, errors.New("the reply has another hash than the new one")
	}
	return out, nil
}

// RevokeRefresh implements [auth.RefreshStore] with one script for each 500
// sessions. Sessions that it ended before an error stay ended.
func (s *Store) RevokeRefresh(ctx context.Context, which identity.Revocation) (err error) {
	defer func() { err = s.db.Wrap(err, "revoking sessions") }()
	before := ""
	if !which.Before.IsZero() {
		times, err := redisdb.Micros(which.Before)
		if err != nil {
			return err
		}
		before = fmt.Sprintf("%016s", times[0])
	}
	if identity.CheckNames(which.Session, which.Subject, which.Tenant) != nil {
		return nil // no session has such a name
	}
	key, how := "", "many"
	switch {
	case which.Credential != "":
		return errors.New("a Revocation with a Credential cannot be carried out here")
	case which.Session != "":
		key, how = s.session(which.Session), "one"
	case which.Subject != "":
		key = s.db.Tag() + "subject:" + redisdb.Digest(which.Subject)
	case which.Tenant != "":
		key = s.db.Tag() + "tenant:" + redisdb.Digest(which.Tenant)
	case before != "":
		key = s.db.Tag() + "all"
	default:
		return errors.New("a Revocation needs a Session, Subject, Tenant or Before")
	}
	for from := "-"; ; {
		list, err := redisdb.Words(s.run(ctx, revokeScript, key, s.db.Tag(), how, which.Subject, which.Tenant, before, from, strconv.Itoa(batch), which.Spare))
		if err != nil {
			return err
		}
		if len(list) != 2 || list[0] != "done" {
			return fmt.Errorf("the reply is %.32q instead of done and a position", list)
		}
		if list[1] == "" {
			return nil
		}
		if from != "-" && "("+list[1] <= from {
			return errors.New("the reply has an earlier position than the last one")
		}
		from = "(" + list[1]
	}
}

// Sessions implements [auth.SessionLister], by the clock of the server.
func (s *Store) Sessions(ctx context.Context, subject string) (_ []auth.Session, err error) {
	defer func() { err = s.db.Wrap(err, "listing sessions") }()
	if identity.CheckNames(subject) != nil {
		return nil, nil
	}
	const fields = 6
	var all []auth.Session
	for from := "+"; ; {
		list, err := redisdb.Words(s.run(ctx, sessionsScript, s.db.Tag()+"subject:"+redisdb.Digest(subject), s.db.Tag(), from, strconv.Itoa(batch)))
		if err != nil {
			return nil, err
		}
		if len(list) == 0 || (len(list)-1)%fields != 0 || len(list) > 1+batch*fields {
			return nil, fmt.Errorf("the reply has %d parts instead of 1 and %d for each session", len(list), fields)
		}
		last := list[0]
		for rest := list[1:]; len(rest) > 0; rest = rest[fields:] {
			one := auth.Session{ID: rest[0], Subject: rest[1], Tenant: rest[2], Client: rest[3]}
			if one.Subject != subject {
				return nil, errors.New("the reply has a session of another subject")
			}
			if one.Created, err = redisdb.Instant(rest[4]); err != nil {
				return nil, err
			}
			if one.Expires, err = redisdb.Instant(rest[5]); err != nil {
				return nil, err
			}
			all = append(all, one)
			if len(all) == auth.MaxListed {
				return all, nil
			}
		}
		if last == "" {
			return all, nil
		}
		if from != "+" && "("+last >= from {
			return nil, errors.New("the reply has an earlier position than the last one")
		}
		from = "(" + last
	}
}

// CountSessions implements [auth.SessionCounter]. It includes sessions that were idle for
// too long and have not reached their end, and deletes the index entries of at most a
// thousand sessions that have.
func (s *Store) CountSessions(ctx context.Context) (int, error) {
	const doing = "counting sessions"
	word, err := redisdb.Word(s.run(ctx, countScript, s.db.Tag()+"all", s.db.Tag()))
	if err != nil {
		return 0, s.db.Wrap(err, doing)
	}
	n, err := redisdb.Number(word)
	return int(n), s.db.Wrap(err, doing)
}

// AttemptChallenge implements [auth.ChallengeStore].
func (s *Store) AttemptChallenge(ctx context.Context, id auth.TokenHash, limit int, expires time.Time) (bool, error) {
	if limit < 1 {
		return false, nil
	}
	const doing = "counting an attempt"
	if _, err := redisdb.Micros(expires); err != nil {
		return false, s.db.Wrap(err, doing)
	}
	ok, err := redisdb.Yes(s.run(ctx, attemptScript, s.challenge(id), strconv.Itoa(limit), strconv.FormatInt(expires.UnixMilli()+1, 10)))
	return ok, s.db.Wrap(err, doing)
}

// FinishChallenge implements [auth.ChallengeStore].
func (s *Store) FinishChallenge(ctx context.Context, id auth.TokenHash) (bool, error) {
	ok, err := redisdb.Yes(s.run(ctx, finishScript, s.challenge(id)))
	return ok, s.db.Wrap(err, "finishing a challenge")
}

// run runs a script on one key.
func (s *Store) run(ctx context.Context, script, key string, args ...any) (any, error) {
	return s.db.Run(ctx, script, []string{key}, args...)
}

func (s *Store) session(id string) string { return s.db.Tag() + "session:" + redisdb.Digest(id) }

// challenge is in a slot of its own: its script uses no other key.
func (s *Store) challenge(id auth.TokenHash) string {
	return s.db.Prefix() + ":challenge:{" + base64.RawURLEncoding.EncodeToString(id[:]) + "}"
}
