/* Copies of what nobody reads, given back to nodes that came back or are new, on real memcached processes. */
#include "unit.h"

#include "cache.h"
#include "clock.h"
#include "memcached.h"

#define MANY 400
#define TIMEOUT_MS 500	/* more than a loaded machine needs for an answer */
#define NODES 3
#define PATIENCE_MS 20000

struct world {
	struct memcached *nodes[NODES];
	struct cache *cache;
	struct cache_restore *restore;
	struct arena *a;
	struct err e;
};

static const struct cache_key key = { "\1\1\1\1", "the first key of the ring, 32 b" };

/* A list of nodes as a server has it: one letter each, a capital: moving. */
static void
read_list(struct world *w, const char *list, struct cache_node *nodes, struct cache_conf *conf)
{
	*conf = (struct cache_conf){ .nodes = nodes, .nkeys = 1, .keys = { key }, .timeout_ms = TIMEOUT_MS };
	for (; *list != '\0'; list++) {
		bool moving = *list < 'a';
		const struct memcached *m = w->nodes[moving ? *list - 'A' : *list - 'a'];
		nodes[conf->nnodes++] = (struct cache_node){ m->host, m->port, NULL, moving };
	}
}

static struct cache *
open_cache(struct world *w, const char *list)
{
	struct cache_node nodes[NODES];
	struct cache_conf conf;

	read_list(w, list, nodes, &conf);
	struct cache *c = cache_new(&conf, &w->e);
	assert_non_null(c);
	return c;
}

static struct cache_restore *
open_restore(struct world *w, struct cache *c, const char *who)
{
	struct cache_restore *r = cache_restore_new(c, who, &w->e);

	assert_non_null(r);
	cache_restore_hurry(r);
	return r;
}

static void
use_list(struct world *w, const char *list)
{
	cache_restore_free(w->restore);
	cache_free(w->cache);
	w->cache = open_cache(w, list);
	w->restore = open_restore(w, w->cache, "gw1");
}

static int
begin(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	*state = w;
	w->a = arena_new(256 << 20);
	for (size_t i = 0; i < NODES; i++)
		w->nodes[i] = memcached_start(i == 1 ? MEMCACHED_TCP : MEMCACHED_UNIX);
	use_list(w, "ab");
	return 0;
}

static int
end(void **state)
{
	struct world *w = *state;

	cache_restore_free(w->restore);
	cache_free(w->cache);
	for (size_t i = 0; i < NODES; i++)
		memcached_end(w->nodes[i]);
	arena_free(w->a);
	free(w);
	return 0;
}

static struct cache_name
name_of(struct world *w, int i)
{
	return (struct cache_name){ S("card"), S("organisation"), arena_printf(w->a, "user %d", i) };
}

static void
set_in(struct world *w, struct cache *c, int i, const char *value)
{
	struct cache_name name = name_of(w, i);

	assert_ok(cache_set(c, &name, slice_of(value), 3600, &w->e), &w->e);
}

static void
set_all(struct world *w, const char *value)
{
	for (int i = 0; i < MANY; i++)
		set_in(w, w->cache, i, value);
}

static struct slice
get_from(struct world *w, struct cache *c, int i)
{
	struct cache_name name = name_of(w, i);
	struct slice value;

	assert_ok(cache_get(c, w->a, &name, &value, &w->e), &w->e);
	return value;
}

static bool
delete_in(struct world *w, struct cache *c, int i)
{
	struct cache_name name = name_of(w, i);
	bool certain;

	assert_ok(cache_delete(c, &name, &certain, &w->e), &w->e);
	return certain;
}

/* How many of all values are not this one (NULL: not absent), as a process sees it that has seen nothing before. */
static int
not_found(struct world *w, const char *list, int from, int to, const char *value)
{
	struct cache *fresh = open_cache(w, list);
	int wrong = 0;

	for (int i = from; i < to; i++) {
		struct slice got = get_from(w, fresh, i);
		wrong += value == NULL ? got.p != NULL : !slice_is(got, value);
	}
	cache_free(fresh);
	return wrong;
}

static void
wait_until(struct world *w, size_t node, bool up)
{
	struct cache_node_state s[NODES];

	for (int i = 0; i < 5000; i++) {
		cache_state(w->cache, s, NODES);
		if (s[node].up == up)
			return;
		usleep(2000);
	}
	fail_msg("node %zu does not become %s", node, up ? "up" : "down");
}

