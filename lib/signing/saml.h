/* saml: what is said to an identity provider in the browser, and what it answers (SAML 2.0 Web SSO as OIOSAML has it). */
#ifndef SIGNING_SAML_H
#define SIGNING_SAML_H

#include "arena.h"
#include "conf.h"
#include "dsig.h"
#include "err.h"

#include <openssl/x509.h>

/* The address of the provider with an AuthnRequest of that id, signed by key (HTTP-Redirect). acs: where it is to answer;
 * relay: what it gives back with that, at most 80 bytes. */
int saml_request_address(struct arena *a, const struct conf_idp *idp, struct slice id, struct slice acs, struct slice relay,
    EVP_PKEY *key, struct slice *address, struct err *e);

/* What a provider's administrator is to know of us (SAML 2.0 metadata): XML. signing: our key there; encryption: what is to be
 * encrypted for us. ERR_MEMORY. */
int saml_metadata(struct arena *a, const struct conf_idp *idp, struct slice acs, X509 *signing, X509 *encryption, struct slice *xml,
    struct err *e);

struct saml_wanted {
	const struct conf_idp *idps;	/* one of them must have signed the answer */
	size_t nidps;
	struct slice acs, request;	/* our address and the id of the request, as they must stand in it */
	int64_t now, skew;		/* seconds; by how much its clock may differ from ours, at either end */
	/* dsig_decrypt with the keys that we have for that provider */
	int (*decrypt)(void *ctx, struct arena *a, const struct conf_idp *idp, const struct dsig_encrypted *x, struct slice *octets,
	    struct err *e);
	void *ctx;
};
struct saml_login {
	const struct conf_idp *idp;
	struct slice token;	/* the bootstrap token, canonical; the assertion itself when it holds none */
	struct slice cpr;	/* that the assertion says; absent: none */
};
/* text: base64, as posted. One assertion, plain or encrypted, signed with RSA-SHA256 or better by a configured certificate, for us,
 * now, in answer to that request; all that is used is read from the bytes that were verified. ERR_IDP_ANSWER, detail says which
 * rule; ERR_SYSTEM_KEY (decrypt). Under AES-CBC what is wrong with what came out is neither told nor to be seen by the clock: such
 * a refusal takes a twentieth of a second. */
int saml_read(struct arena *a, struct slice text, const struct saml_wanted *w, struct saml_login *out, struct err *e);

#endif
