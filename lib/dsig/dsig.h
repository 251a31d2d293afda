/* dsig: the XML signature of an ID card, the pieces of other signatures, and what is encrypted for us. Nothing more general: one enveloped ds:Signature as the
 * last child of a saml:Assertion id="IDCard", one Reference to "#IDCard", exactly the transforms
 * enveloped-signature and exclusive c14n, RSA PKCS#1 v1.5; the key comes from the caller, never from
 * the message. */
#ifndef DSIG_DSIG_H
#define DSIG_DSIG_H

#include "arena.h"
#include "err.h"
#include "xml.h"

#include <openssl/x509.h>
#include <stdatomic.h>

/* Once, by main, before threads. */
int dsig_init(struct err *e);

/* How many signatures of cards were found good, by their hash; sha1 is what has SHA-1 anywhere. */
struct dsig_counts { atomic_llong sha1, sha2; };
/* They are counted there from now on. Once, by main, before threads; without it nothing is counted. */
void dsig_count_in(struct dsig_counts *counts);

enum dsig_hash { DSIG_SHA1, DSIG_SHA256, DSIG_SHA384, DSIG_SHA512 };

struct dsig_policy {
	X509 *const *keys;	/* certificates whose key may have signed */
	size_t nkeys;
	bool refuse_sha1;
};

struct dsig_verified {
	/* The assertion in canonical form, self-contained: use only this. Exclusive c14n; inclusive where
	 * SignedInfo was signed in that form, because the namespaces in scope are then part of it. */
	struct slice card;
	X509 *signer;		/* the one of policy->keys that verified */
	enum dsig_hash hash;
};

/* Verifies the assertion that is the root of `card`. Checks, in this order: the form of the
 * signature (threats 2.4: everything not expected is refused before it is executed), then the digest,
 * then the signature value with each allowed key. The verdict is over out->card re-parsed on its own,
 * so what was verified is what is used. ERR_SIGNATURE on any failure. */
int dsig_verify(struct arena *a, struct slice card, const struct dsig_policy *policy,
    struct dsig_verified *out, struct err *e);

/* Makes the octets a signer signs: exclusive c14n of the SignedInfo over `card` (an assertion without
 * a signature). *signed_info is what the service contract calls DigestValue. */
int dsig_prepare(struct arena *a, struct slice card, enum dsig_hash hash, struct slice *signed_info,
    struct err *e);
/* Completes the card: SignedInfo as prepared, the value (raw bytes) and the certificate, as a
 * <ds:Signature id="OCESSignature"> last child. signer: that certificate alone, by which the signature
 * is verified: ERR_SIGNATURE when it does not fit. *out is a self-contained assertion. */
int dsig_attach(struct arena *a, struct slice card, struct slice signed_info, struct slice value,
    const struct dsig_policy *signer, struct slice *out, struct err *e);
/* dsig_prepare, sign with key, dsig_attach: for keys that the gateway itself holds. */
int dsig_sign(struct arena *a, struct slice card, enum dsig_hash hash, EVP_PKEY *key,
    X509 *certificate, struct slice *out, struct err *e);

/* ---- value.c: signatures that are not of a card, piece by piece; what is done with them is for the caller to judge */

#define DSIG_ENVELOPED "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
#define DSIG_EXCLUSIVE "http://www.w3.org/2001/10/xml-exc-c14n#"
#define DSIG_INCLUSIVE "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"

/* The first child of that name in ds:; NULL: none, or there is no parent. */
xmlNode *dsig_child(const xmlNode *parent, const char *name);
/* One child in ds: of each name (the last is NULL), in that order, none behind, nothing but elements. */
bool dsig_consists_of(const xmlNode *node, const char *const *names);
/* An element that says an Algorithm and holds nothing. */
bool dsig_is_method(const xmlNode *node);
/* The hash that a SignatureMethod, a DigestMethod names by its URI. -1: not one that is allowed. */
int dsig_hash_of_signature(struct slice method, enum dsig_hash *hash);
int dsig_hash_of_digest(struct slice method, enum dsig_hash *hash);
/* base64, as in DigestValue; absent when memory ends. */
struct slice dsig_digest(struct arena *a, enum dsig_hash hash, struct slice octets);
/* Is value (raw bytes) the RSA PKCS#1 v1.5 signature over octets by the key of that certificate, of 2048 to 8192 bits? */
bool dsig_value_fits(const X509 *certificate, enum dsig_hash hash, struct slice octets, struct slice value);

/* Makes such a value. ERR_INTERNAL. */
int dsig_value_make(struct arena *a, EVP_PKEY *key, enum dsig_hash hash, struct slice octets, struct slice *value, struct err *e);

/* ---- decrypt.c: what is encrypted for a key of ours (XML Encryption), read and decrypted, not trusted */

struct dsig_cipher;
struct dsig_encrypted {
	struct slice content, wrapped;	/* under AES; and the key of that, under RSA-OAEP */
	const struct dsig_cipher *cipher;
	enum dsig_hash digest, mask;	/* of RSA-OAEP */
	/* AES-CBC: who changes the ciphertext changes what comes out, and learns of it what he is told of that. */
	bool malleable;
};
/* What stands in an element as SAML encrypts one (core, section 2.3.4): one EncryptedData and one EncryptedKey, inside or beside it.
 * Key transport RSA-OAEP with SHA-1 or SHA-256; content AES-128 or AES-256, GCM or CBC. ERR_INVALID, detail says which rule. */
int dsig_encrypted_read(struct arena *a, const xmlNode *holder, struct dsig_encrypted *out, struct err *e);
/* *out: the octets, by whichever of those RSA keys it is for. ERR_INVALID, one for all reasons: whether a key fitted is not told. */
int dsig_decrypt(struct arena *a, const struct dsig_encrypted *x, EVP_PKEY *const *keys, size_t nkeys, struct slice *out,
    struct err *e);

/* The certificate (DER) in the card's KeyInfo, for finding out who claims to have signed; never a
 * reason to trust. Absent when there is none. */
struct slice dsig_claimed_certificate(struct arena *a, struct slice card);

#endif
