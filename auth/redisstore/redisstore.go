package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
)

// An Eval runs a script on the server and returns its answer: an integer as
// int64, an array as []any, a bulk string as string. Every one of args is a
// string. It is safe for concurrent use and returns when ctx is over.
//
// It may send EVALSHA, and EVAL after the answer NOSCRIPT, for then nothing has
// run. It must not send anything twice for another reason. The [Store] itself
// sends nothing twice. The package documentation shows it for two clients.
type Eval func(ctx context.Context, script string, keys []string, args ...any) (any, error)

// Config says how a [Store] uses the server. The zero Config is ready for use.
type Config struct {
	// Prefix begins every key: 1 to 64 letters, digits and any of ":._-/".
	// Stores with the same Prefix on one server are one Store.
	// Default: "gatewright:auth".
	Prefix string

	// InsecureEviction uses a server whatever its maxmemory-policy is, or
	// where it does not tell. If it evicts, whoever can fill its memory signs
	// others out, and gives himself the attempts at a challenge back.
	// Default: false, anything but noeviction is an error.
	InsecureEviction bool

	// InsecureVolatile uses a server without an append-only file, or one that
	// does not tell. When it ends, it may come back with an old snapshot:
	// sessions that were ended are good again, and refresh tokens that were
	// replaced meanwhile end theirs.
	// Default: false, a server with appendonly no is an error.
	InsecureVolatile bool
}

// A Store is an [auth.RefreshStore] and [auth.ChallengeStore], and lists
// sessions. It is safe for concurrent use, by several processes too.
type Store struct {
	eval    Eval
	config  Config
	checked atomic.Bool
}

var (
	_ auth.RefreshStore   = (*Store)(nil)
	_ auth.ChallengeStore = (*Store)(nil)
)

const (
	batch     = 500 // sessions that one script looks at
	maxMicros = 9_007_199_254_740_991
)

// New returns a Store on the server that eval reaches. It does not ask the
// server: see [Store.Ready].
func New(eval Eval, config Config) (*Store, error) {
	var wrong []error
	if eval == nil {
		wrong = append(wrong, errors.New("redisstore: eval is nil, want a function that runs a script"))
	}
	if config.Prefix == "" {
		config.Prefix = "gatewright:auth"
	}
	if len(config.Prefix) > 64 || strings.ContainsFunc(config.Prefix, strange) {
		wrong = append(wrong, fmt.Errorf("redisstore: Config.Prefix is %.100q, want 1 to 64 letters, digits and any of %q", config.Prefix, ":._-/"))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return &Store{eval: eval, config: config}, nil
}

// strange reports what a Prefix may not have. Braces would make a hash tag.
func strange(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(":._-/", c))
}

// Ready asks the server whether it keeps what it is told. The error says that it
// cannot be reached, evicts, or has no append-only file. A program calls it when
// it starts. Until it has succeeded once every other method checks first, and
// fails as long as Ready would.
func (s *Store) Ready(ctx context.Context) error {
	return wrap(s.check(ctx), "asking for settings")
}

func (s *Store) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	answer, err := s.eval(ctx, settingsScript, []string{s.base() + "all"})
	if err != nil {
		return err
	}
	list, err := words(answer)
	if err != nil {
		return err
	}
	if len(list) != 2 {
		return fmt.Errorf("the answer has %d parts, want 2", len(list))
	}
	var wrong []error
	if !s.config.InsecureEviction && list[0] != "noeviction" {
		wrong = append(wrong, fmt.Errorf("maxmemory-policy is %.32q, want noeviction: the server would forget sessions", list[0]))
	}
	if !s.config.InsecureVolatile && list[1] != "1" {
		wrong = append(wrong, fmt.Errorf("aof_enabled is %.32q, want 1, by appendonly yes and appendfsync always:"+
			" the server would forget who was signed out when it ends", list[1]))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	s.checked.Store(true)
	return nil
}

