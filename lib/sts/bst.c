/* A card from a bootstrap token: the client's own request (WS-Trust 1.3 and 1.4, as Seal and unsealed write it) goes to
 * the STS's BST2SOSI unchanged. What it asks for is read here, to be compared with what the STS gives:
 *
 *   wst:RequestSecurityToken Context
 *     wst:TokenType, wst:RequestType		the STS's business
 *     wst14:ActAs / saml:Assertion or saml:EncryptedAssertion	the token; the STS's too
 *     wsp:AppliesTo / wsa:EndpointReference / wsa:Address	?
 *     wst:Claims / auth:ClaimType Uri / auth:Value
 */
#include "sts_private.h"

#include "conv.h"

#include <stddef.h>

/* ---- the request */

static const struct {
	const char *uri;
	size_t to;
} known[] = {
	{ "medcom:ITSystemName", offsetof(struct sts_claims, system) },
	{ "medcom:UserRole", offsetof(struct sts_claims, role) },
	{ "medcom:UserAuthorizationCode", offsetof(struct sts_claims, authorization) },
	{ "sosi:SubjectNameID", offsetof(struct sts_claims, name_id) },
};

static int
refuse(struct err *e, const char *what)
{
	err_set(e, ERR_TOKEN_REQUEST, "%s", what);
	return err_say(e, "%s", what);
}

/* Of a claim that comes twice, or says nothing, the STS could make something else than we do. */
static int
read_claim(struct arena *a, const xmlNode *node, struct sts_claims *out, struct err *e)
{
	struct slice uri = slice_trim(xml_attr(a, node, "Uri"));
	size_t i = 0;

	while (i < sizeof known / sizeof *known && !slice_is(uri, known[i].uri))
		i++;
	if (i == sizeof known / sizeof *known)
		return 0;
	struct slice *to = (struct slice *)(void *)((char *)out + known[i].to);
	if (to->p != NULL || xml_child(node, NS_WSFED, "Value", 1) != NULL)
		return refuse(e, known[i].uri);
	*to = slice_trim(xml_text(a, xml_child(node, NS_WSFED, "Value", 0)));
	return to->n > 0 ? 0 : refuse(e, known[i].uri);
}

static bool
has_token(const xmlNode *rst)
{
	const xmlNode *token = xml_first(xml_child(rst, NS_WST14, "ActAs", 0));

	return xml_is(token, NS_SAML, "Assertion") || xml_is(token, NS_SAML, "EncryptedAssertion");
}

/* Who the token is for, as far as it can be told: tokens may be encrypted, or name a person by a UUID that only the
 * STS can look up. Absent then; the token itself is the STS's to judge. */
static struct slice
cpr_of_token(struct arena *a, const xmlNode *rst)
{
	const xmlNode *token = xml_child(xml_child(rst, NS_WST14, "ActAs", 0), NS_SAML, "Assertion", 0);
	const xmlNode *statement = xml_child(token, NS_SAML, "AttributeStatement", 0);

	for (const xmlNode *at = xml_first(statement); at != NULL; at = xml_next(at)) {
		struct slice name = xml_attr(a, at, "Name");
		if (slice_is(name, "https://data.gov.dk/model/core/eid/cprNumber") ||
		    slice_is(name, "dk:gov:saml:attribute:CprNumberIdentifier"))
			return slice_trim(xml_text(a, xml_child(at, NS_SAML, "AttributeValue", 0)));
	}
	return (struct slice){ NULL, 0 };
}

/* The certificate of holder-of-key: of the system that the identity provider gave the token to, and that must have signed
 * the request for the STS to take it. Absent when there is none, or more than one that could be meant. */
static struct slice
holder_of_token(struct arena *a, const xmlNode *rst)
{
	const xmlNode *token = xml_child(xml_child(rst, NS_WST14, "ActAs", 0), NS_SAML, "Assertion", 0);
	const xmlNode *subject = xml_child(token, NS_SAML, "Subject", 0);
	const xmlNode *confirmation = xml_child(subject, NS_SAML, "SubjectConfirmation", 0);
	const xmlNode *info = xml_child(xml_child(confirmation, NS_SAML, "SubjectConfirmationData", 0), NS_DS, "KeyInfo", 0);
	const xmlNode *data = xml_child(info, NS_DS, "X509Data", 0);

	if (xml_child(subject, NS_SAML, "SubjectConfirmation", 1) != NULL || xml_child(info, NS_DS, "X509Data", 1) != NULL ||
	    xml_child(data, NS_DS, "X509Certificate", 1) != NULL ||
	    !slice_is(xml_attr(a, confirmation, "Method"), "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"))
		return (struct slice){ NULL, 0 };
	return conv_unbase64(a, xml_text(a, xml_child(data, NS_DS, "X509Certificate", 0)));
}

/* Of digests only those of a ds:Reference: encryption with OAEP names one too, and it is none of a signature's. */
static bool
is_with_sha1(struct arena *a, const xmlNode *node)
{
	struct slice method = xml_attr(a, node, "Algorithm");
	enum dsig_hash hash;

	if (xml_is(node, NS_DS, "SignatureMethod"))
		return dsig_hash_of_signature(method, &hash) == 0 && hash == DSIG_SHA1;
	return xml_is(node, NS_DS, "DigestMethod") && xml_is(node->parent, NS_DS, "Reference") &&
	    dsig_hash_of_digest(method, &hash) == 0 && hash == DSIG_SHA1;
}

