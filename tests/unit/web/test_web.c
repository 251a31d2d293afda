#include "web.h"

#include "unit.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_language_is_the_querys_then_the_browsers_then_the_gateways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
