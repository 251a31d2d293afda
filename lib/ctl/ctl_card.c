/* card show: what a card says, for the person who wonders why it was refused. It judges form and time
 * only; a signature is worth something to who knows which key to ask for, and here is nobody. */
#include "ctl.h"

#include "clock.h"
#include "dsig.h"
#include "idcard.h"
#include "pki.h"
#include "xml.h"

#include <inttypes.h>
#include <string.h>

struct shown {
	struct ctl *c;
	bool any;
};

static void
put(struct shown *s, const char *name, struct slice value)
{
	FILE *f = s->c->out;

	if (value.p == NULL)
		return;
	if (s->c->json) {
		fprintf(f, "%s\"%s\": ", s->any ? ", " : "{", name);
		ctl_put_json(f, value);
	} else {
		fprintf(f, "%-22s ", name);
		ctl_put_text(f, value);
		fputc('\n', f);
	}
	s->any = true;
}

static void
put_time(struct shown *s, const char *name, int64_t t)
{
	if (t != 0)
		put(s, name, clock_iso(s->c->a, t));
}

/* The first assertion, wherever it stands: alone, in a message, in an answer of the STS. */
static xmlNode *
find_card(xmlNode *node)
{
	for (; node != NULL; node = xml_next(node)) {
		if (xml_is(node, NS_SAML, "Assertion"))
			return node;
		xmlNode *inside = find_card(xml_first(node));
		if (inside != NULL)
			return inside;
	}
	return NULL;
}

static void
put_card(struct shown *s, const struct idcard *k)
{
	put(s, "id", k->id);
	put(s, "version", k->version);
	put(s, "type", k->type);
	put(s, "level", k->level == 0 ? (struct slice){ NULL, 0 } : arena_printf(s->c->a, "%d", k->level));
	put(s, "issuer", k->issuer);
	put(s, "name_id", k->name_id);
	put(s, "name_id_format", k->name_id_format);
	put_time(s, "issued", k->issued);
	put_time(s, "not_before", k->not_before);
	put_time(s, "not_after", k->not_after);
	put(s, "cpr", k->cpr);
	put(s, "given_name", k->given_name);
	put(s, "surname", k->surname);
	put(s, "email", k->email);
	put(s, "role", k->role);
	put(s, "occupation", k->occupation);
	put(s, "authorization", k->authorization);
	put(s, "system", k->system);
	put(s, "care_provider", k->care_provider);
	put(s, "care_provider_format", k->care_provider_format);
	put(s, "care_provider_name", k->care_provider_name);
	put(s, "cert_hash", k->cert_hash);
	put(s, "signature", k->is_signed ? S("there, not checked") : S("none"));
}

static void
put_signer(struct shown *s, struct slice xml)
{
	struct slice der = dsig_claimed_certificate(s->c->a, xml);
	X509 *cert;
	struct err e = { 0 };

	if (der.p != NULL && pki_read_der(s->c->a, der, &cert, &e) == 0)
		put(s, "claimed_signer", pki_names(s->c->a, cert));
}

static void
put_verdict(struct shown *s, const char *name, int done, const struct err *e)
{
	put(s, name, done == 0 ? S("good") : arena_printf(s->c->a, "%s: %s", err_name(e->kind), e->detail));
}

static enum ctl_exit
show(struct ctl *c, xmlNode *node)
{
	struct shown s = { c, false };
	struct idcard *k, *strict;
	struct slice xml;
	struct err e = { 0 }, why = { 0 };

	if (idcard_read_request(c->a, node, &k, &e) < 0 ||
	    xml_canonical(c->a, node, XML_C14N_EXCLUSIVE, NULL, &xml, &e) < 0)
		return ctl_failed(c, "the card", &e);
	put_card(&s, k);
	put_signer(&s, xml);
	int form = idcard_read(c->a, xml, &strict, &why);
	put_verdict(&s, "rules", form, &why);
	if (form == 0) {
		err_clear(&why);
		put_verdict(&s, "time", idcard_check_time(strict, clock_now(), CONF_CLOCK_SKEW, &why), &why);
	}
	fputs(c->json ? "}\n" : "", c->out);
	return CTL_OK;
}

enum ctl_exit
ctl_card_show(struct ctl *c, int argc, char **argv)
{
	struct slice bytes;
	xmlDoc *doc;
	struct err e = { 0 };

	if (argc != 2)
		return ctl_misused(c, argv[0], "one file is wanted");
	if (ctl_read(c, argv[1], &bytes) < 0)
		return CTL_FAILED;
	if (xml_parse(c->a, bytes, &xml_document_limits, &doc, &e) < 0)
		return ctl_failed(c, argv[1], &e);
	xmlNode *card = find_card(xmlDocGetRootElement(doc));
	return card == NULL ? ctl_complain(c, "%s holds no saml:Assertion", argv[1]) : show(c, card);
}
