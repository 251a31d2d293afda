-- How many signatures of cards a program has found good since it started, by their hash. NULL: it verifies none, or is of
-- the version before this.
ALTER TABLE member_program
	ADD COLUMN signatures_sha1 bigint,
	ADD COLUMN signatures_sha2 bigint;

-- How old a server's lists of revoked certificates are and when the certificates that it uses end; NULL: a server of the
-- version before this. {"lists": [{"url", "updated", "next"}], "certificates": [{"use", "subject", "ends"}], "count": of
-- all certificates}: seconds since 1970, null where there is none; of the certificates those that end first.
ALTER TABLE member ADD COLUMN ends jsonb;
