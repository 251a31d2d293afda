/* saml: what is said to an identity provider in the browser, and what it answers (SAML 2.0 Web SSO as OIOSAML has it). */
#ifndef SIGNING_SAML_H
#define SIGNING_SAML_H

#include "arena.h"
#include "conf.h"
#include "err.h"

#include <openssl/x509.h>

/* The address of the provider with an AuthnRequest of that id, signed by key (HTTP-Redirect). acs: where it is to answer;
 * relay: what it gives back with that, at most 80 bytes. */
int saml_request_address(struct arena *a, const struct conf_idp *idp, struct slice id, struct slice acs, struct slice relay,
    EVP_PKEY *key, struct slice *address, struct err *e);

struct saml_wanted {
	const struct conf_idp *idps;	/* one of them must have signed the answer */
	size_t nidps;
	struct slice acs, request;	/* our address and the id of the request, as they must stand in it */
	int64_t now, skew;		/* seconds; by how much its clock may differ from ours, at either end */
};
struct saml_login {
	const struct conf_idp *idp;
	struct slice token;	/* the bootstrap token, canonical; the assertion itself when it holds none */
	struct slice cpr;	/* that the assertion says; absent: none */
};
/* text: base64, as posted. One assertion, signed with RSA-SHA256 or better by a configured certificate, for us, now, in
 * answer to that request; all that is used is read from the bytes that were verified. ERR_IDP_ANSWER, detail says which rule. */
int saml_read(struct arena *a, struct slice text, const struct saml_wanted *w, struct saml_login *out, struct err *e);

#endif
