/* Links, pages and answers over real memcached nodes. The clock of the cards stands; that of the nodes runs. */
#include "unit.h"

#include "cards.h"
#include "clock.h"
#include "memcached.h"
#include "value.h"

#include <pthread.h>
#include <stdatomic.h>

#define NOW 1700000000
#define NODES 3

struct world {
	struct memcached *nodes[NODES];
	struct cache *cache;
	struct cards *cards;
	struct arena *a;
	struct err e;
	struct slice token;
	struct cards_link *link;
	struct cards_page *page;
};

static const struct cards_user user = { .organisation = { "org", 3 }, .user = { " user\n", 6 } };
static const struct cards_order order = {
	.xml = { "<x/>", 4 }, .signed_info = { "<s/>", 4 }, .token = { "first", 5 }, .ordered = NOW, .expires = NOW + 600,
	.client = { "client", 6 }, .user = { "name", 4 },
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct cache_node nodes[NODES];
	struct cache_conf conf = { .nodes = nodes, .nnodes = NODES, .nkeys = 1, .timeout_ms = 150 };

	*state = w;
	w->a = arena_new(64 << 20);
	for (size_t i = 0; i < NODES; i++) {
		w->nodes[i] = memcached_start(MEMCACHED_UNIX);
		nodes[i] = (struct cache_node){ w->nodes[i]->host, w->nodes[i]->port, NULL, false };
	}
	w->cache = cache_new(&conf, &w->e);
	assert_non_null(w->cache);
	w->cards = cards_new(&(struct cards_conf){ .cache = w->cache }, &w->e);
	assert_non_null(w->cards);
	clock_set(NOW);
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	clock_set(0);
	cards_free(w->cards);
	cache_free(w->cache);
	for (size_t i = 0; i < NODES; i++)
		memcached_end(w->nodes[i]);
	arena_free(w->a);
	free(w);
	return 0;
}

static struct slice
ask(struct world *w)
{
	assert_ok(cards_link(w->cards, w->a, &user, &order, S("system"), 30, &w->token, &w->e), &w->e);
	return w->token;
}

static void
fill(struct cards_page *p, struct slice answer)
{
	*p = (struct cards_page){ .browser = S("browser"), .answer = answer, .until = NOW + 60, .most = NOW + 300 };
}

static void
a_link_leads_to_its_order(void **state)
{
	struct world *w = *state;

	assert_slice("first", ask(w));
	assert_ok(cards_link_find(w->cards, w->a, S("first"), &w->link, &w->e), &w->e);
	assert_slice("org", w->link->organisation);
	assert_slice("user", w->link->user);
	assert_slice("first", w->link->order);
	assert_slice("client", w->link->client);
	assert_slice("name", w->link->name);
	assert_slice("system", w->link->system);
	assert_int_equal(w->link->ordered, NOW);
	assert_int_equal(w->link->opens_until, NOW + 30);
	assert_int_equal(w->link->expires, NOW + 600);
	assert_err(ERR_LINK_UNKNOWN, cards_link_find(w->cards, w->a, S("second"), &w->link, &w->e), &w->e);
	assert_err(ERR_LINK_UNKNOWN, cards_link_find(w->cards, w->a, S(""), &w->link, &w->e), &w->e);
}

static void
its_time_begins_again_when_it_is_asked_for_and_ends_with_the_order(void **state)
{
	struct world *w = *state;

	ask(w);
	clock_set(NOW + 50);
	assert_slice("first", ask(w));
	assert_ok(cards_link_find(w->cards, w->a, S("first"), &w->link, &w->e), &w->e);
	assert_int_equal(w->link->opens_until, NOW + 80);
	clock_set(NOW + 590);
	ask(w);
	assert_ok(cards_link_find(w->cards, w->a, S("first"), &w->link, &w->e), &w->e);
	assert_int_equal(w->link->opens_until, NOW + 600);
	clock_set(NOW + 900);	/* a latecomer is told what it was */
	assert_ok(cards_link_find(w->cards, w->a, S("first"), &w->link, &w->e), &w->e);
	clock_set(NOW + 1200);
	assert_err(ERR_LINK_UNKNOWN, cards_link_find(w->cards, w->a, S("first"), &w->link, &w->e), &w->e);
}

