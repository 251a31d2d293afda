/* Cards over real memcached nodes and a real PostgreSQL. The clock of the cards stands; that of the nodes runs, which
 * is no matter since nothing here lives shorter than the test takes. */
#include "unit.h"

#include "cards.h"
#include "clock.h"
#include "memcached.h"
#include "pg.h"

#include <pthread.h>
#include <stdatomic.h>

#define NOW 1700000000
#define HOUR 3600
#define NODES 3

struct world {
	struct memcached *nodes[NODES];
	struct test_pg *pg;
	struct db *db;
	struct db_conf db_conf;
	char *list_file;	/* NULL: none */
	struct cache *cache;
	struct cards *cards;
	struct arena *a;
	struct err e;
	struct card *card;
	struct cards_order *order;
	struct slice id;
};

static const struct cards_user user = { .organisation = { "org", 3 }, .user = { "user", 4 } };

static struct cache *
open_cache(struct world *w)
{
	struct cache_node nodes[NODES];
	struct cache_conf conf = { .nodes = nodes, .nnodes = NODES, .nkeys = 1, .timeout_ms = 150 };

	for (size_t i = 0; i < NODES; i++)
		nodes[i] = (struct cache_node){ w->nodes[i]->host, w->nodes[i]->port, NULL, false };
	struct cache *c = cache_new(&conf, &w->e);
	assert_non_null(c);
	return c;
}

static struct cards *
open_cards(struct world *w, struct cache *cache, struct pki_revoked *revoked)
{
	struct cards_conf conf = { cache, w->db, revoked, w->db == NULL ? NULL : &w->db_conf, w->list_file };
	struct cards *c = cards_new(&conf, &w->e);

	assert_non_null(c);
	return c;
}

static int
without_database(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	*state = w;
	w->a = arena_new(64 << 20);
	for (size_t i = 0; i < NODES; i++)
		w->nodes[i] = memcached_start(MEMCACHED_UNIX);
	w->cache = open_cache(w);
	w->cards = open_cards(w, w->cache, NULL);
	clock_set(NOW);
	return 0;
}

/* One server for all tests of this program. */
static struct test_pg *
database(void)
{
	static struct test_pg *pg;

	if (pg == NULL) {
		pg = pg_start();
		pg_file(pg, "schema/001-config.sql");
	}
	if (pg->pid == 0)
		pg_restart(pg);
	pg_exec(pg, "DELETE FROM revoked_card");
	return pg;
}

static int
with_database(void **state)
{
	without_database(state);
	struct world *w = *state;

	clock_set(0);		/* the database's clock runs */
	cards_free(w->cards);
	w->pg = database();
	w->db_conf = (struct db_conf){ .conninfo = pg_conninfo(w->pg), .connections = 4, .connect_ms = 1000,
		.statement_ms = 2000, .wait_ms = 500 };
	w->db = db_new(&w->db_conf);
	w->cards = open_cards(w, w->cache, NULL);
	return 0;
}

static int
end(void **state)
{
	struct world *w = *state;

	cards_free(w->cards);
	cache_free(w->cache);
	db_free(w->db);
	for (size_t i = 0; i < NODES; i++)
		memcached_end(w->nodes[i]);
	arena_free(w->a);
	free(w);
	clock_set(0);
	return 0;
}

static struct card
card_of(const char *id)
{
	int64_t now = clock_now();

	return (struct card){ .xml = S("<saml:Assertion/>"), .id = slice_of(id), .system = S("EPJ"),
		.not_before = now - 300, .not_after = now + 24 * HOUR, .kept = now };
}

static void
keep(struct world *w, const char *id)
{
	struct card card = card_of(id);

	assert_ok(cards_keep(w->cards, w->a, &user, &card, &w->e), &w->e);
}

static struct cards_order
order_of(const char *token)
{
	return (struct cards_order){ .xml = S("<saml:Assertion/>"), .signed_info = S("<ds:SignedInfo/>"),
		.token = slice_of(token), .ordered = clock_now(), .expires = clock_now() + 600,
		.client = S("client") };
}

static void
order(struct world *w, const char *token)
{
	struct cards_order wanted = order_of(token);

	assert_ok(cards_order(w->cards, w->a, &user, &wanted, 600, &w->order, &w->e), &w->e);
}

static int
get(struct world *w)
{
	return cards_get(w->cards, w->a, &user, 60, 0, &w->card, &w->e);
}

