/* answer: what a browser posts when its user has signed a card: an XML signature over the SignedInfo that the page was
 * given. */
#ifndef SIGNING_ANSWER_H
#define SIGNING_ANSWER_H

#include "arena.h"
#include "err.h"

struct signing_answer {
	struct slice value;		/* raw bytes */
	struct slice certificate;	/* DER: the one whose key verifies; nothing else of it has been judged */
};
/* text: what was posted, XML or base64 of it; root ds:Signature, or openoces:signature (2003/10, 2006/07). Its
 * SignedInfo must be, octet for octet in canonical form, `signed_info`, as the order has it. Both slices live as long as
 * the arena. ERR_SIGNATURE, ERR_NO_SIGNING_INFO, ERR_CERTIFICATE, ERR_XML and its kin, ERR_LIMIT. */
int signing_answer_read(struct arena *a, struct slice text, struct slice signed_info, struct signing_answer *out,
    struct err *e);

#endif
