/* The parts of a multipart as they stream by; the first line is the start (empty: none), the rest the message. How it
 * comes in changes nothing, and whatever it was, a part with the root's Content-ID behind it is found. */
#include "must.h"
#include "soap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Feeds it in pieces of n bytes. */
static int
feed(struct soap_parts *p, struct slice rest, size_t n)
{
	struct err e = { .kind = ERR_NONE };
	int rc = 0;

	for (; rest.n > 0 && rc == 0; rest = slice_from(rest, n))
		rc = soap_parts_feed(p, (struct slice){ rest.p, rest.n < n ? rest.n : n }, &e);
	return rc;
}

static int
verdict(struct slice start, struct slice message, struct slice more, size_t n)
{
	struct arena *a = arena_new(1 << 20);
	struct soap_parts *p = soap_parts_new(a, S("b"), start);

	must(p != NULL);
	int rc = feed(p, message, n) < 0 || feed(p, more, n) < 0 ? -1 : 0;
	arena_free(a);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* two: the first may be the root */
	static const char *const seconds[] = {
		"\r\n--b\r\nContent-ID: <r>\r\n\r\n\r\n--b\r\nContent-ID: <r>\r\n\r\n",
		"\n--b\nContent-ID: <r>\n\n\n--b\nContent-ID: <r>\n\n",
		"\r--b\rContent-ID: <r>\r\r\r--b\rContent-ID: <r>\r\r",
	};
	struct slice rest = { (const char *)data, size }, start;

	if (!slice_next(&rest, '\n', &start) || rest.p == NULL)
		return 0;
	if (start.n == 0)
		start = (struct slice){ NULL, 0 };
	int rc = verdict(start, rest, S(""), rest.n);
	must(verdict(start, rest, S(""), 1) == rc && verdict(start, rest, S(""), 7) == rc);
	for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
		must(verdict(S("<r>"), rest, slice_of(seconds[i]), 7) == -1);
	return 0;
}
