-- Months of the audit trail that are no longer kept (audit.retention_months of the configuration), and what must
-- be known of them so that what remains can still be verified.
--
--   audit_dropped  one row for each part that was dropped: when, by whom, how much, and whether its chain was whole.
--   audit_cut      where the chains were cut: the records first..last of a journal are gone, and hash is the chain hash of
--                  the last: the record after it goes on from there.
--
-- Like audit_journal, audit_dropped counts without holes and its ledger chains the rows: SHA-256(ledger of the row before
-- | id, part, server, dropped in milliseconds, records, events, broken, cuts in hex, with a line feed between), before the
-- first 32 zero bytes. cuts is the SHA-256 of the part's rows in audit_cut: "journal first last hash", ordered, a line
-- feed between.
CREATE TABLE audit_dropped (
	id		bigint PRIMARY KEY CHECK (id > 0),
	part		text NOT NULL,		-- a month, 2026_05; or "default": rows that no month had a partition for
	server		text NOT NULL,
	dropped		timestamptz NOT NULL,
	records		bigint NOT NULL,
	events		bigint NOT NULL,
	broken		bigint NOT NULL,	-- records that did not fit the chain when they were dropped
	cuts		bytea NOT NULL,
	ledger		bytea NOT NULL
);
CREATE TABLE audit_cut (
	dropped		bigint NOT NULL,
	journal		bigint NOT NULL,
	first		bigint NOT NULL,
	last		bigint NOT NULL,
	hash		bytea NOT NULL,
	PRIMARY KEY (journal, first)
);
CREATE INDEX audit_cut_dropped ON audit_cut (dropped);

-- What did not go well is what is looked for, and there is little of it.
CREATE INDEX audit_event_status ON audit_event (status, time) WHERE status <> 'ok';

-- As in 002, but a month gets both its partitions or neither, so that what is dropped together stands together; and
-- nobody waits long behind a reader: there is a month's time to try again.
CREATE OR REPLACE FUNCTION audit_partitions(at timestamptz) RETURNS void LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
	month timestamp;
	parent text;
	child text;
BEGIN
	FOR i IN 0..1 LOOP
		month := date_trunc('month', at AT TIME ZONE 'UTC') + make_interval(months => i);
		CONTINUE WHEN to_regclass('audit_event_' || to_char(month, 'YYYY_MM')) IS NOT NULL;
		PERFORM pg_advisory_xact_lock(hashtextextended('sosigw audit partitions', 0));
		BEGIN
			FOREACH parent IN ARRAY ARRAY['audit_record', 'audit_event'] LOOP
				child := parent || '_' || to_char(month, 'YYYY_MM');
				CONTINUE WHEN to_regclass(child) IS NOT NULL;
				EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', child, parent,
				    month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
			END LOOP;
		EXCEPTION WHEN check_violation OR lock_not_available THEN
			NULL;
		END;
	END LOOP;
END $$;

-- What is older than this is not kept: the month of now and that many whole months before it are. The database's clock
-- decides, not that of a server.
CREATE FUNCTION audit_kept_from(months integer) RETURNS timestamptz LANGUAGE sql STABLE AS $$
	SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => months)) AT TIME ZONE 'UTC'
$$;

-- Journals that nothing has come from since. What a wrong clock gave an old time is in the default partition too: it
-- is not dropped as long as its journal is young.
CREATE FUNCTION audit_idle(since timestamptz) RETURNS bigint[] LANGUAGE sql STABLE AS $$
	SELECT coalesce(array_agg(id), '{}') FROM audit_journal WHERE updated < since
$$;

