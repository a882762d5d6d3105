-- +goose Up
CREATE TABLE users (
	id            INTEGER PRIMARY KEY AUTOINCREMENT, -- so that no ID is given twice
	login         TEXT    NOT NULL UNIQUE,           -- in the form of auth.CanonicalLogin
	password_hash TEXT    NOT NULL,
	disabled      BOOLEAN NOT NULL DEFAULT FALSE,
	roles         TEXT    NOT NULL DEFAULT '',       -- separated by spaces
	scopes        TEXT    NOT NULL DEFAULT ''
);

-- +goose Down
DROP TABLE users;
