/* One certificate: from bytes, to bytes, its fingerprints. */
#include "pki.h"

#include "conv.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <limits.h>
#include <string.h>

static void
free_cert(void *cert)
{
	X509_free(cert);
}

static int
keep(struct arena *a, X509 *cert, X509 **out, struct err *e)
{
	ERR_clear_error();
	if (cert == NULL)
		return err_set(e, ERR_CERTIFICATE, "not one certificate");
	if (arena_defer(a, free_cert, cert) < 0)
		return err_set(e, ERR_MEMORY, "certificate");
	*out = cert;
	return 0;
}

int
pki_read_der(struct arena *a, struct slice der, X509 **out, struct err *e)
{
	const unsigned char *p = (const unsigned char *)der.p;
	X509 *cert = der.p == NULL || der.n > LONG_MAX ? NULL : d2i_X509(NULL, &p, (long)der.n);

	/* something behind it is something that nobody checked */
	if (cert != NULL && p != (const unsigned char *)der.p + der.n) {
		X509_free(cert);
		cert = NULL;
	}
	return keep(a, cert, out, e);
}

int
pki_read_pem(struct arena *a, struct slice pem, X509 **out, struct err *e)
{
	char none[] = "";	/* a pass phrase to try, so that nobody is asked for one */
	BIO *bio = pem.p == NULL || pem.n > INT_MAX ? NULL : BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *cert = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, none);
	X509 *second = cert == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, none);

	BIO_free(bio);
	if (second != NULL) {
		X509_free(second);
		X509_free(cert);
		cert = NULL;
	}
	return keep(a, cert, out, e);
}

struct slice
pki_der(struct arena *a, X509 *cert)
{
	int n = i2d_X509(cert, NULL);
	unsigned char *out = n <= 0 ? NULL : arena_alloc(a, (size_t)n), *p = out;

	if (out == NULL || i2d_X509(cert, &p) != n)
		return (struct slice){ 0 };
	return (struct slice){ (const char *)out, (size_t)n };
}

void
pki_fingerprint(X509 *cert, uint8_t out[32])
{
	unsigned n = 32;

	if (X509_digest(cert, EVP_sha256(), out, &n) != 1)
		memset(out, 0, 32);
}

struct slice
pki_cert_hash(struct arena *a, X509 *cert)
{
	unsigned char hash[SHA_DIGEST_LENGTH];
	unsigned n = sizeof hash;

	if (X509_digest(cert, EVP_sha1(), hash, &n) != 1)
		return (struct slice){ 0 };
	return conv_base64(a, (struct slice){ (const char *)hash, n });
}
