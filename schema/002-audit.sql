-- The audit trail. Journals that workers write locally arrive here, sent by the housekeepers.
--
--   audit_journal  one row per journal (= per worker process): how far it has arrived.
--   audit_record   every record as it was written, with its chain hash: the evidence.
--   audit_event    one row per event, made of the records by audit_apply: what is searched.
--
-- sosigwctl audit verify recomputes audit_journal.ledger and audit_record.hash, and compares audit_event with
-- what audit_derive makes of the records.

-- id counts without holes and ledger chains the rows: SHA-256(ledger of the row before | name, server and
-- program with a line feed between), before the first 32 zero bytes; a journal that is removed leaves a gap.
CREATE TABLE audit_journal (
	id		bigint PRIMARY KEY CHECK (id > 0),
	name		text NOT NULL UNIQUE,
	server		text NOT NULL,
	program		text NOT NULL,
	ledger		bytea NOT NULL,
	segment		bigint NOT NULL DEFAULT 0,	-- the file that is read next,
	position	bigint NOT NULL DEFAULT 0,	-- from this byte on
	sequence	bigint NOT NULL DEFAULT 0,	-- of the last record that arrived,
	hash		bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),	-- and its chain hash
	closed		text CHECK (closed IN ('clean', 'died')),	-- NULL: more may come
	torn		integer NOT NULL DEFAULT 0,	-- last records that were cut (never acknowledged)
	damaged		integer NOT NULL DEFAULT 0,	-- places where bytes were unreadable or the chain did not fit
	registered	timestamptz NOT NULL DEFAULT now(),
	updated		timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE audit_record (
	journal		bigint NOT NULL,
	sequence	bigint NOT NULL,
	time		timestamptz NOT NULL,
	hash		bytea NOT NULL,
	payload		text NOT NULL,		-- text, not jsonb: octet for octet what was hashed
	PRIMARY KEY (journal, sequence, time)
) PARTITION BY RANGE (time);
CREATE TABLE audit_record_default PARTITION OF audit_record DEFAULT;

CREATE SEQUENCE audit_change;

-- id is the number of the row's last change: an open event that is completed gets a new one, so that who reads
-- by id (audit tail) sees every outcome. Ids are visible in their order: see audit_apply.
CREATE TABLE audit_event (
	id		bigint NOT NULL,
	time		timestamptz NOT NULL,	-- when the request came
	journal		bigint NOT NULL,
	begin_sequence	bigint NOT NULL,	-- the record that opened it,
	end_sequence	bigint,			-- and that which completed it; the same for an event in one record
	hash		bytea NOT NULL,		-- chain hash of the latter
	server		text NOT NULL,
	program		text NOT NULL,
	kind		text NOT NULL,		-- proxy service browser admin
	status		text NOT NULL,		-- open ok refused failed unknown
	request_id	text,
	client		text,
	organisation	text,
	user_id		text,
	system_id	text,
	address		text,
	operation	text,
	service		text,
	endpoint	text,
	card_id		text,
	reason		text,
	http_status	integer,
	duration_ms	bigint,
	bytes_in	bigint,
	bytes_out	bigint,
	PRIMARY KEY (journal, begin_sequence, time)
) PARTITION BY RANGE (time);
CREATE TABLE audit_event_default PARTITION OF audit_event DEFAULT;
CREATE INDEX audit_event_id ON audit_event (id);
CREATE INDEX audit_event_time ON audit_event (time);
CREATE INDEX audit_event_user ON audit_event (user_id, time);
CREATE INDEX audit_event_client ON audit_event (client, time);
CREATE INDEX audit_event_service ON audit_event (service, time);
CREATE INDEX audit_event_card ON audit_event (card_id);
CREATE INDEX audit_event_request ON audit_event (request_id);
CREATE INDEX audit_event_open ON audit_event (journal) WHERE status = 'open';

