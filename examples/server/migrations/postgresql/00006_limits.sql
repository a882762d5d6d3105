-- The table of ratelimit/sqlstore, which is used without -redis. It is not logged:
-- after a crash of the database nothing is spent.

-- +goose Up
CREATE UNLOGGED TABLE gatewright_limits (
	id      BYTEA  PRIMARY KEY,
	spent   TEXT   NOT NULL,
	expires BIGINT NOT NULL
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE gatewright_limits;
