/* Months that are no longer kept are dropped, and what remains can still be verified. */
#include "unit.h"

#include "central.h"

#include <pthread.h>

#define DAY ((int64_t)24 * 3600 * 1000)
#define JANUARY 1704067200000		/* 2024-01-01 */
#define FEBRUARY (JANUARY + 31 * DAY)

static struct audit_retained
retain(struct world *w, unsigned months)
{
	struct audit_retained out;

	assert_ok(audit_retain(w->dir, "gw1", db, months, &out, &w->e), &w->e);
	return out;
}

static void
put_at(struct audit *j, enum audit_status status, const char *request_id, int64_t time_ms)
{
	struct audit_event ev = event(status, request_id);
	struct err e = { 0 };

	ev.time_ms = time_ms;
	assert_ok(audit_write(j, &ev, &e), &e);
}

/* Empty, and of all months only these two have partitions. */
static void
january_and_february(void)
{
	pg_exec(pg, EMPTY "; DO $$DECLARE p text; BEGIN FOR p IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent IN "
	    "('audit_record'::regclass, 'audit_event'::regclass) AND inhrelid::regclass::text !~ 'default$' LOOP "
	    "EXECUTE 'DROP TABLE ' || p; END LOOP; END$$; SELECT audit_partitions('2024-01-15')");
}

static int
set_up(void **state)
{
	january_and_february();
	return world_new(state);
}

/* A journal over the turn of the month: calls that began before midnight and ended behind it. */
static void
write_over_midnight(struct world *w)
{
	struct audit *j = journal_open(w, false);

	for (int i = 0; i < 20; i++)
		put_at(j, AUDIT_OK, "before", JANUARY + i * DAY);
	put_at(j, AUDIT_OPEN, "long", FEBRUARY - 2);
	put_at(j, AUDIT_OPEN, "longer", FEBRUARY - 1);
	put_at(j, AUDIT_OPEN, "new", FEBRUARY);
	put_at(j, AUDIT_OK, "long", FEBRUARY - 2);
	put_at(j, AUDIT_OK, "new", FEBRUARY);
	put_at(j, AUDIT_OK, "longer", FEBRUARY - 1);
	for (int i = 0; i < 20; i++)
		put_at(j, AUDIT_OK, "after", FEBRUARY + i * DAY);
	audit_close(j);
	ship(w);
}

/* Whole months between February 2024 and now. */
static unsigned
months_since_february(void)
{
	return (unsigned)count("SELECT extract(year FROM now() AT TIME ZONE 'UTC') * 12 + extract(month FROM now() AT TIME ZONE 'UTC') "
	    "- 2024 * 12 - 2");
}

static void
a_month_is_dropped_and_the_rest_is_whole(void **state)
{
	struct world *w = *state;

	write_over_midnight(w);
	assert_whole(43);
	assert_int_equal(retain(w, 0).parts, 0);
	assert_int_equal(retain(w, months_since_february() + 1).parts, 0);	/* both are still kept */
	struct audit_retained got = retain(w, months_since_february());
	assert_int_equal(got.parts, 1);
	assert_int_equal(got.events, 22);
	assert_int_equal(got.records, 24);
	assert_int_equal(count("SELECT count(*) FROM audit_event WHERE time < '2024-02-01Z'"), 0);
	assert_int_equal(retain(w, months_since_february()).parts, 0);		/* and is not dropped twice */
	/* what dropping it wrote arrives like all else */
	assert_int_equal(ship(w), 2);
	struct findings f = verify();
	if (f.broken > 0)
		fail_msg("%s", f.text);
	assert_int_equal(f.events, 22);
	assert_non_null(strstr(f.text, "note: 2024_01: 24 records of 22 events were dropped at "));
	size_t n;
	struct audit_row *r = search(w, (struct audit_query){ .kind = S("admin") }, &n);
	assert_int_equal(n, 1);
	assert_slice("ok", r->status);
	assert_slice("drop audit 2024_01: 22 events", r->operation);
	assert_slice("housekeeper", r->system);
	/* the next month too: nothing of this journal remains but its end, whose time is that of now */
	assert_int_equal(retain(w, months_since_february() - 1).parts, 1);
	ship(w);
	assert_whole(2);
}

