package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/gatewright/gatewright/auth"
	sessionsinredis "github.com/gatewright/gatewright/auth/redisstore"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/redislog"
	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
	limitsinredis "github.com/gatewright/gatewright/ratelimit/redisstore"
	"github.com/gatewright/gatewright/totp"
	factorsinredis "github.com/gatewright/gatewright/totp/redisstore"
)

// The clients as the documentation of the stores sets them up.

func goRedis(t testing.TB, options *goredis.Options) evalFunc {
	options.MaxRetries, options.ContextTimeoutEnabled, options.DialerRetries = -1, true, 1
	client := goredis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		return goredis.NewScript(script).Run(ctx, client, keys, args...).Result()
	}
}

func rueidisEval(t testing.TB, addr string) evalFunc {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, DisableRetry: true, DisableCache: true, ConnLifetime: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		words := make([]string, len(args))
		for i, a := range args {
			words[i] = a.(string)
		}
		return rueidis.NewLuaScript(script).Exec(ctx, client, keys, words).ToAny()
	}
}

func redigoEval(t testing.TB, addr string) evalFunc {
	pool := &redis.Pool{
		MaxIdle: 16, MaxConnLifetime: 5 * time.Second,
		DialContext: func(ctx context.Context) (redis.Conn, error) { return redis.DialContext(ctx, "tcp", addr) },
	}
	t.Cleanup(func() { pool.Close() })
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		conn, err := pool.GetContext(ctx)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		words := []any{}
		for _, key := range keys {
			words = append(words, key)
		}
		return redis.NewScript(len(keys), script).DoContext(ctx, conn, append(words, args...)...)
	}
}

func TestReadyOfRedisProvesAWrite(t *testing.T) {
	ctx := t.Context()
	primary := servers.Redis(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	check := func(t *testing.T, eval evalFunc, want string) {
		t.Helper()
		for name, store := range redisStores(t, eval) {
			if err := store.Ready(ctx); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: Ready = %v, want %q", name, err, want)
			}
		}
		log, err1 := redislog.New(eval, redislog.Config{InsecureEviction: true, InsecureVolatile: true})
		factors, err2 := factorsinredis.New(eval, factorsinredis.Config{InsecureEviction: true, InsecureVolatile: true})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if _, _, err := log.Since(ctx, 0, 10); (err == nil) != (want == "") {
			t.Errorf("Since = %v, want %q", err, want)
		}
		if _, err := factors.LoadTOTP(ctx, "alice"); (err == nil) != (want == "") {
			t.Errorf("LoadTOTP = %v, want %q", err, want)
		}
	}
	t.Run("a primary", func(t *testing.T) { check(t, goRedis(t, &goredis.Options{Addr: primary.Addr}), "") })
	t.Run("a replica", func(t *testing.T) {
		replica := servers.Redis(t, "--replicaof", host+" "+port)
		client := goredis.NewClient(&goredis.Options{Addr: replica.Addr})
		defer client.Close()
		eventually(t, "it follows", func() error {
			info, err := client.Info(ctx, "replication").Result()
			if err == nil && !strings.Contains(info, "master_link_status:up") {
				err = errors.New("the link is not up")
			}
			return err
		})
		check(t, goRedis(t, &goredis.Options{Addr: replica.Addr}), "the server is a replica")
		check(t, rueidisEval(t, replica.Addr), "the server is a replica")
		check(t, redigoEval(t, replica.Addr), "the server is a replica")
	})
	t.Run("a primary without enough replicas", func(t *testing.T) {
		alone := servers.Redis(t, "--min-replicas-to-write", "1")
		check(t, goRedis(t, &goredis.Options{Addr: alone.Addr}), "NOREPLICAS")
	})
	t.Run("a server without memory", func(t *testing.T) {
		full := servers.Redis(t, "--maxmemory", "1")
		eval := goRedis(t, &goredis.Options{Addr: full.Addr})
		for name, store := range redisStores(t, eval) {
			if err := store.Ready(ctx); err == nil || !strings.Contains(err.Error(), "OOM") {
				t.Errorf("%s: Ready = %v, want OOM", name, err)
			}
		}
	})
}