static bool
holds_sha1(struct arena *a, const xmlNode *node)
{
	if (is_with_sha1(a, node))
		return true;
	for (const xmlNode *at = xml_first(node); at != NULL; at = xml_next(at))
		if (holds_sha1(a, at))
			return true;
	return false;
}

int
sts_read_claims(struct arena *a, const xmlNode *rst, struct sts_claims *out, struct err *e)
{
	const xmlNode *claims = xml_child(rst, NS_WST13, "Claims", 0);
	const xmlNode *reference = xml_child(xml_child(rst, NS_WSP, "AppliesTo", 0), NS_WSA05, "EndpointReference", 0);

	*out = (struct sts_claims){
		.context = xml_attr(a, rst, "Context"),
		.applies_to = xml_text(a, xml_child(reference, NS_WSA05, "Address", 0)),
		.cpr = cpr_of_token(a, rst), .holder = holder_of_token(a, rst),
		.sha1 = holds_sha1(a, xmlDocGetRootElement(rst->doc)),
	};
	if (xml_next(rst) != NULL)
		return refuse(e, "soap:Body");
	if (!has_token(rst) || xml_child(rst, NS_WST14, "ActAs", 1) != NULL)
		return refuse(e, "wst14:ActAs");
	if (xml_child(rst, NS_WST13, "Claims", 1) != NULL)
		return refuse(e, "wst:Claims");
	for (const xmlNode *at = xml_first(claims); at != NULL; at = xml_next(at))
		if (xml_is(at, NS_WSFED, "ClaimType") && read_claim(a, at, out, e) < 0)
			return -1;
	return out->system.p != NULL ? 0 : refuse(e, "medcom:ITSystemName");
}

/* ---- the answer */

int
sts_read_bst_answer(struct arena *a, struct slice answer, struct slice *card, struct err *e)
{
	const xmlNode *rstr;

	if (sts_read_body(a, answer, &rstr, e) < 0)
		return -1;
	if (xml_is(rstr, NS_WST13, "RequestSecurityTokenResponseCollection"))
		rstr = xml_first(rstr);
	if (rstr != NULL && xml_next(rstr) != NULL)
		return err_set(e, ERR_STS_ANSWER, "more than one response in the answer");
	return sts_read_token(a, rstr, NS_WST13, card, e);
}

static bool
kept(struct slice claimed, struct slice got)
{
	return claimed.p == NULL || slice_eq(claimed, got);
}

static bool
is_users(const struct sts_claims *w, const struct idcard *got)
{
	(void)w;
	return slice_is(got->type, "user") && got->level == 4;
}

static bool
same_system(const struct sts_claims *w, const struct idcard *got)
{
	return slice_eq(w->system, got->system);
}

static bool
same_role(const struct sts_claims *w, const struct idcard *got)
{
	return kept(w->role, got->role);
}

static bool
same_authorization(const struct sts_claims *w, const struct idcard *got)
{
	return kept(w->authorization, got->authorization);
}

static bool
same_person(const struct sts_claims *w, const struct idcard *got)
{
	return kept(w->cpr, got->cpr);
}

/* The real STS makes this claim the card's NameID, and by that the client asks for the card later. */
static bool
same_name_id(const struct sts_claims *w, const struct idcard *got)
{
	return kept(w->name_id, got->name_id);
}

static int
check_claimed(const struct sts_claims *claims, const struct idcard *got, struct err *e)
{
	static const struct {
		bool (*good)(const struct sts_claims *, const struct idcard *);
		const char *name;
	} rules[] = {
		{ is_users, "not a user's card of level 4" },
		{ same_person, "another person" },
		{ same_system, "another system" },
		{ same_role, "another role" },
		{ same_authorization, "another authorisation" },
		{ same_name_id, "another NameID" },
	};

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (!rules[i].good(claims, got))
			return err_set(e, ERR_STS_CARD, "the STS answered with another card: %s", rules[i].name);
	return 0;
}

/* Nobody signs here whose certificate would say where the user belongs: the card's own word must be that of the
 * organisation whose client asks. */
static int
check_organisation(const struct conf_organisation *o, const struct idcard *got, struct err *e)
{
	if (!o->check_cvr || o->cvr.p == NULL)
		return 0;
	if (!slice_is(got->care_provider_format, "medcom:cvrnumber") || !slice_eq(got->care_provider, o->cvr))
		return err_set(e, ERR_TOKEN_OTHER, "care provider %.*s %.*s, organisation %.*s",
		    SLICE_FMT(got->care_provider_format), SLICE_FMT(got->care_provider), SLICE_FMT(o->cvr));
	return 0;
}

int
sts_exchange_bst(struct sts *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    struct slice message, const struct sts_claims *claims, struct idcard **out, struct err *e)
{
	struct slice answer, token;

	if (c->sts.nbst_urls == 0) {
		err_set(e, ERR_CONFIG, "sts.bst_urls is empty");
		return err_say(e, "createIdCardFromBST (sts.bst_urls)");
	}
	if (c->sts.refuse_sha1 && claims->sha1)
		return refuse(e, "SHA-1");
	if (sts_ask(s, &c->sts, STS_BST, a, message, &answer, e) < 0 ||
	    sts_read_bst_answer(a, answer, &token, e) < 0 ||
	    sts_verify_answer(c, a, token, out, e) < 0 ||
	    check_claimed(claims, *out, e) < 0)
		return -1;
	return check_organisation(o, *out, e);
}
