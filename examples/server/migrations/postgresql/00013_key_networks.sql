-- The table of apikey/sqlstore for the networks that keys were used from.

-- +goose Up
CREATE TABLE gatewright_api_key_networks (
	id         TEXT   NOT NULL,
	network    TEXT   NOT NULL,
	first_used BIGINT NOT NULL,
	PRIMARY KEY (id, network)
);

-- +goose Down
DROP TABLE gatewright_api_key_networks;
