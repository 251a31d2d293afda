/* Cards that must not pass. Two kinds: a good card changed afterwards, and cards that the trusted key
 * itself has signed in a form we do not allow: those any other verifier accepts (the test makes sure with
 * xmlsec as it comes), so that each check of ours is tested alone. */
#include "keys.h"

#include <libxml/parser.h>
#include <openssl/ec.h>
#include <xmlsec/crypto.h>
#include <xmlsec/openssl/crypto.h>
#include <xmlsec/openssl/evp.h>
#include <xmlsec/xmldsig.h>
#include <strings.h>

#define ALG_SIG "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
#define ALG_EXC "http://www.w3.org/2001/10/xml-exc-c14n#"
#define ALG_INC "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
#define ALG_ENV NS_DS "enveloped-signature"
#define CM "<ds:CanonicalizationMethod Algorithm=\"" ALG_EXC "\"/>"
#define SM "<ds:SignatureMethod Algorithm=\"" ALG_SIG "\"/>"
#define T_ENV "<ds:Transform Algorithm=\"" ALG_ENV "\"/>"
#define T_EXC "<ds:Transform Algorithm=\"" ALG_EXC "\"/>"
#define DM "<ds:DigestMethod Algorithm=\"" NS_DS "sha1\"/>"
#define DV "<ds:DigestValue></ds:DigestValue>"
#define REF "<ds:Reference URI=\"#IDCard\"><ds:Transforms>" T_ENV T_EXC "</ds:Transforms>" DM DV "</ds:Reference>"
#define SIG_OPEN "<ds:Signature xmlns:ds=\"" NS_DS "\" id=\"OCESSignature\">"
#define SV "<ds:SignatureValue></ds:SignatureValue>"
#define TEMPLATE CARD_OPEN CARD_BODY SIG_OPEN "<ds:SignedInfo>" CM SM REF "</ds:SignedInfo>" SV \
	"</ds:Signature>" CARD_CLOSE
#define ATTRS "<saml:AttributeStatement"

static struct signer ours, stranger, small, elliptic;
static struct slice good;	/* signed by ours, with KeyInfo */
static struct arena *kept;

/* ---- the other signer: xmlsec, doing whatever a template asks */

static void
register_ids(xmlNode *node)
{
	for (; node != NULL; node = node->next) {
		for (xmlAttr *at = node->type == XML_ELEMENT_NODE ? node->properties : NULL; at != NULL; at = at->next) {
			if (strcasecmp((const char *)at->name, "id") != 0 || at->ns != NULL)
				continue;
			xmlChar *value = xmlNodeListGetString(node->doc, at->children, 1);
			if (value != NULL && xmlGetID(node->doc, value) == NULL)
				xmlAddID(NULL, node->doc, value, at);
			xmlFree(value);
		}
		register_ids(node->type == XML_ELEMENT_NODE ? node->children : NULL);
	}
}

static xmlSecDSigCtx *
context_with(EVP_PKEY *key)
{
	xmlSecDSigCtx *ctx = xmlSecDSigCtxCreate(NULL);

	assert_non_null(ctx);
	assert_int_equal(EVP_PKEY_up_ref(key), 1);
	ctx->signKey = xmlSecKeyCreate();
	assert_true(xmlSecKeySetValue(ctx->signKey, xmlSecOpenSSLEvpKeyAdopt(key)) >= 0);
	return ctx;
}

/* The certificate's octets as the key of an HMAC: what a confused verifier would use. */
static xmlSecDSigCtx *
context_with_hmac(X509 *cert)
{
	xmlSecDSigCtx *ctx = xmlSecDSigCtxCreate(NULL);
	unsigned char *der = NULL;
	int n = i2d_X509(cert, &der);

	assert_true(ctx != NULL && n > 0);
	ctx->signKey = xmlSecKeyCreate();
	assert_true(xmlSecKeySetValue(ctx->signKey, xmlSecKeyDataCreate(xmlSecOpenSSLKeyDataHmacId)) >= 0);
	assert_true(xmlSecOpenSSLKeyDataHmacSet(xmlSecKeyGetValue(ctx->signKey), der, (xmlSecSize)n) >= 0);
	OPENSSL_free(der);
	return ctx;
}

static xmlNode *
first_signature(xmlNode *node)
{
	for (; node != NULL; node = node->next) {
		if (xml_is(node, NS_DS, "Signature"))
			return node;
		xmlNode *inside = node->type == XML_ELEMENT_NODE ? first_signature(node->children) : NULL;
		if (inside != NULL)
			return inside;
	}
	return NULL;
}

static xmlDoc *
plain_document(struct slice text)
{
	xmlDoc *doc = xmlReadMemory(text.p, (int)text.n, NULL, NULL, XML_PARSE_NONET);

	assert_non_null(doc);
	register_ids(doc->children);
	return doc;
}

