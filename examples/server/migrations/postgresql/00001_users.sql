-- +goose Up
CREATE TABLE users (
	id            BIGINT  PRIMARY KEY GENERATED ALWAYS AS IDENTITY, -- so that no ID is given twice
	username      TEXT    NOT NULL UNIQUE,     -- in the form of auth.CanonicalLogin
	email         TEXT    NOT NULL,
	full_name     TEXT    NOT NULL,
	disabled      BOOLEAN NOT NULL DEFAULT false,
	password_hash TEXT    NOT NULL,
	roles         TEXT    NOT NULL,            -- separated by spaces
	permissions   TEXT    NOT NULL DEFAULT '', -- separated by spaces, beside those of the roles
	scopes        TEXT    NOT NULL,            -- separated by spaces
	created       BIGINT  NOT NULL             -- microseconds since 1970
);
CREATE TABLE items (
	id      BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	owner   BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	name    TEXT   NOT NULL,
	created BIGINT NOT NULL -- microseconds since 1970
);
CREATE INDEX items_owner ON items (owner);

-- +goose Down
DROP TABLE items;
DROP TABLE users;
