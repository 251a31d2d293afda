/* Programs that find each other through the database and agree on what they write. */
#include "unit.h"

#include "pg.h"

#include "clock.h"
#include "cluster.h"
#include "formats.h"
#include "log.h"
#include "thread.h"

#include <stdatomic.h>

static struct test_pg *pg;
static atomic_int asked_to_end;

struct world {
	struct arena *a;
	struct db *d;
	char state[40];
	struct conf_file file;
	struct cluster_presence *p;
	atomic_int signatures;		/* as counted; 0: nobody counts */
	atomic_int card, journal;	/* what it is told to write */
	struct err e;
};

static void
on_formats(void *ctx, int card, int journal)
{
	struct world *w = ctx;

	atomic_store(&w->card, card);
	atomic_store(&w->journal, journal);
}

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->a = arena_new(8 << 20);
	w->d = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 2, .connect_ms = 2000,
	    .statement_ms = 5000, .wait_ms = 2000 });
	snprintf(w->state, sizeof w->state, "/tmp/sosigw-members-XXXXXX");
	assert_non_null(mkdtemp(w->state));
	w->file = (struct conf_file){ .server = "gw1", .state = w->state };
	pg_exec(pg, "DELETE FROM member; DELETE FROM member_program; DELETE FROM card_format_kept");
	atomic_store(&asked_to_end, 0);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	if (pg->pid == 0)
		pg_restart(pg);
	assert_true(cluster_vanish(w->p, 15000));
	db_free(w->d);
	arena_free(w->a);
	pg_remove(w->state);
	free(w);
	return 0;
}

static void
on_beat(void *ctx, struct cluster_program *self)
{
	struct world *w = ctx;

	self->signatures_sha1 = w->signatures;
	self->signatures_sha2 = 10 * w->signatures;
}

static bool
appears(struct world *w, const char *program, bool keeps_copy)
{
	struct cluster_presence_conf conf = { .db = w->d, .file = &w->file, .program = program, .keeps_copy = keeps_copy,
		.on_formats = on_formats, .on_beat = w->signatures > 0 ? on_beat : NULL, .ctx = w };

	err_clear(&w->e);
	w->p = cluster_appear(&conf, &w->e);
	return w->p != NULL;
}

static void
vanishes(struct world *w)
{
	assert_true(cluster_vanish(w->p, 15000));
	w->p = NULL;
	atomic_store(&w->card, 0);
	atomic_store(&w->journal, 0);
}

/* Another program as its row tells of it. */
static void
other(struct world *w, const char *server, const char *program, int card, int card_written, int journal, int journal_written)
{
	pg_exec(pg, arena_printf(w->a, "INSERT INTO member_program VALUES ('%s', '%s', '0.0.9', 1, now(), now(), %d, %d, %d, "
	    "%d, 1) ON CONFLICT (server, program) DO UPDATE SET card_format = excluded.card_format, seen = now(), "
	    "card_written = excluded.card_written, journal_format = excluded.journal_format, "
	    "journal_written = excluded.journal_written", server, program, card, card_written, journal, journal_written).p);
}

static long
count(const char *sql)
{
	char out[64];

	pg_value(pg, sql, out, sizeof out);
	return atol(out);
}

/* ---- the rules */