static bool
always(void *ctx)
{
	(void)ctx;
	return true;
}

static const struct cache_node_report *
report(struct world *w, const char *list, struct cache_node_report *out)
{
	static struct cache_node nodes[NODES];
	struct cache_conf conf;

	read_list(w, list, nodes, &conf);
	cache_report(&conf, out);
	return out;
}

/* As the housekeeper does, until every node is told to be whole. */
static void
restore_all(struct world *w, const char *list)
{
	struct cache_node_report r[NODES];
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	size_t whole;

	do {
		assert_ok(cache_restore_run(w->restore, always, NULL, &w->e), &w->e);
		usleep(20000);
		report(w, list, r);
		whole = 0;
		for (size_t i = 0; i < strlen(list); i++)
			whole += r[i].node->moving || (r[i].reachable && r[i].state == CACHE_RESTORED);
	} while (whole < strlen(list) && clock_mono_ms() < until);
	assert_int_equal(whole, strlen(list));
}

/* Without the marks of restore.c itself. */
static long
values_on(struct world *w, const char *list, size_t node)
{
	struct cache_node_report r[NODES];

	report(w, list, r);
	return r[node].items - (r[node].restored != 0) - (r[node].state == CACHE_RESTORING);
}

/* What was read a moment ago is left out of a dump; who restores counts on readers to repair what they read. */
static void
let_reads_be_forgotten(void)
{
	usleep(1200000);
}

static void
restart(struct world *w, size_t node)
{
	memcached_kill(w->nodes[node]);
	wait_until(w, node, false);
	memcached_restart(w->nodes[node]);
	wait_until(w, node, true);
}

/* ---- nodes that come back */

static void
a_node_that_came_back_empty_gets_what_nobody_reads(void **state)
{
	struct world *w = *state;

	set_all(w, "quiet");
	for (int i = 0; i < 20; i++)
		assert_true(delete_in(w, w->cache, i));
	restore_all(w, "ab");
	for (size_t node = 0; node < 2; node++) {
		restart(w, node);
		assert_int_equal(values_on(w, "ab", node), 0);
		restore_all(w, "ab");
		assert_int_equal(values_on(w, "ab", node), MANY);	/* marks of deletions among them */
	}
	memcached_kill(w->nodes[1]);
	assert_int_equal(not_found(w, "ab", 20, MANY, "quiet"), 0);
	assert_int_equal(not_found(w, "ab", 0, 20, NULL), 0);
}

static void
only_what_belongs_on_a_node_is_put_there(void **state)
{
	struct world *w = *state;

	use_list(w, "abc");
	set_all(w, "x");
	restore_all(w, "abc");
	long before = values_on(w, "abc", 2);
	assert_true(before > 0 && before < MANY);
	restart(w, 2);
	restore_all(w, "abc");
	assert_int_equal(values_on(w, "abc", 2), before);
	assert_int_equal(values_on(w, "abc", 0) + values_on(w, "abc", 1) + values_on(w, "abc", 2), 2 * MANY);
}

static void
what_was_written_meanwhile_is_not_undone(void **state)
{
	struct world *w = *state;

	set_all(w, "old");
	restart(w, 0);
	for (int i = 0; i < MANY / 2; i++)
		set_in(w, w->cache, i, "new");
	assert_true(delete_in(w, w->cache, MANY - 1));
	restore_all(w, "ab");
	for (size_t node = 0; node < 2; node++) {
		memcached_freeze(w->nodes[node]);
		assert_int_equal(not_found(w, "ab", 0, MANY / 2, "new"), 0);
		assert_int_equal(not_found(w, "ab", MANY / 2, MANY - 1, "old"), 0);
		assert_int_equal(not_found(w, "ab", MANY - 1, MANY, NULL), 0);
		memcached_thaw(w->nodes[node]);
	}
}

