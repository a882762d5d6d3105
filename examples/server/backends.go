package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatewright/gatewright/auth"
	sessionsinredis "github.com/gatewright/gatewright/auth/redisstore"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/redislog"
	"github.com/gatewright/gatewright/blacklist/sqllog"
	"github.com/gatewright/gatewright/ratelimit"
	limitsinredis "github.com/gatewright/gatewright/ratelimit/redisstore"
	limitstore "github.com/gatewright/gatewright/ratelimit/sqlstore"
	"github.com/gatewright/gatewright/totp"
	factorsinredis "github.com/gatewright/gatewright/totp/redisstore"
)

// Values of -revocations, -sessions and -factors that are no file.
const (
	inDatabase = "database"
	inRedis    = "redis"
)

// backends are where the server keeps what it keeps. The zero value keeps all of
// it in the database, but for limits and revocations, which end with the
// process.
type backends struct {
	revocations blacklist.Log
	limits      ratelimit.Store // nil: each process counts for itself
	sessions    sessionStore
	factors     totp.Store

	// listen calls heard when there is something new in revocations, and
	// returns when it cannot any more. nil: nobody tells.
	listen func(ctx context.Context, heard func()) error

	redis       func(context.Context) error // whether what is used of it can be used; nil: nothing is
	redisNeeded bool                        // and not only for limits

	close []func() error
}

// A sessionStore is what auth keeps sessions and challenges in.
type sessionStore interface {
	auth.RefreshStore
	auth.ChallengeStore
	lister
}

// openBackends opens what the command line says, beside the database. Whatever
// it returns is to be closed.
func openBackends(ctx context.Context, o options, db *sql.DB, log *slog.Logger) (b backends, err error) {
	if o.redisOptions != nil {
		if err := b.openRedis(ctx, o, log); err != nil {
			return b, err
		}
	}
	if b.limits == nil && o.postgres != nil {
		pool := openPool(o.postgres, limitConns)
		b.close = append(b.close, pool.Close)
		if b.limits, err = limitstore.New(pool, limitstore.Config{Dialect: limitstore.PostgreSQL}); err != nil {
			return b, err
		}
	}
	// SQLite alone counts no limits: a request would wait for its only writer,
	// and for the disk. Several processes on one file count each for itself,
	// or together in a Redis.
	return b, b.openRevocations(o, db)
}

// openRevocations opens the log of what was revoked. A file is the fastest and
// needs no database; a table and a Redis can be shared.
func (b *backends) openRevocations(o options, db *sql.DB) error {
	switch o.revocations {
	case inRedis: // done
	case inDatabase:
		if o.postgres != nil {
			db = openPool(o.postgres, revocationConns)
			b.close = append(b.close, db.Close)
			b.listen = func(ctx context.Context, heard func()) error { return listenPostgres(ctx, o.postgres, heard) }
		}
		log, err := sqllog.New(db, sqllog.Config{Dialect: dialect(db, sqllog.SQLite, sqllog.PostgreSQL)})
		b.revocations = log
		return err
	default:
		log, err := blacklist.OpenFile(o.revocations, blacklist.FileConfig{InsecureSkipDamaged: o.skipDamaged})
		if errors.Is(err, blacklist.ErrDamaged) {
			return fmt.Errorf("-revocations %s: the file is damaged (%w); restore it from a backup, or start with -insecure-skip-damaged, and what the damaged part revoked is good again", o.revocations, blacklist.ErrDamaged)
		}
		if err != nil {
			return fmt.Errorf("-revocations %s: %w (several processes that share a database take -revocations %s)", o.revocations, err, inDatabase)
		}
		b.revocations = log
		b.close = append(b.close, log.Close)
	}
	return nil
}

// openRedis makes what is kept in Redis. It need not answer yet if only limits
// are, for they fall back to what each process counts.
func (b *backends) openRedis(ctx context.Context, o options, log *slog.Logger) error {
	client := redis.NewClient(o.redisOptions)
	b.close = append(b.close, client.Close)
	eval := evalOn(client)
	limits, err := limitsinredis.New(eval, limitsinredis.Config{})
	if err != nil {
		return err
	}
	b.limits = limits
	ready := []func(context.Context) error{limits.Ready}
	if o.revocations == inRedis {
		revocations, err := redislog.New(eval, redislog.Config{})
		if err != nil {
			return err
		}
		b.revocations = announcedLog{revocations, client}
		b.listen = func(ctx context.Context, heard func()) error { return listenRedis(ctx, client, heard) }
		ready = append(ready, revocations.Ready)
	}
	if o.sessions == inRedis {
		sessions, err := sessionsinredis.New(eval, sessionsinredis.Config{})
		if err != nil {
			return err
		}
		b.sessions = sessions
		ready = append(ready, sessions.Ready)
	}
	if o.factors == inRedis {
		factors, err := factorsinredis.New(eval, factorsinredis.Config{})
		if err != nil {
			return err
		}
		b.factors = factors
		ready = append(ready, factors.Ready)
	}
	b.redisNeeded = len(ready) > 1
	b.redis = func(ctx context.Context) error {
		var errs []error
		for _, one := range ready {
			errs = append(errs, one(ctx))
		}
		return errors.Join(errs...)
	}

	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		err = fmt.Errorf("-redis %s: %w", nameOfRedis(o.redisOptions), err)
		if b.redisNeeded {
			return err
		}
		log.Warn("Redis does not answer, so that each process counts limits for itself until it does", "error", err)
		return nil
	}
	if err := b.redis(ctx); err != nil {
		return fmt.Errorf("-redis %s: %w", nameOfRedis(o.redisOptions), err)
	}
	return nil
}

// end closes what was opened.
func (b *backends) end() error {
	var errs []error
	for _, f := range b.close {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
