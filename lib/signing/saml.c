/* The answer, and what must stand in it:
 *
 *   samlp:Response Destination="our address" InResponseTo="the request"
 *     samlp:Status / samlp:StatusCode Value=".. Success"
 *     saml:Assertion ID
 *       saml:Issuer
 *       ds:Signature	over the assertion: one reference, enveloped-signature and exclusive c14n, SHA-256 or better;
 *			both exclusive c14n may have an InclusiveNamespaces PrefixList, as OpenSAML writes it
 *       saml:Subject / saml:SubjectConfirmation bearer / saml:SubjectConfirmationData Recipient, InResponseTo, NotOnOrAfter
 *       saml:Conditions NotBefore NotOnOrAfter / saml:AudienceRestriction / saml:Audience
 *       saml:AuthnStatement
 *       saml:AttributeStatement / saml:Attribute ...
 *
 * or, in place of the assertion, saml:EncryptedAssertion (lib/dsig/decrypt.c says what may stand in it), and then a saml:Issuer of the
 * response, which says whose: by it the key is chosen. What was encrypted is the assertion as above, by itself: it declares its
 * namespaces. Inside, nothing is encrypted once more.
 *
 * The response around the assertion is not signed by all; what it says is compared, but nothing is taken from it. Nor does it matter
 * who has encrypted an assertion, which anybody can: what counts is the signature that was inside. */
#include "saml.h"

#include "buf.h"
#include "clock.h"
#include "conv.h"
#include "dsig.h"
#include "pki.h"
#include "xml.h"

#include <string.h>
#include <time.h>

#define TEXT_MAX (256u << 10)
#define RSA_SHA256 "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
#define SUCCESS "urn:oasis:names:tc:SAML:2.0:status:Success"
#define BEARER "urn:oasis:names:tc:SAML:2.0:cm:bearer"
#define REQUEST_MAX 4096
#define PREFIXES_MOST 32
#define EVEN_MS 50	/* more than reading and verifying the longest assertion takes */

static int
refuse(struct err *e, const char *rule)
{
	return err_set(e, ERR_IDP_ANSWER, "%s", rule);
}

/* ---- the request */

static void
put_escaped(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c) != NULL)
			buf_putc(b, (char)c);
		else
			buf_printf(b, "%%%02X", c);
	}
}

static struct slice
request_xml(struct arena *a, const struct conf_idp *idp, struct slice id, struct slice acs)
{
	struct buf *b = arena_alloc(a, sizeof *b);

	if (b == NULL)
		return (struct slice){ NULL, 0 };
	buf_init(b, REQUEST_MAX);
	if (buf_defer(b, a) < 0)
		return (struct slice){ NULL, 0 };
	buf_puts(b, "<samlp:AuthnRequest xmlns:samlp=\"" NS_SAMLP "\" Version=\"2.0\""
	    " ProtocolBinding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST\" ForceAuthn=\"true\"");
	xml_put_attr(b, "ID", id);
	xml_put_attr(b, "IssueInstant", clock_iso(a, clock_now()));
	xml_put_attr(b, "Destination", idp->url);
	xml_put_attr(b, "AssertionConsumerServiceURL", acs);
	buf_puts(b, "><saml:Issuer xmlns:saml=\"" NS_SAML "\">");
	xml_put_text(b, idp->audience);
	buf_puts(b, "</saml:Issuer></samlp:AuthnRequest>");
	return buf_slice(b);
}

/* DEFLATE (RFC 1951) of one block that is stored as it is: some hundred bytes are not worth a library. */
static struct slice
stored(struct arena *a, struct slice xml)
{
	uint8_t *p = xml.p == NULL || xml.n > 0xffff ? NULL : arena_alloc(a, xml.n + 5);

	if (p == NULL)
		return (struct slice){ NULL, 0 };
	const uint16_t n = (uint16_t)xml.n, not_n = (uint16_t)~n;
	const uint8_t head[5] = { 1, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)not_n, (uint8_t)(not_n >> 8) };
	memcpy(p, head, sizeof head);
	memcpy(p + sizeof head, xml.p, xml.n);
	return (struct slice){ (const char *)p, xml.n + sizeof head };
}

