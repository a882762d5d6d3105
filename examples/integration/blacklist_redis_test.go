package integration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/blacklisttest"
	"github.com/gatewright/gatewright/blacklist/redislog"
	"github.com/gatewright/gatewright/examples/integration/servers"
)

// goRedisLog returns another client's view of the log.
func goRedisLog(t *testing.T, addr string, config redislog.Config) (*redislog.Log, *redis.Client) {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true, DialTimeout: 2 * time.Second,
	})
	t.Cleanup(func() { client.Close() })
	log, err := redislog.New(func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
	}, config)
	if err != nil {
		t.Fatal(err)
	}
	return log, client
}

func rueidisLog(t *testing.T, addr string, config redislog.Config) *redislog.Log {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableRetry: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	log, err := redislog.New(func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		words := make([]string, len(args))
		for i, a := range args {
			words[i] = a.(string)
		}
		return rueidis.NewLuaScript(script).Exec(ctx, client, keys, words).ToAny()
	}, config)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestRevocationsInRedis(t *testing.T) {
	server := servers.Redis(t)
	open := func(t *testing.T) blacklist.Log {
		log, _ := goRedisLog(t, server.Addr, redislog.Config{})
		return log
	}
	t.Run("conformance", func(t *testing.T) { blacklisttest.RunLog(t, open) })
	t.Run("conformance by rueidis", func(t *testing.T) {
		blacklisttest.RunLog(t, func(t *testing.T) blacklist.Log {
			return rueidisLog(t, server.Addr, redislog.Config{Prefix: "rueidis"})
		})
	})
	t.Run("conformance of a replica", func(t *testing.T) { replicaKeepsTheRules(t, open) })
	t.Run("a reader sees everything in order while several processes append", func(t *testing.T) { readWhileAppending(t, open) })
	t.Run("a logout is known elsewhere within a second", func(t *testing.T) { logoutElsewhere(t, open) })
	ownServer(t, "GATEWRIGHT_REDIS")
	t.Run("keys", func(t *testing.T) { redisKeys(t, server.Addr) })
	t.Run("settings", func(t *testing.T) { redisSettings(t, server.Addr) })
	t.Run("a replica of the server is not read from", func(t *testing.T) {
		other := servers.Redis(t)
		log, client := goRedisLog(t, other.Addr, redislog.Config{})
		if err := log.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		host, port, _ := strings.Cut(server.Addr, ":")
		if err := client.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := log.Since(t.Context(), 0, 10); err == nil || !strings.Contains(err.Error(), "the server is a replica") {
			t.Errorf("Since: %v", err)
		}
		if _, err := log.Append(t.Context(), someEntry(0)); err == nil {
			t.Error("a replica recorded an entry")
		}
	})
	t.Run("paused longer than MaxStale, it makes 503 of who is not known to be revoked", func(t *testing.T) { redisPaused(t, server, open) })
	t.Run("killed and started again, it has every acknowledged revocation", func(t *testing.T) {
		old, names := acknowledgedSurvive(t, server, open)
		redisLost(t, server, open, old, names)
	})
}

