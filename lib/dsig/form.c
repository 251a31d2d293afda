/* A card's signature, looked at. xmlsec executes what a message asks for; here stands what a message may
 * ask for, and everything else is refused first (wrapped, doubled and foreign parts, other transforms,
 * other algorithms). The form is DGWS 1.0.1 as Seal and the STS write it:
 *
 *   saml:Assertion id="IDCard" / ... , ds:Signature
 *     ds:SignedInfo / ds:CanonicalizationMethod, ds:SignatureMethod, ds:Reference URI="#IDCard"
 *                       / ds:Transforms / ds:Transform, ds:Transform
 *                       , ds:DigestMethod, ds:DigestValue
 *     ds:SignatureValue
 *     ds:KeyInfo ?
 */
#include "form.h"

#include "conv.h"

#include <string.h>
#include <strings.h>

static const struct dsig_algorithm algorithms[] = {
	{ DSIG_SHA1, "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
	    "http://www.w3.org/2000/09/xmldsig#sha1", "SHA1", 20 },
	{ DSIG_SHA256, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
	    "http://www.w3.org/2001/04/xmlenc#sha256", "SHA256", 32 },
	{ DSIG_SHA384, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
	    "http://www.w3.org/2001/04/xmldsig-more#sha384", "SHA384", 48 },
	{ DSIG_SHA512, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
	    "http://www.w3.org/2001/04/xmlenc#sha512", "SHA512", 64 },
};
#define ALGORITHMS (sizeof algorithms / sizeof *algorithms)

const struct dsig_algorithm *
dsig_algorithm(enum dsig_hash hash)
{
	for (size_t i = 0; i < ALGORITHMS; i++)
		if (algorithms[i].hash == hash)
			return &algorithms[i];
	return NULL;
}

const struct dsig_algorithm *
dsig_signature_algorithm(struct slice name)
{
	for (size_t i = 0; i < ALGORITHMS; i++)
		if (slice_is(name, algorithms[i].signature))
			return &algorithms[i];
	return NULL;
}

const struct dsig_algorithm *
dsig_digest_algorithm(struct slice name)
{
	for (size_t i = 0; i < ALGORITHMS; i++)
		if (slice_is(name, algorithms[i].digest))
			return &algorithms[i];
	return NULL;
}

/* ---- shapes */

static const xmlNode *
next_in_tree(const xmlNode *node, const xmlNode *top)
{
	if (node->type == XML_ELEMENT_NODE && node->children != NULL)
		return node->children;
	while (node != top && node->next == NULL)
		node = node->parent;
	return node == top ? NULL : node->next;
}

unsigned
dsig_count(const xmlNode *node, const char *ns, const char *name)
{
	unsigned n = 0;

	for (const xmlNode *at = node; at != NULL; at = next_in_tree(at, node))
		n += xml_is(at, ns, name);
	return n;
}

static bool
has_children(const xmlNode *node, const char *const *names)
{
	const xmlNode *child = xml_first(node);

	for (; *names != NULL; names++, child = xml_next(child))
		if (!xml_is(child, NS_DS, *names))
			return false;
	return child == NULL;
}

static xmlNode *
ds(const xmlNode *parent, const char *name)
{
	return xml_child(parent, NS_DS, name, 0);
}

/* ---- the root */

/* Anything that some reader, here or behind us, may take for an id: id, Id, ID, xml:id, wsu:Id ... */
static unsigned
count_id(const xmlNode *root, const char *id)
{
	unsigned n = 0;

	for (const xmlNode *at = root; at != NULL; at = next_in_tree(at, root)) {
		if (at->type != XML_ELEMENT_NODE)
			continue;
		for (const xmlAttr *attr = at->properties; attr != NULL; attr = attr->next) {
			if (strcasecmp((const char *)attr->name, "id") != 0)
				continue;
			xmlChar *value = xmlNodeListGetString(at->doc, attr->children, 1);
			/* one that cannot be read counts as the same */
			n += value == NULL ? attr->children != NULL :
			    slice_is(slice_trim(slice_of((char *)value)), id);
			xmlFree(value);
		}
	}
	return n;
}

