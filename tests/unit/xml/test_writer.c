#include "unit.h"

#include "xml.h"

static const struct {
	const char *note;
	struct slice in;
	const char *text, *attr;
} rows[] = {
	{ "nothing", S(""), "", " a=\"\"" },
	{ "plain", S("l\xC3\xA6ge"), "l\xC3\xA6ge", " a=\"l\xC3\xA6ge\"" },
	{ "markup", S("<a b=\"c\">&'</a>"), "&lt;a b=\"c\"&gt;&amp;'&lt;/a&gt;",
	    " a=\"&lt;a b=&quot;c&quot;&gt;&amp;'&lt;/a&gt;\"" },
	{ "end of CDATA", S("]]>"), "]]&gt;", " a=\"]]&gt;\"" },
	{ "white space", S(" \t\r\n"), " \t&#13;\n", " a=\" &#9;&#13;&#10;\"" },
	{ "what XML cannot hold", S("a\0b\x01\x1F\x7F"), "a\xEF\xBF\xBD" "b\xEF\xBF\xBD\xEF\xBF\xBD\x7F",
	    " a=\"a\xEF\xBF\xBD" "b\xEF\xBF\xBD\xEF\xBF\xBD\x7F\"" },
	{ "U+FFFD, U+FFFE and beyond the BMP", S("\xEF\xBF\xBD|\xEF\xBF\xBE|\xF0\x9F\x98\x80"),
	    "\xEF\xBF\xBD|\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD|\xF0\x9F\x98\x80",
	    " a=\"\xEF\xBF\xBD|\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD|\xF0\x9F\x98\x80\"" },
	{ "Latin-1", S("\xE6x"), "\xEF\xBF\xBDx", " a=\"\xEF\xBF\xBDx\"" },
	{ "half a character before markup", S("\xC3<"), "\xEF\xBF\xBD&lt;", " a=\"\xEF\xBF\xBD&lt;\"" },
	{ "half a character at the end", S("x\xE2\x82"), "x\xEF\xBF\xBD\xEF\xBF\xBD", " a=\"x\xEF\xBF\xBD\xEF\xBF\xBD\"" },
	{ "an overlong '<'", S("\xC0\xBC"), "\xEF\xBF\xBD\xEF\xBF\xBD", " a=\"\xEF\xBF\xBD\xEF\xBF\xBD\"" },
};

static void
markup_never_comes_out_of_a_value(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b;
		buf_init(&b, 4096);
		xml_put_text(&b, rows[i].in);
		assert_slice(rows[i].text, buf_slice(&b));
		buf_clear(&b);
		xml_put_attr(&b, "a", rows[i].in);
		assert_slice(rows[i].attr, buf_slice(&b));
		buf_free(&b);
	}
}

static int
join(void *to, struct slice text, struct err *e)
{
	(void)e;
	buf_put(to, text);
	return 0;
}

static void
what_is_written_is_read_again_as_it_was(void **state)
{
	struct slice in = S("<&>]]>\"' \r\n\t\xC3\xA6\xF0\x9F\x98\x80&amp;");
	struct arena *a = arena_new(1 << 20);
	struct buf out, back;
	struct xml_handler handler = { .on_text = join };
	struct err e;

	(void)state;
	buf_init(&out, 4096);
	buf_init(&back, 4096);
	buf_puts(&out, "<a>");
	xml_put_text(&out, in);
	buf_puts(&out, "</a>");
	struct xml_reader *r = xml_reader_new(a, &xml_head_limits, &handler, &back);
	assert_ok(xml_reader_feed(r, buf_slice(&out), &e), &e);
	assert_ok(xml_reader_end(r, &e), &e);
	assert_true(slice_eq(buf_slice(&back), in));
	buf_free(&out);
	buf_free(&back);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(markup_never_comes_out_of_a_value),
		cmocka_unit_test(what_is_written_is_read_again_as_it_was),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
