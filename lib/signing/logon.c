/* The form, as OpenSign wrote it and our script does (posted.c reads what is around it):
 *
 *   ds:SignedInfo
 *     ds:CanonicalizationMethod (inclusive, exclusive), ds:SignatureMethod
 *     ds:Reference URI="#ToBeSigned" / ds:DigestMethod, ds:DigestValue       no transforms: inclusive c14n
 *   ds:Object Id="ToBeSigned" / ds:SignatureProperties / ds:SignatureProperty Target="signature" +
 *     openoces:Name       challenge, action, logonto, TimeStamp, RequestIssuer: each at most once, the first three there
 *     openoces:Value Encoding="xml|base64" VisibleToSigner="yes|no"
 *
 * The reference can mean one element only, for nothing else in the form may carry an id that is the same. TimeStamp is
 * the clock of the signer's machine; the challenge says when it was. */
#include "logon.h"

#include "conv.h"
#include "posted.h"
#include "signing_private.h"

#define TO_BE_SIGNED "ToBeSigned"

/* ---- SignedInfo */

static int
check_signed_info(const xmlNode *info, struct err *e)
{
	static const char *const parts[] = { "CanonicalizationMethod", "SignatureMethod", "Reference", NULL };
	static const char *const reference_parts[] = { "DigestMethod", "DigestValue", NULL };
	const xmlNode *reference = dsig_child(info, "Reference");

	if (!dsig_consists_of(info, parts) || !xml_only_attribute(info, NULL) ||
	    !dsig_is_method(dsig_child(info, "CanonicalizationMethod")) || !dsig_is_method(dsig_child(info, "SignatureMethod")))
		return err_set(e, ERR_SIGNATURE, "SignedInfo: form");
	if (!dsig_consists_of(reference, reference_parts) || !xml_only_attribute(reference, "URI") ||
	    !dsig_is_method(dsig_child(reference, "DigestMethod")) || !xml_only_text(dsig_child(reference, "DigestValue")) ||
	    !xml_only_attribute(dsig_child(reference, "DigestValue"), NULL))
		return err_set(e, ERR_SIGNATURE, "Reference: form");
	return 0;
}

static int
check_digest(struct arena *a, const struct posted *p, bool refuse_sha1, struct err *e)
{
	const xmlNode *reference = dsig_child(p->signed_info, "Reference");
	struct slice method = xml_attr(a, dsig_child(reference, "DigestMethod"), "Algorithm"), octets = { NULL, 0 };
	enum dsig_hash hash;

	if (!slice_is(xml_attr(a, reference, "URI"), "#" TO_BE_SIGNED))
		return err_set(e, ERR_SIGNATURE, "Reference: not to #" TO_BE_SIGNED);
	if (dsig_hash_of_digest(method, &hash) < 0 || !posted_hash_is_allowed(hash, refuse_sha1))
		return err_set(e, ERR_SIGNATURE, "DigestMethod: %.64s", method.p == NULL ? "" : method.p);
	if (xml_canonical(a, p->object, XML_C14N_INCLUSIVE, NULL, &octets, e) < 0)
		return -1;
	/* as written by dsig_digest: one line, with padding */
	struct slice value = slice_trim(xml_text(a, dsig_child(reference, "DigestValue")));
	return slice_eq(value, dsig_digest(a, hash, octets)) ? 0 : err_set(e, ERR_SIGNATURE, "digest does not match");
}

static int
find_signer(struct arena *a, const struct posted *p, bool refuse_sha1, X509 **signer, struct err *e)
{
	struct slice method = xml_attr(a, dsig_child(p->signed_info, "CanonicalizationMethod"), "Algorithm"), octets = { NULL, 0 };
	enum xml_c14n form = slice_is(method, DSIG_EXCLUSIVE) ? XML_C14N_EXCLUSIVE : XML_C14N_INCLUSIVE;

	if (form == XML_C14N_INCLUSIVE && !slice_is(method, DSIG_INCLUSIVE))
		return err_set(e, ERR_SIGNATURE, "CanonicalizationMethod: %.64s", method.p == NULL ? "" : method.p);
	if (xml_canonical(a, p->signed_info, form, NULL, &octets, e) < 0)
		return -1;
	return posted_signer(a, p, octets, refuse_sha1, signer, e);
}

/* ---- ToBeSigned */

/* Attributes of a value, in any order; VisibleToSigner may be left out. */
static bool
has_value_attributes(struct arena *a, const xmlNode *node)
{
	struct slice visible = xml_attr(a, node, "VisibleToSigner");
	size_t n = 0;

	for (const xmlAttr *attr = node->properties; attr != NULL; attr = attr->next)
		n += attr->ns == NULL ? 1 : 3;
	return n == (visible.p == NULL ? 1 : 2) &&
	    (visible.p == NULL || slice_is(visible, "yes") || slice_is(visible, "no"));
}

static struct slice
value_of(struct arena *a, const xmlNode *node)
{
	struct slice encoding = xml_attr(a, node, "Encoding"), text = xml_text(a, node);

	if (!xml_only_text(node) || !has_value_attributes(a, node))
		return (struct slice){ NULL, 0 };
	if (slice_is(encoding, "base64"))
		return conv_unbase64(a, text);
	return slice_is(encoding, "xml") ? text : (struct slice){ NULL, 0 };
}

