/* The Content-Type of a request and the preamble of a multipart: the first line is the header's value, the rest
 * the body. What asks for more bytes must go on asking, or find, when it gets them; and how the parts come in changes nothing. */
#include "soap.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The verdict on all parts when they come in pieces of n bytes. */
static int
watch(struct arena *a, struct slice boundary, struct slice start, struct slice rest, size_t n)
{
	struct soap_parts *p = soap_parts_new(a, boundary, start);
	struct err e = { .kind = ERR_NONE };
	int rc = 0;

	for (; p != NULL && rest.n > 0 && rc == 0; rest = slice_from(rest, n))
		rc = soap_parts_feed(p, (struct slice){ rest.p, rest.n < n ? rest.n : n }, &e);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = { (const char *)data, size }, type, boundary, start;
	struct arena *a = arena_new(1 << 20);
	struct err e = { .kind = ERR_NONE };
	enum soap_form form;
	size_t root, early;

	if (slice_next(&rest, '\n', &type) && rest.p != NULL &&
	    soap_content_type(a, type, &form, &boundary, &start, &e) == 0 && form == SOAP_MULTIPART) {
		int whole = soap_find_root(rest, boundary, start, &root, &e);
		struct slice half = { rest.p, rest.n / 2 };
		struct err other = { .kind = ERR_NONE };
		int cut = soap_find_root(half, boundary, start, &early, &other);
		if ((whole == 1 && root > rest.n) || (cut == 1 && (whole != 1 || early != root)))
			abort();
		if (watch(a, boundary, start, rest, rest.n) != watch(a, boundary, start, rest, 7))
			abort();
	}
	arena_free(a);
	return 0;
}
