/* A card that the STS gives for a bootstrap token. Nobody orders or signs it here, and so it is kept under the NameID that
 * the STS wrote: the client gets the card without its signature and sends it back in later calls (interface.md 3.7).
 *
 * No certificate of the user's is behind such a card. What can be known is whose key the token is bound to: the system that
 * the identity provider gave it to, and that signed the request. That one is the card's signer: when a list names it, the
 * cards that it has had made go too. Of an encrypted token it is not known; until the card ends only logout takes it away. */
#include "signing_private.h"

#include "clock.h"

/* The STS judges the certificate; what our lists say needs no question. Its CA is known when it is one of ours. */
static int
read_holder(const struct signing *s, const struct conf *c, struct arena *a, struct slice holder, struct card *card, struct err *e)
{
	struct err unread = { .kind = ERR_NONE }, unknown = { .kind = ERR_NONE };
	struct pki_chain chain;
	X509 *cert;

	if (holder.p == NULL || pki_read_der(a, holder, &cert, &unread) < 0)
		return 0;
	pki_signer(cert, signing_chain(c, a, cert, &chain, &unknown) < 0 ? NULL : chain.certs[1], &card->signer);
	card->signer_known = true;
	return s->revoked == NULL || !pki_revoked_has_signer(s->revoked, &card->signer) ? 0 :
	    err_set(e, ERR_CERT_REVOKED, "the holder of the token, or its CA, is on its issuer's list");
}

static int
keep(const struct signing *s, struct arena *a, const struct cards_user *u, const struct idcard *got, struct card *card,
    struct err *e)
{
	card->xml = got->xml;
	card->id = got->id;
	card->system = got->system;
	card->user = got->name_id;
	card->not_before = got->not_before;
	card->not_after = got->not_after;
	card->kept = clock_now();
	return cards_keep(s->cards, a, u, card, e);
}

int
signing_exchange(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    struct slice message, const struct sts_claims *claims, struct cards_user *u, struct idcard **card, struct err *e)
{
	struct card kept = { .signer_known = false };

	if (read_holder(s, c, a, claims->holder, &kept, e) < 0 ||
	    sts_exchange_bst(s->sts, c, a, o, message, claims, card, e) < 0)
		return -1;
	*u = (struct cards_user){ .organisation = o->id, .user = (*card)->name_id };
	if (o->session_ids && signing_begin_session(a, u, e) < 0)
		return -1;
	return keep(s, a, u, *card, &kept, e);
}
