/* Reading a card: leniently from a request, where it only says who asks and for what, and strictly where
 * a card has to be right. Both fill the same structure from the same table of attributes; the strict way
 * also holds every element to its shape (DGWS 1.0.1, saml-specialized.xsd):
 *
 *   saml:Assertion IssueInstant Version id
 *     saml:Issuer
 *     saml:Subject
 *       saml:NameID Format
 *       saml:SubjectConfirmation ?
 *         saml:ConfirmationMethod
 *         saml:SubjectConfirmationData / ds:KeyInfo / ds:KeyName | wsse:UsernameToken
 *     saml:Conditions NotBefore NotOnOrAfter
 *     saml:AttributeStatement id  (IDCardData, UserLog for users only, SystemLog)
 *       saml:Attribute Name NameFormat? / saml:AttributeValue
 *     ds:Signature ?
 */
#include "idcard_private.h"

#include "clock.h"
#include "conv.h"

#include <string.h>

struct reading {
	struct idcard card;
	struct slice level;		/* as written */
	struct slice method, key_name;	/* of SubjectConfirmation */
	bool strict;
};

bool
idcard_has(struct slice value)
{
	return value.p != NULL && value.n > 0;
}

bool
idcard_is_cpr(struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
	return text.n == 10;
}

bool
idcard_is_format(struct slice format)
{
	static const char *const known[] = { FORMAT_CPR, "medcom:ynumber", "medcom:pnumber", "medcom:skscode",
		FORMAT_CVR, "medcom:communalnumber", "medcom:locationnumber", "medcom:itsystemname", FORMAT_OTHER };

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (slice_is(format, known[i]))
			return true;
	return false;
}

/* ---- shapes (strict) */

struct shape {
	const char *ns, *name;
	const char *attributes[4];	/* '?' before one that may be left out */
	struct {
		char times;		/* '1', '?' or '+' */
		const char *ns, *name;
	} children[6];			/* in this order */
	bool text;
};

static const struct shape shapes[] = {
	{ NS_SAML, "Assertion", { "IssueInstant", "Version", "id" }, { { '1', NS_SAML, "Issuer" },
	    { '1', NS_SAML, "Subject" }, { '1', NS_SAML, "Conditions" }, { '+', NS_SAML, "AttributeStatement" },
	    { '?', NS_DS, "Signature" } }, false },
	{ NS_SAML, "Issuer", { NULL }, { { 0 } }, true },
	{ NS_SAML, "Subject", { NULL }, { { '1', NS_SAML, "NameID" }, { '?', NS_SAML, "SubjectConfirmation" } },
	    false },
	{ NS_SAML, "NameID", { "Format" }, { { 0 } }, true },
	{ NS_SAML, "SubjectConfirmation", { NULL }, { { '1', NS_SAML, "ConfirmationMethod" },
	    { '1', NS_SAML, "SubjectConfirmationData" } }, false },
	{ NS_SAML, "ConfirmationMethod", { NULL }, { { 0 } }, true },
	{ NS_SAML, "SubjectConfirmationData", { NULL }, { { '?', NS_DS, "KeyInfo" },
	    { '?', NS_WSSE, "UsernameToken" } }, false },
	{ NS_DS, "KeyInfo", { NULL }, { { '1', NS_DS, "KeyName" } }, false },
	{ NS_DS, "KeyName", { NULL }, { { 0 } }, true },
	{ NS_WSSE, "UsernameToken", { NULL }, { { '1', NS_WSSE, "Username" }, { '1', NS_WSSE, "Password" } }, false },
	{ NS_WSSE, "Username", { NULL }, { { 0 } }, true },
	{ NS_WSSE, "Password", { NULL }, { { 0 } }, true },
	{ NS_SAML, "Conditions", { "NotBefore", "NotOnOrAfter" }, { { 0 } }, false },
	{ NS_SAML, "AttributeStatement", { "id" }, { { '+', NS_SAML, "Attribute" } }, false },
	{ NS_SAML, "Attribute", { "Name", "?NameFormat" }, { { '1', NS_SAML, "AttributeValue" } }, false },
	{ NS_SAML, "AttributeValue", { NULL }, { { 0 } }, true },
};

static bool
has_attributes(const xmlNode *node, const char *const *names)
{
	unsigned known = 0, present = 0;

	for (; *names != NULL; names++) {
		bool optional = (*names)[0] == '?';
		bool there = xmlHasNsProp(node, (const xmlChar *)*names + optional, NULL) != NULL;
		if (!there && !optional)
			return false;
		known += there;
	}
	for (const xmlAttr *attr = node->properties; attr != NULL; attr = attr->next)
		present++;
	return present == known;
}

