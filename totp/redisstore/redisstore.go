package redisstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/redisdb"
	"github.com/gatewright/gatewright/totp"
)

// pkg begins each error.
const pkg = "totp/redisstore"

// Config configures a [Store]. The zero Config is ready for use.
type Config struct {
	// Prefix begins every key: 1 to 64 letters, digits and any of ":._-/". Stores
	// with the same Prefix share their data. Default: "gatewright:totp".
	Prefix string

	// InsecureEviction accepts a server that evicts keys or hides its
	// maxmemory-policy: an attacker who fills its memory removes second factors, so
	// that the password is enough.
	InsecureEviction bool

	// InsecureVolatile accepts a server without an append-only file, or that hides
	// it: a restart removes second factors, so that the password is enough, and
	// makes used codes valid again.
	InsecureVolatile bool
}

// A Store implements [totp.Store]. It is safe for concurrent use, also by several
// processes.
type Store struct{ db *redisdb.DB }

var _ totp.Store = (*Store)(nil)

// New returns a Store that runs its scripts with eval: see
// [github.com/gatewright/gatewright/auth/redisstore]. It does not use the server.
// The error lists all mistakes.
func New(eval func(ctx context.Context, script string, keys []string, args ...any) (any, error), config Config) (*Store, error) {
	return redisdb.Open(pkg, eval, redisdb.Settings{
		Prefix: config.Prefix, DefaultPrefix: "gatewright:totp",
		AllowEviction: config.InsecureEviction, AllowVolatile: config.InsecureVolatile,
		Keeps: "second factors", Rights: rights,
	}, func(db *redisdb.DB) *Store { return &Store{db} })
}

// rights are the commands of the scripts.
const rights = "+eval +evalsha +info +exists +set +del +hset +hget +hmget +hdel"

// Ready checks that the server is a primary that accepts writes and meets [Config].
// Call it at start and for readiness. Until it succeeded once, other methods call
// it first.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, redisdb.ReadyKey(s.db.Prefix()))
}

// stored is a record on the server. It contains the user, so that LoadTOTP rejects
// a record that was copied to the key of another user.
type stored struct {
	User                          string
	Active, Pending, Recovery     []byte
	Step                          int64
	Failures                      int
	PendingUntil, Retry, Forgiven int64 // microseconds since 1970, 0 is none
}

// LoadTOTP implements [totp.Store].
func (s *Store) LoadTOTP(ctx context.Context, user string) (_ totp.Record, err error) {
	defer func() { err = s.db.Wrap(err, "loading a record") }()
	if identity.CheckNames(user) != nil {
		return totp.Record{}, nil
	}
	list, err := redisdb.Words(s.run(ctx, loadScript, user))
	if err != nil {
		return totp.Record{}, err
	}
	if len(list) != 2 {
		return totp.Record{}, fmt.Errorf("the reply has %d parts instead of 2", len(list))
	}
	if list[0] == "0" && list[1] == "" {
		return totp.Record{}, nil
	}
	version, err := strconv.ParseInt(list[0], 10, 64)
	if err != nil || version < 1 {
		return totp.Record{}, errors.New("the stored version is not a positive number")
	}
	var kept stored
	decoder := json.NewDecoder(bytes.NewReader([]byte(list[1])))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&kept); err != nil || decoder.More() {
		return totp.Record{}, errors.New("the stored record is damaged") // without its content
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

// SaveTOTP implements [totp.Store] with one script.
func (s *Store) SaveTOTP(ctx context.Context, user string, r totp.Record) (_ bool, err error) {
	defer func() { err = s.db.Wrap(err, "saving a record") }()
	if err := identity.CheckNames(user); err != nil {
		return false, err
	}
	if r.Version == math.MaxInt64 {
		return false, errors.New("the version is the greatest possible number")
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
	return redisdb.Yes(s.run(ctx, saveScript, user,
		strconv.FormatInt(r.Version, 10), strconv.FormatInt(r.Version+1, 10), string(text)))
}

// run runs a script on the key of the user.
func (s *Store) run(ctx context.Context, script, user string, args ...any) (any, error) {
	return s.db.Run(ctx, script, []string{s.db.Prefix() + ":{" + redisdb.Digest(user) + "}"}, args...)
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