// A user of the server with the rights that the error lists, on the keys of one
// prefix, can use each store; without one of them the error names the command.
func TestRightsOfARedisUser(t *testing.T) {
	ctx := t.Context()
	server := servers.Redis(t)
	admin := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer admin.Close()
	users := 0
	as := func(t *testing.T, rules string) evalFunc {
		t.Helper()
		users++
		name := fmt.Sprint("user", users)
		command := []any{"ACL", "SETUSER", name, "reset", "on", ">password"}
		for _, rule := range strings.Fields(rules) {
			command = append(command, rule)
		}
		if err := admin.Do(ctx, command...).Err(); err != nil {
			t.Fatal(err)
		}
		if err := admin.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		return goRedis(t, &goredis.Options{Addr: server.Addr, Username: name, Password: "password", Protocol: 2, DisableIdentity: true})
	}
	// Each use calls all methods of a store, and returns the first error.
	uses := map[string]func(evalFunc, string) error{
		"auth/redisstore": func(eval evalFunc, prefix string) error {
			s, err := sessionsinredis.New(eval, sessionsinredis.Config{Prefix: prefix})
			if err != nil {
				return err
			}
			now := time.Now()
			session := auth.Session{ID: "s" + prefix, Subject: "alice", Tenant: "t", Created: now, Expires: now.Add(time.Hour)}
			return errors.Join(s.Ready(ctx),
				second(s.CreateRefresh(ctx, session, auth.TokenHash{1}, now.Add(time.Hour), 100)),
				second(s.RotateRefresh(ctx, auth.Rotation{Session: session.ID, Old: auth.TokenHash{1}, New: auth.TokenHash{2}, Now: now, Idle: time.Hour})),
				second(s.Sessions(ctx, "alice")),
				second(s.AttemptChallenge(ctx, auth.TokenHash{3}, 5, now.Add(time.Hour))),
				second(s.FinishChallenge(ctx, auth.TokenHash{3})),
				s.RevokeRefresh(ctx, revokeSubject("alice")))
		},
		"totp/redisstore": func(eval evalFunc, prefix string) error {
			s, err := factorsinredis.New(eval, factorsinredis.Config{Prefix: prefix})
			if err != nil {
				return err
			}
			return errors.Join(s.Ready(ctx), second(s.LoadTOTP(ctx, "alice")), second(s.SaveTOTP(ctx, "alice", totp.Record{})))
		},
		"ratelimit/redisstore": func(eval evalFunc, prefix string) error {
			s, err := limitsinredis.New(eval, limitsinredis.Config{Prefix: prefix})
			if err != nil {
				return err
			}
			_, receipt, err := s.Take(ctx, []ratelimit.Charge{
				{Key: newLimitKey(), Limit: ratelimit.Limit{Name: "hour", Quota: 5, Window: time.Hour}, Cost: 1},
				{Key: newLimitKey(), Limit: ratelimit.Limit{Name: "second", Kind: ratelimit.Smooth, Quota: 3, Burst: 2, Window: time.Second}, Cost: 1},
			})
			many := []ratelimit.Charge{{Key: newLimitKey(), Limit: ratelimit.Limit{Name: "day", Quota: 1000, Window: 24 * time.Hour}, Cost: 1}}
			var errs []error
			for range 3 {
				_, _, err := s.Take(ctx, many)
				errs = append(errs, err)
			}
			return errors.Join(append(errs, s.Ready(ctx), err, s.Refund(ctx, receipt))...)
		},
		"blacklist/redislog": func(eval evalFunc, prefix string) error {
			l, err := redislog.New(eval, redislog.Config{Prefix: prefix})
			if err != nil {
				return err
			}
			e := someEntry(1)
			e.Expires = 1
			return errors.Join(l.Ready(ctx), second(l.Append(ctx, e)), func() error { _, _, err := l.Since(ctx, 0, 10); return err }(), second(l.DeleteExpired(ctx, time.Now())))
		},
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			prefix := strings.ReplaceAll(name, "/", ".")
			err := use(as(t, "~*"), prefix)
			if err == nil {
				t.Fatal("a user without rights is no error")
			}
			_, list, found := strings.Cut(err.Error(), "the user of the server needs ")
			rights, _, _ := strings.Cut(list, " and the keys of")
			if !found || !strings.HasPrefix(rights, "+eval ") {
				t.Fatalf("the error %q does not list rights", err)
			}
			page, err := os.ReadFile("../../" + name + "/doc.go")
			if err != nil {
				t.Fatal(err)
			}
			if words := strings.Join(strings.Fields(strings.ReplaceAll(string(page), "//", "")), " "); !strings.Contains(words, rights) {
				t.Errorf("the documentation does not list %s", rights)
			}
			keys := " ~{" + prefix + "}:* ~" + prefix + ":*"
			if err := use(as(t, rights+keys), prefix); err != nil {
				t.Errorf("with %s%s: %v", rights, keys, err)
			}
			for _, right := range strings.Fields(rights) {
				without := strings.Join(strings.Split(" "+rights+" ", " "+right+" "), " ")
				users := users
				other := fmt.Sprint(prefix, users)
				err := use(as(t, without+" ~{"+other+"}:* ~"+other+":*"), other)
				if command := right[1:]; err == nil && command != "evalsha" || err != nil && !strings.Contains(err.Error(), command) {
					t.Errorf("without %s: %v", right, err)
				}
			}
		})
	}
}

