-- What each program of each server reads and writes of what servers share (mission 5.3), and how far its
-- configuration is. A row for every worker and housekeeper, written by itself; `member` stays the row of the server.
--
-- card_format and journal_format: the newest that it reads; it reads the one before too. card_written and
-- journal_written: what it writes now. Who begins, or begins to write a newer format, holds the advisory lock
-- "sosigw members" while it looks at the others and says so here.
CREATE TABLE member_program (
	server		text NOT NULL,
	program		text NOT NULL,		-- proxy-1, card-2, housekeeper: the same again after a restart
	version		text NOT NULL,
	pid		integer NOT NULL,
	started		timestamptz NOT NULL,
	seen		timestamptz NOT NULL DEFAULT now(),
	card_format	integer NOT NULL,
	card_written	integer NOT NULL,
	journal_format	integer NOT NULL,
	journal_written	integer NOT NULL,
	config_format	integer NOT NULL,
	revision	bigint NOT NULL DEFAULT 0,	-- of the configuration in use; 0: none
	refused		bigint NOT NULL DEFAULT 0,	-- newest revision that is not used, and why
	problem		text NOT NULL DEFAULT '',
	PRIMARY KEY (server, program)
);

-- Journal format 2: by which client the user of the card signed in. Records of format 1 do not say.
ALTER TABLE audit_event ADD COLUMN card_client text;

-- As in 002, with card_client.
-- Brings the records a..b of journal j, which have just arrived, into audit_event. The lock is held until commit:
-- so ids become visible in their order, and a reader who goes on from the last id he saw misses none.
CREATE OR REPLACE FUNCTION audit_apply(j bigint, a bigint, b bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended('sosigw audit events', 0));
	WITH d AS MATERIALIZED (
		SELECT * FROM audit_derive(j, a, b)
	), completed AS (
		UPDATE audit_event e SET id = nextval('audit_change'), end_sequence = d.end_sequence, hash = d.hash,
		    kind = d.p->>'kind', status = d.p->>'status',
		    client = coalesce(d.p->>'client', e.client), organisation = coalesce(d.p->>'organisation', e.organisation),
		    user_id = coalesce(d.p->>'user_id', e.user_id), system_id = coalesce(d.p->>'system_id', e.system_id),
		    address = coalesce(d.p->>'address', e.address), operation = coalesce(d.p->>'operation', e.operation),
		    service = coalesce(d.p->>'service', e.service), endpoint = coalesce(d.p->>'endpoint', e.endpoint),
		    card_id = coalesce(d.p->>'card_id', e.card_id), card_client = coalesce(d.p->>'card_client', e.card_client),
		    reason = coalesce(d.p->>'reason', e.reason),
		    http_status = coalesce((d.p->>'http_status')::integer, e.http_status),
		    duration_ms = coalesce((d.p->>'duration_ms')::bigint, e.duration_ms),
		    bytes_in = coalesce((d.p->>'bytes_in')::bigint, e.bytes_in),
		    bytes_out = coalesce((d.p->>'bytes_out')::bigint, e.bytes_out)
		FROM d
		WHERE d.alone AND d.end_sequence IS NOT NULL AND d.begin_sequence = d.end_sequence AND e.journal = j AND
		    e.request_id = d.p->>'request_id' AND e.status = 'open' AND NOT EXISTS (SELECT FROM audit_event later
		    WHERE later.journal = j AND later.request_id = e.request_id AND later.begin_sequence > e.begin_sequence)
		RETURNING d.end_sequence AS sequence
	)
	INSERT INTO audit_event (id, time, journal, begin_sequence, end_sequence, hash, server, program, kind, status,
	    request_id, client, organisation, user_id, system_id, address, operation, service, endpoint, card_id, card_client,
	    reason, http_status, duration_ms, bytes_in, bytes_out)
	SELECT nextval('audit_change'), d.time, j, d.begin_sequence, d.end_sequence, d.hash, o.server, o.program,
	    p->>'kind', p->>'status', p->>'request_id', p->>'client', p->>'organisation', p->>'user_id', p->>'system_id',
	    p->>'address', p->>'operation', p->>'service', p->>'endpoint', p->>'card_id', p->>'card_client', p->>'reason',
	    (p->>'http_status')::integer, (p->>'duration_ms')::bigint, (p->>'bytes_in')::bigint, (p->>'bytes_out')::bigint
	FROM (SELECT * FROM d ORDER BY coalesce(d.end_sequence, d.begin_sequence)) d, audit_journal o
	WHERE o.id = j AND NOT EXISTS (SELECT FROM completed c WHERE c.sequence = d.end_sequence);
END $$;

-- Events of journal j that are not what its records say, with the reason in words.
CREATE OR REPLACE FUNCTION audit_differences(j bigint) RETURNS TABLE (sequence bigint, difference text) LANGUAGE sql STABLE AS $$
	WITH d AS (
		SELECT x.begin_sequence, x.end_sequence, x.time, x.hash, o.server, o.program, x.p,
		    CASE WHEN x.end_sequence IS NULL AND o.closed IS NOT NULL THEN 'unknown' ELSE x.p->>'status' END AS status
		FROM audit_derive(j, 0, 9223372036854775807) x, audit_journal o WHERE o.id = j
	), e AS (
		SELECT * FROM audit_event WHERE journal = j
	)
	SELECT coalesce(d.begin_sequence, e.begin_sequence),
	    CASE WHEN e.begin_sequence IS NULL THEN 'the event is missing' WHEN d.begin_sequence IS NULL
	    THEN 'an event that no record tells of' ELSE 'the event is not what its records say' END
	FROM d FULL JOIN e ON e.begin_sequence = d.begin_sequence
	WHERE e.begin_sequence IS NULL OR d.begin_sequence IS NULL OR
	    (e.time, e.end_sequence, e.hash, e.server, e.program, e.kind, e.status, e.request_id, e.client, e.organisation,
	    e.user_id, e.system_id, e.address, e.operation, e.service, e.endpoint, e.card_id, e.card_client, e.reason,
	    e.http_status, e.duration_ms, e.bytes_in, e.bytes_out) IS DISTINCT FROM
	    (d.time, d.end_sequence, d.hash, d.server, d.program, p->>'kind', d.status, p->>'request_id', p->>'client',
	    p->>'organisation', p->>'user_id', p->>'system_id', p->>'address', p->>'operation', p->>'service',
	    p->>'endpoint', p->>'card_id', p->>'card_client', p->>'reason', (p->>'http_status')::integer,
	    (p->>'duration_ms')::bigint, (p->>'bytes_in')::bigint, (p->>'bytes_out')::bigint)
	ORDER BY 1
$$;
