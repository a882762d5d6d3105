package redislog_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/blacklisttest"
	"github.com/gatewright/gatewright/blacklist/redislog"
	"github.com/gatewright/gatewright/internal/redisdb/redisdbtest"
)

// The scripts themselves run against a real server in the examples module, which
// has clients. Here is what needs none.

var ctx = context.Background()

func open(t testing.TB, eval func(context.Context, string, []string, ...any) (any, error), config redislog.Config) *redislog.Log {
	t.Helper()
	log, err := redislog.New(eval, config)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func entry(id byte) blacklist.Entry {
	return blacklist.Entry{Kind: blacklist.KindSession, ID: blacklist.ID{id}, Expires: 1 << 60}
}

func TestNew(t *testing.T) {
	answering := func(any) func(context.Context, string, []string, ...any) (any, error) {
		return func(context.Context, string, []string, ...any) (any, error) { return nil, nil }
	}(nil)
	tests := []struct {
		name   string
		eval   func(context.Context, string, []string, ...any) (any, error)
		config redislog.Config
		want   []string
	}{
		{"the zero Config", answering, redislog.Config{}, nil},
		{"every mistake at once", nil, redislog.Config{Prefix: "a{b"}, []string{"eval is nil", `Config.Prefix is "a{b"; use 1 to 64 letters`}},
		{"64 bytes", answering, redislog.Config{Prefix: strings.Repeat("a", 64)}, nil},
		{"65 bytes", answering, redislog.Config{Prefix: strings.Repeat("a", 65)}, []string{"Config.Prefix"}},
		{"a brace that ends the tag", answering, redislog.Config{Prefix: "a}"}, []string{"Config.Prefix"}},
		{"a line break", answering, redislog.Config{Prefix: "a\n"}, []string{"Config.Prefix"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log, err := redislog.New(tt.eval, tt.config)
			if (err == nil) != (len(tt.want) == 0) || (log == nil) != (err != nil) {
				t.Fatalf("%v, %v", log, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not tell that %s", err, want)
				}
			}
		})
	}
}

// server does what the scripts do.
type server struct {
	mu      sync.Mutex
	last    uint64
	entries map[uint64]string
	expires map[uint64]string
	keys    map[string]bool
	calls   []string // "append 3"
}

func (s *server) eval(_ context.Context, script string, keys []string, args ...any) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.entries, s.expires, s.keys = map[uint64]string{}, map[uint64]string{}, map[string]bool{}
	}
	for _, key := range keys {
		s.keys[key] = true
	}
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg.(string)
	}
	switch {
	case strings.HasSuffix(keys[0], ":ready"):
		delete(s.keys, keys[0])
		return redisdbtest.Good, nil
	case strings.Contains(script, "'XADD'"):
		s.calls = append(s.calls, "append "+strconv.Itoa(len(words)/2-1)+" "+words[0]+words[1])
		for i := 2; i < len(words); i += 2 {
			s.last++
			s.entries[s.last], s.expires[s.last] = words[i], words[i+1]
		}
		return []any{"noeviction", "1", strconv.FormatUint(s.last, 10)}, nil
	case strings.Contains(script, "'XRANGE'"):
		s.calls = append(s.calls, "since "+words[1])
		after, _ := strconv.ParseUint(words[0], 10, 64)
		most, _ := strconv.Atoi(words[1])
		answer := []any{"master", strconv.FormatUint(s.last, 10)}
		for _, n := range slices.Sorted(maps.Keys(s.entries)) {
			if n > after && len(answer) < 2+2*most {
				answer = append(answer, strconv.FormatUint(n, 10), s.entries[n])
			}
		}
		return answer, nil
	case script == "return redis.call('TIME')":
		now := time.Now()
		return []any{strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond() / 1000)}, nil
	default:
		s.calls = append(s.calls, "compact "+words[1])
		before, _ := strconv.ParseInt(words[0], 10, 64)
		most, _ := strconv.Atoi(words[1])
		dropped := 0
		for n, expires := range s.expires {
			if at, err := strconv.ParseInt(expires, 10, 64); err == nil && at <= before && dropped < most {
				delete(s.entries, n)
				delete(s.expires, n)
				dropped++
			}
		}
		return []any{strconv.Itoa(dropped)}, nil
	}
}