static int
pending(struct world *w)
{
	return cards_pending(w->cards, w->a, &user, &w->order, &w->e);
}

static int
forget(struct world *w)
{
	return cards_forget(w->cards, w->a, &user, &w->id, &w->e);
}

static void
wait_until(struct world *w, size_t node, bool up)
{
	struct cache_node_state s[NODES];

	for (int i = 0; i < 4000; i++) {
		cache_state(w->cache, s, NODES);
		if (s[node].up == up)
			return;
		usleep(2000);
	}
	fail_msg("node %zu does not become %s", node, up ? "up" : "down");
}

/* ---- keep, get, forget */

static void
a_card_that_was_kept_comes_back_whole(void **state)
{
	struct world *w = *state;
	struct card card = card_of("id-1");

	assert_err(ERR_NO_CARD, get(w), &w->e);
	card.signer_known = true;
	memset(card.signer.id, 7, sizeof card.signer.id);
	assert_ok(cards_keep(w->cards, w->a, &user, &card, &w->e), &w->e);
	assert_ok(get(w), &w->e);
	assert_slice("<saml:Assertion/>", w->card->xml);
	assert_slice("id-1", w->card->id);
	assert_slice("EPJ", w->card->system);
	assert_int_equal(w->card->not_before, card.not_before);
	assert_int_equal(w->card->not_after, card.not_after);
	assert_int_equal(w->card->kept, card.kept);
	assert_true(w->card->signer_known);
	assert_memory_equal(&w->card->signer, &card.signer, sizeof card.signer);
}

static void
a_card_is_its_users_alone(void **state)
{
	struct world *w = *state;
	static const struct { const char *organisation, *user; enum err_kind kind; } rows[] = {
		{ "org", "user", ERR_NONE }, { "org", " user\n", ERR_NONE },	/* trimmed */
		{ "org", "User", ERR_NO_CARD }, { "orgu", "ser", ERR_NO_CARD }, { "org2", "user", ERR_NO_CARD },
		{ "org", "user2", ERR_NO_CARD }, { "org", "us er", ERR_NO_CARD },
		{ "", "user", ERR_INTERNAL }, { "org", "", ERR_INTERNAL }, { "org", " ", ERR_INTERNAL },
		{ NULL, "user", ERR_INTERNAL }, { "org", NULL, ERR_INTERNAL },
	};

	keep(w, "id-1");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct cards_user u = { .organisation = slice_of(rows[i].organisation), .user = slice_of(rows[i].user) };
		err_clear(&w->e);
		cards_get(w->cards, w->a, &u, 0, 0, &w->card, &w->e);
		if (w->e.kind != rows[i].kind)
			fail_msg("row %zu: %s", i, err_name(w->e.kind));
	}
}

static void
age_is_judged_at_every_use(void **state)
{
	struct world *w = *state;
	static const struct { int64_t after, margin, max_age; enum err_kind kind; } rows[] = {
		{ 0, 0, 0, ERR_NONE },
		{ 24 * HOUR - 1, 0, 0, ERR_NONE },
		{ 24 * HOUR, 0, 0, ERR_NO_CARD },	/* the cache has dropped it */
		{ 24 * HOUR - 61, 60, 0, ERR_NONE },
		{ 24 * HOUR - 60, 60, 0, ERR_CARD_EXPIRED },
		{ 24 * HOUR - 1, 60, 0, ERR_CARD_EXPIRED },
		{ 600 - 300, 0, 600, ERR_NONE },	/* it began 300 s before it was kept */
		{ 601 - 300, 0, 600, ERR_CARD_EXPIRED },
		{ 601 - 300, 0, 601, ERR_NONE },
	};

	keep(w, "id-1");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		clock_set(NOW + rows[i].after);
		err_clear(&w->e);
		cards_get(w->cards, w->a, &user, rows[i].margin, rows[i].max_age, &w->card, &w->e);
		if (w->e.kind != rows[i].kind)
			fail_msg("row %zu: %s", i, err_name(w->e.kind));
	}
	struct card ended = card_of("id-2");
	clock_set(ended.not_after);
	assert_err(ERR_CARD_EXPIRED, cards_keep(w->cards, w->a, &user, &ended, &w->e), &w->e);
}

