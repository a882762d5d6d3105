-- What a restart must not forget. Rows are loaded at start-up; asking whether
-- a token is revoked never touches the database.

-- +goose Up
CREATE TABLE revocations (
	issuer     TEXT   NOT NULL,
	credential TEXT   NOT NULL,
	session    TEXT   NOT NULL,
	subject    TEXT   NOT NULL,
	tenant     TEXT   NOT NULL,
	before     BIGINT NOT NULL, -- microseconds since 1970, 0 for none
	expires    BIGINT NOT NULL  -- microseconds since 1970, 0 for never
);
CREATE INDEX revocations_expires ON revocations (expires);

-- +goose Down
DROP TABLE revocations;
