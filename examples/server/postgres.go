package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// parsePostgres reads the URL of -db. What the error quotes must have no
// password in it, and nobody knows where it is in a URL that cannot be read.
func parsePostgres(url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("-db is no URL of PostgreSQL, want postgres://user:password@host:5432/database?sslmode=verify-full," +
			" with %40 for @ and %2F for / in the password")
	}
	// Whoever waits for longer is better told to come back.
	const patience = 5 * time.Second
	if config.ConnectTimeout <= 0 || config.ConnectTimeout > patience {
		config.ConnectTimeout = patience
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "gatewright"
	}
	return config, nil
}

// nameOfPostgres is what may be shown of it.
func nameOfPostgres(config *pgx.ConnConfig) string {
	return "postgres://" + net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))) + "/" + config.Database
}

// Pools of connections, so that a rush of one kind does not keep the others
// waiting: who is limited takes none from those who are served, and what was
// revoked is read on time whatever else there is to do. With the one that
// listens a server has 26 at most; PostgreSQL usually allows 100.
const (
	requestConns    = 16
	limitConns      = 6
	revocationConns = 3
)

func openPool(config *pgx.ConnConfig, most int) *sql.DB {
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most) // or a rush would open and close them all the time
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// openPostgres opens the database and brings its tables up to date.
func openPostgres(ctx context.Context, config *pgx.ConnConfig) (*sql.DB, error) {
	db := openPool(config, requestConns)
	if err := migrate(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("-db %s: %w", nameOfPostgres(config), err), db.Close())
	}
	return db, nil
}

// listenPostgres calls heard for each revocation, and first of all, since there
// may have been some before. It returns when the connection is lost.
func listenPostgres(ctx context.Context, config *pgx.ConnConfig, heard func()) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it is lost, or nobody listens any more
	}()
	if _, err := conn.Exec(ctx, "LISTEN revocations"); err != nil {
		return err
	}
	for {
		heard()
		if err := waitForNotification(ctx, conn); err != nil {
			return err
		}
	}
}

// quiet is how long a connection that listens may say nothing before it is
// asked whether it is still there: of one that was cut off nothing is heard.
const quiet = 15 * time.Second

func waitForNotification(ctx context.Context, conn *pgx.Conn) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, quiet)
		_, err := conn.WaitForNotification(waiting)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		err = conn.Ping(asking)
		cancel()
		if err != nil {
			return err
		}
	}
}
