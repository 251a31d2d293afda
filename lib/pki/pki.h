/* pki: OCES certificates: who they name, whether they chain, whether they are revoked. */
#ifndef PKI_PKI_H
#define PKI_PKI_H

#include "arena.h"
#include "err.h"

#include <openssl/x509.h>
#include <stdint.h>

enum pki_kind { PKI_EMPLOYEE, PKI_ORGANISATION, PKI_FUNCTION, PKI_PERSON };	/* MOCES VOCES FOCES POCES; OCES3 joins VOCES and FOCES as ORGANISATION */
struct pki_identity {
	enum pki_kind kind;
	int oces;		/* 2 or 3 */
	struct slice cvr;	/* 8 digits; absent for a person */
	struct slice rid, uid, fid, pid, uuid;	/* the one that the kind has; others absent */
	struct slice common_name, organisation, serial_number;	/* subject attributes, UTF-8 */
};

/* One certificate from DER, or from PEM text. Freed with the arena. ERR_CERTIFICATE. */
int pki_read_der(struct arena *a, struct slice der, X509 **out, struct err *e);
int pki_read_pem(struct arena *a, struct slice pem, X509 **out, struct err *e);
struct slice pki_der(struct arena *a, X509 *cert);
/* SHA-256 over the DER. */
void pki_fingerprint(X509 *cert, uint8_t out[32]);
/* base64 SHA-1 over the DER: the OCESCertHash of a card. */
struct slice pki_cert_hash(struct arena *a, X509 *cert);

/* When it ends, seconds UTC; 0 when it does not say. */
int64_t pki_cert_end(const X509 *cert);

/* Reads the subject by the OCES2 or OCES3 rules (idcard.md 4). ERR_CERTIFICATE when it follows neither. */
int pki_identify(struct arena *a, X509 *cert, struct pki_identity *out, struct err *e);
/* "SubjectDN={..},IssuerDN={..},CertSerial={..}", RFC 1779 names, as the STS writes NameID. */
struct slice pki_names(struct arena *a, X509 *cert);

/* What certificates are judged by: roots and intermediates. Immutable once made; threads may share it. */
struct pki_trust;
struct pki_trust *pki_trust_new(const struct slice *roots_pem, size_t nroots,
    const struct slice *intermediates_pem, size_t nintermediates, struct err *e);
void pki_trust_free(struct pki_trust *t);
#define PKI_CHAIN_MOST 6
struct pki_chain {
	X509 *certs[PKI_CHAIN_MOST];	/* the certificate, its issuer, ..., the root; they live as long as the arena */
	size_t n;			/* 2 at least */
};
/* Chain to a root at time `now`; RSA of at least 2048 bits. ERR_CERT_EXPIRED, ERR_CERT_NOT_YET,
 * ERR_CERT_UNTRUSTED, ERR_CERTIFICATE. */
int pki_check_chain(struct pki_trust *t, struct arena *a, X509 *cert, int64_t now, struct pki_chain *out, struct err *e);
/* The certificate of a trusted CA with that subject key, to check a CRL against; NULL when none. */
X509 *pki_trust_issuer_of_crl(struct pki_trust *t, X509_CRL *crl);

/* A private key that the gateway keeps itself, and its certificate. Exactly one of key_file, pkcs12_file and pkcs11 is
 * there; certificate_file may be NULL beside pkcs12_file. */
struct pki_key_source {
	const char *certificate_file;	/* PEM; of several certificates the first */
	const char *key_file;		/* PEM */
	const char *pkcs12_file;
	const char *pkcs11;		/* RFC 7512 URI, without a PIN */
	const char *password_file;	/* its first line; NULL: none */
};
struct pki_keys;
struct pki_keys *pki_keys_new(void);	/* NULL: no memory */
void pki_keys_free(struct pki_keys *k);
/* RSA key and the certificate that belongs to it; both live as long as the arena. Loaded once, and again when one of
 * the files has changed; a PIN that a token has refused is not tried again before that. Threads may call: of several that
 * want the same key one loads it and the others wait for it, 5 s at most; nobody waits for another's key, but that
 * of tokens one is loaded at a time. ERR_SYSTEM_KEY says which file and why: also when a secret file is open to others. */
