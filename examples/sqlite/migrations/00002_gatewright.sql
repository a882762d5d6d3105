-- The tables of sqlstore.Schema and sqllog.Schema; a test compares them.

-- +goose Up
CREATE TABLE gatewright_sessions (
	id            TEXT   PRIMARY KEY,
	subject       TEXT   NOT NULL,
	tenant        TEXT   NOT NULL,
	client        TEXT   NOT NULL,
	created       BIGINT NOT NULL,
	expires       BIGINT NOT NULL,
	current_hash  BLOB  NOT NULL,
	previous_hash BLOB,
	rotated       BIGINT NOT NULL,
	idle          BIGINT NOT NULL
);
CREATE INDEX gatewright_sessions_subject ON gatewright_sessions (subject);
CREATE INDEX gatewright_sessions_idle ON gatewright_sessions (idle);
CREATE TABLE gatewright_challenges (
	id       BLOB   PRIMARY KEY,
	attempts INTEGER NOT NULL,
	finished INTEGER NOT NULL,
	expires  BIGINT  NOT NULL
);
CREATE INDEX gatewright_challenges_expires ON gatewright_challenges (expires);
CREATE TABLE gatewright_revocations (
	number         INTEGER PRIMARY KEY,
	kind           SMALLINT NOT NULL,
	id             BLOB NOT NULL,
	spare          BLOB NOT NULL,
	revoked_before BIGINT NOT NULL,
	expires        BIGINT NOT NULL
);
CREATE INDEX gatewright_revocations_expires ON gatewright_revocations (expires);
CREATE TABLE gatewright_revocations_end (
	one  SMALLINT PRIMARY KEY CHECK (one = 1),
	last BIGINT NOT NULL
);

-- +goose Down
DROP TABLE gatewright_revocations_end;
DROP TABLE gatewright_revocations;
DROP TABLE gatewright_challenges;
DROP TABLE gatewright_sessions;
