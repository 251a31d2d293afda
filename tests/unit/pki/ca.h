/* A small certification authority for tests: certificates and lists of any shape, at a fixed time. */
#ifndef PKI_TEST_CA_H
#define PKI_TEST_CA_H

#include "pki.h"

#include "unit.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define CA_NOW INT64_C(1715673600)	/* 2024-05-14 08:00 UTC */
#define CA_DAY 86400

struct ca {
	EVP_PKEY *key;
	X509 *cert;
};

/* What a certificate says; zero fields have the usual value. */
struct ca_order {
	const char *cn, *serial_number, *o, *organization_id;
	long number;			/* CertSerial */
	int64_t from, to;		/* relative to CA_NOW */
	const char *extra_oid;		/* a critical extension nobody knows */
	const char *key_usage;		/* "" for none */
	const char *extended_usage;
	EVP_PKEY *key;			/* borrowed */
	const EVP_MD *md;
	bool pss, is_ca, one_rdn;
};

static inline void
ca_entry(X509_NAME *name, const char *type, const char *value, int set)
{
	if (value != NULL)
		assert_int_equal(X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8,
		    (const unsigned char *)value, -1, -1, set), 1);
}

static inline void
ca_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(ext);
	assert_int_equal(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

static inline void
ca_unknown_extension(X509 *cert, const char *oid)
{
	ASN1_OBJECT *obj = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();

	ASN1_OCTET_STRING_set(data, (const unsigned char *)"\x05\x00", 2);
	X509_EXTENSION *ext = X509_EXTENSION_create_by_OBJ(NULL, obj, 1, data);
	assert_int_equal(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(data);
	ASN1_OBJECT_free(obj);
}

static inline void
ca_sign(X509 *cert, EVP_PKEY *key, const EVP_MD *md, bool pss)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;

	assert_int_equal(EVP_DigestSignInit(ctx, &pctx, md == NULL ? EVP_sha256() : md, NULL, key), 1);
	if (pss) {
		assert_true(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0);
		assert_true(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, 32) > 0);
	}
	assert_true(X509_sign_ctx(cert, ctx) > 0);
	EVP_MD_CTX_free(ctx);
}

/* issuer NULL: self-signed. The caller frees. */
static inline X509 *
ca_issue(const struct ca *issuer, const struct ca_order *o)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	assert_int_equal(X509_set_version(cert, 2), 1);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), o->number == 0 ? 1 : o->number);
	ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(CA_NOW + (o->from == 0 ? -CA_DAY : o->from)));
	ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(CA_NOW + (o->to == 0 ? CA_DAY : o->to)));
	ca_entry(name, "C", "DK", 0);
	ca_entry(name, "organizationIdentifier", o->organization_id, 0);
	ca_entry(name, "O", o->o, 0);
	ca_entry(name, "CN", o->cn, 0);
	ca_entry(name, "serialNumber", o->serial_number, o->one_rdn ? -1 : 0);
	X509_set_issuer_name(cert, issuer == NULL ? name : X509_get_subject_name(issuer->cert));
	assert_int_equal(X509_set_pubkey(cert, o->key), 1);
	ca_extension(cert, NID_basic_constraints, o->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	const char *usage = o->key_usage != NULL ? o->key_usage :
	    o->is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature,nonRepudiation";
	if (usage[0] != '\0')
		ca_extension(cert, NID_key_usage, usage);
	if (o->extended_usage != NULL)
		ca_extension(cert, NID_ext_key_usage, o->extended_usage);
	if (o->extra_oid != NULL)
		ca_unknown_extension(cert, o->extra_oid);
	ca_sign(cert, issuer == NULL ? o->key : issuer->key, o->md, o->pss);
	return cert;
}

static inline struct slice
ca_pem(struct arena *a, X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;

	assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
	long n = BIO_get_mem_data(bio, &text);
	struct slice out = arena_dup(a, (struct slice){ text, (size_t)n });
	BIO_free(bio);
	return out;
}

/* A list of n serial numbers from `first` on, issued at CA_NOW, with the next one a day later. */
static inline X509_CRL *
ca_list(const struct ca *issuer, long first, long n)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)CA_NOW);
	ASN1_INTEGER *serial = ASN1_INTEGER_new();

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->cert));
	X509_CRL_set1_lastUpdate(crl, time);
	for (long i = 0; i < n; i++) {
		X509_REVOKED *entry = X509_REVOKED_new();
		ASN1_INTEGER_set(serial, first + i);
		X509_REVOKED_set_serialNumber(entry, serial);
		X509_REVOKED_set_revocationDate(entry, time);
		assert_int_equal(X509_CRL_add0_revoked(crl, entry), 1);
	}
	ASN1_TIME_set(time, (time_t)(CA_NOW + CA_DAY));
	X509_CRL_set1_nextUpdate(crl, time);
	ASN1_TIME_free(time);
	ASN1_INTEGER_free(serial);
	assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
	return crl;
}

static inline void
ca_list_extension(X509_CRL *crl, const struct ca *issuer, X509_EXTENSION *ext)
{
	assert_non_null(ext);
	assert_int_equal(X509_CRL_add_ext(crl, ext, -1), 1);
	X509_EXTENSION_free(ext);
	assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
}

static inline struct slice
ca_list_der(struct arena *a, X509_CRL *crl)
{
	int n = i2d_X509_CRL(crl, NULL);
	unsigned char *out = arena_alloc(a, (size_t)n), *p = out;

	assert_non_null(out);
	assert_int_equal(i2d_X509_CRL(crl, &p), n);
	return (struct slice){ (const char *)out, (size_t)n };
}

static inline void
ca_free(struct ca *ca)
{
	EVP_PKEY_free(ca->key);
	X509_free(ca->cert);
}

#endif
