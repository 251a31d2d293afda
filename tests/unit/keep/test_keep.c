/* The whole housekeeper, with a database and a server of lists that come and go. */
#include "unit.h"

#include "pki/ca.h"

#include "audit.h"
#include "buf.h"
#include "clock.h"
#include "keep.h"
#include "log.h"
#include "pg.h"
#include "server.h"

#include <ftw.h>

static struct test_pg *pg;
static struct ca ca;

struct world {
	char dir[64];
	struct arena *a;
	struct err e;
	struct server server;
	struct conf_file file;
	struct keep *keep;
	struct audit *journal;
};

static const char *
path(struct world *w, const char *name)
{
	return arena_printf(w->a, "%s/%s", w->dir, name).p;
}

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	X509_CRL *crl = ca_list(&ca, 5, 1);

	strcpy(w->dir, "/tmp/sosigw-keep-XXXXXX");
	w->a = arena_new(16 << 20);
	if (mkdtemp(w->dir) == NULL)
		return -1;
	server_start(&w->server);
	server_set(&w->server, 0, (struct page){ "/one", 200, ca_list_der(w->a, crl), NULL, 0, 0 });
	X509_CRL_free(crl);
	pg_exec(pg, "DELETE FROM audit_journal; DELETE FROM audit_record; DELETE FROM audit_event; DELETE FROM audit_dropped; "
	    "DELETE FROM audit_cut; DELETE FROM member; DELETE FROM member_program; DELETE FROM card_format_kept; "
	    "DELETE FROM config_revision");
	w->file = (struct conf_file){ .server = "gw1", .zone = "a", .database = pg_conninfo(pg), .journal = w->dir,
		.state = w->dir, .cache_keys = path(w, "no.keys"), .journal_warn = 100, .journal_stop = 100 };
	w->journal = audit_open(w->dir, "gw1", "proxy", false, &w->e);
	*state = w;
	return w->journal == NULL;
}

static int
remove_one(const char *at, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(at);
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	audit_close(w->journal);
	server_stop(&w->server);
	nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	arena_free(w->a);
	free(w);
	return 0;
}

/* A PEM text as it stands in JSON. */
static struct slice
in_json(struct arena *a, struct slice text)
{
	struct slice line, out = S("");

	while (slice_next(&text, '\n', &line))
		out = arena_printf(a, "%.*s%.*s\\n", SLICE_FMT(out), SLICE_FMT(line));
	return out;
}

static void
publish_with(struct world *w, int64_t base, const char *more)
{
	struct db *d = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 1, .connect_ms = 2000,
	    .statement_ms = 5000, .wait_ms = 1000 });
	struct slice document = arena_printf(w->a, "{\"format\": 1, \"trust\": {\"roots\": [\"%s\"], \"crl_urls\": [\"%s/one\"]}%s}",
	    in_json(w->a, ca_pem(w->a, ca.cert)).p, w->server.base, more);
	struct buf problems;
	int64_t revision;

	buf_init(&problems, 65536);
	int rc = conf_publish(d, document, base, S("test"), S(""), &revision, &problems, &w->e);
	if (rc < 0)
		fail_msg("%s %.*s", w->e.detail, SLICE_FMT(buf_slice(&problems)));
	buf_free(&problems);
	db_free(d);
}

static void
publish(struct world *w, int64_t base)
{
	publish_with(w, base, "");
}

static void
start(struct world *w)
{
	err_clear(&w->e);
	w->keep = keep_start(&w->file, &w->e);
	if (w->keep == NULL)
		fail_msg("%s", w->e.detail);
}

static void
write_event(struct world *w)
{
	struct audit_event ev = { .kind = AUDIT_PROXY, .status = AUDIT_OK, .time_ms = clock_now_ms(), .request_id = S("r") };

	assert_ok(audit_write(w->journal, &ev, &w->e), &w->e);
}

