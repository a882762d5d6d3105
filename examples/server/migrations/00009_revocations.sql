-- The tables of blacklist/sqllog, as its Schema prints them for SQLite; a test
-- compares the two. They are used with -revocations database.

-- +goose Up
CREATE TABLE gatewright_revocations (
	number         INTEGER   PRIMARY KEY,
	kind           SMALLINT NOT NULL,
	id             BLOB    NOT NULL,
	spare          BLOB    NOT NULL,
	revoked_before BIGINT   NOT NULL,
	expires        BIGINT   NOT NULL
);
CREATE INDEX gatewright_revocations_expires ON gatewright_revocations (expires);
CREATE TABLE gatewright_revocations_end (
	one  SMALLINT PRIMARY KEY CHECK (one = 1),
	last BIGINT   NOT NULL
);

-- +goose Down
DROP TABLE gatewright_revocations_end;
DROP TABLE gatewright_revocations;
