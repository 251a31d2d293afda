/* Keys and certificates made for the tests of one program, and a small card to sign with them. */
#ifndef DSIG_TEST_KEYS_H
#define DSIG_TEST_KEYS_H

#include "dsig.h"
#include "xml.h"

#include "unit.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define CARD_OPEN "<saml:Assertion xmlns:saml=\"" NS_SAML "\" IssueInstant=\"2024-05-14T07:55:00Z\"" \
	" Version=\"2.0\" id=\"IDCard\">"
#define CARD_BODY "<saml:Issuer>SOSI-GW</saml:Issuer><saml:Subject>" \
	"<saml:NameID Format=\"medcom:cprnumber\">1802602810</saml:NameID></saml:Subject>" \
	"<saml:AttributeStatement id=\"UserLog\"><saml:Attribute Name=\"medcom:UserRole\">" \
	"<saml:AttributeValue>l\xC3\xA6ge</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>"
#define CARD_CLOSE "</saml:Assertion>"
#define CARD CARD_OPEN CARD_BODY CARD_CLOSE

struct signer {
	EVP_PKEY *key;
	X509 *cert;
};

/* Takes key. */
static inline struct signer
signer_of(EVP_PKEY *key)
{
	X509 *cert = X509_new();

	assert_non_null(key);
	assert_non_null(cert);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
	    (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	return (struct signer){ key, cert };
}

static inline void
signer_free(struct signer *s)
{
	EVP_PKEY_free(s->key);
	X509_free(s->cert);
}

#endif