static void
what_has_an_odd_time_is_dropped_when_its_journal_is_old(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);

	put_at(j, AUDIT_OPEN, "r1", 0);
	put_at(j, AUDIT_OK, "r2", 5000);
	put_at(j, AUDIT_OK, "r1", 0);
	put_at(j, AUDIT_OK, "r3", clock_now_ms());
	audit_close(j);
	ship(w);
	assert_int_equal(retain(w, 12).records, 0);	/* it has just come: its clock was wrong */
	pg_exec(pg, "UPDATE audit_journal SET updated = now() - interval '14 months'");
	struct audit_retained got = retain(w, 12);
	assert_int_equal(got.parts, 1);
	assert_int_equal(got.records, 3);
	assert_int_equal(got.events, 2);
	assert_whole(1);
	assert_int_equal(retain(w, 12).parts, 0);
}

static void
a_record_that_comes_after_its_month_was_dropped_is_kept(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);

	put_at(j, AUDIT_OK, "r1", JANUARY);
	ship(w);
	assert_int_equal(retain(w, 1).parts, 2);	/* January and the empty February */
	put_at(j, AUDIT_OK, "r2", JANUARY + 1);
	audit_close(j);
	ship(w);
	assert_int_equal(count("SELECT count(*) FROM audit_event WHERE request_id = 'r2'"), 1);
	assert_whole(3);
}

static void
partitions_are_there_before_their_month(void **state)
{
	(void)state;
	pg_exec(pg, "SELECT audit_partitions(now())");
	assert_int_equal(count("SELECT count(*) FROM generate_series(0, 1) m, unnest(ARRAY['audit_record', 'audit_event']) t "
	    "WHERE to_regclass(t || to_char(now() AT TIME ZONE 'UTC' + make_interval(months => m), '_YYYY_MM')) IS NOT NULL"), 4);
}

struct racer { struct world *w; struct audit_retained out; struct err e; int rc; };

static void *
race(void *arg)
{
	struct racer *r = arg;

	r->rc = audit_retain(r->w->dir, "gw1", db, 1, &r->out, &r->e);
	return NULL;
}

