/* The Content-Type of a request and the preamble of a multipart: the first line is the header's value, the rest
 * the body. What asks for more bytes must go on asking, or find, when it gets them. */
#include "soap.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
	}
	arena_free(a);
	return 0;
}
