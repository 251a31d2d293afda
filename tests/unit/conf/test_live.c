#include "unit.h"

#include "pg.h"

#include "clock.h"
#include "conf.h"
#include "log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define DOC(margin) S("{\"format\": 1, \"times\": {\"expiry_margin_seconds\": " #margin "}}")

static struct test_pg *pg;

struct world {
	struct arena *a;
	struct db *d;
	struct conf_file file;
	struct conf_live *l;
	char state[40];
	struct buf problems;
	struct err e;
};

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->a = arena_new(8 << 20);
	buf_init(&w->problems, 1 << 20);
	snprintf(w->state, sizeof w->state, "/tmp/sosigw-state-XXXXXX");
	assert_non_null(mkdtemp(w->state));
	w->file = (struct conf_file){ .database = pg_conninfo(pg), .state = w->state };
	w->d = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 2, .connect_ms = 2000,
	    .statement_ms = 5000, .wait_ms = 2000 });
	pg_exec(pg, "TRUNCATE config_revision");
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	if (pg->pid == 0)
		pg_restart(pg);
	conf_live_stop(w->l);
	db_free(w->d);
	buf_free(&w->problems);
	arena_free(w->a);
	pg_remove(w->state);
	free(w);
	return 0;
}

static int
publish(struct world *w, struct slice doc, int64_t base)
{
	int64_t revision = 0;
	int done = conf_publish(w->d, doc, base, S("test"), S("why"), &revision, &w->problems, &w->e);

	if (done == 0)
		assert_int_equal(revision, base + 1);
	return done;
}

/* -1: there is none */
static int64_t
margin(struct conf_live *l)
{
	const struct conf *c = conf_hold(l);
	int64_t n = c == NULL ? -1 : c->expiry_margin;

	conf_release(l, c);
	return n;
}

static void
start(struct world *w, bool write_snapshot)
{
	err_clear(&w->e);
	w->l = conf_live_start(&w->file, write_snapshot, &w->e);
	assert_non_null(w->l);
}

/* ---- revisions */

static void
revisions_count_up_and_are_kept(void **state)
{
	struct world *w = *state;
	struct conf_revision r, *list;
	size_t n;

	assert_err(ERR_NOT_FOUND, conf_load(w->d, w->a, 0, &r, &w->e), &w->e);
	assert_ok(publish(w, DOC(1), 0), &w->e);
	assert_ok(publish(w, DOC(2), 1), &w->e);
	assert_ok(conf_load(w->d, w->a, 0, &r, &w->e), &w->e);
	assert_int_equal(r.id, 2);
	assert_slice("test", r.author);
	assert_slice("why", r.comment);
	assert_int_equal(r.created.n, strlen("2024-05-14T08:00:00Z"));
	assert_true(slice_starts(r.document, S("{\n  \"format\": 1,\n")));
	assert_true(slice_find(r.document, S("\"expiry_margin_seconds\": 2")) > 0);
	assert_ok(conf_load(w->d, w->a, 1, &r, &w->e), &w->e);
	assert_int_equal(r.id, 1);
	assert_err(ERR_NOT_FOUND, conf_load(w->d, w->a, 3, &r, &w->e), &w->e);
	assert_ok(conf_history(w->d, w->a, 10, &list, &n, &w->e), &w->e);
	assert_int_equal(n, 2);
	assert_int_equal(list[0].id, 2);
	assert_ok(conf_history(w->d, w->a, 1, &list, &n, &w->e), &w->e);
	assert_int_equal(n, 1);
}

static void
an_edit_of_an_old_revision_is_a_conflict(void **state)
{
	struct world *w = *state;

	assert_ok(publish(w, DOC(1), 0), &w->e);
	assert_ok(publish(w, DOC(2), 1), &w->e);
	assert_err(ERR_CONFLICT, publish(w, DOC(3), 1), &w->e);
	assert_err(ERR_CONFLICT, publish(w, DOC(3), 0), &w->e);
	assert_err(ERR_CONFLICT, publish(w, DOC(3), 7), &w->e);
	assert_err(ERR_INVALID, publish(w, S("{\"format\": 1, \"x\": 1}"), 2), &w->e);
	assert_slice("x: is not known here\n", buf_slice(&w->problems));
	assert_ok(publish(w, DOC(3), 2), &w->e);
}

struct racer { struct world *w; pthread_barrier_t *line; int won, conflicts, other; };

static void *
race(void *arg)
{
	struct racer *r = arg;

	for (int64_t base = 0; base < 20; base++) {
		int64_t revision;
		struct err e = { 0 };
		pthread_barrier_wait(r->line);
		if (conf_publish(r->w->d, DOC(5), base, S("a"), S("b"), &revision, NULL, &e) == 0)
			r->won++;
		else if (e.kind == ERR_CONFLICT)
			r->conflicts++;
		else
			r->other++;
	}
	return NULL;
}