static void
the_newest_card_is_the_one(void **state)
{
	struct world *w = *state;

	keep(w, "id-1");
	keep(w, "id-2");
	assert_ok(get(w), &w->e);
	assert_slice("id-2", w->card->id);
}

static void
logout_removes_card_and_order_and_a_new_card_works_at_once(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 2; i++) {
		assert_ok(forget(w), &w->e);	/* also without a card */
		assert_null(w->id.p);
	}
	keep(w, "id-1");
	order(w, "token-1");
	assert_ok(forget(w), &w->e);
	assert_slice("id-1", w->id);
	assert_err(ERR_NO_CARD, get(w), &w->e);
	assert_err(ERR_NO_CARD, pending(w), &w->e);
	keep(w, "id-2");
	assert_ok(get(w), &w->e);
	assert_slice("id-2", w->card->id);
	order(w, "token-2");
	assert_ok(pending(w), &w->e);
	assert_slice("token-2", w->order->token);
}

static int
check_own(struct world *w, const char *id)
{
	return cards_check_own(w->cards, &user, slice_of(id), 0, 0, 0, 0, &w->e);
}

static void
logout_is_of_the_cards_before_too_which_clients_may_have_kept(void **state)
{
	struct world *w = *state;

	keep(w, "id-1");
	keep(w, "id-2");
	keep(w, "id-2");	/* the same again */
	keep(w, "id-3");
	assert_ok(check_own(w, "id-1"), &w->e);
	assert_ok(forget(w), &w->e);
	assert_slice("id-3", w->id);
	assert_err(ERR_CARD_REVOKED, check_own(w, "id-1"), &w->e);
	assert_err(ERR_CARD_REVOKED, check_own(w, "id-2"), &w->e);
	assert_err(ERR_CARD_REVOKED, check_own(w, "id-3"), &w->e);
	assert_ok(check_own(w, "id-4"), &w->e);
	keep(w, "id-4");
	assert_ok(forget(w), &w->e);
	assert_err(ERR_CARD_REVOKED, check_own(w, "id-4"), &w->e);
}

static void
of_very_many_cards_before_the_last_are_known(void **state)
{
	struct world *w = *state;
	char id[20];

	for (int i = 0; i < 40; i++) {
		snprintf(id, sizeof id, "many-%d", i);
		keep(w, id);
	}
	assert_ok(forget(w), &w->e);
	for (int i = 40 - 1 - 20; i < 40; i++) {
		snprintf(id, sizeof id, "many-%d", i);
		assert_err(ERR_CARD_REVOKED, check_own(w, id), &w->e);
	}
}

static void
a_name_and_a_session_are_two_users_whatever_the_text(void **state)
{
	struct world *w = *state;
	struct cards_user session = user;
	struct card card = card_of("id-session");

	session.session = true;
	keep(w, "id-1");
	order(w, "token-1");
	assert_err(ERR_NO_CARD, cards_get(w->cards, w->a, &session, 60, 0, &w->card, &w->e), &w->e);
	assert_err(ERR_NO_CARD, cards_pending(w->cards, w->a, &session, &w->order, &w->e), &w->e);
	assert_ok(cards_keep(w->cards, w->a, &session, &card, &w->e), &w->e);
	assert_ok(get(w), &w->e);
	assert_slice("id-1", w->card->id);
	assert_ok(cards_forget(w->cards, w->a, &session, &w->id, &w->e), &w->e);
	assert_slice("id-session", w->id);
	assert_ok(get(w), &w->e);
	assert_ok(pending(w), &w->e);
}

static void
logout_without_a_database_is_uncertain_only_while_a_node_is_away(void **state)
{
	struct world *w = *state;

	keep(w, "id-1");
	memcached_freeze(w->nodes[1]);
	assert_err(ERR_LOGOUT_UNCERTAIN, forget(w), &w->e);
	assert_err(ERR_LOGOUT_UNCERTAIN, forget(w), &w->e);
	memcached_thaw(w->nodes[1]);
	wait_until(w, 1, true);
	assert_ok(forget(w), &w->e);
}

static void
without_nodes_every_call_says_so(void **state)
{
	struct world *w = *state;
	struct card card = card_of("id-1");
	struct cards_order wanted = order_of("t");

	keep(w, "id-1");
	for (size_t i = 0; i < NODES; i++)
		memcached_kill(w->nodes[i]);
	assert_err(ERR_CACHE, get(w), &w->e);
	assert_err(ERR_CACHE, pending(w), &w->e);
	assert_err(ERR_CACHE, cards_keep(w->cards, w->a, &user, &card, &w->e), &w->e);
	assert_err(ERR_CACHE, cards_order(w->cards, w->a, &user, &wanted, 60, &w->order, &w->e), &w->e);
	assert_err(ERR_LOGOUT_UNCERTAIN, forget(w), &w->e);
}

