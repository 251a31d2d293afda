/* Real memcached processes, killed, frozen and restarted. Only waits for a node's state to change take time: a node
 * that was down is tried again after half a second. */
#include "unit.h"

#include "cache.h"
#include "clock.h"
#include "descriptors.h"
#include "memcached.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define MANY 600
#define TIMEOUT_MS 150	/* more than a loaded machine needs for an answer */

struct world {
	struct memcached *nodes[5];
	size_t n;
	struct cache *cache;
	struct arena *a;
	struct err e;
};

static const struct cache_key key_one = { "\1\1\1\1", "the first key of the ring, 32 b" };
static const struct cache_key key_two = { "\2\2\2\2", "another key of the ring, 32 byt" };

static struct cache *
open_cache(struct world *w, const char *const *zones, const struct cache_key *first, const struct cache_key *second)
{
	struct cache_node nodes[5];
	struct cache_conf conf = { .nodes = nodes, .nnodes = w->n, .nkeys = second == NULL ? 1 : 2,
		.timeout_ms = TIMEOUT_MS };

	conf.keys[0] = *first;
	if (second != NULL)
		conf.keys[1] = *second;
	for (size_t i = 0; i < w->n; i++)
		nodes[i] = (struct cache_node){ w->nodes[i]->host, w->nodes[i]->port,
			zones == NULL ? NULL : zones[i], false };
	struct cache *c = cache_new(&conf, &w->e);
	assert_non_null(c);
	return c;
}

/* tcp: every such node listens on a port, the others on a unix socket; 0: none. */
static int
setup_some(void **state, size_t n, const char *const *zones, size_t tcp)
{
	struct world *w = calloc(1, sizeof *w);

	*state = w;
	w->a = arena_new(256 << 20);
	w->n = n;
	for (size_t i = 0; i < n; i++)
		w->nodes[i] = memcached_start(tcp != 0 && i % tcp == 1 ? MEMCACHED_TCP : MEMCACHED_UNIX);
	w->cache = open_cache(w, zones, &key_one, NULL);
	return 0;
}

static int
setup_nodes(void **state, size_t n, const char *const *zones)
{
	return setup_some(state, n, zones, 2);
}

static int
three_on_unix_sockets(void **state)
{
	return setup_some(state, 3, NULL, 0);
}

static int
three_nodes(void **state)
{
	return setup_nodes(state, 3, NULL);
}

static int
two_nodes(void **state)
{
	return setup_nodes(state, 2, NULL);
}

static int
five_nodes(void **state)
{
	return setup_nodes(state, 5, NULL);
}

static int
two_zones(void **state)
{
	static const char *const zones[] = { "a", "a", "a", "b" };

	return setup_nodes(state, 4, zones);
}

static int
end(void **state)
{
	struct world *w = *state;

	cache_free(w->cache);
	for (size_t i = 0; i < w->n; i++)
		memcached_end(w->nodes[i]);
	arena_free(w->a);
	free(w);
	clock_set(0);
	return 0;
}

static struct cache_name
name_of(struct world *w, int i)
{
	return (struct cache_name){ S("card"), S("organisation"), arena_printf(w->a, "user %d", i) };
}

static void
set(struct world *w, int i, const char *value)
{
	struct cache_name name = name_of(w, i);

	assert_ok(cache_set(w->cache, &name, slice_of(value), 3600, &w->e), &w->e);
}

static struct slice
get_from(struct world *w, struct cache *c, int i)
{
	struct cache_name name = name_of(w, i);
	struct slice value;

	assert_ok(cache_get(c, w->a, &name, &value, &w->e), &w->e);
	return value;
}

static struct slice
get(struct world *w, int i)
{
	return get_from(w, w->cache, i);
}

static bool
delete(struct world *w, int i)
{
	struct cache_name name = name_of(w, i);
	bool certain;

	assert_ok(cache_delete(w->cache, &name, &certain, &w->e), &w->e);
	return certain;
}

static void
set_many(struct world *w)
{
	for (int i = 0; i < MANY; i++)
		set(w, i, arena_cstr(w->a, arena_printf(w->a, "value %d", i)));
}

/* Every value, whoever lost what. */
static void
expect_many(struct world *w, const char *when)
{
	int lost = 0;

	for (int i = 0; i < MANY; i++)
		lost += !slice_eq(get(w, i), arena_printf(w->a, "value %d", i));
	if (lost > 0)
		fail_msg("%d of %d values lost %s", lost, MANY, when);
}

static void
wait_until(struct world *w, size_t node, bool up)
{
	struct cache_node_state s[5];

	for (int i = 0; i < 4000; i++) {
		cache_state(w->cache, s, 5);
		if (s[node].up == up)
			return;
		usleep(2000);
	}
	fail_msg("node %zu does not become %s", node, up ? "up" : "down");
}

static long
all_items(struct world *w)
{
	long n = 0;

	for (size_t i = 0; i < w->n; i++)
		if (w->nodes[i]->pid != 0)
			n += memcached_items(w->nodes[i]);
	return n;
}

static uint64_t
all_gets(struct world *w)
{
	struct cache_node_state s[5];
	uint64_t n = 0;
	size_t nodes = cache_state(w->cache, s, 5);

	for (size_t i = 0; i < nodes; i++)
		n += s[i].gets;
	return n;
}

/* The two nodes of value i: which hold its only key of the nodes; the test put nothing else there. */
static size_t
holders(struct world *w, size_t out[5])
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		if (w->nodes[i]->pid != 0 && memcached_items(w->nodes[i]) > 0)
			out[n++] = i;
	return n;
}