static struct slice
signed_with(struct arena *a, struct slice template, xmlSecDSigCtx *ctx)
{
	xmlDoc *doc = plain_document(template);
	xmlChar *text = NULL;
	int n = 0;

	if (xmlSecDSigCtxSign(ctx, first_signature(doc->children)) < 0)
		fail_msg("cannot be signed: %.*s", SLICE_FMT(slice_from(template, sizeof CARD_OPEN CARD_BODY)));
	xmlSecDSigCtxDestroy(ctx);
	xmlDocDumpMemory(doc, &text, &n);
	struct slice out = arena_dup(a, (struct slice){ (char *)text, (size_t)n });
	xmlFree(text);
	xmlFreeDoc(doc);
	return out;
}

/* What a verifier says that trusts the key and checks nothing else. */
static bool
lax_verifier_accepts(struct slice card, xmlSecDSigCtx *ctx)
{
	xmlDoc *doc = plain_document(card);
	bool good_ = xmlSecDSigCtxVerify(ctx, first_signature(doc->children)) >= 0 &&
	    ctx->status == xmlSecDSigStatusSucceeded;

	xmlSecDSigCtxDestroy(ctx);
	xmlFreeDoc(doc);
	return good_;
}

/* ---- the verdict */

static int
judge(struct arena *a, struct slice card, struct err *e)
{
	struct dsig_verified got;
	struct dsig_policy policy = { .keys = &ours.cert, .nkeys = 1 };
	int rc = dsig_verify(a, card, &policy, &got, e);

	assert_true((rc == 0) == (got.card.p != NULL));
	return rc;
}

static void
assert_refused(struct arena *a, struct slice card, const char *why, const char *note)
{
	struct err e = { 0 };

	if (judge(a, card, &e) == 0)
		fail_msg("accepted: %s: %.*s", note, SLICE_FMT(card));
	if (e.kind != ERR_SIGNATURE || !slice_starts(slice_of(e.detail), slice_of(why)))
		fail_msg("%s: %s %s, wanted \"%s\"", note, err_name(e.kind), e.detail, why);
}

struct change {
	const char *note, *from, *to, *why;
};

/* ---- signed by the trusted key, in a form of the sender's choice */

