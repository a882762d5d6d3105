-- What is revoked is in a log of its own now, beside the database: see
-- -revocations. What this table has was to expire within a day.

-- +goose Up
DROP TABLE revocations;

-- +goose Down
CREATE TABLE revocations (
	issuer     TEXT   NOT NULL,
	credential TEXT   NOT NULL,
	session    TEXT   NOT NULL,
	subject    TEXT   NOT NULL,
	tenant     TEXT   NOT NULL,
	before     BIGINT NOT NULL, -- microseconds since 1970, 0 for none
	expires    BIGINT NOT NULL, -- microseconds since 1970, 0 for never
	spared     TEXT   NOT NULL DEFAULT '' -- a session, empty for none
);
CREATE INDEX revocations_expires ON revocations (expires);
