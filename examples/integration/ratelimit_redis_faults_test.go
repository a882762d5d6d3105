package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
)

// What a network can do to a connection.
const (
	passes      int32 = iota
	refuses           // connections are closed as soon as they are made
	swallows          // nothing is forwarded and nothing is answered
	delays            // replies are two seconds late
	resets            // the connection is reset in the middle of a reply
	losesReply        // the request is forwarded, its reply is not
	losesCommit       // the same, of a COMMIT
	loads             // everything is answered with LOADING
)

// A faultyProxy stands between a client and a server.
type faultyProxy struct {
	addr   string
	server string
	fault  atomic.Int32
	done   chan struct{}

	mu    sync.Mutex
	conns []net.Conn
}

func newFaultyProxy(t testing.TB, server string) *faultyProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &faultyProxy{addr: listener.Addr().String(), server: server, done: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		close(p.done)
		listener.Close()
		p.cut()
		wg.Wait()
	})
	return p
}

// begin begins a fault, or ends all. Connections made under the last one end.
func (p *faultyProxy) begin(fault int32) {
	old := p.fault.Swap(fault)
	if fault == passes && old != passes || fault == refuses {
		p.cut()
	}
}

func (p *faultyProxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *faultyProxy) own(c net.Conn) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
	return c
}

func (p *faultyProxy) serve(client net.Conn) {
	p.own(client)
	defer client.Close()
	if p.fault.Load() == refuses {
		return
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	p.own(server)
	var wg sync.WaitGroup
	var commits atomic.Bool
	wg.Go(func() {
		defer server.Close()
		p.requests(client, server, &commits)
	})
	wg.Go(func() {
		defer client.Close()
		p.replies(client, server, &commits)
	})
	wg.Wait()
}

func (p *faultyProxy) requests(client, server net.Conn, commits *atomic.Bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		switch p.fault.Load() {
		case swallows:
			continue
		case loads:
			if _, err := io.WriteString(client, "-LOADING Redis is loading the dataset in memory\r\n"); err != nil {
				return
			}
			continue
		}
		commits.Store(bytes.Contains(b[:n], []byte("commit\x00")))
		if _, err := server.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *faultyProxy) replies(client, server net.Conn, commits *atomic.Bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := server.Read(b)
		if err != nil {
			return
		}
		switch p.fault.Load() {
		case delays:
			select {
			case <-time.After(2 * time.Second):
			case <-p.done:
			}
		case resets:
			_, _ = client.Write(b[:n/2]) // the reader may be gone
			if tcp, ok := client.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // what follows is a reset either way
			}
			return
		case losesReply:
			return
		case losesCommit:
			if commits.Load() {
				return
			}
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}

// latencies are how long requests took.
type latencies []time.Duration

func (l latencies) quantile(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(l))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// TestLimitsAreChargedAtMostOnce: a request whose reply was lost is not sent
// again by any layer.
func TestLimitsAreChargedAtMostOnce(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--appendfsync", "no")
	direct := openRedisLimits(t, limitsByGoRedis(redisForLimits(t, server.Addr)), redisstore.Config{})
	for _, client := range []struct {
		name string
		open func(testing.TB, string) evalFunc
	}{
		{"go-redis", func(t testing.TB, addr string) evalFunc { return limitsByGoRedis(redisForLimits(t, addr)) }},
		{"rueidis", limitsByRueidis},
	} {
		for _, fault := range []struct {
			name string
			is   int32
			most int64 // how often it is charged
		}{
			{"the reply is lost", losesReply, 1},
			{"the reply is cut", resets, 1},
			{"the reply is late", delays, 1},
			{"the request is lost", swallows, 0},
		} {
			t.Run(client.name+", "+fault.name, func(t *testing.T) {
				proxy := newFaultyProxy(t, server.Addr)
				store := openRedisLimits(t, client.open(t, proxy.addr), redisstore.Config{})
				l := ratelimit.Limit{Name: "once", Quota: 100, Window: time.Hour}
				bill := []ratelimit.Charge{{Key: newLimitKey(), Limit: l, Cost: 1}}
				other := []ratelimit.Charge{{Key: newLimitKey(), Limit: l, Cost: 1}}
				if _, _, err := store.Take(t.Context(), other); err != nil { // the scripts are known now
					t.Fatal(err)
				}
				proxy.begin(fault.is)
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				states, receipt, err := store.Take(ctx, bill)
				if err == nil || states != nil || receipt != (ratelimit.Receipt{}) {
					t.Errorf("Take = %v, %v, %v, want an error and nothing else", states, receipt, err)
				}
				time.Sleep(100 * time.Millisecond) // whoever retries does it now
				proxy.begin(passes)
				if states, _, err = direct.Take(t.Context(), bill); err != nil {
					t.Fatal(err)
				}
				if charged := 99 - states[0].Remaining; charged < 0 || charged > fault.most {
					t.Errorf("it was charged %d times, want at most %d", charged, fault.most)
				}
			})
		}
	}
}

// TestLimitsNeedRedisThatKeeps: a server that evicts is refused, by Ready and by
// every Take, and so is one that has other things in the way.
func TestLimitsNeedRedisThatKeeps(t *testing.T) {
	server := servers.Redis(t, "--maxmemory-policy", "volatile-ttl")
	client := redisForLimits(t, server.Addr)
	store := openRedisLimits(t, limitsByGoRedis(client), redisstore.Config{})
	bill := []ratelimit.Charge{{Key: newLimitKey(), Limit: ratelimit.Limit{Name: "hour", Quota: 5, Window: time.Hour}, Cost: 1}}
	if err := store.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "volatile-ttl") {
		t.Errorf("Ready = %v, want an error that names the policy", err)
	}
	if _, _, err := store.Take(t.Context(), bill); err == nil {
		t.Error("Take on a server that evicts is no error")
	}
	insecure := openRedisLimits(t, limitsByGoRedis(client), redisstore.Config{InsecureEviction: true})
	if _, _, err := insecure.Take(t.Context(), bill); err != nil {
		t.Errorf("Take with InsecureEviction = %v", err)
	}
	if err := client.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Take(t.Context(), bill); err != nil {
		t.Errorf("Take on a server that keeps = %v", err)
	}
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("the keys are %q, %v, want one", keys, err)
	}
	for _, damaged := range []string{
		"", "junk", "1764000000000000", packed(1, 1764e12), packed(1, 1764e12, 1, 1), packed(1, 1764e12, 0), packed(1, 1764e12, 2),
		packed(0, 0, 0), packed(1, -1, 1), packed(1e16, 1764e12, 1), packed(math.NaN(), 1764e12, 1), packed(1, 1764e12, math.NaN()),
		packed(2, 1764e12, 1, 1765e12, 1), strings.Repeat("damaged ", 3),
	} {
		if err := client.Set(t.Context(), keys[0], damaged, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := store.Take(t.Context(), bill); err == nil {
			t.Errorf("Take on a value of %q is no error", damaged)
		}
	}
}

