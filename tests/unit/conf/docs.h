/* A certificate and documents for tests of the configuration. */
#ifndef DOCS_H
#define DOCS_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

/* A fresh self-signed certificate as the inside of a JSON string. */
static inline struct slice
docs_certificate(struct arena *a)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem, *out = arena_alloc(a, 8192);
	size_t n = 0;

	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	PEM_write_bio_X509(bio, x);
	long size = BIO_get_mem_data(bio, &pem);
	for (long i = 0; i < size; i++) {
		if (pem[i] == '\n')
			out[n++] = '\\';
		out[n++] = pem[i] == '\n' ? 'n' : pem[i];
	}
	BIO_free(bio);
	X509_free(x);
	EVP_PKEY_free(key);
	return (struct slice){ out, n };
}

/* The text with each `from` replaced. */
static inline struct slice
docs_with(struct arena *a, struct slice text, struct slice from, struct slice to)
{
	char *out = arena_alloc(a, text.n + (text.n / from.n + 1) * to.n + 1);
	size_t n = 0;

	assert_non_null(out);
	for (;;) {
		ptrdiff_t at = slice_find(text, from);
		size_t before = at < 0 ? text.n : (size_t)at;
		memcpy(out + n, text.p, before);
		n += before;
		if (at < 0)
			return (struct slice){ out, n };
		memcpy(out + n, to.p, to.n);
		n += to.n;
		text = slice_from(text, before + from.n);
	}
}

#endif
