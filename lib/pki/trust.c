/* Whether a certificate chains to a root that is configured, by OpenSSL's path validation at a time that
 * the caller gives. Users send their own certificate alone, so the CAs between come from configuration. */
#include "pki.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <limits.h>
#include <stdlib.h>

struct pki_trust {
	X509_STORE *roots;
	STACK_OF(X509) *intermediates, *all;
};

/* ---- building */

static int
add(struct pki_trust *t, X509 *cert, bool root, struct err *e)
{
	/* fills what OpenSSL keeps about extensions, before threads share the certificate */
	if (X509_check_ca(cert) == 0)
		return err_set(e, ERR_CERT_UNTRUSTED, "a configured issuer is not a CA certificate");
	if (root ? X509_STORE_add_cert(t->roots, cert) != 1 :
	    sk_X509_push(t->intermediates, cert) <= 0 || X509_up_ref(cert) != 1)
		return err_set(e, ERR_MEMORY, "trust");
	if (sk_X509_push(t->all, cert) <= 0 || X509_up_ref(cert) != 1)
		return err_set(e, ERR_MEMORY, "trust");
	return 0;
}

/* Every certificate in one PEM text; none is a mistake of the administrator. */
static int
add_pem(struct pki_trust *t, struct slice pem, bool root, struct err *e)
{
	char none[] = "";	/* a pass phrase to try, so that nobody is asked for one */
	BIO *bio = pem.p == NULL || pem.n > INT_MAX ? NULL : BIO_new_mem_buf(pem.p, (int)pem.n);
	int found = 0, rc = 0;

	for (X509 *cert; rc == 0 && bio != NULL &&
	    (cert = PEM_read_bio_X509(bio, NULL, NULL, none)) != NULL; found++) {
		rc = add(t, cert, root, e);
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error();
	return rc < 0 ? -1 : found > 0 ? 0 : err_set(e, ERR_CERTIFICATE, "no certificate in the PEM text");
}

static int
fill(struct pki_trust *t, const struct slice *roots, size_t nroots, const struct slice *intermediates,
    size_t nintermediates, struct err *e)
{
	t->roots = X509_STORE_new();
	t->intermediates = sk_X509_new_null();
	t->all = sk_X509_new_null();
	if (t->roots == NULL || t->intermediates == NULL || t->all == NULL)
		return err_set(e, ERR_MEMORY, "trust");
	for (size_t i = 0; i < nroots; i++)
		if (add_pem(t, roots[i], true, e) < 0)
			return -1;
	for (size_t i = 0; i < nintermediates; i++)
		if (add_pem(t, intermediates[i], false, e) < 0)
			return -1;
	return 0;
}

struct pki_trust *
pki_trust_new(const struct slice *roots_pem, size_t nroots, const struct slice *intermediates_pem,
    size_t nintermediates, struct err *e)
{
	struct pki_trust *t = calloc(1, sizeof *t);

	if (t == NULL) {
		err_set(e, ERR_MEMORY, "trust");
		return NULL;
	}
	if (fill(t, roots_pem, nroots, intermediates_pem, nintermediates, e) < 0) {
		pki_trust_free(t);
		return NULL;
	}
	return t;
}

void
pki_trust_free(struct pki_trust *t)
{
	if (t == NULL)
		return;
	X509_STORE_free(t->roots);
	sk_X509_pop_free(t->intermediates, X509_free);
	sk_X509_pop_free(t->all, X509_free);
	free(t);
}

/* ---- judging a chain */

static int
failure(X509_STORE_CTX *ctx, struct err *e)
{
	int code = X509_STORE_CTX_get_error(ctx), depth = X509_STORE_CTX_get_error_depth(ctx);
	enum err_kind kind = ERR_CERT_UNTRUSTED;

	/* an issuer that has ended is a chain that is not there; the words about time are for the user's own */
	if (depth == 0 && code == X509_V_ERR_CERT_HAS_EXPIRED)
		kind = ERR_CERT_EXPIRED;
	else if (depth == 0 && code == X509_V_ERR_CERT_NOT_YET_VALID)
		kind = ERR_CERT_NOT_YET;
	else if (depth == 0 && (code == X509_V_ERR_EE_KEY_TOO_SMALL ||
	    code == X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION || code == X509_V_ERR_CA_MD_TOO_WEAK))
		kind = ERR_CERTIFICATE;
	return err_set(e, kind, "depth %d: %s", depth, X509_verify_cert_error_string(code));
}

/* now: 0 for any time. */
static X509_STORE_CTX *
validate(struct pki_trust *t, X509 *cert, int64_t now)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	if (ctx == NULL || X509_STORE_CTX_init(ctx, t->roots, cert, t->intermediates) != 1) {
		X509_STORE_CTX_free(ctx);
		return NULL;
	}
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
	/* level 2: keys of at least 112 bits of strength (RSA 2048), no SHA-1 in a certificate's signature */
	X509_VERIFY_PARAM_set_auth_level(param, 2);
	X509_VERIFY_PARAM_set_depth(param, 4);
	if (now == 0)
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_NO_CHECK_TIME);
	else
		X509_VERIFY_PARAM_set_time(param, (time_t)now);
	if (X509_verify_cert(ctx) != 1 && X509_STORE_CTX_get_error(ctx) == X509_V_OK)
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
	ERR_clear_error();
	return ctx;
}

