#include "unit.h"

#include "pg.h"

#include "clock.h"
#include "db.h"
#include "log.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct test_pg *pg;

struct world {
	struct arena *a;
	struct db *d;
	struct db_conf conf;
	struct db_rows *rows;
	struct err e;
};

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->a = arena_new(1 << 20);
	w->conf = (struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 3, .connect_ms = 400,
		.statement_ms = 2000, .wait_ms = 300 };
	w->d = db_new(&w->conf);
	*state = w;
	return w->d == NULL;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	arena_free(w->a);
	db_free(w->d);
	free(w);
	return 0;
}

static int
sql(struct world *w, const char *text)
{
	return db_query(w->d, w->a, text, NULL, 0, &w->rows, &w->e);
}

static void
values_come_back_as_they_went(void **state)
{
	struct world *w = *state;
	static const char *const texts[] = { "", "plain", "'; DROP TABLE x; --", "Rødgrød \\ \"", "line\nline\ttab" };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct slice p[] = { slice_of(texts[i]), { NULL, 0 } };
		assert_ok(db_query(w->d, w->a, "SELECT $1::text, $2::text, -7, 9000000000", p, 2, &w->rows, &w->e), &w->e);
		assert_int_equal(db_count(w->rows), 1);
		assert_slice(texts[i], db_value(w->rows, 0, 0));
		assert_null(db_value(w->rows, 0, 1).p);
		assert_int_equal(db_int(w->rows, 0, 2, 0), -7);
		assert_int_equal(db_int(w->rows, 0, 3, 0), 9000000000);
		assert_int_equal(db_int(w->rows, 0, 1, 42), 42);
	}
}

static void
failures_have_their_kind(void **state)
{
	struct world *w = *state;
	struct slice nul[] = { { "a\0b", 3 } };

	assert_ok(sql(w, "CREATE TABLE once (i int PRIMARY KEY)"), &w->e);
	assert_ok(sql(w, "INSERT INTO once VALUES (1)"), &w->e);
	assert_err(ERR_CONFLICT, sql(w, "INSERT INTO once VALUES (1)"), &w->e);
	assert_err(ERR_DATABASE, sql(w, "SELECT nothing FROM nowhere"), &w->e);
	assert_err(ERR_DATABASE, sql(w, "SELECT 1; SELECT 2"), &w->e);
	assert_err(ERR_DATABASE, sql(w, "COPY once TO STDOUT"), &w->e);
	assert_err(ERR_DATABASE, sql(w, "COPY once FROM STDIN"), &w->e);
	assert_err(ERR_INVALID, db_query(w->d, w->a, "SELECT $1::text", nul, 1, &w->rows, &w->e), &w->e);
	assert_ok(sql(w, "SELECT 1"), &w->e);
}

static int
insert_then(void *ctx, struct db_tx *tx, struct err *e)
{
	int answer = *(int *)ctx;
	struct arena *a = arena_new(4096);
	int done = db_tx_query(tx, a, "INSERT INTO tx VALUES (1)", NULL, 0, NULL, e);

	if (done == 0 && answer == 2) {
		struct err ignored = { 0 };
		db_tx_query(tx, a, "SELECT 1/0", NULL, 0, NULL, &ignored);
		answer = 0;
	}
	arena_free(a);
	return done < 0 ? -1 : answer < 0 ? err_set(e, ERR_NOT_FOUND, "changed its mind") : 0;
}

static void
a_transaction_is_whole_or_nothing(void **state)
{
	struct world *w = *state;
	static const struct { int answer; enum err_kind kind; const char *rows; } table[] = {
		{ 0, ERR_NONE, "1" },
		{ -1, ERR_NOT_FOUND, "0" },
		{ 2, ERR_DATABASE, "0" },	/* a failure that fn swallowed is no commit */
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		int answer = table[i].answer;
		assert_ok(sql(w, "DROP TABLE IF EXISTS tx"), &w->e);
		assert_ok(sql(w, "CREATE TABLE tx (i int)"), &w->e);
		err_clear(&w->e);
		db_transaction(w->d, insert_then, &answer, &w->e);
		assert_int_equal(w->e.kind, table[i].kind);
		assert_ok(sql(w, "SELECT count(*) FROM tx"), &w->e);
		assert_slice(table[i].rows, db_value(w->rows, 0, 0));
	}
}

/* ---- COPY */

struct copying { size_t rows; bool leave, nul, bad; };

