package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/goredisstore.v9"
	"github.com/ulule/limiter/v3"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
	"github.com/gatewright/gatewright/ratelimit/sqlstore"
)

// storeJobs compares decisions that a server makes for several processes: a
// redis-server and a PostgreSQL of this run's own, on the loopback interface, on
// the processors that the clients have too. A job's time is that of one decision
// with all its goroutines at work, so that a second divided by it is the
// decisions per second.
//
// Everybody has the same client of Redis, but where rueidis is named, with a
// connection for each goroutine. Ours is the [ratelimit.Store] as it is; "the
// whole limiter" is a request at a [ratelimit.Limiter], which asks its own table
// first, gives the store 50 ms and has a fallback.
//
// What they promise differs: ulule counts in windows that begin with the first
// request and admits 2N around their end, which takes Redis two commands where
// ours takes three; redis_rate and throttled are GCRA, which is our smooth. Ours
// is strict, never more than N in any window, unless it says otherwise.
func storeJobs(s *stay) []job {
	redisServer := s.start(func(tb testing.TB) *servers.Server {
		// Nobody's disk is measured.
		return servers.Redis(tb, "--appendonly", "no")
	})
	postgres := s.start(func(tb testing.TB) *servers.Server { return servers.PostgreSQL(tb) })

	var jobs []job
	beside := func(name, peer string, goroutines int, theirs, ours func(testing.TB) decider, bound string) {
		jobs = append(jobs, job{name, peer, map[string]func(*testing.B){
			peer:         func(b *testing.B) { decide(b, goroutines, peer, theirs(b)) },
			"gatewright": func(b *testing.B) { decide(b, goroutines, "gatewright", ours(b)) },
		}, bound})
	}
	inRedis := func(who string, keys int, kind ratelimit.Kind) func(testing.TB) decider {
		return func(tb testing.TB) decider { return redisDecider(tb, redisServer(tb).Addr, who, keys, kind) }
	}
	for _, keys := range []int{1, 10_000} {
		for _, goroutines := range []int{1, 2, 32} {
			for _, peer := range []string{"ulule", "redis_rate", "throttled"} {
				beside("Redis, "+plural(keys, "key")+", "+plural(goroutines, "goroutine"), peer, goroutines,
					inRedis(peer, keys, ratelimit.Strict), inRedis("gatewright", keys, ratelimit.Strict), "<= 1")
			}
		}
	}
	for _, keys := range []int{1, 10_000} {
		name := "Redis, " + plural(keys, "key") + ", 32 goroutines"
		beside(name+", smooth", "redis_rate", 32, inRedis("redis_rate", keys, ratelimit.Smooth), inRedis("gatewright", keys, ratelimit.Smooth), "<= 1")
		beside(name+", by rueidis", "ulule", 32, inRedis("ulule", keys, ratelimit.Strict), inRedis("rueidis", keys, ratelimit.Strict), "< 1")
	}
	for _, goroutines := range []int{1, 32} {
		beside("Redis, 10000 keys, "+plural(goroutines, "goroutine")+", the whole limiter", "redisstore", goroutines,
			inRedis("gatewright", 10_000, ratelimit.Strict), inRedis("limiter", 10_000, ratelimit.Strict), "")
		beside("PostgreSQL, 10000 keys, "+plural(goroutines, "goroutine"), "an upsert", goroutines,
			func(tb testing.TB) decider { return upsertDecider(tb, postgres(tb).URL, 10_000) },
			func(tb testing.TB) decider { return sqlDecider(tb, postgres(tb).URL, 10_000) }, "")
		beside("revocation, 100000 tokens, "+plural(goroutines, "goroutine"), "Redis EXISTS", goroutines,
			func(tb testing.TB) decider { return existsDecider(tb, redisServer(tb).Addr) },
			func(testing.TB) decider { return replicaDecider() }, "<= 0.01")
	}
	return jobs
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// A decider makes the i-th decision.
type decider func(ctx context.Context, i int) error

// failures has who has reported one, so that nobody does so again and again.
var failures sync.Map

// decide lets n goroutines make decisions. throttled gives up a hot key after
// ten races lost: that is told, and counts as a decision.
func decide(b *testing.B, n int, who string, d decider) {
	ctx := b.Context()
	if err := d(ctx, 0); err != nil { // from here on the scripts are known
		fail(b, "%v", err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var next, failed atomic.Int64
	var one atomic.Value
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				if err := d(ctx, int(i)); err != nil {
					failed.Add(1)
					one.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if failed.Load() == 0 {
		return
	}
	why := fmt.Sprintf("%d of %d decisions of %d goroutines failed: %s", failed.Load(), b.N, n, one.Load())
	if who != "throttled" {
		fail(b, "%s", why)
	}
	if _, told := failures.LoadOrStore(who, true); !told {
		fmt.Fprintf(os.Stderr, "%s: %s\n", who, why)
	}
}

func redisDecider(tb testing.TB, addr, who string, keys int, kind ratelimit.Kind) decider {
	const plenty = 1_000_000_000
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true, PoolSize: 32})
	tb.Cleanup(func() { client.Close() })
	name := addresses(keys)
	limit := ratelimit.Limit{Name: "minute", Kind: kind, Quota: plenty, Window: time.Minute}
	if kind == ratelimit.Smooth {
		limit.Quota, limit.Burst = 1_000_000, 1_000_000
	}
	switch who {
	case "ulule":
		store := must(ululeredis.NewStore(client))
		rate := limiter.Rate{Limit: plenty, Period: time.Minute}
		return func(ctx context.Context, i int) error {
			_, err := store.Get(ctx, name(i%keys), rate)
			return err
		}
	case "redis_rate":
		l := redis_rate.NewLimiter(client)
		rate := redis_rate.Limit{Rate: 1_000_000, Burst: 1_000_000, Period: time.Minute}
		return func(ctx context.Context, i int) error {
			_, err := l.Allow(ctx, name(i%keys), rate)
			return err
		}
	case "throttled":
		store := must(goredisstore.NewCtx(client, "throttled:"))
		l := must(throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerDuration(1_000_000, time.Minute), MaxBurst: 1_000_000}))
		return func(ctx context.Context, i int) error {
			_, _, err := l.RateLimitCtx(ctx, name(i%keys), 1)
			return err
		}
	}
	eval := evalByGoRedis(client)
	if who == "rueidis" {
		eval = evalByRueidis(tb, addr)
	}
	store := must(redisstore.New(eval, redisstore.Config{}))
	if who == "limiter" {
		l := must(ratelimit.New(ratelimit.ByIP, ratelimit.Config{Store: store, Name: "bench", Secret: guard.NewSecret(make([]byte, 32))}, limit))
		pool := sync.Pool{New: func() any { return httptest.NewRequest("GET", "/", nil) }}
		return func(ctx context.Context, i int) error {
			r := pool.Get().(*http.Request)
			defer pool.Put(r)
			r.RemoteAddr = name(i % keys)
			return l.Check(r)
		}
	}
	return storeDecider(store, keys, limit)
}

