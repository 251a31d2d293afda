/* OCSP (RFC 6960) without the network: the request, and what an answer to it is worth.
 *
 * An answer counts when its signer is the certificate's own issuer, or holds a certificate for this purpose
 * (extendedKeyUsage OCSPSigning) that this very issuer has signed; when it is about this certificate; when it is of
 * now; and when its nonce, if it has one, is ours. Responders that answer from a store of signed answers send no nonce,
 * so one that is not there is no fault. Nothing else in an answer is used: neither other certificates nor addresses. */
#include "pki.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/rsa.h>
#include <openssl/x509_vfy.h>

#define AGE_MOST 3600	/* of an answer that does not say when there is a newer one */

/* ---- the request */

/* SHA-1 is the one that every responder knows (RFC 5019). It only names the certificate; no signature rests on it. */
static OCSP_CERTID *
name_of(X509 *cert, X509 *issuer)
{
	return OCSP_cert_to_id(EVP_sha1(), cert, issuer);
}

static bool
add_certificate(OCSP_REQUEST *req, const struct pki_ocsp *q)
{
	OCSP_CERTID *id = name_of(q->cert, q->issuer);

	if (id != NULL && OCSP_request_add0_id(req, id) != NULL)
		return true;
	OCSP_CERTID_free(id);
	return false;
}

int
pki_ocsp_request(struct arena *a, struct pki_ocsp *q, struct err *e)
{
	OCSP_REQUEST *req = OCSP_REQUEST_new();
	unsigned char *out = NULL, *p;
	int n = 0;

	if (req != NULL && add_certificate(req, q) && OCSP_request_add1_nonce(req, NULL, -1) == 1 &&
	    (n = i2d_OCSP_REQUEST(req, NULL)) > 0)
		p = out = arena_alloc(a, (size_t)n);
	if (out == NULL || i2d_OCSP_REQUEST(req, &p) != n)
		n = 0;
	OCSP_REQUEST_free(req);
	ERR_clear_error();
	if (n <= 0)
		return err_set(e, ERR_MEMORY, "OCSP request");
	q->request = (struct slice){ (const char *)out, (size_t)n };
	return 0;
}

/* ---- reading the answer */

static void
free_basic(void *basic)
{
	OCSP_BASICRESP_free(basic);
}

static OCSP_RESPONSE *
parse(struct slice der)
{
	const unsigned char *p = (const unsigned char *)der.p;
	OCSP_RESPONSE *whole = der.p == NULL || der.n > INT_MAX ? NULL : d2i_OCSP_RESPONSE(NULL, &p, (long)der.n);

	if (whole != NULL && p != (const unsigned char *)der.p + der.n) {
		OCSP_RESPONSE_free(whole);
		return NULL;
	}
	return whole;
}

static int
read_answer(struct arena *a, struct slice der, OCSP_BASICRESP **out, struct err *e)
{
	OCSP_RESPONSE *whole = parse(der);
	int status = whole == NULL ? 0 : OCSP_response_status(whole);

	*out = whole == NULL || status != OCSP_RESPONSE_STATUS_SUCCESSFUL ? NULL : OCSP_response_get1_basic(whole);
	OCSP_RESPONSE_free(whole);
	ERR_clear_error();
	if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		return err_set(e, ERR_CERT_UNCHECKED, "OCSP responder says %s", OCSP_response_status_str(status));
	if (*out == NULL)
		return err_set(e, ERR_CERT_UNCHECKED, "not an OCSP answer");
	return arena_defer(a, free_basic, *out) < 0 ? err_set(e, ERR_MEMORY, "OCSP answer") : 0;
}

/* ---- who signed it */

/* Whoever can make two answers with one digest can pass off one for the other; so SHA-2 alone, as in chains. */
static bool
is_strong(const X509_ALGOR *algorithm)
{
	const ASN1_OBJECT *object;
	const void *value;
	int type, digest = NID_undef, key;

	X509_ALGOR_get0(&object, &type, &value, algorithm);
	if (OBJ_obj2nid(object) != NID_rsassaPss) {
		(void)OBJ_find_sigid_algs(OBJ_obj2nid(object), &digest, &key);
	} else if (type == V_ASN1_SEQUENCE) {
		RSA_PSS_PARAMS *pss = ASN1_item_unpack(value, ASN1_ITEM_rptr(RSA_PSS_PARAMS));
		if (pss != NULL && pss->hashAlgorithm != NULL)
			digest = OBJ_obj2nid(pss->hashAlgorithm->algorithm);
		RSA_PSS_PARAMS_free(pss);
	}
	return digest == NID_sha256 || digest == NID_sha384 || digest == NID_sha512;
}

/* The issuer alone, which pki_check_chain has judged: a responder stands directly under it or nowhere. */
static X509_STORE *
trust_in(X509 *issuer, int64_t now)
{
	X509_STORE *store = X509_STORE_new();

	if (store == NULL || X509_STORE_add_cert(store, issuer) != 1) {
		X509_STORE_free(store);
		return NULL;
	}
	X509_VERIFY_PARAM *param = X509_STORE_get0_param(store);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	X509_VERIFY_PARAM_set_auth_level(param, 2);
	X509_VERIFY_PARAM_set_time(param, (time_t)now);
	return store;
}

