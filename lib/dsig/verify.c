/* Verifying: look (form.c), make the canonical card, read that again as a document of its own, and let
 * xmlsec judge it there with a key of ours. xmlsec is held to the few algorithms the form allows, so
 * that a hole in one of the two is covered by the other. */
#include "form.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <xmlsec/crypto.h>
#include <xmlsec/errors.h>
#include <xmlsec/io.h>
#include <xmlsec/openssl/evp.h>
#include <xmlsec/xmldsig.h>
#include <xmlsec/xmlsec.h>
#include <stdint.h>

static struct dsig_counts *counts;	/* main's */

void
dsig_count_in(struct dsig_counts *in)
{
	counts = in;
}

int
dsig_init(struct err *e)
{
	if (xmlSecInit() < 0 || xmlSecCheckVersion() != 1)
		return err_set(e, ERR_INTERNAL, "xmlsec cannot start");
	if (xmlSecOpenSSLAppInit(NULL) < 0 || xmlSecOpenSSLInit() < 0)
		return err_set(e, ERR_INTERNAL, "xmlsec cannot start OpenSSL");
	/* no reference is ever fetched; and its reports on stderr would be a stranger's to fill */
	xmlSecIOCleanupCallbacks();
	xmlSecErrorsDefaultCallbackEnableOutput(0);
	return 0;
}

/* ---- one attempt with one key */

static int
hold_to(xmlSecDSigCtx *ctx)
{
	/* functions behind macros, so no static table */
	const xmlSecTransformId for_reference[] = {
		xmlSecTransformEnvelopedId, xmlSecTransformExclC14NId, xmlSecTransformSha1Id,
		xmlSecTransformSha256Id, xmlSecTransformSha384Id, xmlSecTransformSha512Id, NULL,
	};
	const xmlSecTransformId for_signature[] = {
		xmlSecTransformExclC14NId, xmlSecTransformInclC14NId, xmlSecTransformRsaSha1Id,
		xmlSecTransformRsaSha256Id, xmlSecTransformRsaSha384Id, xmlSecTransformRsaSha512Id, NULL,
	};

	ctx->enabledReferenceUris = xmlSecTransformUriTypeSameDocument;
	ctx->flags = XMLSEC_DSIG_FLAGS_IGNORE_MANIFESTS | XMLSEC_DSIG_FLAGS_STORE_SIGNEDINFO_REFERENCES;
	for (const xmlSecTransformId *id = for_reference; *id != NULL; id++)
		if (xmlSecDSigCtxEnableReferenceTransform(ctx, *id) < 0)
			return -1;
	for (const xmlSecTransformId *id = for_signature; *id != NULL; id++)
		if (xmlSecDSigCtxEnableSignatureTransform(ctx, *id) < 0)
			return -1;
	/* With a key given, KeyInfo is not read; should it be, it can name no key. */
	return xmlSecPtrListAdd(&ctx->keyInfoReadCtx.enabledKeyData,
	    (void *)(uintptr_t)xmlSecKeyDataNameId);
}

static int
give_key(xmlSecDSigCtx *ctx, EVP_PKEY *pkey)
{
	xmlSecKeyData *data;

	if (EVP_PKEY_up_ref(pkey) != 1)
		return -1;
	if ((data = xmlSecOpenSSLEvpKeyAdopt(pkey)) == NULL) {
		EVP_PKEY_free(pkey);
		return -1;
	}
	if ((ctx->signKey = xmlSecKeyCreate()) == NULL || xmlSecKeySetValue(ctx->signKey, data) < 0) {
		xmlSecKeyDataDestroy(data);
		return -1;
	}
	return 0;
}

/* What xmlsec digested is the whole card but for its signature, octet by octet. */
static bool
covers(xmlSecDSigReferenceCtx *ref, struct slice content)
{
	xmlSecBuffer *seen = xmlSecDSigReferenceCtxGetPreDigestBuffer(ref);

	return seen != NULL && slice_eq(content,
	    (struct slice){ (const char *)xmlSecBufferGetData(seen), xmlSecBufferGetSize(seen) });
}

enum verdict { GOOD, OTHER_KEY, OTHER_CONTENT, BROKEN };

static enum verdict
verdict_of(xmlSecDSigCtx *ctx, xmlNode *signature, struct slice content)
{
	if (xmlSecDSigCtxVerify(ctx, signature) < 0)
		return BROKEN;
	if (xmlSecPtrListGetSize(&ctx->signedInfoReferences) != 1 ||
	    xmlSecPtrListGetSize(&ctx->manifestReferences) != 0)
		return BROKEN;
	xmlSecDSigReferenceCtx *ref = xmlSecPtrListGetItem(&ctx->signedInfoReferences, 0);
	if (ref == NULL || ref->status != xmlSecDSigStatusSucceeded)
		return OTHER_CONTENT;
	if (ctx->status != xmlSecDSigStatusSucceeded)
		return OTHER_KEY;
	return covers(ref, content) ? GOOD : BROKEN;
}

