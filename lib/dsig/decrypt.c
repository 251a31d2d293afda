/* What somebody has encrypted for a key of ours (XML Encryption 1.0 and 1.1, as SAML has it): content under AES, the key of
 * that under RSA-OAEP. Both forms that providers write are read:
 *
 *   holder					holder
 *     xenc:EncryptedData			  xenc:EncryptedData Id
 *       xenc:EncryptionMethod			    xenc:EncryptionMethod
 *       ds:KeyInfo				    ds:KeyInfo ? / ds:RetrievalMethod ? URI="#key"
 *         xenc:EncryptedKey			    xenc:CipherData / xenc:CipherValue
 *       xenc:CipherData / xenc:CipherValue	  xenc:EncryptedKey Id
 *						    xenc:EncryptionMethod / ds:DigestMethod ?, xenc11:MGF ?
 *						    ds:KeyInfo ?
 *						    xenc:CipherData / xenc:CipherValue
 *						    xenc:ReferenceList ? / xenc:DataReference URI="#data"
 *
 * Everything is found where it stands; a reference must name just that, and none is followed. Nothing of the message chooses
 * more than a row of the two tables below: xmlsec's own reader would do what KeyInfo and CipherReference ask for, and has
 * algorithms that must not be had here. What a KeyInfo says of our certificate is passed over, for the keys are the caller's.
 *
 * Who sends something wrong learns nothing from us: a wrapped key that does not fit counts as one that does and says random
 * octets (as TLS does it against Bleichenbacher), so there is one way to fail, with the content. GCM says whether that is what was
 * encrypted. CBC does not: who has somebody's ciphertext can change it and watch what comes of it (Jager and Somorovsky, 2011),
 * and can say CBC of what was GCM; the caller must keep to itself what is wrong inside until it has verified a signature. */
#include "form.h"

#include "conv.h"
#include "rand.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#define XENC "http://www.w3.org/2001/04/xmlenc#"
#define XENC11 "http://www.w3.org/2009/xmlenc11#"
#define AES_BLOCK 16
#define KEY_MOST 32	/* of AES */

struct dsig_cipher {
	const char *name;
	const EVP_CIPHER *(*evp)(void);
	size_t key, iv, tag;	/* octets; tag 0: CBC */
};
static const struct dsig_cipher ciphers[] = {
	{ XENC11 "aes256-gcm", EVP_aes_256_gcm, 32, 12, 16 },
	{ XENC11 "aes128-gcm", EVP_aes_128_gcm, 16, 12, 16 },
	{ XENC "aes256-cbc", EVP_aes_256_cbc, 32, AES_BLOCK, 0 },
	{ XENC "aes128-cbc", EVP_aes_128_cbc, 16, AES_BLOCK, 0 },
};

static const struct {
	const char *name;
	enum dsig_hash hash;
} masks[] = {
	{ XENC11 "mgf1sha1", DSIG_SHA1 },
	{ XENC11 "mgf1sha256", DSIG_SHA256 },
};

static int
refuse(struct err *e, const char *rule)
{
	return err_set(e, ERR_INVALID, "encrypted: %s", rule);
}

/* ---- its form */

struct part { const char *ns, *name; bool optional; };

/* The child elements, each once and in that order, and nothing else; found: NULL for one that is left out. */
static bool
take_parts(const xmlNode *node, const struct part *parts, size_t n, const xmlNode **found)
{
	const xmlNode *at = xml_first(node);

	for (size_t i = 0; i < n; i++) {
		found[i] = xml_is(at, parts[i].ns, parts[i].name) ? at : NULL;
		if (found[i] == NULL && !parts[i].optional)
			return false;
		if (found[i] != NULL)
			at = xml_next(at);
	}
	return node != NULL && at == NULL && xml_only_elements(node);
}

/* CipherData that holds the octets themselves; a CipherReference would have us fetch them. */
static struct slice
cipher_value(struct arena *a, const xmlNode *cipher_data)
{
	static const struct part parts[] = { { XENC, "CipherValue", false } };
	const xmlNode *value;

	if (!take_parts(cipher_data, parts, 1, &value) || !xml_only_text(value))
		return (struct slice){ NULL, 0 };
	return conv_unbase64(a, xml_text(a, value));
}

/* URI="#id" of the element that stands where it is looked for. */
static bool
refers_to(struct arena *a, const xmlNode *reference, const xmlNode *node)
{
	struct slice uri = xml_attr(a, reference, "URI"), id = xml_attr(a, node, "Id");

	return uri.n > 1 && uri.p[0] == '#' && slice_eq(slice_from(uri, 1), id);
}