// CreateRefresh implements [auth.RefreshStore].
func (s *Store) CreateRefresh(ctx context.Context, session auth.Session, first auth.TokenHash, idle time.Time, most int) (err error) {
	defer func() { err = wrap(err, "creating a session") }()
	if session.ID == "" {
		return errors.New("the session has no ID")
	}
	times, err := micros(session.Created, session.Expires, idle)
	if err != nil {
		return err
	}
	full := fmt.Sprintf("%016s", times[0]) + digest(session.ID) + digest(session.Subject) + digest(session.Tenant)
	hasTenant := "0"
	if session.Tenant != "" {
		hasTenant = "1"
	}
	answer, err := s.run(ctx, createScript, s.session(session.ID), s.base(), full, hasTenant,
		session.ID, session.Subject, session.Tenant, session.Client, times[0], times[1], hex.EncodeToString(first[:]), times[2], strconv.Itoa(max(most, 1)))
	if err != nil {
		return err
	}
	switch said, _ := word(answer); said {
	case "created":
		return nil
	case "exists":
		return errors.New("the session exists already")
	}
	return fmt.Errorf("the answer is a %T, want created or exists", answer)
}

// RotateRefresh implements [auth.RefreshStore]. It is one script.
func (s *Store) RotateRefresh(ctx context.Context, r auth.Rotation) (_ auth.Rotated, err error) {
	defer func() { err = wrap(err, "rotating a refresh token") }()
	times, err := micros(r.Now, r.Now.Add(r.Idle))
	if err != nil {
		return auth.Rotated{}, err
	}
	answer, err := s.run(ctx, rotateScript, s.session(r.Session), s.base(),
		hex.EncodeToString(r.Old[:]), hex.EncodeToString(r.New[:]), times[0], strconv.FormatInt(r.Grace.Microseconds(), 10), times[1])
	if err != nil {
		return auth.Rotated{}, err
	}
	list, err := words(answer)
	if err != nil {
		return auth.Rotated{}, err
	}
	if len(list) != 4 {
		return auth.Rotated{}, fmt.Errorf("the answer has %d parts, want 4", len(list))
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
		return auth.Rotated{}, errors.New("the answer is no outcome")
	}
	current, err := hex.DecodeString(list[1])
	if err != nil || len(current) != len(out.Current) {
		return auth.Rotated{}, errors.New("the current hash is no hash")
	}
	copy(out.Current[:], current)
	if out.At, err = instant(list[2]); err != nil {
		return auth.Rotated{}, err
	}
	if out.Expires, err = instant(list[3]); err != nil {
		return auth.Rotated{}, err
	}
	if out.Outcome == auth.RefreshRotated && out.Current != r.New {
		return auth.Rotated{}, errors.New("the answer contradicts itself")
	}
	return out, nil
}

// RevokeRefresh implements [auth.RefreshStore]: one script for a session, or for each
// 500 sessions of a subject, of a tenant, or of all. What it ended before an
// error stays ended.
func (s *Store) RevokeRefresh(ctx context.Context, which identity.Revocation) (err error) {
	defer func() { err = wrap(err, "revoking sessions") }()
	before := ""
	if !which.Before.IsZero() {
		times, err := micros(which.Before)
		if err != nil {
			return err
		}
		before = fmt.Sprintf("%016s", times[0])
	}
	key, how := "", "many"
	switch {
	case which.Credential != "":
		return errors.New("a Revocation with a Credential cannot be carried out here")
	case which.Session != "":
		key, how = s.session(which.Session), "one"
	case which.Subject != "":
		key = s.base() + "subject:" + digest(which.Subject)
	case which.Tenant != "":
		key = s.base() + "tenant:" + digest(which.Tenant)
	case before != "":
		key = s.base() + "all"
	default:
		return errors.New("a Revocation needs a Session, Subject, Tenant or Before")
	}
	for from := "-"; ; {
		answer, err := s.run(ctx, revokeScript, key, s.base(), how, which.Subject, which.Tenant, before, from, strconv.Itoa(batch), which.Spare)
		if err != nil {
			return err
		}
		list, err := words(answer)
		if err != nil {
			return err
		}
		if len(list) != 2 || list[0] != "done" {
			return errors.New("the answer is not that it is done")
		}
		if list[1] == "" {
			return nil
		}
		if from != "-" && "("+list[1] <= from {
			return errors.New("the answer does not lead on")
		}
		from = "(" + list[1]
	}
}

