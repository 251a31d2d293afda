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
	assert_int_equal(find("\r\n\r\n" PART, "<root>", &root, &e), 1);
	assert_int_equal(find("--b1\r\n\r\n<e/>", NULL, &root, &e), 1);
	assert_int_equal(root, 8);
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

/* As the real stacks write them. */
static const char *const roots[] = {
	"Content-Type: application/xop+xml; charset=UTF-8; type=\"text/xml\"\r\nContent-Transfer-Encoding: binary\r\n"
	"Content-ID: <root>",
	"Content-ID: <root>\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: application/xop+xml;charset=utf-8;type=\"text/xml\"",
	"content-id:<root>\r\ncontent-type:text/xml",
	"CONTENT-ID: \t<root> \r\nContent-Disposition: attachment; name=\"<root>\"\r\nX-Empty:",
	"Content-Type: application/xop+xml;\r\n\tcharset=utf-8;\r\n type=\"text/xml\"\r\nContent-Id: <root>",
	"Content-Type: text/xml; action=\"a;charset=utf-16\"\r\nContent-ID: <root>",
};

static void
the_headers_of_real_roots_are_taken(void **state)
{
	char text[600];
	struct err e;
	size_t root;
	(void)state;

	for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
		snprintf(text, sizeof text, "\r\n--b1\r\n%s\r\n\r\n<e/>", roots[i]);
		if (find(text, "<root>", &root, &e) != 1)
			fail_msg("%s: %s", roots[i], e.detail);
		assert_string_equal(text + root, "<e/>");
	}
}

#define ID "Content-ID: <root>\r\n"
#define END "\r\n<e/>"

static const struct {
	const char *note, *in;
	enum err_kind kind;
} doubtful[] = {
	{ "another Content-ID", "--b1\r\nContent-ID: <other>\r\n" END, ERR_XML },
	{ "another in case", "--b1\r\nContent-ID: <ROOT>\r\n" END, ERR_XML },
	{ "no Content-ID", "--b1\r\nContent-Type: text/xml\r\n" END, ERR_XML },
	{ "no header", "--b1\r\n" END, ERR_XML },
	{ "the Content-ID twice", "--b1\r\n" ID ID END, ERR_XML },
	{ "two Content-IDs", "--b1\r\n" ID "Content-ID: <other>\r\n" END, ERR_XML },
	{ "two types", "--b1\r\n" ID "Content-Type: text/xml\r\ncontent-type: text/xml\r\n" END, ERR_XML },
	{ "two encodings", "--b1\r\n" ID "Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 8bit\r\n" END, ERR_XML },
	{ "base64", "--b1\r\n" ID "content-transfer-encoding: base64\r\n" END, ERR_XML },
	{ "blank before the colon", "--b1\r\n" ID "Content-Transfer-Encoding : 8bit\r\n" END, ERR_XML },
	{ "tab before the colon", "--b1\r\n" ID "X\t: y\r\n" END, ERR_XML },
	{ "no colon", "--b1\r\n" ID "Content-Type\r\n" END, ERR_XML },
	{ "no name", "--b1\r\n" ID ": x\r\n" END, ERR_XML },
	{ "folded first", "--b1\r\n " ID ID END, ERR_XML },
	{ "folded Content-ID", "--b1\r\nContent-ID:\r\n <root>\r\n" END, ERR_XML },
	{ "folded behind another", "--b1\r\n" ID "Content-Type: text/xml\r\nX: y\r\n z\r\n" END, ERR_XML },
	{ "a line of blanks", "--b1\r\n" ID "Content-Type: text/xml;\r\n \r\n" END, ERR_XML },
	{ "a header in a folded line", "--b1\r\n" ID "Content-Type: text/xml;\r\n Content-Transfer-Encoding: base64\r\n" END,
	    ERR_CONTENT_TYPE },
	{ "LF in a header", "--b1\r\n" ID "X: y\nContent-Transfer-Encoding: base64\r\n" END, ERR_XML },
	{ "CR in a header", "--b1\r\n" ID "X: y\rContent-Transfer-Encoding: base64\r\n" END, ERR_XML },
	{ "CR before the line end", "--b1\r\n" ID "X: y\r\r\n" END, ERR_XML },
	{ "a line separator", "--b1\r\n" ID "X: y\xc2\x85Z: z\r\n" END, ERR_XML },
	{ "a form feed", "--b1\r\n" ID "X: y\fZ: z\r\n" END, ERR_XML },
	{ "lines that end with LF", "--b1\nContent-ID: <root>\n\n<e/>\r\n", ERR_XML },
	{ "a preamble", "preamble\r\n--b1\r\n" ID END, ERR_XML },
	{ "a blank in it", " \r\n--b1\r\n" ID END, ERR_XML },
	{ "LF as preamble", "\n\r\n--b1\r\n" ID END, ERR_XML },
	{ "a part in it", "x\n--b1\n" "Content-ID: <root>\n\n<e/>\r\n--b1\r\n" ID END, ERR_XML },
	{ "blanks behind the delimiter", "--b1 \r\n" ID END, ERR_XML },
	{ "the last delimiter", "--b1--\r\n" ID END, ERR_XML },
	{ "another boundary", "--b12\r\n" ID END, ERR_XML },
	{ "delimiter in the headers", "--b1\r\n" ID "--b1\r\n" END, ERR_XML },
	{ "is of HTML", "--b1\r\n" ID "Content-Type: text/html\r\n" END, ERR_CONTENT_TYPE },
	{ "is a multipart", "--b1\r\n" ID "Content-Type: multipart/mixed; boundary=c\r\n" END, ERR_CONTENT_TYPE },
	{ "is of SOAP 1.2", "--b1\r\n" ID "Content-Type: application/xop+xml; type=\"application/soap+xml\"\r\n" END, ERR_SOAP_12 },
	{ "of two types in one", "--b1\r\n" ID "Content-Type: text/xml, text/xml\r\n" END, ERR_CONTENT_TYPE },
};