static void
old_content_that_comes_back_is_brought_up_to_date(void **state)
{
	struct world *w = *state;
	struct cache_node_report r[NODES];

	set_all(w, "old");
	restore_all(w, "ab");
	memcached_freeze(w->nodes[0]);
	wait_until(w, 0, get_from(w, w->cache, 0).p == NULL);
	for (int i = 0; i < MANY / 2; i++)
		set_in(w, w->cache, i, "new");
	for (int i = MANY / 2; i < MANY - 10; i++)
		assert_false(delete_in(w, w->cache, i));
	memcached_thaw(w->nodes[0]);
	wait_until(w, 0, true);
	/* its mark tells that it is whole; nobody else has been told that it was away */
	assert_ok(cache_restore_run(w->restore, always, NULL, &w->e), &w->e);
	assert_int_equal(report(w, "ab", r)[0].state, CACHE_RESTORED);
	assert_int_equal(r[0].corrected, MANY - 10);
	memcached_kill(w->nodes[1]);
	assert_int_equal(not_found(w, "ab", 0, MANY / 2, "new"), 0);
	assert_int_equal(not_found(w, "ab", MANY / 2, MANY - 10, NULL), 0);
	assert_int_equal(not_found(w, "ab", MANY - 10, MANY, "old"), 0);
}

static void
a_value_under_a_name_that_is_not_ours_stays_where_it_is(void **state)
{
	struct world *w = *state;

	memcached_write(w->nodes[1], w->a, "somebody!else%s", S("x"));
	memcached_write(w->nodes[1], w->a, "0123456789012345678901234567890123456789012345678901234567890123", S("not sealed"));
	memcached_write(w->nodes[1], w->a, "x123456789012345678901234567890123456789012345678901234567890123", S("not hex"));
	set_in(w, w->cache, 1, "x");
	restart(w, 0);
	restore_all(w, "ab");
	assert_int_equal(values_on(w, "ab", 0), 1);	/* ours have an end */
	assert_int_equal(values_on(w, "ab", 1), 4);
}

/* ---- who does it, and what is told */

static void
while_one_restores_the_others_wait(void **state)
{
	struct world *w = *state;
	struct cache_node_report r[NODES];

	set_all(w, "x");
	restore_all(w, "ab");
	char *marks[MANY + 4], *mark = NULL;
	size_t n = memcached_keys(w->nodes[1], w->a, marks, MANY + 4);
	for (size_t i = 0; i < n; i++)
		mark = strncmp(marks[i], "sosigw-restored-", 16) == 0 ? marks[i] : mark;
	assert_non_null(mark);
	restart(w, 0);
	const char *lease = arena_printf(w->a, "sosigw-restoring-%s", mark + 16).p;
	memcached_write(w->nodes[0], w->a, lease, S("gw2"));
	assert_ok(cache_restore_run(w->restore, always, NULL, &w->e), &w->e);
	assert_int_equal(values_on(w, "ab", 0), 0);
	assert_int_equal(report(w, "ab", r)[0].state, CACHE_RESTORING);
	assert_string_equal(r[0].by, "gw2");

	char answer[64];
	memcached_talk(w->nodes[0], arena_printf(w->a, "delete %s\r\n", lease), "DELETED\r\n", answer, sizeof answer);
	restore_all(w, "ab");
	assert_int_equal(values_on(w, "ab", 0), MANY);
	assert_string_equal(report(w, "ab", r)[0].by, "gw1");
	assert_int_equal(r[0].copied, MANY);
}

static void
the_report_tells_away_empty_and_whole(void **state)
{
	struct world *w = *state;
	struct cache_node_report r[NODES];

	report(w, "abC", r);
	for (size_t i = 0; i < NODES; i++) {
		assert_true(r[i].reachable);
		assert_int_equal(r[i].state, CACHE_NOT_RESTORED);
		assert_int_equal(r[i].node->moving, i == 2);
	}
	set_in(w, w->cache, 1, "x");
	restore_all(w, "ab");
	report(w, "ab", r);
	assert_int_equal(r[0].items, 2);	/* the value and the mark */
	assert_true(r[0].restored >= clock_now() - 60 && r[0].restored <= clock_now() + 5);
	restart(w, 0);
	assert_int_equal(report(w, "ab", r)[0].state, CACHE_NOT_RESTORED);
	assert_int_equal(r[1].state, CACHE_RESTORED);
	memcached_kill(w->nodes[0]);
	assert_false(report(w, "ab", r)[0].reachable);
	assert_int_equal(report(w, "abc", r)[1].state, CACHE_NOT_RESTORED);	/* with another list more may belong on it */
}