static const char *
only_key(struct world *w, size_t node)
{
	char *key = NULL;

	assert_int_equal(memcached_keys(w->nodes[node], w->a, &key, 1), 1);
	return key;
}

/* ---- the plain case */

static void
a_value_comes_back_and_is_nobody_elses(void **state)
{
	struct world *w = *state;
	static const struct { const char *kind, *organisation, *user; } others[] = {
		{ "order", "o", "user" }, { "card", "oo", "user" }, { "card", "o", "User" },
		{ "card", "ou", "ser" }, { "cardo", "", "user" }, { "card", "o", "user " }, { "card", "o", "" },
	};
	struct cache_name name = { S("card"), S("o"), S("user") };
	struct slice value;

	assert_ok(cache_get(w->cache, w->a, &name, &value, &w->e), &w->e);
	assert_null(value.p);
	assert_ok(cache_set(w->cache, &name, S("a\0b\r\nEND\r\n"), 60, &w->e), &w->e);
	assert_ok(cache_get(w->cache, w->a, &name, &value, &w->e), &w->e);
	assert_true(slice_eq(value, S("a\0b\r\nEND\r\n")));
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct cache_name other = { slice_of(others[i].kind), slice_of(others[i].organisation),
			slice_of(others[i].user) };
		assert_ok(cache_get(w->cache, w->a, &other, &value, &w->e), &w->e);
		assert_null(value.p);
	}
	assert_ok(cache_set(w->cache, &name, S(""), 60, &w->e), &w->e);
	assert_ok(cache_get(w->cache, w->a, &name, &value, &w->e), &w->e);
	assert_true(slice_eq(value, S("")));
}

static void
strange_names_are_names_too(void **state)
{
	struct world *w = *state;
	char *big = arena_alloc(w->a, 70000);
	const struct slice users[] = { S(" "), S("a b"), S("x\r\nflush_all\r\n"), S("\0"), S("\0\0"),
		{ memset(big, 'x', 70000), 70000 }, { big, 69999 }, S("\303\246\303\270\303\245"), S("") };
	struct slice value;

	for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
		struct cache_name name = { S("card"), S("o"), users[i] };
		assert_ok(cache_set(w->cache, &name, arena_printf(w->a, "%zu", i), 60, &w->e), &w->e);
	}
	for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
		struct cache_name name = { S("card"), S("o"), users[i] };
		assert_ok(cache_get(w->cache, w->a, &name, &value, &w->e), &w->e);
		assert_true(slice_eq(value, arena_printf(w->a, "%zu", i)));
	}
}

static void
limits_are_kept(void **state)
{
	struct world *w = *state;
	struct cache_name name = name_of(w, 0);
	char *big = arena_alloc(w->a, CACHE_VALUE_MAX + 1);
	struct slice value;

	memset(big, 'x', CACHE_VALUE_MAX + 1);
	assert_ok(cache_set(w->cache, &name, (struct slice){ big, CACHE_VALUE_MAX }, 60, &w->e), &w->e);
	assert_ok(cache_get(w->cache, w->a, &name, &value, &w->e), &w->e);
	assert_true(slice_eq(value, (struct slice){ big, CACHE_VALUE_MAX }));
	assert_int_equal(all_items(w), 2);
	assert_err(ERR_INVALID, cache_set(w->cache, &name, (struct slice){ big, CACHE_VALUE_MAX + 1 }, 60, &w->e),
	    &w->e);
	assert_err(ERR_INVALID, cache_set(w->cache, &name, S("x"), 0, &w->e), &w->e);
	assert_err(ERR_INVALID, cache_set(w->cache, &name, S("x"), -1, &w->e), &w->e);
	assert_err(ERR_INVALID, cache_add(w->cache, &name, S("x"), CACHE_TTL_MAX + 1, &w->e), &w->e);

	struct arena *small = arena_new(1000);
	assert_err(ERR_MEMORY, cache_get(w->cache, small, &name, &value, &w->e), &w->e);
	arena_free(small);
}

static void
nodes_hold_nothing_readable(void **state)
{
	struct world *w = *state;
	char *keys[3];

	set(w, 1, "a value in clear text");
	for (size_t i = 0; i < w->n; i++)
		for (size_t k = memcached_keys(w->nodes[i], w->a, keys, 3); k > 0; k--) {
			struct slice bytes = memcached_read(w->nodes[i], w->a, keys[k - 1]);
			assert_int_equal(strlen(keys[k - 1]), 64);
			assert_int_equal(strspn(keys[k - 1], "0123456789abcdef"), 64);
			assert_int_equal(slice_find(bytes, S("clear")), -1);
			assert_int_equal(slice_find(bytes, S("user")), -1);
			assert_int_equal(bytes.p[0], CACHE_FORMAT);
		}
}

static void
a_known_value_costs_one_round_trip(void **state)
{
	struct world *w = *state;

	set(w, 1, "x");
	get(w, 1);
	uint64_t cost = 0;
	for (int tries = 0; tries < 5 && cost != 10; tries++) {	/* a node that was slow once is looked at again */
		uint64_t before = all_gets(w);
		for (int i = 0; i < 10; i++)
			get(w, 1);
		cost = all_gets(w) - before;
	}
	assert_int_equal(cost, 10);
}

static void
a_value_ends_at_its_time(void **state)
{
	struct world *w = *state;

	clock_set(1700000000);
	set(w, 1, "x");
	clock_set(1700000000 + 3599);
	assert_slice("x", get(w, 1));
	clock_set(1700000000 + 3600);
	assert_null(get(w, 1).p);
	clock_set(1700000000 + 3599);
	assert_slice("x", get(w, 1));
}