/* The one EncryptedKey: inside the data's KeyInfo, or beside the data (then sibling is not NULL). NULL: none, or two. */
static const xmlNode *
find_key(struct arena *a, const xmlNode *key_info, const xmlNode *sibling)
{
	const xmlNode *found = sibling, *retrieval = xml_child(key_info, NS_DS, "RetrievalMethod", 0);

	if (retrieval != NULL) {
		struct slice type = xml_attr(a, retrieval, "Type");
		if (xml_child(key_info, NS_DS, "RetrievalMethod", 1) != NULL || xml_first(retrieval) != NULL ||
		    (type.p != NULL && !slice_is(type, XENC "EncryptedKey")) || !refers_to(a, retrieval, sibling))
			return NULL;
	}
	for (const xmlNode *at = xml_first(key_info); at != NULL; at = xml_next(at)) {
		if (!xml_is(at, XENC, "EncryptedKey"))
			continue;
		if (found != NULL)
			return NULL;
		found = at;
	}
	return found;
}

static int
mask_hash(struct slice name, enum dsig_hash *hash)
{
	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
		*hash = masks[i].hash;
		if (slice_is(name, masks[i].name))
			return 0;
	}
	return -1;
}

/* Nothing but a DigestMethod and, for rsa-oaep, an MGF; above all no OAEPparams. NULL: not said, which is SHA-1 (XML Encryption
 * 1.1, section 5.5.2). */
static bool
take_oaep(const xmlNode *method, bool with_mask, const xmlNode **digest, const xmlNode **mask)
{
	*digest = dsig_child(method, "DigestMethod");
	*mask = with_mask ? xml_child(method, XENC11, "MGF", 0) : NULL;
	for (const xmlNode *at = xml_first(method); at != NULL; at = xml_next(at))
		if ((at != *digest && at != *mask) || !dsig_is_method(at))
			return false;
	return xml_only_attribute(method, "Algorithm") && xml_only_elements(method);
}

static int
read_transport(struct arena *a, const xmlNode *method, struct dsig_encrypted *out, struct err *e)
{
	struct slice name = xml_attr(a, method, "Algorithm");
	const bool with_mask = slice_is(name, XENC11 "rsa-oaep");
	const xmlNode *digest, *mask;

	if (slice_is(name, XENC "rsa-1_5"))
		return refuse(e, "key transport rsa-1_5 is not taken; have the provider use RSA-OAEP (rsa-oaep-mgf1p)");
	if (!with_mask && !slice_is(name, XENC "rsa-oaep-mgf1p"))
		return refuse(e, "key transport is not RSA-OAEP");
	if (!take_oaep(method, with_mask, &digest, &mask))
		return refuse(e, "form of the key's EncryptionMethod");
	out->digest = out->mask = DSIG_SHA1;
	if (digest != NULL && (dsig_hash_of_digest(xml_attr(a, digest, "Algorithm"), &out->digest) < 0 || out->digest > DSIG_SHA256))
		return refuse(e, "RSA-OAEP with another digest than SHA-1 or SHA-256");
	if (mask != NULL && mask_hash(xml_attr(a, mask, "Algorithm"), &out->mask) < 0)
		return refuse(e, "RSA-OAEP with another mask than MGF1 with SHA-1 or SHA-256");
	return 0;
}

static int
read_key(struct arena *a, const xmlNode *key, const xmlNode *data, struct dsig_encrypted *out, struct err *e)
{
	static const struct part parts[] = { { XENC, "EncryptionMethod", false }, { NS_DS, "KeyInfo", true },
		{ XENC, "CipherData", false }, { XENC, "ReferenceList", true }, { XENC, "CarriedKeyName", true } };
	static const struct part reference[] = { { XENC, "DataReference", false } };
	const xmlNode *found[5], *to;

	if (!take_parts(key, parts, 5, found))
		return refuse(e, "form of EncryptedKey");
	if (found[3] != NULL && (!take_parts(found[3], reference, 1, &to) || !refers_to(a, to, data)))
		return refuse(e, "the key is for something else");
	out->wrapped = cipher_value(a, found[2]);
	if (out->wrapped.p == NULL)
		return refuse(e, "the key's CipherData");
	return read_transport(a, found[0], out, e);
}

static int
read_cipher(struct arena *a, const xmlNode *method, struct dsig_encrypted *out, struct err *e)
{
	struct slice name = xml_attr(a, method, "Algorithm");

	for (size_t i = 0; dsig_is_method(method) && i < sizeof ciphers / sizeof *ciphers; i++) {
		if (!slice_is(name, ciphers[i].name))
			continue;
		out->cipher = &ciphers[i];
		out->malleable = ciphers[i].tag == 0;
		return 0;
	}
	return refuse(e, "content is not under AES-128 or AES-256, GCM or CBC");
}