// redisLost goes on where the server loses everything.
func redisLost(t *testing.T, server *servers.Server, open func(*testing.T) blacklist.Log, old *blacklist.Replica, names []string) {
	log := open(t)
	position, err := log.Append(t.Context(), someEntry(0))
	if err != nil {
		t.Fatal(err)
	}
	server.Kill(t)
	server.Lose(t)
	server.Start(t)
	eventually(t, "Since answers ErrRewound", func() error {
		_, _, err := log.Since(t.Context(), position, 10)
		if err == nil {
			t.Fatal("a log without data goes on as if nothing had happened")
		}
		if errors.Is(err, blacklist.ErrRewound) {
			return nil
		}
		return err
	})
	eventually(t, "the old node reads again", func() error { return old.Refresh(t.Context()) })
	fresh := node(t, open(t), blacklist.ReplicaConfig{})
	name := rand.Text()
	if err := logout(t.Context(), fresh, name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old node follows the new log", func() error { return refused(old, name) })
	for _, name := range names {
		if err := refused(old, name); err != nil {
			t.Fatalf("after the server has lost everything: %v", err)
		}
	}
	if refused(fresh, names[0]) == nil {
		t.Error("the data was not lost, and nothing was tested")
	}
	if next, err := log.Append(t.Context(), someEntry(0)); err != nil || next <= position {
		t.Errorf("it gives the number %d after %d, %v", next, position, err)
	}
}

func redisPaused(t *testing.T, server *servers.Server, open func(*testing.T) blacklist.Log) {
	r := node(t, open(t), blacklist.ReplicaConfig{
		Poll: 50 * time.Millisecond, ReadTimeout: 300 * time.Millisecond, WriteTimeout: 300 * time.Millisecond, MaxStale: time.Second,
	})
	get := protected(t, r)
	known, unknown := rand.Text(), rand.Text()
	if err := logout(t.Context(), r, known); err != nil {
		t.Fatal(err)
	}
	status := func(name string, want int) func() error {
		return func() error {
			if got := get(name); got != want {
				return fmt.Errorf("%d, want %d", got, want)
			}
			return nil
		}
	}
	eventually(t, "who is not revoked is let in", status(unknown, http.StatusNoContent))
	server.Pause()
	defer server.Continue()
	began := time.Now()
	eventually(t, "paused for MaxStale", status(unknown, http.StatusServiceUnavailable))
	t.Logf("503 after a pause of %v", time.Since(began))
	for range 20 {
		if err := errors.Join(status(known, http.StatusUnauthorized)(), status(unknown, http.StatusServiceUnavailable)()); err != nil {
			t.Fatalf("while paused: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := logout(t.Context(), r, rand.Text()); err == nil {
		t.Error("a logout was acknowledged by a server that does nothing")
	}
	server.Continue()
	took := eventually(t, "going on", status(unknown, http.StatusNoContent))
	t.Logf("let in again %v after the pause", took)
	if took > 5*time.Second { // a second is wanted; the machine may be busy
		t.Errorf("let in again %v after the pause", took)
	}
	if err := status(known, http.StatusUnauthorized)(); err != nil {
		t.Error(err)
	}
}

// redisKeys changes the keys under the log.
func redisKeys(t *testing.T, addr string) {
	ctx := t.Context()
	log, client := goRedisLog(t, addr, redislog.Config{Prefix: "keys"})
	const stream, expires = "{keys}:log", "{keys}:expires"
	add := func(entries ...blacklist.Entry) uint64 {
		t.Helper()
		n, err := log.Append(ctx, entries...)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if entries, last, err := log.Since(ctx, 0, 10); len(entries) != 0 || last != 0 || err != nil {
		t.Errorf("an empty log: %v, %d, %v", entries, last, err)
	}
	now := time.Now().UnixMicro()
	first := add(someEntry(0))
	if d := int64(first) - now; d < -5e6 || d > 60e6 {
		t.Errorf("the number %d is %d µs from the time", first, d)
	}
	ended, never, far := someEntry(0), someEntry(0), someEntry(0)
	ended.Expires, never.Expires, far.Expires = now-1, 0, 1<<62
	add(ended, never, far)
	if _, err := log.DeleteExpired(ctx, time.UnixMicro(now-2)); err != nil || client.XLen(ctx, stream).Val() != 4 {
		t.Errorf("compacting before anything has expired: %v, %d left", err, client.XLen(ctx, stream).Val())
	}
	if _, err := log.DeleteExpired(ctx, time.UnixMicro(now)); err != nil || client.XLen(ctx, stream).Val() != 3 || client.ZCard(ctx, expires).Val() != 1 {
		t.Errorf("compacting: %v, %d left, %d of them expire", err, client.XLen(ctx, stream).Val(), client.ZCard(ctx, expires).Val())
	}

	// As if the clock had been an hour ahead: 2^53 is far away.
	future := uint64(now) + 3600e6
	id := fmt.Sprintf("%d-0", future)
	for name, values := range map[string][]string{
		"no entry":       {"e", "nonsense"},
		"another field":  {"f", "nonsense"},
		"several fields": {"e", "x", "f", "y"},
	} {
		if err := client.XAdd(ctx, &redis.XAddArgs{Stream: stream, ID: id, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
		if entries, last, err := log.Since(ctx, 0, 10); err == nil || entries != nil || last != 0 {
			t.Errorf("%s: %v, %d, %v, want an error", name, entries, last, err)
		}
		client.XDel(ctx, stream, id)
		future++
		id = fmt.Sprintf("%d-0", future)
	}
	if n := add(someEntry(0), someEntry(0)); n != future+1 {
		t.Errorf("with the clock set back, the last of two after %d is %d", future-1, n)
	}
	// A thousand and more at once are several scripts.
	var many []blacklist.Entry
	for range 1201 {
		e := someEntry(0)
		e.Expires = now
		many = append(many, e)
	}
	last := add(many...)
	entries, end, err := log.Since(ctx, future+1, 5000)
	if len(entries) != len(many) || end != last || err != nil {
		t.Errorf("%d entries up to %d, %v, want %d up to %d", len(entries), end, err, len(many), last)
	}
	t.Logf("%d bytes an entry", (client.MemoryUsage(ctx, stream, 0).Val()+client.MemoryUsage(ctx, expires, 0).Val())/client.XLen(ctx, stream).Val())
	if _, err := log.DeleteExpired(ctx, time.Now()); err != nil || client.ZCard(ctx, expires).Val() != 3 {
		t.Errorf("compacting: %v, and %d expire", err, client.ZCard(ctx, expires).Val())
	}
	client.XTrimMaxLen(ctx, stream, 0)
	if n := add(someEntry(0)); n != last+1 {
		t.Errorf("without entries, %d follows %d", n, last)
	}
	client.XTrimMaxLen(ctx, stream, 0)
	if err := client.XAdd(ctx, &redis.XAddArgs{Stream: stream, ID: fmt.Sprintf("%d-0", uint64(1)<<53), Values: []string{"e", ""}}).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(ctx, someEntry(0)); err == nil {
		t.Error("there is a number after the last one")
	}
	client.Set(ctx, stream, "something else", 0)
	if _, err := log.Append(ctx, someEntry(0)); err == nil {
		t.Error("recorded in a key of another type")
	}
	if _, _, err := log.Since(ctx, 0, 10); err == nil {
		t.Error("read from a key of another type")
	}
}

// redisSettings changes the settings of the server, and back.
func redisSettings(t *testing.T, addr string) {
	ctx := t.Context()
	tests := []struct {
		name, setting, value, restore string
		config                        redislog.Config
		want                          string
	}{
		{"an eviction policy is refused", "maxmemory-policy", "allkeys-lru", "noeviction", redislog.Config{}, `maxmemory-policy is "allkeys-lru" and must be noeviction`},
		{"volatile-lru too", "maxmemory-policy", "volatile-lru", "noeviction", redislog.Config{}, `maxmemory-policy is "volatile-lru" and must be noeviction`},
		{"unless it is told to", "maxmemory-policy", "allkeys-lru", "noeviction", redislog.Config{InsecureEviction: true}, ""},
		{"no append-only file is refused", "appendonly", "no", "yes", redislog.Config{}, `aof_enabled is "0" and must be 1`},
		{"and may be allowed", "appendonly", "no", "yes", redislog.Config{InsecureVolatile: true}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, client := goRedisLog(t, addr, tt.config)
			start, err := before.Append(ctx, someEntry(0))
			if err != nil {
				t.Fatal(err)
			}
			if err := client.ConfigSet(ctx, tt.setting, tt.value).Err(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				eventually(t, "restored", func() error { return client.ConfigSet(ctx, tt.setting, tt.restore).Err() })
				eventually(t, "checked", func() error { return before.Ready(ctx) })
			}()
			fresh, _ := goRedisLog(t, addr, tt.config)
			for doing, f := range map[string]func() error{
				"Ready":         func() error { return fresh.Ready(ctx) },
				"Since":         func() error { _, _, err := fresh.Since(ctx, 0, 1); return err },
				"Append":        func() error { _, err := fresh.Append(ctx, someEntry(0)); return err },
				"Append, later": func() error { _, err := before.Append(ctx, someEntry(0)); return err },
			} {
				err := f()
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%s: %v, want %q", doing, err, tt.want)
				}
			}
			if entries, _, err := before.Since(ctx, start, 10); tt.want != "" && (len(entries) > 0 || err != nil) {
				t.Errorf("recorded %d entries all the same, %v", len(entries), err)
			}
		})
	}
}
