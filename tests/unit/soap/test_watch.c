#include "unit.h"

#include "soap.h"

#define OPEN "<s:Envelope xmlns:s=\"" NS_SOAP "\">"
#define BODY "<s:Body><a xmlns=\"urn:a\">x</a></s:Body>"
#define CLOSE "</s:Envelope>"

/* The message in steps of so many bytes. */
static int
watch(const char *text, size_t step, struct err *e)
{
	struct arena *a = arena_new(1 << 20);
	struct soap_watch *w = soap_watch_new(a);
	struct slice rest = slice_of(text);
	int rc = 0;

	err_clear(e);
	while (rc == 0 && rest.n > 0) {
		size_t n = rest.n < step ? rest.n : step;
		rc = soap_watch_feed(w, (struct slice){ rest.p, n }, e);
		rest = slice_from(rest, n);
	}
	if (rc == 0)
		rc = soap_watch_end(w, e);
	arena_free(a);
	return rc;
}

static const struct {
	const char *note, *text;
	enum err_kind want;
} rows[] = {
	{ "plain", OPEN "<s:Header/>" BODY CLOSE, ERR_NONE },
	{ "no Header", OPEN BODY CLOSE, ERR_NONE },
	{ "declaration, comment, white space at the end", "<?xml version=\"1.0\"?>" OPEN BODY "<!-- c -->" CLOSE "\r\n<!-- c -->\n", ERR_NONE },
	{ "cut in the body", OPEN "<s:Body><a>", ERR_XML },
	{ "cut before the last tag", OPEN BODY, ERR_XML },
	{ "mismatched tags", OPEN "<s:Body><a></b></s:Body>" CLOSE, ERR_XML },
	{ "unbound prefix", OPEN "<s:Body><x:a/></s:Body>" CLOSE, ERR_XML },
	{ "text behind the root", OPEN BODY CLOSE "x", ERR_XML },
	{ "a second root", OPEN BODY CLOSE "<a/>", ERR_XML },
	{ "invalid UTF-8", OPEN "<s:Body>\xC3</s:Body>" CLOSE, ERR_XML },
	{ "undefined entity", OPEN "<s:Body>&x;</s:Body>" CLOSE, ERR_XML },
	{ "DOCTYPE", "<!DOCTYPE a>" OPEN BODY CLOSE, ERR_DOCTYPE },
	{ "a second Body", OPEN BODY BODY CLOSE, ERR_ENVELOPE_FORM },
	{ "Header behind Body", OPEN BODY "<s:Header/>" CLOSE, ERR_ENVELOPE_FORM },
	{ "two Headers", OPEN "<s:Header/><s:Header/>" BODY CLOSE, ERR_ENVELOPE_FORM },
	{ "something behind Body", OPEN BODY "<a/>" CLOSE, ERR_ENVELOPE_FORM },
	{ "Envelope in the body", OPEN "<s:Body>" OPEN BODY CLOSE "</s:Body>" CLOSE, ERR_NONE },
	{ "no Body", OPEN "<s:Header/>" CLOSE, ERR_ENVELOPE_FORM },
};

static void
a_message_is_judged_to_its_end(void **state)
{
	static const size_t steps[] = { 1, 3, 7, 1000 };
	struct err e;
	(void)state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t j = 0; j < sizeof steps / sizeof *steps; j++) {
			watch(rows[i].text, steps[j], &e);
			if (e.kind != rows[i].want)
				fail_msg("%s, step %zu: %s (%s)", rows[i].note, steps[j], err_name(e.kind), e.detail);
		}
}

static void
the_body_may_be_longer_than_any_memory_of_it(void **state)
{
	static const char open[] = OPEN "<s:Body><a>";
	struct arena *a = arena_new(1 << 20);
	struct soap_watch *w = soap_watch_new(a);
	struct err e = { .kind = ERR_NONE };
	char text[65536];
	(void)state;

	memset(text, 'x', sizeof text);
	assert_ok(soap_watch_feed(w, slice_of(open), &e), &e);
	for (int i = 0; i < 600; i++)	/* 39 MB of one text */
		assert_ok(soap_watch_feed(w, (struct slice){ text, sizeof text }, &e), &e);
	assert_ok(soap_watch_feed(w, S("</a></s:Body>" CLOSE), &e), &e);
	assert_ok(soap_watch_end(w, &e), &e);
	arena_free(a);
}

static int
start(void **state)
{
	(void)state;
	xml_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_judged_to_its_end),
		cmocka_unit_test(the_body_may_be_longer_than_any_memory_of_it),
	};
	return cmocka_run_group_tests(tests, start, NULL);
}