static void
a_deleted_value_is_gone_and_a_new_one_counts(void **state)
{
	struct world *w = *state;
	struct cache_name name = name_of(w, 1);

	assert_true(delete(w, 1));
	set(w, 1, "old");
	assert_true(delete(w, 1));
	assert_null(get(w, 1).p);
	assert_null(get(w, 1).p);
	set(w, 1, "new");
	assert_slice("new", get(w, 1));
	assert_true(delete(w, 1));
	assert_ok(cache_add(w->cache, &name, S("added"), 60, &w->e), &w->e);
	assert_slice("added", get(w, 1));
}

/* The writer's clock may be behind that of the one who deleted. */
static void
a_new_value_wins_over_a_deletion_with_a_later_clock(void **state)
{
	struct world *w = *state;

	clock_set(1700000100);
	set(w, 1, "old");
	delete(w, 1);
	clock_set(1700000000);
	set(w, 1, "new");
	assert_slice("new", get(w, 1));
	for (size_t i = 0; i < w->n; i++) {
		memcached_kill(w->nodes[i]);
		wait_until(w, i, false);
		assert_slice("new", get(w, 1));
		memcached_restart(w->nodes[i]);
		wait_until(w, i, true);
		assert_slice("new", get(w, 1));
	}
}

static void
add_lets_the_first_win(void **state)
{
	struct world *w = *state;
	struct cache_name name = name_of(w, 1);

	clock_set(1700000000);
	assert_ok(cache_add(w->cache, &name, S("first"), 60, &w->e), &w->e);
	assert_int_equal(all_items(w), 2);
	assert_err(ERR_CONFLICT, cache_add(w->cache, &name, S("second"), 60, &w->e), &w->e);
	assert_slice("first", get(w, 1));
	clock_set(1700000060);	/* expired by our clock, still there by memcached's */
	assert_ok(cache_add(w->cache, &name, S("third"), 60, &w->e), &w->e);
	assert_slice("third", get(w, 1));
}

struct adder { struct world *w; int round; atomic_int *winners; pthread_barrier_t *start; };

static void *
add_in_thread(void *arg)
{
	struct adder *t = arg;
	char user[32];
	struct err e = { 0 };

	snprintf(user, sizeof user, "round %d", t->round);
	struct cache_name name = { S("order"), S("o"), slice_of(user) };
	pthread_barrier_wait(t->start);
	if (cache_add(t->w->cache, &name, S("mine"), 60, &e) == 0)
		atomic_fetch_add(t->winners, 1);
	else if (e.kind != ERR_CONFLICT)
		atomic_fetch_add(t->winners, 100);
	return NULL;
}

static void
of_many_adders_one_wins(void **state)
{
	struct world *w = *state;

	for (int round = 0; round < 30; round++) {
		pthread_t threads[4];
		pthread_barrier_t start;
		atomic_int winners = 0;
		struct adder t = { w, round, &winners, &start };
		if (round % 3 == 2) {	/* also where a deletion stands */
			struct cache_name name = { S("order"), S("o"), arena_printf(w->a, "round %d", round) };
			bool certain;
			assert_ok(cache_delete(w->cache, &name, &certain, &w->e), &w->e);
		}
		pthread_barrier_init(&start, NULL, 4);
		for (int i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, add_in_thread, &t), 0);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&start);
		assert_int_equal(winners, 1);
	}
}

struct onlooker { struct cache *cache; _Atomic(const char *) name; atomic_bool over, wrong; };

static void *
look_on(void *arg)
{
	struct onlooker *o = arg;
	struct arena *a = arena_new(1 << 20);

	while (!atomic_load(&o->over)) {
		struct err e = { 0 };
		struct cache_name name = { S("order"), S("o"), slice_of(atomic_load(&o->name)) };
		struct slice value;
		if (cache_get(o->cache, a, &name, &value, &e) < 0)
			atomic_store(&o->wrong, true);
		arena_reset(a);
	}
	arena_free(a);
	return NULL;
}

/* Who reads between the first copy and the second brings the second himself: that is no rival. */
static void
who_adds_alone_wins_while_others_look(void **state)
{
	struct world *w = *state;
	struct onlooker o = { .cache = w->cache, .name = "nothing yet" };
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_on, &o), 0);
	for (int round = 0; round < 1000; round++) {
		const char *user = arena_cstr(w->a, arena_printf(w->a, "looked at %d", round));
		struct cache_name name = { S("order"), S("o"), slice_of(user) };
		atomic_store(&o.name, user);
		assert_ok(cache_add(w->cache, &name, S("mine"), 60, &w->e), &w->e);
	}
	atomic_store(&o.over, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_false(o.wrong);
}

/* ---- nodes that fail */

static void
copies_are_on_two_nodes_in_two_zones(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 50; i++)
		set(w, i, "x");
	assert_int_equal(all_items(w), 100);
	assert_int_equal(memcached_items(w->nodes[3]), 50);	/* the only node of zone b */
	for (size_t i = 0; i < 3; i++)
		assert_true(memcached_items(w->nodes[i]) > 0);

	memcached_kill(w->nodes[3]);
	wait_until(w, 3, false);
	for (int i = 50; i < 100; i++)
		set(w, i, "x");
	assert_int_equal(all_items(w), 50 + 100);	/* then two nodes of one zone */
}