func TestLog(t *testing.T) {
	s := new(server)
	blacklisttest.RunLog(t, func(t *testing.T) blacklist.Log { return open(t, s.eval, redislog.Config{}) })
	if want := []string{"{gatewright:blacklist}:expires", "{gatewright:blacklist}:log", "{gatewright:blacklist}:none"}; !slices.Equal(slices.Sorted(maps.Keys(s.keys)), want) {
		t.Errorf("the keys are %v, want %v", s.keys, want)
	}
}

// No script does so much that others wait for it.
func TestWorkIsBounded(t *testing.T) {
	s := new(server)
	log := open(t, s.eval, redislog.Config{InsecureVolatile: true})
	all := make([]blacklist.Entry, 6001)
	for i := range all {
		all[i] = entry(byte(i))
		all[i].Expires = 5
	}
	if last, err := log.Append(ctx, all...); last != 6001 || err != nil {
		t.Errorf("Append: %d, %v", last, err)
	}
	got, last, err := log.Since(ctx, 0, 6000)
	if !slices.Equal(got, all[:6000]) || last != 6000 || err != nil {
		t.Errorf("Since: %d entries up to %d, %v", len(got), last, err)
	}
	if _, err := log.DeleteExpired(ctx, time.UnixMicro(5)); err != nil {
		t.Error(err)
	}
	want := slices.Concat(
		slices.Repeat([]string{"append 500 10"}, 12), []string{"append 1 10"},
		[]string{"since 5000", "since 1000"},
		slices.Repeat([]string{"compact 1000"}, 7),
	)
	if !slices.Equal(s.calls, want) {
		t.Errorf("the scripts were %q, want %q", s.calls, want)
	}
}

// What is as good as never is not told to the server, which counts in doubles.
func TestExpires(t *testing.T) {
	for expires, want := range map[int64]string{
		0: "", 1: "1", 1 << 53: "9007199254740992", 1<<53 + 1: "", 1<<63 - 1: "", -1: "-1", -1 << 63: "-9007199254740992",
	} {
		s := new(server)
		e := entry(1)
		e.Expires = expires
		if _, err := open(t, s.eval, redislog.Config{}).Append(ctx, e); err != nil || s.expires[1] != want {
			t.Errorf("%d: %q, %v, want %q", expires, s.expires[1], err, want)
		}
	}
}

var errDown = errors.New("connection refused")

// calls are the methods, and whether they returned something beside the error.
func calls(log *redislog.Log) map[string]func(context.Context) (bool, error) {
	return map[string]func(context.Context) (bool, error){
		"Ready": func(ctx context.Context) (bool, error) { return false, log.Ready(ctx) },
		"Append": func(ctx context.Context) (bool, error) {
			n, err := log.Append(ctx, entry(1))
			return n != 0, err
		},
		"Since": func(ctx context.Context) (bool, error) {
			all, n, err := log.Since(ctx, 7, 2)
			return all != nil || n != 0, err
		},
		"DeleteExpired": func(ctx context.Context) (bool, error) {
			_, err := log.DeleteExpired(ctx, time.Now())
			return false, err
		},
	}
}

