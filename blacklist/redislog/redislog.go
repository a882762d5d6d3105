package redislog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/blacklist"
)

// An Eval runs a script on the server and returns its answer: an array as []any,
// a bulk string as string. Every one of args is a string. It is safe for
// concurrent use and returns when ctx is over.
//
// It may send EVALSHA, and EVAL after the answer NOSCRIPT, for then nothing has
// run. The [Log] itself sends nothing twice. The package documentation shows it
// for two clients.
type Eval func(ctx context.Context, script string, keys []string, args ...any) (any, error)

// Config says how a [Log] uses the server. The zero Config is ready for use.
type Config struct {
	// Prefix begins both keys, in braces: 1 to 64 letters, digits and any of
	// ":._-/". Logs with the same Prefix on one server are one Log.
	// Default: "gatewright:blacklist".
	Prefix string

	// InsecureEviction uses a server whatever its maxmemory-policy is, or
	// where it does not tell. If it evicts, whoever can fill its memory can
	// make it forget all logouts: tokens that were stolen can be used again
	// wherever a process is started.
	// Default: false, anything but noeviction is an error.
	InsecureEviction bool

	// InsecureVolatile uses a server without an append-only file, or one that
	// does not tell. When it ends it forgets logouts that it had
	// acknowledged: tokens that were stolen can be used again wherever a
	// process is started.
	// Default: false, a server with appendonly no is an error.
	InsecureVolatile bool
}

// A Log is a [blacklist.Log] and a [blacklist.Compacter] on a server. It is safe
// for concurrent use, by several processes too.
type Log struct {
	eval    Eval
	config  Config
	keys    []string
	checked atomic.Bool
}

var (
	_ blacklist.Log       = (*Log)(nil)
	_ blacklist.Compacter = (*Log)(nil)
)

// How much one script does, while the server does nothing else.
const (
	entriesPerAppend = 500
	entriesPerSince  = 5000 // more than a Replica's page
	entriesPerDelete = 1000
)

// New returns the Log on the server that eval reaches. It does not ask the
// server: see [Log.Ready].
func New(eval Eval, config Config) (*Log, error) {
	var wrong []error
	if eval == nil {
		wrong = append(wrong, errors.New("redislog: eval is nil, want a function that runs a script"))
	}
	if config.Prefix == "" {
		config.Prefix = "gatewright:blacklist"
	}
	if len(config.Prefix) > 64 || strings.ContainsFunc(config.Prefix, strange) {
		wrong = append(wrong, fmt.Errorf("redislog: Config.Prefix is %.100q, want 1 to 64 letters, digits and any of %q", config.Prefix, ":._-/"))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return &Log{eval: eval, config: config, keys: []string{"{" + config.Prefix + "}:log", "{" + config.Prefix + "}:expires"}}, nil
}

// strange reports what a Prefix may not have. Braces would end the hash tag.
func strange(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(":._-/", c))
}

// Ready asks the server whether it keeps what it is told. The error says that it
// cannot be reached, evicts, or has no append-only file. A program calls it when
// it starts. Append checks each time, in the step that records, and the first
// Since asks too and fails as long as Ready would.
func (l *Log) Ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return wrap(err, "asking for settings")
	}
	_, err := l.append(ctx, nil)
	return wrap(err, "asking for settings")
}

// Append implements [blacklist.Log], with one script for each 500 entries.
func (l *Log) Append(ctx context.Context, entries ...blacklist.Entry) (last uint64, err error) {
	defer func() { err = wrap(err, "appending") }()
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
			return 0, fmt.Errorf("the last number is %d after %d and %d entries, want a greater one", number, last, n)
		}
		last, entries = number, entries[n:]
	}
	return last, nil
}

