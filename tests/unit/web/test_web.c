#include "web.h"

#include "unit.h"

static const struct slice absent = { NULL, 0 };

static void
the_language_is_the_querys_then_the_browsers_then_the_gateways(void **state)
{
	static const struct { const char *query, *accept; bool otherwise, danish; } rows[] = {
		{ NULL, NULL, true, true },
		{ NULL, NULL, false, false },
		{ "", "", true, true },
		{ "lang=en", "da", true, false },
		{ "lang=da", "en", false, true },
		{ "x=y&lang=en", NULL, true, false },
		{ "lang=fr", NULL, true, true },
		{ "lang=english", NULL, true, true },
		{ "xlang=en", NULL, true, true },
		{ NULL, "da", false, true },
		{ NULL, "DA-dk", false, true },
		{ NULL, "en-GB,en;q=0.9", true, false },
		{ NULL, "en-GB,en;q=0.9,da;q=0.8", true, false },
		{ NULL, "en;q=0.5, da-DK;q=0.8", false, true },
		{ NULL, "en ; q=0.500,da;q=0.499", true, false },
		{ NULL, "da;q=0,en;q=0.1", true, false },
		{ NULL, "da;q=0", false, false },
		{ NULL, "de,fr;q=0.9", true, true },
		{ NULL, "daa,ena", false, false },
		{ NULL, "da,en", false, false },
		{ NULL, "da,en", true, true },
		{ NULL, ";;,,;q=,q=1,da;q=1.000000000000000000000,-", false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (web_is_danish(slice_of(rows[i].query), slice_of(rows[i].accept), rows[i].otherwise) != rows[i].danish)
			fail_msg("row %zu: %s, %s", i, rows[i].query, rows[i].accept);
}

/* ---- forms */

static void
a_form_is_read_as_it_was_written(void **state)
{
	struct web_form f;
	struct err e;

	assert_ok(web_form_parse(*state, S("token=a.b&signature=%2B+%c3%a6&empty=&bare&&=x&a%3Db=c=d"), &f, &e), &e);
	assert_int_equal(f.n, 6);
	assert_slice("a.b", web_form_value(&f, "token"));
	assert_slice("+ \xC3\xA6", web_form_value(&f, "signature"));
	assert_slice("", web_form_value(&f, "empty"));
	assert_slice("", web_form_value(&f, "bare"));
	assert_slice("x", web_form_value(&f, ""));
	assert_slice("c=d", web_form_value(&f, "a=b"));
	assert_null(web_form_value(&f, "Token").p);
	assert_ok(web_form_parse(*state, absent, &f, &e), &e);
	assert_int_equal(f.n, 0);
	assert_ok(web_form_parse(*state, S(""), &f, &e), &e);
	assert_int_equal(f.n, 0);
}

static void
a_form_that_can_be_read_two_ways_is_refused(void **state)
{
	static const char *const rows[] = { "a=1&a=2", "a=1&%61=2", "a&a", "a=%", "a=%4", "a=%zz", "%=a", "a=%00", "a=%ff", "a=%c3", "a=\xED\xA0\x80",
		"0&1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17&18&19&20&21&22&23&24&25&26&27&28&29&30&31&32" };
	struct web_form f;
	struct err e;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_err(ERR_FORM, web_form_parse(*state, slice_of(rows[i]), &f, &e), &e);
}

/* ---- cookies */

static void
a_cookie_is_found_when_there_is_one_of_its_name(void **state)
{
	static const struct { const char *header, *wanted; } rows[] = {
		{ "__Host-x=1", "1" },
		{ "a=b; __Host-x=1; c=d", "1" },
		{ "__Host-x=1;", "1" },
		{ "__Host-x=", "" },
		{ "__Host-x=a=b", "a=b" },
		{ " \t__Host-x=1 ", "1" },
		{ "__Host-x", NULL },
		{ "x=1", NULL },
		{ "__host-x=1", NULL },
		{ "__Host-x =1", NULL },
		{ "y__Host-x=1", NULL },
		{ "__Host-x=1; __Host-x=2", NULL },
		{ "__Host-x=1; __Host-x=1", NULL },
		{ "", NULL },
		{ NULL, NULL },
		{ ";;=;", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice got = web_cookie(slice_of(rows[i].header), "__Host-x");
		if (rows[i].wanted == NULL ? got.p != NULL : !slice_is(got, rows[i].wanted))
			fail_msg("%s: \"%.*s\"", rows[i].header, SLICE_FMT(got));
	}
}

static void
a_cookie_is_for_this_host_and_its_own_pages_only(void **state)
{
	assert_slice("__Host-x=v; Path=/; Secure; HttpOnly; SameSite=Strict", web_set_cookie(*state, "__Host-x", S("v")));
}

/* ---- where a request came from */

static void
what_another_site_sent_is_not_from_here(void **state)
{
	static const struct { const char *site, *origin; bool wanted; } rows[] = {
		{ "same-origin", NULL, true },
		{ "same-origin", "null", true },	/* a form of a page without referrer */
		{ "same-origin", "https://gw.example.dk", true },
		{ NULL, "https://gw.example.dk", true },
		{ NULL, "https://gw.example.dk:443", true },
		{ NULL, "https://inner:8443", true },
		{ NULL, NULL, true },
		{ "same-site", NULL, false },
		{ "cross-site", NULL, false },
		{ "none", NULL, false },
		{ "", NULL, false },
		{ "same-origin, cross-site", NULL, false },
		{ "cross-site", "https://gw.example.dk", false },
		{ NULL, "null", false },
		{ NULL, "", false },
		{ NULL, "https://evil.example", false },
		{ "same-origin", "https://evil.example", false },
		{ NULL, "http://gw.example.dk", false },
		{ NULL, "https://gw.example.dk:8443", false },
		{ NULL, "https://gw.example.dk.evil.example", false },
		{ NULL, "https://gw.example.dk/", false },
		{ NULL, "https://a.gw.example.dk", false },
		{ NULL, "gw.example.dk", false },
	};
	const struct slice own[] = { S("https://GW.example.dk"), absent, S("https://inner:8443") };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (web_is_from_here(slice_of(rows[i].site), slice_of(rows[i].origin), own, 3) != rows[i].wanted)
			fail_msg("row %zu: %s, %s", i, rows[i].site, rows[i].origin);
}

/* ---- the page that says one thing */

static void
what_a_message_says_is_text(void **state)
{
	const struct slice hostile = S("<script>\"'&{{x}}");
	struct web_message m = { .title = hostile, .paragraphs = &hostile, .nparagraphs = 1, .back = true, .back_text = hostile, .request_id = hostile };
	struct buf b;
	struct err e;

	(void)state;
	assert_ok(html_url_local(S("/x?a=\"&b"), &m.back_link, &e), &e);
	for (int danish = 0; danish < 2; danish++) {
		m.danish = danish;
		buf_init(&b, 1 << 20);
		web_message_write(&b, &m);
		assert_non_null(buf_slice(&b).p);
		assert_int_equal(slice_find(buf_slice(&b), S("<script")), -1);
		assert_true(slice_find(buf_slice(&b), S("<h1>&lt;script&gt;&quot;&#39;&amp;{{x}}</h1>")) > 0);
		assert_true(slice_find(buf_slice(&b), danish ? S("<html lang=\"da\">") : S("<html lang=\"en\">")) > 0);
		buf_free(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_language_is_the_querys_then_the_browsers_then_the_gateways),
		UNIT_ARENA_TEST(a_form_is_read_as_it_was_written),
		UNIT_ARENA_TEST(a_form_that_can_be_read_two_ways_is_refused),
		cmocka_unit_test(a_cookie_is_found_when_there_is_one_of_its_name),
		UNIT_ARENA_TEST(a_cookie_is_for_this_host_and_its_own_pages_only),
		cmocka_unit_test(what_another_site_sent_is_not_from_here),
		cmocka_unit_test(what_a_message_says_is_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