// Sessions returns the sessions of a subject that can be refreshed now, by the
// server's clock, those that began last first, and no more than [auth.MaxListed]
// of them.
func (s *Store) Sessions(ctx context.Context, subject string) (_ []auth.Session, err error) {
	defer func() { err = wrap(err, "listing sessions") }()
	const fields = 6
	var all []auth.Session
	for from := "+"; ; {
		answer, err := s.run(ctx, sessionsScript, s.base()+"subject:"+digest(subject), s.base(), from, strconv.Itoa(batch))
		if err != nil {
			return nil, err
		}
		list, err := words(answer)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 || (len(list)-1)%fields != 0 || len(list) > 1+batch*fields {
			return nil, fmt.Errorf("the answer has %d parts, want 1 and %d for each session", len(list), fields)
		}
		last := list[0]
		for rest := list[1:]; len(rest) > 0; rest = rest[fields:] {
			one := auth.Session{ID: rest[0], Subject: rest[1], Tenant: rest[2], Client: rest[3]}
			if one.Subject != subject {
				return nil, errors.New("the answer has a session of somebody else")
			}
			if one.Created, err = instant(rest[4]); err != nil {
				return nil, err
			}
			if one.Expires, err = instant(rest[5]); err != nil {
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
			return nil, errors.New("the answer does not lead on")
		}
		from = "(" + last
	}
}

// AttemptChallenge implements [auth.ChallengeStore].
func (s *Store) AttemptChallenge(ctx context.Context, id auth.TokenHash, limit int, expires time.Time) (bool, error) {
	if limit < 1 {
		return false, nil
	}
	if _, err := micros(expires); err != nil {
		return false, wrap(err, "counting an attempt")
	}
	answer, err := s.run(ctx, attemptScript, s.challenge(id), strconv.Itoa(limit), strconv.FormatInt(expires.UnixMilli()+1, 10))
	return yes(answer, err, "counting an attempt")
}

// FinishChallenge implements [auth.ChallengeStore].
func (s *Store) FinishChallenge(ctx context.Context, id auth.TokenHash) (bool, error) {
	answer, err := s.run(ctx, finishScript, s.challenge(id))
	return yes(answer, err, "finishing a challenge")
}

// run runs a script on one key, after the server's settings were found good.
func (s *Store) run(ctx context.Context, script, key string, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.checked.Load() {
		if err := s.check(ctx); err != nil {
			return nil, err
		}
	}
	return s.eval(ctx, script, []string{key}, args...)
}

// base begins the keys of sessions, which are all in one slot.
func (s *Store) base() string { return "{" + s.config.Prefix + "}:" }

func (s *Store) session(id string) string { return s.base() + "session:" + digest(id) }

// challenge is in a slot of its own: nothing else is asked in the same step.
func (s *Store) challenge(id auth.TokenHash) string {
	return s.config.Prefix + ":challenge:{" + base64.RawURLEncoding.EncodeToString(id[:]) + "}"
}

// digest returns 43 characters that stand for a name of any length.
func digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// micros returns times as the scripts take them.
func micros(times ...time.Time) ([]string, error) {
	all := make([]string, len(times))
	for i, t := range times {
		n := t.UnixMicro()
		if t.Year() < 1970 || t.Year() > 2254 || n < 0 {
			return nil, fmt.Errorf("a time is in the year %d, want 1970 to 2254", t.Year())
		}
		all[i] = strconv.FormatInt(n, 10)
	}
	return all, nil
}

func instant(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxMicros {
		return time.Time{}, errors.New("the answer has no time where one is due")
	}
	return time.UnixMicro(n), nil
}

func word(answer any) (string, bool) {
	switch v := answer.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

func words(answer any) ([]string, error) {
	list, ok := answer.([]any)
	if !ok {
		return nil, fmt.Errorf("the answer is a %T, want an array", answer)
	}
	all := make([]string, len(list))
	for i, v := range list {
		if all[i], ok = word(v); !ok {
			return nil, fmt.Errorf("the answer has a %T at %d, want a string", v, i)
		}
	}
	return all, nil
}

func yes(answer any, err error, doing string) (bool, error) {
	if err != nil {
		return false, wrap(err, doing)
	}
	switch n, ok := answer.(int64); {
	case ok && n == 0:
		return false, nil
	case ok && n == 1:
		return true, nil
	}
	return false, wrap(fmt.Errorf("the answer is a %T, want 0 or 1", answer), doing)
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redisstore: %s: %w", doing, err)
}