static void
a_node_is_not_told_to_be_whole_while_another_could_not_be_asked(void **state)
{
	struct world *w = *state;
	struct cache_node_report r[NODES];

	use_list(w, "abc");
	set_all(w, "x");
	memcached_kill(w->nodes[1]);
	wait_until(w, 1, false);
	restart(w, 0);
	for (int i = 0; i < 3; i++)
		assert_ok(cache_restore_run(w->restore, always, NULL, &w->e), &w->e);
	assert_true(values_on(w, "abc", 0) > 0);
	assert_int_equal(report(w, "abc", r)[0].state, CACHE_NOT_RESTORED);
	memcached_restart(w->nodes[1]);
	wait_until(w, 1, true);
	restore_all(w, "abc");
}

static bool
never(void *ctx)
{
	int *left = ctx;

	return (*left)-- > 0;
}

static void
it_ends_when_it_is_told_to(void **state)
{
	struct world *w = *state;
	int left = 4;

	set_all(w, "x");
	restart(w, 0);
	assert_ok(cache_restore_run(w->restore, never, &left, &w->e), &w->e);
	assert_true(values_on(w, "ab", 0) < MANY);
	restore_all(w, "ab");	/* and takes its own mark over */
	assert_int_equal(values_on(w, "ab", 0), MANY);
}

/* ---- nodes that are added and taken away */

static void
a_node_is_added_and_one_taken_away_and_nothing_is_lost(void **state)
{
	struct world *w = *state;
	static const char *const way[] = { "ab", "abC", "abc", "Abc", "bc" };

	set_all(w, "stays");
	restore_all(w, "ab");
	for (size_t i = 1; i < 5; i++) {
		struct cache *before = w->cache;
		w->cache = NULL;
		use_list(w, way[i]);	/* servers with both lists work at the same time */
		for (int n = 0; n < 20; n++) {
			int one = (int)i * 40 + n, other = one + 20;
			set_in(w, before, one, "moved");
			set_in(w, w->cache, other, "moved");
			assert_true(slice_is(get_from(w, w->cache, one), "moved"));
			assert_true(slice_is(get_from(w, before, other), "moved"));
		}
		cache_free(before);
		let_reads_be_forgotten();
		restore_all(w, way[i]);
	}
	memcached_kill(w->nodes[0]);
	for (size_t node = 1; node < 3; node++) {
		memcached_freeze(w->nodes[node]);
		assert_int_equal(not_found(w, "bc", 0, 40, "stays"), 0);
		assert_int_equal(not_found(w, "bc", 40, 200, "moved"), 0);
		assert_int_equal(not_found(w, "bc", 200, MANY, "stays"), 0);
		memcached_thaw(w->nodes[node]);
	}
}

/* Whichever of two lists a server has, what another deletes is gone for it at once, also where it has looked before. */
static void
servers_with_different_lists_agree_on_deletions(void **state)
{
	struct world *w = *state;
	static const struct { const char *one, *other; } rows[] = {
		{ "ab", "abC" }, { "abC", "abc" }, { "abc", "Abc" }, { "Abc", "bc" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct cache *lists[] = { open_cache(w, rows[i].one), open_cache(w, rows[i].other) };
		for (int n = 0; n < 100; n++) {
			struct cache *deletes = lists[n % 2], *reads = lists[1 - n % 2];
			set_in(w, reads, n, "x");
			assert_true(slice_is(get_from(w, reads, n), "x"));
			assert_true(slice_is(get_from(w, deletes, n), "x"));
			delete_in(w, deletes, n);
			assert_null(get_from(w, reads, n).p);
			set_in(w, deletes, n, "y");
			assert_true(slice_is(get_from(w, reads, n), "y"));
		}
		cache_free(lists[0]);
		cache_free(lists[1]);
	}
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_node_that_came_back_empty_gets_what_nobody_reads),
		T(only_what_belongs_on_a_node_is_put_there),
		T(what_was_written_meanwhile_is_not_undone),
		T(old_content_that_comes_back_is_brought_up_to_date),
		T(a_value_under_a_name_that_is_not_ours_stays_where_it_is),
		T(while_one_restores_the_others_wait),
		T(the_report_tells_away_empty_and_whole),
		T(a_node_is_not_told_to_be_whole_while_another_could_not_be_asked),
		T(it_ends_when_it_is_told_to),
		T(a_node_is_added_and_one_taken_away_and_nothing_is_lost),
		T(servers_with_different_lists_agree_on_deletions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
