#include "page.h"

#include "unit.h"

static const struct { enum err_kind kind; int status; const char *da_title, *da, *en_title, *en; } texts[] = {
#define TEXT(kind, status, da_title, da_advice, en_title, en_advice) { ERR_##kind, status, da_title, da_advice, en_title, en_advice },
#include "texts.def"
#undef TEXT
};
#define NTEXTS (sizeof texts / sizeof *texts)

static bool
is_told(enum err_kind kind)
{
	for (size_t i = 0; i < NTEXTS; i++)
		if (texts[i].kind == kind)
			return true;
	return false;
}

static void
every_refusal_of_a_page_has_words_of_its_own_in_both_languages(void **state)
{
	(void)state;
	for (enum err_kind kind = ERR_NONE + 1; kind < ERR_KINDS; kind++)
		if (strcmp(err_code(kind), err_code(ERR_LINK_UNKNOWN)) == 0 && !is_told(kind))
			fail_msg("%s", err_name(kind));
	for (size_t i = 0; i < NTEXTS; i++) {
		if (strcmp(texts[i].da_title, texts[i].en_title) == 0 || texts[i].da[0] == '\0' || texts[i].en[0] == '\0')
			fail_msg("%s", err_name(texts[i].kind));
		for (size_t j = 0; j < i; j++)
			if (texts[j].kind == texts[i].kind)
				fail_msg("%s twice", err_name(texts[i].kind));
	}
}

static struct slice
written(struct arena *a, const struct sign_page *p)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	sign_page_write(&b, p);
	assert_non_null(buf_slice(&b).p);
	struct slice html = arena_dup(a, buf_slice(&b));
	buf_free(&b);
	return html;
}

static struct sign_page
some_page(bool danish)
{
	struct sign_page p = { .danish = danish, .token = S("a.b"), .card = S("Q0FSRA=="), .signed_info = S("U0k="), .seconds = 60, .now = 1700000000 };
	struct err e;

	assert_ok(html_url_local(S("/sosigw/sign/start?id=a&lang=da"), &p.other_language, &e), &e);
	assert_ok(html_url_local(S("/sosigw/sign/start?id=a&lang=en"), &p.again, &e), &e);
	return p;
}

static size_t
count(struct slice text, const char *what)
{
	size_t n = 0;

	for (ptrdiff_t at; (at = slice_find(text, slice_of(what))) >= 0; n++)
		text = slice_from(text, (size_t)at + strlen(what));
	return n;
}

static void
the_page_holds_what_the_script_looks_for(void **state)
{
	static const char *const wanted[] = { "id=\"sign\"", "name=\"token\" value=\"a.b\"", "name=\"signature\"", "id=\"keyfile\"", "id=\"password\"",
		"id=\"certificates\"", "id=\"sign-button\"", "id=\"card\"", "id=\"countdown\"", "id=\"announce\"", "id=\"extend\"", "id=\"problem\"",
		"id=\"texts\"", "data-card=\"Q0FSRA==\"", "data-signed-info=\"U0k=\"", "data-seconds=\"60\"", "data-extend=\"/sosigw/sign/extend\"",
		"data-now=\"1700000000\"", "data-state=\"checking\"", "integrity=\"sha384-" };

	for (int danish = 0; danish < 2; danish++) {
		struct sign_page p = some_page(danish);
		struct slice html = written(*state, &p);
		for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
			if (slice_find(html, slice_of(wanted[i])) < 0)
				fail_msg("%s", wanted[i]);
		assert_int_equal(slice_find(html, S("id=\"refusal\"")), -1);
		assert_int_equal(slice_find(html, S("data-again")), -1);
		assert_int_equal(slice_find(html, S("remember-line")), -1);
		assert_int_equal(slice_find(html, S("@SIGNER")), -1);
	}
}

static void
both_languages_have_the_same_texts(void **state)
{
	struct sign_page da = some_page(true), en = some_page(false);
	struct slice danish = written(*state, &da), english = written(*state, &en), rest = danish;

	assert_int_equal(count(danish, "data-text="), count(english, "data-text="));
	for (ptrdiff_t at; (at = slice_find(rest, S("data-text=\""))) >= 0;) {
		rest = slice_from(rest, (size_t)at);
		ptrdiff_t end = slice_find(slice_from(rest, 11), S("\""));
		struct slice key = { rest.p, (size_t)end + 12 };
		if (slice_find(english, key) < 0)
			fail_msg("%.*s", SLICE_FMT(key));
		rest = slice_from(rest, key.n);
	}
}

static void
the_words_of_the_sts_are_text(void **state)
{
	struct sign_page p = some_page(false);

	p.refused = true;
	p.refusal = S("Refused");
	p.advice = S("Do this");
	p.said = S("<img src=x>\"&");
	struct slice html = written(*state, &p);
	assert_true(slice_find(html, S("<q>&lt;img src=x&gt;&quot;&amp;</q>")) > 0);
	assert_int_equal(slice_find(html, S("<img")), -1);
	assert_true(slice_find(html, S("<title>Refused - ")) > 0);
	assert_true(slice_find(html, S("data-again=\"/sosigw/sign/start?id=a&amp;lang=en\"")) > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_refusal_of_a_page_has_words_of_its_own_in_both_languages),
		UNIT_ARENA_TEST(the_page_holds_what_the_script_looks_for),
		UNIT_ARENA_TEST(both_languages_have_the_same_texts),
		UNIT_ARENA_TEST(the_words_of_the_sts_are_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
