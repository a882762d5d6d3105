-- What tickets and passkeys need: which addresses were proven, the tables of
-- auth/passkey/sqlstore and auth/ticket/sqlstore, as their Schemas print them for
-- PostgreSQL (a test compares them), and how each session began.

-- +goose Up
ALTER TABLE users ADD COLUMN email_verified BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE users ADD COLUMN email_key TEXT NOT NULL DEFAULT ''; -- the address in the form in which it is compared
UPDATE users SET email_key = lower(email COLLATE "C"); -- letters of ASCII only, as addressKey
CREATE UNIQUE INDEX users_verified_email ON users (email_key) WHERE email_verified;
CREATE INDEX users_email ON users (email_key);
CREATE TABLE gatewright_passkeys (
	id         BYTEA    PRIMARY KEY,
	subject    TEXT     NOT NULL,
	record     TEXT     NOT NULL,
	handle     BYTEA    NOT NULL,
	session    TEXT     NOT NULL,
	name       TEXT     NOT NULL,
	sign_count BIGINT   NOT NULL,
	backed_up  SMALLINT NOT NULL,
	created    BIGINT   NOT NULL,
	used       BIGINT   NOT NULL
);
CREATE INDEX gatewright_passkeys_subject ON gatewright_passkeys (subject);
CREATE TABLE gatewright_passkey_counts (
	subject  TEXT   PRIMARY KEY,
	passkeys BIGINT NOT NULL
);
CREATE TABLE gatewright_tickets (
	purpose TEXT   NOT NULL,
	tenant  TEXT   NOT NULL,
	subject TEXT   NOT NULL,
	slot    TEXT   NOT NULL,
	lookup  TEXT   NOT NULL UNIQUE,
	key     BYTEA  NOT NULL,
	browser BYTEA  NOT NULL,
	state   BYTEA  NOT NULL,
	email   TEXT   NOT NULL,
	data    BYTEA  NOT NULL,
	created BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	tries   BIGINT NOT NULL,
	PRIMARY KEY (purpose, tenant, subject, slot)
);
CREATE INDEX gatewright_tickets_subject ON gatewright_tickets (subject);
CREATE INDEX gatewright_tickets_email ON gatewright_tickets (email);
CREATE INDEX gatewright_tickets_expires ON gatewright_tickets (expires);
CREATE TABLE gatewright_wrong_codes (
	id      TEXT   PRIMARY KEY,
	tenant  TEXT   NOT NULL,
	subject TEXT   NOT NULL,
	at      BIGINT NOT NULL
);
CREATE INDEX gatewright_wrong_codes_subject ON gatewright_wrong_codes (subject, tenant, at);
CREATE TABLE session_beginnings (
	session TEXT   PRIMARY KEY,
	way     TEXT   NOT NULL, -- "password", or the name of another way to sign in
	factors TEXT   NOT NULL, -- separated by spaces
	began   BIGINT NOT NULL  -- microseconds since 1970
);
CREATE INDEX session_beginnings_began ON session_beginnings (began);

-- +goose Down
DROP TABLE session_beginnings;
DROP TABLE gatewright_wrong_codes;
DROP TABLE gatewright_tickets;
DROP TABLE gatewright_passkey_counts;
DROP TABLE gatewright_passkeys;
DROP INDEX users_email;
DROP INDEX users_verified_email;
ALTER TABLE users DROP COLUMN email_key;
ALTER TABLE users DROP COLUMN email_verified;
