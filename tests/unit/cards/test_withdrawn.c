/* The list of what was withdrawn, over a real PostgreSQL that comes and goes, and its file. */
#include "unit.h"

#include "clock.h"
#include "kept.h"
#include "pg.h"
#include "withdrawn.h"

#include <pthread.h>
#include <stdatomic.h>

#define HOUR 3600

static struct test_pg *pg;

struct world {
	char dir[40];
	char *file;
	struct db_conf conf;
	struct db *db;
	struct arena *a;
	struct err e;
};

static int
begin(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	*state = w;
	w->a = arena_new(64 << 20);
	strcpy(w->dir, "/tmp/sosigw-kept-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->file = arena_cstr(w->a, arena_printf(w->a, "%s/cards", w->dir));
	if (pg->pid == 0)
		pg_restart(pg);
	pg_exec(pg, "DELETE FROM revoked_card");
	w->conf = (struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 2, .connect_ms = 1000,
		.statement_ms = 2000, .wait_ms = 500 };
	w->db = db_new(&w->conf);
	return 0;
}

static int
end(void **state)
{
	struct world *w = *state;

	unlink(w->file);
	assert_int_equal(rmdir(w->dir), 0);
	db_free(w->db);
	arena_free(w->a);
	free(w);
	return 0;
}

static struct withdrawn *
open_list(struct world *w, bool keeps)
{
	const struct withdrawn_conf conf = { w->db, &w->conf, w->file, keeps };
	struct withdrawn *list = withdrawn_new(&conf, &w->e);

	assert_non_null(list);
	return list;
}

static bool
has(struct withdrawn *list, const char *id)
{
	int64_t when;

	return withdrawn_has(list, slice_of(id), &when);
}

static int
put(struct world *w, struct withdrawn *list, const char *id)
{
	err_clear(&w->e);
	return withdrawn_put(list, w->a, slice_of(id), clock_now() + HOUR, &w->e);
}

static void
assert_rows(const char *where, const char *want)
{
	char sql[300], got[64];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM revoked_card WHERE %s", where);
	pg_value(pg, sql, got, sizeof got);
	assert_string_equal(got, want);
}

struct counted { int lines, told, ids[1000]; char last[64]; };

static void
count(void *ctx, const struct kept_line *line)
{
	struct counted *c = ctx;
	int number;

	c->lines++;
	c->told += line->told;
	snprintf(c->last, sizeof c->last, "%.*s", SLICE_FMT(line->id));
	if (sscanf(c->last, "id-%d", &number) == 1 && number >= 0 && number < 1000)
		c->ids[number]++;
}

static struct counted
lines_of(struct world *w)
{
	struct kept_place place = { .at = 0 };
	struct counted c = { .lines = 0 };

	assert_ok(kept_read(w->file, &place, count, &c, &w->e), &w->e);
	return c;
}

/* The keeper's work until it has nothing left to do, or ten seconds. */
static void
tend_until_told(struct world *w, struct withdrawn *keeper)
{
	for (int i = 0; i < 500; i++) {
		struct err e = { 0 };
		struct counted c = lines_of(w);
		if (withdrawn_tend(keeper, &e) == 0 && c.lines > 0 && c.told == c.lines)
			return;
		pg_pause_ms(20);
	}
	fail_msg("not everything was told");
}

/* ---- the list */

static void
it_is_known_after_a_restart_without_the_database(void **state)
{
	struct world *w = *state;
	struct withdrawn *list = open_list(w, false);

	assert_ok(put(w, list, "id-1"), &w->e);
	assert_rows("card_id = 'id-1'", "1");
	pg_kill(pg);
	assert_err(ERR_DATABASE, put(w, list, "user:2"), &w->e);
	assert_true(has(list, "user:2"));
	withdrawn_free(list);

	list = open_list(w, false);
	assert_true(has(list, "id-1") && has(list, "user:2") && !has(list, "id-3"));
	assert_true(withdrawn_any_user(list));
	withdrawn_free(list);
}

static void
what_the_database_could_not_be_told_it_is_told_later(void **state)
{
	struct world *w = *state;
	struct withdrawn *list = open_list(w, false), *keeper = open_list(w, true);
	int64_t when;

	pg_kill(pg);
	assert_err(ERR_DATABASE, put(w, list, "id-1"), &w->e);
	assert_err(ERR_DATABASE, put(w, list, "user:2"), &w->e);
	assert_true(withdrawn_has(list, S("user:2"), &when));
	withdrawn_free(list);		/* its process died */
	assert_err(ERR_DATABASE, withdrawn_tend(keeper, &w->e), &w->e);
	assert_true(has(keeper, "id-1"));
	pg_restart(pg);
	tend_until_told(w, keeper);
	assert_rows("card_id IN ('id-1', 'user:2')", "2");
	/* what the user signed since is not older than that */
	char where[100];
	snprintf(where, sizeof where, "card_id = 'user:2' AND (extract(epoch FROM revoked) * 1000)::bigint = %lld", (long long)when);
	assert_rows(where, "1");
	withdrawn_free(keeper);
}

static void
the_keeper_writes_down_what_other_servers_withdraw(void **state)
{
	struct world *w = *state;
	struct withdrawn *keeper = open_list(w, true);

	pg_exec(pg, "INSERT INTO revoked_card (card_id, expires) VALUES ('id-7', now() + interval '1 hour'); NOTIFY sosigw_revoked, 'id-7'");
	for (int i = 0; i < 500 && lines_of(w).lines == 0; i++)
		pg_pause_ms(20);
	struct counted c = lines_of(w);
	assert_int_equal(c.lines, 1);
	assert_int_equal(c.told, 1);
	assert_string_equal(c.last, "id-7");
	withdrawn_free(keeper);
}

static void
a_frozen_database_is_not_waited_for_long(void **state)
{
	struct world *w = *state;
	struct withdrawn *list = open_list(w, false);
	char frozen[16];

	assert_ok(put(w, list, "id-1"), &w->e);
	pg_value(pg, "SELECT pid FROM pg_stat_activity WHERE query LIKE 'WITH r AS (INSERT INTO revoked_card%'", frozen, sizeof frozen);
	kill((pid_t)atoi(frozen), SIGSTOP);
	int64_t began = clock_mono_ms();
	assert_err(ERR_DATABASE, put(w, list, "id-2"), &w->e);
	int64_t took = clock_mono_ms() - began;
	kill((pid_t)atoi(frozen), SIGCONT);
	if (took > 2500)
		fail_msg("%lld ms", (long long)took);
	assert_true(has(list, "id-2"));
	char rows[16] = "0";
	for (int i = 0; i < 500 && rows[0] == '0'; i++) {	/* it does what it had been sent, once it can */
		pg_pause_ms(20);
		pg_value(pg, "SELECT count(*) FROM revoked_card WHERE card_id = 'id-2'", rows, sizeof rows);
	}
	assert_string_equal(rows, "1");
	withdrawn_free(list);
}

static void
what_is_old_goes(void **state)
{
	struct world *w = *state;
	struct kept_line old = { S("id-1"), clock_now() - 10, 1, false }, new = { S("id-2"), clock_now() + HOUR, 2, true };

	pg_exec(pg, "INSERT INTO revoked_card (card_id, expires) VALUES ('gone', now() - interval '2 hours'), "
	    "('just gone', now() - interval '1 minute'), ('id-3', now() + interval '1 hour')");
	assert_ok(kept_append(w->file, &old, &w->e), &w->e);
	assert_ok(kept_append(w->file, &new, &w->e), &w->e);
	assert_ok(kept_append(w->file, &new, &w->e), &w->e);
	struct withdrawn *keeper = open_list(w, true);
	assert_false(has(keeper, "id-1"));
	assert_ok(withdrawn_tend(keeper, &w->e), &w->e);
	assert_rows("true", "2");
	struct counted c = lines_of(w);
	assert_int_equal(c.lines, 2);	/* id-3 among them, which the table told */
	assert_int_equal(c.ids[2], 1);
	withdrawn_free(keeper);
}

static void
without_a_file_it_works_too(void **state)
{
	struct world *w = *state;
	char *file = w->file;

	w->file = NULL;
	struct withdrawn *list = open_list(w, true);
	assert_ok(put(w, list, "id-1"), &w->e);
	assert_ok(withdrawn_tend(list, &w->e), &w->e);
	withdrawn_free(list);
	w->file = arena_cstr(w->a, S("/nonexistent/folder/file"));
	list = open_list(w, true);
	assert_true(has(list, "id-1"));
	assert_ok(put(w, list, "id-2"), &w->e);
	withdrawn_free(list);
	w->file = file;
}

/* ---- its file */

static void
damaged_lines_do_not_count(void **state)
{
	struct world *w = *state;
	const struct kept_line line = { S("id-1 \n\xff"), clock_now() + HOUR, 5, true };
	char text[400];

	assert_ok(kept_append(w->file, &line, &w->e), &w->e);
	FILE *f = fopen(w->file, "r+");
	size_t n = fread(text, 1, sizeof text, f);
	for (size_t i = 0; i < n - 1; i++) {	/* a byte changed anywhere, then the line cut anywhere */
		text[i] ^= 1;
		fwrite(text, 1, n, f);
		text[i] ^= 1;
		fwrite(text, 1, i, f);
		fputc('\n', f);
	}
	fputs("\n\n+\n                \n", f);
	fwrite(text, 1, n, f);
	fwrite(text, 1, n / 2, f);	/* somebody is writing */
	fclose(f);
	struct counted c = lines_of(w);
	assert_int_equal(c.lines, 2);
	assert_string_equal(c.last, "id-1 \n\xff");
}

static void
reading_goes_on_where_it_ended(void **state)
{
	struct world *w = *state;
	struct kept_place place = { .at = 0 };
	struct kept_line line = { S("id-1"), clock_now() + HOUR, 5, true };
	struct counted c = { .lines = 0 };

	assert_ok(kept_read(w->file, &place, count, &c, &w->e), &w->e);
	for (int i = 1; i <= 3; i++) {
		assert_ok(kept_append(w->file, &line, &w->e), &w->e);
		assert_ok(kept_read(w->file, &place, count, &c, &w->e), &w->e);
		assert_int_equal(c.lines, i);
	}
	char *big = arena_alloc(w->a, 1001);
	memset(big, 'x', 1001);
	line.id = (struct slice){ big, 1000 };
	assert_ok(kept_append(w->file, &line, &w->e), &w->e);
	line.id.n = 1001;	/* no id is as long as this */
	assert_ok(kept_append(w->file, &line, &w->e), &w->e);
	assert_int_equal(lines_of(w).lines, 4);
}

#define APPENDS 200

struct appender { const char *file; int from; };

static void *
append_many(void *arg)
{
	const struct appender *t = arg;
	char id[32];
	struct err e = { 0 };

	for (int i = 0; i < APPENDS; i++) {
		snprintf(id, sizeof id, "id-%d", t->from + i);
		struct kept_line line = { slice_of(id), clock_now() + HOUR, 1, false };
		if (kept_append(t->file, &line, &e) < 0)
			return arg;
	}
	return NULL;
}

static bool
keep_all(void *ctx, struct kept_line *line)
{
	(void)ctx, (void)line;
	return true;
}

static void
nothing_is_lost_when_it_is_rewritten_under_those_who_append(void **state)
{
	struct world *w = *state;
	struct appender t[4];
	pthread_t threads[4];
	void *failed;

	for (int i = 0; i < 4; i++) {
		t[i] = (struct appender){ w->file, i * APPENDS };
		assert_int_equal(pthread_create(&threads[i], NULL, append_many, &t[i]), 0);
	}
	for (int i = 0; i < 100; i++)
		assert_ok(kept_rewrite(w->file, keep_all, NULL, &w->e), &w->e);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	struct counted c = lines_of(w);
	for (int i = 0; i < 4 * APPENDS; i++)
		if (c.ids[i] == 0)
			fail_msg("id-%d is lost", i);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(it_is_known_after_a_restart_without_the_database),
		T(what_the_database_could_not_be_told_it_is_told_later),
		T(the_keeper_writes_down_what_other_servers_withdraw),
		T(a_frozen_database_is_not_waited_for_long),
		T(what_is_old_goes),
		T(without_a_file_it_works_too),
		T(damaged_lines_do_not_count),
		T(reading_goes_on_where_it_ended),
		T(nothing_is_lost_when_it_is_rewritten_under_those_who_append),
	};

	pg = pg_start();
	pg_file(pg, "schema/001-config.sql");
	pg_file(pg, "schema/007-revoked-order.sql");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
