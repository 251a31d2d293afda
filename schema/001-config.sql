-- The configuration and its history, the members of the whole, the cards that were revoked.
-- Run by `sosigwctl migrate`, each file in one transaction.

CREATE TABLE schema_version (
	version		integer PRIMARY KEY,
	name		text NOT NULL,
	sha256		text NOT NULL,	-- of the file as it was applied
	applied		timestamptz NOT NULL DEFAULT now()
);

-- A revision is never changed. id counts without holes: a revision is published as base + 1, so
-- two publishers with the same base meet in the primary key and one of them is told.
CREATE TABLE config_revision (
	id		bigint PRIMARY KEY CHECK (id > 0),
	created		timestamptz NOT NULL DEFAULT now(),
	author		text NOT NULL,
	comment		text NOT NULL DEFAULT '',
	document	text NOT NULL	-- text, not jsonb: the normal form is kept octet for octet
);

-- One row per server, written by its housekeeper. Times are the database's own, so that servers
-- whose clocks differ can be compared.
CREATE TABLE member (
	server		text PRIMARY KEY,
	zone		text,
	version		text NOT NULL,
	started		timestamptz NOT NULL,
	seen		timestamptz NOT NULL DEFAULT now(),
	revision	bigint NOT NULL DEFAULT 0,
	load		double precision NOT NULL DEFAULT 0,
	card_format	integer NOT NULL,
	journal_format	integer NOT NULL,
	config_format	integer NOT NULL
);

-- Cards that were logged out or revoked and must not come back from a cache node that was away.
-- A row may be deleted when the card has expired anyway.
CREATE TABLE revoked_card (
	card_id		text PRIMARY KEY,
	revoked		timestamptz NOT NULL DEFAULT now(),
	expires		timestamptz NOT NULL
);
CREATE INDEX revoked_card_expires ON revoked_card (expires);