static int
put_query(struct arena *a, struct buf *b, struct slice xml, struct slice relay, EVP_PKEY *key, struct err *e)
{
	struct slice value = { NULL, 0 }, flat = stored(a, xml);

	if (flat.p == NULL)
		return err_set(e, ERR_MEMORY, "AuthnRequest");
	buf_puts(b, "SAMLRequest=");
	put_escaped(b, conv_base64(a, flat));
	buf_puts(b, "&RelayState=");
	put_escaped(b, relay);
	buf_puts(b, "&SigAlg=");
	put_escaped(b, S(RSA_SHA256));
	if (b->failed || dsig_value_make(a, key, DSIG_SHA256, buf_slice(b), &value, e) < 0)
		return err_set(e, ERR_MEMORY, "AuthnRequest");
	buf_puts(b, "&Signature=");
	put_escaped(b, conv_base64(a, value));
	return b->failed ? err_set(e, ERR_MEMORY, "AuthnRequest") : 0;
}

int
saml_request_address(struct arena *a, const struct conf_idp *idp, struct slice id, struct slice acs, struct slice relay,
    EVP_PKEY *key, struct slice *address, struct err *e)
{
	const char *join = slice_find(idp->url, S("?")) < 0 ? "?" : "&";
	struct buf query;

	buf_init(&query, 4 * REQUEST_MAX);
	int rc = put_query(a, &query, request_xml(a, idp, id, acs), relay, key, e);
	if (rc == 0)
		*address = arena_printf(a, "%.*s%s%.*s", SLICE_FMT(idp->url), join, SLICE_FMT(buf_slice(&query)));
	buf_free(&query);
	return rc < 0 ? -1 : address->p == NULL ? err_set(e, ERR_MEMORY, "AuthnRequest") : 0;
}

/* ---- the signature */

static xmlNode *
saml(const xmlNode *parent, const char *name)
{
	return xml_child(parent, NS_SAML, name, 0);
}

/* Of a PrefixList: NMTOKENS, or #default. */
static bool
is_prefix(struct slice s)
{
	if (slice_is(s, "#default"))
		return true;
	for (size_t i = 0; i < s.n; i++)
		if (strchr("\"#&'<>:\t\r\n", s.p[i]) != NULL)
			return false;
	return true;
}

/* Ends with NULL. NULL: not a list, more than PREFIXES_MOST, or no memory. */
static xmlChar **
split_prefixes(struct arena *a, struct slice list)
{
	xmlChar **out = list.p == NULL ? NULL : arena_alloc(a, (PREFIXES_MOST + 1) * sizeof *out);
	struct slice rest = list, word;
	size_t n = 0;

	if (out == NULL)
		return NULL;
	while (slice_next(&rest, ' ', &word)) {
		if (word.n == 0)
			continue;
		if (n == PREFIXES_MOST || !is_prefix(word))
			return NULL;
		out[n] = arena_alloc(a, word.n + 1);	/* zeroed */
		if (out[n] == NULL)
			return NULL;
		memcpy(out[n++], word.p, word.n);
	}
	out[n] = NULL;
	return out;
}

/* Exclusive c14n, and *prefixes of its InclusiveNamespaces (RFC 3741, section 4); NULL when it has none. The list is part of
 * SignedInfo, so it is signed; all it can do is to have more namespaces written. */
static bool
is_exclusive(struct arena *a, const xmlNode *node, xmlChar ***prefixes)
{
	const xmlNode *list = xml_first(node);

	*prefixes = NULL;
	if (node == NULL || !xml_only_attribute(node, "Algorithm") || !slice_is(xml_attr(a, node, "Algorithm"), DSIG_EXCLUSIVE))
		return false;
	if (list == NULL)
		return node->children == NULL;
	if (!xml_only_elements(node) || xml_next(list) != NULL || !xml_is(list, DSIG_EXCLUSIVE, "InclusiveNamespaces") ||
	    !xml_only_attribute(list, "PrefixList") || list->children != NULL)
		return false;
	*prefixes = split_prefixes(a, xml_attr(a, list, "PrefixList"));
	return *prefixes != NULL;
}

/* What check_form has found of a signature. */
struct form {
	const xmlNode *info, *reference;
	xmlChar **info_prefixes, **prefixes;	/* of SignedInfo, of what is signed */
};