static void
servers_that_drop_at_once_drop_once(void **state)
{
	struct world *w = *state;
	struct racer r[4];
	pthread_t t[4];
	unsigned parts = 0;

	write_over_midnight(w);
	for (int i = 0; i < 4; i++) {
		r[i] = (struct racer){ .w = w };
		assert_int_equal(pthread_create(&t[i], NULL, race, &r[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_ok(r[i].rc, &r[i].e);
		parts += r[i].out.parts;
	}
	assert_int_equal(parts + retain(w, 1).parts, 2);
	assert_int_equal(count("SELECT count(*) FROM audit_dropped"), 2);
	ship(w);
	assert_whole(2);
}

/* Somebody who reads for hours holds nobody else up: dropping waits for another day, and says so. */
static void
a_reader_is_not_pushed_aside(void **state)
{
	struct world *w = *state;
	struct audit_retained out;

	write_over_midnight(w);
	PGconn *reader = PQconnectdb(pg_conninfo(pg));
	PQclear(PQexec(reader, "BEGIN; SELECT count(*) FROM audit_event"));
	assert_err(ERR_DATABASE, audit_retain(w->dir, "gw1", db, months_since_february(), &out, &w->e), &w->e);
	PQfinish(reader);
	assert_int_equal(count("SELECT count(*) FROM audit_dropped"), 0);
	ship(w);
	assert_whole(44);
	assert_int_equal(count("SELECT count(*) FROM audit_event WHERE status = 'failed' AND reason = 'DATABASE'"), 1);
	err_clear(&w->e);
	assert_int_equal(retain(w, months_since_february()).parts, 1);
}

static void
a_month_that_is_kept_cannot_be_dropped(void **state)
{
	struct world *w = *state;
	const struct slice part = arena_printf(w->a, "SELECT (audit_drop(to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM'), 1, 'gw1')).id");

	assert_err(ERR_DATABASE, db_query(db, w->a, part.p, NULL, 0, NULL, &w->e), &w->e);
	assert_non_null(strstr(w->e.detail, "is still to be kept"));
}

static void
what_verify_finds_where_a_month_was_dropped(void **state)
{
	struct world *w = *state;
#define NOTHING "SELECT 1"
	static const struct { const char *note, *before, *behind; unsigned parts; const char *want; } rows[] = {
		{ "a record changed before its month was dropped", "UPDATE audit_record SET payload = replace(payload, 'epj', 'EPJ') "
		    "WHERE sequence = 5", NOTHING, 1, "2024_01: 1 records were not what was written when they were dropped" },
		{ "its number too", "UPDATE audit_record SET sequence = 1000 WHERE sequence = 5", NOTHING, 1, "records 5 to 5 are missing" },
		{ "a record removed before its month was dropped", "DELETE FROM audit_record WHERE sequence = 5", NOTHING, 1,
		    "records 5 to 5 are missing" },
		{ "a record twice when its month was dropped", "INSERT INTO audit_record SELECT journal, sequence, time + '1s', hash, "
		    "payload FROM audit_record WHERE sequence = 5", NOTHING, 1, "were not what was written when they were dropped" },
		{ "a time changed before its month was dropped", "UPDATE audit_record SET time = time + '1s' WHERE sequence = 5", NOTHING, 1,
		    "2024_01: 1 records were not what was written" },
		{ "a record removed behind the cut", NOTHING, "DELETE FROM audit_record WHERE sequence = 24", 1,
		    "records 24 to 24 are missing" },
		{ "and a cut made to fit", NOTHING, "DELETE FROM audit_record WHERE sequence = 30; INSERT INTO audit_cut "
		    "SELECT 1, 1, 30, 30, sha256('x')", 1, "2024_01: what is said of the records" },
		{ "a cut removed", NOTHING, "DELETE FROM audit_cut WHERE first = 2", 1, "records 2 to 23 are missing" },
		{ "a cut's hash changed", NOTHING, "UPDATE audit_cut SET hash = sha256('x')", 1, "is not what was written" },
		{ "a cut widened", NOTHING, "UPDATE audit_cut SET last = last + 1", 1, "is there twice" },
		{ "a cut where records are", NOTHING, "INSERT INTO audit_cut SELECT 1, 1, 30, 31, hash FROM audit_record WHERE sequence = 31",
		    1, "is there twice" },
		{ "more said to be dropped", NOTHING, "UPDATE audit_dropped SET events = events + 1", 1, "2024_01: what is said of the records" },
		{ "who dropped it changed", NOTHING, "UPDATE audit_dropped SET server = 'gw2'", 1, "2024_01: what is said of the records" },
		{ "the first entry of the list removed", NOTHING, "DELETE FROM audit_dropped WHERE id = 1", 2,
		    "records were cut out by entry 1" },
		{ "with its cuts", NOTHING, "DELETE FROM audit_dropped WHERE id = 1; DELETE FROM audit_cut WHERE dropped = 1", 2,
		    "entries 1 to 1 of the list" },
		{ "the last entry with its cuts", NOTHING, "DELETE FROM audit_dropped WHERE id = 2; DELETE FROM audit_cut WHERE dropped = 2",
		    2, "are missing" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		january_and_february();
		write_over_midnight(w);
		pg_exec(pg, rows[i].before);
		assert_int_equal(retain(w, months_since_february() + 1 - rows[i].parts).parts, rows[i].parts);
		ship(w);
		pg_exec(pg, rows[i].behind);
		struct findings f = verify();
		if (f.broken == 0 || strstr(f.text, rows[i].want) == NULL)
			fail_msg("%s: %llu breaks\n%s", rows[i].note, (unsigned long long)f.broken, f.text);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, world_free)

int
main(void)
{
	struct err e = { 0 };
	const struct CMUnitTest tests[] = {
		T(a_month_is_dropped_and_the_rest_is_whole),
		T(what_has_an_odd_time_is_dropped_when_its_journal_is_old),
		T(a_record_that_comes_after_its_month_was_dropped_is_kept),
		T(partitions_are_there_before_their_month),
		T(servers_that_drop_at_once_drop_once),
		T(a_reader_is_not_pushed_aside),
		T(a_month_that_is_kept_cannot_be_dropped),
		T(what_verify_finds_where_a_month_was_dropped),
	};

	log_open("/dev/null", "test", LOG_ERROR, &e);
	return cmocka_run_group_tests(tests, start_database, stop_database);
}