static const struct change templates[] = {
	{ "no transform", "<ds:Transforms>" T_ENV T_EXC "</ds:Transforms>",
	    "<ds:Transforms>" T_ENV "</ds:Transforms>", "SignedInfo: parts of Transforms" },
	{ "enveloped twice", T_ENV T_EXC, T_ENV T_ENV, "Transforms:" },
	{ "three transforms", T_ENV T_EXC, T_ENV T_EXC T_EXC, "SignedInfo: parts of Transforms" },
	{ "inclusive c14n", T_ENV T_EXC, T_ENV "<ds:Transform Algorithm=\"" ALG_INC "\"/>", "Transforms:" },
	{ "with comments", T_ENV T_EXC, T_ENV "<ds:Transform Algorithm=\"" ALG_EXC "WithComments\"/>",
	    "Transforms:" },
	{ "XPath hides NameID", T_ENV T_EXC, T_ENV "<ds:Transform Algorithm=\""
	    "http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath xmlns:saml=\"" NS_SAML "\">"
	    "not(ancestor-or-self::saml:NameID)</ds:XPath></ds:Transform>", "SignedInfo: parts of" },
	{ "XPath Filter 2 hides NameID", T_ENV T_EXC, T_ENV "<ds:Transform Algorithm=\""
	    "http://www.w3.org/2002/06/xmldsig-filter2\"><x:XPath xmlns:x=\""
	    "http://www.w3.org/2002/06/xmldsig-filter2\" xmlns:saml=\"" NS_SAML "\" Filter=\"subtract\">"
	    "//saml:NameID</x:XPath></ds:Transform>", "SignedInfo: parts of" },
	{ "InclusiveNamespaces", T_EXC "</ds:Transforms>", "<ds:Transform Algorithm=\"" ALG_EXC "\">"
	    "<ec:InclusiveNamespaces xmlns:ec=\"" ALG_EXC "\" PrefixList=\"ds saml\"/></ds:Transform>"
	    "</ds:Transforms>", "SignedInfo: parts of Transform" },
	{ "InclusiveNamespaces in SignedInfo", CM, "<ds:CanonicalizationMethod Algorithm=\"" ALG_EXC "\">"
	    "<ec:InclusiveNamespaces xmlns:ec=\"" ALG_EXC "\" PrefixList=\"ds\"/>"
	    "</ds:CanonicalizationMethod>", "SignedInfo: parts of CanonicalizationMethod" },
	{ "SignedInfo with comments", CM, "<ds:CanonicalizationMethod Algorithm=\"" ALG_EXC "WithComments\"/>",
	    "CanonicalizationMethod:" },
	{ "SignedInfo in C14N 1.1", CM, "<ds:CanonicalizationMethod Algorithm=\""
	    "http://www.w3.org/2006/12/xml-c14n11\"/>", "CanonicalizationMethod:" },
	{ "RSA with MD5", ALG_SIG, "http://www.w3.org/2001/04/xmldsig-more#rsa-md5", "SignatureMethod:" },
	{ "RSA with RIPEMD", ALG_SIG, "http://www.w3.org/2001/04/xmldsig-more#rsa-ripemd160",
	    "SignatureMethod:" },
	{ "RSA with SHA-224", ALG_SIG, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha224", "SignatureMethod:" },
	{ "MD5 digest", NS_DS "sha1", "http://www.w3.org/2001/04/xmldsig-more#md5", "DigestMethod:" },
	{ "RIPEMD digest", NS_DS "sha1", "http://www.w3.org/2001/04/xmlenc#ripemd160", "DigestMethod:" },
	{ "SHA-224 digest", NS_DS "sha1", "http://www.w3.org/2001/04/xmldsig-more#sha224", "DigestMethod:" },
	{ "two references", REF, REF REF, "SignedInfo: parts of SignedInfo" },
	{ "reference to the document", "URI=\"#IDCard\"", "URI=\"\"", "Reference:" },
	{ "reference to a part", "URI=\"#IDCard\"", "URI=\"#UserLog\"", "Reference:" },
	{ "XPointer", "URI=\"#IDCard\"", "URI=\"#xpointer(id('IDCard'))\"", "Reference:" },
	{ "XPointer to the root", "URI=\"#IDCard\"", "URI=\"#xpointer(/)\"", "Reference:" },
	{ "reference with an id", "<ds:Reference ", "<ds:Reference Id=\"r\" ",
	    "SignedInfo: attributes of Reference" },
	{ "reference with a type", "<ds:Reference ", "<ds:Reference Type=\"" NS_DS "Object\" ",
	    "SignedInfo: attributes of Reference" },
	{ "SignedInfo with an id", "<ds:SignedInfo>", "<ds:SignedInfo Id=\"s\">",
	    "SignedInfo: attributes of SignedInfo" },
	{ "text in SignedInfo", CM, CM "x", "SignedInfo: content of SignedInfo" },
	{ "text in Transforms", T_ENV T_EXC, T_ENV "x" T_EXC, "SignedInfo: content of Transforms" },
	{ "an Object", SV, SV "<ds:Object><x/></ds:Object>", "signature: parts" },
	{ "another id on the card", "id=\"IDCard\"><saml:Issuer>", "id=\"IDCard\" wsu:Id=\"IDCard\" xmlns:wsu=\""
	    NS_WSU "\"><saml:Issuer>", "root: id IDCard more than once" },
	{ "the same id in a part", "id=\"UserLog\"", "id=\"IDCard\"", "root: id IDCard more than once" },
	{ "the same Id in a part", "id=\"UserLog\"", "Id=\"IDCard\"", "root: id IDCard more than once" },
	{ "the same ID in a part", "id=\"UserLog\"", "ID=\"IDCard\"", "root: id IDCard more than once" },
	{ "the same xml:id in a part", "id=\"UserLog\"", "xml:id=\" IDCard \"",
	    "root: id IDCard more than once" },
	{ "the same id on the signature", "id=\"OCESSignature\"", "id=\"IDCard\"",
	    "root: id IDCard more than once" },
	{ "an assertion inside", ATTRS, "<saml:Assertion/>" ATTRS, "root: a saml:Assertion inside" },
	{ "an assertion in Advice", ATTRS, "<saml:Advice><saml:Assertion id=\"x\"/></saml:Advice>" ATTRS,
	    "root: a saml:Assertion inside" },
	{ "something behind the signature", "</ds:Signature>", "</ds:Signature><saml:Advice/>",
	    "signature: not the last" },
	{ "an attribute on the signature", "id=\"OCESSignature\"", "id=\"OCESSignature\" x=\"\"",
	    "signature: attributes" },
	{ "a foreign root", CARD_OPEN, "<saml:Assertio xmlns:saml=\"" NS_SAML "\" id=\"IDCard\">", "root: not a" },
	{ "SAML 1 assertion", NS_SAML, "urn:oasis:names:tc:SAML:1.0:assertion", "root: not a" },
	{ "KeyInfo with KeyValue", "</ds:Signature>", "<ds:KeyInfo><ds:KeyValue/></ds:KeyInfo></ds:Signature>",
	    "KeyInfo: KeyValue" },
};

static struct slice
template_of(struct arena *a, const struct change *c)
{
	struct slice t = unit_edited(a, S(TEMPLATE), c->from, c->to);

	/* a root that is renamed ends so, too */
	return strcmp(c->note, "a foreign root") == 0 ? unit_edited(a, t, CARD_CLOSE, "</saml:Assertio>") : t;
}

static void
what_the_trusted_key_signed_in_another_form_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
		const struct change *c = &templates[i];
		struct slice card = signed_with(*state, template_of(*state, c), context_with(ours.key));
		if (!lax_verifier_accepts(card, context_with(ours.key)))
			fail_msg("%s: not signed well, so this tests nothing", c->note);
		assert_refused(*state, card, c->why, c->note);
	}
}

