/* Is a certificate revoked? Three sources, in this order:
 *
 * 1. The lists, when they name it: that is final, for a card with it would be refused at every use anyhow.
 * 2. The OCSP responder of its issuer, when the configuration has one: it knows of today, a list of this morning.
 * 3. The list of its issuer, when the responder gives no verdict.
 *
 * When there is no verdict at all, the configuration decides: refuse, or accept for so long after the list should have
 * been replaced. Somebody who never had a list of that issuer has nothing to go on from, and refuses.
 *
 * The CAs between the certificate and its root are judged in the same way, except that one for which there is neither a
 * responder nor any list counts as good. They are not shown to us, they are in the configuration: its administrator
 * has chosen them, takes them out, and says by listing the root's CRL that it is to be watched. */
#include "signing_private.h"

#include "clock.h"
#include "conv.h"
#include "log.h"

#include <string.h>

#define CONNECT_MS 2000
#define TOTAL_MS 4000
#define ANSWER_MAX (64u << 10)

static const char *
responder_of(const struct conf *c, X509 *issuer)
{
	uint8_t fingerprint[32];

	if (c->trust.nocsp == 0)
		return NULL;
	pki_fingerprint(issuer, fingerprint);
	for (size_t i = 0; i < c->trust.nocsp; i++)
		if (memcmp(c->trust.ocsp[i].issuer, fingerprint, sizeof fingerprint) == 0)
			return c->trust.ocsp[i].url;
	return NULL;
}

static int
fetch(struct http *h, struct arena *a, const char *url, struct slice request, struct slice *answer, struct err *e)
{
	static const struct http_header headers[] = {
		{ "Content-Type", { "application/ocsp-request", 24 } },
		{ "Accept", { "application/ocsp-response", 25 } },
	};
	const struct http_call call = {
		.url = url, .headers = headers, .nheaders = 2, .connect_ms = CONNECT_MS, .answer_ms = TOTAL_MS,
		.idle_ms = TOTAL_MS, .total_ms = TOTAL_MS, .body = request, .length = (int64_t)request.n,
	};
	struct http_small got;

	if (http_fetch(h, a, &call, ANSWER_MAX, &got, e) < 0)
		return -1;
	if (got.status != 200)
		return err_set(e, ERR_CERT_UNCHECKED, "HTTP status %d", got.status);
	*answer = got.body;
	return 0;
}

/* Any failure but ERR_CERT_REVOKED is no verdict. */
static int
ask(const struct signing *s, const struct conf *c, const char *url, struct arena *a, X509 *cert, X509 *issuer, struct err *e)
{
	struct pki_ocsp asked = { .cert = cert, .issuer = issuer, .skew = c->clock_skew };
	struct slice answer = { NULL, 0 };

	if (pki_ocsp_request(a, &asked, e) < 0 || fetch(s->http, a, url, asked.request, &answer, e) < 0)
		return -1;
	return pki_ocsp_judge(a, &asked, s->revoked, answer, clock_now(), e);
}

/* The certificate as an administrator finds it at its issuer, without the name of the person. */
static struct slice
serial_of(struct arena *a, X509 *cert)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	const struct slice bytes = { (const char *)ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial) };

	return conv_hex(a, bytes);
}

static bool
accept_unchecked(const struct signing *s, const struct conf *c, struct arena *a, X509 *cert, const struct err *why)
{
	struct err ignored = { .kind = ERR_NONE };

	if (c->trust.unchecked_accept == 0 ||
	    pki_revoked_check(s->revoked, cert, clock_now(), c->trust.unchecked_accept, &ignored) < 0)
		return false;
	log_msg(LOG_WARN, "unchecked", "certificate %.*s is accepted although its revocation cannot be checked: %s",
	    SLICE_FMT(serial_of(a, cert)), why->detail);
	return true;
}

static int
check_one(const struct signing *s, const struct conf *c, struct arena *a, X509 *cert, X509 *issuer, struct err *e)
{
	struct err list = { .kind = ERR_NONE }, responder = { .kind = ERR_NONE };

	if (pki_revoked_check(s->revoked, cert, clock_now(), c->trust.crl_grace, &list) < 0 && list.kind != ERR_CERT_UNCHECKED)
		return err_set(e, list.kind, "%s", list.detail);
	const char *url = responder_of(c, issuer);
	if (url != NULL) {
		if (ask(s, c, url, a, cert, issuer, &responder) == 0)
			return 0;
		if (responder.kind == ERR_CERT_REVOKED)
			return err_set(e, ERR_CERT_REVOKED, "%s", responder.detail);
		log_msg(LOG_WARN, "ocsp", "%s gives no verdict: %s: %s", url, err_name(responder.kind), responder.detail);
	}
	if (list.kind == ERR_NONE || accept_unchecked(s, c, a, cert, &list))
		return 0;
	return err_set(e, ERR_CERT_UNCHECKED, "%s", list.detail);
}

static bool
can_be_checked(const struct signing *s, const struct conf *c, X509 *ca, X509 *issuer)
{
	return responder_of(c, issuer) != NULL || pki_revoked_has_list_for(s->revoked, ca);
}

static int
check_ca(const struct signing *s, const struct conf *c, struct arena *a, X509 *ca, X509 *issuer, struct err *e)
{
	struct err why = { .kind = ERR_NONE };

	if (!can_be_checked(s, c, ca, issuer) || check_one(s, c, a, ca, issuer, &why) == 0)
		return 0;
	return err_set(e, why.kind, "CA %.*s: %s", SLICE_FMT(serial_of(a, ca)), why.detail);
}

int
signing_check_revocation(const struct signing *s, const struct conf *c, struct arena *a,
    const struct pki_chain *chain, struct err *e)
{
	/* from the root down: who is below a revoked CA says nothing */
	for (size_t i = chain->n - 2; i > 0; i--)
		if (check_ca(s, c, a, chain->certs[i], chain->certs[i + 1], e) < 0)
			return -1;
	return check_one(s, c, a, chain->certs[0], chain->certs[1], e);
}