static int
check_form(struct arena *a, const xmlNode *assertion, const xmlNode *signature, struct form *f, struct err *e)
{
	static const char *const info_parts[] = { "CanonicalizationMethod", "SignatureMethod", "Reference", NULL };
	static const char *const reference_parts[] = { "Transforms", "DigestMethod", "DigestValue", NULL };
	static const char *const transforms[] = { "Transform", "Transform", NULL };
	const xmlNode *info = dsig_child(signature, "SignedInfo"), *reference = dsig_child(info, "Reference"), *list = dsig_child(reference, "Transforms");
	const xmlNode *enveloped = xml_child(list, NS_DS, "Transform", 0), *digest = dsig_child(reference, "DigestValue");
	struct slice id = xml_attr(a, assertion, "ID"), uri = xml_attr(a, reference, "URI");

	if (xml_child(assertion, NS_DS, "Signature", 1) != NULL || xml_child(signature, NS_DS, "SignedInfo", 1) != NULL ||
	    xml_child(signature, NS_DS, "SignatureValue", 1) != NULL)
		return refuse(e, "more than one signature");
	if (!dsig_consists_of(info, info_parts) || !dsig_consists_of(reference, reference_parts) || !dsig_consists_of(list, transforms) ||
	    !is_exclusive(a, dsig_child(info, "CanonicalizationMethod"), &f->info_prefixes) || !dsig_is_method(dsig_child(info, "SignatureMethod")) ||
	    !dsig_is_method(enveloped) || !slice_is(xml_attr(a, enveloped, "Algorithm"), DSIG_ENVELOPED) ||
	    !is_exclusive(a, xml_child(list, NS_DS, "Transform", 1), &f->prefixes) ||
	    !dsig_is_method(dsig_child(reference, "DigestMethod")) || !xml_only_text(digest) || !xml_only_attribute(digest, NULL))
		return refuse(e, "form of the signature");
	/* what it is over is the element that we look at, whatever else there is */
	if (id.n == 0 || uri.n != id.n + 1 || uri.p[0] != '#' || !slice_eq(slice_from(uri, 1), id))
		return refuse(e, "reference to something else");
	f->info = info;
	f->reference = reference;
	return 0;
}

static int
check_digest(struct arena *a, const xmlNode *reference, struct slice octets, struct err *e)
{
	enum dsig_hash hash;

	if (dsig_hash_of_digest(xml_attr(a, dsig_child(reference, "DigestMethod"), "Algorithm"), &hash) < 0 || hash == DSIG_SHA1)
		return refuse(e, "DigestMethod");
	return slice_eq(slice_trim(xml_text(a, dsig_child(reference, "DigestValue"))), dsig_digest(a, hash, octets)) ? 0 :
	    refuse(e, "digest does not match");
}

static int
check_value(struct arena *a, const struct conf_idp *idp, const xmlNode *signature, const struct form *f, struct err *e)
{
	struct slice value = conv_unbase64(a, xml_text(a, dsig_child(signature, "SignatureValue"))), octets = { NULL, 0 };
	enum dsig_hash hash;
	X509 *cert;

	if (dsig_hash_of_signature(xml_attr(a, dsig_child(f->info, "SignatureMethod"), "Algorithm"), &hash) < 0 || hash == DSIG_SHA1)
		return refuse(e, "SignatureMethod");
	if (value.p == NULL || xml_canonical_listed(a, f->info, f->info_prefixes, NULL, &octets, e) < 0)
		return refuse(e, "SignatureValue");
	for (size_t i = 0; i < idp->ncertificates; i++)
		if (pki_read_pem(a, idp->certificates[i], &cert, e) == 0 && dsig_value_fits(cert, hash, octets, value))
			return 0;
	return refuse(e, "signed by nobody who is known");
}

/* *out: the assertion without its signature, as a document of its own. SignedInfo, which is small, is judged first: only a provider
 * can have us canonicalize an assertion with its list. */
