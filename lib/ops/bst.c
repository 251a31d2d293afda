/* createIdCardFromBST. The answer is written anew, as the STS writes its own (WS-Trust 1.3): the STS has signed its
 * message, so nothing can be taken out of it and leave it good, and what a client gets holds only what was verified. */
#include "ops_private.h"

#include "clock.h"
#include "rand.h"

#define RST_ISSUE NS_WST13 "/RST/Issue"
#define SAML_TOKEN "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV2.0"
#define WSA "xmlns:wsa=\"" NS_WSA05 "\""

static int
write_header(struct op *op)
{
	struct edge_call *c = &op->call;
	struct slice asked = op->message.head->message_id;
	struct buf b;

	buf_init(&b, asked.n * 6 + 4096);
	/* the action of the request: so the STS itself answers (Seal's tests of real answers) */
	buf_puts(&b, "<wsa:Action " WSA ">" RST_ISSUE "</wsa:Action><wsa:MessageID " WSA ">urn:uuid:");
	xml_put_text(&b, rand_uuid(c->arena));
	buf_puts(&b, "</wsa:MessageID>");
	if (asked.n > 0) {
		buf_puts(&b, "<wsa:RelatesTo " WSA ">");
		xml_put_text(&b, asked);
		buf_puts(&b, "</wsa:RelatesTo>");
	}
	signing_session(&b, c->caller.organisation, &op->user);
	return ops_keep_markup(op, &b, &op->header);
}

static int
write_body(struct op *op, const struct sts_claims *claims, const struct idcard *card)
{
	struct edge_call *c = &op->call;
	struct slice xml = card->xml;
	struct buf b;

	if (ops_without_signature(op, &xml) < 0)
		return -1;
	buf_init(&b, xml.n + (claims->context.n + claims->applies_to.n) * 6 + 4096);
	buf_puts(&b, "<wst:RequestSecurityTokenResponseCollection xmlns:wst=\"" NS_WST13 "\">"
	    "<wst:RequestSecurityTokenResponse");
	if (claims->context.p != NULL)
		xml_put_attr(&b, "Context", claims->context);
	buf_puts(&b, "><wst:TokenType>" SAML_TOKEN "</wst:TokenType><wst:RequestedSecurityToken>");
	buf_put(&b, xml);
	buf_puts(&b, "</wst:RequestedSecurityToken>");
	if (claims->applies_to.p != NULL) {
		buf_puts(&b, "<wsp:AppliesTo xmlns:wsp=\"" NS_WSP "\"><wsa:EndpointReference " WSA "><wsa:Address>");
		xml_put_text(&b, claims->applies_to);
		buf_puts(&b, "</wsa:Address></wsa:EndpointReference></wsp:AppliesTo>");
	}
	buf_puts(&b, "<wst:Lifetime><wsu:Created xmlns:wsu=\"" NS_WSU "\">");
	xml_put_text(&b, clock_iso(c->arena, card->not_before));
	buf_puts(&b, "</wsu:Created><wsu:Expires xmlns:wsu=\"" NS_WSU "\">");
	xml_put_text(&b, clock_iso(c->arena, card->not_after));
	buf_puts(&b, "</wsu:Expires></wst:Lifetime></wst:RequestSecurityTokenResponse>"
	    "</wst:RequestSecurityTokenResponseCollection>");
	return ops_keep_markup(op, &b, &op->body);
}

int
ops_create_from_bst(struct op *op)
{
	struct edge_call *c = &op->call;
	struct sts_claims claims;
	struct idcard *card;

	if (sts_read_claims(c->arena, op->message.operation, &claims, &c->err) < 0)
		return -1;
	c->event.system = claims.system;
	c->event.user = claims.name_id;
	if (signing_exchange(&op->ops->signing, c->conf, c->arena, c->caller.organisation, op->bytes, &claims, &op->user,
	    &card, &c->err) < 0)
		return -1;
	c->event.user = card->name_id;
	c->event.card_id = card->id;
	if (write_header(op) < 0)
		return -1;
	return write_body(op, &claims, card);
}
