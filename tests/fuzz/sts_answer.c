/* What comes from the STS, read as the answer of both its services, and the request for a card from a bootstrap token
 * that comes from a client. What is taken for a card is one element, self-contained; what is taken for a request says what
 * the card must be for. */
#include "sts.h"
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

static void
check_card(struct arena *a, struct slice card)
{
	struct err e = { 0 };
	struct idcard *read;
	xmlDoc *doc;

	if (xml_parse(a, card, &xml_document_limits, &doc, &e) < 0) {
		/* canonical form may be longer than what it was made from: names repeated, characters escaped */
		if (e.kind != ERR_LIMIT && e.kind != ERR_MEMORY)
			abort();
		return;
	}
	if (!xml_is(xmlDocGetRootElement(doc), NS_SAML, "Assertion"))
		abort();
	err_clear(&e);
	if (idcard_read(a, card, &read, &e) < 0 && e.kind != ERR_CARD_FORM && e.kind != ERR_MEMORY)
		abort();
}

static void
check_request(struct arena *a, struct slice bytes)
{
	struct err e = { 0 };
	struct sts_claims claims;
	xmlDoc *doc;

	if (xml_parse(a, bytes, &xml_document_limits, &doc, &e) < 0)
		return;
	const xmlNode *rst = xml_first(xml_child(xmlDocGetRootElement(doc), NS_SOAP, "Body", 0));
	if (rst == NULL)
		return;
	if (sts_read_claims(a, rst, &claims, &e) == 0 && claims.system.n == 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = { (const char *)data, size }, card;
	struct err e = { 0 };

	start();
	struct arena *a = arena_new(64 << 20);
	bool one = sts_read_answer(a, bytes, &card, &e) == 0;
	if (one)
		check_card(a, card);
	err_clear(&e);
	/* no answer is both: the namespaces of WS-Trust differ */
	if (sts_read_bst_answer(a, bytes, &card, &e) == 0) {
		if (one)
			abort();
		check_card(a, card);
	}
	check_request(a, bytes);
	arena_free(a);
	return 0;
}
