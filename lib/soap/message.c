/* From bytes to trees: the card of a head, and small whole messages. The head is always read by the
 * reader of head.c first; the tree only gives what that has let pass. */
#include "soap.h"

/* The one assertion that is a child of a Security header, as head.c found it. */
static xmlNode *
find_card(const xmlNode *envelope)
{
	xmlNode *header = xml_child(envelope, NS_SOAP, "Header", 0), *security;

	for (unsigned n = 0; (security = xml_child(header, NS_WSSE, "Security", n)) != NULL; n++) {
		xmlNode *card = xml_child(security, NS_SAML, "Assertion", 0);
		if (card != NULL)
			return card;
	}
	return NULL;
}

/* The head, made a document by closing its Envelope. */
static struct slice
closed_head(struct arena *a, const struct soap_head *h, struct slice message)
{
	struct buf *b = arena_alloc(a, sizeof *b);

	if (b == NULL)
		return (struct slice){ NULL, 0 };
	buf_init(b, h->end + h->envelope_prefix.n + 16);
	buf_put(b, (struct slice){ message.p, h->end });
	buf_puts(b, "</");
	buf_put(b, h->envelope_prefix);
	buf_puts(b, h->envelope_prefix.p != NULL ? ":Envelope>" : "Envelope>");
	return buf_defer(b, a) < 0 ? (struct slice){ NULL, 0 } : buf_slice(b);
}

int
soap_head_card(struct arena *a, const struct soap_head *h, struct slice message, xmlNode **card, struct err *e)
{
	xmlDoc *doc;

	*card = NULL;
	if (!h->has_card)
		return err_set(e, ERR_NO_CARD_IN_REQUEST, "no assertion in Security");
	if (h->end > message.n)
		return err_set(e, ERR_INTERNAL, "message shorter than its head");
	struct slice head = closed_head(a, h, message);
	if (head.p == NULL)
		return err_set(e, ERR_MEMORY, "head");
	if (xml_parse(a, head, &xml_document_limits, &doc, e) < 0)
		return -1;
	*card = find_card(xmlDocGetRootElement(doc));
	return *card == NULL ? err_set(e, ERR_XML, "card not found again") : 0;
}

static int
read_head(struct arena *a, struct slice bytes, const struct soap_head **head, struct err *e)
{
	struct soap_reader *r = soap_reader_new(a, &xml_head_limits);

	if (r == NULL)
		return err_set(e, ERR_MEMORY, "reader");
	int rc = soap_reader_feed(r, bytes, e);
	if (rc == 0)
		rc = soap_reader_end(r, e);
	*head = soap_reader_head(r);
	return rc < 0 ? -1 : 0;
}

/* At most a Header, then the Body, then nothing. */
static xmlNode *
find_body(const xmlNode *envelope, struct err *e)
{
	xmlNode *at = xml_first(envelope);

	if (xml_is(at, NS_SOAP, "Header"))
		at = xml_next(at);
	if (!xml_is(at, NS_SOAP, "Body") || xml_next(at) != NULL) {
		err_set(e, ERR_ENVELOPE_FORM, "not Header, Body");
		return NULL;
	}
	return at;
}

int
soap_read(struct arena *a, struct slice bytes, struct soap_message *out, struct err *e)
{
	xmlDoc *doc;

	*out = (struct soap_message){ NULL, NULL, NULL };
	if (read_head(a, bytes, &out->head, e) < 0 || xml_parse(a, bytes, &xml_document_limits, &doc, e) < 0)
		return -1;
	xmlNode *envelope = xmlDocGetRootElement(doc);
	const xmlNode *body = find_body(envelope, e);
	if (body == NULL)
		return -1;
	out->operation = xml_first(body);
	if (out->operation != NULL && xml_next(out->operation) != NULL)
		return err_set(e, ERR_TWO_OPERATIONS, "second element in Body");
	out->card = find_card(envelope);
	if ((out->card != NULL) != out->head->has_card)
		return err_set(e, ERR_XML, "reader and tree differ about the card");
	return 0;
}