static void
a_link_is_opened_once_and_another_follows(void **state)
{
	struct world *w = *state;
	struct cards_page p;

	ask(w);
	assert_ok(cards_page_find(w->cards, w->a, S("first"), &w->page, &w->e), &w->e);
	assert_null(w->page);
	fill(&p, S("answer"));
	assert_ok(cards_page_open(w->cards, w->a, S("first"), &p, NOW + 600, &w->e), &w->e);
	fill(&p, S("another"));
	assert_err(ERR_CONFLICT, cards_page_open(w->cards, w->a, S("first"), &p, NOW + 600, &w->e), &w->e);
	assert_ok(cards_page_find(w->cards, w->a, S("first"), &w->page, &w->e), &w->e);
	assert_slice("browser", w->page->browser);
	assert_slice("answer", w->page->answer);
	assert_int_equal(w->page->until, NOW + 60);
	assert_int_equal(w->page->most, NOW + 300);

	struct slice second = ask(w);
	assert_false(slice_is(second, "first"));
	assert_true(slice_eq(second, w->page->next));
	assert_true(slice_eq(second, ask(w)));
	assert_ok(cards_link_find(w->cards, w->a, second, &w->link, &w->e), &w->e);
	assert_slice("first", w->link->order);
	fill(&p, S("third"));
	assert_ok(cards_page_open(w->cards, w->a, second, &p, NOW + 600, &w->e), &w->e);
	assert_false(slice_eq(second, ask(w)));
}

static void
whoever_opens_links_without_end_gets_no_more_of_them(void **state)
{
	struct world *w = *state;
	struct cards_page p;
	int opened = 0;

	for (; opened < 200; opened++) {
		fill(&p, S("answer"));
		if (cards_page_open(w->cards, w->a, ask(w), &p, NOW + 600, &w->e) < 0)
			break;
	}
	assert_int_equal(opened, 65);
	assert_int_equal(w->e.kind, ERR_CONFLICT);
}

static void
an_answer_is_taken_once(void **state)
{
	struct world *w = *state;
	struct cards_page p;
	enum cards_taken how;

	fill(&p, S("answer"));
	assert_ok(cards_answer_taken(w->cards, w->a, &p, &how, &w->e), &w->e);
	assert_int_equal(how, CARDS_NOT_TAKEN);
	assert_ok(cards_answer_take(w->cards, &p, CARDS_ANSWERED, NOW + 600, &w->e), &w->e);
	assert_err(ERR_CONFLICT, cards_answer_take(w->cards, &p, CARDS_CANCELLED, NOW + 600, &w->e), &w->e);
	assert_ok(cards_answer_taken(w->cards, w->a, &p, &how, &w->e), &w->e);
	assert_int_equal(how, CARDS_ANSWERED);
	fill(&p, S("next"));
	assert_ok(cards_answer_take(w->cards, &p, CARDS_CANCELLED, NOW + 600, &w->e), &w->e);
	assert_ok(cards_answer_taken(w->cards, w->a, &p, &how, &w->e), &w->e);
	assert_int_equal(how, CARDS_CANCELLED);
}

static void
what_is_put_off_is_of_one_answer_alone(void **state)
{
	struct world *w = *state;
	struct cards_page p;

	ask(w);
	fill(&p, S("answer"));
	assert_ok(cards_page_open(w->cards, w->a, S("first"), &p, NOW + 600, &w->e), &w->e);
	p.until = NOW + 200;
	assert_ok(cards_page_put_off(w->cards, w->a, &p, &w->e), &w->e);
	assert_ok(cards_page_find(w->cards, w->a, S("first"), &w->page, &w->e), &w->e);
	assert_int_equal(w->page->until, NOW + 200);

	struct slice next = w->page->next;
	fill(w->page, S("again"));
	w->page->next = next;
	assert_ok(cards_page_renew(w->cards, w->a, S("first"), w->page, NOW + 600, &w->e), &w->e);
	assert_ok(cards_page_find(w->cards, w->a, S("first"), &w->page, &w->e), &w->e);
	assert_slice("again", w->page->answer);
	assert_int_equal(w->page->until, NOW + 60);
	assert_true(slice_eq(next, ask(w)));
}

