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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_part_is_found),
		cmocka_unit_test(every_cut_asks_for_more),
		cmocka_unit_test(doubtful_parts_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
