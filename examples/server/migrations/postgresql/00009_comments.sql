-- +goose Up
CREATE TABLE comments (
	id      BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	author  BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	content TEXT   NOT NULL, -- as it was sent: what is harmful depends on where it is shown
	created BIGINT NOT NULL, -- microseconds since 1970
	edited  BIGINT NOT NULL  -- microseconds since 1970; 0: never
);
CREATE INDEX comments_author ON comments (author);

-- +goose Down
DROP TABLE comments;