// A server that does not answer is an error, and never nobody revoked.
func TestServerDown(t *testing.T) {
	asked := 0
	log := open(t, func(context.Context, string, []string, ...any) (any, error) { asked++; return nil, errDown }, redislog.Config{})
	for name, call := range calls(log) {
		asked = 0
		if something, err := call(ctx); something || !errors.Is(err, errDown) || strings.Count(err.Error(), "redislog: ") < 1 {
			t.Errorf("%s: %v, %v", name, something, err)
		}
		if asked != 1 {
			t.Errorf("%s asked %d times, want once", name, asked)
		}
	}
	r, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Refresh(ctx); !errors.Is(err, errDown) {
		t.Errorf("Refresh: %v", err)
	}
	if _, err := r.Revoked(ctx, &identity.Principal{Issuer: "i", Session: "s"}); !errors.Is(err, blacklist.ErrStale) {
		t.Errorf("Revoked: %v, want ErrStale", err)
	}
	if err := r.Revoke(ctx, identity.Revocation{Issuer: "i", Session: "s"}); !errors.Is(err, errDown) {
		t.Errorf("Revoke: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	s := new(server)
	for name, call := range calls(open(t, s.eval, redislog.Config{})) {
		if something, err := call(cancelled); something || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, %v", name, something, err)
		}
	}
	if len(s.calls) != 0 {
		t.Errorf("the server was asked: %q", s.calls)
	}
}

// good is an answer to each script, with the bytes of an entry.
func good(t testing.TB) (record string) {
	s := new(server)
	e := entry(1)
	e.Before, e.Spare = 2, blacklist.ID{3}
	if _, err := open(t, s.eval, redislog.Config{}).Append(ctx, e); err != nil {
		t.Fatal(err)
	}
	return s.entries[1]
}

func TestMalformedAnswers(t *testing.T) {
	record := good(t)
	flipped := []byte(record)
	flipped[5] ^= 1
	later := []byte(record)
	later[0]++
	// A kind of a later version, with a checksum that is right.
	strange := []byte(record[:len(record)-4])
	strange[1] = 16
	strange = binary.BigEndian.AppendUint32(strange, crc32.Checksum(strange, crc32.MakeTable(crc32.Castagnoli)))
	tests := []struct {
		name, method string
		answer       any
		want         string // of the error
	}{
		{"nothing", "Append", nil, "<nil>"},
		{"an integer", "Append", int64(1), "int64"},
		{"too few", "Append", []any{"noeviction", "1"}, "2 parts"},
		{"too many", "Append", []any{"noeviction", "1", "1", "1"}, "4 parts"},
		{"no number", "Append", []any{"noeviction", "1", ""}, "for a number"},
		{"a negative number", "Append", []any{"noeviction", "1", "-1"}, "for a number"},
		{"a number that doubles cannot hold", "Append", []any{"noeviction", "1", "9007199254740993"}, "for a number"},
		{"the number zero", "Append", []any{"noeviction", "1", "0"}, "which is too small"},
		{"an integer among the strings", "Append", []any{"noeviction", int64(1), "1"}, "int64 at 1"},
		{"a server that evicts", "Append", []any{"allkeys-lru", "1", "1"}, "maxmemory-policy"},
		{"a server that keeps nothing", "Append", []any{"noeviction", "0", "1"}, "aof_enabled"},
		{"a server that does not tell", "Ready", []any{"", "", ""}, "aof_enabled"},
		{"nothing", "Since", nil, "<nil>"},
		{"no parts", "Since", []any{}, "0 parts"},
		{"no number", "Since", []any{"master"}, "1 parts"},
		{"half an entry", "Since", []any{"master", "9", "8"}, "3 parts"},
		{"more than was asked for", "Since", []any{"master", "10", "8", record, "9", record, "10", record}, "8 parts"},
		{"a replica", "Since", []any{"slave", "9"}, "role"},
		{"no role", "Since", []any{"", "9"}, "role"},
		{"a bad end", "Since", []any{"master", "x"}, "for a number"},
		{"a bad number", "Since", []any{"master", "9", "x", record}, "for a number"},
		{"the number that was asked for", "Since", []any{"master", "9", "7", record}, "entry 7 follows number 7"},
		{"a number twice", "Since", []any{"master", "9", "8", record, "8", record}, "entry 8 follows number 8"},
		{"a number behind the end", "Since", []any{"master", "9", "10", record}, "ends with 9"},
		{"an empty entry", "Since", []any{"master", "9", "8", ""}, "entry 8: it has 0 bytes"},
		{"a short entry", "Since", []any{"master", "9", "8", record[:len(record)-1]}, "bytes instead of"},
		{"a long entry", "Since", []any{"master", "9", "8", record + "x"}, "bytes instead of"},
		{"a changed entry", "Since", []any{"master", "9", "8", string(flipped)}, "checksum"},
		{"an entry of a later version", "Since", []any{"master", "9", "8", string(later)}, "too old"},
		{"an entry of a kind that nobody knows", "Since", []any{"master", "9", "8", string(strange)}, "Entry.Kind is 16"},
		{"a bad one behind a good one", "Since", []any{"master", "9", "8", record, "9", "x"}, "entry 9"},
		{"a log that has not come so far", "Since", []any{"master", "6"}, blacklist.ErrRewound.Error()},
		{"nothing", "DeleteExpired", nil, "<nil>"},
		{"two numbers", "DeleteExpired", []any{"1", "1"}, "2 parts"},
		{"no number", "DeleteExpired", []any{"x"}, "for a number"},
	}
	for _, tt := range tests {
		t.Run(tt.method+": "+tt.name, func(t *testing.T) {
			var answer any = redisdbtest.Good
			log := open(t, func(context.Context, string, []string, ...any) (any, error) { return answer, nil }, redislog.Config{})
			if tt.method != "Ready" {
				if err := log.Ready(ctx); err != nil {
					t.Fatal(err)
				}
			}
			answer = tt.answer
			something, err := calls(log)[tt.method](ctx)
			if something || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v, want an error with %q", something, err, tt.want)
			}
			if errors.Is(err, blacklist.ErrRewound) != (tt.want == blacklist.ErrRewound.Error()) {
				t.Errorf("ErrRewound: %v", err)
			}
		})
	}
}

