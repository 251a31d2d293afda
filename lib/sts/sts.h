/* sts: exchanges with the Security Token Service (idcard.md 3). */
#ifndef STS_STS_H
#define STS_STS_H

#include "conf.h"
#include "http.h"
#include "idcard.h"

struct sts;
struct sts *sts_new(struct http *h);
void sts_free(struct sts *s);
/* Has the STS sign a card that its user has signed, and verifies everything that comes back: pinned
 * certificate, form, times, the same person, level, system and organisation. *out->xml is the card to keep.
 * signer: the user's certificate. Several URLs are tried in turn until one answers with
 * SOAP, be it a fault; those that failed lately come last.
 * ERR_STS_* (the card may be tried again), with the STS's faultstring in err_say. */
int sts_sign_card(struct sts *s, const struct conf *c, struct arena *a, const struct idcard *card, X509 *signer,
    struct idcard **out, struct err *e);
/* The longest that an exchange takes, all URLs counted: what one may take, or twice that when there are several; 40 s at
 * most. */
unsigned sts_most_ms(const struct conf_sts *conf);
/* Is this card, as it came from a client, validly signed by the STS and valid in time? (pass-through) */
int sts_verify_card(const struct conf *c, struct arena *a, struct slice xml, struct idcard **out, struct err *e);

/* ---- a card from a bootstrap token (interface.md 3.7) */

struct sts_claims {		/* what a wst:RequestSecurityToken asks for; absent: it does not say */
	struct slice system;			/* medcom:ITSystemName; always there */
	struct slice role, authorization;	/* medcom:UserRole, medcom:UserAuthorizationCode */
	struct slice name_id;			/* sosi:SubjectNameID */
	struct slice cpr;			/* not claimed: what the token says, where it can be read */
	struct slice holder;			/* not claimed: DER of the certificate whose key the token is bound to, likewise */
	bool sha1;			/* not claimed: the request, or its token where it can be read, is signed with SHA-1 */
	struct slice context, applies_to;	/* what an answer repeats */
};
/* rst: the only element in soap:Body. ERR_TOKEN_REQUEST, with err_say naming what is wrong. */
int sts_read_claims(struct arena *a, const xmlNode *rst, struct sts_claims *out, struct err *e);
/* bst_make.c: such a request of our own: token is markup that stands for itself (canonical); signed by key. */
int sts_make_bst(struct arena *a, struct slice token, const struct sts_claims *claims, EVP_PKEY *key, X509 *cert,
    struct slice *message, struct err *e);
/* Has the STS exchange the token in `message`, which is sent as it is: its sender has signed it. What comes back is
 * verified as above and must be a user's card of level 4 with what was claimed, for the organisation's own CVR number
 * where that is checked (ERR_TOKEN_OTHER). ERR_TOKEN_REQUEST: signed with SHA-1, which is refused. ERR_CONFIG when no URL is configured for this; else ERR_STS_*. */
int sts_exchange_bst(struct sts *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    struct slice message, const struct sts_claims *claims, struct idcard **out, struct err *e);

/* The STS's answers read alone; for the tests and the fuzz target. *card is the assertion, self-contained. */
int sts_read_answer(struct arena *a, struct slice answer, struct slice *card, struct err *e);
int sts_read_bst_answer(struct arena *a, struct slice answer, struct slice *card, struct err *e);

#endif