-- The parts that are to be dropped, oldest first.
CREATE FUNCTION audit_old(months integer) RETURNS SETOF text LANGUAGE sql STABLE AS $$
	WITH part AS (
		SELECT substr(c.relname, length('audit_record_') + 1) AS name
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'audit_record'::regclass AND c.relname ~ '^audit_record_[0-9]{4}_[0-9]{2}$'
	)
	(SELECT name FROM part WHERE (to_date(name, 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= audit_kept_from(months)
	    ORDER BY 1)
	UNION ALL
	SELECT 'default' WHERE EXISTS (SELECT FROM audit_record_default WHERE time < (SELECT audit_kept_from(months)) AND
	    journal = ANY ((SELECT audit_idle(audit_kept_from(months)))::bigint[]))
$$;

-- How many records of `source`, a table like audit_record, are not what they say or do not follow the one before them.
CREATE FUNCTION audit_broken(source regclass) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM (
		SELECT r.*, lag(sequence) OVER w AS last_sequence, lag(hash) OVER w AS last_hash FROM %s r
		WINDOW w AS (PARTITION BY journal ORDER BY sequence)
	) r WHERE last_sequence = sequence OR payload NOT LIKE ''%%"q":'' || sequence || ''}'' OR
	    payload NOT LIKE ''%%"time":'' || (extract(epoch FROM time) * 1000)::bigint || '',%%'' OR hash IS DISTINCT FROM sha256(
	    CASE WHEN sequence = 1 THEN decode(repeat(''00'', 32), ''hex'') WHEN last_sequence = sequence - 1 THEN last_hash
	    ELSE coalesce((SELECT o.hash FROM audit_record o WHERE o.journal = r.journal AND o.sequence = r.sequence - 1 LIMIT 1),
	    (SELECT c.hash FROM audit_cut c WHERE c.journal = r.journal AND c.last = r.sequence - 1)) END ||
	    convert_to(payload, ''UTF8''))', source) INTO n;
	RETURN n;
END $$;

-- Drops one part of the audit trail; the caller holds the advisory lock "sosigw audit drop". lock_timeout bounds how
-- long others wait behind us when somebody reads.
CREATE FUNCTION audit_drop(part_name text, months integer, by_server text) RETURNS audit_dropped
LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
	d audit_dropped;
	before bytea;
	source regclass := to_regclass('audit_record_' || part_name);
	events regclass := to_regclass('audit_event_' || part_name);
	kept timestamptz := audit_kept_from(months);
	idle bigint[];
BEGIN
	IF part_name NOT IN (SELECT audit_old(months)) THEN
		RAISE EXCEPTION 'part % of the audit trail is still to be kept', part_name;
	END IF;
	SELECT id, ledger INTO d.id, before FROM audit_dropped ORDER BY id DESC LIMIT 1;
	d.id := coalesce(d.id, 0) + 1;
	d.part := part_name;
	d.server := by_server;
	d.dropped := date_trunc('milliseconds', clock_timestamp());
	-- a record that comes late waits, and then finds that its month is gone: it goes to the default partition
	EXECUTE format('LOCK TABLE %s, %s IN SHARE MODE', source, events);
	IF part_name = 'default' THEN
		idle := audit_idle(kept);
		CREATE TEMPORARY TABLE audit_gone (LIKE audit_record) ON COMMIT DROP;
		WITH gone AS (DELETE FROM audit_record_default WHERE time < kept AND journal = ANY (idle) RETURNING *)
		INSERT INTO audit_gone SELECT * FROM gone;
		DELETE FROM audit_event_default WHERE time < kept AND journal = ANY (idle);
		GET DIAGNOSTICS d.events := ROW_COUNT;
		source := 'audit_gone'::regclass;
	ELSE
		EXECUTE format('SELECT count(*) FROM %s', events) INTO d.events;
	END IF;
	EXECUTE format('SELECT count(*) FROM %s', source) INTO d.records;
	d.broken := audit_broken(source);
	-- runs of records; dense_rank, because a record may stand there twice when somebody was at the table
	EXECUTE format('WITH numbered AS (
		SELECT journal, sequence, sequence - dense_rank() OVER (PARTITION BY journal ORDER BY sequence) AS run FROM %1$s
	), run AS (
		SELECT journal, min(sequence) AS first, max(sequence) AS last FROM numbered GROUP BY journal, run
	)
	INSERT INTO audit_cut SELECT $1, journal, first, last, (SELECT hash FROM %1$s r WHERE r.journal = run.journal AND
	    r.sequence = run.last ORDER BY r.time LIMIT 1) FROM run', source) USING d.id;
	SELECT sha256(convert_to(coalesce(string_agg(concat_ws(' ', journal, first, last, encode(hash, 'hex')), E'\n'
	    ORDER BY journal, first), ''), 'UTF8')) INTO d.cuts FROM audit_cut WHERE dropped = d.id;
	d.ledger := sha256(coalesce(before, decode(repeat('00', 32), 'hex')) || convert_to(concat_ws(E'\n', d.id, d.part,
	    d.server, (extract(epoch FROM d.dropped) * 1000)::bigint, d.records, d.events, d.broken, encode(d.cuts, 'hex')), 'UTF8'));
	INSERT INTO audit_dropped SELECT d.*;
	IF part_name <> 'default' THEN
		EXECUTE format('DROP TABLE %s, %s', source, events);
	END IF;
	RETURN d;
END $$;
