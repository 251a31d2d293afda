#include "unit.h"

#include "soap.h"

#define PART "--b1\r\nContent-Type: application/xop+xml\r\nContent-ID: <root>\r\n\r\n<e/>\r\n--b1--\r\n"

static int
find(const char *text, const char *start, size_t *root, struct err *e)
{
	err_clear(e);
	return soap_find_root(slice_of(text), S("b1"), slice_of(start), root, e);
}

static void
the_root_part_is_found(void **state)
{
	struct err e;
	size_t root;
	(void)state;

	assert_int_equal(find(PART, "<root>", &root, &e), 1);
	assert_memory_equal(PART + root, "<e/>", 4);
	assert_int_equal(find("preamble\r\n" PART, NULL, &root, &e), 1);
	assert_int_equal(find("--b1  \r\n\r\n<e/>", NULL, &root, &e), 1);
	assert_int_equal(root, 10);
}

static void
every_cut_asks_for_more(void **state)
{
	char cut[sizeof PART];
	struct err e;
	size_t root, whole;
	(void)state;

	assert_int_equal(find(PART, NULL, &whole, &e), 1);
	for (size_t n = 0; n < whole; n++) {
		memcpy(cut, PART, n);
		cut[n] = '\0';
		assert_int_equal(find(cut, NULL, &root, &e), 0);
	}
}

static void
doubtful_parts_are_refused(void **state)
{
	static const char *const rows[] = {
		"--b1\r\nContent-ID: <other>\r\n\r\n<e/>",
		"--b1\r\ncontent-transfer-encoding: base64\r\n\r\nPGUvPg==",
	};
	char long_line[1200];
	struct err e;
	size_t root;
	(void)state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(find(rows[i], "<root>", &root, &e), -1);
		assert_int_equal(e.kind, ERR_XML);
	}
	memset(long_line, 'x', sizeof long_line - 1);
	long_line[sizeof long_line - 1] = '\0';
	assert_int_equal(find(long_line, NULL, &root, &e), -1);
	/* "--b12" is another boundary */
	assert_int_equal(find("--b12\r\n\r\n<e/>", NULL, &root, &e), 0);
}

#define ROOT "--b1\r\nContent-ID: <root>\r\n\r\n<e/>\r\n"
#define SECOND(headers) ROOT "--b1\r\n" headers "\r\n\r\nx\r\n--b1--\r\n"

static const struct {
	bool good;
	const char *note, *start, *in;
} messages[] = {
	{ true, "another Content-ID", "<root>", SECOND("Content-ID: <a>") },
	{ true, "no Content-ID", "<root>", SECOND("Content-Type: x") },
	{ true, "one part", "<root>", PART },
	{ true, "not a header", "<root>", SECOND("X-Content-ID: <root>") },
	{ true, "in the content", "<root>", SECOND("A: b\r\n\r\nContent-ID: <root>") },
	{ true, "another boundary", "<root>", ROOT "--b12\r\nContent-ID: <root>\r\n\r\n" },
	{ true, "boundary in a line", "<root>", ROOT " --b1\r\nContent-ID: <root>\r\n\r\nx--b1\r\nContent-ID: <root>\r\n\r\n" },
	{ true, "no Content-ID at all", NULL, "--b1\r\n\r\n<e/>\r\n--b1\r\nContent-ID: <root>\r\n\r\n" },
	{ false, "the same", "<root>", SECOND("Content-ID: <root>") },
	{ false, "the same, with no start", NULL, SECOND("Content-ID: <root>") },
	{ false, "start is named, the root has none", "<root>", "--b1\r\n\r\n<e/>\r\n--b1\r\nContent-ID: <root>\r\n\r\n" },
	{ false, "other case", "<root>", SECOND("content-id:<ROOT>") },
	{ false, "no angles", "<root>", SECOND("Content-ID: root") },
	{ false, "angles only there", "root", SECOND("Content-ID: <root>") },
	{ false, "folded", "<root>", SECOND("Content-ID:\r\n\t<root>") },
	{ false, "behind others", "<root>", SECOND("A: b\r\n c\r\nContent-ID : <root>\r\nD: e") },
	{ false, "of two", "<root>", SECOND("Content-ID: <a>\r\nContent-ID: <root>") },
	{ false, "line feeds alone", "<root>", ROOT "--b1\nContent-ID: <root>\n\nx" },
	{ false, "blanks behind the boundary", "<root>", ROOT "--b1 \t \r\nContent-ID: <root>\r\n\r\n" },
	{ false, "behind the last delimiter", "<root>", PART "--b1\r\nContent-ID: <root>\r\n\r\n" },
	{ false, "in the third part", "<root>", ROOT "--b1\r\n\r\n\r\n--b1\r\nContent-ID: <root>\r\n\r\n" },
	{ false, "headers cut by a delimiter", "<root>", ROOT "--b1\r\nContent-ID: <root>\r\n--b1\r\n" },
};