func (l *Log) append(ctx context.Context, entries []blacklist.Entry) (last uint64, err error) {
	args := make([]any, 0, 2+2*len(entries))
	args = append(args, flag(!l.config.InsecureEviction), flag(!l.config.InsecureVolatile))
	for _, e := range entries {
		expires := ""
		// What expires after 2255, as good as never, stays.
		if e.Expires != 0 && e.Expires <= maxNumber {
			expires = decimal(max(e.Expires, -maxNumber))
		}
		args = append(args, encode(e), expires)
	}
	answer, err := l.ask(ctx, appendScript, args...)
	if err != nil {
		return 0, err
	}
	if len(answer) != 3 {
		return 0, fmt.Errorf("the answer has %d parts, want 3", len(answer))
	}
	policy, aof := answer[0], answer[1]
	var wrong []error
	if !l.config.InsecureEviction && policy != "noeviction" {
		wrong = append(wrong, fmt.Errorf("maxmemory-policy is %.32q, want noeviction: the server would forget who is revoked", policy))
	}
	if !l.config.InsecureVolatile && aof != "1" {
		wrong = append(wrong, fmt.Errorf("aof_enabled is %.32q, want 1, by appendonly yes and appendfsync always:"+
			" the server would forget who is revoked when it ends", aof))
	}
	if err := errors.Join(wrong...); err != nil {
		return 0, err
	}
	last, err = number(answer[2])
	if err != nil {
		return 0, err
	}
	l.checked.Store(true)
	return last, nil
}

// Since implements [blacklist.Log], with one script for each 5000 entries.
func (l *Log) Since(ctx context.Context, after uint64, most int) (_ []blacklist.Entry, _ uint64, err error) {
	defer func() { err = wrap(err, "reading") }()
	if most < 1 {
		return nil, 0, fmt.Errorf("asked for at most %d entries, want one or more", most)
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	if !l.checked.Load() {
		if err := l.Ready(ctx); err != nil {
			return nil, 0, err
		}
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
	answer, err := l.ask(ctx, sinceScript, strconv.FormatUint(after, 10), strconv.Itoa(most))
	if err != nil {
		return nil, 0, err
	}
	if len(answer) < 2 || len(answer)%2 != 0 || len(answer) > 2+2*most {
		return nil, 0, fmt.Errorf("the answer has %d parts, want the role, a number, and two for each of %d entries", len(answer), most)
	}
	if answer[0] != "master" {
		return nil, 0, fmt.Errorf("the server's role is %.32q, want master: a replica learns of revocations late", answer[0])
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

// Compact implements [blacklist.Compacter]. Several machines may compact at the
// same time. What it did before an error stays done.
func (l *Log) Compact(ctx context.Context, before time.Time) error {
	for {
		if err := ctx.Err(); err != nil {
			return wrap(err, "compacting")
		}
		answer, err := l.ask(ctx, compactScript, decimal(micros(before)), strconv.Itoa(entriesPerDelete))
		if err != nil {
			return wrap(err, "compacting")
		}
		if len(answer) != 1 {
			return wrap(fmt.Errorf("the answer has %d parts, want 1", len(answer)), "compacting")
		}
		n, err := number(answer[0])
		if err != nil || n < entriesPerDelete {
			return wrap(err, "compacting")
		}
	}
}

// ask runs a script and returns the strings that it answers.
func (l *Log) ask(ctx context.Context, script string, args ...any) ([]string, error) {
	answer, err := l.eval(ctx, script, l.keys, args...)
	if err != nil {
		return nil, err
	}
	list, ok := answer.([]any)
	if !ok {
		list = []any{answer}
	}
	parts := make([]string, len(list))
	for i, part := range list {
		switch part := part.(type) {
		case string:
			parts[i] = part
		case []byte:
			parts[i] = string(part)
		default:
			return nil, fmt.Errorf("the answer has a %T at %d, want a string", part, i)
		}
	}
	return parts, nil
}

// maxNumber is the greatest number that the scripts can tell from the next.
const maxNumber = 1 << 53

func number(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > maxNumber {
		return 0, fmt.Errorf("the answer has %.32q for a number, want 0 to 2^53", s)
	}
	return n, nil
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

// micros returns t in microseconds since 1970. Dates that do not fit are cut.
func micros(t time.Time) int64 {
	const most = math.MaxInt64/1_000_000 - 1
	return min(max(t.Unix(), -most), most)*1_000_000 + int64(t.Nanosecond()/1000)
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redislog: %s: %w", doing, err)
}
