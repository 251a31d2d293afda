-- How much of its journal a server still holds and how full that disk is, in percent; level: ok, warn, stop. NULL: a server
-- of the version before this.
ALTER TABLE member
	ADD COLUMN journal_bytes bigint,
	ADD COLUMN journal_disk integer,
	ADD COLUMN journal_level text;