static int
copy_rows(void *ctx, struct db_tx *tx, struct err *e)
{
	struct copying *k = ctx;
	struct db_copy *c;

	if (db_copy_start(tx, "COPY lines (i, t, n) FROM STDIN", &c, e) < 0)
		return -1;
	for (size_t i = 0; i < k->rows; i++) {
		char number[24];
		snprintf(number, sizeof number, "%zu", i);
		db_copy_value(c, slice_of(k->bad ? "no number" : number));
		db_copy_value(c, k->nul ? (struct slice){ "x\0", 2 } : S("\\N \\. tab\t nl\n cr\r bs\b ff\f vt\v æ"));
		db_copy_value(c, (struct slice){ NULL, 0 });
		if (db_copy_row(c, e) < 0)
			return -1;
	}
	return k->leave ? 0 : db_copy_end(c, e);
}

static void
copied_rows_arrive_as_they_are(void **state)
{
	struct world *w = *state;
	struct copying k = { .rows = 5000 };	/* several pieces */

	assert_ok(sql(w, "CREATE TABLE lines (i int, t text, n text)"), &w->e);
	assert_ok(db_transaction(w->d, copy_rows, &k, &w->e), &w->e);
	assert_ok(sql(w, "SELECT count(*), count(DISTINCT i), min(t), max(t), count(n) FROM lines"), &w->e);
	assert_slice("5000", db_value(w->rows, 0, 0));
	assert_slice("5000", db_value(w->rows, 0, 1));
	assert_slice("\\N \\. tab\t nl\n cr\r bs\b ff\f vt\v æ", db_value(w->rows, 0, 2));
	assert_slice("\\N \\. tab\t nl\n cr\r bs\b ff\f vt\v æ", db_value(w->rows, 0, 3));
	assert_slice("0", db_value(w->rows, 0, 4));

	k = (struct copying){ .rows = 0 };
	assert_ok(db_transaction(w->d, copy_rows, &k, &w->e), &w->e);
}

static void
a_copy_that_fails_or_is_left_leaves_nothing(void **state)
{
	struct world *w = *state;
	struct copying left = { .rows = 10, .leave = true }, nul = { .rows = 1, .nul = true },
	    bad = { .rows = 3000, .bad = true };

	assert_ok(sql(w, "TRUNCATE lines"), &w->e);
	assert_err(ERR_INTERNAL, db_transaction(w->d, copy_rows, &left, &w->e), &w->e);
	assert_err(ERR_INVALID, db_transaction(w->d, copy_rows, &nul, &w->e), &w->e);
	assert_err(ERR_DATABASE, db_transaction(w->d, copy_rows, &bad, &w->e), &w->e);
	assert_ok(sql(w, "SELECT count(*) FROM lines"), &w->e);
	assert_slice("0", db_value(w->rows, 0, 0));
}

static void
a_script_runs_whole_and_leaves_no_trace(void **state)
{
	struct world *w = *state;

	assert_ok(db_script(w->d, S("BEGIN; CREATE TABLE s1 (i int); SET statement_timeout = 1;"
	    "INSERT INTO s1 VALUES (1); COMMIT;"), &w->e), &w->e);
	assert_ok(sql(w, "SELECT pg_sleep(0.05), count(*) FROM s1"), &w->e);	/* the SET is gone */
	assert_slice("1", db_value(w->rows, 0, 1));
	assert_err(ERR_DATABASE, db_script(w->d, S("BEGIN; CREATE TABLE s2 (i int); SELECT 1/0; COMMIT"), &w->e), &w->e);
	assert_ok(sql(w, "SELECT to_regclass('s2')"), &w->e);
	assert_null(db_value(w->rows, 0, 0).p);
}

/* ---- trouble */

static void
a_slow_statement_is_ended_by_the_server(void **state)
{
	struct world *w = *state;

	db_free(w->d);
	w->conf.statement_ms = 100;
	w->d = db_new(&w->conf);
	int64_t start = clock_mono_ms();
	assert_err(ERR_DATABASE, sql(w, "SELECT pg_sleep(20)"), &w->e);
	assert_true(clock_mono_ms() - start < 1000);
	assert_ok(sql(w, "SELECT 1"), &w->e);
}

static void
a_silent_server_costs_one_wait(void **state)
{
	struct world *w = *state;

	db_free(w->d);
	w->conf.statement_ms = 100;
	w->d = db_new(&w->conf);
	assert_ok(sql(w, "SELECT pg_backend_pid()"), &w->e);
	pid_t backend = (pid_t)db_int(w->rows, 0, 0, 0);
	kill(backend, SIGSTOP);
	int64_t start = clock_mono_ms();
	assert_err(ERR_DATABASE, sql(w, "SELECT 1"), &w->e);
	assert_true(clock_mono_ms() - start >= 200 && clock_mono_ms() - start < 2000);
	assert_ok(sql(w, "SELECT 1"), &w->e);	/* on another connection */
	kill(backend, SIGCONT);
}

