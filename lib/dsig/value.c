/* The pieces of a signature: which hash, the digest, the value under one key. */
#include "form.h"

#include "conv.h"

#include <openssl/err.h>
#include <openssl/evp.h>

EVP_PKEY *
dsig_usable_key(const X509 *cert)
{
	EVP_PKEY *key = cert == NULL ? NULL : X509_get0_pubkey(cert);

	if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA ||
	    EVP_PKEY_get_bits(key) < 2048 || EVP_PKEY_get_bits(key) > 8192)
		return NULL;
	return key;
}

static int
hash_of(const struct dsig_algorithm *algorithm, enum dsig_hash *hash)
{
	if (algorithm == NULL)
		return -1;
	*hash = algorithm->hash;
	return 0;
}

xmlNode *
dsig_child(const xmlNode *parent, const char *name)
{
	return xml_child(parent, NS_DS, name, 0);
}

bool
dsig_consists_of(const xmlNode *node, const char *const *names)
{
	const xmlNode *child = xml_first(node);

	for (; *names != NULL; names++, child = xml_next(child))
		if (!xml_is(child, NS_DS, *names))
			return false;
	return child == NULL && node != NULL && xml_only_elements(node);
}

bool
dsig_is_method(const xmlNode *node)
{
	return node != NULL && xml_only_attribute(node, "Algorithm") && node->children == NULL;
}

int
dsig_hash_of_signature(struct slice method, enum dsig_hash *hash)
{
	return hash_of(dsig_signature_algorithm(method), hash);
}

int
dsig_hash_of_digest(struct slice method, enum dsig_hash *hash)
{
	return hash_of(dsig_digest_algorithm(method), hash);
}

struct slice
dsig_digest(struct arena *a, enum dsig_hash hash, struct slice octets)
{
	const struct dsig_algorithm *with = dsig_algorithm(hash);
	unsigned char out[EVP_MAX_MD_SIZE];
	size_t n = 0;

	if (with == NULL || EVP_Q_digest(NULL, with->evp, NULL, octets.p, octets.n, out, &n) != 1 || n != with->size)
		return (struct slice){ NULL, 0 };
	return conv_base64(a, (struct slice){ (const char *)out, n });
}

bool
dsig_value_fits(const X509 *certificate, enum dsig_hash hash, struct slice octets, struct slice value)
{
	const struct dsig_algorithm *with = dsig_algorithm(hash);
	EVP_PKEY *key = dsig_usable_key(certificate);
	EVP_MD_CTX *ctx = with == NULL || key == NULL ? NULL : EVP_MD_CTX_new();
	/* PKCS#1 v1.5 is what an RSA key does when nothing else is said */
	bool fits = ctx != NULL && EVP_DigestVerifyInit_ex(ctx, NULL, with->evp, NULL, NULL, key, NULL) == 1 &&
	    EVP_DigestVerify(ctx, (const unsigned char *)value.p, value.n, (const unsigned char *)octets.p, octets.n) == 1;

	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return fits;
}

int
dsig_value_make(struct arena *a, EVP_PKEY *key, enum dsig_hash hash, struct slice octets, struct slice *value, struct err *e)
{
	const struct dsig_algorithm *with = dsig_algorithm(hash);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = (size_t)EVP_PKEY_get_size(key);
	unsigned char *out = arena_alloc(a, n);
	bool done = with != NULL && ctx != NULL && out != NULL &&
	    EVP_DigestSignInit_ex(ctx, NULL, with->evp, NULL, NULL, key, NULL) == 1 &&
	    EVP_DigestSign(ctx, out, &n, (const unsigned char *)octets.p, octets.n) == 1;

	EVP_MD_CTX_free(ctx);
	if (!done)
		return err_set(e, ERR_INTERNAL, "signing");
	*value = (struct slice){ (const char *)out, n };
	return 0;
}
