-- The table of totp/sqlstore.

-- +goose Up
CREATE TABLE gatewright_totp (
	user_id       TEXT    PRIMARY KEY,
	version       BIGINT  NOT NULL,
	active        BYTEA,
	pending       BYTEA,
	pending_until BIGINT  NOT NULL,
	step          BIGINT  NOT NULL,
	recovery      BYTEA,
	failures      INTEGER NOT NULL,
	retry         BIGINT  NOT NULL,
	forgiven      BIGINT  NOT NULL
);

-- +goose Down
DROP TABLE gatewright_totp;
