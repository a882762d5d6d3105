-- By what the servers that share this database know that they have the same
-- secrets: a hash of them, which tells nothing else.

-- +goose Up
CREATE TABLE server_secrets (
	one         SMALLINT PRIMARY KEY CHECK (one = 1),
	fingerprint TEXT     NOT NULL
);

-- +goose Down
DROP TABLE server_secrets;