/* Within ten seconds. */
static void
assert_soon(const char *sql, long want)
{
	char got[64] = "";

	for (int i = 0; i < 500; i++) {
		pg_value(pg, sql, got, sizeof got);
		if (atol(got) == want)
			return;
		pg_pause_ms(20);
	}
	fail_msg("%s: %s, not %ld", sql, got, want);
}

static void
assert_file_soon(const char *at, bool there)
{
	for (int i = 0; i < 500 && (access(at, F_OK) == 0) != there; i++)
		pg_pause_ms(20);
	assert_int_equal(access(at, F_OK) == 0, there);
}

static void
assert_stops(struct world *w)
{
	int64_t began = clock_mono_ms();

	assert_true(keep_stop(w->keep));
	assert_true(clock_mono_ms() - began < 5000);
}

static void
events_lists_and_heartbeat_go_where_they_belong(void **state)
{
	struct world *w = *state;

	start(w);
	write_event(w);
	assert_soon("SELECT count(*) FROM audit_event", 1);
	assert_soon("SELECT count(*) FROM member WHERE server = 'gw1' AND zone = 'a' AND revision = 0", 1);
	/* a first configuration is taken up at once */
	assert_int_equal(access(path(w, "revoked.bin"), F_OK), -1);
	publish(w, 0);
	assert_file_soon(path(w, "revoked.bin"), true);
	assert_soon("SELECT count(*) FROM member WHERE revision = 1", 1);
	assert_stops(w);
}

static void
what_was_written_last_is_sent_before_it_ends(void **state)
{
	struct world *w = *state;

	start(w);
	for (int i = 0; i < 3000; i++)
		write_event(w);
	assert_stops(w);
	assert_soon("SELECT count(*) FROM audit_event", 3000);
}

static void
a_disk_that_fills_is_told_with_the_heartbeat(void **state)
{
	struct world *w = *state;

	write_event(w);
	w->file.journal_warn = 1;	/* every disk is that full */
	start(w);
	assert_soon("SELECT count(*) FROM member WHERE journal_level = 'warn' AND journal_bytes > 100 AND journal_disk > 0", 1);
	assert_stops(w);
	w->file.journal_stop = 1;
	start(w);
	assert_soon("SELECT count(*) FROM member WHERE journal_level = 'stop'", 1);
	assert_stops(w);
}

static size_t
journals_in(struct world *w)
{
	struct audit_waiting there;

	assert_ok(audit_waiting(w->dir, &there, &w->e), &w->e);
	return there.files;
}

static void
what_has_arrived_stays_a_while_unless_the_disk_fills(void **state)
{
	struct world *w = *state;
	struct audit *ended = audit_open(w->dir, "gw1", "card", false, &w->e);

	assert_non_null(ended);
	audit_close(ended);
	w->file.journal_keep_hours = 6;
	start(w);
	assert_soon("SELECT count(*) FROM audit_journal WHERE closed = 'clean'", 1);
	assert_stops(w);
	assert_int_equal(journals_in(w), 2);	/* with the one that goes on */
	w->file.journal_warn = 1;	/* every disk is that full */
	start(w);
	for (int i = 0; i < 2000 && journals_in(w) == 2; i++)
		usleep(5000);
	assert_int_equal(journals_in(w), 1);
	assert_stops(w);
}

static void
the_age_of_lists_and_the_end_of_certificates_is_told_with_the_heartbeat(void **state)
{
	struct world *w = *state;

	publish(w, 0);
	start(w);
	assert_soon("SELECT count(*) FROM member WHERE ends->'lists'->0->>'url' LIKE '%/one' AND (ends->'lists'->0->>'next')::bigint > "
	    "(ends->'lists'->0->>'updated')::bigint AND ends->'certificates'->0->>'use' = 'trust.roots[0]' AND "
	    "ends->'certificates'->0->>'subject' = 'CA' AND (ends->>'count')::int = 1", 1);
	assert_stops(w);
}