int
dsig_read_root(struct arena *a, const xmlDoc *doc, struct dsig_form *f, struct err *e)
{
	f->root = xmlDocGetRootElement(doc);
	if (!xml_is(f->root, NS_SAML, "Assertion"))
		return err_set(e, ERR_SIGNATURE, "root: not a saml:Assertion");
	if (dsig_count(f->root, NS_SAML, "Assertion") != 1)
		return err_set(e, ERR_SIGNATURE, "root: a saml:Assertion inside another");
	if (!slice_is(xml_attr(a, f->root, "id"), DSIG_CARD_ID))
		return err_set(e, ERR_SIGNATURE, "root: id is not " DSIG_CARD_ID);
	if (count_id(f->root, DSIG_CARD_ID) != 1)
		return err_set(e, ERR_SIGNATURE, "root: id " DSIG_CARD_ID " more than once");
	return 0;
}

/* ---- one function per rule */

/* XML Signature wrapping: the one signature is a child of the one assertion, and its last element. */
static int
one_signature(struct arena *a, struct dsig_form *f, struct err *e)
{
	(void)a;
	f->signature = ds(f->root, "Signature");
	if (f->signature == NULL)
		return err_set(e, ERR_SIGNATURE, "signature: none in the assertion");
	if (dsig_count(f->root, NS_DS, "Signature") != 1)
		return err_set(e, ERR_SIGNATURE, "signature: more than one");
	if (xml_next(f->signature) != NULL)
		return err_set(e, ERR_SIGNATURE, "signature: not the last element");
	return 0;
}

static int
signature_parts(struct arena *a, struct dsig_form *f, struct err *e)
{
	static const char *const bare[] = { "SignedInfo", "SignatureValue", NULL };
	static const char *const full[] = { "SignedInfo", "SignatureValue", "KeyInfo", NULL };
	const xmlNode *n = f->signature;

	(void)a;
	if (!xml_only_elements(n) || !(has_children(n, bare) || has_children(n, full)))
		return err_set(e, ERR_SIGNATURE, "signature: parts");
	/* Seal writes id, the JDK Id */
	if (!xml_only_attribute(n, NULL) && !xml_only_attribute(n, "id") && !xml_only_attribute(n, "Id"))
		return err_set(e, ERR_SIGNATURE, "signature: attributes");
	f->signed_info = ds(n, "SignedInfo");
	return 0;
}

/* Element names, their one attribute and their children, from SignedInfo down. An element that is not
 * named here has text or nothing. */
static int
signed_info_parts(struct arena *a, struct dsig_form *f, struct err *e)
{
	static const struct {
		const char *name, *attribute, *children[4];
	} shapes[] = {
		{ "SignedInfo", NULL, { "CanonicalizationMethod", "SignatureMethod", "Reference" } },
		{ "CanonicalizationMethod", "Algorithm", { NULL } },
		{ "SignatureMethod", "Algorithm", { NULL } },
		{ "Reference", "URI", { "Transforms", "DigestMethod", "DigestValue" } },
		{ "Transforms", NULL, { "Transform", "Transform" } },
		{ "Transform", "Algorithm", { NULL } },
		{ "DigestMethod", "Algorithm", { NULL } },
		{ "DigestValue", NULL, { NULL } },
	};

	(void)a;
	for (const xmlNode *at = f->signed_info; at != NULL; at = next_in_tree(at, f->signed_info)) {
		if (at->type != XML_ELEMENT_NODE)
			continue;
		size_t i = 0;
		while (i < sizeof shapes / sizeof *shapes && !xml_is(at, NS_DS, shapes[i].name))
			i++;
		if (i == sizeof shapes / sizeof *shapes || !has_children(at, shapes[i].children))
			return err_set(e, ERR_SIGNATURE, "SignedInfo: parts of %s", (const char *)at->name);
		if (!xml_only_attribute(at, shapes[i].attribute))
			return err_set(e, ERR_SIGNATURE, "SignedInfo: attributes of %s", (const char *)at->name);
		if (xml_is(at, NS_DS, "DigestValue") ? !xml_only_text(at) : !xml_only_elements(at))
			return err_set(e, ERR_SIGNATURE, "SignedInfo: content of %s", (const char *)at->name);
	}
	return 0;
}

/* The published schema (ds-specialized.xsd) allows the older inclusive form for SignedInfo as well. */
static int
canonicalization(struct arena *a, struct dsig_form *f, struct err *e)
{
	struct slice name = xml_attr(a, ds(f->signed_info, "CanonicalizationMethod"), "Algorithm");

	if (!slice_is(name, DSIG_EXCLUSIVE) && !slice_is(name, DSIG_INCLUSIVE))
		return err_set(e, ERR_SIGNATURE, "CanonicalizationMethod: %.64s", name.p == NULL ? "" : name.p);
	f->c14n = slice_is(name, DSIG_EXCLUSIVE) ? XML_C14N_EXCLUSIVE : XML_C14N_INCLUSIVE;
	return 0;
}