enum property { CHALLENGE, ACTION, LOGONTO, TIMESTAMP, ISSUER, PROPERTIES };
static const char *const property_names[PROPERTIES] = { "challenge", "action", "logonto", "TimeStamp", "RequestIssuer" };

static int
take_property(struct arena *a, const char *openoces, const xmlNode *node, struct slice values[PROPERTIES], struct err *e)
{
	const xmlNode *name = xml_first(node), *value = xml_next(name);
	size_t i = 0;

	if (!xml_is(node, NS_DS, "SignatureProperty") || !xml_only_attribute(node, "Target") || !xml_only_elements(node) ||
	    !xml_is(name, openoces, "Name") || !xml_only_attribute(name, NULL) || !xml_only_text(name) ||
	    !xml_is(value, openoces, "Value") || xml_next(value) != NULL)
		return err_set(e, ERR_SIGNATURE, TO_BE_SIGNED ": form of a property");
	struct slice text = xml_text(a, name);
	while (i < PROPERTIES && !slice_is(text, property_names[i]))
		i++;
	if (i == PROPERTIES)
		return err_set(e, ERR_SIGNATURE, TO_BE_SIGNED ": %.64s", text.p == NULL ? "" : text.p);
	if (values[i].p != NULL)
		return err_set(e, ERR_SIGNATURE, TO_BE_SIGNED ": %s twice", property_names[i]);
	values[i] = value_of(a, value);
	return values[i].p != NULL ? 0 : err_set(e, ERR_SIGNATURE, TO_BE_SIGNED ": value of %s", property_names[i]);
}

static int
read_properties(struct arena *a, const struct posted *p, struct slice values[PROPERTIES], struct err *e)
{
	static const char *const parts[] = { "SignatureProperties", NULL };
	const xmlNode *list = dsig_child(p->object, "SignatureProperties");

	if (!dsig_consists_of(p->object, parts) || !xml_only_attribute(p->object, "Id") ||
	    !slice_is(xml_attr(a, p->object, "Id"), TO_BE_SIGNED) || !xml_only_attribute(list, NULL) ||
	    !xml_only_elements(list))
		return err_set(e, ERR_SIGNATURE, "Object: form");
	for (const xmlNode *node = xml_first(list); node != NULL; node = xml_next(node))
		if (take_property(a, p->openoces, node, values, e) < 0)
			return -1;
	return 0;
}

static int
check_properties(const struct slice values[PROPERTIES], const struct signing_logon *wanted, struct err *e)
{
	if (!slice_is(values[ACTION], "logon"))
		return err_set(e, ERR_SIGNATURE, "action: not logon");
	if (!secret_eq(values[CHALLENGE], wanted->challenge))
		return err_set(e, ERR_SIGNATURE, "challenge: not ours");
	/* a name of ours that another site shows is how its visitors would log on here for it */
	if (!slice_eq(values[LOGONTO], wanted->logonto))
		return err_set(e, ERR_SIGNATURE, "logonto: %.*s", (int)(values[LOGONTO].n > 64 ? 64 : values[LOGONTO].n),
		    values[LOGONTO].p == NULL ? "" : values[LOGONTO].p);
	return 0;
}

/* ---- all of it */

/* The form of the parts that posted_read has left open, and that none of the ids is another's. */
static int
read_form(struct arena *a, struct slice text, struct posted *p, struct slice values[PROPERTIES], struct err *e)
{
	if (posted_read(a, text, p, e) < 0)
		return -1;
	if (p->openoces == NULL || p->object == NULL)
		return err_set(e, ERR_SIGNATURE, "not a log-on form");
	if (slice_is(xml_attr(a, p->signature, "Id"), TO_BE_SIGNED) || slice_is(xml_attr(a, p->signature, "id"), TO_BE_SIGNED) ||
	    slice_is(xml_attr(a, dsig_child(p->signature, "KeyInfo"), "Id"), TO_BE_SIGNED))
		return err_set(e, ERR_SIGNATURE, "id " TO_BE_SIGNED " more than once");
	return check_signed_info(p->signed_info, e) < 0 ? -1 : read_properties(a, p, values, e);
}

int
signing_logon_read(const struct signing *s, const struct conf *c, struct arena *a, struct slice text,
    const struct signing_logon *wanted, struct pki_identity *who, struct err *e)
{
	struct slice values[PROPERTIES] = { { NULL, 0 } };
	struct pki_signer ignored;
	struct posted p;
	X509 *signer;

	if (read_form(a, text, &p, values, e) < 0 || find_signer(a, &p, c->sts.refuse_sha1, &signer, e) < 0 ||
	    check_digest(a, &p, c->sts.refuse_sha1, e) < 0 ||
	    check_properties(values, wanted, e) < 0 || signing_check_certificate(s, c, a, signer, &ignored, e) < 0 ||
	    pki_identify(a, signer, who, e) < 0)
		return -1;
	if (who->kind != PKI_EMPLOYEE && who->kind != PKI_PERSON)
		return err_set(e, ERR_CERT_KIND, "certificate of kind %d logs on", (int)who->kind);
	return 0;
}