static void
connecting_is_bounded(void **state)
{
	struct world *w = *state;

	pg_freeze(pg);
	int64_t start = clock_mono_ms();
	assert_err(ERR_DATABASE, sql(w, "SELECT 1"), &w->e);
	int64_t took = clock_mono_ms() - start;
	/* and paid once: the breaker answers the rest */
	start = clock_mono_ms();
	for (int i = 0; i < 100; i++)
		assert_err(ERR_DATABASE, sql(w, "SELECT 1"), &w->e);
	int64_t others = clock_mono_ms() - start;
	pg_thaw(pg);
	assert_true(took >= 350 && took < 1500);
	assert_true(others < 350);
}

static void
a_statement_in_doubt_is_not_said_twice(void **state)
{
	struct world *w = *state;

	assert_ok(sql(w, "CREATE SEQUENCE said"), &w->e);
	assert_err(ERR_DATABASE, sql(w, "SELECT nextval('said'), pg_terminate_backend(pg_backend_pid())"), &w->e);
	assert_ok(sql(w, "SELECT last_value FROM said"), &w->e);
	assert_slice("1", db_value(w->rows, 0, 0));
}

static void
connections_that_died_idle_are_replaced_unseen(void **state)
{
	struct world *w = *state;
	int answer = 0;

	assert_ok(sql(w, "SELECT 1"), &w->e);
	pg_kill(pg);
	pg_restart(pg);
	assert_ok(sql(w, "SELECT 1"), &w->e);
	pg_kill(pg);
	pg_restart(pg);
	assert_ok(db_transaction(w->d, insert_then, &answer, &w->e), &w->e);
}

static void
a_dead_database_fails_fast_and_comes_back(void **state)
{
	struct world *w = *state;

	assert_ok(sql(w, "SELECT 1"), &w->e);
	assert_true(db_is_up(w->d));
	pg_kill(pg);
	assert_err(ERR_DATABASE, sql(w, "SELECT 1"), &w->e);
	assert_false(db_is_up(w->d));
	int64_t start = clock_mono_ms();
	for (int i = 0; i < 1000; i++) {
		err_clear(&w->e);
		if (db_query(w->d, w->a, "SELECT 1", NULL, 0, NULL, &w->e) == 0)
			fail();
	}
	assert_true(clock_mono_ms() - start < 400);
	pg_restart(pg);
	pg_eventually(sql(w, "SELECT 1") == 0);
	assert_true(db_is_up(w->d));
}

static void *
sleep_in_database(void *arg)
{
	struct world *w = arg;
	struct arena *a = arena_new(4096);
	struct err e = { 0 };

	db_query(w->d, a, "SELECT pg_sleep(1)", NULL, 0, NULL, &e);
	arena_free(a);
	return NULL;
}

static bool
somebody_sleeps(void)
{
	char n[8];

	pg_value(pg, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1)'", n, sizeof n);
	return n[0] == '1';
}

static void
waiting_for_a_connection_is_bounded(void **state)
{
	struct world *w = *state;

	db_free(w->d);
	w->conf.connections = 1;
	w->d = db_new(&w->conf);
	pthread_t t;
	pthread_create(&t, NULL, sleep_in_database, w);
	pg_eventually(somebody_sleeps());
	int64_t start = clock_mono_ms();
	assert_err(ERR_DATABASE, sql(w, "SELECT 1"), &w->e);
	int64_t took = clock_mono_ms() - start;
	pthread_join(t, NULL);
	assert_true(took >= 250 && took < 900);
	assert_ok(sql(w, "SELECT 1"), &w->e);
}

static void
an_unreadable_conninfo_is_told(void **state)
{
	struct world *w = *state;

	db_free(w->d);
	w->conf.conninfo = "host=x nonsense=1";
	w->d = db_new(&w->conf);
	assert_err(ERR_DATABASE, sql(w, "SELECT 1"), &w->e);
	assert_non_null(strstr(w->e.detail, "nonsense"));
}

