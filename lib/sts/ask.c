/* The way to the STS and back: several URLs for each of its services, and what all its answers have in common. A SOAP
 * message is the answer of that STS, be it a fault; anything else (a proxy's 503, a web page) is no answer, and the next
 * URL is tried. A Fault is looked for whatever the HTTP status, because old STS versions send faults with 200. */
#include "sts_private.h"

#include "clock.h"
#include "log.h"
#include "soap.h"

#include <pthread.h>
#include <stdlib.h>

#define ANSWER_MAX (256u << 10)
#define URLS_MAX 16
#define DOWN_MS 10000
#define MOST_MS 40000	/* Apache waits 60 s for the whole call */

struct sts {
	struct http *http;
	pthread_mutex_t lock;
	/* by position in the configuration; a wrong guess costs one attempt */
	int64_t down_until[STS_SERVICES][URLS_MAX];
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
exchange(struct sts *s, const struct conf_sts *conf, const char *url, unsigned ms, struct arena *a,
    struct slice request, struct http_small *answer, struct err *e)
{
	static const struct http_header headers[] = {
		{ "Content-Type", { SOAP_CONTENT_TYPE, sizeof SOAP_CONTENT_TYPE - 1 } },
		{ "SOAPAction", { "\"Issue\"", 7 } },
	};
	const struct http_call call = {
		.url = url, .headers = headers, .nheaders = 2, .tls = { .ca_file = conf->ca_file },
		.connect_ms = conf->connect_ms < ms ? conf->connect_ms : ms,
		.answer_ms = conf->answer_ms, .idle_ms = conf->answer_ms, .total_ms = ms,
		.body = request, .length = (int64_t)request.n,
	};
	struct err failed = { .kind = ERR_NONE };

	if (http_fetch(s->http, a, &call, ANSWER_MAX, answer, &failed) < 0)
		return as_sts_error(&failed, e);
	return 0;
}

static int
read_envelope(struct arena *a, struct slice answer, const xmlNode **envelope, struct err *e)
{
	struct err failed = { .kind = ERR_NONE };
	xmlDoc *doc;

	if (xml_parse(a, answer, &xml_document_limits, &doc, &failed) < 0)
		return err_set(e, failed.kind == ERR_MEMORY ? ERR_MEMORY : ERR_STS_ANSWER, "not XML: %s", failed.detail);
	*envelope = xmlDocGetRootElement(doc);
	return xml_is(*envelope, NS_SOAP, "Envelope") ? 0 : err_set(e, ERR_STS_ANSWER, "not a SOAP envelope");
}

/* Has an STS answered, or something that stands where it should be? */
static int
check_answer(struct arena *a, const struct http_small *answer, struct err *e)
{
	const xmlNode *envelope;

	if (answer->status >= 300 && answer->status != 500)
		return err_set(e, ERR_STS_ANSWER, "HTTP status %d", answer->status);
	return read_envelope(a, answer->body, &envelope, e);
}

/* One bit for each URL that failed lately. */
static unsigned
down_now(struct sts *s, enum sts_service service)
{
	const int64_t now = clock_mono_ms();
	unsigned down = 0;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < URLS_MAX; i++)
		down |= (unsigned)(s->down_until[service][i] > now) << i;
	pthread_mutex_unlock(&s->lock);
	return down;
}

static void
note(struct sts *s, enum sts_service service, size_t i, bool worked)
{
	if (i >= URLS_MAX)
		return;
	pthread_mutex_lock(&s->lock);
	s->down_until[service][i] = worked ? 0 : clock_mono_ms() + DOWN_MS;
	pthread_mutex_unlock(&s->lock);
}

struct urls {
	const char *const *list;
	size_t n;
};

static struct urls
urls_of(const struct conf_sts *conf, enum sts_service service)
{
	return service == STS_BST ? (struct urls){ conf->bst_urls, conf->nbst_urls } :
	    (struct urls){ conf->urls, conf->nurls };
}

static unsigned
one_ms(const struct conf_sts *conf)
{
	unsigned ms = conf->connect_ms + conf->answer_ms;

	return ms < MOST_MS ? ms : MOST_MS;
}

/* Twice what one may take, when there are others. */
static unsigned
all_ms(const struct conf_sts *conf, size_t nurls)
{
	unsigned ms = nurls < 2 ? one_ms(conf) : 2 * one_ms(conf);

	return ms < MOST_MS ? ms : MOST_MS;
}