static void
of_two_publishers_one_wins(void **state)
{
	struct world *w = *state;
	pthread_barrier_t line;
	struct racer r[2] = { { w, &line, 0, 0, 0 }, { w, &line, 0, 0, 0 } };
	pthread_t t[2];

	pthread_barrier_init(&line, NULL, 2);
	for (size_t i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, race, &r[i]);
	for (size_t i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&line);
	assert_int_equal(r[0].won + r[1].won, 20);
	assert_int_equal(r[0].conflicts + r[1].conflicts, 20);
}

/* ---- live */

static void
a_published_revision_is_live_at_once(void **state)
{
	struct world *w = *state;
	struct conf_live_state s;

	start(w, false);
	assert_int_equal(margin(w->l), -1);
	assert_ok(publish(w, DOC(11), 0), &w->e);
	pg_eventually(margin(w->l) == 11);
	pg_pause_ms(100);	/* the listener has connected by now */
	int64_t begin = clock_mono_ms();
	assert_ok(publish(w, DOC(12), 1), &w->e);
	pg_eventually(margin(w->l) == 12);
	assert_true(clock_mono_ms() - begin < 1000);	/* told, not polled */
	conf_live_state(w->l, &s);
	assert_int_equal(s.revision, 2);
	assert_true(s.database);
}

static void
a_lost_notification_costs_only_the_poll(void **state)
{
	struct world *w = *state;

	assert_ok(publish(w, DOC(21), 0), &w->e);
	start(w, false);
	assert_int_equal(margin(w->l), 21);	/* from the first request on */
	pg_exec(pg, "INSERT INTO config_revision (id, author, document) VALUES (2, 'psql', "
	    "'{\"format\": 1, \"times\": {\"expiry_margin_seconds\": 22}}')");
	pg_eventually(margin(w->l) == 22);
}

static void
a_spoilt_revision_is_never_taken(void **state)
{
	struct world *w = *state;
	struct conf_live_state s;

	assert_ok(publish(w, DOC(31), 0), &w->e);
	start(w, true);
	pg_exec(pg, "INSERT INTO config_revision (id, author, document) VALUES (2, 'psql', '{\"format\": 1, \"times\": 5}')");
	pg_exec(pg, "NOTIFY sosigw_config");
	pg_eventually((conf_live_state(w->l, &s), s.refused == 2));
	assert_non_null(strstr(s.problem, "times: must be an object"));
	assert_int_equal(s.revision, 1);
	assert_int_equal(margin(w->l), 31);
	assert_ok(publish(w, DOC(33), 2), &w->e);
	pg_eventually(margin(w->l) == 33);
	conf_live_state(w->l, &s);
	assert_int_equal(s.refused, 0);
}

static void
a_restored_older_database_is_followed(void **state)
{
	struct world *w = *state;

	assert_ok(publish(w, DOC(41), 0), &w->e);
	assert_ok(publish(w, DOC(42), 1), &w->e);
	start(w, false);
	assert_int_equal(margin(w->l), 42);
	pg_exec(pg, "DELETE FROM config_revision WHERE id = 2; NOTIFY sosigw_config");
	pg_eventually(margin(w->l) == 41);
	/* the same number again, with other content */
	assert_ok(publish(w, DOC(43), 1), &w->e);
	pg_eventually(margin(w->l) == 43);
}

static void
a_host_starts_from_its_snapshot_without_a_database(void **state)
{
	struct world *w = *state;
	char path[80];
	struct stat st;

	assert_ok(publish(w, DOC(51), 0), &w->e);
	start(w, true);
	assert_int_equal(margin(w->l), 51);
	conf_live_stop(w->l);
	w->l = NULL;
	snprintf(path, sizeof path, "%s/configuration.json", w->state);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640 & ~022);

	pg_kill(pg);
	start(w, false);
	assert_int_equal(margin(w->l), 51);
	pg_restart(pg);
	db_free(w->d);
	w->d = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 1, .connect_ms = 2000,
	    .statement_ms = 5000, .wait_ms = 2000 });
	assert_ok(publish(w, DOC(52), 1), &w->e);
	pg_eventually(margin(w->l) == 52);
}

static void
only_the_housekeeper_writes_the_snapshot(void **state)
{
	struct world *w = *state;
	char path[80];
	struct stat st;

	assert_ok(publish(w, DOC(61), 0), &w->e);
	start(w, false);
	assert_int_equal(margin(w->l), 61);
	snprintf(path, sizeof path, "%s/configuration.json", w->state);
	assert_int_equal(stat(path, &st), -1);
}

