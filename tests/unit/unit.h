/* What every unit test includes: cmocka with its prerequisites, and a few checks on our types. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arena.h"
#include "err.h"

/* The call failed, for that reason. */
#define assert_err(wanted, call, e) do { \
	err_clear(e); \
	assert_int_equal((call), -1); \
	if ((e)->kind != (wanted)) \
		fail_msg("%s, wanted %s: %s (%s:%d)", err_name((e)->kind), err_name(wanted), \
		    (e)->detail, (e)->file, (e)->line); \
} while (0)
/* The call worked; shows why when not. */
#define assert_ok(call, e) do { \
	err_clear(e); \
	if ((call) != 0) \
		fail_msg("%s: %s (%s:%d)", err_name((e)->kind), (e)->detail, (e)->file, (e)->line); \
} while (0)
#define assert_slice(wanted, got) do { \
	struct slice got_ = (got); \
	if (!slice_is(got_, (wanted))) \
		fail_msg("\"%.*s\", wanted \"%s\"", SLICE_FMT(got_), (wanted)); \
} while (0)

/* A whole file in the arena; the test fails when it is not there. Paths are from the project's top. */
static inline struct slice
unit_file(struct arena *a, const char *path)
{
	FILE *f = fopen(path, "rb");

	if (f == NULL)
		fail_msg("%s cannot be opened", path);
	fseek(f, 0, SEEK_END);
	long n = ftell(f);
	rewind(f);
	char *p = arena_alloc(a, (size_t)n + 1);
	assert_non_null(p);
	assert_int_equal(fread(p, 1, (size_t)n, f), (size_t)n);
	fclose(f);
	return (struct slice){ p, (size_t)n };
}

/* `text` with the first `from` made into `to`; the test fails when there is none. */
static inline struct slice
unit_edited(struct arena *a, struct slice text, const char *from, const char *to)
{
	ptrdiff_t at = slice_find(text, slice_of(from));

	if (text.p == NULL || at < 0) {
		fail_msg("no \"%s\" in the text", from);
		abort();	/* never: the compiler does not know that fail_msg does not come back */
	}
	struct slice rest = slice_from(text, (size_t)at + strlen(from));
	return arena_printf(a, "%.*s%s%.*s", (int)at, text.p, to, SLICE_FMT(rest));
}

/* A test, or a group of tests, that needs no more than an arena: *state is one. */
#define UNIT_ARENA_TEST(name) cmocka_unit_test_setup_teardown(name, unit_arena_new, unit_arena_free)
static inline int
unit_arena_new(void **state)
{
	*state = arena_new(256 << 20);
	return *state == NULL ? -1 : 0;
}

static inline int
unit_arena_free(void **state)
{
	arena_free(*state);
	return 0;
}

#endif
