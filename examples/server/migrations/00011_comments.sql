-- +goose Up
CREATE TABLE comments (
	id      INTEGER PRIMARY KEY AUTOINCREMENT, -- so that no ID is given twice
	author  INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	content TEXT    NOT NULL, -- as it was sent: what is harmful depends on where it is shown
	created INTEGER NOT NULL, -- microseconds since 1970
	edited  INTEGER NOT NULL  -- microseconds since 1970; 0: never
);
CREATE INDEX comments_author ON comments (author);

-- +goose Down
DROP TABLE comments;
