#include "html.h"

#include "unit.h"

/* as the code made of a template does it */
#define put(x) _Generic((x), HTML_PUT)(&out, (x))
#define there(x) _Generic((x), HTML_IF)(x)

static struct buf out;

static struct slice
written(struct slice text)
{
	buf_clear(&out);
	html_put_slice(&out, text);
	return buf_slice(&out);
}

static void
what_means_something_to_html_is_escaped(void **state)
{
	static const struct { const char *note; struct slice text; const char *wanted; } rows[] = {
		{ "nothing", S(""), "" },
		{ "plain", S("Aase Ærø"), "Aase Ærø" },
		{ "markup", S("<script>alert(1)</script>"), "&lt;script&gt;alert(1)&lt;/script&gt;" },
		{ "out of a quoted attribute", S("\" onclick=\"x"), "&quot; onclick=&quot;x" },
		{ "out of a single quoted one", S("' onclick='x"), "&#39; onclick=&#39;x" },
		{ "already escaped: again", S("&lt;&amp;"), "&amp;lt;&amp;amp;" },
		{ "end of a comment", S("-->"), "--&gt;" },
		{ "directive of a template", S("{{p->x}}"), "{{p-&gt;x}}" },
		{ "white space stays", S(" a\tb\nc\rd "), " a\tb\nc\rd " },
		{ "NUL and controls", S("a\0b\x01\x08\x0b\x0c\x1f\x7f"), "a�b������" },
		{ "C1 controls", S("\xC2\x80\xC2\x85\xC2\x9F|\xC2\xA0"), "������|\xC2\xA0" },
		{ "text that runs from right to left", S("\u202Eabc\u2066"), "\u202Eabc\u2066" },
		{ "noncharacters", S("\xEF\xBF\xBE|\xEF\xB7\x90|\xF0\x9F\xBF\xBF"), "���|���|����" },
		{ "their neighbours", S("\uFFFD|\uFDCF|\uFDF0|\U0001F600"), "\uFFFD|\uFDCF|\uFDF0|\U0001F600" },
		{ "Latin-1", S("\xE6\xF8\xE5"), "���" },
		{ "overlong <", S("\xC0\xBC|\xE0\x80\xBC"), "��|���" },
		{ "a character that is cut by the end", S("a\xC3"), "a�" },
		{ "a lead byte before markup", S("\xE6<b>\xF0\"'"), "�&lt;b&gt;�&quot;&#39;" },
		{ "surrogate", S("\xED\xA0\x80"), "���" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!slice_is(written(rows[i].text), rows[i].wanted))
			fail_msg("%s: %.*s", rows[i].note, SLICE_FMT(buf_slice(&out)));
}

static void
absent_text_is_nothing(void **state)
{
	const struct slice absent = { NULL, 0 };
	const char *const no_string = NULL;

	(void)state;
	buf_clear(&out);
	put(absent);
	put(&absent);
	put(no_string);
	assert_slice("", buf_slice(&out));
	assert_false(there(absent));
	assert_false(there(S("")));
	assert_true(there(S("x")));
	assert_true(there((bool)true));
}

static void
numbers_are_written_as_they_are(void **state)
{
	(void)state;
	buf_clear(&out);
	put(INT64_MIN);
	put(32);
	put(UINT64_MAX);
	put((uint16_t)65535);
	assert_slice("-9223372036854775808321844674407370955161565535", buf_slice(&out));
}

static void
only_checked_addresses_are_addresses(void **state)
{
	static const struct { const char *text; bool local, absolute; } rows[] = {
		{ "/sosigw/static/page.css", true, false },
		{ "/", true, false },
		{ "?wsdl", true, false },
		{ "?a=b&c='\"", true, false },	/* escaped when written */
		{ "#top", true, false },
		{ "https://gw.example.dk/x?y", false, true },
		{ "http://[::1]:8080/", false, true },
		{ "", false, false },
		{ "//evil.example", false, false },
		{ "/\\evil.example", false, false },
		{ "/\t/evil.example", false, false },
		{ "/a b", false, false },
		{ "/æ", false, false },
		{ "javascript:alert(1)", false, false },
		{ "JaVaScRiPt:alert(1)", false, false },
		{ " javascript:alert(1)", false, false },
		{ "data:text/html,x", false, false },
		{ "vbscript:x", false, false },
		{ "page.css", false, false },
		{ "https://user@host/", false, false },
		{ "https://host/<script>", false, false },
		{ "https:/host", false, false },
	};
	struct html_url url;
	struct err e = { .kind = ERR_NONE };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if ((html_url_local(slice_of(rows[i].text), &url, &e) == 0) != rows[i].local)
			fail_msg("local: %s", rows[i].text);
		if ((html_url_checked(slice_of(rows[i].text), &url, &e) == 0) != rows[i].absolute)
			fail_msg("absolute: %s", rows[i].text);
	}
	assert_err(ERR_INVALID, html_url_local((struct slice){ NULL, 0 }, &url, &e), &e);
}

static void
an_address_is_escaped_too(void **state)
{
	struct html_url url;
	struct err e;

	(void)state;
	buf_clear(&out);
	assert_ok(html_url_local(S("?a=<b>&c='\""), &url, &e), &e);
	html_put_url(&out, url);
	put(url);
	assert_slice("?a=&lt;b&gt;&amp;c=&#39;&quot;?a=&lt;b&gt;&amp;c=&#39;&quot;", buf_slice(&out));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_means_something_to_html_is_escaped),
		cmocka_unit_test(absent_text_is_nothing),
		cmocka_unit_test(numbers_are_written_as_they_are),
		cmocka_unit_test(only_checked_addresses_are_addresses),
		cmocka_unit_test(an_address_is_escaped_too),
	};

	buf_init(&out, 1 << 16);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	buf_free(&out);
	return rc;
}
