package redislog

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/internal/redisdb"
)

// pkg begins each error.
const pkg = "blacklist/redislog"

// Config configures a [Log]. The zero Config is ready for use.
type Config struct {
	// Prefix begins both keys: 1 to 64 letters, digits and any of ":._-/". Logs
	// with the same Prefix share their data. Default: "gatewright:blacklist".
	Prefix string

	// InsecureEviction accepts a server that evicts keys or hides its
	// maxmemory-policy: an attacker who fills its memory deletes logouts, so that
	// processes that start later accept stolen tokens.
	InsecureEviction bool

	// InsecureVolatile accepts a server without an append-only file, or that hides
	// it: a restart deletes logouts in the same way.
	InsecureVolatile bool
}

// A Log implements [blacklist.Log] and [blacklist.Clock]. It is safe for concurrent
// use, also by several processes.
type Log struct {
	db                 *redisdb.DB
	keys               []string
	eviction, volatile bool // allowed
}

var _ blacklist.Log = (*Log)(nil)

// How much one script does, while the server does nothing else.
const (
	entriesPerAppend = 500
	entriesPerSince  = 5000 // more than a Replica's page
	entriesPerDelete = 1000
)

// New returns a Log that runs its scripts with eval: see
// [github.com/gatewright/gatewright/auth/redisstore]. It does not use the server.
// The error lists all mistakes.
func New(eval func(ctx context.Context, script string, keys []string, args ...any) (any, error), config Config) (*Log, error) {
	return redisdb.Open(pkg, eval, redisdb.Settings{
		Prefix: config.Prefix, DefaultPrefix: "gatewright:blacklist",
		AllowEviction: config.InsecureEviction, AllowVolatile: config.InsecureVolatile,
		Keeps: "revocations", Rights: rights,
	}, func(db *redisdb.DB) *Log {
		tag := db.Tag()
		return &Log{db, []string{tag + "log", tag + "expires", tag + "none"}, config.InsecureEviction, config.InsecureVolatile}
	})
}

// rights are the commands of the scripts.
const rights = "+eval +evalsha +info +time +exists +set +del +xadd +xrange +xdel +xinfo +zadd +zrangebyscore +zrem"

// Ready checks that the server is a primary that accepts writes and meets [Config].
func (l *Log) Ready(ctx context.Context) error {
	return l.db.Ready(ctx, redisdb.ReadyKey(l.keys[0]))
}

// Append implements [blacklist.Log], with one script for each 500 entries.
func (l *Log) Append(ctx context.Context, entries ...blacklist.Entry) (last uint64, err error) {
	defer func() { err = l.db.Wrap(err, "appending") }()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return 0, err
		}
	}
	for len(entries) > 0 {
		n := min(len(entries), entriesPerAppend)
		number, err := l.append(ctx, entries[:n])
		if err != nil {
			return 0, err
		}
		if number < last+uint64(n) {
			return 0, fmt.Errorf("the last number is %d after %d and %d entries, which is too small", number, last, n)
		}
		last, entries = number, entries[n:]
	}
	return last, nil
}

func (l *Log) append(ctx context.Context, entries []blacklist.Entry) (last uint64, err error) {
	args := make([]any, 0, 2+2*len(entries))
	args = append(args, redisdb.Flag(!l.eviction), redisdb.Flag(!l.volatile))
	for _, e := range entries {
		expires := ""
		// What expires after 2255, as good as never, stays.
		if e.Expires != 0 && e.Expires <= maxNumber {
			expires = decimal(max(e.Expires, -maxNumber))
		}
		args = append(args, encode(e), expires)
	}
	answer, err := redisdb.Words(l.db.RunUnchecked(ctx, appendScript, l.keys, args...))
	if err != nil {
		return 0, err
	}
	if len(answer) != 3 {
		return 0, fmt.Errorf("the reply has %d parts instead of 3", len(answer))
	}
	if err := l.db.Accept("", answer[0], answer[1]); err != nil {
		return 0, err
	}
	return number(answer[2])
}

// Since implements [blacklist.Log], with one script for each 5000 entries.
func (l *Log) Since(ctx context.Context, after uint64, most int) (_ []blacklist.Entry, _ uint64, err error) {
	defer func() { err = l.db.Wrap(err, "reading") }()
	if most < 1 {
		return nil, 0, fmt.Errorf("max is %d; pass 1 or more", most)
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	var all []blacklist.Entry
	for {
		n := min(most-len(all), entriesPerSince)
		entries, last, err := l.since(ctx, after, n)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, entries...)
		after = last
		if len(entries) < n || len(all) == most {
			return all, after, nil
		}
	}
}

func (l *Log) since(ctx context.Context, after uint64, most int) ([]blacklist.Entry, uint64, error) {
	if after >= maxNumber {
		return nil, 0, blacklist.ErrRewound
	}
	answer, err := l.run(ctx, sinceScript, strconv.FormatUint(after, 10), strconv.Itoa(most))
	if err != nil {
		return nil, 0, err
	}
	if len(answer) < 2 || len(answer)%2 != 0 || len(answer) > 2+2*most {
		return nil, 0, fmt.Errorf("the reply has %d parts instead of the role, a number, and two for each of at most %d entries", len(answer), most)
	}
	if answer[0] != "master" {
		return nil, 0, fmt.Errorf("the server's role is %.32q instead of master, and a replica has revocations late", answer[0])
	}
	end, err := number(answer[1])
	if err != nil {
		return nil, 0, err
	}
	if after > end {
		return nil, 0, blacklist.ErrRewound
	}
	entries := make([]blacklist.Entry, 0, len(answer)/2-1)
	for rest := answer[2:]; len(rest) > 0; rest = rest[2:] {
		n, err := number(rest[0])
		if err != nil {
			return nil, 0, err
		}
		if n <= after || n > end {
			return nil, 0, fmt.Errorf("entry %d follows number %d in a log that ends with %d", n, after, end)
		}
		e, err := decode(rest[1])
		if err != nil {
			return nil, 0, fmt.Errorf("entry %d: %w", n, err)
		}
		entries, after = append(entries, e), n
	}
	return entries, after, nil
}

// DeleteExpired deletes entries that expired before the time, and returns their
// number, also with an error. Several processes may call it at once.
func (l *Log) DeleteExpired(ctx context.Context, before time.Time) (deleted int64, err error) {
	defer func() { err = l.db.Wrap(err, "deleting what has expired") }()
	for {
		answer, err := l.run(ctx, deleteScript, decimal(micros(before)), strconv.Itoa(entriesPerDelete))
		if err != nil {
			return deleted, err
		}
		if len(answer) != 1 {
			return deleted, fmt.Errorf("the reply has %d parts instead of 1", len(answer))
		}
		n, err := number(answer[0])
		deleted += int64(n)
		if err != nil || n < entriesPerDelete {
			return deleted, err
		}
	}
}

// run runs a script and returns the strings of its reply.
func (l *Log) run(ctx context.Context, script string, args ...any) ([]string, error) {
	return redisdb.Words(l.db.Run(ctx, script, l.keys, args...))
}

const maxNumber = redisdb.MaxNumber

func number(s string) (uint64, error) {
	n, err := redisdb.Number(s)
	return uint64(n), err
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// micros returns t in microseconds since 1970. Dates that do not fit are cut.
func micros(t time.Time) int64 {
	const most = math.MaxInt64/1_000_000 - 1
	return min(max(t.Unix(), -most), most)*1_000_000 + int64(t.Nanosecond()/1000)
}
