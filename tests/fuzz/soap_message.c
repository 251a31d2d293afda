/* A small whole message from a stranger, and a Content-Type. The first line is the type, the rest the message. What
 * must hold: head and tree agree, and what the fault about it says can be read. */
#include "must.h"
#include "soap.h"

#include <stdint.h>

static void
check_fault(struct arena *a, const struct err *e)
{
	struct buf out;
	xmlDoc *doc;
	struct err again;

	err_clear(&again);
	buf_init(&out, 1 << 20);
	soap_write_fault(&out, e, S("id"), false, (struct slice){ NULL, 0 });
	must(xml_parse(a, buf_slice(&out), &xml_document_limits, &doc, &again) == 0);
	buf_free(&out);
}

static void
check_type(struct arena *a, struct slice type)
{
	struct slice boundary, start;
	enum soap_form form;
	struct err e;

	err_clear(&e);
	if (soap_content_type(a, type, &form, &boundary, &start, &e) == 0)
		must((form == SOAP_MULTIPART) == (boundary.p != NULL));
	else
		check_fault(a, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool begun;
	struct slice rest = { (const char *)data, n }, type;
	struct soap_message m;
	struct err e;

	if (!begun)
		xml_init();
	begun = true;
	if (!slice_next(&rest, '\n', &type))
		return 0;
	struct arena *a = arena_new(64 << 20);
	check_type(a, type);
	err_clear(&e);
	if (rest.p == NULL) {
		/* no message */
	} else if (soap_read(a, rest, &m, &e) == 0) {
		must((m.card != NULL) == m.head->has_card);
		must(!m.head->has_card || xml_is(m.card, NS_SAML, "Assertion"));
		xmlNode *name = xml_child(xml_child(m.card, NS_SAML, "Subject", 0), NS_SAML, "NameID", 0);
		if (m.head->name_id.n > 0 && name != NULL)
			must(slice_eq(slice_trim(xml_text(a, name)), m.head->name_id));
	} else {
		err_say(&e, "%.*s", SLICE_FMT(rest));
		check_fault(a, &e);
	}
	arena_free(a);
	return 0;
}