/* The same, with the card in a default namespace, an Id, spaces, SHA-256 ...: forms that DGWS allows. */
static void
what_dgws_allows_is_accepted(void **state)
{
	static const struct change rows[] = {
		{ "as it is", "", "", "" },
		{ "Id", "id=\"OCESSignature\"", "Id=\"OCESSignature\"", "" },
		{ "no id", " id=\"OCESSignature\"", "", "" },
		{ "white space", CM SM, "\n  " CM "\n" SM "\r\n\t", "" },
		{ "inclusive SignedInfo", CM, "<ds:CanonicalizationMethod Algorithm=\"" ALG_INC "\"/>", "" },
		{ "inclusive SignedInfo, namespaces in scope", "<saml:Assertion ",
		    "<saml:Assertion xmlns:wsse=\"" NS_WSSE "\" xmlns=\"urn:x\" ", "" },
		{ "namespaces not used", "<saml:Assertion ", "<saml:Assertion xmlns:x=\"u:x\" xmlns:ds=\"" NS_DS "\" ", "" },
		{ "a comment in the card", "1802602810", "18026<!-- -->02810", "" },
		{ "rsa-sha256 over sha1", ALG_SIG, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "" },
		{ "rsa-sha1 over sha512", NS_DS "sha1", "http://www.w3.org/2001/04/xmlenc#sha512", "" },
		{ "rsa-sha1 over sha384", NS_DS "sha1", "http://www.w3.org/2001/04/xmldsig-more#sha384", "" },
		{ "KeyInfo of another", "</ds:Signature>", "<ds:KeyInfo><ds:KeyName>x</ds:KeyName><ds:X509Data>"
		    "<ds:X509Certificate>junk</ds:X509Certificate><ds:X509Certificate/></ds:X509Data>"
		    "</ds:KeyInfo></ds:Signature>", "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice t = unit_edited(*state, S(TEMPLATE), rows[i].from, rows[i].to);
		if (strstr(rows[i].note, "namespaces in scope") != NULL)
			t = unit_edited(*state, t, CM, "<ds:CanonicalizationMethod Algorithm=\"" ALG_INC "\"/>");
		struct slice card = signed_with(*state, t, context_with(ours.key));
		struct err e = { 0 };
		if (judge(*state, card, &e) < 0)
			fail_msg("%s: %s", rows[i].note, e.detail);
	}
}

static void
what_comes_out_verifies_again_and_holds_the_whole_text(void **state)
{
	struct slice t = unit_edited(*state, S(TEMPLATE), "1802602810", "18026<!-- 1 -->0281<![CDATA[0]]>");
	struct slice card = signed_with(*state, t, context_with(ours.key));
	struct dsig_policy policy = { .keys = &ours.cert, .nkeys = 1 };
	struct dsig_verified got, again;
	struct err e = { 0 };

	assert_ok(dsig_verify(*state, card, &policy, &got, &e), &e);
	assert_true(slice_find(got.card, S(">1802602810<")) > 0);
	assert_true(slice_starts(got.card, S("<saml:Assertion ")));
	assert_ok(dsig_verify(*state, got.card, &policy, &again, &e), &e);
	assert_true(slice_eq(got.card, again.card));
}

static void
an_hmac_is_not_a_signature(void **state)
{
	static const char *const methods[] = { NS_DS "hmac-sha1",
		"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256" };

	for (size_t i = 0; i < 2; i++) {
		struct slice card = signed_with(*state, unit_edited(*state, S(TEMPLATE), ALG_SIG, methods[i]),
		    context_with_hmac(ours.cert));
		assert_true(lax_verifier_accepts(card, context_with_hmac(ours.cert)));
		assert_refused(*state, card, "SignatureMethod:", methods[i]);
	}
}

static void
weak_and_other_kinds_of_keys_are_not_used(void **state)
{
	const struct signer *keys[] = { &small, &elliptic };
	static const char *const methods[] = { ALG_SIG,
		"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256" };

	for (size_t i = 0; i < 2; i++) {
		struct slice card = signed_with(*state, unit_edited(*state, S(TEMPLATE), ALG_SIG, methods[i]),
		    context_with(keys[i]->key));
		X509 *cert = keys[i]->cert;
		struct dsig_policy policy = { .keys = &cert, .nkeys = 1 };
		struct dsig_verified got;
		struct err e = { 0 };
		assert_true(lax_verifier_accepts(card, context_with(keys[i]->key)));
		assert_err(ERR_SIGNATURE, dsig_verify(*state, card, &policy, &got, &e), &e);
		/* nor for a card that has a value of the right length */
		assert_err(ERR_SIGNATURE, dsig_verify(*state, good, &policy, &got, &e), &e);
		assert_string_equal(e.detail, "no usable key is allowed");
	}
}

static void
a_strangers_signature_is_refused_whatever_key_info_says(void **state)
{
	struct slice own = signed_with(*state, S(TEMPLATE), context_with(stranger.key));
	assert_refused(*state, own, "no allowed key", "stranger");

	struct slice with_value = signed_with(*state, unit_edited(*state, S(TEMPLATE), "</ds:Signature>",
	    "<ds:KeyInfo><ds:KeyValue/></ds:KeyInfo></ds:Signature>"), context_with(stranger.key));
	assert_refused(*state, with_value, "KeyInfo: KeyValue", "KeyValue");

	/* our certificate shown beside the stranger's signature, and the other way round */
	struct err e = { 0 };
	struct slice theirs;
	assert_ok(dsig_sign(*state, S(CARD), DSIG_SHA1, stranger.key, stranger.cert, &theirs, &e), &e);
	assert_refused(*state, theirs, "no allowed key", "stranger with certificate");
	ptrdiff_t at = slice_find(good, S("<ds:KeyInfo>")), from = slice_find(theirs, S("<ds:KeyInfo>"));
	struct slice mixed = arena_printf(*state, "%.*s%s", (int)from, theirs.p, good.p + at);
	assert_refused(*state, mixed, "no allowed key", "our certificate");
	mixed = arena_printf(*state, "%.*s%s", (int)at, good.p, theirs.p + from);
	assert_ok(judge(*state, mixed, &e), &e);
}

/* ---- a good card, changed afterwards */

#define CANONICAL(alg) "<ds:Transform Algorithm=\"" alg "\"></ds:Transform>"

static const struct change changes[] = {
	{ "NameID", "1802602810", "1802602811", "digest does not match" },
	{ "role", "l\xC3\xA6ge", "l\xC3\xA6gf", "digest does not match" },
	{ "issuer", "SOSI-GW", "SOSI-GX", "digest does not match" },
	{ "time", "2024-05-14", "2025-05-14", "digest does not match" },
	{ "white space in the card", "<saml:Subject>", "<saml:Subject> ", "digest does not match" },
	{ "an attribute more", "Version=", "x=\"\" Version=", "digest does not match" },
	{ "an element more", ATTRS, "<saml:Advice/>" ATTRS, "digest does not match" },
	{ "another prefix", "<saml:Issuer>SOSI-GW</saml:Issuer>",
	    "<s:Issuer xmlns:s=\"" NS_SAML "\">SOSI-GW</s:Issuer>", "digest does not match" },
	{ "no id", " id=\"IDCard\"", "", "root: id is not" },
	{ "other id", "id=\"IDCard\"", "id=\"idcard\"", "root: id is not" },
	{ "Id", " id=\"IDCard\"", " Id=\"IDCard\"", "root: id is not" },
	{ "xml:id", " id=\"IDCard\"", " xml:id=\"IDCard\"", "root: id is not" },
	{ "id and xml:id", " id=\"IDCard\"", " id=\"IDCard\" xml:id=\"IDCard\"", "root: id IDCard more" },
	{ "no reference", "<ds:Reference URI=\"#IDCard\">", "<ds:Referenc URI=\"#IDCard\">", "libxml2 error" },
	{ "reference without URI", " URI=\"#IDCard\"", "", "SignedInfo: attributes of Reference" },
	{ "reference elsewhere", "#IDCard", "#Other", "Reference:" },
	{ "reference by http", "#IDCard", "http://127.0.0.1:1/", "Reference:" },
	{ "reference to a file", "#IDCard", "file:///etc/passwd", "Reference:" },
	{ "reference escaped", "#IDCard", "#%49DCard", "Reference:" },
	{ "XSLT", CANONICAL(ALG_ENV), CANONICAL("http://www.w3.org/TR/1999/REC-xslt-19991116"), "Transforms:" },
	{ "transforms swapped", CANONICAL(ALG_ENV) CANONICAL(ALG_EXC), CANONICAL(ALG_EXC) CANONICAL(ALG_ENV),
	    "Transforms:" },
	{ "base64 transform", ALG_ENV, NS_DS "base64", "Transforms:" },
	{ "empty algorithm", "Algorithm=\"" ALG_SIG "\"", "Algorithm=\"\"", "SignatureMethod:" },
	{ "no algorithm", " Algorithm=\"" ALG_SIG "\"", "", "SignedInfo: attributes of SignatureMethod" },
	{ "unknown algorithm", ALG_SIG, "http://example.com/none", "SignatureMethod:" },
	{ "algorithm with a space", ALG_SIG, ALG_SIG " ", "SignatureMethod:" },
	{ "HMAC output length", "</ds:SignatureMethod>",
	    "<ds:HMACOutputLength>1</ds:HMACOutputLength></ds:SignatureMethod>", "SignedInfo: parts of" },
	{ "another digest method", NS_DS "sha1", "http://www.w3.org/2001/04/xmlenc#sha256", "DigestValue:" },
	{ "another signature method", ALG_SIG, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
	    "no allowed key" },
	{ "another c14n", "CanonicalizationMethod Algorithm=\"" ALG_EXC, "CanonicalizationMethod Algorithm=\""
	    ALG_INC, "no allowed key" },
	{ "comment in DigestValue", "<ds:DigestValue>", "<ds:DigestValue><!-- x -->",
	    "SignedInfo: content of DigestValue" },
	{ "comment behind DigestValue", "</ds:DigestValue>", "<!--x--></ds:DigestValue>",
	    "SignedInfo: content of DigestValue" },
	{ "element in DigestValue", "</ds:DigestValue>", "<x/></ds:DigestValue>", "SignedInfo: parts of" },
	{ "instruction in DigestValue", "</ds:DigestValue>", "<?x?></ds:DigestValue>", "processing instruction" },
	{ "two DigestValues", "<ds:DigestValue>", "<ds:DigestValue>AAAA</ds:DigestValue><ds:DigestValue>",
	    "SignedInfo: parts of" },
	{ "short DigestValue", "<ds:DigestValue>", "<ds:DigestValue></ds:DigestValue><x>", "libxml2 error" },
	{ "comment in SignedInfo", "<ds:SignedInfo>", "<ds:SignedInfo><!-- x -->", "SignedInfo: content of" },
	{ "comment in a method", "</ds:SignatureMethod>", "<!-- x --></ds:SignatureMethod>",
	    "SignedInfo: content of" },
	{ "comment in Signature", "<ds:SignatureValue>", "<!-- x --><ds:SignatureValue>", "signature: parts" },
	{ "comment in SignatureValue", "<ds:SignatureValue>", "<ds:SignatureValue><!-- x -->",
	    "SignatureValue: form" },
	{ "attribute on SignatureValue", "<ds:SignatureValue>", "<ds:SignatureValue Id=\"x\">",
	    "SignatureValue: form" },
	{ "junk in SignatureValue", "<ds:SignatureValue>", "<ds:SignatureValue>!", "SignatureValue: not" },
	{ "text in Signature", "<ds:SignatureValue>", "x<ds:SignatureValue>", "signature: parts" },
	{ "two SignatureValues", "<ds:SignatureValue>", "<ds:SignatureValue/><ds:SignatureValue>",
	    "signature: parts" },
	{ "two SignedInfos", "<ds:SignatureValue>", "<ds:SignedInfo/><ds:SignatureValue>", "signature: parts" },
	{ "two KeyInfos", "<ds:KeyInfo>", "<ds:KeyInfo/><ds:KeyInfo>", "signature: parts" },
	{ "an Object", "<ds:KeyInfo>", "<ds:Object/><ds:KeyInfo>", "signature: parts" },
	{ "a Manifest", "</ds:KeyInfo>", "</ds:KeyInfo><ds:Object><ds:Manifest/></ds:Object>", "signature: parts" },
	{ "a second signature", "<ds:Signature ", "<ds:Signature xmlns:ds=\"" NS_DS "\"/><ds:Signature ",
	    "signature: more than one" },
	{ "a signature in a part", "</saml:Subject>", "<ds:Signature xmlns:ds=\"" NS_DS "\"/></saml:Subject>",
	    "signature: more than one" },
	{ "a signature in KeyInfo", "</ds:KeyInfo>", "<ds:Signature/></ds:KeyInfo>", "signature: more than one" },
	{ "an assertion in KeyInfo", "</ds:KeyInfo>", "<saml:Assertion/></ds:KeyInfo>",
	    "root: a saml:Assertion inside" },
	{ "RetrievalMethod", "<ds:X509Data>", "<ds:RetrievalMethod URI=\"http://127.0.0.1:1/\"/><ds:X509Data>",
	    "KeyInfo: RetrievalMethod" },
	{ "KeyValue", "<ds:X509Data>", "<ds:KeyValue><ds:RSAKeyValue/></ds:KeyValue><ds:X509Data>",
	    "KeyInfo: KeyValue" },
	{ "EncryptedKey", "<ds:X509Data>", "<x:EncryptedKey xmlns:x=\"http://www.w3.org/2001/04/xmlenc#\"/>"
	    "<ds:X509Data>", "KeyInfo: EncryptedKey" },
	{ "KeyInfoReference", "<ds:X509Data>", "<x:KeyInfoReference xmlns:x=\"u:x\"/><ds:X509Data>",
	    "KeyInfo: KeyInfoReference" },
	{ "X509CRL", "<ds:X509Certificate>", "<ds:X509CRL/><ds:X509Certificate>", "KeyInfo: X509CRL" },
	{ "comment in KeyInfo", "<ds:X509Data>", "<!-- x --><ds:X509Data>", "KeyInfo:" },
	{ "signature of another namespace", "xmlns:ds=\"" NS_DS, "xmlns:ds=\"http://www.w3.org/2000/09/xmldsig",
	    "signature: none" },
	{ "DOCTYPE", "<saml:Assertion", "<!DOCTYPE x><saml:Assertion", "DOCTYPE" },
	{ "DOCTYPE with ids", "<saml:Assertion", "<!DOCTYPE x [<!ATTLIST x id ID #IMPLIED>]><saml:Assertion",
	    "DOCTYPE" },
	{ "relative namespace", "<saml:Issuer>", "<saml:Issuer xmlns:x=\"relative\">", "no canonical form" },
	{ "cut", CARD_CLOSE, "", "libxml2 error" },
	{ "two roots", CARD_CLOSE, CARD_CLOSE "<x/>", "libxml2 error" },
	{ "text behind the root", CARD_CLOSE, CARD_CLOSE "x", "libxml2 error" },
};

static void
a_card_changed_after_signing_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
		assert_refused(*state, unit_edited(*state, good, changes[i].from, changes[i].to), changes[i].why,
		    changes[i].note);
}

