-- The table of apikey/sqlstore.

-- +goose Up
CREATE TABLE gatewright_api_keys (
	id          TEXT     PRIMARY KEY,
	name        TEXT     NOT NULL,
	owner       TEXT     NOT NULL,
	tenant      TEXT     NOT NULL,
	environment TEXT     NOT NULL,
	roles       TEXT     NOT NULL,
	scopes      TEXT     NOT NULL,
	active      SMALLINT NOT NULL,
	created     BIGINT   NOT NULL,
	not_before  BIGINT   NOT NULL,
	expires     BIGINT   NOT NULL,
	revoked     BIGINT   NOT NULL,
	successor   TEXT     NOT NULL,
	grace_until BIGINT   NOT NULL,
	networks    TEXT     NOT NULL,
	limits      TEXT     NOT NULL,
	last_used   BIGINT   NOT NULL,
	hash        BYTEA    NOT NULL,
	pepper      TEXT     NOT NULL,
	version     BIGINT   NOT NULL
);
CREATE INDEX gatewright_api_keys_living ON gatewright_api_keys (owner, (CASE WHEN revoked <> 0 THEN 0
	WHEN (successor <> '' OR grace_until <> 0) AND (expires = 0 OR grace_until < expires) THEN grace_until
	WHEN expires <> 0 THEN expires
	ELSE 9223372036854775807 END));
CREATE UNIQUE INDEX gatewright_api_keys_hash ON gatewright_api_keys (hash) WHERE pepper = '';

-- +goose Down
DROP TABLE gatewright_api_keys;
