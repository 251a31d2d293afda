#include "unit.h"

#include <time.h>

#include "xml.h"

static int
any_element(void *ctx, struct slice ns, struct slice name, unsigned depth, struct err *e)
{
	(void)ctx, (void)ns, (void)name, (void)depth, (void)e;
	return 0;
}

/* The document in pieces of so many bytes. */
static int
whole(struct slice text, size_t step, struct err *e)
{
	struct arena *a = arena_new(1 << 20);
	struct xml_whole *w = xml_whole_new(a, any_element, NULL);
	int rc = 0;

	assert_non_null(w);
	for (struct slice rest = text; rc == 0 && rest.n > 0; ) {
		size_t n = rest.n < step ? rest.n : step;
		rc = xml_whole_feed(w, (struct slice){ rest.p, n }, e);
		rest = slice_from(rest, n);
	}
	if (rc == 0)
		rc = xml_whole_end(w, e);
	arena_free(a);
	return rc;
}

/* before, n times each (a "%u" in it is the number), after. */
static struct slice
repeated(struct arena *a, const char *before, const char *each, unsigned n, const char *after)
{
	struct buf b;
	struct slice out;
	const char *number = strstr(each, "%u");

	buf_init(&b, 32 << 20);
	buf_puts(&b, before);
	for (unsigned i = 0; i < n; i++) {
		buf_put(&b, (struct slice){ each, number == NULL ? strlen(each) : (size_t)(number - each) });
		if (number != NULL)
			buf_printf(&b, "%u%s", i, number + 2);
	}
	buf_puts(&b, after);
	out = arena_dup(a, buf_slice(&b));
	buf_free(&b);
	return out;
}

static const size_t steps[] = { 1, 7, 4550, 100000000 };
#define STEPS (sizeof steps / sizeof *steps)

static void
a_tag_has_its_limits_and_nothing_else_does(void **state)
{
	static const struct { const char *note, *before, *each, *after; unsigned good, bad; } rows[] = {
		{ "attributes", "<a", " b%u=''", "/>", 256, 257 },
		{ "attributes of an inner tag", "<a>x<c", " b%u=\"'\"", "></c></a>", 256, 257 },
		{ "length, in a value", "<a b='", ">", "'/>", (64 << 10) - 9, (64 << 10) + 1 },
		{ "length, in white space", "<a", " ", "/>", (64 << 10) - 4, (64 << 10) + 1 },
		{ "length of an end tag", "<a></a", " ", ">", (64 << 10) - 4, (64 << 10) + 1 },
		{ "values behind a comment", "<a><!-- <b --><c", " b%u='-->'", "/></a>", 256, 257 },
		{ "values behind CDATA", "<a><![CDATA[<b ]]]><c", " b%u=']]>'", "/></a>", 256, 257 },
		{ "values behind an instruction", "<a><?p <b ?\?><c", " b%u='?>'", "/></a>", 256, 257 },
		{ "values of many tags", "<a>", "<b c='' d=''/>", "</a>", 3000, 0 },
		{ "quotes in text", "<a>", " b='\"'", "</a>", 60000, 0 },
		{ "quotes in a comment", "<a><!-- <b", " b=''-> ", "--></a>", 60000, 0 },
		{ "quotes in CDATA", "<a><![CDATA[ <b", " b=''[]> ", "]]]></a>", 60000, 0 },
		{ "quotes in an instruction", "<a><?p <b", " b='' ->", "?></a>", 60000, 0 },
		{ "namespaces of one tag", "<a", " xmlns:n%u='u'", "/>", 256, 257 },
		{ "namespaces of many tags", "<a>", "<b xmlns='u' xmlns:c='v'><c:d/></b>", "</a>", 3000, 0 },
	};
	struct arena *a = *state;
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t j = 0; j < STEPS; j++) {
			err_clear(&e);
			if (whole(repeated(a, rows[i].before, rows[i].each, rows[i].good, rows[i].after), steps[j], &e) < 0)
				fail_msg("%s in pieces of %zu: %s", rows[i].note, steps[j], e.detail);
			if (rows[i].bad == 0)
				continue;
			whole(repeated(a, rows[i].before, rows[i].each, rows[i].bad, rows[i].after), steps[j], &e);
			if (e.kind != ERR_LIMIT)
				fail_msg("%s in pieces of %zu: %s %s", rows[i].note, steps[j], err_name(e.kind), e.detail);
		}
}

static void
namespaces_in_scope_are_limited(void **state)
{
	char each[4096];
	size_t n = (size_t)snprintf(each, sizeof each, "<a");
	struct arena *a = *state;
	struct err e = { 0 };

	for (int i = 0; i < 200; i++)
		n += (size_t)snprintf(each + n, sizeof each - n, " xmlns:n%d='u'", i);
	snprintf(each + n, sizeof each - n, ">");
	assert_ok(whole(repeated(a, each, each, 4, "</a></a></a></a></a>"), 4550, &e), &e);
	assert_err(ERR_LIMIT, whole(repeated(a, each, each, 5, "</a></a></a></a></a></a>"), 4550, &e), &e);
}

static void
what_is_no_tag_is_not_well_formed(void **state)
{
	static const char *const rows[] = {
		"<a><!-->--></a", "<a><!---></a>", "<a><!-- -- --></a>", "<a><!-x></a>", "<a><![CDATA]></a>", "<a><![CDATAx[]]></a>",
		"<a><?></a>", "<a><></a>", "<a b='<'/>", "<a>]]></a>", "<a><!DOCTYPE a></a>", "<a", "<a b='", "<a/><!--", "<a><![CDATA[",
	};
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t j = 0; j < STEPS; j++) {
			err_clear(&e);
			whole(slice_of(rows[i]), steps[j], &e);
			if (e.kind != ERR_XML)
				fail_msg("%s: %s %s", rows[i], err_name(e.kind), e.detail);
		}
}

/* Wide enough for a sanitizer on a machine that does other things too. */
static void
no_megabytes_cost_more_than_their_length(void **state)
{
	static const struct { const char *note, *before, *each, *after; unsigned n; } rows[] = {
		{ "attributes", "<a", " b%u=''", "/>", 400000 },
		{ "attributes of many tags", "<a>", "<b a='' b='' c='' d='' e='' f='' g='' h=''/>", "</a>", 100000 },
		{ "an unfinished tag", "<a ", " ", "", 4000000 },
		{ "an unfinished value", "<a b='", "x", "", 4000000 },
		{ "a comment", "<a><!--", "<- >-<", "--></a>", 700000 },
		{ "CDATA", "<a><![CDATA[", "<]]<>", "]]></a>", 800000 },
		{ "an instruction", "<a><?p ", "<? >", "?></a>", 1000000 },
		{ "text", "<a>", "x>", "</a>", 2000000 },
		{ "references", "<a>", "&amp;", "</a>", 800000 },
		{ "a name", "<", "n", "/>", 4000000 },
	};
	struct arena *a = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice text = repeated(a, rows[i].before, rows[i].each, rows[i].n, rows[i].after);
		struct err e = { 0 };
		clock_t began = clock();
		whole(text, 4550, &e);
		double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
		if (seconds > 3)
			fail_msg("%s: %.1f s", rows[i].note, seconds);
	}
}

int
main(void)
{
	xml_init();
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(a_tag_has_its_limits_and_nothing_else_does),
		UNIT_ARENA_TEST(namespaces_in_scope_are_limited),
		cmocka_unit_test(what_is_no_tag_is_not_well_formed),
		UNIT_ARENA_TEST(no_megabytes_cost_more_than_their_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
