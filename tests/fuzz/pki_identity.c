/* A certificate from a stranger: who it names, and everything else that is printed or computed of it. */
#include "pki.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = { (const char *)data, size };
	struct arena *a = arena_new(16 << 20);
	struct pki_identity who;
	struct pki_cert_key key;
	struct err e = { 0 };
	X509 *cert;
	struct pki_chain chain;

	if (pki_read_der(a, bytes, &cert, &e) == 0) {
		(void)pki_identify(a, cert, &who, &e);
		(void)pki_names(a, cert);
		(void)pki_cert_hash(a, cert);
		pki_cert_key(cert, &key);
		struct pki_trust *none = pki_trust_new(NULL, 0, NULL, 0, &e);
		if (none != NULL)
			(void)pki_check_chain(none, a, cert, 1715673600, &chain, &e);
		pki_trust_free(none);
	}
	err_clear(&e);
	(void)pki_read_pem(a, bytes, &cert, &e);
	arena_free(a);
	return 0;
}