/* The text between two marks replaced. */
static struct slice
with_value(struct arena *a, const char *open, struct slice value)
{
	size_t from = (size_t)slice_find(good, slice_of(open)) + strlen(open);
	struct slice rest = slice_from(good, from);

	rest = slice_from(rest, (size_t)slice_find(rest, S("<")));
	return arena_printf(a, "%.*s%.*s%.*s", (int)from, good.p, SLICE_FMT(value), SLICE_FMT(rest));
}

static void
empty_zero_and_huge_values_are_refused(void **state)
{
	static const struct {
		const char *open;
		size_t n;
		const char *why;
	} rows[] = {
		{ "<ds:DigestValue>", 0, "DigestValue: not" }, { "<ds:DigestValue>", 4, "DigestValue: not" },
		{ "<ds:DigestValue>", 65536, "DigestValue: not" },
		{ "<ds:SignatureValue>", 0, "SignatureValue: not" }, { "<ds:SignatureValue>", 4, "SignatureValue: not" },
		{ "<ds:SignatureValue>", 340, "SignatureValue: not" }, { "<ds:SignatureValue>", 344, "no allowed key" },
		{ "<ds:SignatureValue>", 1364, "no allowed key" },
		{ "<ds:SignatureValue>", 1368, "SignatureValue: not" },
		{ "<ds:SignatureValue>", 65536, "SignatureValue: not" },
		{ "<ds:SignatureValue>", 900000, "SignatureValue: not" },
		{ "<ds:SignatureValue>", 1 << 20, "document of" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *zeros = arena_alloc(*state, rows[i].n + 1);
		assert_non_null(zeros);
		memset(zeros, 'A', rows[i].n);
		assert_refused(*state, with_value(*state, rows[i].open, (struct slice){ zeros, rows[i].n }),
		    rows[i].why, rows[i].open);
	}
}

/* Whatever is flipped, what is accepted says what was signed. */
static void
no_flipped_bit_changes_what_is_accepted(void **state)
{
	struct dsig_policy policy = { .keys = &ours.cert, .nkeys = 1 };
	size_t content = (size_t)slice_find(good, S("<ds:Signature"));
	unsigned refused = 0, accepted = 0;

	(void)state;
	for (size_t i = 0; i < good.n; i += 3) {
		struct arena *a = arena_new(8 << 20);
		struct slice card = arena_dup(a, good);
		struct dsig_verified got;
		struct err e = { 0 };
		((char *)(uintptr_t)card.p)[i] ^= (char)(1 << i % 8);
		if (dsig_verify(a, card, &policy, &got, &e) < 0) {
			refused++;
		} else {
			accepted++;
			/* only what is not signed may differ: the signature's own id and KeyInfo */
			assert_true(i > content);
			assert_memory_equal(got.card.p, good.p, content);
		}
		arena_free(a);
	}
	assert_true(refused > good.n / 6);
	assert_true(accepted > 0);
}

/* ---- wrapping: the signed card somewhere, another one where a reader may look */

struct parts {
	struct slice whole, bare, signature, signature_without_end;
};

static struct parts
parts_of(struct arena *a)
{
	size_t at = (size_t)slice_find(good, S("<ds:Signature"));
	size_t end = good.n - strlen(CARD_CLOSE);

	return (struct parts){
		.whole = good,
		.bare = arena_printf(a, "%.*s" CARD_CLOSE, (int)at, good.p),
		.signature = { good.p + at, end - at },
		.signature_without_end = { good.p + at, end - at - strlen("</ds:Signature>") },
	};
}

/* %1: the evil card's attributes, %2: its body, W: whole signed card, B: the same without its signature,
 * S: the signature, [: the signature without its end tag. */
static const char *const wrappings[] = {
	"<A>%[<ds:Object>B</ds:Object></ds:Signature></A>",
	"<A>%[<ds:Object>W</ds:Object></ds:Signature></A>",
	"<A>%BS</A>", "<A>%SB</A>", "<A>B%S</A>",
	"<A>W%</A>", "<A>%W</A>", "<A>%WS</A>", "<A>%SW</A>",
	"<A>%<saml:Advice>B</saml:Advice>S</A>", "<A>%<saml:Advice>W</saml:Advice></A>",
	"<A>%<saml:Advice>W</saml:Advice>S</A>",
	"<A>%<x:Extensions xmlns:x=\"u:x\">W</x:Extensions></A>",
	"<A>%<x:Extensions xmlns:x=\"u:x\">B</x:Extensions>S</A>",
	"<A>%<saml:AttributeStatement><saml:Attribute Name=\"x\"><saml:AttributeValue>W</saml:AttributeValue>"
	    "</saml:Attribute></saml:AttributeStatement></A>",
	"<A>%<saml:AttributeStatement><saml:Attribute Name=\"x\"><saml:AttributeValue>B</saml:AttributeValue>"
	    "</saml:Attribute></saml:AttributeStatement>S</A>",
	"<A>%<saml:Subject>S</saml:Subject></A>",
	"<A>%SS</A>",
	"<A>%S</A>",
	"<wsse:Security xmlns:wsse=\"" NS_WSSE "\"><A>%</A>W</wsse:Security>",
	"<wsse:Security xmlns:wsse=\"" NS_WSSE "\">W<A>%</A></wsse:Security>",
	"<wsse:Security xmlns:wsse=\"" NS_WSSE "\"><A>%</A>BS</wsse:Security>",
};
static const char *const evil_ids[] = {
	"id=\"IDCard\"", "id=\"Evil\"", "ID=\"IDCard\"", "Id=\"IDCard\"", "xml:id=\"IDCard\"",
	"xmlns:wsu=\"" NS_WSU "\" wsu:Id=\"IDCard\"", "id=\"IDCard\" ID=\"IDCard\"", "",
};

static struct slice
wrapped(struct arena *a, const char *form, const char *id, struct slice evil, const struct parts *p)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	for (; *form != '\0'; form++) {
		if (strncmp(form, "<A>", 3) == 0) {
			buf_printf(&b, "<saml:Assertion xmlns:saml=\"" NS_SAML "\" xmlns:ds=\"" NS_DS
			    "\" IssueInstant=\"2024-05-14T07:55:00Z\" Version=\"2.0\" %s>", id);
			form += 2;
		} else if (strncmp(form, "</A>", 4) == 0) {
			buf_puts(&b, CARD_CLOSE);
			form += 3;
		} else if (*form == '%') {
			buf_put(&b, evil);
		} else if (strchr("WBS", *form) != NULL && strchr(">WBS%", form[-1]) != NULL) {
			buf_put(&b, *form == 'W' ? p->whole : *form == 'B' ? p->bare : p->signature);
		} else if (*form == '[') {
			buf_put(&b, p->signature_without_end);
		} else {
			buf_putc(&b, *form);
		}
	}
	struct slice out = arena_dup(a, buf_slice(&b));
	buf_free(&b);
	return out;
}