// Clients answer in bytes too.
func TestBytes(t *testing.T) {
	answers := [][]any{{[]byte("master"), []byte("noeviction"), []byte("1")}, {[]byte("master"), []byte("9"), []byte("9"), []byte(good(t))}}
	log := open(t, func(context.Context, string, []string, ...any) (any, error) {
		answer := answers[0]
		answers = answers[1:]
		return answer, nil
	}, redislog.Config{})
	if all, last, err := log.Since(ctx, 0, 2); len(all) != 1 || last != 9 || err != nil {
		t.Errorf("%v, %d, %v", all, last, err)
	}
}

// The scripts cannot tell numbers above 2^53 from the next, and are not asked.
func TestFarNumbers(t *testing.T) {
	s := new(server)
	log := open(t, s.eval, redislog.Config{})
	for _, after := range []uint64{1 << 53, 1<<64 - 1} {
		if _, _, err := log.Since(ctx, after, 1); !errors.Is(err, blacklist.ErrRewound) {
			t.Errorf("after %d: %v, want ErrRewound", after, err)
		}
	}
}

// Settings are asked for unless their fields say not to.
func TestInsecure(t *testing.T) {
	for config, want := range map[redislog.Config]string{
		{}:                       "append 1 11",
		{InsecureEviction: true}: "append 1 01",
		{InsecureVolatile: true}: "append 1 10",
	} {
		s := new(server)
		if _, err := open(t, s.eval, config).Append(ctx, entry(1)); err != nil || s.calls[0] != want {
			t.Errorf("%+v: %q, %v, want %q", config, s.calls, err, want)
		}
		answering := func(context.Context, string, []string, ...any) (any, error) { return []any{"", "", ""}, nil }
		if err := open(t, answering, config).Ready(ctx); err == nil {
			t.Errorf("%+v: a server that does not tell passes", config)
		}
	}
	silent := func(context.Context, string, []string, ...any) (any, error) { return []any{"", "", ""}, nil }
	if err := open(t, silent, redislog.Config{InsecureEviction: true, InsecureVolatile: true}).Ready(ctx); err != nil {
		t.Error(err)
	}
}

// An entry that can be read is the one that was written.
func FuzzSince(f *testing.F) {
	record := good(f)
	f.Add(record)
	f.Add(record[:10])
	f.Add("")
	f.Fuzz(func(t *testing.T, record string) {
		read := &server{last: 1, entries: map[uint64]string{1: record}, expires: map[uint64]string{}, keys: map[string]bool{}}
		all, last, err := open(t, read.eval, redislog.Config{}).Since(ctx, 0, 10)
		if err != nil {
			if all != nil || last != 0 {
				t.Errorf("%v, %d beside the error %v", all, last, err)
			}
			return
		}
		written := new(server)
		if _, err := open(t, written.eval, redislog.Config{}).Append(ctx, all...); err != nil || len(all) != 1 || written.entries[1] != record {
			t.Errorf("%q was read as %+v, which is written %q, %v", record, all, written.entries[1], err)
		}
	})
}
