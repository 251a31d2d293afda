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
 * signer: the user's certificate. Several URLs are tried in turn, one that failed last.
 * ERR_STS_* (the card may be tried again), with the STS's faultstring in err_say. */
int sts_sign_card(struct sts *s, const struct conf *c, struct arena *a, const struct idcard *card, X509 *signer,
    struct idcard **out, struct err *e);
/* Is this card, as it came from a client, validly signed by the STS and valid in time? (pass-through) */
int sts_verify_card(const struct conf *c, struct arena *a, struct slice xml, struct idcard **out, struct err *e);

/* The STS's answer read alone; for sts.c and the fuzz target. *card is the assertion, self-contained. */
int sts_read_answer(struct arena *a, struct slice answer, struct slice *card, struct err *e);

#endif