static void
no_wrapping_passes(void **state)
{
	const struct parts p = parts_of(*state);
	const struct slice evils[] = {
		unit_edited(*state, S(CARD_BODY), "1802602810", "0101010101"),	/* another user */
		unit_edited(*state, S(CARD_BODY), "l\xC3\xA6ge", "overl\xC3\xA6ge"),	/* another role */
	};
	unsigned n = 0;

	for (size_t w = 0; w < sizeof wrappings / sizeof *wrappings; w++)
		for (size_t i = 0; i < sizeof evil_ids / sizeof *evil_ids; i++)
			for (size_t v = 0; v < 2; v++, n++)
				assert_refused(*state, wrapped(*state, wrappings[w], evil_ids[i], evils[v], &p), "",
				    wrappings[w]);
	assert_int_equal(n, 22 * 8 * 2);
	/* the same machine makes the good card again, so it is not its making that is refused */
	struct err e = { 0 };
	assert_ok(judge(*state, wrapped(*state, "<A>%S</A>", evil_ids[0], S(CARD_BODY), &p), &e), &e);
}

/* ---- */

static int
group_setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	xml_init();
	ours = signer_of(EVP_RSA_gen(2048));
	stranger = signer_of(EVP_RSA_gen(2048));
	small = signer_of(EVP_RSA_gen(1024));
	elliptic = signer_of(EVP_EC_gen("P-256"));
	kept = arena_new(1 << 20);
	return dsig_init(&e) < 0 ||
	    dsig_sign(kept, S(CARD), DSIG_SHA1, ours.key, ours.cert, &good, &e) < 0 ? -1 : 0;
}

static int
group_teardown(void **state)
{
	struct signer *all[] = { &ours, &stranger, &small, &elliptic };

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		signer_free(all[i]);
	arena_free(kept);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(what_the_trusted_key_signed_in_another_form_is_refused),
		UNIT_ARENA_TEST(what_dgws_allows_is_accepted),
		UNIT_ARENA_TEST(what_comes_out_verifies_again_and_holds_the_whole_text),
		UNIT_ARENA_TEST(an_hmac_is_not_a_signature),
		UNIT_ARENA_TEST(weak_and_other_kinds_of_keys_are_not_used),
		UNIT_ARENA_TEST(a_strangers_signature_is_refused_whatever_key_info_says),
		UNIT_ARENA_TEST(a_card_changed_after_signing_is_refused),
		UNIT_ARENA_TEST(empty_zero_and_huge_values_are_refused),
		UNIT_ARENA_TEST(no_flipped_bit_changes_what_is_accepted),
		UNIT_ARENA_TEST(no_wrapping_passes),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
