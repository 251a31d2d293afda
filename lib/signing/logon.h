/* logon: the log-on form of OpenSign: a challenge of ours that a person has signed with their certificate. */
#ifndef SIGNING_LOGON_H
#define SIGNING_LOGON_H

#include "signing.h"

struct signing_logon {
	struct slice challenge;		/* what was given to this browser; the caller sees to it that it is used once */
	struct slice logonto;		/* our host, as the page was told it */
};
/* text: what was posted, XML or base64 of it: openoces:signature (2003/10, 2006/07) around a ds:Signature with one
 * reference, to its Object "ToBeSigned", which says action=logon, the challenge and logonto. The certificate is judged
 * as one that signs a card (signing_check_certificate), and must be a person's. *who lives as long as the arena.
 * ERR_SIGNATURE (the form, the signature, another challenge or host), ERR_NO_SIGNING_INFO, ERR_CERT_*, ERR_CERTIFICATE,
 * ERR_XML and its kin, ERR_LIMIT. */
int signing_logon_read(const struct signing *s, const struct conf *c, struct arena *a, struct slice text,
    const struct signing_logon *wanted, struct pki_identity *who, struct err *e);

#endif