/* A host that takes the connection and then says nothing. */
static int
mute_host(char *dir)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_non_null(mkdtemp(dir));
	snprintf(to.sun_path, sizeof to.sun_path, "%s/.s.PGSQL.5432", dir);
	assert_int_equal(bind(fd, (const struct sockaddr *)&to, sizeof to), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static void
the_next_host_is_tried(void **state)
{
	struct world *w = *state;
	char mute[] = "/tmp/sosigw-mute-XXXXXX", conninfo[300];
	int fd = mute_host(mute);

	db_free(w->d);
	snprintf(conninfo, sizeof conninfo, "host=/nowhere,%s,%s user=postgres dbname=postgres", mute, pg->dir);
	w->conf.conninfo = conninfo;
	w->d = db_new(&w->conf);
	int64_t start = clock_mono_ms();
	assert_ok(sql(w, "SELECT 1"), &w->e);
	assert_true(clock_mono_ms() - start < 350);
	close(fd);
	pg_remove(mute);
}

/* The test stands in for the name servers. */
int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (host != NULL && strcmp(host, "mute.example") == 0)
		sleep(2);
	if (host != NULL && strcmp(host, "mute.example") != 0 && strstr(host, "example") != NULL)
		return strcmp(host, "here.example") == 0 ? real("127.0.0.1", service, hints, out) : EAI_NONAME;
	return host != NULL && strcmp(host, "mute.example") == 0 ? EAI_AGAIN : real(host, service, hints, out);
}

/* A port on which a connection is refused. */
static int
closed_port(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof to;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&to, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&to, &n), 0);
	close(fd);
	return ntohs(to.sin_port);
}

static void
names_are_resolved_within_the_time(void **state)
{
	struct world *w = *state;
	static const struct { const char *host, *said; } rows[] = {
		{ "mute.example", "the name mute.example is not resolved in time" },
		{ "nobody.example", "nobody.example: Name or service not known" },
		{ "here.example", "\"here.example\" (127.0.0.1), port" },	/* found, and there nobody listens */
	};
	char conninfo[300];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		db_free(w->d);
		w->conf.connect_ms = 300;
		snprintf(conninfo, sizeof conninfo, "host=%s port=%d user=postgres dbname=postgres", rows[i].host, closed_port());
		w->conf.conninfo = conninfo;
		w->d = db_new(&w->conf);
		int64_t start = clock_mono_ms();
		err_clear(&w->e);
		assert_err(ERR_DATABASE, sql(w, "SELECT 1"), &w->e);
		assert_true(clock_mono_ms() - start < 1500);
		if (strstr(w->e.detail, rows[i].said) == NULL)
			fail_msg("%s: %s", rows[i].host, w->e.detail);
		/* and the next host is tried */
		db_free(w->d);
		w->conf.connect_ms = 3000;
		snprintf(conninfo, sizeof conninfo, "host=%s,%s port=%d,5432 user=postgres dbname=postgres", rows[i].host, pg->dir,
		    closed_port());
		w->d = db_new(&w->conf);
		err_clear(&w->e);
		assert_ok(sql(w, "SELECT 1"), &w->e);
	}
	pg_pause_ms(2100);	/* the lookups that were left to themselves end before the program does */
}

/* ---- the listener */

struct heard {
	atomic_int looks, notes;
	_Atomic char last;
};

static void
hear(void *ctx, const char *channel, const char *payload)
{
	struct heard *h = ctx;

	if (channel == NULL) {
		atomic_fetch_add(&h->looks, 1);
		return;
	}
	atomic_store(&h->last, payload[0]);
	atomic_fetch_add(&h->notes, 1);
}

static void
a_listener_hears_and_recovers(void **state)
{
	struct world *w = *state;
	static const char *const channels[] = { "first", "Second \"one\"" };
	struct heard h = { 0 };
	struct db_listener *l = db_listen(&w->conf, channels, 2, 0, hear, &h, &w->e);

	assert_non_null(l);
	pg_eventually(h.looks == 1);
	pg_exec(pg, "NOTIFY first, 'a'");
	pg_eventually(h.notes == 1 && h.last == 'a');
	pg_exec(pg, "NOTIFY \"Second \"\"one\"\"\", 'b'");
	pg_eventually(h.notes == 2 && h.last == 'b');
	pg_exec(pg, "NOTIFY third, 'c'");
	pg_kill(pg);
	pg_restart(pg);
	pg_eventually(h.looks == 2);
	pg_exec(pg, "NOTIFY first, 'd'");
	pg_eventually(h.notes == 3 && h.last == 'd');
	db_listen_stop(l);
}

