/* A card that its user has signed, signed by the STS. The request has the form that the STS's own library sends
 * (idcard.md 3.1). */
#include "sts_private.h"

#include "buf.h"
#include "clock.h"
#include "rand.h"

static int
write_request(struct arena *a, const struct idcard *card, struct slice *out, struct err *e)
{
	struct buf *b = arena_alloc(a, sizeof *b);

	if (b == NULL)
		return err_set(e, ERR_MEMORY, "STS request");
	buf_init(b, card->xml.n + 4096);
	buf_puts(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<soapenv:Envelope xmlns:soapenv=\"" NS_SOAP "\" id=\"Envelope\"><soapenv:Header>"
	    "<wsse:Security xmlns:wsse=\"" NS_WSSE "\"");
	xml_put_attr(b, "id", rand_token(a, 16));
	buf_puts(b, "><wsu:Timestamp xmlns:wsu=\"" NS_WSU "\"><wsu:Created>");
	xml_put_text(b, clock_iso(a, clock_now()));
	buf_puts(b, "</wsu:Created></wsu:Timestamp></wsse:Security></soapenv:Header><soapenv:Body>"
	    "<wst:RequestSecurityToken xmlns:wst=\"" NS_WST "\" Context=\"www.sosi.dk\">"
	    "<wst:TokenType>urn:oasis:names:tc:SAML:2.0:assertion:</wst:TokenType>"
	    "<wst:RequestType>" NS_WST "/Issue</wst:RequestType><wst:Claims>");
	buf_put(b, card->xml);
	buf_puts(b, "</wst:Claims><wst:Issuer><wsa:Address xmlns:wsa=\"" NS_WSA04 "\">");
	xml_put_text(b, card->issuer);
	buf_puts(b, "</wsa:Address></wst:Issuer></wst:RequestSecurityToken></soapenv:Body></soapenv:Envelope>");
	*out = buf_slice(b);
	if (buf_defer(b, a) < 0 || out->p == NULL)
		return err_set(e, ERR_MEMORY, "STS request");
	return 0;
}

/* What the STS says of its own card; it may say nothing. */
static bool
is_status_valid(struct arena *a, const xmlNode *rstr)
{
	const xmlNode *status = xml_child(rstr, NS_WST, "Status", 0);

	return status == NULL ||
	    slice_is(slice_trim(xml_text(a, xml_child(status, NS_WST, "Code", 0))), NS_WST "/status/valid");
}

int
sts_read_answer(struct arena *a, struct slice answer, struct slice *card, struct err *e)
{
	const xmlNode *rstr;

	if (sts_read_body(a, answer, &rstr, e) < 0)
		return -1;
	if (!is_status_valid(a, rstr))
		return err_set(e, ERR_STS_ANSWER, "status is not valid");
	return sts_read_token(a, rstr, NS_WST, card, e);
}

static int
read_pinned(const struct conf_sts *conf, struct arena *a, X509 ***keys, struct err *e)
{
	*keys = arena_alloc(a, conf->ncertificates * sizeof(X509 *));
	if (*keys == NULL || conf->ncertificates == 0)
		return err_set(e, ERR_CONFIG, "no STS certificate is configured");
	for (size_t i = 0; i < conf->ncertificates; i++)
		if (pki_read_pem(a, conf->certificates[i], &(*keys)[i], e) < 0)
			return -1;
	return 0;
}

/* A card that a pinned STS key has signed, as a card that follows every rule and is valid now. */
static int
verify(const struct conf *c, struct arena *a, struct slice xml, struct idcard **out, struct err *e)
{
	struct dsig_policy policy = { .nkeys = c->sts.ncertificates, .refuse_sha1 = c->sts.refuse_sha1 };
	struct dsig_verified verified;
	X509 **keys;

	if (read_pinned(&c->sts, a, &keys, e) < 0)
		return -1;
	policy.keys = keys;
	if (dsig_verify(a, xml, &policy, &verified, e) < 0 ||
	    idcard_read(a, verified.card, out, e) < 0)
		return -1;
	return idcard_check_time(*out, clock_now(), c->clock_skew, e);
}

int
sts_verify_answer(const struct conf *c, struct arena *a, struct slice xml, struct idcard **out, struct err *e)
{
	struct err failed = { .kind = ERR_NONE };

	if (verify(c, a, xml, out, &failed) == 0)
		return 0;
	return err_set(e, failed.kind == ERR_MEMORY || failed.kind == ERR_CONFIG ? failed.kind : ERR_STS_CARD,
	    "%s: %s", err_name(failed.kind), failed.detail);
}

int
sts_verify_card(const struct conf *c, struct arena *a, struct slice xml, struct idcard **out, struct err *e)
{
	struct err failed = { .kind = ERR_NONE };

	if (verify(c, a, xml, out, &failed) == 0)
		return 0;
	if (failed.kind == ERR_MEMORY || failed.kind == ERR_CONFIG || failed.kind == ERR_CARD_EXPIRED)
		return err_set(e, failed.kind, "%s", failed.detail);
	return err_set(e, ERR_CARD_NOT_TRUSTED, "%s: %s", err_name(failed.kind), failed.detail);
}

int
sts_sign_card(struct sts *s, const struct conf *c, struct arena *a, const struct idcard *card, X509 *signer,
    struct idcard **out, struct err *e)
{
	struct slice request, answer, token;

	if (write_request(a, card, &request, e) < 0 ||
	    sts_ask(s, &c->sts, STS_SIGN, a, request, &answer, e) < 0 ||
	    sts_read_answer(a, answer, &token, e) < 0 ||
	    sts_verify_answer(c, a, token, out, e) < 0)
		return -1;
	return idcard_check_answer(a, card, *out, signer, e);
}
