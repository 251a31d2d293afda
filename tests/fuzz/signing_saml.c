/* An answer of an identity provider from a stranger. Nobody is known who could have signed it, but what stands in it is judged
 * as by a provider of the issuer that it names, so that every rule up to the signature is reached. What is encrypted counts as
 * decrypted as it is, or nothing would ever come out. */
#include "conv.h"
#include "saml.h"
#include "xml.h"

#include <stdint.h>
#include <stdlib.h>

static int
decrypt(void *ctx, struct arena *a, const struct conf_idp *idp, const struct dsig_encrypted *x, struct slice *octets, struct err *e)
{
	(void)ctx, (void)a, (void)idp, (void)e;
	*octets = x->content;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	const struct conf_idp idp = { .issuer = S("https://idp.example.dk"), .audience = S("https://gw.example.dk/saml") };
	const struct saml_wanted wanted = { .idps = &idp, .nidps = 1, .acs = S("https://gw.example.dk/sosigw/sign/acs"),
		.request = S("_1"), .now = 1715673600, .decrypt = decrypt };
	struct saml_login got;
	struct err e = { 0 };

	if (!started)
		xml_init();
	started = true;
	struct arena *a = arena_new(64 << 20);
	/* XML for the fuzzer, base64 for the reader */
	if (saml_read(a, conv_base64(a, (struct slice){ (const char *)data, size }), &wanted, &got, &e) == 0 ||
	    (e.kind != ERR_IDP_ANSWER && e.kind != ERR_MEMORY))
		abort();
	arena_free(a);
	return 0;
}