// TestLimitsOfRedisLeaveNothingBehind: every key has an end, and a refused
// request writes nothing.
func TestLimitsOfRedisLeaveNothingBehind(t *testing.T) {
	server := servers.Redis(t, "--appendfsync", "no") // a server of its own, in which keys are counted
	client := redisForLimits(t, server.Addr)
	store := openRedisLimits(t, limitsByGoRedis(client), redisstore.Config{})
	take := func(charges ...ratelimit.Charge) (ratelimit.Receipt, bool) {
		t.Helper()
		states, receipt, err := store.Take(t.Context(), charges)
		if err != nil {
			t.Fatal(err)
		}
		return receipt, !slices.ContainsFunc(states, func(s ratelimit.State) bool { return s.Refused })
	}
	size := func() int64 {
		t.Helper()
		n, err := client.DBSize(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	tight := ratelimit.Charge{Key: newLimitKey(), Limit: ratelimit.Limit{Name: "tight", Quota: 1, Window: time.Hour}, Cost: 1}
	first, _ := take(tight)
	for _, l := range []ratelimit.Limit{
		{Name: "exact", Quota: 5, Window: time.Minute},
		{Name: "counted", Quota: 50, Window: time.Minute},
		{Name: "smooth", Kind: ratelimit.Smooth, Quota: 50, Burst: 50, Window: time.Minute},
	} {
		c := ratelimit.Charge{Key: newLimitKey(), Limit: l, Cost: 5}
		kept, _ := take(c)
		written := redisChanges(t, client)
		for range 3 {
			if _, ok := take(c, tight); ok || size() != 2 {
				t.Errorf("%s: admitted: %t, and there are %d keys, want refused and 2", l.Name, ok, size())
			}
		}
		if n := redisChanges(t, client) - written; n != 0 {
			t.Errorf("%s: refused requests have written %d times", l.Name, n)
		}
		if err := store.Refund(t.Context(), kept); err != nil {
			t.Error(err)
		}
		receipt, _ := take(c)
		for _, key := range client.Keys(t.Context(), "*").Val() {
			if ttl := client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour*2 {
				t.Errorf("%s: the key ends after %v", l.Name, ttl)
			}
		}
		if err := store.Refund(t.Context(), receipt); err != nil {
			t.Error(err)
		}
		if n := size(); n != 1 && l.Kind != ratelimit.Smooth || n > 2 {
			t.Errorf("%s: there are %d keys after the refund, want 1", l.Name, n)
		}
		client.Do(t.Context(), "FLUSHDB")
		first, _ = take(tight)
	}
	if err := store.Refund(t.Context(), first); err != nil || size() != 0 {
		t.Errorf("%d keys are left, %v", size(), err)
	}
}

// packed is how numbers are kept.
func packed(numbers ...float64) string {
	var b []byte
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(n))
	}
	return string(b)
}