-- Partitions for the month of `at` and the next. A month that already has rows in the default partition (a
-- clock was wrong, or nobody was here in time) stays there.
CREATE FUNCTION audit_partitions(at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	month timestamptz;
	parent text;
	child text;
BEGIN
	FOR i IN 0..1 LOOP
		month := date_trunc('month', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
		month := (month AT TIME ZONE 'UTC' + make_interval(months => i)) AT TIME ZONE 'UTC';
		FOREACH parent IN ARRAY ARRAY['audit_record', 'audit_event'] LOOP
			child := parent || '_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
			CONTINUE WHEN to_regclass(child) IS NOT NULL;
			PERFORM pg_advisory_xact_lock(hashtextextended('sosigw audit partitions', 0));
			CONTINUE WHEN to_regclass(child) IS NOT NULL;
			BEGIN
				EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', child, parent,
				    month, (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
			EXCEPTION WHEN check_violation THEN
				NULL;
			END;
		END LOOP;
	END LOOP;
END $$;

-- A journal seen for the first time. Does nothing when it is known.
CREATE FUNCTION audit_register(journal_name text, journal_server text, journal_program text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	last audit_journal;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended('sosigw audit journals', 0));
	IF EXISTS (SELECT FROM audit_journal WHERE name = journal_name) THEN
		RETURN;
	END IF;
	SELECT * INTO last FROM audit_journal ORDER BY id DESC LIMIT 1;
	INSERT INTO audit_journal (id, name, server, program, ledger)
	VALUES (coalesce(last.id, 0) + 1, journal_name, journal_server, journal_program,
	    sha256(coalesce(last.ledger, decode(repeat('00', 32), 'hex')) ||
	    convert_to(journal_name || E'\n' || journal_server || E'\n' || journal_program, 'UTF8')));
END $$;

-- The events that the records a..b of journal j tell of. A record whose status is not "open" completes the
-- record just before it with the same request_id, when that one is open; else it is an event in itself.
-- alone: no record before it in a..b has its request_id. (Materialized, or each payload is parsed many times.)
CREATE FUNCTION audit_derive(j bigint, a bigint, b bigint) RETURNS TABLE (begin_sequence bigint, end_sequence bigint,
    "time" timestamptz, hash bytea, alone boolean, p jsonb) LANGUAGE sql STABLE AS $$
	WITH parsed AS MATERIALIZED (
		SELECT r.sequence, r.time, r.hash, r.payload::jsonb AS p FROM audit_record r
		WHERE r.journal = j AND r.sequence BETWEEN a AND b
	), event AS MATERIALIZED (
		SELECT *, p->>'status' = 'open' AS is_open, coalesce(p->>'request_id', '#' || sequence) AS request
		FROM parsed WHERE p->>'t' = 'event'
	), around AS MATERIALIZED (
		SELECT sequence, time, hash, p, is_open, lag(sequence) OVER same AS last_sequence,
		    lag(time) OVER same AS last_time, lag(p) OVER same AS last_p, lead(is_open) OVER same AS next_is_open,
		    NOT is_open AND coalesce(lag(is_open) OVER same, false) AS completes
		FROM event WINDOW same AS (PARTITION BY request ORDER BY sequence)
	)
	SELECT CASE WHEN completes THEN last_sequence ELSE sequence END, CASE WHEN NOT is_open THEN sequence END,
	    CASE WHEN completes THEN last_time ELSE time END, hash, last_sequence IS NULL,
	    CASE WHEN completes THEN last_p || (p - 'time') ELSE p END
	FROM around WHERE NOT is_open OR coalesce(next_is_open, true)
$$;

-- Brings the records a..b of journal j, which have just arrived, into audit_event. The lock is held until commit:
-- so ids become visible in their order, and a reader who goes on from the last id he saw misses none.
CREATE FUNCTION audit_apply(j bigint, a bigint, b bigint) RETURNS void LANGUAGE plpgsql AS $$
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
		    card_id = coalesce(d.p->>'card_id', e.card_id), reason = coalesce(d.p->>'reason', e.reason),
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
	    request_id, client, organisation, user_id, system_id, address, operation, service, endpoint, card_id, reason,
	    http_status, duration_ms, bytes_in, bytes_out)
	SELECT nextval('audit_change'), d.time, j, d.begin_sequence, d.end_sequence, d.hash, o.server, o.program,
	    p->>'kind', p->>'status', p->>'request_id', p->>'client', p->>'organisation', p->>'user_id', p->>'system_id',
	    p->>'address', p->>'operation', p->>'service', p->>'endpoint', p->>'card_id', p->>'reason',
	    (p->>'http_status')::integer, (p->>'duration_ms')::bigint, (p->>'bytes_in')::bigint, (p->>'bytes_out')::bigint
	FROM (SELECT * FROM d ORDER BY coalesce(d.end_sequence, d.begin_sequence)) d, audit_journal o
	WHERE o.id = j AND NOT EXISTS (SELECT FROM completed c WHERE c.sequence = d.end_sequence);
END $$;

-- The process is gone: what it had forwarded and not completed will not be completed.
CREATE FUNCTION audit_orphans(j bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended('sosigw audit events', 0));
	UPDATE audit_event SET id = nextval('audit_change'), status = 'unknown' WHERE journal = j AND status = 'open';
END $$;

-- Events of journal j that are not what its records say, with the reason in words.
CREATE FUNCTION audit_differences(j bigint) RETURNS TABLE (sequence bigint, difference text) LANGUAGE sql STABLE AS $$
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
	    e.user_id, e.system_id, e.address, e.operation, e.service, e.endpoint, e.card_id, e.reason, e.http_status,
	    e.duration_ms, e.bytes_in, e.bytes_out) IS DISTINCT FROM
	    (d.time, d.end_sequence, d.hash, d.server, d.program, p->>'kind', d.status, p->>'request_id', p->>'client',
	    p->>'organisation', p->>'user_id', p->>'system_id', p->>'address', p->>'operation', p->>'service',
	    p->>'endpoint', p->>'card_id', p->>'reason', (p->>'http_status')::integer, (p->>'duration_ms')::bigint,
	    (p->>'bytes_in')::bigint, (p->>'bytes_out')::bigint)
	ORDER BY 1
$$;