/* ---- orders */

static void
an_order_that_awaits_is_given_to_the_second(void **state)
{
	struct world *w = *state;

	assert_err(ERR_NO_CARD, pending(w), &w->e);
	order(w, "first");
	assert_slice("first", w->order->token);
	order(w, "second");
	assert_slice("first", w->order->token);
	assert_slice("<saml:Assertion/>", w->order->xml);
	assert_slice("<ds:SignedInfo/>", w->order->signed_info);
	assert_slice("client", w->order->client);
	assert_int_equal(w->order->expires, NOW + 600);
	assert_ok(pending(w), &w->e);
	assert_slice("first", w->order->token);

	clock_set(NOW + 600);
	assert_err(ERR_NO_CARD, pending(w), &w->e);
	order(w, "third");
	assert_slice("third", w->order->token);

	keep(w, "id-1");	/* the card ends the order */
	assert_err(ERR_NO_CARD, pending(w), &w->e);
}

/* The cache is told to keep it longer than it counts. */
static void
an_order_counts_no_longer_than_it_says(void **state)
{
	struct world *w = *state;
	struct cards_order wanted = order_of("t");

	wanted.expires = NOW + 5;
	assert_ok(cards_order(w->cards, w->a, &user, &wanted, 600, &w->order, &w->e), &w->e);
	clock_set(NOW + 4);
	assert_ok(pending(w), &w->e);
	clock_set(NOW + 5);
	assert_err(ERR_NO_CARD, pending(w), &w->e);
	assert_err(ERR_INVALID, cards_order(w->cards, w->a, &user, &wanted, 600, &w->order, &w->e), &w->e);
}

struct orderer { struct world *w; int round, i; pthread_barrier_t *start; char got[32]; };

static void *
order_in_thread(void *arg)
{
	struct orderer *t = arg;
	struct arena *a = arena_new(1 << 20);
	struct cards_user u = { .organisation = S("org"), .user = arena_printf(a, "round %d", t->round) };
	struct cards_order wanted = order_of("x"), *out;
	struct err e = { 0 };

	wanted.token = arena_printf(a, "token %d", t->i);
	pthread_barrier_wait(t->start);
	if (cards_order(t->w->cards, a, &u, &wanted, 60, &out, &e) == 0)
		snprintf(t->got, sizeof t->got, "%.*s", SLICE_FMT(out->token));
	arena_free(a);
	return NULL;
}

static void
orders_at_once_get_the_same(void **state)
{
	struct world *w = *state;

	for (int round = 0; round < 50; round++) {
		struct orderer t[4];
		pthread_t threads[4];
		pthread_barrier_t start;
		pthread_barrier_init(&start, NULL, 4);
		for (int i = 0; i < 4; i++) {
			t[i] = (struct orderer){ w, round, i, &start, "" };
			assert_int_equal(pthread_create(&threads[i], NULL, order_in_thread, &t[i]), 0);
		}
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&start);
		for (int i = 0; i < 4; i++)
			if (t[i].got[0] == '\0' || strcmp(t[i].got, t[0].got) != 0)
				fail_msg("\"%s\" and \"%s\"", t[0].got, t[i].got);
	}
}

/* ---- the list in the database */

static void
expect_rows(struct world *w, const char *where, const char *count)
{
	char sql[256], got[32];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM revoked_card WHERE %s", where);
	pg_value(w->pg, sql, got, sizeof got);
	assert_string_equal(got, count);
}

/* Until the card is refused (or what else is wanted), since NOTIFY takes a moment. */
static void
expect_soon(enum err_kind wanted, struct world *w, struct cards *cards)
{
	for (int i = 0; i < 1000; i++) {
		err_clear(&w->e);
		cards_get(cards, w->a, &user, 0, 0, &w->card, &w->e);
		if (w->e.kind == wanted)
			return;
		usleep(2000);
	}
	fail_msg("%s, not %s", err_name(w->e.kind), err_name(wanted));
}