static void
one_of_three_nodes_killed_loses_nothing(void **state)
{
	struct world *w = *state;

	set_many(w);
	assert_int_equal(all_items(w), 2 * MANY);
	memcached_kill(w->nodes[1]);
	expect_many(w, "after a node was killed");
	assert_int_equal(all_items(w), 2 * MANY);	/* those of the dead node have a second copy again */
	for (int i = 0; i < MANY; i++)
		set(w, i, arena_cstr(w->a, arena_printf(w->a, "value %d", i)));
	expect_many(w, "when set with a node dead");
	memcached_restart(w->nodes[1]);
	wait_until(w, 1, true);
	expect_many(w, "after the node came back");
	memcached_kill(w->nodes[0]);
	expect_many(w, "after another was killed");
}

static void
every_node_restarted_in_turn_loses_nothing(void **state)
{
	struct world *w = *state;

	set_many(w);
	for (size_t round = 0; round < w->n; round++) {
		memcached_kill(w->nodes[round]);
		memcached_restart(w->nodes[round]);
		wait_until(w, round, true);
		expect_many(w, "after a restart");
	}
	for (size_t i = 0; i < w->n; i++)
		assert_true(memcached_items(w->nodes[i]) >= MANY / 3);
}

/* So quick that nobody finds it down, and of the node with the second copy too, which no request asks. */
static void
a_restart_that_no_request_met_is_noticed(void **state)
{
	struct world *w = *state;
	size_t on[5];

	set(w, 1, "x");
	get(w, 1);
	assert_int_equal(holders(w, on), 2);
	for (int round = 0; round < 4; round++) {
		struct memcached *m = w->nodes[on[round % 2]];
		memcached_replace(m);
		for (int i = 0; i < 500 && memcached_items(m) == 0; i++) {
			assert_slice("x", get(w, 1));
			usleep(2000);
		}
		assert_int_equal(memcached_items(m), 1);
	}
}

static void
a_frozen_node_costs_one_wait(void **state)
{
	struct world *w = *state;

	set_many(w);
	expect_many(w, "at first");
	memcached_freeze(w->nodes[0]);
	int64_t start = clock_mono_ms();
	expect_many(w, "with a node frozen");
	int64_t took = clock_mono_ms() - start;
	/* one wait, and one more of the watcher while requests pass it; the rest is the gets themselves */
	if (took > 2000)
		fail_msg("%lld ms", (long long)took);
	memcached_thaw(w->nodes[0]);
	wait_until(w, 0, true);
	expect_many(w, "after it went on");
}

/* ---- what a node costs that does not answer: counted by the node, not by the clock */

/* Listens in the place of a node, takes connections and whatever is sent, and says nothing. deaf: it does not even take
 * connections, as when every packet is dropped. */
struct silent {
	pthread_t thread;
	int fd, fill[8];
	uint16_t port;
	atomic_bool stop;
	atomic_int asked;	/* requests other than the watcher's */
};

static void
count_requests(struct silent *s, int fd)
{
	char text[4096];
	ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	if (n > 0 && strstr(text, "version") == NULL)
		atomic_fetch_add(&s->asked, 1);
}

static void *
be_silent(void *arg)
{
	struct silent *s = arg;
	struct pollfd fds[200] = { { .fd = s->fd, .events = POLLIN } };
	nfds_t n = 1;

	while (!atomic_load(&s->stop)) {
		if (poll(fds, n, 20) <= 0)
			continue;
		if (fds[0].revents != 0 && n < 200) {
			fds[n++] = (struct pollfd){ .fd = accept(s->fd, NULL, NULL), .events = POLLIN };
			continue;
		}
		for (nfds_t i = 1; i < n; i++)
			if (fds[i].revents != 0)
				count_requests(s, fds[i].fd);
		for (nfds_t i = 1; i < n; i++)
			if ((fds[i].revents & (POLLHUP | POLLERR)) != 0)
				fds[i].events = 0;
	}
	for (nfds_t i = 1; i < n; i++)
		close(fds[i].fd);
	return NULL;
}

static void
silent_start(struct silent *s, bool deaf)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof in;

	*s = (struct silent){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	assert_int_equal(bind(s->fd, (struct sockaddr *)&in, size), 0);
	assert_int_equal(listen(s->fd, deaf ? 0 : 100), 0);
	getsockname(s->fd, (struct sockaddr *)&in, &size);
	s->port = ntohs(in.sin_port);
	for (size_t i = 0; deaf && i < 8; i++) {	/* until no more connections are taken */
		s->fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(connect(s->fill[i], (struct sockaddr *)&in, size) == 0 || errno == EINPROGRESS);
	}
	if (!deaf)
		assert_int_equal(pthread_create(&s->thread, NULL, be_silent, s), 0);
}

static void
silent_end(struct silent *s, bool deaf)
{
	atomic_store(&s->stop, true);
	if (!deaf)
		pthread_join(s->thread, NULL);
	for (size_t i = 0; deaf && i < 8; i++)
		close(s->fill[i]);
	close(s->fd);
}

/* Many requests with such a node beside a good one: the errors that the node was counted for. */
static uint64_t
errors_beside_silent(struct world *w, struct silent *s)
{
	const struct cache_node nodes[] = { { w->nodes[0]->host, w->nodes[0]->port, NULL, false },
		{ "127.0.0.1", s->port, NULL, false } };
	const struct cache_conf conf = { .nodes = nodes, .nnodes = 2, .nkeys = 1, .keys = { key_one }, .timeout_ms = TIMEOUT_MS };
	struct cache *c = cache_new(&conf, &w->e);
	struct cache_node_state state[2];

	assert_non_null(c);
	for (int i = 0; i < MANY; i++) {
		struct cache_name name = name_of(w, i);
		assert_ok(cache_set(c, &name, S("x"), 60, &w->e), &w->e);
		assert_true(slice_is(get_from(w, c, i), "x"));
	}
	cache_state(c, state, 2);
	cache_free(c);
	return state[1].errors;
}

