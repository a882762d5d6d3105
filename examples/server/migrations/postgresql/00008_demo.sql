-- Whether demo users were made.

-- +goose Up
CREATE TABLE server_demo (
	one           SMALLINT PRIMARY KEY CHECK (one = 1),
	password_hash TEXT     NOT NULL -- that the demo users got; empty: there are none
);
INSERT INTO server_demo (one, password_hash)
	SELECT 1, coalesce((SELECT password_hash FROM users WHERE username = 'alice'), '')
	WHERE EXISTS (SELECT 1 FROM users);

-- +goose Down
DROP TABLE server_demo;