static void
who_may_work_beside_whom(void **state)
{
	struct world *w = *state;
	static const struct { const char *what; int own, theirs, written; bool fits; int chosen; } rows[] = {
		{ "the same", 2, 2, 2, true, 2 },
		{ "the same, which waits for a third", 2, 2, 1, true, 2 },
		{ "one behind", 2, 1, 1, true, 1 },
		{ "one ahead, which waits", 2, 3, 2, true, 2 },
		{ "one ahead, which waits no more", 2, 3, 3, false, 0 },
		{ "two behind", 3, 1, 1, false, 0 },
		{ "two ahead", 1, 3, 2, false, 0 },
		{ "one behind, which waits for one two behind", 3, 2, 1, false, 0 },
		{ "one behind, which waits no more", 3, 2, 2, true, 2 },
		{ "the first format of all", 1, 1, 1, true, 1 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int kind = 0; kind < 2; kind++) {
			struct cluster_program self = { .server = S("gw1"), .program = S("proxy-1"), .card_format = 2,
				.journal_format = 2, .config_format = 1 };
			struct cluster_program them = { .server = S("gw2"), .program = S("proxy-1"), .card_format = 2,
				.card_written = 2, .journal_format = 2, .journal_written = 2, .config_format = 1 };
			*(kind == 0 ? &self.card_format : &self.journal_format) = rows[i].own;
			*(kind == 0 ? &them.card_format : &them.journal_format) = rows[i].theirs;
			*(kind == 0 ? &them.card_written : &them.journal_written) = rows[i].written;
			err_clear(&w->e);
			if ((formats_check(&self, &them, 1, &w->e) == 0) != rows[i].fits)
				fail_msg("%s: %s", rows[i].what, w->e.detail);
			if (!rows[i].fits)
				continue;
			formats_choose(&self, &them, 1);
			assert_int_equal(kind == 0 ? self.card_written : self.journal_written, rows[i].chosen);
			assert_int_equal(kind == 0 ? self.journal_written : self.card_written, 2);
		}
}

static void
a_refusal_says_who_is_in_the_way_and_what_to_do(void **state)
{
	struct world *w = *state;
	const struct cluster_program self = { .server = S("gw1"), .program = S("card-1"), .card_format = 3, .journal_format = 3,
		.config_format = 1 };
	struct cluster_program them[2] = { self, self };

	them[0].card_written = them[0].journal_written = them[1].card_written = them[1].journal_written = 3;
	them[1].server = S("gw7");
	them[1].program = S("housekeeper");
	them[1].card_format = them[1].card_written = 1;
	them[1].age = 6 * 3600;
	assert_err(ERR_CONFIG, formats_check(&self, them, 2, &w->e), &w->e);
	assert_string_equal(w->e.detail, "gw7 (housekeeper, seen 21600 s ago) reads card formats up to 1, this program reads 2 to 3: "
	    "use a version in between first; if it is gone for good: sosigwctl cluster forget gw7 (or wait 19.0 h)");
	err_clear(&w->e);
	them[1].card_format = them[1].card_written = 4;
	them[1].age = -1;
	assert_err(ERR_CONFIG, formats_check(&self, them, 2, &w->e), &w->e);
	assert_string_equal(w->e.detail, "gw7 (housekeeper, the database is away) writes card format 4, this program reads 2 to 3: "
	    "use a newer version; if it is gone for good: sosigwctl cluster forget gw7");
}

/* ---- in the database */

static void
what_a_program_counts_is_told_with_every_heartbeat(void **state)
{
	struct world *w = *state;
	struct cluster_program *all;
	size_t n;

	assert_true(appears(w, "housekeeper", false));
	vanishes(w);
	w->signatures = 3;
	assert_true(appears(w, "proxy-1", false));
	assert_ok(cluster_programs(w->d, w->a, &all, &n, &w->e), &w->e);
	assert_int_equal(n, 2);
	assert_int_equal(all[0].signatures_sha1, -1);
	assert_int_equal(all[0].signatures_sha2, -1);
	assert_int_equal(all[1].signatures_sha1, 3);
	assert_int_equal(all[1].signatures_sha2, 30);
	atomic_store(&w->signatures, 4);
	pg_eventually(count("SELECT signatures_sha2 FROM member_program WHERE program = 'proxy-1'") == 40);
}

static void
alone_it_writes_its_own_format_and_shows_itself(void **state)
{
	struct world *w = *state;
	struct cluster_program *all;
	size_t n;

	assert_true(appears(w, "proxy-1", false));
	assert_int_equal(w->card, FORMAT_CARD);
	assert_int_equal(w->journal, FORMAT_JOURNAL);
	assert_ok(cluster_programs(w->d, w->a, &all, &n, &w->e), &w->e);
	assert_int_equal(n, 1);
	assert_slice("gw1", all[0].server);
	assert_slice("proxy-1", all[0].program);
	assert_slice(SOSIGW_VERSION, all[0].version);
	assert_int_equal(all[0].pid, getpid());
	assert_int_equal(all[0].card_format, FORMAT_CARD);
	assert_int_equal(all[0].card_written, FORMAT_CARD);
	assert_int_equal(all[0].config_format, FORMAT_CONFIG);
	assert_true(all[0].age < 60);
}

static void
it_writes_the_format_before_until_the_last_one_reads_its_own(void **state)
{
	struct world *w = *state;

	other(w, "gw2", "proxy-1", FORMAT_CARD, FORMAT_CARD - 1, FORMAT_JOURNAL, FORMAT_JOURNAL - 1);
	other(w, "gw2", "card-1", FORMAT_CARD - 1, FORMAT_CARD - 1, FORMAT_JOURNAL, FORMAT_JOURNAL - 1);
	assert_true(appears(w, "proxy-1", false));
	assert_int_equal(w->card, FORMAT_CARD - 1);
	assert_int_equal(w->journal, FORMAT_JOURNAL);
	other(w, "gw2", "card-1", FORMAT_CARD, FORMAT_CARD - 1, FORMAT_JOURNAL, FORMAT_JOURNAL);
	pg_eventually(w->card == FORMAT_CARD);
	assert_int_equal(count("SELECT card_written FROM member_program WHERE server = 'gw1'"), FORMAT_CARD);
}

static void
who_has_not_been_seen_for_a_day_counts_no_more(void **state)
{
	struct world *w = *state;

	other(w, "gw2", "proxy-1", FORMAT_CARD - 1, FORMAT_CARD - 1, FORMAT_JOURNAL - 1, FORMAT_JOURNAL - 1);
	other(w, "gw3", "proxy-1", FORMAT_CARD + 7, FORMAT_CARD + 7, FORMAT_JOURNAL, FORMAT_JOURNAL);
	pg_exec(pg, "UPDATE member_program SET seen = now() - interval '24 hours'");
	assert_false(appears(w, "proxy-1", false));
	pg_exec(pg, "UPDATE member_program SET seen = now() - interval '26 hours'");
	assert_true(appears(w, "proxy-1", false));
	assert_int_equal(w->card, FORMAT_CARD);
}

static void
beside_one_that_is_too_far_it_does_not_start(void **state)
{
	struct world *w = *state;

	other(w, "gw2", "card-2", FORMAT_CARD + 1, FORMAT_CARD + 1, FORMAT_JOURNAL, FORMAT_JOURNAL);
	assert_false(appears(w, "proxy-1", false));
	assert_int_equal(w->e.kind, ERR_CONFIG);
	assert_non_null(strstr(w->e.detail, "gw2 (card-2, seen "));
	assert_int_equal(count("SELECT count(*) FROM member_program WHERE server = 'gw1'"), 0);
	assert_int_equal(w->card, 0);
	/* it may while that one still writes what we read */
	other(w, "gw2", "card-2", FORMAT_CARD + 1, FORMAT_CARD, FORMAT_JOURNAL, FORMAT_JOURNAL);
	assert_true(appears(w, "proxy-1", false));
	assert_int_equal(w->card, FORMAT_CARD);
}

/* Two upgrades within the life of a card: the cards of the first format are still there. */
static void
while_cards_may_be_there_that_it_cannot_read_it_does_not_start(void **state)
{
	struct world *w = *state;

	/* a program of the version before goes on as this one: its cards are read */
	other(w, "gw1", "proxy-1", FORMAT_CARD - 1, FORMAT_CARD - 1, FORMAT_JOURNAL, FORMAT_JOURNAL);
	assert_true(appears(w, "proxy-1", false));
	vanishes(w);
	assert_int_equal(count("SELECT format FROM card_format_kept WHERE until > now() - interval '1 minute'"), FORMAT_CARD - 1);
	/* nobody is in the way, but what was written two versions ago is */
	pg_exec(pg, "UPDATE card_format_kept SET format = format - 1, until = now() - interval '10 hours'");
	assert_false(appears(w, "proxy-1", false));
	assert_string_equal(w->e.detail, "cards of format 0 may still be in use, this program reads 1 to 2: use a version in between "
	    "until they have ended, which takes 15.0 h");
	pg_exec(pg, "UPDATE card_format_kept SET until = now() - interval '26 hours'");
	assert_true(appears(w, "proxy-1", false));
	vanishes(w);
	/* nor does it help to forget who wrote it */
	other(w, "gw2", "proxy-1", FORMAT_CARD - 2, FORMAT_CARD - 2, FORMAT_JOURNAL, FORMAT_JOURNAL);
	pg_exec(pg, "UPDATE member_program SET seen = now() - interval '1 hour' WHERE server = 'gw2'");
	assert_ok(cluster_forget(w->d, w->a, S("gw2"), &w->e), &w->e);
	assert_false(appears(w, "proxy-1", false));
	/* with the database away the copy says it */
	FILE *f = fopen(arena_printf(w->a, "%s/members.json", w->state).p, "w");
	fprintf(f, "{\"programs\": [], \"kept\": [%d, %d]}", FORMAT_CARD, FORMAT_CARD - 2);
	fclose(f);
	pg_kill(pg);
	assert_false(appears(w, "proxy-1", false));
	assert_int_equal(w->e.kind, ERR_CONFIG);
}

static void
what_its_predecessor_wrote_must_be_read(void **state)
{
	struct world *w = *state;

	other(w, "gw1", "proxy-1", FORMAT_CARD + 1, FORMAT_CARD + 1, FORMAT_JOURNAL, FORMAT_JOURNAL);
	assert_false(appears(w, "proxy-1", false));
	/* but nobody waits for a predecessor to read */
	other(w, "gw1", "proxy-1", FORMAT_CARD - 1, FORMAT_CARD - 1, FORMAT_JOURNAL, FORMAT_JOURNAL);
	assert_true(appears(w, "proxy-1", false));
	assert_int_equal(w->card, FORMAT_CARD);
}

static void *
appear_meanwhile(void *arg)
{
	return appears(arg, "proxy-1", false) ? NULL : arg;
}

/* It began a moment before us, and is not yet seen when we look. */
static void
one_that_begins_at_the_same_moment_is_waited_for(void **state)
{
	struct world *w = *state;
	PGconn *conn = PQconnectdb(pg->conninfo);
	void *failed;
	pthread_t t;

	PQclear(PQexec(conn, "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('sosigw members', 0)); "
	    "INSERT INTO member_program VALUES ('gw2', 'proxy-1', '0', 1, now(), now(), 1, 1, 1, 1, 1)"));
	assert_int_equal(thread_start(&t, NULL, appear_meanwhile, w), 0);
	pg_eventually(count("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'") == 1);
	PQclear(PQexec(conn, "COMMIT"));
	PQfinish(conn);
	pthread_join(t, &failed);
	assert_null(failed);
	assert_int_equal(w->card, 1);
}

/* ---- without the database */

static void
with_the_database_away_the_copy_decides(void **state)
{
	struct world *w = *state;

	assert_true(appears(w, "housekeeper", true));
	other(w, "gw2", "proxy \"1\"", FORMAT_CARD, FORMAT_CARD - 1, FORMAT_JOURNAL, FORMAT_JOURNAL);
	pg_eventually(access(arena_printf(w->a, "%s/members.json", w->state).p, F_OK) == 0 &&
	    slice_find(unit_file(w->a, arena_printf(w->a, "%s/members.json", w->state).p), S("gw2")) > 0);
	vanishes(w);
	pg_kill(pg);
	/* it wrote the newer one itself, and all read it */
	assert_true(appears(w, "housekeeper", true));
	assert_int_equal(w->card, FORMAT_CARD);
	vanishes(w);
	pg_restart(pg);

	/* all read it, but nobody wrote it yet: it is not ours to begin with it */
	pg_exec(pg, "DELETE FROM member_program");
	other(w, "gw2", "proxy-1", FORMAT_CARD, FORMAT_CARD - 1, FORMAT_JOURNAL, FORMAT_JOURNAL - 1);
	FILE *f = fopen(arena_printf(w->a, "%s/members.json", w->state).p, "w");
	fprintf(f, "{\"programs\": [{\"server\": \"gw2\", \"program\": \"proxy-1\", \"card\": [%d, %d], \"journal\": [%d, %d], "
	    "\"config\": 1}], \"kept\": []}", FORMAT_CARD, FORMAT_CARD - 1, FORMAT_JOURNAL, FORMAT_JOURNAL - 1);
	fclose(f);
	pg_kill(pg);
	assert_true(appears(w, "proxy-1", false));
	assert_int_equal(w->card, FORMAT_CARD - 1);
	assert_int_equal(w->journal, FORMAT_JOURNAL - 1);
	/* and it is, as soon as the database is there */
	pg_restart(pg);
	pg_eventually(w->card == FORMAT_CARD);
	vanishes(w);

	f = fopen(arena_printf(w->a, "%s/members.json", w->state).p, "w");
	fprintf(f, "{\"programs\": [{\"server\": \"gw2\", \"program\": \"proxy-1\", \"card\": [%d, %d], \"journal\": [1, 1], "
	    "\"config\": 1}], \"kept\": []}", FORMAT_CARD + 2, FORMAT_CARD + 1);
	fclose(f);
	pg_kill(pg);
	assert_false(appears(w, "proxy-1", false));
	assert_non_null(strstr(w->e.detail, "gw2 (proxy-1, the database is away)"));
}

static void
a_spoilt_copy_or_none_makes_it_write_the_oldest(void **state)
{
	struct world *w = *state;
	static const char *const copies[] = { NULL, "", "{}", "[]", "{\"programs\": [{}]}", "{\"programs\": [", "{\"programs\": {}}", "{\"programs\": []}" };

	pg_kill(pg);
	for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
		if (copies[i] != NULL) {
			FILE *f = fopen(arena_printf(w->a, "%s/members.json", w->state).p, "w");
			fputs(copies[i], f);
			fclose(f);
		}
		assert_true(appears(w, "proxy-1", false));
		assert_int_equal(w->card, FORMAT_CARD - 1);
		assert_int_equal(w->journal, FORMAT_JOURNAL - 1);
		vanishes(w);
	}
}

