#include "unit.h"

#include "clock.h"
#include "quota.h"

static void
each_name_has_so_many_a_minute(void **state)
{
	struct quota *q = quota_new(2);

	(void)state;
	assert_non_null(q);
	clock_set(6000000);
	assert_true(quota_take(q, S("a")));
	clock_set(6000059);
	assert_true(quota_take(q, S("a")));
	assert_false(quota_take(q, S("a")));
	assert_true(quota_take(q, S("ab")));
	assert_true(quota_take(q, S("")));
	assert_false(quota_take(q, S("a")));
	quota_free(q);
	clock_set(0);
}

static void
another_minute_begins_anew_also_when_the_clock_is_set_back(void **state)
{
	static const int64_t times[] = { 6000000, 6000060, 5999999, 60 };
	struct quota *q = quota_new(1);

	(void)state;
	for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
		clock_set(times[i]);
		assert_true(quota_take(q, S("a")));
		assert_false(quota_take(q, S("a")));
	}
	quota_free(q);
	clock_set(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_name_has_so_many_a_minute),
		cmocka_unit_test(another_minute_begins_anew_also_when_the_clock_is_set_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