/* In pieces of n bytes. */
static int
watch(const char *in, const char *start, size_t n, struct err *e)
{
	struct arena *a = arena_new(1 << 20);
	struct soap_parts *p = soap_parts_new(a, S("b1"), slice_of(start));
	struct slice rest = slice_of(in);
	int rc = 0;

	assert_non_null(p);
	err_clear(e);
	for (; rest.n > 0 && rc == 0; rest = slice_from(rest, n))
		rc = soap_parts_feed(p, (struct slice){ rest.p, rest.n < n ? rest.n : n }, e);
	arena_free(a);
	return rc;
}

static void
a_second_root_is_refused_however_it_comes(void **state)
{
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
		for (size_t n = 1; n < 60; n++) {
			int rc = watch(messages[i].in, messages[i].start, n, &e);
			if (rc != (messages[i].good ? 0 : -1) || (rc < 0 && e.kind != ERR_XML))
				fail_msg("%s, in pieces of %zu: %d", messages[i].note, n, rc);
		}
}

static void
the_headers_of_a_part_have_a_limit(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct soap_parts *p = soap_parts_new(a, S("b1"), S("<root>"));
	struct err e = { .kind = ERR_NONE };
	int rc = soap_parts_feed(p, S(ROOT "--b1\r\n"), &e);

	(void)state;
	for (int i = 0; i < 8192 && rc == 0; i++)
		rc = soap_parts_feed(p, S("x"), &e);
	assert_int_equal(rc, 0);
	assert_err(ERR_LIMIT, soap_parts_feed(p, S("x"), &e), &e);
	arena_free(a);
}

static void
the_root_part_is_in_utf8(void **state)
{
	static const struct { const char *text; bool good; } rows[] = {
		{ "--b1\r\nContent-Type: text/xml;charset=UTF-8\r\n\r\n", true },
		{ "--b1\r\nContent-Type: text/xml; charset = \"utf-8\"; type=\"text/xml\"\r\n\r\n", true },
		{ "--b1\r\nContent-Type: text/xml; xcharset=utf-16\r\n\r\n", true },
		{ "--b1\r\nContent-Type: text/xml;\r\n\tcharset=utf-8\r\n\r\n", true },
		{ "--b1\r\nContent-Type: text/xml; charset=utf-16\r\n\r\n", false },
		{ "--b1\r\ncontent-type: text/xml;Charset=\"ISO-8859-1\"\r\n\r\n", false },
		{ "--b1\r\nContent-Type: text/xml; charset=\r\n\r\n", false },
		{ "--b1\r\nContent-Type: text/xml;\r\n charset=utf-7\r\n\r\n", false },
	};
	struct err e;
	size_t root;
	(void)state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(find(rows[i].text, NULL, &root, &e), rows[i].good ? 1 : -1);
		if (!rows[i].good)
			assert_int_equal(e.kind, ERR_ENCODING);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_part_is_found),
		cmocka_unit_test(every_cut_asks_for_more),
		cmocka_unit_test(the_root_part_is_in_utf8),
		cmocka_unit_test(doubtful_parts_are_refused),
		cmocka_unit_test(a_second_root_is_refused_however_it_comes),
		cmocka_unit_test(the_headers_of_a_part_have_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
