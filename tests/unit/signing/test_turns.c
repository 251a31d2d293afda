#include "unit.h"

#include "clock.h"
#include "turns.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static const uint8_t one[32] = { 1 }, two[32] = { 2 };
static const struct err good = { .kind = ERR_NONE };
static const struct err bad = { .kind = ERR_STS_TIMEOUT, .detail = "too slow", .said = "words" };

struct world {
	struct turns *t;
	struct err e;
};

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->t = turns_new();
	assert_non_null(w->t);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	turns_free(w->t);
	free(w);
	return 0;
}

static void
whoever_comes_first_makes_it(void **state)
{
	struct world *w = *state;

	assert_int_equal(turns_take(w->t, one, 0, 1000, &w->e), TURN_MINE);
	assert_int_equal(turns_take(w->t, one, 0, 1000, &w->e), TURN_BUSY);
	assert_int_equal(turns_take(w->t, one, 20, 1000, &w->e), TURN_BUSY);
	assert_int_equal(turns_take(w->t, two, 0, 1000, &w->e), TURN_MINE);
	turns_done(w->t, one, &good);
	assert_int_equal(turns_take(w->t, one, 0, 1000, &w->e), TURN_MINE);
	assert_int_equal(w->e.kind, ERR_NONE);
}

static void
a_failure_rests_for_as_long_as_is_asked(void **state)
{
	struct world *w = *state;

	assert_int_equal(turns_take(w->t, one, 0, 1000, &w->e), TURN_MINE);
	turns_done(w->t, one, &bad);
	assert_int_equal(turns_take(w->t, one, 1000, 60000, &w->e), TURN_FAILED);
	assert_int_equal(w->e.kind, ERR_STS_TIMEOUT);
	assert_string_equal(w->e.detail, "too slow");
	assert_string_equal(w->e.said, "words");
	assert_int_equal(turns_take(w->t, two, 0, 60000, &w->e), TURN_MINE);
	assert_int_equal(turns_take(w->t, one, 0, 0, &w->e), TURN_MINE);
	turns_done(w->t, one, &good);
	assert_int_equal(turns_take(w->t, one, 0, 60000, &w->e), TURN_MINE);
}

static void
the_first_failure_of_a_caller_is_kept(void **state)
{
	struct world *w = *state;

	assert_int_equal(turns_take(w->t, one, 0, 0, &w->e), TURN_MINE);
	turns_done(w->t, one, &bad);
	err_set(&w->e, ERR_CACHE, "before");
	assert_int_equal(turns_take(w->t, one, 0, 60000, &w->e), TURN_FAILED);
	assert_int_equal(w->e.kind, ERR_CACHE);
}

static void
of_many_failures_the_oldest_are_forgotten(void **state)
{
	struct world *w = *state;
	uint8_t name[32] = { 0 };
	enum { MANY = 300 };

	for (int i = 0; i < MANY; i++) {
		memcpy(name, &i, sizeof i);
		assert_int_equal(turns_take(w->t, name, 0, 60000, &w->e), TURN_MINE);
		turns_done(w->t, name, &bad);
	}
	assert_int_equal(turns_take(w->t, name, 0, 60000, &w->e), TURN_FAILED);
	memset(name, 0, sizeof name);
	assert_int_equal(turns_take(w->t, name, 0, 60000, &w->e), TURN_MINE);
}

/* ---- threads */

struct crowd {
	struct turns *t;
	const struct err *outcome;
	atomic_int made, shared, failed, busy, arrived;
};
enum { CROWD = 12 };

static void *
want(void *arg)
{
	struct crowd *c = arg;
	struct err e = { .kind = ERR_NONE };

	atomic_fetch_add(&c->arrived, 1);
	switch (turns_take(c->t, one, 20000, 60000, &e)) {
	case TURN_MINE:
		/* until the others are there, and a little more, so that they wait */
		while (atomic_load(&c->arrived) < CROWD)
			usleep(1000);
		usleep(50000);
		atomic_fetch_add(&c->made, 1);
		turns_done(c->t, one, c->outcome);
		break;
	case TURN_MADE:
		atomic_fetch_add(&c->shared, 1);
		break;
	case TURN_FAILED:
		assert_int_equal(e.kind, c->outcome->kind);
		atomic_fetch_add(&c->failed, 1);
		break;
	default:
		atomic_fetch_add(&c->busy, 1);
	}
	return NULL;
}

static void
gather(struct crowd *c)
{
	pthread_t threads[CROWD];
	int64_t began = clock_mono_ms();

	for (int i = 0; i < CROWD; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, want, c), 0);
	for (int i = 0; i < CROWD; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(c->busy, 0);
	/* they were woken: their patience is 20 s */
	assert_true(clock_mono_ms() - began < 10000);
}

static void
those_who_wait_share_what_was_made(void **state)
{
	struct world *w = *state;
	struct crowd c = { .t = w->t, .outcome = &good };

	gather(&c);
	/* who comes when it was made already takes a turn anew: on a busy machine some may */
	assert_true(c.shared > CROWD / 2);
	assert_int_equal(c.made + c.shared, CROWD);
	assert_int_equal(turns_take(w->t, one, 0, 0, &w->e), TURN_MINE);
}

static void
those_who_wait_share_the_failure(void **state)
{
	struct world *w = *state;
	struct crowd c = { .t = w->t, .outcome = &bad };

	gather(&c);
	assert_int_equal(c.made, 1);
	assert_int_equal(c.failed, CROWD - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(whoever_comes_first_makes_it),
		T(a_failure_rests_for_as_long_as_is_asked),
		T(the_first_failure_of_a_caller_is_kept),
		T(of_many_failures_the_oldest_are_forgotten),
		T(those_who_wait_share_what_was_made),
		T(those_who_wait_share_the_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
