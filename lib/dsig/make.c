/* Making: the octets to sign, and the card with its signature. Neither needs xmlsec: it signs only with
 * a private key, and here the key is in the user's hands, between the two steps. Both are short, because
 * the form is fixed: SignedInfo is a template that is canonical as it stands. What comes out is verified
 * by dsig_verify, as any other card. */
#include "form.h"

#include "conv.h"

#include <openssl/evp.h>
#include <string.h>

/* A card that is to be signed: read, without any signature, and its canonical form. */
static int
read_unsigned(struct arena *a, struct slice card, struct slice *canonical, struct err *e)
{
	struct dsig_form f;
	xmlDoc *doc;

	if (xml_parse(a, card, &xml_document_limits, &doc, e) < 0 || dsig_read_root(a, doc, &f, e) < 0)
		return -1;
	if (dsig_count(f.root, NS_DS, "Signature") != 0)
		return err_set(e, ERR_SIGNATURE, "signed already");
	return xml_canonical(a, f.root, XML_C14N_EXCLUSIVE, NULL, canonical, e);
}

int
dsig_prepare(struct arena *a, struct slice card, enum dsig_hash hash, struct slice *signed_info,
    struct err *e)
{
	const struct dsig_algorithm *with = dsig_algorithm(hash);
	struct slice canonical = { 0 };

	if (with == NULL)
		return err_set(e, ERR_INTERNAL, "no such hash");
	if (read_unsigned(a, card, &canonical, e) < 0)
		return -1;
	struct slice digest = dsig_digest(a, hash, canonical);
	if (digest.p == NULL)
		return err_set(e, ERR_INTERNAL, "digest %s", with->evp);
	*signed_info = arena_printf(a,
	    "<ds:SignedInfo xmlns:ds=\"" NS_DS "\">"
	    "<ds:CanonicalizationMethod Algorithm=\"" DSIG_EXCLUSIVE "\"></ds:CanonicalizationMethod>"
	    "<ds:SignatureMethod Algorithm=\"%s\"></ds:SignatureMethod>"
	    "<ds:Reference URI=\"#" DSIG_CARD_ID "\"><ds:Transforms>"
	    "<ds:Transform Algorithm=\"" DSIG_ENVELOPED "\"></ds:Transform>"
	    "<ds:Transform Algorithm=\"" DSIG_EXCLUSIVE "\"></ds:Transform></ds:Transforms>"
	    "<ds:DigestMethod Algorithm=\"%s\"></ds:DigestMethod>"
	    "<ds:DigestValue>%s</ds:DigestValue></ds:Reference></ds:SignedInfo>",
	    with->signature, with->digest, digest.p);
	return signed_info->p == NULL ? err_set(e, ERR_MEMORY, "SignedInfo") : 0;
}

static struct slice
der_of(struct arena *a, X509 *certificate)
{
	unsigned char *der = NULL;
	int n = i2d_X509(certificate, &der);

	if (n <= 0)
		return (struct slice){ 0 };
	struct slice text = conv_base64(a, (struct slice){ (const char *)der, (size_t)n });
	OPENSSL_free(der);
	return text;
}

/* Where the end tag of the root begins: a canonical document ends with it. */
static size_t
end_tag(struct slice canonical)
{
	size_t i = canonical.n;

	while (i > 0 && canonical.p[i - 1] != '<')
		i--;
	return i - 1;
}

int
dsig_attach(struct arena *a, struct slice card, struct slice signed_info, struct slice value,
    const struct dsig_policy *signer, struct slice *out, struct err *e)
{
	struct slice canonical = { 0 };

	if (read_unsigned(a, card, &canonical, e) < 0)
		return -1;
	size_t end = end_tag(canonical);
	struct slice text = conv_base64(a, value), der = der_of(a, signer->keys[0]);
	if (text.p == NULL || der.p == NULL)
		return err_set(e, ERR_SIGNATURE, "no signature value or no certificate");
	struct slice whole = arena_printf(a,
	    "%.*s<ds:Signature xmlns:ds=\"" NS_DS "\" id=\"" DSIG_SIGNATURE_ID "\">%.*s"
	    "<ds:SignatureValue>%.*s</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>"
	    "%.*s</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>%s",
	    (int)end, canonical.p, SLICE_FMT(signed_info), SLICE_FMT(text), SLICE_FMT(der),
	    canonical.p + end);
	if (whole.p == NULL)
		return err_set(e, ERR_MEMORY, "signed card");

	struct dsig_verified verified;
	if (dsig_verify(a, whole, signer, &verified, e) < 0)
		return -1;
	*out = verified.card;
	return 0;
}

int
dsig_sign(struct arena *a, struct slice card, enum dsig_hash hash, EVP_PKEY *key,
    X509 *certificate, struct slice *out, struct err *e)
{
	const struct dsig_policy signer = { .keys = &certificate, .nkeys = 1 };
	struct slice signed_info = { 0 }, value = { 0 };

	if (dsig_prepare(a, card, hash, &signed_info, e) < 0 ||
	    dsig_value_make(a, key, hash, signed_info, &value, e) < 0)
		return -1;
	return dsig_attach(a, card, signed_info, value, &signer, out, e);
}

struct slice
dsig_claimed_certificate(struct arena *a, struct slice card)
{
	struct err e = { 0 };
	xmlDoc *doc;

	if (xml_parse(a, card, &xml_document_limits, &doc, &e) < 0)
		return (struct slice){ 0 };
	const xmlNode *signature = xml_child(xmlDocGetRootElement(doc), NS_DS, "Signature", 0);
	const xmlNode *info = xml_child(signature, NS_DS, "KeyInfo", 0);
	const xmlNode *data = xml_child(info, NS_DS, "X509Data", 0);
	if (xml_child(data, NS_DS, "X509Certificate", 1) != NULL)
		return (struct slice){ 0 };
	struct slice text = xml_text(a, xml_child(data, NS_DS, "X509Certificate", 0));
	return text.p == NULL ? text : conv_unbase64(a, text);
}
