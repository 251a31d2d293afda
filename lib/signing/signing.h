/* signing: how a card gets its signatures: ordered, signed by its user, signed by the STS, kept. Used by
 * the card operations, by the proxy's implicit login and by the signing page. */
#ifndef SIGNING_SIGNING_H
#define SIGNING_SIGNING_H

#include "cards.h"
#include "sts.h"

struct signing {
	struct cards *cards;
	struct sts *sts;
	struct pki_revoked *revoked;
};
/* Orders a card with the data of `asked`, the card of a request; ERR_CARD_DATA when it does not suffice.
 * When an order already awaits its signature, that is what *order is (mission 2.9). For an organisation with session
 * ids every order begins a session: *u names it afterwards, and the caller must tell its client (signing_session). */
int signing_order(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_client *client,
    struct cards_user *u, const struct idcard *asked, struct cards_order **order, struct err *e);
/* The SOAP header that tells a client its session id, as markup; empty for an organisation without them. */
void signing_session(struct buf *b, const struct conf_organisation *o, const struct cards_user *u);
/* Makes u the user of a session that begins now; for signing_order and signing_exchange. */
int signing_begin_session(struct arena *a, struct cards_user *u, struct err *e);
/* Where a browser signs that order; empty when the configuration names no host for it. */
struct slice signing_url(const struct conf *c, struct arena *a, const struct cards_order *order);

/* The user's answer: the signature value (raw bytes) over order->signed_info and the certificate (DER). Checks
 * certificate, chain, revocation and signature, has the STS sign, checks what comes back, keeps the card. *id: the
 * card's id. After a failure the order still stands, so that the user need not start over. */
int signing_complete(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    const struct cards_user *u, struct slice value, struct slice certificate, struct slice *id, struct err *e);

/* A bootstrap token exchanged for a card (sts_exchange_bst), which is kept: *u names it, by the card's NameID or, for an
 * organisation with session ids, by a session that begins. */
int signing_exchange(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    struct slice message, const struct sts_claims *claims, struct cards_user *u, struct idcard **card, struct err *e);

#endif
