#include "unit.h"

#include "buf.h"
#include "clock.h"
#include "conv.h"
#include "rand.h"
#include "thread.h"
#include "uri.h"

#include <signal.h>

static void
absent_equals_nothing(void **state)
{
	(void)state;
	struct slice absent = { NULL, 0 };

	assert_false(slice_eq(absent, absent));
	assert_false(secret_eq(absent, absent));
	assert_false(slice_eq(absent, S("")));
	assert_true(slice_eq(S(""), S("")));
}

static void
times_are_read_strictly(void **state)
{
	static const struct { const char *text; int64_t want; } rows[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2020-04-01T13:37:48Z", 1585748268 },
		{ "2000-02-29T23:59:59Z", 951868799 },
		{ "2020-04-01T13:37:48.123Z", 1585748268 },
		{ "2020-04-01T15:37:48+02:00", 1585748268 },
		{ "2020-04-01T15:37:48", 1585748268 },		/* DGWS 1.0: Danish summer time */
		{ "2020-01-01T01:00:00", 1577836800 },		/* and winter time */
		{ "2020-02-30T00:00:00Z", -1 }, { "1900-01-01T00:00:00Z", -1 }, { "", -1 },
		{ "2020-04-01", -1 }, { "2020-04-01T24:00:00Z", -1 }, { "2020-04-01T13:37:60Z", -1 },
		{ "2020-4-01T13:37:48Z", -1 }, { "2020-04-01T13:37:48ZZ", -1 },
		{ "2020-04-01T13:37:48.Z", -1 }, { " 2020-04-01T13:37:48Z", -1 },
		{ "2020-04-01T13:37:48+25:00", -1 }, { "2021-02-29T00:00:00Z", -1 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t t = -1;
		if (clock_parse(slice_of(rows[i].text), &t) < 0)
			t = -1;
		if (t != rows[i].want)
			fail_msg("%s: %lld", rows[i].text, (long long)t);
	}
}

static void
time_survives_a_round_trip(void **state)
{
	for (int64_t t = 0; t < 4102444800; t += 86400 * 13 + 3601) {
		int64_t back;
		assert_int_equal(clock_parse(clock_iso(*state, t), &back), 0);
		assert_int_equal(back, t);
		arena_reset(*state);
	}
}

static void
danish_time_has_summer_and_winter(void **state)
{
	static const struct { int64_t t; int year, month, day, hour, minute; } rows[] = {
		{ 1577836799, 2020, 1, 1, 0, 59 },	/* the old year in UTC */
		{ 1585443599, 2020, 3, 29, 1, 59 }, { 1585443600, 2020, 3, 29, 3, 0 },
		{ 1603587599, 2020, 10, 25, 2, 59 }, { 1603587600, 2020, 10, 25, 2, 0 },
		{ 1593561600, 2020, 7, 1, 2, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct tm tm;
		clock_danish(rows[i].t, &tm);
		if (tm.tm_year + 1900 != rows[i].year || tm.tm_mon + 1 != rows[i].month || tm.tm_mday != rows[i].day ||
		    tm.tm_hour != rows[i].hour || tm.tm_min != rows[i].minute)
			fail_msg("row %zu: %d-%d-%d %d:%d", i, tm.tm_year, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min);
	}
}

static void
base64_reads_what_xml_allows(void **state)
{
	assert_slice("hello", conv_unbase64(*state, S("aGVs\r\n bG8=")));
	assert_slice("", conv_unbase64(*state, S("")));
	assert_slice("aGVsbG8=", conv_base64(*state, S("hello")));
	static const char *const bad[] = { "a", "aGVsbG8", "aGVs=bG8", "====", "aGVs!bG8", "aGVsbG8==" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_null(conv_unbase64(*state, slice_of(bad[i])).p);
}

static void
utf8_is_judged_strictly(void **state)
{
	(void)state;
	assert_true(conv_is_utf8(S("læge \xF0\x9F\x98\x80")));
	static const char *const bad[] = { "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80", "\xC3", "\xE2\x82" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(conv_is_utf8(slice_of(bad[i])));
}

static void
hmac_separates_its_parts(void **state)
{
	uint8_t one[32], other[32];
	(void)state;

	conv_hmac(S("key"), (struct slice []){ S("ab"), S("c") }, 2, one);
	conv_hmac(S("key"), (struct slice []){ S("a"), S("bc") }, 2, other);
	assert_memory_not_equal(one, other, 32);
}

static void
addresses_are_read_strictly(void **state)
{
	struct uri u;
	(void)state;

	assert_int_equal(uri_parse(S("https://a.example:8443/nts/service?x=1"), &u), 0);
	assert_true(u.tls);
	assert_slice("a.example", u.host);
	assert_int_equal(u.port, 8443);
	assert_slice("/nts/service?x=1", u.path);
	assert_int_equal(uri_parse(S("http://[::1]:80/"), &u), 0);
	assert_slice("::1", u.host);
	static const char *const bad[] = { "", "ftp://a/", "http://", "http://a:0/", "http://a:99999/",
		"http://u@a/", "http://a/#x", "http://a/ b", "http://a\\b/", "HTTP://a/", "//a/", "http://a:/" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (uri_parse(slice_of(bad[i]), &u) == 0)
			fail_msg("accepted %s", bad[i]);
}

static void
an_arena_keeps_its_cap_and_runs_what_was_deferred(void **state)
{
	(void)state;
	struct arena *a = arena_new(1000);
	struct buf b;

	buf_init(&b, 10);
	buf_puts(&b, "0123456789");
	assert_int_equal(buf_defer(&b, a), 0);
	assert_null(arena_alloc(a, 2000));
	arena_fail_at(1);
	assert_null(arena_alloc(a, 1));
	assert_non_null(arena_alloc(a, 1));
	arena_free(a);
	assert_null(b.p);
}

static void
a_full_buffer_stays_failed(void **state)
{
	struct buf b;
	(void)state;

	buf_init(&b, 4);
	buf_puts(&b, "1234");
	assert_slice("1234", buf_slice(&b));
	buf_putc(&b, '5');
	buf_clear(&b);
	buf_puts(&b, "12");
	buf_puts(&b, "345");
	buf_puts(&b, "6");
	assert_null(buf_slice(&b).p);
	buf_free(&b);
}

/* For the test: "ab" is one character, an x is written as <x>. */
static size_t
escape_x(struct slice rest, const char **instead)
{
	if (rest.p[0] == 'x')
		*instead = "<x>";
	return slice_starts(rest, S("ab")) ? 2 : 1;
}

static void
what_needs_it_is_escaped_and_all_else_stays(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" }, { "abc", "abc" }, { "x", "<x>" }, { "xx", "<x><x>" }, { "xab", "<x>ab" }, { "abxab", "ab<x>ab" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b;
		buf_init(&b, 100);
		buf_puts(&b, "=");
		buf_put_escaped(&b, slice_of(rows[i][0]), escape_x);
		assert_slice(rows[i][1], slice_from(buf_slice(&b), 1));
		buf_free(&b);
	}
}

static void
a_prefix_is_skipped_once_or_not_at_all(void **state)
{
	struct slice s = S("ababc"), none = { NULL, 0 };
	(void)state;

	assert_true(slice_skip(&s, S("ab")));
	assert_slice("abc", s);
	assert_false(slice_skip(&s, S("abcd")));
	assert_slice("abc", s);
	assert_false(slice_skip(&none, S("")));
	assert_false(slice_skip(&s, none));
}

static void *
blocked_signals(void *out)
{
	pthread_sigmask(SIG_SETMASK, NULL, out);
	return NULL;
}

static void
threads_leave_signals_to_main(void **state)
{
	sigset_t mine, before, theirs;
	pthread_t id;
	(void)state;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(thread_start(&id, NULL, blocked_signals, &theirs), 0);
	pthread_join(id, NULL);
	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	assert_int_equal(sigismember(&theirs, SIGTERM), 1);
	assert_int_equal(sigismember(&theirs, SIGHUP), 1);
	assert_int_equal(sigismember(&mine, SIGTERM), sigismember(&before, SIGTERM));
}

static void
the_first_failure_is_kept(void **state)
{
	struct err e = { 0 };
	(void)state;

	assert_int_equal(err_set(&e, ERR_NO_CARD, "first %d", 1), -1);
	err_set(&e, ERR_INTERNAL, "second");
	assert_int_equal(e.kind, ERR_NO_CARD);
	assert_string_equal(err_code(e.kind), "sosigw_no_valid_idcard_in_cache");
	err_say(&e, "a\nb%0300d", 0);
	assert_int_equal(e.said[1], ' ');
}

static bool
says_one_of(const char *text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (slice_find(slice_of(text), slice_of(*words)) >= 0)
			return true;
	return false;
}

/* Not those that no client is told: a page has texts of its own, and what our programs say to each other is no fault. */
static void
the_text_of_a_fault_says_what_to_do(void **state)
{
	static const char *const english[] = { "Add ", "Ask ", "Contact ", "Correct ", "Give ", "Have ", "Order ", "Remove ", "Repeat ", "See ",
		"Send ", "Sign ", "Try ", "Use ", "Write ", " must ", "quote ", " send ", " give ", "refused the ID card:", NULL };
	static const char *const danish[] = { "Tilføj ", "Spørg ", "Kontakt ", "Ret ", "Angiv ", "Lad ", " lad ", "Bestil ", "Fjern ", "Gentag ", "Se ",
		"Send ", "Signér ", "Prøv ", "Brug ", "Skriv ", " skal ", "oplys ", " send ", " angiv ", "afviste id-kortet:", NULL };
	(void)state;

	for (int kind = ERR_NONE + 1; kind < ERR_KINDS; kind++) {
		if (kind == ERR_CLIENT_GONE || kind == ERR_NOT_FOUND || kind == ERR_CONFLICT || kind == ERR_INVALID ||
		    strcmp(err_code(kind), "sosigw_browser") == 0)
			continue;
		if (!says_one_of(err_text(kind, false), english) || !says_one_of(err_text(kind, true), danish))
			fail_msg("%s: %s | %s", err_name(kind), err_text(kind, false), err_text(kind, true));
	}
}

static void
numbers_have_a_bound(void **state)
{
	int64_t v;
	(void)state;

	assert_int_equal(conv_number(S("65535"), 65535, &v), 0);
	assert_int_equal(v, 65535);
	assert_int_equal(conv_number(S("65536"), 65535, &v), -1);
	assert_int_equal(conv_number(S("-1"), 65535, &v), -1);
	assert_int_equal(conv_number(S(""), 65535, &v), -1);
	assert_int_equal(conv_number(S("99999999999999999999"), INT64_MAX, &v), -1);
	assert_int_equal(conv_number(S("9223372036854775807"), INT64_MAX, &v), 0);
}

static void
tokens_differ(void **state)
{
	assert_false(slice_eq(rand_token(*state, 16), rand_token(*state, 16)));
	assert_int_equal(rand_token(*state, 16).n, 22);
	assert_int_equal(rand_uuid(*state).n, 36);
	for (size_t n = 1; n < 40; n++)
		assert_true(rand_is_token(rand_token(*state, n), n));
	assert_false(rand_is_token(S("abcdefghijklmnopqrstu"), 16));
	assert_false(rand_is_token(S("abcdefghijklmnopqrstu+"), 16));
	assert_false(rand_is_token((struct slice){ NULL, 0 }, 16));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_equals_nothing),
		cmocka_unit_test(times_are_read_strictly),
		cmocka_unit_test(time_survives_a_round_trip),
		cmocka_unit_test(danish_time_has_summer_and_winter),
		cmocka_unit_test(base64_reads_what_xml_allows),
		cmocka_unit_test(utf8_is_judged_strictly),
		cmocka_unit_test(hmac_separates_its_parts),
		cmocka_unit_test(addresses_are_read_strictly),
		cmocka_unit_test(an_arena_keeps_its_cap_and_runs_what_was_deferred),
		cmocka_unit_test(a_full_buffer_stays_failed),
		cmocka_unit_test(what_needs_it_is_escaped_and_all_else_stays),
		cmocka_unit_test(a_prefix_is_skipped_once_or_not_at_all),
		cmocka_unit_test(threads_leave_signals_to_main),
		cmocka_unit_test(the_first_failure_is_kept),
		cmocka_unit_test(the_text_of_a_fault_says_what_to_do),
		cmocka_unit_test(numbers_have_a_bound),
		cmocka_unit_test(tokens_differ),
	};
	return cmocka_run_group_tests(tests, unit_arena_new, unit_arena_free);
}