static int
verify(struct arena *a, const struct conf_idp *idp, const xmlNode *assertion, const xmlNode **out, struct err *e)
{
	const xmlNode *signature = dsig_child(assertion, "Signature");
	struct slice octets = { NULL, 0 };
	struct form f;
	xmlDoc *doc;

	if (signature == NULL)
		return refuse(e, "the assertion is not signed");
	if (check_form(a, assertion, signature, &f, e) < 0 || check_value(a, idp, signature, &f, e) < 0 ||
	    xml_canonical_listed(a, assertion, f.prefixes, signature, &octets, e) < 0 ||
	    check_digest(a, f.reference, octets, e) < 0 || xml_parse(a, octets, &xml_document_limits, &doc, e) < 0)
		return -1;
	*out = xmlDocGetRootElement(doc);
	return xml_is(*out, NS_SAML, "Assertion") ? 0 : refuse(e, "no assertion");
}

/* ---- what it says */

static const struct conf_idp *
find_idp(struct arena *a, const struct saml_wanted *w, const xmlNode *issued)
{
	struct slice issuer = slice_trim(xml_text(a, saml(issued, "Issuer")));

	for (size_t i = 0; i < w->nidps; i++)
		if (slice_eq(w->idps[i].issuer, issuer))
			return &w->idps[i];
	return NULL;
}

static int
check_response(struct arena *a, const xmlNode *response, const struct saml_wanted *w, struct err *e)
{
	const xmlNode *status = xml_child(xml_child(response, NS_SAMLP, "Status", 0), NS_SAMLP, "StatusCode", 0);

	if (!xml_is(response, NS_SAMLP, "Response"))
		return refuse(e, "not a Response");
	if (!slice_eq(xml_attr(a, response, "Destination"), w->acs))
		return refuse(e, "Destination");
	if (!slice_eq(xml_attr(a, response, "InResponseTo"), w->request))
		return refuse(e, "InResponseTo");
	if (!slice_is(xml_attr(a, status, "Value"), SUCCESS))
		return refuse(e, "Status");
	if ((saml(response, "Assertion") == NULL) == (saml(response, "EncryptedAssertion") == NULL) ||
	    xml_child(response, NS_SAML, "Assertion", 1) != NULL || xml_child(response, NS_SAML, "EncryptedAssertion", 1) != NULL)
		return refuse(e, "not one Assertion");
	return 0;
}

/* The assertion of an answer, and whose it claims to be. */
struct claim {
	const struct conf_idp *idp;
	const xmlNode *assertion;
	bool malleable;		/* what is wrong with it must not be told: it came out of AES-CBC and is not verified yet */
	int64_t opened;		/* clock_mono_ms; a key in a token takes its time, whatever comes out */
};

static int
open_encrypted(struct arena *a, const xmlNode *encrypted, const struct saml_wanted *w, struct claim *c, struct err *e)
{
	struct slice octets = { NULL, 0 };
	struct dsig_encrypted x;
	xmlDoc *doc;

	if (dsig_encrypted_read(a, encrypted, &x, e) < 0)
		return -1;
	c->malleable = x.malleable;
	int rc = w->decrypt(w->ctx, a, c->idp, &x, &octets, e);
	c->opened = clock_mono_ms();
	if (rc < 0 || xml_parse(a, octets, &xml_document_limits, &doc, e) < 0)
		return -1;
	c->assertion = xmlDocGetRootElement(doc);
	return xml_is(c->assertion, NS_SAML, "Assertion") ? 0 : refuse(e, "encrypted: not an Assertion");
}

static int
find_claim(struct arena *a, const xmlNode *response, const struct saml_wanted *w, struct claim *c, struct err *e)
{
	const xmlNode *encrypted = saml(response, "EncryptedAssertion");

	c->assertion = saml(response, "Assertion");
	/* SAML profiles, section 4.1.4.2 (E17): the response names its issuer when the assertion, which does, cannot be read yet */
	c->idp = find_idp(a, w, encrypted == NULL ? c->assertion : response);
	if (c->idp == NULL)
		return refuse(e, encrypted == NULL ? "Issuer: nobody who is known" : "Issuer of the Response: nobody who is known");
	return encrypted == NULL ? 0 : open_encrypted(a, encrypted, w, c, e);
}

