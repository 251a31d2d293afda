/* What the files of signing share. */
#ifndef SIGNING_PRIVATE_H
#define SIGNING_PRIVATE_H

#include "signing.h"

/* signing.c: the certificate's chain to a configured root, now. */
int signing_chain(const struct conf *c, struct arena *a, X509 *cert, struct pki_chain *out, struct err *e);
/* May this certificate sign anything (chain, time, revocation), and may it sign this card (kind, CVR)? *who: as it is kept
 * with a card. */
int signing_check_certificate(const struct signing *s, const struct conf *c, struct arena *a, X509 *cert,
    struct pki_signer *who, struct err *e);
int signing_check_signer(const struct conf_organisation *o, struct arena *a, const struct idcard *card, X509 *cert,
    struct err *e);
/* revocation.c: is it revoked, or a CA above it? ERR_CERT_REVOKED, ERR_CERT_UNCHECKED. */
int signing_check_revocation(const struct signing *s, const struct conf *c, struct arena *a,
    const struct pki_chain *chain, struct err *e);
/* While the STS was at work the user may have logged out, or the same order may have been completed by another of its
 * signatures. 0: the order still stands. 1: it was completed, *id is its card's. -1: it was withdrawn. */
int signing_look_again(const struct signing *s, struct arena *a, const struct cards_user *u, const struct cards_order *order,
    struct slice *id, struct err *e);
/* Keeps the card that the order has become. who: its signer. */
int signing_keep(const struct signing *s, struct arena *a, const struct conf_organisation *o, const struct cards_user *u,
    const struct cards_order *order, const struct idcard *signed_card, const struct pki_signer *who,
    struct err *e);
/* Where a key lies, and the keys of this process. */
struct pki_key_source signing_key_source(const struct conf_system_key *k);
struct pki_keys *signing_keys(const struct signing *s);
/* The hash of an organisation's new cards. */
enum dsig_hash signing_hash(const struct conf *c, const struct conf_organisation *o);

/* system.c: a card of a system that its client has signed is there for all of that system's calls too, when the
 * gateway has a key for it: the newest is the one that is used. */
int signing_keep_for_system(const struct signing *s, struct arena *a, const struct conf_organisation *o,
    const struct idcard *made, const struct card *card, struct err *e);

#endif