static void
a_node_that_never_answers_is_asked_once(void **state)
{
	struct world *w = *state;
	struct silent s;

	silent_start(&s, false);
	uint64_t errors = errors_beside_silent(w, &s);
	silent_end(&s, false);
	if (errors > 1 || atomic_load(&s.asked) > 1)
		fail_msg("%llu timeouts, %d requests", (unsigned long long)errors, atomic_load(&s.asked));
}

static void
a_node_that_is_cut_off_is_tried_once(void **state)
{
	struct world *w = *state;
	struct silent s;

	silent_start(&s, true);
	uint64_t errors = errors_beside_silent(w, &s);
	silent_end(&s, true);
	if (errors > 1)
		fail_msg("%llu timeouts", (unsigned long long)errors);
}

struct reader { struct world *w; atomic_int *wrong; int64_t slowest; };

static void *
read_in_thread(void *arg)
{
	struct reader *r = arg;
	struct arena *a = arena_new(1 << 16);
	struct err e = { 0 };
	struct slice value;

	for (int i = 0; i < 400; i++) {
		struct cache_name name = { S("card"), S("organisation"), arena_printf(a, "user %d", i % 50) };
		int64_t start = clock_mono_ms();
		err_clear(&e);
		if (cache_get(r->w->cache, a, &name, &value, &e) < 0 || !slice_is(value, "x"))
			atomic_fetch_add(r->wrong, 1);
		if (clock_mono_ms() - start > r->slowest)
			r->slowest = clock_mono_ms() - start;
		arena_reset(a);
		usleep(500);
	}
	arena_free(a);
	return NULL;
}

static void
threads_read_on_while_nodes_fail(void **state)
{
	struct world *w = *state;
	pthread_t threads[8];
	struct reader readers[8];
	atomic_int wrong = 0;

	for (int i = 0; i < 50; i++)
		set(w, i, "x");
	for (int i = 0; i < 8; i++) {
		readers[i] = (struct reader){ w, &wrong, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, read_in_thread, &readers[i]), 0);
	}
	memcached_freeze(w->nodes[0]);
	wait_until(w, 0, false);
	memcached_thaw(w->nodes[0]);
	wait_until(w, 0, true);
	memcached_kill(w->nodes[1]);
	memcached_restart(w->nodes[1]);
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], NULL);
		if (readers[i].slowest > 1500)
			fail_msg("a get took %lld ms", (long long)readers[i].slowest);
	}
	assert_int_equal(wrong, 0);
}

static void
without_nodes_there_is_a_fault_and_then_it_goes_on(void **state)
{
	struct world *w = *state;
	struct cache_name name = name_of(w, 1);
	struct slice value;
	bool certain = true;

	set(w, 1, "x");
	for (size_t i = 0; i < w->n; i++)
		memcached_kill(w->nodes[i]);
	assert_err(ERR_CACHE, cache_get(w->cache, w->a, &name, &value, &w->e), &w->e);
	assert_err(ERR_CACHE, cache_set(w->cache, &name, S("x"), 60, &w->e), &w->e);
	assert_err(ERR_CACHE, cache_add(w->cache, &name, S("x"), 60, &w->e), &w->e);
	assert_err(ERR_CACHE, cache_delete(w->cache, &name, &certain, &w->e), &w->e);
	assert_false(certain);

	int64_t start = clock_mono_ms();
	struct cache *other = open_cache(w, NULL, &key_one, NULL);	/* starts all the same */
	assert_err(ERR_CACHE, cache_get(other, w->a, &name, &value, &w->e), &w->e);
	cache_free(other);
	assert_true(clock_mono_ms() - start < 1000);

	for (size_t i = 0; i < w->n; i++)
		memcached_restart(w->nodes[i]);
	for (size_t i = 0; i < w->n; i++)
		wait_until(w, i, true);
	assert_null(get(w, 1).p);
	set(w, 1, "y");
	assert_slice("y", get(w, 1));
	assert_int_equal(all_items(w), 2);
}

struct asking {
	struct world *w;
	pthread_t thread;
	unsigned found, failed;
};

static void *
ask_often(void *arg)
{
	struct asking *k = arg;
	struct arena *a = arena_new(1 << 20);

	for (int i = 0; i < 200; i++) {
		struct cache_name name = { S("card"), S("organisation"), S("user 1") };
		struct err e = { 0 };
		struct slice value;
		if (cache_get(k->w->cache, a, &name, &value, &e) == 0)
			k->found++;
		else
			k->failed++;
		arena_reset(a);
	}
	arena_free(a);
	return NULL;
}

/* That we can open no connection says nothing of the node: who has one goes on using it. */
static void
without_a_free_descriptor_the_nodes_are_not_down(void **state)
{
	struct world *w = *state;
	struct asking askers[8];
	struct descriptors d;
	unsigned failed = 0;

	set(w, 1, "value");
	descriptors_exhaust(&d);
	for (size_t i = 0; i < 8; i++) {
		askers[i] = (struct asking){ .w = w };
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_often, &askers[i]), 0);
	}
	for (size_t i = 0; i < 8; i++) {
		pthread_join(askers[i].thread, NULL);
		failed += askers[i].failed;
	}
	struct cache_name name = name_of(w, 1);
	struct slice value;
	int rc = cache_get(w->cache, w->a, &name, &value, &w->e);
	descriptors_release(&d);
	assert_ok(rc, &w->e);
	assert_slice("value", value);
	if (failed == 0)
		fail_msg("every thread had a connection: nothing was tried");
}