static void
a_listener_looks_at_intervals_with_and_without_a_server(void **state)
{
	struct world *w = *state;
	static const char *const channels[] = { "x" };
	struct heard h = { 0 };
	struct db_listener *l = db_listen(&w->conf, channels, 1, 20, hear, &h, &w->e);

	pg_eventually(h.looks >= 4);
	pg_kill(pg);
	int before = h.looks;
	pg_eventually(h.looks >= before + 4);
	pg_restart(pg);
	db_listen_stop(l);
}

/* As with a machine that was cut off and replaced: nothing ever comes on the old connection, not even its end. */
static void
a_listener_leaves_a_connection_that_has_fallen_silent(void **state)
{
	struct world *w = *state;
	static const char *const channels[] = { "x" };
	struct heard h = { 0 };
	struct db_listener *l = db_listen(&w->conf, channels, 1, 100, hear, &h, &w->e);
	char pid[20], other[20];

	pg_eventually(h.looks >= 1);
	pg_value(pg, "SELECT pid FROM pg_stat_activity WHERE application_name = 'sosigw'", pid, sizeof pid);
	assert_int_equal(kill(atoi(pid), SIGSTOP), 0);
	pg_eventually((pg_value(pg, "SELECT max(pid) FROM pg_stat_activity WHERE application_name = 'sosigw' AND query <> '' AND "
	    "state = 'idle' HAVING count(*) = 2", other, sizeof other), other[0] != '\0'));
	kill(atoi(pid), SIGCONT);
	pg_exec(pg, "NOTIFY x, 'n'");
	pg_eventually(h.notes >= 1);
	db_listen_stop(l);
}

static void
a_listener_stops_at_once_while_it_connects(void **state)
{
	struct world *w = *state;
	static const char *const channels[] = { "x" };
	struct heard h = { 0 };

	w->conf.connect_ms = 60000;
	pg_freeze(pg);
	struct db_listener *l = db_listen(&w->conf, channels, 1, 0, hear, &h, &w->e);
	pg_pause_ms(20);
	int64_t start = clock_mono_ms();
	db_listen_stop(l);
	int64_t took = clock_mono_ms() - start;
	pg_thaw(pg);
	assert_true(took < 1000);
	assert_int_equal(h.looks, 0);
}

/* ---- many threads, and the server dies under them */

struct crowd { struct db *d; atomic_int good, bad; atomic_bool stop; };

static void *
ask_on_and_on(void *arg)
{
	struct crowd *c = arg;

	while (!c->stop) {
		struct arena *a = arena_new(65536);
		struct db_rows *rows;
		struct err e = { 0 };
		struct slice p[] = { S("7") };
		if (db_query(c->d, a, "SELECT $1::int", p, 1, &rows, &e) < 0)
			c->bad++;
		else if (db_int(rows, 0, 0, 0) == 7)
			c->good++;
		arena_free(a);
	}
	return NULL;
}

static void
threads_share_connections_through_a_crash(void **state)
{
	struct world *w = *state;
	struct crowd c = { .d = w->d };
	pthread_t t[6];

	for (size_t i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, ask_on_and_on, &c);
	pg_eventually(c.good > 200);
	pg_kill(pg);
	pg_eventually(c.bad > 50);
	pg_restart(pg);
	int before = c.good;
	pg_eventually(c.good > before + 200);
	c.stop = true;
	for (size_t i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	char open[8];
	pg_value(pg, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sosigw'", open, sizeof open);
	assert_true(atoi(open) <= 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(values_come_back_as_they_went),
		T(failures_have_their_kind),
		T(a_transaction_is_whole_or_nothing),
		T(copied_rows_arrive_as_they_are),
		T(a_copy_that_fails_or_is_left_leaves_nothing),
		T(a_script_runs_whole_and_leaves_no_trace),
		T(a_slow_statement_is_ended_by_the_server),
		T(a_silent_server_costs_one_wait),
		T(connecting_is_bounded),
		T(a_statement_in_doubt_is_not_said_twice),
		T(connections_that_died_idle_are_replaced_unseen),
		T(a_dead_database_fails_fast_and_comes_back),
		T(waiting_for_a_connection_is_bounded),
		T(an_unreadable_conninfo_is_told),
		T(the_next_host_is_tried),
		T(names_are_resolved_within_the_time),
		T(a_listener_hears_and_recovers),
		T(a_listener_looks_at_intervals_with_and_without_a_server),
		T(a_listener_leaves_a_connection_that_has_fallen_silent),
		T(a_listener_stops_at_once_while_it_connects),
		T(threads_share_connections_through_a_crash),
	};
	struct err e = { 0 };
	log_open("/dev/null", "test", LOG_ERROR, &e);
	pg = pg_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
