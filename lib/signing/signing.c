#include "signing_private.h"

#include "clock.h"
#include "rand.h"
#include "xml.h"

#define SESSION_BYTES 32

int
signing_begin_session(struct arena *a, struct cards_user *u, struct err *e)
{
	u->session = true;
	u->user = rand_token(a, SESSION_BYTES);
	return u->user.p == NULL ? err_set(e, ERR_MEMORY, "session id") : 0;
}

enum dsig_hash
signing_hash(const struct conf *c, const struct conf_organisation *o)
{
	return c->sts.refuse_sha1 || o->signature_hash == CONF_SHA256 ? DSIG_SHA256 : DSIG_SHA1;
}

struct slice
signing_session_user(const struct signing *s, struct arena *a, const struct cards_user *u)
{
	struct err none = { .kind = ERR_NONE };
	struct cards_order *order;
	struct card *card;

	if (cards_get(s->cards, a, u, 0, 0, &card, &none) == 0 && card->user.p != NULL)
		return card->user;
	err_clear(&none);
	return cards_pending(s->cards, a, u, &order, &none) == 0 ? order->user : (struct slice){ NULL, 0 };
}

/* Whose order it is. In an organisation with session ids a client may order in the name of a session: the card and all that is
 * written of it name the session's user, not an id that opens a card, or has opened one: of a session that is over
 * nobody knows the user but by the order's own data. */
static struct slice
user_of(const struct signing *s, const struct conf_organisation *o, struct arena *a, const struct cards_user *u,
    const struct idcard *asked)
{
	if (!o->session_ids)
		return asked->name_id;
	struct slice user = signing_session_user(s, a, u);
	if (user.p != NULL)
		return user;
	if (!cards_is_session(asked->name_id))
		return asked->name_id;
	return asked->cpr.n > 0 ? asked->cpr : cards_session_mark(a, asked->name_id);
}

int
signing_order(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_client *client,
    struct cards_user *u, const struct idcard *asked, struct cards_order **order, struct err *e)
{
	const int64_t now = clock_now();
	struct idcard from = *asked;
	const struct idcard_new new = { .from = &from, .issuer = c->issuer, .now = now };
	struct cards_order wanted = {
		.token = rand_token(a, 32), .ordered = now, .expires = now + c->pending_ttl, .client = client->id,
	};
	struct err none = { .kind = ERR_NONE };
	struct idcard *card;

	/* a session that awaits its signature is told again, however often it asks */
	if (client->organisation->session_ids && cards_pending(s->cards, a, u, order, &none) == 0)
		return 0;
	from.name_id = wanted.user = user_of(s, client->organisation, a, u, asked);
	if (wanted.user.p == NULL)
		return err_set(e, ERR_MEMORY, "order");
	if (idcard_check_order(asked, e) < 0 || idcard_build(a, &new, &card, e) < 0)
		return -1;
	wanted.xml = card->xml;
	if (dsig_prepare(a, card->xml, signing_hash(c, client->organisation), &wanted.signed_info, e) < 0)
		return -1;
	if (client->organisation->session_ids && signing_begin_session(a, u, e) < 0)
		return -1;
	return cards_order(s->cards, a, u, &wanted, c->pending_ttl, order, e);
}

void
signing_session(struct buf *b, const struct conf_organisation *o, const struct cards_user *u)
{
	if (!o->session_ids)
		return;
	buf_puts(b, "<ns2:sessionId xmlns:ns2=\"" NS_GW07 "\">");
	xml_put_text(b, u->user);
	buf_puts(b, "</ns2:sessionId>");
}

int
signing_url(const struct signing *s, const struct conf *c, struct arena *a, const struct cards_user *u,
    const struct cards_order *order, struct slice *url, struct err *e)
{
	struct slice token = { NULL, 0 };
	struct idcard *card;

	*url = S("");
	if (c->browser_base.p == NULL)
		return 0;
	if (idcard_read(a, order->xml, &card, e) < 0 ||
	    cards_link(s->cards, a, u, order, card->system, c->url_open, &token, e) < 0)
		return -1;
	*url = arena_printf(a, "%.*s/sosigw/sign/start?id=%.*s&lang=%s", SLICE_FMT(c->browser_base),
	    SLICE_FMT(token), c->danish ? "da" : "en");
	return url->p == NULL ? err_set(e, ERR_MEMORY, "signing URL") : 0;
}

static void
free_trust(void *trust)
{
	pki_trust_free(trust);
}