static int
signature_method(struct arena *a, struct dsig_form *f, struct err *e)
{
	struct slice name = xml_attr(a, ds(f->signed_info, "SignatureMethod"), "Algorithm");

	f->sign = dsig_signature_algorithm(name);
	return f->sign != NULL ? 0 :
	    err_set(e, ERR_SIGNATURE, "SignatureMethod: %.64s", name.p == NULL ? "" : name.p);
}

static int
reference(struct arena *a, struct dsig_form *f, struct err *e)
{
	if (!slice_is(xml_attr(a, ds(f->signed_info, "Reference"), "URI"), "#" DSIG_CARD_ID))
		return err_set(e, ERR_SIGNATURE, "Reference: not to #" DSIG_CARD_ID);
	return 0;
}

static int
transforms(struct arena *a, struct dsig_form *f, struct err *e)
{
	const xmlNode *list = ds(ds(f->signed_info, "Reference"), "Transforms");

	if (!slice_is(xml_attr(a, xml_child(list, NS_DS, "Transform", 0), "Algorithm"), DSIG_ENVELOPED) ||
	    !slice_is(xml_attr(a, xml_child(list, NS_DS, "Transform", 1), "Algorithm"), DSIG_EXCLUSIVE))
		return err_set(e, ERR_SIGNATURE, "Transforms: not enveloped-signature and exclusive c14n");
	return 0;
}

static int
digest(struct arena *a, struct dsig_form *f, struct err *e)
{
	const xmlNode *ref = ds(f->signed_info, "Reference");
	struct slice name = xml_attr(a, ds(ref, "DigestMethod"), "Algorithm");

	f->digest = dsig_digest_algorithm(name);
	if (f->digest == NULL)
		return err_set(e, ERR_SIGNATURE, "DigestMethod: %.64s", name.p == NULL ? "" : name.p);
	struct slice value = conv_unbase64(a, xml_text(a, ds(ref, "DigestValue")));
	if (value.p == NULL || value.n != f->digest->size)
		return err_set(e, ERR_SIGNATURE, "DigestValue: not %zu bytes", f->digest->size);
	return 0;
}

/* RSA of 2048 to 8192 bits: 256 to 1024 bytes. */
static int
signature_value(struct arena *a, struct dsig_form *f, struct err *e)
{
	const xmlNode *node = ds(f->signature, "SignatureValue");

	if (!xml_only_text(node) || !xml_only_attribute(node, NULL))
		return err_set(e, ERR_SIGNATURE, "SignatureValue: form");
	struct slice value = conv_unbase64(a, xml_text(a, node));
	if (value.p == NULL || value.n < 256 || value.n > 1024)
		return err_set(e, ERR_SIGNATURE, "SignatureValue: not 256 to 1024 bytes");
	return 0;
}

/* KeyInfo is not signed and never decides the key. It travels with the card, though, so nothing may
 * hide in it that a receiver could act on (KeyValue, RetrievalMethod, EncryptedKey, foreign elements). */
static int
key_info(struct arena *a, struct dsig_form *f, struct err *e)
{
	static const char *const known[] = { "KeyInfo", "KeyName", "X509Data", "X509Certificate",
		"X509SubjectName", "X509IssuerSerial", "X509IssuerName", "X509SerialNumber", "X509SKI" };
	const xmlNode *top = ds(f->signature, "KeyInfo");

	(void)a;
	for (const xmlNode *at = top; at != NULL; at = next_in_tree(at, top)) {
		if (at->type == XML_TEXT_NODE)
			continue;
		bool good = false;
		for (size_t i = 0; i < sizeof known / sizeof *known; i++)
			good = good || xml_is(at, NS_DS, known[i]);
		if (!good || (at != top && at->properties != NULL))
			return err_set(e, ERR_SIGNATURE, "KeyInfo: %.64s", (const char *)at->name);
	}
	return 0;
}

int
dsig_read_form(struct arena *a, const xmlDoc *doc, struct dsig_form *f, struct err *e)
{
	static int (*const rules[])(struct arena *, struct dsig_form *, struct err *) = {
		one_signature, signature_parts, signed_info_parts, canonicalization, signature_method,
		reference, transforms, digest, signature_value, key_info,
	};

	*f = (struct dsig_form){ 0 };
	if (dsig_read_root(a, doc, f, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (rules[i](a, f, e) < 0)
			return -1;
	return 0;
}
