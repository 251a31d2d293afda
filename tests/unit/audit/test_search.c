/* What is searched for is found by an index, however much there is. */
#include "unit.h"

#include "central.h"

#define EVENTS "30000"

/* One month of events as audit_apply makes them; what went wrong, administrators and one address are rare. */
static int
fill(void **state)
{
	if (start_database(state) != 0)
		return -1;
	pg_exec(pg, "SELECT audit_partitions('2024-06-15'); "
	    "INSERT INTO audit_event (id, time, journal, begin_sequence, end_sequence, hash, server, program, kind, status, request_id, "
	    "client, organisation, user_id, system_id, address, operation, service, endpoint, card_id, reason) "
	    "SELECT n, timestamptz '2024-06-01Z' + n * interval '60 seconds', 1, n, n, sha256('x'), 'gw1', 'proxy', "
	    "CASE n % 10000 WHEN 7 THEN 'admin' ELSE 'proxy' END, CASE n % 3000 WHEN 0 THEN 'failed' WHEN 1 THEN 'refused' ELSE 'ok' END, "
	    "'r' || n, 'client-' || n % 50, 'region', 'user-' || n % 500, 'EPJ', CASE n % 5000 WHEN 1 THEN '10.9.9.9' ELSE '10.0.0.1' END, "
	    "'proxy', 'service-' || n % 60, 'https://fmk.example.dk/ws', 'card-' || n % 2000, NULL FROM generate_series(1, " EVENTS ") n; "
	    "ANALYZE audit_event");
	return 0;
}

/* How often the month was read from end to end. */
static long
whole_reads(void)
{
	return count("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'audit_event_2024_06'");
}

static size_t
find(struct world *w, struct audit_query q)
{
	/* what a connection did is counted when it is closed */
	struct db *own = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 1, .connect_ms = 2000,
	    .statement_ms = 20000, .wait_ms = 2000 });
	struct audit_row *rows;
	size_t n;

	assert_ok(audit_search(own, w->a, &q, &rows, &n, &w->e), &w->e);
	db_free(own);
	pg_eventually(count("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") == 1);
	return n;
}

static void
no_search_reads_a_whole_month(void **state)
{
	struct world *w = *state;
	static const struct { const char *note; struct audit_query q; size_t found; } rows[] = {
		{ "the newest", { .most = 100 }, 100 },
		{ "user", { .user = S("user-7"), .most = 100 }, 60 },
		{ "nobody", { .user = S("nobody"), .most = 100 }, 0 },
		{ "client", { .client = S("client-7"), .most = 100 }, 100 },
		{ "service", { .service = S("service-7"), .most = 100 }, 100 },
		{ "card", { .card_id = S("card-7"), .most = 100 }, 15 },
		{ "request", { .request_id = S("r77"), .most = 100 }, 1 },
		{ "address", { .address = S("10.9.9.9"), .most = 100 }, 6 },
		{ "what failed", { .status = S("failed"), .most = 100 }, 10 },
		{ "what was refused by time", { .status = S("refused"), .from_ms = 1717200000000, .to_ms = 1718000000000, .most = 100 }, 5 },
		{ "administrators", { .kind = S("admin"), .most = 100 }, 3 },
		{ "an hour", { .from_ms = 1717250000000, .to_ms = 1717253600000, .most = 100 }, 60 },
		{ "a user in an hour", { .user = S("user-7"), .from_ms = 1717250000000, .to_ms = 1717253600000, .most = 100 }, 0 },
		{ "what is new", { .after_id = 29950, .most = 1000 }, 50 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		long before = whole_reads();
		size_t n = find(w, rows[i].q);
		if (n != rows[i].found)
			fail_msg("%s: %zu found", rows[i].note, n);
		if (whole_reads() != before)
			fail_msg("%s: the whole month was read", rows[i].note);
	}
	/* the witness is one: a search that no index serves is seen */
	long before = whole_reads();
	pg_exec(pg, "SELECT count(*) FROM audit_event_2024_06 WHERE organisation = 'x'");
	pg_eventually(whole_reads() > before);
}

int
main(void)
{
	struct err e = { 0 };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_search_reads_a_whole_month, world_new, world_free),
	};

	log_open("/dev/null", "test", LOG_ERROR, &e);
	return cmocka_run_group_tests(tests, fill, stop_database);
}
