-- +goose Up
CREATE TABLE users (
	id            INTEGER PRIMARY KEY AUTOINCREMENT, -- so that no ID is given twice
	username      TEXT    NOT NULL UNIQUE,           -- in the form of auth.CanonicalLogin
	email         TEXT    NOT NULL,
	full_name     TEXT    NOT NULL,
	disabled      INTEGER NOT NULL DEFAULT 0,
	password_hash TEXT    NOT NULL,
	roles         TEXT    NOT NULL, -- separated by spaces
	scopes        TEXT    NOT NULL, -- separated by spaces
	created       BIGINT  NOT NULL  -- microseconds since 1970
);

-- +goose Down
DROP TABLE users;
