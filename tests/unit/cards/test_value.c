#include "unit.h"

#include "formats.h"
#include "revoked.h"
#include "value.h"

#include "rand.h"

static struct arena *a;

static int
setup(void **state)
{
	(void)state;
	a = arena_new(64 << 20);
	return a == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(a);
	return 0;
}

static const struct card a_card = {
	.xml = { "<saml:Assertion/>", 17 }, .id = { "AAA==", 5 }, .system = { "EPJ \0\n", 6 },
	.user = { "the user", 8 }, .client = { "lab-a", 5 },
	.not_before = 1700000000, .not_after = INT64_MAX, .kept = -1, .signer_known = true,
	.signer = { "0123456789abcde" },
};
static const struct cards_order an_order = {
	.xml = { "<saml:Assertion/>", 17 }, .signed_info = { "<ds:SignedInfo/>", 16 }, .token = { "", 0 },
	.ordered = 5, .expires = 1700000000, .client = { "client", 6 },
	.user = { "the user", 8 },
};

static void
same(struct slice x, struct slice y)
{
	assert_true(slice_eq(x, y) || (x.p == NULL && y.p == NULL));
}

static void
a_card_is_read_as_it_was_written(void **state)
{
	(void)state;
	for (int known = 0; known < 2; known++) {
		struct card got, wanted = a_card;
		int64_t stamp;
		wanted.signer_known = known;
		if (!known)
			wanted.system = (struct slice){ NULL, 0 };
		assert_true(value_read_card(value_of_card(a, &wanted, 1700000000123, FORMAT_CARD), &got, &stamp));
		assert_int_equal(stamp, 1700000000123);
		assert_int_equal(got.not_before, wanted.not_before);
		assert_int_equal(got.not_after, wanted.not_after);
		assert_int_equal(got.kept, wanted.kept);
		assert_int_equal(got.signer_known, known);
		if (known)
			assert_memory_equal(&got.signer, &wanted.signer, sizeof got.signer);
		same(got.xml, wanted.xml);
		same(got.id, wanted.id);
		same(got.system, wanted.system);
		same(got.user, wanted.user);
		same(got.client, wanted.client);
	}
}

static void
an_order_is_read_as_it_was_written(void **state)
{
	(void)state;
	struct cards_order got;
	int64_t stamp;

	assert_true(value_read_order(value_of_order(a, &an_order, 7, FORMAT_CARD), &got, &stamp));
	assert_int_equal(stamp, 7);
	assert_int_equal(got.ordered, an_order.ordered);
	assert_int_equal(got.expires, an_order.expires);
	same(got.xml, an_order.xml);
	same(got.signed_info, an_order.signed_info);
	same(got.token, an_order.token);
	same(got.client, an_order.client);
	same(got.user, an_order.user);
}

/* Bytes with nothing behind them that may be read, so that the sanitizers see a read beyond. */
static bool
reads(const char *p, size_t n)
{
	char *exact = malloc(n == 0 ? 1 : n);
	struct card card;
	struct cards_order order;
	int64_t stamp;

	memcpy(exact, p, n);
	bool card_read = value_read_card((struct slice){ exact, n }, &card, &stamp);
	bool order_read = value_read_order((struct slice){ exact, n }, &order, &stamp);
	free(exact);
	assert_false(card_read && order_read);
	return card_read || order_read;
}

/* What servers of two versions write side by side. */
static void
the_format_before_is_written_and_read_without_what_came_later(void **state)
{
	(void)state;
	struct card got;
	struct cards_order order;
	int64_t stamp;

	struct slice bytes = value_of_card(a, &a_card, 1, 1);
	assert_int_equal(bytes.p[0], 1);
	assert_true(value_read_card(bytes, &got, &stamp));
	assert_null(got.client.p);
	same(got.user, a_card.user);
	assert_true(value_read_order(value_of_order(a, &an_order, 1, 1), &order, &stamp));
	same(order.client, an_order.client);
	/* formats two apart, and one that is not yet known */
	static const int others[] = { 0, 3, 4, 255 };
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		assert_false(value_read_card(value_of_card(a, &a_card, 1, others[i]), &got, &stamp));
		assert_false(value_read_order(value_of_order(a, &an_order, 1, others[i]), &order, &stamp));
	}
}