// storeDecider charges one limit of each of so many keys.
func storeDecider(store ratelimit.Store, keys int, l ratelimit.Limit) decider {
	charges := make([]ratelimit.Charge, keys)
	for i := range charges {
		charges[i] = ratelimit.Charge{Limit: l, Cost: 1}
		binary.LittleEndian.PutUint64(charges[i].Key[:], uint64(i)) // the same in all runs, as names are
	}
	return func(ctx context.Context, i int) error {
		_, receipt, err := store.Take(ctx, charges[i%keys:][:1])
		if err == nil && receipt == (ratelimit.Receipt{}) {
			return fmt.Errorf("the store refuses")
		}
		return err
	}
}

func evalByGoRedis(client *redis.Client) func(context.Context, string, []string, ...any) (any, error) {
	var scripts sync.Map
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		s, ok := scripts.Load(script)
		if !ok {
			s, _ = scripts.LoadOrStore(script, redis.NewScript(script))
		}
		return s.(*redis.Script).Run(ctx, client, keys, args...).Result()
	}
}

func evalByRueidis(tb testing.TB, addr string) func(context.Context, string, []string, ...any) (any, error) {
	client := must(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableRetry: true, DisableCache: true}))
	tb.Cleanup(client.Close)
	var scripts sync.Map
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		s, ok := scripts.Load(script)
		if !ok {
			s, _ = scripts.LoadOrStore(script, rueidis.NewLuaScript(script))
		}
		words := make([]string, len(args))
		for i, a := range args {
			words[i] = a.(string)
		}
		return s.(*rueidis.Lua).Exec(ctx, client, keys, words).ToAny()
	}
}

