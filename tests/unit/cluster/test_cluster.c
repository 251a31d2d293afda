#include "unit.h"

#include "pg.h"

#include "cluster.h"
#include "log.h"

#include <pthread.h>
#include <sys/stat.h>

static struct test_pg *pg;

struct world {
	struct arena *a;
	struct db *d;
	char dir[40];
	char told[4096];
	struct err e;
};

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->a = arena_new(8 << 20);
	w->d = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 4, .connect_ms = 2000,
	    .statement_ms = 5000, .wait_ms = 2000 });
	snprintf(w->dir, sizeof w->dir, "/tmp/sosigw-schema-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	pg_exec(pg, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	db_free(w->d);
	arena_free(w->a);
	pg_remove(w->dir);
	free(w);
	return 0;
}

static void
put(struct world *w, const char *name, const char *text)
{
	char path[120];

	snprintf(path, sizeof path, "%s/%s", w->dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
hear(void *ctx, const char *line)
{
	struct world *w = ctx;
	size_t n = strlen(w->told);

	snprintf(w->told + n, sizeof w->told - n, "%s\n", line);
}

static int
migrate(struct world *w, bool dry_run)
{
	w->told[0] = '\0';
	return cluster_migrate(w->d, w->dir, dry_run, hear, w, &w->e);
}

#define FIRST "CREATE TABLE schema_version (version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, " \
	"applied timestamptz NOT NULL DEFAULT now());"

static void
files_are_applied_in_order_and_once(void **state)
{
	struct world *w = *state;
	char v[40];

	put(w, "001-first.sql", FIRST "CREATE TABLE t (i int); -- a comment at the end");
	put(w, "002-second.sql", "INSERT INTO t VALUES (1);\n");
	put(w, "README", "not SQL");
	put(w, "003-second.sql~", "not SQL");
	assert_ok(migrate(w, true), &w->e);
	assert_string_equal(w->told, "would apply 001-first.sql\nwould apply 002-second.sql\n");
	pg_value(pg, "SELECT to_regclass('t')", v, sizeof v);
	assert_string_equal(v, "");
	assert_ok(migrate(w, false), &w->e);
	assert_string_equal(w->told, "applied 001-first.sql\napplied 002-second.sql\n");
	assert_ok(migrate(w, false), &w->e);
	assert_string_equal(w->told, "the schema is up to date (version 2)\n");
	put(w, "003-third.sql", "INSERT INTO t VALUES (2)");
	assert_ok(migrate(w, false), &w->e);
	assert_string_equal(w->told, "applied 003-third.sql\n");
	pg_value(pg, "SELECT string_agg(i::text, ',' ORDER BY i) FROM t", v, sizeof v);
	assert_string_equal(v, "1,2");
	put(w, "002-second.sql", "INSERT INTO t VALUES (9);\n");
	assert_ok(migrate(w, false), &w->e);
	assert_string_equal(w->told, "note: 002-second.sql is not as it was when it was applied\n"
	    "the schema is up to date (version 3)\n");
}

static void
a_failing_file_leaves_nothing_of_itself(void **state)
{
	struct world *w = *state;
	char v[40];
	static const char *const bad[] = { "CREATE TABLE half (i int); SELECT 1/0;", "CREATE TABLE half (i int); nonsense;",
		"CREATE TABLE half (i int PRIMARY KEY); INSERT INTO half VALUES (1), (1);" };

	put(w, "001-first.sql", FIRST);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		put(w, "002-bad.sql", bad[i]);
		err_clear(&w->e);
		assert_int_equal(migrate(w, false), -1);
		assert_non_null(strstr(w->e.detail, "002-bad.sql"));
		pg_value(pg, "SELECT to_regclass('half')", v, sizeof v);
		assert_string_equal(v, "");
		pg_value(pg, "SELECT max(version) FROM schema_version", v, sizeof v);
		assert_string_equal(v, "1");
	}
	put(w, "002-bad.sql", "CREATE TABLE half (i int);");
	assert_ok(migrate(w, false), &w->e);
}

static void
a_folder_that_is_not_whole_is_refused(void **state)
{
	struct world *w = *state;

	assert_err(ERR_CONFIG, migrate(w, false), &w->e);	/* empty */
	put(w, "001-first.sql", FIRST);
	put(w, "003-third.sql", "");
	assert_err(ERR_CONFIG, migrate(w, false), &w->e);
	assert_non_null(strstr(w->e.detail, "002 is missing"));
	put(w, "002-a.sql", "");
	put(w, "002-b.sql", "");
	assert_err(ERR_CONFIG, migrate(w, false), &w->e);
	assert_err(ERR_CONFIG, cluster_migrate(w->d, "/nowhere", false, hear, w, &w->e), &w->e);
}

static void
an_older_program_refuses_a_newer_database(void **state)
{
	struct world *w = *state;

	put(w, "001-first.sql", FIRST);
	assert_ok(migrate(w, false), &w->e);
	pg_exec(pg, "INSERT INTO schema_version VALUES (2, 'x', 'y')");
	assert_err(ERR_CONFIG, migrate(w, false), &w->e);
	assert_non_null(strstr(w->e.detail, "use the newer program"));
}

static void *
migrate_too(void *arg)
{
	struct world *w = arg;
	struct err e = { 0 };

	return cluster_migrate(w->d, w->dir, false, NULL, NULL, &e) == 0 ? NULL : w;
}

static void
two_may_migrate_at_once(void **state)
{
	struct world *w = *state;
	pthread_t t[4];
	void *failed;
	char v[8];

	put(w, "001-first.sql", FIRST "CREATE TABLE t (i int); SELECT pg_sleep(0.1);");
	put(w, "002-second.sql", "INSERT INTO t VALUES (1)");
	for (size_t i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, migrate_too, w);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(t[i], &failed);
		assert_null(failed);
	}
	pg_value(pg, "SELECT count(*) FROM t", v, sizeof v);
	assert_string_equal(v, "1");
}