static void
a_deletion_is_uncertain_while_a_node_is_away(void **state)
{
	struct world *w = *state;

	set(w, 1, "x");
	memcached_freeze(w->nodes[2]);
	assert_false(delete(w, 1));
	memcached_thaw(w->nodes[2]);
	wait_until(w, 2, true);
	assert_null(get(w, 1).p);
	assert_true(delete(w, 1));
}

/* A node was cut off with the old value, which was deleted or replaced meanwhile. */
static void
a_node_that_returns_with_old_content_does_not_win(void **state)
{
	struct world *w = *state;

	for (size_t node = 0; node < w->n; node++) {
		for (int i = 0; i < 40; i++) {
			set(w, i, "old");
			get(w, i);
		}
		memcached_freeze(w->nodes[node]);
		for (int i = 0; i < 40; i++) {
			delete(w, i);
			if (i % 2 == 1)
				set(w, i, "new");
		}
		wait_until(w, node, false);
		memcached_thaw(w->nodes[node]);
		wait_until(w, node, true);
		for (int i = 0; i < 40; i++)
			if (i % 2 == 1)
				assert_slice("new", get(w, i));
			else
				assert_null(get(w, i).p);
	}
}

/* Another server thought a node was down, and wrote elsewhere; ours did not and has noted the name. */
static void
the_newest_of_all_copies_can_be_asked_for(void **state)
{
	struct world *w = *state;
	struct cache_name name = name_of(w, 1);
	struct slice value;
	size_t on[5];

	set(w, 1, "old");
	get(w, 1);
	assert_int_equal(holders(w, on), 2);
	const char *key = only_key(w, on[0]);
	struct slice old = memcached_read(w->nodes[on[0]], w->a, key);
	set(w, 1, "new");
	struct slice new = memcached_read(w->nodes[on[0]], w->a, key);
	for (int i = 0; i < 2; i++)
		memcached_write(w->nodes[on[i]], w->a, key, old);
	for (size_t i = 0; i < w->n; i++)
		if (i != on[0] && i != on[1])
			memcached_write(w->nodes[i], w->a, key, new);
	assert_slice("old", get(w, 1));
	assert_ok(cache_get_newest(w->cache, w->a, &name, &value, &w->e), &w->e);
	assert_slice("new", value);
	assert_slice("new", get(w, 1));
	set(w, 1, "newer");		/* and nothing of it is left elsewhere */
	assert_int_equal(all_items(w), 2);
}

static void
what_was_written_while_both_nodes_were_away_is_found(void **state)
{
	struct world *w = *state;
	size_t on[5];

	set(w, 1, "old");
	assert_int_equal(holders(w, on), 2);
	for (int i = 0; i < 2; i++)
		memcached_kill(w->nodes[on[i]]);
	for (int i = 0; i < 2; i++)
		wait_until(w, on[i], false);
	set(w, 1, "new");
	for (int i = 0; i < 2; i++)
		memcached_restart(w->nodes[on[i]]);
	for (int i = 0; i < 2; i++)
		wait_until(w, on[i], true);
	assert_slice("new", get(w, 1));
	for (int i = 0; i < 2; i++)
		assert_int_equal(memcached_items(w->nodes[on[i]]), 1);
}

/* ---- what others put there */

static uint64_t
unopened(struct world *w)
{
	struct cache_node_state s[5];
	uint64_t n = 0;
	size_t nodes = cache_state(w->cache, s, 5);

	for (size_t i = 0; i < nodes; i++)
		n += s[i].unopened;
	return n;
}

static void
a_value_that_was_altered_is_absent_and_counted(void **state)
{
	struct world *w = *state;
	struct cache_name name = name_of(w, 1);
	struct slice value;
	size_t on[5];

	set(w, 1, "the value");
	assert_int_equal(holders(w, on), 2);
	const char *key = only_key(w, on[0]);
	struct slice good = memcached_read(w->nodes[on[0]], w->a, key);
	for (size_t i = 0; i < good.n; i++) {
		char *bad = arena_cstr(w->a, good);
		memcpy(bad, good.p, good.n);
		bad[i] ^= 0x10;
		for (int cut = 0; cut < 2; cut++) {
			uint64_t before = unopened(w);
			for (int k = 0; k < 2; k++)
				memcached_write(w->nodes[on[k]], w->a, key,
				    (struct slice){ cut ? good.p : bad, cut ? i : good.n });
			assert_null(get(w, 1).p);
			assert_true(unopened(w) >= before + 2);
		}
	}
	char *huge = arena_alloc(w->a, 1000000);
	for (int k = 0; k < 2; k++)
		memcached_write(w->nodes[on[k]], w->a, key, (struct slice){ huge, 1000000 });
	assert_null(get(w, 1).p);
	/* nor is it in the way */
	assert_ok(cache_add(w->cache, &name, S("new"), 60, &w->e), &w->e);
	assert_slice("new", get(w, 1));
	for (int k = 0; k < 2; k++) {	/* one good copy is enough, and heals the other */
		set(w, 1, "newer");
		memcached_write(w->nodes[on[k]], w->a, key, S("junk"));
		assert_ok(cache_get_newest(w->cache, w->a, &name, &value, &w->e), &w->e);
		assert_slice("newer", value);
		assert_slice("newer", get(w, 1));
		assert_int_not_equal(memcached_read(w->nodes[on[k]], w->a, key).n, 4);
	}
}