/* What is encrypted once more, inside: a bootstrap token that is not seen would make the assertion itself one. */
static int
check_clear(const xmlNode *at, struct err *e)
{
	if (xml_is(at, NS_SAML, "EncryptedAttribute") || xml_is(at, NS_SAML, "EncryptedID") || xml_is(at, NS_SAML, "EncryptedAssertion"))
		return err_set(e, ERR_IDP_ANSWER, "%s inside the assertion; have the provider encrypt assertions alone", (const char *)at->name);
	for (const xmlNode *child = xml_first(at); child != NULL; child = xml_next(child))
		if (check_clear(child, e) < 0)
			return -1;
	return 0;
}

/* Present, and in the future; absent never is. */
static bool
is_before(struct arena *a, const xmlNode *node, const char *name, const struct saml_wanted *w)
{
	int64_t end;

	return clock_parse(xml_attr(a, node, name), &end) == 0 && w->now < end + w->skew;
}

static bool
has_begun(struct arena *a, const xmlNode *node, const struct saml_wanted *w)
{
	struct slice text = xml_attr(a, node, "NotBefore");
	int64_t begin;

	return text.p == NULL || (clock_parse(text, &begin) == 0 && w->now >= begin - w->skew);
}

static int
check_subject(struct arena *a, const xmlNode *assertion, const struct saml_wanted *w, struct err *e)
{
	const xmlNode *subject = saml(assertion, "Subject");

	for (const xmlNode *at = xml_first(subject); at != NULL; at = xml_next(at)) {
		const xmlNode *data = saml(at, "SubjectConfirmationData");
		if (xml_is(at, NS_SAML, "SubjectConfirmation") && slice_is(xml_attr(a, at, "Method"), BEARER) &&
		    slice_eq(xml_attr(a, data, "Recipient"), w->acs) && slice_eq(xml_attr(a, data, "InResponseTo"), w->request) &&
		    is_before(a, data, "NotOnOrAfter", w) && has_begun(a, data, w))
			return 0;
	}
	return refuse(e, "Subject: not confirmed for us and this request, now");
}

static int
check_conditions(struct arena *a, const xmlNode *assertion, const struct conf_idp *idp, const struct saml_wanted *w,
    struct err *e)
{
	const xmlNode *conditions = saml(assertion, "Conditions"), *restriction = saml(conditions, "AudienceRestriction");
	bool ours = false;

	if (conditions == NULL || xml_child(assertion, NS_SAML, "Conditions", 1) != NULL ||
	    !is_before(a, conditions, "NotOnOrAfter", w) || !has_begun(a, conditions, w))
		return refuse(e, "Conditions: not valid now");
	if (restriction == NULL || xml_child(conditions, NS_SAML, "AudienceRestriction", 1) != NULL)
		return refuse(e, "AudienceRestriction");
	for (const xmlNode *at = xml_first(restriction); at != NULL; at = xml_next(at))
		ours = ours || (xml_is(at, NS_SAML, "Audience") && slice_eq(slice_trim(xml_text(a, at)), idp->audience));
	if (!ours)
		return refuse(e, "Audience: not for us");
	return saml(assertion, "AuthnStatement") != NULL ? 0 : refuse(e, "nobody has logged in");
}

/* The value of an attribute that is there once, with one value. */
static struct slice
attribute(struct arena *a, const xmlNode *assertion, const char *name)
{
	struct slice found = { NULL, 0 };

	for (const xmlNode *s = xml_first(assertion); s != NULL; s = xml_next(s)) {
		if (!xml_is(s, NS_SAML, "AttributeStatement"))
			continue;
		for (const xmlNode *at = xml_first(s); at != NULL; at = xml_next(at)) {
			if (!xml_is(at, NS_SAML, "Attribute") || !slice_is(xml_attr(a, at, "Name"), name))
				continue;
			if (found.p != NULL || xml_child(at, NS_SAML, "AttributeValue", 1) != NULL)
				return (struct slice){ NULL, 0 };
			found = slice_trim(xml_text(a, saml(at, "AttributeValue")));
		}
	}
	return found;
}

static const xmlNode *
first_token(const xmlNode *at)
{
	if (xml_is(at, NS_SAML, "Assertion") || xml_is(at, NS_SAML, "EncryptedAssertion"))
		return at;
	for (const xmlNode *child = xml_first(at); child != NULL; child = xml_next(child)) {
		const xmlNode *found = first_token(child);
		if (found != NULL)
			return found;
	}
	return NULL;
}

