/* Refusals by address: told one by one up to a limit, then in sums, and none is lost. */
#include "unit.h"

#include "access.h"

#include <pthread.h>

#define MOST ACCESS_FAILURES_TOLD
#define WINDOW ACCESS_FAILURES_WINDOW_MS
#define NOW INT64_C(1000000)

static int
setup(void **state)
{
	*state = access_failures_new();
	return *state == NULL;
}

static int
teardown(void **state)
{
	access_failures_free(*state);
	return 0;
}

/* How many of n are told by themselves. */
static unsigned
refuse(struct access_failures *f, const char *address, unsigned n, int64_t now)
{
	unsigned told = 0;

	while (n-- > 0)
		told += access_failure(f, slice_of(address), 3, now);
	return told;
}

/* Of all sums that are due. */
static uint64_t
sums(struct access_failures *f, int64_t now)
{
	struct access_sum sum;
	uint64_t all = 0;

	while (access_failures_sum(f, now, &sum))
		all += sum.count;
	return all;
}

static void
the_first_are_told_and_the_rest_is_summed_up(void **state)
{
	struct access_sum sum;

	assert_int_equal(refuse(*state, "10.0.0.1", 57, NOW), MOST);
	assert_false(access_failures_sum(*state, NOW + WINDOW - 1, &sum));
	assert_true(access_failures_sum(*state, NOW + WINDOW, &sum));
	assert_string_equal(sum.address, "10.0.0.1");
	assert_int_equal(sum.count, 57 - MOST);
	assert_int_equal(sum.what, 3);
	assert_true(sum.since_ms > 0);
	assert_false(access_failures_sum(*state, NOW + WINDOW, &sum));
}

static void
few_failures_leave_no_sum(void **state)
{
	assert_int_equal(refuse(*state, "10.0.0.1", MOST, NOW), MOST);
	assert_int_equal(sums(*state, INT64_MAX), 0);
}

static void
a_new_window_begins_anew(void **state)
{
	assert_int_equal(refuse(*state, "10.0.0.1", MOST, NOW), MOST);
	assert_int_equal(refuse(*state, "10.0.0.1", 1, NOW + WINDOW - 1), 0);
	assert_int_equal(sums(*state, NOW + WINDOW), 1);
	assert_int_equal(refuse(*state, "10.0.0.1", MOST + 1, NOW + WINDOW), MOST);
	assert_int_equal(sums(*state, NOW + 2 * WINDOW), 1);
}

static void
a_sum_that_nobody_took_goes_on(void **state)
{
	assert_int_equal(refuse(*state, "10.0.0.1", MOST + 5, NOW), MOST);
	assert_int_equal(refuse(*state, "10.0.0.1", 7, NOW + 10 * WINDOW), 0);
	assert_int_equal(sums(*state, NOW + 10 * WINDOW), 12);
}

static void
addresses_are_counted_by_themselves(void **state)
{
	static const struct { const char *first, *second; bool same; } rows[] = {
		{ "10.0.0.1", "10.0.0.2", false },
		{ "10.0.0.1", "::ffff:10.0.0.1", true },
		{ "2001:db8::1", "2001:db8::2", true },
		{ "2001:db8::1", "2001:db8:0:0:ffff::1", true },
		{ "2001:db8::1", "2001:db8:0:1::1", false },
		{ "", "nonsense", true },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct access_failures *f = access_failures_new();
		assert_int_equal(refuse(f, rows[i].first, MOST, NOW), MOST);
		if (refuse(f, rows[i].second, 1, NOW) != !rows[i].same)
			fail_msg("%s, %s", rows[i].first, rows[i].second);
		access_failures_free(f);
	}
	assert_int_equal(access_failure(*state, (struct slice){ NULL, 0 }, 0, NOW), true);
}

static void
sums_of_many_addresses_come_one_by_one(void **state)
{
	char address[32];
	unsigned told = 0;

	for (int i = 0; i < 200; i++) {
		snprintf(address, sizeof address, "10.0.%d.1", i);
		told += refuse(*state, address, MOST + 2, NOW + i);
	}
	uint64_t early = sums(*state, NOW + WINDOW + 99);
	assert_true(early > 0 && early <= 200);
	/* what had no place in the table was told */
	assert_int_equal(told + early + sums(*state, NOW + 2 * WINDOW), 200 * (MOST + 2));
}

static void
a_full_table_tells_and_neither_grows_nor_forgets(void **state)
{
	char address[32];
	uint64_t told = 0;

	for (int i = 0; i < 5000; i++) {
		snprintf(address, sizeof address, "10.%d.%d.1", i / 256, i % 256);
		told += refuse(*state, address, MOST + 1, NOW);
	}
	uint64_t counted = sums(*state, INT64_MAX);
	assert_int_equal(told + counted, 5000 * (MOST + 1));
	assert_in_range(counted, 900, 1024);	/* nearly every slot had one */
	/* and all of it can be used again */
	assert_int_equal(refuse(*state, "10.0.0.1", MOST + 1, NOW + 3 * WINDOW), MOST);
}

static void *
refuse_often(void *f)
{
	unsigned told = refuse(f, "10.0.0.1", 5000, NOW);

	return (void *)(uintptr_t)(told + sums(f, NOW + WINDOW));
}

static void
threads_lose_none(void **state)
{
	pthread_t threads[4];
	uint64_t all = 0;
	void *told;

	for (size_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, refuse_often, *state);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], &told);
		all += (uintptr_t)told;
	}
	assert_int_equal(all + sums(*state, INT64_MAX), 20000);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_first_are_told_and_the_rest_is_summed_up),
		T(few_failures_leave_no_sum),
		T(a_new_window_begins_anew),
		T(a_sum_that_nobody_took_goes_on),
		T(addresses_are_counted_by_themselves),
		T(sums_of_many_addresses_come_one_by_one),
		T(a_full_table_tells_and_neither_grows_nor_forgets),
		T(threads_lose_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
