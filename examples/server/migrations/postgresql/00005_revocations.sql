-- The tables of blacklist/sqllog.

-- +goose Up
CREATE TABLE gatewright_revocations (
	number         BIGINT PRIMARY KEY,
	kind           SMALLINT NOT NULL,
	id             BYTEA NOT NULL,
	spare          BYTEA NOT NULL,
	revoked_before BIGINT NOT NULL,
	expires        BIGINT NOT NULL
);
CREATE INDEX gatewright_revocations_expires ON gatewright_revocations (expires);
CREATE TABLE gatewright_revocations_end (
	one  SMALLINT PRIMARY KEY CHECK (one = 1),
	last BIGINT NOT NULL
);

-- Whoever listens reads at once what others find when they next look. It is sent
-- when the entries are committed, whoever wrote them.
-- +goose StatementBegin
CREATE FUNCTION announce_revocations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('revocations', '');
	RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER announce AFTER INSERT ON gatewright_revocations
	FOR EACH STATEMENT EXECUTE FUNCTION announce_revocations();

-- +goose Down
DROP TABLE gatewright_revocations_end;
DROP TABLE gatewright_revocations;
DROP FUNCTION announce_revocations();