static bool
has_children(const xmlNode *node, const struct shape *s)
{
	const xmlNode *at = xml_first(node);

	for (size_t i = 0; s->children[i].times != 0; i++) {
		bool there = xml_is(at, s->children[i].ns, s->children[i].name);
		if (!there && s->children[i].times != '?')
			return false;
		if (there)
			at = xml_next(at);
		while (s->children[i].times == '+' && xml_is(at, s->children[i].ns, s->children[i].name))
			at = xml_next(at);
	}
	return at == NULL;
}

/* Comments were there before the canonical form at most; text stands only where text belongs. */
static bool
has_content(const xmlNode *node, bool text)
{
	for (const xmlNode *at = node->children; at != NULL; at = at->next)
		if (at->type != XML_ELEMENT_NODE && (at->type != XML_TEXT_NODE ||
		    (!text && slice_trim(slice_of((const char *)at->content)).n > 0)))
			return false;
	return true;
}

/* Ends: each shape names its children, and no shape is its own descendant. The signature is dsig's. */
static int
check_shape(const xmlNode *node, struct err *e)
{
	size_t i = 0;

	while (i < sizeof shapes / sizeof *shapes && !xml_is(node, shapes[i].ns, shapes[i].name))
		i++;
	if (i == sizeof shapes / sizeof *shapes)
		return err_set(e, ERR_CARD_FORM, "DGWS: unknown element %.64s", (const char *)node->name);
	if (!has_attributes(node, shapes[i].attributes))
		return err_set(e, ERR_CARD_FORM, "DGWS: attributes of %s", shapes[i].name);
	if (!has_children(node, &shapes[i]))
		return err_set(e, ERR_CARD_FORM, "DGWS: children of %s", shapes[i].name);
	if (!has_content(node, shapes[i].text))
		return err_set(e, ERR_CARD_FORM, "DGWS: content of %s", shapes[i].name);
	for (const xmlNode *child = xml_first(node); child != NULL; child = xml_next(child))
		if (!xml_is(child, NS_DS, "Signature") && check_shape(child, e) < 0)
			return -1;
	return 0;
}

/* ---- values (both ways) */

/* *out is the only child of that name, or NULL. */
static int
only(const xmlNode *parent, const char *ns, const char *name, xmlNode **out, struct err *e)
{
	*out = xml_child(parent, ns, name, 0);
	if (xml_child(parent, ns, name, 1) != NULL)
		return err_set(e, ERR_CARD_FORM, "%s twice", name);
	return 0;
}

/* The text of the only child of that name, white space at its ends dropped; absent when there is none. */
static int
only_text(struct arena *a, const xmlNode *parent, const char *ns, const char *name, struct slice *out,
    struct err *e)
{
	xmlNode *node;

	if (only(parent, ns, name, &node, e) < 0)
		return -1;
	*out = (struct slice){ 0 };
	if (node == NULL)
		return 0;
	*out = slice_trim(xml_text(a, node));
	return out->p != NULL ? 0 : err_set(e, ERR_CARD_FORM, "%s is not text", name);
}

#define IN_CARD(field) offsetof(struct reading, card.field)

static const struct attribute {
	const char *statement, *name;
	size_t to;
} attributes[] = {
	{ "IDCardData", "sosi:IDCardID", IN_CARD(id) },
	{ "IDCardData", "sosi:IDCardVersion", IN_CARD(version) },
	{ "IDCardData", "sosi:IDCardType", IN_CARD(type) },
	{ "IDCardData", "sosi:AuthenticationLevel", offsetof(struct reading, level) },
	{ "IDCardData", "sosi:OCESCertHash", IN_CARD(cert_hash) },
	{ "UserLog", "medcom:UserCivilRegistrationNumber", IN_CARD(cpr) },
	{ "UserLog", "medcom:UserGivenName", IN_CARD(given_name) },
	{ "UserLog", "medcom:UserSurName", IN_CARD(surname) },
	{ "UserLog", "medcom:UserEmailAddress", IN_CARD(email) },
	{ "UserLog", "medcom:UserRole", IN_CARD(role) },
	{ "UserLog", "medcom:UserOccupation", IN_CARD(occupation) },
	{ "UserLog", "medcom:UserAuthorizationCode", IN_CARD(authorization) },
	{ "SystemLog", "medcom:ITSystemName", IN_CARD(system) },
	{ "SystemLog", "medcom:CareProviderID", IN_CARD(care_provider) },
	{ "SystemLog", "medcom:CareProviderName", IN_CARD(care_provider_name) },
};

