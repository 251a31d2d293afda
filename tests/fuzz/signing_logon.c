/* A log-on form from a stranger. The form is judged as the challenge of nobody and as that of the kept inputs; the
 * certificate by no authority, so the most that can be reached is its refusal. */
#include "logon.h"
#include "xml.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	const struct signing_logon wanted = { S("nonce-1"), S("gw.example.dk") };
	const struct conf c = { .revision = 0 };
	const struct signing s = { .cards = NULL };
	struct pki_identity who;
	struct err e = { 0 };

	if (!started)
		xml_init();
	started = true;
	struct arena *a = arena_new(64 << 20);
	if (signing_logon_read(&s, &c, a, (struct slice){ (const char *)data, size }, &wanted, &who, &e) == 0)
		abort();
	arena_free(a);
	return 0;
}
