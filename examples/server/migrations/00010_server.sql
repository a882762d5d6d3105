-- What the server remembers about the database: which secrets it was used with
-- (a hash of them), and whether demo users were made.

-- +goose Up
CREATE TABLE server_secrets (
	one         INTEGER PRIMARY KEY CHECK (one = 1),
	fingerprint TEXT    NOT NULL
);
CREATE TABLE server_demo (
	one           INTEGER PRIMARY KEY CHECK (one = 1),
	password_hash TEXT    NOT NULL -- that the demo users got; empty: there are none
);
INSERT INTO server_demo (one, password_hash)
	SELECT 1, coalesce((SELECT password_hash FROM users WHERE username = 'alice'), '')
	WHERE EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'users');

-- +goose Down
DROP TABLE server_demo;
DROP TABLE server_secrets;
