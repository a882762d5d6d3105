-- The tables of auth/sqlstore, as its Schema prints them for PostgreSQL; a test
-- compares the two. So it is with the next ones.

-- +goose Up
CREATE TABLE gatewright_sessions (
	id            TEXT   PRIMARY KEY,
	subject       TEXT   NOT NULL,
	tenant        TEXT   NOT NULL,
	client        TEXT   NOT NULL,
	created       BIGINT NOT NULL,
	expires       BIGINT NOT NULL,
	current_hash  BYTEA  NOT NULL,
	previous_hash BYTEA,
	rotated       BIGINT NOT NULL,
	idle          BIGINT NOT NULL
);
CREATE INDEX gatewright_sessions_subject ON gatewright_sessions (subject);
CREATE INDEX gatewright_sessions_idle ON gatewright_sessions (idle);
CREATE TABLE gatewright_challenges (
	id       BYTEA   PRIMARY KEY,
	attempts INTEGER NOT NULL,
	finished INTEGER NOT NULL,
	expires  BIGINT  NOT NULL
);
CREATE INDEX gatewright_challenges_expires ON gatewright_challenges (expires);

-- +goose Down
DROP TABLE gatewright_challenges;
DROP TABLE gatewright_sessions;