// redisChanges returns how often something was written to the server.
func redisChanges(t *testing.T, client *redis.Client) (n int) {
	t.Helper()
	_, rest, _ := strings.Cut(client.Info(t.Context(), "persistence").Val(), "rdb_changes_since_last_save:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRefundsOfRedisOnlyGiveBackTheirOwn: what was spent in the same tenth of the
// window, and is counted for a little longer than the window, is not given back
// by a receipt whose own window has passed.
func TestRefundsOfRedisOnlyGiveBackTheirOwn(t *testing.T) {
	server := servers.Redis(t, "--appendfsync", "no") // a server of its own, in which keys are counted
	client := redisForLimits(t, server.Addr)
	store := openRedisLimits(t, limitsByGoRedis(client), redisstore.Config{})
	l := ratelimit.Limit{Name: "long", Quota: 50, Window: 10_000 * time.Second}
	bill := []ratelimit.Charge{{Key: newLimitKey(), Limit: l, Cost: 5}}
	if _, _, err := store.Take(t.Context(), bill); err != nil {
		t.Fatal(err)
	}
	key := client.Keys(t.Context(), "*").Val()[0]
	at := time.Now().Add(-l.Window - time.Millisecond).UnixMicro()
	tenth := l.Window.Microseconds() / 10
	others := packed(7, float64((at/tenth+11)*tenth), 7)
	if err := client.Set(t.Context(), key, others, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	if err := store.Refund(t.Context(), ratelimit.NewReceipt(time.Duration(at)*time.Microsecond, bill)); err != nil {
		t.Fatal(err)
	}
	if got := client.Get(t.Context(), key).Val(); got != others {
		t.Errorf("the value is %q after the refund, want %q", got, others)
	}
}

// TestLimitsOfRedisWhoseClockWasSetBack: what was spent an hour from now, as the
// clock has it, is kept for one window and no longer.
func TestLimitsOfRedisWhoseClockWasSetBack(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--appendfsync", "no") // a server of its own, in which keys are counted
	client := redisForLimits(t, server.Addr)
	var keys []string // of the last command
	eval := limitsByGoRedis(client)
	store := openRedisLimits(t, func(ctx context.Context, script string, k []string, args ...any) (any, error) {
		keys = k
		return eval(ctx, script, k, args...)
	}, redisstore.Config{})
	for _, tt := range []struct {
		limit ratelimit.Limit
		value func(us float64) string
	}{
		{ratelimit.Limit{Name: "exact", Quota: 5, Window: 100 * time.Millisecond}, func(us float64) string { return packed(5, us, 5) }},
		{ratelimit.Limit{Name: "counted", Quota: 50, Window: 100 * time.Millisecond}, func(us float64) string { return packed(50, us, 50) }},
		{ratelimit.Limit{Name: "smooth", Kind: ratelimit.Smooth, Quota: 50, Burst: 50, Window: 100 * time.Millisecond}, func(us float64) string { return packed(us, 0) }},
	} {
		bill := []ratelimit.Charge{{Key: newLimitKey(), Limit: tt.limit, Cost: 1}}
		if _, _, err := store.Take(t.Context(), bill); err != nil {
			t.Fatal(err)
		}
		future := tt.value(float64(time.Now().Add(time.Hour).UnixMicro()))
		if err := client.Set(t.Context(), keys[0], future, 0).Err(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		refused, admitted := false, false
		for !admitted && time.Since(begin) < 5*time.Second {
			states, _, err := store.Take(t.Context(), bill)
			if err != nil {
				t.Fatal(err)
			}
			refused = refused || states[0].Refused
			admitted = !states[0].Refused
			time.Sleep(5 * time.Millisecond)
		}
		if !refused || !admitted {
			t.Errorf("%s: refused: %t, admitted within 5 s: %t, want both", tt.limit.Name, refused, admitted)
		}
	}
}