int
dsig_encrypted_read(struct arena *a, const xmlNode *holder, struct dsig_encrypted *out, struct err *e)
{
	static const struct part parts[] = { { XENC, "EncryptedData", false }, { XENC, "EncryptedKey", true } };
	static const struct part of_data[] = { { XENC, "EncryptionMethod", false }, { NS_DS, "KeyInfo", true }, { XENC, "CipherData", false } };
	const xmlNode *found[2], *data[3];

	*out = (struct dsig_encrypted){ .cipher = NULL };
	if (!take_parts(holder, parts, 2, found) || !take_parts(found[0], of_data, 3, data))
		return refuse(e, "form of EncryptedData, or more than one EncryptedKey");
	/* SAML core, section 2.3.4: Type, where it is given, is this */
	struct slice type = xml_attr(a, found[0], "Type");
	if (type.p != NULL && !slice_is(type, XENC "Element"))
		return refuse(e, "it is no element");
	const xmlNode *key = find_key(a, data[1], found[1]);
	if (key == NULL)
		return refuse(e, "not one EncryptedKey, here");
	out->content = cipher_value(a, data[2]);
	if (out->content.p == NULL)
		return refuse(e, "CipherData");
	return read_cipher(a, data[0], out, e) < 0 ? -1 : read_key(a, key, found[0], out, e);
}

/* ---- the octets */

/* Into key, when it fits; else key stays as it is. */
static void
unwrap(struct arena *a, const struct dsig_encrypted *x, EVP_PKEY *own, uint8_t key[KEY_MOST])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
	const EVP_MD *digest = EVP_get_digestbyname(dsig_algorithm(x->digest)->evp), *mask = EVP_get_digestbyname(dsig_algorithm(x->mask)->evp);
	size_t n = (size_t)EVP_PKEY_get_size(own);
	unsigned char *clear = arena_secret(a, n);

	if (ctx != NULL && clear != NULL && EVP_PKEY_decrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
	    EVP_PKEY_CTX_set_rsa_oaep_md(ctx, digest) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, mask) == 1 &&
	    EVP_PKEY_decrypt(ctx, clear, &n, (const unsigned char *)x->wrapped.p, x->wrapped.n) == 1 && n == x->cipher->key)
		memcpy(key, clear, n);
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
}

/* What is under the IV that stands before it, without the tag that stands behind. */
static bool
decrypt(const struct dsig_encrypted *x, const uint8_t *key, unsigned char *out, size_t *n)
{
	const struct dsig_cipher *c = x->cipher;
	const unsigned char *iv = (const unsigned char *)x->content.p, *from = iv + c->iv;
	const size_t length = x->content.n - c->iv - c->tag;
	unsigned char tag[AES_BLOCK] = { 0 };
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int got = 0, rest = 0;

	memcpy(tag, from + length, c->tag);
	/* padding is ours to judge: XML Encryption fills it with what it likes */
	bool good = ctx != NULL && EVP_DecryptInit_ex2(ctx, c->evp(), key, iv, NULL) == 1 && EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
	    (c->tag == 0 || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, (int)c->tag, tag) == 1) &&
	    EVP_DecryptUpdate(ctx, out, &got, from, (int)length) == 1 && EVP_DecryptFinal_ex(ctx, out + got, &rest) == 1;

	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	*n = (size_t)got + (size_t)rest;
	return good;
}

/* Section 5.2 of XML Encryption: the last octet of the last block says how many of it are padding. */
static bool
unpad(const unsigned char *p, size_t *n)
{
	const size_t padding = *n == 0 ? 0 : p[*n - 1];

	if (padding == 0 || padding > AES_BLOCK || padding > *n)
		return false;
	*n -= padding;
	return true;
}

int
dsig_decrypt(struct arena *a, const struct dsig_encrypted *x, EVP_PKEY *const *keys, size_t nkeys, struct slice *out, struct err *e)
{
	uint8_t *key = arena_secret(a, KEY_MOST);
	unsigned char *clear = arena_alloc(a, x->content.n);
	size_t n = 0;

	if (key == NULL || clear == NULL)
		return err_set(e, ERR_MEMORY, "decryption");
	if (x->content.n <= x->cipher->iv + x->cipher->tag || x->content.n > INT_MAX)
		return refuse(e, "CipherData");
	rand_bytes(key, KEY_MOST);
	for (size_t i = 0; i < nkeys; i++)
		unwrap(a, x, keys[i], key);
	if (!decrypt(x, key, clear, &n) || (x->malleable && !unpad(clear, &n)))
		return refuse(e, "not for a key of ours, or changed");
	*out = (struct slice){ (const char *)clear, n };
	return 0;
}
