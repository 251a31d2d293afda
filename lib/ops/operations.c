#include "ops_private.h"

#include "conv.h"

#include <string.h>

int
ops_keep_markup(struct op *op, struct buf *b, struct slice *out)
{
	*out = arena_dup(op->call.arena, buf_slice(b));
	buf_free(b);
	return out->p == NULL ? err_set(&op->call.err, ERR_MEMORY, "answer") : 0;
}

int
ops_order(struct op *op)
{
	struct edge_call *c = &op->call;
	struct cards_order *order;
	struct idcard *asked;
	struct slice url;
	struct buf b;

	if (idcard_read_request(c->arena, op->message.card, &asked, &c->err) < 0 ||
	    signing_order(&op->ops->signing, c->conf, c->arena, c->caller.client, &op->user, asked, &order,
	    &c->err) < 0 ||
	    signing_url(&op->ops->signing, c->conf, c->arena, &op->user, order, &url, &c->err) < 0)
		return -1;
	c->event.user = order->user;
	buf_init(&b, 16384);
	signing_session(&b, c->caller.organisation, &op->user);
	if (ops_keep_markup(op, &b, &op->header) < 0)
		return -1;
	soap_write_digest_response(&b, order->signed_info, url, c->arena);
	return ops_keep_markup(op, &b, &op->body);
}

/* ds:SignatureValue and ds:KeyInfo/X509Data/X509Certificate, both required (interface.md 1.5). */
static int
read_signing_info(struct op *op, struct slice *value, struct slice *certificate)
{
	struct edge_call *c = &op->call;
	const xmlNode *body = op->message.operation;
	const xmlNode *key_info = xml_child(body, NS_DS, "KeyInfo", 0);
	const xmlNode *data = key_info == NULL ? NULL : xml_child(key_info, NS_DS, "X509Data", 0);
	const xmlNode *cert = data == NULL ? NULL : xml_child(data, NS_DS, "X509Certificate", 0);

	*value = conv_unbase64(c->arena, xml_text(c->arena, xml_child(body, NS_DS, "SignatureValue", 0)));
	*certificate = conv_unbase64(c->arena, xml_text(c->arena, cert));
	if (value->p == NULL || value->n == 0)
		return err_set(&c->err, ERR_NO_SIGNING_INFO, "no SignatureValue");
	if (certificate->p == NULL || certificate->n == 0)
		return err_set(&c->err, ERR_NO_SIGNING_INFO, "no X509Certificate");
	if (xml_child(body, NS_DS, "SignatureValue", 1) != NULL || xml_child(data, NS_DS, "X509Certificate", 1) != NULL)
		return err_set(&c->err, ERR_NO_SIGNING_INFO, "two signatures or certificates");
	return 0;
}

/* Without an order the user may well have a card: a program that repeats what it got no answer to must not hear otherwise. */
static int
say_what_is_missing(struct edge_call *c)
{
	const struct err was = c->err;

	if (was.kind == ERR_NO_CARD) {
		err_clear(&c->err);
		err_set(&c->err, ERR_NO_ORDER, "%s", was.detail);
	}
	return -1;
}

int
ops_sign(struct op *op)
{
	struct edge_call *c = &op->call;
	struct slice value, certificate;

	if (read_signing_info(op, &value, &certificate) < 0)
		return -1;
	if (signing_complete(&op->ops->signing, c->conf, c->arena, c->caller.organisation, &op->user, value, certificate,
	    &c->event.card_id, &c->err) < 0)
		return say_what_is_missing(c);
	op->body = S("<ns2:signIdCardResponse xmlns:ns2=\"" NS_GW07 "\">ok</ns2:signIdCardResponse>");
	return 0;
}

/* The contract's response element is of the assertion's type: the assertion under another name
 * (interface.md 1.3). Canonical form begins with "<qname" and ends with "</qname>". */