static int
read_attribute(struct arena *a, struct reading *r, const xmlNode *node, struct slice statement, struct err *e)
{
	struct slice name = xml_attr(a, node, "Name"), value;
	size_t i = 0;

	while (i < sizeof attributes / sizeof *attributes && !slice_is(name, attributes[i].name))
		i++;
	if (i == sizeof attributes / sizeof *attributes)
		return 0;
	if (r->strict && !slice_is(statement, attributes[i].statement))
		return err_set(e, ERR_CARD_FORM, "%s is not in %s", attributes[i].name, attributes[i].statement);
	struct slice *to = (struct slice *)(void *)((char *)r + attributes[i].to);
	if (to->p != NULL)
		return err_set(e, ERR_CARD_FORM, "%s twice", attributes[i].name);
	if (only_text(a, node, NS_SAML, "AttributeValue", &value, e) < 0)
		return -1;
	*to = value;
	/* NameFormat: only the care provider's id has one, and there it says what kind of number it is */
	struct slice format = xml_attr(a, node, "NameFormat");
	if (to == &r->card.care_provider)
		r->card.care_provider_format = slice_trim(format);
	else if (r->strict && format.p != NULL)
		return err_set(e, ERR_CARD_FORM, "NameFormat on %s", attributes[i].name);
	return 0;
}

static int
read_attributes(struct arena *a, struct reading *r, const xmlNode *root, struct err *e)
{
	const xmlNode *statement;

	for (unsigned i = 0; (statement = xml_child(root, NS_SAML, "AttributeStatement", i)) != NULL; i++) {
		struct slice id = xml_attr(a, statement, "id");
		for (const xmlNode *at = xml_first(statement); at != NULL; at = xml_next(at))
			if (xml_is(at, NS_SAML, "Attribute") && read_attribute(a, r, at, id, e) < 0)
				return -1;
	}
	return 0;
}

static int
read_subject(struct arena *a, struct reading *r, const xmlNode *root, struct err *e)
{
	xmlNode *subject, *name_id, *confirmation, *data, *key, *token;

	if (only(root, NS_SAML, "Subject", &subject, e) < 0 ||
	    only(subject, NS_SAML, "NameID", &name_id, e) < 0 ||
	    only_text(a, subject, NS_SAML, "NameID", &r->card.name_id, e) < 0 ||
	    only(subject, NS_SAML, "SubjectConfirmation", &confirmation, e) < 0 ||
	    only_text(a, confirmation, NS_SAML, "ConfirmationMethod", &r->method, e) < 0 ||
	    only(confirmation, NS_SAML, "SubjectConfirmationData", &data, e) < 0 ||
	    only(data, NS_DS, "KeyInfo", &key, e) < 0 ||
	    only_text(a, key, NS_DS, "KeyName", &r->key_name, e) < 0 ||
	    only(data, NS_WSSE, "UsernameToken", &token, e) < 0 ||
	    only_text(a, token, NS_WSSE, "Username", &r->card.user_name, e) < 0 ||
	    only_text(a, token, NS_WSSE, "Password", &r->card.password, e) < 0)
		return -1;
	r->card.name_id_format = xml_attr(a, name_id, "Format");
	return 0;
}

/* 0 when absent or unreadable: whoever needs a time refuses 0. */
static int64_t
time_of(struct arena *a, const xmlNode *node, const char *attribute)
{
	int64_t t;

	return clock_parse(xml_attr(a, node, attribute), &t) < 0 ? 0 : t;
}

static int
read_values(struct arena *a, struct reading *r, const xmlNode *root, struct err *e)
{
	xmlNode *conditions, *signature;

	if (only_text(a, root, NS_SAML, "Issuer", &r->card.issuer, e) < 0 ||
	    read_subject(a, r, root, e) < 0 ||
	    only(root, NS_SAML, "Conditions", &conditions, e) < 0 ||
	    only(root, NS_DS, "Signature", &signature, e) < 0 || read_attributes(a, r, root, e) < 0)
		return -1;
	r->card.issued = time_of(a, root, "IssueInstant");
	r->card.not_before = time_of(a, conditions, "NotBefore");
	r->card.not_after = time_of(a, conditions, "NotOnOrAfter");
	r->card.is_signed = signature != NULL;
	if (r->level.p == NULL)
		return 0;
	if (r->level.n != 1 || r->level.p[0] < '1' || r->level.p[0] > '4') {
		err_set(e, ERR_CARD_FORM, "AuthenticationLevel is not 1 to 4");
		return err_say(e, "sosi:AuthenticationLevel (1, 2, 3, 4)");
	}
	r->card.level = r->level.p[0] - '0';
	return 0;
}