static void
our_own_schema_applies(void **state)
{
	struct world *w = *state;

	assert_ok(cluster_migrate(w->d, "schema", false, hear, w, &w->e), &w->e);
	assert_true(strncmp(w->told, "applied 001-config.sql\n", 23) == 0);
}

static void
members_are_seen_by_their_heartbeat(void **state)
{
	struct world *w = *state;
	struct cluster_member *list, self = { .server = S("gw1"), .zone = { NULL, 0 }, .version = S("0.1.0"),
		.started = 1700000000, .revision = 7, .load = 0.25, .card_format = 1, .journal_format = 2,
		.config_format = 3 };
	char now[40];
	size_t n;

	pg_schema(pg);
	assert_ok(cluster_members(w->d, w->a, 60, &list, &n, &w->e), &w->e);
	assert_int_equal(n, 0);
	assert_ok(cluster_beat(w->d, w->a, &self, &w->e), &w->e);
	self.journal_bytes = 5000000000;
	self.journal_disk = 71;
	self.journal_level = S("warn");
	self.ends = S("{\"count\": 1}");
	self.server = S("gw2");
	self.zone = S("b");
	assert_ok(cluster_beat(w->d, w->a, &self, &w->e), &w->e);
	self.revision = 8;
	assert_ok(cluster_beat(w->d, w->a, &self, &w->e), &w->e);
	assert_ok(cluster_members(w->d, w->a, 60, &list, &n, &w->e), &w->e);
	assert_int_equal(n, 2);
	assert_slice("gw1", list[0].server);
	assert_null(list[0].zone.p);
	assert_slice("gw2", list[1].server);
	assert_slice("b", list[1].zone);
	assert_slice("0.1.0", list[1].version);
	assert_int_equal(list[1].started, 1700000000);
	assert_int_equal(list[1].revision, 8);
	assert_true(list[1].load > 0.24 && list[1].load < 0.26);
	assert_int_equal(list[1].card_format, 1);
	assert_int_equal(list[1].journal_format, 2);
	assert_int_equal(list[1].config_format, 3);
	assert_int_equal(list[1].journal_bytes, 5000000000);
	assert_int_equal(list[1].journal_disk, 71);
	assert_slice("warn", list[1].journal_level);
	assert_slice("{\"count\": 1}", list[1].ends);
	assert_null(list[0].ends.p);
	assert_int_equal(list[0].journal_bytes, -1);
	assert_null(list[0].journal_level.p);
	pg_value(pg, "SELECT extract(epoch FROM now())::bigint", now, sizeof now);
	assert_true(atoll(now) - list[1].seen <= 5);

	pg_exec(pg, "UPDATE member SET seen = now() - interval '2 minutes' WHERE server = 'gw1'");
	assert_ok(cluster_members(w->d, w->a, 60, &list, &n, &w->e), &w->e);
	assert_int_equal(n, 1);
	pg_exec(pg, "UPDATE member SET seen = now() - interval '31 days'");
	assert_ok(cluster_beat(w->d, w->a, &self, &w->e), &w->e);
	pg_value(pg, "SELECT string_agg(server, ',') FROM member", now, sizeof now);
	assert_string_equal(now, "gw2");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(files_are_applied_in_order_and_once),
		T(a_failing_file_leaves_nothing_of_itself),
		T(a_folder_that_is_not_whole_is_refused),
		T(an_older_program_refuses_a_newer_database),
		T(two_may_migrate_at_once),
		T(our_own_schema_applies),
		T(members_are_seen_by_their_heartbeat),
	};
	struct err e = { 0 };
	log_open("/dev/null", "test", LOG_ERROR, &e);
	pg = pg_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