static int
verify(OCSP_BASICRESP *basic, STACK_OF(X509) *issuers, X509_STORE *store, struct pki_revoked *revoked, struct err *e)
{
	struct pki_cert_key key;
	X509 *signer = NULL;

	if (!is_strong(OCSP_resp_get0_tbs_sigalg(basic)))
		return err_set(e, ERR_CERT_UNCHECKED, "OCSP answer is signed with a weak algorithm");
	/* no intermediates from the answer, and nobody who is trusted for all answers alike */
	if (OCSP_basic_verify(basic, issuers, store, OCSP_NOCHAIN | OCSP_NOEXPLICIT) != 1 ||
	    OCSP_resp_get0_signer(basic, &signer, issuers) != 1)
		return err_set(e, ERR_CERT_UNCHECKED, "OCSP answer is not signed by the issuer or for it");
	pki_cert_key(signer, &key);
	if (revoked != NULL && pki_revoked_has(revoked, &key))
		return err_set(e, ERR_CERT_UNCHECKED, "OCSP responder's certificate is revoked");
	return 0;
}

static int
check_signer(OCSP_BASICRESP *basic, X509 *issuer, struct pki_revoked *revoked, int64_t now, struct err *e)
{
	STACK_OF(X509) *issuers = sk_X509_new_null();
	X509_STORE *store = trust_in(issuer, now);
	int rc = -1;

	if (store == NULL || issuers == NULL || sk_X509_push(issuers, issuer) <= 0)
		err_set(e, ERR_MEMORY, "OCSP answer");
	else
		rc = verify(basic, issuers, store, revoked, e);
	sk_X509_free(issuers);
	X509_STORE_free(store);
	ERR_clear_error();
	return rc;
}

static int
check_nonce(OCSP_BASICRESP *basic, struct slice request, struct err *e)
{
	const unsigned char *p = (const unsigned char *)request.p;
	OCSP_REQUEST *req = request.p == NULL ? NULL : d2i_OCSP_REQUEST(NULL, &p, (long)request.n);

	if (req == NULL)
		return err_set(e, ERR_INTERNAL, "OCSP answer without a request");
	int same = OCSP_check_nonce(req, basic);
	OCSP_REQUEST_free(req);
	ERR_clear_error();
	return same == 0 ? err_set(e, ERR_CERT_UNCHECKED, "OCSP answer to another request") : 0;
}

/* ---- what it says */

static int
find(OCSP_BASICRESP *basic, const struct pki_ocsp *q, OCSP_SINGLERESP **out, struct err *e)
{
	OCSP_CERTID *id = name_of(q->cert, q->issuer);
	int at = id == NULL ? -1 : OCSP_resp_find(basic, id, -1);
	bool twice = at >= 0 && OCSP_resp_find(basic, id, at) >= 0;

	OCSP_CERTID_free(id);
	ERR_clear_error();
	if (at < 0 || twice)
		return err_set(e, ERR_CERT_UNCHECKED, "OCSP answer is%s about this certificate",
		    twice ? " twice" : " not");
	*out = OCSP_resp_get0(basic, at);
	return 0;
}

static int
check_times(const ASN1_GENERALIZEDTIME *from, const ASN1_GENERALIZEDTIME *to, int64_t now, int64_t skew, struct err *e)
{
	int begun = from == NULL ? -2 : ASN1_TIME_cmp_time_t(from, (time_t)(now + skew));	/* -2: no time at all */

	if (begun == -2 || begun > 0)
		return err_set(e, ERR_CERT_UNCHECKED, "OCSP answer is of the future");
	int still = to == NULL ? ASN1_TIME_cmp_time_t(from, (time_t)(now - AGE_MOST)) :
	    ASN1_TIME_cmp_time_t(to, (time_t)(now - skew));
	return still < 0 ? err_set(e, ERR_CERT_UNCHECKED, "OCSP answer is too old") : 0;
}

/* RFC 5280: what is critical and not understood makes the whole useless. The nonce is understood. */
static int
check_extensions(OCSP_BASICRESP *basic, OCSP_SINGLERESP *one, struct err *e)
{
	for (int at = -1; (at = OCSP_BASICRESP_get_ext_by_critical(basic, 1, at)) >= 0;)
		if (OBJ_obj2nid(X509_EXTENSION_get_object(OCSP_BASICRESP_get_ext(basic, at))) !=
		    NID_id_pkix_OCSP_Nonce)
			return err_set(e, ERR_CERT_UNCHECKED, "OCSP answer has an unknown critical extension");
	if (OCSP_SINGLERESP_get_ext_by_critical(one, 1, -1) >= 0)
		return err_set(e, ERR_CERT_UNCHECKED, "OCSP answer has an unknown critical extension");
	return 0;
}

int
pki_ocsp_judge(struct arena *a, const struct pki_ocsp *q, struct pki_revoked *revoked, struct slice answer,
    int64_t now, struct err *e)
{
	ASN1_GENERALIZEDTIME *from = NULL, *to = NULL;
	OCSP_BASICRESP *basic = NULL;
	OCSP_SINGLERESP *one = NULL;

	if (read_answer(a, answer, &basic, e) < 0 || check_signer(basic, q->issuer, revoked, now, e) < 0 ||
	    check_nonce(basic, q->request, e) < 0 || find(basic, q, &one, e) < 0 ||
	    check_extensions(basic, one, e) < 0)
		return -1;
	int status = OCSP_single_get0_status(one, NULL, NULL, &from, &to);
	if (check_times(from, to, now, q->skew, e) < 0)
		return -1;
	switch (status) {
	case V_OCSP_CERTSTATUS_GOOD:
		return 0;
	case V_OCSP_CERTSTATUS_REVOKED:
		return err_set(e, ERR_CERT_REVOKED, "says its issuer's OCSP responder");
	default:
		return err_set(e, ERR_CERT_UNCHECKED, "OCSP responder does not know the certificate");
	}
}