static int
keep(struct arena *a, const struct reading *r, struct idcard **out, struct err *e)
{
	*out = arena_alloc(a, sizeof **out);
	if (*out == NULL)
		return err_set(e, ERR_MEMORY, "card");
	**out = r->card;
	return 0;
}

/* ---- the card of a request */

static bool
has_inside(const xmlNode *root, const char *ns, const char *name)
{
	const xmlNode *at = root;

	for (;;) {
		if (at->type == XML_ELEMENT_NODE && at->children != NULL) {
			at = at->children;
		} else {
			while (at != root && at->next == NULL)
				at = at->parent;
			if (at == root)
				return false;
			at = at->next;
		}
		if (xml_is(at, ns, name))
			return true;
	}
}

int
idcard_read_request(struct arena *a, const xmlNode *node, struct idcard **out, struct err *e)
{
	struct reading r = { .strict = false };
	struct err why = { 0 };

	if (!xml_is(node, NS_SAML, "Assertion"))
		return err_set(e, ERR_CARD_FORM, "not a saml:Assertion");
	if (has_inside(node, NS_SAML, "Assertion"))
		return err_set(e, ERR_CARD_FORM, "a saml:Assertion inside another");
	if (read_values(a, &r, node, e) < 0)
		return -1;
	if (r.card.name_id.n == 0)
		return err_set(e, ERR_NO_NAME_ID, r.card.name_id.p == NULL ? "no NameID" : "empty NameID");
	if (xml_canonical(a, node, XML_C14N_EXCLUSIVE, NULL, &r.card.xml, &why) < 0)
		return err_set(e, why.kind == ERR_MEMORY ? ERR_MEMORY : ERR_CARD_FORM, "%s", why.detail);
	return keep(a, &r, out, e);
}

/* ---- a card that must be right: one function per rule */

static int
right_head(const struct reading *r, const xmlNode *root, struct arena *a, struct err *e)
{
	if (!slice_is(xml_attr(a, root, "Version"), "2.0"))
		return err_set(e, ERR_CARD_FORM, "DGWS: Version is not 2.0");
	if (!slice_is(xml_attr(a, root, "id"), "IDCard"))
		return err_set(e, ERR_CARD_FORM, "DGWS: id is not IDCard");
	if (!idcard_has(r->card.issuer))
		return err_set(e, ERR_CARD_FORM, "DGWS: Issuer is empty");
	return 0;
}

static int
right_statements(const struct reading *r, const xmlNode *root, struct arena *a, struct err *e)
{
	static const char *const of_user[] = { "IDCardData", "UserLog", "SystemLog", NULL };
	static const char *const of_system[] = { "IDCardData", "SystemLog", NULL };
	const char *const *want = slice_is(r->card.type, "user") ? of_user : of_system;
	unsigned i = 0;

	for (; want[i] != NULL; i++)
		if (!slice_is(xml_attr(a, xml_child(root, NS_SAML, "AttributeStatement", i), "id"), want[i]))
			return err_set(e, ERR_CARD_FORM, "DGWS: no %s where it belongs", want[i]);
	if (xml_child(root, NS_SAML, "AttributeStatement", i) != NULL)
		return err_set(e, ERR_CARD_FORM, "DGWS: an AttributeStatement too many");
	return 0;
}

static int
right_card_data(const struct reading *r, const xmlNode *root, struct arena *a, struct err *e)
{
	const struct idcard *c = &r->card;

	(void)root;
	(void)a;
	if (!idcard_has(c->id))
		return err_set(e, ERR_CARD_FORM, "DGWS: no IDCardID");
	if (!slice_is(c->version, "1.0") && !slice_is(c->version, "1.0.1"))
		return err_set(e, ERR_CARD_FORM, "DGWS: IDCardVersion is not 1.0 or 1.0.1");
	if (!slice_is(c->type, "user") && !slice_is(c->type, "system"))
		return err_set(e, ERR_CARD_FORM, "DGWS: IDCardType is not user or system");
	if (c->level == 0)
		return err_set(e, ERR_CARD_FORM, "DGWS: no AuthenticationLevel");
	return 0;
}