static void
a_value_of_another_user_or_key_is_absent(void **state)
{
	struct world *w = *state;
	struct cache *foreign = open_cache(w, NULL, &key_two, NULL);
	struct cache_name name = name_of(w, 2);
	char *keys[4];
	size_t on[5];

	set(w, 1, "of user 1");
	assert_int_equal(holders(w, on), 2);
	const char *key = only_key(w, on[0]);
	struct slice of_1 = memcached_read(w->nodes[on[0]], w->a, key);
	set(w, 2, "of user 2");
	for (size_t i = 0; i < w->n; i++)
		for (size_t k = memcached_keys(w->nodes[i], w->a, keys, 4); k > 0; k--)
			memcached_write(w->nodes[i], w->a, keys[k - 1], of_1);
	assert_slice("of user 1", get(w, 1));
	assert_null(get(w, 2).p);

	assert_ok(cache_set(foreign, &name, S("by another key"), 60, &w->e), &w->e);
	assert_null(get(w, 2).p);
	cache_free(foreign);
}

static void
another_format_is_absent(void **state)
{
	struct world *w = *state;
	char *keys[1];

	set(w, 1, "x");
	for (size_t i = 0; i < w->n; i++)
		if (memcached_keys(w->nodes[i], w->a, keys, 1) == 1) {
			struct slice bytes = memcached_read(w->nodes[i], w->a, keys[0]);
			char *other = arena_cstr(w->a, bytes);
			memcpy(other, bytes.p, bytes.n);
			other[0] = CACHE_FORMAT + 1;
			memcached_write(w->nodes[i], w->a, keys[0], (struct slice){ other, bytes.n });
		}
	assert_null(get(w, 1).p);
}

/* One of two servers does not see a node that the other sees. */
static struct cache *
open_without_first(struct world *w)
{
	struct cache_node nodes[3];
	struct cache_conf conf = { .nodes = nodes, .nnodes = 3, .nkeys = 1, .keys = { key_one }, .timeout_ms = TIMEOUT_MS };

	for (size_t i = 0; i < 3; i++)
		nodes[i] = (struct cache_node){ i == 0 ? "/nonexistent/memcached.sock" : w->nodes[i]->host, w->nodes[i]->port, NULL, false };
	struct cache *c = cache_new(&conf, &w->e);
	assert_non_null(c);
	return c;
}

struct rival { struct cache *cache; const struct cache_name *name; const char *value; pthread_barrier_t *start; bool won; };

static void *
add_against_another(void *arg)
{
	struct rival *r = arg;
	struct err e = { 0 };

	pthread_barrier_wait(r->start);
	r->won = cache_add(r->cache, r->name, slice_of(r->value), 60, &e) == 0;
	return NULL;
}

static void
servers_that_see_different_nodes_agree_on_who_was_first(void **state)
{
	struct world *w = *state;
	struct cache *other = open_without_first(w);

	for (int round = 0; round < 400; round++) {
		struct cache_name name = { S("page"), S(""), arena_printf(w->a, "round %d", round) };
		struct slice got;
		pthread_barrier_t start;
		pthread_t threads[2];
		struct rival rivals[] = { { w->cache, &name, "sees three", &start, false }, { other, &name, "sees two", &start, false } };
		pthread_barrier_init(&start, NULL, 2);
		for (int i = 0; i < 2; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, add_against_another, &rivals[i]), 0);
		for (int i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&start);
		assert_int_equal(rivals[0].won + rivals[1].won, 1);
		for (int i = 0; i < 2; i++) {
			assert_ok(cache_get(rivals[i].cache, w->a, &name, &got, &w->e), &w->e);
			assert_slice(rivals[rivals[0].won ? 0 : 1].value, got);
		}
	}
	cache_free(other);
}

/* Rotation: the new key is added behind, then goes to the front, then the old one is removed. */
static void
values_outlive_a_rotation_of_keys(void **state)
{
	struct world *w = *state;
	struct cache *old_first = open_cache(w, NULL, &key_one, &key_two);
	struct cache *new_first = open_cache(w, NULL, &key_two, &key_one);
	struct cache *new_only = open_cache(w, NULL, &key_two, NULL);
	struct cache_name name = name_of(w, 1), third = name_of(w, 3);
	bool certain;

	set(w, 1, "by the old key");
	assert_slice("by the old key", get_from(w, old_first, 1));
	assert_slice("by the old key", get_from(w, new_first, 1));	/* and moves it */
	assert_slice("by the old key", get_from(w, new_only, 1));
	assert_err(ERR_CONFLICT, cache_add(new_first, &name, S("x"), 60, &w->e), &w->e);

	assert_ok(cache_set(new_first, &name, S("by the new key"), 60, &w->e), &w->e);
	assert_slice("by the new key", get_from(w, old_first, 1));
	assert_ok(cache_set(old_first, &name, S("again by the old"), 60, &w->e), &w->e);
	assert_slice("again by the old", get_from(w, new_first, 1));
	assert_ok(cache_delete(new_first, &name, &certain, &w->e), &w->e);
	assert_true(certain);
	assert_null(get_from(w, old_first, 1).p);
	assert_null(get_from(w, new_first, 1).p);

	assert_ok(cache_add(old_first, &third, S("x"), 60, &w->e), &w->e);
	assert_err(ERR_CONFLICT, cache_add(new_first, &third, S("y"), 60, &w->e), &w->e);
	cache_free(old_first);
	cache_free(new_first);
	cache_free(new_only);
}

/* ---- configuration */

