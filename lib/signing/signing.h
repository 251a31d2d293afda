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
	struct signing_systems *systems;
	struct http *http;		/* to OCSP responders */
};
/* Orders a card with the data of `asked`, the card of a request; ERR_CARD_DATA when it does not suffice.
 * When an order already awaits its signature, that is what *order is (mission 2.9). For an organisation with session
 * ids every order begins a session: *u names it afterwards, and the caller must tell its client (signing_session). */
int signing_order(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_client *client,
    struct cards_user *u, const struct idcard *asked, struct cards_order **order, struct err *e);
/* The SOAP header that tells a client its session id, as markup; empty for an organisation without them. */
void signing_session(struct buf *b, const struct conf_organisation *o, const struct cards_user *u);
/* Who the session u is: of its card, or of the order that awaits its signature; absent when that is not known. */
struct slice signing_session_user(const struct signing *s, struct arena *a, const struct cards_user *u);
/* Makes u the user of a session that begins now; for signing_order and signing_exchange. */
int signing_begin_session(struct arena *a, struct cards_user *u, struct err *e);
/* Where a browser signs that order, as from now on (cards_link); empty when the configuration names no host for it. */
int signing_url(const struct signing *s, const struct conf *c, struct arena *a, const struct cards_user *u,
    const struct cards_order *order, struct slice *url, struct err *e);

/* The user's answer: the signature value (raw bytes) over order->signed_info and the certificate (DER). Checks
 * certificate, chain, revocation and signature, has the STS sign, checks what comes back, keeps the card. *id: the
 * card's id. After a failure the order still stands, so that the user need not start over. */
int signing_complete(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    const struct cards_user *u, struct slice value, struct slice certificate, struct slice *id, struct err *e);

/* A bootstrap token exchanged for a card (sts_exchange_bst), which is kept: *u names it, by the card's NameID or, for an
 * organisation with session ids, by a session that begins. */
int signing_exchange(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    struct slice message, const struct sts_claims *claims, struct cards_user *u, struct idcard **card, struct err *e);

/* ---- idp.c: logging in at an identity provider of the organisation's, instead of signing */

/* Where a browser goes for that; answer: the one-time token of the page, relay: what the provider gives back, at most 80
 * bytes. ERR_SYSTEM_KEY. */
int signing_idp_address(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_idp *idp,
    struct slice answer, struct slice relay, struct slice *address, struct err *e);
/* What the provider's administrator is to know of us: SAML 2.0 metadata. ERR_SYSTEM_KEY. */
int signing_idp_metadata(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_idp *idp, struct slice *xml,
    struct err *e);
/* What the provider had the browser post, for the same answer: verified, its bootstrap token exchanged at the STS, and the
 * card kept for the order of u when it is for the order's person. *id: the card's. ERR_IDP_ANSWER, ERR_IDP_OTHER,
 * ERR_SYSTEM_KEY, ERR_STS_*, ERR_NO_CARD (the order was withdrawn). */
int signing_idp_complete(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    const struct cards_user *u, struct slice posted, struct slice answer, struct slice *id, struct err *e);

/* ---- system.c: cards of systems, signed with a key that the gateway keeps for their organisation */

/* The keys that a process has loaded, and who is making which card. One for each process. */
struct signing_systems;
struct signing_systems *signing_systems_new(void);	/* NULL: no memory */
void signing_systems_free(struct signing_systems *s);

/* The key for cards like that one: of type system, level 3 or, as what is to become one, 1. A key for this very
 * ITSystemName goes before one for any. NULL: none. */
const struct conf_system_key *signing_system_key(const struct conf_organisation *o, struct slice type, int level,
    struct slice system);

struct signing_system {		/* the card that is wanted */
	const struct conf_organisation *organisation;
	const struct conf_system_key *key;
	struct slice system;		/* ITSystemName of the request's card */
	struct slice care_provider, care_provider_format, care_provider_name;	/* its CareProviderID, the NameFormat, the name */
	int64_t max_age;		/* as of cards_get */
	int (*read)(void *ctx, struct idcard **asked, struct err *e);	/* the request's card, when one is to be made */
	void *ctx;
};
/* The kept card of the system, or a new one: signed with the key, exchanged at the STS, kept. One that nears its end
 * is renewed by the call that finds it so, while others use it. ERR_SYSTEM_KEY (the key or its certificate),
 * ERR_SYSTEM_CARD (for now), ERR_CARD_DATA, ERR_STS_*, ERR_CACHE. */
int signing_system(const struct signing *s, const struct conf *c, struct arena *a, const struct signing_system *w,
    struct card **card, struct err *e);
/* Logout of such a card; as cards_forget. Of w only organisation, system and care provider. */
int signing_system_forget(const struct signing *s, struct arena *a, const struct signing_system *w, struct slice *id,
    struct err *e);

#endif
