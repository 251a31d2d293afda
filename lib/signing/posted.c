/* Signatures out of a browser come in three roots (ecosystem: ours, and the two of the OpenSign applets):
 *
 *   openoces:signature version="0.1" ?
 *     ds:Signature Id="…" ?
 *       ds:SignedInfo
 *       ds:SignatureValue
 *       ds:KeyInfo / ds:X509Data + / ds:X509Certificate +
 *       ds:Object ?
 *
 * Nothing here is trusted: who posts it can write anything. It is held to the one form nevertheless, so that no two
 * readers of the same bytes can come to different answers. */
#include "posted.h"

#include "conv.h"
#include "pki.h"

#define TEXT_MAX (96u << 10)	/* base64, in lines, of what follows */
static const struct xml_limits limits = {
	.bytes = 64u << 10, .depth = 8, .attributes = 16, .value = 1024, .elements = 128,
};

static xmlNode *
ds(const xmlNode *parent, const char *name)
{
	return xml_child(parent, NS_DS, name, 0);
}

/* ---- the document */

static int
parse(struct arena *a, struct slice text, xmlDoc **doc, struct err *e)
{
	struct slice xml = slice_trim(text);

	if (xml.p == NULL || xml.n > TEXT_MAX)
		return err_set(e, ERR_LIMIT, "%zu bytes", text.n);
	/* no base64 begins like either */
	if (!slice_starts(xml, S("<")) && !slice_starts(xml, S("\xEF\xBB\xBF")))
		xml = conv_unbase64(a, xml);
	if (xml.p == NULL)
		return err_set(e, ERR_XML, "neither XML nor base64");
	return xml_parse(a, xml, &limits, doc, e);
}

static int
find_signature(const xmlNode *root, struct posted *p, struct err *e)
{
	static const char *const namespaces[] = { NS_OPENOCES03, NS_OPENOCES06 };

	p->signature = xml_is(root, NS_DS, "Signature") ? root : NULL;
	for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++)
		if (xml_is(root, namespaces[i], "signature"))
			p->openoces = namespaces[i];
	if (p->openoces != NULL && (xml_only_attribute(root, NULL) || xml_only_attribute(root, "version")) &&
	    xml_only_elements(root) && xml_next(xml_first(root)) == NULL)
		p->signature = ds(root, "Signature");
	return p->signature != NULL ? 0 : err_set(e, ERR_SIGNATURE, "root: no signature in a known form");
}

/* ---- its parts */

static int
take_parts(struct posted *p, struct err *e)
{
	const xmlNode *n = p->signature, *info = xml_first(n), *value = xml_next(info), *key = xml_next(value);

	if (!xml_only_elements(n) ||
	    !(xml_only_attribute(n, NULL) || xml_only_attribute(n, "Id") || xml_only_attribute(n, "id")))
		return err_set(e, ERR_SIGNATURE, "signature: attributes or text");
	if (!xml_is(info, NS_DS, "SignedInfo"))
		return err_set(e, ERR_SIGNATURE, "signature: no SignedInfo first");
	if (ds(n, "SignatureValue") == NULL || ds(n, "KeyInfo") == NULL)
		return err_set(e, ERR_NO_SIGNING_INFO, "no SignatureValue or no KeyInfo");
	if (!xml_is(value, NS_DS, "SignatureValue") || !xml_is(key, NS_DS, "KeyInfo"))
		return err_set(e, ERR_SIGNATURE, "signature: parts");
	p->signed_info = info;
	p->object = xml_next(key);
	if (p->object != NULL && (!xml_is(p->object, NS_DS, "Object") || xml_next(p->object) != NULL))
		return err_set(e, ERR_SIGNATURE, "signature: behind KeyInfo");
	return 0;
}

/* RSA of 2048 to 8192 bits: 256 to 1024 bytes. */
static int
take_value(struct arena *a, struct posted *p, struct err *e)
{
	const xmlNode *node = ds(p->signature, "SignatureValue");

	if (!xml_only_text(node) || !xml_only_attribute(node, NULL))
		return err_set(e, ERR_SIGNATURE, "SignatureValue: form");
	p->value = conv_unbase64(a, xml_text(a, node));
	if (p->value.p == NULL || p->value.n < 256 || p->value.n > 1024)
		return err_set(e, ERR_SIGNATURE, "SignatureValue: not 256 to 1024 bytes");
	return 0;
}

static int
take_certificate(struct arena *a, struct posted *p, const xmlNode *node, struct err *e)
{
	if (!xml_is(node, NS_DS, "X509Certificate") || !xml_only_text(node) || !xml_only_attribute(node, NULL))
		return err_set(e, ERR_SIGNATURE, "X509Data: %.64s", (const char *)node->name);
	if (p->ncertificates == POSTED_CERTIFICATES)
		return err_set(e, ERR_LIMIT, "more than %d certificates", POSTED_CERTIFICATES);
	return pki_read_der(a, conv_unbase64(a, xml_text(a, node)), &p->certificates[p->ncertificates++], e);
}

/* One X509Data with all certificates, or one for each: both are written. Nothing that names a key otherwise. */
static int
take_certificates(struct arena *a, struct posted *p, struct err *e)
{
	const xmlNode *info = ds(p->signature, "KeyInfo");

	if (!xml_only_elements(info) || !(xml_only_attribute(info, NULL) || xml_only_attribute(info, "Id")))
		return err_set(e, ERR_SIGNATURE, "KeyInfo: form");
	for (const xmlNode *data = xml_first(info); data != NULL; data = xml_next(data)) {
		if (!xml_is(data, NS_DS, "X509Data") || !xml_only_elements(data) || !xml_only_attribute(data, NULL))
			return err_set(e, ERR_SIGNATURE, "KeyInfo: %.64s", (const char *)data->name);
		for (const xmlNode *cert = xml_first(data); cert != NULL; cert = xml_next(cert))
			if (take_certificate(a, p, cert, e) < 0)
				return -1;
	}
	return p->ncertificates > 0 ? 0 : err_set(e, ERR_NO_SIGNING_INFO, "no X509Certificate");
}

int
posted_read(struct arena *a, struct slice text, struct posted *out, struct err *e)
{
	xmlDoc *doc;

	*out = (struct posted){ .openoces = NULL };
	if (parse(a, text, &doc, e) < 0 || find_signature(xmlDocGetRootElement(doc), out, e) < 0 ||
	    take_parts(out, e) < 0 || take_value(a, out, e) < 0)
		return -1;
	return take_certificates(a, out, e);
}

bool
posted_hash_is_allowed(enum dsig_hash hash, bool refuse_sha1)
{
	return hash == DSIG_SHA256 || (hash == DSIG_SHA1 && !refuse_sha1);
}

int
posted_signer(struct arena *a, const struct posted *p, struct slice octets, bool refuse_sha1, X509 **out, struct err *e)
{
	struct slice method = xml_attr(a, ds(p->signed_info, "SignatureMethod"), "Algorithm");
	enum dsig_hash hash;

	if (dsig_hash_of_signature(method, &hash) < 0 || !posted_hash_is_allowed(hash, refuse_sha1))
		return err_set(e, ERR_SIGNATURE, "SignatureMethod: %.64s", method.p == NULL ? "" : method.p);
	for (size_t i = 0; i < p->ncertificates; i++) {
		if (!dsig_value_fits(p->certificates[i], hash, octets, p->value))
			continue;
		*out = p->certificates[i];
		return 0;
	}
	return err_set(e, ERR_SIGNATURE, "none of the certificates has made the signature");
}