// The address leads to another server, and connections that are open stay with
// the former primary, which is a replica now.
func TestClientsLeaveAFormerPrimary(t *testing.T) {
	for name, open := range map[string]func(t testing.TB, addr string) evalFunc{
		"go-redis": func(t testing.TB, addr string) evalFunc { return goRedis(t, &goredis.Options{Addr: addr}) },
		"rueidis":  rueidisEval,
		"redigo":   redigoEval,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			former, next := servers.Redis(t), servers.Redis(t)
			proxy := newSwitch(t, former.Addr)
			eval := open(t, proxy.addr)
			stores := redisStores(t, eval)
			log := stores["blacklist/redislog"].(*redislog.Log)
			for name, store := range stores {
				if err := store.Ready(ctx); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			replica, err := blacklist.NewReplica(log, blacklist.ReplicaConfig{})
			if err != nil {
				t.Fatal(err)
			}
			if err := replica.Refresh(ctx); err != nil {
				t.Fatal(err)
			}
			proxy.to(next.Addr)
			host, port, _ := net.SplitHostPort(next.Addr)
			admin := goredis.NewClient(&goredis.Options{Addr: former.Addr})
			defer admin.Close()
			if err := admin.Do(ctx, "REPLICAOF", host, port).Err(); err != nil {
				t.Fatal(err)
			}
			if name == "rueidis" || name == "redigo" {
				if err := replica.Refresh(ctx); err == nil {
					t.Error("the former primary is read from as if nothing had happened")
				}
			}
			began := time.Now()
			eventually(t, "every store works with the new primary", func() error {
				var errs []error
				for name, store := range stores {
					if err := store.Ready(ctx); err != nil {
						errs = append(errs, fmt.Errorf("%s: %w", name, err))
					}
				}
				return errors.Join(append(errs, replica.Refresh(ctx))...)
			})
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// A switch is an address that leads elsewhere for new connections.
type switchTo struct {
	addr string
	mu   sync.Mutex
	now  string
}

func newSwitch(t testing.TB, target string) *switchTo {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s := &switchTo{addr: listener.Addr().String(), now: target}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			target := s.now
			s.mu.Unlock()
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			go func() { io.Copy(in, out); in.Close() }()
			go func() { io.Copy(out, in); out.Close() }()
		}
	}()
	return s
}

func (s *switchTo) to(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = target
}