static void
logout_is_certain_by_the_database_when_a_node_is_away(void **state)
{
	struct world *w = *state;
	struct cache *other_cache = open_cache(w);
	struct cards *other = open_cards(w, other_cache, NULL);

	for (size_t node = 0; node < NODES; node++) {
		char *old = arena_cstr(w->a, arena_printf(w->a, "old-%zu", node));
		char *new = arena_cstr(w->a, arena_printf(w->a, "new-%zu", node));
		keep(w, old);
		order(w, "token");
		memcached_freeze(w->nodes[node]);
		assert_ok(forget(w), &w->e);
		assert_slice(old, w->id);
		memcached_thaw(w->nodes[node]);
		wait_until(w, node, true);
		assert_err(ERR_NO_CARD, get(w), &w->e);
		assert_err(ERR_NO_CARD, pending(w), &w->e);
		keep(w, new);
		assert_ok(get(w), &w->e);
		assert_slice(new, w->card->id);
		expect_soon(ERR_NONE, w, other);
		assert_slice(new, w->card->id);
	}
	expect_rows(w, "card_id LIKE 'old-%' AND expires > now() + interval '23 hours'", "3");
	expect_rows(w, "card_id LIKE 'user:%'", "1");
	cards_free(other);
	cache_free(other_cache);
}

static void
restart_others(struct world *w, size_t but)
{
	for (size_t i = 0; i < NODES; i++)
		if (i != but) {
			memcached_kill(w->nodes[i]);
			memcached_restart(w->nodes[i]);
		}
	for (size_t i = 0; i < NODES; i++)
		if (i != but)
			wait_until(w, i, true);
}

/* The worst: all nodes that answer have nothing, the one that was away holds the only copies, and the others lose the
 * mark of the deletion before it comes back. */
static void
a_card_that_logout_could_not_see_is_refused(void **state)
{
	struct world *w = *state;
	struct cache *other_cache = open_cache(w);
	struct cards *other = open_cards(w, other_cache, NULL);
	size_t alone = 0;

	keep(w, "unseen");
	order(w, "token");
	while (memcached_items(w->nodes[alone]) != 2)	/* four copies on three nodes: one has both */
		alone++;
	restart_others(w, alone);
	memcached_freeze(w->nodes[alone]);
	assert_ok(forget(w), &w->e);
	assert_null(w->id.p);
	restart_others(w, alone);
	memcached_thaw(w->nodes[alone]);
	wait_until(w, alone, true);
	assert_err(ERR_CARD_REVOKED, get(w), &w->e);
	assert_err(ERR_NO_CARD, pending(w), &w->e);
	expect_soon(ERR_CARD_REVOKED, w, other);
	keep(w, "new");
	assert_ok(get(w), &w->e);
	assert_slice("new", w->card->id);
	expect_soon(ERR_NONE, w, other);
	assert_slice("new", w->card->id);
	order(w, "new");
	assert_ok(pending(w), &w->e);
	assert_slice("new", w->order->token);
	cards_free(other);
	cache_free(other_cache);
}

static void
a_revoked_id_is_refused_by_every_process_and_after_a_restart(void **state)
{
	struct world *w = *state;

	keep(w, "id-1");
	assert_ok(get(w), &w->e);
	pg_exec(w->pg, "INSERT INTO revoked_card (card_id, expires) VALUES ('id-1', now() + interval '1 hour')");
	pg_exec(w->pg, "NOTIFY sosigw_revoked, 'id-1'");
	expect_soon(ERR_CARD_REVOKED, w, w->cards);

	struct cards *other = open_cards(w, w->cache, NULL);	/* known from the first moment */
	assert_err(ERR_CARD_REVOKED, cards_get(other, w->a, &user, 0, 0, &w->card, &w->e), &w->e);
	cards_free(other);

	keep(w, "id-2");
	assert_ok(get(w), &w->e);
}

/* Of the user's card, past the library: the only key whose value is more than a mark of deletion. */
static const char *
card_key(struct world *w, size_t node)
{
	char *keys[4];

	for (size_t n = memcached_keys(w->nodes[node], w->a, keys, 4); n > 0; n--)
		if (memcached_read(w->nodes[node], w->a, keys[n - 1]).n > 60)
			return keys[n - 1];
	return NULL;
}