static void
doubtful_roots_are_refused(void **state)
{
	char long_line[1200];
	struct err e;
	size_t root;
	(void)state;

	for (size_t i = 0; i < sizeof doubtful / sizeof *doubtful; i++)
		if (find(doubtful[i].in, "<root>", &root, &e) != -1 || e.kind != doubtful[i].kind)
			fail_msg("%s: %s %s", doubtful[i].note, err_name(e.kind), e.detail);
	memset(long_line, 'x', sizeof long_line - 1);
	long_line[sizeof long_line - 1] = '\0';
	assert_int_equal(find(long_line, NULL, &root, &e), -1);
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
	{ false, "carriage returns alone", "<root>", ROOT "--b1\rContent-ID: <root>\r\rx" },
	{ false, "a delimiter behind a carriage return", "<root>", SECOND("A: b\r\n\r\nx\r--b1\nContent-ID: <root>\r") },
	{ false, "a header behind a carriage return", "<root>", SECOND("A: b\rContent-ID: <root>") },
	{ true, "an empty line that ends with LF", "<root>", SECOND("A: b\r\n\nContent-ID: <root>") },
	{ true, "an empty line that ends with CR", "<root>", SECOND("A: b\r\rContent-ID: <root>") },
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
		{ "--b1\r\nContent-Type: text/xml; action=\"x;charset=utf-16\"\r\n\r\n", true },
		{ "--b1\r\nContent-Type: text/xml; charset=utf-16\r\n\r\n", false },
		{ "--b1\r\nContent-Type: text/xml; action=\"x;\"; charset=utf-16\r\n\r\n", false },
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
		cmocka_unit_test(the_headers_of_real_roots_are_taken),
		cmocka_unit_test(doubtful_roots_are_refused),
		cmocka_unit_test(a_second_root_is_refused_however_it_comes),
		cmocka_unit_test(the_headers_of_a_part_have_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
