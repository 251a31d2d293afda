/* posted: the XML signature that a signing page posts, in the parts that a card's and a log-on's have in common.
 * Private to signing. */
#ifndef SIGNING_POSTED_H
#define SIGNING_POSTED_H

#include "dsig.h"
#include "xml.h"

#define POSTED_CERTIFICATES 8

struct posted {
	const char *openoces;		/* namespace of the openoces:signature around it; NULL: none */
	const xmlNode *signature, *signed_info;
	const xmlNode *object;		/* the one ds:Object, unjudged; NULL: none */
	struct slice value;		/* raw bytes */
	X509 *certificates[POSTED_CERTIFICATES];	/* in the order of KeyInfo, whatever it says */
	size_t ncertificates;
};
/* text: XML, or base64 of it, of at most 64 KB; root ds:Signature, or openoces:signature of 2003/10 or 2006/07 with one
 * ds:Signature. SignedInfo and Object are for the caller to judge; all else has its form, or is refused. ERR_XML and the
 * other refusals of xml_parse, ERR_LIMIT, ERR_SIGNATURE, ERR_NO_SIGNING_INFO (no value, no certificate),
 * ERR_CERTIFICATE (one that cannot be read). */
int posted_read(struct arena *a, struct slice text, struct posted *out, struct err *e);
/* The first certificate whose key made the value over octets, the canonical SignedInfo; the hash is the one that its
 * SignatureMethod names: rsa-sha1 or rsa-sha256, with refuse_sha1 the latter alone. ERR_SIGNATURE. */
int posted_signer(struct arena *a, const struct posted *p, struct slice octets, bool refuse_sha1, X509 **out, struct err *e);
/* May that hash be in it? */
bool posted_hash_is_allowed(enum dsig_hash hash, bool refuse_sha1);

#endif