static int
right_subject(const struct reading *r, const xmlNode *root, struct arena *a, struct err *e)
{
	const struct idcard *c = &r->card;

	(void)root;
	(void)a;
	if (!idcard_has(c->name_id))
		return err_set(e, ERR_CARD_FORM, "DGWS: NameID is empty");
	if (!idcard_is_format(c->name_id_format))
		return err_set(e, ERR_CARD_FORM, "DGWS: Format of NameID is not on the list");
	bool key = c->level >= 3, password = c->level == 2;
	if ((key || password) != slice_is(r->method, HOLDER_OF_KEY) || (r->method.p != NULL && !key && !password))
		return err_set(e, ERR_CARD_FORM, "DGWS: SubjectConfirmation of level %d", c->level);
	if (key != slice_is(r->key_name, SIGNATURE_ID) || (r->key_name.p != NULL && !key))
		return err_set(e, ERR_CARD_FORM, "DGWS: KeyName of level %d", c->level);
	if (password != idcard_has(c->user_name) || password != (c->password.p != NULL))
		return err_set(e, ERR_CARD_FORM, "DGWS: UsernameToken of level %d", c->level);
	return 0;
}

static int
right_times(const struct reading *r, const xmlNode *root, struct arena *a, struct err *e)
{
	(void)root;
	(void)a;
	if (r->card.issued == 0 || r->card.not_before == 0 || r->card.not_after == 0)
		return err_set(e, ERR_CARD_FORM, "DGWS: a time is not a dateTime");
	if (r->card.not_before >= r->card.not_after)
		return err_set(e, ERR_CARD_FORM, "DGWS: NotBefore is not before NotOnOrAfter");
	return 0;
}

/* CPR may be left out: the STS fills it in. */
static int
right_user(const struct reading *r, const xmlNode *root, struct arena *a, struct err *e)
{
	const struct idcard *c = &r->card;

	(void)root;
	(void)a;
	if (slice_is(c->type, "user") &&
	    (!idcard_has(c->given_name) || !idcard_has(c->surname) || !idcard_has(c->role)))
		return err_set(e, ERR_CARD_FORM, "DGWS: UserLog lacks name or role");
	if (c->cpr.p != NULL && !idcard_is_cpr(c->cpr))
		return err_set(e, ERR_CARD_FORM, "DGWS: UserCivilRegistrationNumber is not a CPR number");
	return 0;
}

static int
right_system(const struct reading *r, const xmlNode *root, struct arena *a, struct err *e)
{
	const struct idcard *c = &r->card;

	(void)root;
	(void)a;
	if (!idcard_has(c->system) || !idcard_has(c->care_provider) || !idcard_has(c->care_provider_name))
		return err_set(e, ERR_CARD_FORM, "DGWS: SystemLog lacks system or care provider");
	if (!idcard_is_format(c->care_provider_format))
		return err_set(e, ERR_CARD_FORM, "DGWS: NameFormat of CareProviderID is not on the list");
	return 0;
}

static int
read_strictly(struct arena *a, struct slice xml, struct idcard **out, struct err *e)
{
	static int (*const rules[])(const struct reading *, const xmlNode *, struct arena *, struct err *) = {
		right_head, right_card_data, right_statements, right_subject, right_times, right_user, right_system,
	};
	struct reading r = { .strict = true };
	xmlDoc *doc;

	if (xml_parse(a, xml, &xml_document_limits, &doc, e) < 0)
		return -1;
	const xmlNode *root = xmlDocGetRootElement(doc);
	if (!xml_is(root, NS_SAML, "Assertion"))
		return err_set(e, ERR_CARD_FORM, "not a saml:Assertion");
	if (check_shape(root, e) < 0 || read_values(a, &r, root, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (rules[i](&r, root, a, e) < 0)
			return -1;
	/* The inclusive form of a document that is canonical already, in either form, is that document: a
	 * signature over the card stays good (dsig_verify says when it needs the namespaces in scope). */
	if (xml_canonical(a, root, XML_C14N_INCLUSIVE, NULL, &r.card.xml, e) < 0)
		return -1;
	return keep(a, &r, out, e);
}

int
idcard_read(struct arena *a, struct slice xml, struct idcard **out, struct err *e)
{
	struct err why = { 0 };

	if (read_strictly(a, xml, out, &why) == 0)
		return 0;
	return err_set(e, why.kind == ERR_MEMORY ? ERR_MEMORY : ERR_CARD_FORM, "%s", why.detail);
}