static void
withdrawing_takes_that_order_and_no_other(void **state)
{
	struct world *w = *state;
	struct cards_order *out;

	assert_ok(cards_order(w->cards, w->a, &user, &order, 600, &out, &w->e), &w->e);
	assert_ok(cards_withdraw(w->cards, w->a, &user, S("an older one"), &w->e), &w->e);
	assert_ok(cards_pending(w->cards, w->a, &user, &out, &w->e), &w->e);
	assert_ok(cards_withdraw(w->cards, w->a, &user, order.token, &w->e), &w->e);
	assert_err(ERR_NO_CARD, cards_pending(w->cards, w->a, &user, &out, &w->e), &w->e);
	assert_ok(cards_withdraw(w->cards, w->a, &user, order.token, &w->e), &w->e);
}

static void
without_a_node_nothing_is_opened(void **state)
{
	struct world *w = *state;
	struct cards_page p;

	ask(w);
	for (size_t i = 0; i < NODES; i++)
		memcached_kill(w->nodes[i]);
	fill(&p, S("answer"));
	assert_err(ERR_CACHE, cards_page_open(w->cards, w->a, S("first"), &p, NOW + 600, &w->e), &w->e);
	assert_err(ERR_CACHE, cards_link_find(w->cards, w->a, S("first"), &w->link, &w->e), &w->e);
	assert_err(ERR_CACHE, cards_link(w->cards, w->a, &user, &order, S("system"), 30, &w->token, &w->e), &w->e);
	assert_err(ERR_CACHE, cards_answer_take(w->cards, &p, CARDS_ANSWERED, NOW + 600, &w->e), &w->e);
	for (size_t i = 0; i < NODES; i++)
		memcached_restart(w->nodes[i]);
}

static void
wait_until_up(struct world *w)
{
	struct cache_node_state states[NODES];
	bool up = false;

	for (int i = 0; i < 2000 && !up; i++) {
		poll(NULL, 0, 10);
		cache_state(w->cache, states, NODES);
		up = states[0].up && states[1].up && states[2].up;
	}
	assert_true(up);
}

static void
a_claim_survives_the_loss_of_a_node(void **state)
{
	struct world *w = *state;
	struct cards_page p;

	for (size_t i = 0; i < NODES; i++) {
		struct slice token = arena_printf(w->a, "link %zu", i);
		fill(&p, S("answer"));
		assert_ok(cards_page_open(w->cards, w->a, token, &p, NOW + 600, &w->e), &w->e);
		memcached_kill(w->nodes[i]);
		assert_err(ERR_CONFLICT, cards_page_open(w->cards, w->a, token, &p, NOW + 600, &w->e), &w->e);
		memcached_restart(w->nodes[i]);
		wait_until_up(w);
		assert_err(ERR_CONFLICT, cards_page_open(w->cards, w->a, token, &p, NOW + 600, &w->e), &w->e);
	}
}

static void
values_that_are_cut_or_of_another_kind_are_none(void **state)
{
	struct arena *a = ((struct world *)*state)->a;
	const struct cards_link link = { .organisation = S("o"), .user = S("u"), .order = S("t"), .ordered = 1, .opens_until = 2, .expires = 3 };
	const struct cards_page page = { .browser = S("b"), .answer = S("a"), .next = S("n"), .until = 1, .most = 2 };
	struct slice bytes[] = { value_of_link(a, &link, 2), value_of_page(a, &page, 2) };
	struct cards_link got;
	struct cards_page shown;

	assert_true(value_read_link(bytes[0], &got) && value_read_page(bytes[1], &shown));
	assert_null(got.client.p);
	assert_int_equal(got.expires, 3);
	assert_slice("n", shown.next);
	assert_false(value_read_link(bytes[1], &got) || value_read_page(bytes[0], &shown));
	for (size_t n = 0; n < bytes[0].n; n++)
		assert_false(value_read_link((struct slice){ bytes[0].p, n }, &got));
	for (size_t n = 0; n < bytes[1].n; n++)
		assert_false(value_read_page((struct slice){ bytes[1].p, n }, &shown));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_link_leads_to_its_order),
		T(its_time_begins_again_when_it_is_asked_for_and_ends_with_the_order),
		T(a_link_is_opened_once_and_another_follows),
		T(whoever_opens_links_without_end_gets_no_more_of_them),
		T(an_answer_is_taken_once),
		T(what_is_put_off_is_of_one_answer_alone),
		T(withdrawing_takes_that_order_and_no_other),
		T(without_a_node_nothing_is_opened),
		T(a_claim_survives_the_loss_of_a_node),
		T(values_that_are_cut_or_of_another_kind_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