static void
old_months_are_dropped_when_the_configuration_says_so(void **state)
{
	struct world *w = *state;
	struct audit_event old = { .kind = AUDIT_PROXY, .status = AUDIT_OK, .time_ms = 1704110400000, .request_id = S("r") };

	pg_exec(pg, "SELECT audit_partitions('2024-01-15')");
	assert_ok(audit_write(w->journal, &old, &w->e), &w->e);
	publish(w, 0);
	start(w);
	assert_soon("SELECT count(*) FROM audit_event_2024_01", 1);
	publish_with(w, 1, ", \"audit\": {\"retention_months\": 12}");
	assert_soon("SELECT count(*) FROM audit_event WHERE operation = 'drop audit 2024_01: 1 events' AND status = 'ok'", 1);
	assert_soon("SELECT count(*) FROM audit_event WHERE time < '2025-01-01'", 0);
	assert_stops(w);
}

static void
without_a_database_lists_are_still_fetched(void **state)
{
	struct world *w = *state;

	publish(w, 0);
	start(w);
	assert_file_soon(path(w, "revoked.bin"), true);
	assert_stops(w);
	assert_int_equal(unlink(path(w, "revoked.bin")), 0);
	/* the configuration comes from the snapshot */
	pg_kill(pg);
	start(w);
	assert_file_soon(path(w, "revoked.bin"), true);
	write_event(w);
	pg_restart(pg);
	assert_soon("SELECT count(*) FROM audit_event", 1);
	pg_kill(pg);
	int64_t began = clock_mono_ms();
	bool stopped = keep_stop(w->keep);
	int64_t took = clock_mono_ms() - began;
	pg_restart(pg);
	assert_true(stopped);
	assert_true(took < 5000);
}

static void
a_list_server_that_says_nothing_holds_nobody_up(void **state)
{
	struct world *w = *state;

	server_set(&w->server, 0, (struct page){ "/one", 0, S(""), NULL, 0, 0 });
	publish(w, 0);
	start(w);
	for (int i = 0; i < 500 && server_page(&w->server, 0).asked == 0; i++)
		pg_pause_ms(20);
	assert_int_equal(server_page(&w->server, 0).asked, 1);
	write_event(w);
	assert_soon("SELECT count(*) FROM audit_event", 1);
	pg_exec(pg, "UPDATE member SET seen = now() - interval '1 hour'");
	assert_soon("SELECT count(*) FROM member WHERE seen > now() - interval '1 minute'", 1);
	/* it does not wait for the list; the process would end now */
	int64_t began = clock_mono_ms();
	assert_false(keep_stop(w->keep));
	assert_true(clock_mono_ms() - began < 5000);
	/* the server gives up */
	shutdown(w->server.silent[0], SHUT_RDWR);
	assert_stops(w);
}

static int
stop_database(void **state)
{
	(void)state;
	pg_stop(pg);
	ca_free(&ca);
	return 0;
}

static int
start_database(void **state)
{
	(void)state;
	pg = pg_start();
	pg_schema(pg);
	ca.key = EVP_RSA_gen(2048);
	ca.cert = ca_issue(NULL, &(struct ca_order){ .cn = "CA", .is_ca = true, .key = ca.key });
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(events_lists_and_heartbeat_go_where_they_belong),
		T(what_was_written_last_is_sent_before_it_ends),
		T(a_disk_that_fills_is_told_with_the_heartbeat),
		T(the_age_of_lists_and_the_end_of_certificates_is_told_with_the_heartbeat),
		T(what_has_arrived_stays_a_while_unless_the_disk_fills),
		T(old_months_are_dropped_when_the_configuration_says_so),
		T(without_a_database_lists_are_still_fetched),
		T(a_list_server_that_says_nothing_holds_nobody_up),
	};
	struct err e = { 0 };

	log_open(getenv("KEEP_LOG") != NULL ? NULL : "/dev/null", "test", LOG_INFO, &e);
	return cmocka_run_group_tests(tests, start_database, stop_database);
}
