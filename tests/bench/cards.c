/* cards: what cards in memcached cost, for tests/bench/cards.py.
 *
 *	cards fill N PORT...		puts N cards of 8 KB there
 *	cards get N KEYS PORT...	rounds of: cache_get of random users for the first time, of the same ones again, and libmemcached's
 *					plain get of as many values of the same size, whose names stand in the file KEYS. The nodes
 *					must all run. One JSON line with microseconds per get for each round.
 */
#include "cache.h"
#include "rand.h"

#include <libmemcached/memcached.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CARD = 8 * 1024, THREADS = 2, ROUNDS = 9, PER_ROUND = 2000, TTL = 3600, KEY = 64, ARENA = 64 << 20 };

struct filling { struct cache *cache; int from, to; };
struct names { int users[PER_ROUND]; };

static void
fail(const char *what)
{
	fprintf(stderr, "cards: %s\n", what);
	exit(1);
}

static struct cache *
open_cache(int nports, char **ports)
{
	struct cache_node nodes[CACHE_NODES_MAX];
	struct cache_conf conf = { .nodes = nodes, .nnodes = (size_t)nports, .nkeys = 1, .timeout_ms = 2000,
		.keys = { { "\1\1\1\1", "the key of the bench, of 32 byte" } } };
	struct err e = { 0 };

	for (int i = 0; i < nports; i++)
		nodes[i] = (struct cache_node){ .host = "127.0.0.1", .port = (uint16_t)atoi(ports[i]) };
	struct cache *c = cache_new(&conf, &e);
	if (c == NULL)
		fail(e.detail);
	return c;
}

static struct cache_name
name_of(char text[32], int user)
{
	snprintf(text, 32, "user %d", user);
	return (struct cache_name){ S("card"), S("organisation"), slice_of(text) };
}

static void *
fill_some(void *arg)
{
	const struct filling *f = arg;
	char *card = malloc(CARD), user[32];
	struct err e = { 0 };

	if (card == NULL)
		fail("no memory");
	rand_bytes(card, CARD);
	for (int i = f->from; i < f->to; i++) {
		struct cache_name name = name_of(user, i);
		if (cache_set(f->cache, &name, (struct slice){ card, CARD }, TTL, &e) < 0)
			fail(e.detail);
	}
	free(card);
	return NULL;
}

static void
fill(struct cache *c, int n)
{
	struct filling f[THREADS];
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		f[i] = (struct filling){ c, (int)((int64_t)n * i / THREADS), (int)((int64_t)n * (i + 1) / THREADS) };
		if (pthread_create(&threads[i], NULL, fill_some, &f[i]) != 0)
			fail("no thread");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static double
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint32_t
some(uint32_t below)
{
	uint32_t r;

	rand_bytes(&r, sizeof r);
	return r % below;
}

/* Microseconds per get. */
static double
get_cards(struct cache *c, struct arena *a, const struct names *names)
{
	double began = now_us();

	for (int i = 0; i < PER_ROUND; i++) {
		char user[32];
		struct cache_name name = name_of(user, names->users[i]);
		struct slice value;
		struct err e = { 0 };
		if (cache_get(c, a, &name, &value, &e) < 0)
			fail(e.detail);
		if (value.n != CARD)
			fail("a card is missing: more memory for memcached?");
		arena_reset(a);
	}
	return (now_us() - began) / PER_ROUND;
}

static double
get_plain(memcached_st *m, const char *keys, uint32_t nkeys)
{
	double began = now_us();

	for (int i = 0; i < PER_ROUND; i++) {
		size_t n;
		uint32_t flags;
		memcached_return_t rc;
		char *value = memcached_get(m, keys + (size_t)some(nkeys) * KEY, KEY, &n, &flags, &rc);
		if (value == NULL)
			fail(memcached_strerror(m, rc));
		free(value);
	}
	return (now_us() - began) / PER_ROUND;
}

/* Lines of KEY characters, put together. */
static char *
read_keys(const char *path, uint32_t *n)
{
	FILE *f = fopen(path, "re");
	char line[KEY + 2], *keys = NULL;

	*n = 0;
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		keys = realloc(keys, (size_t)(*n + 1) * KEY);
		if (keys == NULL)
			fail("no memory");
		memcpy(keys + (size_t)(*n)++ * KEY, line, KEY);
	}
	if (*n == 0)
		fail("no keys");
	fclose(f);
	return keys;
}

static void
get(struct cache *c, int n, const char *keys_file, const char *port)
{
	struct arena *a = arena_new(ARENA);
	memcached_st *m = memcached_create(NULL);
	uint32_t nkeys;
	char *keys = read_keys(keys_file, &nkeys);
	struct names names;

	memcached_server_add(m, "127.0.0.1", (in_port_t)atoi(port));
	memcached_behavior_set(m, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
	printf("[");
	for (int round = -1; round < ROUNDS; round++) {		/* the first one warms up */
		for (int i = 0; i < PER_ROUND; i++)
			names.users[i] = (int)some((uint32_t)n);
		/* the same after another each time: the machine's speed drifts */
		double first = get_cards(c, a, &names), plain = get_plain(m, keys, nkeys), again = get_cards(c, a, &names);
		plain = (plain + get_plain(m, keys, nkeys)) / 2;
		if (round >= 0)
			printf("%s{\"first\": %.3f, \"again\": %.3f, \"plain\": %.3f}", round > 0 ? ", " : "", first, again, plain);
	}
	printf("]\n");
	free(keys);
	memcached_free(m);
	arena_free(a);
}

int
main(int argc, char **argv)
{
	if (argc > 3 && strcmp(argv[1], "fill") == 0) {
		struct cache *c = open_cache(argc - 3, argv + 3);
		fill(c, atoi(argv[2]));
		cache_free(c);
		return 0;
	}
	if (argc > 4 && strcmp(argv[1], "get") == 0) {
		struct cache *c = open_cache(argc - 4, argv + 4);
		get(c, atoi(argv[2]), argv[3], argv[4]);
		cache_free(c);
		return 0;
	}
	fail("fill N PORT... or get N KEYS PORT...");
}
