/* revoked: the file of revoked certificates, as writer (crl.c) and reader (revoked.c) know it.
 * Private to pki; in the byte order of the host, because it never leaves it.
 *
 *   struct revoked_head
 *   struct revoked_list [lists]		one per issuer, sorted by issuer
 *   struct pki_cert_key [keys]			sorted
 */
#ifndef PKI_REVOKED_H
#define PKI_REVOKED_H

#include "pki.h"

#define REVOKED_MAGIC UINT64_C(0x53475752564b0001)	/* the last two bytes: format version 1 */

struct revoked_head {
	uint64_t magic, lists, keys;
	uint8_t check[32];	/* SHA-256 of all that follows */
};
struct revoked_list {
	uint8_t issuer[32];	/* SHA-256 of the issuer's name, DER */
	int64_t this_update, next_update;
};

/* The name's hash; all zero when there is none. */
void revoked_issuer(const X509_NAME *name, uint8_t out[32]);
/* false, and all zero, when memory ends. */
bool revoked_key(const X509_NAME *issuer, const ASN1_INTEGER *serial, struct pki_cert_key *out);

#endif
