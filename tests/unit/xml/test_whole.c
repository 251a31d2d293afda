#include "unit.h"

#include "xml_private.h"

static int
any_element(void *ctx, struct slice ns, struct slice name, unsigned depth, struct err *e)
{
	(void)ctx, (void)ns, (void)name, (void)depth, (void)e;
	return 0;
}

/* The document in pieces of so many bytes. kept: what libxml2 had to look through again at most. */
static int
whole_kept(struct slice text, size_t step, size_t *kept, struct err *e)
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
	*kept = xml_whole_kept_most(w);
	arena_free(a);
	return rc;
}

static int
whole(struct slice text, size_t step, struct err *e)
{
	size_t kept;

	return whole_kept(text, step, &kept, e);
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
		{ "quotes in a comment", "<a><!-- <b", " b=''-> ", "--></a>", 8000, 9000 },
		{ "quotes in CDATA", "<a><![CDATA[ <b", " b=''[]> ", "]]]></a>", 60000, 0 },
		{ "quotes in an instruction", "<a><?p <b", " b='' ->", "?></a>", 8000, 9000 },
		{ "length of a comment", "<a><!--", "x", "--></a>", (64 << 10) - 6, (64 << 10) + 1 },
		{ "length of an instruction", "<?p ", "x", "?><a/>", (64 << 10) - 5, (64 << 10) + 1 },
		{ "length of a reference", "<a>&#", "0", "65;</a>", (64 << 10) - 4, (64 << 10) + 1 },
		{ "different names", "<a>", "<b%u/>", "</a>", 19900, 20100 },
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

static void
a_cdata_section_holds_what_text_cannot(void **state)
{
	static const struct { const char *text; enum err_kind kind; } rows[] = {
		{ "<a><![CDATA[<b & ]] > ]]x]>&lt;<!-- ]]></a>", ERR_NONE }, { "<a>]]<![CDATA[]]>></a>", ERR_NONE },
		{ "<a><![CDATA[]]]]]]></a>", ERR_NONE }, { "<a><![CDATA[<![CDATA[]]></a>", ERR_NONE },
		{ "<a><![CDATA[\xC3\xA6\xE2\x82\xAC\xF0\x9F\x98\x80]]>\xC3\xA6</a>", ERR_NONE },
		{ "<a><![CDATA[x]]>]]></a>", ERR_XML }, { "<a><![CDATA[\x01]]></a>", ERR_XML }, { "<a><![CDATA[\xC3]]></a>", ERR_XML },
		{ "<a><![CDATA[\xEF\xBF\xBF]]></a>", ERR_XML }, { "<![CDATA[ ]]><a/>", ERR_XML }, { "<a/><![CDATA[ ]]>", ERR_XML },
		{ "<a><![CDATA[x]]&gt;</a>", ERR_XML }, { "<a b='<![CDATA[x]]>'/>", ERR_XML },
	};
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t j = 0; j < STEPS; j++) {
			err_clear(&e);
			whole(slice_of(rows[i].text), steps[j], &e);
			if (e.kind != rows[i].kind)
				fail_msg("%s: %s %s", rows[i].text, err_name(e.kind), e.detail);
		}
}

/* libxml2 gets its pieces cut at any offset of this. */
static void
what_stands_around_the_cut_of_a_piece_does_not_matter(void **state)
{
	static const struct { const char *each, *tail; enum err_kind kind; } rows[] = {
		{ "\xF0\x9F\x98\x80", "", ERR_NONE }, { "\xE2\x82\xAC", "", ERR_NONE }, { "&#xE6;", "", ERR_NONE },
		{ "<b c='>'/>", "", ERR_NONE }, { "<![CDATA[]]]]>", "", ERR_NONE }, { "<!-- - -->", "", ERR_NONE }, { "\r\n", "", ERR_NONE },
		{ "xxx", "]]>", ERR_XML }, { "x]", "]]>", ERR_XML }, { "\x80", "", ERR_XML }, { "x\xE2\x82", "", ERR_XML },
	};
	struct arena *a = *state;
	char before[16];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (unsigned shift = 0; shift < 12; shift++) {
			struct err e = { 0 };
			char after[16];
			snprintf(before, sizeof before, "<a>%.*s", (int)shift, "xxxxxxxxxxxx");
			snprintf(after, sizeof after, "%s</a>", rows[i].tail);
			for (unsigned n = 4080 / (unsigned)strlen(rows[i].each); n <= 4100 / strlen(rows[i].each); n++) {
				err_clear(&e);
				whole(repeated(a, before, rows[i].each, n, after), 4550, &e);
				if (e.kind != rows[i].kind)
					fail_msg("%u times %s behind %u: %s %s", n, rows[i].each, shift, err_name(e.kind), e.detail);
			}
		}
}

/* Each piece costs as much as libxml2 is left with from before: that has an end, whatever comes, so the work is linear. */
static void
the_work_per_byte_does_not_grow_with_the_document(void **state)
{
	static const struct { const char *note, *before, *each, *after; unsigned n; } rows[] = {
		{ "attributes", "<a", " b%u=''", "/>", 100000 },
		{ "attributes of many tags", "<a>", "<b a='' b='' c='' d='' e='' f='' g='' h=''/>", "</a>", 25000 },
		{ "an unfinished tag", "<a ", " ", "", 1000000 },
		{ "an unfinished value", "<a b='", "x", "", 1000000 },
		{ "a comment", "<a><!--", "<- >-<", "--></a>", 160000 },
		{ "CDATA", "<a><![CDATA[", "<]]<>", "]]></a>", 200000 },
		{ "CDATA of brackets", "<a><![CDATA[", "]", "]]></a>", 1000000 },
		{ "CDATA of letters", "<a><![CDATA[", "x", "]]></a>", 1000000 },
		{ "an instruction", "<a><?p ", "<? >", "?></a>", 250000 },
		{ "text", "<a>", "x>", "</a>", 500000 },
		{ "references", "<a>", "&amp;", "</a>", 200000 },
		{ "a reference that never ends", "<a>&", "x", "</a>", 1000000 },
		{ "a name", "<", "n", "/>", 1000000 },
		{ "space before the root", "", "\n", "<a/>", 1000000 },
		{ "space in the declaration", "<?xml", " ", "version='1.0'?><a/>", 1000000 },
	};
	struct arena *a = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t j = 0; j < STEPS; j++) {
			struct err e = { 0 };
			size_t kept;
			whole_kept(repeated(a, rows[i].before, rows[i].each, rows[i].n, rows[i].after), steps[j], &kept, &e);
			if (kept > 70000)
				fail_msg("%s in pieces of %zu: %zu bytes were kept", rows[i].note, steps[j], kept);
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
		cmocka_unit_test(a_cdata_section_holds_what_text_cannot),
		UNIT_ARENA_TEST(what_stands_around_the_cut_of_a_piece_does_not_matter),
		UNIT_ARENA_TEST(the_work_per_byte_does_not_grow_with_the_document),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
