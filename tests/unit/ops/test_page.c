#include "page.h"

#include "unit.h"

static const struct slice absent = { NULL, 0 };

static void
only_a_host_and_a_port_are_repeated(void **state)
{
	static const struct { const char *host, *name, *port; bool tls; const char *wanted; } rows[] = {
		{ "gw.example.dk", "x", "80", false, "http://gw.example.dk" },
		{ "gw.example.dk:8443", "x", "443", true, "https://gw.example.dk:8443" },
		{ "[::1]:8080", "x", "80", false, "http://[::1]:8080" },
		{ NULL, "gw", "443", true, "https://gw:443" },
		{ "", "gw", "80", false, "http://gw:80" },
		{ "\"><script>", "gw", "80", false, "http://gw:80" },
		{ "gw'x", "gw", "80", false, "http://gw:80" },
		{ "user@gw", "gw", "80", false, "http://gw:80" },
		{ "gw/path", "gw", "80", false, "http://gw:80" },
		{ "gw?x", "gw", "80", false, "http://gw:80" },
		{ "gw#x", "gw", "80", false, "http://gw:80" },
		{ "gw x", "gw", "80", false, "http://gw:80" },
		{ "$(id)", "gw", "80", false, "http://gw:80" },
		{ "gw:0", "gw", "80", false, "http://gw:80" },
		{ "gw:65536", "gw", "80", false, "http://gw:80" },
		{ "g\xC3\xA6", "gw", "80", false, "http://gw:80" },
		{ "\"<", "\"<", "80", false, "http://localhost" },
		{ NULL, NULL, NULL, true, "https://localhost" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_slice(rows[i].wanted, page_base(*state, rows[i].tls, slice_of(rows[i].host), slice_of(rows[i].name),
		    slice_of(rows[i].port)));
}

static bool
tells(const struct page *p, enum err_kind kind)
{
	for (size_t i = 0; i < p->nfaults; i++)
		for (size_t j = 0; j < p->faults[i].ntexts; j++)
			if (slice_is(p->faults[i].texts[j], err_text(kind, p->danish)))
				return strcmp(p->faults[i].code, err_code(kind)) == 0;
	return false;
}

static void
every_fault_that_a_client_can_get_is_told_under_its_code(void **state)
{
	struct arena *a = *state;
	struct err e;

	for (int danish = 0; danish < 2; danish++) {
		struct page p = { .danish = danish };
		assert_ok(page_fill(&p, a, &e), &e);
		assert_int_equal(p.nfaults, 8);
		for (enum err_kind kind = ERR_NONE + 1; kind < ERR_KINDS; kind++) {
			bool internal = kind == ERR_CLIENT_GONE || kind == ERR_NOT_FOUND || kind == ERR_CONFLICT || kind == ERR_INVALID ||
			    strcmp(err_code(kind), err_code(ERR_LINK_UNKNOWN)) == 0;	/* told on the pages of a browser */
			if (tells(&p, kind) == internal)
				fail_msg("%s", err_name(kind));
		}
	}
}

static void
the_page_is_whole_without_a_configuration(void **state)
{
	struct page p = { .address = S("https://a/<b>"), .proxy = absent };
	struct err e;
	struct buf b;

	assert_ok(page_fill(&p, *state, &e), &e);
	buf_init(&b, 1 << 20);
	page_write(&b, &p);
	buf_putc(&b, '\0');
	assert_false(b.failed);
	assert_non_null(strstr(b.p, "</html>"));
	assert_non_null(strstr(b.p, "'https://a/&lt;b&gt;'"));
	assert_null(strstr(b.p, "The message of a card operation"));
	buf_free(&b);
}

static void
no_memory_is_an_error(void **state)
{
	struct page p = { .danish = true };
	struct err e;

	for (unsigned long n = 1; n <= 4; n++) {
		arena_fail_at(n);
		assert_err(ERR_MEMORY, page_fill(&p, *state, &e), &e);
	}
	arena_fail_at(0);
}

static int
open_arena(void **state)
{
	*state = arena_new(1 << 20);
	return *state == NULL ? -1 : 0;
}

static int
close_arena(void **state)
{
	arena_free(*state);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_a_host_and_a_port_are_repeated, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(every_fault_that_a_client_can_get_is_told_under_its_code, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(the_page_is_whole_without_a_configuration, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(no_memory_is_an_error, open_arena, close_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
