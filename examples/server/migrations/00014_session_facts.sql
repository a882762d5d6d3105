-- From where a session began, whose it is, and when it was last used.

-- +goose Up
ALTER TABLE session_beginnings ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE session_beginnings ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE session_beginnings ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
ALTER TABLE session_beginnings ADD COLUMN used BIGINT NOT NULL DEFAULT 0; -- microseconds since 1970
CREATE INDEX session_beginnings_subject ON session_beginnings (subject);

-- +goose Down
DROP INDEX session_beginnings_subject;
ALTER TABLE session_beginnings DROP COLUMN used;
ALTER TABLE session_beginnings DROP COLUMN user_agent;
ALTER TABLE session_beginnings DROP COLUMN address;
ALTER TABLE session_beginnings DROP COLUMN subject;