/* What OpenSSL allows and OCES does not: other kinds of keys, keys that may not sign, a CA as a user. */
static int
check_leaf(X509 *cert, struct err *e)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);

	if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
		return err_set(e, ERR_CERTIFICATE, "not an RSA key");
	if (EVP_PKEY_get_bits(key) < 2048 || EVP_PKEY_get_bits(key) > 8192)
		return err_set(e, ERR_CERTIFICATE, "RSA key of %d bits", EVP_PKEY_get_bits(key));
	if ((X509_get_extension_flags(cert) & EXFLAG_INVALID) != 0)
		return err_set(e, ERR_CERTIFICATE, "broken extensions");
	if (X509_check_ca(cert) != 0)
		return err_set(e, ERR_CERTIFICATE, "a CA certificate");
	/* UINT32_MAX: no keyUsage, no restriction */
	if ((X509_get_key_usage(cert) & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) == 0)
		return err_set(e, ERR_CERTIFICATE, "keyUsage does not allow signatures");
	return 0;
}

static void
free_cert(void *cert)
{
	X509_free(cert);
}

static int
take_chain(struct arena *a, X509_STORE_CTX *ctx, struct pki_chain *out, struct err *e)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
	int n = sk_X509_num(chain);

	*out = (struct pki_chain){ .n = 0 };
	if (n < 2 || n > PKI_CHAIN_MOST)
		return err_set(e, ERR_CERT_UNTRUSTED, "a chain of %d", n);
	for (; out->n < (size_t)n; out->n++) {
		X509 *cert = sk_X509_value(chain, (int)out->n);
		if (X509_up_ref(cert) != 1 || arena_defer(a, free_cert, cert) < 0)
			return err_set(e, ERR_MEMORY, "issuer");
		out->certs[out->n] = cert;
	}
	return 0;
}

int
pki_check_chain(struct pki_trust *t, struct arena *a, X509 *cert, int64_t now, struct pki_chain *out, struct err *e)
{
	if (now <= 0)
		return err_set(e, ERR_INTERNAL, "no time to check a certificate at");
	if (check_leaf(cert, e) < 0)
		return -1;
	X509_STORE_CTX *ctx = validate(t, cert, now);
	if (ctx == NULL)
		return err_set(e, ERR_MEMORY, "certificate check");
	int rc = X509_STORE_CTX_get_error(ctx) == X509_V_OK ? take_chain(a, ctx, out, e) : failure(ctx, e);
	X509_STORE_CTX_free(ctx);
	return rc;
}

/* ---- lists */

static bool
is_trusted_ca(struct pki_trust *t, X509 *cert)
{
	/* a list may be checked after its CA has ended: what it says is still so */
	X509_STORE_CTX *ctx = validate(t, cert, 0);
	bool good = ctx != NULL && X509_STORE_CTX_get_error(ctx) == X509_V_OK;

	X509_STORE_CTX_free(ctx);
	return good;
}

X509 *
pki_trust_issuer_of_crl(struct pki_trust *t, X509_CRL *crl)
{
	for (int i = 0; i < sk_X509_num(t->all); i++) {
		X509 *ca = sk_X509_value(t->all, i);
		EVP_PKEY *key = X509_get0_pubkey(ca);
		if (key == NULL || X509_NAME_cmp(X509_get_subject_name(ca), X509_CRL_get_issuer(crl)) != 0 ||
		    (X509_get_key_usage(ca) & KU_CRL_SIGN) == 0)
			continue;
		bool signed_it = X509_CRL_verify(crl, key) == 1;
		ERR_clear_error();
		if (signed_it && is_trusted_ca(t, ca))
			return ca;
	}
	return NULL;
}
