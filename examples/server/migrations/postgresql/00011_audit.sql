-- The audit trail: rows that are chained by an HMAC, and where the chain begins once
-- rows before it were removed.

-- +goose Up
CREATE TABLE audit_events (
	seq     BIGINT PRIMARY KEY,     -- without gaps
	at      BIGINT NOT NULL,        -- microseconds since 1970
	name    TEXT   NOT NULL,
	subject TEXT   NOT NULL,        -- of the caller; empty: anonymous
	target  TEXT   NOT NULL,
	login   TEXT   NOT NULL,
	event   TEXT   NOT NULL,        -- a line of guard.Log in JSON
	mac     BYTEA  NOT NULL         -- of the row and of the mac before it
);
CREATE INDEX audit_events_name ON audit_events (name, seq);
CREATE INDEX audit_events_subject ON audit_events (subject, seq);
CREATE INDEX audit_events_target ON audit_events (target, seq);
CREATE INDEX audit_events_login ON audit_events (login, seq);
CREATE INDEX audit_events_at ON audit_events (at, seq);
CREATE TABLE audit_start (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	seq BIGINT NOT NULL, -- of the last row that is not part of the chain any more
	mac BYTEA  NOT NULL, -- of that row
	tag BYTEA  NOT NULL  -- HMAC of both
);

-- +goose Down
DROP TABLE audit_start;
DROP TABLE audit_events;
