-- Permissions that somebody has without a role, and things that people own.

-- +goose Up
ALTER TABLE users ADD COLUMN permissions TEXT NOT NULL DEFAULT ''; -- separated by spaces
CREATE TABLE items (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	owner   INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	name    TEXT    NOT NULL,
	created BIGINT  NOT NULL -- microseconds since 1970
);
CREATE INDEX items_owner ON items (owner);

-- +goose Down
DROP TABLE items;
ALTER TABLE users DROP COLUMN permissions;
