/* What a browser posts, judged against the very SignedInfo that it brings: the most that can be reached. What is taken
 * as XML is taken as base64 of it too, and gives the same. */
#include "answer.h"
#include "conv.h"
#include "posted.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
same(struct slice a, struct slice b)
{
	return a.p != NULL && slice_eq(a, b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	struct slice text = { (const char *)data, size }, info = { NULL, 0 };
	struct signing_answer got, again;
	struct posted p;
	struct err e = { 0 };

	if (!started)
		xml_init();
	started = true;
	struct arena *a = arena_new(64 << 20);
	if (posted_read(a, text, &p, &e) == 0 && xml_canonical(a, p.signed_info, XML_C14N_EXCLUSIVE, NULL, &info, &e) == 0 &&
	    signing_answer_read(a, text, info, &got, &e) == 0 &&
	    (signing_answer_read(a, conv_base64(a, text), info, &again, &e) < 0 || !same(got.value, again.value) ||
	    !same(got.certificate, again.certificate)) && e.kind != ERR_LIMIT && size > 0 && data[0] == '<')
		abort();
	arena_free(a);
	return 0;
}
