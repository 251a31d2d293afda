/* A card, read in both ways. What the strict way takes the lenient way takes, too, with the same content; and
 * what can be ordered with it can be built and read again. */
#include "idcard.h"
#include "xml.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
start(void)
{
	static bool started;

	if (!started)
		xml_init();
	started = true;
}

/* Everything that was read, but for memory that ended, must make a card that follows every rule. */
static void
build(struct arena *a, const struct idcard *from)
{
	const struct idcard_new n = { .from = from, .issuer = S("SOSI-GW"), .now = 1715673600 };
	struct err e = { 0 };
	struct idcard *made;

	if (idcard_check_order(from, &e) < 0)
		return;
	err_clear(&e);
	if (idcard_build(a, &n, &made, &e) < 0 && e.kind != ERR_MEMORY)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = { (const char *)data, size };
	struct err e = { 0 };
	struct idcard *strict = NULL, *lenient = NULL;
	xmlDoc *doc;

	start();
	struct arena *a = arena_new(64 << 20);
	bool right = idcard_read(a, bytes, &strict, &e) == 0;
	err_clear(&e);
	if (xml_parse(a, bytes, &xml_document_limits, &doc, &e) == 0 &&
	    idcard_read_request(a, xmlDocGetRootElement(doc), &lenient, &e) == 0)
		build(a, lenient);
	if (right && (lenient == NULL || !slice_eq(strict->name_id, lenient->name_id)))
		abort();
	arena_free(a);
	return 0;
}