int
signing_chain(const struct conf *c, struct arena *a, X509 *cert, struct pki_chain *out, struct err *e)
{
	const struct conf_trust *t = &c->trust;
	struct pki_trust *trust = pki_trust_new(t->roots, t->nroots, t->intermediates, t->nintermediates, e);

	if (trust == NULL)
		return -1;
	if (arena_defer(a, free_trust, trust) < 0)
		return err_set(e, ERR_MEMORY, "trust");
	return pki_check_chain(trust, a, cert, clock_now(), out, e);
}

int
signing_check_certificate(const struct signing *s, const struct conf *c, struct arena *a, X509 *cert,
    struct pki_signer *who, struct err *e)
{
	struct pki_chain chain;

	if (signing_chain(c, a, cert, &chain, e) < 0)
		return -1;
	pki_signer(cert, chain.certs[1], who);
	return c->trust.check_revocation ? signing_check_revocation(s, c, a, &chain, e) : 0;
}

int
signing_check_signer(const struct conf_organisation *o, struct arena *a, const struct idcard *card, X509 *cert,
    struct err *e)
{
	struct pki_identity who;

	if (pki_identify(a, cert, &who, e) < 0 || idcard_check_signer(card, &who, o->check_cvr, e) < 0)
		return -1;
	if (!o->check_cvr || slice_is(card->care_provider_format, "medcom:cvrnumber"))
		return 0;
	/* a care provider in another form (ynumber, ...) tells no CVR: then the organisation's own is what counts */
	if (o->cvr.p == NULL)
		return err_set(e, ERR_CVR_UNKNOWN, "%.*s, and no cvr of organisation %.*s", SLICE_FMT(card->care_provider_format),
		    SLICE_FMT(o->id));
	if (!slice_eq(who.cvr, o->cvr))
		return err_set(e, ERR_CERT_OTHER, "CVR %.*s of the certificate, %.*s of the organisation", SLICE_FMT(who.cvr),
		    SLICE_FMT(o->cvr));
	return 0;
}

int
signing_look_again(const struct signing *s, struct arena *a, const struct cards_user *u, const struct cards_order *order,
    struct slice *id, struct err *e)
{
	struct err none = { .kind = ERR_NONE };
	struct cards_order *now;
	struct card *card;

	if (cards_pending(s->cards, a, u, &now, &none) == 0 && slice_eq(now->token, order->token))
		return 0;
	if (none.kind != ERR_NONE && none.kind != ERR_NO_CARD)
		return err_set(e, none.kind, "%s", none.detail);
	err_clear(&none);
	if (cards_get(s->cards, a, u, 0, 0, &card, &none) == 0 && card->kept >= order->ordered) {
		*id = card->id;
		return 1;
	}
	return err_set(e, ERR_NO_CARD, "the order was withdrawn while the STS signed");
}

/* Under the user's name last, since that ends the order. */
int
signing_keep(const struct signing *s, struct arena *a, const struct conf_organisation *o, const struct cards_user *u,
    const struct cards_order *order, const struct idcard *signed_card, const struct pki_signer *who, struct err *e)
{
	struct card card = {
		.xml = signed_card->xml, .id = signed_card->id, .system = signed_card->system, .user = order->user,
		.client = order->client,
		.not_before = signed_card->not_before, .not_after = signed_card->not_after,
		.kept = clock_now(), .signer = *who, .signer_known = true,
	};

	if (signing_keep_for_system(s, a, o, signed_card, &card, e) < 0)
		return -1;
	return cards_keep(s->cards, a, u, &card, e);
}

int
signing_complete(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    const struct cards_user *u, struct slice value, struct slice certificate, struct slice *id, struct err *e)
{
	struct cards_order *order;
	struct idcard *ordered, *user_signed, *sts_signed;
	struct pki_signer who;
	struct slice xml;
	X509 *cert;
	/* an order may be older than the switch */
	const struct dsig_policy signer = { .keys = &cert, .nkeys = 1, .refuse_sha1 = c->sts.refuse_sha1 };

	if (cards_pending(s->cards, a, u, &order, e) < 0 ||
	    pki_read_der(a, certificate, &cert, e) < 0 ||
	    signing_check_certificate(s, c, a, cert, &who, e) < 0 ||
	    idcard_read(a, order->xml, &ordered, e) < 0 ||
	    signing_check_signer(o, a, ordered, cert, e) < 0 ||
	    dsig_attach(a, order->xml, order->signed_info, value, &signer, &xml, e) < 0 ||
	    idcard_read(a, xml, &user_signed, e) < 0 ||
	    sts_sign_card(s->sts, c, a, user_signed, cert, &sts_signed, e) < 0)
		return -1;
	int rc = signing_look_again(s, a, u, order, id, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	*id = sts_signed->id;
	return signing_keep(s, a, o, u, order, sts_signed, &who, e);
}
