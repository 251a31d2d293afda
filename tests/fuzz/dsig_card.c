/* A signed card from a stranger, judged with the key it shows itself: the most that can be reached. What is
 * accepted must be accepted again in the form that comes out, and must come out the same. */
#include "dsig.h"
#include "xml.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static X509 *
claimed(struct arena *a, struct slice card)
{
	struct slice der = dsig_claimed_certificate(a, card);
	const unsigned char *p = (const unsigned char *)der.p;

	return der.p == NULL ? NULL : d2i_X509(NULL, &p, (long)der.n);
}

static void
start(void)
{
	static bool started;
	struct err e = { 0 };

	if (started)
		return;
	xml_init();
	if (dsig_init(&e) < 0)
		abort();
	started = true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice card = { (const char *)data, size }, info;
	struct dsig_verified got, again;
	struct err e = { 0 };

	start();
	struct arena *a = arena_new(64 << 20);
	X509 *cert = claimed(a, card);
	struct dsig_policy policy = { .keys = &cert, .nkeys = 1 };
	if (dsig_verify(a, card, &policy, &got, &e) == 0 &&
	    (dsig_verify(a, got.card, &policy, &again, &e) < 0 || !slice_eq(got.card, again.card)))
		abort();
	err_clear(&e);
	(void)dsig_prepare(a, card, DSIG_SHA1, &info, &e);
	X509_free(cert);
	arena_free(a);
	return 0;
}
