-- The table of totp/sqlstore, as its Schema prints it for SQLite; a test compares
-- the two.

-- +goose Up
CREATE TABLE gatewright_totp (
	user_id       TEXT    PRIMARY KEY,
	version       BIGINT  NOT NULL,
	active        BLOB,
	pending       BLOB,
	pending_until BIGINT  NOT NULL,
	step          BIGINT  NOT NULL,
	recovery      BLOB,
	failures      INTEGER NOT NULL,
	retry         BIGINT  NOT NULL,
	forgiven      BIGINT  NOT NULL
);

-- +goose Down
DROP TABLE gatewright_totp;