/* Another process took two nodes for dead and put the new card elsewhere. */
static void
an_old_card_does_not_hide_the_new_one(void **state)
{
	struct world *w = *state;
	struct slice old = { NULL, 0 }, new = { NULL, 0 };
	const char *key = NULL;

	keep(w, "old");
	assert_ok(get(w), &w->e);
	for (size_t i = 0; i < NODES && key == NULL; i++)
		if ((key = card_key(w, i)) != NULL)
			old = memcached_read(w->nodes[i], w->a, key);
	keep(w, "new");
	for (size_t i = 0; i < NODES && new.p == NULL; i++)
		new = memcached_read(w->nodes[i], w->a, key);
	for (size_t i = 0; i < NODES; i++)
		if (memcached_read(w->nodes[i], w->a, key).p != NULL)
			memcached_write(w->nodes[i], w->a, key, old);
		else
			memcached_write(w->nodes[i], w->a, key, new);
	assert_ok(get(w), &w->e);
	assert_slice("old", w->card->id);	/* still good */
	pg_exec(w->pg, "INSERT INTO revoked_card (card_id, expires) VALUES ('old', now() + interval '1 hour');"
	    "NOTIFY sosigw_revoked, 'old'");
	for (int i = 0; i < 1000 && !slice_is(w->card->id, "new"); i++) {
		assert_ok(get(w), &w->e);	/* never a refusal in between */
		usleep(2000);
	}
	assert_slice("new", w->card->id);
}

static void
what_was_missed_while_the_database_was_away_is_read_after(void **state)
{
	struct world *w = *state;

	keep(w, "id-1");
	keep(w, "id-1");
	pg_kill(w->pg);
	assert_ok(get(w), &w->e);
	assert_ok(forget(w), &w->e);		/* every node answers: certain without it */
	memcached_freeze(w->nodes[0]);
	assert_err(ERR_LOGOUT_UNCERTAIN, forget(w), &w->e);
	memcached_thaw(w->nodes[0]);
	wait_until(w, 0, true);
	keep(w, "id-2");
	pg_restart(w->pg);
	pg_exec(w->pg, "INSERT INTO revoked_card (card_id, expires) VALUES ('id-2', now() + interval '1 hour')");
	for (int i = 0; i < 10; i++) {		/* the listener comes back with a growing pause */
		err_clear(&w->e);
		get(w);
		if (w->e.kind == ERR_CARD_REVOKED)
			break;
		usleep(1000 * 1000);
	}
	assert_int_equal(w->e.kind, ERR_CARD_REVOKED);
}

static void
a_long_list_is_read_in_pages(void **state)
{
	struct world *w = *state;

	keep(w, "id-11999");
	pg_exec(w->pg, "INSERT INTO revoked_card (card_id, expires) SELECT 'id-' || i, now() + interval '1 hour' "
	    "FROM generate_series(1, 12000) i");	/* all of one moment */
	struct cards *other = open_cards(w, w->cache, NULL);
	assert_err(ERR_CARD_REVOKED, cards_get(other, w->a, &user, 0, 0, &w->card, &w->e), &w->e);
	cards_free(other);
}

/* ---- the signer's certificate */

static X509 *
certificate(long serial)
{
	X509 *cert = X509_new();

	X509_NAME_add_entry_by_txt(X509_get_issuer_name(cert), "CN", MBSTRING_UTF8,
	    (const unsigned char *)"Test CA", -1, -1, 0);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	return cert;
}

/* A list that names serial 1. */
static X509_CRL *
list(void)
{
	X509_CRL *crl = X509_CRL_new();
	X509 *cert = certificate(1);
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_TIME *t = ASN1_TIME_set(NULL, time(NULL));

	X509_CRL_set_issuer_name(crl, X509_get_issuer_name(cert));
	X509_CRL_set1_lastUpdate(crl, t);
	X509_CRL_set1_nextUpdate(crl, t);
	X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert));
	X509_REVOKED_set_revocationDate(entry, t);
	X509_CRL_add0_revoked(crl, entry);
	ASN1_TIME_free(t);
	X509_free(cert);
	return crl;
}