static void
note_end(int sig)
{
	(void)sig;
	atomic_store(&asked_to_end, 1);
}

static void
what_should_not_have_started_ends_when_the_database_says_so(void **state)
{
	struct world *w = *state;

	other(w, "gw2", "proxy-1", FORMAT_CARD + 2, FORMAT_CARD + 1, FORMAT_JOURNAL, FORMAT_JOURNAL);
	pg_kill(pg);
	signal(SIGTERM, note_end);
	assert_true(appears(w, "proxy-1", false));
	assert_int_equal(asked_to_end, 0);
	pg_restart(pg);
	pg_eventually(asked_to_end == 1);
	signal(SIGTERM, SIG_DFL);
	assert_int_equal(count("SELECT count(*) FROM member_program WHERE server = 'gw1'"), 0);
}

static void
one_that_was_forgotten_takes_its_place_again(void **state)
{
	struct world *w = *state;

	assert_true(appears(w, "proxy-1", false));
	pg_exec(pg, "DELETE FROM member_program");
	pg_eventually(count("SELECT count(*) FROM member_program WHERE server = 'gw1'") == 1);
}

/* ---- forgetting */

static void
only_what_is_gone_is_forgotten(void **state)
{
	struct world *w = *state;

	assert_err(ERR_NOT_FOUND, cluster_forget(w->d, w->a, S("gw2"), &w->e), &w->e);
	err_clear(&w->e);
	other(w, "gw2", "proxy-1", 1, 1, 1, 1);
	other(w, "gw2", "proxy-2", 1, 1, 1, 1);
	other(w, "gw3", "proxy-1", 1, 1, 1, 1);
	pg_exec(pg, "INSERT INTO member VALUES ('gw2', 'a', '0.1.0', now(), now(), 7, 0.5, 1, 1, 1)");
	pg_exec(pg, "UPDATE member_program SET seen = now() - interval '2 minutes' WHERE program <> 'proxy-2'");
	assert_err(ERR_CONFLICT, cluster_forget(w->d, w->a, S("gw2"), &w->e), &w->e);
	assert_non_null(strstr(w->e.detail, "gw2 is up"));
	pg_exec(pg, "UPDATE member_program SET seen = now() - interval '2 minutes'");
	err_clear(&w->e);
	assert_err(ERR_CONFLICT, cluster_forget(w->d, w->a, S("gw2"), &w->e), &w->e);	/* its housekeeper was seen */
	assert_int_equal(count("SELECT count(*) FROM member_program"), 3);
	pg_exec(pg, "UPDATE member SET seen = now() - interval '2 minutes'");
	err_clear(&w->e);
	assert_ok(cluster_forget(w->d, w->a, S("gw2"), &w->e), &w->e);
	assert_int_equal(count("SELECT count(*) FROM member_program"), 1);
	assert_int_equal(count("SELECT count(*) FROM member"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(who_may_work_beside_whom),
		T(a_refusal_says_who_is_in_the_way_and_what_to_do),
		T(alone_it_writes_its_own_format_and_shows_itself),
		T(what_a_program_counts_is_told_with_every_heartbeat),
		T(it_writes_the_format_before_until_the_last_one_reads_its_own),
		T(who_has_not_been_seen_for_a_day_counts_no_more),
		T(beside_one_that_is_too_far_it_does_not_start),
		T(while_cards_may_be_there_that_it_cannot_read_it_does_not_start),
		T(what_its_predecessor_wrote_must_be_read),
		T(one_that_begins_at_the_same_moment_is_waited_for),
		T(with_the_database_away_the_copy_decides),
		T(a_spoilt_copy_or_none_makes_it_write_the_oldest),
		T(what_should_not_have_started_ends_when_the_database_says_so),
		T(one_that_was_forgotten_takes_its_place_again),
		T(only_what_is_gone_is_forgotten),
	};
	struct err e = { 0 };

	log_open("/dev/null", "test", LOG_ERROR, &e);
	pg = pg_start();
	pg_schema(pg);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