static enum verdict
try_key(xmlNode *signature, struct slice content, EVP_PKEY *key)
{
	xmlSecDSigCtx *ctx = xmlSecDSigCtxCreate(NULL);
	enum verdict verdict = BROKEN;

	if (ctx == NULL)
		return BROKEN;
	if (hold_to(ctx) >= 0 && give_key(ctx, key) >= 0)
		verdict = verdict_of(ctx, signature, content);
	xmlSecDSigCtxDestroy(ctx);
	ERR_clear_error();	/* a refused signature leaves its reasons in this thread's queue */
	return verdict;
}

/* ---- the card */

/* The card as its own document. Its canonical form is exclusive; when SignedInfo was signed in the
 * inclusive form, the namespaces in scope belong to what was signed, so there it is inclusive. */
static int
read_alone(struct arena *a, struct slice card, struct dsig_form *f, struct slice *canonical,
    struct err *e)
{
	xmlDoc *doc;

	if (xml_parse(a, card, &xml_document_limits, &doc, e) < 0 || dsig_read_form(a, doc, f, e) < 0 ||
	    xml_canonical(a, f->root, f->c14n, NULL, canonical, e) < 0)
		return -1;
	return xml_parse(a, *canonical, &xml_document_limits, &doc, e) < 0 ||
	    dsig_read_form(a, doc, f, e) < 0 ? -1 : 0;
}

/* XML has no ids of its own without a DTD: "#IDCard" means the root because we say so here, and no
 * other element can, since none was registered before (form.c has looked for xml:id). */
static int
register_id(const xmlNode *root, struct err *e)
{
	static const xmlChar name[] = "id", value[] = DSIG_CARD_ID;
	xmlAttr *attr = xmlHasProp(root, name);

	if (attr == NULL || xmlAddID(NULL, root->doc, value, attr) == NULL ||
	    xmlGetID(root->doc, value) != attr)
		return err_set(e, ERR_SIGNATURE, "id " DSIG_CARD_ID " cannot be registered");
	return 0;
}

static int
find_signer(const struct dsig_form *f, struct slice content, const struct dsig_policy *policy,
    X509 **signer, struct err *e)
{
	const char *why = "no usable key is allowed";

	for (size_t i = 0; i < policy->nkeys; i++) {
		EVP_PKEY *key = dsig_usable_key(policy->keys[i]);
		if (key == NULL)
			continue;
		switch (try_key(f->signature, content, key)) {
		case GOOD:
			*signer = policy->keys[i];
			return 0;
		case OTHER_CONTENT:
			return err_set(e, ERR_SIGNATURE, "digest does not match");
		case OTHER_KEY:
			why = "no allowed key has signed this";
			break;
		case BROKEN:
			return err_set(e, ERR_SIGNATURE, "xmlsec could not process it");
		}
	}
	return err_set(e, ERR_SIGNATURE, "%s", why);
}

static int
verify(struct arena *a, struct slice card, const struct dsig_policy *policy,
    struct dsig_verified *out, struct err *e)
{
	struct dsig_form f;
	struct slice canonical, content;
	X509 *signer = NULL;

	if (read_alone(a, card, &f, &canonical, e) < 0)
		return -1;
	bool sha1 = f.digest->hash == DSIG_SHA1 || f.sign->hash == DSIG_SHA1;
	if (sha1 && policy->refuse_sha1)
		return err_set(e, ERR_SIGNATURE, "SHA-1 is not allowed here");
	if (xml_canonical(a, f.root, XML_C14N_EXCLUSIVE, f.signature, &content, e) < 0 ||
	    register_id(f.root, e) < 0 || find_signer(&f, content, policy, &signer, e) < 0)
		return -1;
	*out = (struct dsig_verified){ canonical, signer, sha1 ? DSIG_SHA1 : f.sign->hash };
	return 0;
}

int
dsig_verify(struct arena *a, struct slice card, const struct dsig_policy *policy,
    struct dsig_verified *out, struct err *e)
{
	struct err why = { 0 };

	*out = (struct dsig_verified){ 0 };
	if (verify(a, card, policy, out, &why) == 0) {
		if (counts != NULL)
			atomic_fetch_add_explicit(out->hash == DSIG_SHA1 ? &counts->sha1 : &counts->sha2, 1, memory_order_relaxed);
		return 0;
	}
	/* Whatever is wrong with the document is wrong with the signature; our own faults stay ours. */
	return err_set(e, why.kind == ERR_MEMORY ? ERR_MEMORY : ERR_SIGNATURE, "%s", why.detail);
}
