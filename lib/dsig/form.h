/* form: what the signature of a card must look like before anything in it is acted on. Private to dsig. */
#ifndef DSIG_FORM_H
#define DSIG_FORM_H

#include "dsig.h"

#define DSIG_CARD_ID "IDCard"
#define DSIG_SIGNATURE_ID "OCESSignature"

/* One row per hash: the names it has in XML signatures, and OpenSSL's. */
struct dsig_algorithm {
	enum dsig_hash hash;
	const char *signature, *digest, *evp;
	size_t size;
};
const struct dsig_algorithm *dsig_algorithm(enum dsig_hash hash);
/* The one that a SignatureMethod, a DigestMethod names; NULL: not one that is allowed. */
const struct dsig_algorithm *dsig_signature_algorithm(struct slice name);
const struct dsig_algorithm *dsig_digest_algorithm(struct slice name);
/* The public key of a certificate if it may sign anything here: RSA of 2048 to 8192 bits; else NULL. */
EVP_PKEY *dsig_usable_key(const X509 *cert);

struct dsig_form {
	xmlNode *root, *signature, *signed_info;
	enum xml_c14n c14n;		/* of SignedInfo; the reference is always exclusive */
	const struct dsig_algorithm *digest, *sign;
};

/* Every rule about a signed card that can be judged by looking at it. ERR_SIGNATURE; detail names the
 * rule. */
int dsig_read_form(struct arena *a, const xmlDoc *doc, struct dsig_form *f, struct err *e);
/* The root is one saml:Assertion with the card's id, unique in the document. */
int dsig_read_root(struct arena *a, const xmlDoc *doc, struct dsig_form *f, struct err *e);
/* How many elements of that name are at or under node. */
unsigned dsig_count(const xmlNode *node, const char *ns, const char *name);

#endif