int pki_keys_get(struct pki_keys *k, struct arena *a, const struct pki_key_source *from, EVP_PKEY **key, X509 **cert, struct err *e);
/* Around each use of a private key that is in a token: tokens are not made for many at once. ERR_SYSTEM_KEY when others
 * have had it for 5 s. */
int pki_keys_take_token(struct pki_keys *k, struct err *e);
void pki_keys_give_token(struct pki_keys *k);
/* Test hook: how long one waits for another, instead of the 5 s. */
void pki_keys_patience(struct pki_keys *k, int64_t ms);
/* The next pki_keys_get loads anew: after the key did not work. */
void pki_keys_forget(struct pki_keys *k, const struct pki_key_source *from);

/* Revoked certificates of all lists, in one sorted file that the housekeeper writes and everybody
 * maps read only; a new file is noticed by itself. */
struct pki_revoked;
struct pki_revoked *pki_revoked_open(const char *path);	/* the file may come later; NULL: no memory */
void pki_revoked_close(struct pki_revoked *r);
/* A certificate as the list knows it: SHA-256(issuer name DER | serial DER), first 16 bytes. */
struct pki_cert_key { uint8_t id[16]; };
void pki_cert_key(X509 *cert, struct pki_cert_key *out);
/* 0: on no list, and the list of its issuer is fresh enough (grace: seconds it may be older than its
 * nextUpdate). ERR_CERT_REVOKED; ERR_CERT_UNCHECKED when no list of its issuer is there or it is too old. */
int pki_revoked_check(struct pki_revoked *r, X509 *cert, int64_t now, int64_t grace, struct err *e);
/* Is there a list of its issuer, of whatever age? */
bool pki_revoked_has_list_for(struct pki_revoked *r, X509 *cert);
/* Only whether it is listed, in nanoseconds. */
bool pki_revoked_has(struct pki_revoked *r, const struct pki_cert_key *key);
/* Whose revocation ends what was signed, as it is kept with a card: half of the key of the CA that issued the signer's
 * certificate (zero: not known, or a root, which no list can name), then half of the certificate's own. 64 bits: among a
 * million listed certificates one in 2^44 looks like another that is listed. */
struct pki_signer { uint8_t id[16]; };
/* issuer: as from pki_check_chain; NULL: not known. */
void pki_signer(X509 *cert, X509 *issuer, struct pki_signer *out);
/* For cards already kept: is the signer's certificate listed, or the CA that issued it? Nanoseconds; called at every use. */
bool pki_revoked_has_signer(struct pki_revoked *r, const struct pki_signer *s);

/* Writing the file: start, add each CRL (DER or PEM, already checked with pki_check_crl), finish
 * (sorted, fsynced, renamed into place). */
struct pki_revoked_writer;
struct pki_revoked_writer *pki_revoked_writer_new(const char *path);
int pki_revoked_add(struct pki_revoked_writer *w, X509_CRL *crl, struct err *e);
int pki_revoked_finish(struct pki_revoked_writer *w, struct err *e);	/* frees w in any case */
void pki_revoked_abandon(struct pki_revoked_writer *w);	/* the old file stays */
/* Seconds UTC. -1: the list does not say. */
int pki_crl_times(const X509_CRL *crl, int64_t *this_update, int64_t *next_update);
/* Parses and checks a CRL: signed by a trusted CA. Freed with the arena. ERR_INVALID. */
int pki_read_crl(struct arena *a, struct pki_trust *t, struct slice bytes, X509_CRL **out, struct err *e);

/* OCSP, without the network: what to ask of the responder of a certificate's issuer, and what its answer is worth. */
struct pki_ocsp {
	X509 *cert, *issuer;	/* as from pki_check_chain */
	struct slice request;	/* DER; made by pki_ocsp_request */
	int64_t skew;		/* seconds by which the responder's clock may differ from ours */
};
int pki_ocsp_request(struct arena *a, struct pki_ocsp *q, struct err *e);
/* 0: good. ERR_CERT_REVOKED; ERR_CERT_UNCHECKED when the answer says nothing that can be believed. revoked: the lists, which
 * may name the responder's own certificate; may be NULL. */
int pki_ocsp_judge(struct arena *a, const struct pki_ocsp *q, struct pki_revoked *revoked, struct slice answer,
    int64_t now, struct err *e);

#endif
