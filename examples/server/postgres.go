package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	if config.ValidateConnect == nil { // as target_session_attrs=read-write has it
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
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

// openPool returns a pool that uses connections which take writes only. A standby
// and a server that was fenced by default_transaction_read_only have old data, and
// the name in -db leads to another server by now.
func openPool(config *pgx.ConnConfig, most int) *sql.DB {
	db := stdlib.OpenDB(*config, stdlib.OptionResetSession(dropReadOnly))
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most) // or a rush would open and close them all the time
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// dropReadOnly is called before a connection is used again. It returns
// driver.ErrBadConn if the connection takes no writes, so that the pool closes it
// and connects anew. PostgreSQL 14 and later report both settings with the answer
// to any statement; once a second the connection is asked.
func dropReadOnly(ctx context.Context, conn *pgx.Conn) error {
	const checked = "when it was last checked"
	server := conn.PgConn()
	if server.ParameterStatus("in_hot_standby") == "on" || server.ParameterStatus("default_transaction_read_only") == "on" {
		return driver.ErrBadConn
	}
	if last, ok := server.CustomData()[checked].(time.Time); ok && time.Since(last) < time.Second {
		return nil
	}
	var readOnly bool
	err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'",
		pgx.QueryExecModeSimpleProtocol).Scan(&readOnly)
	if err != nil || readOnly {
		return driver.ErrBadConn
	}
	server.CustomData()[checked] = time.Now()
	return nil
}

// openPostgres opens the database and brings its tables up to date.
func openPostgres(ctx context.Context, config *pgx.ConnConfig) (*sql.DB, error) {
	db := openPool(config, requestConns)
	if err := migrate(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("-db %s: %w", nameOfPostgres(config), err), db.Close())
	}
	return db, nil
}

// explain adds to an error of PostgreSQL what its operator can do about it.
func explain(err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch e.Code {
	case "26000", "42P05", "08P01": // prepared statements that are gone, there twice, or of another client
		return fmt.Errorf("%w: a pooler shares connections between clients; with pgbouncer in transaction pooling"+
			" add default_query_exec_mode=exec to the URL of -db, or set max_prepared_statements in pgbouncer 1.21 or later", err)
	case "25006":
		return fmt.Errorf("%w: the server is a standby or read-only, -db must lead to the primary", err)
	}
	return err
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
