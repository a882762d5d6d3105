-- A revocation of all that a subject has, but for one session: the one in
-- which the password was changed.

-- +goose Up
ALTER TABLE revocations ADD COLUMN spared TEXT NOT NULL DEFAULT ''; -- a session, empty for none

-- +goose Down
DELETE FROM revocations WHERE spared <> ''; -- without the exception they would end that session too
ALTER TABLE revocations DROP COLUMN spared;