static int
rename_assertion(struct op *op, struct slice xml)
{
	static const char name[] = "ns2:getValidIdCardResponse";
	size_t qname = 1, end = xml.n;
	struct buf b;

	while (qname < xml.n && xml.p[qname] != ' ' && xml.p[qname] != '>')
		qname++;
	while (end > 0 && xml.p[end - 1] != '<')
		end--;
	if (xml.n == 0 || end <= qname)
		return err_set(&op->call.err, ERR_INTERNAL, "kept card is no assertion");
	buf_init(&b, xml.n + 256);
	buf_printf(&b, "<%s xmlns:ns2=\"" NS_GW07 "\"", name);
	buf_put(&b, (struct slice){ xml.p + qname, end - 1 - qname });
	buf_printf(&b, "</%s>", name);
	return ops_keep_markup(op, &b, &op->body);
}

int
ops_without_signature(struct op *op, struct slice *xml)
{
	struct edge_call *c = &op->call;
	xmlDoc *doc;

	if (xml_parse(c->arena, *xml, &xml_document_limits, &doc, &c->err) < 0)
		return -1;
	const xmlNode *root = xmlDocGetRootElement(doc);
	return xml_canonical(c->arena, root, XML_C14N_EXCLUSIVE, xml_child(root, NS_DS, "Signature", 0), xml, &c->err);
}

/* No card: tells an order that awaits its signature from none at all. */
static int
say_why_none(struct op *op)
{
	struct edge_call *c = &op->call;
	struct err none = { .kind = ERR_NONE };
	struct cards_order *order;

	if ((c->err.kind == ERR_NO_CARD || c->err.kind == ERR_CARD_EXPIRED || c->err.kind == ERR_CARD_REVOKED) &&
	    cards_pending(op->ops->signing.cards, c->arena, &op->user, &order, &none) == 0) {
		err_clear(&c->err);
		err_set(&c->err, ERR_AWAITING, "ordered %lld", (long long)order->ordered);
	}
	return -1;
}

static int
read_card(void *ctx, struct idcard **asked, struct err *e)
{
	struct op *op = ctx;

	return idcard_read_request(op->call.arena, op->message.card, asked, e);
}

/* Of a system whose key the gateway keeps, when the request's card is one; false: it is not. */
static bool
is_of_kept_key(struct op *op, struct signing_system *wanted)
{
	const struct soap_head *h = op->message.head;
	const struct conf_organisation *o = op->call.caller.organisation;

	*wanted = (struct signing_system){
		.organisation = o, .key = signing_system_key(o, h->type, h->level, h->system),
		.system = h->system, .care_provider = h->care_provider, .care_provider_format = h->care_provider_format,
		.care_provider_name = h->care_provider_name, .read = read_card, .ctx = op,
	};
	return wanted->key != NULL;
}

static int
find_card(struct op *op, struct card **card)
{
	struct edge_call *c = &op->call;
	struct signing_system wanted;

	if (is_of_kept_key(op, &wanted))
		return signing_system(&op->ops->signing, c->conf, c->arena, &wanted, card, &c->err);
	if (cards_get(op->ops->signing.cards, c->arena, &op->user, c->conf->expiry_margin, 0, card, &c->err) < 0)
		return say_why_none(op);
	return 0;
}

int
ops_get(struct op *op)
{
	struct edge_call *c = &op->call;
	struct card *card;

	if (find_card(op, &card) < 0)
		return -1;
	struct slice xml = card->xml;
	edge_note_card(c, card);
	/* for clients whose schema cannot hold it */
	if ((c->caller.organisation->withhold_signature || c->caller.client->withhold_signature) &&
	    ops_without_signature(op, &xml) < 0)
		return -1;
	return rename_assertion(op, xml);
}

int
ops_logout(struct op *op)
{
	struct edge_call *c = &op->call;
	struct signing_system wanted;
	struct slice id = { NULL, 0 };

	/* both, though the first fails */
	int rc = cards_forget(op->ops->signing.cards, c->arena, &op->user, &c->event.card_id, &c->err);
	if (is_of_kept_key(op, &wanted) &&
	    signing_system_forget(&op->ops->signing, c->arena, &wanted, &id, &c->err) < 0)
		rc = -1;
	if (id.p != NULL)
		c->event.card_id = id;
	return rc;
}

int
ops_logout_with_response(struct op *op)
{
	if (ops_logout(op) < 0)
		return -1;
	op->body = S("<ns2:logoutResponse xmlns:ns2=\"" NS_GW14 "\">ok</ns2:logoutResponse>");
	return 0;
}
