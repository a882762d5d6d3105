package redisstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/totp"
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
	// Default: "gatewright:totp".
	Prefix string

	// InsecureEviction uses a server whatever its maxmemory-policy is, or
	// where it does not tell. If it evicts, whoever can fill its memory can
	// make it forget a second factor: then the password is enough.
	// Default: false, anything but noeviction is an error.
	InsecureEviction bool

	// InsecureVolatile uses a server without an append-only file, or one that
	// does not tell. When it ends, it forgets second factors, for which nobody
	// is asked then, or codes that were used.
	// Default: false, a server with appendonly no is an error.
	InsecureVolatile bool
}

// A Store is a [totp.Store]. It is safe for concurrent use, by several
// processes too.
type Store struct {
	eval    Eval
	config  Config
	checked atomic.Bool
}

var _ totp.Store = (*Store)(nil)

// New returns a Store on the server that eval reaches. It does not ask the
// server: see [Store.Ready].
func New(eval Eval, config Config) (*Store, error) {
	var wrong []error
	if eval == nil {
		wrong = append(wrong, errors.New("redisstore: eval is nil, want a function that runs a script"))
	}
	if config.Prefix == "" {
		config.Prefix = "gatewright:totp"
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
	return wrap(s.check(ctx, s.config.Prefix), "asking for settings")
}

func (s *Store) check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	answer, err := s.eval(ctx, settingsScript, []string{key})
	if err != nil {
		return err
	}
	list, err := pair(answer)
	if err != nil {
		return err
	}
	var wrong []error
	if !s.config.InsecureEviction && list[0] != "noeviction" {
		wrong = append(wrong, fmt.Errorf("maxmemory-policy is %.32q, want noeviction: the server would forget second factors", list[0]))
	}
	if !s.config.InsecureVolatile && list[1] != "1" {
		wrong = append(wrong, fmt.Errorf("aof_enabled is %.32q, want 1, by appendonly yes and appendfsync always:"+
			" the server would forget second factors when it ends", list[1]))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	s.checked.Store(true)
	return nil
}

// stored is a record as the server has it. The user is in it, so that a record
// that was copied to another key is not taken for that user's.
type stored struct {
	User                          string
	Active, Pending, Recovery     []byte
	Step                          int64
	Failures                      int
	PendingUntil, Retry, Forgiven int64 // microseconds since 1970, 0 is none
}

// LoadTOTP implements [totp.Store].
func (s *Store) LoadTOTP(ctx context.Context, user string) (_ totp.Record, err error) {
	defer func() { err = wrap(err, "loading a record") }()
	answer, err := s.run(ctx, loadScript, user)
	if err != nil {
		return totp.Record{}, err
	}
	list, err := pair(answer)
	if err != nil {
		return totp.Record{}, err
	}
	if list == [2]string{"0", ""} {
		return totp.Record{}, nil
	}
	version, err := strconv.ParseInt(list[0], 10, 64)
	if err != nil || version < 1 {
		return totp.Record{}, errors.New("the stored version is no positive number")
	}
	var kept stored
	decoder := json.NewDecoder(bytes.NewReader([]byte(list[1])))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&kept); err != nil || decoder.More() {
		return totp.Record{}, errors.New("the stored record is damaged") // and says nothing of what is in it
	}
	if kept.User != user || len(kept.Recovery)%len(totp.RecoveryHash{}) != 0 {
		return totp.Record{}, errors.New("the stored record is damaged, or of another user")
	}
	r := totp.Record{
		Version: version, Active: kept.Active, Pending: kept.Pending, PendingUntil: instant(kept.PendingUntil), Step: kept.Step,
		Guesses: totp.Guesses{Failures: kept.Failures, Retry: instant(kept.Retry), Forgiven: instant(kept.Forgiven)},
	}
	for rest := kept.Recovery; len(rest) > 0; {
		var hash totp.RecoveryHash
		rest = rest[copy(hash[:], rest):]
		r.Recovery = append(r.Recovery, hash)
	}
	return r, nil
}

// SaveTOTP implements [totp.Store]. It is one script.
func (s *Store) SaveTOTP(ctx context.Context, user string, r totp.Record) (_ bool, err error) {
	defer func() { err = wrap(err, "saving a record") }()
	if r.Version == math.MaxInt64 {
		return false, errors.New("the version is the last one")
	}
	kept := stored{
		User: user, Active: r.Active, Pending: r.Pending, PendingUntil: micros(r.PendingUntil), Step: r.Step,
		Failures: r.Guesses.Failures, Retry: micros(r.Guesses.Retry), Forgiven: micros(r.Guesses.Forgiven),
	}
	for _, hash := range r.Recovery {
		kept.Recovery = append(kept.Recovery, hash[:]...)
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return false, err
	}
	answer, err := s.run(ctx, saveScript, user,
		strconv.FormatInt(r.Version, 10), strconv.FormatInt(r.Version+1, 10), string(text))
	if err != nil {
		return false, err
	}
	switch n, ok := answer.(int64); {
	case ok && n == 0:
		return false, nil
	case ok && n == 1:
		return true, nil
	}
	return false, fmt.Errorf("the answer is a %T, want 0 or 1", answer)
}

// run runs a script on the key of the user, after the server's settings were
// found good.
func (s *Store) run(ctx context.Context, script, user string, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(user))
	key := s.config.Prefix + ":{" + base64.RawURLEncoding.EncodeToString(sum[:]) + "}"
	if !s.checked.Load() {
		if err := s.check(ctx, key); err != nil {
			return nil, err
		}
	}
	return s.eval(ctx, script, []string{key}, args...)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// pair reads an answer of two strings.
func pair(answer any) (out [2]string, err error) {
	list, ok := answer.([]any)
	if !ok || len(list) != len(out) {
		return out, fmt.Errorf("the answer is a %T of %d, want 2 strings", answer, len(list))
	}
	for i, v := range list {
		switch v := v.(type) {
		case string:
			out[i] = v
		case []byte:
			out[i] = string(v)
		default:
			return out, fmt.Errorf("the answer has a %T at %d, want a string", v, i)
		}
	}
	return out, nil
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redisstore: %s: %w", doing, err)
}