static void
a_spoilt_snapshot_is_passed_over(void **state)
{
	struct world *w = *state;
	static const char *const texts[] = { "", "{", "[]", "{\"revision\": 1}",
		"{\"revision\": 1, \"created\": \"x\", \"document\": {\"format\": 9}}" };
	char path[80];

	assert_ok(publish(w, DOC(71), 0), &w->e);
	snprintf(path, sizeof path, "%s/configuration.json", w->state);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		FILE *f = fopen(path, "w");
		fputs(texts[i], f);
		fclose(f);
		start(w, i == 4);
		assert_int_equal(margin(w->l), 71);
		conf_live_stop(w->l);
		w->l = NULL;
	}
	/* and the housekeeper has put a good one in its place */
	pg_kill(pg);
	start(w, false);
	assert_int_equal(margin(w->l), 71);
}

static void
it_runs_with_neither_database_nor_snapshot(void **state)
{
	struct world *w = *state;
	struct conf_live_state s;

	pg_kill(pg);
	start(w, true);
	assert_null(conf_hold(w->l));
	conf_release(w->l, NULL);
	conf_live_state(w->l, &s);
	assert_int_equal(s.revision, 0);
	assert_false(s.database);
}

static void
a_snapshot_that_cannot_be_written_is_tried_again(void **state)
{
	struct world *w = *state;
	char path[80], fresh[100];
	struct stat st;

	/* a folder in the place of the new file */
	snprintf(path, sizeof path, "%s/configuration.json", w->state);
	snprintf(fresh, sizeof fresh, "%s.new", path);
	mkdir(fresh, 0700);
	assert_ok(publish(w, DOC(81), 0), &w->e);
	start(w, true);
	assert_int_equal(margin(w->l), 81);
	assert_int_equal(stat(path, &st), -1);
	rmdir(fresh);
	pg_eventually(stat(path, &st) == 0);
}

/* ---- holds */

struct crowd { struct conf_live *l; atomic_bool stop; atomic_int holds, wrong; };

static void *
hold_and_release(void *arg)
{
	struct crowd *k = arg;

	for (int i = 0; i < 1000 || !k->stop; i++) {
		const struct conf *c = conf_hold(k->l);
		if (c == NULL || c->expiry_margin != c->revision)
			k->wrong++;
		conf_release(k->l, c);
		k->holds++;
	}
	return NULL;
}

static void
count_change(void *ctx, const struct conf *c)
{
	atomic_fetch_add((atomic_int *)ctx, c->revision > 0);
}

static void
requests_keep_what_they_hold_while_revisions_change(void **state)
{
	struct world *w = *state;
	struct crowd k = { 0 };
	atomic_int changes = 0;
	pthread_t t[4];

	assert_ok(publish(w, DOC(1), 0), &w->e);
	start(w, false);
	conf_live_on_change(w->l, count_change, &changes);
	k.l = w->l;
	const struct conf *first = conf_hold(w->l);
	for (size_t i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, hold_and_release, &k);
	static const char *const docs[] = { "2", "3", "4", "5", "6", "7", "8", "9" };
	for (int64_t base = 1; base < 9; base++) {
		struct slice doc = arena_printf(w->a, "{\"format\": 1, \"times\": {\"expiry_margin_seconds\": %s}}", docs[base - 1]);
		assert_ok(publish(w, doc, base), &w->e);
		pg_eventually(margin(w->l) == base + 1);
	}
	k.stop = true;
	for (size_t i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(first->expiry_margin, 1);
	conf_live_stop(w->l);
	w->l = NULL;
	conf_release(NULL, first);
	assert_int_equal(k.wrong, 0);
	assert_true(k.holds >= 4000);
	assert_int_equal(changes, 8);
}

static void
a_fixed_configuration_stands_still(void **state)
{
	struct world *w = *state;
	struct conf *c;

	assert_ok(conf_parse(DOC(5), 0, &c, NULL, &w->e), &w->e);
	w->l = conf_live_fixed(c);
	assert_int_equal(margin(w->l), 5);
	const struct conf *held = conf_hold(w->l);
	assert_ptr_equal(held, c);
	conf_release(w->l, held);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(revisions_count_up_and_are_kept),
		T(an_edit_of_an_old_revision_is_a_conflict),
		T(of_two_publishers_one_wins),
		T(a_published_revision_is_live_at_once),
		T(a_lost_notification_costs_only_the_poll),
		T(a_spoilt_revision_is_never_taken),
		T(a_restored_older_database_is_followed),
		T(a_host_starts_from_its_snapshot_without_a_database),
		T(only_the_housekeeper_writes_the_snapshot),
		T(a_spoilt_snapshot_is_passed_over),
		T(it_runs_with_neither_database_nor_snapshot),
		T(a_snapshot_that_cannot_be_written_is_tried_again),
		T(requests_keep_what_they_hold_while_revisions_change),
		T(a_fixed_configuration_stands_still),
	};
	struct err e = { 0 };
	log_open("/dev/null", "test", LOG_DEBUG, &e);
	pg = pg_start();
	pg_file(pg, "schema/001-config.sql");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