/* OIOSAML 3 and 2: base64 of the token, or of an endpoint reference that holds it. It is passed on with all namespaces that were
 * in scope (inclusive c14n), for the STS verifies its signature, and the PrefixList in that may name any of them. */
static int
read_token(struct arena *a, const xmlNode *assertion, struct slice whole, struct slice *token, struct err *e)
{
	struct slice text = attribute(a, assertion, "https://data.gov.dk/model/core/eid/bootstrapToken");
	xmlDoc *doc;

	if (text.p == NULL)
		text = attribute(a, assertion, "urn:liberty:disco:2006-08:DiscoveryEPR");
	if (text.p == NULL) {
		*token = whole;
		return 0;
	}
	text = conv_unbase64(a, text);
	if (text.p == NULL || xml_parse(a, text, &xml_document_limits, &doc, e) < 0)
		return refuse(e, "bootstrap token: not base64 of XML");
	const xmlNode *found = first_token(xmlDocGetRootElement(doc));
	return found == NULL ? refuse(e, "bootstrap token: none") : xml_canonical(a, found, XML_C14N_INCLUSIVE, NULL, token, e);
}

static int
read_claim(struct arena *a, struct slice text, const struct saml_wanted *w, struct claim *c, struct err *e)
{
	struct slice xml = text.n > TEXT_MAX ? (struct slice){ NULL, 0 } : conv_unbase64(a, text);
	xmlDoc *doc;

	if (xml.p == NULL)
		return refuse(e, text.n > TEXT_MAX ? "too long" : "not base64");
	if (xml_parse(a, xml, &xml_document_limits, &doc, e) < 0 || check_response(a, xmlDocGetRootElement(doc), w, e) < 0)
		return -1;
	return find_claim(a, xmlDocGetRootElement(doc), w, c, e);
}

static int
read_answer(struct arena *a, struct slice text, const struct saml_wanted *w, struct claim *c, struct saml_login *out, struct err *e)
{
	struct slice whole = { NULL, 0 };
	const xmlNode *verified = NULL;

	if (read_claim(a, text, w, c, e) < 0 || verify(a, c->idp, c->assertion, &verified, e) < 0)
		return -1;
	c->malleable = false;	/* a provider wrote it, every octet */
	out->idp = c->idp;
	if (check_subject(a, verified, w, e) < 0 || check_clear(verified, e) < 0 || find_idp(a, w, verified) != c->idp ||
	    check_conditions(a, verified, c->idp, w, e) < 0 ||
	    xml_canonical(a, c->assertion, XML_C14N_INCLUSIVE, NULL, &whole, e) < 0)
		return refuse(e, "Issuer");
	out->cpr = attribute(a, verified, "https://data.gov.dk/model/core/eid/cprNumber");
	return read_token(a, verified, whole, &out->token, e);
}

static void
wait_until(int64_t mono_ms)
{
	const int64_t left = mono_ms - clock_mono_ms();

	if (left > 0)
		nanosleep(&(struct timespec){ .tv_nsec = (long)left * 1000000 }, NULL);
}

int
saml_read(struct arena *a, struct slice text, const struct saml_wanted *w, struct saml_login *out, struct err *e)
{
	struct err why = { .kind = ERR_NONE };
	struct claim c = { .idp = NULL };

	*out = (struct saml_login){ .idp = NULL };
	if (read_answer(a, text, w, &c, out, &why) == 0)
		return 0;
	*out = (struct saml_login){ .idp = NULL };
	/* the keys were asked for before anything was decrypted */
	if (why.kind == ERR_SYSTEM_KEY || (why.kind == ERR_MEMORY && !c.malleable))
		return err_set(e, why.kind, "%s", why.detail);
	if (!c.malleable)
		return err_set(e, ERR_IDP_ANSWER, "%s", why.detail);
	wait_until(c.opened + EVEN_MS);
	return err_set(e, ERR_IDP_ANSWER, "under AES-CBC: encrypted for another key, changed, or not an assertion that the provider has signed; "
	    "which of these is told of AES-GCM alone");
}
