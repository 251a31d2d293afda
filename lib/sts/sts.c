/* The request has the form that the STS's own library sends (idcard.md 3.1); the answer is searched for
 * a Fault whatever its HTTP status, because old STS versions send faults with 200. */
#include "sts.h"

#include "buf.h"
#include "clock.h"
#include "log.h"
#include "rand.h"
#include "soap.h"
#include "xml.h"

#include <pthread.h>
#include <stdlib.h>

#define ANSWER_MAX (256u << 10)
#define URLS_MAX 16
#define DOWN_MS 10000
/* STS clocks run ahead of ours by up to this much. */
#define CLOCK_SKEW 30

struct sts {
	struct http *http;
	pthread_mutex_t lock;
	int64_t down_until[URLS_MAX];	/* by position in the configuration; a wrong guess costs one attempt */
};

struct sts *
sts_new(struct http *h)
{
	struct sts *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->http = h;
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void
sts_free(struct sts *s)
{
	if (s == NULL)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

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

/* What went wrong on the way to the endpoint, said as something that concerns the STS. */
static int
as_sts_error(const struct err *of, struct err *e)
{
	enum err_kind kind = of->kind == ERR_ENDPOINT_TIMEOUT ? ERR_STS_TIMEOUT :
	    of->kind == ERR_ENDPOINT_ANSWER ? ERR_STS_ANSWER :
	    of->kind == ERR_MEMORY ? ERR_MEMORY : ERR_STS_UNREACHABLE;

	return err_set(e, kind, "%s: %s", err_name(of->kind), of->detail);
}

static int
exchange(struct sts *s, const struct conf_sts *conf, const char *url, struct arena *a, struct slice request,
    struct http_small *answer, struct err *e)
{
	static const struct http_header headers[] = {
		{ "Content-Type", { SOAP_CONTENT_TYPE, sizeof SOAP_CONTENT_TYPE - 1 } },
		{ "SOAPAction", { "\"Issue\"", 7 } },
	};
	const struct http_call call = {
		.url = url, .headers = headers, .nheaders = 2, .tls = { .ca_file = conf->ca_file },
		.connect_ms = conf->connect_ms, .answer_ms = conf->answer_ms, .idle_ms = conf->answer_ms,
		.total_ms = conf->connect_ms + conf->answer_ms, .body = request, .length = (int64_t)request.n,
	};
	struct err failed = { .kind = ERR_NONE };

	if (http_fetch(s->http, a, &call, ANSWER_MAX, answer, &failed) < 0)
		return as_sts_error(&failed, e);
	return 0;
}

static bool
is_down(struct sts *s, size_t i)
{
	pthread_mutex_lock(&s->lock);
	bool down = i < URLS_MAX && s->down_until[i] > clock_mono_ms();
	pthread_mutex_unlock(&s->lock);
	return down;
}

static void
note(struct sts *s, size_t i, bool worked)
{
	if (i >= URLS_MAX)
		return;
	pthread_mutex_lock(&s->lock);
	s->down_until[i] = worked ? 0 : clock_mono_ms() + DOWN_MS;
	pthread_mutex_unlock(&s->lock);
}

/* The URLs in their order, those that failed lately last. The exchange may be repeated safely at another
 * STS: a card that nobody receives is nobody's. */
static int
exchange_anywhere(struct sts *s, const struct conf_sts *conf, struct arena *a, struct slice request,
    struct http_small *answer, struct err *e)
{
	if (conf->nurls == 0)
		return err_set(e, ERR_CONFIG, "no STS is configured");
	for (int down = 0; down < 2; down++)
		for (size_t i = 0; i < conf->nurls; i++) {
			if (is_down(s, i) != down)
				continue;
			err_clear(e);
			int rc = exchange(s, conf, conf->urls[i], a, request, answer, e);
			note(s, i, rc == 0);
			if (rc == 0)
				return 0;
			log_err(LOG_WARN, "sts", slice_of(conf->urls[i]), e);
		}
	return -1;
}

static int
read_fault(struct arena *a, const xmlNode *fault, struct err *e)
{
	struct slice code = xml_text(a, xml_child(fault, NULL, "faultcode", 0));
	struct slice text = slice_trim(xml_text(a, xml_child(fault, NULL, "faultstring", 0)));

	err_set(e, ERR_STS_FAULT, "STS fault %.*s: %.*s", SLICE_FMT(code), SLICE_FMT(text));
	return err_say(e, "%.*s", SLICE_FMT(text));
}

int
sts_read_answer(struct arena *a, struct slice answer, struct slice *card, struct err *e)
{
	struct err failed = { .kind = ERR_NONE };
	xmlDoc *doc;

	if (xml_parse(a, answer, &xml_document_limits, &doc, &failed) < 0)
		return err_set(e, ERR_STS_ANSWER, "not XML: %s", failed.detail);
	const xmlNode *envelope = xmlDocGetRootElement(doc);
	if (!xml_is(envelope, NS_SOAP, "Envelope"))
		return err_set(e, ERR_STS_ANSWER, "not a SOAP envelope");
	const xmlNode *body = xml_child(envelope, NS_SOAP, "Body", 0);
	const xmlNode *fault = body == NULL ? NULL : xml_child(body, NS_SOAP, "Fault", 0);
	if (fault != NULL)
		return read_fault(a, fault, e);
	const xmlNode *rstr = body == NULL ? NULL : xml_child(body, NS_WST, "RequestSecurityTokenResponse", 0);
	const xmlNode *token = rstr == NULL ? NULL : xml_child(rstr, NS_WST, "RequestedSecurityToken", 0);
	const xmlNode *found = token == NULL ? NULL : xml_child(token, NS_SAML, "Assertion", 0);
	if (found == NULL)
		return err_set(e, ERR_STS_ANSWER, "no assertion in the answer");
	if (xml_next(xml_first(body)) != NULL || xml_child(rstr, NS_WST, "RequestedSecurityToken", 1) != NULL ||
	    xml_next(xml_first(token)) != NULL)
		return err_set(e, ERR_STS_ANSWER, "more than one token in the answer");
	return xml_canonical(a, found, XML_C14N_EXCLUSIVE, NULL, card, e);
}

static int
read_pinned(const struct conf_sts *conf, struct arena *a, X509 ***keys, struct err *e)
{
	*keys = arena_alloc(a, conf->ncertificates * sizeof **keys);
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
	return idcard_check_time(*out, clock_now(), CLOCK_SKEW, e);
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
	struct err failed = { .kind = ERR_NONE };
	struct http_small answer;
	struct slice request, token;

	if (write_request(a, card, &request, e) < 0 ||
	    exchange_anywhere(s, &c->sts, a, request, &answer, e) < 0)
		return -1;
	if (answer.status >= 300 && answer.status != 500)
		return err_set(e, ERR_STS_ANSWER, "HTTP status %d", answer.status);
	if (sts_read_answer(a, answer.body, &token, e) < 0)
		return -1;
	if (verify(c, a, token, out, &failed) < 0)
		return err_set(e, failed.kind == ERR_MEMORY || failed.kind == ERR_CONFIG ? failed.kind : ERR_STS_CARD,
		    "%s: %s", err_name(failed.kind), failed.detail);
	return idcard_check_answer(a, card, *out, signer, e);
}