func openPostgreSQL(tb testing.TB, url string) *sql.DB {
	db := must(sql.Open("pgx", url))
	tb.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	return db
}

func sqlDecider(tb testing.TB, url string, keys int) decider {
	db := openPostgreSQL(tb, url)
	must(db.Exec(sqlstore.Schema(sqlstore.PostgreSQL)))
	store := must(sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL}))
	return storeDecider(store, keys, ratelimit.Limit{Name: "minute", Quota: 1_000_000_000, Window: time.Minute})
}

// upsertDecider is the least that a host can do in SQL: to count, for ever.
func upsertDecider(tb testing.TB, url string, keys int) decider {
	db := openPostgreSQL(tb, url)
	must(db.Exec(`CREATE UNLOGGED TABLE IF NOT EXISTS counted (id TEXT PRIMARY KEY, n BIGINT NOT NULL) WITH (fillfactor = 50)`))
	name := addresses(keys)
	return func(ctx context.Context, i int) error {
		var n int64
		return db.QueryRowContext(ctx, `INSERT INTO counted (id, n) VALUES ($1, 1)
			ON CONFLICT (id) DO UPDATE SET n = counted.n + 1 RETURNING n`, name(i%keys)).Scan(&n)
	}
}

// revokedTokens is how many are revoked where revocations are asked for, of twice
// as many tokens that there are.
const revokedTokens = 100_000

var allTokens = sync.OnceValue(func() []string {
	all := make([]string, 2*revokedTokens)
	for i := range all {
		all[i] = fmt.Sprintf("revoked:%026d", i)
	}
	return all
})

func existsDecider(tb testing.TB, addr string) decider {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true, PoolSize: 32})
	tb.Cleanup(func() { client.Close() })
	ctx, tokens := context.Background(), allTokens()
	for i := 0; i < revokedTokens; i += 1000 {
		p := client.Pipeline()
		for j := range 1000 {
			p.Set(ctx, tokens[i+j], 1, time.Hour)
		}
		must(p.Exec(ctx))
	}
	return func(ctx context.Context, i int) error {
		return client.Exists(ctx, tokens[revokedTokens+i%revokedTokens]).Err()
	}
}

var replicaDecider = sync.OnceValue(func() decider {
	ctx, tokens := context.Background(), allTokens()
	r := must(blacklist.NewReplica(&blacklist.MemoryLog{MaxEntries: 2 * revokedTokens}, blacklist.ReplicaConfig{MaxStale: time.Hour}))
	if err := r.Refresh(ctx); err != nil {
		panic(err)
	}
	for _, token := range tokens[:revokedTokens] {
		what := identity.Revocation{Issuer: "https://auth.example.com", Credential: token, Expires: time.Now().Add(benchLifetime)}
		if err := r.Revoke(ctx, what); err != nil {
			panic(err)
		}
	}
	now := time.Now()
	return func(ctx context.Context, i int) error {
		_, err := r.Revoked(ctx, &identity.Principal{
			Issuer: "https://auth.example.com", Credential: tokens[revokedTokens+i%revokedTokens], IssuedAt: now,
		})
		return err
	}
})