unsigned
sts_most_ms(const struct conf_sts *conf)
{
	return all_ms(conf, conf->nurls > conf->nbst_urls ? conf->nurls : conf->nbst_urls);
}

/* Half of what is left, so that each has time enough and the next has some; the last may take it all. */
static unsigned
share_ms(const struct conf_sts *conf, int64_t end, size_t others)
{
	const int64_t left = end - clock_mono_ms(), share = others > 0 ? left / 2 : left;

	return share < 1 ? 0 : share < one_ms(conf) ? (unsigned)share : one_ms(conf);
}

/* The URLs in their order, those that failed lately last. The exchange may be repeated safely at another
 * STS: a card that nobody receives is nobody's. */
int
sts_ask(struct sts *s, const struct conf_sts *conf, enum sts_service service, struct arena *a,
    struct slice request, struct slice *answer, struct err *e)
{
	const struct urls urls = urls_of(conf, service);
	const int64_t end = clock_mono_ms() + all_ms(conf, urls.n);
	/* as it was when we began: one that fails now is not asked again */
	const unsigned was_down = down_now(s, service);
	size_t others = urls.n;

	if (urls.n == 0)
		return err_set(e, ERR_CONFIG, "no STS is configured");
	for (unsigned down = 0; down < 2; down++)
		for (size_t i = 0; i < urls.n; i++) {
			struct http_small got = { .status = 0 };
			if ((i < URLS_MAX ? was_down >> i & 1 : 0) != down)
				continue;
			unsigned ms = share_ms(conf, end, --others);
			if (ms == 0)
				return -1;
			err_clear(e);
			int rc = exchange(s, conf, urls.list[i], ms, a, request, &got, e);
			if (rc == 0)
				rc = check_answer(a, &got, e);
			note(s, service, i, rc == 0);
			*answer = got.body;
			if (rc == 0 || e->kind == ERR_MEMORY)
				return rc;
			log_err(LOG_WARN, "sts", slice_of(urls.list[i]), e);
		}
	return -1;
}

/* ---- answers */

static int
read_fault(struct arena *a, const xmlNode *fault, struct err *e)
{
	struct slice code = xml_text(a, xml_child(fault, NULL, "faultcode", 0));
	struct slice text = slice_trim(xml_text(a, xml_child(fault, NULL, "faultstring", 0)));

	err_set(e, ERR_STS_FAULT, "STS fault %.*s: %.*s", SLICE_FMT(code), SLICE_FMT(text));
	return err_say(e, "%.*s", SLICE_FMT(text));
}

int
sts_read_body(struct arena *a, struct slice answer, const xmlNode **content, struct err *e)
{
	const xmlNode *envelope;

	if (read_envelope(a, answer, &envelope, e) < 0)
		return -1;
	const xmlNode *body = xml_child(envelope, NS_SOAP, "Body", 0);
	const xmlNode *fault = xml_child(body, NS_SOAP, "Fault", 0);
	if (fault != NULL)
		return read_fault(a, fault, e);
	*content = xml_first(body);
	if (*content == NULL)
		return err_set(e, ERR_STS_ANSWER, "nothing in the answer");
	if (xml_next(*content) != NULL)
		return err_set(e, ERR_STS_ANSWER, "more than one element in Body");
	return 0;
}

int
sts_read_token(struct arena *a, const xmlNode *rstr, const char *wst, struct slice *card, struct err *e)
{
	struct err why = { .kind = ERR_NONE };

	if (!xml_is(rstr, wst, "RequestSecurityTokenResponse"))
		return err_set(e, ERR_STS_ANSWER, "no RequestSecurityTokenResponse");
	const xmlNode *token = xml_child(rstr, wst, "RequestedSecurityToken", 0);
	const xmlNode *found = xml_child(token, NS_SAML, "Assertion", 0);
	if (found == NULL)
		return err_set(e, ERR_STS_ANSWER, "no assertion in the answer");
	if (xml_child(rstr, wst, "RequestedSecurityToken", 1) != NULL || xml_next(xml_first(token)) != NULL)
		return err_set(e, ERR_STS_ANSWER, "more than one token in the answer");
	if (xml_has_comment(found))
		return err_set(e, ERR_STS_ANSWER, "a comment in the card");
	/* what has no canonical form is the STS's mistake, not the client's */
	if (xml_canonical(a, found, XML_C14N_EXCLUSIVE, NULL, card, &why) == 0)
		return 0;
	return err_set(e, why.kind == ERR_MEMORY ? ERR_MEMORY : ERR_STS_ANSWER, "%s", why.detail);
}