static void
what_is_cut_or_has_more_is_refused(void **state)
{
	(void)state;
	const struct slice whole[] = { value_of_card(a, &a_card, 1, 2), value_of_order(a, &an_order, 1, 2),
		value_of_card(a, &a_card, 1, 1) };

	for (size_t k = 0; k < sizeof whole / sizeof *whole; k++) {
		assert_true(reads(whole[k].p, whole[k].n));
		for (size_t n = 0; n < whole[k].n; n++)
			if (reads(whole[k].p, n))
				fail_msg("the first %zu bytes are read", n);
		char *longer = arena_alloc(a, whole[k].n + 1);
		memcpy(longer, whole[k].p, whole[k].n);
		assert_false(reads(longer, whole[k].n + 1));
	}
	struct card card;
	int64_t stamp;
	assert_false(value_read_card((struct slice){ NULL, 0 }, &card, &stamp));
}

/* A flipped byte may give another good value (the text of a field); it never reads beyond. */
static void
random_bytes_do_no_harm(void **state)
{
	(void)state;
	const struct slice whole[] = { value_of_card(a, &a_card, 1, 2), value_of_order(a, &an_order, 1, 2),
		value_of_card(a, &a_card, 1, 1) };
	char bytes[256];

	for (size_t k = 0; k < sizeof whole / sizeof *whole; k++)
		for (size_t i = 0; i < whole[k].n; i++)
			for (int v = 0; v < 256; v++) {
				memcpy(bytes, whole[k].p, whole[k].n);
				bytes[i] = (char)v;
				bool read = reads(bytes, whole[k].n);
				/* format and kind; the formats of an order differ in nothing else */
				if (i < 2 && bytes[i] != whole[k].p[i] && !(i == 0 && k == 1 && format_is_read(FORMAT_CARD, v)))
					assert_false(read);
			}
	for (int i = 0; i < 2000; i++) {
		rand_bytes(bytes, sizeof bytes);
		bytes[0] = (char)(1 + i / 2 % 2);
		bytes[1] = i % 2 == 0 ? 'c' : 'o';
		reads(bytes, (size_t)i % sizeof bytes);
	}
}

static void
what_is_too_big_for_the_cache_is_absent(void **state)
{
	(void)state;
	struct card card = a_card;

	card.xml.n = CACHE_VALUE_MAX;
	card.xml.p = arena_alloc(a, card.xml.n);
	assert_null(value_of_card(a, &card, 1, FORMAT_CARD).p);
	card.xml.n -= 200;
	assert_non_null(value_of_card(a, &card, 1, FORMAT_CARD).p);
}

static void
the_list_of_revoked_ids_grows_and_forgets(void **state)
{
	(void)state;
	struct revoked *r = revoked_new();
	int64_t when = 0;
	char id[32];

	for (int i = 0; i < 20000; i++)
		revoked_put(r, (struct slice){ id, (size_t)snprintf(id, sizeof id, "id %d", i) }, 1000 + i, i);
	assert_int_equal(revoked_count(r), 20000);
	assert_true(revoked_has(r, S("id 19999"), &when));
	assert_int_equal(when, 19999);
	assert_false(revoked_has(r, S("id 20000"), &when));
	assert_false(revoked_has(r, S(""), &when));

	revoked_put(r, S("id 5"), 900, 3);	/* neither shortens it */
	revoked_put(r, S("id 6"), 9000, 3000);
	assert_int_equal(revoked_count(r), 20000);
	assert_true(revoked_has(r, S("id 5"), &when) && when == 5);
	assert_true(revoked_has(r, S("id 6"), &when) && when == 3000);

	revoked_purge(r, 1000 + 19989);
	assert_int_equal(revoked_count(r), 10);
	assert_false(revoked_has(r, S("id 6"), &when));
	assert_true(revoked_has(r, S("id 19990"), &when));
	revoked_free(r);
	revoked_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_card_is_read_as_it_was_written),
		cmocka_unit_test(an_order_is_read_as_it_was_written),
		cmocka_unit_test(the_format_before_is_written_and_read_without_what_came_later),
		cmocka_unit_test(what_is_cut_or_has_more_is_refused),
		cmocka_unit_test(random_bytes_do_no_harm),
		cmocka_unit_test(what_is_too_big_for_the_cache_is_absent),
		cmocka_unit_test(the_list_of_revoked_ids_grows_and_forgets),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