static void
a_configuration_that_cannot_work_is_refused(void **state)
{
	(void)state;
	struct cache_node nodes[CACHE_NODES_MAX + 1] = { { "127.0.0.1", 1, NULL, false }, { "127.0.0.1", 1, "b", false } };
	struct err e = { 0 };
	struct cache_conf conf = { .nodes = nodes, .nnodes = 0, .nkeys = 1 };

	assert_null(cache_new(&conf, &e));
	assert_int_equal(e.kind, ERR_CONFIG);
	conf.nnodes = 2;	/* the same twice */
	err_clear(&e);
	assert_null(cache_new(&conf, &e));
	assert_int_equal(e.kind, ERR_CONFIG);
	conf.nnodes = CACHE_NODES_MAX + 1;
	err_clear(&e);
	assert_null(cache_new(&conf, &e));
	assert_int_equal(e.kind, ERR_CONFIG);
	conf.nnodes = 1;
	conf.nkeys = 0;
	err_clear(&e);
	assert_null(cache_new(&conf, &e));
	assert_int_equal(e.kind, ERR_CONFIG);
}

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void
key_files_are_read_strictly(void **state)
{
	static const struct { const char *text; mode_t mode; int keys; } rows[] = {
		{ "0a0b0c0d " HEX "\n", 0600, 1 },
		{ "# two keys\n\n0a0b0c0d " HEX "\n 00000001  " HEX, 0640, 2 },
		{ "0A0B0C0D\t" HEX "\n", 0600, -1 },
		{ "0a0b0c0d " HEX "\n", 0644, -1 },
		{ "0a0b0c0d " HEX "\n", 0604, -1 },
		{ "0a0b0c0d " HEX "\n", 0660, -1 },
		{ "", 0600, -1 },
		{ "# nothing\n", 0600, -1 },
		{ "0a0b0c0d\n", 0600, -1 },
		{ "0a0b0c0d " HEX "00\n", 0600, -1 },
		{ "0a0b0c " HEX "\n", 0600, -1 },
		{ "0a0b0c0d " HEX "\n0a0b0c0d " HEX "\n", 0600, -1 },
		{ "00000001 " HEX "\n00000002 " HEX "\n00000003 " HEX "\n", 0600, -1 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char path[] = "/tmp/sosigw-keys-XXXXXX";
		struct cache_key keys[CACHE_KEYS_MAX];
		struct err e = { 0 };
		size_t n = 0;
		int fd = mkstemp(path);
		assert_int_equal(write(fd, rows[i].text, strlen(rows[i].text)), strlen(rows[i].text));
		fchmod(fd, rows[i].mode);
		close(fd);
		int r = cache_read_keys(path, keys, &n, &e);
		unlink(path);
		if ((r == 0 ? (int)n : -1) != rows[i].keys)
			fail_msg("row %zu: %s", i, e.detail);
		if (r < 0 && (e.kind != ERR_CONFIG || strstr(e.detail, "0001020304") != NULL))
			fail_msg("row %zu: %s", i, e.detail);
		if (r == 0)
			assert_memory_equal(keys[0].id, "\x0a\x0b\x0c\x0d", 4);
	}
	struct err e = { 0 };
	size_t n;
	struct cache_key keys[CACHE_KEYS_MAX];
	assert_err(ERR_CONFIG, cache_read_keys("/nonexistent", keys, &n, &e), &e);
	assert_err(ERR_CONFIG, cache_read_keys("/tmp", keys, &n, &e), &e);
}

int
main(void)
{
#define T(f, setup) cmocka_unit_test_setup_teardown(f, setup, end)
	const struct CMUnitTest tests[] = {
		T(a_value_comes_back_and_is_nobody_elses, three_nodes),
		T(strange_names_are_names_too, two_nodes),
		T(limits_are_kept, two_nodes),
		T(nodes_hold_nothing_readable, two_nodes),
		T(a_known_value_costs_one_round_trip, three_nodes),
		T(a_value_ends_at_its_time, two_nodes),
		T(a_deleted_value_is_gone_and_a_new_one_counts, three_nodes),
		T(a_new_value_wins_over_a_deletion_with_a_later_clock, three_nodes),
		T(add_lets_the_first_win, three_nodes),
		T(of_many_adders_one_wins, three_nodes),
		T(who_adds_alone_wins_while_others_look, three_nodes),
		T(servers_that_see_different_nodes_agree_on_who_was_first, three_on_unix_sockets),
		T(copies_are_on_two_nodes_in_two_zones, two_zones),
		T(one_of_three_nodes_killed_loses_nothing, three_nodes),
		T(every_node_restarted_in_turn_loses_nothing, three_nodes),
		T(a_restart_that_no_request_met_is_noticed, three_on_unix_sockets),
		T(a_node_that_never_answers_is_asked_once, two_nodes),
		T(a_node_that_is_cut_off_is_tried_once, two_nodes),
		T(a_frozen_node_costs_one_wait, three_nodes),
		T(threads_read_on_while_nodes_fail, three_nodes),
		T(without_nodes_there_is_a_fault_and_then_it_goes_on, three_nodes),
		T(without_a_free_descriptor_the_nodes_are_not_down, two_nodes),
		T(a_deletion_is_uncertain_while_a_node_is_away, three_nodes),
		T(a_node_that_returns_with_old_content_does_not_win, three_nodes),
		T(the_newest_of_all_copies_can_be_asked_for, five_nodes),
		T(what_was_written_while_both_nodes_were_away_is_found, five_nodes),
		T(a_value_that_was_altered_is_absent_and_counted, two_nodes),
		T(a_value_of_another_user_or_key_is_absent, three_nodes),
		T(another_format_is_absent, two_nodes),
		T(values_outlive_a_rotation_of_keys, three_nodes),
		cmocka_unit_test(a_configuration_that_cannot_work_is_refused),
		cmocka_unit_test(key_files_are_read_strictly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