static void
a_card_is_refused_when_its_signers_certificate_is_revoked(void **state)
{
	struct world *w = *state;
	char *path = arena_cstr(w->a, arena_printf(w->a, "%s/revoked", w->nodes[0]->dir));
	struct pki_revoked *revoked = pki_revoked_open(path);
	struct cards *cards = open_cards(w, w->cache, revoked);
	X509_CRL *crl = list();

	for (long serial = 1; serial <= 2; serial++) {
		struct card card = card_of("id");
		X509 *cert = certificate(serial);
		card.signer_known = true;
		pki_signer(cert, NULL, &card.signer);
		X509_free(cert);
		assert_ok(cards_keep(cards, w->a, &user, &card, &w->e), &w->e);
		assert_ok(cards_get(cards, w->a, &user, 0, 0, &w->card, &w->e), &w->e);

		struct pki_revoked_writer *writer = pki_revoked_writer_new(path);
		assert_non_null(writer);
		if (serial == 1)
			assert_ok(pki_revoked_add(writer, crl, &w->e), &w->e);
		assert_ok(pki_revoked_finish(writer, &w->e), &w->e);
		expect_soon(serial == 1 ? ERR_CARD_REVOKED : ERR_NONE, w, cards);
	}
	X509_CRL_free(crl);
	cards_free(cards);
	pki_revoked_close(revoked);
	unlink(path);
}

static void
a_card_is_refused_when_the_ca_of_its_signer_is_revoked(void **state)
{
	struct world *w = *state;
	char *path = arena_cstr(w->a, arena_printf(w->a, "%s/revoked", w->nodes[0]->dir));
	struct pki_revoked *revoked = pki_revoked_open(path);
	struct cards *cards = open_cards(w, w->cache, revoked);
	struct pki_revoked_writer *writer = pki_revoked_writer_new(path);
	struct card card = card_of("id");
	X509_CRL *crl = list();
	X509 *cert = certificate(2), *ca = certificate(1);

	/* the list is of the root, whose name is "Test CA" here, and names the CA */
	card.signer_known = true;
	X509_NAME_add_entry_by_txt(X509_get_issuer_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)"Issuing CA", -1, -1, 0);
	pki_signer(cert, ca, &card.signer);
	assert_ok(cards_keep(cards, w->a, &user, &card, &w->e), &w->e);
	assert_ok(cards_get(cards, w->a, &user, 0, 0, &w->card, &w->e), &w->e);
	assert_non_null(writer);
	assert_ok(pki_revoked_add(writer, crl, &w->e), &w->e);
	assert_ok(pki_revoked_finish(writer, &w->e), &w->e);
	expect_soon(ERR_CARD_REVOKED, w, cards);
	X509_free(cert);
	X509_free(ca);
	X509_CRL_free(crl);
	cards_free(cards);
	pki_revoked_close(revoked);
	unlink(path);
}

int
main(void)
{
#define T(f, setup) cmocka_unit_test_setup_teardown(f, setup, end)
	const struct CMUnitTest tests[] = {
		T(a_card_that_was_kept_comes_back_whole, without_database),
		T(a_card_is_its_users_alone, without_database),
		T(age_is_judged_at_every_use, without_database),
		T(the_newest_card_is_the_one, without_database),
		T(logout_removes_card_and_order_and_a_new_card_works_at_once, without_database),
		T(logout_is_of_the_cards_before_too_which_clients_may_have_kept, without_database),
		T(of_very_many_cards_before_the_last_are_known, without_database),
		T(a_name_and_a_session_are_two_users_whatever_the_text, without_database),
		T(logout_removes_card_and_order_and_a_new_card_works_at_once, with_database),
		T(logout_is_of_the_cards_before_too_which_clients_may_have_kept, with_database),
		T(a_name_and_a_session_are_two_users_whatever_the_text, with_database),
		T(logout_without_a_database_is_uncertain_only_while_a_node_is_away, without_database),
		T(without_nodes_every_call_says_so, without_database),
		T(an_order_that_awaits_is_given_to_the_second, without_database),
		T(an_order_counts_no_longer_than_it_says, without_database),
		T(orders_at_once_get_the_same, without_database),
		T(logout_is_certain_by_the_database_when_a_node_is_away, with_database),
		T(a_card_that_logout_could_not_see_is_refused, with_database),
		T(a_revoked_id_is_refused_by_every_process_and_after_a_restart, with_database),
		T(an_old_card_does_not_hide_the_new_one, with_database),
		T(what_was_missed_while_the_database_was_away_is_read_after, with_database),
		T(a_long_list_is_read_in_pages, with_database),
		T(a_card_is_refused_when_its_signers_certificate_is_revoked, without_database),
		T(a_card_is_refused_when_the_ca_of_its_signer_is_revoked, without_database),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
